"""ipc: Unix stream sockets, by path or (Linux) by abstract name.

A path is taken over only if what is there is a socket that nobody listens on any more; a live one, or a file
that is no socket, never is. Who binds holds a lock file while it looks, so that of two who race one wins.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
from typing import TYPE_CHECKING, Final

from nnqpy.wire.stream import IPC as CODEC

if TYPE_CHECKING:
    from collections.abc import Generator

    from nnqpy.address import IpcAddress
    from nnqpy.options import Options

__all__ = ["CODEC", "Bound", "dial", "listen", "remote", "tune"]

BACKLOG: Final = 1024


class Bound:
    """A listening ipc socket; remembers which file is its own."""

    def __init__(self, sock: socket.socket, address: IpcAddress) -> None:
        self.sock = sock
        self.address = address
        self._inode = _inode(address.path) if address.path is not None else None

    def leave(self) -> None:
        """Remove the socket file, if it is still the one that we made; once, for the next one may get its number."""
        inode, self._inode = self._inode, None
        if inode is not None and self.address.path is not None and _inode(self.address.path) == inode:
            with contextlib.suppress(OSError):
                os.unlink(self.address.path)


def listen(address: IpcAddress, options: Options) -> Bound:
    """Bind and listen, in the caller's thread; a file gets its permissions before anybody can connect.

    Raises:
        OSError: the system refuses: EADDRINUSE for a live socket, EEXIST for a file that is none.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if address.path is None:
            _bind(sock, address)
        else:
            with _claim(address.path):
                _clear(address.path)
                _bind(sock, address)
                os.chmod(address.path, options.ipc_mode)
                sock.listen(BACKLOG)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return Bound(sock, address)


async def dial(address: IpcAddress, options: Options) -> socket.socket:
    """Connect; a path that is not there yet is refused like any other (nng: ECONNREFUSED).

    Raises:
        OSError: it failed.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        while True:
            try:
                await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
            except BlockingIOError:
                # Linux: the listener's backlog is full, and no event will tell when it is not.
                await asyncio.sleep(0.01)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


def tune(sock: socket.socket, options: Options) -> None:
    """Nothing to set on an ipc connection."""


def remote(sock: socket.socket) -> str:
    """Say who is at the other end: ``"pid 4711 uid 1000"``, where the system tells."""
    try:
        pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    except (AttributeError, OSError):
        return ""
    return f"pid {pid} uid {uid}"


def _bind(sock: socket.socket, address: IpcAddress) -> None:
    try:
        sock.bind(address.sockaddr)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: cannot listen at {address}") from None


@contextlib.contextmanager
def _claim(path: str) -> Generator[None]:
    """Keep others who would bind the same path waiting: the directory is locked, no file that could be left behind.

    A directory that one may write but not read cannot be locked so; there the last of two who race wins.
    """
    try:
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        yield
        return
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _clear(path: str) -> None:
    """Remove a socket file that nobody listens on any more; refuse everything else that is there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "there is a file that is no socket; it is left alone", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        except FileNotFoundError:
            return
        except BlockingIOError:
            pass  # its backlog is full: it lives
    raise OSError(errno.EADDRINUSE, f"a live socket listens at {path}")


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
