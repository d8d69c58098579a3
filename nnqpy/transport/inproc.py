"""inproc: two sockets of this process, joined by a queue each way. Nothing is serialised, no descriptor is used.

Names are compared exactly. A connect before the bind waits for it. Nobody ever calls into the other socket with
a lock of their own held: messages are left in the other's pipe, and it is alerted if it waits.

What is in a pipe is counted, not locked: the sender's `sent` less the receiver's `received`. Each of the two has
one writer (the holder of that socket's turn), so each side sees at worst too few free places.
"""

from __future__ import annotations

from collections import deque
from itertools import starmap
from typing import TYPE_CHECKING, Any, Final, Literal

from nnqpy.errors import Reason
from nnqpy.events import PeerInfo
from nnqpy.proto import describe
from nnqpy.routing.core import next_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nnqpy.proto import Proto
    from nnqpy.turns import Turns

_ONE: Final = ((),)
PLENTY: Final = 4
"""A full pipe takes messages again when it is down to 1/PLENTY of its mark: a thread is not woken for crumbs."""


class InprocPeer:
    """Our half of one inproc connection."""

    __slots__ = (
        "_arrived",
        "_offered",
        "_place",
        "address",
        "begun",
        "bytes_received",
        "bytes_sent",
        "direction",
        "ended",
        "fd",
        "full",
        "gone",
        "id",
        "missed",
        "on_gone",
        "other",
        "pipe",
        "protocol",
        "received",
        "record",
        "rest",
        "sent",
        "stuffed",
        "turns",
    )

    other: InprocPeer
    heavy = False  # a queue within the process has nothing in pieces

    def __init__(self, turns: Turns, address: str, direction: Literal["in", "out"], protocol: Proto) -> None:
        self.id = next_id()
        self.fd = -1
        self.gone = False
        self.full = False
        self.stuffed = False
        self.record: list[Any] = []
        self.begun: bytes | None = None
        self.rest: bytes | memoryview = b""
        self.sent = self.received = self.bytes_sent = self.bytes_received = self.missed = 0
        self.on_gone: Callable[[], None] | None = None
        self.address = address
        self.direction: Literal["in", "out"] = direction
        self.protocol = protocol
        self.turns = turns
        self.pipe: deque[tuple[Sequence[bytes], int]] = deque()
        self._arrived: list[tuple[Sequence[bytes], int]] = []
        self._place = 0
        self._offered = 0
        self.ended = False

    # --- out-turn ------------------------------------------------------------------------------------------

    @property
    def _limit(self) -> int:
        return self.other.turns.core.options.recv_hwm

    def push(self, bodies: Sequence[bytes], size: int) -> None:
        """Leave as many messages in the other's pipe as it has room for."""
        record: list[None] = []
        self.record = record
        other = self.other
        room = self._limit - (self.sent - other.received)
        if other.gone:
            room = 0
        if room < len(bodies):
            bodies = bodies[: max(room, 0)]
            size = sum(map(len, bodies))
            self.full = True
            self.turns.blocked.add(self.id)
        self._offered = len(bodies)
        if bodies:
            # Two threads share the list from now on; neither changes it.
            record.extend(map(other.pipe.append, ((bodies, size),)))
            other.alert()
        if self.full and self.sent + len(bodies) - other.received <= self._limit // PLENTY:
            other.make_room()  # it was emptied in the meantime, and may not have seen us full

    def taken(self, bodies: Sequence[bytes]) -> tuple[int, int]:
        """Read the record: messages are taken whole or not at all."""
        return (self._offered, 0) if self.record else (0, 0)

    def remainder(self, body: bytes, written: int) -> bytes | memoryview:
        """Never asked for: nothing is taken in part."""
        raise AssertionError("an inproc peer takes messages whole")

    def push_rest(self) -> bool:
        """Nothing is ever begun here."""
        return True

    def rest_went(self) -> bool:
        """Nothing is ever begun here."""
        return True

    # --- in-turn -------------------------------------------------------------------------------------------

    def alert(self) -> None:
        """Messages, or the end, are in our pipe; called by the other side."""
        if not self.stuffed:
            self.stuffed = True
            self.turns.ready_in.append(self)
        self.turns.into.announce()

    def make_room(self) -> None:
        """Tell the other side, if it waits for room and there is plenty again."""
        other = self.other
        if other.full and other.sent - self.received <= self.turns.core.options.recv_hwm // PLENTY:
            other.turns.ready_out.append(other)
            if other.turns.out.parked or other.turns.out.watched:
                other.turns.out.alert()
            else:
                other.turns.attend()

    def read(self, limit: int) -> bool:
        """Move at most `limit` messages from the pipe to the inbox."""
        arrived = self._arrived
        if not arrived:
            try:
                arrived.extend(starmap(self.pipe.popleft, _ONE))
            except IndexError:
                self.stuffed = False
                if self.pipe:
                    self.stuffed = True
                elif self.ended:
                    self.turns.lose(self, Reason.EOF, "the peer closed the connection")
                return False
        batch, size = arrived[0]
        start = self._place
        most = self.turns.recv_max
        out = list(batch[start : start + limit])
        if len(out) < len(batch):
            size = sum(map(len, out))
        if 0 <= most < size:
            out = self._up_to(out, most)
            size = sum(map(len, out))
        core = self.turns.core
        place = start + len(out)
        rest: list[tuple[Sequence[bytes], int]] = [] if place >= len(batch) else arrived
        if not rest:
            place = 0
        bodies = iter(core.deliver(self, out))
        number = len(out)
        with core.lock:
            received, bytes_received = core.received + number, core.bytes_received + size
            mine, my_bytes = self.received + number, self.bytes_received + size
            # A commit: stores only, no call.
            core.staged = bodies
            core.received, core.bytes_received = received, bytes_received
            self.received, self.bytes_received = mine, my_bytes
            self._arrived, self._place = rest, place
            core.inbox.extend(core.staged)
        if not number:
            self._too_large(len(batch[start]), most)
            return True
        self.make_room()
        return True

    def _up_to(self, bodies: list[bytes], most: int) -> list[bytes]:
        for place, body in enumerate(bodies):
            if len(body) > most:
                return bodies[:place]
        return bodies

    def _too_large(self, size: int, most: int) -> None:
        self.turns.lose(self, Reason.TOO_LARGE, f"a message of {size} bytes; recv_max_size is {most} bytes")

    def drop_stray(self) -> None:
        """Notice the end; a pattern that must not send has no way to."""
        if self.ended:
            self.turns.lose(self, Reason.EOF, "the peer closed the connection")

    # --- any thread ----------------------------------------------------------------------------------------

    def info(self) -> PeerInfo:
        """Describe the peer as it is now."""
        return PeerInfo(
            id=self.id,
            address=self.address,
            remote="",
            protocol=self.protocol.label,
            direction=self.direction,
            state="closed" if self.gone else "open",
            sent=self.sent,
            received=self.received,
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            backlog=0,
            missed=self.missed,
        )

    def cut(self) -> None:
        """Nothing yet: the other side learns of the end when nothing more can be pushed, in `release_out`."""

    def finish(self) -> None:
        """Nothing yet, as `cut`."""

    def release_in(self) -> None:
        """No descriptor to let go of."""

    def release_out(self) -> None:
        """Tell the other side that this was all; it still reads what is in its pipe."""
        other = self.other
        if not other.ended:
            other.ended = True
            if other.turns.core.receives:
                other.alert()  # who waits there to receive has no descriptor that tells it
            other.turns.hang_up(other)

    def forget(self) -> None:
        """No descriptor to let go of."""


