"""Command: the options of `nnq bench`, and what it does with them."""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nnqpy.bench.cells import FULL, GROUPS, QUICK, catalogue
from nnqpy.bench.keys import keys
from nnqpy.bench.libraries import LIBRARIES, named
from nnqpy.bench.machine import describe
from nnqpy.bench.plot import can_plot, plot
from nnqpy.bench.report import Circumstances, as_json, as_markdown, as_text
from nnqpy.bench.results import Results
from nnqpy.bench.runner import run
from nnqpy.bench.targets import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nnqpy.bench.cells import Scale

__all__ = ["main"]

_NEEDS = {
    "tls": "cryptography",
    "ws": "websockets",
    "zstd": "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks that the command line asks for and print their table.

    Args:
        argv: the words after `nnq bench`; None takes this process's own.

    Returns:
        0; 1 with `--check` if a target is not met; 2 if the command line asks for what cannot be.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    options = parser.parse_args(words)
    try:
        wanted = named(_names(options.libs)) if options.libs else list(LIBRARIES.values())
        scale = _scale(options)
        cells = catalogue(scale, _names(options.only))
    except ValueError as wrong:
        parser.error(str(wrong))
    lacking = [group for group, package in _NEEDS.items() if not _is_here(package)]
    if missing := [f"{group} needs {_NEEDS[group]}" for group in lacking if group in _names(options.only)]:
        parser.error(f"{'; '.join(missing)}: pip install 'nnqpy[bench]'")
    cells = [cell for cell in cells if cell.group not in lacking]
    present = [entry for entry in wanted if entry.present]
    if not present:
        parser.error(f"not installed: {', '.join(entry.name for entry in wanted)}")
    if options.plot and not can_plot():
        parser.error("--plot needs matplotlib: pip install matplotlib")

    results = Results(cells, [entry.name for entry in present])
    about = Circumstances(
        command=shlex.join(["nnq", "bench", *words]),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seconds=scale.seconds,
        rounds=scale.rounds,
        machine=describe(),
        versions={entry.name: entry.version() for entry in present},
        missing=[entry.name for entry in wanted if not entry.present],
    )
    interrupted = False
    try:
        with keys() if any(cell.group == "tls" for cell in cells) else nullcontext():
            asyncio.run(run(results, present, scale, _teller(options.quiet)))
    except KeyboardInterrupt:
        interrupted = True
    print(as_text(results, about))
    if options.json:
        options.json.write_text(as_json(results, about), encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(as_markdown(results, about), encoding="utf-8")
    if options.plot:
        plot(results, options.plot)
    if interrupted:
        print("interrupted: the tables hold what was measured until then", file=sys.stderr)
        return 130
    return 1 if options.check and any(one.met is False for one in judge(results)) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnq bench",
        description="Measure nnqpy beside the libraries that are installed here, each in processes of its own.",
        epilog="groups: " + "; ".join(f"{name} ({about})" for name, about in GROUPS.items()),
    )
    parser.add_argument("--quick", action="store_true", help="one short round, fewer connections: about a minute")
    parser.add_argument("--only", metavar="GROUP,...", default="", help="only these groups")
    parser.add_argument("--libs", metavar="NAME,...", default="", help=f"only these of {', '.join(LIBRARIES)}")
    parser.add_argument("--rounds", type=_positive, help=f"samples of each cell and library ({FULL.rounds})")
    parser.add_argument("--seconds", type=_duration, help=f"measured time of a sample ({FULL.seconds:g})")
    parser.add_argument(
        "--connections", type=_positive, help=f"idle connections ({FULL.connections}; quick {QUICK.connections})"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample and target as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables for the documentation")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the tables (.svg or .png; needs matplotlib)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is not met")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return parser


def _is_here(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # not even what it is a part of
        return False


def _positive(word: str) -> int:
    value = int(word)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _duration(word: str) -> float:
    value = float(word)
    if not 0.01 <= value <= 600:
        raise argparse.ArgumentTypeError("must be between 0.01 and 600 seconds")
    return value


def _names(words: str) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()]


def _scale(options: argparse.Namespace) -> Scale:
    given = {key: getattr(options, key) for key in ("rounds", "seconds", "connections")}
    return replace(
        QUICK if options.quick else FULL, **{key: value for key, value in given.items() if value is not None}
    )


def _teller(quiet: bool) -> Callable[[str], object]:
    if quiet:
        return lambda _line: None
    if sys.stderr.isatty():
        return lambda line: print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    return lambda line: print(line, file=sys.stderr, flush=True)
