"""Questions: a reply finds who asked by its number; each is in one place, and whoever waits is told in the end."""

from __future__ import annotations

import gc
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnqpy.errors import Reason
from nnqpy.events import PeerRemoved
from nnqpy.options import Options
from nnqpy.proto import Proto
from nnqpy.routing.core import SMALL
from nnqpy.routing.questions import SWEEP, Questions
from tests.kit.cores import Receiver, queue
from tests.kit.interleaving import intrude
from tests.kit.interrupts import interrupt
from tests.kit.peers import FakePeer, marry
from tests.kit.waiters import FakeWaiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnqpy.events import Event
    from nnqpy.routing.questions import Question

ROUTING: Final = "nnqpy.routing"
LAST_NUMBER: Final = 0x7FFFFFFF


class Asker(Questions):
    """A core that asks and nothing else."""

    proto = Proto.REQ


class Scene:
    """A core, its peers, the questions that are open, and those who wait for replies."""

    def __init__(self, *limits: int, peers: int = 1, **options: Any) -> None:  # Options checks them
        self.core = Asker(Options(**options))
        self.peers = [FakePeer() for _ in range(peers)]
        marry(self.core, *self.peers)
        self.told: list[Event] = []
        self.core.emit = self.told.append
        self.questions = [self.core.ask(b"?", limit) for limit in limits]
        self.waiters = [FakeWaiter() for _ in limits]
        for question, waiter in zip(self.questions, self.waiters, strict=True):
            question.line.append(waiter)
        self.arrived = 0

    def arrive(self, *replies: bytes, by: int = 0) -> None:
        """Have a peer's replies read, but not sorted."""
        self.arrived += len(replies)
        self.core.inbox.extend(self.core.deliver(self.peers[by], list(replies)))

    @property
    def queues(self) -> list[list[bytes]]:
        """The replies that each question has, without the number."""
        for question in self.questions:
            assert all(reply[:4] == question.key for reply in question.queue)
        return [[reply[4:] for reply in question.queue] for question in self.questions]

    def check(self) -> None:
        """Each reply is with its question, in the inbox, or discarded."""
        stats = self.core.stats()
        assert stats.inbox + sum(stats.discarded.values()) == self.arrived


# --- numbers -------------------------------------------------------------------------------------------------------


def test_a_number_has_the_highest_bit_set_and_stands_in_front() -> None:
    """As the RFC has it; no two open questions have the same."""
    core = Asker(Options())
    questions = [core.ask(b"body", 1) for _ in range(1000)]

    assert len({question.key for question in questions}) == 1000
    for question in questions:
        assert question.payload == question.key + b"body"
        assert (len(question.key), question.key[0] & 0x80) == (4, 0x80)


def test_two_sockets_begin_with_numbers_of_their_own() -> None:
    """A Req that is started again does not take the replies to the one before for its own."""
    assert len({Asker(Options()).ask(b"", 1).key for _ in range(20)}) > 10


def test_the_numbers_wrap_around() -> None:
    """Behind the last one comes the first, and the highest bit stays."""
    core = Asker(Options())
    core._numbers = count(LAST_NUMBER - 1)
    questions = [core.ask(b"", 1) for _ in range(4)]

    assert [question.key.hex() for question in questions] == ["fffffffe", "ffffffff", "80000000", "80000001"]


def test_a_number_that_is_open_is_not_given_again() -> None:
    """However long ago that was."""
    core = Asker(Options())
    core._numbers = count(5)
    first = core.ask(b"", 1)
    core._numbers = count(5)
    second = core.ask(b"", 1)

    assert (first.key.hex(), second.key.hex()) == ("80000005", "80000006")
    assert core.find(first.payload) is first
    assert core.find(second.payload) is second


@given(start=st.integers(0, LAST_NUMBER), number=st.integers(1, 20))
def test_every_question_is_found_by_its_number(start: int, number: int) -> None:
    """Whatever number is the first, and whatever stands behind it in a reply."""
    core = Asker(Options())
    core._numbers = count(start)
    questions = [core.ask(b"", 1) for _ in range(number)]

    assert core.open() == questions
    assert [core.find(question.key + b"reply") for question in questions] == questions


# --- replies -------------------------------------------------------------------------------------------------------


