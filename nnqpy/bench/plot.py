"""Plot: the run as bars, one panel a group, where matplotlib is installed."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
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
    figure: _Figure = import_module("matplotlib.figure").Figure(
        figsize=(8 * columns, 3.4 * lines), layout="constrained"
    )
    for n, (title, unit, bars) in enumerate(panels, 1):
        axes = figure.add_subplot(lines, columns, n)
        _draw(axes, results, bars)
        axes.set_yscale("log")
        axes.set_ylabel(_AXES[unit])
        axes.set_title(title, fontsize=10)
        axes.tick_params(labelsize=8)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    figure.savefig(path)


def _draw(axes: _Axes, results: Results, bars: Sequence[_Bar]) -> None:
    """One cluster a bar of the panel, one colour a library; whoever has no figure leaves a gap."""
    width = 0.8 / len(results.libraries)
    for place, library in enumerate(results.libraries):
        found = [results.series(cell.name, library, metric.key) for _, cell, metric in bars]
        where = [row + place * width for row in range(len(bars))]
        heights = [0.0 if one is None else one.median for one in found]
        errors = [0.0 if one is None else one.spread * one.median for one in found]
        axes.bar(where, heights, width, yerr=errors, label=library, color=f"C{place}")
    axes.set_xticks([row + 0.4 - width / 2 for row in range(len(bars))], [label for label, _, _ in bars])


_Bar = tuple[str, Cell, Metric]


def _panels(results: Results) -> list[tuple[str, str, list[_Bar]]]:
    """Title, unit and bars: one panel a group and unit; the processor time of flows stays in the table."""
    panels: dict[tuple[str, str], list[_Bar]] = {}
    for cell in results.cells:
        for metric in cell.metrics:
            if metric.unit in _AXES and (metric.key != "cpu" or len(cell.metrics) == 1):
                label = "\n".join(filter(None, (*cell.label.split(", "), metric.label)))
                panels.setdefault((cell.group, metric.unit), []).append((label, cell, metric))
    return [(f"{group}: {GROUPS[group]}", unit, bars) for (group, unit), bars in panels.items()]


class _Axes(Protocol):
    """What is used of matplotlib's axes, whose own hints leave keyword arguments open."""

    def bar(
        self,
        x: Sequence[float],
        height: Sequence[float],
        width: float,
        *,
        yerr: Sequence[float],
        label: str,
        color: str,
    ) -> object: ...
    def set_xticks(self, ticks: Sequence[float], labels: Sequence[str]) -> object: ...
    def set_yscale(self, value: str) -> object: ...
    def set_ylabel(self, label: str) -> object: ...
    def set_title(self, label: str, *, fontsize: int) -> object: ...
    def tick_params(self, *, labelsize: int) -> object: ...
    def get_legend_handles_labels(self) -> tuple[Sequence[object], Sequence[str]]: ...


class _Figure(Protocol):
    @property
    def axes(self) -> Sequence[_Axes]: ...
    def add_subplot(self, rows: int, columns: int, index: int) -> _Axes: ...
    def legend(
        self, handles: Sequence[object], labels: Sequence[str], *, loc: str, ncols: int, frameon: bool
    ) -> object: ...
    def savefig(self, path: Path) -> object: ...
