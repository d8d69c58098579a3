"""Hostile peers of tls+tcp, ws and wss: what is no handshake ends that connection alone, with its reason, in time."""

from __future__ import annotations

import base64
import os
import select
import socket
import ssl
import threading
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import pytest

import nnqpy
from nnqpy import Pair, Pull, Push, Reason, TlsConfig
from nnqpy.events import HandshakeFailed, PeerAdded, PeerRemoved

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)

PATIENCE: Final = 10.0
GREETING: Final = b"\0SP\0\0\x50\0\0"  # a Push's
MESSAGE: Final = b"\0\0\0\0\0\0\0\x05stray"


class Log:
    """The events of a socket."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._more = threading.Condition()

    def append(self, event: Any) -> None:
        """Note one; in whatever thread it happens."""
        with self._more:
            self.events.append(event)
            self._more.notify_all()

    def wait(self, claim: Callable[[Any], object]) -> Any:
        """Return the first event of which something is true, as soon as it has happened."""
        with self._more:
            assert self._more.wait_for(lambda: any(map(claim, self.events)), PATIENCE), self.events
            return next(filter(claim, self.events))

    def failed(self) -> HandshakeFailed:
        """Return the handshake that failed."""
        found: HandshakeFailed = self.wait(lambda event: isinstance(event, HandshakeFailed))
        return found


def config(folder: Path, **settings: Any) -> TlsConfig:
    """Return a configuration with the certificates of the test."""
    names: dict[str, Any] = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key")}
    return TlsConfig(**{**names, **settings})


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


@contextmanager
def knock(url: str) -> Generator[socket.socket]:
    """Connect to a listener as a stranger does."""
    with socket.create_connection(("127.0.0.1", port_of(url)), timeout=PATIENCE) as sock:
        yield sock


def good_as_ever(pull: Pull, url: str, **settings: Any) -> None:
    """Another peer finds everything as it should be."""
    with Push(**settings) as push:
        push.connect(url, wait=True, timeout=PATIENCE)
        push.send(b"good")
        assert pull.recv(timeout=PATIENCE) == b"good"


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["tls+tcp", "wss"])
@pytest.mark.parametrize(
    "data",
    [GREETING + MESSAGE, b"GET / HTTP/1.1\r\n\r\n", os.urandom(64), b"\x16\x03\x01\xff\xff", b"\x15\x03\x01\0\2\2\0"],
    ids=["sp", "http", "random", "long-record", "alert"],
)
def test_b58_what_is_no_tls_is_refused(scheme: str, data: bytes, certificates: Path) -> None:
    """With a reason that says TLS, and nothing of it is a message."""
    log = Log()
    with Pull(tls=config(certificates), on_event=log.append) as pull:
        url = pull.bind(f"{scheme}://127.0.0.1:0").url
        with knock(url) as stranger:
            stranger.sendall(data)
            assert log.failed().reason.startswith("TLS_")
        good_as_ever(pull, url, tls=config(certificates))
        assert pull.stats().received == 1


def test_b58_who_falls_silent_in_the_handshake_has_until_the_deadline(certificates: Path) -> None:
    """One deadline for all of it."""
    log = Log()
    with Pull(tls=config(certificates), on_event=log.append, handshake_timeout=0.3) as pull:
        url = pull.bind("tls+tcp://127.0.0.1:0").url
        with knock(url) as stranger:
            stranger.sendall(b"\x16\x03\x01")
            assert log.failed().reason == Reason.TLS_TIMEOUT
            assert stranger.recv(100) == b""


def test_r38_plaintext_before_the_handshake_is_never_a_message(certificates: Path) -> None:
    """Sent and closed at once, again and again: CVE-2023-40217 had it read as if it had come over TLS."""
    with Pull(tls=config(certificates, require_client_cert=True)) as pull:
        url = pull.bind("tls+tcp://127.0.0.1:0").url
        for _ in range(100):
            with knock(url) as stranger:
                stranger.sendall(GREETING + MESSAGE)
        good_as_ever(pull, url, tls=config(certificates))
        assert pull.stats().received == 1


@pytest.mark.parametrize(
    ("ours", "url", "reason"),
    [
        ({"ca": None}, "tls+tcp://127.0.0.1", Reason.TLS_CERT_UNTRUSTED),
        ({"server_name": "example.org"}, "tls+tcp://127.0.0.1", Reason.TLS_HOSTNAME),
        ({}, "tls+tcp://127.0.0.2", Reason.TLS_HOSTNAME),
    ],
    ids=["authority", "server-name", "host"],
)
def test_b59_r39_who_dials_verifies_whom(ours: dict[str, Any], url: str, reason: Reason, certificates: Path) -> None:
    """Authority and host name; no peer is attached on either side."""
    log = Log()
    with Pull(tls=config(certificates)) as pull, Push(tls=config(certificates, **ours), on_event=log.append) as push:
        port = port_of(pull.bind("tls+tcp://*:0").url)
        dialer = push.connect(f"{url}:{port}")
        assert log.failed().reason == reason
        assert reason in dialer.last_error
        assert not push.peers
        assert not pull.peers


def test_b59_a_client_without_a_certificate_is_attached_on_neither_side(certificates: Path) -> None:
    """With TLS 1.3 it learns of that only after its own handshake: nobody is told of a peer before."""
    log = Log()
    with (
        Pull(tls=config(certificates, require_client_cert=True), on_event=log.append) as pull,
        Push(tls=config(certificates, cert=None, key=None)) as push,
    ):
        push.connect(pull.bind("tls+tcp://127.0.0.1:0").url)
        assert log.failed().reason == Reason.TLS_CERT_REQUIRED
        assert not push.peers
        assert not [event for event in log.events if isinstance(event, PeerAdded)]


def test_a_listener_needs_a_certificate(certificates: Path) -> None:
    """It is refused at once, in the caller's thread, with what is wanted."""
    with Pull() as pull, pytest.raises(ValueError, match="TlsConfig"):
        pull.bind("tls+tcp://127.0.0.1:0")
    with Pull(tls=config(certificates, cert=None, key=None)) as pull, pytest.raises(ValueError, match="cert"):
        pull.bind("wss://127.0.0.1:0")


