"""BaseSocket: everything of a socket that does not wait. The faces add the waiting, and nothing else."""

from __future__ import annotations

import atexit
import logging
import threading
import warnings
import weakref
from collections import deque
from dataclasses import dataclass
from inspect import getattr_static
from itertools import islice
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Self, TypedDict, TypeVar

from nnqpy import reactor
from nnqpy.accel import Gate, move, taker
from nnqpy.errors import TimedOut, UnsupportedOperation, WouldBlock
from nnqpy.events import DrainReport, EventsLost, SocketClosed
from nnqpy.locks import Lock, RLock, take
from nnqpy.options import MIB, Options, check_seconds
from nnqpy.schemes import dial, listen
from nnqpy.turns import State, Turns, exiting, wake
from nnqpy.waiting import stand_by, wait_out

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from typing import Unpack

    from nnqpy.events import Event, PeerInfo, Stats
    from nnqpy.options import OnFull
    from nnqpy.routing.core import SocketCore, Waiter
    from nnqpy.schemes import AnyDialer, Listener
    from nnqpy.tls import TlsConfig
    from nnqpy.wire.zstd import ZstdConfig

log = logging.getLogger(__name__)

EVENTS_MAX = 1000
"""Events that a slow reader of `events` may be behind; then the oldest are lost, and it is told how many."""

T = TypeVar("T")
End = TypeVar("End", bound="Listener | AnyDialer")


class EventLog:
    """One reader's events: filled by one thread at a time, emptied by its reader.

    Events are numbered, so a gap says how many a full log has lost, and where, without a lock.
    """

    def __init__(self) -> None:
        self.events: deque[tuple[int, Event]] = deque(maxlen=EVENTS_MAX)
        self.line: deque[Waiter] = deque()
        self._put = 0
        self._taken = 0
        self._held: tuple[int, Event] | None = None

    def put(self, event: Event) -> None:
        """Append an event and wake the reader; a full log loses its oldest."""
        self._put += 1
        self.events.append((self._put, event))
        wake(self.line, len(self.line))

    def take(self) -> Event | None:
        """Return the next event, or None."""
        try:
            number, event = self._held or self.events.popleft()
        except IndexError:
            return None
        lost = number - self._taken - 1
        if lost > 0:
            self._held, self._taken = (number, event), number - 1
            return EventsLost(lost)
        self._held, self._taken = None, number
        return event


class Ends:
    """A socket's listeners and dialers, what is told about all of it, and how it ends."""

    def __init__(self, turns: Turns, on_event: Callable[[Event], None] | None) -> None:
        self.turns = turns
        self.listeners: list[Listener] = []
        self.dialers: list[AnyDialer] = []
        self._lock = Lock()

        self._on_event = on_event
        self._logs: list[weakref.ref[EventLog]] = []
        self._untold: deque[Event] = deque()
        self._telling = threading.Lock()
        self._all_told = False

        self.closing: Closing | None = None
        self.report: DrainReport | None = None
        self.over = False
        """The last steps of the close are all done."""
        self.warned = False
        """It was said already that nobody has closed the socket."""
        self.closers: deque[Waiter] = deque()
        """Those who wait for somebody else's close to end."""
        self.beginning = RLock()
        self.shutting = threading.Lock()
        if on_event is not None:
            turns.core.emit = self.tell

    def listen(self, url: str) -> Listener:
        """Open a listener."""
        self.turns.check_open()
        listener = listen(self.turns, url)
        return self._keep(self.listeners, listener)

    def dial(self, url: str) -> AnyDialer:
        """Open a dialer."""
        self.turns.check_open()
        dialer = dial(self.turns, url)
        return self._keep(self.dialers, dialer)

    def _keep(self, ends: list[End], end: End) -> End:
        with self._lock:
            ends[:] = *_still_open(ends), end
            self.turns.core.replaceable = True
        if self.turns.state is not State.OPEN:  # closed by another thread in the meantime
            end.close()
            self.turns.check_open()
        return end

    @property
    def any_open(self) -> bool:
        """Whether a peer may still come."""
        with self._lock:
            ends = (*self.listeners, *self.dialers)
        return any(not end.closed for end in ends)

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            ends = (*self.listeners, *self.dialers)
            self.turns.core.replaceable = False
        for end in ends:
            end.close()

    def log(self) -> EventLog:
        """Open an event log; from now on events are told, until the log is dropped."""
        log = EventLog()
        with self._lock:
            self._logs = [*(ref for ref in self._logs if ref() is not None), weakref.ref(log)]
            self.turns.core.emit = self.tell
        if self.report is not None:
            log.put(SocketClosed(self.report))
        return log

    def tell(self, event: Event) -> None:
        """Tell an event to the callback and to all readers; from any thread.

        One thread tells at a time, so that all see one order. Who finds another at it, or is called by the callback,
        leaves its event there; no thread ever waits for a callback of another one.
        """
        untold = self._untold
        untold.append(event)
        while untold and take(self._telling):
            try:
                while True:
                    if not untold:
                        break
                    self._tell(untold.popleft())
            finally:
                self._telling.release()

    def _tell(self, event: Event) -> None:
        if self._all_told:
            return  # SocketClosed is the last one
        for ref in self._logs:
            one = ref()
            if one is not None:
                one.put(event)
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:  # the user's own; it must not end the connection that the event is about
                log.exception("on-event-failed event=%s", type(event).__name__)
        self._all_told = isinstance(event, SocketClosed)  # now: who was interrupted before that tells it again


