"""The ``nnq`` command: ``demo``, ``bench``, ``certs``, ``version``.

A user of the library as any application would be: it goes through the public names alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from typing import TYPE_CHECKING

import nnqpy
from nnqpy import accel
from nnqpy.cli.certs import add_to, certs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

INTERRUPTED = 130  # what a shell says of a program that SIGINT ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (None: the process's own) and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["bench"]:  # it has a command line of its own, handed on untouched
            from nnqpy.bench import main as bench

            return bench(words[1:])
        arguments = _parser().parse_args(words)
        if arguments.command == "demo":
            from nnqpy.cli.demo import Plan, demo  # only now: `nnq version` needs no asyncio

            return demo(Plan.of(arguments))
        if arguments.command == "certs":
            return certs(arguments)
        where = f"Python {platform.python_version()}, {platform.system()}"
        print(f"nnqpy {nnqpy.__version__} ({where}), the fast path {accel.describe()}")
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except (
        BrokenPipeError
    ):  # the reader of our output is gone (`nnq demo | head`): nothing left to say, nor to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnq",
        description="Message queues between programs, without a server: see the library at work, measure it, and make it certificates.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    demo = commands.add_parser(
        "demo",
        help="drive jobs through a pipeline of processes and count every one",
        description="A ventilator, workers and a sink, each a process, joined by push/pull sockets. Counts every message. "
        "Where pynng is installed, one of the workers is a real nng peer. Ctrl-C ends it: what is under way still arrives.",
        epilog="Exit code: 0 when no message was lost, 1 when one was or a process failed, 130 after Ctrl-C.",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument("--workers", type=_at_least(1), default=3, metavar="N", help="worker processes")
    demo.add_argument("--messages", type=_at_least(1), default=200_000, metavar="N", help="jobs for each transport")
    demo.add_argument("--size", type=_at_least(32), default=128, metavar="BYTES", help="size of a job, at least 32")
    demo.add_argument(
        "--transport", choices=["tcp", "ipc", "both"], default="both", help="one pipeline, or one after the other"
    )

    commands.add_parser("bench", help="measure nnqpy beside its peers (nnq bench --help)", add_help=False)
    add_to(commands)
    commands.add_parser("version", help="print the version")
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:  # its name is argparse's: "invalid number value: 'x'"
        value = int(text.replace(",", ""))
        if value < least:
            raise argparse.ArgumentTypeError(f"at least {least}, not {value}")
        return value

    return number
