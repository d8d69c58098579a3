"""Pair (SP pair v0; nng ``src/sp/protocol/pair0``): two sockets, each sends and receives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnqpy.errors import Reason
from nnqpy.proto import Proto
from nnqpy.routing.fair_queue import FairQueue
from nnqpy.routing.send_pump import SendPump

if TYPE_CHECKING:
    from nnqpy.routing.core import Peer


class PairCore(SendPump, FairQueue):
    """Talks to one peer: the first wins, until it leaves."""

    proto = Proto.PAIR

    def _attach(self, peer: Peer) -> Reason | None:
        if self.peers:
            return Reason.LIMIT_PIPES
        return super()._attach(peer)
