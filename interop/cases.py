"""The table of what nnqpy is tried with: peer, pattern, direction, who binds, transport. The table is the test.

A pattern that nnqpy learns is a row of `PATTERNS` and, if it talks in a new way, a `Flow`. What is no row here, since it
takes more than one peer or more than a word and its echo, has its own file: devices, raw sockets, hubs, nng's quirks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Final, get_args

from interop.peers.peer import Kind
from interop.spots import Transport

if TYPE_CHECKING:
    from interop.peers.peer import Side

KIB: Final = 1024
MIB: Final = 1024 * KIB
SIZES: Final = (0, 1, 100, 64 * KIB, MIB)
WORD: Final = 4
"""Bytes of the number in front of a question."""


class Flow(Enum):
    """Who says something to whom."""

    OUT = "to"  # we send, they receive
    IN = "from"  # they send, we receive
    BOTH = "with"  # they send, we answer on the same connection
    ASK = "asks"  # we ask, they answer
    ANSWER = "answers"  # they ask, we answer


@dataclass(frozen=True, slots=True)
class Pattern:
    """Our socket, theirs, and the ways that the two can talk; names are SP names."""

    ours: str
    theirs: str
    flows: tuple[Flow, ...]


PATTERNS: Final = (
    Pattern("push", "pull", (Flow.OUT,)),
    Pattern("pull", "push", (Flow.IN,)),
    Pattern("pair", "pair", (Flow.OUT, Flow.IN, Flow.BOTH)),
    Pattern("pub", "sub", (Flow.OUT,)),
    Pattern("sub", "pub", (Flow.IN,)),
    Pattern("bus", "bus", (Flow.OUT, Flow.IN, Flow.BOTH)),
    Pattern("pair1", "pair1", (Flow.OUT, Flow.IN, Flow.BOTH)),
    Pattern("req", "rep", (Flow.ASK,)),
    Pattern("rep", "req", (Flow.ANSWER,)),
    Pattern("surveyor", "respondent", (Flow.ASK,)),
    Pattern("respondent", "surveyor", (Flow.ANSWER,)),
)
SPEAKS_NOT: Final = {("nanocat", "pair1")}
"""What a peer has not got."""


@dataclass(frozen=True, slots=True)
class Case:
    """One conversation with one peer.

    Attributes:
        ours: our socket's SP name.
        theirs: the peer's.
        we: what our side does; the peer does the other.
        sizes: bytes of the bodies, in the order they are sent.
    """

    peer: Kind
    ours: str
    flow: Flow
    theirs: str
    we: Side
    transport: Transport
    sizes: tuple[int, ...] = SIZES

    def __str__(self) -> str:
        return f"{self.peer}-{self.ours}-{self.flow.value}-{self.theirs}-we-{self.we}-{self.transport}"

    @property
    def they(self) -> Side:
        """What the peer does: the other than `we`."""
        return "connect" if self.we == "bind" else "bind"

    def bodies(self) -> list[bytes]:
        """Return what is sent: reproducible, and every byte value in it where there is room."""
        return [Random(size).randbytes(size) for size in self.sizes]


def answer_to(question: bytes) -> bytes:
    """Return the answer to a question: as long, and another (from two bytes on)."""
    return question[::-1]


SIDES: Final[tuple[Side, Side]] = ("bind", "connect")

SPREADS: Final = {"pub", "bus", "surveyor"}
"""Patterns whose messages wait for nobody: who is not there yet misses them."""


def _sizes(peer: Kind, pattern: Pattern, flow: Flow) -> tuple[int, ...]:
    """Return all sizes, less what a peer cannot do (see `Cat`)."""
    if peer != "pynng" and pattern.theirs in SPREADS and flow in (Flow.IN, Flow.BOTH, Flow.ANSWER):
        return (100,)  # a program that says its body again and again, to be heard at all, says just one
    if peer == "nanocat" and flow in (Flow.ASK, Flow.ANSWER):
        return (*SIZES[:-1], MIB - WORD)  # no more than 1 MiB, with the number in front
    return SIZES


CASES: Final = [
    Case(peer, pattern.ours, flow, pattern.theirs, we, transport, _sizes(peer, pattern, flow))
    for peer, pattern, we, transport in product(get_args(Kind), PATTERNS, SIDES, get_args(Transport))
    for flow in pattern.flows
    if (peer, pattern.ours) not in SPEAKS_NOT
]
