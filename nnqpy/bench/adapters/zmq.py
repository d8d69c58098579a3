"""pyzmq and pyomq: the same API from two packages; default marks (1,000), one context a process."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from nnqpy.bench.adapters import AsyncEndpoint, Endpoint, awaitable, no_flush

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from nnqpy.bench.adapters import Order, Pattern

__all__ = ["Pyomq", "Pyzmq"]


class Pyzmq:
    """pyzmq (libzmq underneath)."""

    _package = "zmq"

    def __init__(self) -> None:
        self._zmq = import_module(self._package)

    @cached_property
    def _context(self) -> _Context:
        made: _Context = self._zmq.Context()
        return made

    def open(self, order: Order) -> Endpoint:
        """Open a blocking socket; all of a process share one context (inproc needs it)."""
        socket = self._context.socket(self._kind(order.pattern))
        url = self._attach(socket, order)
        return Endpoint(
            url=url, send=socket.send, recv=socket.recv, flush=no_flush, close=lambda: socket.close(linger=0)
        )

    def open_async(self, order: Order) -> AsyncEndpoint:
        """Open a socket of the package's own asyncio module."""
        context: _AsyncContext = import_module(f"{self._package}.asyncio").Context()
        socket = context.socket(self._kind(order.pattern))
        url = self._attach(socket, order)
        return AsyncEndpoint(
            url=url, send=socket.send, recv=socket.recv, close=awaitable(lambda: socket.close(linger=0))
        )

    def _kind(self, pattern: Pattern) -> int:
        return int(getattr(self._zmq, pattern.name))

    def _attach(self, socket: _Ends, order: Order) -> str:
        if order.connect:
            socket.connect(order.connect)
            return order.connect
        socket.bind(order.bind)
        return socket.getsockopt(int(self._zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()


class Pyomq(Pyzmq):
    """pyomq (omq.rs underneath), which offers pyzmq's API."""

    _package = "pyomq"


class _Ends(Protocol):
    def bind(self, address: str) -> object: ...
    def connect(self, address: str) -> object: ...
    def getsockopt(self, option: int) -> bytes: ...
    def close(self, linger: int) -> object: ...


class _Socket(_Ends, Protocol):
    def send(self, data: bytes) -> object: ...
    def recv(self) -> bytes: ...


class _AsyncSocket(_Ends, Protocol):
    def send(self, data: bytes) -> Awaitable[object]: ...
    def recv(self) -> Awaitable[bytes]: ...


class _Context(Protocol):
    def socket(self, kind: int) -> _Socket: ...


class _AsyncContext(Protocol):
    def socket(self, kind: int) -> _AsyncSocket: ...
