"""Plot: the run as points, one panel a group, where matplotlib is installed."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from math import nan
from typing import TYPE_CHECKING, Protocol

from nnqpy.bench.cells import GROUPS, Cell, Metric

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nnqpy.bench.results import Results

__all__ = ["can_plot", "plot"]

_AXES = {"msg/s": "messages/s", "us": "µs", "B": "bytes"}


def can_plot() -> bool:
    """Whether matplotlib is there."""
    return find_spec("matplotlib") is not None


def plot(results: Results, path: Path) -> None:
    """Draw the main figures of every group into `path`, in the format that its ending names.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: matplotlib cannot write this ending.
    """
    panels = _panels(results)
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    deepest = max(len(rows) for _, _, rows in panels)
    figure: _Figure = import_module("matplotlib.figure").Figure(
        figsize=(8 * columns, (1 + 0.35 * deepest) * lines), layout="constrained"
    )
    for n, (title, unit, rows) in enumerate(panels, 1):
        axes = figure.add_subplot(lines, columns, n)
        _draw(axes, results, rows)
        # Two libraries may be a hundred times apart; points, because the length of a bar means nothing on this scale.
        axes.set_xscale("log")
        axes.set_xlabel(_AXES[unit])
        axes.set_title(title, fontsize=10)
        axes.tick_params(labelsize=8)
        axes.tick_params(which="minor", labelsize=6)
        axes.grid(visible=True, axis="x", alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    figure.savefig(path)


def _draw(axes: _Axes, results: Results, rows: Sequence[_Row]) -> None:
    """One line a row, one colour a library, the whisker from least to most; whoever has no figure has no point."""
    step = 0.6 / len(results.libraries)
    for place, library in enumerate(results.libraries):
        found = [results.series(cell.name, library, metric.key) for _, cell, metric in rows]
        axes.errorbar(
            [nan if one is None else one.median for one in found],
            [row - 0.3 + (place + 0.5) * step for row in range(len(rows))],
            xerr=[
                [0.0 if one is None else one.median - min(one.values) for one in found],
                [0.0 if one is None else max(one.values) - one.median for one in found],
            ],
            fmt="o",
            markersize=4,
            label=library,
            color=f"C{place}",
        )
    axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)  # the first row on top


_Row = tuple[str, Cell, Metric]


def _panels(results: Results) -> list[tuple[str, str, list[_Row]]]:
    """Title, unit and rows: one panel a group and unit; the processor time of flows stays in the table."""
    panels: dict[tuple[str, str], list[_Row]] = {}
    for cell in results.cells:
        for metric in cell.metrics:
            if metric.unit in _AXES and (metric.key != "cpu" or len(cell.metrics) == 1):
                label = ", ".join(filter(None, (cell.label, metric.label)))
                panels.setdefault((cell.group, metric.unit), []).append((label, cell, metric))
    return [(f"{group}: {GROUPS[group]}", unit, bars) for (group, unit), bars in panels.items()]


class _Axes(Protocol):
    """What is used of matplotlib's axes, whose own hints leave keyword arguments open."""

    def errorbar(
        self,
        x: Sequence[float],
        y: Sequence[float],
        *,
        xerr: Sequence[Sequence[float]],
        fmt: str,
        markersize: int,
        label: str,
        color: str,
    ) -> object: ...
    def set_yticks(self, ticks: Sequence[float], labels: Sequence[str]) -> object: ...
    def set_ylim(self, bottom: float, top: float) -> object: ...
    def set_xscale(self, value: str) -> object: ...
    def set_xlabel(self, label: str) -> object: ...
    def grid(self, *, visible: bool, axis: str, alpha: float) -> object: ...
    def set_title(self, label: str, *, fontsize: int) -> object: ...
    def tick_params(self, *, labelsize: int, which: str = "major") -> object: ...
    def get_legend_handles_labels(self) -> tuple[Sequence[object], Sequence[str]]: ...


class _Figure(Protocol):
    @property
    def axes(self) -> Sequence[_Axes]: ...
    def add_subplot(self, rows: int, columns: int, index: int) -> _Axes: ...
    def legend(
        self, handles: Sequence[object], labels: Sequence[str], *, loc: str, ncols: int, frameon: bool
    ) -> object: ...
    def savefig(self, path: Path) -> object: ...
