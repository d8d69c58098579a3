"""ws and wss: SP over WebSocket, as nng speaks it. The upgrade is the endpoint's: it is the greeting here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from nnqpy.engine import READ_MIN, STRAY_MAX, stray
from nnqpy.errors import ProtocolError, Reason, is_the_systems
from nnqpy.framed import FramedEngine
from nnqpy.wire.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nnqpy.turns import Turns

__all__ = ["WebEngine", "engines"]


class WebEngine(FramedEngine[WebSocket]):
    """ws and wss: a binary message for each of ours."""

    __slots__ = ("_late", "_waiting")

    def __init__(self, *connection: Any, **which: Any) -> None:
        """Take over a connection; as `FramedEngine`."""
        self._waiting: list[bytes] = []
        self._late: ProtocolError | None = None
        super().__init__(*connection, **which)
        self._uncut = False

    # --- out-turn ------------------------------------------------------------------------------------------

    def push(self, bodies: Sequence[bytes], size: int) -> None:
        """Offer messages to the kernel, as `FramedEngine.push`; behind a pong that went in part."""
        if not self.rest or self.push_rest():
            super().push(bodies, size)

    def taken(self, bodies: Sequence[bytes]) -> tuple[int, int]:
        """Read the record, as `FramedEngine.taken`: behind a pong that went in part nothing went."""
        return (0, 0) if self.rest else super().taken(bodies)

    def _say(self, words: Callable[[], bytes]) -> None:
        """Say something of the connection's own between two messages, if nobody is writing; from any thread.

        As `rest`, with no message begun: exact like the rest of a message, however often it is interrupted.
        """
        turn = self._turns.out
        if not turn.take():
            return
        try:
            self._turns.core.settle()  # an interrupted writer may have left something that went
            if self.begun is None and not self.rest and not self.full:
                self.rest: memoryview | bytes = words()
                self.push_rest()
        finally:
            turn.lock.release()
            turn.wake()

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
            except BaseException as error:
                if not is_the_systems(error):
                    self._framing.broken = True  # what was parsed is lost: nothing of it is delivered twice
                raise
        out, rest, token = waiting[:limit], waiting[limit:], self._place + 1
        # A commit: stores only, no call.
        self._waiting, self._late = waiting, late
        self._arrived, self._data = [], b""
        try:
            self._commit(out, b"", token, [], b"", [], stuffed=bool(rest), fault=None if rest else late)
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
        if framing.owes:
            self._say(framing.own)
        return None

    @property
    def _mid_frame(self) -> bool:
        return self._framing.midway

    def _end(self) -> None:
        end = self._framing.end()
        self._ended(end.reason, end.detail)

    def _drop_all(self) -> None:
        while True:
            chunk = self._recv(READ_MIN)
            if not chunk:
                self._end()
                return
            bodies: list[bytes] = []
            late = self._take(chunk, bodies)
            self._stray += sum(map(len, bodies)) + len(bodies)  # an empty one is one, too
            if self._stray > STRAY_MAX or (late is not None and late.reason is Reason.TOO_LARGE):
                late = stray(self.protocol)
            if late is not None:
                self._turns.lose(self, late.reason, late.detail)
                return

    # --- any thread ----------------------------------------------------------------------------------------

    def cut(self) -> None:
        """End the conversation at once, if possible with the word that says why."""
        self._say(self._framing.closing)
        super().cut()

    def finish(self) -> None:
        """Say that nothing more comes from us; what was written still arrives."""
        self._say(self._framing.closing)
        super().finish()


def engines(turns: Turns) -> Callable[..., WebEngine]:
    """Return what makes the engines of one socket."""
    # A socket that only sends collects no message that it would drop.
    most = turns.core.options.recv_max_size if turns.core.receives else STRAY_MAX

    def make(*connection: Any, direction: Literal["in", "out"], **which: Any) -> WebEngine:
        framing = WebSocket("server" if direction == "in" else "client", most)
        return WebEngine(*connection, direction=direction, framing=framing, **which)

    return make
