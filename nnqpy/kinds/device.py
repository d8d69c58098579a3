"""What a device is: two raw sockets, and what goes from one to the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from nnqpy.kinds.raw import Raw
from nnqpy.waiting import Until

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnqpy.message import Message

    Side = Literal["front", "back"]
    Tap = Callable[[Side, Message], None]

End = TypeVar("End", bound=Raw)


@dataclass(frozen=True, slots=True)
class DeviceStats:
    """What a device has done so far.

    Attributes:
        to_back: messages that it has handed from the front socket to the back one.
        to_front: messages from the back to the front.
        dropped: messages that could go no further: no room in the header for another step, or no way back in it.
    """

    to_back: int
    to_front: int
    dropped: int


class Way(Generic[End]):
    """One direction of a device."""

    def __init__(self, side: Side, source: End, sink: End, tap: Tap | None) -> None:
        self.side: Side = side
        self.source = source
        self.sink = sink
        self.until = Until(source._inbox)  # noqa: SLF001  # a device is a part of its sockets
        self.handed = 0
        self.dropped = 0
        self._tap = tap

    def payloads(self, messages: list[Message]) -> list[bytes]:
        """Return what goes on of messages; those that go no further are taken out of the list and counted."""
        if self._tap is not None:
            for message in messages:
                self._tap(self.side, message)
        payloads = list(map(self.sink._onward, messages))  # noqa: SLF001  # likewise
        if None in payloads:
            self.dropped += payloads.count(None)
            messages[:] = [one for one, payload in zip(messages, payloads, strict=True) if payload is not None]
        return [payload for payload in payloads if payload is not None]

    def ready(self, payload: bytes) -> bool:
        """Whether it makes no sense to wait until a payload has room."""
        return self.until.over or self.sink._room_for(payload)  # noqa: SLF001  # likewise

    def begin(self) -> None:
        """Follow the sink: without it there is nothing to do. What the source ends needs no following, it is waited for."""
        self.sink._turns.followers.append(self.stop)  # noqa: SLF001  # likewise
        if self.sink.closed:
            self.stop()

    def end(self) -> None:
        """Follow it no more."""
        self.sink._turns.followers.remove(self.stop)  # noqa: SLF001  # likewise

    def stop(self) -> None:
        """Have whoever carries messages this way come to an end."""
        self.until.over = True
        self.source._turns.alarm()  # noqa: SLF001  # likewise
        self.sink._turns.alarm()  # noqa: SLF001  # likewise


def _check_raw(socket: object) -> None:
    if not isinstance(socket, Raw):
        raise TypeError(f"a device is made of raw sockets, not of a {type(socket).__name__}")


class DeviceKind(Generic[End]):
    """A device, less the face."""

    def __init__(self, front: End, back: End | None = None, *, tap: Tap | None = None) -> None:
        """Make a device of two raw sockets; it carries nothing yet.

        Args:
            front: one raw socket.
            back: a raw socket that speaks what the other end of the first does: RawRep and RawReq, RawPull and RawPush,
                RawSub and RawPub, RawRespondent and RawSurveyor, two RawPair, RawPair1 or RawBus. None: the same; what
                it receives it sends, a RawBus to all others, a RawPair back.
            tap: called with ``"front"`` or ``"back"`` and each message that came in there, before it goes on.

        Raises:
            TypeError: a socket is not raw.
            ValueError: the two do not go together.
        """
        other = front if back is None else back
        _check_raw(front)
        _check_raw(other)
        one, two = front._core.proto, other._core.proto  # noqa: SLF001  # a device is a part of its sockets
        if one.peer is not two:
            raise ValueError(
                f"a device needs a socket and its counterpart; {one.label} goes with {one.peer.label}, not {two.label}"
            )
        self._ways: list[Way[End]] = []
        if front._core.receives and other._core.sends:  # noqa: SLF001  # likewise
            self._ways.append(Way("front", front, other, tap))
        if other is not front and other._core.receives and front._core.sends:  # noqa: SLF001  # likewise
            self._ways.append(Way("back", other, front, tap))

    def stats(self) -> DeviceStats:
        """Return what was done so far."""
        handed = {"front": 0, "back": 0}
        for way in self._ways:
            handed[way.side] = way.handed
        return DeviceStats(handed["front"], handed["back"], sum(way.dropped for way in self._ways))

    def stop(self) -> None:
        """End it, from anywhere: what was not handed on stays with the socket that has received it."""
        for way in self._ways:
            way.stop()
