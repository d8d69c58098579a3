"""Topics: what a subscriber wants: messages that begin with one of its prefixes (nng ``src/sp/protocol/pubsub0/sub.c``).

Of the prefixes only those decide that no shorter one covers, and no two of these fit one message. So its first bytes,
as many as the shortest prefix has, lead to the only ones that may fit, and a look costs the same for ten prefixes as for
ten thousand. Where too many prefixes begin alike the one that may fit is searched for by halves: in their order it
stands right before the message.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from nnqpy import accel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Select = Callable[[list[bytes]], list[bytes]]


class Topics:
    """A set of prefixes. Changed by one thread at a time; any thread may look meanwhile.

    Which prefixes decide is found out by the first look after a change: many changes cost no more than that one.

    Args:
        half: the compiled half of nnqpy, to find those that may fit; None: the one in Python.
    """

    __slots__ = ("_all", "_changes", "_found", "_half")

    def __init__(self, half: Any = accel.compiled) -> None:
        self._half = half
        self._all: set[bytes] = set()
        self._changes = 0
        self._found: tuple[int, Select] = (0, _nothing)
        """After how many changes somebody has looked, and what is wanted since then."""

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

    def want(self, body: bytes) -> bool:
        """Whether a message begins with one of the prefixes; without any, none does."""
        return bool(self.select([body]))

    def select(self, bodies: list[bytes]) -> list[bytes]:
        """Return those that are wanted, in their order."""
        changes, select = self._found
        if changes != self._changes:
            changes = self._changes  # before the prefixes: what changes meanwhile is found by the next look
            select = _selector(self._deciding(), self._half)
            self._found = changes, select
        return select(bodies)

    def _deciding(self) -> list[bytes]:
        """Return the prefixes that no shorter one covers, in their order."""
        deciding = list[bytes]()
        for one in sorted(self._all):
            if not deciding or not one.startswith(deciding[-1]):
                deciding.append(one)
        return deciding

    def __contains__(self, prefix: object) -> bool:
        return prefix in self._all

    def __iter__(self) -> Iterator[bytes]:
        return iter(sorted(self._all))

    def __len__(self) -> int:
        return len(self._all)


FEW: Final = 8
"""Prefixes up to which it is quicker to try them all."""


def _selector(deciding: list[bytes], half: Any) -> Select:
    """Return what selects the messages that begin with one of some prefixes; these are in order, and none covers another."""
    if not deciding:
        return _nothing
    if deciding == [b""]:
        return _everything
    if half is not None:
        select: Select = half.Prefixes(deciding).select
        return select
    if len(deciding) <= FEW:
        return partial(_by_trying, tuple(deciding))
    length = min(map(len, deciding))
    heads: dict[bytes, tuple[bytes, ...]] = {}
    for one in deciding:
        heads[one[:length]] = (*heads.get(one[:length], ()), one)
        if len(heads[one[:length]]) > FEW:
            return partial(_by_halves, deciding)
    if all(len(one) == length for one in deciding):
        return partial(_by_look_up, length, frozenset(deciding))
    return partial(_by_head, length, heads)


def _nothing(bodies: list[bytes]) -> list[bytes]:
    return []


def _everything(bodies: list[bytes]) -> list[bytes]:
    return bodies


def _by_trying(prefixes: tuple[bytes, ...], bodies: list[bytes]) -> list[bytes]:
    return [body for body in bodies if body.startswith(prefixes)]


def _by_look_up(length: int, prefixes: frozenset[bytes], bodies: list[bytes]) -> list[bytes]:
    return [body for body in bodies if body[:length] in prefixes]


def _by_head(length: int, heads: dict[bytes, tuple[bytes, ...]], bodies: list[bytes]) -> list[bytes]:
    return [body for body in bodies if (head := body[:length]) in heads and body.startswith(heads[head])]


def _by_halves(prefixes: list[bytes], bodies: list[bytes]) -> list[bytes]:
    return [body for body in bodies if (place := bisect_right(prefixes, body)) and body.startswith(prefixes[place - 1])]
