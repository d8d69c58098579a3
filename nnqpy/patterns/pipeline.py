"""Push and Pull (SP pipeline; nng ``src/sp/protocol/pipeline0``): work dealt out, work taken in."""

from __future__ import annotations

from nnqpy.proto import Proto
from nnqpy.routing.fair_queue import FairQueue
from nnqpy.routing.send_pump import SendPump


class PushCore(SendPump):
    """Deals messages to the Pull sockets that have room."""

    proto = Proto.PUSH


class PullCore(FairQueue):
    """Takes messages from all Push sockets alike."""

    proto = Proto.PULL
