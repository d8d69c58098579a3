"""Large messages are read straight into their own bytes: by one call for each piece in Python, by one for several compiled."""

from __future__ import annotations

import os
import socket
import sys
import tracemalloc
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnqpy.large import BODY_READ, CRUMB, LOAD, chosen
from nnqpy.wire.stream import IPC, TCP
from tests.kit.halves import HALVES, halves

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from nnqpy.wire.codec import Codec

codecs = pytest.mark.parametrize("codec", [TCP, IPC], ids=["tcp", "ipc"])

SIZE: Final = 40_000


class Pipe:
    """A connection, and what was read of it."""

    def __init__(self, half: Any, codec: Codec, size: int) -> None:
        self.near, self.far = socket.socketpair()
        for end in (self.near, self.far):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self._haul = chosen(half)
        self.header = codec.header(size)
        self.chunks: list[bytes] = []
        self.whole: list[bytes] = []
        self.arrived: list[bytes] = []

    def haul(self, number: int = 100) -> None:
        """Read once."""
        self._haul(self.near.recv, self.near.fileno(), self.header, self.chunks, self.whole, self.arrived, number)

    def haul_all(self, number: int = 100) -> None:
        """Read until nothing comes, or something else."""
        try:
            while not self.arrived:
                self.haul(number)
        except BlockingIOError:
            pass

    def feed(self, data: bytes) -> None:
        """Send."""
        assert self.far.send(data) == len(data)

    @property
    def state(self) -> tuple[list[bytes], bytes, bool, bytes]:
        """What has come whole, what has of the next one, whether it has begun, and the rest."""
        return self.whole, b"".join(self.chunks), bool(self.chunks), b"".join(self.arrived)


@contextmanager
def pipe(half: Any, codec: Codec = TCP, size: int = SIZE) -> Generator[Pipe]:
    one = Pipe(half, codec, size)
    try:
        yield one
    finally:
        one.near.close()
        one.far.close()


def bodies_of(size: int, number: int) -> list[bytes]:
    return [bytes([n % 256]) * size for n in range(1, number + 1)]


def frames(codec: Codec, bodies: Sequence[bytes]) -> bytes:
    return codec.join(bodies)


@halves
@codecs
@given(
    size=st.sampled_from([CRUMB - 1, CRUMB, 32_768, 65_536, 90_001, LOAD + 1]),
    number=st.integers(1, 6),
    cuts=st.lists(st.integers(0, 1_000_000), max_size=6),
    most=st.sampled_from([1, 2, 3, 100]),
    other=st.sampled_from(
        [b"", b"\0", b"\1\2\3", TCP.header(5) + b"small", IPC.header(SIZE), TCP.header(1 << 63), b"x" * 70_000]
    ),
)
def test_however_it_is_cut_the_same_comes_of_it(
    half: Any, codec: Codec, size: int, number: int, cuts: list[int], most: int, other: bytes
) -> None:
    """Whole bodies in order, no byte lost, and what is no such frame from its first byte on."""
    bodies = bodies_of(size, number)
    stream = frames(codec, bodies) + other
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    rest = b""
    with pipe(half, codec, size) as line:
        for start, end in pairwise(places):
            line.feed(stream[start:end])
            if rest:
                rest += stream[start:end]  # it is another reader's from there on
            else:
                line.haul_all(most)
                rest = b"".join(line.arrived)
                if rest:
                    try:
                        while more := line.near.recv(1 << 20):
                            rest += more
                    except BlockingIOError:
                        pass
        seen = frames(codec, line.whole) + (line.header + b"".join(line.chunks) if line.chunks else b"") + rest
        frame = codec.header_size + size
        cut_headers = [
            cut // frame for cut in places if 0 < cut % frame < codec.header_size
        ]  # those are another reader's

        assert seen == stream
        assert line.whole == bodies[: min([number, *cut_headers])]


@halves
@codecs
def test_bodies_that_come_together_are_read_together(half: Any, codec: Codec) -> None:
    """As many as were asked for, also if there are more."""
    bodies = bodies_of(SIZE, 5)
    with pipe(half, codec) as line:
        line.feed(frames(codec, bodies))

        line.haul(2)
        assert line.whole == bodies[:2]
        line.haul(2)
        assert line.whole == bodies[:4]
        line.haul(2)
        assert (line.whole, line.chunks, line.arrived) == (bodies, [], [])


