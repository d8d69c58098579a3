"""Requests: what arrives has a backtrace, by which its answer goes back (Rep, Respondent)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnqpy.errors import Reason
from nnqpy.message import Message
from nnqpy.routing.backtrace import LAST, WORD, end_of
from nnqpy.routing.fair_queue import FairQueue

if TYPE_CHECKING:
    from nnqpy.routing.core import Peer


class Requests(FairQueue):
    """Receives `Message` values: header, body and peer."""

    def most_words(self) -> int:
        """Words that a header may have."""
        return self.options.max_ttl

    def deliver(self, peer: Peer, bodies: list[bytes]) -> list[Message]:
        """Take the headers off; too many steps: drop. No whole header: the peer speaks something else, and is closed."""
        out: list[Message] = []
        most, number, far = self.most_words(), peer.id, 0
        for payload in bodies:
            if len(payload) >= WORD and payload[0] & LAST:
                end = WORD
            else:
                end = end_of(payload, most)
                if end < 0:
                    detail = (
                        f"a message of {len(payload)} bytes ends within its header: no word has its highest bit set"
                    )
                    self.lose(peer, Reason.HEADER_MISSING, detail)
                    break
                if not end:
                    far += 1
                    continue
            out.append(Message(payload[:end], payload[end:], number))
        self.discard("ttl_exceeded", far)
        return out
