"""ReplyPath: each message goes to its addressee or nobody; who does not take his holds up at most those who send to him."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nnqpy.errors import Reason
from nnqpy.message import Addressed, Batch
from nnqpy.options import Options
from nnqpy.proto import Proto
from nnqpy.routing.core import SMALL, SocketCore, next_id
from nnqpy.routing.outboxes import Outboxes
from nnqpy.routing.reply_path import ReplyPath
from tests.kit.cores import queue
from tests.kit.interrupts import interrupt
from tests.kit.peers import HEADER, FakePeer, frame, marry

if TYPE_CHECKING:
    from collections.abc import Callable

POLICIES: Final = ["block", "drop_newest", "drop_oldest"]
each_policy = pytest.mark.parametrize("policy", POLICIES)
WHOLE: Final = len(frame(b"." * 10))


class Answerer(ReplyPath):
    """A ReplyPath and nothing else."""

    proto = Proto.REP


class Scene:
    """A core, its peers, and all that was sent to each."""

    def __init__(self, *rooms: int | None, **options: Any) -> None:  # Options checks them
        self.core = Answerer(Options(**options))
        self.peers: list[FakePeer] = []
        self.sent: dict[int, list[bytes]] = {}
        for room in rooms:
            self.come(room)
        self.number = 0
        self.act: Callable[[], object] = self.core.pump

    def come(self, room: int | None) -> FakePeer:
        peer = FakePeer(room)
        self.peers.append(peer)
        marry(self.core, peer)
        return peer

    def send(self, to: FakePeer | int, *sizes: int) -> list[bytes]:
        """Queue a message of each size for a peer, whatever the marks say; each begins with its number."""
        peer = to if isinstance(to, int) else to.id
        bodies = [(self.number + n).to_bytes(4, "big").ljust(size, b".") for n, size in enumerate(sizes)]
        self.number += len(bodies)
        self.sent.setdefault(peer, []).extend(bodies)
        queue(self.core, [Addressed.to(peer, body[:4], body[4:]) for body in bodies])
        return bodies

    def deal(self, number: int, size: int = 10) -> None:
        """Queue so many messages for the peers in turn."""
        for n in range(number):
            self.send(self.peers[n % len(self.peers)], size)

    def finish(self) -> None:
        """Give everybody room, and pump until all is said."""
        for _ in range(3):
            for peer in self.peers:
                if not peer.gone:
                    peer.give_room()
            self.core.pump()

    def waiting(self, peer: FakePeer) -> list[bytes]:
        """What stands in a peer's box."""
        return [bytes(body) for body in self.core.boxes[peer.id].queue]

    def check_count(self) -> None:
        """No message is lost or doubled: holds at every moment, also in the middle of an interrupted pump."""
        stats = self.core.stats()
        assert stats.accepted == stats.delivered + stats.queued + sum(stats.dropped.values()) == self.number

    def check(self) -> None:
        """Each message is in one place, its addressee's, in order, and every counter is true: holds after a pump."""
        core = self.core
        stats = core.stats()
        self.check_count()
        assert (core.hand, core._batch, core._handing) == ([], [], False)
        places = Counter(bytes(body) for body in core.outbox)
        for peer in self.peers:
            begun = [] if peer.begun is None else [peer.begun]
            box = core.boxes.get(peer.id)
            has = [*peer.written, *map(bytes, begun), *(() if box is None else map(bytes, box.queue))]
            assert has == sorted(set(has))
            assert set(has) <= set(self.sent.get(peer.id, []))
            places.update(has)
            assert (peer.sent, peer.bytes_sent) == (len(peer.written), sum(map(len, peer.written)))
            assert peer.begun is None or peer.torn == frame(peer.begun)[: len(peer.torn)]
            assert (peer.id in core._behind) <= (peer.id in core.boxes)
        assert max(places.values(), default=1) == 1
        assert places.total() + sum(stats.dropped.values()) == self.number
        assert stats.delivered == sum(len(peer.written) for peer in self.peers)
        assert stats.bytes_delivered == sum(len(body) for peer in self.peers for body in peer.written)
        assert stats.queued == places.total() - stats.delivered
        big = [len(body) for body in core.outbox if len(body) > core.small]
        assert (core.big, core.big_bytes) == (len(big), sum(big))