def _still_open(ends: list[End]) -> list[End]:
    return [one for one in ends if not one.closed]


@dataclass(frozen=True, slots=True)
class Closing:
    """A close that has begun: when, by which thread, until when it may drain, and the books at its beginning."""

    began: float
    thread: int
    deadline: float
    queued: int
    dropped: int


MANY = 256
"""Messages that the calls for many take in one go."""

NEVER = object()
"""Equal to no message: the sentinel of the iterators that pop."""

_alive: weakref.WeakSet[Ends] = weakref.WeakSet()


_SENDING: Final = ("send", "send_nowait", "send_many", "flush")
_RECEIVING: Final = ("recv", "recv_nowait", "recv_many")


class Special(TypedDict, total=False):
    """The options of one pattern, which its class names."""

    on_full: OnFull | None
    max_ttl: int


class Common(TypedDict, total=False):
    """The keywords that every socket takes: see `BaseSocket`."""

    bind: str | Iterable[str] | None
    connect: str | Iterable[str] | None
    send_hwm: int
    send_hwm_bytes: int | None
    recv_hwm: int
    linger: float
    recv_max_size: int | None
    handshake_timeout: float
    reconnect_min: float
    reconnect_max: float
    tcp_nodelay: bool
    tcp_keepalive: bool
    ipc_mode: int
    tls: TlsConfig | None
    zstd: ZstdConfig | None
    ws_origins: Collection[str]
    ws_headers: Mapping[str, str] | None
    on_event: Callable[[Event], None] | None


