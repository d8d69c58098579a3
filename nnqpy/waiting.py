"""How a thread waits: it does the socket's I/O itself if nobody does, else it stands in line.

Every wait ends by readiness, by the bell, by being woken in line, by its deadline, or by a signal handler that
raises; there is no slice of time in it. Who was woken and leaves without what it waited for wakes the next.
"""

from __future__ import annotations

import os
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from nnqpy.turns import State, leave

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from nnqpy.turns import Turn, Turns, Waiter

SPIN: Final = 100e-6
"""Seconds that a reader looks again and again before it waits in the kernel, while that pays.

Also when the other end does not spin, so that it takes one of the two to begin.
"""
SKIP_MAX: Final = 5
"""Failures in a row that still count: at most 2 ** 5 waits go without spinning before it is tried again."""
CPUS: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ThreadWaiter:
    """One blocked thread."""

    __slots__ = ("_lock", "woken")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.woken = False

    def wake(self) -> None:
        """End the wait; from any thread, and a second time changes nothing."""
        self.woken = True
        try:
            self._lock.release()
        except RuntimeError:
            pass  # two threads at the same time

    def wait(self, deadline: float | None) -> bool:
        """Wait to be woken; False when the time is over. A signal handler may raise out of it."""
        if deadline is None:
            return self._lock.acquire()
        return self._lock.acquire(timeout=max(0.0, deadline - monotonic()))


def left(deadline: float | None) -> float | None:
    """Return the seconds until `deadline`, None for no deadline."""
    return None if deadline is None else max(0.0, deadline - monotonic())


def stand_in_line(turn: Turn, useless: Callable[[], bool], deadline: float | None) -> None:
    """Wait in line until woken or out of time.

    Args:
        turn: whose line.
        useless: looked at when already in line: True if there is no need to wait.
        deadline: `monotonic` seconds, or None.
    """
    waiter = ThreadWaiter()
    line = turn.line
    try:
        line.append(waiter)
        # In line first, then look: who gives the turn back looks at the line after.
        if not useless():
            waiter.wait(deadline)
    finally:
        # If we were woken and there is still something to wake for, the next looks too, whether or not we take it. If
        # there is not, nobody is woken: those in line would wake each other without end.
        if leave(line, waiter) and useless():
            turn.wake()


def stand_by(line: deque[Waiter], useless: Callable[[], bool], deadline: float | None) -> bool:
    """Stand in a line whose people are all woken together; False when the time is over first.

    Args:
        line: where.
        useless: looked at when already in line: True if there is no need to wait.
        deadline: `monotonic` seconds, or None.
    """
    waiter = ThreadWaiter()
    line.append(waiter)
    try:
        return useless() or waiter.wait(deadline)
    finally:
        leave(line, waiter)


def wait_out(turns: Turns, ready: Callable[[], bool], deadline: float | None) -> bool:
    """Do the socket's writing until `ready()`; False when the time is over first.

    `ready` is called after everything that could be written was, and in line; it may raise.
    """
    try:
        return _wait_out(turns, ready, deadline)
    except KeyboardInterrupt:
        turns.attend()  # it may have come before the next in line was woken
        raise


def _wait_out(turns: Turns, ready: Callable[[], bool], deadline: float | None) -> bool:
    out, core = turns.out, turns.core
    gone = core.delivered
    while True:
        if out.take():
            try:
                while True:
                    turns.pump()
                    if ready():
                        return True
                    if out.line and core.delivered != gone:
                        out.wake(len(out.line))  # what is not enough for us may be for them
                    gone = core.delivered
                    if deadline is not None and monotonic() >= deadline:
                        return False
                    out.parked = True
                    try:
                        # Parked first, then look: who changes something looks at `parked` after.
                        # Others may have filled the queue again since the pump: a peer with room makes no edge.
                        if not ready() and not (turns.core.outbox and turns.core.dealing):
                            turns.poll_out(left(deadline))
                    finally:
                        out.parked = False
            finally:
                out.lock.release()
                out.wake()
        elif ready():
            return True
        if deadline is not None and monotonic() >= deadline:
            return False
        stand_in_line(out, lambda: not out.lock.locked() or ready(), deadline)


class Spinner:
    """When and how long to look again and again for an answer before waiting for it; one a socket."""

    __slots__ = ("_delivered", "_failures", "_skip", "_turns")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._delivered = 0
        self._failures = 0
        self._skip = 0

    def worth_it(self) -> bool:
        """Whether to spin: we sent since the last time, a second processor is there, and spinning paid of late."""
        delivered, self._delivered = self._delivered, self._turns.core.delivered
        if delivered == self._delivered or CPUS == 1 or not self._turns.spinnable:
            return False
        if self._skip:
            self._skip -= 1
            return False
        return True

    def spin(self) -> None:
        """In-turn held: look until there is a message, for a bounded time.

        Each failure in a row doubles the waits that go without.
        """
        turns = self._turns
        inbox = turns.core.inbox
        until = monotonic() + SPIN
        while monotonic() < until:
            turns.fill()
            if inbox:
                self._failures = 0
                return
            os.sched_yield()  # the other end may have been woken on this very processor
        self._failures = min(self._failures + 1, SKIP_MAX)
        self._skip = (1 << self._failures) - 2


class Reader:
    """How the threads of one socket wait for messages: one leads, the others stand in line."""

    __slots__ = ("_into", "_spinner", "_turns")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._into = turns.into
        self._spinner = Spinner(turns)

    def wait(self, deadline: float | None) -> bool:
        """Wait until the inbox has something or the socket is closed; False when the time is over first."""
        try:
            return self._wait(deadline)
        except KeyboardInterrupt:
            self._turns.attend()  # it may have come before the next in line was woken
            raise

    def _wait(self, deadline: float | None) -> bool:
        turns, into = self._turns, self._into
        inbox = turns.core.inbox
        if into.take():
            try:
                while True:
                    if not turns.fill() or inbox:
                        break  # a large message arrives in pieces
                if not inbox and self._spinner.worth_it():
                    self._spinner.spin()
                while True:
                    if inbox:
                        break
                    turns.check_open()
                    if deadline is not None and monotonic() >= deadline:
                        return False
                    into.parked = True
                    try:
                        # Parked first, then look: who changes something looks at `parked` after.
                        if not turns.ready_in and not turns.core.lost_in and turns.state is State.OPEN:
                            turns.poll_in(left(deadline))
                    finally:
                        into.parked = False
                    while True:
                        if inbox or not turns.fill():
                            break
            finally:
                into.lock.release()
                into.wake(len(inbox) or 1)
            return True
        if deadline is not None and monotonic() >= deadline:
            return bool(inbox)
        stand_in_line(into, lambda: bool(inbox) or not into.lock.locked(), deadline)
        return True
