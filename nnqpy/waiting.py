"""How a thread waits: it does the socket's I/O itself if nobody does, else it stands in line.

Every wait ends by readiness, by the bell, by being woken in line, by its deadline, or by a signal handler that
raises; there is no slice of time in it. Who was woken and leaves without what it waited for wakes the next.
"""

from __future__ import annotations

import os
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from nnqpy.options import check_seconds
from nnqpy.turns import State, leave, taken_out

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from nnqpy.routing.core import Waiter
    from nnqpy.turns import Turn, Turns

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


class Until:
    """What to wait for: something in `box`, or that somebody has set `over`. True when there is no more need to."""

    __slots__ = ("_box", "over")

    def __init__(self, box: object) -> None:
        self._box = box
        self.over = False

    def __bool__(self) -> bool:
        return self.over or bool(self._box)


def deadline_of(timeout: float | None) -> float | None:
    """Return the `monotonic` second at which `timeout` is over; None: never."""
    if timeout is None:
        return None
    check_seconds("timeout", timeout)
    return monotonic() + timeout


def left(deadline: float | None) -> float | None:
    """Return the seconds until `deadline`, None for no deadline."""
    return None if deadline is None else max(0.0, deadline - monotonic())


def stand_in_line(
    turn: Turn, useless: Callable[[], bool], deadline: float | None, own: deque[Waiter] | None = None
) -> None:
    """Wait in line until woken or out of time.

    Args:
        turn: whose line.
        useless: looked at when already in line: True if there is no need to wait.
        deadline: `monotonic` seconds, or None.
        own: a line to stand in as well, where one is woken for what is one's own.
    """
    waiter = ThreadWaiter()
    line = turn.line
    try:
        line.append(waiter)
        if own is not None:
            own.append(waiter)
        # In line first, then look: who gives the turn back looks at the line after.
        if not useless():
            waiter.wait(deadline)
    finally:
        # If we were woken and there is still something to wake for, the next looks too, whether or not we take it. If
        # there is not, nobody is woken: those in line would wake each other without end. Who was woken for what is its
        # own alone has nothing to hand on.
        if own is not None:
            leave(own, waiter)
            handed = taken_out(line, waiter)
        else:
            handed = leave(line, waiter)
        if handed and useless():
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
    except BaseException as error:
        turns.broken_off(error)  # perhaps before the next in line was woken
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

    def spin(self, box: object) -> None:
        """In-turn held: look until `box` is true, for a bounded time.

        Each failure in a row doubles the waits that go without.
        """
        turns = self._turns
        until = monotonic() + SPIN
        while monotonic() < until:
            turns.fill()
            if box:
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

    def wait(self, deadline: float | None, box: object, own: deque[Waiter] | None = None) -> bool:
        """Wait until `box` is true or the socket is closed; False when the time is over first.

        Args:
            deadline: `monotonic` seconds, or None.
            box: where what is waited for will be: the inbox, or a question.
            own: the line of those who wait for that alone.
        """
        try:
            return self._wait(deadline, box, own)
        except BaseException as error:
            self._turns.broken_off(error)  # perhaps before the next in line was woken
            raise

    def _wait(self, deadline: float | None, box: object, own: deque[Waiter] | None) -> bool:
        turns, into = self._turns, self._into
        if into.take():
            try:
                while True:
                    if not turns.fill() or box:
                        break  # a large message arrives in pieces
                    pass  # noqa: PIE790  # what the jump belongs to: tests/test_loops.py
                if not box and self._spinner.worth_it():
                    self._spinner.spin(box)
                while True:
                    if box:
                        break
                    turns.check_open()
                    if deadline is not None and monotonic() >= deadline:
                        return False
                    into.parked = True
                    try:
                        # Parked first, then look: who changes something looks at `parked` after.
                        if not box and not turns.ready_in and not turns.core.lost_in and turns.state is State.OPEN:
                            turns.poll_in(left(deadline))
                    finally:
                        into.parked = False
                    while True:
                        if box or not turns.fill():
                            break
                        pass  # noqa: PIE790  # what the jump belongs to: tests/test_loops.py
            finally:
                into.lock.release()
                into.wake(len(turns.core.inbox) or 1)
            return True
        if deadline is not None and monotonic() >= deadline:
            return bool(box)
        stand_in_line(into, lambda: bool(box) or not into.lock.locked(), deadline, own)
        return True
