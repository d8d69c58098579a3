"""SendPump: one bounded outbox per socket, dealt evenly to the peers that have room.

A message is in the outbox until the kernel has taken it: what a peer's buffer refuses goes back to the head,
and only the one frame that was begun stays with its peer. So a slow peer holds nothing up, and a dead one
takes nothing along. All of this needs the out-turn.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from nnqpy.accel import move, total_size
from nnqpy.routing.core import SocketCore

if TYPE_CHECKING:
    from nnqpy.errors import Reason
    from nnqpy.options import Options
    from nnqpy.routing.core import Peer

BATCH_MESSAGES: Final = 512
BATCH_BYTES: Final = 1024 * 1024
LEAD: Final = 1
"""In a long burst nobody is further ahead than 1/LEAD of what each peer had: see `SendPump._deal`.

Measured at 1,000 peers in full flow, against the cost at one: 1.3 x with 1, 1.7 x with 2, 2.2 x with 4.
"""


class SendPump(SocketCore):
    """Sends by one queue that all peers share (Push, Pair)."""

    sends = True
    gathers = True
    rescues = True

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._ready: deque[Peer] = deque()
        self._to: Peer | None = None
        self._mean = 1
        self._size = 0
        self._burst = 0
        self._round = 0
        self._length = 0
        self._credit = 0

    def _attach(self, peer: Peer) -> Reason | None:
        refused = super()._attach(peer)
        if refused is None:
            self._ready.append(peer)
        return refused

    @property
    def dealing(self) -> bool:
        """Some peer has room."""
        return bool(self._ready)

    def new_burst(self) -> None:
        """The socket was quiet: what comes now is shared from scratch."""
        self._burst = self._round = self._length = self._credit = 0

    def _hand_on(self) -> None:
        """Deal the outbox out until it is empty or no peer has room."""
        outbox, ready = self.outbox, self._ready
        left = 0
        extra = len(outbox) % len(ready) if ready else 0
        while outbox and ready:
            peer = ready[0]
            if peer.gone or peer.full:
                ready.popleft()
                self._credit = 0
                continue
            # `left` peers of this pump's round have not had their share yet.
            left = left - 1 if 1 < left <= len(ready) else len(ready)
            self._deal(peer, left)
        if extra and left == 1 and not self._credit:
            ready.rotate(-extra)  # who had one more this time is not the first the next time

    def writable(self, peer: Peer) -> bool:
        """Out-turn held: a peer has room again."""
        if not super().writable(peer):
            return False
        if not peer.gone and peer not in self._ready:
            self._ready.append(peer)
        return True

    def _deal(self, peer: Peer, left: int) -> None:
        """Give the first ready peer its share, when `left` of the ready ones are still to be dealt to in this pump.

        An even share of what waits: forty jobs on four idle workers are ten each. In a long burst that would
        be a system call a message once there are many peers, so a peer's turn grows to as much as every peer had
        in this burst so far: nobody is ever further ahead than that, and the cost stays flat. A turn that ends
        because nothing waits any more goes on the next time.
        """
        ready = self._ready
        waiting, number = len(self.outbox), len(ready)
        if number == 1:
            self._give(peer, min(waiting, BATCH_MESSAGES, BATCH_BYTES // self._mean + 1))
            return
        turn = self._credit
        if not turn:
            self._round -= 1
            if self._round <= 0:
                self._round = number
                self._length = min(self._burst // (LEAD * number), BATCH_MESSAGES)
            turn = self._length
        most = max(-(-waiting // left), turn)
        share = min(most, waiting, BATCH_MESSAGES, BATCH_BYTES // self._mean + 1)
        self._give(peer, share)
        if share < turn and not self.outbox:
            self._credit = turn - share
        else:
            self._credit = 0
            ready.rotate(-1)

    def _give(self, peer: Peer, number: int) -> None:
        """Move `number` messages from the outbox to a peer, as far as it takes them."""
        hand = self.hand
        with self.lock:
            self._to = peer
            # At most what is still there: a sender may have taken its message back in the meantime.
            move(self.outbox, hand, number)
            if self.big:
                for size in filter(self.small.__lt__, map(len, hand)):
                    self.weigh(size, -1)
        size = total_size(hand)
        self._mean = size // (number or 1) + 1
        if size > BATCH_BYTES and len(hand) > 1:
            size = self._trim()
        self._size = size
        if self.hand:
            peer.push(self.hand, size)
        self.settle()

    def _trim(self) -> int:
        """Give back what exceeds the byte cap; the message that crosses it still goes. Return the bytes kept."""
        size, kept = 0, 0
        while size < BATCH_BYTES:
            size += len(self.hand[kept])
            kept += 1
        with self.lock:
            keep, back = self.hand[:kept], self.hand[kept:]
            unsent = reversed(back)
            # A commit: stores only, no call.
            self.unsent = unsent
            self.hand = keep
            self._put_back(back)
        return size

    def settle(self) -> None:
        """Book what the peer took of the hand and put the rest back; also what an interrupted turn left."""
        with self.lock:
            self.outbox.extendleft(self.unsent)
            hand, peer = self.hand, self._to
            if peer is None:
                return
            whole, part = peer.taken(hand)
            back: list[bytes] = []
            size = self._size
            self._went(peer, hand, whole)
            begun, rest = peer.begun, peer.rest
            if not whole or whole < len(hand):
                size = total_size(hand[:whole])
                back = hand[whole + 1 :] if part else hand[whole:]
                if part:
                    begun = hand[whole]
                    rest = peer.remainder(begun, part)
            sent, bytes_sent = peer.sent + whole, peer.bytes_sent + size
            delivered, bytes_delivered = self.delivered + whole, self.bytes_delivered + size
            burst = self._burst + whole
            unsent = reversed(back)
            # A commit: stores only, no call.
            peer.record = []
            if part:
                peer.begun, peer.rest = begun, rest
                self.cut_frames[peer.id] = peer
            peer.sent, peer.bytes_sent = sent, bytes_sent
            self.delivered, self.bytes_delivered = delivered, bytes_delivered
            self._burst = burst
            self.unsent = unsent
            self.hand = []
            self._to = None
            if back:
                self._put_back(back)
