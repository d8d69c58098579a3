"""Requests: the header comes off, what came too far is dropped, and who sends no header is closed."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnqpy.errors import Reason
from nnqpy.events import PeerRemoved
from nnqpy.message import Message
from nnqpy.options import Options
from nnqpy.proto import Proto
from nnqpy.routing.requests import Requests
from tests.kit.interrupts import interrupt
from tests.kit.peers import FakePeer, marry

if TYPE_CHECKING:
    from nnqpy.events import Event

NUMBER = b"\x80\0\0\7"
GOOD = NUMBER + b"good"


class Answering(Requests):
    """A Requests and nothing else."""

    proto = Proto.REP


class Scene:
    """A core, one peer, and what was told of it."""

    def __init__(self, ttl: int = 8) -> None:
        self.core = Answering(Options(max_ttl=ttl))
        self.peer = FakePeer()
        marry(self.core, self.peer)
        self.told: list[Event] = []
        self.core.emit = self.told.append

    def deliver(self, *payloads: bytes) -> list[Message]:
        return self.core.deliver(self.peer, list(payloads))

    @property
    def good(self) -> Message:
        """What `GOOD` becomes."""
        return Message(NUMBER, b"good", self.peer.id)

    @property
    def far(self) -> int:
        """How many were dropped because they had come too far; nothing else is counted."""
        discarded = self.core.stats().discarded
        assert discarded.keys() <= {"ttl_exceeded"}
        return discarded.get("ttl_exceeded", 0)

    def check_closed(self, size: int) -> None:
        """The connection was closed for the missing header of a payload of so many bytes."""
        (loss,) = self.told
        assert isinstance(loss, PeerRemoved)
        assert loss.reason is Reason.HEADER_MISSING
        assert f" {size} bytes " in loss.detail
        assert self.peer.gone


def way(words: int) -> bytes:
    """Return so many words of devices: none is the last."""
    return b"".join(n.to_bytes(4, "big") for n in range(words))


def test_header_and_body_are_apart_and_the_peer_is_known() -> None:
    """By them the answer goes back."""
    scene = Scene()

    assert scene.deliver(GOOD, way(2) + NUMBER, NUMBER + way(1)) == [
        scene.good,
        Message(way(2) + NUMBER, b"", scene.peer.id),
        Message(NUMBER, way(1), scene.peer.id),
    ]
    assert (scene.far, scene.told) == (0, [])


@pytest.mark.parametrize("first", [0, 0x7F, 0x80, 0xFF])
@pytest.mark.parametrize("size", range(4))
def test_b37_less_than_a_word_ends_the_connection(size: int, first: int) -> None:
    """What came before is kept, nothing behind it is looked at."""
    scene = Scene()

    assert scene.deliver(GOOD, bytes([first] * size), GOOD) == [scene.good]
    scene.check_closed(size)


@pytest.mark.parametrize("body", ["00000001", "7fffffff", "00000000"])
def test_b38_one_word_that_is_not_the_last_ends_the_connection(body: str) -> None:
    """It asks for more, and the message ends."""
    scene = Scene()

    assert scene.deliver(GOOD, bytes.fromhex(body), GOOD) == [scene.good]
    scene.check_closed(4)


@pytest.mark.parametrize("words", range(1, 21))
def test_b39_words_without_an_end_are_missing_or_too_many(words: int) -> None:
    """Fewer than the limit of 8: no header, closed. As many or more: it came too far, dropped, and nothing else."""
    for rest in range(4):
        scene = Scene()
        out = scene.deliver(GOOD, way(words) + NUMBER[:rest], GOOD)

        if words < 8:
            assert (out, scene.far) == ([scene.good], 0)
            scene.check_closed(4 * words + rest)
        else:
            assert (out, scene.far, scene.told) == ([scene.good, scene.good], 1, [])
            assert not scene.peer.gone


@pytest.mark.parametrize("ttl", [1, 8, 15])
@pytest.mark.parametrize("words", [1, 2, 7, 8, 9, 15, 16])
def test_b40_as_many_words_as_the_limit_are_taken(words: int, ttl: int) -> None:
    """One more is dropped and counted, and the connection stays."""
    scene = Scene(ttl)
    header = way(words - 1) + NUMBER
    taken = [Message(header, b"body", scene.peer.id)] if words <= ttl else []

    assert scene.deliver(GOOD, header + b"body", GOOD) == [scene.good, *taken, scene.good]
    assert (scene.far, scene.told) == (int(words > ttl), [])


@pytest.mark.parametrize("ttl", [0, 16])
def test_b40_the_limit_is_from_1_to_15(ttl: int) -> None:
    """As in nng."""
    with pytest.raises(ValueError, match="max_ttl is from 1 to 15"):
        Options(max_ttl=ttl)


@given(words=st.integers(1, 8), body=st.binary(max_size=60))
def test_b41_the_first_last_word_wins(words: int, body: bytes) -> None:
    """Whatever follows is body: also what looks like a number, or a part of one."""
    scene = Scene()
    header = way(words - 1) + NUMBER

    for rest in (body, NUMBER + body, way(20) + body):
        assert scene.deliver(header + rest) == [Message(header, rest, scene.peer.id)]


@given(payloads=st.lists(st.binary(max_size=40), min_size=1, max_size=8), ttl=st.integers(1, 15))
def test_every_message_is_shown_dropped_or_the_last(payloads: list[bytes], ttl: int) -> None:
    """Whatever comes: header and body together are what came, within the limit, and only a missing header closes."""
    scene = Scene(ttl)
    out = scene.deliver(*payloads)

    left = iter(payloads)
    for message in out:
        assert message.header + message.body in left  # in their order
        assert 1 <= len(message.header) // 4 <= ttl
        assert len(message.header) % 4 == 0
    if scene.peer.gone:
        assert len(out) + scene.far < len(payloads)
    else:
        assert len(out) + scene.far == len(payloads)


def test_delivering_can_be_done_again_at_any_point() -> None:
    """A connection delivers what it has read until that is recorded: the same comes out, and its peer is lost once."""
    bodies = [GOOD, way(2) + NUMBER, b"x", GOOD]
    for at in count():
        scene = Scene()
        done = not interrupt(lambda scene=scene: scene.deliver(*bodies), at, "nnqpy.routing")  # type: ignore[misc]
        out = scene.deliver(*bodies)
        scene.core.pump()

        assert out == [scene.good, Message(way(2) + NUMBER, b"", scene.peer.id)]
        assert scene.core.peers == {}
        assert {type(event) for event in scene.told} == {PeerRemoved}
        if done:
            return
