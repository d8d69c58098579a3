"""Wiretap: stands between two peers and writes down each byte that passes, both ways."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack

from interop.spots import sockaddr

PATIENCE = 20.0


class Wiretap:
    """Listens at `url`, takes one connection, and passes it on to `target`.

    Attributes:
        dialer_said: the bytes of the one who dialled us, so far.
        listener_said: the bytes of the one behind `target`, so far.
    """

    def __init__(self, url: str, target: str) -> None:
        self.url = url
        self.dialer_said = b""
        self.listener_said = b""
        self._target = target
        self._sides: tuple[socket.socket, ...] = ()
        self._open = ExitStack()
        self._listener = self._open.enter_context(_bound(url))
        self._thread = threading.Thread(target=self._run, name="wiretap", daemon=True)

    def finished(self) -> None:
        """Wait until both sides have said their last byte."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), (
            f"the connection is still open; so far {self.dialer_said!r} {self.listener_said!r}"
        )

    def start(self) -> None:
        """Pass on from now; `target` must be bound."""
        self._thread.start()

    def close(self) -> None:
        """Cut the connection, whatever its state."""
        for side in (*self._sides, self._listener):
            _hang_up(side, socket.SHUT_RDWR)  # wakes a thread that is inside accept() or recv()
        self._thread.join(PATIENCE)
        self._open.close()

    def _run(self) -> None:
        try:
            near, _ = self._listener.accept()
        except OSError:
            return  # ended before anybody came
        family, where = sockaddr(self._target)
        far = socket.socket(family)
        self._sides = (self._open.enter_context(near), self._open.enter_context(far))
        far.connect(where)
        back = threading.Thread(target=self._pass_on, args=(far, near), name="wiretap-back", daemon=True)
        back.start()
        self._pass_on(near, far)
        back.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        while heard := _receive(source):
            if source is self._sides[0]:
                self.dialer_said += heard
            else:
                self.listener_said += heard
            try:
                sink.sendall(heard)
            except OSError:
                break
        _hang_up(sink, socket.SHUT_WR)


def _bound(url: str) -> socket.socket:
    family, where = sockaddr(url)
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(where)
    listener.listen()
    return listener


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""  # a reset is an end like another


def _hang_up(side: socket.socket, how: int) -> None:
    try:
        side.shutdown(how)
    except OSError:
        pass  # gone already
