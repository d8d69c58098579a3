"""pynng: its sockets with their default buffers; only the size limit is lifted (1 MiB otherwise)."""

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
from nnqpy.bench.keys import HOST, folder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from nnqpy.bench.adapters import Order

__all__ = ["Pynng"]


class Pynng(NoDevice):
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

    def open_client(self, order: Order) -> AsyncClient:
        """Open one Req0, and a context of it for each task."""
        socket, _ = self._open(order)
        contexts = [socket.new_context() for _ in range(order.at_once)]
        return AsyncClient([requester(one.asend, one.arecv) for one in contexts], awaitable(socket.close))

    def open_server(self, order: Order) -> AsyncServer:
        """Open one Rep0, and a context and task of it for each request at a time."""
        socket, url = self._open(order)
        contexts = [socket.new_context() for _ in range(order.at_once)]
        ends = [(one.arecv, one.asend) for one in contexts]
        return AsyncServer(url, partial(serve_each, ends), awaitable(socket.close))

    def _open(self, order: Order) -> tuple[_Socket, str]:
        socket: _Socket = getattr(self._pynng, f"{order.pattern.capitalize()}0")(recv_max_size=0)
        if (order.bind or order.connect).startswith("tls"):
            kind, place = self._pynng.TLSConfig, folder()
            socket.tls_config = kind(
                kind.MODE_SERVER if order.bind else kind.MODE_CLIENT,
                ca_files=str(place / "ca.pem"),
                cert_key_file=str(place / "both.pem") if order.bind else None,
                server_name=None if order.bind else HOST,
                auth_mode=kind.AUTH_MODE_NONE if order.bind else kind.AUTH_MODE_REQUIRED,
            )
        for topic in order.topics:
            socket.subscribe(topic)
        if order.connect:
            socket.dial(order.connect, block=True)
            return socket, order.connect
        socket.listen(order.bind)
        return socket, socket.listeners[0].url if order.bind.startswith("tcp") else order.bind


class _Listener(Protocol):
    @property
    def url(self) -> str: ...


class _Context(Protocol):
    def asend(self, data: bytes) -> Awaitable[object]: ...
    def arecv(self) -> Awaitable[bytes]: ...


class _Socket(_Context, Protocol):
    tls_config: object

    @property
    def listeners(self) -> Sequence[_Listener]: ...
    def subscribe(self, topic: bytes) -> object: ...
    def listen(self, address: str) -> object: ...
    def dial(self, address: str, *, block: bool) -> object: ...
    def send(self, data: bytes) -> None: ...
    def recv(self) -> bytes: ...
    def new_context(self) -> _Context: ...
    def close(self) -> None: ...
