"""Many messages: all of them, once, in order, whichever way they go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from interop.ours import receiver, sender
from interop.peers.cats import Nngcat
from interop.witness import PATIENCE
from nnqpy import Pair, Pull

if TYPE_CHECKING:
    from interop.conftest import Peers
    from interop.peers.pynng_peer import PynngPeer
    from interop.spots import Spots, Transport

COUNT = 20_000


def numbered(count: int, size: int) -> list[bytes]:
    """Return bodies of which no two are the same, so that a lost, doubled or misplaced one shows."""
    return [(b"%d " % n).ljust(size, b".") for n in range(count)]


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize(("ours", "theirs"), [("push", "pull"), ("pair", "pair")])
def test_a_peer_gets_many_small_messages(
    ours: str, theirs: str, transport: Transport, spots: Spots, peers: Peers
) -> None:
    """Twenty thousand, faster than nng takes them: the send queue's mark is met, and nothing is lost or moved."""
    bodies = numbered(COUNT, 20)
    with sender(ours) as socket:
        peer = peers.pynng(theirs, "connect", socket.bind(spots.any_url(transport)).url)

        for body in bodies:
            socket.send(body, timeout=PATIENCE)

        assert peer.receive(COUNT) == bodies
        assert socket.stats().delivered == COUNT


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize(("ours", "theirs"), [("pull", "push"), ("pair", "pair")])
def test_we_get_many_small_messages(ours: str, theirs: str, transport: Transport, spots: Spots, peers: Peers) -> None:
    """Twenty thousand, as fast as nng sends them."""
    bodies = numbered(COUNT, 20)
    url = spots.url(transport)
    with receiver(ours) as socket:
        peer = peers.pynng(theirs, "bind", url)
        socket.connect(url)

        for body in bodies:
            peer.send(body)

        assert [socket.recv(timeout=PATIENCE) for _ in bodies] == bodies
        assert socket.stats().received == COUNT


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_large_messages_both_ways_at_once(transport: Transport, spots: Spots, peers: Peers) -> None:
    """A hundred of 64 KiB each way, more than the kernel holds: neither direction waits for the other."""
    bodies = numbered(100, 65536)
    with Pair() as pair:
        peer = peers.pynng("pair", "connect", pair.bind(spots.any_url(transport)).url)
        for body in bodies:
            peer.send(body)

        for body in bodies:
            pair.send(body, timeout=PATIENCE)

        assert [pair.recv(timeout=PATIENCE) for _ in bodies] == bodies
        assert peer.receive(len(bodies)) == bodies


def test_nngcat_gets_many_small_messages(spots: Spots, peers: Peers) -> None:
    """The other program built on nng takes them too."""
    bodies = numbered(COUNT, 20)
    url = spots.url("tcp")
    peer = peers.start("nngcat", "pull", "bind", url, speaks=False)
    with sender("push") as push:
        push.connect(url)

        push.send_many(bodies, timeout=PATIENCE)

        assert peer.receive(COUNT) == bodies


def test_we_get_many_from_nngcat_and_the_last_before_it_ends(spots: Spots, peers: Peers) -> None:
    """It sends back to back and exits by itself; what it sent is all there."""
    with Pull() as pull:
        peer = peers.start("nngcat", "push", "connect", pull.bind(spots.any_url("tcp")).url, speaks=True)
        assert isinstance(peer, Nngcat)

        peer.send_copies(b"again and again", COUNT)

        assert [pull.recv(timeout=PATIENCE) for _ in range(COUNT)] == [b"again and again"] * COUNT
        assert peer.wait() == 0


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_three_peers_share_the_work_and_none_is_lost(transport: Transport, spots: Spots, peers: Peers) -> None:
    """One Push to three pynng Pulls: each message at exactly one of them, each of them with a part, in order."""
    bodies = numbered(3000, 20)
    with sender("push") as push:
        url = push.bind(spots.any_url(transport)).url
        workers: list[PynngPeer] = []
        for n in (1, 2, 3):  # one after the other, so that we know which of our peers is which worker
            workers.append(peers.pynng("pull", "connect", url))
            push.wait_for_peers(n, timeout=PATIENCE)

        push.send_many(bodies, timeout=PATIENCE)
        push.flush(timeout=PATIENCE)

        shares = [peer.sent for peer in sorted(push.peers, key=lambda peer: peer.id)]
        parts = [worker.receive(share) for worker, share in zip(workers, shares, strict=True)]
        assert min(shares) > 0
        assert sorted(body for part in parts for body in part) == sorted(bodies)
        assert all(part == sorted(part, key=number_of) for part in parts)


def number_of(body: bytes) -> int:
    """Return the number that `numbered` wrote into a body."""
    return int(body.split()[0])
