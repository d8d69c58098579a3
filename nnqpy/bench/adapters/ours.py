"""nnqpy through its public faces, with default options."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import nnqpy
from nnqpy.bench.adapters import AsyncEndpoint, Endpoint, Pattern, no_flush

if TYPE_CHECKING:
    import nnqpy.asyncio as nnqa
    from nnqpy.bench.adapters import Order

__all__ = ["Ours"]


class Ours:
    """nnqpy."""

    def open(self, order: Order) -> Endpoint:
        """Open a blocking socket with default options."""
        if order.pattern is Pattern.PUSH:
            push = nnqpy.Push()
            return Endpoint(_attach(push, order), push.send, _cannot, push.flush, lambda: push.close(linger=0))
        if order.pattern is Pattern.PULL:
            pull = nnqpy.Pull()
            return Endpoint(_attach(pull, order), _cannot, pull.recv, no_flush, lambda: pull.close(linger=0))
        pair = nnqpy.Pair()
        return Endpoint(_attach(pair, order), pair.send, pair.recv, pair.flush, lambda: pair.close(linger=0))

    def open_async(self, order: Order) -> AsyncEndpoint:
        """Open an asyncio socket with default options."""
        import nnqpy.asyncio as nnqa  # here: blocking roles carry no asyncio face in their memory

        if order.pattern is Pattern.PUSH:
            push = nnqa.Push()
            return AsyncEndpoint(_attach(push, order), push.send, _cannot, lambda: push.close(linger=0))
        if order.pattern is Pattern.PULL:
            pull = nnqa.Pull()
            return AsyncEndpoint(_attach(pull, order), _cannot, pull.recv, lambda: pull.close(linger=0))
        pair = nnqa.Pair()
        return AsyncEndpoint(_attach(pair, order), pair.send, pair.recv, lambda: pair.close(linger=0))


def _attach(
    socket: nnqpy.Push | nnqpy.Pull | nnqpy.Pair | nnqa.Push | nnqa.Pull | nnqa.Pair,
    order: Order,
) -> str:
    return socket.bind(order.bind).url if order.bind else socket.connect(order.connect).url


def _cannot(*_: bytes) -> NoReturn:
    """What a one-way socket has in place of the other way; no role uses it."""
    raise TypeError("this pattern has no such direction")
