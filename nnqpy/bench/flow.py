"""Flow: the loops that send, drain, ping and echo: the same lines of Python around every library.

They are the innermost part of what is measured, so they do as little as Python allows: the library's bound
method in a local, no clock in the loop, chunks of about a millisecond between two looks at it.
"""

from __future__ import annotations

from itertools import islice, repeat
from time import monotonic_ns, perf_counter, perf_counter_ns
from typing import TYPE_CHECKING

from nnqpy.bench.adapters import END, Drained
from nnqpy.bench.meters import ProcessorTime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

__all__ = [
    "adrain",
    "aecho",
    "aload",
    "aping",
    "apump",
    "ask",
    "awarm_up",
    "counted_body",
    "drain",
    "echo",
    "ping",
    "pump",
    "pump_each",
    "warm_body",
    "warm_up",
    "warm_up_with",
]

_CHUNK_SECONDS = 0.001
_MOST_TRIPS = 1_000_000


def warm_body(size: int) -> bytes:
    """A message that nobody counts."""
    return b"w" * size


def counted_body(size: int) -> bytes:
    """A message that counts."""
    return b"d" * size


def warm_up(send: Callable[[bytes], object], size: int, seconds: float) -> int:
    """Send uncounted messages for some time.

    Returns:
        How many messages take about a millisecond: the chunk for `pump`.
    """
    return warm_up_with(send, repeat(warm_body(size)), seconds)


def warm_up_with(send: Callable[[bytes], object], bodies: Iterator[bytes], seconds: float) -> int:
    """`warm_up`, with these bodies, which never end."""
    chunk, end = 1, perf_counter() + seconds
    while (now := perf_counter()) < end:
        for body in islice(bodies, chunk):
            send(body)
        if perf_counter() - now < _CHUNK_SECONDS:
            chunk *= 2
    return max(1, chunk // 2)


def pump(send: Callable[[bytes], object], size: int, seconds: float, chunk: int) -> int:
    """Send counted messages for some time; returns how many."""
    return pump_each(send, repeat(counted_body(size)), seconds, chunk)


def pump_each(send: Callable[[bytes], object], bodies: Iterator[bytes], seconds: float, chunk: int) -> int:
    """`pump`, with these bodies, which never end."""
    sent, end = 0, perf_counter() + seconds
    while perf_counter() < end:
        for body in islice(bodies, chunk):
            send(body)
        sent += chunk
    return sent


def drain(recv: Callable[[], bytes]) -> Drained:
    """Receive a flow: skip the warm-up, count until END."""
    while (body := recv())[:1] == b"w":
        pass
    meter, start = ProcessorTime(), monotonic_ns()
    received = 0 if body == END else 1
    if received:
        for received, _ in enumerate(iter(recv, END), 2):  # noqa: B007  # the count is what we are after
            pass
    return Drained(received, start, monotonic_ns(), meter.seconds())


def ping(send: Callable[[bytes], object], recv: Callable[[], bytes], size: int, seconds: float) -> list[int]:
    """Send, wait for the answer, and again; returns each full round trip in nanoseconds."""
    body, trips = counted_body(size), list[int]()
    now = perf_counter_ns()
    end = now + int(seconds * 1e9)
    while now < end and len(trips) < _MOST_TRIPS:
        send(body)
        recv()
        then, now = now, perf_counter_ns()
        trips.append(now - then)
    return trips


def ask(request: Callable[[bytes], bytes], size: int, seconds: float) -> list[int]:
    """`ping`, where one call sends and waits."""
    body, trips = counted_body(size), list[int]()
    now = perf_counter_ns()
    end = now + int(seconds * 1e9)
    while now < end and len(trips) < _MOST_TRIPS:
        request(body)
        then, now = now, perf_counter_ns()
        trips.append(now - then)
    return trips


def echo(send: Callable[[bytes], object], recv: Callable[[], bytes]) -> int:
    """Answer each message with itself until END; returns how many."""
    answered = 0
    for body in iter(recv, END):
        send(body)
        answered += 1
    return answered


async def awarm_up(send: Callable[[bytes], Awaitable[object]], size: int, seconds: float) -> int:
    """`warm_up`, awaiting each send."""
    body, chunk, end = warm_body(size), 1, perf_counter() + seconds
    while (now := perf_counter()) < end:
        for _ in repeat(None, chunk):
            await send(body)
        if perf_counter() - now < _CHUNK_SECONDS:
            chunk *= 2
    return max(1, chunk // 2)


async def apump(send: Callable[[bytes], Awaitable[object]], size: int, seconds: float, chunk: int) -> int:
    """`pump`, awaiting each send."""
    body, sent, end = counted_body(size), 0, perf_counter() + seconds
    while perf_counter() < end:
        for _ in repeat(None, chunk):
            await send(body)
        sent += chunk
    return sent


async def adrain(recv: Callable[[], Awaitable[bytes]]) -> Drained:
    """`drain`, awaiting each message."""
    while (body := await recv())[:1] == b"w":
        pass
    meter, start = ProcessorTime(), monotonic_ns()
    received = 0
    while body != END:
        received += 1
        body = await recv()
    return Drained(received, start, monotonic_ns(), meter.seconds())


async def aping(
    send: Callable[[bytes], Awaitable[object]], recv: Callable[[], Awaitable[bytes]], size: int, seconds: float
) -> list[int]:
    """`ping`, awaiting both ways."""
    body, trips = counted_body(size), list[int]()
    now = perf_counter_ns()
    end = now + int(seconds * 1e9)
    while now < end and len(trips) < _MOST_TRIPS:
        await send(body)
        await recv()
        then, now = now, perf_counter_ns()
        trips.append(now - then)
    return trips


async def aload(requests: Sequence[Callable[[bytes], Awaitable[bytes]]], size: int, seconds: float) -> tuple[int, int]:
    """Ask with each of these verbs, again and again, each in a task of its own.

    Returns:
        How many requests were answered, and nanoseconds until the last of them was.
    """
    import asyncio  # here: blocking roles carry no asyncio in their memory

    body, start = counted_body(size), perf_counter_ns()
    end = start + int(seconds * 1e9)

    async def keep_asking(request: Callable[[bytes], Awaitable[bytes]]) -> int:
        answered = 0
        while perf_counter_ns() < end:
            await request(body)
            answered += 1
        return answered

    answered = await asyncio.gather(*map(keep_asking, requests))
    return sum(answered), perf_counter_ns() - start


async def aecho(send: Callable[[bytes], Awaitable[object]], recv: Callable[[], Awaitable[bytes]]) -> int:
    """`echo`, awaiting both ways."""
    answered = 0
    while (body := await recv()) != END:
        await send(body)
        answered += 1
    return answered
