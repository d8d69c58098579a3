"""Report: a run as text, as Markdown and as JSON; the same rows and ratios in each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING

from nnqpy.bench.cells import GROUPS
from nnqpy.bench.libraries import LIBRARIES, OURS, RAW
from nnqpy.bench.results import advantage
from nnqpy.bench.targets import judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nnqpy.bench.cells import Cell, Metric
    from nnqpy.bench.results import Results

__all__ = ["Circumstances", "as_json", "as_markdown", "as_text"]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a reader needs to run it again and to judge it.

    Args:
        command: the command line that made it.
        date: ISO 8601, UTC.
        seconds: measured time of a sample.
        rounds: samples of each cell and library.
        machine: as `machine.describe` tells it.
        versions: of each library that took part.
        missing: libraries that were asked for and are not installed.
    """

    command: str
    date: str
    seconds: float
    rounds: int
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    missing: Sequence[str]


_RAW = (
    "raw is the standard library's sockets without framing, one `sendall` a body, read into a buffer of 64 KiB "
    "(of the body's size above that)."
)

_FOREIGN = "Other programs used {:.0%} of the processors in the median sample, {:.0%} in the busiest."

_EXPLANATION = (
    "Each figure is the median over the rounds, ± half the distance from the least to the most; "
    "(2.0x) means that {base} is 2.0 times better there."
)


def as_text(results: Results, about: Circumstances) -> str:
    """The report for a terminal."""
    parts = [_head(about)]
    for group, table in _tables(results):
        widths = [max(len(row[n]) for row in table) for n in range(len(table[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if n == 0 else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in table
        ]
        parts.append("\n".join([f"{group}: {GROUPS[group]}", *lines]))
    parts.append("\n".join(_explanation(results)))
    parts += _remarks(results)
    verdicts = judge(results)
    if verdicts:
        width = max(len(one.claim) for one in verdicts)
        lines = [f"{one.word:8}{one.claim.ljust(width)}  {one.found}" for one in verdicts]
        parts.append("\n".join(["targets", *lines]))
    return "\n\n".join(parts)


def as_markdown(results: Results, about: Circumstances) -> str:
    """The report for the documentation: tables under headings, with the command that made them."""
    parts = [
        f"```\n{about.command}\n```",
        _head(about, skip_command=True),
        " ".join(_explanation(results)),
    ]
    for group, table in _tables(results):
        rows = [f"| {' | '.join(row)} |" for row in table]
        rule = "|---|" + "---:|" * (len(table[0]) - 1)
        parts.append(
            "\n".join(
                [
                    f"## {group.capitalize()}",
                    "",
                    f"{GROUPS[group][0].upper()}{GROUPS[group][1:]}.",
                    "",
                    rows[0],
                    rule,
                    *rows[1:],
                ]
            )
        )
    verdicts = judge(results)
    if verdicts:
        rows = [f"| {one.claim} | {one.word} | {one.found} |" for one in verdicts]
        parts.append("\n".join(["## Targets", "", "| target | | found |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def as_json(results: Results, about: Circumstances) -> str:
    """Everything: each sample, the medians and spreads, the targets."""
    cells = [
        {
            "name": cell.name,
            "group": cell.group,
            "size": cell.size,
            "peers": cell.peers,
            "libraries": {name: _as_values(results, cell, name) for name in results.libraries},
        }
        for cell in results.cells
    ]
    targets = [{"claim": one.claim, "met": one.met, "found": one.found} for one in judge(results)]
    return json.dumps({**asdict(about), "cells": cells, "targets": targets}, indent=1) + "\n"


def _as_values(results: Results, cell: Cell, library: str) -> Mapping[str, object]:
    samples = results.of(cell.name, library)
    keys = sorted({key for sample in samples for key in sample.values})
    series = {key: found for key in keys if (found := results.series(cell.name, library, key)) is not None}
    return {
        "refusal": cell.refusal(LIBRARIES[library]),
        "figures": {key: {"median": one.median, "spread": one.spread} for key, one in series.items()},
        "samples": [{"values": dict(one.values), "trouble": one.trouble, "detail": one.detail} for one in samples],
    }


def _head(about: Circumstances, *, skip_command: bool = False) -> str:
    lines = [] if skip_command else [about.command]
    lines.append(
        ", ".join(
            [
                about.date,
                *(f"{value} processors" if key == "processors" else value for key, value in about.machine.items()),
            ]
        )
    )
    lines.append(", ".join(f"{name} {version}".strip() for name, version in about.versions.items()))
    lines.append(f"{about.rounds} round{'s' if about.rounds > 1 else ''} of {about.seconds:g} s a sample")
    if about.missing:
        lines.append(f"not installed: {', '.join(about.missing)}")
    return "\n".join(lines)


def _explanation(results: Results) -> list[str]:
    """How to read the entries, and with how much care."""
    said = [_EXPLANATION.format(base=_base(results))]
    if RAW in results.libraries:
        said.append(_RAW)
    if load := results.foreign_load():
        said.append(_FOREIGN.format(median(load), load[-1]))
    return said


def _remarks(results: Results) -> list[str]:
    """What went wrong, with the last line that the worker wrote about it; the JSON has all of them."""
    lines = [
        f"{cell.name} {library} {sample.trouble}: {(sample.detail.splitlines() or ['no word of why'])[-1]}"
        for cell in results.cells
        for library in results.libraries
        for sample in results.of(cell.name, library)
        if sample.trouble
    ]
    return ["\n".join(["troubles", *dict.fromkeys(lines)])] if lines else []


def _base(results: Results) -> str:
    """The library that ratios are about: nnqpy, or the first column when it took no part."""
    return OURS if OURS in results.libraries else results.libraries[0]


def _tables(results: Results) -> Iterator[tuple[str, list[list[str]]]]:
    """One table a group: a header row, then one row a cell and metric."""
    for group, cells in groupby(results.cells, key=lambda cell: cell.group):
        table = [["", *results.libraries]]
        for cell in cells:
            for metric in cell.metrics:
                label = ", ".join(filter(None, (cell.label, metric.label)))
                entries = [_entry(results, cell, metric, name) for name in results.libraries]
                table.append([label, *entries])
        yield group, table


def _entry(results: Results, cell: Cell, metric: Metric, library: str) -> str:
    """One figure with its spread, its ratio and whatever is wrong with it."""
    refusal = cell.refusal(LIBRARIES[library])
    if refusal:
        return refusal
    series = results.series(cell.name, library, metric.key)
    words: list[str] = []
    if series is not None:
        words.append(shown(series.median, metric.unit))
        if len(series.values) > 1:
            words.append(f"±{series.spread:.0%}")
        base = _base(results)
        ours = results.value(cell.name, base, metric.key)
        if library != base and ours is not None:
            times = advantage(ours, series.median, metric)
            if times is not None:
                words.append(f"({times:.{2 if times < 10 else 0}f}x)")
    if metric.unit == "msg/s" and (lost := results.lost(cell.name, library)):
        words.append(f"lost {lost}")
    words += results.troubles(cell.name, library)
    return " ".join(words) or "not run"


def shown(value: float, unit: str) -> str:
    """A figure in the unit that a person would choose."""
    if unit == "msg/s":
        return f"{value / 1e6:.2f} M/s" if value >= 1e6 else f"{value / 1e3:.{1 if value < 1e5 else 0}f} k/s"
    if unit == "us":
        return f"{value / 1e3:.2f} ms" if value >= 1000 else f"{value:.{2 if value < 10 else 0}f} us"
    if unit == "B":
        return f"{value / 1024:.1f} KiB"
    return f"{value:.1%}"
