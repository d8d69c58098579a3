"""The raw cores show headers and peers, keep no state, and a RawBus sends nothing back to where it came from."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnqpy.errors import Reason
from nnqpy.events import PeerRemoved
from nnqpy.message import Addressed, Batch, Message
from nnqpy.options import Options
from nnqpy.patterns import raw
from nnqpy.patterns.pair1 import PolyPair1Core
from nnqpy.proto import Proto
from nnqpy.routing.backtrace import MOST
from nnqpy.routing.core import next_id
from tests.kit.cores import queue
from tests.kit.interrupts import interrupt
from tests.kit.peers import FakePeer, frame, marry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnqpy.events import Event
    from nnqpy.routing.core import SocketCore

NUMBER: Final = b"\x80\0\0\7"


def with_peers(core: SocketCore, *rooms: int | None) -> list[FakePeer]:
    peers = [FakePeer(room) for room in rooms]
    marry(core, *peers)
    return peers


@pytest.mark.parametrize(
    ("core", "proto", "sends", "receives"),
    [
        (raw.RawPushCore, Proto.PUSH, True, False),
        (raw.RawPullCore, Proto.PULL, False, True),
        (raw.RawPairCore, Proto.PAIR, True, True),
        (raw.RawPair1Core, Proto.PAIR1, True, True),
        (raw.RawPubCore, Proto.PUB, True, False),
        (raw.RawSubCore, Proto.SUB, False, True),
        (raw.RawBusCore, Proto.BUS, True, True),
        (raw.RawReqCore, Proto.REQ, True, True),
        (raw.RawRepCore, Proto.REP, True, True),
        (raw.RawSurveyorCore, Proto.SURVEYOR, True, True),
        (raw.RawRespondentCore, Proto.RESPONDENT, True, True),
    ],
)
def test_a_raw_socket_speaks_as_the_cooked_one(
    core: type[SocketCore], proto: Proto, sends: bool, receives: bool
) -> None:
    """The greeting is the same, and so are the directions."""
    assert (core.proto, core.sends, core.receives) == (proto, sends, receives)


@pytest.mark.parametrize("pattern", [raw.RawPullCore, raw.RawPairCore, raw.RawSubCore, raw.RawBusCore])
def test_a_message_without_a_header_says_whose_it_is(pattern: type[SocketCore]) -> None:
    """The body is what came; a RawSub wants everything."""
    core = pattern(Options())
    (peer,) = with_peers(core, None)

    assert list(core.deliver(peer, [b"", b"body"])) == [Message(b"", b"", peer.id), Message(b"", b"body", peer.id)]


@pytest.mark.parametrize("pattern", [raw.RawReqCore, raw.RawSurveyorCore])
def test_a_raw_asker_takes_any_reply_that_a_header_has_room_for(
    pattern: type[raw.RawReqCore | raw.RawSurveyorCore],
) -> None:
    """16 words, whatever `max_ttl`; one more is dropped and counted; none at all ends the connection."""
    core = pattern(Options(max_ttl=1))
    (peer,) = with_peers(core, None)
    header = b"\0\0\0\1" * (MOST - 1) + NUMBER

    assert core.deliver(peer, [header + b"x", b"\0\0\0\1" + header, NUMBER]) == [
        Message(header, b"x", peer.id),
        Message(NUMBER, b"", peer.id),
    ]
    assert core.stats().discarded == {"ttl_exceeded": 1}
    assert core.deliver(peer, [b"\x80\0\0"]) == []
    assert peer.gone


@pytest.mark.parametrize("pattern", [raw.RawRepCore, raw.RawRespondentCore])
def test_a_raw_answerer_takes_what_made_no_more_than_max_ttl_steps(
    pattern: type[raw.RawRepCore | raw.RawRespondentCore],
) -> None:
    """As the cooked one; a peer that is behind misses the newest answers, and nobody waits for it."""
    core = pattern(Options(max_ttl=1, send_hwm=1))
    (peer,) = with_peers(core, 0)
    assert core.deliver(peer, [b"\0\0\0\1" + NUMBER, NUMBER]) == [Message(NUMBER, b"", peer.id)]
    answers = [Addressed.to(peer.id, NUMBER, b"%d" % n) for n in range(2)]
    queue(core, answers)
    core.pump()
    peer.give_room()
    core.pump()

    assert not core.crowded(answers[0])
    assert peer.written == [NUMBER + b"0"]
    assert core.stats().dropped == {"queue_full": 1}


# --- Hops --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [raw.RawPair1Core, PolyPair1Core])
@given(hops=st.lists(st.integers(0, 255), min_size=1, max_size=10), ttl=st.integers(1, 15), body=st.binary(max_size=8))
def test_a_message_shows_the_steps_that_it_made(
    pattern: type[raw.RawPair1Core | PolyPair1Core], hops: list[int], ttl: int, body: bytes
) -> None:
    """Those with more than the limit are dropped and counted; the connection stays."""
    core = pattern(Options(max_ttl=ttl))
    (peer,) = with_peers(core, None)
    headers = [hop.to_bytes(4, "big") for hop in hops]

    assert core.deliver(peer, [header + body for header in headers]) == [
        Message(header, body, peer.id) for header in headers if header[3] <= ttl
    ]
    assert sum(core.stats().discarded.values()) == sum(hop > ttl for hop in hops)
    assert not peer.gone


@pytest.mark.parametrize("pattern", [raw.RawPair1Core, PolyPair1Core])
@given(payload=st.binary(max_size=8))
def test_what_begins_with_no_count_ends_the_connection(
    pattern: type[raw.RawPair1Core | PolyPair1Core], payload: bytes
) -> None:
    """Too short for one is missing, more than 255 is bad; what came before is kept, nothing behind it is."""
    core = pattern(Options(max_ttl=15))
    (peer,) = with_peers(core, None)
    told: list[Event] = []
    core.emit = told.append
    good = b"\0\0\0\1good"
    shown = list(core.deliver(peer, [good, payload, good]))

    if len(payload) >= 4 and payload[:3] == b"\0\0\0":
        assert len(shown) == 2 + (payload[3] <= 15)
        assert not told
    else:
        assert shown == [Message(good[:4], good[4:], peer.id)]
        (loss,) = told
        assert isinstance(loss, PeerRemoved)
        assert loss.reason is (Reason.HEADER_MISSING if len(payload) < 4 else Reason.HEADER_BAD)


def test_a_polyamorous_message_to_one_who_left_is_dropped() -> None:
    """The others are not concerned; one who is behind misses the newest."""
    core = PolyPair1Core(Options(send_hwm=1))
    left, slow, quick = with_peers(core, None, 0, None)
    left.die(Reason.EOF)
    queue(core, [Addressed.to(peer.id, b"\0\0\0\1", b"%d" % n) for n in range(2) for peer in (left, slow, quick)])
    core.pump()
    slow.give_room()
    core.pump()

    assert quick.written == [b"\0\0\0\0010", b"\0\0\0\0011"]
    assert slow.written == [b"\0\0\0\0010"]
    assert core.stats().dropped == {"peer_gone": 2, "queue_full": 1}


# --- RawBus ------------------------------------------------------------------------------------------------------


class Bus:
    """A RawBus, its peers, and what went on."""

    def __init__(self, *rooms: int | None, **options: Any) -> None:  # Options checks them
        self.core = raw.RawBusCore(Options(**options))
        self.peers = with_peers(self.core, *rooms)
        self.sent: list[tuple[bytes, int]] = []

    def send(self, *origins: int | None) -> None:
        """Queue a message for each origin: the place of a peer, -1 for one that left, None for the user himself."""
        for origin in origins:
            body = b"%06d" % len(self.sent)
            number = 0 if origin is None else self.peers[origin].id if origin >= 0 else next_id()
            self.sent.append((body, number))
            queue(self.core, [Addressed.to(number, body) if number else body])

    def for_peer(self, peer: FakePeer) -> list[bytes]:
        """What a peer is to get: all but what it has sent itself."""
        return [body for body, origin in self.sent if origin != peer.id]

    def check(self) -> None:
        """Everybody has what is to be theirs, in order; what is for nobody is counted."""
        stats = self.core.stats()
        assert [peer.written for peer in self.peers] == [self.for_peer(peer) for peer in self.peers]
        nobodys = sum(all(peer.id == origin for peer in self.peers) for _, origin in self.sent)
        assert stats.dropped.get("no_peer", 0) == nobodys
        assert stats.accepted == stats.delivered + nobodys == sum(stats.dropped.values()) + stats.delivered
        assert stats.queued == 0


def test_a_message_goes_to_all_but_its_origin() -> None:
    """Those of the user himself go to all; the order is kept."""
    bus = Bus(None, None, None)
    bus.send(None, 0, 1, 0, None, 2)
    bus.core.pump()

    bus.check()
    assert bus.peers[0].written == [b"000000", b"000002", b"000004", b"000005"]


@given(
    peers=st.integers(0, 4),
    bursts=st.lists(st.lists(st.integers(-2, 3), min_size=1, max_size=8), min_size=1, max_size=4),
)
def test_nothing_goes_back_whoever_is_there(peers: int, bursts: list[list[int]]) -> None:
    """With no peer, one or many, and whatever stands beside it in a batch."""
    bus = Bus(*[None] * peers)
    for burst in bursts:
        bus.send(*(None if origin == -2 else min(origin, peers - 1) for origin in burst))
        bus.core.pump()

    bus.check()


def test_what_the_user_sends_is_one_batch_for_all() -> None:
    """Made into bytes of the wire once; what goes on has nothing that a codec does not know."""
    offered: list[Sequence[bytes]] = []

    class Noting(FakePeer):
        def push(self, bodies: Sequence[bytes], size: int) -> None:
            offered.append(bodies)
            super().push(bodies, size)

    bus = Bus()
    bus.peers += [Noting(), Noting()]
    marry(bus.core, *bus.peers)
    bus.send(None, None)
    bus.core.pump()
    assert offered[0] is offered[1]
    assert isinstance(offered[0], Batch)

    bus.send(None, 0, -1)
    bus.core.pump()
    assert {type(body) for bodies in offered for body in bodies} == {bytes}
    bus.check()


def test_who_is_behind_misses_the_newest_of_the_others() -> None:
    """What it has sent itself takes no room in its box."""
    bus = Bus(0, None, send_hwm=2)
    slow, quick = bus.peers
    bus.send(0, 1, 0, None, 0, 1)
    bus.core.pump()
    assert quick.written == bus.for_peer(quick)
    slow.give_room()
    bus.core.pump()

    assert slow.written == bus.for_peer(slow)[:2]
    assert (slow.missed, bus.core.stats().dropped) == (1, {"queue_full": 1})


def test_nothing_goes_back_at_any_point() -> None:
    """Ctrl-C anywhere in a pump: each copy still is in one place."""
    for at in count():
        bus = Bus(2 * len(frame(b"000000")) + 5, 0, None)
        bus.send(None, 0, 1, 2, 0, -1, None)
        done = not interrupt(bus.core.pump, at, "nnqpy.routing", "nnqpy.patterns")
        stats = bus.core.stats()
        assert stats.accepted == stats.delivered + stats.queued + sum(stats.dropped.values())
        for _ in range(2):
            bus.core.pump()
            for peer in bus.peers:
                peer.give_room()
        bus.core.pump()

        bus.check()
        if done:
            assert at
            return
