"""Cancelling a request, a survey or who serves, at any point, takes nothing from anybody else."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from nnqpy import StateError, TimedOut
from tests.contract.conftest import spot_of
from tests.contract.kit import PATIENCE, base_of, outcome, until
from tests.tasks.kit import Cut, on_both_loops, sweep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine
    from pathlib import Path

    from tests.contract.kit import Answerer, Asker, Asks, Face, Job, Sock, Surveyor

pytestmark = pytest.mark.timeout(60)

NEVER = 1 << 30


def modes(face: Face) -> tuple[bool, ...]:
    """Return the values of `late` that the loop knows."""
    return (False, True) if face.name == "asyncio" else (False,)


async def echo(body: bytes) -> bytes:
    """Answer so that it shows which request it answers."""
    return b"re " + body


async def meet(asker: Sock, answerer: Sock, spot: str) -> None:
    """Connect the two, and wait until they are."""
    await asker.connect(answerer.bind(spot).url, wait=True, timeout=PATIENCE)
    await answerer.wait_for_peers(1, PATIENCE)


def questions(sock: Sock) -> int:
    """Return how many requests or surveys are open."""
    core = base_of(sock)._core
    return len(core.open())  # type: ignore[attr-defined]  # a Questions


def answering(face: Face, cut: Cut, *, held: bool) -> Callable[[bytes], Coroutine[Any, Any, bytes]]:
    """Return a handler; held, it answers nothing before what is to be cut has had to wait."""

    async def answer(body: bytes) -> bytes:
        if held:
            await until(face, lambda: cut.suspended)
        return b"re " + body

    return answer


@asynccontextmanager
async def served(face: Face, spot: str, cut: Cut, *, held: bool = False) -> AsyncGenerator[Asker]:
    """A Req with a Rep that serves; in the end nobody waits in any line, and no request is open."""
    async with face.crowd() as crowd, face.rep() as rep, face.req() as req:
        await meet(req, rep, spot)
        serving = crowd.start(rep.serve, answering(face, cut, held=held))
        yield req
        assert (face.receiving(req), face.sending(req), questions(req)) == (0, 0, 0)
        await rep.close()
        await outcome(face, serving)


@on_both_loops
async def test_a_cancelled_request_is_forgotten(face: Face, stream_spot: str) -> None:
    """Its reply is discarded; those of the others, before and after, are their own."""

    async def attempt(cut: Cut) -> None:
        async def ask_all(req: Asker) -> None:
            for n in range(8):
                assert await req.request(b"cut %d" % n, timeout=PATIENCE) == b"re cut %d" % n

        async def ask_on(req: Asker) -> None:
            for n in range(8):
                assert await req.request(b"%d" % n, timeout=PATIENCE) == b"re %d" % n

        async with served(face, stream_spot, cut) as req, face.crowd() as crowd:
            others = [crowd.start(ask_on, req) for _ in range(2)]
            await cut(ask_all(req))
            for other in others:
                await outcome(face, other)
            await ask_on(req)
            assert sum(req.stats().discarded.values()) <= 1

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 3


@pytest.mark.parametrize("size", [10, 50_000])
@on_both_loops
async def test_a_cancelled_request_that_nobody_took_is_withdrawn(face: Face, size: int) -> None:
    """It leaves the queue, and the room that it had is the next one's."""
    body = bytes(size)

    async def attempt(cut: Cut) -> None:
        came: list[bool] = []
        async with face.crowd() as crowd, face.rep() as rep, face.req(send_hwm=1, send_hwm_bytes=60_000) as req:
            asking = crowd.start(cut, req.request(body))
            # Only to one who is not cut where he is: else he would wait for ever.
            await until(face, lambda: asking.done or (face.receiving(req) and (cut.late or cut.suspended <= cut.at)))
            if not asking.done:
                came.append(True)
                await meet(req, rep, f"inproc://withdrawn-{face.name}")
                await answer_until(face, rep, asking)
            await outcome(face, asking)
            assert (face.receiving(req), face.sending(req), questions(req)) == (0, 0, 0)
            if not came:
                assert req.stats().accepted == 0
                await req.send(body, timeout=PATIENCE)
                assert req.stats().queued == 1

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


async def answer_until(face: Face, rep: Answerer, job: Job[None]) -> None:
    """Answer one request, or none if the job is over before."""
    while not job.done:
        with suppress(TimedOut):
            body = await rep.recv(timeout=0)
            await rep.send(b"re " + body)
        await face.pause()


