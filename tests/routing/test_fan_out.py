"""FanOut: everybody gets everything, in order; who is behind misses by the policy, is told how much, and slows nobody."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest

from nnqpy.errors import Reason
from nnqpy.message import Batch
from nnqpy.options import Options
from nnqpy.proto import Proto
from nnqpy.routing.fan_out import FanOut
from tests.kit.cores import queue
from tests.kit.interrupts import interrupt
from tests.kit.peers import HEADER, FakePeer, frame, marry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

POLICIES: Final = ["drop_oldest", "drop_newest", "block"]
each_policy = pytest.mark.parametrize("policy", POLICIES)


class Herald(FanOut):
    """A FanOut and nothing else."""

    proto = Proto.PUB


class Scene:
    """A core, its peers, and all that was sent."""

    def __init__(self, *rooms: int | None, **options: Any) -> None:
        self.core = Herald(Options(**options))
        self.peers = [FakePeer(room) for room in rooms]
        marry(self.core, *self.peers)
        self.sent: list[bytes] = []
        self.act: Callable[[], object] = self.core.pump

    def send(self, *sizes: int) -> None:
        """Queue a message of each size; it begins with its number."""
        bodies = [(len(self.sent) + n).to_bytes(4, "big").ljust(size, b".") for n, size in enumerate(sizes)]
        queue(self.core, bodies)
        self.sent += bodies

    def finish(self) -> None:
        """Give everybody room, and pump until all is said."""
        for _ in range(4):
            for peer in self.peers:
                if not peer.gone:
                    peer.give_room()
            self.core.pump()

    def check(self) -> None:
        """Each living peer's messages are written, begun, waiting or missed, in order, and all counters are true."""
        stats = self.core.stats()
        taken = len(self.sent) - len(self.core.outbox)
        assert stats.accepted == stats.delivered + stats.queued + sum(stats.dropped.values())
        assert stats.delivered == sum(len(peer.written) for peer in self.peers)
        assert stats.bytes_delivered == sum(len(body) for peer in self.peers for body in peer.written)
        for peer in self.peers:
            assert (peer.sent, peer.bytes_sent) == (len(peer.written), sum(map(len, peer.written)))
            if peer.gone:
                continue
            begun = [] if peer.begun is None else [peer.begun]
            has = [*peer.written, *begun, *self.core.boxes[peer.id].queue]
            assert has == sorted(set(has))
            assert set(has) <= set(self.sent)
            assert len(has) + peer.missed == taken
        assert self.core.hand == []
        big = [len(body) for body in self.core.outbox if len(body) > self.core.small]
        assert (self.core.big, self.core.big_bytes) == (len(big), sum(big))


@each_policy
def test_everybody_gets_everything(policy: str) -> None:
    """In order, in few pushes, whatever the sizes."""
    scene = Scene(None, None, None, on_full=policy)
    scene.send(*[10] * 600, 100_000, 0, *[5000] * 80)

    scene.core.pump()

    scene.check()
    assert all(peer.written == scene.sent for peer in scene.peers)
    assert all(len(peer.pushes) < 12 for peer in scene.peers)
    assert scene.core.drained


def test_a_batch_is_one_object_for_all() -> None:
    """What one connection has made of it serves the next one."""
    offered: list[object] = []

    class Noting(FakePeer):
        def push(self, bodies: Sequence[bytes], size: int) -> None:
            offered.append(bodies)
            super().push(bodies, size)

    scene = Scene()
    marry(scene.core, Noting(), Noting())
    scene.send(10, 10)

    scene.core.pump()

    assert offered[0] is offered[1]
    assert isinstance(offered[0], Batch)


def test_without_peers_it_is_dropped_and_counted() -> None:
    """Nobody is there to get it, and it waits for nobody."""
    scene = Scene()
    scene.send(10, 10)

    scene.core.pump()

    stats = scene.core.stats()
    assert (stats.accepted, stats.queued, dict(stats.dropped)) == (2, 0, {"no_peer": 2})


