"""Crowd: many bare connections to one listener, each greeted as a real peer would greet.

A thousand sockets of a library in the second process would weigh more than what is measured in the first.
So the second process speaks just enough of the wire to be a peer: the SP greeting, or ZMTP 3.0 with the NULL
mechanism, and then either rests, drains, or feeds.
"""

from __future__ import annotations

import socket
import struct
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nnqpy.bench.adapters import Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Dialect", "connect_crowd", "frame"]

_AT_ONCE = 64  # below every listener's backlog, so that no connect waits for a retransmission


class Dialect(StrEnum):
    """How the connections of a library greet each other."""

    SP = "sp"
    ZMTP = "zmtp"
    NONE = "none"


def connect_crowd(url: str, count: int, dialect: Dialect, pattern: Pattern) -> list[socket.socket]:
    """Open `count` connections and go through the greeting on each, as sockets of `pattern`.

    Raises:
        OSError: refused, or no greeting within 10 s.
    """
    place = urlsplit(url)
    address = (place.hostname or "127.0.0.1", place.port or 0)
    crowd: list[socket.socket] = []
    while len(crowd) < count:
        new = [socket.create_connection(address, timeout=10) for _ in range(min(_AT_ONCE, count - len(crowd)))]
        crowd += new
        talks = [_greet(one, dialect, pattern) for one in new]
        # All of a batch take each step together: the listener greets them in parallel.
        for _ in range(_STEPS[dialect]):
            for talk in talks:
                next(talk)
    return crowd


def frame(body: bytes, dialect: Dialect) -> bytes:
    """One message of at most 255 bytes as it stands on the wire."""
    head = struct.pack(">Q", len(body)) if dialect is Dialect.SP else struct.pack(">BB", 0, len(body))
    return head + body


_STEPS = {Dialect.SP: 2, Dialect.ZMTP: 4, Dialect.NONE: 1}
_SP_NUMBERS = {Pattern.PUSH: 0x50, Pattern.PULL: 0x51, Pattern.PAIR: 0x10, Pattern.PUB: 0x20, Pattern.SUB: 0x21}
_ZMTP_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def _greet(peer: socket.socket, dialect: Dialect, pattern: Pattern) -> Iterator[None]:
    """Greet step by step, each step being one side's words."""
    if dialect is Dialect.SP:
        peer.sendall(b"\0SP\0" + struct.pack(">HH", _SP_NUMBERS[pattern], 0))
        yield
        _take(peer, 8)
        yield
    elif dialect is Dialect.ZMTP:
        peer.sendall(_ZMTP_GREETING)
        yield
        _take(peer, 64)
        yield
        name = pattern.upper().encode()
        ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(name)) + name
        peer.sendall(b"\x04" + bytes([len(ready)]) + ready)
        yield
        _take(peer, _take(peer, 2)[1])
        if pattern is Pattern.SUB:
            peer.sendall(frame(b"\x01", dialect))  # everything that begins with nothing
        yield
    else:
        yield


def _take(peer: socket.socket, size: int) -> bytes:
    taken = b""
    while len(taken) < size:
        piece = peer.recv(size - len(taken))
        if not piece:
            raise ConnectionError("closed during the greeting")
        taken += piece
    return taken
