"""Ctrl-C at any moment of a pump loses, doubles and reorders nothing: the next pump goes on from the record."""

from __future__ import annotations

from itertools import count, pairwise
from typing import TYPE_CHECKING, Final

import pytest

from nnqpy.errors import Reason
from nnqpy.options import Options
from tests.kit.cores import Ledger, Sender
from tests.kit.interrupts import interrupt
from tests.kit.peers import FakePeer, frame, marry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUTING: Final = "nnqpy.routing"


class Scene:
    """A core, its peers and its messages, right before something is done to them that may be interrupted."""

    def __init__(self, *rooms: int | None) -> None:
        self.core = Sender(Options(send_hwm=1000, send_hwm_bytes=10_000_000))
        self.core.replaceable = True
        self.ledger = Ledger(self.core)
        self.peers = [FakePeer(room) for room in rooms]
        self.ledger.peers = list(self.peers)
        marry(self.core, *self.peers)
        self.act: Callable[[], object] = self.core.pump

    def finish(self) -> None:
        """Give everybody room, let a new peer come if nobody is left, and pump until all is said."""
        if not self.core.peers:
            heir = FakePeer()
            self.ledger.peers.append(heir)
            marry(self.core, heir)
        for _ in range(3):
            for peer in self.ledger.peers:
                peer.give_room()
            self.core.pump()


def one_peer() -> Scene:
    scene = Scene(None)
    scene.ledger.queue(*[10] * 300)
    return scene


def even_shares() -> Scene:
    scene = Scene(None, None, None)
    scene.ledger.queue(*[10] * 20)
    return scene


def second_burst() -> Scene:
    scene = even_shares()
    scene.core.pump()
    scene.ledger.queue(*[30] * 7)
    return scene


def frame_cut() -> Scene:
    scene = Scene(4 * len(frame(b"." * 10)) + 5)
    scene.ledger.queue(*[10] * 12)
    return scene


def some_full() -> Scene:
    scene = Scene(0, 2 * len(frame(b"." * 10)), None)
    scene.ledger.queue(*[10] * 9)
    return scene


def frame_goes_on() -> Scene:
    scene = frame_cut()
    scene.core.pump()
    scene.act = scene.peers[0].give_room
    return scene


def frame_goes_on_a_bit() -> Scene:
    scene = frame_goes_on()
    scene.act = lambda: scene.peers[0].give_room(3)
    return scene


def large_ones() -> Scene:
    scene = Scene(None)
    scene.ledger.queue(*[100_000] * 7, 10, 5000)
    return scene


def large_ones_refused() -> Scene:
    scene = Scene(len(frame(b"." * 100_000)) + 5000)
    scene.ledger.queue(*[100_000] * 7, 10, 5000)
    return scene


def death_in_a_frame() -> Scene:
    scene = frame_cut()
    scene.core.pump()
    heir = FakePeer()
    scene.ledger.peers.append(heir)
    marry(scene.core, heir)
    scene.peers[0].die()
    return scene


def death_in_a_large_frame() -> Scene:
    scene = Scene(5000)
    scene.ledger.queue(100_000, 10, 5000)
    scene.core.pump()
    scene.peers[0].die()
    return scene


def death_in_a_frame_of_the_last() -> Scene:
    scene = frame_cut()
    scene.core.pump()
    scene.core.replaceable = False
    scene.peers[0].die()
    return scene


def death_in_the_write() -> Scene:
    scene = Scene(None, None)
    scene.ledger.queue(*[10] * 9)
    scene.peers[0].before_write = scene.peers[0].die
    return scene


def death_behind_the_write() -> Scene:
    scene = Scene(2 * len(frame(b"." * 10)) + 5, None)
    scene.ledger.queue(*[10] * 9)
    scene.peers[0].after_write = scene.peers[0].die
    return scene


SCENES: Final[list[Callable[[], Scene]]] = [
    one_peer,
    even_shares,
    second_burst,
    frame_cut,
    some_full,
    frame_goes_on,
    frame_goes_on_a_bit,
    large_ones,
    large_ones_refused,
    death_in_a_frame,
    death_in_a_large_frame,
    death_in_a_frame_of_the_last,
    death_in_the_write,
    death_behind_the_write,
]
scenes = pytest.mark.parametrize("make", SCENES, ids=[make.__name__ for make in SCENES])


def interrupted(make: Callable[[], Scene]) -> Iterator[Scene]:
    """Yield the scene again and again, each time interrupted one legal point later."""
    for at in count():
        scene = make()
        if not interrupt(scene.act, at, ROUTING):
            assert at, "the interrupts found no point to come at"
            return
        yield scene