@on_both_loops
async def test_a_cancelled_wait_for_room_asks_nothing(face: Face, tmp_path: Path) -> None:
    """`send` and `request` at the mark: what was cut is not sent, and the next in line gets the room."""
    spot = spot_of("ipc", tmp_path)

    async def attempt(cut: Cut) -> None:
        async with face.crowd() as crowd, face.req(send_hwm=1) as req, face.rep() as rep:
            contexts = [req.context() for _ in range(3)]
            await contexts[0].send(b"0")
            cutting = crowd.start(cut, contexts[1].send(b"cut"))
            await until(face, lambda: face.sending(req) or cutting.done)
            other = crowd.start(contexts[2].send, b"2")
            await until(face, lambda: face.sending(req) == (1 if cutting.done else 2))
            await meet(req, rep, spot)
            serving = crowd.start(rep.serve, echo)
            await outcome(face, cutting)
            await outcome(face, other)

            assert await contexts[0].recv(timeout=PATIENCE) == b"re 0"
            assert await contexts[2].recv(timeout=PATIENCE) == b"re 2"
            if cut.cancelled:
                with pytest.raises(StateError, match="send one first"):
                    await contexts[1].recv()
            else:
                assert await contexts[1].recv(timeout=PATIENCE) == b"re cut"
            await rep.close()
            await outcome(face, serving)
            assert rep.stats().received == (2 if cut.cancelled else 3)
            assert face.sending(req) == 0

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


@on_both_loops
async def test_a_cancelled_recv_leaves_the_request_open(face: Face, stream_spot: str) -> None:
    """The next `recv` has the reply: on the socket and on contexts, whoever waits beside."""

    async def attempt(cut: Cut) -> None:
        async with (
            served(face, stream_spot, cut, held=True) as req,
            req.context() as a,
            req.context() as b,
            face.crowd() as crowd,
        ):
            taken: list[bytes] = []

            async def take(asks: Asks) -> None:
                taken.append(await asks.recv(timeout=PATIENCE))

            for n, asks in enumerate((req, a, b)):
                await asks.send(b"%d" % n)
            beside = crowd.start(take, b)
            await cut(take(a))
            if cut.cancelled:
                await take(a)
            await outcome(face, beside)
            assert sorted(taken) == [b"re 1", b"re 2"]
            assert await req.recv(timeout=PATIENCE) == b"re 0"
            assert dict(req.stats().discarded) == {}

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


@pytest.mark.parametrize("number", [2, 5])
@on_both_loops
async def test_a_cancelled_wait_hands_the_turn_on(face: Face, spot: str, number: int) -> None:
    """Each of those who wait is cut in turn, the reading goes on, and the others get their replies."""

    async def attempt(cut: Cut) -> None:
        async with face.rep() as rep, face.req() as req, face.crowd() as crowd:
            await meet(req, rep, spot)
            cutting = crowd.start(cut, req.request(b"cut"))
            others = [crowd.start(req.request, b"%d" % n) for n in range(number)]
            for _ in range(number):
                if (body := await rep.recv(timeout=PATIENCE)) == b"cut":
                    await rep.send(b"re cut")
                    body = await rep.recv(timeout=PATIENCE)
                await rep.send(b"re " + body)
            for n, job in enumerate(others):
                assert await outcome(face, job) == b"re %d" % n
            while not cutting.done:  # answered and not told of it yet, or still to come, or never: it was cut
                try:
                    assert await rep.recv(timeout=0) == b"cut"
                    await rep.send(b"re cut")
                except TimedOut:
                    await face.pause()
            await outcome(face, cutting)
            assert (face.receiving(req), questions(req)) == (0, 0)

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


@on_both_loops
async def test_the_reply_of_one_wakes_no_crowd(face: Face, spot: str) -> None:
    """Four wait, a fifth asks again and again: each of its replies wakes one or two of them, not all."""
    cuts = [Cut(face, NEVER) for _ in range(4)]

    async with face.rep() as rep, face.req() as req, face.crowd() as crowd:
        await meet(req, rep, spot)
        contexts = [rep.context() for _ in range(4)]
        jobs = [crowd.start(cut, req.request(b"slow")) for cut in cuts]
        for context in contexts:
            assert await context.recv(timeout=PATIENCE) == b"slow"
        await until(face, lambda: face.receiving(req) == 4)
        before = sum(cut.suspended for cut in cuts)
        for n in range(20):
            quick = crowd.start(req.request, b"%d" % n)
            assert await rep.recv(timeout=PATIENCE) == b"%d" % n
            await rep.send(b"re %d" % n)
            assert await outcome(face, quick) == b"re %d" % n
        assert sum(cut.suspended for cut in cuts) <= before + 2 * 20

        for context in contexts:
            await context.send(b"at last")
        for job in jobs:
            await outcome(face, job)


