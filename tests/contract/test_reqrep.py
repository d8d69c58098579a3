"""Req and Rep: each request gets its own reply, once, whatever order, peer or time it comes in."""

from __future__ import annotations

import logging
import select
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

import nnqpy
from nnqpy import Closed, PeerGone, StateError, TimedOut, UnsupportedOperation, asyncio, trio
from nnqpy.base import close_at_once
from nnqpy.proto import Proto
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
    from types import ModuleType

    from nnqpy import Stats
    from nnqpy.base import BaseSocket
    from tests.contract.kit import Answerer, Answers, Asker, Asks, Face, Job, Puppet, Sock

pytestmark = pytest.mark.timeout(60)

T = TypeVar("T")

NUMBER = b"\x80\x00\x00\x01"
"""A request's number, as it stands on the wire."""


async def echo(body: bytes) -> bytes:
    """Answer so that it shows which request it answers."""
    return b"re " + body


async def meet(asker: Asker, answerer: Answerer, spot: str) -> str:
    """Connect the two, and wait until they are; return the URL."""
    url = answerer.bind(spot).url
    await asker.connect(url, wait=True, timeout=PATIENCE)
    await answerer.wait_for_peers(1, PATIENCE)
    return url


async def delivered(face: Face, sock: Sock, number: int) -> Stats:
    """Wait until a socket has delivered so many messages."""
    await until(face, lambda: sock.stats().delivered == number)
    return sock.stats()


async def all_over(face: Face, jobs: list[Job[T]]) -> list[BaseException]:
    """Wait until all jobs are over; return their errors."""
    for job in jobs:
        job.asked = True
    await until(face, lambda: all(job.done for job in jobs))
    return [job.error for job in jobs if job.error is not None]


async def left_alone(face: Face, sock: Sock) -> None:
    """Wait until a socket has no peer."""
    await until(face, lambda: not sock.peers)


def waiting(face: Face, *socks: Asker) -> int:
    """Return how many calls wait for a reply."""
    return sum(face.receiving(sock) for sock in socks)


# --- asking and answering ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, 300_000])
@on_every_face
async def test_a_request_gets_its_reply(face: Face, spot: str, size: int) -> None:
    """By `send` and `recv` as by `request`, of any size, one after the other."""
    async with face.rep() as rep, face.req() as req, face.crowd() as crowd:
        await meet(req, rep, spot)

        async def answer() -> list[bytes]:
            bodies: list[bytes] = []
            for _ in range(20):
                bodies.append(await rep.recv(timeout=PATIENCE))
                await rep.send(b"re " + bodies[-1])
            return bodies

        answering = crowd.start(answer)
        sent = [b"%d" % n + bytes(size) for n in range(20)]
        for body in sent[:10]:
            await req.send(body)
            assert await req.recv(timeout=PATIENCE) == b"re " + body
        for body in sent[10:]:
            assert await req.request(body, timeout=PATIENCE) == b"re " + body

        assert await outcome(face, answering) == sent
        for sock in (req, rep):
            check_books(await delivered(face, sock, 20))
            assert (sock.stats().queued, dict(sock.stats().dropped), dict(sock.stats().discarded)) == (0, {}, {})
        assert req.resent == 0


@on_every_face
async def test_replies_in_another_order_find_their_requests(face: Face, spot: str) -> None:
    """Sixteen requests are in flight on one Req; a Rep that answers the last one first answers each of them."""
    number = 16
    async with face.rep() as rep, face.req() as req, face.crowd() as crowd:
        await meet(req, rep, spot)
        jobs = [crowd.start(req.request, b"%d" % n) for n in range(number)]
        contexts = [rep.context() for _ in range(number)]
        bodies = [await context.recv(timeout=PATIENCE) for context in contexts]
        for context, body in reversed(list(zip(contexts, bodies, strict=True))):
            await context.send(b"re " + body)

        assert [await outcome(face, job) for job in jobs] == [b"re %d" % n for n in range(number)]
        assert sorted(bodies) == sorted(b"%d" % n for n in range(number))
        assert waiting(face, req) == 0


@on_every_face
async def test_many_ask_many_and_each_gets_its_own(face: Face, spot: str) -> None:
    """Eight askers, by `request` and by contexts, on one Req, 50 requests each; three Reps serve, four at a time."""
    async with face.crowd() as crowd, face.rep() as one, face.rep() as two, face.rep() as three, face.req() as req:
        url = req.bind(spot).url
        for rep in (one, two, three):
            await rep.connect(url, wait=True, timeout=PATIENCE)
            crowd.start(partial(rep.serve, echo, concurrency=4))
        await req.wait_for_peers(3, PATIENCE)

        async def by_request(who: int) -> int:
            for n in range(50):
                body = b"%d/%d" % (who, n)
                assert await req.request(body, timeout=PATIENCE) == b"re " + body
            return 50

        async def by_context(who: int) -> int:
            async with req.context() as context:
                for n in range(50):
                    body = b"%d/%d" % (who, n)
                    await context.send(body)
                    assert await context.recv(timeout=PATIENCE) == b"re " + body
            return 50

        jobs = [crowd.start(by_context if who % 2 else by_request, who) for who in range(8)]
        assert sum([await outcome(face, job) for job in jobs]) == 400

        stats = req.stats()
        assert (stats.delivered, stats.queued, stats.inbox, dict(stats.discarded)) == (400, 0, 0, {})
        assert all(rep.stats().received > 0 for rep in (one, two, three))
        for rep in (one, two, three):
            await rep.close()


@on_every_face
async def test_what_came_before_anybody_asked_for_it_is_kept(face: Face, spot: str) -> None:
    """Contexts send first and receive later, in another order; the socket itself is one of them."""
    async with face.crowd() as crowd, face.rep() as rep, face.req() as req, req.context() as a, req.context() as b:
        await meet(req, rep, spot)
        crowd.start(rep.serve, echo)
        askers: list[Asks] = [req, a, b]
        for n, asks in enumerate(askers):
            await asks.send(b"%d" % n)
        for n, asks in reversed(list(enumerate(askers))):
            assert await asks.recv(timeout=PATIENCE) == b"re %d" % n
        await rep.close()