class BaseSocket(Gate):
    """A socket, less the waiting: options, endpoints, peers, counters, the calls that never wait."""

    _pattern: ClassVar[type[SocketCore]]
    _specials: ClassVar[frozenset[str]] = frozenset()
    """The options that only this kind of socket takes."""

    def __init__(
        self,
        *,
        bind: str | Iterable[str] | None = None,
        connect: str | Iterable[str] | None = None,
        send_hwm: int = 1000,
        send_hwm_bytes: int | None = 64 * MIB,
        recv_hwm: int = 1000,
        linger: float = 1.0,
        recv_max_size: int | None = 64 * MIB,
        handshake_timeout: float = 10.0,
        reconnect_min: float = 0.1,
        reconnect_max: float = 5.0,
        tcp_nodelay: bool = True,
        tcp_keepalive: bool = True,
        ipc_mode: int = 0o600,
        tls: TlsConfig | None = None,
        zstd: ZstdConfig | None = None,
        ws_origins: Collection[str] = (),
        ws_headers: Mapping[str, str] | None = None,
        on_event: Callable[[Event], None] | None = None,
        **special: Unpack[Special],
    ) -> None:
        """Make a socket, and open what it binds and connects.

        Args:
            bind: a URL, or several, to accept peers at.
            connect: a URL, or several, to keep a connection to; dialled in the background.
            send_hwm: messages that may wait to be sent, per socket; the kernel's buffers hold more beyond it.
            send_hwm_bytes: body bytes that may wait to be sent; one message of any size always may. None: no limit.
            recv_hwm: messages that may wait to be received, per socket; then the senders feel it.
            linger: seconds that `close` may go on sending what is queued.
            recv_max_size: bytes of the largest message accepted; a larger one closes that connection. None: no limit.
            handshake_timeout: seconds in which a new connection must have greeted.
            reconnect_min: seconds before the first dial again; doubles, with jitter, up to `reconnect_max`.
            reconnect_max: seconds between two dials, at most.
            tcp_nodelay: send small segments at once.
            tcp_keepalive: let the kernel find dead peers, within about 30 s.
            ipc_mode: permission bits of an ipc socket file.
            tls: whom to trust and who we are, for ``tls+tcp`` and ``wss``; None: to connect, the system's authorities.
            zstd: how to compress, for ``zstd+tcp``; None: as `ZstdConfig` has it.
            ws_origins: the web pages of other hosts that may connect by ``ws`` and ``wss``, as ``"https://example.com"``;
                ``"*"`` is all of them.
            ws_headers: further headers of the request by which we connect, as ``Authorization``.
            on_event: called with each event, in whatever thread it happens; it must not block.

        Raises:
            TypeError, ValueError: an option is not what it should be.
            AddressError: a URL is not.
            OSError: a bind was refused by the system.
        """
        if strange := special.keys() - self._specials:
            raise TypeError(f"{type(self).__name__} takes no option {', '.join(sorted(strange))}")
        options = Options(
            send_hwm=send_hwm,
            send_hwm_bytes=send_hwm_bytes,
            recv_hwm=recv_hwm,
            linger=linger,
            recv_max_size=recv_max_size,
            handshake_timeout=handshake_timeout,
            reconnect_min=reconnect_min,
            reconnect_max=reconnect_max,
            tcp_nodelay=tcp_nodelay,
            tcp_keepalive=tcp_keepalive,
            ipc_mode=ipc_mode,
            tls=tls,
            zstd=zstd,
            ws_origins=ws_origins,
            ws_headers=ws_headers,
            **special,
        )
        core = self._make_core(options)
        self._core = core
        self._turns = Turns(core, reactor.promise, reactor.watch)
        self._ends = Ends(self._turns, on_event)
        self._outbox = core.outbox
        self._small = core.small
        self._open_gate(core.outbox, core, core.small)
        # An iterator that pops: a `for` statement takes one message without a call in the bytecode, so no
        # signal handler can run between the pop and our hands (see the law of routing/core.py).
        self._inbox = core.inbox
        self._take = taker(core.inbox)
        reactor.sockets.add(self._turns)
        if core.stays_fresh:
            reactor.janitor().keep_fresh(self._turns)
        _alive.add(self._ends)
        try:
            for url in _urls(bind):
                self.bind(url)
            for url in _urls(connect):
                self._ends.dial(url)
        except BaseException:
            close_at_once(self._ends)
            raise

    def _make_core(self, options: Options) -> SocketCore:
        return self._pattern(options)

    # --- endpoints and peers -------------------------------------------------------------------------------

    def bind(self, url: str) -> Listener:
        """Accept peers at `url`; the handle's ``.url`` has the real port after ``:0``.

        Raises:
            AddressError: the URL is malformed or its host has no address here.
            OSError: the system refuses (EADDRINUSE, EACCES, EMFILE ...).
            Closed: the socket is closed.
        """
        return self._ends.listen(url)

    @property
    def peers(self) -> tuple[PeerInfo, ...]:
        """The peers attached now."""
        with self._core.lock:
            return tuple(peer.info() for peer in self._core.peers.values())

    @property
    def protocol(self) -> str:
        """The SP name of the socket's pattern: ``"push"``."""
        return self._core.proto.label

    @property
    def closed(self) -> bool:
        """Whether `close` was called (or the socket belongs to the parent process)."""
        return self._turns.state is not State.OPEN

    def stats(self) -> Stats:
        """Return the socket's counters, all of one instant."""
        return self._core.stats()

    def fileno(self) -> int:
        """Return a descriptor for ``select``, ``selectors`` and the like.

        It is readable, level-triggered, while `recv_nowait` would return a message or make progress (so for a
        socket that only sends: never), and when the socket is closed. It belongs to the socket: when that is
        collected, the number may become somebody else's.
        """
        self._turns.check_open()
        self._turns.export()
        # From now on every receive goes the long way, which keeps the descriptor true.
        self._take = taker(deque[Any]())
        return self._turns.into.poller.fileno()

    # --- for the faces -------------------------------------------------------------------------------------

    def _broken_off(self, error: BaseException) -> None:
        """A call ended with an error; if that is a signal handler's, a message may be queued that nobody promised to write."""
        self._turns.broken_off(error)

    def _room_for(self, body: bytes) -> bool:
        """Whether a message has room, or it is no use to wait for that: the socket is closed."""
        return self._core.look < 0 or self._core.has_room(body)

    def _full(self) -> str:
        """Say why there is no room: ``no_peer`` or ``queue_full``."""
        return "queue_full" if self._core.peers else "no_peer"

    def _full_text(self) -> str:
        if self._core.peers:
            return self._core.full_text()
        return f"the send queue is full ({len(self._outbox)} messages) and {self._lonely_text()}"

    def _lonely_text(self) -> str:
        """Say that there is no peer, and why that may be."""
        errors = "; ".join(dict.fromkeys(d.last_error for d in self._ends.dialers if d.last_error and not d.up))
        return "there is no peer yet" + (f" (last dial error: {errors})" if errors else "")

    def _no_room(self, timeout: float | None, sent: int = 0) -> TimedOut:
        return TimedOut(self._full_text(), timeout=timeout or 0.0, reason=self._full(), sent=sent)

    def _no_connection(self, dialer: AnyDialer, timeout: float | None) -> TimedOut:
        text = f"no connection to {dialer.url} within {timeout} s; last error: {dialer.last_error or 'no answer'}"
        return TimedOut(text, timeout=timeout or 0.0, reason="no_peer")

    def _too_few(self, peers: int, n: int, timeout: float | None) -> TimedOut:
        return TimedOut(f"{peers} of {n} peers within {timeout} s", timeout=timeout or 0.0, reason="no_peers")

    def _not_flushed(self, timeout: float | None) -> TimedOut:
        text = f"{self._core.stats().queued} messages are still queued"
        return TimedOut(text, timeout=timeout or 0.0, reason="not_flushed")

    def _send_now(self, payload: bytes) -> None:
        """Queue a message, or raise `WouldBlock`: what `send_nowait` is in every face."""
        if len(payload) <= self._small and self._turns.state is State.OPEN and not self._core.crowded(payload):
            try:
                self._outbox.append(payload)
                if len(self._outbox) <= self._core.look or self._turns.press(payload):
                    return
            except BaseException as error:
                self._broken_off(error)
                raise
        elif self._turns.place(payload):
            return
        raise WouldBlock(self._full_text(), reason=self._full())

    def _recv_now(self) -> Any:  # what the pattern's inbox has
        """Take a message, or raise `WouldBlock`: what `recv_nowait` is in every face."""
        turns = self._turns
        if not self._inbox:
            turns.check_open()
            turns.read()
        try:
            return self._pop()
        except IndexError:
            pass
        turns.check_open()
        turns.level()
        raise WouldBlock("no message is there now", reason="no_message")

    def _pop(self) -> Any:  # as _recv_now
        """Take a message from the inbox, or raise `IndexError`; interrupted by a signal, it has taken none."""
        for body in iter(self._inbox.popleft, NEVER):
            try:
                self._turns.level()
            except BaseException:
                self._put_back([body])
                raise
            return body
        raise AssertionError("no message is NEVER")

    def _take_many(self, most: int) -> list[Any]:  # as _recv_now
        """Take up to `most` messages from the inbox, at once; interrupted by a signal, it has taken none."""
        inbox = self._inbox
        bodies: list[Any] = []
        try:
            try:
                move(inbox, bodies, most)
            except IndexError:
                pass  # another thread was faster: what we have stays
            self._turns.level()
        except BaseException:
            self._put_back(bodies)
            raise
        return bodies

    def _put_back(self, bodies: list[Any]) -> None:
        """Return messages to the head of the inbox, and let those who wait there look."""
        self._inbox.extendleft(reversed(bodies))
        self._turns.delivered()

    def __repr__(self) -> str:
        state = self._turns.state.name.lower()
        ends = [f"bind={one.url!r}" for one in self._ends.listeners if not one.closed]
        ends += [f"connect={one.url!r}" for one in self._ends.dialers if not one.closed]
        return f"<{type(self).__module__}.{type(self).__name__} {state} {' '.join(ends)} peers={len(self._core.peers)}>"

    def __del__(self) -> None:
        ends: Ends | None = getattr(self, "_ends", None)
        if ends is None or ends.turns.state is not State.OPEN:
            return
        # A collector may run in the middle of anything, with any lock held, also in this very thread: no lock is
        # waited for here, and the closing is left to the janitor.
        core = ends.turns.core
        got = take(core.lock)
        try:
            queued = core.queued if got else len(core.outbox)
        finally:
            if got:
                core.lock.release()
        warnings.warn(f"unclosed {self!r}: {queued} messages were queued", ResourceWarning, stacklevel=2, source=self)
        ends.warned = True
        if reactor.running():
            reactor.janitor().call(lambda: close_at_once(ends))

    def __dir__(self) -> Iterable[str]:
        return [name for name in super().__dir__() if not isinstance(getattr_static(self, name, None), _Lacking)]

    def __copy__(self) -> Self:
        raise TypeError("a socket cannot be copied")

    def __reduce__(self) -> str:
        raise TypeError("a socket cannot be pickled; give the other process a URL")


