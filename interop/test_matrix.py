"""Each row of the table: bodies from empty to 1 MiB arrive whole and in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from interop.cases import CASES, SPREADS, Flow
from interop.ours import receiver, sender
from interop.peers.pynng_peer import PynngPeer
from interop.witness import PATIENCE, Witness
from nnqpy import Bus, Pair, Pair1
from nnqpy.events import PeerRemoved

if TYPE_CHECKING:
    from interop.cases import Case
    from interop.conftest import Peers
    from interop.ours import Receives, Sends
    from interop.peers.peer import NngPeer
    from interop.spots import Spots


ECHOES: dict[str, type[Bus | Pair | Pair1]] = {"bus": Bus, "pair": Pair, "pair1": Pair1}


@pytest.mark.parametrize("case", [case for case in CASES if case.flow is Flow.OUT], ids=str)
def test_a_peer_gets_what_we_send(case: Case, spots: Spots, peers: Peers) -> None:
    """What goes into `send` here comes out of the peer there."""
    with sender(case.ours) as ours:
        peer = meet(case, ours, spots, peers, speaks=False)
        ours.wait_for_peers(1, PATIENCE)

        for body in case.bodies():
            ours.send(body, timeout=PATIENCE)

        assert peer.receive(len(case.sizes)) == case.bodies()


@pytest.mark.parametrize("case", [case for case in CASES if case.flow is Flow.IN], ids=str)
def test_we_get_what_a_peer_sends(case: Case, spots: Spots, peers: Peers) -> None:
    """What the peer sends comes out of `recv`."""
    witness = Witness()
    with receiver(case.ours, witness) as ours:
        peer = meet(case, ours, spots, peers, speaks=True)

        for body in case.bodies():
            peer.send(body)
            assert ours.recv(timeout=PATIENCE) == body
            part(peer, witness)


@pytest.mark.parametrize("case", [case for case in CASES if case.flow is Flow.BOTH], ids=str)
def test_we_answer_a_peer(case: Case, spots: Spots, peers: Peers) -> None:
    """What the peer sends goes back to it on the same connection."""
    witness = Witness()
    kind = ECHOES[case.ours]
    with kind(on_event=witness, reconnect_min=0.02, reconnect_max=0.1) as ours:
        peer = meet(case, ours, spots, peers, speaks=True)

        for body in case.bodies():
            peer.send(body)
            ours.send(ours.recv(timeout=PATIENCE), timeout=PATIENCE)
            assert peer.receive() == [body]
            part(peer, witness)


def test_the_table_has_every_peer_on_either_side_of_every_transport() -> None:
    """A row that is lost from the table is a promise that is lost: count them."""
    ids = {str(case) for case in CASES}

    assert len(ids) == len(CASES) == 3 * 10 * 2 * 2 + 2 * 3 * 2 * 2
    assert {
        "pynng-push-to-pull-we-bind-tcp",
        "nngcat-pull-from-push-we-connect-ipc",
        "nanocat-pair-with-pair-we-bind-ipc",
        "pynng-sub-from-pub-we-connect-ipc",
        "nngcat-bus-with-bus-we-bind-tcp",
    } <= ids


def meet(case: Case, ours: Sends | Receives, spots: Spots, peers: Peers, *, speaks: bool) -> NngPeer:
    """Bind one side and connect the other, as the case says."""
    if case.we == "bind":
        url = ours.bind(spots.any_url(case.transport)).url
        peer = peers.start(case.peer, case.theirs, case.they, url, speaks=speaks)
    else:
        url = spots.url(case.transport)
        peer = peers.start(case.peer, case.theirs, case.they, url, speaks=speaks)
        ours.connect(url)
    if isinstance(peer, PynngPeer) and case.theirs in SPREADS:
        peer.attached()  # what it said before would be said to nobody
    return peer


def part(peer: NngPeer, witness: Witness) -> None:
    """Let go of a process that has said its one body, and see that we notice."""
    if peer.one_body:
        peer.stop()
        witness.wait(PeerRemoved)