def test_replies_find_their_questions_from_any_peer() -> None:
    """In any order; who waits for one is woken, and nobody else is."""
    scene = Scene(1, 1, 1, peers=2)
    first, second, _ = scene.questions
    scene.arrive(second.key + b"b", by=1)
    scene.arrive(first.key, by=0)
    scene.core.sort()

    assert scene.queues == [[b""], [b"b"], []]
    assert [waiter.woken for waiter in scene.waiters] == [True, True, False]
    assert [bool(question) for question in scene.questions] == [True, True, False]
    scene.check()


def test_all_who_wait_for_a_reply_are_woken() -> None:
    """They look, and one of them has it."""
    scene = Scene(1)
    other = FakeWaiter()
    (question,) = scene.questions
    question.line.append(other)
    scene.arrive(question.key)
    scene.core.sort()

    assert (scene.waiters[0].woken, other.woken) == (True, True)


def test_what_nobody_asked_is_discarded() -> None:
    """A number that was never given, or without the highest bit."""
    scene = Scene(1)
    (question,) = scene.questions
    other = (int.from_bytes(question.key, "big") ^ 1).to_bytes(4, "big")
    without = bytes([question.key[0] & 0x7F]) + question.key[1:]
    scene.arrive(other + b"x", without + b"x", question.key + b"x")
    scene.core.sort()

    assert scene.queues == [[b"x"]]
    assert scene.core.stats().discarded == {"unknown_request": 2}
    assert not scene.told
    scene.check()


def test_what_is_too_much_is_discarded() -> None:
    """The replies that wait are within the question's limit, and the first ones stay."""
    scene = Scene(1, 3)
    one, three = scene.questions
    scene.arrive(*(question.key + b"%d" % n for n in range(5) for question in (one, three)))
    scene.core.sort()

    assert scene.queues == [[b"0"], [b"0", b"1", b"2"]]
    assert scene.core.stats().discarded == {"duplicate_reply": 6}
    scene.check()


def test_a_pattern_says_what_too_much_is() -> None:
    """Of a survey's replies it is no duplicate but the full queue."""

    class Surveying(Asker):
        surplus = "queue_full"

    core, peer = Surveying(Options()), FakePeer()
    marry(core, peer)
    question = core.ask(b"", 2)
    core.inbox.extend(core.deliver(peer, [question.key] * 5))
    core.sort()

    assert (len(question.queue), core.stats().discarded) == (2, {"queue_full": 3})


def test_a_question_whose_reply_was_taken_has_room_again() -> None:
    """As long as it is open."""
    scene = Scene(1)
    (question,) = scene.questions
    for body in (b"1", b"2"):
        scene.arrive(question.key + body)
        scene.core.sort()
        assert question.queue.popleft()[4:] == body

    assert scene.core.stats().discarded == {}


@pytest.mark.parametrize("size", range(4))
def test_a_reply_without_a_number_ends_the_connection(size: int) -> None:
    """Those in front of it are kept, those behind it are not; the event says what was found."""
    scene = Scene(1, 1)
    one, other = scene.questions
    scene.arrive(one.key, one.key[:size], other.key)
    scene.core.sort()

    assert scene.queues == [[b""], []]
    (loss,) = [event for event in scene.told if isinstance(event, PeerRemoved)]
    assert (loss.reason, f" {size} bytes" in loss.detail) == (Reason.HEADER_MISSING, True)
    assert (scene.peers[0].gone, scene.core.peers) == (True, {})


def test_replies_that_nobody_has_taken_are_counted() -> None:
    """Whether they were sorted or not; what was discarded is not among them."""
    scene = Scene(2, 2)
    one, other = scene.questions
    scene.arrive(one.key, one.key, one.key, other.key)
    assert scene.core.unread == 4
    scene.core.sort()
    assert scene.core.unread == 3
    scene.core.staged = iter([other.key])
    assert scene.core.unread == 4
    one.queue.popleft()
    assert scene.core.unread == 3
    scene.core.forget(one)

    assert scene.core.unread == 2


def test_what_can_be_taken_are_replies_that_were_sorted() -> None:
    """An inbox that nobody has sorted yet is for nobody; in a core without questions it is for all."""
    scene, plain = Scene(1), Receiver(Options())
    (question,) = scene.questions
    scene.arrive(question.key)
    plain.inbox.append(b"x")

    assert (scene.core.readable, plain.readable) == (False, True)
    scene.core.sort()
    assert scene.core.readable
    scene.core.clear()
    plain.clear()
    assert (scene.core.readable, plain.readable) == (False, False)


