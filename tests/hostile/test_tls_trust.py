"""tls+tcp and wss: who shows no certificate that the other end trusts is attached on neither side, and both say why."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from nnqpy import Pull, Push, Reason, TlsConfig
from nnqpy.events import HandshakeFailed, PeerAdded
from tests.hostile.kit import PATIENCE, port_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
