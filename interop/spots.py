"""Spots: addresses that a peer can bind without a race: nobody else is given the port between the choice and the bind."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from types import TracebackType

Transport = Literal["tcp", "ipc"]


class Spots:
    """Hands out URLs, and keeps them for one test.

    A tcp port stays ours while sockets that are bound to it with SO_REUSEADDR do not listen (Linux: such a socket lets
    another with SO_REUSEADDR bind and listen, and keeps the port from being given to anybody who asks for port 0 or
    dials). So a peer can go and come back on it, and no dialer can meet itself there. Elsewhere the port is only chosen.
    """

    def __init__(self) -> None:
        self._kept = ExitStack()
        # Not under pytest's tmp_path: with a test's name in it, it is longer than an ipc path can be.
        self._folder = Path(tempfile.mkdtemp(prefix="nnq-"))
        self._kept.callback(shutil.rmtree, self._folder)
        self._numbers = count(1)

    def url(self, transport: Transport) -> str:
        """Return an address that nobody has bound: for a peer, or for a socket of ours that will come back to it."""
        if transport == "ipc":
            return f"ipc://{self._folder}/{next(self._numbers)}"
        keeper = self._kept.enter_context(socket.socket())
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        port: int = keeper.getsockname()[1]
        if sys.platform != "linux":
            keeper.close()
        return f"tcp://127.0.0.1:{port}"

    def any_url(self, transport: Transport) -> str:
        """Return an address for our own bind, which then says the real one."""
        return "tcp://127.0.0.1:0" if transport == "tcp" else self.url("ipc")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kept.close()


def sockaddr(url: str) -> tuple[socket.AddressFamily, tuple[str, int] | str]:
    """Return what the system's own ``bind`` and ``connect`` take for a URL."""
    scheme, _, rest = url.partition("://")
    if scheme == "ipc":
        return socket.AF_UNIX, rest
    host, _, port = rest.rpartition(":")
    return socket.AF_INET, (host, int(port))
