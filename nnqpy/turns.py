"""Turns: who does a socket's I/O now.

The holder of the out-turn empties the outbox into the peers, the holder of the in-turn reads the peers into
the inbox. A turn is held for a bounded, non-blocking piece of work, or by a blocked caller across its own wait
for readiness; it is only ever *tried*. Lock order: a turn, then the core's short lock.

A message in the outbox is being written, or is *promised* (a tick of the janitor comes), or waits for a peer
to have room. Never none of the three. Two rules keep that true:

* ``core.look > 0`` only while `promised`; both change together under the short lock. A sender appends first
  and reads `look` after; who ends a promise sets `look` to 0 first and reads the outbox after. So one of the
  two sees the other, and at `look` 0 every sender sees to its message itself.
* Who leaves the out-turn with messages in the outbox makes or keeps a promise.

A loop within a `try` is a ``while True`` with a `break`, and ends in a plain line: a signal handler that raises at the
backward jump of a condition would pass the `finally` by (``tests/test_loops.py``).
"""

from __future__ import annotations

import threading
from collections import deque
from enum import Enum, auto
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from nnqpy import accel
from nnqpy.errors import Closed, ForkedError, NnqError, Reason
from nnqpy.events import PeerAdded
from nnqpy.locks import Lock, take
from nnqpy.poller import MOST, READABLE, WRITABLE_ONCE, Bell, Poller
from nnqpy.routing.core import NEVER, ignore
from nnqpy.routing.send_pump import BATCH_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnqpy.routing.core import Peer, SocketCore, Waiter

QUIET: Final = 10e-6
"""Seconds since the last write after which a lone message is written at once."""
GATHER: Final = 100e-6
"""Seconds that a burst may gather messages before the next sender who looks writes them."""
FIRST_LOOK: Final = 7
BATCH: Final = 512
"""Messages that are worth a write."""
SHARE: Final = 256
"""Messages that a reader takes from one ready peer before it looks at the next, if the inbox has room for them."""
PAUSE: Final = 1e-3
"""Seconds without a write after which a burst is over: the next messages are shared out from scratch."""
PUMP: Final = 1e-3
"""Seconds after which another thread's pump, which never waits, should be over."""
PUMPS: Final = 100
"""How often it may be a longer one: beyond that the thread is ours, and a signal handler has come in between."""
SOON: Final = 0.1
"""Seconds within which whoever holds a turn leaves it, once he is woken."""
FEW: Final = 4
"""Peers up to which a reader spins on all of them."""


exiting: Final = threading.Event()
"""Set when the interpreter goes down."""


def wake(line: deque[Waiter], number: int) -> None:
    """Wake the first `number` in a line.

    Woken first, out of the line after: whoever is broken off by a signal in between leaves nobody asleep whom no
    line knows of.
    """
    while number > 0:
        try:
            waiter = line[0]
        except IndexError:
            return
        waiter.wake()
        try:
            line.remove(waiter)
        except ValueError:
            continue  # it left, or another thread has woken it at the same time: ours is the next
        number -= 1


def taken_out(line: deque[Waiter], waiter: Waiter) -> bool:
    """Take a waiter out of its line; True if somebody has done so before."""
    try:
        line.remove(waiter)
    except ValueError:
        return True
    return False


def leave(line: deque[Waiter], waiter: Waiter) -> bool:
    """Take a waiter out of its line; True if it was woken."""
    return taken_out(line, waiter) or waiter.woken


class State(Enum):
    """A socket's life; it only moves down this list."""

    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()
    FORKED = auto()


class Verdict(Enum):
    """What the janitor is to do with a socket it has tended."""

    BUSY = auto()
    """Come again at the next tick."""
    CLEAN = auto()
    """Nothing is left to do."""
    BLOCKED = auto()
    """Peers are full: come when the out-poller is readable."""
    WAITING = auto()
    """Messages wait for a first peer, whose attaching makes a new promise."""


