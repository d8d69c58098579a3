"""Locks that no signal handler leaves held, whatever it raises and wherever it comes in between, on every Python.

Two ways to take one. ``with lock:`` waits for it. CPython carries that out as one instruction up to 3.13, and from 3.15 on
looks for no signal right behind `__enter__`. In between, on 3.14, `__enter__` is a call like any other: a handler may run
when the lock is taken and the block not begun, and its error leaves the lock held for ever (python/cpython#148874). So
there `__enter__` is a function of Python: no handler runs when such a one returns.

The other is `take`, for where it is not waited for, or not for ever.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def take(lock: threading.Lock | Guarded, within: float | None = 0.0) -> bool:
    """Take a lock if it is free, or is within that many seconds; None: whenever it is.

    A signal handler may raise as soon as the lock is ours: then it goes back before the error goes on. Between our
    return and the caller's `try` there is no call, so no handler runs. The caller gives it back by ``lock.release()`` as
    the first thing in `finally`: a call of a Python function might be broken off as it is entered.
    """
    got: list[bool] = []
    try:
        got.extend(map(lock.acquire, (within != 0,), (within or -1,)))
        return got[0]
    except BaseException:
        if got and got[0]:
            lock.release()
        raise


class Guarded:
    """A lock for ``with`` on a Python that may run a handler between `__enter__` and the block."""

    __slots__ = ("__exit__", "acquire", "locked", "release")

    def __init__(self, lock: Any) -> None:  # a Lock or an RLock
        self.acquire: Callable[..., bool] = lock.acquire
        self.release: Callable[[], None] = lock.release
        self.locked: Callable[[], bool] = lock.locked
        # The lock's own: a function of Python might be broken off as it is entered.
        self.__exit__: Callable[..., None] = lock.__exit__

    def __enter__(self) -> None:
        take(self, None)


if TYPE_CHECKING or sys.version_info[:2] != (3, 14):
    Lock = threading.Lock
    RLock = threading.RLock
else:

    def Lock() -> Guarded:  # noqa: N802  # as in `threading`
        """Return a lock."""
        return Guarded(threading.Lock())

    def RLock() -> Guarded:  # noqa: N802  # as in `threading`
        """Return a lock that its thread can take again."""
        return Guarded(threading.RLock())
