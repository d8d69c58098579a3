"""The janitor: one event loop in a daemon thread, off the path of the messages.

It dials, accepts and greets, keeps the promises that callers leave behind (a tick of 1 ms while there are any),
writes for sockets whose peers were full and whom nobody waits for, notices hang-ups on connections that nobody
reads, and buries descriptors. It starts with the first socket that binds or connects, and sleeps when idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
import sys
import threading
import weakref
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from nnqpy import accel
from nnqpy.locks import Lock
from nnqpy.poller import HANG_UP, STRAY, Bell
from nnqpy.routing.core import NEVER
from nnqpy.turns import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from nnqpy.engine import Engine, Stream
    from nnqpy.routing.core import Peer
    from nnqpy.turns import Turns

log = logging.getLogger(__name__)

TICK: Final = 1e-3
IDLE_TICKS: Final = 20
"""Ticks without a promise after which the ticking stops."""
SWITCH: Final = 1e-3
"""Interpreter switch interval (seconds) while promises are open.

The tail of a burst is written by this thread, and a sender that goes on computing gives the interpreter lock up
only every 5 ms by default: that was measured as 6 ms for the last message. So the interval is lowered while the
ticking goes on, and put back after, unless somebody else has set it meanwhile.
"""
PERIOD: Final = 60e-6
"""Seconds that the compiled half lets a sender go without a write before the rest is written for it.

