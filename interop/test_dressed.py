"""tls+tcp, ws and wss with nng: every pattern, either side binding, small messages and large ones.

What goes over these transports is what goes over tcp (`test_matrix`), so one run of sizes in each direction is enough.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

import nnqpy
from interop.cases import PATTERNS, Flow
from tests.kit.certificates import config_of

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from interop.cases import Pattern
    from interop.conftest import Peers
    from interop.peers.peer import Side
    from interop.peers.pynng_peer import PynngPeer
    from interop.spots import Spots

pytestmark = pytest.mark.timeout(60)

PATIENCE: Final = 10.0
SIZES: Final = (1, 125, 126, 65_535, 65_536, 1 << 20, 3_000_000)
"""Around every length that WebSocket writes in another form, a TLS record, and nng's largest frame."""
BODIES: Final = [bytes([n + 1]) * size for n, size in enumerate(SIZES)]
TRANSPORTS: Final = ("tls+tcp", "ws", "wss")
MUTUAL: Final = ("tls+tcp", "wss")
"""Those over which both sides may show who they are."""
CONVERSATIONS: Final = [(pattern, flow) for pattern in PATTERNS for flow in pattern.flows if flow is not Flow.BOTH]
"""Each direction of each pattern; an echo is the two of them on one connection."""

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
            settings["tls"] = config_of(self._certificates, require_client_cert=mutual and side == "connect")
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


def we_say(sock: Any, peer: PynngPeer, body: bytes) -> None:
    sock.send(body)
    assert peer.receive() == [body]


def they_say(sock: Any, peer: PynngPeer, body: bytes) -> None:
    peer.send(body)
    assert sock.recv(timeout=PATIENCE) == body


@pytest.mark.parametrize("transport", TRANSPORTS)
@who_binds
@pytest.mark.parametrize(
    ("pattern", "flow"), CONVERSATIONS, ids=[f"{one.ours}-{flow.value}-{one.theirs}" for one, flow in CONVERSATIONS]
)
def test_every_size_arrives(transport: str, theirs: str, pattern: Pattern, flow: Flow, place: Place) -> None:
    """Whole and in order; each question is answered."""
    said, answered = (we_say, they_say) if flow in (Flow.OUT, Flow.ASK) else (they_say, we_say)
    with place.couple(transport, theirs, pattern.ours, pattern.theirs) as couple:
        for body in BODIES:
            said(*couple, body)
            if flow in (Flow.ASK, Flow.ANSWER):
                answered(*couple, body + b"!")


@pytest.mark.parametrize("transport", MUTUAL)
@who_binds
def test_both_sides_show_who_they_are(transport: str, theirs: str, place: Place) -> None:
    """Mutual TLS: whoever binds asks for the other's certificate, and we say whose it is."""
    with place.couple(transport, theirs, "pair", "pair", mutual=True) as (sock, peer):
        sock.send(b"who is there?")
        assert peer.receive() == [b"who is there?"]
        (info,) = sock.peers
        assert info.certificate is not None
        assert info.certificate.common_name == "localhost"