class _Lacking:
    """Stands in all sockets for a method of some, so that the error for its lack says why.

    A ``__getattr__`` would do so too, and make every attribute of every socket slower to reach: CPython remembers no
    place of theirs then, which was a quarter of the processor time of a `send`.
    """

    def __init__(self, name: str, verb: str, one: str) -> None:
        self._name = name
        self._verb = verb
        self._one = one

    def __get__(self, sock: object, kind: type) -> NoReturn:
        if self._name != self._one and hasattr(kind, self._one):
            raise UnsupportedOperation(f"a {kind.__name__} has no {self._name}, only {self._one}")
        raise UnsupportedOperation(f"a {kind.__name__} does not {self._verb}: it has no {self._name}")


for _verb, _names in {"send": _SENDING, "receive": _RECEIVING}.items():
    for _name in _names:
        setattr(BaseSocket, _name, _Lacking(_name, _verb, _names[0]))


def no_message(timeout: float | None) -> TimedOut:
    """Return the error that says that nothing came in time."""
    return TimedOut(f"no message within {timeout} s", timeout=timeout or 0.0, reason="no_message")


def parts(bodies: Iterable[T], whole: Callable[[Iterable[T]], list[bytes]]) -> Iterator[list[bytes]]:
    """Cut what `send_many` was given into lists of at most `MANY` payloads, by `whole`."""
    rest = iter(bodies)
    while part := whole(islice(rest, MANY)):
        yield part


