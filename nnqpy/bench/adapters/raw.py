"""Raw TCP sockets: the limit that the kernel and the interpreter set.

Sending is one `sendall` of the body. Receiving bodies of up to 64 KiB reads into one buffer of 64 KiB, larger ones
into a buffer of exactly the body's size. There is no framing: amounts are counted in bytes.
"""

from __future__ import annotations

import asyncio
import socket
from time import monotonic_ns
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from nnqpy.bench.adapters import END, AsyncEndpoint, Drained, Endpoint, NoDevice, awaitable, no_flush
from nnqpy.bench.meters import ProcessorTime

if TYPE_CHECKING:
    from nnqpy.bench.adapters import Order

__all__ = ["Raw"]

_SMALL = 64 * 1024


class Raw(NoDevice):
    """The standard library's `socket`."""

    def open(self, order: Order) -> Endpoint:
        """Connect, or listen; a listener accepts its one connection at the first `recv`."""
        wire = _Wire(order)
        send = wire.connected().sendall if order.connect else wire.send
        return Endpoint(wire.url, send, wire.recv, no_flush, wire.close, wire.drain)

    def open_async(self, order: Order) -> AsyncEndpoint:
        """The same through the running loop's `sock_*` calls."""
        wire = _AsyncWire(order)
        return AsyncEndpoint(wire.url, wire.send, wire.recv, awaitable(wire.close), wire.drain)

    def open_client(self, order: Order) -> NoReturn:
        """Nothing tells requests apart."""
        raise TypeError("raw sockets have no framing")

    open_server = open_client


class _Wire:
    """One connection: made at once by a connector, at the first read by a listener."""

    def __init__(self, order: Order) -> None:
        self._size = order.size
        self._wire: socket.socket | None = None
        self._listener: socket.socket | None = None
        if order.connect:
            self.url = order.connect
            self._wire = _prepare(socket.create_connection(_place(order.connect)))
        else:
            self._listener = socket.create_server(_place(order.bind))
            self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    def connected(self) -> socket.socket:
        if self._wire is None:
            assert self._listener is not None, "a wire without a connection is a listener"
            self._wire = _prepare(self._listener.accept()[0])
        return self._wire

    def send(self, body: bytes) -> None:
        self.connected().sendall(body)

    def recv(self) -> bytes:
        """One body; END, the only shorter one, is known by coming alone."""
        wire = self.connected()
        body = wire.recv(self._size)
        while len(body) < self._size and body != END:
            piece = wire.recv(self._size - len(body))
            if not piece:
                raise ConnectionError("the other side closed")
            body += piece
        return body

    def drain(self) -> Drained:
        tally = _Tally(self._size)
        wire, buffer = self.connected(), tally.buffer
        while not tally.warm(wire.recv_into(buffer)):
            pass
        meter, start = ProcessorTime(), monotonic_ns()
        counted = tally.counted
        while buffer[(got := wire.recv_into(buffer)) - 1] != tally.end and got:
            counted += got
        return Drained(tally.messages(counted + got), start, monotonic_ns(), meter.seconds())

    def close(self) -> None:
        for one in (self._wire, self._listener):
            if one is not None:
                one.close()


class _AsyncWire:
    """The same over an event loop."""

    def __init__(self, order: Order) -> None:
        self._size = order.size
        self._loop = asyncio.get_running_loop()
        self._wire = _Wire(order)
        self.url = self._wire.url
        self._ready: socket.socket | None = None

    async def send(self, body: bytes) -> None:
        await self._loop.sock_sendall(self._ready or await self._connected(), body)

    async def recv(self) -> bytes:
        wire = self._ready or await self._connected()
        body = await self._loop.sock_recv(wire, self._size)
        while len(body) < self._size and body != END:
            piece = await self._loop.sock_recv(wire, self._size - len(body))
            if not piece:
                raise ConnectionError("the other side closed")
            body += piece
        return body

    async def drain(self) -> Drained:
        tally = _Tally(self._size)
        wire, buffer, read = await self._connected(), tally.buffer, self._loop.sock_recv_into
        while not tally.warm(await read(wire, buffer)):
            pass
        meter, start = ProcessorTime(), monotonic_ns()
        counted = tally.counted
        while buffer[(got := await read(wire, buffer)) - 1] != tally.end and got:
            counted += got
        return Drained(tally.messages(counted + got), start, monotonic_ns(), meter.seconds())

    def close(self) -> None:
        self._wire.close()

    async def _connected(self) -> socket.socket:
        # Accepting blocks the loop, which has nothing else to do before the one connection is there.
        self._ready = self._wire.connected()
        self._ready.setblocking(False)
        return self._ready


class _Tally:
    """Tells warm-up, counted bytes and END apart by the last byte of each read."""

    end = END[0]

    def __init__(self, size: int) -> None:
        self.buffer = bytearray(max(_SMALL, size))
        self.counted = 0
        self._size = size

    def warm(self, got: int) -> bool:
        """Look at one read; True as soon as it holds counted bytes."""
        if got == 0:
            raise ConnectionError("the other side closed before the flow began")
        self.counted = self.buffer.count(b"d", 0, got)
        return self.counted > 0

    def messages(self, with_end: int) -> int:
        """Whole messages in that many bytes, the last of which is END."""
        return (with_end - len(END)) // self._size


def _place(url: str) -> tuple[str, int]:
    place = urlsplit(url)
    return place.hostname or "127.0.0.1", place.port or 0


def _prepare(wire: socket.socket) -> socket.socket:
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return wire
