"""Peers and sockets that go away and come back: what is sent to nobody waits, what is sent after arrives."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from interop.ours import BRISK, receiver, sender
from interop.witness import PATIENCE, Witness
from nnqpy import Pair, Pull, Push, TimedOut
from nnqpy.events import PeerAdded, PeerRemoved

if TYPE_CHECKING:
    from interop.conftest import Peers
    from interop.ours import Receives
    from interop.peers.peer import Side
    from interop.peers.pynng_peer import PynngPeer
    from interop.spots import Spots, Transport

each_way = pytest.mark.parametrize(
    ("we", "they", "transport"),
    [("bind", "connect", "tcp"), ("bind", "connect", "ipc"), ("connect", "bind", "tcp"), ("connect", "bind", "ipc")],
)
on_each = pytest.mark.parametrize("transport", ["tcp", "ipc"])


@each_way
@pytest.mark.parametrize(("ours", "theirs"), [("push", "pull"), ("pair", "pair")])
def test_what_we_send_waits_for_a_killed_peer_to_come_back(
    ours: str, theirs: str, we: Side, they: Side, transport: Transport, spots: Spots, peers: Peers
) -> None:
    """The peer is killed; what is sent meanwhile goes to the next one at the same address, and so on."""
    url, witness = spots.url(transport), Witness()
    with sender(ours, witness) as socket:
        (socket.bind if we == "bind" else socket.connect)(url)
        first = peers.pynng(theirs, they, url)
        socket.send(b"before")
        assert first.receive() == [b"before"]
        first.stop()
        witness.wait(PeerRemoved)

        socket.send(b"meanwhile")
        second = peers.pynng(theirs, they, url)
        assert second.receive() == [b"meanwhile"]
        socket.send(b"after")
        assert second.receive() == [b"after"]


@each_way
@pytest.mark.parametrize(("ours", "theirs"), [("pull", "push"), ("pair", "pair")])
def test_we_get_what_a_peer_sends_after_it_was_killed_and_came_back(
    ours: str, theirs: str, we: Side, they: Side, transport: Transport, spots: Spots, peers: Peers
) -> None:
    """What the first sent is there although it was killed before we asked; then the second one's."""
    url, witness = spots.url(transport), Witness()
    with receiver(ours, witness) as socket:
        (socket.bind if we == "bind" else socket.connect)(url)
        first = peers.pynng(theirs, they, url)
        first.send(b"before 1")
        first.send(b"before 2")
        first.sent(2)  # nng takes the second when the first is with the kernel
        first.stop()
        second = peers.pynng(theirs, they, url)
        assert socket.recv(timeout=PATIENCE) == b"before 1"

        second.send(b"after")

        rest = [socket.recv(timeout=PATIENCE)]
        if rest == [b"before 2"]:  # it was under way when the process was killed
            rest.append(socket.recv(timeout=PATIENCE))
        assert rest[-1] == b"after"


@on_each
@pytest.mark.parametrize(("ours", "theirs"), [("push", "pull"), ("pair", "pair")])
def test_our_sender_comes_back_to_its_address(
    ours: str, theirs: str, transport: Transport, spots: Spots, peers: Peers
) -> None:
    """We close and bind the same address at once; the peer's dialer finds us and gets what the new socket sends."""
    url = spots.url(transport)
    peer = peers.pynng(theirs, "connect", url)
    for body in (b"from the first", b"from the second", b"from the third"):
        with sender(ours) as socket:
            socket.bind(url)
            peer.attached()
            socket.send(body)

            assert peer.receive() == [body]
        peer.detached()


@on_each
@pytest.mark.parametrize(("ours", "theirs"), [("pull", "push"), ("pair", "pair")])
def test_our_receiver_comes_back_to_its_address(
    ours: str, theirs: str, transport: Transport, spots: Spots, peers: Peers
) -> None:
    """The same for what the peer sends.

    It sends once it is attached, and again if that is not enough: what is sent in the moment of a loss nng may still give
    to the connection that is lost (its own doing: so it is also with a bare socket in our place, in a few of a hundred).
    """
    url = spots.url(transport)
    peer = peers.pynng(theirs, "connect", url)
    for body in (b"to the first", b"to the second", b"to the third"):
        with receiver(ours) as socket:
            socket.bind(url)
            peer.attached()

            assert body_of(peer, body, socket) == body
            peer.ready()
        peer.detached()


def body_of(peer: PynngPeer, body: bytes, socket: Receives) -> bytes:
    """Have a peer send a body until one comes."""
    for _ in range(int(PATIENCE)):
        peer.send(body)
        with suppress(TimedOut):
            return socket.recv(timeout=1)
    raise TimedOut("nothing comes", timeout=PATIENCE, reason="no_message")


@on_each
def test_our_dialing_socket_is_replaced_by_another(transport: Transport, spots: Spots, peers: Peers) -> None:
    """Their Pair has one place: our next socket gets it as soon as the former is gone."""
    url = spots.url(transport)
    peer = peers.pynng("pair", "bind", url)
    for body in (b"1", b"2", b"3"):
        with Pair(connect=url, **BRISK) as pair:
            peer.attached()
            pair.send(body)
            assert peer.receive() == [body]
            peer.send(body)
            assert pair.recv(timeout=PATIENCE) == body
        peer.detached()


def test_we_bind_where_a_killed_peer_left_its_file(spots: Spots, peers: Peers) -> None:
    """Killed, nng leaves its socket file behind; a bind of ours takes the address over."""
    url = spots.url("ipc")
    peers.pynng("push", "bind", url).stop()

    with Pull(bind=url) as pull:
        peers.pynng("push", "connect", url).send(b"here")

        assert pull.recv(timeout=PATIENCE) == b"here"


@on_each
def test_a_peer_killed_in_full_flow_costs_only_what_the_kernel_had(
    transport: Transport, spots: Spots, peers: Peers
) -> None:
    """The next peer gets the rest: whole messages, in order, none twice, without a gap, to the last."""
    bodies = [(b"%d " % n).ljust(8192, b".") for n in range(2000)]
    url, witness = spots.url(transport), Witness()
    with Push(bind=url, send_hwm=len(bodies), on_event=witness) as push:
        first = peers.pynng("pull", "connect", url, "held")
        witness.wait(PeerAdded)
        push.send_many(bodies, timeout=PATIENCE)
        first.stop()
        gone = witness.wait(PeerRemoved)

        rest = until(peers.pynng("pull", "connect", url), bodies[-1])

        assert rest == bodies[-len(rest) :]
        assert len(bodies) - len(rest) in {gone.peer.sent, gone.peer.sent + 1}  # and the one that was under way
        stats = push.stats()
        assert (stats.accepted, stats.queued) == (len(bodies), 0)
        assert stats.delivered + sum(stats.dropped.values()) == len(bodies)


def until(peer: PynngPeer, last: bytes) -> list[bytes]:
    """Return what the peer received, up to and with `last`."""
    bodies = peer.receive()
    while bodies[-1] != last:
        bodies += peer.receive()
    return bodies
