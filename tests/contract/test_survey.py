"""Surveyor and Respondent: a survey goes to all, its replies come to it alone, and it is over at its deadline."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from nnqpy import Closed, StateError, TimedOut
from nnqpy.proto import Proto
from nnqpy.wire.stream import TCP
from tests.contract.kit import (
    BRIEFLY,
    PATIENCE,
    Stage,
    check_books,
    on_every_face,
    outcome,
    puppet_at,
    take_no_call,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.contract.kit import Answerer, Face, Job, Puppet, Replies, Surveyor, Surveys

pytestmark = pytest.mark.timeout(60)

SHORTLY = 0.3
"""Seconds of a survey that is let run to its end, after all replies have come."""
NUMBER = b"\x80\x00\x00\x01"
"""A survey's number, as it stands on the wire."""


async def meet(surveyor: Surveyor, spot: str, *respondents: Answerer) -> str:
    """Connect them, and wait until they are; return the URL."""
    url = surveyor.bind(spot).url
    for respondent in respondents:
        await respondent.connect(url, wait=True, timeout=PATIENCE)
    await surveyor.wait_for_peers(len(respondents), PATIENCE)
    return url


async def take(surveys: Surveys, number: int) -> list[bytes]:
    """Receive so many replies, and sort them."""
    return sorted([await surveys.recv(timeout=PATIENCE) for _ in range(number)])


async def answer(respondent: Answerer, body: bytes) -> bytes:
    """Answer the next survey, and return it."""
    survey = await respondent.recv(timeout=PATIENCE)
    await respondent.send(body + b" to " + survey)
    return survey


# --- asking all ----------------------------------------------------------------------------------------------------


@on_every_face
async def test_a_survey_has_all_replies_until_its_deadline(face: Face, spot: str) -> None:
    """Three respondents are asked, each answers; the iteration ends, and not before the deadline."""
    async with face.respondent() as a, face.respondent() as b, face.respondent() as c, face.surveyor() as surveyor:
        await meet(surveyor, spot, a, b, c)
        began = monotonic()
        survey = surveyor.survey(b"who?", deadline=SHORTLY)
        for name, respondent in ((b"a", a), (b"b", b), (b"c", c)):
            assert await answer(respondent, name) == b"who?"
        replies = [reply async for reply in survey]
        took = monotonic() - began

        assert sorted(replies) == [b"a to who?", b"b to who?", b"c to who?"]
        assert took >= SHORTLY
        with pytest.raises(StopAsyncIteration):
            await anext(survey)
        assert (surveyor.stats().delivered, dict(surveyor.stats().discarded)) == (3, {})
        check_books(surveyor.stats())


@on_every_face
async def test_replies_are_received_one_by_one(face: Face, spot: str) -> None:
    """By `send` and `recv`, on the socket and on a context; when it is over `recv` says so once, and then what to do."""
    async with (
        face.respondent() as a,
        face.respondent() as b,
        face.surveyor(survey_time=SHORTLY) as surveyor,
        surveyor.context() as context,
    ):
        await meet(surveyor, spot, a, b)
        both: list[Surveys] = [surveyor, context]
        for surveys in both:
            with pytest.raises(StateError, match="no survey is open here: send one first"):
                await surveys.recv()
            began = monotonic()
            await surveys.send(b"who?")
            await answer(a, b"a")
            await answer(b, b"b")
            assert await take(surveys, 2) == [b"a to who?", b"b to who?"]
            with pytest.raises(TimedOut, match="the survey is over") as caught:
                await surveys.recv(timeout=PATIENCE)
            assert caught.value.reason == "survey_over"
            assert monotonic() - began >= SHORTLY
            with pytest.raises(StateError, match="no survey is open here: send one first"):
                await surveys.recv(timeout=0)


@on_every_face
async def test_all_who_receive_are_told_that_a_survey_is_over(face: Face) -> None:
    """Each of three waits for replies to the same one: its deadline is the same news to all."""
    async with face.crowd() as crowd, face.surveyor() as surveyor:
        await surveyor.send(b"x", deadline=SHORTLY)
        jobs = [crowd.start(surveyor.recv) for _ in range(3)]

        for job in jobs:
            with pytest.raises(TimedOut, match="the survey is over"):
                await outcome(face, job)


