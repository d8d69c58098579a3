"""Req asks until it is answered: what dies with its peer, or is too late, goes to another; Rep answers by the same way."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest

import nnqpy
from nnqpy.errors import Reason
from nnqpy.message import Addressed, Message
from nnqpy.options import Options
from nnqpy.patterns.reqrep import RepCore, ReqCore
from nnqpy.proto import Proto
from nnqpy.routing.core import NEVER, SMALL
from tests.kit.cores import queue
from tests.kit.interleaving import intrude
from tests.kit.interrupts import interrupt
from tests.kit.janitors import employ
from tests.kit.peers import FakePeer, frame, marry
from tests.kit.waiters import FakeWaiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnqpy.routing.questions import Question

RESEND: Final = 60.0
SIZE: Final = len(frame(b"....body"))
"""Bytes of a request's frame."""


class Scene:
    """A core, its peers, and what it was asked."""

    def __init__(self, *rooms: int | None, **options: Any) -> None:  # Options checks them
        self.core = ReqCore(Options(**options))
        self.core.replaceable = True
        self.peers = [FakePeer(room) for room in rooms]
        marry(self.core, *self.peers)
        self.asked: list[Question] = []
        self.reminded: list[float] = []
        self.act: Callable[[], object] = self.core.pump

    def ask(self, body: bytes = b"body", *, again_after: float | None = RESEND) -> Question:
        """Ask at second 0."""
        question = self.core.ask(body, 1)
        queue(self.core, [question.payload])
        if again_after is not None:
            self.core.schedule(question, 0.0, again_after, self.reminded.append)
        self.asked.append(question)
        return question

    def asks(self, number: int, body: bytes = b"body", *, again_after: float | None = RESEND) -> list[Question]:
        return [self.ask(body, again_after=again_after) for _ in range(number)]

    def come(self) -> FakePeer:
        """Another peer comes, with room for all."""
        peer = FakePeer()
        self.peers.append(peer)
        marry(self.core, peer)
        return peer

    def answer(self, question: Question, by: FakePeer, body: bytes = b"reply") -> None:
        self.core.inbox.extend(self.core.deliver(by, [question.key + body]))
        self.core.sort()

    def check_count(self) -> None:
        """Each request was accepted once, and once more each time that it was sent again."""
        assert self.core.stats().accepted == len(self.asked) + self.core.resent


def test_req_speaks_to_rep_both_ways() -> None:
    """The numbers that the greeting carries."""
    assert (ReqCore.proto, RepCore.proto) == (Proto.REQ, Proto.REP)
    assert (ReqCore.proto.peer, RepCore.proto.peer) == (Proto.REP, Proto.REQ)
    assert {core.sends and core.receives for core in (ReqCore, RepCore)} == {True}


def test_a_request_goes_to_one_peer() -> None:
    """They are dealt out as jobs are; who has one is noted."""
    scene = Scene(None, None)
    questions = scene.asks(6)
    scene.core.pump()

    assert sorted(body for peer in scene.peers for body in peer.written) == sorted(one.payload for one in questions)
    assert [len(peer.written) for peer in scene.peers] == [3, 3]
    for question in questions:
        (has,) = [peer for peer in scene.peers if question.payload in peer.written]
        assert question.peer == has.id


def test_a_reply_counts_from_whichever_peer() -> None:
    """The number decides, as in nng: a device may have another way back."""
    scene = Scene(None, None)
    question = scene.ask()
    scene.core.pump()
    (other,) = [peer for peer in scene.peers if not peer.written]

    scene.answer(question, other)

    assert list(question.queue) == [question.key + b"reply"]


# --- the peer that has it dies -----------------------------------------------------------------------------------


def test_what_a_dead_peer_has_goes_to_another_at_once() -> None:
    """The same bytes, without waiting for the resend time; what it has answered does not."""
    scene = Scene(None)
    dead = scene.peers[0]
    answered, *open_ones = scene.asks(3)
    scene.core.pump()
    scene.answer(answered, dead)
    heir = scene.come()
    dead.die()
    scene.core.pump()

    assert heir.written == [question.payload for question in open_ones]
    assert {question.peer for question in open_ones} == {heir.id}
    assert scene.core.resent == 2
    scene.check_count()


