"""Topics: what a subscriber wants: messages that begin with one of its prefixes (nng ``src/sp/protocol/pubsub0/sub.c``).

Of the prefixes only those decide that no shorter one covers, and no two of these fit one message: in their order the
one that may fit stands right before the message. So a look costs the same for ten prefixes as for ten thousand.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Topics:
    """A set of prefixes. Changed by one thread at a time; any thread may look meanwhile."""

    __slots__ = ("_all", "_deciding")

    def __init__(self) -> None:
        self._all: set[bytes] = set()
        self._deciding: list[bytes] = []

    def add(self, prefix: bytes) -> None:
        """Want what begins with `prefix` too; a second time changes nothing."""
        if prefix in self._all:
            return
        self._all.add(prefix)
        if self.want(prefix):
            return
        deciding = self._deciding.copy()
        insort(deciding, prefix)
        first = end = deciding.index(prefix) + 1
        while end < len(deciding) and deciding[end].startswith(prefix):
            end += 1
        del deciding[first:end]
        self._deciding = deciding

    def discard(self, prefix: bytes) -> None:
        """Want it no more.

        Raises:
            KeyError: it was not wanted.
        """
        self._all.remove(prefix)
        if prefix not in self._deciding:
            return
        deciding: list[bytes] = []
        for one in sorted(self._all):
            if not deciding or not one.startswith(deciding[-1]):
                deciding.append(one)
        self._deciding = deciding

    def want(self, body: bytes) -> bool:
        """Whether a message begins with one of the prefixes; without any, none does."""
        deciding = self._deciding
        place = bisect_right(deciding, body)
        return place > 0 and body.startswith(deciding[place - 1])

    def select(self, bodies: list[bytes]) -> list[bytes]:
        """Return those that are wanted, in their order."""
        deciding = self._deciding
        if len(deciding) > FEW:
            return list(filter(self.want, bodies))
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
