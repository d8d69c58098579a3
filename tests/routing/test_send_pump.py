"""SendPump: one queue, dealt evenly to the peers that have room; nothing is lost by slow, dead or new ones."""

from __future__ import annotations

from itertools import pairwise

import pytest

from nnqpy.errors import Reason
from nnqpy.routing.core import SMALL
from nnqpy.routing.send_pump import BATCH_BYTES, BATCH_MESSAGES, LEAD
from tests.kit.cores import Ledger, queue, sender
from tests.kit.locks import hooked
from tests.kit.peers import HEADER, FakePeer, frame, marry


def numbered(number: int) -> list[bytes]:
    return [b"%d" % n for n in range(number)]


# --- shares ------------------------------------------------------------------------------------------------


def test_small_loads_are_shared_evenly() -> None:
    """Forty jobs on four idle workers are ten each, not forty on the first."""
    core, workers = sender(), [FakePeer() for _ in range(4)]
    marry(core, *workers)
    queue(core, numbered(40))

    core.pump()

    assert [len(worker.written) for worker in workers] == [10, 10, 10, 10]


def test_an_even_share_is_one_write_a_peer() -> None:
    """What four workers get of forty jobs goes to each in one system call."""
    core, workers = sender(), [FakePeer() for _ in range(4)]
    marry(core, *workers)
    queue(core, numbered(40))

    core.pump()

    assert [worker.pushes for worker in workers] == [[10], [10], [10], [10]]


@pytest.mark.parametrize("jobs", [1, 2, 3, 4, 5, 6, 7, 39, 41, 43])
def test_what_does_not_divide_differs_by_one(jobs: int) -> None:
    """No worker gets two more than another."""
    core, workers = sender(), [FakePeer() for _ in range(4)]
    marry(core, *workers)
    queue(core, numbered(jobs))

    core.pump()

    shares = [len(worker.written) for worker in workers]
    assert sum(shares) == jobs
    assert max(shares) - min(shares) <= 1


def test_messages_that_come_one_by_one_go_round() -> None:
    """Who had none yet is served before anybody has a second: it is the same as for a burst."""
    core, workers = sender(), [FakePeer() for _ in range(3)]
    marry(core, *workers)

    for body in numbered(7):
        queue(core, [body])
        core.pump()

    assert [worker.written for worker in workers] == [[b"0", b"3", b"6"], [b"1", b"4"], [b"2", b"5"]]


def test_a_single_peer_gets_everything_in_order() -> None:
    """With one peer the queue is a FIFO."""
    core, peer = sender(), FakePeer()
    marry(core, peer)
    bodies = numbered(1000)
    queue(core, bodies)

    core.pump()

    assert peer.written == bodies


def test_nothing_happens_without_a_peer() -> None:
    """Messages wait in the outbox for the first peer."""
    core = sender()
    queue(core, numbered(3))

    core.pump()

    assert (list(core.outbox), core.dealing, core.drained) == ([b"0", b"1", b"2"], False, False)


def test_a_peer_that_comes_takes_what_waited() -> None:
    """A late first peer gets the queue from its head."""
    core, peer = sender(), FakePeer()
    queue(core, numbered(3))
    core.pump()

    marry(core, peer)
    core.pump()

    assert (peer.written, core.dealing, core.drained) == ([b"0", b"1", b"2"], True, True)


def spread(shares: list[int]) -> int:
    return max(shares) - min(shares)


