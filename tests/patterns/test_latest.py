"""LatestSubCore: of what comes the newest is kept, and every message is taken, kept or counted: exactly once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nnqpy.options import Options
from nnqpy.patterns.pubsub import LatestSubCore
from tests.kit.peers import FakePeer


@given(
    most=st.integers(1, 4),
    steps=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(0, 3))),
)
def test_every_message_is_taken_or_kept_or_counted(most: int, steps: list[tuple[int, int, int]]) -> None:
    """However many come at a time, and though a reader takes some between the count and the delivery."""
    core = LatestSubCore(Options(recv_hwm=most))
    core.topics.add(b"")
    peer = FakePeer()
    came = 0
    taken: list[bytes] = []
    for number, early, late in steps:
        bodies = [b"%d" % n for n in range(came, came + number)]
        came += number
        kept = core.deliver(peer, bodies)
        taken += [core.inbox.popleft() for _ in range(min(early, len(core.inbox)))]
        core.inbox.extend(kept)
        assert len(core.inbox) <= most
        assert list(core.inbox)[-1:] == bodies[-1:] or not bodies
        taken += [core.inbox.popleft() for _ in range(min(late, len(core.inbox)))]

    got = [*map(int, taken), *map(int, core.inbox)]
    assert got == sorted(set(got))
    assert len(got) + core.discarded["replaced"] == came
