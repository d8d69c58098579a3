"""The face kit: a scenario is written once, with `await`, and runs on every face.

On the blocking face an awaitable is over when it is made, so a scenario is a plain call there and what runs beside it
is a thread. A scenario waits for facts (`Face.until`, a `Job`'s result), never for a time to pass.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import socket
import threading
from contextlib import asynccontextmanager, suppress
from random import Random
from time import monotonic
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    Unpack,
    overload,
)

import pytest
import trio

import nnqpy
import nnqpy.asyncio
import nnqpy.trio
from nnqpy import Closed, TimedOut
from nnqpy.base import BaseSocket, Common
from nnqpy.sync import Socket
from nnqpy.wire.stream import TCP, greeting

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
    from contextlib import AbstractAsyncContextManager
    from types import EllipsisType, TracebackType

    from nnqpy import DrainReport, Event, PeerInfo, Stats
    from nnqpy.blocking.dialogue import AnswersContext, ReqContext, Survey, SurveyorContext
    from nnqpy.kinds.dialogue import OnError
    from nnqpy.message import Body
    from nnqpy.options import OnFull
    from nnqpy.proto import Proto

T = TypeVar("T")
P = ParamSpec("P")

PATIENCE = 10.0
"""Seconds after which what should have happened is given up: long on purpose, the machine may be busy."""
BRIEFLY = 0.05
"""Seconds of a `timeout=` that is meant to be used up."""


STANDSTILL = 0.1
"""Seconds without room after which nothing will make any but a receiver."""


class PubSettings(Common, total=False):
    """Those of a Pub or a Bus."""

    on_full: OnFull


class SubSettings(Common, total=False):
    """Those of a Sub."""

    subscribe: str | bytes | list[str | bytes]
    keep: Literal["all", "latest"]


class ReqSettings(Common, total=False):
    """Those of a Req."""

    resend_time: float | None


class SurveyorSettings(Common, total=False):
    """Those of a Surveyor."""

    survey_time: float


class AnswersSettings(Common, total=False):
    """Those of a Rep or a Respondent."""

    max_ttl: int


class End(Protocol):
    """A listener or a dialer."""

    @property
    def url(self) -> str: ...
    def close(self) -> None: ...


class EventStream(Protocol):
    """A socket's events."""

    async def recv(self, *, timeout: float | None = None) -> Event: ...
    def __aiter__(self) -> AsyncIterator[Event]: ...