@on_every_face
async def test_a_recv_that_is_out_of_time_leaves_the_survey_open(face: Face, spot: str) -> None:
    """A timeout of its own is not the deadline."""
    async with face.respondent() as respondent, face.surveyor(survey_time=60) as surveyor:
        await meet(surveyor, spot, respondent)
        await surveyor.send(b"x")
        for timeout in (0, BRIEFLY):
            with pytest.raises(TimedOut, match="no reply within") as caught:
                await surveyor.recv(timeout=timeout)
            assert (caught.value.reason, caught.value.timeout) == ("no_reply", timeout)
        await answer(respondent, b"late")

        assert await surveyor.recv(timeout=PATIENCE) == b"late to x"


@on_every_face
async def test_several_surveys_at_once_are_kept_apart(face: Face, spot: str) -> None:
    """Eight on one socket, by contexts and by `survey`, which are answered in another order: each has its own replies."""
    number = 8
    async with face.crowd() as crowd, face.surveyor(survey_time=60) as surveyor:
        respondents = [face.respondent() for _ in range(2)]
        await meet(surveyor, spot, *respondents)

        async def by_context(body: bytes) -> list[bytes]:
            async with surveyor.context() as context:
                await context.send(body)
                return await take(context, 2)

        async def by_survey(body: bytes) -> list[bytes]:
            async with surveyor.survey(body) as survey:
                return sorted([await anext(survey), await anext(survey)])

        bodies = [b"%d" % n for n in range(number)]
        jobs: list[Job[list[bytes]]] = []
        for n, body in enumerate(bodies):
            jobs.append(crowd.start(by_survey if n % 2 else by_context, body))
        for name, respondent in zip((b"a", b"b"), respondents, strict=True):
            contexts = [respondent.context() for _ in range(number)]
            asked = [await context.recv(timeout=PATIENCE) for context in contexts]
            assert sorted(asked) == bodies
            for context, body in reversed(list(zip(contexts, asked, strict=True))):
                await context.send(name + body)

        for body, job in zip(bodies, jobs, strict=True):
            assert await outcome(face, job) == [b"a" + body, b"b" + body]
        assert dict(surveyor.stats().discarded) == {}
        for respondent in respondents:
            await respondent.close()


@on_every_face
async def test_a_late_reply_never_reaches_another_survey(face: Face, spot: str) -> None:
    """Neither after the deadline, nor after an early `close`, nor after the next `send`."""
    async with face.respondent() as respondent, face.surveyor(survey_time=60) as surveyor:
        await meet(surveyor, spot, respondent)
        contexts = [respondent.context() for _ in range(4)]
        assert [reply async for reply in surveyor.survey(b"0", deadline=BRIEFLY)] == []
        surveyor.survey(b"1").close()
        await surveyor.send(b"2")
        await surveyor.send(b"3")
        for n, context in enumerate(contexts):
            assert await context.recv(timeout=PATIENCE) == b"%d" % n
            await context.send(b"re %d" % n)

        assert await surveyor.recv(timeout=PATIENCE) == b"re 3"
        with pytest.raises(TimedOut):
            await surveyor.recv(timeout=BRIEFLY)
        assert dict(surveyor.stats().discarded) == {"unknown_request": 3}


@on_every_face
async def test_who_does_not_answer_and_who_dies_hold_nothing_up(face: Face, spot: str) -> None:
    """One has nothing to say, one fails, one leaves: the replies of the others come."""

    def say_nothing(body: bytes) -> None:
        pass

    async with (
        face.crowd() as crowd,
        face.respondent() as good,
        face.respondent() as silent,
        face.surveyor() as surveyor,
    ):
        mortal = face.respondent()
        await meet(surveyor, spot, good, silent, mortal)
        serving = crowd.start(silent.serve, say_nothing)
        survey = surveyor.survey(b"x", deadline=SHORTLY)
        assert await mortal.recv(timeout=PATIENCE) == b"x"
        await mortal.close(0)
        await answer(good, b"good")

        assert [reply async for reply in survey] == [b"good to x"]
        assert silent.stats().received == 1
        assert silent.stats().accepted == 0
        await silent.close()
        await outcome(face, serving)