# --- answering -----------------------------------------------------------------------------------------------------


@on_both_loops
async def test_a_cancelled_recv_of_a_rep_has_taken_nothing(face: Face, stream_spot: str) -> None:
    """The request is for the next call; one that was received already is still to be answered."""

    async def attempt(cut: Cut) -> None:
        asked: list[bytes] = []
        answered: list[bytes] = []

        async with face.crowd() as crowd, face.rep() as rep, face.req() as req, rep.context() as context:
            await meet(req, rep, stream_spot)

            async def ask(body: bytes) -> bytes:
                await until(face, lambda: cut.suspended)
                return await req.request(body, timeout=PATIENCE)

            async def answer_all() -> None:
                while len(answered) < 4:
                    if not asked:
                        asked.append(await context.recv())
                    await context.send(b"re " + asked[0])
                    answered.append(asked.pop())

            asking = [crowd.start(ask, b"%d" % n) for n in range(4)]
            await cut(answer_all())
            await answer_all()
            for n, job in enumerate(asking):
                assert await outcome(face, job) == b"re %d" % n
            assert sorted(answered) == [b"0", b"1", b"2", b"3"]
            assert face.receiving(rep) == 0

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


@on_both_loops
async def test_a_cancelled_answer_can_be_given_again(face: Face, tmp_path: Path) -> None:
    """Cut while it waits for a peer that does not read, the request is not answered yet."""
    spot = spot_of("ipc", tmp_path)
    body = bytes(100_000)

    async def attempt(cut: Cut) -> None:
        async with face.rep(send_hwm=1) as rep, face.req() as req, face.crowd() as crowd:
            await meet(req, rep, spot)
            number = 12
            contexts = [req.context() for _ in range(number)]
            for n, asks in enumerate(contexts):
                await asks.send(b"%d" % n)
            answered: list[bytes] = []

            async def answer_all() -> None:
                while len(answered) < number:
                    if not asked:
                        asked.append(await rep.recv(timeout=PATIENCE))
                    await rep.send(asked[0] + body)
                    answered.append(asked.pop())

            asked: list[bytes] = []
            reading = crowd.start(read_all, contexts, lambda: face.sending(rep) or cut.cancelled or len(answered) > 3)
            await cut(answer_all())
            await answer_all()

            assert await outcome(face, reading) == [b"%d" % n + body for n in range(number)]
            assert rep.stats().accepted == number
            assert face.sending(rep) == 0

    async def read_all(contexts: list[Asks], begin: Callable[[], object]) -> list[bytes]:
        await until(face, begin)
        return [await asks.recv(timeout=PATIENCE) for asks in contexts]

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


@pytest.mark.parametrize("concurrency", [1, 3])
@on_both_loops
async def test_cancelled_serving_leaves_the_requests_to_the_next(
    face: Face, stream_spot: str, concurrency: int
) -> None:
    """Whoever was not being served just then is served by the next; nobody is left in line."""

    async def attempt(cut: Cut) -> None:
        async with face.crowd() as crowd, face.rep() as rep, face.req() as req:
            await meet(req, rep, stream_spot)
            bodies: list[bytes] = []

            def handler(body: bytes) -> bytes:
                bodies.append(body)
                return b"re " + body

            async def ask_all() -> None:
                for n in range(6):
                    assert await req.request(b"%d" % n, timeout=PATIENCE) == b"re %d" % n

            async def close_behind() -> None:
                await until(face, lambda: all(job.done for job in asking))
                await rep.close()

            asking = [crowd.start(ask_all) for _ in range(concurrency)]
            closing = crowd.start(close_behind)
            await cut(rep.serve(handler, concurrency=concurrency))
            assert face.receiving(rep) == 0
            if cut.cancelled:
                await rep.serve(handler)
            for job in (*asking, closing):
                await outcome(face, job)
            assert len(bodies) == 6 * concurrency  # none was lost, none is served twice
            assert questions(req) == 0

    # In tasks of its own only the one who waits for them is cut, so that a moment or two is all there is.
    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


