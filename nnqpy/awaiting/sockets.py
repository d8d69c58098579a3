"""The halves of the task faces' sockets. Each face adds its loop's primitives, no more.

A task that waits stands in a turn's line; while anybody of a loop does, the loop watches the turn's poller, and
does the turn's I/O when it becomes readable. Nothing is handed over through a future: who is woken looks in the
inbox itself. So a task that is cancelled at any moment has taken nothing, and passes its turn on.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, overload

from nnqpy.accel import in_python, quick_awaited
from nnqpy.base import MANY, BaseSocket, begin_close, hopeless, linger_of, no_message, parts, shut
from nnqpy.errors import Closed, ForkedError, TimedOut
from nnqpy.events import SocketClosed
from nnqpy.message import frozen, frozen_all
from nnqpy.turns import State, leave, taken_out
from nnqpy.waiting import Spinner, deadline_of

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
    from types import TracebackType

    from nnqpy.base import EventLog
    from nnqpy.events import DrainReport, Event, PeerInfo
    from nnqpy.message import Body
    from nnqpy.routing.core import Waiter
    from nnqpy.schemes import AnyDialer
    from nnqpy.turns import Turn
    from nnqpy.waiting import Until

PLACES = 16
"""Large bodies that a task may send before it lets the others of its loop run."""
GREED = 4
"""Times that a task may fill the inbox itself before it lets the others of its loop run."""


class _Flush:
    """A flush that a loop is to call; if the loop ends without calling it, the janitor does its work."""

    __slots__ = ("_called", "_socket")

    def __init__(self, socket: TaskSocket) -> None:
        self._socket = socket
        self._called = False

    def __call__(self) -> None:
        self._called = True
        self._socket._flush()

    def __del__(self) -> None:
        if not self._called:
            self._socket._turns.attend()


class TaskWaiter(Protocol):
    """One task that waits; woken from any thread."""

    @property
    def woken(self) -> bool:
        """Whether somebody has ended the wait."""
        ...

    def wake(self) -> None:
        """End the wait."""

    async def wait(self, deadline: float | None) -> bool:
        """Wait to be woken; False when the time is over."""
        ...


class Watch(Protocol):
    """One loop's eye on one turn's poller, open while somebody of the loop stands in the line."""

    on: bool
    """Whether it is open."""

    def start(self) -> None:
        """Watch from now on; a second time changes nothing."""

    def stop_from_anywhere(self) -> None:
        """Watch no more; from any thread."""

    def over(self) -> bool:
        """Whether the loop is gone, and will need the watch no more."""
        ...


class TaskEvents:
    """A socket's events as they happen; iteration ends after `SocketClosed`."""

    def __init__(self, socket: TaskSocket, log: EventLog) -> None:
        self._socket = socket
        self._log = log
        self._over = False

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._over:
            raise StopAsyncIteration
        return await self.recv()

    async def recv(self, *, timeout: float | None = None) -> Event:
        """Wait for the next event.

        Raises:
            TimedOut: there was none within `timeout` seconds.
            Closed: the last one was taken before.
        """
        await self._socket.enter()
        if self._over:
            raise Closed("the socket is closed and has no more to tell")
        deadline, log = deadline_of(timeout), self._log
        while (event := log.take()) is None:
            if self._socket._turns.state is State.FORKED:  # nothing will happen here
                self._socket._turns.check_open()
            if deadline is not None and monotonic() >= deadline:
                raise TimedOut(f"no event within {timeout} s", timeout=timeout or 0.0, reason="no_event")
            await self._socket.stand(log.line, lambda: bool(log.events), deadline)
        self._over = isinstance(event, SocketClosed)
        return event


