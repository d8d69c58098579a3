"""tls+tcp, ws and wss with nng: every pattern, either side binding, small messages and large ones.

What goes over these transports is what goes over tcp (`test_matrix`), so one run of sizes in each direction is enough.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

import nnqpy

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from interop.conftest import Peers
    from interop.peers.peer import Side
    from interop.peers.pynng_peer import PynngPeer
    from interop.spots import Spots

pytestmark = pytest.mark.timeout(60)

PATIENCE: Final = 10.0
SIZES: Final = (1, 125, 126, 65_535, 65_536, 1 << 20, 3_000_000)
"""Around every length that WebSocket writes in another form, a TLS record, and nng's largest frame."""
BODIES: Final = [bytes([n + 1]) * size for n, size in enumerate(SIZES)]
ONE_WAY: Final = {"push": "pull", "pub": "sub", "pair": "pair", "pair1": "pair1", "bus": "bus"}
ASKED: Final = {"req": "rep", "surveyor": "respondent"}

on_each = pytest.mark.parametrize("transport", ["tls+tcp", "ws", "wss"])
who_binds = pytest.mark.parametrize("theirs", ["connect", "bind"])


class Place:
    """Where the two meet, and by which certificates."""

    def __init__(self, spots: Spots, certificates: Path, peers: Peers) -> None:
        self._spots = spots
        self._certificates = certificates
        self._peers = peers

    @contextmanager
    def couple(
        self, transport: str, side: str, ours: str, theirs: str, *, mutual: bool = False
    ) -> Generator[tuple[Any, PynngPeer]]:
        """Connect a socket of ours and one of nng's; both know of each other."""
        url = self._spots.url("tcp").replace("tcp", transport) + ("/meet" if transport.startswith("ws") else "")
        settings: dict[str, Any] = {"subscribe": ""} if ours == "sub" else {}
        options: dict[str, int | str] = {"recv_max_size": 0}
        if transport != "ws":
            folder = self._certificates
            settings["tls"] = nnqpy.TlsConfig(
                ca=folder / "ca.pem",
                cert=folder / "cert.pem",
                key=folder / "key.pem",
                require_client_cert=mutual and side == "connect",
            )
            options["tls"] = str(self._certificates)
            if mutual:
                options["mutual"] = 1
        with getattr(nnqpy, ours.capitalize())(**settings) as sock:
            if side == "connect":
                sock.bind(url)
            peer = self._peers.pynng(theirs, cast("Side", side), url, **options)
            if side == "bind":
                sock.connect(url)
            sock.wait_for_peers(1, PATIENCE)
            peer.attached()
            yield sock, peer


@pytest.fixture
def place(spots: Spots, certificates: Path, peers: Peers) -> Place:
    """Where the two meet."""
    return Place(spots, certificates, peers)


@on_each
@who_binds
@pytest.mark.parametrize("sender", ONE_WAY)
def test_we_send(transport: str, theirs: str, sender: str, place: Place) -> None:
    """Whole and in order."""
    with place.couple(transport, theirs, sender, ONE_WAY[sender]) as (sock, peer):
        for body in BODIES:
            sock.send(body)
            assert peer.receive() == [body]


@on_each
@who_binds
@pytest.mark.parametrize("sender", ONE_WAY)
def test_they_send(transport: str, theirs: str, sender: str, place: Place) -> None:
    """Whole and in order."""
    with place.couple(transport, theirs, ONE_WAY[sender], sender) as (sock, peer):
        for body in BODIES:
            peer.send(body)
            assert sock.recv(timeout=PATIENCE) == body


@on_each
@who_binds
@pytest.mark.parametrize("asker", ASKED)
def test_we_ask(transport: str, theirs: str, asker: str, place: Place) -> None:
    """Each question is answered."""
    with place.couple(transport, theirs, asker, ASKED[asker]) as (sock, peer):
        for body in BODIES:
            sock.send(body)
            assert peer.receive() == [body]
            peer.send(body + b"!")
            assert sock.recv(timeout=PATIENCE) == body + b"!"


@on_each
@who_binds
@pytest.mark.parametrize("asker", ASKED)
def test_they_ask(transport: str, theirs: str, asker: str, place: Place) -> None:
    """Each question is answered."""
    with place.couple(transport, theirs, ASKED[asker], asker) as (sock, peer):
        for body in BODIES:
            peer.send(body)
            assert sock.recv(timeout=PATIENCE) == body
            sock.send(body + b"!")
            assert peer.receive() == [body + b"!"]


@pytest.mark.parametrize("transport", ["tls+tcp", "wss"])
@who_binds
def test_both_sides_show_who_they_are(transport: str, theirs: str, place: Place) -> None:
    """Mutual TLS: whoever binds asks for the other's certificate, and we say whose it is."""
    with place.couple(transport, theirs, "pair", "pair", mutual=True) as (sock, peer):
        sock.send(b"who is there?")
        assert peer.receive() == [b"who is there?"]
        (info,) = sock.peers
        assert info.certificate is not None
        assert info.certificate.common_name == "localhost"