@on_every_face
async def test_a_rep_with_several_peers_answers_each_by_its_way(face: Face, spot: str) -> None:
    """Four Reqs with equal bodies, and, mostly, other numbers: nobody gets another one's answer."""
    async with face.crowd() as crowd, face.rep() as rep:
        url = rep.bind(spot).url
        crowd.start(lambda: rep.serve(echo, concurrency=2))

        async def ask(who: int) -> None:
            async with face.req(connect=url) as req:
                for n in range(30):
                    body = b"%d/%d" % (who, n)
                    assert await req.request(body, timeout=PATIENCE) == b"re " + body

        for job in [crowd.start(ask, who) for who in range(4)]:
            await outcome(face, job)
        await rep.close()


@on_every_face
async def test_equal_numbers_of_two_peers_are_two_requests(face: Face) -> None:
    """A number is its asker's own: the answer goes to the connection that the request came by (R-15)."""
    async with face.rep() as rep, rep.context() as one, rep.context() as two:
        url = rep.bind("tcp://127.0.0.1:0").url
        with puppet_at(url, Proto.REQ) as a, puppet_at(url, Proto.REQ) as b:
            a.say(NUMBER + b"a")
            first = await one.recv(timeout=PATIENCE)
            b.say(NUMBER + b"b")
            second = await two.recv(timeout=PATIENCE)
            await two.send(b"re " + second)
            await one.send(b"re " + first)
            await rep.flush(PATIENCE)

            await until(face, lambda: a.heard and b.heard)
            assert (first, second) == (b"a", b"b")
            assert (a.heard, b.heard) == ([NUMBER + b"re a"], [NUMBER + b"re b"])


@on_every_face
async def test_a_header_goes_back_as_it_came(face: Face) -> None:
    """What the devices on the way have put in front stands in front of the reply, up to `max_ttl` words."""
    async with face.rep(max_ttl=3) as rep:
        with puppet_at(rep.bind("tcp://127.0.0.1:0").url, Proto.REQ) as puppet:
            way = b"\x00\x00\x00\x07\x00\x00\x00\x09" + NUMBER
            puppet.say(b"\x00\x00\x00\x01" + way + b"too far", way + b"ask")
            assert await rep.recv(timeout=PATIENCE) == b"ask"
            await rep.send(b"answer")
            await rep.flush(PATIENCE)

            await until(face, lambda: puppet.heard)
            assert puppet.heard == [way + b"answer"]
            assert dict(rep.stats().discarded) == {"ttl_exceeded": 1}


# --- serving -------------------------------------------------------------------------------------------------------


@on_every_face
async def test_several_requests_are_served_at_a_time(face: Face, spot: str) -> None:
    """With `concurrency=3` three handlers run together, and no more; one that is stuck holds no other up."""
    inside: list[bytes] = []
    most: list[int] = []
    free: list[bool] = []

    async def handler(body: bytes) -> bytes:
        inside.append(body)
        most.append(len(inside))
        if body == b"stuck":
            await until(face, lambda: free)
        else:
            await until(face, lambda: max(most) == 3)
        inside.remove(body)
        return b"re " + body

    async with face.crowd() as crowd, face.rep() as rep, face.req() as req:
        await meet(req, rep, spot)
        serving = crowd.start(lambda: rep.serve(handler, concurrency=3))
        stuck = crowd.start(req.request, b"stuck")
        others = [crowd.start(req.request, b"%d" % n) for n in range(20)]
        for n, job in enumerate(others):
            assert await outcome(face, job) == b"re %d" % n
        assert not stuck.done
        free.append(True)

        assert await outcome(face, stuck) == b"re stuck"
        assert max(most) == 3
        await rep.close()
        await outcome(face, serving)


@pytest.mark.parametrize("concurrency", [1, 3])
@on_every_face
async def test_a_plain_function_may_serve(face: Face, spot: str, concurrency: int) -> None:
    """In the faces of tasks too; its answer may be any bytes-like object, and None is none."""

    def handler(body: bytes) -> bytearray | None:
        return None if body == b"hush" else bytearray(b"re " + body)

    async with face.crowd() as crowd, face.rep() as rep, face.req() as req:
        await meet(req, rep, spot)
        serving = crowd.start(lambda: rep.serve(handler, concurrency=concurrency))
        with pytest.raises(TimedOut) as caught:
            await req.request(b"hush", timeout=BRIEFLY)
        assert caught.value.reason == "no_reply"
        assert await req.request(b"speak", timeout=PATIENCE) == b"re speak"

        await rep.close()
        await outcome(face, serving)
        assert rep.stats().accepted == 1


