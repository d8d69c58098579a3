"""Adapters: one module a library, each the same few verbs over that library as its own docs advise.

An adapter imports its library when it is made, never before: the parent process imports no peer at all,
and a worker exactly one. What an `Endpoint` holds are the library's own bound methods
wherever they fit, so that the measured loop calls the library and nothing of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Handler = Callable[[bytes], bytes]
    AsyncSend = Callable[[bytes], Awaitable[object]]
    AsyncRecv = Callable[[], Awaitable[bytes]]
    AsyncRequest = Callable[[bytes], Awaitable[bytes]]

__all__ = [
    "END",
    "AsyncClient",
    "AsyncEndpoint",
    "AsyncServer",
    "Device",
    "Drained",
    "Endpoint",
    "Library",
    "NoDevice",
    "Order",
    "Pattern",
    "awaitable",
    "no_flush",
    "requester",
    "serve_each",
]

END = b"e"  # the last message of a flow; flows are of b"w..." (warm-up), then b"d..." (counted)


class Pattern(StrEnum):
    """The patterns that the cells use; every messaging library here has them all."""

    PUSH = "push"
    PULL = "pull"
    PAIR = "pair"
    REQ = "req"
    REP = "rep"
    PUB = "pub"
    SUB = "sub"


@dataclass(frozen=True, slots=True)
class Drained:
    """What a receiver saw of a flow, from the first counted message to END.

    Args:
        received: counted messages, the first included.
        start: monotonic nanoseconds when the first of them was in hand.
        end: monotonic nanoseconds when END was in hand.
        processor: seconds of processor time in between.
    """

    received: int
    start: int
    end: int
    processor: float


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One open socket of a library, with blocking verbs.

    Args:
        url: where it is bound (with the real port) or what it connects to.
        send: hand over one message; blocks while the library is full.
        recv: the next message as `bytes`.
        flush: write now what the library holds back on purpose; nothing for those that never do.
        close: give the socket up at once, without lingering.
        drain: how to read a flow, where `recv` in a loop is not what one would write (raw sockets).
        request: ask and wait for the answer, where a library has one call for both.
    """

    url: str
    send: Callable[[bytes], object]
    recv: Callable[[], bytes]
    flush: Callable[[], object]
    close: Callable[[], object]
    drain: Callable[[], Drained] | None = None
    request: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True, slots=True)
class AsyncEndpoint:
    """One open socket of a library, with asyncio verbs; `send` is awaited for every library."""

    url: str
    send: AsyncSend
    recv: AsyncRecv
    close: Callable[[], Awaitable[object]]
    drain: Callable[[], Awaitable[Drained]] | None = None


@dataclass(frozen=True, slots=True)
class AsyncClient:
    """What asks, with as many requests in flight as were ordered.

    Args:
        requests: a verb for each task, which asks and waits for the answer.
        close: give it all up at once.
    """

    requests: Sequence[AsyncRequest]
    close: Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class AsyncServer:
    """What answers.

    Args:
        url: where it is bound.
        serve: answer by a handler until cancelled.
        close: give it all up at once.
    """

    url: str
    serve: Callable[[Handler], Awaitable[object]]
    close: Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Device:
    """What takes messages at one place and hands them on at another.

    Args:
        front: where it receives.
        back: where it sends.
        run: carry messages, until the process ends.
    """

    front: str
    back: str
    run: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Order:
    """Which socket a role wants; exactly one of `bind` and `connect` is given.

    Args:
        pattern: its kind.
        bind: URL to listen on.
        connect: URL to connect to.
        size: bytes of the bodies to come: raw sockets have no framing that tells it.
        at_once: requests in flight that a client or a server is for.
        topics: prefixes that a SUB subscribes to.
        lossless: whether a PUB waits for a subscriber that is behind, where a library can.
    """

    pattern: Pattern
    bind: str = ""
    connect: str = ""
    size: int = 0
    at_once: int = 1
    topics: Sequence[bytes] = ()
    lossless: bool = False


class Library(Protocol):
    """What a role asks of a library."""

    def open(self, order: Order) -> Endpoint:
        """Open a blocking socket."""
        ...

    def open_async(self, order: Order) -> AsyncEndpoint:
        """Open an asyncio socket; called inside the running loop."""
        ...

    def open_client(self, order: Order) -> AsyncClient:
        """Open what asks; called inside the running loop."""
        ...

    def open_server(self, order: Order) -> AsyncServer:
        """Open what answers; called inside the running loop."""
        ...

    def open_device(self, front: Order, back: Order) -> Device:
        """Open what carries messages from a PULL to a PUSH."""
        ...


class NoDevice:
    """A library that has none."""

    def open_device(self, front: Order, back: Order) -> NoReturn:
        """It takes no part."""
        raise TypeError(f"no device from {front} to {back}")


def requester(send: AsyncSend, recv: AsyncRecv) -> AsyncRequest:
    """The two steps of a request as one verb, for one task at a time."""

    async def request(body: bytes) -> bytes:
        await send(body)
        return await recv()

    return request


async def serve_each(ends: Sequence[tuple[AsyncRecv, AsyncSend]], handler: Handler) -> None:
    """Answer by a handler, each of these ends in a task of its own, until cancelled."""
    import asyncio  # here: blocking roles carry no asyncio in their memory

    async def work(recv: AsyncRecv, send: AsyncSend) -> None:
        while True:
            await send(handler(await recv()))

    await asyncio.gather(*(work(recv, send) for recv, send in ends))


def awaitable(call: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    """The same call for where an awaitable is wanted."""

    async def called() -> object:
        return call()

    return called


def no_flush() -> None:
    """What `flush` is for a library that has no such verb: everything is on its way already."""
