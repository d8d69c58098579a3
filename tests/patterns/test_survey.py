"""Surveyor asks everybody and takes answers up to a bound; Respondent answers by the way that a survey came."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from nnqpy.errors import Reason
from nnqpy.events import PeerRemoved
from nnqpy.message import Addressed, Message
from nnqpy.options import Options
from nnqpy.patterns.survey import RespondentCore, SurveyorCore
from nnqpy.proto import Proto
from tests.kit.cores import queue
from tests.kit.interrupts import interrupt
from tests.kit.peers import FakePeer, marry
from tests.kit.waiters import FakeWaiter

if TYPE_CHECKING:
    from nnqpy.events import Event
    from nnqpy.routing.questions import Question


class Scene:
    """A Surveyor's core and its peers."""

    def __init__(self, *rooms: int | None, **options: Any) -> None:  # Options checks them
        self.core = SurveyorCore(Options(**options))
        self.peers = [FakePeer(room) for room in rooms]
        marry(self.core, *self.peers)
        self.told: list[Event] = []
        self.core.emit = self.told.append

    def ask(self, body: bytes = b"?", limit: int = 100) -> Question:
        question = self.core.ask(body, limit)
        queue(self.core, [question.payload])
        return question

    def answer(self, question: Question, *bodies: bytes, by: int = 0) -> None:
        replies = [question.key + body for body in bodies]
        self.core.inbox.extend(self.core.deliver(self.peers[by], replies))
        self.core.sort()


def bodies(question: Question) -> list[bytes]:
    return [reply[4:] for reply in question.queue]


def test_surveyor_speaks_to_respondent_both_ways() -> None:
    """The numbers that the greeting carries."""
    assert (SurveyorCore.proto, RespondentCore.proto) == (Proto.SURVEYOR, Proto.RESPONDENT)
    assert (SurveyorCore.proto.peer, RespondentCore.proto.peer) == (Proto.RESPONDENT, Proto.SURVEYOR)
    assert {core.sends and core.receives for core in (SurveyorCore, RespondentCore)} == {True}


def test_a_survey_goes_to_all_who_are_there() -> None:
    """Who comes later is not asked."""
    scene = Scene(None, None, None)
    question = scene.ask()
    scene.core.pump()
    late = FakePeer()
    marry(scene.core, late)
    scene.core.pump()

    assert [peer.written for peer in scene.peers] == [[question.payload]] * 3
    assert late.written == []


def test_nobody_is_asked_where_nobody_is() -> None:
    """A survey waits for no peer."""
    scene = Scene()
    scene.ask()
    scene.core.pump()

    assert scene.core.stats().dropped == {"no_peer": 1}


def test_who_is_behind_misses_the_newest_survey() -> None:
    """Its answer would come too late anyway; the others are asked."""
    scene = Scene(0, None, send_hwm=2)
    questions = [scene.ask(b"%d" % n) for n in range(4)]
    scene.core.pump()
    slow, quick = scene.peers
    slow.give_room()
    scene.core.pump()

    assert slow.written == [question.payload for question in questions[:2]]
    assert quick.written == [question.payload for question in questions]
    assert scene.core.stats().dropped == {"queue_full": 2}


def test_every_answer_counts() -> None:
    """Of all peers, several of one too; who waits is woken."""
    scene = Scene(None, None)
    question, waiter = scene.ask(), FakeWaiter()
    question.line.append(waiter)
    scene.core.pump()
    scene.answer(question, b"a", b"b", by=0)
    scene.answer(question, b"c", by=1)

    assert bodies(question) == [b"a", b"b", b"c"]
    assert waiter.woken


def test_open_surveys_do_not_mix() -> None:
    """Each has its own answers, and its own bound."""
    scene = Scene(None)
    one, other = scene.ask(limit=1), scene.ask(limit=2)
    scene.core.pump()
    for body in (b"1", b"2", b"3"):
        scene.answer(other, body)
        scene.answer(one, body)

    assert (bodies(one), bodies(other)) == ([b"1"], [b"1", b"2"])
    assert scene.core.stats().discarded == {"queue_full": 3}