@halves
def test_a_call_ends_with_a_load(half: Any) -> None:
    """Other connections have their turn."""
    bodies = bodies_of(LOAD // 4, 12)
    with pipe(half, size=LOAD // 4) as line:
        line.feed(frames(TCP, bodies))

        line.haul()

        assert 4 <= len(line.whole) <= 5


@halves
def test_a_body_that_comes_whole_is_not_copied(half: Any) -> None:
    """It is read to where it stays: no more memory is asked for than what it takes."""
    size = BODY_READ // 2
    with pipe(half, size=size) as line:
        line.feed(frames(TCP, [b"x" * size]))
        tracemalloc.start()
        try:
            line.haul(1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert len(line.whole) == 1
        assert peak < size + 64 * 1024


@halves
@pytest.mark.parametrize("length", [1 << 20, 1 << 30, 1 << 59])
def test_memory_follows_what_has_come(half: Any, length: int) -> None:
    """Not what was announced: a header may say anything."""
    with pipe(half, size=length) as line:
        line.chunks.append(b"")
        tracemalloc.start()
        try:
            for _ in range(100):
                line.feed(b"y" * 1000)
                line.haul()
            held, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert line.state == ([], b"y" * 100_000, True, b"")
        assert held < 2 * 100_000 + 4096
        assert peak < 2 * BODY_READ + 200_000


@halves
def test_crumbs_are_joined(half: Any) -> None:
    """A body that comes byte by byte is no list of single bytes."""
    most = 0
    body = bytes(range(250)) * (SIZE // 250)
    stream = frames(TCP, [body])
    with pipe(half) as line:
        line.feed(stream[:8])
        line.haul_all()
        for place in range(8, len(stream), 50):
            line.feed(stream[place : place + 50])
            line.haul_all()
            most = max(most, len(line.chunks))

        assert line.whole == [body]
        assert most <= 1 + 2 * SIZE // CRUMB


@halves
@pytest.mark.parametrize("part", [b"", b"\0\0\0", TCP.header(SIZE), TCP.header(SIZE) + b"x" * 30_000])
def test_the_end_comes_behind_what_has_come(half: Any, part: bytes) -> None:
    """Told as nothing that arrived, with what there is of a body in place; and it stays told."""
    with pipe(half) as line:
        line.feed(frames(TCP, bodies_of(SIZE, 1)) + part)
        line.haul_all()
        line.far.close()
        if not line.arrived:
            line.haul_all()
        assert line.arrived == ([b""] if len(part) != 3 else [part])
        assert (line.whole, b"".join(line.chunks)) == (bodies_of(SIZE, 1), part[8:])

        before = line.state
        line.haul()
        assert line.state == before


@halves
def test_nothing_there_is_told_as_such(half: Any) -> None:
    """Before a header, and within a body of which nothing more has come."""
    with pipe(half) as line:
        with pytest.raises(BlockingIOError):
            line.haul()
        line.feed(line.header + b"x")
        line.haul()
        with pytest.raises(BlockingIOError):
            line.haul()
        assert line.state == ([], b"x", True, b"")


@halves
def test_a_broken_connection_is_an_error(half: Any) -> None:
    """What has come before it stays where it is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
        with near, far:
            chunks, whole, arrived = [b"x" * 20_000], list[bytes](), list[bytes]()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            far.close()
            with pytest.raises(ConnectionResetError):
                chosen(half)(near.recv, near.fileno(), TCP.header(SIZE), chunks, whole, arrived, 1)
            assert (chunks, whole, arrived) == ([b"x" * 20_000], [], [])


built: Any = HALVES.get("compiled")


@pytest.mark.skipif(built is None, reason="there is no compiled half here")
def test_wrong_arguments_are_errors_and_nothing_is_read() -> None:
    """Whoever calls it with something else has a fault, not a crash."""
    header = TCP.header(SIZE)
    good: list[Any] = [None, 0, header, [], [], [], 1]
    wrong: list[tuple[int, Any, type[Exception]]] = [
        (1, -1, ValueError),
        (1, 1 << 40, ValueError),
        (1, "1", TypeError),
        (2, b"", ValueError),
        (2, b"x" * 7, ValueError),
        (2, b"x" * 10, ValueError),
        (2, bytes(8), ValueError),
        (2, b"\xff" * 8, ValueError),
        (2, bytearray(header), ValueError),
        (3, (), TypeError),
        (3, ["text"], TypeError),
        (3, [b"x" * SIZE], ValueError),
        (3, [b"x" * (SIZE + 1)], ValueError),
        (4, None, TypeError),
        (5, b"", TypeError),
        (6, "1", TypeError),
        (6, 0, ValueError),
        (6, -1 << 63, ValueError),
        (6, 1 << 80, OverflowError),
    ]
    read, write = os.pipe()
    try:
        os.write(write, header)
        good[1] = read
        for place, value, error in wrong:
            with pytest.raises(error):
                built.haul(*good[:place], value, *good[place + 1 :])
        with pytest.raises(TypeError, match="7 arguments"):
            built.haul(read)
        assert os.read(read, 100) == header
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.skipif(built is None, reason="there is no compiled half here")
def test_what_is_short_of_memory_ends_the_connection() -> None:
    """Bytes that were read and could not be kept are lost: whoever reads on would take the middle of a body for a header."""
    _testcapi = pytest.importorskip("_testcapi")
    frame = frames(TCP, bodies_of(SIZE, 1))
    endings = 0
    for fail_at in range(40):
        with pipe(built) as line:
            line.feed(frame + frame[:1000])
            _testcapi.set_nomemory(fail_at, fail_at + 1)
            try:
                line.haul()
            except MemoryError:
                _testcapi.remove_mem_hooks()
                ended = line.arrived == [b""]
                endings += ended
                assert ended or line.near.recv(1 << 20) == frame + frame[:1000]
            else:
                _testcapi.remove_mem_hooks()
                assert line.state == (bodies_of(SIZE, 1), frame[8:1000], True, b"")
            finally:
                _testcapi.remove_mem_hooks()
    assert endings


@pytest.mark.skipif(built is None, reason="there is no compiled half here")
def test_no_call_keeps_anything() -> None:
    """Neither bodies nor pieces nor what was made ready and not needed."""
    with pipe(built) as line:
        header, body = TCP.header(SIZE), b"x" * SIZE
        kinds = [header + body, header + body[:100], header, header[:3], header + body + TCP.header(5)]
        for kind in kinds:
            line.feed(kind)
            line.haul()
            for kept in (*line.whole, *line.chunks, *line.arrived):
                assert kept == b"" or sys.getrefcount(kept) <= 4
            del line.whole[:], line.chunks[:], line.arrived[:]
            try:
                line.near.recv(1 << 20)
            except BlockingIOError:
                pass
