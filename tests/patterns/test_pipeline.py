"""Push deals, Pull takes; both have as many peers as come."""

from __future__ import annotations

from nnqpy.options import Options
from nnqpy.patterns.pipeline import PullCore, PushCore
from nnqpy.proto import Proto
from tests.kit.cores import queue
from tests.kit.peers import FakePeer, marry


def test_push_speaks_to_pull() -> None:
    """The numbers that the greeting carries."""
    assert (PushCore.proto, PullCore.proto) == (Proto.PUSH, Proto.PULL)
    assert (PushCore.proto.peer, PullCore.proto.peer) == (Proto.PULL, Proto.PUSH)


def test_push_sends_and_pull_receives() -> None:
    """Each has one direction; what a Pull sends to a Push is stray."""
    assert (PushCore.sends, PushCore.receives) == (True, False)
    assert (PullCore.sends, PullCore.receives) == (False, True)


def test_push_deals_to_all_its_peers() -> None:
    """Work goes to every Pull, in even parts."""
    core, workers = PushCore(Options()), [FakePeer(), FakePeer()]
    marry(core, *workers)
    queue(core, [b"a", b"b"])

    core.pump()

    assert [worker.written for worker in workers] == [[b"a"], [b"b"]]


def test_pull_takes_from_all_its_peers() -> None:
    """Several Push sockets fill one inbox."""
    core, sources = PullCore(Options()), [FakePeer(), FakePeer()]

    marry(core, *sources)

    assert [list(core.deliver(source, [b"x"])) for source in sources] == [[b"x"], [b"x"]]