@on_every_face
async def test_respondents_serve(face: Face, spot: str) -> None:
    """As a Rep does: several at a time, each survey is answered by the way it came, to each of two surveyors."""

    async def echo(body: bytes) -> bytes:
        return b"re " + body

    async with face.crowd() as crowd, face.respondent() as respondent, face.surveyor() as one, face.surveyor() as two:
        url = respondent.bind(spot).url
        serving = crowd.start(lambda: respondent.serve(echo, concurrency=3))
        for surveyor in (one, two):
            await surveyor.connect(url, wait=True, timeout=PATIENCE)

        async def ask(surveyor: Surveyor, who: int) -> None:
            for n in range(30):
                async with surveyor.survey(b"%d/%d" % (who, n), deadline=60) as survey:
                    assert await anext(survey) == b"re %d/%d" % (who, n)

        for job in [crowd.start(ask, surveyor, who) for who, surveyor in enumerate((one, two, one, two))]:
            await outcome(face, job)
        await respondent.close()
        await outcome(face, serving)


@on_every_face
async def test_an_answer_needs_a_survey(face: Face, spot: str) -> None:
    """`send` before `recv`, and a second one; the text says what to do."""
    async with face.respondent() as respondent, face.surveyor(survey_time=60) as surveyor:
        await meet(surveyor, spot, respondent)
        with pytest.raises(StateError, match="no survey to answer: recv one first"):
            await respondent.send(b"x")
        await surveyor.send(b"x")
        await answer(respondent, b"a")
        with pytest.raises(StateError, match="no survey to answer: recv one first"):
            await respondent.send(b"again")

        assert await surveyor.recv(timeout=PATIENCE) == b"a to x"


@on_every_face
async def test_one_respondent_may_answer_twice(face: Face) -> None:
    """It is not told from two that answer once: replies are of a survey, not of a peer."""
    with Stage(Proto.RESPONDENT) as stage:
        async with face.surveyor(connect=stage.url) as surveyor:
            puppet = await asked(face, surveyor, stage)
            number = puppet.heard[0][:4]
            puppet.say(number + b"1", number + b"2")

            assert await take(surveyor, 2) == [b"1", b"2"]


async def asked(face: Face, surveyor: Surveyor, stage: Stage) -> Puppet:
    """Send a survey to the only respondent, a puppet, and return it when it has heard."""
    await until(face, lambda: stage.puppets)
    (puppet,) = stage.puppets
    await surveyor.wait_for_peers(1, PATIENCE)
    await surveyor.send(b"x", deadline=60)
    await until(face, lambda: puppet.heard)
    return puppet


@on_every_face
async def test_strange_replies_are_counted_and_a_reply_without_a_number_ends_the_connection(face: Face) -> None:
    """The first go to nobody, the second is no reply."""
    with Stage(Proto.RESPONDENT) as stage:
        async with face.surveyor(connect=stage.url, reconnect_min=60, reconnect_max=60) as surveyor:
            puppet = await asked(face, surveyor, stage)
            number = puppet.heard[0][:4]
            strange = (int.from_bytes(number, "big") ^ 1).to_bytes(4, "big")
            puppet.say(strange, b"\x00\x00\x00\x01no top bit", number + b"good", b"\x80\x00\x00")

            assert await surveyor.recv(timeout=PATIENCE) == b"good"
            with pytest.raises(TimedOut):
                await surveyor.recv(timeout=BRIEFLY)
            assert dict(surveyor.stats().discarded) == {"unknown_request": 2}
            await until(face, lambda: not surveyor.peers)


