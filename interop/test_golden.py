"""The bytes themselves, written out: our half against a peer made of a bare socket, and both halves as nng heard them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, Self

import pytest

from interop.ours import BRISK, receiver, sender
from interop.spots import sockaddr
from interop.wiretap import Wiretap
from interop.witness import PATIENCE
from nnqpy import Pair

if TYPE_CHECKING:
    from types import TracebackType

    from interop.conftest import Peers
    from interop.ours import Receives, Sends
    from interop.peers.peer import Side
    from interop.spots import Spots, Transport

GREETING: Final = {
    "pair": bytes.fromhex("00 53 50 00 00 10 00 00"),
    "push": bytes.fromhex("00 53 50 00 00 50 00 00"),
    "pull": bytes.fromhex("00 53 50 00 00 51 00 00"),
}
PEER_OF: Final = {"push": "pull", "pull": "push", "pair": "pair"}

BODIES: Final = [b"", b"x", b"hello", b"\x00\xff\x53\x50", b"." * 300]
FRAMES: Final[dict[Transport, bytes]] = {
    "tcp": bytes.fromhex(
        "00 00 00 00 00 00 00 00"
        "00 00 00 00 00 00 00 01  78"
        "00 00 00 00 00 00 00 05  68 65 6c 6c 6f"
        "00 00 00 00 00 00 00 04  00 ff 53 50"
        "00 00 00 00 00 00 01 2c" + 300 * "2e"
    ),
    "ipc": bytes.fromhex(
        "01  00 00 00 00 00 00 00 00"
        "01  00 00 00 00 00 00 00 01  78"
        "01  00 00 00 00 00 00 00 05  68 65 6c 6c 6f"
        "01  00 00 00 00 00 00 00 04  00 ff 53 50"
        "01  00 00 00 00 00 00 01 2c" + 300 * "2e"
    ),
}
ANSWER: Final[dict[Transport, bytes]] = {
    "tcp": bytes.fromhex("00 00 00 00 00 00 00 02  6f 6b"),
    "ipc": bytes.fromhex("01  00 00 00 00 00 00 00 02  6f 6b"),
}
"""The body ``ok``."""

on_each = pytest.mark.parametrize("transport", ["tcp", "ipc"])
from_each_side = pytest.mark.parametrize(("we", "they"), [("bind", "connect"), ("connect", "bind")])


class Bare:
    """A peer that is a bare socket: connected either way, it says and hears bytes."""

    def __init__(self, ours: Sends | Receives, we: Side, transport: Transport, spots: Spots) -> None:
        if we == "bind":
            family, where = sockaddr(ours.bind(spots.any_url(transport)).url)
            self._wire = socket.socket(family)
            self._wire.connect(where)
        else:
            url = spots.url(transport)
            family, where = sockaddr(url)
            with socket.socket(family) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(where)
                listener.listen()
                listener.settimeout(PATIENCE)
                ours.connect(url)
                self._wire, _ = listener.accept()
        self._wire.settimeout(PATIENCE)

    def say(self, words: bytes) -> None:
        self._wire.sendall(words)

    def hear(self, count: int) -> bytes:
        """Return exactly so many bytes, fewer at the end."""
        heard = b""
        while len(heard) < count and (chunk := self._wire.recv(count - len(heard))):
            heard += chunk
        return heard

    def hear_out(self) -> bytes:
        """Return everything until the end."""
        return b"".join(iter(lambda: self._wire.recv(65536), b""))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wire.close()


@on_each
@from_each_side
@pytest.mark.parametrize("protocol", ["push", "pair"])
def test_what_we_send_is_these_bytes(protocol: str, we: Side, they: Side, transport: Transport, spots: Spots) -> None:
    """Eight bytes of greeting, at once and unasked; then the frames; then the end, and not one byte more."""
    with sender(protocol) as ours, Bare(ours, we, transport, spots) as peer:
        assert peer.hear(8) == GREETING[protocol]  # before we said anything: two that wait for each other are stuck

        peer.say(GREETING[PEER_OF[protocol]])
        ours.send_many(BODIES, timeout=PATIENCE)
        ours.close()

        assert peer.hear_out() == FRAMES[transport]


@on_each
@from_each_side
@pytest.mark.parametrize("protocol", ["pull", "pair"])
def test_these_bytes_are_what_we_receive(
    protocol: str, we: Side, they: Side, transport: Transport, spots: Spots
) -> None:
    """The frames may follow the greeting in one breath; we say our greeting and nothing else."""
    with receiver(protocol) as ours, Bare(ours, we, transport, spots) as peer:
        peer.say(GREETING[PEER_OF[protocol]] + FRAMES[transport])

        assert [ours.recv(timeout=PATIENCE) for _ in BODIES] == BODIES
        ours.close()
        assert peer.hear_out() == GREETING[protocol]


@on_each
def test_a_byte_at_a_time_is_the_same(transport: Transport, spots: Spots) -> None:
    """Where the kernel cuts the stream means nothing, in the greeting too."""
    with receiver("pull") as ours, Bare(ours, "bind", transport, spots) as peer:
        for byte in GREETING["push"] + FRAMES[transport].removesuffix(300 * b".")[:-8]:
            peer.say(bytes([byte]))

        assert [ours.recv(timeout=PATIENCE) for _ in BODIES[:-1]] == BODIES[:-1]


@on_each
@from_each_side
@pytest.mark.parametrize("protocol", ["push", "pair"])
def test_what_nng_hears_of_us_is_these_bytes(
    protocol: str, we: Side, they: Side, transport: Transport, spots: Spots, peers: Peers
) -> None:
    """Recorded between the two: our greeting and frames, and of nng its greeting alone."""
    with sender(protocol) as ours, Recorded(ours, PEER_OF[protocol], we, they, transport, spots, peers) as talk:
        ours.send_many(BODIES, timeout=PATIENCE)
        assert talk.peer.receive(len(BODIES)) == BODIES
        ours.close()

        assert talk.to_its_end() == (GREETING[protocol] + FRAMES[transport], GREETING[PEER_OF[protocol]])


@on_each
@from_each_side
@pytest.mark.parametrize("protocol", ["pull", "pair"])
def test_what_nng_says_to_us_is_these_bytes(
    protocol: str, we: Side, they: Side, transport: Transport, spots: Spots, peers: Peers
) -> None:
    """Recorded between the two: nng frames as we do, so the literals above are not of our own making."""
    with receiver(protocol) as ours, Recorded(ours, PEER_OF[protocol], we, they, transport, spots, peers) as talk:
        for body in BODIES:
            talk.peer.send(body)
        assert [ours.recv(timeout=PATIENCE) for _ in BODIES] == BODIES
        talk.peer.close()
        ours.close()

        assert talk.to_its_end() == (GREETING[protocol], GREETING[PEER_OF[protocol]] + FRAMES[transport])


@on_each
@from_each_side
def test_a_question_and_its_answer_are_these_bytes(
    we: Side, they: Side, transport: Transport, spots: Spots, peers: Peers
) -> None:
    """On one Pair connection the two directions know nothing of each other."""
    with Pair(**BRISK) as ours, Recorded(ours, "pair", we, they, transport, spots, peers) as talk:
        ours.send_many(BODIES, timeout=PATIENCE)
        assert talk.peer.receive(len(BODIES)) == BODIES
        talk.peer.send(b"ok")
        assert ours.recv(timeout=PATIENCE) == b"ok"
        ours.close()

        assert talk.to_its_end() == (GREETING["pair"] + FRAMES[transport], GREETING["pair"] + ANSWER[transport])


class Recorded:
    """One of our sockets and a pynng peer, with a wiretap between them."""

    def __init__(
        self,
        ours: Sends | Receives,
        theirs: str,
        we: Side,
        they: Side,
        transport: Transport,
        spots: Spots,
        peers: Peers,
    ) -> None:
        self._we = we
        between, behind = spots.url(transport), spots.url(transport)
        self._tap = Wiretap(between, behind)
        if we == "bind":
            ours.bind(behind)
            self._tap.start()
            self.peer = peers.pynng(theirs, they, between)
        else:
            self.peer = peers.pynng(theirs, they, behind)
            self._tap.start()
            ours.connect(between)

    def to_its_end(self) -> tuple[bytes, bytes]:
        """Wait for the end, and return what we said and what nng said."""
        self._tap.finished()
        if self._we == "bind":
            return self._tap.listener_said, self._tap.dialer_said
        return self._tap.dialer_said, self._tap.listener_said

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tap.close()