# --- whose a message is --------------------------------------------------------------------------------------------


@each_policy
def test_each_message_goes_to_its_addressee_in_order(policy: str) -> None:
    """Mixed as they were sent, of any size; a batch is one push a peer."""
    scene = Scene(None, None, None, on_full=policy)
    scene.deal(300)
    scene.send(scene.peers[1], 100_000, 4, 5000)
    scene.deal(30)
    scene.core.pump()

    scene.check()
    for peer in scene.peers:
        assert peer.written == scene.sent[peer.id]
        assert len(peer.pushes) < 6
    assert scene.core.drained


def test_who_is_not_there_gets_nothing() -> None:
    """Whether he never was, or has left: dropped and counted, and nobody else has it."""
    scene = Scene(None, None)
    left, other = scene.peers
    left.die(Reason.EOF)
    scene.core.pump()
    scene.send(left, 10)
    scene.send(next_id(), 10)
    scene.send(other, 10)
    scene.core.pump()

    scene.check()
    assert scene.core.stats().dropped == {"peer_gone": 2}
    assert (left.written, other.written) == ([], scene.sent[other.id])


def test_who_comes_later_gets_what_comes_later() -> None:
    """A number is given once: nobody has what was another's."""
    scene = Scene(None)
    scene.peers[0].die(Reason.EOF)
    late = scene.come(None)
    scene.deal(4)
    scene.core.pump()

    scene.check()
    assert late.written == scene.sent[late.id]
    assert len(late.written) == 2


def test_a_mixin_says_whose_a_message_is() -> None:
    """A queue per peer alone knows of no addressees; and a core alone holds nobody up."""

    class Mute(Outboxes):
        proto = Proto.REP

    core = Mute(Options())
    queue(core, [b"whose?"])

    assert (core.dealing, core.crowded(b""), SocketCore(Options()).crowded(b"")) == (True, False, False)
    with pytest.raises(NotImplementedError):
        core._shared(Batch())
    with pytest.raises(NotImplementedError):
        core.pump()
    assert core.stats().queued == 1


def test_nothing_is_due_where_nothing_is_sent_again() -> None:
    """Nobody has to come for a core that has no times."""
    assert SocketCore(Options()).on_time(0.0) == float("inf")


def test_what_is_not_even_queued_can_be_counted() -> None:
    """A face gives an answer up without waiting; its peer has missed it, if it is still there."""
    scene = Scene(None, None)
    behind, other = scene.peers
    for _ in range(2):
        scene.core.miss(Addressed.to(behind.id, b"answer"))
    scene.core.miss(Addressed.to(0, b"answer"))

    stats = scene.core.stats()
    assert (stats.accepted, stats.dropped) == (3, {"queue_full": 3})
    assert (behind.missed, other.missed) == (2, 0)


def test_who_has_no_room_is_told_whose_queue_is_full() -> None:
    """The socket's own, or, where each peer has one, that of the one whom the message is for."""
    own, theirs = SocketCore(Options()).full_text(), Scene(send_hwm=7).core.full_text()

    assert own == "the send queue is full (0 messages) and no peer takes more now"
    assert theirs.startswith("the send queue (0 messages) or that of the peer is full (send_hwm is 7 each)")


# --- who is behind -------------------------------------------------------------------------------------------------


@each_policy
def test_who_is_behind_holds_nobody_up(policy: str) -> None:
    """His box fills; the others have theirs at once, and he has what was kept for him when he takes it."""
    scene = Scene(2 * WHOLE, None, send_hwm=5, on_full=policy)
    slow, quick = scene.peers
    for _ in range(6):
        scene.deal(4)
        scene.core.pump()
        scene.check()

    mine = scene.sent[slow.id]
    kept = {"block": mine[2:], "drop_newest": mine[2:7], "drop_oldest": mine[-5:]}[policy]
    assert quick.written == scene.sent[quick.id]
    assert scene.waiting(slow) == kept
    assert not scene.core.outbox
    assert slow.missed == 12 - 2 - len(kept) == scene.core.stats().dropped.get("queue_full", 0)

    scene.finish()
    scene.check()
    assert slow.written == mine[:2] + kept


