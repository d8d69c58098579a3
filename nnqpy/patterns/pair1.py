"""Pair1 (SP pair v1; nng ``src/sp/protocol/pair1``): a Pair whose messages count the steps they made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nnqpy.errors import Reason
from nnqpy.patterns.pair import PairCore
from nnqpy.proto import Proto

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nnqpy.routing.core import Peer

FIRST_HOP: Final = b"\0\0\0\1"
"""The header of a message that was sent here: one step (mangos says 0, which is taken as well)."""


class Pair1Core(PairCore):
    """Talks to one peer. Queues hold whole payloads: header and body."""

    proto = Proto.PAIR1

    def deliver(self, peer: Peer, bodies: list[bytes]) -> Iterable[bytes]:
        """Strip the headers; too many steps: drop. No header at all: the peer speaks something else, and is closed."""
        out: list[bytes] = []
        most, far = self.options.max_ttl, 0
        for payload in bodies:
            if payload[:3] != b"\0\0\0" or len(payload) < 4:
                self._refuse(peer, payload)
                break
            if payload[3] > most:
                far += 1
            else:
                out.append(payload[4:])
        self.discard("ttl_exceeded", far)
        return out

    def _refuse(self, peer: Peer, payload: bytes) -> None:
        if len(payload) < 4:
            detail = f"a message of {len(payload)} bytes; the hop count in front of the body is 4 bytes"
            self.lose(peer, Reason.HEADER_MISSING, detail)
        else:
            detail = (
                f"a message begins with {payload[:4].hex(' ')}; the hop count there is from 00 00 00 00 to 00 00 00 ff"
            )
            self.lose(peer, Reason.HEADER_BAD, detail)
