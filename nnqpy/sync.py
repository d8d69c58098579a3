"""The blocking face: every call waits in the caller's thread, and any thread may call.

A blocked call does the socket's I/O itself (see ``turns.py``), so it can be interrupted by a signal at any time
and loses nothing by it.
"""

from __future__ import annotations

import threading
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Self
from weakref import WeakSet

from nnqpy.base import MANY, BaseSocket, close_blocking, linger_of, parts
from nnqpy.errors import Closed, ForkedError, TimedOut
from nnqpy.events import SocketClosed
from nnqpy.kinds import BusKind, Pair1Kind, PubKind, SubKind, headed
from nnqpy.message import frozen
from nnqpy.options import check_seconds
from nnqpy.patterns.pair import PairCore
from nnqpy.patterns.pipeline import PullCore, PushCore
from nnqpy.turns import State
from nnqpy.waiting import Reader, stand_by, wait_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from nnqpy.base import EventLog
    from nnqpy.endpoint import AnyDialer
    from nnqpy.events import DrainReport, Event, PeerInfo
    from nnqpy.message import Body
    from nnqpy.turns import Turns

__all__ = ["Bus", "Events", "Pair", "Pair1", "Pub", "Pull", "Push", "Socket", "Sub"]


class _Unwritten(threading.local):
    """The sockets that this thread left something in for the janitor; flushed before the thread blocks."""

    def __init__(self) -> None:
        self.turns: WeakSet[Turns] = WeakSet()  # a thread that only sends would keep every socket that it ever wrote to


_unwritten = _Unwritten()


def _write_all() -> None:
    left = list(_unwritten.turns)
    _unwritten.turns.clear()
    for turns in left:
        if turns.state is State.FORKED:
            continue  # left by the parent's thread: the parent's to write
        if turns.promised and turns.core.outbox and turns.core.dealing:
            turns.write()