@each_policy
def test_a_box_is_bounded_in_bytes(policy: str) -> None:
    """One message of any size may wait; where nothing is dropped, its sender waits then."""
    scene = Scene(0, send_hwm=100, send_hwm_bytes=25_000, on_full=policy)
    (peer,) = scene.peers
    for size in (30_000, 10_000, 10_000, 10_000):
        body = Addressed.to(peer.id, bytes(size))
        if scene.core.has_room(body):
            scene.send(peer, size)
            scene.core.pump()
        scene.check()

    sizes = [len(body) for body in scene.waiting(peer)]
    assert sizes == {"block": [30_000], "drop_newest": [30_000], "drop_oldest": [10_000, 10_000]}[policy]


def test_without_a_mark_of_bytes_only_the_number_counts() -> None:
    """`send_hwm_bytes=None` is no limit."""
    scene = Scene(0, send_hwm=3, send_hwm_bytes=None)
    (peer,) = scene.peers
    for _ in range(5):
        if scene.core.has_room(Addressed.to(peer.id, bytes(100_000))):
            scene.send(peer, 100_000)
            scene.core.pump()

    assert scene.waiting(peer) == scene.sent[peer.id]
    assert len(scene.sent[peer.id]) == 3


def test_only_who_sends_to_one_who_is_behind_waits() -> None:
    """His box says so, before anything is queued; a message to others, or to nobody, goes."""
    scene = Scene(0, None, send_hwm=3)
    slow, quick = scene.peers
    to_slow, to_quick, to_nobody = (Addressed.to(peer, b"x") for peer in (slow.id, quick.id, next_id()))
    for _ in range(3):
        assert scene.core.has_room(to_slow)
        scene.send(slow, 10)
        scene.core.pump()

    assert [scene.core.crowded(body) for body in (to_slow, to_quick, to_nobody)] == [True, False, False]
    assert [scene.core.has_room(body) for body in (to_slow, to_quick, to_nobody)] == [False, True, True]
    slow.give_room(WHOLE)
    scene.core.pump()
    assert scene.core.has_room(to_slow)


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_nobody_waits_where_messages_are_dropped(policy: str) -> None:
    """Only for room in the outbox."""
    scene = Scene(0, send_hwm=2, on_full=policy)
    (peer,) = scene.peers
    body = Addressed.to(peer.id, b"x")
    for _ in range(5):
        assert (scene.core.has_room(body), scene.core.crowded(body)) == (True, False)
        scene.send(peer, 10)
        scene.core.pump()
    scene.send(peer, 10, 10)

    assert not scene.core.has_room(body)


def test_room_is_different_from_message_to_message() -> None:
    """So a batch of them is not accepted by its length alone."""
    assert ReplyPath.marks_alike is False
    assert SocketCore.marks_alike is True


def test_an_answer_for_which_nobody_waits_is_queued_whatever_the_marks_say() -> None:
    """Who is behind misses it then; a large one weighs as any other."""
    scene = Scene(0, send_hwm=1)
    for size in (10, SMALL + 1):
        with scene.core.lock:
            scene.core.insert(Addressed.to(scene.peers[0].id, bytes(size)))

    assert (len(scene.core.outbox), scene.core.big, scene.core.big_bytes) == (2, 1, SMALL + 1)


# --- parting -------------------------------------------------------------------------------------------------------


def test_what_waited_for_the_dead_is_dropped_and_counted() -> None:
    """Its box and its begun frame were its own."""
    scene = Scene(WHOLE + 5, None)
    dead, other = scene.peers
    scene.deal(8)
    scene.core.pump()
    dead.die()
    scene.core.pump()

    scene.check()
    assert scene.core.stats().dropped == {"peer_gone": 2, "peer_lost_mid_frame": 1}
    assert (len(dead.written), dead.missed) == (1, 2)
    assert other.written == scene.sent[other.id]
    assert scene.core.boxes.keys() == {other.id}
    assert not scene.core._behind
    assert "release_out" in dead.calls


