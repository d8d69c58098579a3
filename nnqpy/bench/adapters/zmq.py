"""pyzmq and pyomq: the same API from two packages; default marks (1,000), one context a process.

A PUB that is to lose nothing is told so by the option that each has for it.
"""

from __future__ import annotations

import struct
from functools import cached_property, partial
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Protocol

from nnqpy.bench.adapters import (
    AsyncClient,
    AsyncEndpoint,
    AsyncServer,
    Device,
    Endpoint,
    awaitable,
    no_flush,
    requester,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Sequence

    from nnqpy.bench.adapters import Handler, Order, Pattern

__all__ = ["Pyomq", "Pyzmq"]

_NUMBER = struct.Struct(">Q")


class Pyzmq:
    """pyzmq (libzmq underneath)."""

    _package = "zmq"
    _lossless = ("XPUB_NODROP", 1)

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

    def open_client(self, order: Order) -> AsyncClient:
        """Open a REQ for one request at a time, a DEALER that numbers them for more."""
        if order.at_once == 1:
            end = self.open_async(order)
            return AsyncClient([requester(end.send, end.recv)], end.close)
        socket = self._open_parts("DEALER")
        self._attach(socket, order)
        numbered = _Numbered(socket)
        return AsyncClient([numbered.request] * order.at_once, numbered.close)

    def open_server(self, order: Order) -> AsyncServer:
        """Open a ROUTER, served by one loop that calls the handler itself: nothing quicker was found."""
        socket = self._open_parts("ROUTER")

        async def serve(handler: Handler) -> None:
            while True:
                *route, body = await socket.recv_multipart()
                await socket.send_multipart([*route, handler(body)])

        return AsyncServer(self._attach(socket, order), serve, awaitable(lambda: socket.close(linger=0)))

    def open_device(self, front: Order, back: Order) -> Device:
        """Open two sockets and the package's own proxy between them."""
        pull, push = (self._context.socket(self._kind(order.pattern)) for order in (front, back))
        return Device(self._attach(pull, front), self._attach(push, back), partial(self._zmq.proxy, pull, push))

    def _open_parts(self, kind: str) -> _PartsSocket:
        made: _PartsSocket = import_module(f"{self._package}.asyncio").Context().socket(getattr(self._zmq, kind))
        return made

    def _kind(self, pattern: Pattern) -> int:
        return int(getattr(self._zmq, pattern.name))

    def _attach(self, socket: _Ends, order: Order) -> str:
        for topic in order.topics:
            socket.setsockopt(int(self._zmq.SUBSCRIBE), topic)
        if order.lossless:
            option, value = self._lossless
            socket.setsockopt(int(getattr(self._zmq, option)), value)
        if order.connect:
            socket.connect(order.connect)
            return order.connect
        socket.bind(order.bind)
        return socket.getsockopt(int(self._zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()


class Pyomq(Pyzmq):
    """pyomq (omq.rs underneath), which offers pyzmq's API."""

    _package = "pyomq"
    _lossless = ("OMQ_ON_MUTE", 0)  # OMQ_ON_MUTE_BLOCK


class _Numbered:
    """A DEALER that any number of tasks ask through: a number in front of each request tells whose the answer is."""

    def __init__(self, socket: _PartsSocket) -> None:
        import asyncio  # here: blocking roles carry no asyncio in their memory

        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._asked: dict[bytes, asyncio.Future[bytes]] = {}
        self._numbers = map(_NUMBER.pack, count())
        self._receiving = self._loop.create_task(self._receive())

    async def request(self, body: bytes) -> bytes:
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._asked[number] = answer
        await self._socket.send_multipart([number, body])
        return await answer

    async def _receive(self) -> None:
        while True:
            number, body = await self._socket.recv_multipart()
            self._asked.pop(number).set_result(body)

    async def close(self) -> None:
        self._receiving.cancel()
        self._socket.close(linger=0)


class _Ends(Protocol):
    def bind(self, address: str) -> object: ...
    def connect(self, address: str) -> object: ...
    def getsockopt(self, option: int) -> bytes: ...
    def setsockopt(self, option: int, value: int | bytes) -> object: ...
    def close(self, linger: int) -> object: ...


class _Socket(_Ends, Protocol):
    def send(self, data: bytes) -> object: ...
    def recv(self) -> bytes: ...


class _AsyncSocket(_Ends, Protocol):
    def send(self, data: bytes) -> Awaitable[object]: ...
    def recv(self) -> Awaitable[bytes]: ...


class _PartsSocket(_Ends, Protocol):
    def send_multipart(self, parts: Sequence[bytes]) -> Awaitable[object]: ...
    def recv_multipart(self) -> Awaitable[Sequence[bytes]]: ...


class _Context(Protocol):
    def socket(self, kind: int) -> _Socket: ...


class _AsyncContext(Protocol):
    def socket(self, kind: int) -> _AsyncSocket: ...