@pytest.mark.parametrize(("number", "at_once"), [(4, 300), (10, 255), (50, 100), (100, 255), (100, 7)])
def test_nobody_is_far_ahead_in_a_long_burst(number: int, at_once: int) -> None:
    """At any moment nobody is further ahead than an even share of what waited, or 1/LEAD of what each had."""
    core, workers = sender(), [FakePeer() for _ in range(number)]
    marry(core, *workers)
    for worker in workers:
        worker.after_write = lambda: checks.append(spread([one.record_total() for one in watched]))
    checks: list[int] = []
    watched: list[Counted] = [Counted(worker) for worker in workers]

    total = 0
    while total < 60 * number:
        queue(core, [b"."] * at_once)
        total += at_once
        core.pump()
        each = total / number
        assert max(checks) <= max(-(-at_once // number), each / LEAD) + 1
        checks.clear()


class Counted:
    """How many messages a peer has, without decoding what it got each time."""

    def __init__(self, peer: FakePeer) -> None:
        self._peer = peer

    def record_total(self) -> int:
        return len(self._peer.stream) // (HEADER + 1)


def test_the_cost_of_a_message_stays_small_with_a_thousand_peers() -> None:
    """In a long burst a thousand peers cost well under a system call a message, though 255 wait at a time."""
    core, workers = sender(), [FakePeer() for _ in range(1000)]
    marry(core, *workers)

    for _ in range(320):
        queue(core, [b"."] * 255)
        core.pump()

    pushes = sum(len(worker.pushes) for worker in workers)
    assert sum(worker.sent for worker in workers) == 320 * 255
    assert pushes < 320 * 255 / 4


def test_a_pause_begins_a_new_burst() -> None:
    """After a quiet time small loads are shared evenly again, whatever was sent before."""
    core, workers = sender(), [FakePeer() for _ in range(4)]
    marry(core, *workers)
    for _ in range(100):
        queue(core, numbered(255))
        core.pump()
    before = [worker.sent for worker in workers]

    core.new_burst()
    queue(core, numbered(8))
    core.pump()

    assert [worker.sent - had for worker, had in zip(workers, before, strict=True)] == [2, 2, 2, 2]


# --- batches -----------------------------------------------------------------------------------------------


def test_a_batch_has_at_most_512_messages() -> None:
    """However much waits, one write offers 512 messages."""
    core, peer = sender(), FakePeer()
    marry(core, peer)
    queue(core, numbered(1000))

    core.pump()

    assert peer.pushes == [512, 488]
    assert BATCH_MESSAGES == 512


def test_no_peer_takes_two_batches_while_another_waits() -> None:
    """Two peers with room take their batches in turn."""
    core, peers = sender(), [FakePeer(), FakePeer()]
    order: list[FakePeer] = []
    for peer in peers:
        peer.before_write = lambda peer=peer: order.append(peer)  # type: ignore[misc]  # a lambda's default has no type
    marry(core, *peers)
    queue(core, numbered(5000))

    core.pump()

    assert all(one is not other for one, other in pairwise(order))


@pytest.mark.parametrize("size", [2000, 10_000, 100_000, BATCH_BYTES - 1, BATCH_BYTES])
def test_a_batch_ends_with_the_message_that_crosses_the_cap(size: int) -> None:
    """Once as many bytes as a batch may have are in it, no further message is taken."""
    core, peer = sender(), FakePeer()
    marry(core, peer)
    queue(core, [b"." * size] * 700)

    core.pump()

    assert peer.sent == 700
    assert all((number - 1) * size < BATCH_BYTES for number in peer.pushes)
    assert max(peer.pushes) == min(BATCH_MESSAGES, -(-BATCH_BYTES // size))


def test_a_large_message_goes_alone() -> None:
    """A message of any size is sent; it does not take the next along."""
    core, peer = sender(), FakePeer()
    marry(core, peer)
    queue(core, [b"x" * (4 * BATCH_BYTES), b"y", b"z"])

    core.pump()

    assert [len(body) for body in peer.written] == [4 * BATCH_BYTES, 1, 1]
    assert peer.pushes[0] == 1


def test_large_messages_behind_small_ones_keep_the_order() -> None:
    """What exceeds the cap goes back to the head of the queue, in order."""
    core, peer = sender(), FakePeer()
    marry(core, peer)
    queue(core, numbered(300))
    core.pump()
    bodies = [b"%d" % n + b"." * (BATCH_BYTES // 4) for n in range(20)]
    queue(core, bodies)

    core.pump()

    assert peer.written[300:] == bodies
    assert peer.pushes[1] == 4  # of all that were taken, as the ones before were small


# --- slow peers --------------------------------------------------------------------------------------------


def test_a_full_peer_never_stops_the_others() -> None:
    """Two peers take everything while the third takes nothing, and holds nothing."""
    core, full, others = sender(), FakePeer(room=0), [FakePeer(), FakePeer()]
    marry(core, full, *others)
    queue(core, numbered(900))

    core.pump()

    assert (full.written, full.torn, core.drained) == ([], b"", True)
    assert sum(len(peer.written) for peer in others) == 900


def test_a_slow_peer_takes_less() -> None:
    """What a peer's buffer refuses is there for those with room; only the frame it began stays with it."""
    core, slow, fast = sender(), FakePeer(room=10 * len(frame(b"123")) + 4), FakePeer()
    marry(core, slow, fast)
    bodies = [b"%03d" % n for n in range(600)]
    queue(core, bodies)

    core.pump()

    assert slow.written == bodies[:10]
    assert slow.begun == bodies[10]
    assert sorted([*slow.written, bodies[10], *fast.written]) == bodies
    assert fast.written == sorted(fast.written)


def test_the_rest_of_a_batch_goes_back_in_order() -> None:
    """With one peer a partial write changes nothing of the order."""
    core, peer = sender(), FakePeer(room=3 * len(frame(b"00")) + 9)
    marry(core, peer)
    bodies = [b"%02d" % n for n in range(50)]
    queue(core, bodies)

    core.pump()

    assert (peer.written, peer.begun, list(core.outbox)) == (bodies[:3], bodies[3], bodies[4:])
    assert (core.queued, core.drained, core.dealing) == (47, False, False)


def test_a_begun_frame_is_ended_before_the_next() -> None:
    """When there is room again, the peer gets the rest of its frame, then the queue."""
    core, peer = sender(), FakePeer(room=5)
    marry(core, peer)
    bodies = numbered(5)
    queue(core, bodies)
    core.pump()

    core.pump()
    assert (peer.pushes, peer.torn) == ([5], frame(b"0")[:5])
    peer.give_room()
    assert (peer.begun, core.delivered) == (None, 1)
    core.pump()

    assert (peer.written, peer.sent, peer.bytes_sent) == (bodies, 5, 5)
    assert core.drained


def test_room_for_a_few_bytes_only_goes_on_with_the_frame() -> None:
    """A peer whose begun frame is not through takes nothing else."""
    core, peer = sender(), FakePeer(room=5)
    marry(core, peer)
    queue(core, numbered(5))
    core.pump()

    peer.give_room(2)
    core.pump()

    assert (peer.pushes, peer.torn, core.delivered) == ([5], frame(b"0")[:7], 0)


def test_a_whole_batch_that_fills_the_buffer_exactly_leaves_nothing_begun() -> None:
    """No frame is begun when the room ends between two."""
    core, peer = sender(), FakePeer(room=2 * len(frame(b"0")))
    marry(core, peer)
    queue(core, numbered(3))

    core.pump()

    assert (peer.written, peer.begun, list(core.outbox)) == ([b"0", b"1"], None, [b"2"])


def test_room_told_of_twice_is_one_place_in_the_round() -> None:
    """A peer that is ready already is not dealt double when it is found writable again."""
    core, peers = sender(), [FakePeer(), FakePeer()]
    marry(core, *peers)

    peers[0].give_room()
    peers[0].give_room()
    queue(core, numbered(8))
    core.pump()

    assert [peer.sent for peer in peers] == [4, 4]


def test_drained_means_nothing_queued_in_hand_or_begun() -> None:
    """An empty queue alone is not the end: a batch that is being written is not sent yet."""
    core, peer = sender(), FakePeer()
    seen: list[bool] = []
    peer.before_write = peer.after_write = lambda: seen.append(core.drained)
    marry(core, peer)
    seen.append(core.drained)

    queue(core, numbered(3))
    seen.append(core.drained)
    core.pump()
    seen.append(core.drained)

    assert seen == [True, False, False, False, True]


# --- peers that die ----------------------------------------------------------------------------------------


def test_a_frame_cut_by_death_goes_whole_to_another_peer() -> None:
    """The one message that a dead peer had in part is sent again, before what was queued behind it."""
    core, dead, heir = sender(), FakePeer(room=12), FakePeer()
    marry(core, dead)
    queue(core, [b"first", b"second", b"third"])
    core.pump()
    assert dead.begun == b"first"

    marry(core, heir)
    dead.die()
    core.pump()

    assert heir.written == [b"first", b"second", b"third"]
    assert (core.stats().dropped, core.drained) == ({}, True)
    assert dead.calls == ["cut", "release_out"]


def test_a_frame_cut_by_death_waits_while_a_peer_may_come() -> None:
    """As long as an endpoint is open, the message goes back to the head of the queue."""
    core, dead, heir = sender(), FakePeer(room=12), FakePeer()
    core.replaceable = True
    marry(core, dead)
    queue(core, [b"first", b"second"])
    core.pump()

    dead.die()
    assert core.stats().queued == 2
    core.pump()
    assert list(core.outbox) == [b"first", b"second"]
    marry(core, heir)
    core.pump()

    assert heir.written == [b"first", b"second"]


def test_a_frame_cut_by_death_is_counted_when_nobody_can_come() -> None:
    """Without any peer or endpoint the message is dropped, and the counters say so."""
    core, dead = sender(), FakePeer(room=12)
    marry(core, dead)
    queue(core, [b"first", b"second"])
    core.pump()

    dead.die()
    core.pump()

    stats = core.stats()
    assert (dict(stats.dropped), stats.queued, stats.accepted) == ({"peer_lost_mid_frame": 1}, 1, 2)


def test_a_peer_that_dies_between_two_frames_takes_nothing_along() -> None:
    """What it had whole is delivered; the rest is for others."""
    core, dead, heir = sender(), FakePeer(room=2 * len(frame(b"0"))), FakePeer()
    marry(core, dead)
    queue(core, numbered(4))
    core.pump()

    dead.die()
    marry(core, heir)
    core.pump()

    assert (dead.written, heir.written) == ([b"0", b"1"], [b"2", b"3"])


@pytest.mark.parametrize("moment", ["before_write", "after_write"])
@pytest.mark.parametrize("room", [None, 0, 4, 9, 12])
def test_a_peer_may_die_while_it_is_written(moment: str, room: int | None) -> None:
    """A death found by the write itself, or by a reader at that moment, loses and doubles nothing."""
    core, dead, heir = sender(), FakePeer(room), FakePeer()
    ledger = Ledger(core)
    ledger.peers = [dead, heir]
    marry(core, dead)
    setattr(dead, moment, dead.die)
    core.replaceable = True
    ledger.queue(4, 4, 4)

    core.pump()
    ledger.check_count()
    marry(core, heir)
    core.pump()

    ledger.check()
    assert core.drained
    assert dead.written + heir.written == ledger.accepted


def test_a_dead_peer_is_dealt_nothing() -> None:
    """A peer given up since the last pump is passed over."""
    core, dead, alive = sender(), FakePeer(), FakePeer()
    marry(core, dead, alive)

    dead.die()
    queue(core, numbered(4))
    core.pump()
    core.writable(dead)

    assert (dead.pushes, alive.written) == ([], numbered(4))


def test_two_dead_peers_are_both_let_go() -> None:
    """Each dead peer is released once, and each frame that was cut comes back."""
    core, peers, heir = sender(), [FakePeer(room=3), FakePeer(room=3)], FakePeer()
    marry(core, *peers)
    queue(core, [b"one", b"two"])
    core.pump()
    assert sorted(filter(None, (peer.begun for peer in peers))) == [b"one", b"two"]

    for peer in peers:
        peer.die()
    marry(core, heir)
    core.pump()

    assert sorted(heir.written) == [b"one", b"two"]
    assert [peer.calls for peer in peers] == [["cut", "release_out"]] * 2


# --- closing -----------------------------------------------------------------------------------------------


def test_abandoning_gives_up_and_counts_all_that_is_queued() -> None:
    """At the end of a close, what nobody took is dropped by name; the frame that was cut has its own."""
    core, peer = sender(), FakePeer(room=12)
    marry(core, peer)
    queue(core, [b"first", b"second", b"third"])
    core.pump()
    peer.die(Reason.CLOSED_BY_US)

    number = core.abandon()

    assert number == 2
    assert dict(core.stats().dropped) == {"peer_lost_mid_frame": 1, "closed": 2}
    assert (core.stats().accepted, core.drained) == (3, True)


def test_abandoning_an_empty_socket_counts_nothing() -> None:
    """No message, no entry in the counters."""
    core = sender()

    assert core.abandon() == 0
    assert core.stats().dropped == {}


def test_closing_works_on_a_snapshot_and_never_cancels_itself() -> None:
    """A peer may be given up from inside its own write, while all of them are being parted with."""
    core, peers = sender(), [FakePeer() for _ in range(5)]
    marry(core, *peers)
    queue(core, numbered(5))

    def part() -> None:
        for peer in tuple(core.peers.values()):
            core.lose(peer, Reason.CLOSED_BY_US, "closed", gently=True)

    peers[0].before_write = part
    core.pump()

    assert (core.peers, core.stats().queued) == ({}, 5)
    assert [peer.calls for peer in peers] == [["finish"]] * 5
    core.pump()
    assert [peer.calls for peer in peers] == [["finish", "release_out"]] * 5


def test_losing_a_peer_twice_is_once() -> None:
    """Whoever finds the death second does nothing."""
    core, peer = sender(), FakePeer()
    marry(core, peer)

    assert core.lose(peer, Reason.EOF, "")
    assert not core.lose(peer, Reason.RESET, "")
    core.pump()

    assert peer.calls == ["cut", "release_out"]


# --- marks -------------------------------------------------------------------------------------------------


def test_the_message_mark_counts_messages() -> None:
    """At `send_hwm` there is no room for another."""
    core = sender(send_hwm=2)

    assert core.has_room(bytes(1))
    queue(core, [b"a"])
    assert (core.has_room(bytes(1)), core.fits()) == (True, True)
    queue(core, [b"b"])
    assert (core.has_room(bytes(1)), core.fits()) == (False, True)
    queue(core, [b"c"])
    assert not core.fits()


def test_one_message_of_any_size_always_has_room() -> None:
    """An empty queue takes a message beyond `send_hwm_bytes`, and then no more."""
    core = sender(send_hwm_bytes=100)

    assert core.has_room(bytes(1000))
    queue(core, [b"x" * 1000])

    assert core.fits()
    assert not core.has_room(bytes(1))


def test_the_byte_mark_counts_bodies() -> None:
    """Big bodies count as they are, small ones as `small` bytes each: never less than they have."""
    core = sender(send_hwm=10, send_hwm_bytes=100_000)
    assert core.small == SMALL

    queue(core, [b"x" * 50_000, b"y"])
    assert core.has_room(bytes(100_000 - 50_000 - SMALL))
    assert not core.has_room(bytes(100_000 - 50_000 - SMALL + 1))

    queue(core, [b"z" * (100_000 - 50_000 - SMALL)])
    assert core.fits()
    queue(core, [b"."])
    assert not core.fits()


def test_small_bodies_can_fill_the_queue_whatever_the_byte_mark() -> None:
    """What is small is chosen so that `send_hwm` small messages fit in `send_hwm_bytes`."""
    core = sender(send_hwm=1000, send_hwm_bytes=50_000)
    assert core.small == 50

    queue(core, [b"." * 50] * 999)

    assert core.has_room(bytes(50))
    assert not core.has_room(bytes(51))


def test_without_a_byte_mark_only_messages_count() -> None:
    """`send_hwm_bytes=None` is no limit."""
    core = sender(send_hwm=3, send_hwm_bytes=None)

    queue(core, [b"x" * 10_000_000] * 2)

    assert core.has_room(bytes(10_000_000))
    assert core.fits()


def test_the_byte_mark_follows_what_leaves_and_what_comes_back() -> None:
    """A batch leaves the count, what a peer refuses of it comes back to it."""
    core, peer = sender(), FakePeer(room=2 * len(frame(b"x" * 5000)) + 100)
    ledger = Ledger(core)
    ledger.peers = [peer]
    marry(core, peer)
    ledger.queue(*[5000] * 10, *[100] * 10)

    core.pump()

    assert (peer.sent, len(core.outbox), core.big) == (2, 17, 7)
    ledger.check()


def test_the_byte_mark_follows_what_exceeds_the_cap() -> None:
    """What was trimmed off a batch counts again."""
    core, peer = sender(), FakePeer(room=3 * len(frame(b"x" * 100_000)))
    ledger = Ledger(core)
    ledger.peers = [peer]
    marry(core, peer)
    ledger.queue(*[100_000] * 10)

    core.pump()

    assert (peer.sent, core.big, core.big_bytes) == (3, 7, 700_000)
    ledger.check()


def test_the_byte_mark_follows_a_frame_cut_by_death() -> None:
    """A large message that comes back from a dead peer counts again."""
    core, peer = sender(), FakePeer(room=100)
    core.replaceable = True
    ledger = Ledger(core)
    ledger.peers = [peer]
    marry(core, peer)
    ledger.queue(100_000, 4)
    core.pump()
    assert core.big == 0

    peer.die()
    core.pump()

    assert (core.big, core.big_bytes) == (1, 100_000)
    ledger.check()


def test_an_empty_queue_has_an_empty_count() -> None:
    """Whatever was counted wrong before, an empty queue counts nothing."""
    core = sender()
    core.weigh(10_000)

    core.pump()

    assert (core.big, core.big_bytes) == (0, 0)


def test_the_count_stays_when_a_message_comes_at_the_last_moment() -> None:
    """A message queued just before the empty queue's count is cleared is counted."""
    core = sender()
    core.weigh(10_000)
    lock = hooked(core)
    late = b"x" * 10_000
    lock.before.append(lambda: core.outbox.append(late))

    core.pump()

    assert list(core.outbox) == [late]
    assert (core.big, core.big_bytes) == (1, 10_000)


# --- withdrawing -------------------------------------------------------------------------------------------


def test_a_message_is_withdrawn_by_identity() -> None:
    """Of equal messages the very one that was appended is taken out."""
    core = sender()
    mine, equal = bytes(bytearray(b"same")), bytes(bytearray(b"same"))
    queue(core, [mine, b"other", equal])

    assert core.withdraw(mine)

    assert list(core.outbox) == [b"other", b"same"]
    assert core.outbox[1] is equal


def test_a_message_under_way_is_not_withdrawn() -> None:
    """What is no longer queued cannot be taken out."""
    core = sender()
    queue(core, [b"other"])

    assert not core.withdraw(b"gone")


@pytest.mark.parametrize("number", [1, 3])
def test_a_message_may_be_withdrawn_while_a_batch_is_taken(number: int) -> None:
    """A sender over the mark takes its message out just before the writer takes the batch that has it."""
    core, peer = sender(), FakePeer()
    marry(core, peer)
    bodies = numbered(number)
    queue(core, bodies)
    lock = hooked(core)
    lock.before.append(lambda: core.withdraw(bodies[-1]))

    core.pump()

    assert peer.written == bodies[:-1]
    assert core.drained


def test_what_a_peer_is_just_offered_is_in_hand() -> None:
    """Until it is known whether it took it: neither in the queue nor anywhere else to be taken back from."""
    core, peer = sender(), FakePeer(room=1)
    marry(core, peer)
    bodies = [bytes([n]) * 10 for n in range(2)]
    seen: list[list[bool]] = []
    peer.before_write = lambda: seen.append([core.in_hand(body) for body in bodies])
    queue(core, bodies)

    core.pump()

    assert seen == [[True, True]]
    assert [core.in_hand(body) for body in bodies] == [False, False]
    assert not core.in_hand(bytes([0]) * 10), "one that is like it is another one"
