"""Pub and Sub (SP pubsub; nng ``src/sp/protocol/pubsub0``): everything to everybody, who takes what he subscribed to."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from nnqpy.accel import move
from nnqpy.proto import Proto
from nnqpy.routing.fair_queue import FairQueue
from nnqpy.routing.fan_out import FanOut
from nnqpy.routing.topics import Topics

if TYPE_CHECKING:
    from nnqpy.options import Options
    from nnqpy.routing.core import Peer


class PubCore(FanOut):
    """Sends everything to all Sub sockets; what they do not want they drop themselves."""

    proto = Proto.PUB


class SubCore(FairQueue):
    """Receives what begins with one of its prefixes."""

    proto = Proto.SUB

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.topics = Topics()

    def deliver(self, peer: Peer, bodies: list[bytes]) -> list[bytes]:
        """Take what was subscribed to."""
        return self.topics.select(bodies)


class LatestSubCore(SubCore):
    """A Sub that keeps the latest messages: a new one takes the place of the oldest, and the senders feel nothing."""

    stays_fresh = True

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.inbox = deque(maxlen=options.recv_hwm)
        self.headroom = 2 * options.recv_hwm
        self._replaced: list[bytes] = []
        """What had to go and is not counted yet."""

    def deliver(self, peer: Peer, bodies: list[bytes]) -> list[bytes]:
        """Take what was subscribed to, and count what has to go for it.

        It goes by our own hand, before the others come: of what the deque itself would push out for them nobody could tell
        whether a reader was quicker.
        """
        wanted = super().deliver(peer, bodies)
        most = self.options.recv_hwm
        kept = wanted[-most:]
        try:
            move(self.inbox, self._replaced, len(self.inbox) + len(kept) - most)
        except IndexError:
            pass  # a reader was quicker
        replaced = self.discarded["replaced"] + len(self._replaced) + len(wanted) - len(kept)
        # A commit: stores only, no call.
        self.discarded["replaced"] = replaced
        self._replaced = []
        return kept