def test_what_other_peers_have_stays_with_them() -> None:
    """A death is nobody else's affair."""
    scene = Scene(None, None)
    scene.asks(4)
    scene.core.pump()
    dead, other = scene.peers
    before = list(other.written)
    dead.die()
    scene.core.pump()

    assert other.written == before + dead.written
    assert scene.core.resent == 2


def test_it_waits_for_the_next_peer_if_there_is_none() -> None:
    """It stands in the outbox once, however often the death is looked at."""
    scene = Scene(None)
    question = scene.ask()
    scene.core.pump()
    scene.peers[0].die()
    scene.core.pump()
    scene.core.pump()

    assert list(scene.core.outbox) == [question.payload]
    assert question.peer == 0
    assert scene.come() is scene.peers[1]
    scene.core.pump()
    assert scene.peers[1].written == [question.payload]


def test_a_large_request_weighs_again() -> None:
    """What is queued again counts against the mark of bytes, as what is queued first."""
    scene = Scene(None)
    question = scene.ask(bytes(SMALL + 1))
    scene.core.pump()
    scene.peers[0].die()
    scene.core.pump()

    assert (scene.core.big, scene.core.big_bytes) == (1, len(question.payload))


def test_one_that_was_begun_is_rescued_and_not_sent_twice() -> None:
    """The dead peer cannot have it whole: it is the same message, and no resending."""
    scene = Scene(SIZE + 5)
    whole, begun = scene.asks(2)
    scene.core.pump()
    assert (whole.peer, begun.peer) == (scene.peers[0].id, 0)
    heir = scene.come()
    scene.peers[0].die()
    scene.core.pump()

    assert Counter(heir.written) == Counter([whole.payload, begun.payload])
    assert scene.core.resent == 1
    assert not scene.core.outbox
    scene.check_count()


@pytest.mark.parametrize("again_after", [RESEND, None])
def test_one_whose_last_byte_went_unnoticed_is_the_dead_peers(again_after: float | None) -> None:
    """Ctrl-C came between the end of a frame and its booking, then the peer died: it has it, and may not answer it."""
    for at in count():
        scene = Scene(5)
        question = scene.ask(again_after=again_after)
        scene.core.pump()
        (dead,) = scene.peers
        done = not interrupt(dead.give_room, at, "nnqpy.routing")
        heir = scene.come()
        dead.die()
        scene.core.pump()

        if again_after is not None or not dead.written:
            assert heir.written == [question.payload]
        else:
            assert (heir.written, bool(question.over)) == ([], True)
        if done:
            return


def test_one_that_may_be_sent_only_once_fails_with_its_peer() -> None:
    """Those who wait for it are told why; those that were not written yet are not concerned."""
    scene = Scene(SIZE)
    lost, waiting = scene.asks(2, again_after=None)
    asker, other = FakeWaiter(), FakeWaiter()
    lost.line.append(asker)
    waiting.line.append(other)
    scene.core.pump()
    scene.peers[0].die()
    scene.core.pump()

    assert "resend_time=None" in lost.over
    assert (asker.woken, other.woken, waiting.over) == (True, False, "")
    assert list(scene.core.outbox) == [waiting.payload]
    assert scene.core.resent == 0


def test_a_reply_that_was_read_before_the_end_counts() -> None:
    """Its peer answered and left, and the leaving was seen to before the answer was: the answer is there all the same."""
    scene = Scene(None)
    question = scene.ask(again_after=None)
    scene.core.pump()
    (peer,) = scene.peers
    scene.core.inbox.extend(scene.core.deliver(peer, [question.key + b"reply"]))
    peer.die(Reason.EOF)
    scene.core.pump()
    scene.core.sort()

    assert list(question.queue) == [question.key + b"reply"]


def test_nothing_is_sent_again_once_the_socket_closes() -> None:
    """Nobody waits for the replies any more: an open request is not queued again, nor counted as given up."""
    scene = Scene(None)
    scene.asks(3)
    scene.ask(again_after=None)
    scene.core.pump()
    scene.core.look = -1
    scene.peers[0].die(Reason.CLOSED_BY_US)

    assert scene.core.abandon() == 0
    assert (scene.core.resent, scene.core.stats().dropped) == (0, {})
    scene.check_count()


# --- the time is over --------------------------------------------------------------------------------------------