class Sock(Protocol):
    """What every socket has, in the words of the async faces."""

    @property
    def peers(self) -> tuple[PeerInfo, ...]: ...
    @property
    def protocol(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    def bind(self, url: str) -> End: ...
    @overload
    def connect(self, url: str) -> End: ...
    @overload
    def connect(self, url: str, *, wait: Literal[True], timeout: float | None = None) -> Coroutine[Any, Any, End]: ...
    def stats(self) -> Stats: ...
    def fileno(self) -> int: ...
    def events(self) -> EventStream: ...
    async def wait_for_peers(self, n: int = 1, timeout: float | None = None) -> tuple[PeerInfo, ...]: ...
    async def close(self, linger: float | None = None) -> DrainReport: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Sender(Sock, Protocol):
    """A socket that sends."""

    async def send(self, body: Body, *, timeout: float | None = None) -> None: ...
    def send_nowait(self, body: Body) -> None: ...
    async def send_many(self, bodies: Iterable[Body], *, timeout: float | None = None) -> int: ...
    async def flush(self, timeout: float | None = None) -> None: ...


class Receiver(Sock, Protocol):
    """A socket that receives."""

    async def recv(self, *, timeout: float | None = None) -> bytes: ...
    def recv_nowait(self) -> bytes: ...
    async def recv_many(self, max: int = 256, *, timeout: float | None = None) -> list[bytes]: ...  # noqa: A002
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> bytes: ...


class Both(Sender, Receiver, Protocol):
    """A socket that does both."""


class Subscriber(Receiver, Protocol):
    """What all faces of a Sub have."""

    def subscribe(self, prefix: str | bytes) -> None: ...
    def unsubscribe(self, prefix: str | bytes) -> None: ...
    @property
    def subscriptions(self) -> tuple[bytes, ...]: ...


class Ctx(Protocol):
    """What is used within `async with`."""

    def close(self) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Asks(Protocol):
    """A Req, or a context of it."""

    async def send(self, body: Body, *, timeout: float | None = None) -> None: ...
    async def recv(self, *, timeout: float | None = None) -> bytes: ...
    async def request(self, body: Body, *, timeout: float | None = None, retries: int = 0) -> bytes: ...


class AskingContext(Asks, Ctx, Protocol):
    """A context of a Req."""


class Asker(Asks, Sock, Protocol):
    """A Req."""

    @property
    def resent(self) -> int: ...
    def context(self, *, resend_time: float | EllipsisType | None = ...) -> AskingContext: ...
    async def flush(self, timeout: float | None = None) -> None: ...


class Replies(Ctx, Protocol):
    """The replies to a survey."""

    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> bytes: ...


class Surveys(Protocol):
    """A Surveyor, or a context of it."""

    async def send(self, body: Body, *, deadline: float | None = None) -> None: ...
    async def recv(self, *, timeout: float | None = None) -> bytes: ...
    def survey(self, body: Body, *, deadline: float | None = None) -> Replies: ...


class SurveysContext(Surveys, Ctx, Protocol):
    """A context of a Surveyor."""


class Surveyor(Surveys, Sock, Protocol):
    """A Surveyor."""

    def context(self) -> SurveysContext: ...


class Answers(Protocol):
    """A Rep or a Respondent, or a context of one."""

    async def recv(self, *, timeout: float | None = None) -> bytes: ...
    async def send(self, body: Body, *, timeout: float | None = None) -> None: ...


class AnsweringContext(Answers, Ctx, Protocol):
    """A context of a Rep or a Respondent."""


class Answerer(Answers, Sock, Protocol):
    """A Rep or a Respondent."""

    def context(self) -> AnsweringContext: ...
    async def serve(
        self,
        handler: Callable[[bytes], Body | Awaitable[Body | None] | None],
        *,
        concurrency: int = 1,
        on_error: OnError | None = None,
    ) -> None: ...
    async def flush(self, timeout: float | None = None) -> None: ...


class Job(Generic[T]):
    """Something that runs beside the scenario: its result, or its error, is asked for or comes out of the crowd."""

    def __init__(self) -> None:
        self.done = False
        self.asked = False
        self.error: BaseException | None = None
        self.value: list[T] = []

    async def work(self, function: Callable[..., Awaitable[T]], *args: Any) -> None:
        """Run, and note how it ended."""
        try:
            self.value.append(await function(*args))
        except BaseException as error:
            self.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self.done = True


class Crowd(Protocol):
    """Jobs that run beside the scenario; leaving the crowd waits for all of them."""

    def start(self, function: Callable[..., Awaitable[T]], *args: Any) -> Job[T]: ...


class Face(Protocol):
    """One face of the library."""

    name: str

    def run(self, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None: ...
    def push(self, **settings: Unpack[Common]) -> Sender: ...
    def pull(self, **settings: Unpack[Common]) -> Receiver: ...
    def pair(self, **settings: Unpack[Common]) -> Both: ...
    def pub(self, **settings: Unpack[PubSettings]) -> Sender: ...
    def sub(self, **settings: Unpack[SubSettings]) -> Subscriber: ...
    def bus(self, **settings: Unpack[PubSettings]) -> Both: ...
    def req(self, **settings: Unpack[ReqSettings]) -> Asker: ...
    def rep(self, **settings: Unpack[AnswersSettings]) -> Answerer: ...
    def surveyor(self, **settings: Unpack[SurveyorSettings]) -> Surveyor: ...
    def respondent(self, **settings: Unpack[AnswersSettings]) -> Answerer: ...
    def crowd(self) -> AbstractAsyncContextManager[Crowd]: ...
    def sending(self, sock: Sock) -> int: ...
    def receiving(self, sock: Sock) -> int: ...
    def watching(self, sock: Sock) -> int: ...
    async def pause(self, seconds: float = 0.001) -> None: ...


async def until(face: Face, claim: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Wait until `claim()` is true."""
    deadline = monotonic() + timeout
    while not claim():
        assert monotonic() < deadline, f"not true within {timeout} s: {inspect.getsource(claim).strip()}"
        await face.pause()


async def outcome(face: Face, job: Job[T]) -> T:
    """Wait for a job's result, or raise its error."""
    job.asked = True
    await until(face, lambda: job.done)
    if job.error is not None:
        raise job.error
    return job.value[0]


@functools.cache
def noise(size: int) -> bytes:
    """Return a body that no transport can make smaller; of each size always the same."""
    return Random(size).randbytes(size)


async def stalled(push: Sender, body: bytes) -> int:
    """Send until neither the peer nor the kernel nor the queue takes more; return how many went."""
    sent = 0
    with pytest.raises(TimedOut) as full:
        while True:
            await push.send(body, timeout=STANDSTILL)
            sent += 1
    assert full.value.reason == "queue_full"
    return sent


async def take_no_call(*calls: Callable[[], object]) -> None:
    """Make each call: it raises `Closed`."""
    for call in calls:
        with pytest.raises(Closed):
            result = call()
            if inspect.isawaitable(result):
                await result


def check_books(stats: Stats) -> None:
    """Every message that was accepted is somewhere."""
    assert stats.accepted == stats.delivered + stats.queued + sum(stats.dropped.values())


def settle(jobs: Iterable[Job[Any]]) -> None:
    """Raise the error of a job that nobody asked for; `Closed` is how a job ends whose socket goes away."""
    for job in jobs:
        if job.error is not None and not job.asked and not isinstance(job.error, Closed):
            raise job.error


# --- the blocking face ---------------------------------------------------------------------------------------------


class _BlockingEvents:
    def __init__(self, raw: nnqpy.Events) -> None:
        self.raw = raw

    async def recv(self, *, timeout: float | None = None) -> Event:
        return self.raw.recv(timeout=timeout)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        try:
            return next(self.raw)
        except StopIteration:
            raise StopAsyncIteration from None


Raw = TypeVar("Raw", bound=Socket)
Out = TypeVar("Out", bound="nnqpy.Push | nnqpy.Pair | nnqpy.Pub | nnqpy.Bus")
In = TypeVar("In", bound="nnqpy.Pull | nnqpy.Pair | nnqpy.Sub | nnqpy.Bus")


class _Blocking(Generic[Raw]):
    def __init__(self, raw: Raw) -> None:
        self.raw = raw

    @property
    def peers(self) -> tuple[PeerInfo, ...]:
        return self.raw.peers

    @property
    def protocol(self) -> str:
        return self.raw.protocol

    @property
    def closed(self) -> bool:
        return self.raw.closed

    def bind(self, url: str) -> End:
        return self.raw.bind(url)

    @overload
    def connect(self, url: str) -> End: ...
    @overload
    def connect(self, url: str, *, wait: Literal[True], timeout: float | None = None) -> Coroutine[Any, Any, End]: ...
    def connect(self, url: str, *, wait: bool = False, timeout: float | None = None) -> End | Coroutine[Any, Any, End]:
        return self._connect(url, timeout) if wait else self.raw.connect(url)

    def stats(self) -> Stats:
        return self.raw.stats()

    def fileno(self) -> int:
        return self.raw.fileno()

    def events(self) -> _BlockingEvents:
        return _BlockingEvents(self.raw.events())

    async def _connect(self, url: str, timeout: float | None) -> End:
        return self.raw.connect(url, wait=True, timeout=timeout)

    async def wait_for_peers(self, n: int = 1, timeout: float | None = None) -> tuple[PeerInfo, ...]:
        return self.raw.wait_for_peers(n, timeout)

    async def close(self, linger: float | None = None) -> DrainReport:
        return self.raw.close(linger)

    async def __aenter__(self) -> Self:
        self.raw.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.raw.__exit__(kind, error, trace)


class _BlockingOut(_Blocking[Out]):
    async def send(self, body: Body, *, timeout: float | None = None) -> None:
        self.raw.send(body, timeout=timeout)

    def send_nowait(self, body: Body) -> None:
        self.raw.send_nowait(body)

    async def send_many(self, bodies: Iterable[Body], *, timeout: float | None = None) -> int:
        return self.raw.send_many(bodies, timeout=timeout)

    async def flush(self, timeout: float | None = None) -> None:
        self.raw.flush(timeout)


class _BlockingIn(_Blocking[In]):
    async def recv(self, *, timeout: float | None = None) -> bytes:
        return self.raw.recv(timeout=timeout)

    def recv_nowait(self) -> bytes:
        return self.raw.recv_nowait()

    async def recv_many(self, max: int = 256, *, timeout: float | None = None) -> list[bytes]:  # noqa: A002
        return self.raw.recv_many(max, timeout=timeout)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self.raw)
        except StopIteration:
            raise StopAsyncIteration from None


class _BlockingPair(_BlockingOut[nnqpy.Pair], _BlockingIn[nnqpy.Pair]):
    pass


class _BlockingBus(_BlockingOut[nnqpy.Bus], _BlockingIn[nnqpy.Bus]):
    pass


class _BlockingSub(_BlockingIn[nnqpy.Sub]):
    def subscribe(self, prefix: str | bytes) -> None:
        self.raw.subscribe(prefix)

    def unsubscribe(self, prefix: str | bytes) -> None:
        self.raw.unsubscribe(prefix)

    @property
    def subscriptions(self) -> tuple[bytes, ...]:
        return self.raw.subscriptions


class _BlockingContext:
    """A context of the blocking face; it is closed as its `with` is left."""

    def __init__(self, inner: ReqContext | SurveyorContext | AnswersContext | Survey) -> None:
        self._inner = inner

    def close(self) -> None:
        self._inner.close()

    async def __aenter__(self) -> Self:
        self._inner.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)


class _BlockingAsks:
    def __init__(self, asks: nnqpy.Req | ReqContext) -> None:
        self._asks = asks

    async def send(self, body: Body, *, timeout: float | None = None) -> None:
        self._asks.send(body, timeout=timeout)

    async def recv(self, *, timeout: float | None = None) -> bytes:
        return self._asks.recv(timeout=timeout)

    async def request(self, body: Body, *, timeout: float | None = None, retries: int = 0) -> bytes:
        return self._asks.request(body, timeout=timeout, retries=retries)


class _BlockingAskingContext(_BlockingAsks, _BlockingContext):
    def __init__(self, context: ReqContext) -> None:
        _BlockingAsks.__init__(self, context)
        _BlockingContext.__init__(self, context)


class _BlockingReq(_Blocking[nnqpy.Req], _BlockingAsks):
    def __init__(self, raw: nnqpy.Req) -> None:
        super().__init__(raw)
        self._asks = raw

    @property
    def resent(self) -> int:
        return self.raw.resent

    def context(self, *, resend_time: float | EllipsisType | None = ...) -> _BlockingAskingContext:
        return _BlockingAskingContext(self.raw.context(resend_time=resend_time))

    async def flush(self, timeout: float | None = None) -> None:
        self.raw.flush(timeout)


class _BlockingSurvey(_BlockingContext):
    def __init__(self, survey: Survey) -> None:
        super().__init__(survey)
        self._survey = survey

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self._survey)
        except StopIteration:
            raise StopAsyncIteration from None


