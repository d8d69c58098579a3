"""How a scheme gets a connection: one small module each, told of as a `Transport`.

``inproc`` is none of them: nothing is dialled there, two sockets of this process are joined.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from nnqpy.address import TcpAddress
from nnqpy.engine import Engine
from nnqpy.transport import ipc, tcp

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from nnqpy.address import IpcAddress
    from nnqpy.engine import Stream
    from nnqpy.options import Options
    from nnqpy.turns import Turns
    from nnqpy.wire.codec import Codec

__all__ = ["Bound", "Transport", "transport_for"]


class Bound(Protocol):
    """A listening system socket and the address that it really has."""

    sock: socket.socket

    @property
    def address(self) -> TcpAddress | IpcAddress:
        """Where it listens, with the real port."""
        ...

    def leave(self) -> None:
        """Remove what it left in the file system, if that is still its own; `sock` is for the owner to close."""
        ...


@dataclass(frozen=True, slots=True)
class Transport:
    """One scheme over stream sockets, for one address of its kind.

    Attributes:
        codec: its framing.
        listen: binds and listens in the caller's thread, or raises `OSError`.
        dial: connects; returns a non-blocking socket, or raises `OSError`.
        tune: sets the options of a new connection.
        remote: says who is at the other end.
        layer: puts what the engine speaks through on a new connection, before the greeting; None: it needs none.
        engine: makes the engine of a connection that has greeted.
    """

    codec: Codec
    listen: Callable[[Options], Bound]
    dial: Callable[[Options], Awaitable[socket.socket]]
    tune: Callable[[socket.socket, Options], None]
    remote: Callable[[socket.socket], str]
    layer: Callable[[socket.socket, Literal["in", "out"], Options], Awaitable[Stream]] | None = None
    engine: Callable[..., Engine] = Engine


def transport_for(address: TcpAddress | IpcAddress, turns: Turns) -> Transport:
    """Return the transport of an address, bound to it, for one socket.

    Raises:
        ImportError: the scheme needs a package that is not here.
    """
    if not isinstance(address, TcpAddress):
        return Transport(ipc.CODEC, partial(ipc.listen, address), partial(ipc.dial, address), ipc.tune, ipc.remote)
    over = address.scheme.rstrip("46").partition("+")[0]
    found = Transport(tcp.CODEC, partial(tcp.listen, address), partial(tcp.dial, address), tcp.tune, tcp.remote)
    if over in ("tls", "wss"):
        from nnqpy.transport import tls

        found = replace(found, listen=partial(tls.listen, address), layer=partial(tls.layer, address))
    if over in ("ws", "wss"):
        from nnqpy.transport import web

        return replace(found, engine=web.engines(turns))
    if over == "zstd":
        from nnqpy.transport import zstd

        return replace(found, engine=zstd.engines(turns))
    return found