Its thread needs no interpreter lock to see that everything flows, so looking often costs the sender nothing.
"""
SWITCH_WATCHED: Final = 50e-6
"""Interpreter switch interval while senders are watched so: nobody asks for the lock as long as they write."""
CALM: Final = 20e-3
"""Seconds without anybody to watch after which the interval is put back."""
FAREWELL: Final = 1.0
"""Seconds that a connection we closed is kept to see the peer's end: see `Janitor.bury`."""
RETRY: Final = 0.01


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class Janitor:
    """The thread and its loop. Everything without a word on threads is called in that loop."""

    def __init__(self) -> None:
        self._hang_ups = select.epoll()  # first: a loop that is not run must be closed
        self.loop = asyncio.new_event_loop()
        self._dirty: set[Turns] = set()
        self._ticking = False
        self._idle = 0
        self._switch_before = 0.0
        self._switch = 0.0
        """The interval that we have set; 0.0: none."""
        self._hurrying = False
        """Somebody comes to put the interval back when no pulse is watched any more."""
        self._missed = Bell()
        self._late: dict[int, list[Turns]] = {}
        """Those who have missed a period, by the number of who is seeing to them."""
        self._numbers = count()
        self._ticker: Any = None
        if accel.ticker is not None:
            main = threading.main_thread().ident or 0
            self._ticker = accel.ticker(self._missed.fileno(), PERIOD, self._tend_here, main)
        self._blocked: dict[int, Turns] = {}
        """Sockets whose out-poller the loop watches, by its descriptor."""
        self._watched: dict[int, tuple[Turns, Peer]] = {}
        self._fresh: dict[int, Turns] = {}
        """Sockets that are read also when nobody asks, by the descriptor of their in-poller."""
        self._leaving: set[socket.socket] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.loop.add_reader(self._hang_ups.fileno(), self._look_at_hang_ups)
        self.loop.add_reader(self._missed.fileno(), self._look_at_missed)
        self._thread = threading.Thread(target=self._run, name="nnqpy-janitor", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        if self._ticker is not None:
            accel.compiled.wake_promptly()
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    # --- from any thread -----------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return a descriptor that is open as long as the janitor, and is no socket."""
        return self._hang_ups.fileno()

    def call(self, function: Callable[[], object]) -> None:
        """Have `function` called in the loop soon; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the interpreter is going down
            self.loop.call_soon_threadsafe(function)

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Run a coroutine in the loop; from any thread."""
        try:
            self.loop.call_soon_threadsafe(self._spawn, work)
        except RuntimeError:
            work.close()

    def promise(self, turns: Turns) -> None:
        """Tend a socket at the next tick; from any thread."""
        self._dirty.add(turns)
        if not self._ticking:
            self._ticking = True
            self._hurry(SWITCH)
            self.call(self._begin_ticks)

    def watch_over(self, turns: Turns) -> None:
        """Tend a socket once its senders have not written for a while, which a ticker sees; from any thread."""
        if self._ticker is None:
            self.promise(turns)
            return
        self._ticker.watch(turns.pulse, turns)
        if not self._hurrying:
            self._hurrying = True
            self._hurry(SWITCH_WATCHED)
            self.call(partial(self.loop.call_later, CALM, self._calm))

    def _hurry(self, interval: float) -> None:
        """Have threads give the interpreter lock up at least every `interval` seconds; from any thread."""
        before = sys.getswitchinterval()
        if before > interval:
            if not self._ours(before):
                self._switch_before = before
            self._switch = interval
            sys.setswitchinterval(interval)

    def _ours(self, interval: float) -> bool:
        """Whether it is we who have set the switch interval, and nobody else since."""
        return abs(interval - self._switch) < 1e-7

    def _calm(self) -> None:
        """Put the interpreter's switch interval back, if nothing goes on."""
        self._hurrying = False  # first, and then a look: who begins to be watched from now on hurries himself
        if not (self._ticking or self._watching):
            self._put_back()
        # Also if somebody came before it was put back, and has left it as he found it.
        if self._watching and not self._hurrying:
            self._hurrying = True
            self._hurry(SWITCH_WATCHED)
            self.loop.call_later(CALM, self._calm)
        if self._ticking:
            self._hurry(SWITCH)

    @property
    def _watching(self) -> bool:
        return self._ticker is not None and self._ticker.watching

    def _put_back(self) -> None:
        ours = self._ours(sys.getswitchinterval())
        self._switch = 0.0  # first: who hurries from now on notes for himself what he has lowered
        if ours:
            sys.setswitchinterval(self._switch_before)

    @property
    def inside(self) -> bool:
        """Whether this is the loop's own thread."""
        return threading.current_thread() is self._thread

    def stop(self, timeout: float) -> None:
        """End the loop and its thread, for good; from any thread but its own."""
        self._stopping = True
        self.call(self._wind_up)
        self._thread.join(timeout)
        if self._ticker is not None:
            self._ticker.stop()
        if not self._thread.is_alive():
            self.loop.close()
            self.forget()  # whose task was cancelled before its first step has nobody to close it

    # --- promises ------------------------------------------------------------------------------------------

    def _begin_ticks(self) -> None:
        self._idle = 0
        self._sweep()
        self.loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        self._sweep()
        if self._dirty:
            self._idle = 0
        else:
            self._idle += 1
            if self._idle > IDLE_TICKS:
                self._end_ticks()
                return
        self.loop.call_later(TICK, self._tick)

    def _end_ticks(self) -> None:
        self._ticking = False
        self._calm()
        if self._dirty:  # a promise was made while we stopped: its maker may have seen us still ticking
            self.promise(self._dirty.pop())

    def _sweep(self) -> None:
        for turns in list(self._dirty):
            # Out of the set first: who makes a promise from now on puts it in again.
            self._dirty.discard(turns)
            self._tend(turns)

    def _look_at_missed(self) -> None:
        # Before the bell: to silence it is a system call, and behind each of those a sender that computes keeps us waiting
        # for the interpreter lock. And again after it, for those who have missed in between.
        self._tend_late(self._tend)
        self._missed.silence()
        self._tend_late(self._tend)

    def _tend_here(self) -> None:
        """Keep what the main thread has promised, in that thread, whatever it is about; called by the ticker.

        A signal handler may raise out of it. Then those who are left are noted, and the ticker has our bell rung.
        """
        self._tend_late(self._tend_amid)

    def _tend_late(self, tend: Callable[[Turns], None]) -> None:
        """Tend those who have missed a period, and those whom another call was not done with: twice does no harm."""
        late = self._late
        mine: list[Turns] = []
        late[next(self._numbers)] = mine  # noted before it is filled, by one call
        self._ticker.missed(mine)
        for number, some in list(late.items()):
            found = tuple(some)
            for turns in found:
                tend(turns)
            if found or some is mine:  # else another thread is about to fill it
                late.pop(number, None)

    def _tend_amid(self, turns: Turns) -> None:
        kept = turns.tend_amid()
        if kept is None:
            self.watch_over(turns)
        elif not kept:
            self.call(partial(self._tend, turns))

    def _tend(self, turns: Turns) -> None:
        try:
            verdict = turns.tend()
        except Exception:  # a fault of ours must not end everybody's connections
            log.exception("tend-failed socket=%s", turns.core.proto.label)
            return
        if verdict is Verdict.BUSY:
            self.promise(turns)  # also as a callback, when no ticks are running
        fd = turns.out.poller.fileno()
        if verdict is Verdict.BLOCKED:
            self._blocked[fd] = turns
            self.loop.add_reader(fd, self._tend, turns)
        elif self._blocked.pop(fd, None) is not None:
            self.loop.remove_reader(fd)

    # --- connections ---------------------------------------------------------------------------------------

    def watch(self, turns: Turns, engine: Peer) -> None:
        """Notice when an engine's other end hangs up; from any thread."""
        self._watched[engine.fd] = (turns, engine)
        self._hang_ups.register(engine.fd, HANG_UP if turns.core.receives else STRAY)

    def unwatch(self, engine: Engine) -> None:
        """Look at an engine no more; before its descriptor is closed, from any thread."""
        if self._watched.pop(engine.fd, None) is not None:
            with contextlib.suppress(OSError, ValueError):
                self._hang_ups.unregister(engine.fd)

    def remind(self, turns: Turns, at: float) -> None:
        """Call a socket's `on_time` at a time (`monotonic` seconds), and then whenever it says; from any thread."""
        one = weakref.ref(turns)
        self.call(lambda: self.loop.call_at(at, self._remind, one))

    def keep_fresh(self, turns: Turns) -> None:
        """Read a socket whenever something comes, until it is let go of; from any thread."""
        fd = turns.into.poller.fileno()
        turns.into.watched += 1
        self._fresh[fd] = turns
        self._hang_ups.register(fd, select.EPOLLIN | select.EPOLLET)

    def let_go(self, turns: Turns) -> None:
        """Read it no more; from any thread."""
        fd = turns.into.poller.fileno()
        if self._fresh.pop(fd, None) is not None:
            turns.into.watched -= 1
            self._hang_ups.unregister(fd)

    def bury(self, engine: Engine, sock: socket.socket) -> None:
        """Close the system's socket of an engine that nobody uses any more; from any thread.

        If it is we who close, with data perhaps still on its way, the peer's own end is waited for, within
        bounds: closing with unread input would reset the connection and destroy what the peer has not read.
        """
        self.unwatch(engine)
        if engine.finishing and engine.sent and not self._stopping:
            self._leaving.add(sock)
            self.start(self._see_off(engine, sock))
        else:
            sock.close()

    async def receive(self, sock: socket.socket | Stream, size: int) -> bytes:
        """Wait for something from a connection, and return at most `size` bytes of it."""
        while True:
            try:
                return sock.recv(size)
            except BlockingIOError:
                await self._ready(sock, self.loop.add_reader, self.loop.remove_reader)

    async def send(self, sock: socket.socket | Stream, data: bytes) -> None:
        """Send a few bytes, all of them."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[sock.send(rest) :]
            except BlockingIOError:
                await self._ready(sock, self.loop.add_writer, self.loop.remove_writer)

    async def _drain(self, engine: Engine, sock: socket.socket) -> None:
        if engine.drained():
            return
        while not engine.drained():
            await self._ready(sock, self.loop.add_writer, self.loop.remove_writer)
        sock.shutdown(socket.SHUT_WR)

    async def _ready(
        self, sock: socket.socket | Stream, watch: Callable[..., object], unwatch: Callable[[int], object]
    ) -> None:
        """Wait until a connection is readable or writable, as the loop's two methods say."""
        ready: asyncio.Future[None] = self.loop.create_future()
        fd = sock.fileno()
        watch(fd, _settle, ready)
        try:
            await ready
        finally:
            unwatch(fd)

    async def _see_off(self, engine: Engine, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self._drain(engine, sock)
                while True:
                    if not await self.loop.sock_recv(sock, 65536):
                        break
                    pass  # noqa: PIE790  # what the jump belongs to: tests/test_loops.py
        self._leaving.discard(sock)
        sock.close()

    def _look_at_hang_ups(self) -> None:
        for fd, _ in self._hang_ups.poll(0, 64):
            watched = self._watched.get(fd)
            if watched is not None:
                self._look_at(*watched)
            elif (turns := self._fresh.get(fd)) is not None:
                self._freshen(turns)

    def _freshen(self, turns: Turns) -> None:
        try:
            done = turns.freshen()
        except Exception:  # as in _tend
            log.exception("freshen-failed socket=%s", turns.core.proto.label)
            return
        if not done:
            self.loop.call_later(RETRY, self._freshen, turns)

    def _remind(self, one: weakref.ref[Turns]) -> None:
        turns = one()
        if turns is None:
            return
        try:
            at = turns.on_time()
        except Exception:  # as in _tend
            log.exception("on-time-failed socket=%s", turns.core.proto.label)
            return
        if at < NEVER:
            self.loop.call_at(at, self._remind, one)

    def _look_at(self, turns: Turns, engine: Peer) -> None:
        try:
            seen = turns.hung_up(engine)
        except Exception:  # as in _tend
            log.exception("hang-up-failed socket=%s", turns.core.proto.label)
            return
        if not seen:
            self.loop.call_later(RETRY, self._look_at, turns, engine)

    # --- tasks and the end ---------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _wind_up(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        self.loop.call_soon(self._stop_when_idle, 50)

    def _stop_when_idle(self, patience: int) -> None:
        if self._tasks and patience:
            self.loop.call_soon(self._stop_when_idle, patience - 1)
        else:
            self.loop.stop()

    @property
    def seeing_off(self) -> bool:
        """Whether connections we closed still wait for their peer's end; from any thread."""
        return bool(self._leaving)

    def forget(self) -> None:
        """Close what nobody sees off any more; in a forked child: our copies of the parent's descriptors."""
        self._put_back()
        for sock in list(self._leaving):
            sock.close()


class _Process:
    """What this process has one of."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.janitor: Janitor | None = None


_process = _Process()
_forgotten: list[_Process] = []
"""Those of parent processes: kept, so that nothing of theirs is torn down in a child."""
sockets: weakref.WeakSet[Turns] = weakref.WeakSet()
"""Every socket of this process that is alive."""
stray_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
"""System sockets that belong to no engine: listeners, and connections that are greeting."""


def janitor() -> Janitor:
    """Return this process's janitor; starts it the first time."""
    if _process.janitor is None:
        with _process.lock:
            if _process.janitor is None:
                _process.janitor = Janitor()
    return _process.janitor


def running() -> bool:
    """Whether this process has a janitor."""
    return _process.janitor is not None


def inside() -> bool:
    """Whether this is the janitor's own thread."""
    return _process.janitor is not None and _process.janitor.inside


def promise(turns: Turns) -> None:
    """Have a socket tended soon, by the janitor if there is one."""
    if _process.janitor is not None:
        _process.janitor.promise(turns)


def watch(turns: Turns) -> None:
    """Have a socket tended once its senders have not written for a while, by the janitor if there is one."""
    if _process.janitor is not None:
        _process.janitor.watch_over(turns)


def bury(engine: Engine, sock: socket.socket) -> None:
    """Close the system's socket of an engine that nobody uses any more."""
    janitor().bury(engine, sock)


def stop(timeout: float) -> None:
    """End the janitor: the interpreter is going down."""
    current, _process.janitor = _process.janitor, None
    if current is not None:
        current.stop(timeout)


def _after_fork() -> None:
    parent = _Process()
    parent.janitor, _process.janitor = _process.janitor, None
    _forgotten.append(parent)
    _process.lock = Lock()
    inherited = tuple(sockets)
    for turns in inherited:
        turns.disown()  # all of them first: whatever comes after cannot keep one of them open
    if parent.janitor is not None:
        with contextlib.suppress(OSError):
            parent.janitor.forget()
    for turns in inherited:
        try:
            turns.forked()
        except Exception:  # one socket's trouble is not the others'
            log.exception("fork-failed socket=%s", turns.core.proto.label)
    sockets.clear()
    for sock in tuple(stray_sockets):
        sock.close()
    stray_sockets.clear()


os.register_at_fork(after_in_child=_after_fork)