class _BlockingSurveys:
    def __init__(self, surveys: nnqpy.Surveyor | SurveyorContext) -> None:
        self._surveys = surveys

    async def send(self, body: Body, *, deadline: float | None = None) -> None:
        self._surveys.send(body, deadline=deadline)

    async def recv(self, *, timeout: float | None = None) -> bytes:
        return self._surveys.recv(timeout=timeout)

    def survey(self, body: Body, *, deadline: float | None = None) -> _BlockingSurvey:
        return _BlockingSurvey(self._surveys.survey(body, deadline=deadline))


class _BlockingSurveysContext(_BlockingSurveys, _BlockingContext):
    def __init__(self, context: SurveyorContext) -> None:
        _BlockingSurveys.__init__(self, context)
        _BlockingContext.__init__(self, context)


class _BlockingSurveyor(_Blocking[nnqpy.Surveyor], _BlockingSurveys):
    def __init__(self, raw: nnqpy.Surveyor) -> None:
        super().__init__(raw)
        self._surveys = raw

    def context(self) -> _BlockingSurveysContext:
        return _BlockingSurveysContext(self.raw.context())


class _BlockingAnswers:
    def __init__(self, answers: nnqpy.Rep | nnqpy.Respondent | AnswersContext) -> None:
        self._answers = answers

    async def recv(self, *, timeout: float | None = None) -> bytes:
        return self._answers.recv(timeout=timeout)

    async def send(self, body: Body, *, timeout: float | None = None) -> None:
        self._answers.send(body, timeout=timeout)


