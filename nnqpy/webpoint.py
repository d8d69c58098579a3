"""The endpoints of ws and wss. One port may serve several sockets of this process, each under its own path.

Who shares a port has a duplicate of one listening descriptor each; whoever accepts a connection learns from its request
whose it is.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, Literal

from nnqpy.endpoint import Endpoint, StreamDialer, StreamListener
from nnqpy.errors import ProtocolError, Reason
from nnqpy.locks import Lock
from nnqpy.transport import tcp
from nnqpy.wire.websocket import ClientUpgrade, ServerUpgrade, Upgraded

if TYPE_CHECKING:
    import socket

    from nnqpy.address import WebAddress
    from nnqpy.engine import Stream
    from nnqpy.proto import Proto
    from nnqpy.transport import Bound

HEAD_READ: Final = 4096
"""Bytes of a request or a response to read at a time."""


def subprotocol(listening: Proto) -> str:
    """Return the name that a connection goes by: the listening side's, whoever asks."""
    return f"{listening.label}.sp.nanomsg.org"


class Web(Endpoint):
    """What the two ends of WebSocket share: the greeting is an HTTP upgrade, whose subprotocol names the pattern."""

    address: WebAddress

    async def _upgrade(self, sock: socket.socket | Stream, upgrade: ServerUpgrade | ClientUpgrade) -> Upgraded:
        while True:
            words = upgrade.to_send()
            if words:
                await self._janitor.send(sock, words)
            found = upgrade.result
            if isinstance(found, Upgraded):
                return found
            if found is not None:
                raise ProtocolError(found.reason, found.detail)
            chunk = await self._janitor.receive(sock, HEAD_READ)
            if not chunk:
                raise ProtocolError(Reason.GREETING_EOF, "the peer left before its half of the upgrade was whole")
            upgrade.receive(chunk)


class WebListener(Web, StreamListener):
    """Accepts connections at one path; the port may have other paths, of other sockets of this process."""

    def _bind(self) -> Bound:
        with _ports:
            there = self._there()
            if not there:
                bound = self._transport.listen(self._options)
            else:
                bound = tcp.Bound(there[0]._bound.sock.dup(), self.address)
                bound.sock.setblocking(False)
            _webs.append(self)
            return bound

    def _there(self) -> list[WebListener]:
        """Return those whose port we are to share.

        Raises:
            OSError: one of them has the path already, or they cannot share it with us.
        """
        there = [one for one in _webs if self.address.port and one.place == self.place]
        for one in there:
            if one.address.path == self.address.path:
                raise OSError(errno.EADDRINUSE, f"{os.strerror(errno.EADDRINUSE)}: cannot listen at {self.address}")
            if one.address.scheme[:3] != self.address.scheme[:3]:
                raise OSError(errno.EADDRINUSE, f"ws and wss cannot share a port: {one.address}, {self.address}")
            if one._options.tls != self._options.tls:
                raise OSError(errno.EADDRINUSE, f"who shares the port of {one.address} has one TlsConfig with it")
        return there

    @property
    def place(self) -> tuple[str, int, int]:
        """What those who share a port have in common."""
        return self.address.host, self.address.port, self.address.family

    def close(self) -> None:
        """Accept no more; as `StreamListener.close`. The port is free when the last one has closed."""
        with _ports:
            if self in _webs:
                _webs.remove(self)
        super().close()

    def _find(self, path: str, _host: str) -> str | None:
        home = self._home_of(path)
        if home is None or home._core.refusal() is not None:
            return None  # who is refused has lost nothing: it has not sent yet
        return subprotocol(home._core.proto)

    def _home_of(self, path: str) -> WebListener | None:
        for one in tuple(_webs):
            if one.place == self.place and one.address.path.partition("?")[0] == path:
                return one
        return None

    async def _exchange(self, sock: socket.socket | Stream, direction: Literal["in", "out"]) -> tuple[Endpoint, bytes]:
        found = await self._upgrade(sock, ServerUpgrade(self._find, origins=self._options.ws_origins))
        home = self._home_of(found.path)
        if home is None:
            raise ProtocolError(Reason.WS_HTTP, "the listener was closed meanwhile")
        return home, found.rest


class WebDialer(Web, StreamDialer):
    """Keeps one connection to one path."""

    async def _exchange(self, sock: socket.socket | Stream, direction: Literal["in", "out"]) -> tuple[Endpoint, bytes]:
        where = self.address
        listening = subprotocol(self._core.proto.peer)
        upgrade = ClientUpgrade(where.authority, where.path, listening, self._options.ws_headers)
        found = await self._upgrade(sock, upgrade)
        return self, found.rest


_ports = Lock()
_webs: list[WebListener] = []


def _after_fork() -> None:
    """In a forked child nobody listens; whoever held the lock is not here to give it back."""
    global _ports  # noqa: PLW0603  # nobody here can give the old lock back
    _ports = Lock()
    _webs.clear()


os.register_at_fork(after_in_child=_after_fork)