def _urls(urls: str | Iterable[str] | None) -> Iterable[str]:
    if urls is None:
        return ()
    return (urls,) if isinstance(urls, str) else urls


def linger_of(ends: Ends, linger: float | None) -> float:
    """Return the linger time to use: what `close` was given, else the option."""
    if linger is None:
        return ends.turns.core.options.linger
    check_seconds("linger", linger)
    return linger


def hopeless(ends: Ends) -> bool:
    """Whether nothing can take what is still queued: no peer, and no endpoint that could bring one."""
    return not ends.turns.core.peers and not ends.any_open


def begin_close(ends: Ends, linger: float) -> bool:
    """The first step of a close: refuse new messages, wake everybody; False if somebody has begun before.

    Who was interrupted at it has not begun.
    """
    began = monotonic()
    with ends.beginning:
        books = ends.turns.refuse(again=ends.closing is None)
        if books is None:
            return False
        ends.closing = Closing(began, threading.get_ident(), began + linger, *books)
    return True


def _wait_for_late_senders(core: SocketCore, closing: Closing) -> None:
    """Let those take their messages back who came after the drain was over; they are on their way to do so.

    Everything was drained in time, so what is left can only be theirs: they have appended, and have not looked yet.
    """
    late = monotonic() + 0.1
    while core.remains and monotonic() < min(closing.deadline, late):
        sleep(0)