class _BlockingAnsweringContext(_BlockingAnswers, _BlockingContext):
    def __init__(self, context: AnswersContext) -> None:
        _BlockingAnswers.__init__(self, context)
        _BlockingContext.__init__(self, context)


class _BlockingAnswerer(_Blocking["nnqpy.Rep | nnqpy.Respondent"], _BlockingAnswers):
    def __init__(self, raw: nnqpy.Rep | nnqpy.Respondent) -> None:
        super().__init__(raw)
        self._answers = raw

    def context(self) -> _BlockingAnsweringContext:
        return _BlockingAnsweringContext(self.raw.context())

    async def serve(
        self,
        handler: Callable[[bytes], Body | Awaitable[Body | None] | None],
        *,
        concurrency: int = 1,
        on_error: OnError | None = None,
    ) -> None:
        """Serve; a handler of a scenario, written with `await`, is run to its end in its thread."""

        def handle(body: bytes) -> Body | None:
            reply = handler(body)
            return drive(reply) if inspect.iscoroutine(reply) else reply  # type: ignore[return-value]  # no other awaitable

        self.raw.serve(handle, concurrency=concurrency, on_error=on_error)

    async def flush(self, timeout: float | None = None) -> None:
        self.raw.flush(timeout)


def base_of(sock: Sock) -> BaseSocket:
    """Return the library's own socket behind a face's."""
    base: object = getattr(sock, "raw", sock)
    assert isinstance(base, BaseSocket)
    return base


