"""What a peer sent before it left is received, also when we notice its leaving by a write."""

from __future__ import annotations

import socket

from nnqpy import Pair
from nnqpy.wire.stream import TCP, greeting


def test_a_write_that_finds_the_peer_gone_loses_nothing_that_it_had_sent() -> None:
    """A Pair answers and closes while we send: the answer is received all the same."""
    with Pair() as pair:
        port = int(pair.bind("tcp://127.0.0.1:0").url.rpartition(":")[2])
        peer = socket.create_connection(("127.0.0.1", port))
        peer.sendall(greeting(0x10) + TCP.join([b"last", b"words"]))
        pair.wait_for_peers(timeout=10)
        into = pair._turns.into
        assert into.take()  # nobody reads: it is a write that finds the peer gone
        peer.close()  # with our greeting unread: a reset
        pair.send(b"into the void")
        pair.send(b"again")
        into.lock.release()

        assert pair.recv(timeout=10) == b"last"
        assert pair.recv(timeout=10) == b"words"
