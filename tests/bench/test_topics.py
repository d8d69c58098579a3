"""The flow that subscriptions are measured with."""

from __future__ import annotations

import pytest

from nnqpy.bench.topics import PREFIXES, WANTED, place, prefixes, restamped, run, run_length


@pytest.mark.parametrize("count", PREFIXES)
def test_a_fixed_share_is_wanted_and_every_prefix_equally_often(count: int) -> None:
    """Otherwise more prefixes would also mean more messages, or a few of them would do all the work."""
    wanted = dict.fromkeys(prefixes(count), 0)
    others = 0

    for body in run(count, 64):
        if body[:7] in wanted:
            wanted[body[:7]] += 1
        else:
            others += 1

    assert set(wanted.values()) == {run_length(count) * WANTED / count}
    assert sum(wanted.values()) + others == run_length(count)


@pytest.mark.parametrize("count", PREFIXES)
def test_every_message_tells_its_place_in_the_flow(count: int) -> None:
    """Places go on from run to run."""
    bodies = run(count, 64)
    length = run_length(count)

    second = restamped(b"".join(bodies), 1)
    later = [second[at : at + 64] for at in range(0, len(second), 64)]

    assert [place(body, count) for body in bodies + later] == list(range(2 * length))
    assert {len(body) for body in bodies} == {64}