class _Threads:
    def __init__(self) -> None:
        self.jobs: list[tuple[threading.Thread, Job[Any]]] = []

    def start(self, function: Callable[..., Awaitable[T]], *args: Any) -> Job[T]:
        job: Job[T] = Job()
        thread = threading.Thread(target=drive, args=(job.work(function, *args),), daemon=True)
        self.jobs.append((thread, job))
        thread.start()
        return job


class Blocking:
    """``nnqpy``: calls wait in their thread."""

    name = "blocking"

    def run(self, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a scenario in this thread."""
        drive(scenario())

    def push(self, **settings: Unpack[Common]) -> Sender:
        return _BlockingOut(nnqpy.Push(**settings))

    def pull(self, **settings: Unpack[Common]) -> Receiver:
        return _BlockingIn(nnqpy.Pull(**settings))

    def pair(self, **settings: Unpack[Common]) -> Both:
        return _BlockingPair(nnqpy.Pair(**settings))

    def pub(self, **settings: Unpack[PubSettings]) -> Sender:
        return _BlockingOut(nnqpy.Pub(**settings))

    def sub(self, **settings: Unpack[SubSettings]) -> Subscriber:
        return _BlockingSub(nnqpy.Sub(**settings))

    def bus(self, **settings: Unpack[PubSettings]) -> Both:
        return _BlockingBus(nnqpy.Bus(**settings))

    def req(self, **settings: Unpack[ReqSettings]) -> Asker:
        return _BlockingReq(nnqpy.Req(**settings))

    def rep(self, **settings: Unpack[AnswersSettings]) -> Answerer:
        return _BlockingAnswerer(nnqpy.Rep(**settings))

    def surveyor(self, **settings: Unpack[SurveyorSettings]) -> Surveyor:
        return _BlockingSurveyor(nnqpy.Surveyor(**settings))

    def respondent(self, **settings: Unpack[AnswersSettings]) -> Answerer:
        return _BlockingAnswerer(nnqpy.Respondent(**settings))

    @asynccontextmanager
    async def crowd(self) -> AsyncGenerator[Crowd]:
        threads = _Threads()
        yield threads
        for thread, _ in threads.jobs:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a job hangs"
        settle(job for _, job in threads.jobs)

    def sending(self, sock: Sock) -> int:
        """Return how many calls wait to send."""
        out = base_of(sock)._turns.out
        return out.parked + len(out.line)

    def receiving(self, sock: Sock) -> int:
        """Return how many calls wait to receive."""
        into = base_of(sock)._turns.into
        return into.parked + len(into.line)

    def watching(self, sock: Sock) -> int:
        """Return how many calls wait for peers."""
        return len(base_of(sock)._turns.watchers)

    async def pause(self, seconds: float = 0.001) -> None:
        """Let the others run for a moment."""
        threading.Event().wait(seconds)


def drive(scenario: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine whose awaitables never suspend."""
    try:
        scenario.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise AssertionError("something in this scenario belongs to an event loop")


# --- the faces of event loops --------------------------------------------------------------------------------------


class _Tasks:
    def __init__(self) -> None:
        self.jobs: list[tuple[asyncio.Task[None], Job[Any]]] = []

    def start(self, function: Callable[..., Awaitable[T]], *args: Any) -> Job[T]:
        job: Job[T] = Job()
        self.jobs.append((asyncio.create_task(job.work(function, *args)), job))
        return job


class _Loop:
    """What the two faces of tasks share."""

    def sending(self, sock: Sock) -> int:
        """Return how many calls wait to send."""
        return len(base_of(sock)._turns.out.line)

    def receiving(self, sock: Sock) -> int:
        """Return how many calls wait to receive."""
        return len(base_of(sock)._turns.into.line)

    def watching(self, sock: Sock) -> int:
        """Return how many calls wait for peers."""
        return len(base_of(sock)._turns.watchers)


class Asyncio(_Loop):
    """``nnqpy.asyncio``: tasks of one loop."""

    name = "asyncio"

    def run(self, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a scenario in a loop of its own, in debug mode: it tells of what is not waited for."""
        asyncio.run(scenario(), debug=True)

    def push(self, **settings: Unpack[Common]) -> Sender:
        return nnqpy.asyncio.Push(**settings)

    def pull(self, **settings: Unpack[Common]) -> Receiver:
        return nnqpy.asyncio.Pull(**settings)

    def pair(self, **settings: Unpack[Common]) -> Both:
        return nnqpy.asyncio.Pair(**settings)

    def pub(self, **settings: Unpack[PubSettings]) -> Sender:
        return nnqpy.asyncio.Pub(**settings)

    def sub(self, **settings: Unpack[SubSettings]) -> Subscriber:
        return nnqpy.asyncio.Sub(**settings)

    def bus(self, **settings: Unpack[PubSettings]) -> Both:
        return nnqpy.asyncio.Bus(**settings)

    def req(self, **settings: Unpack[ReqSettings]) -> Asker:
        return nnqpy.asyncio.Req(**settings)

    def rep(self, **settings: Unpack[AnswersSettings]) -> Answerer:
        return nnqpy.asyncio.Rep(**settings)

    def surveyor(self, **settings: Unpack[SurveyorSettings]) -> Surveyor:
        return nnqpy.asyncio.Surveyor(**settings)

    def respondent(self, **settings: Unpack[AnswersSettings]) -> Answerer:
        return nnqpy.asyncio.Respondent(**settings)

    @asynccontextmanager
    async def crowd(self) -> AsyncGenerator[Crowd]:
        tasks = _Tasks()
        try:
            yield tasks
            if tasks.jobs:
                _, hanging = await asyncio.wait([task for task, _ in tasks.jobs], timeout=PATIENCE)
                assert not hanging, "a job hangs"
        finally:
            for task, _ in tasks.jobs:
                task.cancel()
        settle(job for _, job in tasks.jobs)

    async def pause(self, seconds: float = 0.001) -> None:
        """Let the others run for a moment."""
        await asyncio.sleep(seconds)


class _Nursery:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.jobs: list[Job[Any]] = []

    def start(self, function: Callable[..., Awaitable[T]], *args: Any) -> Job[T]:
        job: Job[T] = Job()
        self.jobs.append(job)
        self.nursery.start_soon(functools.partial(job.work, function, *args))
        return job


class Trio(_Loop):
    """``nnqpy.trio``: tasks of one run."""

    name = "trio"

    def run(self, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a scenario in a trio of its own."""
        trio.run(scenario)

    def push(self, **settings: Unpack[Common]) -> Sender:
        return nnqpy.trio.Push(**settings)

    def pull(self, **settings: Unpack[Common]) -> Receiver:
        return nnqpy.trio.Pull(**settings)

    def pair(self, **settings: Unpack[Common]) -> Both:
        return nnqpy.trio.Pair(**settings)

    def pub(self, **settings: Unpack[PubSettings]) -> Sender:
        return nnqpy.trio.Pub(**settings)

    def sub(self, **settings: Unpack[SubSettings]) -> Subscriber:
        return nnqpy.trio.Sub(**settings)

    def bus(self, **settings: Unpack[PubSettings]) -> Both:
        return nnqpy.trio.Bus(**settings)

    def req(self, **settings: Unpack[ReqSettings]) -> Asker:
        return nnqpy.trio.Req(**settings)

    def rep(self, **settings: Unpack[AnswersSettings]) -> Answerer:
        return nnqpy.trio.Rep(**settings)

    def surveyor(self, **settings: Unpack[SurveyorSettings]) -> Surveyor:
        return nnqpy.trio.Surveyor(**settings)

    def respondent(self, **settings: Unpack[AnswersSettings]) -> Answerer:
        return nnqpy.trio.Respondent(**settings)

    @asynccontextmanager
    async def crowd(self) -> AsyncGenerator[Crowd]:
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            jobs = _Nursery(nursery)
            try:
                yield jobs
            except BaseException as error:
                failure = error  # not out of the nursery, which would wrap it in a group
                nursery.cancel_scope.cancel()
            nursery.cancel_scope.deadline = trio.current_time() + PATIENCE
        if failure is not None:
            raise failure
        assert not nursery.cancel_scope.cancelled_caught, "a job hangs"
        settle(jobs.jobs)

    async def pause(self, seconds: float = 0.001) -> None:
        """Let the others run for a moment."""
        await trio.sleep(seconds)


# --- strangers -----------------------------------------------------------------------------------------------------


class Puppet:
    """The other end of one connection over tcp: a plain system socket that says what it is told to say.

    It never waits, so that a scenario in a loop can look at it: `until(face, lambda: puppet.heard ...)`.
    """

    def __init__(self, sock: socket.socket, protocol: Proto) -> None:
        self.sock = sock
        self._data = b""
        self._greeted = False
        self._heard: list[bytes] = []
        sock.setblocking(True)
        sock.sendall(greeting(protocol))
        sock.setblocking(False)

    @property
    def heard(self) -> list[bytes]:
        """The payloads of all messages that have come so far."""
        with suppress(BlockingIOError, ConnectionError):
            while chunk := self.sock.recv(1 << 20):
                self._data += chunk
        if not self._greeted and len(self._data) >= 8:
            self._data, self._greeted = self._data[8:], True
        while self._greeted and len(self._data) >= 8 + (size := int.from_bytes(self._data[:8], "big")):
            self._heard.append(self._data[8 : 8 + size])
            self._data = self._data[8 + size :]
        return self._heard

    def say(self, *payloads: bytes) -> None:
        """Send messages, which must fit into the kernel's buffer."""
        self.sock.sendall(TCP.join(payloads))

    def close(self) -> None:
        """Go."""
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def puppet_at(url: str, protocol: Proto) -> Puppet:
    """Dial a listener of ours, as `protocol`."""
    host, _, port = url.removeprefix("tcp://").rpartition(":")
    return Puppet(socket.create_connection((host, int(port)), PATIENCE), protocol)


class Stage:
    """A listener over tcp, where sockets of ours meet a puppet each."""

    def __init__(self, protocol: Proto) -> None:
        self._protocol = protocol
        self._door = socket.create_server(("127.0.0.1", 0))
        self._door.setblocking(False)
        self.url = f"tcp://127.0.0.1:{self._door.getsockname()[1]}"
        self._met: list[Puppet] = []

    @property
    def puppets(self) -> list[Puppet]:
        """One for each connection that has come so far."""
        with suppress(BlockingIOError):
            while True:
                self._met.append(Puppet(self._door.accept()[0], self._protocol))
        return self._met

    def close(self) -> None:
        """Go, with all the puppets."""
        for puppet in self._met:
            puppet.close()
        self._door.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


FACES: dict[str, Face] = {face.name: face for face in (Blocking(), Asyncio(), Trio())}


def on_every_face(
    test: Callable[Concatenate[Face, P], Coroutine[Any, Any, None]],
) -> Callable[Concatenate[Face, P], None]:
    """Make a test of a scenario: once for each face, which comes as the argument `face`."""

    @functools.wraps(test)
    def run(face: Face, *args: P.args, **kwargs: P.kwargs) -> None:
        face.run(lambda: test(face, *args, **kwargs))

    marked: Callable[Concatenate[Face, P], None] = pytest.mark.parametrize("face", FACES.values(), ids=FACES)(run)
    return marked
