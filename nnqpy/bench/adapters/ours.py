"""nnqpy through its public faces, with default options; only a PUB that is to lose nothing is told so."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

import nnqpy
from nnqpy.bench.adapters import AsyncClient, AsyncEndpoint, AsyncServer, Device, Endpoint, no_flush
from nnqpy.bench.keys import folder

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from nnqpy.bench.adapters import Order

__all__ = ["Ours"]

Closing_co = TypeVar("Closing_co", covariant=True)


class Ours:
    """nnqpy."""

    def open(self, order: Order) -> Endpoint:
        """Open a blocking socket with default options."""
        socket: _Socket[object] = getattr(nnqpy, order.pattern.capitalize())(**_options(order))
        return Endpoint(
            url=_attach(socket, order),
            send=getattr(socket, "send", _cannot),
            recv=getattr(socket, "recv", _cannot),
            flush=getattr(socket, "flush", no_flush),
            close=lambda: socket.close(linger=0),
            request=getattr(socket, "request", None),
        )

    def open_async(self, order: Order) -> AsyncEndpoint:
        """Open an asyncio socket with default options."""
        import nnqpy.asyncio as nnqa  # here: blocking roles carry no asyncio face in their memory

        socket: _Socket[Awaitable[object]] = getattr(nnqa, order.pattern.capitalize())(**_options(order))
        return AsyncEndpoint(
            url=_attach(socket, order),
            send=getattr(socket, "send", _cannot),
            recv=getattr(socket, "recv", _cannot),
            close=lambda: socket.close(linger=0),
        )

    def open_client(self, order: Order) -> AsyncClient:
        """Open one Req, which all tasks share."""
        import nnqpy.asyncio as nnqa

        req = nnqa.Req()
        req.connect(order.connect)
        return AsyncClient([req.request] * order.at_once, lambda: req.close(linger=0))

    def open_server(self, order: Order) -> AsyncServer:
        """Open one Rep that serves as many at a time."""
        import nnqpy.asyncio as nnqa

        rep = nnqa.Rep()
        url = rep.bind(order.bind).url
        return AsyncServer(url, partial(rep.serve, concurrency=order.at_once), lambda: rep.close(linger=0))

    def open_device(self, front: Order, back: Order) -> Device:
        """Open a raw Pull, a raw Push and the device between them."""
        pull, push = nnqpy.RawPull(), nnqpy.RawPush()
        return Device(_attach(pull, front), _attach(push, back), nnqpy.Device(pull, push).run)


def _options(order: Order) -> dict[str, object]:
    options: dict[str, object] = {}
    if order.topics:
        options["subscribe"] = order.topics
    if order.lossless:
        options["on_full"] = "block"
    if (order.bind or order.connect).startswith("tls"):
        place = folder()
        options["tls"] = nnqpy.TlsConfig(ca=place / "ca.pem", cert=place / "own.pem", key=place / "own.key")
    return options


def _attach(socket: _Socket[object], order: Order) -> str:
    return socket.bind(order.bind).url if order.bind else socket.connect(order.connect).url


def _cannot(*_: bytes) -> NoReturn:
    """What a one-way socket has in place of the other way; no role uses it."""
    raise TypeError("this pattern has no such direction")


class _End(Protocol):
    @property
    def url(self) -> str: ...


class _Socket(Protocol[Closing_co]):
    """What all patterns have, in either face."""

    def bind(self, url: str, /) -> _End: ...
    def connect(self, url: str, /) -> _End: ...
    def close(self, *, linger: float) -> Closing_co: ...