@scenes
def test_no_message_is_lost_or_doubled_at_any_point(make: Callable[[], Scene]) -> None:
    """Accepted is delivered plus queued plus dropped right at the interrupt, and all is well after the next pump."""
    for scene in interrupted(make):
        scene.ledger.check_count()
        scene.finish()

        scene.ledger.check()
        assert scene.core.drained


@scenes
def test_the_order_holds_at_any_point(make: Callable[[], Scene]) -> None:
    """Each peer gets its messages in the order of sending; what comes back from the dead comes first."""
    for scene in interrupted(make):
        scene.finish()

        for peer in scene.ledger.peers:
            assert descents(peer.written) <= sum(bool(one.torn) for one in scene.ledger.peers)
            assert not peer.torn or peer.gone


def descents(bodies: list[bytes]) -> int:
    """Count the messages that come behind a later one."""
    return sum(one > other for one, other in pairwise(bodies))


def test_nothing_is_written_into_a_begun_frame() -> None:
    """The rest of a frame went in part when Ctrl-C came; the next message still waits for the rest of that frame.

    The frame was the last thing in the outbox, so its peer is found full only when something is to go to it.
    """

    def ctrl_c() -> None:
        peer.after_write = lambda: None
        raise KeyboardInterrupt

    scene = Scene(50)
    (peer,) = scene.peers
    scene.ledger.queue(100)
    scene.core.pump()
    peer.after_write = ctrl_c
    with pytest.raises(KeyboardInterrupt):
        peer.give_room(3)

    scene.ledger.queue(10)
    scene.core.pump()

    scene.finish()
    scene.ledger.check()


@scenes
def test_the_marks_count_right_after_the_next_pump(make: Callable[[], Scene]) -> None:
    """What counts against `send_hwm_bytes` is what waits, also while messages still wait."""
    for scene in interrupted(make):
        for peer in scene.peers:
            peer.room = 0
            peer.full = True
        scene.core.pump()

        scene.ledger.check_marks()


def test_a_frame_that_went_whole_is_not_sent_again_at_any_point() -> None:
    """The last byte of a frame goes, Ctrl-C comes before that is booked, and the peer is lost: it has the message."""
    for scene in interrupted(frame_goes_on):
        scene.peers[0].die()
        scene.finish()

        assert len(set(scene.ledger.delivered)) == len(scene.ledger.delivered)
        scene.ledger.check()


def test_closing_counts_everything_at_any_point() -> None:
    """An abandoned queue is in the counters, wherever the giving up was interrupted."""
    for at in count():
        scene = frame_cut()
        scene.core.pump()
        scene.peers[0].die(Reason.CLOSED_BY_US)
        done = not interrupt(scene.core.abandon, at, ROUTING)
        scene.ledger.check_count()
        scene.core.abandon()

        assert scene.core.stats().queued == 0
        scene.ledger.check_count()
        if done:
            break


def test_a_peer_is_attached_or_not_at_any_point() -> None:
    """An interrupted attach leaves a whole peer or none."""
    for at in count():
        core, peer = Sender(Options()), FakePeer()
        done = not interrupt(lambda core=core, peer=peer: core.attach(peer), at, ROUTING)  # type: ignore[misc]
        # The caller of an interrupted attach closes the connection; the next one is in its place.
        core.lose(peer, Reason.CLOSED_BY_US, "")
        core.pump()

        if peer.gone:
            assert peer.calls == ["cut", "release_out"]
        if done:
            break


def test_a_peer_is_lost_or_not_at_any_point() -> None:
    """After an interrupted `lose` the peer is whole, or gone with both turns told: never in between."""
    for at in count():
        scene = frame_cut()
        scene.core.pump()
        peer = scene.peers[0]
        done = not interrupt(peer.die, at, ROUTING)
        scene.ledger.check_count()
        scene.core.lose(peer, Reason.RESET, "again")

        assert peer.gone
        assert (list(scene.core.lost_in), list(scene.core.lost_out)) == ([peer], [peer])
        scene.finish()
        scene.ledger.check()
        if done:
            break


def test_a_peer_is_lost_for_good_after_two_interrupts() -> None:
    """Ctrl-C pressed twice: once while a peer is parted with, once while that is taken up again."""
    first = second = 0
    while True:
        scene = frame_cut()
        scene.core.pump()
        peer = scene.peers[0]
        was_first = interrupt(peer.die, first, ROUTING)
        was_second = interrupt(scene.core.pump, second, ROUTING)
        scene.core.lose(peer, Reason.RESET, "again")
        scene.core.pump()

        assert peer.gone
        assert (scene.core.peers, list(scene.core.lost_in)) == ({}, [peer])
        assert set(peer.calls) == {"cut", "release_out"}
        scene.finish()
        scene.ledger.check()
        if not was_first:
            return
        first, second = (first, second + 1) if was_second else (first + 1, 0)
