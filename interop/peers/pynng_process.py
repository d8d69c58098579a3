"""One pynng socket as a process: orders on stdin, what happens on stdout. The only place that imports pynng.

Run as ``python pynng_process.py PROTOCOL bind|connect URL [held]``. Both ways a word is one byte of kind, four bytes of
length (big-endian), and that many bytes.

======  =====================================================================================
orders  ``s`` send this body, ``g`` go: receive (for a socket that was started ``held``), ``c`` close and end
tells   ``u`` listening or dialling (the versions), ``r`` received this body, ``s`` sent one, ``+`` a peer was attached,
        ``-`` a connection was removed, ``c`` closed, ``e`` an error's text
======  =====================================================================================

The end of stdin is the end of the process: it does not outlive who started it.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from typing import TYPE_CHECKING, Final, Protocol

import pynng

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES: Final = {
    "pair": "Pair0",
    "pair1": "Pair1",
    "bus": "Bus0",
    "pub": "Pub0",
    "sub": "Sub0",
    "push": "Push0",
    "pull": "Pull0",
}
DEAF: Final = frozenset({"push", "pub"})
REDIAL_MS: Final = 50


class Message(Protocol):
    """A pynng message."""

    @property
    def bytes(self) -> bytes: ...


class Pynng(Protocol):
    """What this process uses of a pynng socket, which has no types of its own."""

    def listen(self, address: str) -> object: ...
    def dial(self, address: str, *, block: bool) -> object: ...
    def send(self, data: bytes) -> None: ...
    def recv_msg(self) -> Message: ...
    def close(self) -> None: ...
    def add_post_pipe_connect_cb(self, callback: Callable[[object], None]) -> None: ...
    def add_post_pipe_remove_cb(self, callback: Callable[[object], None]) -> None: ...


_telling = threading.Lock()


def tell(kind: bytes, word: bytes = b"") -> None:
    """Say one word; any thread may."""
    with _telling:
        sys.stdout.buffer.write(kind + len(word).to_bytes(4, "big") + word)
        sys.stdout.buffer.flush()


def read_orders(orders: queue.SimpleQueue[tuple[bytes, bytes]]) -> None:
    """Take in all orders as they come, so that who gives them never waits; end the process with its input."""
    while len(head := sys.stdin.buffer.read(5)) == 5:
        orders.put((head[:1], sys.stdin.buffer.read(int.from_bytes(head[1:], "big"))))
    os._exit(3)


def receive_all(socket: Pynng, go: threading.Event) -> None:
    """Tell every body that comes, until the socket is closed."""
    go.wait()
    while True:
        try:
            message = socket.recv_msg()  # pynng 0.9's recv() fails on an empty body
        except pynng.Closed:
            return
        tell(b"r", message.bytes)


def opened(protocol: str) -> Pynng:
    """A socket that is not connected yet and tells who comes and goes."""
    make: Callable[..., Pynng] = getattr(pynng, CLASSES[protocol])
    # Without the upper bound nng keeps to the lower one: uniformly within [0, REDIAL_MS).
    socket = make(reconnect_time_min=REDIAL_MS, **({"topics": b""} if protocol == "sub" else {}))
    socket.add_post_pipe_connect_cb(lambda _pipe: tell(b"+"))
    socket.add_post_pipe_remove_cb(lambda _pipe: tell(b"-"))
    return socket


def main(protocol: str, side: str, url: str, *flags: str) -> None:
    orders: queue.SimpleQueue[tuple[bytes, bytes]] = queue.SimpleQueue()
    threading.Thread(target=read_orders, args=(orders,), daemon=True).start()
    go = threading.Event()
    if "held" not in flags:
        go.set()
    socket = opened(protocol)
    if side == "bind":
        socket.listen(url)
    else:
        socket.dial(url, block=False)
    if protocol not in DEAF:
        threading.Thread(target=receive_all, args=(socket, go), daemon=True).start()
    tell(b"u")
    while True:
        kind, word = orders.get()
        if kind == b"s":
            socket.send(word)
            tell(b"s")
        elif kind == b"g":
            go.set()
        elif kind == b"c":
            socket.close()
            tell(b"c")
            os._exit(0)  # the reader of orders sits in read(): no orderly end with it


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # the test wants the text, whatever it was
        tell(b"e", f"{type(error).__name__}: {error}".encode())
        raise
