"""pynng: Push0, Pull0 and Pair0 with their default buffers; only the size limit is lifted (1 MiB otherwise)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from nnqpy.bench.adapters import AsyncEndpoint, Endpoint, awaitable, no_flush

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from nnqpy.bench.adapters import Order

__all__ = ["Pynng"]


class Pynng:
    """pynng (nng underneath)."""

    def __init__(self) -> None:
        self._pynng = import_module("pynng")

    def open(self, order: Order) -> Endpoint:
        """Open a socket and use its blocking verbs."""
        socket, url = self._open(order)
        return Endpoint(url=url, send=socket.send, recv=socket.recv, flush=no_flush, close=socket.close)

    def open_async(self, order: Order) -> AsyncEndpoint:
        """Open a socket and use its asyncio verbs."""
        socket, url = self._open(order)
        return AsyncEndpoint(url=url, send=socket.asend, recv=socket.arecv, close=awaitable(socket.close))

    def _open(self, order: Order) -> tuple[_Socket, str]:
        socket: _Socket = getattr(self._pynng, f"{order.pattern.capitalize()}0")(recv_max_size=0)
        if order.connect:
            socket.dial(order.connect, block=True)
            return socket, order.connect
        socket.listen(order.bind)
        return socket, socket.listeners[0].url if order.bind.startswith("tcp") else order.bind


class _Listener(Protocol):
    @property
    def url(self) -> str: ...


class _Socket(Protocol):
    @property
    def listeners(self) -> Sequence[_Listener]: ...
    def listen(self, address: str) -> object: ...
    def dial(self, address: str, *, block: bool) -> object: ...
    def send(self, data: bytes) -> None: ...
    def recv(self) -> bytes: ...
    def asend(self, data: bytes) -> Awaitable[object]: ...
    def arecv(self) -> Awaitable[bytes]: ...
    def close(self) -> None: ...
