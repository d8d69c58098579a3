"""How a scheme gets a connection: one small module each, told of as a `Transport`.

``inproc`` is none of them: nothing is dialled there, two sockets of this process are joined.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from nnqpy.address import TcpAddress
from nnqpy.transport import ipc, tcp

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from nnqpy.address import IpcAddress
    from nnqpy.options import Options
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
    """

    codec: Codec
    listen: Callable[[Options], Bound]
    dial: Callable[[Options], Awaitable[socket.socket]]
    tune: Callable[[socket.socket, Options], None]
    remote: Callable[[socket.socket], str]


def transport_for(address: TcpAddress | IpcAddress) -> Transport:
    """Return the transport of an address, bound to it."""
    if isinstance(address, TcpAddress):
        return Transport(tcp.CODEC, partial(tcp.listen, address), partial(tcp.dial, address), tcp.tune, tcp.remote)
    return Transport(ipc.CODEC, partial(ipc.listen, address), partial(ipc.dial, address), ipc.tune, ipc.remote)
