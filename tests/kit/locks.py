"""HookedLock: what another thread did just before we got the lock."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnqpy.routing.core import SocketCore


class HookedLock:
    """A lock before which, each time that it is taken, the next of `before` is called: another thread was faster."""

    def __init__(self) -> None:
        self.before: deque[Callable[[], object]] = deque()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if self.before:
            self.before.popleft()()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def hooked(core: SocketCore) -> HookedLock:
    """Give a core a HookedLock for its short lock."""
    lock = HookedLock()
    core.lock = lock  # type: ignore[assignment]  # a core only ever says `with self.lock`
    return lock
