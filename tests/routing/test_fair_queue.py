"""FairQueue: one bounded inbox for all peers."""

from __future__ import annotations

from nnqpy.options import Options
from tests.kit.cores import Receiver
from tests.kit.peers import FakePeer, marry


def test_it_receives_and_does_not_send() -> None:
    """The pattern reads its peers, and has no queue to drain."""
    core = Receiver(Options())

    assert (core.receives, core.sends, core.drained) == (True, False, True)


def test_every_peer_is_taken() -> None:
    """There is no limit to how many peers a queue is filled from."""
    core, peers = Receiver(Options()), [FakePeer() for _ in range(100)]

    marry(core, *peers)

    assert len(core.peers) == 100


def test_messages_go_to_the_inbox_as_they_came() -> None:
    """Nothing is filtered, stripped or reordered."""
    core, peer, bodies = Receiver(Options()), FakePeer(), [b"a", b"", b"b"]

    assert list(core.deliver(peer, bodies)) == bodies
