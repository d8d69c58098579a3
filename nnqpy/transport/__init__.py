"""How a scheme gets a connection: one small module each, all of the shape `Transport`.

``inproc`` is none of them: nothing is dialled there, two sockets of this process are joined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from nnqpy.address import Address, IpcAddress, TcpAddress
from nnqpy.transport import ipc, tcp

if TYPE_CHECKING:
    import socket

    from nnqpy.options import Options
    from nnqpy.wire.codec import Codec

__all__ = ["Bound", "Transport", "transport_for"]


class Bound(Protocol):
    """A listening system socket and the address that it really has."""

    sock: socket.socket

    @property
    def address(self) -> Address:
        """Where it listens, with the real port."""

    def close(self) -> None:
        """Stop listening, and remove what it left in the file system if that is still its own."""


class Transport(Protocol):
    """One scheme over stream sockets; the module itself is the object."""

    CODEC: Codec

    def listen(self, address: Any, options: Options) -> Bound:  # each takes the address of its own kind
        """Bind and listen in the caller's thread."""

    async def dial(self, address: Any, options: Options) -> socket.socket:
        """Return a connected, non-blocking socket, or raise `OSError`."""

    def tune(self, sock: socket.socket, options: Options) -> None:
        """Set the options of a new connection."""

    def remote(self, sock: socket.socket) -> str:
        """Say who is at the other end."""


TRANSPORTS: Final[dict[type, Transport]] = {TcpAddress: tcp, IpcAddress: ipc}


def transport_for(address: TcpAddress | IpcAddress) -> Transport:
    """Return the transport of an address."""
    return TRANSPORTS[type(address)]
