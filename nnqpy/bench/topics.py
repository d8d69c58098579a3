"""Topics: what a bare publisher sends to a Sub with many subscriptions: every second message is wanted.

Wanted and unwanted ones differ in the last byte that a prefix has, and all prefixes are wanted equally often. Every body
tells its place in the flow: what arrived in between two that are in hand is known without counting it, whatever of it
the library kept.
"""

from __future__ import annotations

__all__ = ["PREFIXES", "WANTED", "place", "prefixes", "restamped", "run", "run_length"]

PREFIXES = (1, 100, 10_000)
"""The numbers of subscriptions that are compared."""

WANTED = 0.5
"""The part of all messages that is wanted."""

_STRIDE = 7919  # a prime: neighbours in the flow are no neighbours in the order of the prefixes
_LEAST = 1000


def prefixes(count: int) -> list[bytes]:
    """The prefixes to subscribe to."""
    return [b"d%05d/" % topic for topic in range(count)]


def run_length(count: int) -> int:
    """Messages after which the flow repeats itself."""
    return 2 * max(count, _LEAST)


def run(count: int, size: int) -> list[bytes]:
    """The bodies of the first run; `restamped` makes the next ones of it."""
    return [
        (b"d%05d%c%06d" % (n // 2 * _STRIDE % count, b"?/"[n % 2], n) + _stamp(0)).ljust(size, b".")
        for n in range(run_length(count))
    ]


def restamped(whole: bytes, number: int) -> bytes:
    """The bytes of run `number`, of those of the run before."""
    return whole.replace(_stamp(number - 1), _stamp(number))


def place(body: bytes, count: int) -> int:
    """Which message of the flow this is."""
    return int(body[14:23]) * run_length(count) + int(body[7:13])


def _stamp(number: int) -> bytes:
    return b"r%09d" % number
