"""The `nng` binding: default buffers; its Message is turned into `bytes`, as every other library gives them."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from nnqpy.bench.adapters import (
    AsyncClient,
    AsyncEndpoint,
    AsyncServer,
    Endpoint,
    NoDevice,
    awaitable,
    no_flush,
    requester,
    serve_each,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from nnqpy.bench.adapters import AsyncRecv, Order

__all__ = ["Nng"]


class Nng(NoDevice):
    """python-nng (nng underneath)."""

    def __init__(self) -> None:
        self._nng = import_module("nng")

    def open(self, order: Order) -> Endpoint:
        """Open a socket and use its blocking verbs."""
        socket, url = self._open(order)
        take = socket.recv
        return Endpoint(url=url, send=socket.send, recv=lambda: take().to_bytes(), flush=no_flush, close=socket.close)

    def open_async(self, order: Order) -> AsyncEndpoint:
        """Open a socket and use its asyncio verbs."""
        socket, url = self._open(order)
        return AsyncEndpoint(url=url, send=socket.asend, recv=_arecv(socket), close=awaitable(socket.close))

    def open_client(self, order: Order) -> AsyncClient:
        """Open one ReqSocket, and a context of it for each task."""
        socket, _ = self._open(order)
        contexts = [socket.open_context() for _ in range(order.at_once)]
        return AsyncClient([requester(one.asend, _arecv(one)) for one in contexts], awaitable(socket.close))

    def open_server(self, order: Order) -> AsyncServer:
        """Open one RepSocket, and a context and task of it for each request at a time."""
        socket, url = self._open(order)
        contexts = [socket.open_context() for _ in range(order.at_once)]
        ends = [(_arecv(one), one.asend) for one in contexts]
        return AsyncServer(url, partial(serve_each, ends), awaitable(socket.close))

    def _open(self, order: Order) -> tuple[_Socket, str]:
        socket: _Socket = getattr(self._nng, f"{order.pattern.capitalize()}Socket")()
        for topic in order.topics:
            socket.subscribe(topic)
        if order.connect:
            socket.add_dialer(order.connect, recv_max_size=0).start()
            return socket, order.connect
        listener = socket.add_listener(order.bind, recv_max_size=0)
        listener.start()
        return socket, f"tcp://127.0.0.1:{listener.port}" if order.bind.startswith("tcp") else order.bind


def _arecv(end: _Context) -> AsyncRecv:
    async def recv() -> bytes:
        return (await end.arecv()).to_bytes()

    return recv


class _Message(Protocol):
    def to_bytes(self) -> bytes: ...


class _Dialer(Protocol):
    def start(self) -> None: ...


class _Listener(Protocol):
    @property
    def port(self) -> int: ...
    def start(self) -> None: ...


class _Context(Protocol):
    def asend(self, data: bytes) -> Awaitable[object]: ...
    def arecv(self) -> Awaitable[_Message]: ...


class _Socket(_Context, Protocol):
    def add_listener(self, url: str, *, recv_max_size: int) -> _Listener: ...
    def add_dialer(self, url: str, *, recv_max_size: int) -> _Dialer: ...
    def subscribe(self, prefix: bytes) -> None: ...
    def send(self, data: bytes) -> None: ...
    def recv(self) -> _Message: ...
    def open_context(self) -> _Context: ...
    def close(self) -> None: ...
