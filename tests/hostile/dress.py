"""Strangers who come by TLS, by WebSocket or with zstd: programs that found the port and know what is spoken there.

They say the plain text they are told to say, whole or in parts; what a test wants beneath that (a record, a frame of its
own making) it says itself. All of it is made without the code under test, but for the certificates.
"""

from __future__ import annotations

import atexit
import base64
import hashlib
import shutil
import ssl
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from nnqpy.tls import TlsConfig
from nnqpy.wire.stream import TCP, greeting
from tests.hostile.kit import Stranger, frame
from tests.kit.certificates import authority, made
from tests.kit.tls import Half

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from nnqpy.proto import Proto
    from tests.hostile.kit import Role

Dress = Literal["tls+tcp", "ws", "wss", "zstd+tcp"]
AnyScheme = Literal["tcp", "ipc", "tls+tcp", "ws", "wss", "zstd+tcp"]

T = TypeVar("T")

BINARY, TEXT, CONT, CLOSE, PING, PONG = 0x2, 0x1, 0x0, 0x8, 0x9, 0xA
FIN: Final = 0x80
NO_MASK: Final = bytes(4)
"""The mask that changes nothing."""
PLAIN: Final = bytes(4)
"""What stands in front of a body that zstd+tcp carries as it is."""
GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What RFC 6455, section 1.3, has behind the key."""


@cache
def papers() -> TlsConfig:
    """Return a config for both ends, who know each other's authority."""
    folder = Path(tempfile.mkdtemp(prefix="nnq-papers-"))
    atexit.register(shutil.rmtree, folder)
    (folder / "ca.pem").write_bytes(authority().pem)
    own = made("localhost", by=authority(), names=("localhost", "127.0.0.1")).write(folder, "localhost")
    return TlsConfig(ca=folder / "ca.pem", **own)


# --- what they say ---------------------------------------------------------------------------------------------------


def web_frame(first: int, payload: bytes = b"", *, mask: bytes | None = NO_MASK) -> bytes:
    """Return one WebSocket frame.

    Args:
        first: its opcode, and the bits beside that.
        payload: not masked.
        mask: the key; None: not masked, as who listens has it.
    """
    size = len(payload)
    small, form = (size, 0) if size < 126 else (126, 2) if size < 1 << 16 else (127, 8)
    head = bytes((first, small | (mask is not None) << 7)) + size.to_bytes(8, "big")[8 - form :]
    return head + payload if mask is None else head + mask + masked(payload, mask)


