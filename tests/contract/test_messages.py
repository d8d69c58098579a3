"""What goes in comes out: any contiguous bytes-like object, as `bytes`, in order, and nothing else."""

from __future__ import annotations

import array
import mmap
from typing import TYPE_CHECKING

import pytest

import nnqpy
import nnqpy.asyncio
import nnqpy.trio
from nnqpy import Closed, TimedOut, UnsupportedOperation, WouldBlock
from nnqpy.base import close_at_once
from tests.contract.kit import PATIENCE, on_every_face, outcome, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from nnqpy.message import Body
    from tests.contract.kit import Face

pytestmark = pytest.mark.timeout(60)

SIZES = [0, 1, 9, 4095, 4096, 4097, 32767, 32768, 32769, 65535, 65536, 65537, 300_000, 1 << 20]


def bytes_likes() -> dict[str, tuple[Body, bytes]]:
    """Objects that are messages, and what must arrive."""
    page = mmap.mmap(-1, 4)
    page[:] = b"page"

    class Odd(bytes):
        """A subclass must not leak through: its methods are the sender's own."""

    return {
        "bytes": (b"\x00plain\xff", b"\x00plain\xff"),
        "empty": (b"", b""),
        "subclass": (Odd(b"odd"), b"odd"),
        "bytearray": (bytearray(b"array"), b"array"),
        "memoryview": (memoryview(b"a view")[2:], b"view"),
        "writable view": (memoryview(bytearray(b"view")), b"view"),
        "words": (array.array("H", [1, 2]), array.array("H", [1, 2]).tobytes()),
        "two dimensions": (memoryview(b"abcdef").cast("B", (2, 3)), b"abcdef"),
        "mmap": (page, b"page"),
        "large": (bytearray(b"x" * 100_000), b"x" * 100_000),
    }


NO_MESSAGES: dict[str, tuple[object, str]] = {
    "str": ("text", "encode"),
    "int": (5, "int"),
    "None": (None, "NoneType"),
    "list": ([b"part"], "list"),
    "not contiguous": (memoryview(b"abcdef")[::2], "contiguous"),
}


@pytest.mark.parametrize("kind", bytes_likes())
@on_every_face
async def test_any_bytes_like_goes_in_and_bytes_come_out(face: Face, spot: str, kind: str) -> None:
    """The receiver gets exactly `bytes`, equal to the buffer, by each way to send."""
    body, wanted = bytes_likes()[kind]
    async with face.pull() as pull, face.push() as push:
        push.connect(pull.bind(spot).url)
        await push.send(body)
        assert await push.send_many([body, body]) == 2
        push.send_nowait(body)

        got = [await pull.recv(timeout=PATIENCE) for _ in range(4)]

    assert got == [wanted] * 4
    assert {type(body) for body in got} == {bytes}


@pytest.mark.parametrize("kind", NO_MESSAGES)
@on_every_face
async def test_what_is_no_message_is_refused_by_name(face: Face, kind: str) -> None:
    """A str is told to encode, anything else is called by its type; nothing of it is queued."""
    body, word = NO_MESSAGES[kind]
    async with face.push(linger=0) as push:
        with pytest.raises(TypeError, match=word):
            await push.send(body)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=word):
            push.send_nowait(body)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=word):
            await push.send_many([b"good", body])  # type: ignore[list-item]

        assert push.stats().accepted == 0


@on_every_face
async def test_a_buffer_may_be_changed_as_soon_as_send_returns(face: Face, spot: str) -> None:
    """Each message is what the one buffer held at its send, though it is overwritten at once (R-57)."""
    async with face.pull() as pull, face.push(connect=None, send_hwm=500) as push:
        for size in (8, 5000, 70_000):
            buffer = bytearray(size)
            for n in range(100):
                buffer[:8] = n.to_bytes(8, "big")
                await push.send(buffer)
            for n in range(20):
                buffer[:8] = n.to_bytes(8, "big")
                await push.send_many([memoryview(buffer)])
            buffer[:] = b"\xee" * size
        push.connect(pull.bind(spot).url)

        for size in (8, 5000, 70_000):
            for n in (*range(100), *range(20)):
                assert await pull.recv(timeout=PATIENCE) == n.to_bytes(8, "big") + bytes(size - 8)


@on_every_face
async def test_no_buffer_stays_exported(face: Face) -> None:
    """After `send` a bytearray may be resized: the socket holds no view of it."""
    async with face.push(linger=0) as push:
        buffer = bytearray(100)
        await push.send(buffer)
        push.send_nowait(memoryview(buffer))
        await push.send_many([buffer])

        buffer.clear()

        assert push.stats().queued == 3


