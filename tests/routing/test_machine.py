"""SendPump under anything that can happen, in any order: no message is lost, doubled, torn or out of its order."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nnqpy.errors import Reason
from tests.kit.cores import Ledger, sender
from tests.kit.interrupts import interrupt
from tests.kit.peers import HEADER, FakePeer, marry

if TYPE_CHECKING:
    from collections.abc import Callable


rooms = st.one_of(st.none(), st.integers(0, 60), st.integers(0, 700_000))
sizes = st.lists(st.sampled_from([4, 4, 10, 100, 5000, 100_000, 300_000]), min_size=1, max_size=6)
whose = st.integers(0, 100)
moments = st.integers(0, 150)
"""When an interrupt comes: counted in legal points."""


class Life(RuleBasedStateMachine):
    """A socket's sending half, its peers, and what the world does to them."""

    def __init__(self) -> None:
        super().__init__()
        self.core = sender(send_hwm=50, send_hwm_bytes=1_000_000)
        self.ledger = Ledger(self.core)
        self.settled = True
        """No pump was interrupted since the last whole one."""

    @property
    def alive(self) -> list[FakePeer]:
        return [peer for peer in self.ledger.peers if not peer.gone]

    def some(self, number: int) -> FakePeer:
        return self.alive[number % len(self.alive)]

    def maybe_interrupted(self, action: Callable[[], object], at: int) -> None:
        if interrupt(action, at, "nnqpy.routing"):
            self.settled = False

    # --- what happens ------------------------------------------------------------------------------------------

    @rule(sizes=sizes, times=st.sampled_from([1, 1, 1, 60]))
    def queue(self, sizes: list[int], times: int) -> None:
        """Somebody sends."""
        self.ledger.queue(*(sizes if times == 1 else sizes[:1] * times))

    @rule(room=rooms)
    def come(self, room: int | None) -> None:
        """A peer comes."""
        peer = FakePeer(room)
        self.ledger.peers.append(peer)
        marry(self.core, peer)

    @precondition(lambda self: self.alive)
    @rule(number=whose, room=rooms)
    def give_room(self, number: int, room: int | None) -> None:
        """A peer's buffer empties."""
        self.some(number).give_room(room)

    @precondition(lambda self: self.alive)
    @rule(number=whose, room=rooms, at=st.integers(0, 15))
    def give_room_interrupted(self, number: int, room: int | None, at: int) -> None:
        """A peer's buffer empties, and Ctrl-C comes while that is seen to; it is found again at the next look."""
        peer = self.some(number)
        peer.after_write = peer.before_write  # not both at that one moment: see test_interrupts.py
        self.maybe_interrupted(lambda: peer.give_room(room), at)
        peer.give_room(room if room is None else peer.room)

    @rule()
    def pump(self) -> None:
        """Somebody writes."""
        self.core.pump()
        self.settled = True

    @rule(at=moments)
    def pump_interrupted(self, at: int) -> None:
        """Ctrl-C comes while somebody writes."""
        self.maybe_interrupted(self.core.pump, at)

    @precondition(lambda self: self.alive)
    @rule(number=whose)
    def die(self, number: int) -> None:
        """A peer is lost."""
        self.some(number).die()
        self.settled = False

    @precondition(lambda self: self.alive)
    @rule(number=whose, at=st.integers(0, 20))
    def die_interrupted(self, number: int, at: int) -> None:
        """A peer is lost, and Ctrl-C comes while that is seen to; it is found again at the next look."""
        peer = self.some(number)
        self.maybe_interrupted(peer.die, at)
        peer.die()
        self.settled = False

    @precondition(lambda self: self.alive)
    @rule(number=whose, before=st.booleans())
    def die_in_a_write(self, number: int, before: bool) -> None:
        """A peer is lost while it is written."""
        peer = self.some(number)
        setattr(peer, "before_write" if before else "after_write", peer.die)

    @rule()
    def quiet(self) -> None:
        """Nobody sends for a while."""
        self.core.new_burst()

    @rule(replaceable=st.booleans())
    def open_or_close_an_endpoint(self, replaceable: bool) -> None:
        """Another peer may come, or not."""
        self.core.replaceable = replaceable

    # --- what always holds -----------------------------------------------------------------------------------

    @invariant()
    def every_message_is_somewhere(self) -> None:
        """Accepted is delivered, queued or dropped, and is what was sent."""
        self.ledger.check_count()

    @invariant()
    def nobody_has_what_is_not_his(self) -> None:
        """No message was given to two peers, and each has his in order, but for those that came back."""
        delivered = self.ledger.delivered
        assert len(set(delivered)) == len(delivered)
        cut = sum(bool(peer.torn) for peer in self.ledger.peers if peer.gone)
        for peer in self.ledger.peers:
            assert sum(one > other for one, other in pairwise(peer.written)) <= cut

    @precondition(lambda self: self.settled)
    @invariant()
    def the_books_are_right(self) -> None:
        """After a whole pump every counter is exact, and the dead are buried."""
        self.ledger.check()
        self.core.pump()
        assert not self.core.lost_out

    @precondition(lambda self: self.settled)
    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """Messages wait only while no peer has room."""
        self.core.pump()
        assert not self.core.outbox or all(peer.full or peer.begun is not None for peer in self.alive)

    def teardown(self) -> None:
        """In the end a peer with room comes, and everything that was not dropped arrives."""
        for peer in self.ledger.peers:
            peer.before_write = peer.after_write = lambda: None
        self.come(None)
        self.core.pump()
        for peer in self.alive:
            peer.give_room()
        self.core.pump()

        assert self.core.drained
        self.ledger.check()
        for peer in self.ledger.peers:
            assert peer.gone or not peer.torn
            assert set(peer.calls) == ({"cut", "release_out"} if peer.gone else set())
        self.core.lose(self.alive[0], Reason.CLOSED_BY_US, "", gently=True)
        if not self.alive:
            assert self.core.abandon() == 0


TestLife = pytest.mark.timeout(120)(Life.TestCase)
TestLife.settings = settings(max_examples=50, stateful_step_count=30, deadline=None, report_multiple_bugs=False)


def test_a_fake_frame_is_whole_or_torn() -> None:
    """What the machine trusts: a stream cut anywhere shows its whole messages, and the rest as torn."""
    for room in range(2 * (HEADER + 3) + 1):
        peer = FakePeer(room)
        peer.push([b"one", b"two"], 6)

        assert peer.written == [b"one", b"two"][: room // (HEADER + 3)]
        assert len(peer.torn) == room % (HEADER + 3)