@pytest.mark.parametrize("hook", ["before_write", "after_write"])
@pytest.mark.parametrize("who", range(3))
def test_who_dies_while_others_are_written_misses_the_rest(who: int, hook: str) -> None:
    """Between the look at it and its write, or between two peers' writes: the others notice nothing."""
    scene = Scene(None, None, None)
    *others, victim = scene.peers
    setattr(scene.peers[who], hook, victim.die)
    scene.deal(9)
    scene.core.pump()
    scene.core.pump()

    scene.check()
    assert [peer.written for peer in others] == [scene.sent[peer.id] for peer in others]
    assert scene.core.stats().dropped.get("peer_gone", 0) == 3 - len(victim.written)
    assert scene.core.stats().queued == 0


def test_closing_gives_up_what_waits() -> None:
    """What is in the boxes, and what is addressed to nobody any more."""
    scene = Scene(0, None)
    scene.deal(4)
    scene.core.pump()
    scene.deal(2)
    scene.core.look = -1
    for peer in scene.peers:
        peer.die(Reason.CLOSED_BY_US)
    scene.core.abandon()

    assert scene.core.stats().dropped == {"closed": 2, "peer_gone": 2}
    assert scene.core.stats().delivered == 2
    assert scene.core.drained
    scene.check_count()


# --- interrupts ----------------------------------------------------------------------------------------------------


def all_quick() -> Scene:
    scene = Scene(None, None)
    scene.deal(40)
    return scene


def some_cut() -> Scene:
    scene = Scene(2 * WHOLE + 5, 0, None)
    scene.deal(15)
    return scene


def catching_up() -> Scene:
    scene = some_cut()
    scene.core.pump()
    scene.peers[0].give_room(3 * HEADER)
    scene.peers[1].give_room(70)
    scene.deal(3)
    return scene


def large_ones() -> Scene:
    scene = Scene(5000, None)
    for size in (100_000, 10, SMALL + 1):
        scene.deal(2, size)
    return scene


def some_unknown() -> Scene:
    scene = Scene(None, 0)
    scene.deal(3)
    scene.send(next_id(), 10, 10)
    scene.deal(2)
    return scene


def room_again() -> Scene:
    scene = some_cut()
    scene.core.pump()
    scene.act = scene.peers[0].give_room
    return scene


def bounded() -> Scene:
    scene = Scene(30, 0, None, send_hwm=3, on_full="drop_oldest")
    scene.deal(21)
    return scene


def bounded_newest() -> Scene:
    scene = Scene(30, 0, None, send_hwm=3, on_full="drop_newest")
    scene.deal(9)
    scene.core.pump()
    scene.peers[0].give_room(WHOLE)
    scene.deal(9)
    return scene


def some_die() -> Scene:
    scene = some_cut()
    scene.core.pump()
    scene.peers[0].die()
    scene.peers[1].die()
    scene.deal(6)
    return scene


def one_dies_in_its_write() -> Scene:
    scene = Scene(2 * WHOLE + 5, None, None)
    scene.deal(15)
    scene.peers[0].after_write = scene.peers[0].die
    scene.peers[1].after_write = scene.peers[2].die
    return scene


SCENES: Final[list[Callable[[], Scene]]] = [
    all_quick,
    some_cut,
    catching_up,
    large_ones,
    some_unknown,
    room_again,
    bounded,
    bounded_newest,
    some_die,
    one_dies_in_its_write,
]


@pytest.mark.parametrize("make", SCENES, ids=[make.__name__ for make in SCENES])
def test_no_message_is_lost_or_doubled_at_any_point(make: Callable[[], Scene]) -> None:
    """The sum holds right at the interrupt; after the next pump each is where it would have been without it."""
    whole = make()
    whole.act()
    whole.finish()
    for at in count():
        scene = make()
        done = not interrupt(scene.act, at, "nnqpy.routing")
        scene.check_count()
        scene.core.pump()
        if not any(peer.begun is not None and peer.rest_went() for peer in scene.peers):  # who has room is asked again
            scene.check()
        scene.finish()

        scene.check()
        assert scene.core.drained
        for peer, other in zip(scene.peers, whole.peers, strict=True):
            if not (peer.gone or other.gone):
                assert peer.written == other.written, at
        if make is not one_dies_in_its_write:  # it may be the death that was broken off
            assert scene.core.stats() == whole.core.stats(), at
        if done:
            assert at
            return


