"""SendPump: one bounded outbox per socket, dealt evenly to the peers that have room.

A message is in the outbox until the kernel has taken it: what a peer's buffer refuses goes back to the head,
and only the one frame that was begun stays with its peer. So a slow peer holds nothing up, and a dead one
takes nothing along. All of this needs the out-turn.
"""

from __future__ import annotations

from collections import deque
from itertools import repeat, starmap
from typing import TYPE_CHECKING, Final

from nnqpy.routing.core import SocketCore

if TYPE_CHECKING:
    from nnqpy.errors import Reason
    from nnqpy.options import Options
    from nnqpy.routing.core import Peer

BATCH_MESSAGES: Final = 256
BATCH_BYTES: Final = 256 * 1024
LEAD: Final = 4
"""A peer is dealt at most its even share, or 1/LEAD of what each peer had in this burst: see `_share`."""


class SendPump(SocketCore):
    """Sends by one queue that all peers share (Push, Pair)."""

    sends = True

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._ready: deque[Peer] = deque()
        self._to: Peer | None = None
        self._mean = 1
        self._size = 0
        self._burst = 0

    def _attach(self, peer: Peer) -> Reason | None:
        refused = super()._attach(peer)
        if refused is None:
            self._ready.append(peer)
        return refused

    @property
    def dealing(self) -> bool:
        return bool(self._ready)

    @property
    def drained(self) -> bool:
        with self.lock:
            return not self.queued

    def new_burst(self) -> None:
        """The socket was quiet: what comes now is shared from scratch."""
        self._burst = 0

    def pump(self) -> None:
        self._settle()
        super().pump()
        outbox, ready = self.outbox, self._ready
        left = 0
        while outbox and ready:
            peer = ready[0]
            if peer.gone or peer.full:
                ready.popleft()
                continue
            # `left` peers of this round have not had their share yet.
            left = left - 1 if 1 < left <= len(ready) else len(ready)
            self._give(peer, self._share(len(outbox), left, len(ready)))
            if len(ready) > 1:
                ready.rotate(-1)
        if not outbox and self.big:
            with self.lock:
                if not outbox:
                    self.big = self.big_bytes = 0

    def writable(self, peer: Peer) -> None:
        if peer.gone:
            return
        body = peer.begun
        if body is not None:
            if not peer.push_rest():
                return
            size = len(body)
            with self.lock:
                sent, bytes_sent = peer.sent + 1, peer.bytes_sent + size
                delivered, bytes_delivered = self.delivered + 1, self.bytes_delivered + size
                # A commit: stores only.
                peer.begun = None
                peer.sent, peer.bytes_sent = sent, bytes_sent
                self.delivered, self.bytes_delivered = delivered, bytes_delivered
        if peer not in self._ready:
            self._ready.append(peer)

    def _share(self, waiting: int, left: int, ready: int) -> int:
        """Say how many messages the next peer is dealt, when `left` of the `ready` ones are still to be dealt to.

        An even share of what waits: forty jobs on four idle workers are ten each. In a long burst that would
        be a system call a message once there are many peers, so a peer may also be dealt a quarter of what every
        peer had in this burst so far: nobody is ever further ahead than that, and the cost stays flat.
        """
        if ready == 1:
            share = waiting
        else:
            share = max(-(-waiting // left), self._burst // (LEAD * ready))
        return min(share, waiting, BATCH_MESSAGES, BATCH_BYTES // self._mean + 1)

    def _give(self, peer: Peer, number: int) -> None:
        """Move `number` messages from the outbox to a peer, as far as it takes them."""
        hand, pop = self.hand, self.outbox.popleft
        with self.lock:
            self._to = peer
            hand.extend(starmap(pop, repeat((), number)))
            if self.big:
                for size in map(len, hand):
                    if size > self.small:
                        self.weigh(size, -1)
        size = sum(map(len, hand))
        self._mean = size // number + 1
        if size > BATCH_BYTES and number > 1:
            size = self._trim()
        self._size = size
        peer.push(self.hand, size)
        self._settle()

    def _trim(self) -> int:
        """Give back what exceeds the byte cap; the message that crosses it still goes. Return the bytes kept."""
        size, kept = 0, 0
        for body in self.hand:
            size, kept = size + len(body), kept + 1
            if size >= BATCH_BYTES:
                break
        with self.lock:
            keep, back = self.hand[:kept], self.hand[kept:]
            unsent = reversed(back)
            # A commit: stores only, no call.
            self.unsent = unsent
            self.hand = keep
            self._put_back(back)
        return size

    def _settle(self) -> None:
        """Book what the peer took of the hand and put the rest back; also what an interrupted turn left."""
        with self.lock:
            self.outbox.extendleft(self.unsent)
            hand, peer = self.hand, self._to
            if peer is None:
                return
            whole, part = peer.taken(hand)
            back: list[bytes] = []
            size = self._size
            if whole < len(hand):
                size = sum(map(len, hand[:whole]))
                back = hand[whole + 1 :] if part else hand[whole:]
                if part:
                    # Before the commit, and the same each time: an interrupt here changes nothing.
                    peer.begin(hand[whole], part)
            sent, bytes_sent = peer.sent + whole, peer.bytes_sent + size
            delivered, bytes_delivered = self.delivered + whole, self.bytes_delivered + size
            burst = self._burst + whole
            unsent = reversed(back)
            # A commit: stores only, no call.
            peer.record = []
            peer.sent, peer.bytes_sent = sent, bytes_sent
            self.delivered, self.bytes_delivered = delivered, bytes_delivered
            self._burst = burst
            self.unsent = unsent
            self.hand = []
            self._to = None
            if back:
                self._put_back(back)
