"""ws and wss: SP over WebSocket, as nng speaks it. The upgrade is the endpoint's: it is the greeting here."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal

from nnqpy.engine import READ_MIN, STRAY_MAX, stray
from nnqpy.errors import ProtocolError
from nnqpy.framed import FramedEngine
from nnqpy.wire.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nnqpy.turns import Turns

__all__ = ["WebEngine", "engines"]


class WebEngine(FramedEngine[WebSocket]):
    """ws and wss: a binary message for each of ours."""

    __slots__ = ("_late", "_unsaid", "_waiting")

    def __init__(self, *connection: Any, **which: Any) -> None:
        """Take over a connection; as `FramedEngine`."""
        self._waiting: list[bytes] = []
        self._late: ProtocolError | None = None
        self._unsaid: bytes | memoryview = b""
        """What is left of a pong that the kernel took a part of."""
        super().__init__(*connection, **which)
        self._uncut = False

    # --- out-turn ------------------------------------------------------------------------------------------

    def push(self, bodies: Sequence[bytes], size: int) -> None:
        """Offer messages to the kernel, as `FramedEngine.push`."""
        if self._unsaid and not self._say():
            self.record = []
            self._wait_for_room()
        else:
            super().push(bodies, size)

    def _say(self) -> bool:
        """Out-turn held: go on with a pong; True when all of it went."""
        if self._unsaid:
            with contextlib.suppress(OSError):
                self._unsaid = self._unsaid[self._send(self._unsaid) :]
        return not self._unsaid

    # --- in-turn -------------------------------------------------------------------------------------------

    def _read_frames(self, limit: int) -> None:
        waiting, late = self._waiting, self._late
        if not waiting and late is None:
            chunk = self._data or self._next_chunk()
            if not chunk:
                self._end()
                return
            try:
                late = self._take(chunk, waiting := [])
            except OSError:
                raise
            except BaseException:
                self._framing.broken = True  # what was parsed is lost: nothing of it is delivered twice
                raise
        out, rest, token = waiting[:limit], waiting[limit:], self._place + 1
        # A commit: stores only, no call.
        self._waiting, self._late = waiting, late
        self._arrived, self._data = [], b""
        try:
            self._commit(out, b"", token, [], -1, stuffed=bool(rest), large=False, fault=None if rest else late)
        finally:
            # Interrupted, it was booked or it was not: then the same is delivered by the next read.
            if self._place == token:
                self._waiting = rest

    def _take(self, chunk: bytes, out: list[bytes]) -> ProtocolError | None:
        """Have the messages of a chunk in `out`, and answer pings; return why nothing more comes, if so."""
        framing = self._framing
        try:
            framing.receive(chunk, out)
        except ProtocolError as error:
            return error
        if framing.closed:
            return framing.end()
        turn = self._turns.out
        if self.begun is None and not self.full and turn.take():
            try:
                if self.begun is None:
                    if not self._unsaid:
                        self._unsaid = framing.own()
                    self._say()
            finally:
                turn.lock.release()
                turn.wake()
        return None

    def _end(self) -> None:
        end = self._framing.end()
        self._turns.lose(self, end.reason, end.detail)

    def _drop_all(self) -> None:
        while True:
            chunk = self._recv(READ_MIN)
            if not chunk:
                self._end()
                return
            bodies: list[bytes] = []
            late = self._take(chunk, bodies)
            self._stray += sum(map(len, bodies))
            if self._stray > STRAY_MAX:
                late = stray(self.protocol)
            if late is not None:
                self._turns.lose(self, late.reason, late.detail)
                return

    # --- any thread ----------------------------------------------------------------------------------------

    def cut(self) -> None:
        """End the conversation at once, if possible with the word that says why."""
        self._take_leave()
        super().cut()

    def finish(self) -> None:
        """Say that nothing more comes from us; what was written still arrives."""
        self._take_leave()
        super().finish()

    def _take_leave(self) -> None:
        if self.begun is None and not self._unsaid:
            with contextlib.suppress(OSError):
                self._send(self._framing.closing())


def engines(turns: Turns) -> Callable[..., WebEngine]:
    """Return what makes the engines of one socket."""
    most = turns.core.options.recv_max_size

    def make(*connection: Any, direction: Literal["in", "out"], **which: Any) -> WebEngine:
        framing = WebSocket("server" if direction == "in" else "client", most)
        return WebEngine(*connection, direction=direction, framing=framing, **which)

    return make
