"""Waiting for readiness: a `Poller` over many descriptors, and a `Bell` to end a wait from elsewhere.

Both are thin over Linux: epoll and eventfd. A poller's own descriptor is readable while anything in it is
ready, so an event loop, the janitor or a user's selector can wait for a whole socket through one number.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import Final

from nnqpy.errors import SystemErrors

if not hasattr(select, "epoll") or not hasattr(os, "eventfd"):
    raise ImportError("nnqpy needs epoll and eventfd: it runs on Linux")

READABLE: Final = select.EPOLLIN | select.EPOLLRDHUP
WRITABLE_ONCE: Final = select.EPOLLOUT | select.EPOLLET
"""Edge-triggered: told once after each time the kernel's buffer was full."""
HANG_UP: Final = select.EPOLLRDHUP | select.EPOLLET
STRAY: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET

MOST: Final = 256
"""Descriptors looked at in one poll: bounds the work of a turn; the kernel rotates the rest."""


class Poller:
    """A set of descriptors to wait for; may be changed by one thread while another waits."""

    __slots__ = ("_epoll", "poll")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.poll = self._epoll.poll

    def fileno(self) -> int:
        """Return a descriptor that is readable while anything in the set is ready."""
        return self._epoll.fileno()

    def add(self, fd: int, mask: int) -> None:
        """Wait for `fd` too; a second time, with another mask, changes it."""
        try:
            self._epoll.register(fd, mask)
        except FileExistsError:
            self._epoll.modify(fd, mask)

    def discard(self, fd: int) -> None:
        """Wait for `fd` no more; it need not be in the set."""
        with SystemErrors(), suppress(ValueError):
            self._epoll.unregister(fd)


class Bell:
    """A descriptor that becomes readable when rung, from any thread, until it is silenced."""

    __slots__ = ("_fd", "rung")

    def __init__(self) -> None:
        self.rung = False
        """Whether there may be something to silence; it may also be true of a bell that somebody else has just silenced."""
        self._fd = -1  # what `__del__` finds if there is no descriptor to be had
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._fd

    def ring(self) -> None:
        """Make the descriptor readable."""
        self.rung = True
        try:
            os.eventfd_write(self._fd, 1)
        finally:
            self.rung = True  # also if a `silence` of another thread was over before that, and did not reach it

    def silence(self) -> None:
        """Make it unreadable again; look at what it was rung for after that."""
        self.rung = False
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            pass

    def __del__(self) -> None:
        # Who still waits for it holds a reference, so the number cannot be reused under a waiter.
        if self._fd >= 0:
            os.close(self._fd)
