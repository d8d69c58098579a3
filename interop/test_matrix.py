"""Each row of the table: bodies from empty to 1 MiB arrive whole and in order."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

import pytest

from interop.cases import CASES, SPREADS, Flow, answer_to
from interop.ours import answerer, asker, receiver, sender
from interop.peers.pynng_peer import PynngPeer
from interop.witness import PATIENCE, Witness
from nnqpy import Bus, Pair, Pair1
from nnqpy.events import PeerRemoved

if TYPE_CHECKING:
    from interop.cases import Case
    from interop.conftest import Peers
    from interop.ours import Answers, Asks, Receives, Sends
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


@pytest.mark.parametrize("case", [case for case in CASES if case.flow is Flow.ASK], ids=str)
def test_a_peer_answers_what_we_ask(case: Case, spots: Spots, peers: Peers) -> None:
    """The question comes out of the peer, and its answer of `recv`."""
    witness = Witness()
    with asker(case.ours, witness) as ours:
        peer = meet(case, ours, spots, peers, speaks=True)

        for body in case.bodies():
            peer.send(answer_to(body))  # before it is asked: a cat has it from its start
            ours.wait_for_peers(1, PATIENCE)
            ours.send(body)
            assert peer.receive() == [body]
            assert ours.recv(timeout=PATIENCE) == answer_to(body)
            part(peer, witness)


@pytest.mark.parametrize("case", [case for case in CASES if case.flow is Flow.ANSWER], ids=str)
def test_we_answer_what_a_peer_asks(case: Case, spots: Spots, peers: Peers) -> None:
    """The question comes to our handler, and what it returns out of the peer.

    Each time that it is asked: a cat that surveys does so again and again, to be heard at all.
    """
    witness = Witness()
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def handler(question: bytes) -> bytes:
        heard.put(question)
        return answer_to(question)

    with answerer(case.ours, witness) as ours:
        server = threading.Thread(target=ours.serve, args=(handler,), daemon=True)
        server.start()
        peer = meet(case, ours, spots, peers, speaks=True)

        for body in case.bodies():
            peer.send(body)
            assert heard.get(timeout=PATIENCE) == body
            assert peer.receive() == [answer_to(body)]
            part(peer, witness)
    server.join(PATIENCE)


def test_the_table_has_every_peer_on_either_side_of_every_transport() -> None:
    """A row that is lost from the table is a promise that is lost: count them."""
    ids = {str(case) for case in CASES}

    assert len(ids) == len(CASES) == 3 * 14 * 2 * 2 + 2 * 3 * 2 * 2
    assert {
        "pynng-push-to-pull-we-bind-tcp",
        "nngcat-pull-from-push-we-connect-ipc",
        "nanocat-pair-with-pair-we-bind-ipc",
        "pynng-sub-from-pub-we-connect-ipc",
        "nngcat-bus-with-bus-we-bind-tcp",
        "nngcat-req-asks-rep-we-bind-ipc",
        "nanocat-respondent-answers-surveyor-we-connect-tcp",
    } <= ids


def meet(case: Case, ours: Sends | Receives | Asks | Answers, spots: Spots, peers: Peers, *, speaks: bool) -> NngPeer:
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