def test_b61_a_cut_within_a_message_is_told(certificates: Path) -> None:
    """TCP's end without TLS's: the message that was begun is lost, and the reason says so."""
    log = Log()
    with Pull(tls=config(certificates), on_event=log.append) as pull:
        url = pull.bind("tls+tcp://127.0.0.1:0").url
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        with knock(url) as plain, context.wrap_socket(plain, server_hostname="localhost") as stranger:
            stranger.sendall(GREETING)
            assert stranger.recv(8)[:4] == b"\0SP\0"
            stranger.sendall(MESSAGE + MESSAGE[:10])
            assert pull.recv(timeout=PATIENCE) == b"stray"
            with socket.socket(fileno=os.dup(stranger.fileno())) as beneath:
                beneath.shutdown(socket.SHUT_WR)
            removed = log.wait(lambda event: isinstance(event, PeerRemoved))
        assert removed.reason == Reason.EOF_MID_FRAME


# --- WebSocket -------------------------------------------------------------------------------------------------------


def request(path: str = "/", **headers: str) -> bytes:
    """Return an upgrade request."""
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


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame, masked with zeros."""
    return bytes((0x80 | opcode, 0x80 | len(payload))) + bytes(4) + payload


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (request("/nowhere"), b"404", Reason.WS_HTTP),
        (request(Sec_WebSocket_Protocol="pub.sp.nanomsg.org"), b"400", Reason.PROTO_MISMATCH),
        (request(Sec_WebSocket_Version="8"), b"426", Reason.WS_HTTP),
        (request(Origin="http://evil.example"), b"403", Reason.WS_HTTP),
        (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"40", Reason.WS_HTTP),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505", Reason.WS_HTTP),
        (GREETING + b"\r\n\r\n", b"400", Reason.WS_HTTP),
    ],
    ids=["path", "subprotocol", "version", "origin", "post", "http2", "sp"],
)
def test_b67_b68_b70_an_upgrade_that_is_refused(data: bytes, status: bytes, reason: Reason) -> None:
    """With a status for the other end and a reason for ours; the connection is closed."""
    log = Log()
    with Pull(on_event=log.append) as pull:
        url = pull.bind("ws://127.0.0.1:0").url
        with knock(url) as stranger:
            stranger.sendall(data)
            answer = b""
            while chunk := stranger.recv(4096):
                answer += chunk
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert log.failed().reason == reason
        good_as_ever(pull, url)


def test_b84_r21_a_slow_upgrade_has_until_the_deadline() -> None:
    """Byte by byte: the deadline is one for the whole, and does not move."""
    log = Log()
    with (
        Pull(on_event=log.append, handshake_timeout=0.4) as pull,
        knock(pull.bind("ws://127.0.0.1:0").url) as stranger,
    ):
        began = monotonic()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while monotonic() - began < PATIENCE:
                stranger.send(b"x")
                select.select([stranger], [], [], 0.02)
        assert log.failed().reason == Reason.GREETING_TIMEOUT


@contextmanager
def upgraded(pull: Any) -> Generator[socket.socket]:
    """Connect as a client that has upgraded."""
    with knock(pull.bind("ws://127.0.0.1:0").url) as stranger:
        stranger.sendall(request(Sec_WebSocket_Protocol=f"{pull._core.proto.label}.sp.nanomsg.org"))
        head = b""
        while b"\r\n\r\n" not in head:
            head += stranger.recv(1)
        assert head.startswith(b"HTTP/1.1 101")
        yield stranger


@pytest.mark.parametrize(
    ("data", "reason", "code"),
    [
        (frame(1, b"text"), Reason.WS_TEXT, 1003),
        (bytes((0x82, 4)) + b"bare", Reason.WS_PROTOCOL, 1002),
        (frame(3, b""), Reason.WS_PROTOCOL, 1002),
        (b"\xc2" + frame(2, b"x")[1:], Reason.WS_PROTOCOL, 1002),
        (b"\x82\xff\x80\0\0\0\0\0\0\1" + bytes(4), Reason.WS_PROTOCOL, 1002),
        (b"\x82\xff" + (1001).to_bytes(8, "big") + bytes(4), Reason.WS_PROTOCOL, 1002),
        (b"\x82\xfe" + (1001).to_bytes(2, "big") + bytes(4), Reason.TOO_LARGE, 1009),
    ],
    ids=["text", "unmasked", "opcode", "reserved-bit", "negative", "not-minimal", "too-large"],
)
def test_b71_to_b76_a_bad_frame_ends_the_connection(data: bytes, reason: Reason, code: int) -> None:
    """With the code of RFC 6455; the message in front of it is delivered, and the one behind it is not."""
    log = Log()
    with Pull(on_event=log.append, recv_max_size=1000) as pull:
        with upgraded(pull) as stranger:
            stranger.sendall(frame(2, b"good") + data + frame(2, b"late"))
            assert pull.recv(timeout=PATIENCE) == b"good"
            removed = log.wait(lambda event: isinstance(event, PeerRemoved))
            assert removed.reason == reason
            first, length = stranger.recv(2)
            assert first == 0x88
            assert stranger.recv(length)[:2] == code.to_bytes(2, "big")
        assert pull.stats().received == 1


@pytest.mark.parametrize("kind", [Pull, Push, Pair])
def test_b78_a_ping_is_answered(kind: type[Any]) -> None:
    """Also by who only sends, while nobody is in any call."""
    with kind() as sock, upgraded(sock) as stranger:
        sock.wait_for_peers(1, PATIENCE)
        stranger.sendall(frame(9, b"are you there?"))
        if kind is not Push:
            with pytest.raises(nnqpy.TimedOut):
                sock.recv(timeout=0.2)
        assert stranger.recv(16) == bytes((0x8A, 14)) + b"are you there?"


@pytest.mark.parametrize("kind", [Pull, Push])
def test_b79_a_close_is_answered_and_the_peer_is_gone(kind: type[Any]) -> None:
    """The echo has the peer's own code."""
    log = Log()
    with kind(on_event=log.append) as sock, upgraded(sock) as stranger:
        sock.wait_for_peers(1, PATIENCE)
        stranger.sendall(frame(8, (1000).to_bytes(2, "big")))
        if kind is Pull:
            with pytest.raises(nnqpy.TimedOut):
                sock.recv(timeout=0.2)  # who reads finds it
        removed = log.wait(lambda event: isinstance(event, PeerRemoved))
        assert removed.reason == Reason.EOF
        assert stranger.recv(4) == bytes((0x88, 2)) + (1000).to_bytes(2, "big")


def test_paths_of_one_port_are_different_sockets() -> None:
    """Each has its own; a path is taken once, and the port is free when the last one has gone."""
    with Pull() as first, Pull() as second, Push() as push:
        url = first.bind("ws://127.0.0.1:0/first").url
        other = url.replace("first", "second")
        second.bind(other)
        with Pull() as third, pytest.raises(OSError, match="cannot listen"):
            third.bind(url)
        push.connect(other, wait=True, timeout=PATIENCE)
        push.send(b"to the second")
        assert second.recv(timeout=PATIENCE) == b"to the second"
        first.close()
        with Push() as late:
            late.connect(other, wait=True, timeout=PATIENCE)
        second.close()
        with socket.create_server(("127.0.0.1", port_of(url))):
            pass
