"""FairQueue: one bounded inbox per socket, filled from all peers in turn; nothing is dropped.

Whoever holds the in-turn reads each ready peer once, for at most an even part of the room that is left
(``turns.py``), so that a loud peer cannot crowd the others out; when the inbox is full nobody reads, the
kernel's buffers fill, and the senders feel it.
"""

from __future__ import annotations

from nnqpy.routing.core import SocketCore


class FairQueue(SocketCore):
    """Receives from all peers alike (Pull, Pair)."""

    receives = True