@each_policy
def test_a_slow_peer_misses_by_the_policy_and_slows_nobody(policy: str) -> None:
    """Its own queue is bounded; the others have everything, unless the policy is to wait for it."""
    whole = len(frame(b"." * 10))
    scene = Scene(2 * whole, None, send_hwm=5, on_full=policy)
    slow, quick = scene.peers
    for _ in range(4):
        scene.send(10, 10, 10, 10)
        scene.core.pump()
        scene.check()

    waiting = list(scene.core.boxes[slow.id].queue)
    if policy == "block":
        assert quick.written == scene.sent[:7]
        assert waiting == scene.sent[2:7]
        assert not scene.core.dealing
        assert list(scene.core.outbox) == scene.sent[7:]
    else:
        assert quick.written == scene.sent
        assert waiting == (scene.sent[-5:] if policy == "drop_oldest" else scene.sent[2:7])
        assert scene.core.stats().dropped == {"queue_full": slow.missed} == {"queue_full": 9}

    scene.finish()
    scene.check()
    assert slow.written == (scene.sent if policy == "block" else [*scene.sent[:2], *waiting])
    assert quick.written == scene.sent


@each_policy
def test_the_bytes_of_a_queue_are_bounded_too(policy: str) -> None:
    """A peer behind by few large messages holds no more than `send_hwm_bytes`; one message of any size always may wait."""
    scene = Scene(0, None, send_hwm=100, send_hwm_bytes=25_000, on_full=policy)
    slow, quick = scene.peers
    for _ in range(6):
        scene.send(10_000)
        scene.core.pump()
        scene.check()

    waiting = scene.core.boxes[slow.id].queue
    assert sum(map(len, waiting)) <= (30_000 if policy == "block" else 25_000)
    assert len(quick.written) == (3 if policy == "block" else 6)
    scene.finish()
    scene.check()


def test_one_message_beyond_the_bytes_may_wait() -> None:
    """The bound is no limit of a message's size."""
    scene = Scene(0, send_hwm=100, send_hwm_bytes=1000)
    scene.send(5000)
    scene.core.pump()

    assert list(scene.core.boxes[scene.peers[0].id].queue) == scene.sent


def test_without_a_mark_of_bytes_only_the_number_counts() -> None:
    """`send_hwm_bytes=None` is no limit, for either kind of waiting."""
    for policy in POLICIES:
        scene = Scene(0, send_hwm=3, send_hwm_bytes=None, on_full=policy)
        scene.send(*[100_000] * 3)
        scene.core.pump()

        assert list(scene.core.boxes[scene.peers[0].id].queue) == scene.sent


def test_a_burst_longer_than_the_mark_is_cut_in_one_go() -> None:
    """A peer that took the head of it keeps the last of what it did not take."""
    scene = Scene(2 * len(frame(b"." * 10)) + 5, send_hwm=5)
    scene.send(*[10] * 20)
    scene.core.pump()

    scene.check()
    assert list(scene.core.boxes[scene.peers[0].id].queue) == scene.sent[-5:]
    assert scene.peers[0].missed == 12


def test_a_large_message_that_was_taken_back_weighs_no_more() -> None:
    """It was withdrawn over the marks; the next pump counts afresh."""
    scene = Scene(None)
    body = bytes(100_000)
    queue(scene.core, [body])
    with scene.core.lock:
        scene.core.withdraw(body)
    scene.core.pump()

    scene.check()


def test_a_pattern_may_refuse_a_peer() -> None:
    """Then it has no box."""

    class Choosy(Herald):
        def refusal(self) -> Reason | None:
            return Reason.LIMIT_PIPES

    core, peer = Choosy(Options()), FakePeer()

    assert core.attach(peer) is Reason.LIMIT_PIPES
    assert core.boxes == {}


def test_who_comes_later_gets_what_comes_later() -> None:
    """Nothing is replayed."""
    scene = Scene(None)
    scene.send(10)
    scene.core.pump()
    late = FakePeer()
    marry(scene.core, late)
    scene.send(10)
    scene.core.pump()

    assert late.written == scene.sent[1:]


