"""Hostile peers of tls+tcp and wss: what is no handshake ends that connection alone, with its reason, in time."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from nnqpy import Pull, Push, Reason, TlsConfig
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