class Turn:
    """The right to do one direction's I/O, and the line of those who wait for its fruit."""

    __slots__ = ("bell", "exported", "line", "lock", "parked", "poller", "watched")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.poller = Poller()
        self.bell = Bell()
        self.poller.add(self.bell.fileno(), READABLE)
        self.line: deque[Waiter] = deque()
        self.parked = False
        """The holder waits in the poller."""
        self.watched = 0
        """Event loops that watch the poller."""
        self.exported = False
        """The user has the poller's descriptor."""

    def take(self) -> bool:
        """Take the turn if it is free.

        The caller gives it back as a lock that was taken by `take`, then wakes the next in line; if it is interrupted
        before that, the janitor does (`Turns.tend`).
        """
        return take(self.lock)

    def wake(self, number: int = 1) -> None:
        """Wake the first `number` in line."""
        if self.line:
            wake(self.line, number)

    def alert(self) -> None:
        """Make whoever waits in the poller look again."""
        if self.parked or self.watched:
            self.bell.ring()

    def announce(self) -> None:
        """Tell whoever waits that there is something to take: also a selector of the user's."""
        if self.parked or self.watched or self.exported:
            self.bell.ring()


class Turns:
    """The two turns of one socket, around its core."""

    def __init__(
        self, core: SocketCore, janitor: Callable[[Turns], None], watcher: Callable[[Turns], None] | None = None
    ) -> None:
        """Make the turns of `core`.

        Args:
            core: whose they are.
            janitor: is told when there is something to look after at the next tick.
            watcher: is told when messages wait for more of them: to look after these once nobody has written for a while;
                None: the janitor.
        """
        self.core = core
        self.pulse = accel.Pulse(monotonic)
        """Tells the time at a write, and so whoever watches that there was one."""
        self.into = Turn()
        self.out = Turn()
        self.state = State.OPEN
        self.recv_max = -1 if core.options.recv_max_size is None else core.options.recv_max_size
        self.promised = False
        self.asleep = False
        """The janitor keeps the promise by waiting for the out-poller (or for a peer), not by ticks."""
        self.blocked: set[int] = set()
        """Ids of the peers whose kernel buffer is full."""
        self.ready_in: deque[Peer] = deque()
        """Peers with something to read that no descriptor tells of."""
        self.ready_out: deque[Peer] = deque()
        """Peers with room again that no descriptor tells of."""
        self.hung: deque[Peer] = deque()
        """Peers whose other end is gone, of which no descriptor tells."""
        self.watchers: deque[Waiter] = deque()
        """Those who wait for peers to come or go."""
        self.followers: list[Callable[[], None]] = []
        """What is called when the socket begins to close: others that are of no use without it."""
        self._breadth = 4 * FEW
        """Ready descriptors that one look asks for."""
        self._missed = False
        """An edge may have been seen and not been used."""
        self.reentrant = True
        """All that a write locks is the core's short lock: no connection has another."""
        self._amid = 0
        """The thread that is in `tend_amid`, where peers that fail are put aside; 0: none."""
        self._failed: deque[tuple[Peer, Reason, str]] = deque()
        self._janitor = janitor
        self._watcher = watcher or janitor
        core.on_lost = self._lost
        self._by_fd: dict[int, Peer] = {}
        self._only: Peer | None = None
        """The one peer with a descriptor, while there is just one: it is read without asking the poller."""
        self._wrote = 0.0

    # --- peers ---------------------------------------------------------------------------------------------

    def attach(self, peer: Peer) -> Reason | None:
        """Take a peer that has greeted, or say why not; from any thread."""
        core = self.core
        if self.state is not State.OPEN and not (self.state is State.CLOSING and core.sends):
            return Reason.CLOSED_BY_US
        # In the poller before in the table: once it is there, another thread may lose it, and its descriptor goes.
        if core.receives and peer.fd >= 0:
            self.into.poller.add(peer.fd, READABLE)
        refused = core.attach(peer)
        if refused is not None:
            if peer.fd >= 0:
                self.into.poller.discard(peer.fd)
            return refused
        if peer.fd >= 0:
            self._know(peer.fd, peer)
        core.emit(PeerAdded(peer.info()))
        if peer.stuffed:
            self.ready_in.append(peer)
            self.into.announce()
        self.attend()
        self.notify()
        if self._is_closed():  # meanwhile, and `shut` has not seen the peer: nobody looks after it but us
            self.lose(peer, Reason.CLOSED_BY_US, "the socket was closed", gently=True)
            self.attend()
        return None

    def _is_closed(self) -> bool:
        return self.state is State.CLOSED

    def _know(self, fd: int, peer: Peer | None) -> None:
        """Note whose a descriptor is; None: nobody's any more."""
        with self.core.lock:
            by_fd = self._by_fd
            if peer is None:
                by_fd.pop(fd, None)
            elif not peer.gone:
                by_fd[fd] = peer
            self._only = next(iter(by_fd.values())) if len(by_fd) == 1 else None

    def lose(self, peer: Peer, reason: Reason, detail: str, *, gently: bool = False) -> None:
        """Give a peer up; from any thread."""
        if self._amid and self._amid == threading.get_ident():
            self._failed.append((peer, reason, detail))
            self._janitor(self)
        else:
            self.core.lose(peer, reason, detail, gently=gently)

    def _lost(self, peer: Peer) -> None:
        if peer.on_gone is not None:
            peer.on_gone()
        self.attend()
        self.notify()

    def notify(self) -> None:
        """Let those who wait for peers count again."""
        wake(self.watchers, len(self.watchers))

    def attend(self) -> None:
        """Have both directions looked at soon: by those who wait in them, or by the janitor."""
        self.into.alert()
        self.out.alert()
        self._janitor(self)

    def broken_off(self, error: BaseException) -> None:
        """A call ended with an error: unless it is one of ours, a signal handler's, which may have come at any moment."""
        if not isinstance(error, NnqError):
            self.attend()

    def check_open(self) -> None:
        """Raise `Closed` (or `ForkedError`) unless the socket is open."""
        if self.state is State.FORKED:
            raise ForkedError("this socket was made before fork and belongs to the parent process; make a new one here")
        if self.state is not State.OPEN:
            if exiting.is_set() and threading.current_thread().daemon:
                # The interpreter is going down and will never run this thread again. An error would only be printed.
                threading.Event().wait()
            raise Closed("the socket is closed")

    # --- out -----------------------------------------------------------------------------------------------

    def press(self, body: bytes) -> bool:
        """See to a message that was just appended, now that the outbox is longer than `look`.

        Returns:
            True if the message is accepted. False if it is over the marks: it was taken out again.

        Raises:
            Closed: the socket is closed; the message was taken out again.
        """
        core = self.core
        if core.look < 0:
            if self._taken_back(body):
                self.check_open()
            return True  # the drain of a `close` has taken it along
        now = monotonic()
        since = now - self._wrote
        waiting = len(core.outbox)
        if core.look == 0:
            if since > QUIET:
                if since > PAUSE:
                    core.new_burst()
                self.write()
            else:
                self._promise(FIRST_LOOK)
        elif waiting >= BATCH or since > GATHER:
            self.write()
        else:
            self._promise(min(4 * waiting, BATCH - 1))
        if len(core.outbox) <= core.options.send_hwm:
            return True
        with core.lock:
            return core.fits() or not core.withdraw(body)

    def _taken_back(self, body: bytes) -> bool:
        """Take a message back that was appended while the socket closes; False if it has gone with the last ones."""
        core = self.core
        for _ in range(PUMPS):
            with core.lock:
                if core.withdraw(body) or core.reclaim(body):
                    return True
                if not core.in_hand(body):
                    return False
            # Somebody is writing it, perhaps to a peer that was just shut down: then it comes back.
            sleep(PUMP)
        return False

    def place(self, body: bytes, *, gather: bool = False) -> bool:
        """Append a message of any size if it is within the marks; it is written or promised before this returns.

        Args:
            body: the message.
            gather: more may follow soon, to go with it.
        """
        try:
            return self._place(body, gather=gather)
        except BaseException as error:
            self.broken_off(error)
            raise

    def _place(self, body: bytes, *, gather: bool) -> bool:
        core = self.core
        with core.lock:
            if self.state is not State.OPEN or not core.has_room(body):
                placed = False
            else:
                placed = True
                core.insert(body)
        if not placed:
            self.check_open()
        elif gather and core.gathers:
            self._gather()
        else:
            self.write()
        return placed

    def _gather(self) -> None:
        """See to a large message: after a pause it is written at once, within a burst with the batch that it fills."""
        core = self.core
        since = monotonic() - self._wrote
        filled = core.big_bytes >= BATCH_BYTES and core.dealing
        if filled or since > (GATHER if self.promised else QUIET):
            self.write()
        elif not self.promised or self.asleep:
            self._promise(FIRST_LOOK)

    def insert(self, payload: bytes, see_to_it: Callable[[], object]) -> None:
        """Append a message whatever the marks say, for its sender is not one to wait, and see to it.

        Raises:
            Closed: the socket is closed.
        """
        try:
            with self.core.lock:
                inserted = self.state is State.OPEN
                if inserted:
                    self.core.insert(payload)
            if not inserted:
                self.check_open()
            see_to_it()
        except BaseException as error:
            self.broken_off(error)
            raise

    def place_many(self, bodies: list[bytes]) -> int:
        """Append as many of the messages as the marks allow, and see to them; return how many."""
        try:
            return self._place_many(bodies)
        except BaseException as error:
            self.broken_off(error)
            raise

    def _place_many(self, bodies: list[bytes]) -> int:
        core = self.core
        placed = 0
        with core.lock:
            if self.state is State.OPEN:
                if core.marks_alike and max(map(len, bodies)) <= core.small:
                    room = core.options.send_hwm - len(core.outbox)
                    limit = core.options.send_hwm_bytes
                    if limit is not None and room > 0:
                        spare = limit - core.big_bytes - (len(core.outbox) - core.big) * core.small
                        room = min(room, max(spare // (core.small or 1), not core.outbox))
                    placed = max(0, min(room, len(bodies)))
                    core.outbox.extend(bodies if placed == len(bodies) else bodies[:placed])
                else:
                    for body in bodies:
                        if not core.has_room(body):
                            break
                        core.insert(body)
                        placed += 1
        if placed:
            self.write()
        else:
            self.check_open()
        return placed

    def write(self) -> None:
        """Write what waits, now, if nobody else is at it."""
        out = self.out
        if not out.take():
            # Another thread writes, and takes along what is appended meanwhile: look again after a batch more.
            self._promise(max(self.core.look, 0) + BATCH)
            self._rouse()
            return
        try:
            self.pump()
        finally:
            out.lock.release()
            out.wake()

    def _rouse(self) -> None:
        """Have the writer look who waits for one peer's room, if there is something for another that has some."""
        core, out = self.core, self.out
        if out.parked and core.outbox and core.dealing:
            out.alert()

    def pump(self) -> None:
        """Out-turn held: write as much as the peers take, and say when to look again."""
        core = self.core
        self.pulse.hold()
        if self.ready_out or (self.blocked and self._by_fd):
            self.poll_out(0)
        core.pump()
        self._wrote = self.pulse()
        if core.over:
            return  # what is there is its sender's to take back
        if core.outbox:
            self._promise(core.options.send_hwm)
        elif self.promised:
            self._promise(BATCH - 1)
        elif self.blocked:
            self._promise(0)

    def poll_out(self, timeout: float | None) -> None:
        """Out-turn held: wait at most `timeout` seconds for peers to have room again, and note them."""
        core, ready, out = self.core, self.ready_out, self.out
        try:
            # Whom an interrupted push has found full must be known to be so before an edge of its is used up.
            core.settle()
            if self._missed:
                self._ask_again()
            while True:
                if not ready:
                    break
                self._roomy(ready[0])
                ready.popleft()
                timeout = 0
            for fd, _ in out.poller.poll(timeout, MOST):
                peer = self._by_fd.get(fd)
                if peer is not None:
                    self._roomy(peer)
                    continue
                self._hush(fd)
        except BaseException:
            self._missed = True
            raise
        if core.lost_out:
            self.bury_out()

    def _ask_again(self) -> None:
        """An interrupt came between an edge and its use: have the kernel tell again who has room."""
        for number in list(self.blocked):
            peer = self.core.peers.get(number)
            if peer is not None and peer.fd >= 0:
                self.out.poller.add(peer.fd, WRITABLE_ONCE)
        self._missed = False

    def _hush(self, fd: int) -> None:
        if fd == self.out.bell.fileno():
            self.out.bell.silence()

    def _roomy(self, peer: Peer) -> None:
        if self.core.writable(peer):
            self.blocked.discard(peer.id)

    def bury_out(self) -> None:
        """Out-turn held: let go of the dead."""
        self.core.settle()  # what an interrupted push left: after that nothing makes them wait for room again
        for peer in tuple(self.core.lost_out):
            self.blocked.discard(peer.id)
            if peer.fd >= 0:
                self.out.poller.discard(peer.fd)
        self.core.pump()

    def _promise(self, look: int) -> None:
        """Make sure that a tick comes, and let senders pass until the outbox is longer than `look`."""
        core = self.core
        with core.lock:
            # Asleep, the janitor waits for an edge of the out-poller; if it was we who saw that edge, and nobody is
            # full any more, no other comes: it must be woken.
            # Nor does one come for those who are not full. While nobody has room there is nothing to come for.
            fresh = not self.promised or (self.asleep and look > 0 and core.dealing)
            if fresh:
                self.asleep = False
            self.promised = True
            if core.look >= 0:
                core.look = min(look, core.options.send_hwm)
        if fresh:
            self._watcher(self)

    def press_softly(self, body: bytes, *, gather: bool = False) -> bool:
        """Like `press`, for a loop that writes at the end of each of its turns (see `promise_by_loop`).

        A full batch is written at once, and a lone message unless there is reason to `gather`: more may follow soon.
        The caller has `promise_by_loop` called for the rest.
        """
        core = self.core
        if core.look < 0:
            return self.press(body)
        if len(core.outbox) >= min(BATCH, core.options.send_hwm + 1):
            self.write()
            if len(core.outbox) > core.options.send_hwm:
                with core.lock:
                    return core.fits() or not core.withdraw(body)
        elif core.look == 0 and not gather:
            since = monotonic() - self._wrote
            if since > QUIET:
                if since > PAUSE:
                    core.new_burst()
                self.write()
        return True

    @property
    def in_flow(self) -> bool:
        """Whether the last write was so short a time ago that whoever sends now does so without a pause."""
        return monotonic() - self._wrote <= QUIET

    def promise_by_loop(self) -> None:
        """An event loop will call `keep` soon: let senders pass until a batch is full."""
        core = self.core
        with core.lock:
            self.promised = True
            if 0 <= core.look < BATCH - 1:
                core.look = min(BATCH - 1, core.options.send_hwm)

    def keep(self) -> None:
        """Keep what `promise_by_loop` promised; what the peers do not take is left to the janitor."""
        if not self.promised:
            return
        out = self.out
        if out.take():
            try:
                verdict = self._write_out()
            finally:
                out.lock.release()
                out.wake()
            if verdict is Verdict.CLEAN or verdict is Verdict.WAITING:
                return
        self._janitor(self)

    def tend(self) -> Verdict:
        """Keep the promises; called by the janitor."""
        core, into, out = self.core, self.into, self.out
        if self.state is State.FORKED:
            return Verdict.CLEAN
        verdict = Verdict.CLEAN
        self.asleep = False
        while self._failed:
            self.lose(*self._failed[0])
            self._failed.popleft()
        if into.line and not into.lock.locked():
            into.wake()  # somebody was interrupted before he could
        while self.hung:
            if not self.hung_up(self.hung[0]):
                verdict = Verdict.BUSY
                break
            self.hung.popleft()
        if core.lost_in:
            if into.take():
                try:
                    self.bury_in()
                finally:
                    into.lock.release()
                    into.wake()
            else:
                into.alert()
                verdict = Verdict.BUSY
        if not out.take():
            if core.lost_out:
                out.alert()
            else:
                self._rouse()
            return Verdict.BUSY
        try:
            kept = self._write_out()
            if verdict is Verdict.BUSY:
                return verdict
            if kept is Verdict.BLOCKED or kept is Verdict.WAITING:
                self.asleep = True  # with the turn held: who unblocks a peer after this sees it
                if core.outbox and core.dealing:
                    # Queued since we wrote: by somebody who found a promise, and nobody asleep yet.
                    self.asleep = False
                    return Verdict.BUSY
            return kept
        finally:
            out.lock.release()
            out.wake()

    def tend_amid(self) -> bool | None:
        """Keep the promises from within a thread that may be anywhere, also in here with a lock held.

        It is as if another thread came in between, but one that must not wait for this one: so not for the short lock, if
        somebody has that now, and not for a lock of a connection's. Nor does it wake anybody, for an event loop may just
        have found that it has nothing to do; nor tell an event, for the user's function may wait.

        Returns:
            True if they are kept; None if somebody was in the way, who soon is no more; False if `tend` must see to it.
        """
        core, out = self.core, self.out
        if not self.reentrant or core.lost_in or core.lost_out or self.hung or self.state is not State.OPEN:
            return False
        if out.line or len(self._by_fd) < len(core.peers):
            return False  # somebody is to be woken; or some peers are of this process
        if core.lock.locked():
            return None
        if not out.take():
            return False if out.parked else None  # who waits with the turn held may do so for long
        try:
            self._amid = threading.get_ident()
            verdict = self._write_out()
        finally:
            self._amid = 0
            out.lock.release()
        return verdict is Verdict.CLEAN and not self._failed and not out.line

    def _write_out(self) -> Verdict:
        """Out-turn held: write what the peers take, and end the promise if that was everything."""
        core = self.core
        self.pulse.hold()
        if core.lost_out:
            self.bury_out()
        if self.ready_out or (self.blocked and self._by_fd):
            self.poll_out(0)
        core.pump()
        self._wrote = self.pulse()
        if core.over:
            return Verdict.CLEAN  # what is there is its sender's to take back
        if core.outbox or self.blocked:
            self._promise(core.options.send_hwm if core.outbox else 0)
            if core.dealing and core.outbox:
                return Verdict.BUSY
            return Verdict.BLOCKED if self.blocked else Verdict.WAITING
        with core.lock:
            self.promised = False
            core.look = min(core.look, 0)
        if not core.outbox:
            return Verdict.CLEAN
        self._promise(0)
        return Verdict.BUSY

    # --- in ------------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Read what is there, now, if nobody else is at it."""
        into = self.into
        if not into.take():
            into.wake(len(self.core.inbox))
            return
        try:
            self.fill()
        finally:
            into.lock.release()
            into.wake(len(self.core.inbox) or 1)

    def fill(self) -> bool:
        """In-turn held: read every ready peer once, fairly; False when nothing was there."""
        moved = self._fill()
        self.core.sort()
        return moved

    def _fill(self) -> bool:
        """Read every ready peer once into the inbox."""
        core, into = self.core, self.into
        inbox = core.inbox
        inbox.extend(core.staged)
        core.resume()
        if core.lost_in:
            self.bury_in()
        room = core.headroom - len(inbox)
        if room <= 0:
            return True
        moved = False
        ready = self.ready_in
        if ready:
            # What was read ahead takes half of the room at most while others may have something too.
            alone = len(self._by_fd) <= 1
            moved = self._fill_ready(room if alone else (room + 1) // 2)
            room = core.headroom - len(inbox)
            if room <= 0:
                return True
            if not alone:
                moved |= self.poll_in(0)
                return self._fill_ready(core.headroom - len(inbox)) or moved
        only = self._only
        if only is not None and not into.bell.rung:
            if not only.stuffed and not only.gone:
                moved |= only.read(room)
                if only.stuffed:
                    ready.append(only)  # type: ignore[unreachable]  # `read` changes `stuffed`
        elif self._by_fd or into.bell.rung:
            moved |= self.poll_in(0)
        return moved

    def _fill_ready(self, room: int) -> bool:
        """Take at most `room` messages from the peers that no descriptor tells of, in turn."""
        inbox, ready = self.core.inbox, self.ready_in
        end = len(inbox) + room
        moved = False
        while ready and room > 0:
            peer = ready[0]
            if not peer.gone:
                moved |= peer.read(min(max(room // len(ready), SHARE), room))
            if peer.stuffed and not peer.gone:
                ready.rotate(-1)
            else:
                ready.popleft()
            room = end - len(inbox)
        return moved

    def poll_in(self, timeout: float | None) -> bool:
        """In-turn held: wait at most `timeout` seconds for something to read, and read it, fairly."""
        core, into = self.core, self.into
        events = into.poller.poll(timeout, self._breadth)
        if not events:
            return False
        used = 0
        moved = False
        inbox, hwm = core.inbox, core.headroom
        room = hwm - len(inbox)
        # An even part of the room, but no crumbs: who gets nothing of it now is the first the next time.
        share = max(room // len(events), SHARE)
        for fd, _ in events:
            peer = self._by_fd.get(fd)
            if peer is None:
                if fd == into.bell.fileno():
                    into.bell.silence()
            elif room > 0 and not peer.stuffed and not peer.gone:
                used += 1
                moved |= peer.read(min(share, room))
                if peer.stuffed:  # before any call, after which a signal handler might come
                    self.ready_in.append(peer)  # type: ignore[unreachable]  # `read` changes `stuffed`
                room = hwm - len(inbox)
        # Ask for as many events as the room was good for: with many loud peers the rest would be listed for nothing.
        if room <= 0:
            self._breadth = max(FEW, used)
        elif used == self._breadth:
            self._breadth = min(MOST, 2 * used)
        return moved

    def bury_in(self) -> None:
        """In-turn held: let go of the dead."""
        lost = self.core.lost_in
        while lost:
            peer = lost[0]
            if peer.fd >= 0:
                self.into.poller.discard(peer.fd)
                if self._by_fd.get(peer.fd) is peer:
                    self._know(peer.fd, None)
            peer.release_in()
            lost.popleft()

    def hang_up(self, peer: Peer) -> None:
        """Have a peer read to its end, soon; from any thread."""
        self.hung.append(peer)
        self.attend()

    def hung_up(self, peer: Peer) -> bool:
        """Look at a connection whose other end is gone and that nobody may be reading; False: try again later."""
        if peer.gone or self.state is State.FORKED:
            return True
        core, into = self.core, self.into
        if peer.id not in core.peers:
            return False  # not attached yet, or just lost
        if not into.take():
            return into.parked
        try:
            if not core.receives:
                peer.drop_stray()
                return True
            core.inbox.extend(core.staged)
            while True:
                room = core.headroom - len(core.inbox)
                if room <= 0 or peer.gone or not peer.read(room):  # type: ignore[redundant-expr]  # `read` changes `gone`
                    break
                core.sort()
            if peer.stuffed and peer not in self.ready_in:
                self.ready_in.append(peer)
        finally:
            into.lock.release()
            into.wake()
        self.delivered()
        return True

    def on_time(self) -> float:
        """Do what is due; return when to come again (`monotonic` seconds). Called by the janitor."""
        core = self.core
        now = monotonic()
        if self.state is not State.OPEN or now < core.timer:
            return NEVER  # closed; or somebody comes later, who was called after us
        self.read()  # what is waited for may have come, and nobody looked
        self.delivered()
        at = core.on_time(now)
        if core.outbox:
            self.write()
        return at

    def freshen(self) -> bool:
        """Read what is there for a socket that nobody may be reading; False: try again later."""
        into = self.into
        if self.state is not State.OPEN:
            return True
        if not into.take():
            return into.parked
        try:
            rounds = 0
            while True:
                rounds += 1
                if rounds > SHARE or not self.fill():
                    break
                pass  # noqa: PIE790  # what the jump belongs to: tests/test_loops.py
        finally:
            into.lock.release()
            into.wake()
        self.delivered()
        return rounds <= SHARE

    def delivered(self) -> None:
        """Let those in line look, after the inbox was filled by somebody who wants nothing of it."""
        if self.core.readable:
            self.into.wake(len(self.core.inbox))
            self.into.announce()

    @property
    def spinnable(self) -> bool:
        """Whether looking again and again makes sense: the peers are other processes, few, and send little."""
        return 0 < len(self._by_fd) <= FEW and (self._only is None or not self._only.heavy)

    def export(self) -> None:
        """The user waits for the in-poller's descriptor: keep it readable while there is something to take."""
        self.into.exported = True
        self.level()

    def level(self) -> None:
        """Make the exported descriptor tell whether something is there; of what the kernel has it tells itself.

        Only the holder of the turn silences: the ring may have been for one who waits in the poller. Who has something to
        tell rings without a look at whether that was done: a `silence` may be under way that undoes it, and whose look after
        finds nothing, because somebody has taken it by then.
        """
        into = self.into
        if not into.exported:
            return
        if self.core.readable or self.ready_in:
            into.bell.ring()
        elif into.bell.rung and into.take():
            try:
                into.bell.silence()
                if self.core.readable or self.ready_in:  # type: ignore[redundant-expr]  # it may have changed
                    into.bell.ring()
            finally:
                into.lock.release()
                into.wake()

    # --- closing -------------------------------------------------------------------------------------------

    def refuse(self, *, again: bool = False) -> tuple[int, int] | None:
        """Begin to close: no send is accepted and nobody waits any more.

        Args:
            again: also if it was done before, by somebody who was interrupted.

        Returns:
            How many messages were queued at that moment, and how many dropped before; None if that was done before.
        """
        with self.core.lock:
            if self.state is not State.OPEN and not (again and self.state is State.CLOSING):
                return None
            queued, dropped = self.core.queued, sum(self.core.dropped.values())
            self.state = State.CLOSING
            self.core.look = -1
        self.alarm()
        for tell in tuple(self.followers):
            tell()
        return queued, dropped

    def alarm(self) -> None:
        """Make everybody who waits look again."""
        for turn in (self.into, self.out):
            turn.announce()
            turn.wake(len(turn.line))
        self.notify()

    def shut(self) -> tuple[int, int]:
        """End it: part with the peers, give up what is queued and unread; return how many messages each was."""
        core = self.core
        for peer in list(core.peers.values()):
            self.lose(peer, Reason.CLOSED_BY_US, "the socket was closed", gently=True)
        with core.lock:
            self.state = State.CLOSED
        for peer in list(core.peers.values()):  # who came meanwhile; who comes later sees the state (`attach`)
            self.lose(peer, Reason.CLOSED_BY_US, "the socket was closed", gently=True)
        self.alarm()
        dropped = sum(core.dropped.values())
        # Whoever holds a turn was woken and leaves it. Only a caller that this very thread has interrupted, by a
        # signal handler, cannot: then the janitor does the rest when it can.
        for turn, part in ((self.out, self._part_out), (self.into, self.bury_in)):
            got = take(turn.lock, SOON)
            try:
                if got:
                    part()
            finally:
                if got:
                    turn.lock.release()
                    turn.wake()
        unread = core.unread
        core.clear()
        return sum(core.dropped.values()) - dropped, unread

    def _part_out(self) -> None:
        """Out-turn held: let go of the dead, and give up what is queued."""
        self.bury_out()
        self.core.abandon()

    def let_go(self) -> None:
        """The socket is closed and all is told: drop what refers back to it, so that it goes with its last user."""
        self.core.on_lost = ignore
        self.core.emit = ignore

    def disown(self) -> None:
        """In a forked child: the socket belongs to the parent from now on."""
        self.state = State.FORKED
        self.core.look = -1
        self.core.lock = Lock()

    def forked(self) -> None:
        """In a forked child: let go of what was inherited. Nothing is sent, nobody is told."""
        core = self.core
        self.disown()
        core.inbox.clear()
        core.staged = iter(())
        for peer in (*core.peers.values(), *core.lost_in, *core.lost_out):
            peer.forget()
        for turn in (self.into, self.out):
            turn.lock = threading.Lock()
            turn.line.clear()
