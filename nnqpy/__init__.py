"""nnqpy: messaging sockets for Python that speak nanomsg's and nng's Scalability Protocols. The blocking face.

``nnqpy.asyncio`` and ``nnqpy.trio`` have the same names with ``async def``.
"""

from nnqpy.errors import (
    AddressError,
    Closed,
    ForkedError,
    NnqError,
    ProtocolError,
    Reason,
    StateError,
    TimedOut,
    UnsupportedOperation,
    WouldBlock,
)
from nnqpy.events import DrainReport, Event, PeerInfo, Stats
from nnqpy.sync import Bus, Events, Pair, Pair1, Pub, Pull, Push, Sub

__version__ = "0.1.0"

__all__ = [
    "AddressError",
    "Bus",
    "Closed",
    "DrainReport",
    "Event",
    "Events",
    "ForkedError",
    "NnqError",
    "Pair",
    "Pair1",
    "PeerInfo",
    "ProtocolError",
    "Pub",
    "Pull",
    "Push",
    "Reason",
    "StateError",
    "Stats",
    "Sub",
    "TimedOut",
    "UnsupportedOperation",
    "WouldBlock",
    "__version__",
]
