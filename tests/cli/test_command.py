"""The command line itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nnqpy
import nnqpy.bench
from nnqpy.cli import main


def test_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    """``nnq version`` prints it first."""
    assert main(["version"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["nnqpy", nnqpy.__version__]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "required: command"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["demo", "--workers", "0"], "at least 1, not 0"),
        (["demo", "--size", "x"], "invalid number value: 'x'"),
        (["demo", "--size", "31"], "at least 32, not 31"),
        (["demo", "--transport", "udp"], "invalid choice: 'udp'"),
        (["demo", "--mess", "5"], "unrecognized arguments"),
    ],
    ids=str,
)
def test_a_wrong_command_line_is_explained(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and one line that says what was wrong."""
    with pytest.raises(SystemExit) as stop:
        main(words)

    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


def test_bench_gets_its_words_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bench has a command line of its own."""
    given: list[list[str]] = []

    def bench(words: list[str]) -> int:
        given.append(words)
        return 3

    monkeypatch.setattr(nnqpy.bench, "main", bench)

    code = main(["bench", "--help", "-x"])

    assert (code, given) == (3, [["--help", "-x"]])


def test_ctrl_c_anywhere_is_130_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a command that does not handle it."""

    def interrupted(_: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(nnqpy.bench, "main", interrupted)

    assert main(["bench"]) == 130


def test_a_reader_that_leaves_is_no_crash() -> None:
    """``nnq demo | head -1`` ends quietly, and with it the processes of the pipeline."""
    command = f"{sys.executable} -m nnqpy demo --messages 1000 --transport ipc | head -1"

    report = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=50)

    assert report.stderr == ""
    assert report.stdout == "ipc: starting the processes\n"
