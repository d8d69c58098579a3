"""Peers that must not come in: a second one at a Pair, and one that speaks the wrong pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from interop.ours import BRISK
from interop.witness import PATIENCE, Witness
from nnqpy import Pair, Pull, Push, TimedOut
from nnqpy.events import HandshakeFailed, PeerAdded, PeerRefused, PeerRemoved

if TYPE_CHECKING:
    from interop.conftest import Peers
    from interop.spots import Spots, Transport


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_pair_refuses_a_second_peer_until_the_first_has_left(
    transport: Transport, spots: Spots, peers: Peers
) -> None:
    """The first is not disturbed; the second, which dials again and again, gets the place when it is free."""
    witness = Witness()
    with Pair(on_event=witness) as pair:
        url = pair.bind(spots.any_url(transport)).url
        first = peers.pynng("pair", "connect", url)
        witness.wait(PeerAdded)

        second = peers.pynng("pair", "connect", url)
        refused = witness.wait(PeerRefused)
        assert (refused.address, refused.reason) == (url, "LIMIT_PIPES")
        for body in (b"still", b"here"):
            first.send(body)
            assert pair.recv(timeout=PATIENCE) == body
            pair.send(body)
            assert first.receive() == [body]
        first.close()
        witness.wait(PeerRemoved)
        witness.wait(PeerAdded)

        second.send(b"my turn")
        assert pair.recv(timeout=PATIENCE) == b"my turn"
        pair.send(b"welcome")
        assert second.receive() == [b"welcome"]
        assert first.received_nothing()


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_our_second_pair_gets_in_when_the_first_has_left(transport: Transport, spots: Spots, peers: Peers) -> None:
    """Their side lets it greet and then hangs up: we see an end, wait, and try again."""
    url, witness = spots.url(transport), Witness()
    peer = peers.pynng("pair", "bind", url)
    with Pair(connect=url, **BRISK) as first:
        peer.attached()
        with Pair(connect=url, on_event=witness, **BRISK) as second:
            assert witness.wait(PeerRemoved).reason in {"EOF", "RESET"}
            first.send(b"still here")
            assert peer.receive() == [b"still here"]

            first.close()
            peer.attached()
            peer.send(b"your turn")

            assert second.recv(timeout=PATIENCE) == b"your turn"


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_peer_of_another_pattern_is_told_apart(transport: Transport, spots: Spots, peers: Peers) -> None:
    """A Pub at our Push: the event names both sides and what was wanted; a Pull at the same address is served."""
    witness = Witness()
    with Push(on_event=witness) as push:
        url = push.bind(spots.any_url(transport)).url
        peers.pynng("pub", "connect", url)

        failed = witness.wait(HandshakeFailed)

        assert (failed.address, failed.reason) == (url, "PROTO_MISMATCH")
        assert failed.detail == "the peer is pub (0x0020); we are push (0x0050) and want pull (0x0051)"
        pull = peers.pynng("pull", "connect", url)
        push.send(b"work")
        assert pull.receive() == [b"work"]
        assert [peer.protocol for peer in push.peers] == ["pull"]


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_dialling_a_peer_of_another_pattern_says_so(transport: Transport, spots: Spots, peers: Peers) -> None:
    """Our Pull at their Pub: whoever waits for the connection learns why there is none."""
    url, witness = spots.url(transport), Witness()
    peers.pynng("pub", "bind", url)
    with Pull(on_event=witness, **BRISK) as pull:
        with pytest.raises(TimedOut, match=r"PROTO_MISMATCH: the peer is pub \(0x0020\)") as caught:
            pull.connect(url, wait=True, timeout=0.5)

        assert caught.value.reason == "no_peer"
        assert witness.wait(HandshakeFailed).reason == "PROTO_MISMATCH"
        assert pull.peers == ()


def test_a_pair_is_no_pair1(spots: Spots, peers: Peers) -> None:
    """Version 1 of the pattern has another number and another header: the two must not meet."""
    witness = Witness()
    with Pair(on_event=witness) as pair:
        peers.pynng("pair1", "connect", pair.bind(spots.any_url("tcp")).url)

        failed = witness.wait(HandshakeFailed)

        assert failed.detail == "the peer is pair1 (0x0011); we are pair (0x0010) and want pair (0x0010)"