def test_only_what_is_due_is_sent_again() -> None:
    """Its time advances; the next look is at the earliest of all."""
    scene = Scene(None)
    first, second = scene.ask(again_after=10.0), scene.ask(again_after=15.0)
    scene.core.pump()

    assert scene.core.on_time(9.9) == 10.0
    assert not scene.core.outbox
    assert scene.core.on_time(10.5) == 15.0 == scene.core.timer
    assert list(scene.core.outbox) == [first.payload]
    assert first.due == 20.5
    scene.core.pump()
    assert scene.core.on_time(15.0) == 20.5
    assert list(scene.core.outbox) == [second.payload]
    assert (second.due, scene.core.resent) == (30.0, 2)
    scene.check_count()


def test_an_answered_one_is_not_sent_again() -> None:
    """Nor does anybody come for it."""
    scene = Scene(None)
    question = scene.ask(again_after=10.0)
    scene.core.pump()
    scene.answer(question, scene.peers[0])

    assert scene.core.on_time(11.0) == NEVER == scene.core.timer
    assert not scene.core.outbox


def test_a_forgotten_one_is_not_sent_again() -> None:
    """Whether it was given up, or nobody has it any more."""
    scene = Scene(None)
    given_up = scene.ask(again_after=10.0)
    scene.ask(again_after=10.0)
    scene.core.pump()
    scene.core.forget(given_up)
    scene.asked.clear()

    assert scene.core.on_time(11.0) == NEVER
    assert not scene.core.outbox


def test_one_that_has_not_left_yet_is_not_queued_again() -> None:
    """Whether its time is over or its asker insists; its time advances nevertheless."""
    scene = Scene(0)
    question = scene.ask(again_after=10.0)
    scene.core.pump()
    scene.core.again(question)

    assert scene.core.on_time(10.0) == 20.0
    assert list(scene.core.outbox) == [question.payload]
    assert scene.core.resent == 0


def test_one_that_is_begun_is_not_queued_again() -> None:
    """A part of it is with its peer, and the rest follows."""
    scene = Scene(5)
    question = scene.ask()
    scene.core.pump()
    scene.core.again(question)

    assert not scene.core.outbox
    assert scene.core.resent == 0


def test_one_that_is_taken_back_before_it_left_a_second_time_is_not_sent() -> None:
    """It was queued again, and its asker has had enough."""
    scene = Scene(None)
    question = scene.ask()
    scene.core.pump()
    scene.core.again(question)
    scene.core.forget(question)
    scene.core.pump()

    assert scene.peers[0].written == [question.payload]


def test_only_for_the_earliest_request_somebody_is_reminded() -> None:
    """Who comes for an earlier one sees to the later ones."""
    scene = Scene()
    for now, again_after in ((0.0, 60.0), (1.0, 60.0), (2.0, 1.0)):
        scene.core.schedule(scene.core.ask(b"", 1), now, again_after, scene.reminded.append)

    assert scene.reminded == [60.0, 3.0]
    assert scene.core.timer == 3.0


def test_an_interrupted_asker_leaves_no_time_that_nobody_keeps() -> None:
    """Ctrl-C anywhere in `schedule`: the next to ask relies on somebody only if he was reminded."""
    for at in count():
        scene = Scene()
        first, second = scene.core.ask(b"", 1), scene.core.ask(b"", 1)
        scene.act = partial(scene.core.schedule, first, 0.0, 1.0, scene.reminded.append)
        done = not interrupt(scene.act, at, "nnqpy.patterns")
        assert not scene.core.lock.locked()
        assert scene.core.timer in (NEVER, *scene.reminded)

        scene.core.schedule(second, 100.0, 1.0, scene.reminded.append)
        assert scene.core.timer in scene.reminded
        if done:
            assert at
            return


def test_who_asks_while_others_are_sent_again_is_not_overlooked() -> None:
    """At whichever step of `on_time` it comes: somebody comes for it in time, or it is told to call somebody."""
    for at in count():
        scene = Scene(None)
        scene.ask(again_after=10.0)
        scene.core.pump()
        late = scene.core.ask(b"late", 1)

        def ask(scene: Scene = scene, late: Question = late) -> None:
            scene.core.schedule(late, 10.0, 1.0, scene.reminded.append)

        def look(scene: Scene = scene) -> None:
            scene.reminded.append(scene.core.on_time(10.0))

        if not intrude(look, at, ask, scene.core, "nnqpy.patterns.reqrep"):
            return
        assert scene.core.timer == late.due == 11.0
        assert 11.0 in scene.reminded


