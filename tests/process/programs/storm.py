"""Storm: Ctrl-C and other ends of patience, again and again, raised only where a program's loop is ready for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType


class Alarm(TimeoutError):
    """As many programs have their signal handlers raise; it is an OSError, too, and not the system's."""


STRUCK: Final = (KeyboardInterrupt, Alarm)
"""What a storm raises, in turn."""


class Storm:
    """Two signal handlers; each raises once, and only while armed: it is the library that is tested, not the loop.

    Attributes:
        armed: set by the loop before each call that is to be interrupted, and unset after it.
        over: SIGTERM has come.
    """

    def __init__(self) -> None:
        self.armed = False
        self.over = False
        self._strokes = 0

    def on_interrupt(self, number: int, frame: FrameType | None) -> None:
        """Say so for each SIGINT, whether it raises or not."""
        os.write(1, b"interrupted\n")
        self._strike()

    def on_term(self, number: int, frame: FrameType | None) -> None:
        self.over = True
        self._strike()

    def _strike(self) -> None:
        if self.armed:
            self.armed = False
            self._strokes += 1
            raise STRUCK[self._strokes % len(STRUCK)]
