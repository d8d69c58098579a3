"""Messages that come when a close is over, or leave when a batch is being taken."""

from __future__ import annotations

from tests.kit.cores import sender
from tests.kit.peers import FakePeer, marry


def test_a_message_that_came_too_late_is_taken_back() -> None:
    """A close gave up what was queued; a sender that had only just appended takes its own back, once."""
    core = sender()
    mine, theirs = b"mine", b"theirs"
    core.outbox.extend([theirs, mine])
    core.abandon()
    assert core.stats().dropped == {"closed": 2}

    with core.lock:
        assert core.reclaim(mine)
        assert not core.reclaim(mine)

    assert core.stats().dropped == {"closed": 1}
    assert core.remains == [theirs]


def test_a_batch_that_was_taken_back_meanwhile_is_no_batch() -> None:
    """The only message of a batch is withdrawn just before it is taken: nothing is pushed, and the next one goes."""
    core, peer = sender(), FakePeer()
    marry(core, peer)
    core._give(peer, 1)
    assert peer.pushes == []

    core.outbox.append(b"next")
    core.pump()
    assert peer.written == [b"next"]
