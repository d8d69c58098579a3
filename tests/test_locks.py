"""Locks: none is left held by what a signal handler raises, wherever it comes in between."""

from __future__ import annotations

import signal
import threading
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from nnqpy.locks import Guarded, Lock, RLock, take
from tests.kit.interrupts import handlers, interrupt

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTS = 200


class Leaky:
    """What must not be: an `__enter__` in which a handler may run when the lock is taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.locked = self._lock.locked
        self.release = self._lock.release

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def left_held(lock: Any) -> int:
    """Interrupt a loop over `with lock` many times, and return how often the lock was held after."""
    found = 0
    former = signal.signal(signal.SIGVTALRM, signal.default_int_handler)
    try:
        for _ in range(INTERRUPTS):
            # Time of this process's own work, so that no pause of the machine is taken for the loop's.
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0001)
            with pytest.raises(KeyboardInterrupt):
                while True:
                    with lock:
                        pass
            if lock.locked():
                found += 1
                lock.release()
    finally:
        signal.signal(signal.SIGVTALRM, former)
    return found


@pytest.mark.parametrize("make", [Lock, lambda: Guarded(threading.Lock())], ids=["ours", "guarded"])
def test_no_handler_leaves_a_lock_of_with_held(make: Callable[[], Any]) -> None:
    """Neither between `__enter__` and the block, nor as the block ends."""
    assert left_held(make()) == 0


def test_a_lock_that_is_left_held_is_seen() -> None:
    """A check that finds nothing in anything would pass everything."""
    assert left_held(Leaky()) > 0


@handlers
def test_a_wait_that_is_broken_off_takes_nothing(error: type[BaseException]) -> None:
    """Nor does it give back what it has not got."""
    at = 0
    for at in count():
        lock = Guarded(threading.Lock())

        def hold(lock: Guarded = lock) -> None:
            with lock:
                assert lock.locked()

        if not interrupt(hold, at, "nnqpy.locks", error=error):
            break
        assert not lock.locked()
    assert at > 1


@handlers
def test_what_was_taken_without_a_wait_goes_back(error: type[BaseException]) -> None:
    """The caller was not told, so it cannot give it back."""
    at, lock = 0, threading.Lock()
    for at in count():
        lock = threading.Lock()
        if not interrupt(lambda lock=lock: take(lock), at, "nnqpy.locks", error=error):  # type: ignore[misc]
            break
        assert not lock.locked()
    assert at > 1
    assert not take(lock)


def test_a_thread_takes_an_rlock_again() -> None:
    """As one of the standard library's."""
    lock = RLock()
    with lock, lock:
        pass
    assert lock.acquire(blocking=False)
    lock.release()