def test_closing_counts_everything_at_any_point() -> None:
    """Wherever the giving up is broken off, it is finished by doing it again."""
    for at in count():
        scene = some_cut()
        scene.core.pump()
        scene.deal(3)
        scene.core.look = -1
        for peer in scene.peers:
            peer.die(Reason.CLOSED_BY_US)
        done = not interrupt(scene.core.abandon, at, "nnqpy.routing")
        scene.check_count()
        scene.core.abandon()

        scene.check_count()
        assert scene.core.stats().queued == 0
        if done:
            return


# --- anything, in any order ----------------------------------------------------------------------------------------

rooms = st.one_of(st.none(), st.integers(0, 60), st.integers(0, 300_000))
sizes = st.lists(st.sampled_from([4, 4, 10, 100, 5000, 100_000]), min_size=1, max_size=6)
whose = st.integers(0, 100)


class Life(RuleBasedStateMachine):
    """A socket that answers, its peers, and what the world does to them."""

    policy = "block"

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene(send_hwm=5, send_hwm_bytes=150_000, on_full=self.policy)
        self.settled = True
        """No pump was interrupted since the last whole one."""

    @property
    def alive(self) -> list[FakePeer]:
        return [peer for peer in self.scene.peers if not peer.gone]

    def some(self, number: int) -> FakePeer:
        return self.alive[number % len(self.alive)]

    @rule(number=whose, sizes=sizes)
    def send(self, number: int, sizes: list[int]) -> None:
        """Somebody answers one who is there, or was."""
        peers = self.scene.peers
        self.scene.send(peers[number % len(peers)] if peers else next_id(), *sizes)

    @rule(room=rooms)
    def come(self, room: int | None) -> None:
        """A peer comes."""
        self.scene.come(room)

    @precondition(lambda self: self.alive)
    @rule(number=whose, room=rooms)
    def give_room(self, number: int, room: int | None) -> None:
        """A peer's buffer empties."""
        self.some(number).give_room(room)

    @rule()
    def pump(self) -> None:
        """Somebody writes."""
        self.scene.core.pump()
        self.settled = True

    @rule(at=st.integers(0, 150))
    def pump_interrupted(self, at: int) -> None:
        """Ctrl-C comes while somebody writes."""
        self.settled = not interrupt(self.scene.core.pump, at, "nnqpy.routing")

    @precondition(lambda self: self.alive)
    @rule(number=whose)
    def die(self, number: int) -> None:
        """A peer is lost."""
        self.some(number).die()
        self.settled = False

    @precondition(lambda self: self.alive)
    @rule(number=whose, victim=whose, before=st.booleans())
    def die_in_a_write(self, number: int, victim: int, before: bool) -> None:
        """A peer is lost while it, or another one, is written."""
        setattr(self.some(number), "before_write" if before else "after_write", self.some(victim).die)

    @invariant()
    def every_message_is_somewhere(self) -> None:
        """Accepted is delivered, queued or dropped, and is what was sent."""
        self.scene.check_count()

    @precondition(lambda self: self.settled)
    @invariant()
    def the_books_are_right(self) -> None:
        """After a whole pump every message is in its place."""
        self.scene.core.pump()
        self.scene.core.pump()  # who died in the first
        self.scene.check()
        assert not self.scene.core.lost_out

    def teardown(self) -> None:
        """In the end everybody takes what is his, and everything that was not dropped arrives."""
        for peer in self.scene.peers:
            peer.before_write = peer.after_write = lambda: None
        self.scene.finish()

        self.scene.check()
        assert self.scene.core.drained
        if self.policy == "block":
            assert "queue_full" not in self.scene.core.stats().dropped
            for peer in self.alive:
                assert peer.written == self.scene.sent.get(peer.id, [])


class DroppingLife(Life):
    """The same where a full box misses messages."""

    policy = "drop_oldest"


TestLife = pytest.mark.timeout(120)(Life.TestCase)
TestDroppingLife = pytest.mark.timeout(120)(DroppingLife.TestCase)
TestLife.settings = settings(max_examples=30, stateful_step_count=30, deadline=None, report_multiple_bugs=False)
TestDroppingLife.settings = TestLife.settings
