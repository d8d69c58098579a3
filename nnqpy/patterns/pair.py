"""Pair (SP pair v0; nng ``src/sp/protocol/pair0``): two sockets, each sends and receives."""

from __future__ import annotations

from nnqpy.errors import Reason
from nnqpy.proto import Proto
from nnqpy.routing.fair_queue import FairQueue
from nnqpy.routing.send_pump import SendPump


class PairCore(SendPump, FairQueue):
    """Talks to one peer: the first wins, until it leaves."""

    proto = Proto.PAIR

    def refusal(self) -> Reason | None:
        """The one place is taken."""
        return Reason.LIMIT_PIPES if self.peers else None