@on_both_loops
async def test_a_cancelled_handler_answers_nothing(face: Face, spot: str) -> None:
    """The cancellation is not taken for a failure of the handler's: it goes on, out of `serve`."""
    failures: list[Exception] = []

    def on_error(body: bytes, error: Exception) -> bytes:
        failures.append(error)
        return b"failed"

    async def attempt(cut: Cut) -> None:
        entered: list[bytes] = []
        left: list[bytes] = []

        async def handler(body: bytes) -> bytes:
            entered.append(body)
            for _ in range(3):
                await face.pause()
            left.append(body)
            return body

        async with face.crowd() as crowd, face.rep() as rep, face.req() as req:
            await meet(req, rep, spot)
            await req.send(b"x")
            serving = crowd.start(cut, rep.serve(handler, on_error=on_error))
            await until(face, lambda: serving.done or rep.stats().delivered)
            if not entered:
                assert await rep.recv(timeout=PATIENCE) == b"x"
            await rep.close()
            await outcome(face, serving)
            assert rep.stats().accepted == len(left)
            assert failures == []

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 3


# --- surveys -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def surveyed(face: Face, spot: str, cut: Cut, *, held: bool = True) -> AsyncGenerator[Surveyor]:
    """A Surveyor and two Respondents that serve; in the end nobody waits, and no reply went to nobody."""
    async with (
        face.crowd() as crowd,
        face.surveyor(survey_time=60) as surveyor,
        face.respondent() as one,
        face.respondent() as two,
    ):
        url = surveyor.bind(spot).url
        for respondent in (one, two):
            await respondent.connect(url, wait=True, timeout=PATIENCE)
            crowd.start(respondent.serve, answering(face, cut, held=held))
        await surveyor.wait_for_peers(2, PATIENCE)
        yield surveyor
        assert face.receiving(surveyor) == 0
        assert dict(surveyor.stats().discarded) == {}
        for respondent in (one, two):
            await respondent.close()


@on_both_loops
async def test_a_cancelled_recv_of_a_survey_has_taken_nothing(face: Face, stream_spot: str) -> None:
    """Who receives on has all of its replies, and so has a context beside it."""

    async def attempt(cut: Cut) -> None:
        got: list[bytes] = []
        async with surveyed(face, stream_spot, cut) as surveyor, surveyor.context() as context:

            async def take() -> None:
                while len(got) < 2:
                    got.append(await surveyor.recv(timeout=PATIENCE))

            await context.send(b"beside")
            await surveyor.send(b"x")
            await cut(take())
            await take()

            assert got == [b"re x"] * 2
            assert [await context.recv(timeout=PATIENCE) for _ in range(2)] == [b"re beside"] * 2

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


@on_both_loops
async def test_a_cancelled_iteration_of_a_survey_goes_on(face: Face, stream_spot: str) -> None:
    """Cut between two replies, or while it waits for one: the next `anext` has it."""

    async def attempt(cut: Cut) -> None:
        got: list[bytes] = []
        async with surveyed(face, stream_spot, cut) as surveyor, surveyor.survey(b"x") as survey:

            async def take() -> None:
                while len(got) < 2:
                    got.append(await anext(survey))

            await cut(take())
            await take()

            assert got == [b"re x"] * 2

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


@on_both_loops
async def test_a_cancelled_survey_by_send_is_the_open_one_or_is_not(face: Face, stream_spot: str) -> None:
    """Cut in `send`, the survey before is still open, or the new one is: never half of each."""

    async def attempt(cut: Cut) -> None:
        async with surveyed(face, stream_spot, cut, held=False) as surveyor:
            await surveyor.send(b"before")
            assert await surveyor.recv(timeout=PATIENCE) == b"re before"
            assert await surveyor.recv(timeout=PATIENCE) == b"re before"
            await cut(surveyor.send(b"x"))
            if not cut.cancelled:
                assert [await surveyor.recv(timeout=PATIENCE) for _ in range(2)] == [b"re x"] * 2
            with pytest.raises(TimedOut, match="no reply within"):
                await surveyor.recv(timeout=0)

    await sweep(face, attempt)  # it may have no suspension at all
