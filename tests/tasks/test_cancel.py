"""Cancelling an await at any point neither loses nor duplicates a message nor swallows the cancel."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from nnqpy import Closed, WouldBlock
from nnqpy.events import ListenerClosed, Listening, PeerAdded, PeerRemoved, SocketClosed
from tests.contract.conftest import spot_of
from tests.contract.kit import base_of, outcome, until
from tests.tasks.kit import on_both_loops, sweep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from nnqpy.events import Event
    from tests.contract.kit import Face, Job, Receiver, Sender
    from tests.tasks.kit import Cut

pytestmark = pytest.mark.timeout(60)

END = b"end"


async def take_until_end(pull: Receiver) -> list[bytes]:
    """Receive all that comes before `END`."""
    bodies: list[bytes] = []
    while (body := await pull.recv()) != END:
        bodies.append(body)
    return bodies


@asynccontextmanager
async def drained(
    face: Face, spot: str, *, send_hwm: int = 1000, send_hwm_bytes: int | None = None
) -> AsyncGenerator[tuple[Sender, Job[list[bytes]]]]:
    """A Push with its Pull, which takes all that comes."""
    async with (
        face.crowd() as crowd,
        face.pull(recv_hwm=1) as pull,
        face.push(send_hwm=send_hwm, send_hwm_bytes=send_hwm_bytes) as push,
    ):
        push.connect(pull.bind(spot).url)
        await push.wait_for_peers()
        yield push, crowd.start(take_until_end, pull)


def numbered(count: int, size: int) -> list[bytes]:
    """Return so many different bodies of this size."""
    return [(b"%d " % n).ljust(size, b".") for n in range(count)]


def modes(face: Face) -> tuple[bool, ...]:
    """Return the values of `late` that the loop knows."""
    return (False, True) if face.name == "asyncio" else (False,)


@pytest.mark.parametrize(
    ("count", "size", "hwm", "least"),
    [
        pytest.param(3000, 100, 1000, 3, id="below-the-mark"),
        pytest.param(40, 100, 1, 3, id="at-the-mark"),
        pytest.param(30, 150_000, 1, 10, id="at-the-mark-with-a-slow-peer"),
        pytest.param(4, 2_000_000, 1, 2, id="large"),
    ],
)
@on_both_loops
async def test_a_cancelled_send_has_queued_nothing(
    face: Face, tmp_path: Path, count: int, size: int, hwm: int, least: int
) -> None:
    """Those sends that returned, and no others, arrive: once each and in order."""
    bodies, spot = numbered(count, size), spot_of("ipc", tmp_path)  # whose buffers are small

    async def attempt(cut: Cut) -> None:
        returned: list[bytes] = []

        async def send_all(push: Sender) -> None:
            for body in bodies:
                await push.send(body)
                returned.append(body)

        async with drained(face, spot, send_hwm=hwm) as (push, taken):
            await cut(send_all(push))
            await push.send(END)

            assert await outcome(face, taken) == returned
            assert push.stats().accepted == len(returned) + 1

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= least


@on_both_loops
async def test_a_cancelled_send_through_a_full_socket_in_memory_has_queued_nothing(face: Face) -> None:
    """The same where the peer is in this process and takes one message at a time."""
    bodies = numbered(100, 10)

    async def attempt(cut: Cut) -> None:
        returned: list[bytes] = []

        async def send_all(push: Sender) -> None:
            for body in bodies:
                await push.send(body)
                returned.append(body)

        async with drained(face, "inproc://cancelled-sends", send_hwm=1) as (push, taken):
            await cut(send_all(push))
            await push.send(END)

            assert await outcome(face, taken) == returned

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


@pytest.mark.parametrize(
    ("count", "size", "hwm", "least"), [(1200, 10, 1000, 3), (600, 10, 7, 2), (30, 150_000, 2, 10)]
)
@on_both_loops
async def test_a_cancelled_send_many_has_queued_a_beginning(
    face: Face, tmp_path: Path, count: int, size: int, hwm: int, least: int
) -> None:
    """What arrives of it are its first messages, as many as the socket has accepted: none twice, none left out."""
    bodies, spot = numbered(count, size), spot_of("ipc", tmp_path)

    async def attempt(cut: Cut) -> None:
        async with drained(face, spot, send_hwm=hwm) as (push, taken):
            await cut(push.send_many(bodies))
            accepted = push.stats().accepted
            await push.send(END)

            assert await outcome(face, taken) == bodies[:accepted]
            assert cut.cancelled or accepted == count

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= least


@pytest.mark.parametrize(
    ("count", "size", "hwm"),
    [
        pytest.param(12, 10, 1000, id="one-by-one"),
        pytest.param(30, 100_000, 2, id="slow"),
        pytest.param(3, 3_000_000, 1000, id="large"),
    ],
)
@pytest.mark.parametrize("many", [False, True], ids=["recv", "recv_many"])
@on_both_loops
async def test_a_cancelled_recv_has_taken_nothing(
    face: Face, stream_spot: str, count: int, size: int, hwm: int, *, many: bool
) -> None:
    """Who receives next gets the message that the cancelled one was about to get."""
    bodies = numbered(count, size)

    async def attempt(cut: Cut) -> None:
        got: list[bytes] = []

        async def send_all(push: Sender, pull: Receiver) -> None:
            for body in bodies:
                if hwm == 1000:  # each only when somebody waits for it, or was cut and will not
                    await until(face, lambda: face.receiving(pull) or cut.cancelled or got == bodies)
                await push.send(body)

        async def recv_all(pull: Receiver) -> None:
            while len(got) < count:
                if many:
                    got.extend(await pull.recv_many())
                else:
                    got.append(await pull.recv())

        async with face.crowd() as crowd, face.pull(recv_hwm=hwm) as pull, face.push(send_hwm=hwm) as push:
            push.connect(pull.bind(stream_spot).url)
            await push.wait_for_peers()
            sender = crowd.start(send_all, push, pull)
            await cut(recv_all(pull))
            await recv_all(pull)
            await outcome(face, sender)

            assert got == bodies
            with pytest.raises(WouldBlock):
                pull.recv_nowait()

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


@on_both_loops
async def test_a_cancelled_recv_of_a_flood_has_taken_nothing(face: Face, tmp_path: Path) -> None:
    """Also where the task only steps aside for the others of its loop, with messages in the inbox."""
    bodies = numbered(400, 10)

    async def attempt(cut: Cut) -> None:
        got: list[bytes] = []

        async def recv_all(pull: Receiver) -> None:
            while len(got) < len(bodies):
                got.append(await pull.recv())

        async with face.pull(recv_hwm=5) as pull, face.push() as push:
            push.connect(pull.bind(spot_of("ipc", tmp_path)).url)
            await push.wait_for_peers()
            await push.send_many(bodies)
            await cut(recv_all(pull))
            await recv_all(pull)

            assert got == bodies

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 10


@on_both_loops
async def test_a_cancelled_flush_leaves_the_queue_as_it_is(face: Face, tmp_path: Path) -> None:
    """Cancelled while it waits for the peer, it has dropped nothing and sent nothing twice."""
    bodies, spot = numbered(12, 300_000), spot_of("ipc", tmp_path)

    async def attempt(cut: Cut) -> None:
        async with face.crowd() as crowd, face.pull(recv_hwm=1) as pull, face.push() as push:
            push.connect(pull.bind(spot).url)
            await push.wait_for_peers()
            await push.send_many(bodies)
            taken = crowd.start(take_until_end, pull)
            await cut(push.flush())
            if not cut.cancelled:
                assert push.stats().queued == 0
            await push.send(END)

            assert await outcome(face, taken) == bodies

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


@on_both_loops
async def test_a_cancelled_connect_leaves_no_dialer(face: Face, tmp_path: Path) -> None:
    """There is one dialer if the call returned, none if it was cancelled; the next call connects."""
    spot = spot_of("ipc", tmp_path)

    async def attempt(cut: Cut) -> None:
        async def listen(pull: Receiver, push: Sender) -> None:
            await until(face, lambda: face.watching(push))
            pull.bind(spot)

        async with face.crowd() as crowd, face.pull() as pull, face.push(reconnect_min=0.001) as push:
            listening = crowd.start(listen, pull, push)
            await cut(push.connect(spot, wait=True))
            dialers = [one for one in base_of(push)._ends.dialers if not one.closed]
            assert len(dialers) == (not cut.cancelled)
            if cut.cancelled:
                await push.connect(spot, wait=True)
            await outcome(face, listening)
            await push.send(b"one")

            assert await pull.recv() == b"one"

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


@on_both_loops
async def test_a_cancelled_wait_for_peers_is_forgotten(face: Face, stream_spot: str) -> None:
    """Nobody is left in line, and the next to wait sees all peers."""

    async def attempt(cut: Cut) -> None:
        past: list[bool] = []
        async with face.pull() as pull, face.push() as one, face.push() as two, face.crowd() as crowd:
            url = pull.bind(stream_spot).url
            one.connect(url)

            async def come_when_waited_for() -> None:
                await until(face, lambda: past or face.watching(pull))
                two.connect(url)

            crowd.start(come_when_waited_for)
            await cut(pull.wait_for_peers(2))
            past.append(True)
            assert face.watching(pull) == 0

            assert len(await pull.wait_for_peers(2)) == 2

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


@pytest.mark.parametrize("size", [10, 300_000])
@on_both_loops
async def test_a_cancelled_close_has_closed(face: Face, tmp_path: Path, size: int) -> None:
    """Cancelled while it drains it closes at once: what it says was flushed arrives, the rest is counted abandoned."""
    bodies, spot = numbered(15, size), spot_of("ipc", tmp_path)

    async def attempt(cut: Cut) -> None:
        async def listen(pull: Receiver, push: Sender) -> list[bytes]:
            await until(face, lambda: push.closed)
            pull.bind(spot)
            return await take_until_end(pull)

        async with face.crowd() as crowd, face.pull(recv_hwm=1) as pull:
            push = face.push(reconnect_min=0.001)
            push.connect(spot)
            await push.send_many(bodies)
            taken = crowd.start(listen, pull, push)
            await cut(push.close(20))

            report = await push.close()
            assert push.closed
            assert report.flushed + report.abandoned == len(bodies)
            assert cut.cancelled or not report.abandoned
            with pytest.raises(Closed):
                await push.send(b"refused")
            await until(face, lambda: pull.stats().received == report.flushed)
            async with face.push(connect=spot) as last:
                await last.send(END)
                assert await outcome(face, taken) == bodies[: report.flushed]

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 1


@on_both_loops
async def test_a_cancelled_wait_for_an_event_has_taken_none(face: Face, spot: str) -> None:
    """Who asks next gets the event; the reader has seen in the end all that happened, in order."""

    async def attempt(cut: Cut) -> None:
        told: list[Event] = []
        got: list[Event] = []
        pull = face.pull(on_event=told.append)
        events = pull.events()

        async def come_and_go() -> None:
            url = pull.bind(spot).url
            for number in range(1, 5):
                async with face.push() as push:
                    await push.connect(url, wait=True)
                    await until(face, lambda: pull.peers)
                await until(face, lambda: [type(event) for event in told].count(PeerRemoved) == number)  # noqa: B023
            await pull.close()

        async def read_all() -> None:
            while not got or not isinstance(got[-1], SocketClosed):
                got.append(await events.recv())

        async with face.crowd() as crowd:
            story = crowd.start(come_and_go)
            await cut(read_all())
            await read_all()
            await outcome(face, story)

        assert got == told
        assert [type(event) for event in got] == [
            Listening,
            *4 * [PeerAdded, PeerRemoved],
            ListenerClosed,
            SocketClosed,
        ]

    assert sum([await sweep(face, attempt, late=late) for late in modes(face)]) >= 4
