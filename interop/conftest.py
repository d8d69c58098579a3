"""What every test here may ask for: spots to meet at, and peers that are gone when the test is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from interop.peers import choose
from interop.peers.pynng_peer import NngDevice, PynngPeer
from interop.spots import Spots
from tests.kit.certificates import certificates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interop.peers.peer import Kind, NngPeer, Side
    from interop.peers.pynng_peer import Flag

__all__ = ["certificates", "peers", "spots"]


def pytest_report_header() -> str:
    return f"interop peers: {choose.describe()}"


@pytest.fixture
def spots() -> Iterator[Spots]:
    with Spots() as spots:
        yield spots


class Peers:
    """Starts peers and stops them all at the end."""

    def __init__(self) -> None:
        self._started: list[NngPeer | NngDevice] = []

    def start(self, kind: Kind, protocol: str, side: Side, url: str, *, speaks: bool) -> NngPeer:
        """Start a peer of any kind; `speaks` says that it will be asked to send."""
        choose.require(kind)
        peer = choose.start(kind, protocol, side, url, speaks=speaks)
        self._started.append(peer)
        return peer

    def pynng(self, protocol: str, side: Side, url: str, *flags: Flag, **options: int | str) -> PynngPeer:
        """Start a pynng peer, which can do more than the others."""
        choose.require("pynng")
        peer = PynngPeer(protocol, side, url, *flags, **options)
        self._started.append(peer)
        return peer

    def device(self, front: str, back: str, front_url: str, back_url: str) -> NngDevice:
        """Start nng's own device between two raw sockets of nng, both bound."""
        choose.require("pynng")
        device = NngDevice(front, back, front_url, back_url)
        self._started.append(device)
        return device

    def stop(self) -> None:
        """Stop all of them."""
        for peer in self._started:
            peer.stop()


@pytest.fixture
def peers() -> Iterator[Peers]:
    peers = Peers()
    yield peers
    peers.stop()
