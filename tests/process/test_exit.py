"""The interpreter ends when the program does: with its own code, soon, and with nothing on the error stream."""

from __future__ import annotations

import re
from time import monotonic

import pytest

from nnqpy import Pull
from tests.process.kit import PATIENCE, child
from tests.process.programs.leave import LINGER, WAYS

pytestmark = pytest.mark.timeout(60)

SLACK = 2.0
"""Seconds beyond the linger time that an exit may take here."""
LOUD = {
    "deliver",
    "sys.exit",
    "uncaught",
    "uncaught in recv",
    "atexit, before nnqpy's own",
    "atexit, after nnqpy's own",
}


def leave(way: str, *args: str, flags: tuple[str, ...] = ()) -> tuple[int, str, list[str]]:
    """Run the program; return its code, its error stream and what it said after it began to leave, in good time."""
    with child("leave", way, *args, flags=flags) as program:
        began = float(program.hear())
        code, complaints = program.end()
        took = monotonic() - began
        said = program.rest().splitlines()
    assert took < LINGER + SLACK
    return code, complaints, said


@pytest.mark.parametrize("way", [way for way in WAYS if way not in LOUD])
def test_the_interpreter_leaves_silently(way: str) -> None:
    """Whatever state the sockets are in: code 0, no word, within the linger time."""
    assert leave(way) == (0, "", [])


def test_a_code_of_the_program_stays() -> None:
    """`sys.exit` with an open socket gives that code."""
    assert leave("sys.exit") == (3, "", [])


@pytest.mark.parametrize(
    ("way", "last"),
    [
        ("uncaught", "LookupError: the program's own"),
        ("uncaught in recv", "nnqpy.errors.TimedOut: no message within 0 s"),
    ],
)
def test_an_uncaught_exception_is_the_only_word(way: str, last: str) -> None:
    """Its traceback, once, and code 1; open sockets add nothing."""
    code, complaints, _ = leave(way)

    assert code == 1
    assert complaints.count("Traceback") == 1
    assert complaints.splitlines()[-1] == last


def test_atexit_callbacks_may_use_sockets() -> None:
    """One that was registered after the import runs before the sockets are closed for it."""
    assert leave("atexit, before nnqpy's own") == (0, "", ["said farewell"])


def test_a_late_atexit_callback_meets_closed_sockets() -> None:
    """One that was registered before the import finds `Closed`, no hang."""
    assert leave("atexit, after nnqpy's own") == (0, "", ["closed"])


def test_what_is_queued_at_exit_is_still_sent() -> None:
    """A program that forgets to close delivers what it has sent, for as long as the socket lingers."""
    with Pull(recv_hwm=10_000) as pull:
        url = pull.bind("tcp://127.0.0.1:0").url

        assert leave("deliver", url) == (0, "", [])

        assert [pull.recv(timeout=PATIENCE) for _ in range(500)] == [b"%d" % n for n in range(500)]


@pytest.mark.parametrize("flags", [("-X", "dev"), ("-W", "always::ResourceWarning")], ids=["dev", "always"])
@pytest.mark.parametrize("way", ["forgotten", "forgotten in a hurry", "queued for nobody"])
def test_a_forgotten_socket_is_told_of_with_its_messages(way: str, flags: tuple[str, ...]) -> None:
    """One ResourceWarning, with the number of messages that went with it: when collected, or at exit."""
    code, complaints, _ = leave(way, flags=flags)
    warnings = [line for line in complaints.splitlines() if "unclosed" in line]

    assert code == 0
    assert "Traceback" not in complaints
    assert len(warnings) == 1, complaints
    assert re.search(r"ResourceWarning: unclosed .*(?<!\d)3 (messages were queued|abandoned)", warnings[0])


@pytest.mark.parametrize("way", ["closed", "atexit, before nnqpy's own"])
def test_a_tidy_program_is_warned_of_nothing(way: str) -> None:
    """All sockets closed: not a word in development mode either, of a descriptor, a loop or a thread."""
    assert leave(way, flags=("-X", "dev"))[:2] == (0, "")
