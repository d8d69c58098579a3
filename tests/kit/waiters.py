"""FakeWaiter: somebody in a line, who only notes that he was woken."""

from __future__ import annotations


class FakeWaiter:
    """Stands in line as a thread or a task does."""

    def __init__(self) -> None:
        self.woken = False

    def wake(self) -> None:
        """Note it; a second time changes nothing."""
        self.woken = True
