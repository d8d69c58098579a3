"""The raw patterns: no state of a conversation; headers and peers are the user's to see and to give.

They are what devices are made of, and servers that answer when they like, or more than once. The wire is that of the
cooked pattern.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnqpy.message import Addressed, Message
from nnqpy.patterns.pair import PairCore
from nnqpy.patterns.pair1 import Hops
from nnqpy.patterns.pipeline import PushCore
from nnqpy.patterns.pubsub import PubCore
from nnqpy.patterns.reqrep import RepCore
from nnqpy.patterns.survey import RespondentCore
from nnqpy.proto import Proto
from nnqpy.routing.backtrace import MOST
from nnqpy.routing.fair_queue import FairQueue
from nnqpy.routing.fan_out import FanOut
from nnqpy.routing.requests import Requests
from nnqpy.routing.send_pump import SendPump

if TYPE_CHECKING:
    from nnqpy.message import Batch
    from nnqpy.routing.core import Peer
    from nnqpy.routing.outboxes import Box


class Labelled(FairQueue):
    """Receives bodies, and says whose they are."""

    def deliver(self, peer: Peer, bodies: list[bytes]) -> list[Message]:
        """Add the peer; there is no header."""
        number = peer.id
        return [Message(b"", body, number) for body in bodies]


class RawPushCore(PushCore):
    """A Push; it has nothing that it hides."""


class RawPullCore(Labelled):
    """A Pull that says whose a message is."""

    proto = Proto.PULL


class RawPairCore(PairCore, Labelled):
    """A Pair that says whose a message is."""


class RawPair1Core(PairCore, Hops):
    """A Pair1 that shows the steps that a message has made, and counts one more when it goes on."""

    proto = Proto.PAIR1


class RawPubCore(PubCore):
    """A Pub; it has nothing that it hides."""


class RawSubCore(Labelled):
    """A Sub that gets everything."""

    proto = Proto.SUB


class RawBusCore(FanOut, Labelled):
    """A Bus; what it sends on does not go back to where it came from."""

    proto = Proto.BUS
    on_full = "drop_newest"

    def _shared(self, batch: Batch) -> tuple[list[tuple[Box, list[bytes]]], int]:
        origins = [payload.peer if type(payload) is Addressed else 0 for payload in batch]
        if not any(origins):
            return super()._shared(batch)
        bodies = [payload[:] if origin else payload for payload, origin in zip(batch, origins, strict=True)]
        shares: list[tuple[Box, list[bytes]]] = []
        for number, box in self.boxes.items():
            others = [body for body, origin in zip(bodies, origins, strict=True) if origin != number]
            if others:
                shares.append((box, others))
        alone = set(self.boxes) if len(self.boxes) < 2 else set[int]()  # nobody else is there
        nobodys = sum(not self.boxes or origin in alone for origin in origins)
        return shares, nobodys


class RawReqCore(SendPump, Requests):
    """A Req without requests: what is sent has its header, and every reply is received."""

    proto = Proto.REQ

    def most_words(self) -> int:
        """A reply may have made any number of steps that a header has room for."""
        return MOST


class RawRepCore(RepCore):
    """A Rep that answers by header and peer."""

    on_full = "drop_newest"


class RawSurveyorCore(FanOut, Requests):
    """A Surveyor without surveys: what is sent has its header, and every reply is received."""

    proto = Proto.SURVEYOR
    on_full = "drop_newest"

    def most_words(self) -> int:
        """As a RawReq."""
        return MOST


class RawRespondentCore(RespondentCore):
    """A Respondent that answers by header and peer."""

    on_full = "drop_newest"
