"""Pair1 in the blocking face."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnqpy.blocking.sockets import Sending
from nnqpy.kinds.pair1 import headed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nnqpy.message import Body


class HeadedSending(Sending):
    """The sending half of a Pair1."""

    def send(self, body: Body, *, timeout: float | None = None) -> None:
        """Queue one message, as every `send`; the header is put in front of it."""
        self._queue(headed(body), timeout)

    def send_nowait(self, body: Body) -> None:
        """Queue one message if there is room, as every `send_nowait`."""
        self._send_now(headed(body))

    def send_many(self, bodies: Iterable[Body], *, timeout: float | None = None) -> int:
        """Queue many messages, as every `send_many`."""
        return super().send_many(map(headed, bodies), timeout=timeout)
