"""Witness: what happened to one of our sockets, waited for instead of slept for."""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from nnqpy.events import Event

E = TypeVar("E", bound="Event")

PATIENCE = 20.0


class Witness:
    """Takes in every event of a socket, in order; it is the socket's `on_event`."""

    def __init__(self) -> None:
        self._line: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def __call__(self, event: Event) -> None:
        self._line.put(event)

    def wait(self, kind: type[E]) -> E:
        """Return the next event of that kind; the ones before it are passed over.

        Raises:
            AssertionError: none came within `PATIENCE`; it names those that did.
        """
        deadline = time.monotonic() + PATIENCE
        passed: list[Event] = []
        while True:
            try:
                event = self._line.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {kind.__name__} within {PATIENCE} s, only {passed}") from None
            if isinstance(event, kind):
                return event
            passed.append(event)

    def none_of(self, kind: type[Event]) -> bool:
        """Look through what has been told so far, and forget it: True if nothing was of that kind."""
        clean = True
        while not self._line.empty():
            clean &= not isinstance(self._line.get(), kind)
        return clean
