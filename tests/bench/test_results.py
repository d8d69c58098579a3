"""Medians, spreads and ratios: what the report says of the samples."""

from __future__ import annotations

import pytest

from nnqpy.bench.cells import Metric
from nnqpy.bench.results import Results, Sample, Series, advantage

RATE = Metric("rate", "", "msg/s", more_is_better=True)
DELAY = Metric("p50", "p50", "us")


def test_the_figure_of_a_series_is_its_median() -> None:
    """One slow round does not move the figure."""
    assert Series((100.0, 1.0, 101.0)).median == 100.0


def test_the_spread_is_half_the_distance_from_least_to_most() -> None:
    """90, 100 and 110 are 100 ± 10 %; one sample has no spread."""
    assert Series((90.0, 100.0, 110.0)).spread == pytest.approx(0.1)
    assert Series((90.0,)).spread == 0.0
    assert Series((0.0, 0.0)).spread == 0.0


def test_an_advantage_above_one_is_better_whichever_way_is_good() -> None:
    """Twice the rate and half the delay are both 2.0."""
    assert advantage(200.0, 100.0, RATE) == 2.0
    assert advantage(5.0, 10.0, DELAY) == 2.0
    assert advantage(50.0, 100.0, RATE) == 0.5


def test_there_is_no_advantage_over_nothing() -> None:
    """A ratio with zero is no figure, and no exception."""
    assert advantage(200.0, 0.0, RATE) is None
    assert advantage(0.0, 10.0, DELAY) is None


def test_samples_that_came_to_nothing_leave_the_figures_alone() -> None:
    """A hung round is told as trouble; the median is of the rounds that ended."""
    results = Results([], ["nnqpy"])
    for sample in (Sample({"rate": 10.0}), Sample({}, "hung"), Sample({"rate": 30.0}), Sample({}, "hung")):
        results.add("cell", "nnqpy", sample)

    assert results.value("cell", "nnqpy", "rate") == 20.0
    assert results.troubles("cell", "nnqpy") == ["hung"]


def test_who_took_no_part_has_no_figure() -> None:
    """No samples: no series, nothing lost, no trouble."""
    results = Results([], ["nnqpy"])

    assert results.series("cell", "nnqpy", "rate") is None
    assert results.value("cell", "nnqpy", "rate") is None
    assert results.lost("cell", "nnqpy") == 0
    assert results.troubles("cell", "nnqpy") == []


def test_losses_add_up_over_the_rounds() -> None:
    """Two rounds that lost 3 and 4 lost 7."""
    results = Results([], ["pynng"])
    results.add("cell", "pynng", Sample({"lost": 3.0}))
    results.add("cell", "pynng", Sample({"lost": 4.0}))

    assert results.lost("cell", "pynng") == 7
