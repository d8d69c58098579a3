"""Engines on socket pairs: the real thing, with the other end of the line in the test's hand."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from nnqpy.engine import Engine
from nnqpy.events import PeerRemoved
from nnqpy.options import Options
from nnqpy.patterns.pipeline import PullCore
from nnqpy.turns import Turns
from nnqpy.wire.stream import TCP

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from nnqpy.engine import Stream
    from nnqpy.errors import Reason
    from nnqpy.events import Event
    from nnqpy.routing.core import SocketCore
    from nnqpy.wire.codec import Codec

PATIENCE: Final = 10.0
"""Seconds after which the other end gives up: only where a test fails."""


_open: list[Line] = []


def close_lines() -> None:
    """Close every line that a test has opened: also one that failed leaves nothing to the next."""
    while _open:
        _open[-1].close()


def give_back(turns: Turns) -> None:
    """Give the descriptors of a socket back now, that is at its end: the collector would do so at some time."""
    del turns.into, turns.out


class Socket:
    """A core and its turns, with a janitor that only notes when it is called."""

    def __init__(self, pattern: type[SocketCore], **options: Any) -> None:  # Options checks them
        self.core = pattern(Options(**options))
        self.calls = 0
        """How often the janitor was called."""
        self.told: list[Event] = []
        self.core.emit = self.told.append
        self.turns = Turns(self.core, self._called)

    def _called(self, turns: Turns) -> None:
        assert turns is self.turns
        self.calls += 1

    @property
    def lost(self) -> list[Reason]:
        """Why peers were given up."""
        return [event.reason for event in self.told if isinstance(event, PeerRemoved)]


class Line:
    """One connection: our `Engine`, attached to a `Socket`, and the `far` end, which is the test's."""

    def __init__(
        self,
        home: Socket,
        codec: Codec = TCP,
        *,
        data: bytes = b"",
        buffer: int | None = None,
        make: Callable[..., Engine] = Engine,
        dress: Callable[[socket.socket], Stream] | None = None,
    ) -> None:
        """Connect.

        Args:
            home: whose connection it is.
            codec: the framing.
            data: what came right behind the greeting.
            buffer: bytes of the kernel's send buffer, about; None: as it is.
            make: what makes the engine.
            dress: what makes the layer on the system's socket.
        """
        near, self.far = socket.socketpair()
        near.setblocking(False)
        self.far.settimeout(PATIENCE)
        if buffer is not None:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        self.codec = codec
        self.core = home.core
        self.home = home
        self.buried: list[socket.socket] = []
        self._near = near
        self.engine = make(
            near,
            codec,
            home.turns,
            address="fake://",
            remote="far",
            direction="in",
            protocol=home.core.proto.peer,
            bury=self._bury,
            data=data,
            stream=dress and dress(near),
        )
        _open.append(self)
        assert home.turns.attach(self.engine) is None

    def _bury(self, engine: Engine, sock: socket.socket) -> None:
        assert engine is self.engine
        self.buried.append(sock)

    def feed(self, data: bytes) -> None:
        """Send bytes from the far end."""
        self.far.sendall(data)

    def read(self, limit: int = 1000) -> list[bytes]:
        """Read until nothing is there, and return the inbox."""
        for _ in range(10_000):
            if self.engine.gone or not self.engine.read(limit):
                return list(self.core.inbox)
        raise AssertionError("a reader that always finds something would never rest")

    def drain(self) -> bytes:
        """Take what has arrived at the far end, without waiting for more."""
        self.far.setblocking(False)
        data = b""
        try:
            while chunk := self.far.recv(1 << 20):
                data += chunk
        except BlockingIOError:
            pass
        finally:
            self.far.settimeout(PATIENCE)
        return data

    def close(self) -> None:
        """Close both ends; the line's socket is of no more use either."""
        if self in _open:
            _open.remove(self)
        self.far.close()
        self._near.close()
        if hasattr(self.home.turns, "out"):
            give_back(self.home.turns)


@contextmanager
def connected(
    codec: Codec = TCP,
    *,
    pattern: type[SocketCore] = PullCore,
    data: bytes = b"",
    buffer: int | None = None,
    **options: Any,
) -> Generator[Line, None, None]:
    """Open a line of a new socket, and close it in the end."""
    line = Line(Socket(pattern, **options), codec, data=data, buffer=buffer)
    try:
        yield line
    finally:
        line.close()


def wire(codec: Codec, bodies: Iterable[bytes]) -> bytes:
    """Return the frames of `bodies`."""
    return b"".join(codec.header(len(body)) + body for body in bodies)


def unwire(codec: Codec, data: bytes) -> list[bytes]:
    """Return the bodies in `data`, which must be whole frames."""
    bodies: list[bytes] = []
    end = codec.split(data, 0, bodies, 1 << 30, -1)
    assert end == len(data), f"{len(data) - end} bytes of a frame that is not whole"
    return bodies
