"""Topics: what a subscriber wants: messages that begin with one of its prefixes (nng ``src/sp/protocol/pubsub0/sub.c``).

Of the prefixes only those decide that no shorter one covers, and no two of these fit one message: in their order the
one that may fit stands right before the message. So a look costs the same for ten prefixes as for ten thousand.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Topics:
    """A set of prefixes. Changed by one thread at a time; any thread may look meanwhile.

    Which prefixes decide is found out by the first look after a change: many changes cost no more than that one.
    """

    __slots__ = ("_all", "_changes", "_found")

    def __init__(self) -> None:
        self._all: set[bytes] = set()
        self._changes = 0
        self._found: tuple[int, list[bytes]] = (0, [])
        """After how many changes somebody has looked, and what decides since then."""

    def add(self, prefix: bytes) -> None:
        """Want what begins with `prefix` too; a second time changes nothing."""
        if prefix not in self._all:
            try:
                self._all.add(prefix)
            finally:  # a signal handler may raise right behind it
                self._changes += 1

    def discard(self, prefix: bytes) -> None:
        """Want it no more.

        Raises:
            KeyError: it was not wanted.
        """
        try:
            self._all.remove(prefix)
        finally:
            self._changes += 1

    def _deciding(self) -> list[bytes]:
        """Return the prefixes that no shorter one covers, in their order."""
        changes, deciding = self._found
        if changes == self._changes:
            return deciding
        changes = self._changes  # before the prefixes: what changes meanwhile is found by the next look
        deciding = list[bytes]()
        for one in sorted(self._all):
            if not deciding or not one.startswith(deciding[-1]):
                deciding.append(one)
        self._found = changes, deciding
        return deciding

    def want(self, body: bytes) -> bool:
        """Whether a message begins with one of the prefixes; without any, none does."""
        return _fits(self._deciding(), body)

    def select(self, bodies: list[bytes]) -> list[bytes]:
        """Return those that are wanted, in their order."""
        deciding = self._deciding()
        if len(deciding) > FEW:
            return list(filter(partial(_fits, deciding), bodies))
        if deciding == [b""]:
            return bodies
        prefixes = tuple(deciding)
        return [body for body in bodies if body.startswith(prefixes)]

    def __contains__(self, prefix: object) -> bool:
        return prefix in self._all

    def __iter__(self) -> Iterator[bytes]:
        return iter(sorted(self._all))

    def __len__(self) -> int:
        return len(self._all)


FEW = 8
"""Prefixes up to which it is quicker to try them all."""


def _fits(deciding: list[bytes], body: bytes) -> bool:
    place = bisect_right(deciding, body)
    return place > 0 and body.startswith(deciding[place - 1])
