"""The demo's tally: what it counts as arrived, lost, doubled and damaged."""

from __future__ import annotations

import pytest

from nnqpy.cli.job import HEAD, NOBODY, Report, Tally, filling, stamped

SIZE = 64
REST = filling(SIZE)


def job(number: int, *, sent: int = 0, worker: int = NOBODY) -> bytes:
    return HEAD.pack(number, sent, worker) + REST


@pytest.mark.parametrize("size", [32, 33, 128, 65536])
def test_a_job_has_the_size_that_was_asked_for(size: int) -> None:
    """The filling takes what the head leaves."""
    assert HEAD.size + len(filling(size)) == size


def test_a_stamp_changes_nothing_but_the_worker() -> None:
    """Number, clock and filling go through a worker as they are."""
    assert stamped(job(7, sent=99), 3) == job(7, sent=99, worker=3)


def test_every_job_counts_once_and_for_its_worker() -> None:
    """A second copy is told as doubled and is nobody's share."""
    tally = Tally(REST)

    tally.count([job(0, worker=1), job(1, worker=2), job(0, worker=2)], now=5)

    report = tally.report()
    assert (report.received, report.doubled, report.damaged) == (2, 1, 0)
    assert [report.share_of(worker) for worker in (1, 2, 3)] == [1, 1, 0]


@pytest.mark.parametrize(
    "message", [b"", job(0)[:-1], job(0) + b"x", job(0)[:-1] + b"\0"], ids=["empty", "cut", "long", "bad"]
)
def test_what_is_not_whole_is_not_received(message: bytes) -> None:
    """A job that was cut, joined with another or changed counts as damaged, so that it is missing from the received."""
    tally = Tally(REST)

    tally.count([message], now=5)

    assert (tally.received, tally.damaged) == (0, 1)


def test_jobs_may_arrive_in_any_order() -> None:
    """Workers overtake each other: a number far ahead is as good as the next one."""
    tally = Tally(REST)

    tally.count([job(1_000_000), job(0)], now=5)

    assert (tally.received, tally.doubled) == (2, 0)


def test_the_flood_ends_with_its_last_job_not_with_a_paced_one() -> None:
    """The rate is the flood's; a paced job gives an age instead."""
    tally = Tally(REST)

    tally.count([job(0)], now=1_000)
    tally.count([job(1, sent=2_000_000_000)], now=2_500_000_000)

    report = tally.report()
    assert (report.flooded_at, report.p50, report.p99) == (1_000, 0.5, 0.5)


def test_quantiles_are_values_that_occurred() -> None:
    """Nearest rank: of a hundred ages, p50 is the fiftieth and p99 the ninety-ninth."""
    tally = Tally(REST, ages=[float(age) for age in range(100, 0, -1)])

    assert (tally.report().p50, tally.report().p99) == (50.0, 99.0)


def test_a_report_comes_through_a_line() -> None:
    """What the sink writes is what the demo reads; an age that nobody measured stays None."""
    tally = Tally(REST)
    tally.count([job(0, worker=1)], now=5)

    line = tally.report().dumps()

    assert "\n" not in line
    assert Report.loads(line) == tally.report()
    assert tally.report().p50 is None