@on_every_face
async def test_replies_beyond_the_mark_are_discarded_and_counted(face: Face) -> None:
    """`recv_hwm` is a survey's own: who does not take his replies loses the newest, and no other survey does."""
    with Stage(Proto.RESPONDENT) as stage:
        async with face.surveyor(connect=stage.url, recv_hwm=5) as surveyor, surveyor.context() as other:
            puppet = await asked(face, surveyor, stage)
            await other.send(b"y", deadline=60)
            await until(face, lambda: len(puppet.heard) == 2)
            x, y = (payload[:4] for payload in puppet.heard)
            puppet.say(*(x + b"%d" % n for n in range(20)), y + b"re y")

            assert await other.recv(timeout=PATIENCE) == b"re y"
            assert dict(surveyor.stats().discarded) == {"queue_full": 15}
            assert await take(surveyor, 5) == [b"0", b"1", b"2", b"3", b"4"]


@contextmanager
def flood(puppet: Puppet, payload: bytes) -> Generator[None]:
    """Have a puppet say the same again and again, in a thread."""
    over = threading.Event()
    puppet.sock.settimeout(0.05)
    words = TCP.join([payload] * 50)

    def pour() -> None:
        rest = words
        while not over.is_set():
            with suppress(TimeoutError):
                rest = rest[puppet.sock.send(rest) :] or words

    thread = threading.Thread(target=pour, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(PATIENCE)
        puppet.sock.setblocking(False)


@on_every_face
async def test_a_respondent_that_never_stops_does_not_keep_a_survey_open(face: Face) -> None:
    """Its replies come as fast as they are taken: the iteration ends at the deadline all the same, so does `recv`."""
    with Stage(Proto.RESPONDENT) as stage:
        async with face.surveyor(connect=stage.url) as surveyor:
            await until(face, lambda: stage.puppets)
            (puppet,) = stage.puppets
            await surveyor.wait_for_peers(1, PATIENCE)
            survey = surveyor.survey(b"x", deadline=SHORTLY)
            await until(face, lambda: puppet.heard)
            with flood(puppet, puppet.heard[0][:4]):
                latest = monotonic() + PATIENCE
                async for _ in survey:
                    assert monotonic() < latest, "the survey has no end"
                await surveyor.send(b"y", deadline=SHORTLY)
            await until(face, lambda: len(puppet.heard) == 2)
            with flood(puppet, puppet.heard[1][:4]), pytest.raises(TimedOut, match="the survey is over"):
                latest = monotonic() + PATIENCE
                while monotonic() < latest:
                    await surveyor.recv()


@on_every_face
async def test_what_came_in_time_is_had_after_the_deadline(face: Face, spot: str) -> None:
    """Who is slow to take replies loses none of those that had come."""
    async with face.respondent() as a, face.respondent() as b, face.surveyor() as surveyor:
        await meet(surveyor, spot, a, b)
        for one in (True, False):
            survey = surveyor.survey(b"x", deadline=SHORTLY)
            over = monotonic() + SHORTLY
            await surveyor.send(b"y", deadline=SHORTLY)
            for respondent in (a, b):
                for _ in range(2):
                    await answer(respondent, b"re")
                await respondent.flush(PATIENCE)
            if one:
                await surveyor.recv(timeout=PATIENCE)
            await until(face, lambda over=over: monotonic() > over + 0.01)  # type: ignore[misc]  # a default is fine

            assert [reply async for reply in survey] == [b"re to x"] * 2
            if one:
                assert await surveyor.recv(timeout=0) == b"re to y"


# --- sending -------------------------------------------------------------------------------------------------------


@on_every_face
async def test_a_survey_that_nobody_hears_is_over_at_its_deadline(face: Face) -> None:
    """Without respondents it waits for none: it is dropped, and counted."""
    async with face.surveyor() as surveyor:
        assert [reply async for reply in surveyor.survey(b"x", deadline=BRIEFLY)] == []
        await surveyor.send(b"x", deadline=BRIEFLY)
        with pytest.raises(TimedOut, match="the survey is over"):
            await surveyor.recv()

        assert dict(surveyor.stats().dropped) == {"no_peer": 2}


@on_every_face
async def test_asking_waits_for_nobody(face: Face) -> None:
    """A respondent that does not read misses the newest surveys beyond `send_hwm`; the other one has them all."""
    number = 60
    with Stage(Proto.RESPONDENT) as stage:
        async with face.surveyor(connect=stage.url, send_hwm=2, survey_time=60) as surveyor, face.respondent() as good:
            await until(face, lambda: stage.puppets and surveyor.peers)
            await good.connect(surveyor.bind("tcp://127.0.0.1:0").url, wait=True, timeout=PATIENCE)
            await surveyor.wait_for_peers(2, PATIENCE)
            for n in range(number):
                await surveyor.send(b"%04d" % n + bytes(200_000))
                await answer(good, b"")
                await surveyor.recv(timeout=PATIENCE)

            missed = surveyor.stats().dropped["queue_full"]
            assert missed > 0
            (deaf,) = stage.puppets
            await until(face, lambda: len(deaf.heard) == number - missed)
            heard = [int(payload[4:8]) for payload in deaf.heard]
            assert heard == sorted(heard)
            check_books(surveyor.stats())


@on_every_face
async def test_many_ask_at_once_through_a_short_queue(face: Face, spot: str) -> None:
    """`survey` waits for nothing and refuses nothing, also where `send_hwm` is 1 and eight ask at a time."""

    async def echo(body: bytes) -> bytes:
        return body

    async with face.crowd() as crowd, face.respondent() as respondent, face.surveyor(send_hwm=1) as surveyor:
        await meet(surveyor, spot, respondent)
        crowd.start(respondent.serve, echo)

        async def ask(who: int) -> list[Replies]:
            return [surveyor.survey(b"%d/%d" % (who, n), deadline=60) for n in range(40)]

        surveys = [await outcome(face, job) for job in [crowd.start(ask, who) for who in range(8)]]
        await until(face, lambda: not surveyor.stats().queued)
        check_books(surveyor.stats())
        assert surveyor.stats().accepted == sum(map(len, surveys)) == 320  # some may have been too many for the peer
        assert set(surveyor.stats().dropped) <= {"queue_full"}
        await respondent.close()


@on_every_face
async def test_a_silly_time_is_refused(face: Face) -> None:
    """A survey is open for more than 0 seconds; nothing was sent, and what is open stays so."""
    times: list[Any] = [0, -1.0, "1", float("nan")]
    async with face.surveyor() as surveyor:
        await surveyor.send(b"x", deadline=60)
        for bad in times:
            with pytest.raises((TypeError, ValueError), match="survey_time"):
                face.surveyor(survey_time=bad)
            with pytest.raises((TypeError, ValueError), match="deadline"):
                surveyor.survey(b"x", deadline=bad)
            with pytest.raises((TypeError, ValueError), match="deadline"):
                await surveyor.send(b"x", deadline=bad)
        with pytest.raises(TypeError, match="not str"):
            await surveyor.send("x")  # type: ignore[arg-type]  # on purpose
        with pytest.raises(TimedOut, match="no reply"):
            await surveyor.recv(timeout=0)
        assert surveyor.stats().accepted == 1


# --- the end -------------------------------------------------------------------------------------------------------


@on_every_face
async def test_a_survey_may_be_ended_before_its_deadline(face: Face, spot: str) -> None:
    """From within, from elsewhere, by `with`: whoever waits for it is told, and nothing more comes."""
    async with face.crowd() as crowd, face.respondent() as respondent, face.surveyor(survey_time=60) as surveyor:
        await meet(surveyor, spot, respondent)
        async with surveyor.survey(b"x") as survey:
            await answer(respondent, b"a")
            assert await anext(survey) == b"a to x"
        with pytest.raises(StopAsyncIteration):
            await anext(survey)
        survey.close()

        async with surveyor.context() as context:
            await context.send(b"y")
            waits = crowd.start(context.recv)
            await until(face, lambda: face.receiving(surveyor) == 1)
        with pytest.raises(StateError, match="its context was closed"):
            await outcome(face, waits)

        async def collect() -> list[bytes]:
            return [reply async for reply in survey]

        survey = surveyor.survey(b"z")
        collecting = crowd.start(collect)
        await until(face, lambda: face.receiving(surveyor) == 1)
        survey.close()
        assert await outcome(face, collecting) == []


@on_every_face
async def test_a_new_survey_replaces_the_open_one(face: Face, spot: str) -> None:
    """Who waits for the first one's replies elsewhere is told so."""
    async with face.crowd() as crowd, face.respondent() as respondent, face.surveyor(survey_time=60) as surveyor:
        await meet(surveyor, spot, respondent)
        await surveyor.send(b"first")
        jobs = [crowd.start(surveyor.recv) for _ in range(2)]
        await until(face, lambda: face.receiving(surveyor) == 2)
        await surveyor.send(b"second")

        for job in jobs:
            with pytest.raises(StateError, match="given up for a later one"):
                await outcome(face, job)


@pytest.mark.parametrize("call", ["recv", "context recv", "iteration", "respondent recv", "serve"])
@pytest.mark.parametrize("number", [1, 3])
@on_every_face
async def test_close_wakes_all_who_wait(face: Face, call: str, number: int) -> None:
    """`Closed`, all of them; who serves returns."""

    async def echo(body: bytes) -> bytes:
        return body

    async with face.crowd() as crowd, face.surveyor(survey_time=60) as surveyor, face.respondent() as respondent:
        await surveyor.send(b"x")
        contexts = [surveyor.context() for _ in range(number)]
        answering = [respondent.context() for _ in range(number)]
        surveys = [surveyor.survey(b"x") for _ in range(number)]
        jobs: list[Job[Any]] = []
        for n in range(number):
            match call:
                case "recv":
                    jobs.append(crowd.start(surveyor.recv))
                case "context recv":
                    await contexts[n].send(b"x")
                    jobs.append(crowd.start(contexts[n].recv))
                case "iteration":
                    jobs.append(crowd.start(surveys[n].__anext__))
                case "respondent recv":
                    jobs.append(crowd.start(answering[n].recv))
                case _:
                    jobs.append(crowd.start(respondent.serve, echo))
        sock = respondent if call in ("respondent recv", "serve") else surveyor
        await until(face, lambda: face.receiving(sock) == number)
        await sock.close()

        for job in jobs:
            if call == "serve":
                await outcome(face, job)
            else:
                with pytest.raises(Closed):
                    await outcome(face, job)
        assert face.receiving(sock) == 0


@on_every_face
async def test_a_closed_socket_takes_no_call(face: Face, spot: str) -> None:
    """`Closed` from the sockets, from contexts and from surveys that were open; replies that had come are unread."""
    surveyor, respondent = face.surveyor(survey_time=60), face.respondent()
    await meet(surveyor, spot, respondent)
    context, idle, deaf = surveyor.context(), surveyor.context(), respondent.context()
    survey = surveyor.survey(b"x")
    await answer(respondent, b"a")
    await context.send(b"y")
    await answer(respondent, b"a")
    await surveyor.send(b"z")
    await answer(respondent, b"a")
    assert await surveyor.recv(timeout=PATIENCE) == b"a to z"
    report = await surveyor.close()
    await respondent.close()

    assert report.unread == 2
    for surveys in (surveyor, context, idle):
        await take_no_call(surveys.recv, partial(surveys.send, b"x"), partial(surveys.survey, b"x"))
    await take_no_call(partial(anext, survey))
    for answers in (respondent, deaf):
        await take_no_call(answers.recv, partial(answers.send, b"x"))
    for sock in (surveyor, respondent):
        await take_no_call(sock.context)
        check_books(sock.stats())
    for one in (context, idle, deaf, survey):
        one.close()


@on_every_face
async def test_an_answer_to_a_surveyor_that_left_is_counted(face: Face) -> None:
    """It is no error of who answers."""
    async with face.respondent() as respondent:
        with puppet_at(respondent.bind("tcp://127.0.0.1:0").url, Proto.SURVEYOR) as puppet:
            puppet.say(NUMBER + b"x")
            assert await respondent.recv(timeout=PATIENCE) == b"x"
        await until(face, lambda: not respondent.peers)
        await respondent.send(b"re x")
        await respondent.flush(PATIENCE)

        assert dict(respondent.stats().dropped) == {"peer_gone": 1}
        check_books(respondent.stats())
