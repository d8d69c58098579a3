"""``nnq certs``: certificates for development and closed networks. What makes them is `nnqpy.cli.authority`."""

from __future__ import annotations

import argparse
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    # What `ArgumentParser.add_subparsers` returns has no public name.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

__all__ = ["add_to", "certs"]

LEAF_DAYS: Final = 365
DAYS_MAX: Final = 3650


def add_to(commands: Commands) -> None:
    """Describe the command line."""
    parser = commands.add_parser(
        "certs",
        help="make certificates for tls+tcp:// (nnq certs --help)",
        description="A small CA for development and closed networks. Needs the cryptography package.",
        allow_abbrev=False,
    )
    tasks = parser.add_subparsers(dest="task", required=True, metavar="task")

    init = tasks.add_parser("init", help="make a CA: ca.pem and ca.key", allow_abbrev=False)
    init.add_argument("dir", nargs="?", type=Path, default=Path(), metavar="DIR", help="where to (default: here)")

    issue = tasks.add_parser(
        "issue",
        help="make a certificate and its key: NAME.pem and NAME.key",
        description="Make a certificate for a listener, or for a dialer; one that is there already is renewed.",
        allow_abbrev=False,
    )
    issue.add_argument(
        "names", nargs="+", metavar="NAME", help="host names and IP addresses; the first names the files"
    )
    issue.add_argument("--dir", type=Path, default=Path(), metavar="DIR", help="where the CA is (default: here)")
    issue.add_argument("--client", action="store_true", help="for who dials; the names are then the program's")
    issue.add_argument(
        "--days", type=_days, default=LEAF_DAYS, metavar="N", help="how long it is good (default: %(default)s)"
    )
    issue.add_argument("--ip", type=_ip, action="append", default=[], metavar="ADDRESS", help="one more IP address")

    show = tasks.add_parser("show", help="say what is in a certificate file", allow_abbrev=False)
    show.add_argument("file", type=Path, metavar="FILE")


def certs(arguments: argparse.Namespace) -> int:
    """Do what the command line says and return the exit code."""
    try:
        from nnqpy.cli.authority import create, describe, issue  # only now: not everybody has what it needs
    except ModuleNotFoundError:
        return _failed("the cryptography package is not installed: pip install 'nnqpy[certs]'")
    try:
        match arguments.task:
            case "init":
                made = create(arguments.dir)
                print(f"{made.cert}: the CA's certificate, good until {made.until:%Y-%m-%d}. Give it to everybody.")
                print(f"{made.key}: its key. Keep it to yourself.")
            case "issue":
                names, folder = arguments.names, arguments.dir
                made = issue(folder, names, days=arguments.days, ips=arguments.ip, client=arguments.client)
                print(f"{made.cert}: the certificate, good until {made.until:%Y-%m-%d}")
                print(f"{made.key}: its key")
            case _:
                blocks = describe(arguments.file)
                print("\n\n".join("\n".join(f"{name:<11} {text}" for name, text in block) for block in blocks))
    except (OSError, ValueError) as error:
        return _failed(str(error))
    return 0


def _failed(text: str) -> int:
    print(f"nnq certs: {text}", file=sys.stderr)
    return 1


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= DAYS_MAX:
        raise argparse.ArgumentTypeError(f"from 1 to {DAYS_MAX} days, not {days}")
    return days


def _ip(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
