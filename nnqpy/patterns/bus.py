"""Bus (SP bus v0; nng ``src/sp/protocol/bus0``): everything to all peers, from all peers."""

from __future__ import annotations

from nnqpy.proto import Proto
from nnqpy.routing.fair_queue import FairQueue
from nnqpy.routing.fan_out import FanOut


class BusCore(FanOut, FairQueue):
    """Sends to all other Bus sockets that are attached; a peer that is behind misses the newest."""

    proto = Proto.BUS
    on_full = "drop_newest"