def shut(ends: Ends) -> DrainReport:
    """The last steps of a close, after the draining: endpoints, peers, descriptors, report. Done once, or begun anew."""
    closing = None if ends.turns.state is State.FORKED else ends.closing
    if not ends.over and closing is not None and take(ends.shutting):
        try:
            if ends.report is None:
                ends.report = _part(ends, closing)
            ends.turns.core.emit(SocketClosed(ends.report))
            if ends.turns.core.stays_fresh:
                reactor.janitor().let_go(ends.turns)
            ends.turns.let_go()
            ends.over = True
        finally:
            ends.shutting.release()
        wake(ends.closers, len(ends.closers))
    # None: called by a callback of this very closing, or in a forked child, where there is nothing to close.
    return ends.report or DrainReport(flushed=0, abandoned=0, unread=0, elapsed=0.0)


def _part(ends: Ends, closing: Closing) -> DrainReport:
    """Part with endpoints and peers, and count what is left."""
    ends.close()
    unread = ends.turns.shut()[1]
    _wait_for_late_senders(ends.turns.core, closing)
    with ends.turns.core.lock:
        abandoned = sum(ends.turns.core.dropped.values()) - closing.dropped
    return DrainReport(
        flushed=max(0, closing.queued - abandoned),
        abandoned=abandoned,
        unread=unread,
        elapsed=monotonic() - closing.began,
    )


def close_at_once(ends: Ends) -> None:
    """Close a socket without draining it; no thread waits for anything here."""
    if begin_close(ends, 0):
        shut(ends)


def close_blocking(ends: Ends, linger: float) -> DrainReport:
    """Close a socket, in this thread: refuse, drain, part. Interrupted by a signal, it drains no longer."""
    if begin_close(ends, linger):
        return _drain(ends)
    if ends.turns.state is State.FORKED:
        return shut(ends)  # a close that was under way at the fork is the parent's
    while ends.report is None and (closing := ends.closing) is not None:
        if closing.thread == threading.get_ident() or reactor.inside():
            return shut(ends)  # the one who drains is ourselves, interrupted; or it needs the thread that we are in
        if not stand_by(ends.closers, lambda: ends.report is not None, closing.deadline + GRACE):
            return shut(ends)  # it was interrupted in the middle of the last steps: they can be taken again
    return shut(ends)


def _drain(ends: Ends) -> DrainReport:
    turns, closing = ends.turns, ends.closing
    assert closing is not None  # the caller has begun it
    try:
        if closing.queued and monotonic() < closing.deadline:
            wait_out(turns, lambda: turns.core.drained or hopeless(ends), closing.deadline)
    finally:
        report = shut(ends)
    return report


GRACE = 1.0
"""Seconds that a second close waits for the first one beyond its linger time."""


def _close_all() -> list[Ends]:
    """Begin to close every socket that is open, and return those."""
    return [ends for ends in tuple(_alive) if begin_close(ends, ends.turns.core.options.linger)]


def _at_exit() -> None:
    """The interpreter is going down: close what was forgotten, all of it within one linger time, and end the janitor."""
    exiting.set()
    try:
        for ends in _close_all():
            report = _drain(ends)
            if ends.warned:
                continue  # collected, and the janitor has not come to it
            warnings.warn(
                f"unclosed {ends.turns.core.proto.label} socket at exit: {report.flushed} queued messages were still "
                f"sent, {report.abandoned} abandoned",
                ResourceWarning,
                stacklevel=1,
            )
    finally:
        reactor.stop(timeout=1.0)


atexit.register(_at_exit)
