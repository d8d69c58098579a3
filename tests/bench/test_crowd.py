"""The crowd: bare connections that real listeners take for peers."""

from __future__ import annotations

import zmq

import nnqpy
from nnqpy.bench.adapters import Pattern
from nnqpy.bench.crowd import Dialect, connect_crowd, frame


def test_a_crowd_of_sp_connections_is_a_crowd_of_peers() -> None:
    """Each is greeted and attached, and a framed message from one arrives."""
    with nnqpy.Pull() as pull:
        url = pull.bind("tcp://127.0.0.1:0").url

        crowd = connect_crowd(url, 70, Dialect.SP, Pattern.PUSH)
        pull.wait_for_peers(70, timeout=10)
        crowd[69].sendall(frame(b"from the last", Dialect.SP))

        assert pull.recv(timeout=10) == b"from the last"
        assert {peer.protocol for peer in pull.peers} == {"push"}
        for one in crowd:
            one.close()


def test_a_crowd_of_zmtp_subscribers_wants_everything() -> None:
    """What libzmq publishes is sent to them, once it has read their subscriptions."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as pub:
        pub.rcvtimeo = 10_000
        port = pub.bind_to_random_port("tcp://127.0.0.1")

        (one,) = connect_crowd(f"tcp://127.0.0.1:{port}", 1, Dialect.ZMTP, Pattern.SUB)
        subscription = pub.recv()
        pub.send(b"hello")

        assert subscription == b"\x01"
        assert one.recv(64) == frame(b"hello", Dialect.ZMTP)
        one.close()


def test_a_crowd_of_zmtp_connections_speaks_with_libzmq() -> None:
    """The NULL handshake of ZMTP 3.0 is complete: libzmq takes a message from it."""
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.rcvtimeo = 10_000
        port = pull.bind_to_random_port("tcp://127.0.0.1")

        (one,) = connect_crowd(f"tcp://127.0.0.1:{port}", 1, Dialect.ZMTP, Pattern.PUSH)
        one.sendall(frame(b"hello", Dialect.ZMTP))

        assert pull.recv() == b"hello"
        one.close()