def test_what_waited_for_the_dead_is_dropped_and_goes_to_nobody_else() -> None:
    """Its queue and its begun frame were its own."""
    whole = len(frame(b"." * 10))
    scene = Scene(whole + 5, None)
    scene.send(10, 10, 10)
    scene.core.pump()
    dead, other = scene.peers
    dead.die()
    scene.core.pump()

    stats = scene.core.stats()
    assert other.written == scene.sent
    assert stats.dropped == {"peer_gone": 1, "peer_lost_mid_frame": 1}
    assert (stats.accepted, stats.delivered, stats.queued) == (6, 4, 0)
    assert scene.core.boxes.keys() == {other.id}
    assert "release_out" in dead.calls


def test_who_dies_as_it_is_written_misses_the_rest() -> None:
    """It is gone between the look at it and the write, or between two peers' writes: the others notice nothing."""
    for who in range(3):
        scene = Scene(None, None, None)
        victim = scene.peers[2]
        scene.peers[who].before_write = victim.die
        scene.send(10, 10)
        scene.core.pump()
        scene.core.pump()
        stats = scene.core.stats()

        assert [peer.written for peer in scene.peers[:2]] == [scene.sent, scene.sent]
        assert stats.accepted == stats.delivered + stats.queued + sum(stats.dropped.values())
        assert stats.queued == 0


def test_closing_abandons_the_boxes() -> None:
    """What waits for anybody is counted as dropped by the close."""
    scene = Scene(0, None)
    scene.send(10, 10)
    scene.core.pump()
    scene.send(10)
    scene.core.look = -1
    for peer in scene.peers:
        peer.die(Reason.CLOSED_BY_US)
    scene.core.abandon()

    stats = scene.core.stats()
    assert (stats.queued, stats.delivered) == (0, 2)
    assert stats.dropped == {"closed": 2, "no_peer": 1}
    assert scene.core.drained


# --- interrupts --------------------------------------------------------------------------------------------


def all_quick() -> Scene:
    scene = Scene(None, None)
    scene.send(*[10] * 300)
    return scene


def some_cut() -> Scene:
    scene = Scene(2 * len(frame(b"." * 10)) + 5, 0, None)
    scene.send(*[10] * 8)
    return scene


def catching_up() -> Scene:
    scene = some_cut()
    scene.core.pump()
    scene.peers[0].give_room(3 * HEADER)
    scene.peers[1].give_room(70)
    scene.send(10)
    return scene


def large_ones() -> Scene:
    scene = Scene(5000, None)
    scene.send(100_000, 10, 5000)
    return scene


def holding_up() -> Scene:
    scene = Scene(30, None, send_hwm=4, on_full="block")
    scene.send(*[10] * 9)
    return scene


@pytest.mark.parametrize("make", [all_quick, some_cut, catching_up, large_ones, holding_up])
def test_nothing_is_lost_or_doubled_at_any_point(make: Callable[[], Scene]) -> None:
    """Ctrl-C anywhere in a pump: the next one goes on from the record."""
    for at in count():
        scene = make()
        done = not interrupt(scene.act, at, "nnqpy.routing")
        stats = scene.core.stats()
        assert stats.accepted == stats.delivered + stats.queued + sum(stats.dropped.values())
        scene.finish()

        scene.check()
        assert all(peer.written == scene.sent for peer in scene.peers), at
        if done:
            assert at
            return


def test_the_dead_are_let_go_of_at_any_point() -> None:
    """Wherever their burying is broken off, it is finished by the next pump, and counted once."""
    for at in count():
        scene = some_cut()
        scene.core.pump()
        scene.peers[0].die()
        scene.peers[1].die()
        done = not interrupt(scene.core.pump, at, "nnqpy.routing")
        scene.core.pump()

        stats = scene.core.stats()
        assert stats.accepted == stats.delivered + sum(stats.dropped.values()) == 24
        assert stats.dropped == {"peer_gone": 13, "peer_lost_mid_frame": 1}
        if done:
            return