def masked(payload: bytes, mask: bytes) -> bytes:
    """Return the payload under a mask, or from under it."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def framed(scheme: AnyScheme, *bodies: bytes, role: Role = "dialer") -> bytes:
    """Return the frames of `bodies`, as a good peer of that role sends them."""
    match scheme:
        case "tcp" | "ipc":
            return frame(scheme, *bodies)
        case "tls+tcp":
            return TCP.join(bodies)
        case "zstd+tcp":
            return TCP.join([PLAIN + body for body in bodies])
        case "ws" | "wss":
            mask = NO_MASK if role == "dialer" else None
            return b"".join(web_frame(FIN | BINARY, body, mask=mask) for body in bodies)


def request(path: str = "/", **headers: str) -> bytes:
    """Return a request for an upgrade; of the headers in it, and of others, the underscores are hyphens."""
    fields = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
        "Sec-WebSocket-Protocol": "pull.sp.nanomsg.org",
    }
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    return "\r\n".join(
        [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    ).encode()


def response(asked: bytes, **headers: str) -> bytes:
    """Return the answer to a request that agrees to all of it; with other headers, as in `request`."""
    found = dict(line.split(b": ", 1) for line in asked.split(b"\r\n")[1:] if line)
    key = base64.b64encode(hashlib.sha1(found[b"Sec-WebSocket-Key"] + GUID).digest()).decode()
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": key,
        "Sec-WebSocket-Protocol": found[b"Sec-WebSocket-Protocol"].decode(),
    }
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    return "\r\n".join(
        ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    ).encode()


# --- who they are ----------------------------------------------------------------------------------------------------


class TlsStranger(Stranger):
    """One who speaks TLS. What it says without that it says by `utter`."""

    def __init__(self, sock: socket.socket, role: Role, context: ssl.SSLContext | None = None) -> None:
        """Take a connection; `shake` does the handshake.

        Args:
            sock: the connection.
            role: who dials is TLS's client.
            context: None: that of the `papers`.
        """
        super().__init__(sock)
        listens = role == "listener"
        if context is None:
            context = papers().server_context() if listens else papers().client_context()
        self.half = Half(context, server_side=listens, server_hostname=None if listens else "localhost")
        self._plain = b""

    def shake(self) -> None:
        """Do the handshake."""
        self._try(self.half.tls.do_handshake)
        self.utter(self.half.outgoing.read())
        self.await_acceptance()

    def utter(self, words: bytes) -> bool:
        """Say something that is no TLS, or of another's making."""
        return super().say(words)

    def say(self, words: bytes) -> bool:
        """Say it by TLS, as `Stranger.say`."""
        return self.utter(self.sealed(words))

    def sealed(self, words: bytes) -> bytes:
        """Return the records that say it."""
        rest = memoryview(words)
        while rest:
            rest = rest[self.half.tls.write(rest) :]
        return self.half.outgoing.read()

    def pour(self, words: bytes, meanwhile: Callable[[], object]) -> bool:
        """Say much, as `Stranger.pour`."""
        return super().pour(self.sealed(words), meanwhile)

    def hear(self, size: int) -> bytes:
        """Read exactly `size` bytes of what our side says by TLS."""
        while len(self._plain) < size:
            self._plain += self._try(lambda: self.half.tls.read(65536))
        heard, self._plain = self._plain[:size], self._plain[size:]
        return heard

    def hears_of_tls(self) -> ssl.SSLError:
        """Read until our side has said the alert that ends it, and return that."""
        try:
            while True:
                self._try(lambda: self.half.tls.read(65536))
        except ssl.SSLError as error:
            return error

    def _try(self, step: Callable[[], T]) -> T:
        while True:
            try:
                return step()
            except ssl.SSLError as error:
                if self.half.outgoing.pending:  # the alert that says why, if it is not this:
                    self.utter(self.half.outgoing.read())
                if not isinstance(error, ssl.SSLWantReadError):
                    raise
                heard = self.sock.recv(65536)
                assert heard, "our side left"
                self.half.incoming.write(heard)


def dressed(sock: socket.socket, scheme: AnyScheme, role: Role) -> Stranger:
    """Return the stranger on a new connection, when TLS's handshake is done, if there is one."""
    if scheme not in ("tls+tcp", "wss"):
        return Stranger(sock)
    stranger = TlsStranger(sock, role)
    stranger.shake()
    return stranger


def greet(stranger: Stranger, scheme: AnyScheme, role: Role, ours: Proto) -> None:
    """Have a stranger greet as it should, and hear our greeting out."""
    if scheme in ("ws", "wss"):
        if role == "dialer":
            stranger.say(request(Sec_WebSocket_Protocol=f"{ours.label}.sp.nanomsg.org"))
            assert head(stranger).startswith(b"HTTP/1.1 101 ")
        else:
            stranger.say(response(head(stranger)))
        stranger.await_acceptance()
    else:
        stranger.say(greeting(ours.peer))
        if not isinstance(stranger, TlsStranger):
            assert stranger.await_greeting() == greeting(ours)
        assert stranger.hear(8) == greeting(ours)


def hear_frame(stranger: Stranger) -> tuple[int, bytes]:
    """Read one WebSocket frame of our side; return its first byte and what it carries."""
    first, second = stranger.hear(2)
    length = second & 0x7F
    if length > 125:
        length = int.from_bytes(stranger.hear(2 if length == 126 else 8), "big")
    mask = stranger.hear(4) if second >> 7 else NO_MASK
    return first, masked(stranger.hear(length), mask)


def last_words(stranger: Stranger) -> bytes:
    """Read until our side says that it leaves, and return the payload of that frame; nothing comes behind it."""
    while True:
        first, payload = hear_frame(stranger)
        if first == FIN | CLOSE:
            assert stranger.sock.recv(1) == b""
            return payload


def head(stranger: Stranger) -> bytes:
    """Read the head of a request or a response, and nothing behind it."""
    heard = b""
    while not heard.endswith(b"\r\n\r\n"):
        heard += stranger.hear(1)
    return heard