def _deadline(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    check_seconds("timeout", timeout)
    return monotonic() + timeout


class Events:
    """A socket's events as they happen; iteration ends after `SocketClosed`."""

    def __init__(self, turns: Turns, log: EventLog) -> None:
        self._turns = turns
        self._log = log
        self._over = False

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        if self._over:
            raise StopIteration
        return self.recv()

    def recv(self, *, timeout: float | None = None) -> Event:
        """Wait for the next event.

        Raises:
            TimedOut: there was none within `timeout` seconds.
            Closed: the last one was taken before.
        """
        if self._over:
            raise Closed("the socket is closed and has no more to tell")
        deadline = _deadline(timeout)
        log = self._log
        while (event := log.take()) is None:
            if self._turns.state is State.FORKED:  # nothing will happen here: say so instead of waiting for ever
                self._turns.check_open()
            if not stand_by(log.line, lambda: bool(log.events), deadline) and not log.events:
                raise TimedOut(f"no event within {timeout} s", timeout=timeout or 0.0, reason="no_event")
        self._over = isinstance(event, SocketClosed)
        return event


class Socket(BaseSocket):
    """What all blocking sockets have."""

    def connect(self, url: str, *, wait: bool = False, timeout: float | None = None) -> AnyDialer:
        """Keep a connection to `url`: dialled in the background, again and again, until the handle is closed.

        Args:
            url: where to.
            wait: return only when the connection is attached.
            timeout: seconds to wait for that; None: for ever.

        Raises:
            TimedOut: it was not attached in time; the text has the last error. The dialer is closed again.
            AddressError: the URL is malformed or cannot be dialled.
            Closed: the socket is closed.
        """
        deadline = _deadline(timeout)
        dialer = self._ends.dial(url)
        try:
            if wait and not self._attached(dialer, deadline):
                why = dialer.last_error or "no answer"
                raise TimedOut(
                    f"no connection to {dialer.url} within {timeout} s; last error: {why}",
                    timeout=timeout or 0.0,
                    reason="no_peer",
                )
        except BaseException:
            dialer.close()  # the caller gets no handle to do so
            raise
        return dialer

    def _attached(self, dialer: AnyDialer, deadline: float | None) -> bool:
        """Wait for a dialer's connection; False when the time is over first."""
        while not dialer.up:
            if not _wait_for_change(self._turns, lambda: dialer.up, deadline):
                return False
        return True

    def wait_for_peers(self, n: int = 1, timeout: float | None = None) -> tuple[PeerInfo, ...]:
        """Wait until at least `n` peers are attached, and return them.

        Raises:
            TimedOut: there were fewer within `timeout` seconds.
            Closed: the socket is closed, or was during the call.
        """
        deadline = _deadline(timeout)
        while len(peers := self.peers) < n:
            if not _wait_for_change(self._turns, lambda: len(self._core.peers) >= n, deadline):
                raise TimedOut(
                    f"{len(peers)} of {n} peers within {timeout} s", timeout=timeout or 0.0, reason="no_peers"
                )
        self._turns.check_open()
        return peers

    def events(self) -> Events:
        """Return the events that happen from now on."""
        return Events(self._turns, self._ends.log())

    def close(self, linger: float | None = None) -> DrainReport:
        """Close: refuse new messages, send what is queued for at most `linger` seconds, part with the peers.

        It drains also while a dial is still under way. Calls that are blocked in other threads raise `Closed`.
        A second call returns the first one's report.

        Args:
            linger: seconds; None: the socket's option; 0: do not wait.

        Returns:
            How many of the queued messages went on, how many were abandoned, how many received ones nobody took.
        """
        return close_blocking(self._ends, linger_of(self._ends, linger))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _wait_for_change(turns: Turns, done: Callable[[], bool], deadline: float | None) -> bool:
    """Wait for peers to come or go; False when the time is over first."""
    turns.check_open()
    in_time = stand_by(turns.watchers, lambda: done() or turns.state is not State.OPEN, deadline)
    turns.check_open()
    return in_time


class Sending(Socket):
    """The sending half, for patterns that have a send queue."""

    def send(self, body: Body, *, timeout: float | None = None) -> None:
        """Queue one message; waits only while the queue is at its mark.

        A return means that the message is in the queue or further, not that a peer has it.

        Args:
            body: any contiguous bytes-like object; a mutable one may be changed as soon as this returns.
            timeout: seconds to wait for room; None: for ever; 0: not at all.

        Raises:
            TimedOut: no room in time; ``.reason`` is ``"no_peer"`` or ``"queue_full"``. The message was not taken.
            TypeError: `body` is a str, or not bytes-like, or not contiguous.
            Closed: the socket is closed, or was during the call.
        """
        if type(body) is bytes and len(body) <= self._small:
            try:
                self._outbox.append(body)
                if len(self._outbox) > self._core.look:
                    self._press(body, timeout)
            except KeyboardInterrupt:
                self._turns.attend()  # it may be queued, and nobody promised to write it
                raise
        else:
            self._place(frozen(body), timeout)

    def _press(self, body: bytes, timeout: float | None) -> None:
        turns = self._turns
        if not turns.press(body):
            self._place(body, timeout)
        elif turns.promised:
            _unwritten.turns.add(turns)

    def _place(self, body: bytes, timeout: float | None) -> None:
        deadline = _deadline(timeout)
        turns = self._turns
        while not turns.place(body):
            if not wait_out(turns, partial(self._room_for, body), deadline):
                raise TimedOut(self._full_text(), timeout=timeout or 0.0, reason=self._full())

    def send_nowait(self, body: Body) -> None:
        """Queue one message if there is room.

        Raises:
            WouldBlock: there is none; ``.reason`` is ``"no_peer"`` or ``"queue_full"``.
            TypeError, Closed: as in `send`.
        """
        self._send_now(body)

    def send_many(self, bodies: Iterable[Body], *, timeout: float | None = None) -> int:
        """Queue many messages, in order, and return how many.

        Args:
            bodies: as for `send`; taken from the iterable in parts of 256.
            timeout: seconds for all of them together.

        Raises:
            TimedOut: no room in time; ``.sent`` says how many were queued.
            TypeError: one is no message; those of earlier parts are queued.
            Closed: as in `send`.
        """
        deadline = _deadline(timeout)
        turns = self._turns
        sent = 0
        for part in parts(bodies):
            while part:
                taken = turns.place_many(part)
                sent += taken
                del part[:taken]
                if part and not wait_out(turns, partial(self._room_for, part[0]), deadline):
                    raise TimedOut(self._full_text(), timeout=timeout or 0.0, reason=self._full(), sent=sent)
        turns.check_open()
        return sent

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything queued was handed to the kernel (or to the other socket, for inproc).

        Raises:
            TimedOut: something is still queued after `timeout` seconds.
            Closed: the socket is closed, or was during the call.
        """
        turns = self._turns
        turns.check_open()
        if not wait_out(turns, lambda: turns.core.look < 0 or turns.core.drained, _deadline(timeout)):
            queued = self._core.stats().queued
            raise TimedOut(f"{queued} messages are still queued", timeout=timeout or 0.0, reason="not_flushed")
        turns.check_open()


class Receiving(Socket):
    """The receiving half, for patterns that have an inbox."""

    def recv(self, *, timeout: float | None = None) -> bytes:
        """Wait for one message.

        Args:
            timeout: seconds; None: for ever; 0: take only what is there.

        Raises:
            TimedOut: there was none in time.
            Closed: the socket is closed, or was during the call.
        """
        try:
            for body in self._take:
                return body
        except IndexError:
            pass
        return self._recv_slowly(timeout)

    def _recv_slowly(self, timeout: float | None) -> bytes:
        deadline = _deadline(timeout)
        reader, turns = self._reader, self._turns
        if not self._inbox:
            turns.check_open()
        self._before_waiting()
        while True:
            in_time = reader.wait(deadline)
            try:
                return self._pop()
            except IndexError:
                pass
            turns.check_open()
            if not in_time:
                raise TimedOut(f"no message within {timeout} s", timeout=timeout or 0.0, reason="no_message")

    def recv_nowait(self) -> bytes:
        """Take one message if one is there.

        Raises:
            WouldBlock: none is there.
            Closed: the socket is closed.
        """
        return self._recv_now()

    def recv_many(self, max: int = MANY, *, timeout: float | None = None) -> list[bytes]:  # noqa: A002  # the plain word
        """Wait for at least one message and take what is there, at most `max`.

        Raises:
            TimedOut, Closed: as `recv`.
        """
        if max < 1:
            raise ValueError(f"max is at least 1 message, not {max}")
        deadline = _deadline(timeout)
        reader, turns = self._reader, self._turns
        in_time = True
        while not (bodies := self._take_many(max)):
            turns.check_open()
            if not in_time:
                raise TimedOut(f"no message within {timeout} s", timeout=timeout or 0.0, reason="no_message")
            self._before_waiting()
            in_time = reader.wait(deadline)
        return bodies

    def _before_waiting(self) -> None:
        """Write what this thread has left in any socket: it may be what the answer waits for."""
        if _unwritten.turns:
            _write_all()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            return self.recv()
        except ForkedError:
            raise
        except Closed:
            raise StopIteration from None

    @property
    def _reader(self) -> Reader:
        reader: Reader | None = self.__dict__.get("_reader_")
        if reader is None:
            reader = self.__dict__["_reader_"] = Reader(self._turns)
        return reader


class Push(Sending):
    """Deals messages evenly to the Pull sockets that have room; waits when none has."""

    _pattern = PushCore


class Pull(Receiving):
    """Takes messages from all its Push sockets, fairly."""

    _pattern = PullCore


class Pair(Sending, Receiving):
    """Talks to exactly one other Pair: the first that comes, until it leaves."""

    _pattern = PairCore


class Pair1(Pair1Kind, Sending, Receiving):
    """A Pair of version 1, whose messages count the steps they made; it talks to exactly one other Pair1."""

    def send(self, body: Body, *, timeout: float | None = None) -> None:
        """Queue one message, as every `send`; the header is put in front of it."""
        super().send(headed(body), timeout=timeout)

    def send_nowait(self, body: Body) -> None:
        """Queue one message if there is room, as every `send_nowait`."""
        super().send_nowait(headed(body))

    def send_many(self, bodies: Iterable[Body], *, timeout: float | None = None) -> int:
        """Queue many messages, as every `send_many`."""
        return super().send_many(map(headed, bodies), timeout=timeout)


class Pub(PubKind, Sending):
    """Sends everything to all Sub sockets that are attached; a slow one misses messages and slows no other."""


class Sub(SubKind, Receiving):
    """Receives what begins with one of its prefixes; from all Pub sockets, fairly."""


class Bus(BusKind, Sending, Receiving):
    """Talks to all other Bus sockets that are attached to it; one that is behind misses the newest messages."""