def test_a_close_takes_the_replies_that_nobody_took() -> None:
    """Whether they were sorted or not."""
    scene = Scene(1, 1)
    one, other = scene.questions
    scene.arrive(one.key)
    scene.core.sort()
    scene.arrive(other.key)
    scene.core.clear()
    scene.core.sort()

    assert (scene.queues, scene.core.unread) == ([[], []], 0)


# --- those that nobody asks any more -------------------------------------------------------------------------------


def test_a_forgotten_question_gets_nothing() -> None:
    """What comes for it is discarded, and a second time changes nothing."""
    scene = Scene(1)
    (question,) = scene.questions
    scene.core.forget(question)
    scene.core.forget(question)
    scene.arrive(question.key)
    scene.core.sort()

    assert scene.queues == [[]]
    assert scene.core.stats().discarded == {"unknown_request": 1}
    assert scene.core.questions == {}


def test_a_question_that_nobody_has_gets_nothing() -> None:
    """Nobody needs to say that he has lost interest."""
    scene = Scene(1)
    key = scene.questions[0].key
    scene.questions.clear()
    gc.collect()
    scene.arrive(key)
    scene.core.sort()

    assert scene.core.open() == []
    assert scene.core.stats().discarded == {"unknown_request": 1}


def test_the_table_is_swept() -> None:
    """It does not grow with those that nobody has any more, and keeps those that somebody has."""
    core = Asker(Options())
    kept = [core.ask(b"", 1) for _ in range(10)]
    for _ in range(10 * SWEEP):
        core.ask(b"", 1)

    assert len(core.questions) <= SWEEP + 10
    assert core.open() == kept
    assert [core.find(question.key) for question in kept] == kept


def test_what_has_not_left_is_taken_back() -> None:
    """Only that one; what has left has left."""
    core = Asker(Options())
    waiting, gone, other = (core.ask(b"same", 1) for _ in range(3))
    gone.peer = 1
    queue(core, [waiting.payload, other.payload])

    assert [core.forget(question) for question in (waiting, gone, waiting)] == [True, False, False]
    assert list(core.outbox) == [other.payload]


def test_a_large_one_that_was_taken_back_weighs_no_more() -> None:
    """Also while others wait: who asks in vain again and again does not fill the queue with nothing."""
    core = Asker(Options(send_hwm_bytes=10 * SMALL))
    other = core.ask(b"", 1)
    queue(core, [other.payload])
    for _ in range(20):
        question = core.ask(bytes(2 * SMALL), 1)
        assert core.has_room(question.payload)
        queue(core, [question.payload])
        core.forget(question)

    assert (core.big, core.big_bytes) == (0, 0)


def test_one_that_is_over_is_true_and_its_askers_are_told() -> None:
    """They wait for nothing any more: those who stand in its line, and the one who reads the peers meanwhile."""
    scene = Scene(1, 1)
    one, other = scene.questions
    reader = FakeWaiter()
    scene.core.end(other, "nobody reads yet")
    scene.core.alert = reader.wake
    scene.core.end(one, "because")

    assert (bool(one), one.over, other.over) == (True, "because", "nobody reads yet")
    assert reader.woken
    assert [waiter.woken for waiter in scene.waiters] == [True, True]


# --- interrupts, and other threads ---------------------------------------------------------------------------------


def everything() -> Scene:
    """Replies of every kind in the inbox: wanted ones, unknown, too many, forgotten, and from two peers."""
    scene = Scene(1, 2, 1, peers=2)
    one, two, forgotten = scene.questions
    scene.core.forget(forgotten)
    scene.arrive(one.key + b"1", two.key + b"2", b"\x00\x00\x00\x00?", one.key + b"again")
    scene.arrive(two.key + b"3", forgotten.key + b"4", two.key + b"5", by=1)
    return scene


def check_everything(scene: Scene) -> None:
    assert scene.queues == [[b"1"], [b"2", b"3"], []]
    assert scene.core.stats().discarded == {"unknown_request": 2, "duplicate_reply": 2}
    assert not scene.core.inbox
    assert [waiter.woken for waiter in scene.waiters] == [True, True, False]
    scene.check()