# --- interrupts ----------------------------------------------------------------------------------------------------


def going_out() -> Scene:
    scene = Scene(3 * SIZE + 5, None)
    scene.asks(9)
    return scene


def a_death() -> Scene:
    scene = going_out()
    scene.core.pump()
    scene.peers[0].die()
    return scene


def a_death_of_all() -> Scene:
    scene = going_out()
    scene.core.pump()
    for peer in scene.peers:
        peer.die()
    return scene


def a_death_in_a_write() -> Scene:
    scene = going_out()
    scene.peers[1].after_write = scene.peers[1].die
    return scene


def a_death_with_large_ones() -> Scene:
    scene = Scene(None)
    scene.asks(3, bytes(SMALL + 1))
    scene.core.pump()
    scene.peers[0].die()
    return scene


@pytest.mark.parametrize("make", [going_out, a_death, a_death_of_all, a_death_in_a_write, a_death_with_large_ones])
def test_every_request_is_with_a_living_peer_in_the_end(make: Callable[[], Scene]) -> None:
    """Ctrl-C anywhere in a pump: it is with one peer, once, and was sent again only if the one that had it died."""
    for at in count():
        scene = make()
        done = not interrupt(scene.act, at, "nnqpy.routing", "nnqpy.patterns")
        scene.check_count()
        heir = scene.come()
        for _ in range(3):
            for peer in scene.peers:
                if not peer.gone:
                    peer.give_room()
            scene.core.pump()

        alive = Counter(body for peer in scene.peers if not peer.gone for body in peer.written)
        assert alive == Counter(question.payload for question in scene.asked), at
        dead = sum(len(peer.written) for peer in scene.peers if peer.gone)
        assert scene.core.resent == dead
        for question in scene.asked:
            assert question.peer in {peer.id for peer in scene.peers if question.payload in peer.written}
        assert (scene.core.big, scene.core.big_bytes) == (0, 0)
        scene.check_count()
        assert heir.gone is False
        if done:
            assert at
            return


# --- the socket ----------------------------------------------------------------------------------------------------


def test_a_peer_that_dies_right_after_it_was_written_is_replaced() -> None:
    """Another thread sees to its death before `send` returns: the request goes on all the same, and is answered."""

    class Unlucky(nnqpy.Req):
        def _queue(self, payload: bytes, timeout: float | None) -> None:
            super()._queue(payload, timeout)
            first.die()
            self._turns.write()

    first, second = FakePeer(), FakePeer()
    with Unlucky() as req:
        employ(req._turns)
        marry(req._turns, first)
        req.send(b"question")
        (payload,) = first.written
        marry(req._turns, second)
        req._turns.write()
        assert second.written == [payload]
        second.send(payload[:4] + b"reply")

        assert req.recv(timeout=10) == b"reply"
        assert req.resent == 1


# --- Rep -----------------------------------------------------------------------------------------------------------


def test_rep_shows_requests_and_answers_by_their_way() -> None:
    """Header and body are apart; the answer has the header in front, and goes to who asked."""
    core, peers = RepCore(Options()), [FakePeer(), FakePeer()]
    marry(core, *peers)
    requests = [request for peer in peers for request in core.deliver(peer, [b"\0\0\0\7\x80\0\0\1one", b"\xff\0\0\2"])]

    assert requests == [
        message
        for peer in peers
        for message in (Message(b"\0\0\0\7\x80\0\0\1", b"one", peer.id), Message(b"\xff\0\0\2", b"", peer.id))
    ]
    for request in reversed(requests):
        queue(core, [Addressed.to(request.peer, request.header, b"re:", request.body)])
    core.pump()
    for peer in peers:
        assert peer.written == [b"\xff\0\0\2re:", b"\0\0\0\7\x80\0\0\1re:one"]


def test_rep_drops_the_answer_to_one_who_left() -> None:
    """It is nobody else's."""
    core, asker, other = RepCore(Options()), FakePeer(), FakePeer()
    marry(core, asker, other)
    (request,) = core.deliver(asker, [b"\x80\0\0\1x"])
    asker.die(Reason.EOF)
    queue(core, [Addressed.to(request.peer, request.header, b"answer")])
    core.pump()

    assert (other.written, core.stats().dropped) == ([], {"peer_gone": 1})
