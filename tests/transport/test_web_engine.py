"""WebEngine: what the connection says of its own, pongs and farewells, never gets between the bytes of a message."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

import pytest
from websockets.frames import Frame, Opcode

from nnqpy.errors import Reason
from nnqpy.patterns.pair import PairCore
from nnqpy.transport.web import engines
from nnqpy.wire.websocket import WebSocket
from tests.kit.cores import queue
from tests.kit.engines import Line, Socket, close_lines
from tests.kit.interrupts import handlers, interrupt

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    from nnqpy.tls import Certificate

OURS: Final = (
    "nnqpy.engine",
    "nnqpy.framed",
    "nnqpy.routing",
    "nnqpy.transport.web",
    "nnqpy.turns",
    "nnqpy.locks",
    "nnqpy.poller",
    "tests.transport.test_web_engine",
)
WORD: Final = b"are you there?"
PING: Final = Frame(Opcode.PING, WORD).serialize(mask=True)
PONG: Final = Frame(Opcode.PONG, WORD).serialize(mask=False)
BODIES: Final = [b"%03d" % n * 100 for n in range(30)]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Close every line, also after a failure."""
    yield
    close_lines()


class Layer:
    """A layer that an interrupt may keep from telling what it took, as TLS."""

    more = False
    unclean = False
    certificate: Certificate | None = None

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._took: list[int] = []
        self.fileno = sock.fileno
        self.recv = sock.recv
        self.shutdown = sock.shutdown

    def send(self, data: bytes | memoryview, /) -> int:
        self._took.extend(map(self._sock.send, (data,)))
        return self.unbooked()

    def sendmsg(self, parts: Sequence[bytes], /) -> int:
        return self.send(b"".join(parts))

    def unbooked(self) -> int:
        took = self._took
        self._took = []
        return took[0] if took else 0

    def drained(self) -> bool:
        return True


class Talk:
    """A server's connection with something to send, at whose other end pings come."""

    def __init__(self, *, layered: bool, buffer: int | None) -> None:
        home = Socket(PairCore)
        make = engines(home.turns)
        self.line = Line(home, make=make, buffer=buffer, dress=Layer if layered else None)
        self.line.feed(PING)
        self.arrived = b""
        queue(self.line.core, BODIES)

    def go_on(self) -> None:
        """Read, write, and take what comes at the far end, until nothing moves any more."""
        still = 0
        while still < 4:
            if not self.line.engine.gone:
                self.line.read()
            self.line.home.turns.pump()
            data = self.line.drain()
            self.arrived += data
            still = 0 if data else still + 1


def heard(data: bytes) -> tuple[list[bytes], Reason]:
    """Return the messages in a stream, and how it ends."""
    bodies: list[bytes] = []
    client = WebSocket("client", None)
    client.receive(data, bodies)
    return bodies, client.end().reason


@handlers
@pytest.mark.parametrize("layered", [False, True], ids=["ws", "layered"])
@pytest.mark.parametrize("buffer", [None, 4608], ids=["all fits", "little fits"])
def test_a_pong_and_messages_stay_in_step_wherever_they_are_interrupted(
    layered: bool, buffer: int | None, error: type[BaseException]
) -> None:
    """The other end gets every message once, in order, and at most one pong; or the connection is given up."""
    given_up = 0
    for at in count():
        talk = Talk(layered=layered, buffer=buffer)
        line = talk.line
        interrupted = interrupt(talk.go_on, at, *OURS, error=error)
        talk.go_on()
        bodies, end = heard(talk.arrived)
        if line.engine.gone:
            given_up += 1
            assert line.home.lost == [Reason.INTERRUPTED]
            assert [*bodies, *line.core.outbox] == BODIES
        else:
            assert (bodies, end) == (BODIES, Reason.EOF)
            assert talk.arrived.count(PONG) <= 1
            assert line.core.drained
            assert (line.engine.sent, line.engine.bytes_sent) == (len(BODIES), sum(map(len, BODIES)))
        line.close()
        if not interrupted:
            assert talk.arrived.count(PONG) == 1
            assert at > 100, "the interrupts found no point to come at"
            assert given_up < at // 4, "most interrupts cost no connection"
            break


@pytest.mark.parametrize("room", range(1, len(PONG)))
def test_a_pong_that_went_in_part_goes_on_before_anything_else(room: int) -> None:
    """A kernel that takes a part of a pong gets the rest of it first, once it has room, though nobody writes."""
    home = Socket(PairCore)
    spoken: list[bytes] = []
    rooms = [room]

    class Narrow(Layer):
        def send(self, data: bytes | memoryview, /) -> int:
            if not rooms:
                raise BlockingIOError
            part = bytes(data[: rooms.pop()])
            spoken.append(part)
            return len(part)

    line = Line(home, make=engines(home.turns), dress=Narrow)
    line.feed(PING)
    line.read()
    assert (b"".join(spoken), line.engine.full) == (PONG[:room], True)

    rooms.append(1000)
    home.turns.poll_out(0)
    assert b"".join(spoken) == PONG

    rooms.append(1000)
    queue(line.core, [b"behind it"])
    home.turns.pump()
    assert heard(b"".join(spoken)) == ([b"behind it"], Reason.EOF)


def test_nobody_takes_leave_while_another_writes() -> None:
    """The close frame goes between two messages: while somebody is at the writing, a connection ends without one."""
    home = Socket(PairCore)
    line = Line(home, make=engines(home.turns))
    assert home.turns.out.take()
    line.engine.finish()
    home.turns.out.lock.release()
    assert line.far.recv(100) == b""

    other = Line(Socket(PairCore), make=engines(home.turns))
    other.engine.finish()
    assert other.far.recv(100) == WebSocket("server", None).closing()
