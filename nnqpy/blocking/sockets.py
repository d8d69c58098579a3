"""The halves of the blocking face's sockets: every call waits in the caller's thread, and any thread may call.

A blocked call does the socket's I/O itself (see ``turns.py``), so it can be interrupted by a signal at any time
and loses nothing by it.
"""

from __future__ import annotations

import threading
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from nnqpy.accel import compiled, quick
from nnqpy.base import MANY, BaseSocket, close_blocking, linger_of, no_message, parts
from nnqpy.errors import Closed, ForkedError, TimedOut
from nnqpy.events import SocketClosed
from nnqpy.message import frozen, frozen_all
from nnqpy.turns import State
from nnqpy.waiting import Reader, deadline_of, stand_by, wait_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from nnqpy.base import EventLog
    from nnqpy.events import DrainReport, Event, PeerInfo
    from nnqpy.message import Body
    from nnqpy.schemes import AnyDialer
    from nnqpy.turns import Turns
    from nnqpy.waiting import Until


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
        deadline = deadline_of(timeout)
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
        deadline = deadline_of(timeout)
        dialer = self._ends.dial(url)
        try:
            if wait and not self._attached(dialer, deadline):
                raise self._no_connection(dialer, timeout)
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
        deadline = deadline_of(timeout)
        while len(peers := self.peers) < n:
            if not _wait_for_change(self._turns, lambda: len(self._core.peers) >= n, deadline):
                raise self._too_few(len(peers), n, timeout)
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


class Outgoing(Socket):
    """A socket that has a send queue."""

    def _queue(self, payload: bytes, timeout: float | None) -> None:
        """Queue one payload; waits while there is no room for it."""
        if len(payload) <= self._small and not self._core.crowded(payload):
            try:
                self._outbox.append(payload)
                if len(self._outbox) > self._core.look:
                    self._press(payload, timeout)
            except BaseException as error:
                self._broken_off(error)
                raise
        else:
            self._place(payload, timeout)

    def _press(self, payload: bytes, timeout: float | None) -> None:
        turns = self._turns
        if not turns.press(payload):
            self._place(payload, timeout)
        elif turns.promised:
            _unwritten.turns.add(turns)

    def _place(self, payload: bytes, timeout: float | None) -> None:
        deadline = deadline_of(timeout)
        turns = self._turns
        while not turns.place(payload, gather=True):
            if not wait_out(turns, partial(self._room_for, payload), deadline):
                raise self._no_room(timeout)
        if turns.promised:
            _unwritten.turns.add(turns)

    def _queue_many(self, payloads: Iterable[list[bytes]], timeout: float | None) -> int:
        """Queue lists of payloads, and return how many payloads that were."""
        deadline = deadline_of(timeout)
        turns = self._turns
        sent = 0
        for part in payloads:
            while part:
                taken = turns.place_many(part)
                sent += taken
                del part[:taken]
                if part and not wait_out(turns, partial(self._room_for, part[0]), deadline):
                    raise self._no_room(timeout, sent)
        turns.check_open()
        return sent


class Flushing(Outgoing):
    """One whose user sends."""

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything queued was handed to the kernel (or to the other socket, for inproc).

        Raises:
            TimedOut: something is still queued after `timeout` seconds.
            Closed: the socket is closed, or was during the call.
        """
        turns = self._turns
        turns.check_open()
        if not wait_out(turns, lambda: turns.core.look < 0 or turns.core.drained, deadline_of(timeout)):
            raise self._not_flushed(timeout)
        turns.check_open()


class Sending(Flushing):
    """The sending half, for patterns whose messages are bodies."""

    @quick
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
            except BaseException as error:
                self._broken_off(error)
                raise
        else:
            self._place(frozen(body), timeout)

    def send_nowait(self, body: Body) -> None:
        """Queue one message if there is room.

        Raises:
            WouldBlock: there is none; ``.reason`` is ``"no_peer"`` or ``"queue_full"``.
            TypeError, Closed: as in `send`.
        """
        self._send_now(frozen(body))

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
        return self._queue_many(parts(bodies, frozen_all), timeout)


class Incoming(Socket):
    """A socket that has an inbox."""

    def _next(self, timeout: float | None, until: Until | None = None) -> Any:  # what the pattern's inbox has
        """Take the next message; somebody else may end the wait by `until`."""
        try:
            for message in self._take:
                return message
        except IndexError:
            pass
        return self._next_slowly(timeout, until)

    def _next_slowly(self, timeout: float | None, until: Until | None = None) -> Any:  # as _next
        deadline = deadline_of(timeout)
        reader, turns = self._reader, self._turns
        box = self._inbox if until is None else until
        if not self._inbox:
            turns.check_open()
        self._before_waiting()
        while True:
            in_time = reader.wait(deadline, box)
            try:
                return self._pop()
            except IndexError:
                pass
            turns.check_open()
            if not in_time or (until is not None and until.over):
                raise no_message(timeout)

    def _next_many(self, most: int, timeout: float | None, until: Until | None = None) -> list[Any]:  # as _next
        """Take what is there, at least one and at most `most`."""
        if most < 1:
            raise ValueError(f"max is at least 1 message, not {most}")
        deadline = deadline_of(timeout)
        reader, turns = self._reader, self._turns
        box = self._inbox if until is None else until
        in_time = True
        while not (messages := self._take_many(most)):
            turns.check_open()
            if not in_time or (until is not None and until.over):
                raise no_message(timeout)
            self._before_waiting()
            in_time = reader.wait(deadline, box)
        return messages

    def _before_waiting(self) -> None:
        """Write what this thread has left in any socket: it may be what the answer waits for."""
        if _unwritten.turns:
            _write_all()

    _reader_: Reader | None = None
    """Not asked of `__dict__`: an instance that was once seen as a dictionary has its attributes found more slowly ever after."""

    @property
    def _reader(self) -> Reader:
        reader = self._reader_
        if reader is None:
            reader = self._reader_ = Reader(self._turns)
        return reader


class Receiving(Incoming):
    """The receiving half, for patterns whose messages are bodies."""

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
                return body  # type: ignore[no-any-return]  # of this pattern the inbox has bodies
        except IndexError:
            pass
        message: bytes = self._next_slowly(timeout)
        return message

    def _recv_quickly(self, *, timeout: float | None = None) -> bytes:
        """`recv`, where messages can be taken by an operator: that has fewer steps than the `for` statement."""
        try:
            return ~self._take  # type: ignore[operator,no-any-return]  # a Taker of the compiled half
        except IndexError:
            pass
        message: bytes = self._next_slowly(timeout)
        return message

    if compiled:
        recv = update_wrapper(_recv_quickly, recv)

    def recv_nowait(self) -> bytes:
        """Take one message if one is there.

        Raises:
            WouldBlock: none is there.
            Closed: the socket is closed.
        """
        body: bytes = self._recv_now()
        return body

    def recv_many(self, max: int = MANY, *, timeout: float | None = None) -> list[bytes]:  # noqa: A002  # the plain word
        """Wait for at least one message and take what is there, at most `max`.

        Raises:
            TimedOut, Closed: as `recv`.
        """
        return self._next_many(max, timeout)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            return self.recv()
        except ForkedError:
            raise
        except Closed:
            raise StopIteration from None
