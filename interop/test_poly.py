"""A polyamorous Pair1 talks to many, to each by name: ours with nng's peers, nng's with ours."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from interop.ours import BRISK
from interop.witness import PATIENCE, Witness
from nnqpy import Pair1
from nnqpy.events import PeerRemoved

if TYPE_CHECKING:
    from interop.conftest import Peers
    from interop.peers.pynng_peer import PynngPeer
    from interop.spots import Spots, Transport

on_each = pytest.mark.parametrize("transport", ["tcp", "ipc"])


@on_each
def test_our_hub_answers_each_of_its_peers(transport: Transport, spots: Spots, peers: Peers) -> None:
    """Three of nng's, one of them nngcat, dial it; each gets what is addressed to it, and nothing else."""
    with Pair1(poly=True) as hub:
        url = hub.bind(spots.any_url(transport)).url
        spokes = {
            b"first": peers.pynng("pair1", "connect", url),
            b"second": peers.pynng("pair1", "connect", url),
            b"cat": peers.start("nngcat", "pair1", "connect", url, speaks=True),
        }

        for name, spoke in spokes.items():
            spoke.send(name)
        said = [hub.recv_message(timeout=PATIENCE) for _ in spokes]
        for message in said:
            hub.send(b"to " + message.body, peer=message.peer)

        assert {message.body for message in said} == set(spokes)
        assert len({message.peer for message in said}) == 3
        for name, spoke in spokes.items():
            assert spoke.receive() == [b"to " + name]


@on_each
def test_our_hub_dials_its_peers(transport: Transport, spots: Spots, peers: Peers) -> None:
    """The same the other way round: it speaks first, by the order in which they were attached."""
    with Pair1(poly=True, **BRISK) as hub:
        spokes: list[PynngPeer] = []
        for n in (1, 2, 3):
            spokes.append(peers.pynng("pair1", "bind", spots.url(transport)))
            hub.connect(spokes[-1].url)
            hub.wait_for_peers(n, PATIENCE)

        names = sorted(peer.id for peer in hub.peers)
        for n, peer in enumerate(names):
            hub.send(b"%d" % n, peer=peer)

        for n, (peer, spoke) in enumerate(zip(names, spokes, strict=True)):
            assert spoke.receive() == [b"%d" % n]
            spoke.send(b"yes")
            assert hub.recv_message(timeout=PATIENCE)[1:] == (b"yes", peer)


def test_a_peer_of_our_hub_leaves_and_the_others_stay(spots: Spots, peers: Peers) -> None:
    """What is sent to one who is gone is dropped and counted; the next message goes to who is there."""
    witness = Witness()
    with Pair1(poly=True, on_event=witness) as hub:
        url = hub.bind(spots.any_url("tcp")).url
        stays, leaves = (peers.pynng("pair1", "connect", url) for _ in range(2))
        stays.send(b"here")
        here = hub.recv_message(timeout=PATIENCE).peer
        leaves.send(b"not for long")
        gone = hub.recv_message(timeout=PATIENCE).peer
        leaves.stop()
        assert witness.wait(PeerRemoved).peer.id == gone

        hub.send(b"too late", peer=gone)
        hub.send(b"to you", peer=here)

        assert stays.receive() == [b"to you"]
        assert hub.stats().dropped == {"peer_gone": 1}


@on_each
def test_our_pairs_are_peers_of_an_nng_hub(transport: Transport, spots: Spots, peers: Peers) -> None:
    """Ours are as any Pair1; one of them is polyamorous itself."""
    url = spots.url(transport)
    hub = peers.pynng("pair1", "bind", url, "poly")
    with ExitStack() as stack:
        spokes = {
            name: stack.enter_context(Pair1(poly=name == b"poly", connect=url, **BRISK))
            for name in (b"first", b"second", b"poly")
        }
        for name, spoke in spokes.items():
            spoke.wait_for_peers(1, PATIENCE)
            spoke.send(name)

        said = [hub.receive_from() for _ in spokes]
        for pipe, name in said:
            hub.send_to(pipe, b"to " + name)

        assert {name for _, name in said} == set(spokes)
        for name, spoke in spokes.items():
            assert spoke.recv(timeout=PATIENCE) == b"to " + name