@on_every_face
async def test_sizes_around_every_threshold_arrive_whole_and_in_order(face: Face, spot: str) -> None:
    """Each pair of sizes back to back, as the codec's and the engine's own thresholds are between them (R-02)."""
    sizes = [size for one in SIZES for other in (0, 4096, 32768) for size in (one, other)]
    bodies = [n.to_bytes(4, "big") * (size // 4) + b"x" * (size % 4) for n, size in enumerate(sizes)]
    async with face.crowd() as crowd, face.pull() as pull, face.push() as push:
        push.connect(pull.bind(spot).url)
        crowd.start(push.send_many, bodies)

        got = [await pull.recv(timeout=PATIENCE) for _ in bodies]

        assert [len(body) for body in got] == sizes
        assert got == bodies


@on_every_face
async def test_send_many_takes_any_iterable_and_says_how_many(face: Face, spot: str) -> None:
    """A generator is consumed in parts, in order; an empty one is legal."""

    def bodies() -> Iterator[bytes]:
        yield from (b"%d" % n for n in range(1000))

    async with face.crowd() as crowd, face.pull() as pull, face.push() as push:
        push.connect(pull.bind(spot).url)
        job = crowd.start(push.send_many, bodies())

        got = [await pull.recv(timeout=PATIENCE) for _ in range(1000)]

        assert got == [b"%d" % n for n in range(1000)]
        assert await outcome(face, job) == 1000
        assert await push.send_many([]) == 0
        assert await push.send_many(iter(())) == 0


@on_every_face
async def test_recv_many_takes_what_is_there_and_at_most_max(face: Face, spot: str) -> None:
    """At least one message, never more than asked for, in order."""
    async with face.pull() as pull, face.push() as push:
        push.connect(pull.bind(spot).url)
        await push.send_many([b"%d" % n for n in range(700)])
        got: list[bytes] = []
        while len(got) < 700:
            part = await pull.recv_many(100, timeout=PATIENCE)
            assert 1 <= len(part) <= 100
            got += part

        assert got == [b"%d" % n for n in range(700)]
        for max_ in (0, -1):
            with pytest.raises(ValueError, match="at least 1"):
                await pull.recv_many(max_)


@on_every_face
async def test_iteration_takes_messages_until_the_socket_is_closed(face: Face, spot: str) -> None:
    """A worker's loop simply ends when somebody closes its socket."""
    got: list[bytes] = []

    async def work() -> None:
        async for body in pull:
            got.append(body)  # noqa: PERF401  # the loop is what is tested

    async with face.crowd() as crowd, face.push() as push:
        pull = face.pull()
        push.connect(pull.bind(spot).url)
        worker = crowd.start(work)
        await push.send_many([b"%d" % n for n in range(10)])
        await until(face, lambda: len(got) == 10)
        await pull.close()

    assert worker.error is None
    assert got == [b"%d" % n for n in range(10)]


@on_every_face
async def test_a_context_manager_closes(face: Face, spot: str) -> None:
    """After the block everything says `Closed`, and a second close gives the first one's report."""
    async with face.pair() as pair:
        pair.bind(spot)
        closed = [pair.closed]
    closed.append(pair.closed)
    assert closed == [False, True]

    for call in (
        pair.recv(),
        pair.send(b""),
        pair.recv_many(),
        pair.send_many([b""]),
        pair.flush(),
        pair.wait_for_peers(),
    ):
        with pytest.raises(Closed):
            await call
    for verb in (pair.recv_nowait, pair.fileno, lambda: pair.send_nowait(b""), lambda: pair.bind(spot)):
        with pytest.raises(Closed):
            verb()
    assert await pair.close() == await pair.close(5)
    assert [body async for body in pair] == []


@on_every_face
async def test_an_error_in_the_block_comes_out_and_the_socket_is_closed(face: Face) -> None:
    """The context manager swallows nothing."""
    pull = face.pull()

    with pytest.raises(ValueError, match="no number"):
        async with pull:
            int("no number")

    assert pull.closed


@on_every_face
async def test_a_pair_talks_both_ways(face: Face, spot: str) -> None:
    """Each end sends and receives, at once, in order."""
    async with face.pair() as a, face.pair() as b:
        b.connect(a.bind(spot).url)
        for n in range(300):
            await a.send(b"a%d" % n)
            await b.send(b"b%d" % n)

        from_b = [await a.recv(timeout=PATIENCE) for _ in range(300)]
        from_a = [await b.recv(timeout=PATIENCE) for _ in range(300)]

    assert from_a == [b"a%d" % n for n in range(300)]
    assert from_b == [b"b%d" % n for n in range(300)]


@on_every_face
async def test_nowait_is_a_blocking_io_error(face: Face) -> None:
    """`WouldBlock` and `TimedOut` are the standard library's own kinds, and say why."""
    async with face.pair(send_hwm=1, linger=0) as pair:
        with pytest.raises(BlockingIOError) as empty:
            pair.recv_nowait()
        pair.send_nowait(b"1")
        with pytest.raises(BlockingIOError) as full:
            pair.send_nowait(b"2")
        with pytest.raises(TimeoutError) as late:
            await pair.recv(timeout=0)

        assert isinstance(empty.value, WouldBlock)
        assert empty.value.reason == "no_message"
        assert isinstance(full.value, WouldBlock)
        assert full.value.reason == "no_peer"
        assert isinstance(late.value, TimedOut)
        assert late.value.reason == "no_message"
        assert pair.stats().queued == 1


@pytest.mark.parametrize("face", [nnqpy, nnqpy.asyncio, nnqpy.trio], ids=["blocking", "asyncio", "trio"])
def test_what_a_pattern_cannot_do_is_not_there(face: ModuleType) -> None:
    """The error says so; `hasattr` and a type checker see nothing, and other names are as absent as ever."""
    for kind, verb, absent in [
        ("Push", "receive", ["recv", "recv_nowait", "recv_many"]),
        ("Pub", "receive", ["recv", "recv_nowait", "recv_many"]),
        ("Pull", "send", ["send", "send_nowait", "send_many", "flush"]),
        ("Sub", "send", ["send", "send_nowait", "send_many", "flush"]),
    ]:
        socket = getattr(face, kind)()
        for name in absent:
            assert not hasattr(socket, name)
            with pytest.raises(UnsupportedOperation, match=f"a {kind} does not {verb}: it has no {name}"):
                getattr(socket, name)
        with pytest.raises(AttributeError, match=f"'{kind}' object has no attribute 'nonsense'"):
            getattr(socket, "nonsense")  # noqa: B009  # a type checker would see through the other way
        close_at_once(socket._ends)
