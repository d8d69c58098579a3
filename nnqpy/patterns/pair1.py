"""Pair1 (SP pair v1; nng ``src/sp/protocol/pair1``): a Pair whose messages count the steps they made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from nnqpy.errors import Reason
from nnqpy.message import Message
from nnqpy.patterns.pair import PairCore
from nnqpy.proto import Proto
from nnqpy.routing.fair_queue import FairQueue
from nnqpy.routing.reply_path import ReplyPath

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nnqpy.routing.core import Peer

FIRST_HOP: Final = b"\0\0\0\1"
"""The header of a message that was sent here: one step (mangos says 0, which is taken as well)."""
HOPS: Final = len(FIRST_HOP)
LAST_HOP: Final = 0xFF


class Hops(FairQueue):
    """Receives payloads that begin with a hop count: 4 bytes, of which only the last may be more than 0."""

    def deliver(self, peer: Peer, bodies: list[bytes]) -> Iterable[Any]:
        """Take what has not come too far. No header at all: the peer speaks something else, and is closed."""
        out: list[bytes] = []
        most, far = self.options.max_ttl, 0
        for payload in bodies:
            if payload[:3] != b"\0\0\0" or len(payload) < HOPS:
                self._refuse(peer, payload)
                break
            if payload[3] > most:
                far += 1
            else:
                out.append(payload)
        self.discard("ttl_exceeded", far)
        return self.shown(peer, out)

    def shown(self, peer: Peer, payloads: list[bytes]) -> list[Any]:
        """Pattern hook: what the inbox has of a payload: its header, its body, and whose it is."""
        number = peer.id
        return [Message(payload[:HOPS], payload[HOPS:], number) for payload in payloads]

    def _refuse(self, peer: Peer, payload: bytes) -> None:
        if len(payload) < HOPS:
            detail = f"a message of {len(payload)} bytes; the hop count in front of the body is {HOPS} bytes"
            self.lose(peer, Reason.HEADER_MISSING, detail)
        else:
            detail = (
                f"a message begins with {payload[:4].hex(' ')}; the hop count there is from 00 00 00 00 to 00 00 00 ff"
            )
            self.lose(peer, Reason.HEADER_BAD, detail)


class Pair1Core(PairCore, Hops):
    """Talks to one peer. Queues hold whole payloads: header and body."""

    proto = Proto.PAIR1

    def shown(self, peer: Peer, payloads: list[bytes]) -> list[bytes]:
        """Only the body: there is one peer, and it does not forward."""
        return [payload[HOPS:] for payload in payloads]


class PolyPair1Core(ReplyPath, Hops):
    """Talks to any number of peers, to each by name."""

    proto = Proto.PAIR1
    on_full = "drop_newest"