@pytest.mark.parametrize("concurrency", [1, 2])
@on_every_face
async def test_a_handler_that_fails_ends_one_request_alone(
    face: Face, spot: str, concurrency: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the service goes on; who asked gets no answer."""

    async def handler(body: bytes) -> bytes:
        if body == b"bad":
            raise LookupError("no such thing")
        return b"re " + body

    async with face.crowd() as crowd, face.rep() as rep, face.req() as req:
        await meet(req, rep, spot)
        serving = crowd.start(lambda: rep.serve(handler, concurrency=concurrency))
        with caplog.at_level(logging.ERROR, "nnqpy"), pytest.raises(TimedOut):
            await req.request(b"bad", timeout=BRIEFLY * 2)
        await until(face, lambda: caplog.records)
        assert await req.request(b"good", timeout=PATIENCE) == b"re good"

        (record,) = caplog.records
        assert record.message.startswith("handler-failed")
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], LookupError)
        await rep.close()
        await outcome(face, serving)


@on_every_face
async def test_a_failure_may_be_answered(face: Face, spot: str, caplog: pytest.LogCaptureFixture) -> None:
    """`on_error` is given the request and the error; what it returns is the answer, None is none; nothing is logged."""

    async def handler(body: bytes) -> bytes:
        raise LookupError(body.decode())

    def on_error(body: bytes, error: Exception) -> bytes | None:
        return None if body == b"hush" else b"%s failed: %r" % (body, str(error).encode())

    async with face.crowd() as crowd, face.rep() as rep, face.req() as req:
        await meet(req, rep, spot)
        serving = crowd.start(lambda: rep.serve(handler, on_error=on_error))
        with pytest.raises(TimedOut):
            await req.request(b"hush", timeout=BRIEFLY)

        assert await req.request(b"this", timeout=PATIENCE) == b"this failed: b'this'"
        assert caplog.records == []
        await rep.close()
        await outcome(face, serving)


class Stop(BaseException):
    """As a KeyboardInterrupt: no failure of a handler's."""


@pytest.mark.parametrize("concurrency", [1, 3])
@on_every_face
async def test_what_is_no_failure_ends_the_serving(face: Face, spot: str, concurrency: int) -> None:
    """An error that is no `Exception` comes out of `serve`, in a group where tasks share the work; nobody serves on."""
    async with face.crowd() as crowd, face.rep() as rep, face.req() as req:
        await meet(req, rep, spot)

        async def handler(body: bytes) -> bytes:
            if body == b"stop":
                raise Stop
            return body

        async def serve() -> list[type[BaseException]]:
            try:
                await rep.serve(handler, concurrency=concurrency)
            except BaseExceptionGroup as group:
                return [type(error) for error in group.exceptions]
            except Stop as error:
                return [type(error)]
            return []

        serving = crowd.start(serve)
        assert await req.request(b"go on", timeout=PATIENCE) == b"go on"
        await req.send(b"stop")

        assert await outcome(face, serving) == [Stop]
        assert face.receiving(rep) == 0
        with pytest.raises(TimedOut):
            await req.request(b"nobody is there", timeout=BRIEFLY)
        assert await rep.recv(timeout=PATIENCE) == b"nobody is there"


@on_every_face
async def test_what_on_error_raises_ends_the_serving(face: Face, spot: str) -> None:
    """It is the user's last word."""

    async def handler(body: bytes) -> bytes:
        raise LookupError

    def on_error(body: bytes, error: Exception) -> bytes:
        raise ZeroDivisionError

    async with face.rep() as rep, face.req() as req:
        await meet(req, rep, spot)
        await req.send(b"x")

        with pytest.raises(ZeroDivisionError):
            await rep.serve(handler, on_error=on_error)


@pytest.mark.parametrize("concurrency", [1, 4])
@on_every_face
async def test_serving_ends_when_the_socket_is_closed(face: Face, spot: str, concurrency: int) -> None:
    """All who serve return, also one whose handler is busy just then: its answer is too late."""
    async with face.crowd() as crowd, face.rep() as rep, face.req() as req:
        await meet(req, rep, spot)
        inside: list[bytes] = []
        free: list[bool] = []

        async def handler(body: bytes) -> bytes:
            inside.append(body)
            await until(face, lambda: free)
            return body

        serving = crowd.start(lambda: rep.serve(handler, concurrency=concurrency))
        asking = crowd.start(req.request, b"late")
        await until(face, lambda: inside)
        await rep.close()
        free.append(True)

        await outcome(face, serving)
        await req.close()
        with pytest.raises(Closed):
            await outcome(face, asking)
        await rep.serve(handler)


SILLY: list[tuple[Any, type[Exception]]] = [(-1, ValueError), (True, TypeError), (1.0, TypeError)]


@on_every_face
async def test_a_silly_number_is_refused(face: Face) -> None:
    """`concurrency` and `retries` are counted in whole numbers, `resend_time` in seconds; the text says from where."""
    async with face.rep() as rep, face.req() as req:
        for bad, error in SILLY:
            with pytest.raises(error, match="concurrency"):
                await rep.serve(echo, concurrency=bad)
            with pytest.raises(error, match="retries"):
                await req.request(b"", retries=bad)
        with pytest.raises(ValueError, match="concurrency is at least 1"):
            await rep.serve(echo, concurrency=0)
        times: list[Any] = [0, -1.0, "1", float("nan")]
        for bad in times:
            with pytest.raises((TypeError, ValueError), match="resend_time"):
                face.req(resend_time=bad)
            with pytest.raises((TypeError, ValueError), match="resend_time"):
                req.context(resend_time=bad)
        assert req.stats().accepted == 0


# --- the wrong moment ----------------------------------------------------------------------------------------------


@on_every_face
async def test_a_reply_is_there_for_who_has_asked(face: Face, spot: str) -> None:
    """`recv` before `send`, and a second one after the reply: the text says what to do."""
    async with face.crowd() as crowd, face.rep() as rep, face.req() as req, req.context() as context:
        await meet(req, rep, spot)
        crowd.start(rep.serve, echo)
        for asks in (req, context):
            with pytest.raises(StateError, match="send one first"):
                await asks.recv()
            await asks.send(b"x")
            assert await asks.recv(timeout=PATIENCE) == b"re x"
            with pytest.raises(StateError, match="send one first"):
                await asks.recv(timeout=0)
        await rep.close()


@on_every_face
async def test_an_answer_needs_a_request(face: Face, spot: str) -> None:
    """`send` before `recv`, and a second one; a context's request is its own."""
    async with face.rep() as rep, rep.context() as context, face.req() as req:
        await meet(req, rep, spot)
        await req.send(b"x")
        for answers in (rep, context):
            with pytest.raises(StateError, match="recv one first"):
                await answers.send(b"nobody asked")
        assert await context.recv(timeout=PATIENCE) == b"x"
        with pytest.raises(StateError, match="recv one first"):
            await rep.send(b"not the socket")
        await context.send(b"re x")
        with pytest.raises(StateError, match="recv one first"):
            await context.send(b"again")

        assert await req.recv(timeout=PATIENCE) == b"re x"


@on_every_face
async def test_a_request_that_is_not_answered_is_forgotten_by_the_next(face: Face, spot: str) -> None:
    """`recv` again without `send`; a `recv` that finds nothing keeps the request that it has."""
    async with face.crowd() as crowd, face.rep() as rep, face.req() as req, req.context() as other:
        await meet(req, rep, spot)
        await req.send(b"first")
        assert await rep.recv(timeout=PATIENCE) == b"first"
        with pytest.raises(TimedOut) as caught:
            await rep.recv(timeout=BRIEFLY)
        assert caught.value.reason == "no_message"
        await other.send(b"second")
        assert await rep.recv(timeout=PATIENCE) == b"second"
        await rep.send(b"re second")

        assert await other.recv(timeout=PATIENCE) == b"re second"
        with pytest.raises(TimedOut):
            await req.recv(timeout=BRIEFLY)
        waits = crowd.start(req.recv)
        await until(face, lambda: waiting(face, req) == 1)
        await req.close()
        with pytest.raises(Closed):
            await outcome(face, waits)


@on_every_face
async def test_one_context_receives_one_request_at_a_time(face: Face, spot: str) -> None:
    """Two at once on a Rep, or on a context of it, would not know whom they answer."""
    async with face.crowd() as crowd, face.rep() as rep, rep.context() as context, face.req() as req:
        await meet(req, rep, spot)
        answerers: list[Answers] = [rep, context]
        for answers in answerers:
            first = crowd.start(answers.recv)
            await until(face, lambda: face.receiving(rep) == 1)
            with pytest.raises(StateError, match="context for each"):
                await answers.recv()
            await req.send(b"x")
            assert await outcome(face, first) == b"x"
            await answers.send(b"re x")
            assert await req.recv(timeout=PATIENCE) == b"re x"


@on_every_face
async def test_a_new_request_replaces_the_open_one(face: Face, spot: str) -> None:
    """Who waits for the first one's reply elsewhere is told so, and that reply, if it comes, goes to nobody."""
    async with face.crowd() as crowd, face.rep() as rep, face.req() as req, rep.context() as one, rep.context() as two:
        await meet(req, rep, spot)
        await req.send(b"first")
        first = crowd.start(req.recv)
        await until(face, lambda: waiting(face, req) == 1)
        assert await one.recv(timeout=PATIENCE) == b"first"
        await req.send(b"second")
        with pytest.raises(StateError, match="given up for a later one"):
            await outcome(face, first)
        assert await two.recv(timeout=PATIENCE) == b"second"
        await one.send(b"re first")
        await two.send(b"re second")

        assert await req.recv(timeout=PATIENCE) == b"re second"
        await until(face, lambda: dict(req.stats().discarded) == {"unknown_request": 1})


@on_every_face
async def test_of_two_who_wait_for_one_reply_one_is_told(face: Face, spot: str) -> None:
    """The reply is for one `recv`; the other one says where it went."""
    async with face.crowd() as crowd, face.rep() as rep, face.req() as req, req.context() as context:
        await meet(req, rep, spot)
        for asks in (req, context):
            await asks.send(b"x")
            jobs = [crowd.start(asks.recv) for _ in range(2)]
            await until(face, lambda: waiting(face, req) == 2)
            assert await rep.recv(timeout=PATIENCE) == b"x"
            await rep.send(b"re x")
            errors = await all_over(face, jobs)

            assert [value for job in jobs for value in job.value] == [b"re x"]
            assert [type(error) for error in errors] == [StateError]
            assert "taken by another call" in str(errors[0])


@on_every_face
async def test_a_context_that_is_closed_gives_its_request_up(face: Face, spot: str) -> None:
    """Who waits for it elsewhere is told; the reply is discarded; the socket's other requests go on."""
    async with face.crowd() as crowd, face.rep() as rep, face.req() as req, rep.context() as a, rep.context() as b:
        await meet(req, rep, spot)
        async with req.context() as context:
            await context.send(b"context's")
            waits = crowd.start(context.recv)
            await until(face, lambda: waiting(face, req) == 1)
            await req.send(b"socket's")
            got = {await a.recv(timeout=PATIENCE), await b.recv(timeout=PATIENCE)}
        with pytest.raises(StateError, match="its context was closed"):
            await outcome(face, waits)
        with pytest.raises(StateError, match="send one first"):
            await context.recv()
        await a.send(b"1")
        await b.send(b"2")

        assert await req.recv(timeout=PATIENCE) == b"2"
        assert got == {b"context's", b"socket's"}
        await until(face, lambda: dict(req.stats().discarded) == {"unknown_request": 1})


@on_every_face
async def test_a_body_that_is_no_message_changes_nothing(face: Face, spot: str) -> None:
    """The request that is open stays open, and the one to answer can still be answered."""
    async with face.rep() as rep, face.req() as req:
        await meet(req, rep, spot)
        await req.send(b"x")
        with pytest.raises(TypeError, match="not str"):
            await req.send("text")  # type: ignore[arg-type]  # on purpose
        with pytest.raises(TypeError, match="not str"):
            await req.request("text")  # type: ignore[arg-type]  # on purpose
        assert await rep.recv(timeout=PATIENCE) == b"x"
        with pytest.raises(TypeError, match="not str"):
            await rep.send("text")  # type: ignore[arg-type]  # on purpose
        await rep.send(b"re x")

        assert await req.recv(timeout=PATIENCE) == b"re x"


# --- asking again --------------------------------------------------------------------------------------------------


@on_every_face
async def test_the_request_of_a_dead_rep_goes_to_another_at_once(face: Face, spot: str) -> None:
    """Nobody waits for `resend_time`, which is a minute here; the bytes, and so the number, are the same."""
    async with face.crowd() as crowd, face.req(reconnect_min=0.01) as req, face.rep() as heir:
        url = req.bind(spot).url
        mortal = face.rep()
        await mortal.connect(url, wait=True, timeout=PATIENCE)
        await req.wait_for_peers(1, PATIENCE)
        by_request = crowd.start(req.request, b"request")
        await req.send(b"send")
        got = {await mortal.recv(timeout=PATIENCE), await mortal.recv(timeout=PATIENCE)}
        await mortal.close(0)
        await until(face, lambda: not req.peers)
        heir.connect(url)
        serving = crowd.start(heir.serve, echo)

        assert await req.recv(timeout=PATIENCE) == b"re send"
        assert await outcome(face, by_request) == b"re request"
        assert got == {b"request", b"send"}
        assert req.resent == 2
        check_books(await delivered(face, req, 4))
        await heir.close()
        await outcome(face, serving)


@on_every_face
async def test_the_request_of_a_dead_rep_goes_to_one_who_is_there(face: Face, spot: str) -> None:
    """The same where another one has been there all along; one that nobody waits for just then goes there too."""
    async with face.req() as req, face.rep() as heir:
        url = req.bind(spot).url
        mortal = face.rep()
        await mortal.connect(url, wait=True, timeout=PATIENCE)
        await req.wait_for_peers(1, PATIENCE)
        await req.send(b"x")
        assert await mortal.recv(timeout=PATIENCE) == b"x"
        heir.connect(url)
        await req.wait_for_peers(2, PATIENCE)
        await mortal.close(0)
        assert await heir.recv(timeout=PATIENCE) == b"x"
        await heir.send(b"re x")

        assert await req.recv(timeout=PATIENCE) == b"re x"
        assert req.resent == 1


@on_every_face
async def test_a_reply_that_came_before_its_rep_went_is_a_reply(face: Face, spot: str) -> None:
    """Who answers and leaves has answered, also where a request is sent only once."""
    for n in range(20):
        async with face.req(resend_time=None) as req:
            rep = face.rep()
            await rep.connect(
                req.bind(spot.replace(".sock", f"{n}.sock") if "ipc" in spot else spot).url, wait=True, timeout=PATIENCE
            )
            await req.send(b"x")
            assert await rep.recv(timeout=PATIENCE) == b"x"
            await rep.send(b"re x")
            await rep.close()
            if n % 2:
                await left_alone(face, req)

            assert await req.recv(timeout=PATIENCE) == b"re x"
            assert req.resent == 0


@pytest.mark.parametrize("how", ["recv", "request"])
@on_every_face
async def test_a_request_that_is_sent_once_fails_with_its_peer(face: Face, spot: str, how: str) -> None:
    """`PeerGone` where it is waited for, also by several, and where it is asked for later; then it is another's turn."""
    async with face.crowd() as crowd, face.req(resend_time=None) as req, req.context(resend_time=60) as patient:
        url = req.bind(spot).url
        mortal = face.rep()
        await mortal.connect(url, wait=True, timeout=PATIENCE)
        await req.wait_for_peers(1, PATIENCE)
        await patient.send(b"patient")
        await req.send(b"send")
        number = 2
        if how == "recv":
            jobs = [crowd.start(req.recv) for _ in range(2)]
        else:
            jobs = [crowd.start(req.request, b"request") for _ in range(2)]
            number = 4
        await until(face, lambda: waiting(face, req) == 2)
        for _ in range(number):
            await mortal.recv(timeout=PATIENCE)
        await mortal.close(0)

        for job in jobs:
            with pytest.raises(PeerGone, match="resend_time=None"):
                await outcome(face, job)
        await until(face, lambda: not req.peers)
        with pytest.raises(PeerGone, match="resend_time=None"):
            await req.recv(timeout=PATIENCE)
        async with face.rep(connect=url) as heir:
            crowd.start(heir.serve, echo)
            assert await patient.recv(timeout=PATIENCE) == b"re patient"
            assert await req.request(b"again", timeout=PATIENCE) == b"re again"
        assert req.resent == 1


@on_every_face
async def test_a_request_without_a_reply_is_sent_again_when_its_time_is_over(face: Face) -> None:
    """The same bytes, each `resend_time` once (nng repeats itself every second from then on), and only while open."""
    seconds = 0.1
    with Stage(Proto.REP) as stage:
        async with face.req(resend_time=seconds, connect=stage.url) as req, req.context(resend_time=None) as once:
            await until(face, lambda: stage.puppets)
            (puppet,) = stage.puppets
            await once.send(b"once")
            began = monotonic()
            await req.send(b"x")
            await until(face, lambda: len(puppet.heard) >= 6)
            took = monotonic() - began
            first, *rest = puppet.heard

            assert first[4:] == b"once"
            assert rest[0][0] & 0x80
            assert rest == [rest[0]] * len(rest)
            assert took >= seconds * (len(rest) - 1)
            assert req.resent == len(rest) - 1
            puppet.say(rest[0][:4] + b"re x")
            assert await req.recv(timeout=PATIENCE) == b"re x"
            with pytest.raises(TimedOut):
                await once.recv(timeout=3 * seconds)
            heard = len(puppet.heard)
            assert puppet.heard.count(first) == 1
            with pytest.raises(TimedOut):
                await once.recv(timeout=3 * seconds)
            assert len(puppet.heard) == heard


@on_every_face
async def test_a_time_to_send_again_that_is_shorter_comes_first(face: Face) -> None:
    """A context that is in more of a hurry than the socket does not wait for the socket's."""
    with Stage(Proto.REP) as stage:
        async with face.req(connect=stage.url) as req, req.context(resend_time=0.05) as quick:
            await until(face, lambda: stage.puppets)
            (puppet,) = stage.puppets
            await req.send(b"slow")
            await quick.send(b"quick")

            await until(face, lambda: len(puppet.heard) >= 4)
            assert [one[4:] for one in puppet.heard] == [b"slow", *[b"quick"] * (len(puppet.heard) - 1)]


@on_every_face
async def test_a_request_goes_to_whoever_has_room_when_it_is_sent_again(face: Face) -> None:
    """One peer is silent; the second time the request is with the other one, and whoever answers is heard."""
    with Stage(Proto.REP) as stage:
        async with face.req(resend_time=0.05, connect=[stage.url, stage.url]) as req:
            await until(face, lambda: len(stage.puppets) == 2 and len(req.peers) == 2)
            await req.send(b"x")
            await until(face, lambda: all(puppet.heard for puppet in stage.puppets))
            a, b = stage.puppets
            number = a.heard[0][:4]
            b.say(number + b"first answer")
            assert await req.recv(timeout=PATIENCE) == b"first answer"
            a.say(number + b"late")
            b.say(number + b"late")

            with pytest.raises(StateError):
                await req.recv(timeout=0)
            assert await asked_again(face, req, a, b) == b"fresh"
            await until(face, lambda: dict(req.stats().discarded) == {"unknown_request": 2})


async def asked_again(face: Face, req: Asker, *puppets: Puppet) -> bytes:
    """Return the reply to one more request, from whichever puppet has it."""
    before = {puppet: len(puppet.heard) for puppet in puppets}
    await req.send(b"y")
    await until(face, lambda: any(len(puppet.heard) > before[puppet] for puppet in puppets))
    for puppet in puppets:
        for payload in puppet.heard[before[puppet] :]:
            if payload[4:] == b"y":
                puppet.say(payload[:4] + b"fresh")
    return await req.recv(timeout=PATIENCE)


async def one_of_two_asked(face: Face, req: Asker, stage: Stage) -> tuple[Puppet, Puppet]:
    """Send a request when both puppets are there, and return who of them was asked, and the other one."""
    await until(face, lambda: len(stage.puppets) == 2 and len(req.peers) == 2)
    await req.send(b"x")
    await until(face, lambda: any(puppet.heard for puppet in stage.puppets))
    asked, other = sorted(stage.puppets, key=lambda puppet: not puppet.heard)
    return asked, other


@on_every_face
async def test_replies_that_nobody_asked_for_are_counted(face: Face) -> None:
    """Strange numbers, and a second reply while the first one waits; none of them is ever received."""
    with Stage(Proto.REP) as stage:
        async with face.req(connect=[stage.url, stage.url]) as req:
            asked, other = await one_of_two_asked(face, req, stage)
            number = asked.heard[0][:4]
            strange = (int.from_bytes(number, "big") ^ 1).to_bytes(4, "big")
            asked.say(strange + b"strange", b"\x00\x00\x00\x07no top bit", number)
            await until(face, lambda: req.stats().received == 3 or asked_nobody(req))
            other.say(number + b"from another one")

            assert await req.recv(timeout=PATIENCE) in (b"", b"from another one")
            with pytest.raises(TimedOut):
                await req.request(b"", timeout=BRIEFLY)
            await until(face, lambda: sum(req.stats().discarded.values()) == 3)
            assert req.stats().discarded["unknown_request"] >= 2
            assert set(req.stats().discarded) <= {"unknown_request", "duplicate_reply"}
            assert len(req.peers) == 2


def asked_nobody(req: Asker) -> bool:
    """Whether a Req that nobody receives from has not looked at what came; it looks when it is asked."""
    return not req.stats().received


@on_every_face
async def test_a_duplicate_is_told_from_a_reply_to_nobody(face: Face) -> None:
    """While a reply waits to be taken, a second one is a duplicate."""
    with Stage(Proto.REP) as stage:
        async with face.req(connect=stage.url) as req, req.context() as context:
            await until(face, lambda: stage.puppets)
            (puppet,) = stage.puppets
            await context.send(b"x")
            await until(face, lambda: len(puppet.heard) == 1)
            await req.send(b"y")
            await until(face, lambda: len(puppet.heard) == 2)
            x, y = (payload[:4] for payload in puppet.heard)
            puppet.say(x + b"1", x + b"2", x + b"3", y + b"re y")
            assert await req.recv(timeout=PATIENCE) == b"re y"

            assert dict(req.stats().discarded) == {"duplicate_reply": 2}
            assert req.stats().inbox == 1
            assert await context.recv(timeout=0) == b"1"
            assert req.stats().inbox == 0


@on_every_face
async def test_a_reply_from_another_peer_than_was_asked_counts(face: Face) -> None:
    """The number says whose it is: a request may have been with several peers."""
    with Stage(Proto.REP) as stage:
        async with face.req(connect=[stage.url, stage.url]) as req:
            asked, other = await one_of_two_asked(face, req, stage)
            other.say(asked.heard[0][:4] + b"from another one")

            assert await req.recv(timeout=PATIENCE) == b"from another one"


@on_every_face
async def test_a_reply_without_a_number_ends_the_connection(face: Face) -> None:
    """It is no reply; the request is asked again where there is somebody else."""
    with Stage(Proto.REP) as stage:
        async with face.req(connect=stage.url, reconnect_min=0.01) as req, face.crowd() as crowd:
            await until(face, lambda: stage.puppets)
            asking = crowd.start(req.request, b"x")
            await until(face, lambda: stage.puppets[0].heard)
            stage.puppets[0].say(b"\x80\x00\x00")
            await until(face, lambda: len(stage.puppets) == 2 and stage.puppets[1].heard)
            (payload,) = stage.puppets[1].heard
            stage.puppets[1].say(payload[:4] + b"re x")

            assert await outcome(face, asking) == b"re x"
            assert req.resent == 1


@on_every_face
async def test_a_request_may_be_repeated_by_hand(face: Face) -> None:
    """`retries` sends the same bytes again after each `timeout`; the reply to any of them counts, the rest is silence."""
    with Stage(Proto.REP) as stage:
        async with face.req(connect=stage.url) as req, face.crowd() as crowd:
            await until(face, lambda: stage.puppets)
            (puppet,) = stage.puppets
            with pytest.raises(TimedOut, match="asked 3 times") as caught:
                await req.request(b"never", timeout=BRIEFLY, retries=2)
            assert caught.value.reason == "no_reply"
            await until(face, lambda: len(puppet.heard) == 3)
            assert puppet.heard == [puppet.heard[0]] * 3
            assert req.resent == 2

            job = crowd.start(lambda: req.request(b"at last", timeout=0.5, retries=20))
            await until(face, lambda: len(puppet.heard) == 5)
            puppet.say(puppet.heard[0][:4] + b"too late", puppet.heard[4][:4] + b"re", puppet.heard[4][:4] + b"re")
            assert await outcome(face, job) == b"re"
            with pytest.raises(TimedOut):
                await req.request(b"", timeout=BRIEFLY)
            assert sum(req.stats().discarded.values()) == 2


# --- time ----------------------------------------------------------------------------------------------------------


@on_every_face
async def test_a_recv_that_is_out_of_time_leaves_the_request_open(face: Face, spot: str) -> None:
    """A later `recv` goes on with it."""
    async with face.rep() as rep, face.req() as req:
        await meet(req, rep, spot)
        await req.send(b"x")
        for timeout in (0, BRIEFLY):
            with pytest.raises(TimedOut, match="no reply within") as caught:
                await req.recv(timeout=timeout)
            assert (caught.value.reason, caught.value.timeout) == ("no_reply", timeout)
        assert await rep.recv(timeout=PATIENCE) == b"x"
        await rep.send(b"re x")

        assert await req.recv(timeout=PATIENCE) == b"re x"


@on_every_face
async def test_a_request_that_is_out_of_time_is_forgotten(face: Face, spot: str) -> None:
    """Its late reply is discarded, and does not come as the next one's."""
    async with face.crowd() as crowd, face.rep() as rep, face.req() as req:
        await meet(req, rep, spot)
        with pytest.raises(TimedOut) as caught:
            await req.request(b"slow", timeout=BRIEFLY)
        assert caught.value.reason == "no_reply"
        assert await rep.recv(timeout=PATIENCE) == b"slow"
        await rep.send(b"late")
        await rep.flush(PATIENCE)
        crowd.start(rep.serve, echo)

        assert await req.request(b"next", timeout=PATIENCE) == b"re next"
        assert dict(req.stats().discarded) == {"unknown_request": 1}
        await rep.close()


@pytest.mark.parametrize("size", [10, 50_000])
@on_every_face
async def test_a_request_that_nobody_took_is_withdrawn(face: Face, spot: str, size: int) -> None:
    """Out of time, it leaves the queue, and the room that it had; a peer that comes later never sees it."""
    async with face.crowd() as crowd, face.req(send_hwm=1000, send_hwm_bytes=100_000) as req:
        url = req.bind(spot).url
        for _ in range(2):
            with pytest.raises(TimedOut) as caught:
                await req.request(b"x" * size, timeout=BRIEFLY)
            assert caught.value.reason == "no_reply"
            assert req.stats().queued == 0
        await req.send(b"small")
        async with req.context() as context:
            await context.send(b"y" * size, timeout=BRIEFLY)
            assert (req.stats().accepted, req.stats().queued) == (2, 2)
            async with face.rep(connect=url) as rep:
                crowd.start(rep.serve, echo)
                assert await req.recv(timeout=PATIENCE) == b"re small"
                assert await context.recv(timeout=PATIENCE) == b"re " + b"y" * size
                assert rep.stats().received == 2


@on_every_face
async def test_a_queue_without_room_is_told(face: Face) -> None:
    """Nobody there, or nobody who reads: by `send` and by `request`; no request is open then."""
    with Stage(Proto.REP) as stage:
        async with face.req(send_hwm=1, linger=0) as req, req.context() as context:
            await req.send(b"fills the queue")
            for ask in (context.send, context.request):
                with pytest.raises(TimedOut) as caught:
                    await ask(b"x", timeout=BRIEFLY)
                assert caught.value.reason == "no_peer"
            with pytest.raises(StateError, match="send one first"):
                await context.recv()
            req.connect(stage.url)
            await until(face, lambda: stage.puppets and not req.stats().queued)
            contexts = [req.context() for _ in range(1000)]
            with pytest.raises(TimedOut) as caught:
                for one in contexts:
                    await one.send(bytes(1_000_000), timeout=BRIEFLY)
            assert caught.value.reason == "queue_full"
            with pytest.raises(TimedOut) as caught:
                await context.request(b"x", timeout=BRIEFLY)
            assert caught.value.reason == "queue_full"
            check_books(req.stats())


@on_every_face
async def test_the_room_of_a_request_that_is_given_up_is_anothers(face: Face) -> None:
    """Who waits for room gets it as soon as a request is withdrawn: nobody needs to come for that."""
    async with face.crowd() as crowd, face.req(send_hwm=1) as req, req.context() as context, req.context() as other:
        await context.send(b"fills the queue")
        sending = crowd.start(other.send, b"x")
        await until(face, lambda: face.sending(req) == 1)
        context.close()

        await outcome(face, sending)
        assert req.stats().queued == 1


# --- the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["recv", "request", "context recv", "send", "full request", "rep recv", "serve"])
@pytest.mark.parametrize("number", [1, 3])
@on_every_face
async def test_close_wakes_all_who_wait(face: Face, call: str, number: int) -> None:
    """`Closed`, all of them; who serves returns."""
    async with face.crowd() as crowd, face.req(linger=0, send_hwm=1000) as req, face.rep(linger=0) as rep:
        full = call in ("send", "full request")
        contexts = [req.context() for _ in range(number)]
        answering = [rep.context() for _ in range(number)]
        if full:
            req = face.req(linger=0, send_hwm=1)  # noqa: PLW2901
            contexts = [req.context() for _ in range(number)]
            await req.send(b"fills the queue")
        elif call != "request":
            await req.send(b"x")
            for context in contexts:
                await context.send(b"x")
        jobs: list[Job[object]] = []
        for n in range(number):
            match call:
                case "recv":
                    jobs.append(crowd.start(req.recv))
                case "request" | "full request":
                    jobs.append(crowd.start(req.request, b"x"))
                case "context recv":
                    jobs.append(crowd.start(contexts[n].recv))
                case "send":
                    jobs.append(crowd.start(contexts[n].send, b"x"))
                case "rep recv":
                    jobs.append(crowd.start(answering[n].recv))
                case _:
                    jobs.append(crowd.start(lambda: rep.serve(echo, concurrency=2)))
        each = 2 if call == "serve" else 1
        sock: Sock = rep if call in ("rep recv", "serve") else req
        await until(face, lambda: (face.sending(sock) if full else face.receiving(sock)) == number * each)
        await sock.close()

        for job in jobs:
            if call == "serve":
                await outcome(face, job)
            else:
                with pytest.raises(Closed):
                    await outcome(face, job)
        assert face.sending(sock) == face.receiving(sock) == 0
        check_books(sock.stats())


@on_every_face
async def test_a_closed_socket_takes_no_call(face: Face, spot: str) -> None:
    """`Closed` from the sockets and from contexts that were made before, whatever was open there."""
    req, rep = face.req(), face.rep()
    await meet(req, rep, spot)
    asking, answering = req.context(), rep.context()
    await req.send(b"x")
    assert await rep.recv(timeout=PATIENCE) == b"x"
    await asking.send(b"y")
    assert await answering.recv(timeout=PATIENCE) == b"y"
    idle, deaf = req.context(), rep.context()
    await req.close()
    await rep.close()

    for asks in (req, asking, idle):
        await take_no_call(partial(asks.send, b"x"), asks.recv, partial(asks.request, b"x"))
    for answers in (rep, answering, deaf):
        await take_no_call(answers.recv, partial(answers.send, b"x"))
    for sock in (req, rep):
        await take_no_call(sock.context)
        check_books(sock.stats())
    for context in (asking, answering, idle, deaf):
        context.close()


@on_every_face
async def test_a_reply_that_was_not_taken_is_told_as_unread(face: Face, spot: str) -> None:
    """By the report of `close`; and it is gone then."""
    req = face.req()
    async with face.rep() as rep, req.context() as context, face.crowd() as crowd:
        await meet(req, rep, spot)
        crowd.start(rep.serve, echo)
        await context.send(b"x")
        await until(face, lambda: rep.stats().delivered == 1)
        assert await req.request(b"y", timeout=PATIENCE) == b"re y"
        assert req.stats().inbox == 1
        report = await req.close()

        assert report.unread == 1
        with pytest.raises(Closed):
            await context.recv()
        await rep.close()


@on_every_face
async def test_an_answer_to_one_who_left_is_counted(face: Face, spot: str) -> None:
    """It is no error of who answers: `send` succeeds, by the books the peer is gone."""
    async with face.rep() as rep:
        req = face.req()
        await meet(req, rep, spot)
        await req.send(b"x")
        assert await rep.recv(timeout=PATIENCE) == b"x"
        await req.close(0)
        await until(face, lambda: not rep.peers)
        await rep.send(b"re x")
        await rep.flush(PATIENCE)

        assert dict(rep.stats().dropped) == {"peer_gone": 1}
        check_books(rep.stats())
        with pytest.raises(StateError, match="recv one first"):
            await rep.send(b"again")


@on_every_face
async def test_one_who_reads_no_replies_holds_up_no_other(face: Face) -> None:
    """His answers wait up to `send_hwm`; a `send` to him is out of time, and can be made again when he reads."""
    async with face.rep(send_hwm=2) as rep, rep.context() as context, face.req() as req, face.crowd() as crowd:
        url = rep.bind("tcp://127.0.0.1:0").url
        with puppet_at(url, Proto.REQ) as deaf:
            sent = 0
            with pytest.raises(TimedOut) as caught:
                while True:
                    deaf.say(NUMBER)
                    assert await context.recv(timeout=PATIENCE) == b""
                    await context.send(b"%05d" % sent + bytes(200_000), timeout=BRIEFLY)
                    sent += 1
            assert caught.value.reason == "queue_full"

            await req.connect(url, wait=True, timeout=PATIENCE)
            for n in range(10):
                await req.send(b"%d" % n)
                assert await rep.recv(timeout=PATIENCE) == b"%d" % n
                await rep.send(b"re %d" % n, timeout=PATIENCE)
                assert await req.recv(timeout=PATIENCE) == b"re %d" % n

            sending = crowd.start(context.send, b"last")
            await until(face, lambda: face.sending(rep) == 1)
            await until(face, lambda: len(deaf.heard) == sent + 1)
            await outcome(face, sending)
            assert [payload[4:9] for payload in deaf.heard] == [*(b"%05d" % n for n in range(sent)), b"last"]
            check_books(rep.stats())
            assert dict(rep.stats().dropped) == {}


@on_every_face
async def test_who_serves_drops_what_one_does_not_take(face: Face) -> None:
    """Serving goes on for all others; what the deaf one misses beyond `send_hwm` is counted."""
    async with face.rep(send_hwm=2) as rep, face.req() as req, face.crowd() as crowd:
        url = rep.bind("tcp://127.0.0.1:0").url
        await req.connect(url, wait=True, timeout=PATIENCE)

        async def handler(body: bytes) -> bytes:
            return bytes(300_000) if body == b"much" else b"re " + body

        serving = crowd.start(rep.serve, handler)
        with puppet_at(url, Proto.REQ) as deaf:
            asked = 0
            while not rep.stats().dropped:
                deaf.say(NUMBER + b"much")
                asked += 1
                assert await req.request(b"%d" % asked, timeout=PATIENCE) == b"re %d" % asked
            assert set(rep.stats().dropped) == {"queue_full"}
            for n in range(10):
                assert await req.request(b"%d" % n, timeout=PATIENCE) == b"re %d" % n
            # Who leaves with replies unread resets its connection, and takes along what of it was not read here yet.
            await until(face, lambda: rep.stats().received == 2 * asked + 10)
        await until(face, lambda: len(rep.peers) == 1)
        await until(face, lambda: not rep.stats().queued)
        assert rep.stats().accepted == rep.stats().delivered + sum(rep.stats().dropped.values()) == 2 * asked + 10
        await rep.close()
        await outcome(face, serving)


MODULES: dict[str, ModuleType] = {module.__name__: module for module in (nnqpy, asyncio, trio)}


@pytest.mark.parametrize("kind", ["Req", "Rep", "Surveyor", "Respondent"])
@pytest.mark.parametrize("module", MODULES)
def test_what_makes_no_sense_is_not_there(module: str, kind: str) -> None:
    """A dialogue has no `send_many` and no `recv_nowait`; the error is an AttributeError, and says so."""
    sock: BaseSocket = getattr(MODULES[module], kind)()
    for verb in ("send_many", "send_nowait", "recv_many", "recv_nowait"):
        assert not hasattr(sock, verb)
        with pytest.raises(UnsupportedOperation, match=f"a {kind} has no {verb}, only {verb[:4]}$"):
            getattr(sock, verb)
    close_at_once(sock._ends)


@pytest.mark.parametrize("module", MODULES)
def test_who_speaks_only_does_not_listen(module: str) -> None:
    """A Pub has no `recv`, a Pull no `send`; nor has a Req an answer's verbs."""
    for kind, verbs in (("Pub", ["recv"]), ("Pull", ["send", "flush"]), ("Req", ["serve", "survey"])):
        sock: BaseSocket = getattr(MODULES[module], kind)()
        for verb in verbs:
            assert not hasattr(sock, verb)
            with pytest.raises(AttributeError, match=verb):
                getattr(sock, verb)
        close_at_once(sock._ends)


# --- what else there is ----------------------------------------------------------------------------------------------


@on_every_face
async def test_who_asks_nobody_is_told_so(face: Face) -> None:
    """Nobody has answered because nobody is there: the text says what the last dial met."""
    async with face.req(connect="inproc://nobody-is-here") as req:
        with pytest.raises(TimedOut, match=r"no reply within .* s; there is no peer yet \(last dial error: ") as caught:
            await req.request(b"?", timeout=BRIEFLY)
    assert caught.value.reason == "no_reply"


@on_every_face
async def test_the_descriptor_is_quiet_when_the_reply_was_taken(face: Face, spot: str) -> None:
    """And when the request was given up for another, whose reply makes it readable again."""
    async with face.req() as req, face.rep() as rep, face.crowd() as crowd:
        await meet(req, rep, spot)
        serving = crowd.start(partial(rep.serve, echo))
        fd = req.fileno()
        for _ in range(3):
            await req.send(b"1")
            await until(face, lambda: readable(fd))
            await req.send(b"2")
            assert await req.recv(timeout=PATIENCE) == b"re 2"
            await until(face, lambda: not readable(fd))
        await rep.close()
        await until(face, lambda: serving.done)


def readable(fd: int) -> bool:
    """Whether a descriptor is readable now; by `poll`, as `select` takes no number beyond 1023."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
