"""Our end: sockets by SP name, with the options that suit a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict

from interop.witness import PATIENCE
from nnqpy import Bus, Pair, Pair1, Pub, Pull, Push, Rep, Req, Respondent, Sub, Surveyor

if TYPE_CHECKING:
    from interop.witness import Witness

Sends = Push | Pair | Pair1 | Pub | Bus
Receives = Pull | Pair | Pair1 | Sub | Bus
Asks = Req | Surveyor
Answers = Rep | Respondent

SENDERS: Final[dict[str, type[Sends]]] = {"push": Push, "pair": Pair, "pair1": Pair1, "pub": Pub, "bus": Bus}
RECEIVERS: Final[dict[str, type[Pull | Pair | Pair1 | Bus]]] = {
    "pull": Pull,
    "pair": Pair,
    "pair1": Pair1,
    "bus": Bus,
}


class Brisk(TypedDict):
    """Dial again at once, and again: a test does not wait for a polite back-off."""

    reconnect_min: float
    reconnect_max: float


BRISK: Final[Brisk] = {"reconnect_min": 0.02, "reconnect_max": 0.1}


def sender(protocol: str, witness: Witness | None = None) -> Sends:
    """Open a socket that can send."""
    return SENDERS[protocol](on_event=witness, **BRISK)


def receiver(protocol: str, witness: Witness | None = None) -> Receives:
    """Open a socket that can receive; a Sub that wants everything."""
    if protocol == "sub":
        return Sub(subscribe="", on_event=witness, **BRISK)
    return RECEIVERS[protocol](on_event=witness, **BRISK)


def asker(protocol: str, witness: Witness | None = None) -> Asks:
    """Open a socket that asks, and waits for the answer as long as a test does."""
    if protocol == "surveyor":
        return Surveyor(survey_time=PATIENCE, on_event=witness, **BRISK)
    return Req(on_event=witness, **BRISK)


def answerer(protocol: str, witness: Witness | None = None) -> Answers:
    """Open a socket that answers."""
    kind = Respondent if protocol == "respondent" else Rep
    return kind(on_event=witness, **BRISK)
