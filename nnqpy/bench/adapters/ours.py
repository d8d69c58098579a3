"""nnqpy through its public faces, with default options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nnqpy
import nnqpy.asyncio as nnqa
from nnqpy.bench.adapters import AsyncEndpoint, Endpoint, Pattern

if TYPE_CHECKING:
    from nnqpy.bench.adapters import Order

__all__ = ["Ours"]

_SOCKETS = {Pattern.PUSH: nnqpy.Push, Pattern.PULL: nnqpy.Pull, Pattern.PAIR: nnqpy.Pair}
_ASYNC_SOCKETS = {Pattern.PUSH: nnqa.Push, Pattern.PULL: nnqa.Pull, Pattern.PAIR: nnqa.Pair}


class Ours:
    """nnqpy."""

    def open(self, order: Order) -> Endpoint:
        """Open a blocking socket with default options."""
        socket = _SOCKETS[order.pattern]()
        url = socket.bind(order.bind).url if order.bind else socket.connect(order.connect).url
        return Endpoint(
            url=url,
            send=socket.send,
            recv=socket.recv,
            flush=socket.flush,
            close=lambda: socket.close(linger=0),
        )

    def open_async(self, order: Order) -> AsyncEndpoint:
        """Open an asyncio socket with default options."""
        socket = _ASYNC_SOCKETS[order.pattern]()
        url = socket.bind(order.bind).url if order.bind else socket.connect(order.connect).url
        return AsyncEndpoint(url=url, send=socket.send, recv=socket.recv, close=lambda: socket.close(linger=0))
