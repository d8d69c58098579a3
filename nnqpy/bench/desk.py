"""Desk: a worker's line to the process that started it: one JSON object a line, both ways.

The worker's standard output is kept for these lines alone; whatever a library prints goes to standard error.
A parent that is gone shows as the end of standard input, which ends the worker.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Mapping, Sequence

__all__ = ["Desk", "Value", "Words", "number", "text"]

Value = str | float | Sequence[float]
Words = Mapping[str, Value]


class Desk:
    """The worker's end. Make one before anything else can print."""

    def __init__(self) -> None:
        self._out = os.dup(1)
        os.dup2(2, 1)
        self._in = sys.stdin.fileno()
        self._read = b""

    def say(self, **words: Value) -> None:
        """Tell the parent one thing."""
        os.write(self._out, json.dumps(words).encode() + b"\n")

    def hear(self) -> Words:
        """Wait for the parent's next word; raises EOFError when the parent is gone."""
        while b"\n" not in self._read:
            piece = os.read(self._in, 4096)
            if not piece:
                raise EOFError("the parent process is gone")
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        words: dict[str, Value] = json.loads(line)
        return words

    def called(self) -> bool:
        """Whether a word of the parent waits to be heard; never blocks."""
        return b"\n" in self._read or bool(select.select([self._in], [], [], 0)[0])

    def fileno(self) -> int:
        """The descriptor that is readable when the parent said something."""
        return self._in


def number(words: Words, key: str) -> float:
    """A number that a word carries.

    Raises:
        TypeError: there is none under this key.
    """
    value = words.get(key)
    if not isinstance(value, (int, float)):
        raise TypeError(f"expected a number for {key!r}, found {value!r}")
    return value


def text(words: Words, key: str) -> str:
    """A text that a word carries, "" when there is none."""
    value = words.get(key, "")
    if not isinstance(value, str):
        raise TypeError(f"expected a text for {key!r}, found {value!r}")
    return value
