"""Our end: sockets by SP name, with the options that suit a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict

from nnqpy import Pair, Pull, Push

if TYPE_CHECKING:
    from interop.witness import Witness

SENDERS: Final[dict[str, type[Push | Pair]]] = {"push": Push, "pair": Pair}
RECEIVERS: Final[dict[str, type[Pull | Pair]]] = {"pull": Pull, "pair": Pair}


class Brisk(TypedDict):
    """Dial again at once, and again: a test does not wait for a polite back-off."""

    reconnect_min: float
    reconnect_max: float


BRISK: Final[Brisk] = {"reconnect_min": 0.02, "reconnect_max": 0.1}


def sender(protocol: str, witness: Witness | None = None) -> Push | Pair:
    """Open a socket that can send."""
    return SENDERS[protocol](on_event=witness, **BRISK)


def receiver(protocol: str, witness: Witness | None = None) -> Pull | Pair:
    """Open a socket that can receive."""
    return RECEIVERS[protocol](on_event=witness, **BRISK)
