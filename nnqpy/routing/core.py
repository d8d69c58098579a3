"""SocketCore: what every socket is inside: its peers, its outbox, its inbox, its counters.

Appending to the outbox and popping from the inbox are single deque operations and need no lock.
Everything else belongs to the holder of a turn (``turns.py``): the out-turn moves messages out of the
outbox, the in-turn moves them into the inbox. Peers, and all counters, change under the short `lock`,
so that a snapshot is of one instant.

A signal handler may raise between any two calls in the main thread. So a message is always in exactly one
recorded place (`outbox`, `hand`, a peer's begun frame, `staged`, `inbox`), it moves between two by one C call,
and the stores that commit a move stand together with no call between them: CPython runs handlers only
at calls and backward jumps. The next holder of the turn goes on from the record.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import count
from operator import length_hint
from typing import TYPE_CHECKING, Any, Final, Protocol

from nnqpy.accel import Look
from nnqpy.errors import Reason
from nnqpy.events import PeerRemoved, Stats
from nnqpy.locks import Lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nnqpy.events import Event, PeerInfo
    from nnqpy.options import Options
    from nnqpy.proto import Proto

SMALL: Final = 4096
"""Bytes up to which a body is not counted on its own against `send_hwm_bytes` (see `SocketCore.small`)."""

NEVER: Final = float("inf")

_ids = count(1)


class Peer(Protocol):
    """One connection, as the socket's core and its turns see it (`Engine`, `InprocPeer`, and fakes in tests).

    What reads needs the in-turn, what writes needs the out-turn; the rest may be called from any thread.
    """

    id: int
    fd: int
    """The descriptor that tells when there is something to read or room to write; -1 for none."""
    gone: bool
    on_gone: Callable[[], None] | None
    """Told when the peer is lost, from any thread."""
    sent: int
    received: int
    bytes_sent: int
    bytes_received: int
    missed: int
    """Messages that it did not get, where each peer is to get all."""

    full: bool
    """The kernel takes no more for now."""
    record: list[Any]
    """What the last `push` got done: empty if nothing; only the peer reads it, in `taken`."""
    begun: bytes | None
    """The message of which some bytes were written and some not; at most one."""
    rest: bytes | memoryview
    """What is still to be written of its frame; with none begun, of what the connection says of its own (a pong)."""

    stuffed: bool
    """Something is here to be read that no descriptor tells of."""

    @property
    def heavy(self) -> bool:
        """Its messages are large: they arrive in pieces, and looking for them again and again only disturbs."""
        ...

    def push(self, bodies: Sequence[bytes], size: int) -> None:
        """Offer messages, `size` bytes of bodies in all; what was taken stands in `record`."""
        ...

    def taken(self, bodies: Sequence[bytes]) -> tuple[int, int]:
        """Read the record: how many of `bodies` went whole, and how many bytes of the next one."""
        ...

    def remainder(self, body: bytes, written: int) -> bytes | memoryview:
        """Return what is still to be written of a frame of which `written` bytes went.

        From then on the peer is full, and it will be told when it is not. The same again changes nothing.
        """
        ...

    def push_rest(self) -> bool:
        """Go on with `rest`; True when nothing of it is left."""
        ...

    def rest_went(self) -> bool:
        """Whether all of `rest` was written, also if an interrupt has kept that from being booked."""
        ...

    def read(self, limit: int) -> bool:
        """Read once and deliver at most `limit` messages; False when there was nothing."""
        ...

    def drop_stray(self) -> None:
        """Read and drop what should not have been sent."""
        ...

    def info(self) -> PeerInfo:
        """Describe the peer as it is now."""
        ...

    def cut(self) -> None:
        """End the conversation at once, without giving the descriptor back."""
        ...

    def finish(self) -> None:
        """Say that nothing more comes from us; what was written still arrives."""
        ...

    def release_in(self) -> None:
        """The in-turn will not touch the peer any more; after both turns the descriptor goes back."""
        ...

    def release_out(self) -> None:
        """The out-turn will not touch the peer any more; idempotent, as `release_in` is."""
        ...

    def forget(self) -> None:
        """In a forked child: let the descriptor go silently."""
        ...


class Waiter(Protocol):
    """Somebody who stands in line."""

    @property
    def woken(self) -> bool:
        """Whether somebody has told it to look again."""
        ...

    def wake(self) -> None:
        """Tell it to look again; from any thread, and a second time changes nothing."""


_Loss = tuple[Peer, Reason, str, bool]


def next_id() -> int:
    """Return a number for a peer, never used before in this process."""
    return next(_ids)


class SocketCore(Look):
    """The state of one socket and the hooks that a pattern fills in.

    A pattern is this class plus mixins: what it sends by (`SendPump`) and what it receives by (`FairQueue`).
    """

    proto: Proto
    stays_fresh = False
    """Whether somebody reads also when nobody asks: what comes takes the place of what is there."""
    sends = False
    """Whether the pattern has an outbox."""
    rescues = False
    """Whether a message that a dead peer cannot have received whole may go to another one."""
    gathers = False
    """Whether a large message may wait a moment for the next: for peers that all take of one queue it is no matter when."""
    marks_alike = True
    """Whether it is the same for every message whether it has room."""
    receives = False
    """Whether the pattern reads its peers; if not, what they send is dropped within a bound."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.lock = Lock()
        self.peers: dict[int, Peer] = {}
        self.lost_in: deque[Peer] = deque()
        self.lost_out: deque[Peer] = deque()
        self.replaceable = False
        """Whether another peer may still come: an endpoint is open."""

        self.outbox: deque[bytes] = deque()
        self.look = 0
        self.hand: list[bytes] = []
        self.small = SMALL
        if options.send_hwm_bytes is not None:
            self.small = min(SMALL, options.send_hwm_bytes // options.send_hwm)
        self.big = 0
        self.big_bytes = 0
        self.delivered = 0
        self.bytes_delivered = 0
        self.dropped: Counter[str] = Counter()
        self.unsent: Iterator[bytes] = iter(())
        self._steady = True
        """No pump was broken off."""
        self.cut_frames: dict[int, Peer] = {}
        """The peers that are in the middle of a frame, by id."""
        self.remains: list[bytes] = []
        """What was in the outbox when the socket was closed."""
        self.over = False
        """The socket is closed, and what was queued is counted as dropped."""

        self.inbox: deque[Any] = deque()
        """Bodies, or what `deliver` made of them."""
        self.headroom = options.recv_hwm
        """Messages that the inbox is filled up to."""
        self.discarded: Counter[str] = Counter()
        self.staged: Iterator[Any] = iter(())
        self.received = 0
        self.bytes_received = 0

        self.emit: Callable[[Event], None] = ignore
        self.on_lost: Callable[[Peer], None] = ignore
        """Told of each lost peer, once it is out of the table."""
        self.timer = NEVER
        """When somebody comes to call `on_time` (`monotonic` seconds); changed with the lock held."""
        self._unfinished: _Loss | None = None

    # --- peers ---------------------------------------------------------------------------------------------

    def refusal(self) -> Reason | None:
        """Pattern hook: why no further peer would be taken now; None: one would."""
        return None

    def attach(self, peer: Peer) -> Reason | None:
        """Take a peer that has greeted, or say why not."""
        with self.lock:
            refused = self._attach(peer)
            if refused is None:
                self.peers[peer.id] = peer
        return refused

    def lose(self, peer: Peer, reason: Reason, detail: str, *, gently: bool = False) -> bool:
        """Give a peer up, from any thread; False if it was lost before. `gently`: what was written still arrives."""
        self.resume()
        loss = (peer, reason, detail, gently)
        mine = False
        try:
            with self.lock:
                if peer.gone or peer.id not in self.peers:
                    return False
                mine = True
                peer.gone = True
            self._part(loss)
        except BaseException:
            if mine:
                self._unfinished = loss  # the next who takes a turn goes on with it
            raise
        return True

    def resume(self) -> None:
        """Finish what an interrupt broke off in `lose`."""
        loss = self._unfinished
        if loss is not None:
            self._part(loss)
            self._unfinished = None

    def _part(self, loss: _Loss) -> None:
        """Take a lost peer out of the table and say so; each step may be done again."""
        peer, reason, detail, gently = loss
        # First: once the turns know of it, they let go of the descriptor, and the last words would go nowhere.
        if gently:
            peer.finish()
        else:
            peer.cut()
        with self.lock:
            if peer not in self.lost_in:
                self.lost_in.append(peer)
            if peer not in self.lost_out:
                self.lost_out.append(peer)
            if peer.id in self.peers:
                self._detach(peer)
                del self.peers[peer.id]
        self.emit(PeerRemoved(peer.info(), reason, detail))
        self.on_lost(peer)

    def _attach(self, peer: Peer) -> Reason | None:
        """Pattern hook, lock held: refuse with a reason, or take the peer."""
        return self.refusal()

    def _detach(self, peer: Peer) -> None:
        """Pattern hook, lock held: the peer is gone."""

    def on_time(self, now: float) -> float:
        """Pattern hook: do what is due at `now`; return when it is to be called next."""
        return NEVER

    # --- sending -------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Out-turn held: hand the outbox to the peers until it is empty or none has room."""
        steady, self._steady = self._steady, False
        if not steady:
            self.settle()
        self.resume()
        if self.lost_out:
            self._recover()
        if not steady:
            self._weigh_all()
        if not self.over:  # what came after that is its sender's to take back
            self._hand_on()
        if not self.outbox and self.big:
            self._weigh_all()
        self._steady = True

    def _hand_on(self) -> None:
        """Mixin hook, out-turn held: give the peers what they take."""

    def _recover(self) -> None:
        """Let go of dead peers, and take back what they were in the middle of: none can have received it whole."""
        while self.lost_out:
            peer = self.lost_out[0]
            with self.lock:
                body = peer.begun
                if body is None:
                    pass
                elif peer.rest_went():
                    self._book_begun(peer, body)
                elif self.rescues and (self.peers or self.replaceable):
                    back = [body]
                    unsent = reversed(back)
                    # A commit: stores only, no call.
                    self.unsent = unsent
                    peer.begun = None
                    del self.cut_frames[peer.id]
                    self._put_back(back)
                else:
                    dropped = self.dropped["peer_lost_mid_frame"] + 1
                    # A commit: stores only, no call.
                    self.dropped["peer_lost_mid_frame"] = dropped
                    peer.begun = None
                    del self.cut_frames[peer.id]
            peer.release_out()
            self.lost_out.popleft()

    def _book_begun(self, peer: Peer, body: bytes) -> None:
        """Count the frame that a peer was in the middle of as delivered; lock held."""
        self._went(peer, [body], 1)
        size = len(body)
        sent, bytes_sent = peer.sent + 1, peer.bytes_sent + size
        delivered, bytes_delivered = self.delivered + 1, self.bytes_delivered + size
        # A commit: stores only, no call.
        peer.begun = None
        del self.cut_frames[peer.id]
        peer.sent, peer.bytes_sent = sent, bytes_sent
        self.delivered, self.bytes_delivered = delivered, bytes_delivered

    def _went(self, peer: Peer, bodies: Sequence[bytes], whole: int) -> None:
        """Pattern hook, out-turn and lock held: a peer has the first `whole` of these. It may be told twice."""

    def _put_back(self, back: list[bytes]) -> None:
        """Return messages that did not go to the head of the outbox, in their order; lock held."""
        self.outbox.extendleft(self.unsent)
        for size in map(len, back):
            if size > self.small:
                self.weigh(size)

    def abandon(self) -> int:
        """Out-turn held, no peers left: give up what is queued, and return how many messages that is."""
        self.pump()
        with self.lock:
            number = self.queued
            if number:
                dropped = self.dropped["closed"] + number
                # A commit: stores only, no call.
                self.dropped["closed"] = dropped
                self.over = True
            self.over = True
            self.remains = list(self.outbox)
            self.outbox.clear()
            self.unsent = iter(())
            self.hand = []
        return number

    def writable(self, peer: Peer) -> bool:
        """Out-turn held: a peer has room again; what of it is half written comes first, until that went it is full.

        False if that took all of the room.
        """
        if peer.gone:
            return True
        body = peer.begun
        if not peer.push_rest():
            return False
        if body is not None:
            with self.lock:
                self._book_begun(peer, body)
        peer.full = False
        return True

    def _weigh_all(self) -> None:
        """Count the big bodies afresh: an interrupt broke a pump off between a move and its weighing."""
        with self.lock:
            sizes = list(filter(self.small.__lt__, map(len, list(self.outbox))))
            self.big, self.big_bytes = len(sizes), sum(sizes)

    def settle(self) -> None:
        """Out-turn held: book what an interrupted turn left."""

    def new_burst(self) -> None:
        """The socket was quiet: what comes now is shared from scratch."""

    @property
    def dealing(self) -> bool:
        """Somebody would take messages now."""
        return False

    @property
    def drained(self) -> bool:
        """Nothing waits, and no frame is begun."""
        with self.lock:
            return not self.queued

    def has_room(self, body: bytes) -> bool:
        """Whether one more message may be queued (lock held, or a guess)."""
        waiting = len(self.outbox)
        if waiting >= self.options.send_hwm:
            return False
        limit = self.options.send_hwm_bytes
        if limit is None or not waiting:
            return True
        return self.big_bytes + (waiting - self.big) * self.small + len(body) <= limit

    def full_text(self) -> str:
        """Mixin hook: say why a message has no room although there is a peer."""
        return f"the send queue is full ({len(self.outbox)} messages) and no peer takes more now"

    def crowded(self, body: bytes) -> bool:
        """Mixin hook: whether a message must wait although the outbox has room: its peer has too much of its own."""
        return False

    def fits(self) -> bool:
        """Whether the outbox, with all that is in it, is within its marks (lock held, or a guess)."""
        waiting = len(self.outbox)
        if waiting > self.options.send_hwm:
            return False
        limit = self.options.send_hwm_bytes
        return limit is None or waiting <= 1 or self.big_bytes + (waiting - self.big) * self.small <= limit

    def insert(self, payload: bytes) -> None:
        """Append a message whatever the marks say; lock held."""
        if len(payload) > self.small:
            self.weigh(len(payload))
        self.outbox.append(payload)

    def withdraw(self, body: bytes) -> bool:
        """Take a message that was just appended back out, unless it is under way already; lock held."""
        outbox = self.outbox
        for place in range(len(outbox) - 1, -1, -1):
            if outbox[place] is body:
                del outbox[place]
                return True
        return False

    def in_hand(self, body: bytes) -> bool:
        """Whether a peer was just offered a message, and it is not known yet whether it took it; lock held."""
        return any(one is body for one in self.hand)

    def reclaim(self, body: bytes) -> bool:
        """Take back a message that came after the drain of a close and was given up with the rest; lock held."""
        for place, one in enumerate(self.remains):
            if one is body:
                del self.remains[place]
                self.dropped["closed"] -= 1
                return True
        return False

    def weigh(self, size: int, sign: int = 1) -> None:
        """Count a big body that joins (or, with -1, leaves) the outbox; lock held."""
        self.big += sign
        self.big_bytes += sign * size

    # --- receiving -----------------------------------------------------------------------------------------

    def deliver(self, peer: Peer, bodies: list[bytes]) -> Iterable[Any]:
        """Pattern hook, in-turn held: which of a peer's messages go to the inbox, and in what form."""
        return bodies

    def sort(self) -> None:
        """Pattern hook, in-turn held: pass on what is in the inbox, where each message is for somebody."""

    def clear(self) -> None:
        """Give up what was received and not taken: the socket is closed."""
        self.inbox.clear()

    def discard(self, why: str, number: int) -> None:
        """Count received messages that nobody gets; in-turn held."""
        if number:
            self.discarded[why] += number

    # --- snapshots -----------------------------------------------------------------------------------------

    @property
    def readable(self) -> bool:
        """Whether there is something to take."""
        return bool(self.inbox)

    @property
    def unread(self) -> int:
        """Messages received that nobody has asked for yet; lock held, or a guess."""
        return len(self.inbox) + length_hint(self.staged)

    @property
    def queued(self) -> int:
        """Messages accepted and neither delivered nor dropped; lock held."""
        if self.over:
            return 0
        return len(self.outbox) + len(self.hand) + length_hint(self.unsent) + len(self.cut_frames)

    def stats(self) -> Stats:
        """Return the counters, all of one instant."""
        with self.lock:
            queued = self.queued
            return Stats(
                accepted=self.delivered + queued + sum(self.dropped.values()),
                delivered=self.delivered,
                queued=queued,
                dropped=dict(self.dropped),
                received=self.received,
                inbox=self.unread,
                peers=len(self.peers),
                bytes_delivered=self.bytes_delivered,
                bytes_received=self.bytes_received,
                discarded=dict(self.discarded),
            )


def ignore(_: object) -> None:
    """Do nothing: nobody listens."""
