"""The numbers and names of the Scalability Protocols, and who talks to whom (nng ``src/core/protocol.h``)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Proto(IntEnum):
    """A protocol's number: 16 bits, big-endian, bytes 4 and 5 of the greeting."""

    PAIR = 0x10
    PAIR1 = 0x11
    PUB = 0x20
    SUB = 0x21
    REQ = 0x30
    REP = 0x31
    PUSH = 0x50
    PULL = 0x51
    SURVEYOR = 0x62
    RESPONDENT = 0x63
    BUS = 0x70

    @property
    def label(self) -> str:
        """The protocol's SP name, as nng prints it: ``"push"``."""
        return self.name.lower()

    @property
    def peer(self) -> Proto:
        """The protocol that the other end of a connection must speak."""
        return _PEERS.get(self, self)


_COUPLES: Final = (
    (Proto.PUB, Proto.SUB),
    (Proto.REQ, Proto.REP),
    (Proto.PUSH, Proto.PULL),
    (Proto.SURVEYOR, Proto.RESPONDENT),
)
_PEERS: Final[dict[Proto, Proto]] = {one: other for a, b in _COUPLES for one, other in ((a, b), (b, a))}


def describe(number: int) -> str:
    """Name a protocol number for a person: ``"pub (0x0020)"``, ``"an unknown protocol (0x1234)"``."""
    try:
        return f"{Proto(number).label} (0x{number:04x})"
    except ValueError:
        return f"an unknown protocol (0x{number:04x})"
