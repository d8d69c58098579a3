"""SocketCore: peers come and go once, and every snapshot is of one instant."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from nnqpy.errors import Reason
from nnqpy.events import PeerRemoved
from nnqpy.options import Options
from nnqpy.routing.core import SMALL, SocketCore, next_id
from tests.kit.cores import Receiver, Sender, queue, sender
from tests.kit.locks import hooked
from tests.kit.peers import FakePeer, marry

if TYPE_CHECKING:
    from nnqpy.events import Event
    from nnqpy.routing.core import Peer


def test_a_number_for_a_peer_is_never_used_again() -> None:
    """Ids differ also between sockets."""
    assert len({next_id() for _ in range(1000)}) == 1000


def test_a_bare_core_takes_and_parts_with_peers() -> None:
    """A core without a pattern has no opinion on peers, and nothing to send."""
    core, peer = SocketCore(Options()), FakePeer()

    marry(core, peer)
    core.pump()
    core.writable(peer)

    assert core.peers == {peer.id: peer}
    assert (core.sends, core.receives, core.dealing, core.drained) == (False, False, False, True)


def test_a_peer_lost_is_told_of_once_with_its_last_counters() -> None:
    """The event says who, why and how far it had come."""
    core, peer = sender(), FakePeer()
    told: list[Event] = []
    core.emit = told.append
    marry(core, peer)
    queue(core, [b"one", b"three"])
    core.pump()

    core.lose(peer, Reason.EOF, "it went home")
    core.lose(peer, Reason.RESET, "again")

    assert told == [PeerRemoved(peer.info(), Reason.EOF, "it went home")]
    assert (peer.info().state, peer.info().sent, peer.info().bytes_sent) == ("closed", 2, 8)


def test_a_core_that_nobody_listens_to_tells_nothing() -> None:
    """Without a listener an event goes nowhere, and costs no error."""
    core, peer = SocketCore(Options()), FakePeer()
    marry(core, peer)

    assert core.lose(peer, Reason.EOF, "")


def test_a_loss_that_was_broken_off_is_finished_by_the_next_pump() -> None:
    """Ctrl-C while a peer's end is told: whoever takes a turn next tells the rest."""
    core, peer = sender(), FakePeer()
    marry(core, peer)
    told: list[object] = []

    def interrupted(event: Event) -> None:
        core.emit = told.append
        raise KeyboardInterrupt

    core.emit, core.on_lost = interrupted, told.append
    with pytest.raises(KeyboardInterrupt):
        peer.die()
    assert told == []

    core.pump()
    assert told == [PeerRemoved(peer.info(), Reason.RESET, "it died"), peer]
    assert core.peers == {}


def test_a_loss_that_was_broken_off_is_finished_by_the_next_loss() -> None:
    """Two peers break one after the other, and Ctrl-C comes with the first: both are told of."""
    core, first, second = sender(), FakePeer(), FakePeer()
    marry(core, first, second)
    told: list[object] = []

    def interrupted(event: Event) -> None:
        core.emit = _nothing
        raise KeyboardInterrupt

    core.emit, core.on_lost = interrupted, told.append
    with pytest.raises(KeyboardInterrupt):
        first.die()
    second.die()

    assert told == [first, second]
    assert core.peers == {}


def test_a_loss_that_was_broken_off_before_it_began_is_none() -> None:
    """Ctrl-C while the short lock is waited for: the peer is as it was."""
    core, peer = sender(), FakePeer()
    marry(core, peer)
    lock = hooked(core)

    def interrupted() -> None:
        raise KeyboardInterrupt

    lock.before.append(interrupted)
    with pytest.raises(KeyboardInterrupt):
        peer.die()
    core.pump()

    assert (peer.gone, core.peers) == (False, {peer.id: peer})


def _nothing(event: Event) -> None:
    """Do nothing."""


@pytest.mark.parametrize(("gently", "call"), [(True, "finish"), (False, "cut")])
def test_a_peer_is_parted_with_gently_or_at_once(gently: bool, call: str) -> None:
    """Gently means that what was written still arrives."""
    core, peer = sender(), FakePeer()
    marry(core, peer)

    core.lose(peer, Reason.CLOSED_BY_US, "", gently=gently)

    assert (peer.calls, peer.gone, core.peers) == ([call], True, {})


