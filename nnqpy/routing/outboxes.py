"""Outboxes: a bounded queue per peer, where a message is for certain peers and not for whoever has room.

What `send` takes waits in the outbox as ever. A pump takes a batch of it and gives each peer what is its own: who keeps
up is written at once, and what a peer does not take waits in its box. A full box misses messages, by the socket's
policy, so a slow peer never slows another, unless the policy is to wait for it. All of this needs the out-turn.

Every peer's copy counts as a message. A box's queue is never changed but replaced, so that booking what a peer took or
missed is a store (see the law of ``core.py``).
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Final

from nnqpy.accel import move, total_size
from nnqpy.message import Batch
from nnqpy.routing.core import SocketCore
from nnqpy.routing.send_pump import BATCH_BYTES, BATCH_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnqpy.errors import Reason
    from nnqpy.options import OnFull, Options
    from nnqpy.routing.core import Peer

_NOTHING: Final[deque[bytes]] = deque(maxlen=0)


class Box:
    """What waits for one peer."""

    __slots__ = ("peer", "queue")

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.queue: deque[bytes] = _NOTHING


class Outboxes(SocketCore):
    """Sends by a queue per peer; a mixin says whose a message is."""

    sends = True
    on_full: OnFull = "drop_oldest"
    """What a peer with a full box misses; ``"block"``: nothing, it holds the sender up."""
    unclaimed: ClassVar[str] = "no_peer"
    """Why a message that is nobody's was dropped."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        if options.on_full is not None:
            self.on_full = options.on_full
        self.boxes: dict[int, Box] = {}
        self._behind: dict[int, Box] = {}
        """The boxes that are not empty."""
        self._batch = Batch()
        self._shares: list[tuple[Box, list[bytes]]] | None = None
        """Who gets what of the batch, from `_next` on; None: that is still to be found out."""
        self._next = 0
        self._handing = False
        self._mean = 1
        self._to: Peer | None = None
        self._fresh = False
        """What the peer was offered is of the batch, and not from its box."""
        self._size = 0

    def _attach(self, peer: Peer) -> Reason | None:
        refused = super()._attach(peer)
        if refused is None:
            self.boxes[peer.id] = Box(peer)
        return refused

    # --- pumping -------------------------------------------------------------------------------------------

    def _hand_on(self) -> None:
        """Give everybody what is theirs, as far as they take it; the rest is in their boxes."""
        for box in list(self._behind.values()):
            self._catch_up(box)
        while True:
            if self._handing:
                self._hand_out()
            elif self.outbox and self.dealing:
                self._take()
            else:
                break

    @property
    def dealing(self) -> bool:
        """Whether a pump would take something from the outbox now."""
        return True

    def _most(self) -> int:
        """Messages to take at a time."""
        return min(BATCH_MESSAGES, BATCH_BYTES // self._mean + 1)

    def _take(self) -> None:
        """Move a batch out of the outbox; from here on it is its addressees'."""
        outbox, batch, number = self.outbox, self._batch, self._most()
        with self.lock:
            # How far we are, before what it is: an empty batch is nothing to hand out.
            self._shares, self._next, self._handing = None, 0, True
            move(outbox, batch, number)
            if self.big:
                for size in filter(self.small.__lt__, map(len, batch)):
                    self.weigh(size, -1)

    def _shared(self, batch: Batch) -> tuple[list[tuple[Box, list[bytes]]], int]:
        """Mixin hook, lock held: who gets what of a batch, and how many messages of it nobody gets."""
        raise NotImplementedError

    def _hand_out(self) -> None:
        """Give the batch to all who have not had their share."""
        batch = self._batch
        with self.lock:
            shares = self._shares
            if shares is None:
                shares, nobodys = self._shared(batch)
                dropped = self.dropped[self.unclaimed] + nobodys
                # A commit: stores only, no call.
                if nobodys:
                    self.dropped[self.unclaimed] = dropped
                self._shares, self._next = shares, 0
        size = total_size(batch)
        self._mean = size // (len(batch) or 1) + 1
        while self._next < len(shares):
            box, bodies = shares[self._next]
            self._hand_to(box, bodies, size if bodies is batch else total_size(bodies))
        empty = Batch()
        # A commit: stores only, no call.
        self._batch, self._shares, self._handing = empty, None, False

    def _hand_to(self, box: Box, bodies: list[bytes], size: int) -> None:
        peer = box.peer
        if not (box.queue or peer.full or peer.gone):
            self._offer(peer, bodies, size, fresh=True)
            return
        with self.lock:
            if peer.gone:
                queue, missed, why = box.queue, len(bodies), "peer_gone"
            else:
                queue, missed = self._bounded(box.queue, bodies)
                why = "queue_full"
            missed_by, dropped = peer.missed + missed, self.dropped[why] + missed
            # A commit: stores only, no call.
            box.queue = queue
            if queue:
                self._behind[peer.id] = box
            if missed:
                peer.missed = missed_by
                self.dropped[why] = dropped
            self._next += 1

    def _catch_up(self, box: Box) -> None:
        """Write what a peer is behind with, as far as it takes it."""
        peer = box.peer
        while box.queue and not (peer.full or peer.gone):
            bodies = list(islice(box.queue, min(BATCH_MESSAGES, BATCH_BYTES // self._mean + 1)))
            self._offer(peer, bodies, total_size(bodies), fresh=False)
        with self.lock:
            if not box.queue and peer.id in self._behind:
                del self._behind[peer.id]

    def _offer(self, peer: Peer, bodies: list[bytes], size: int, *, fresh: bool) -> None:
        self.hand, self._to, self._size, self._fresh = bodies, peer, size, fresh
        peer.push(bodies, size)
        self.settle()

    def settle(self) -> None:
        """Book what the peer took of what it was offered; the rest is in its box."""
        with self.lock:
            hand, peer, fresh, size = self.hand, self._to, self._fresh, self._size
            if peer is None:
                return
            box = self.boxes[peer.id]
            whole, part = peer.taken(hand)
            begun, rest = peer.begun, peer.rest
            gone = whole
            if part:
                begun, gone = hand[whole], whole + 1
                rest = peer.remainder(begun, part)
            if whole < len(hand):
                size = total_size(hand[:whole])
            missed = 0
            if not fresh:
                queue = deque(islice(box.queue, gone, None))
            elif gone == len(hand):
                queue = box.queue
            else:
                queue, missed = self._bounded(box.queue, hand[gone:])
            sent, bytes_sent, missed_by = peer.sent + whole, peer.bytes_sent + size, peer.missed + missed
            delivered, bytes_delivered = self.delivered + whole, self.bytes_delivered + size
            dropped = self.dropped["queue_full"] + missed
            # A commit: stores only, no call.
            peer.record = []
            if part:
                peer.begun, peer.rest = begun, rest
                self.cut_frames[peer.id] = peer
            peer.sent, peer.bytes_sent = sent, bytes_sent
            self.delivered, self.bytes_delivered = delivered, bytes_delivered
            box.queue = queue
            if queue:
                self._behind[peer.id] = box
            if missed:
                peer.missed = missed_by
                self.dropped["queue_full"] = dropped
            if fresh:
                self._next += 1
            self.hand, self._to = [], None

    def _bounded(self, queue: deque[bytes], more: Sequence[bytes]) -> tuple[deque[bytes], int]:
        """Return a box's queue with more behind it, within the marks, and how many messages it misses for that."""
        joined = deque((*queue, *more))
        if self.on_full == "block":
            return joined, 0  # no more was taken than there is room for
        drop = joined.pop if self.on_full == "drop_newest" else joined.popleft
        size = sum(map(len, joined))
        hwm, limit = self.options.send_hwm, self.options.send_hwm_bytes
        while len(joined) > hwm or (limit is not None and size > limit and len(joined) > 1):
            size -= len(drop())
        return joined, len(queue) + len(more) - len(joined)

    def _spare(self, box: Box) -> int:
        """Messages that a box has room for within the marks."""
        limit = self.options.send_hwm_bytes
        if limit is not None and box.queue and sum(map(len, box.queue)) >= limit:
            return 0
        return self.options.send_hwm - len(box.queue)

    # --- parting -------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Give up what is in the boxes of the dead: it was theirs alone."""
        for peer in tuple(self.lost_out):
            self._drop_box(peer)
        super()._recover()

    def _drop_box(self, peer: Peer) -> None:
        why = "closed" if self.look < 0 else "peer_gone"
        with self.lock:
            box = self.boxes.get(peer.id)
            if box is None:
                return
            number = len(box.queue)
            missed, dropped = peer.missed + number, self.dropped[why] + number
            # A commit: stores only, no call.
            if number:
                peer.missed = missed
                self.dropped[why] = dropped
            box.queue = _NOTHING
            del self.boxes[peer.id]
            if peer.id in self._behind:
                del self._behind[peer.id]

    # --- snapshots -----------------------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """Copies that wait; a message in the outbox, whose peers are not known yet, is one. Lock held."""
        if self.over:
            return 0
        waiting = len(self.outbox) + len(self.cut_frames)
        for box in self.boxes.values():
            waiting += len(box.queue)
        if self._handing:
            if self._shares is None:
                waiting += len(self._batch)
            else:
                for _, bodies in self._shares[self._next :]:
                    waiting += len(bodies)
        return waiting
