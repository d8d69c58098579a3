"""What the demo shows: one line that is refreshed on a terminal, a line now and then elsewhere; and the table at the end."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ON_A_TERMINAL = 0.1  # seconds between two refreshes
ELSEWHERE = 1.0  # seconds between two lines
BAR = 24  # characters


class Display:
    """The progress of one pipeline after the other."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._clock = clock
        self._refreshes = self._stream.isatty()
        self._every = ON_A_TERMINAL if self._refreshes else ELSEWHERE
        self._transport = ""
        self._messages = self._sent = self._received = 0
        self._began = self._shown_at = 0.0

    def begin(self, transport: str, messages: int) -> None:
        """Set up a pipeline for `messages` jobs."""
        self._transport, self._messages = transport, messages
        self._sent = self._received = 0
        self._shown_at = self._clock()
        self._show("starting the processes")

    def sent(self, count: int) -> None:
        """So many were sent up to now."""
        self._sent = count
        self._progress()

    def received(self, count: int) -> None:
        """So many have arrived up to now."""
        self._received = count
        self._progress()

    def end(self, received: int) -> None:
        """The pipeline is done."""
        self._show(f"{received:,} jobs arrived")
        if self._refreshes:
            self._stream.write("\n")
            self._stream.flush()

    def note(self, text: str) -> None:
        """Say something that is no progress."""
        self._show(text)

    def clear(self) -> None:
        """Take the refreshed line away, if there is one: something else is to be printed."""
        if self._refreshes:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _progress(self) -> None:
        now = self._clock()
        if now - self._shown_at < self._every:
            return
        self._shown_at = now
        done = min(1.0, self._received / self._messages)
        bar = "#" * round(BAR * done)
        self._show(f"[{bar:<{BAR}}] {done:4.0%}  sent {self._sent:,}  received {self._received:,}")

    def _show(self, text: str) -> None:
        line = f"{self._transport}: {text}"
        if self._refreshes:
            width = shutil.get_terminal_size().columns
            self._stream.write(f"\r\x1b[K{line[: width - 1]}")
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def rows(table: Sequence[Sequence[str]]) -> list[str]:
    """Return the table as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in table
    ]
