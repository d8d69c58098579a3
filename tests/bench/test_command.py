"""The command: options, files, exit codes, and one real measurement end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nnqpy.bench import command, main
from nnqpy.bench.cells import FULL, GROUPS, QUICK, catalogue
from nnqpy.bench.libraries import LIBRARIES, named
from nnqpy.bench.results import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nnqpy.bench.cells import Scale
    from nnqpy.bench.libraries import Entry
    from nnqpy.bench.results import Results

Run = list[tuple[list[str], "Scale"]]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Instead of running: note who would run at which scale; each cell gives nnqpy a round trip of 10 us, others 20."""
    noted: Run = []

    async def run(results: Results, libraries: Sequence[Entry], scale: Scale, tell: Callable[[str], object]) -> None:
        noted.append(([one.name for one in libraries], scale))
        tell("round 1/1")
        for cell in results.cells:
            for one in libraries:
                trip = 10.0 if one.name == "nnqpy" else 20.0
                results.add(cell.name, one.name, Sample({"p50": trip, "p99": trip, "lost": 0.0}))

    monkeypatch.setattr(command, "run", run)
    return noted


def test_raw_sockets_are_measured_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two processes, a flow of every size, nothing lost; text, JSON and Markdown tell the same."""
    words = ["--quick", "--seconds", "0.05", "--only", "throughput", "--libs", "raw", "--quiet"]

    code = main([*words, "--json", str(tmp_path / "b.json"), "--markdown", str(tmp_path / "b.md")])

    told = json.loads((tmp_path / "b.json").read_text())
    assert code == 0
    assert [cell["name"] for cell in told["cells"]] == [f"throughput-{size}" for size in (64, 1024, 65536, 1048576)]
    for cell in told["cells"]:
        (sample,) = cell["libraries"]["raw"]["samples"]
        assert sample["trouble"] == "", sample["detail"]
        assert sample["values"]["lost"] == 0
        assert sample["values"]["received"] > 0
        assert sample["values"]["rate"] > 0
        assert sample["values"]["cpu"] > 0
    text = capsys.readouterr().out
    assert text.startswith("nnq bench --quick --seconds 0.05")
    assert "throughput: PUSH to PULL over tcp, two processes" in text
    assert "## Throughput" in (tmp_path / "b.md").read_text()


def test_round_trips_over_raw_sockets_end_to_end(tmp_path: Path) -> None:
    """Ping and echo, blocking and asyncio: percentiles in order, as many trips as the JSON says."""
    words = ["--quick", "--seconds", "0.05", "--only", "rtt,asyncio", "--libs", "raw", "--quiet"]

    assert main([*words, "--json", str(tmp_path / "b.json")]) == 0

    cells = {cell["name"]: cell for cell in json.loads((tmp_path / "b.json").read_text())["cells"]}
    for name in ("rtt-64", "asyncio-rtt-64"):
        (sample,) = cells[name]["libraries"]["raw"]["samples"]
        assert sample["trouble"] == "", sample["detail"]
        values = sample["values"]
        assert 0 < values["p50"] <= values["p99"] <= values["p999"]
        assert values["trips"] > 0
    (flow,) = cells["asyncio-throughput-64"]["libraries"]["raw"]["samples"]
    assert flow["values"]["lost"] == 0
    assert flow["values"]["received"] > 0


@pytest.mark.timeout(180)  # every cell twice, in processes of their own
def test_nnqpy_goes_through_every_cell_and_loses_nothing(tmp_path: Path) -> None:
    """Blocking and asyncio, tcp and inproc, one peer and a crowd: each cell ends and has a figure."""
    words = ["--quick", "--seconds", "0.05", "--connections", "50", "--libs", "nnqpy", "--quiet"]

    assert main([*words, "--json", str(tmp_path / "b.json")]) == 0

    cells = json.loads((tmp_path / "b.json").read_text())["cells"]
    samples = {cell["name"]: cell["libraries"]["nnqpy"]["samples"][0] for cell in cells}
    for name, sample in samples.items():
        assert sample["trouble"] == "", (name, sample["detail"])
        assert sample["values"].get("lost", 0) == 0, name
    assert 1.0 < samples["zstd-events-tcp"]["values"]["line"] < 1.1
    assert samples["zstd-events-zstd+tcp"]["values"]["line"] < 0.5


@pytest.mark.parametrize("group", ["reqrep", "requests", "pubsub", "topics", "device"])
def test_a_peer_with_patterns_of_its_own_goes_through(group: str, tmp_path: Path) -> None:
    """What pyzmq has in place of one of our patterns is put together in its adapter: it works."""
    words = ["--quick", "--seconds", "0.05", "--only", group, "--libs", "pyzmq", "--quiet"]

    assert main([*words, "--json", str(tmp_path / "b.json")]) == 0

    for cell in json.loads((tmp_path / "b.json").read_text())["cells"]:
        (sample,) = cell["libraries"]["pyzmq"]["samples"]
        assert sample["trouble"] == "", (cell["name"], sample["detail"])
        assert all(value > 0 for key, value in sample["values"].items() if key in {"p50", "rate", "cpu"})


def test_quick_and_full_differ_in_scale_and_options_win(runs: Run) -> None:
    """`--seconds` and its like change one thing of the scale that was chosen."""
    main(["--libs", "raw", "--only", "rtt", "--quiet"])
    main(["--libs", "raw", "--only", "rtt", "--quiet", "--quick"])
    main(["--libs", "raw", "--quick", "--rounds", "7", "--seconds", "0.5", "--connections", "9", "--quiet"])

    assert [scale for _, scale in runs] == [FULL, QUICK, replace(QUICK, rounds=7, seconds=0.5, connections=9)]


def test_libraries_that_are_missing_are_named_and_left_out(
    runs: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An optional peer that is not installed is no error."""
    monkeypatch.setitem(LIBRARIES, "pyomq", replace(LIBRARIES["pyomq"], module="no_such_module"))

    assert main(["--libs", "pyomq,raw", "--only", "rtt", "--quiet"]) == 0

    assert [names for names, _ in runs] == [["raw"]]
    assert "not installed: pyomq" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--only", "speed"], "no group 'speed'; known: throughput, rtt"),
        (["--libs", "zeromq"], "no library 'zeromq'; known: nnqpy, nnqpy-python, pyzmq"),
        (["--rounds", "0"], "must be at least 1"),
        (["--seconds", "0"], "must be between 0.01 and 600 seconds"),
    ],
)
@pytest.mark.usefixtures("runs")
def test_what_cannot_be_asked_for_is_refused_with_what_can(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and the known names, before anything is started."""
    with pytest.raises(SystemExit) as refused:
        main(words)

    assert refused.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.usefixtures("runs")
def test_a_plot_without_matplotlib_is_refused_before_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Minutes of measuring are not thrown away for a missing package."""
    monkeypatch.setattr(command, "can_plot", lambda: False)

    with pytest.raises(SystemExit) as refused:
        main(["--plot", "bench.svg", "--libs", "raw"])

    assert refused.value.code == 2
    assert "--plot needs matplotlib: pip install matplotlib" in capsys.readouterr().err


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(("rival", "code"), [("pyzmq", 1), ("raw", 0)])
def test_check_turns_a_missed_target_into_the_exit_code(rival: str, code: int) -> None:
    """10 us are more than 0.4 x 20 us of a peer; beside the raw socket alone nothing is missed."""
    assert main(["--only", "rtt", "--libs", f"nnqpy,{rival}", "--check", "--quiet"]) == code


def test_an_interrupted_run_shows_what_it_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in the third minute keeps the first two."""

    async def run(results: Results, *_: object) -> None:
        results.add("rtt-64", "raw", Sample({"p50": 12.0}))
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", run)

    code = main(["--only", "rtt", "--libs", "raw", "--quiet"])

    told = capsys.readouterr()
    assert code == 130
    assert "12 us" in told.out
    assert "interrupted" in told.err


def test_every_group_has_cells_and_a_title() -> None:
    """`--only` can name each, and each names what it measures."""
    assert {cell.group for cell in catalogue(FULL)} == set(GROUPS)
    assert {cell.group for cell in catalogue(QUICK)} == set(GROUPS)


def test_cells_have_names_of_their_own() -> None:
    """Results are kept by name."""
    names = [cell.name for cell in catalogue(FULL)]

    assert len(names) == len(set(names))


def test_libraries_come_in_the_order_asked_for() -> None:
    """The first is the first column."""
    assert [entry.name for entry in named(["raw", "nnqpy"])] == ["raw", "nnqpy"]
