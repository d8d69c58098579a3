"""Pair1 counts steps: 1 on the way out; on the way in too many are dropped, and what is no count ends the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import trio

import nnqpy
import nnqpy.asyncio
import nnqpy.trio
from nnqpy import Pair1, TimedOut
from nnqpy.errors import Reason
from nnqpy.events import PeerRemoved
from nnqpy.options import Options
from nnqpy.patterns.pair1 import Pair1Core
from nnqpy.proto import Proto
from nnqpy.wire.stream import IPC, TCP
from tests.contract.conftest import spot_of
from tests.kit.engines import Line, Socket, wire
from tests.kit.peers import FakePeer, marry

if TYPE_CHECKING:
    from pathlib import Path

    from nnqpy.wire.codec import Codec

GOOD = b"\0\0\0\1good"
each_codec = pytest.mark.parametrize("codec", [TCP, IPC], ids=["tcp", "ipc"])


def test_pair1_speaks_to_pair1() -> None:
    """Its number is not that of a Pair."""
    assert (Pair1Core.proto, Pair1Core.proto.peer) == (Proto.PAIR1, Proto.PAIR1)


def test_a_second_peer_is_refused() -> None:
    """As with a Pair."""
    core = Pair1Core(Options())
    marry(core, FakePeer())

    assert core.attach(FakePeer()) is Reason.LIMIT_PIPES


def test_the_header_says_one_step() -> None:
    """As nng writes it, in front of any body."""
    with nnqpy.Pair1() as pair, nnqpy.RawPair1(bind="inproc://one-step") as tap:
        pair.connect("inproc://one-step")
        pair.send(bytearray(b"x"))
        pair.send(b"")

        assert [tap.recv(timeout=5)[:2] for _ in range(2)] == [(b"\0\0\0\1", b"x"), (b"\0\0\0\1", b"")]
        with pytest.raises(TypeError, match="encode"):
            pair.send("x")  # type: ignore[arg-type]


@each_codec
@pytest.mark.parametrize(
    ("ttl", "hop", "taken"),
    [
        (8, 0, True),
        (8, 1, True),
        (8, 8, True),
        (8, 9, False),
        (1, 1, True),
        (1, 2, False),
        (15, 15, True),
        (15, 16, False),
        (15, 255, False),
    ],
)
def test_b44_steps_are_taken_up_to_the_limit(codec: Codec, ttl: int, hop: int, taken: bool) -> None:
    """0 is mangos's first; one more than `max_ttl` is dropped and counted, and the connection stays, at every split."""
    data = wire(codec, [b"\0\0\0" + bytes([hop]) + b"x", GOOD])
    for cut in range(len(data)):
        home = Socket(Pair1Core, max_ttl=ttl)
        line = Line(home, codec)
        for part in (data[:cut], data[cut:]):
            line.feed(part)
            line.read()

        assert list(home.core.inbox) == ([b"x"] if taken else []) + [b"good"]
        assert home.core.stats().discarded == ({} if taken else {"ttl_exceeded": 1})
        assert not line.engine.gone
        line.close()


@each_codec
@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        *((b"\0\0\0\1"[:size], Reason.HEADER_MISSING) for size in range(4)),
        *((bytes([255] * size), Reason.HEADER_MISSING) for size in (1, 3)),
        (b"\0\0\1\0", Reason.HEADER_BAD),
        (b"\1\0\0\1body", Reason.HEADER_BAD),
        (b"\xff\xff\xff\xff", Reason.HEADER_BAD),
    ],
)
def test_b44_what_is_no_header_ends_the_connection(codec: Codec, payload: bytes, reason: Reason) -> None:
    """What came before is delivered, nothing behind it, at every split; the event says what was found."""
    data = wire(codec, [GOOD, payload, GOOD])
    for cut in range(len(data)):
        home = Socket(Pair1Core)
        line = Line(home, codec)
        for part in (data[:cut], data[cut:]):
            if not line.engine.gone:
                line.feed(part)
                line.read()

        assert list(home.core.inbox) == [b"good"]
        (loss,) = [event for event in home.told if isinstance(event, PeerRemoved)]
        assert loss.reason is reason
        assert (f"{len(payload)} bytes" if reason is Reason.HEADER_MISSING else payload[:4].hex(" ")) in loss.detail
        line.close()


@pytest.mark.parametrize("scheme", ["tcp", "ipc", "inproc"])
def test_both_ways_over_every_transport(scheme: str, tmp_path: Path) -> None:
    """The application sees bodies, empty ones and large ones too."""
    spot = spot_of(scheme, tmp_path)
    with Pair1() as one, Pair1() as other:
        other.connect(one.bind(spot).url, wait=True, timeout=10)
        bodies = [b"", b"x", bytes(200_000)]
        one.send_many(bodies)
        for body in bodies:
            other.send(body)
        one.send_nowait(b"last")

        assert [other.recv(timeout=10) for _ in range(4)] == [*bodies, b"last"]
        assert [one.recv(timeout=10) for _ in range(3)] == bodies
        with pytest.raises(TimedOut):
            one.recv(timeout=0)


async def both_ways(pair1: type[nnqpy.asyncio.Pair1 | nnqpy.trio.Pair1]) -> list[bytes]:
    async with pair1() as one, pair1() as other:
        await other.connect(one.bind("tcp://127.0.0.1:0").url, wait=True, timeout=10)
        await one.send(b"1")
        await one.send_many([b"2", b"3"])
        one.send_nowait(b"4")
        for body in [await other.recv(timeout=10) for _ in range(4)]:
            await other.send(body)
        return [await one.recv(timeout=10) for _ in range(4)]


def test_the_task_faces_have_it_too() -> None:
    """Every way to send puts the header in front."""
    assert asyncio.run(both_ways(nnqpy.asyncio.Pair1)) == [b"1", b"2", b"3", b"4"]
    assert trio.run(both_ways, nnqpy.trio.Pair1) == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("ttl", [0, 16, -1])
def test_the_limit_is_from_1_to_15(ttl: int) -> None:
    """As in nng."""
    with pytest.raises(ValueError, match="max_ttl is from 1 to 15"):
        Pair1(max_ttl=ttl)
    with pytest.raises(TypeError, match="max_ttl is a number of steps"):
        Pair1(max_ttl="8")  # type: ignore[arg-type]
