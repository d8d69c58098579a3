"""Engines whose framing has a state of its own: zstd+tcp (a dictionary for each direction), WebSocket (pongs, fragments).

What is made for a write is kept until it is booked: of the message that went in part, the very bytes go on. Everything
else that did not go is thrown away, and its messages are made anew, perhaps for another peer.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from nnqpy.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence


class Framing(Protocol):
    """What makes the frames."""

    def frames(self, bodies: Sequence[bytes]) -> list[bytes]:
        """Return the frame of each body."""
        ...

    def begun(self, whole: int, part: int) -> None:
        """Note how many of them went whole, and how many bytes of the next one; twice is as once."""
        ...


FramingT = TypeVar("FramingT", bound=Framing)


class FramedEngine(Engine, Generic[FramingT]):
    """Writes frames that are made one by one."""

    __slots__ = ("_frames", "_framing")

    def __init__(self, *connection: Any, framing: FramingT, **which: Any) -> None:
        """Take over a connection; as `Engine`, with the state of its framing."""
        self._framing = framing
        self._frames: list[bytes] = []
        super().__init__(*connection, **which)

    def push(self, bodies: Sequence[bytes], size: int) -> None:
        """Offer messages to the kernel, once; what it took stands in `record`."""
        record: list[int] = []
        self.record = record
        self._frames = frames = self._framing.frames(bodies)
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        self._offer = len(data)
        try:
            record.extend(map(self._send, (data,)))
            if record[0] != len(data):
                self._wait_for_room()
        except BlockingIOError:
            self._wait_for_room()
        except OSError as error:
            self._broken(error)

    def _reach(self, bodies: Sequence[bytes], sent: int) -> tuple[int, int]:
        ends = list(accumulate(map(len, self._frames)))
        whole = bisect_right(ends, sent)
        return whole, sent - (ends[whole - 1] if whole else 0)

    def taken(self, bodies: Sequence[bytes]) -> tuple[int, int]:
        """Read the record: how many of `bodies` went whole, and how many bytes of the next frame."""
        whole, part = super().taken(bodies)
        self._framing.begun(whole, part)
        return whole, part

    def remainder(self, body: bytes, written: int) -> bytes | memoryview:
        """Return what is still to be written of the frame of which `written` bytes went."""
        self._wait_for_room()
        whole, _ = self._reach((), self.record[0])
        return memoryview(self._frames[whole])[written:]