def test_no_reply_is_lost_or_doubled_at_any_point() -> None:
    """Ctrl-C anywhere in the sorting, twice: each is in one place, and who waits is woken by whoever sorts next."""
    first = second = 0
    while True:
        scene = everything()
        was_first = interrupt(scene.core.sort, first, ROUTING)
        scene.check()
        was_second = interrupt(scene.core.sort, second, ROUTING)
        scene.check()
        scene.core.sort()

        check_everything(scene)
        if not was_first:
            assert first
            return
        first, second = (first, second + 1) if was_second else (first + 1, 0)


def test_one_who_waits_is_woken_although_nothing_more_comes() -> None:
    """The reply was moved when Ctrl-C came: the next who sorts finds an empty inbox, and tells them nevertheless."""
    for at in count():
        scene = Scene(1)
        scene.arrive(scene.questions[0].key)
        done = not interrupt(scene.core.sort, at, ROUTING)
        scene.core.sort()

        assert scene.waiters[0].woken
        assert scene.queues == [[b""]]
        if done:
            return


def test_delivering_can_be_done_again_at_any_point() -> None:
    """A connection delivers what it has read until that is recorded: the same comes out, and its peer is lost once."""
    for at in count():
        scene = Scene(1)
        peer, key = scene.peers[0], scene.questions[0].key
        bodies = [key, key + b"x", b"x", key]
        done = not interrupt(lambda bodies=bodies, scene=scene: scene.core.deliver(scene.peers[0], bodies), at, ROUTING)  # type: ignore[misc]
        again = list(scene.core.deliver(peer, bodies))
        scene.core.pump()

        assert again == bodies[:2]
        assert peer.gone
        assert {type(event) for event in scene.told} == {PeerRemoved}
        assert scene.core.peers == {}
        if done:
            return


def test_a_question_is_open_or_not_at_any_point() -> None:
    """One whose asking was broken off is nobody's: it is swept with the others."""
    for at in count():
        core = Asker(Options())
        core._numbers = count(SWEEP)
        done = not interrupt(lambda core=core: core.ask(b"", 1), at, ROUTING)  # type: ignore[misc]
        gc.collect()

        assert core.open() == []
        if done:
            return


def test_forgetting_is_finished_or_can_be_done_again_at_any_point() -> None:
    """What was forgotten may be sent, if it was not taken back in time, but is answered never."""
    for at in count():
        scene = Scene(1)
        (question,) = scene.questions
        queue(scene.core, [question.payload])
        done = not interrupt(lambda scene=scene: scene.core.forget(scene.questions[0]), at, ROUTING)  # type: ignore[misc]
        scene.core.forget(question)
        scene.arrive(question.key)
        scene.core.sort()

        assert scene.queues == [[]]
        assert scene.core.open() == []
        if done:
            assert not scene.core.outbox
            return


@pytest.mark.parametrize("whose", [0, 1])
def test_who_forgets_while_others_sort_gets_nothing_of_theirs(whose: int) -> None:
    """Another thread gives a question up at whichever step: the rest is as if nothing had been."""
    for at in count():
        scene = everything()
        forget: Callable[[], None] = lambda scene=scene: scene.core.forget(scene.questions[whose])  # type: ignore[misc]  # noqa: E731
        if not intrude(scene.core.sort, at, forget, scene.core, ROUTING):
            return

        other = 1 - whose
        assert scene.queues[other] == [[b"1"], [b"2", b"3"]][other]
        assert scene.waiters[other].woken
        assert not scene.core.inbox


def test_a_close_in_the_middle_of_sorting_ends_it() -> None:
    """What was about to be sorted is gone."""

    class Closing(Asker):
        def find(self, payload: bytes) -> Question | None:
            self.clear()
            return super().find(payload)

    core, peer = Closing(Options()), FakePeer()
    marry(core, peer)
    question = core.ask(b"", 1)
    core.inbox.extend(core.deliver(peer, [question.key, question.key]))
    core.sort()

    assert (len(core.inbox), len(question.queue), core.unread) == (0, 0, 0)


def test_who_clears_the_inbox_while_others_sort_is_not_in_their_way() -> None:
    """A close, in a signal handler or when the turn was not given back in time, does so: no error comes of it."""
    for at in count():
        scene = everything()
        if not intrude(scene.core.sort, at, scene.core.inbox.clear, scene.core, ROUTING):
            return
        scene.core.sort()

        assert not scene.core.inbox
        for has, whole, waiter in zip(scene.queues, ([b"1"], [b"2", b"3"], []), scene.waiters, strict=True):
            assert has == whole[: len(has)]
            assert waiter.woken or not has