@pytest.mark.parametrize("gently", [True, False])
def test_a_peer_is_parted_with_before_anybody_lets_go_of_it(gently: bool) -> None:
    """Another thread may take both turns and close the descriptor as soon as it can know: nothing could be said then."""
    core = sender()
    known: list[bool] = []

    class Leaving(FakePeer):
        def finish(self) -> None:
            known.append(self in core.lost_in or self in core.lost_out or self.id not in core.peers)

        cut = finish

    peer = Leaving()
    marry(core, peer)

    core.lose(peer, Reason.CLOSED_BY_US, "", gently=gently)

    assert known == [False]
    assert (list(core.lost_in), list(core.lost_out), core.peers) == ([peer], [peer], {})


def test_both_turns_are_told_of_a_lost_peer() -> None:
    """Each turn lets go of the descriptor in its own time."""
    core, peer = sender(), FakePeer()
    marry(core, peer)

    core.lose(peer, Reason.EOF, "")

    assert (list(core.lost_in), list(core.lost_out)) == ([peer], [peer])
    core.pump()
    assert (list(core.lost_in), list(core.lost_out)) == ([peer], [])


def test_a_pattern_may_refuse_a_peer() -> None:
    """A refused peer is no peer: it is not counted, dealt to or told of."""

    class Picky(Sender):
        def _attach(self, peer: Peer) -> Reason | None:
            return Reason.LIMIT_PIPES

    core, peer = Picky(Options()), FakePeer()

    refused = core.attach(peer)

    assert (refused, core.peers, core.dealing) == (Reason.LIMIT_PIPES, {}, False)


def test_a_refusal_below_a_mixin_keeps_the_peer_out_of_the_deal() -> None:
    """A mixin asks those below it first."""

    class Picky(SocketCore):
        def _attach(self, peer: Peer) -> Reason | None:
            return Reason.LIMIT_PIPES

    class Both(Sender, Picky):
        pass

    core = Both(Options())

    assert core.attach(FakePeer()) is Reason.LIMIT_PIPES
    assert not core.dealing


def test_stats_are_of_one_instant() -> None:
    """The counters are read under the short lock, and add up."""
    core, peer = sender(), FakePeer(room=20)
    core.replaceable = True
    marry(core, peer)
    queue(core, [b"first", b"second", b"third"])
    core.pump()

    with core.lock:
        reader = threading.Thread(target=core.stats, daemon=True)
        reader.start()
        reader.join(0.01)
        assert reader.is_alive()
    reader.join()
    stats = core.stats()

    assert (stats.accepted, stats.delivered, stats.queued, dict(stats.dropped)) == (3, 1, 2, {})
    assert (stats.bytes_delivered, stats.peers) == (5, 1)


def test_stats_of_a_moment_do_not_change_later() -> None:
    """The mapping of what was dropped is a copy."""
    core = sender()
    queue(core, [b"x"])
    before = core.stats()

    core.abandon()

    assert before.dropped == {}


def test_what_is_staged_counts_as_being_in_the_inbox() -> None:
    """Messages between a reader and the inbox are not invisible."""
    core = Receiver(Options())
    core.inbox.append(b"a")
    core.staged = iter([b"b", b"c"])

    assert core.stats().inbox == 3


@pytest.mark.parametrize(
    ("hwm", "most", "small"),
    [(1000, None, SMALL), (1000, 64 * 1024 * 1024, SMALL), (1000, 100_000, 100), (10, 5, 0)],
)
def test_small_is_what_the_byte_mark_has_room_for(hwm: int, most: int | None, small: int) -> None:
    """`send_hwm` messages that are counted as small never exceed `send_hwm_bytes`."""
    assert sender(send_hwm=hwm, send_hwm_bytes=most).small == small


def test_with_a_tiny_byte_mark_every_message_is_weighed() -> None:
    """A mark of less than a byte a message counts each body exactly, an empty one as nothing."""
    core = sender(send_hwm=10, send_hwm_bytes=5)

    queue(core, [b"", b"123"])

    assert (core.big, core.big_bytes) == (1, 3)
    assert (core.has_room(bytes(2)), core.has_room(bytes(3))) == (True, False)


def test_what_nobody_gets_of_the_received_is_counted_by_reason() -> None:
    """A pattern says how many and why; nothing is no reason."""
    core = Receiver(Options())
    core.discard("ttl_exceeded", 2)
    core.discard("ttl_exceeded", 1)
    core.discard("replaced", 0)

    assert core.stats().discarded == {"ttl_exceeded": 3}
