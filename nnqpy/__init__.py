"""nnqpy: messaging sockets for Python that speak nanomsg's and nng's Scalability Protocols. The blocking face.

``nnqpy.asyncio`` and ``nnqpy.trio`` have the same names with ``async def``.
"""

from nnqpy.errors import (
    AddressError,
    Closed,
    ForkedError,
    NnqError,
    PeerGone,
    ProtocolError,
    Reason,
    StateError,
    TimedOut,
    UnsupportedOperation,
    WouldBlock,
)
from nnqpy.events import DrainReport, Event, PeerInfo, Stats
from nnqpy.message import Message
from nnqpy.sync import Bus, Events, Pair, Pair1, Pub, Pull, Push, Rep, Req, Respondent, Sub, Surveyor

__version__ = "0.1.0"

__all__ = [
    "AddressError",
    "Bus",
    "Closed",
    "DrainReport",
    "Event",
    "Events",
    "ForkedError",
    "Message",
    "NnqError",
    "Pair",
    "Pair1",
    "PeerGone",
    "PeerInfo",
    "ProtocolError",
    "Pub",
    "Pull",
    "Push",
    "Reason",
    "Rep",
    "Req",
    "Respondent",
    "StateError",
    "Stats",
    "Sub",
    "Surveyor",
    "TimedOut",
    "UnsupportedOperation",
    "WouldBlock",
    "__version__",
]