def test_b43_a_flood_of_answers_is_bounded() -> None:
    """What is too much is discarded and counted, and nobody's connection is closed for it."""
    scene = Scene(None)
    question = scene.ask(limit=128)
    scene.core.pump()
    for _ in range(100):
        scene.answer(question, *[b"again"] * 100)

    assert len(question.queue) == 128
    assert scene.core.stats().discarded == {"queue_full": 10_000 - 128}
    assert not scene.told


def test_b43_answers_to_a_survey_that_is_over_are_discarded() -> None:
    """Its number means nothing any more; the survey that is open gets its own."""
    scene = Scene(None)
    early = scene.ask()
    scene.core.pump()
    scene.answer(early, b"in time")
    scene.core.forget(early)
    now = scene.ask()
    scene.core.pump()
    scene.answer(early, b"too late")
    scene.answer(now, b"now")

    assert (bodies(early), bodies(now)) == ([b"in time"], [b"now"])
    assert scene.core.stats().discarded == {"unknown_request": 1}


@pytest.mark.parametrize("size", range(4))
def test_b43_an_answer_without_a_number_ends_the_connection(size: int) -> None:
    """Those in front of it count."""
    scene = Scene(None)
    question = scene.ask()
    scene.core.pump()
    scene.core.inbox.extend(scene.core.deliver(scene.peers[0], [question.key, question.key[:size]]))
    scene.core.sort()

    assert bodies(question) == [b""]
    (loss,) = scene.told
    assert isinstance(loss, PeerRemoved)
    assert loss.reason is Reason.HEADER_MISSING


def test_a_survey_that_is_given_up_in_the_queue_is_not_sent() -> None:
    """Nobody is asked in vain."""
    scene = Scene(None)
    given_up, other = scene.ask(), scene.ask()
    scene.core.forget(given_up)
    scene.core.pump()

    assert scene.peers[0].written == [other.payload]


def test_a_death_ends_no_survey() -> None:
    """The others may answer, and nobody is asked twice."""
    scene = Scene(None, None)
    question = scene.ask()
    scene.core.pump()
    dead, other = scene.peers
    dead.die()
    scene.core.pump()
    scene.answer(question, b"alive", by=1)

    assert (question.over, bodies(question)) == ("", [b"alive"])
    assert other.written == [question.payload]


def test_everybody_is_asked_once_at_any_point() -> None:
    """Ctrl-C anywhere while a survey goes out and its answers are sorted: nobody is asked twice, no answer is lost."""

    def act(scene: Scene, question: Question) -> None:
        scene.core.pump()
        scene.answer(question, b"yes")

    for at in count():
        scene = Scene(None, 20, None)
        question = scene.ask(bytes(30))
        done = not interrupt(partial(act, scene, question), at, "nnqpy.routing.outboxes", "nnqpy.routing.fan_out")
        for _ in range(2):
            scene.core.pump()
            for peer in scene.peers:
                peer.give_room()
        scene.core.sort()

        assert [peer.written for peer in scene.peers] == [[question.payload]] * 3
        if done:
            assert at
            assert bodies(question) == [b"yes"]
            return


def test_respondent_shows_surveys_and_answers_by_their_way() -> None:
    """Header and body are apart; the answer has the header in front, and goes to who asked."""
    core, peers = RespondentCore(Options()), [FakePeer(), FakePeer()]
    marry(core, *peers)
    surveys = [survey for peer in peers for survey in core.deliver(peer, [b"\0\0\0\7\x80\0\0\1one"])]

    assert surveys == [Message(b"\0\0\0\7\x80\0\0\1", b"one", peer.id) for peer in peers]
    queue(core, [Addressed.to(surveys[1].peer, surveys[1].header, b"answer")])
    core.pump()
    assert [peer.written for peer in peers] == [[], [b"\0\0\0\7\x80\0\0\1answer"]]
