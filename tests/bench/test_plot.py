"""The plot, on a canvas that writes down what is drawn: matplotlib itself is optional."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from nnqpy.bench.plot import plot
from nnqpy.bench.results import Sample
from tests.bench.made import made_results


class Axes:
    """One panel."""

    def __init__(self) -> None:
        self.points: dict[str, list[float]] = {}
        self.whiskers: dict[str, list[list[float]]] = {}
        self.rows: list[str] = []
        self.said: dict[str, object] = {}

    def errorbar(self, x: list[float], y: list[float], *, xerr: list[list[float]], label: str, **_: object) -> None:
        assert len(x) == len(y)
        self.points[label] = x
        self.whiskers[label] = xerr

    def set_yticks(self, ticks: range, labels: list[str]) -> None:
        assert len(ticks) == len(labels)
        self.rows = labels

    def set_title(self, label: str, **_: object) -> None:
        self.said["title"] = label

    def set_xlabel(self, label: str) -> None:
        self.said["unit"] = label

    def set_xscale(self, value: str) -> None:
        self.said["scale"] = value

    def set_ylim(self, bottom: float, top: float) -> None:
        assert bottom > top

    def tick_params(self, **_: object) -> None: ...
    def grid(self, **_: object) -> None: ...

    def get_legend_handles_labels(self) -> tuple[list[object], list[str]]:
        return list(self.points), list(self.points)


class Figure:
    """Keeps its panels; the last one made is `drawn`."""

    drawn: Figure

    def __init__(self, **_: object) -> None:
        self.axes: list[Axes] = []
        self.saved: list[Path] = []
        Figure.drawn = self

    def add_subplot(self, rows: int, columns: int, index: int) -> Axes:
        assert 1 <= index <= rows * columns
        self.axes.append(Axes())
        return self.axes[-1]

    def legend(self, handles: list[object], labels: list[str], **_: object) -> None:
        self.names = labels

    def savefig(self, path: Path) -> None:
        self.saved.append(path)


@pytest.fixture
def matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for the real one."""
    module = ModuleType("matplotlib.figure")
    module.Figure = Figure  # type: ignore[attr-defined]  # a module takes any name
    monkeypatch.setitem(sys.modules, "matplotlib", ModuleType("matplotlib"))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", module)


@pytest.mark.usefixtures("matplotlib")
def test_each_group_and_unit_is_a_panel_with_a_point_for_each_library() -> None:
    """Medians are points, the rounds' least and most are whiskers, what was not measured is a gap."""
    results = made_results(
        {"throughput-64": {"nnqpy": {"rate": 4e6}, "raw": {"rate": 1e5}}}, only=("throughput", "rtt")
    )
    results.add("throughput-64", "nnqpy", Sample({"rate": 5e6}))
    results.add("throughput-64", "nnqpy", Sample({"rate": 7e6}))

    plot(results, Path("bench.svg"))

    throughput, trips = Figure.drawn.axes
    assert Figure.drawn.saved == [Path("bench.svg")]
    assert Figure.drawn.names == ["nnqpy", "raw"]
    assert throughput.rows == ["64 B", "1 KiB", "64 KiB", "1 MiB"]
    assert throughput.said == {
        "title": "throughput: PUSH to PULL over tcp, two processes",
        "unit": "messages/s",
        "scale": "log",
    }
    assert throughput.points["nnqpy"][0] == 5e6
    assert [side[0] for side in throughput.whiskers["nnqpy"]] == [1e6, 2e6]
    assert throughput.points["nnqpy"][1] != throughput.points["nnqpy"][1], "not a number: no point"
    assert trips.rows == ["64 B, p50", "64 B, p99", "64 B, p99.9"]
