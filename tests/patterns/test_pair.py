"""Pair has one peer at a time: the first wins, until it leaves."""

from __future__ import annotations

from nnqpy.errors import Reason
from nnqpy.options import Options
from nnqpy.patterns.pair import PairCore
from nnqpy.proto import Proto
from tests.kit.cores import queue
from tests.kit.peers import FakePeer, frame, marry


def test_pair_speaks_to_pair_both_ways() -> None:
    """Each end sends and receives."""
    assert (PairCore.proto, PairCore.proto.peer) == (Proto.PAIR, Proto.PAIR)
    assert (PairCore.sends, PairCore.receives) == (True, True)


def test_a_second_peer_is_refused() -> None:
    """The first peer stays; the second hears why not."""
    core, first, second = PairCore(Options()), FakePeer(), FakePeer()
    marry(core, first)

    refused = core.attach(second)

    assert refused is Reason.LIMIT_PIPES
    assert core.peers == {first.id: first}


def test_a_refused_peer_gets_nothing() -> None:
    """All messages are for the first."""
    core, first, second = PairCore(Options()), FakePeer(), FakePeer()
    marry(core, first)
    core.attach(second)
    queue(core, [b"a", b"b"])

    core.pump()

    assert (first.written, second.pushes) == ([b"a", b"b"], [])


def test_the_place_is_free_when_the_peer_has_left() -> None:
    """The next peer may come as soon as the first is lost, and goes on with the queue in order."""
    core, first, second = PairCore(Options()), FakePeer(room=len(frame(b"a")) + 3), FakePeer()
    marry(core, first)
    queue(core, [b"a", b"b", b"c"])
    core.pump()

    first.die()
    marry(core, second)
    core.pump()

    assert (first.written, second.written) == ([b"a"], [b"b", b"c"])


def test_what_came_in_and_what_goes_out_do_not_mix() -> None:
    """The two directions have a queue each."""
    core, peer = PairCore(Options()), FakePeer()
    marry(core, peer)
    queue(core, [b"out"])

    core.inbox.extend(core.deliver(peer, [b"in"]))
    core.pump()

    assert (list(core.inbox), peer.written) == ([b"in"], [b"out"])
