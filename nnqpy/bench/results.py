"""Results: samples by cell and library, and what can be said of them: medians, spreads, ratios."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nnqpy.bench.cells import Cell, Metric

__all__ = ["Results", "Sample", "Series", "advantage"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One library's figures in one cell in one round.

    Args:
        values: figures by the metrics' keys; empty if it came to nothing.
        trouble: "", or why there are no figures ("hung", "failed"), or a remark ("hung at close").
        detail: what the worker wrote to standard error.
    """

    values: Mapping[str, float]
    trouble: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """One figure over the rounds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure that ratios are made of."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """Half the distance from least to most, as a part of the median; 0 for a single sample."""
        return (max(self.values) - min(self.values)) / 2 / abs(self.median) if self.median else 0.0


@dataclass(slots=True)
class Results:
    """Everything that a run measured.

    Args:
        cells: in the order of the report.
        libraries: names in the order of the columns.
        samples: by cell name and library name, one a round.
    """

    cells: Sequence[Cell]
    libraries: Sequence[str]
    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict[tuple[str, str], list[Sample]])

    def add(self, cell: str, library: str, sample: Sample) -> None:
        """Keep one more sample."""
        self.samples.setdefault((cell, library), []).append(sample)

    def of(self, cell: str, library: str) -> Sequence[Sample]:
        """The samples of one library in one cell, none if it took no part."""
        return self.samples.get((cell, library), ())

    def series(self, cell: str, library: str, key: str) -> Series | None:
        """One figure over the rounds; None if there is not one sample of it."""
        values = tuple(sample.values[key] for sample in self.of(cell, library) if key in sample.values)
        return Series(values) if values else None

    def value(self, cell: str, library: str, key: str) -> float | None:
        """The median of a figure; None if there is none."""
        series = self.series(cell, library, key)
        return series.median if series else None

    def lost(self, cell: str, library: str) -> int:
        """Messages that were sent and never came, over all rounds."""
        return int(sum(sample.values.get("lost", 0) for sample in self.of(cell, library)))

    def foreign_load(self) -> Sequence[float]:
        """The part of the processors that others used, sample by sample, ascending."""
        return sorted(
            one.values["foreign"] for all_ in self.samples.values() for one in all_ if "foreign" in one.values
        )

    def troubles(self, cell: str, library: str) -> Sequence[str]:
        """What went wrong, each kind once."""
        return sorted({sample.trouble for sample in self.of(cell, library) if sample.trouble})


def advantage(ours: float, theirs: float, metric: Metric) -> float | None:
    """How many times better `ours` is: above 1 is better, whichever way is good for this metric; None next to zero."""
    good, bad = (ours, theirs) if metric.more_is_better else (theirs, ours)
    return good / bad if bad > 0 and good > 0 else None
