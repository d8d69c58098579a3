"""Runs with figures that were made up, for the tests of report, plot and targets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nnqpy.bench.cells import FULL, catalogue
from nnqpy.bench.report import Circumstances
from nnqpy.bench.results import Results, Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

Figures = dict[str, dict[str, dict[str, float]]]


def made_results(figures: Mapping[str, Mapping[str, Mapping[str, float]]], only: tuple[str, ...] = ()) -> Results:
    """One round with these figures: cell name, library, metric key."""
    names = list(dict.fromkeys(name for cell in figures.values() for name in cell))
    results = Results(catalogue(FULL, only), names)
    for cell, libraries in figures.items():
        for library, values in libraries.items():
            results.add(cell, library, Sample(values))
    return results


def made_circumstances() -> Circumstances:
    """As a run on some machine might have."""
    return Circumstances(
        command="nnq bench --quick",
        date=datetime(2026, 1, 2, 3, 4, tzinfo=UTC).isoformat(),
        seconds=0.5,
        rounds=3,
        machine={"python": "CPython 3.11.7", "processors": "2"},
        versions={"nnqpy": "1.0", "raw": ""},
        missing=["pyomq"],
    )
