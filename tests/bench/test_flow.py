"""The measured loops, with figures that can be counted by hand."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import count, cycle, islice
from typing import TYPE_CHECKING

import pytest

from nnqpy.bench.adapters import END
from nnqpy.bench.flow import (
    adrain,
    aecho,
    aload,
    aping,
    apump,
    ask,
    awarm_up,
    drain,
    echo,
    ping,
    pump,
    pump_each,
    warm_up,
    warm_up_with,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


class Line:
    """A library that hands over at once: what is sent can be received."""

    def __init__(self, *waiting: bytes) -> None:
        self.waiting = deque(waiting)

    def send(self, body: bytes) -> None:
        self.waiting.append(body)

    def recv(self) -> bytes:
        return self.waiting.popleft()

    async def asend(self, body: bytes) -> None:
        self.send(body)

    async def arecv(self) -> bytes:
        return self.recv()


FLOWS: Sequence[tuple[tuple[bytes, ...], int]] = [
    ((b"ww", b"ww", b"dd", b"dd", b"dd", END), 3),
    ((b"ww", b"dd", END), 1),
    ((b"ww", END), 0),
    ((b"dd", b"dd", END), 2),
]


@pytest.mark.parametrize(("flow", "counted"), FLOWS)
def test_a_drain_counts_what_comes_between_warm_up_and_end(flow: tuple[bytes, ...], counted: int) -> None:
    """Every counted message counts, the first and the only one included; nothing else does."""
    got = drain(Line(*flow).recv)

    assert got.received == counted
    assert got.end >= got.start


@pytest.mark.parametrize(("flow", "counted"), FLOWS)
def test_an_asyncio_drain_counts_the_same(flow: tuple[bytes, ...], counted: int) -> None:
    """The two faces are measured by the same rule."""
    assert asyncio.run(adrain(Line(*flow).arecv)).received == counted


def test_a_pump_reports_exactly_what_it_sent() -> None:
    """The number that losses are reckoned from is the number of sends, and whole chunks are sent."""
    line = Line()

    sent = pump(line.send, 3, 0.01, chunk=7)

    assert sent == len(line.waiting) > 0
    assert sent % 7 == 0
    assert set(line.waiting) == {b"ddd"}


def test_a_pump_takes_bodies_in_turn() -> None:
    """None is left out or sent twice between two chunks."""
    line = Line()

    sent = pump_each(line.send, (b"%d" % n for n in count()), 0.01, chunk=7)

    assert list(line.waiting) == [b"%d" % n for n in range(sent)]


def test_a_warm_up_takes_bodies_in_turn() -> None:
    """The same."""
    line = Line()

    assert warm_up_with(line.send, cycle([b"wa", b"wb"]), 0.01) > 1
    assert list(line.waiting) == list(islice(cycle([b"wa", b"wb"]), len(line.waiting)))


def test_an_asyncio_pump_reports_exactly_what_it_sent() -> None:
    """As the blocking one."""
    line = Line()

    sent = asyncio.run(apump(line.asend, 3, 0.01, chunk=7))

    assert sent == len(line.waiting) > 0
    assert set(line.waiting) == {b"ddd"}


def test_a_warm_up_sends_nothing_that_counts_and_finds_a_chunk() -> None:
    """A send that takes no time gets a chunk of more than one."""
    line = Line()

    chunk = warm_up(line.send, 3, 0.05)

    assert chunk > 1
    assert set(line.waiting) == {b"www"}


def test_an_asyncio_warm_up_does_the_same() -> None:
    """As the blocking one."""
    line = Line()

    assert asyncio.run(awarm_up(line.asend, 3, 0.05)) > 1
    assert set(line.waiting) == {b"www"}


def test_a_ping_keeps_every_full_round_trip() -> None:
    """One figure a send and receive, none negative."""
    there, back = Line(), Line()

    def answer() -> bytes:
        return there.recv()

    trips = ping(there.send, answer, 64, 0.01)
    atrips = asyncio.run(aping(back.asend, back.arecv, 64, 0.01))

    assert min(len(trips), len(atrips)) > 0
    assert min(*trips, *atrips) >= 0
    assert not there.waiting


def test_asking_keeps_every_full_round_trip() -> None:
    """As a ping does, for a library that sends and waits in one call."""
    asked: list[bytes] = []

    def request(body: bytes) -> bytes:
        asked.append(body)
        return body

    trips = ask(request, 3, 0.01)

    assert len(trips) == len(asked) > 0
    assert min(trips) >= 0
    assert set(asked) == {b"ddd"}


def test_a_load_keeps_every_task_asking() -> None:
    """Each verb has one request open at a time; all that were answered are counted."""
    answered = [0, 0, 0]
    open_ = [0, 0, 0]

    def verb(n: int) -> Callable[[bytes], Awaitable[bytes]]:
        async def request(body: bytes) -> bytes:
            open_[n] += 1
            assert open_[n] == 1
            await asyncio.sleep(0)
            open_[n] -= 1
            answered[n] += 1
            return body

        return request

    count, elapsed = asyncio.run(aload([verb(n) for n in range(3)], 3, 0.01))

    assert count == sum(answered)
    assert min(answered) > 0
    assert elapsed >= 10_000_000


def test_an_echo_answers_each_message_until_the_end() -> None:
    """END is not answered."""
    asked, answers = Line(b"a", b"b", END), Line()
    again, more = Line(b"c", END), Line()

    assert echo(answers.send, asked.recv) == 2
    assert asyncio.run(aecho(more.asend, again.arecv)) == 1
    assert list(answers.waiting) == [b"a", b"b"]
    assert list(more.waiting) == [b"c"]
