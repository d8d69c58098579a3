"""The report: rows, ratios and remarks, the same in text, Markdown and JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from nnqpy.bench.report import as_json, as_markdown, as_text, shown
from nnqpy.bench.results import Sample
from tests.bench.made import made_circumstances, made_results

if TYPE_CHECKING:
    from nnqpy.bench.results import Results


def row_of(table: str, start: str) -> str:
    """The first row that starts like this, runs of spaces made one."""
    return next(" ".join(line.split()) for line in table.splitlines() if line.startswith(start))


def trips() -> Results:
    """Two libraries and the raw socket, two rounds."""
    results = made_results({"rtt-64": {name: {} for name in ("nnqpy", "pyzmq", "raw")}}, only=("rtt", "threads"))
    for library, values in {"nnqpy": (19.0, 21.0), "pyzmq": (80.0, 80.0), "raw": (10.0, 10.0)}.items():
        for value in values:
            results.add("rtt-64", library, Sample({"p50": value}))
    return results


def test_a_row_shows_figure_spread_and_ratio() -> None:
    """Four times slower reads (4.00x): nnqpy is four times better there; the raw socket is ahead at (0.50x)."""
    assert row_of(as_text(trips(), made_circumstances()), "64 B, p50") == (
        "64 B, p50 20 us ±5% 80 us ±0% (4.00x) 10 us ±0% (0.50x)"
    )


def test_who_takes_no_part_is_told_with_the_reason() -> None:
    """The sockets of pyzmq are not thread-safe; a cell that was not reached says so."""
    assert row_of(as_text(trips(), made_circumstances()), "64 B ") == "64 B not run not thread-safe -"


def test_losses_and_troubles_stand_in_the_row() -> None:
    """Nobody reads a rate without learning that messages were lost or that a round hung."""
    results = made_results({"throughput-64": {"nnqpy": {"rate": 5e6}, "pynng": {"rate": 3e4, "lost": 12.0}}})
    results.add("throughput-64", "pynng", Sample({}, "hung", "Timeout (0:00:09)!\n  in recv"))

    text = as_text(results, made_circumstances())

    assert row_of(text, "64 B ") == "64 B 5.00 M/s 30.0 k/s (167x) lost 12 hung"
    assert "throughput-64 pynng hung:   in recv" in text


def test_ratios_are_of_the_first_library_when_nnqpy_is_not_there() -> None:
    """The comparison still reads one way: above 1 the first column is better."""
    results = made_results({"rtt-64": {"pyzmq": {"p50": 80.0}, "pynng": {"p50": 160.0}}}, only=("rtt",))

    text = as_text(results, made_circumstances())

    assert row_of(text, "64 B, p50") == "64 B, p50 80 us 160 us (2.00x)"
    assert "pyzmq is 2.0 times better" in text


def test_the_head_names_the_command_the_machine_the_versions_and_who_is_missing() -> None:
    """A table without these cannot be checked."""
    head = as_text(trips(), made_circumstances()).split("\n\n")[0]

    assert head.splitlines() == [
        "nnq bench --quick",
        "2026-01-02T03:04:00+00:00, CPython 3.11.7, 2 processors",
        "nnqpy 1.0, raw",
        "3 rounds of 0.5 s a sample",
        "not installed: pyomq",
    ]


def test_markdown_has_one_table_a_group_with_the_same_entries() -> None:
    """What the documentation shows is what the terminal showed."""
    markdown = as_markdown(trips(), made_circumstances())

    assert markdown.startswith("```\nnnq bench --quick\n```\n")
    assert "|  | nnqpy | pyzmq | raw |\n|---|---:|---:|---:|\n" in markdown
    assert "| 64 B, p50 | 20 us ±5% | 80 us ±0% (4.00x) | 10 us ±0% (0.50x) |" in markdown
    assert "| round trip p50: at most 0.4 x the best peer | met | 0.25 x pyzmq (20 us) |" in markdown


def test_json_keeps_every_sample_beside_medians_and_targets() -> None:
    """Another program can draw its own conclusions."""
    told = json.loads(as_json(trips(), made_circumstances()))

    (cell,) = [cell for cell in told["cells"] if cell["name"] == "rtt-64"]
    ours = cell["libraries"]["nnqpy"]
    assert ours["figures"]["p50"] == {"median": 20.0, "spread": 0.05}
    assert [sample["values"].get("p50") for sample in ours["samples"]] == [None, 19.0, 21.0]
    assert told["command"] == "nnq bench --quick"
    assert told["missing"] == ["pyomq"]
    assert {
        "claim": "round trip p50: at most 0.4 x the best peer",
        "met": True,
        "found": "0.25 x pyzmq (20 us)",
    } in told["targets"]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (5_310_000.0, "msg/s", "5.31 M/s"),
        (431_000.0, "msg/s", "431 k/s"),
        (34_600.0, "msg/s", "34.6 k/s"),
        (6200.0, "us", "6.20 ms"),
        (76.4, "us", "76 us"),
        (0.554, "us", "0.55 us"),
        (4300.0, "B", "4.2 KiB"),
        (0.031, "%", "3.1%"),
    ],
)
def test_figures_are_shown_in_the_unit_that_a_person_would_choose(value: float, unit: str, text: str) -> None:
    """Three digits are enough for figures that jitter by percents."""
    assert shown(value, unit) == text


def test_the_load_that_others_put_on_the_machine_is_told() -> None:
    """Figures from a busy machine are read with care: the median and the worst sample are named."""
    results = made_results({"rtt-64": {"nnqpy": {"p50": 20.0, "foreign": 0.04}}}, only=("rtt",))
    for foreign in (0.02, 0.61):
        results.add("rtt-64", "nnqpy", Sample({"p50": 20.0, "foreign": foreign}))

    sentence = "Other programs used 4% of the processors in the median sample, 61% in the busiest."
    assert sentence in as_text(results, made_circumstances())
    assert sentence in as_markdown(results, made_circumstances())