class TaskSocket(BaseSocket):
    """What the sockets of both loops have."""

    # --- the loop's primitives -----------------------------------------------------------------------------

    @abstractmethod
    def _waiter(self) -> TaskWaiter:
        """Return a waiter of the task that runs now."""

    @abstractmethod
    def _new_watch(self, turn: Turn, work: Callable[[], None]) -> Watch:
        """Return the running loop's eye on a turn, closed yet; `work` is called when the turn's poller is readable."""

    async def enter(self) -> None:
        """Begin a call: where the loop wants it, a cancellation point before anything is done."""

    @abstractmethod
    async def _together(self, works: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Run all of them at the same time, until all are over; the error of one ends the others."""

    @abstractmethod
    def _soon(self, flush: Callable[[], None]) -> None:
        """Have `flush` called when the tasks that are ready now have run."""

    @abstractmethod
    def _here(self) -> object:
        """The loop that runs now."""

    @abstractmethod
    async def _breathe(self) -> None:
        """Let the loop's other tasks run."""

    # --- standing in line ----------------------------------------------------------------------------------

    async def stand(self, line: deque[Waiter], useless: Callable[[], bool], deadline: float | None) -> bool:
        """Stand in a line until woken; False when the time is over, or if it was useless to begin with."""
        waiter = self._waiter()
        line.append(waiter)
        try:
            return not useless() and await waiter.wait(deadline)
        finally:
            leave(line, waiter)

    async def _watch(
        self,
        turn: Turn,
        work: Callable[[], None],
        useless: Callable[[], bool],
        deadline: float | None,
        own: deque[Waiter] | None = None,
        more: Callable[[], bool] | None = None,
    ) -> None:
        """Stand in a turn's line, and have `work` called when the turn's poller is readable.

        Args:
            turn: whose.
            work: what to do then.
            useless: looked at when already in line: True if there is no need to wait.
            deadline: `monotonic` seconds, or None.
            own: a line to stand in as well, where one is woken for what is one's own.
            more: whether there is something for the next in line too, when we take what we wait for; None: as `useless`.
        """
        watches, here = self._watches, self._here()
        watch = watches.get((here, turn))
        if watch is None:
            for key in [key for key, one in watches.items() if one.over()]:
                del watches[key]
            watch = watches[here, turn] = self._new_watch(turn, work)
        waiter = self._waiter()
        turn.line.append(waiter)
        if own is not None:
            own.append(waiter)
        cancelled = True
        try:
            watch.start()
            if not useless():
                await waiter.wait(deadline)
            cancelled = False
        finally:
            # Woken: what we do not take is for the next. But nothing is not handed on, or those in line would wake
            # each other for ever; nor has anything to hand on who was woken for what is its own alone.
            if own is not None:
                leave(own, waiter)
                handed = taken_out(turn.line, waiter)
            else:
                handed = leave(turn.line, waiter)
            if handed and (cancelled or (more or useless)()):
                turn.wake()

    def _seen_to(self, turn: Turn) -> bool:
        """Whether other tasks wait here already, so that the loop looks after all that are ready have run."""
        if not turn.line:
            return False
        watch = self._watches.get((self._here(), turn))
        return watch is not None and watch.on

    _watches_: dict[tuple[object, Turn], Watch] | None = None

    @property
    def _watches(self) -> dict[tuple[object, Turn], Watch]:
        if self._watches_ is None:
            with self._core.lock:  # loops of several threads may come at once
                if self._watches_ is None:
                    self._watches_ = {}
        return self._watches_

    def _unwatch(self) -> None:
        """The socket is closed: no loop watches it any more."""
        for watch in tuple(self._watches.values()):
            watch.stop_from_anywhere()
        self._watches.clear()

    # --- endpoints and peers -------------------------------------------------------------------------------

    @overload
    def connect(self, url: str) -> AnyDialer: ...
    @overload
    def connect(
        self, url: str, *, wait: Literal[True], timeout: float | None = None
    ) -> Coroutine[object, object, AnyDialer]: ...
    @overload
    def connect(self, url: str, *, wait: Literal[False], timeout: float | None = None) -> AnyDialer: ...
    def connect(
        self, url: str, *, wait: bool = False, timeout: float | None = None
    ) -> AnyDialer | Coroutine[object, object, AnyDialer]:
        """Keep a connection to `url`: dialled in the background, again and again, until the handle is closed.

        Args:
            url: where to.
            wait: awaited, return only when the connection is attached: ``await socket.connect(url, wait=True)``.
            timeout: seconds to wait for that; None: for ever.

        Raises:
            TimedOut: it was not attached in time; the text has the last error. The dialer is closed again.
            AddressError: the URL is malformed or cannot be dialled.
            Closed: the socket is closed.
        """
        return self._connect_and_wait(url, timeout) if wait else self._ends.dial(url)

    async def _connect_and_wait(self, url: str, timeout: float | None) -> AnyDialer:
        deadline = deadline_of(timeout)
        dialer = self._ends.dial(url)
        try:
            if not await self._attached(dialer, deadline):
                raise self._no_connection(dialer, timeout)
        except BaseException:
            dialer.close()
            raise
        return dialer

    async def _attached(self, dialer: AnyDialer, deadline: float | None) -> bool:
        """Wait for a dialer's connection; False when the time is over first."""
        while not dialer.up:
            if deadline is not None and monotonic() >= deadline:
                return False
            await self._change(lambda: dialer.up, deadline)
        return True

    async def wait_for_peers(self, n: int = 1, timeout: float | None = None) -> tuple[PeerInfo, ...]:
        """Wait until at least `n` peers are attached, and return them.

        Raises:
            TimedOut: there were fewer within `timeout` seconds.
            Closed: the socket is closed, or was during the call.
        """
        await self.enter()
        deadline = deadline_of(timeout)
        while len(peers := self.peers) < n:
            if deadline is not None and monotonic() >= deadline:
                raise self._too_few(len(peers), n, timeout)
            await self._change(lambda: len(self._core.peers) >= n, deadline)
        self._turns.check_open()
        return peers

    async def _change(self, done: Callable[[], bool], deadline: float | None) -> None:
        turns = self._turns
        turns.check_open()
        await self.stand(turns.watchers, lambda: done() or self.closed, deadline)
        turns.check_open()

    def events(self) -> TaskEvents:
        """Return the events that happen from now on."""
        return TaskEvents(self, self._ends.log())

    async def close(self, linger: float | None = None) -> DrainReport:
        """Close: refuse new messages, send what is queued for at most `linger` seconds, part with the peers.

        It drains also while a dial is still under way. Tasks that wait in other calls get `Closed`. A second call
        returns the first one's report. Cancelled while it drains, it closes at once and the cancellation goes on.

        Args:
            linger: seconds; None: the socket's option; 0: do not wait.

        Returns:
            How many of the queued messages went on, how many were abandoned, how many received ones nobody took.
        """
        seconds = linger_of(self._ends, linger)
        turns, ends = self._turns, self._ends
        if not begin_close(ends, seconds):
            while ends.report is None and ends.closing is not None:
                await self.stand(ends.closers, lambda: ends.report is not None, None)
            return shut(ends)
        closing = ends.closing
        try:
            if closing is not None and closing.queued and seconds:
                await self._wait_out(lambda: turns.core.drained or hopeless(ends), closing.deadline)
        finally:
            report = shut(ends)
            self._unwatch()
        return report

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- waiting -------------------------------------------------------------------------------------------

    async def _wait_out(self, ready: Callable[[], bool], deadline: float | None) -> bool:
        """Write, and wait until `ready()`; False when the time is over first."""
        turns = self._turns
        out = turns.out
        seen = -1
        while True:
            if out.take():
                try:
                    turns.pump()
                finally:
                    out.lock.release()
            if ready():
                out.wake()
                return True
            if seen != turns.core.delivered:
                # What became free is not enough for us, but may be for another. Told once: if no more follows, those in
                # line do not wake each other for ever.
                seen = turns.core.delivered
                out.wake()
            if deadline is not None and monotonic() >= deadline:
                return False
            await self._watch(out, self._do_out, ready, deadline)

    def _do_out(self) -> None:
        turns = self._turns
        if turns.out.take():
            try:
                turns.poll_out(0)
                turns.pump()
            finally:
                turns.out.lock.release()
                turns.out.wake()

    def _flush(self) -> None:
        self._flusher = None
        self._turns.keep()

    _flusher: object = None
    """The loop that will call `_flush`; one that was ended before it did is not asked again, but replaced."""


class TaskOutgoing(TaskSocket):
    """A socket that has a send queue."""

    async def _queue(self, payload: bytes, timeout: float | None, *, awaited: bool = False) -> None:
        """Queue one payload; waits while there is no room for it. One whose answer is `awaited` now may leave with others."""
        if len(payload) <= self._small and not self._core.crowded(payload):
            try:
                self._outbox.append(payload)
                if len(self._outbox) > self._core.look:
                    await self._press(payload, timeout, gather=awaited and self._seen_to(self._turns.into))
            except BaseException as error:
                self._broken_off(error)
                raise
        else:
            await self._place(payload, timeout)

    async def _press(self, body: bytes, timeout: float | None, *, gather: bool = False) -> None:
        turns = self._turns
        if self._due:
            # A whole batch was written since others ran. Let them, with nothing of this call queued meanwhile:
            # a task that is cancelled here has not sent.
            self._due = False
            gather = gather or turns.in_flow  # asked now: the time that the others take is no pause of the sender's
            with turns.core.lock:
                withdrawn = turns.core.withdraw(body)
            if withdrawn:
                await self._breathe()
                self._outbox.append(body)
        if not turns.press_softly(body, gather=gather):
            await self._place(body, timeout)
            return
        if self._outbox:
            self._promise()
        else:
            self._due = True

    _due = False
    _placed = 0

    def _promise(self) -> None:
        if self.closed:
            return
        self._turns.promise_by_loop()
        here = self._here()
        if self._flusher is not here:
            self._flusher = here
            self._soon(_Flush(self))

    async def _place(self, body: bytes, timeout: float | None) -> None:
        deadline = deadline_of(timeout)
        self._placed += 1
        if self._placed >= PLACES:
            self._placed = 0
            await self._breathe()  # before it is queued: cancelled here, it has not been sent
        while not self._turns.place(body):
            if not await self._wait_out(partial(self._room_for, body), deadline):
                raise self._no_room(timeout)

    async def _queue_many(self, payloads: Iterable[list[bytes]], timeout: float | None) -> int:
        """Queue lists of payloads, and return how many payloads that were."""
        deadline = deadline_of(timeout)
        turns = self._turns
        turns.check_open()
        sent = 0
        for part in payloads:
            if sent:
                await self._breathe()
            while part:
                taken = turns.place_many(part)
                sent += taken
                del part[:taken]
                if not part:
                    break
                if not await self._wait_out(partial(self._room_for, part[0]), deadline):
                    raise self._no_room(timeout, sent)
        return sent


class TaskFlushing(TaskOutgoing):
    """One whose user sends."""

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until everything queued was handed to the kernel (or to the other socket, for inproc).

        Raises:
            TimedOut: something is still queued after `timeout` seconds.
            Closed: the socket is closed, or was during the call.
        """
        await self.enter()
        turns = self._turns
        turns.check_open()
        if not await self._wait_out(lambda: turns.core.look < 0 or turns.core.drained, deadline_of(timeout)):
            raise self._not_flushed(timeout)
        turns.check_open()


class TaskSending(TaskFlushing):
    """The sending half, for patterns whose messages are bodies."""

    @quick_awaited("send")
    async def send(self, body: Body, *, timeout: float | None = None) -> None:
        """Queue one message; waits only while the queue is at its mark.

        A return means that the message is in the queue or further, not that a peer has it. What a task sends
        before it lets the loop run is written together. Cancelled, it has queued nothing.

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
                    await self._press(body, timeout)
            except BaseException as error:
                self._broken_off(error)
                raise
        else:
            await self._place(frozen(body), timeout)

    def send_nowait(self, body: Body) -> None:
        """Queue one message if there is room.

        Raises:
            WouldBlock: there is none; ``.reason`` is ``"no_peer"`` or ``"queue_full"``.
            TypeError, Closed: as in `send`.
        """
        self._send_now(frozen(body))

    async def send_many(self, bodies: Iterable[Body], *, timeout: float | None = None) -> int:
        """Queue many messages, in order, and return how many.

        Args:
            bodies: as for `send`; taken from the iterable in parts of 256.
            timeout: seconds for all of them together.

        Raises:
            TimedOut: no room in time; ``.sent`` says how many were queued.
            TypeError: one is no message; those of earlier parts are queued.
            Closed: as in `send`.
        """
        return await self._queue_many(parts(bodies, frozen_all), timeout)


class TaskIncoming(TaskSocket):
    """A socket that has an inbox."""

    async def _next(self, timeout: float | None, until: Until | None = None) -> Any:  # what the pattern's inbox has
        """Take the next message; somebody else may end the wait by `until`."""
        try:
            for message in self._take:
                return message
        except IndexError:
            pass
        return await self._next_slowly(timeout, until)

    async def _next_slowly(self, timeout: float | None, until: Until | None = None) -> Any:  # as _next
        deadline = deadline_of(timeout)
        box = self._inbox if until is None else until
        while True:
            in_time = await self._fill(deadline, box)
            try:
                return self._pop()
            except IndexError:
                pass
            self._turns.check_open()
            if not in_time or (until is not None and until.over):
                raise no_message(timeout)

    async def _next_many(self, most: int, timeout: float | None, until: Until | None = None) -> list[Any]:  # as _next
        """Take what is there, at least one and at most `most`."""
        if most < 1:
            raise ValueError(f"max is at least 1 message, not {most}")
        deadline = deadline_of(timeout)
        box = self._inbox if until is None else until
        in_time = True
        while not (messages := self._take_many(most)):
            self._turns.check_open()
            if not in_time or (until is not None and until.over):
                raise no_message(timeout)
            in_time = await self._fill(deadline, box)
        return messages

    async def _fill(self, deadline: float | None, box: object, own: deque[Waiter] | None = None) -> bool:
        """Get something into `box` (the inbox, or a question): read, or wait to; False when the time is over."""
        turns = self._turns
        into = turns.into
        if box:
            return True
        turns.check_open()
        seen_to = self._seen_to(into)
        if self._flusher is not None and not seen_to:
            turns.keep()  # what the answer waits for goes now; the flush that is scheduled finds nothing to do
        if (not seen_to or turns.ready_in) and into.take():
            try:
                while True:
                    if not turns.fill() or box:
                        break  # a large message arrives in pieces
                    pass  # noqa: PIE790  # what the jump belongs to: tests/test_loops.py
                if not box and self._spinner.worth_it():
                    self._spinner.spin(box)
            finally:
                into.lock.release()
                if turns.core.inbox:
                    into.wake()
            if box:
                self._greed += 1
                if self._greed >= GREED:
                    self._greed = 0
                    await self._breathe()
                return True
        if deadline is not None and monotonic() >= deadline:
            return False
        self._greed = 0
        await self._watch(
            into,
            turns.read,
            lambda: bool(box or turns.ready_in) or self.closed,
            deadline,
            own,
            self._more_than_one if own is None else None,
        )
        return True

    def _more_than_one(self) -> bool:
        """Whether there is something for another, too, when somebody takes a message now."""
        return len(self._inbox) > 1 or bool(self._turns.ready_in) or self.closed

    _greed = 0

    _spinner_: Spinner | None = None

    @property
    def _spinner(self) -> Spinner:
        spinner = self._spinner_
        if spinner is None:
            spinner = self._spinner_ = Spinner(self._turns)
        return spinner


class TaskReceiving(TaskIncoming):
    """The receiving half, for patterns whose messages are bodies."""

    def __init_subclass__(cls) -> None:
        """Have ``async for`` call the class's own `recv`, where it has one."""
        super().__init_subclass__()
        if cls.recv is not TaskReceiving.recv:
            cls.__anext__ = in_python(TaskReceiving.__anext__)  # type: ignore[method-assign]

    @quick_awaited("recv")
    async def recv(self, *, timeout: float | None = None) -> bytes:
        """Wait for one message. Cancelled, it has taken none.

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
        message: bytes = await self._next_slowly(timeout)
        return message

    def recv_nowait(self) -> bytes:
        """Take one message if one is there.

        Raises:
            WouldBlock: none is there.
            Closed: the socket is closed.
        """
        body: bytes = self._recv_now()
        return body

    async def recv_many(self, max: int = MANY, *, timeout: float | None = None) -> list[bytes]:  # noqa: A002  # the plain word
        """Wait for at least one message and take what is there, at most `max`. Cancelled, it has taken none.

        Raises:
            TimedOut, Closed: as `recv`.
        """
        return await self._next_many(max, timeout)

    def __aiter__(self) -> Self:
        return self

    @quick_awaited("recv")
    async def __anext__(self) -> bytes:
        try:
            return await self.recv()
        except ForkedError:
            raise
        except Closed:
            raise StopAsyncIteration from None
