"""tcp: names, IPv4, IPv6; every address of a name is tried (nng tries only the first)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from nnqpy.address import TcpAddress
from nnqpy.errors import AddressError
from nnqpy.wire.stream import TCP as CODEC

if TYPE_CHECKING:
    from nnqpy.options import Options

__all__ = ["CODEC", "Bound", "dial", "listen", "remote", "tune"]

BACKLOG: Final = 1024
_FAMILIES: Final = {0: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}

_Where = tuple[int, tuple[str, int] | tuple[str, int, int, int]]


class Bound:
    """A listening tcp socket and the address it really has."""

    def __init__(self, sock: socket.socket, address: TcpAddress) -> None:
        self.sock = sock
        self.address = address

    def leave(self) -> None:
        """Nothing to remove."""


def listen(address: TcpAddress, options: Options) -> Bound:
    """Bind and listen, in the caller's thread; port 0 takes a free one.

    The wildcard host listens on IPv6 and IPv4 together where the system has both.

    Raises:
        AddressError: the host has no address here.
        OSError: the system refuses (address in use, no permission, no descriptors).
    """
    if address.host or address.family == 4:  # the scheme's own number
        host = address.host or "0.0.0.0"  # noqa: S104  # asked for with "*"
        where = _resolve(TcpAddress(address.scheme, host, address.port, address.family), passive=True)
        family, sockaddr = where[0]
    else:
        family, sockaddr = socket.AF_INET6, ("::", address.port)
        if not socket.has_dualstack_ipv6():
            family, sockaddr = socket.AF_INET, ("0.0.0.0", address.port)  # noqa: S104  # likewise
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            only = bool(address.host) or address.family == 6
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        sock.bind(sockaddr)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        port: int = sock.getsockname()[1]
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{error.strerror}: cannot listen at {address}") from None
    except BaseException:
        sock.close()
        raise
    # What is announced can be dialled as it stands, also by a peer on this machine.
    return Bound(sock, replace(address, port=port))


async def dial(address: TcpAddress, options: Options) -> socket.socket:
    """Connect to the first address of the name that answers.

    Raises:
        OSError: none did; it is the last one's error.
    """
    last: OSError | None = None
    for family, sockaddr in await _look_up(address):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(sock, sockaddr)
            if sock.getsockname() == sock.getpeername():
                raise OSError(0, "the dialer reached itself (simultaneous open)")
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last or OSError(0, f"{address.host} has no address")


def tune(sock: socket.socket, options: Options) -> None:
    """Set what the options say on a new connection."""
    if options.tcp_nodelay:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if options.tcp_keepalive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", 10),
            ("TCP_KEEPINTVL", 5),
            ("TCP_KEEPCNT", 4),
            ("TCP_USER_TIMEOUT", 30_000),
        ):
            option = getattr(socket, name, None)
            if option is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.IPPROTO_TCP, option, value)


def remote(sock: socket.socket) -> str:
    """Say who is at the other end: ``"127.0.0.1:40112"``."""
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _resolve(address: TcpAddress, *, passive: bool = False, numeric: bool = False) -> list[_Where]:
    flags = (socket.AI_PASSIVE if passive else 0) | (socket.AI_NUMERICHOST if numeric else 0)
    try:
        found = socket.getaddrinfo(
            address.host, address.port, _FAMILIES[address.family], socket.SOCK_STREAM, socket.IPPROTO_TCP, flags
        )
    except (socket.gaierror, UnicodeError) as error:
        if passive:
            raise AddressError(f"cannot listen at {address}: {error}") from error
        if isinstance(error, socket.gaierror):
            raise
        raise OSError(0, f"{address.host!r} is no host name") from error
    return [(family, sockaddr) for family, _, _, _, sockaddr in found]  # type: ignore[misc]  # SOCK_STREAM: ip addresses


async def _look_up(address: TcpAddress) -> list[_Where]:
    """Resolve a name without holding up the loop, nor the interpreter's exit: in a daemon thread of its own."""
    with contextlib.suppress(socket.gaierror, OSError):
        return _resolve(address, numeric=True)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[_Where]] = loop.create_future()

    def settle(found: list[_Where] | OSError) -> None:
        if not answer.done():
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

    def ask() -> None:
        found: list[_Where] | OSError
        try:
            found = _resolve(address)
        except OSError as error:
            found = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, found)

    threading.Thread(target=ask, name=f"nnqpy-resolve-{address.host}", daemon=True).start()
    return await answer