def join(
    listening: Turns, dialling: Turns, address: str, *, on_gone: Callable[[], None]
) -> tuple[Reason, str, str] | None:
    """Connect two sockets of this process; None if that worked, else the reason, and a text for each of the two.

    Args:
        listening: the socket that is bound.
        dialling: the socket that connects.
        address: the URL, for events.
        on_gone: called when the dialling side loses the peer, from any thread.
    """
    ours, theirs = dialling.core.proto, listening.core.proto
    if theirs is not ours.peer:
        to_dialler = f"the listener is {describe(theirs)}; we are {describe(ours)} and want {describe(ours.peer)}"
        to_listener = f"the dialler is {describe(ours)}; we are {describe(theirs)} and want {describe(theirs.peer)}"
        return Reason.PROTO_MISMATCH, to_dialler, to_listener
    inner = InprocPeer(listening, address, "in", ours)
    outer = InprocPeer(dialling, address, "out", theirs)
    inner.other, outer.other = outer, inner
    outer.on_gone = on_gone
    refused = listening.attach(inner)
    if refused is None:
        refused = dialling.attach(outer)
        if refused is None:
            return None
        outer.gone = True  # it never came: nobody is to look, again and again, whether it has by now
        listening.lose(inner, refused, "the dialling socket refused its own connection")
        return refused, "we take no further peer", "the dialling socket takes no further peer"
    return refused, "the listening socket takes no further peer", "we take no further peer"
