"""The face kit: a scenario is written once, with `await`, and runs on every face.

On the blocking face an awaitable is over when it is made, so a scenario is a plain call there and what runs beside it
is a thread. A scenario waits for facts (`Face.until`, a `Job`'s result), never for a time to pass.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from contextlib import asynccontextmanager
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
from nnqpy import Closed
from nnqpy.base import BaseSocket, Common

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from nnqpy import DrainReport, Event, PeerInfo, Stats
    from nnqpy.message import Body
    from nnqpy.options import OnFull

T = TypeVar("T")
P = ParamSpec("P")

PATIENCE = 10.0
"""Seconds after which what should have happened is given up: long on purpose, the machine may be busy."""
BRIEFLY = 0.05
"""Seconds of a `timeout=` that is meant to be used up."""


class PubSettings(Common, total=False):
    """Those of a Pub or a Bus."""

    on_full: OnFull


class SubSettings(Common, total=False):
    """Those of a Sub."""

    subscribe: str | bytes | list[str | bytes]
    keep: Literal["all", "latest"]


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
    def crowd(self) -> AbstractAsyncContextManager[Crowd]: ...
    def sending(self, sock: Sock) -> int: ...
    def receiving(self, sock: Sock) -> int: ...
    def watching(self, sock: Sock) -> int: ...
    async def pause(self) -> None: ...


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


Raw = TypeVar("Raw", bound="nnqpy.Push | nnqpy.Pull | nnqpy.Pair | nnqpy.Pub | nnqpy.Sub | nnqpy.Bus")
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

    async def pause(self) -> None:
        """Let the others run for a moment."""
        threading.Event().wait(0.001)


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

    async def pause(self) -> None:
        """Let the others run for a moment."""
        await asyncio.sleep(0.001)


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

    async def pause(self) -> None:
        """Let the others run for a moment."""
        await trio.sleep(0.001)


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
