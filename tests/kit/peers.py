"""FakePeer: a scripted connection, as the core and its turns see one, and `marry` to attach some."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from nnqpy.errors import Reason
from nnqpy.events import PeerInfo
from nnqpy.routing.core import SocketCore, next_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nnqpy.turns import Turns

HEADER: Final = 8
"""Bytes that a FakePeer puts in front of each body: its length, big-endian."""


def frame(body: bytes) -> bytes:
    """Return a message as a FakePeer writes it."""
    return len(body).to_bytes(HEADER, "big") + body


def _nothing() -> None:
    """Do nothing."""


class FakePeer:
    """A connection into a buffer of so many bytes, which keeps all that was ever written to it.

    It holds to what `routing.core.Peer` asks of a peer, and fails the test that does not hold to the same: a frame
    begun must be ended before the next, nothing is written behind the end.

    Args:
        room: bytes that the "kernel" still takes; None: any number. Give more by `give_room`.
    """

    fd = -1
    heavy = False

    def __init__(self, room: int | None = None) -> None:
        self.id = next_id()
        self.room = room
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.full = False
        self.record: list[Any] = []
        self.begun: bytes | None = None
        self.rest: bytes | memoryview = b""
        self.stuffed = False
        self.sent = self.received = self.bytes_sent = self.bytes_received = self.missed = 0

        self.core: SocketCore | None = None
        self.turns: Turns | None = None
        self.stream = bytearray()
        """Every byte that was written."""
        self.pushes: list[int] = []
        """How many messages each `push` offered."""
        self.calls: list[str] = []
        """What was done to it besides reading and writing: cut, finish, release_in, release_out ..."""
        self.before_write: Callable[[], None] = _nothing
        """Called right before the buffer takes something: what else happens at that moment, or an error."""
        self.after_write: Callable[[], None] = _nothing
        """Called right after, before anybody has looked at what was taken."""
        self._whole: list[bytes] = []
        self._decoded = 0
        self._unread: deque[bytes] = deque()

    # --- what the test sees --------------------------------------------------------------------------------

    @property
    def written(self) -> list[bytes]:
        """The whole messages that the other end has."""
        self._decode()
        return list(self._whole)

    @property
    def torn(self) -> bytes:
        """The part of a frame behind them."""
        self._decode()
        return bytes(self.stream[self._decoded :])

    def _decode(self) -> None:
        stream = self.stream
        while len(stream) >= (start := self._decoded + HEADER):
            end = start + int.from_bytes(stream[self._decoded : start], "big")
            if len(stream) < end:
                return
            self._whole.append(bytes(stream[start:end]))
            self._decoded = end

    def die(self, reason: Reason = Reason.RESET) -> None:
        """Be lost, as a connection that breaks is."""
        assert self.core is not None, "marry the peer first"
        self.core.lose(self, reason, "it died")

    def give_room(self, room: int | None = None) -> None:
        """Have room for so many bytes (None: any number), and let the turns, or the bare core, hear of it."""
        self.room = room
        if self.turns is not None:
            self.turns.ready_out.append(self)
        elif self.core is not None:
            self.core.writable(self)

    def send(self, *bodies: bytes) -> None:
        """Have messages to be read."""
        self._unread.extend(bodies)
        self.stuffed = True
        if self.turns is not None:
            self.turns.ready_in.append(self)
            self.turns.into.announce()

    # --- what is asked of it -------------------------------------------------------------------------------

    def push(self, bodies: Sequence[bytes], size: int) -> None:
        """Take as many bytes as there is room for, once."""
        assert bodies, "there is nothing to push"
        assert size == sum(map(len, bodies)), "the size told is not the bodies' size"
        assert self.begun is None, "a frame is begun: another cannot go in between"
        self.pushes.append(len(bodies))
        self.record = []
        self.before_write()
        data = b"".join(map(frame, bodies))
        took = self._take(data)
        if took:
            self.record = [took]
        self.after_write()
        if took < len(data):
            self._wait_for_room()

    def taken(self, bodies: Sequence[bytes]) -> tuple[int, int]:
        """Read the record, as many times as one likes."""
        left = self.record[0] if self.record else 0
        for whole, body in enumerate(bodies):
            if left < HEADER + len(body):
                return whole, left
            left -= HEADER + len(body)
        assert not left, "more was taken than was offered"
        return len(bodies), 0

    def remainder(self, body: bytes, written: int) -> bytes:
        """Return the rest of a frame; the same again changes nothing."""
        whole = frame(body)
        assert 0 < written < len(whole)
        assert bytes(self.stream).endswith(whole[:written]), "this is not the frame that was begun"
        self._wait_for_room()
        return whole[written:]

    def push_rest(self) -> bool:
        """Go on with the begun frame; True also if it was through before and nobody booked that, or if there is none."""
        if not self.rest:
            return True
        self.before_write()
        self.rest = self.rest[self._take(self.rest) :]
        self.after_write()
        if self.rest:
            self._wait_for_room()
        return not self.rest

    def rest_went(self) -> bool:
        """Whether nothing of the begun frame is left."""
        return not self.rest

    def _wait_for_room(self) -> None:
        self.full = True
        if self.turns is not None:
            self.turns.blocked.add(self.id)

    def _take(self, data: bytes | memoryview) -> int:
        if self.gone:
            return 0
        assert "release_out" not in self.calls, "the out-turn has let go of it"
        part = data if self.room is None else data[: self.room]
        self.stream += part
        if self.room is not None:
            self.room -= len(part)
        return len(part)

    def read(self, limit: int) -> bool:
        """Deliver at most `limit` of the messages that were sent to us."""
        assert self.core is not None, "marry the peer first"
        bodies = [self._unread.popleft() for _ in range(min(limit, len(self._unread)))]
        self.stuffed = bool(self._unread)
        self.core.inbox.extend(self.core.deliver(self, bodies))
        return bool(bodies)

    def drop_stray(self) -> None:
        """Drop what was sent to us."""
        self.calls.append("drop_stray")
        self._unread.clear()

    def info(self) -> PeerInfo:
        """Describe it."""
        return PeerInfo(
            id=self.id,
            address="fake://",
            remote="",
            protocol="pull",
            direction="in",
            state="closed" if self.gone else "open",
            sent=self.sent,
            received=self.received,
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            backlog=int(self.begun is not None),
        )

    def cut(self) -> None:
        """Note that it was cut."""
        self.calls.append("cut")

    def finish(self) -> None:
        """Note that it was finished."""
        self.calls.append("finish")

    def release_in(self) -> None:
        """Note that the in-turn let go."""
        self.calls.append("release_in")

    def release_out(self) -> None:
        """Note that the out-turn let go."""
        self.calls.append("release_out")

    def forget(self) -> None:
        """Note that the child of a fork forgot it."""
        self.calls.append("forget")

    def __repr__(self) -> str:
        return f"<FakePeer {self.id} room={self.room} {'gone' if self.gone else 'full' if self.full else 'open'}>"


def marry(home: SocketCore | Turns, *peers: FakePeer) -> None:
    """Attach peers to a core, or by its turns, which must take them."""
    for peer in peers:
        if isinstance(home, SocketCore):
            peer.core = home
        else:
            peer.core, peer.turns = home.core, home
        refused = home.attach(peer)
        assert refused is None, f"{peer} was refused: {refused}"
