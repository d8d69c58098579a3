"""``nnq demo`` as a user runs it: in a process of its own, on real traffic."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nnqpy.cli import demo as demo_module
from nnqpy.cli import nng
from nnqpy.cli.demo import Plan, demo

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-m", "nnqpy", "demo"]
WITHOUT_PYNNG = [
    sys.executable,
    "-c",
    "import sys; sys.modules['pynng'] = None; from nnqpy.cli import main; sys.exit(main())",
    "demo",
]
ENDLESS = ["--messages", "1000000000", "--transport", "tcp"]

TABLE_ROW = re.compile(
    r"^(tcp|ipc) +([\d,]+) +([\d,]+) +([\d,]+) +([\d,]+) +[\d,]+/s +[\d.]+ ms +[\d.]+ ms$", re.MULTILINE
)


def run(*words: str, command: list[str] = COMMAND) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *words], capture_output=True, text=True, check=False, timeout=50)


@pytest.fixture
def endless() -> Iterator[subprocess.Popen[str]]:
    """Yield a demo that would run for hours, with jobs under way, in a process group of its own."""
    with subprocess.Popen(
        [*WITHOUT_PYNNG, *ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            assert any("received" in line for line in process.stdout), "it ended before any job arrived"
            yield process
        finally:
            process.kill()


def farewell(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait until the demo and all its processes are gone, and return what they said.

    The processes of the pipeline inherit the error stream: its end is the proof that none of them is left.
    """
    return process.communicate(timeout=40)


def numbers(output: str) -> dict[str, list[int]]:
    """Return sent, received, lost and doubled from the rows of the table."""
    return {row[0]: [int(cell.replace(",", "")) for cell in row[1:]] for row in TABLE_ROW.findall(output)}


def test_every_message_arrives_over_tcp_and_over_ipc() -> None:
    """The whole demo, small: exit code 0, nothing lost, nothing on the error stream."""
    report = run("--messages", "5000", "--workers", "2")

    assert (report.returncode, report.stderr) == (0, "")
    assert numbers(report.stdout) == {"tcp": [6000, 6000, 0, 0], "ipc": [6000, 6000, 0, 0]}


def test_one_of_the_workers_is_a_real_nng_peer() -> None:
    """The table names it with its version, and it had a share of the jobs."""
    report = run("--messages", "5000", "--workers", "2", "--transport", "tcp")

    version = nng.version()
    assert version is not None
    share = re.search(rf"^worker 2 \({re.escape(version)}\) +([\d,]+)$", report.stdout, re.MULTILINE)
    assert share is not None, report.stdout
    assert int(share[1].replace(",", "")) > 0


def test_without_pynng_all_workers_are_ours() -> None:
    """It is no requirement; the table says how to see an nng worker."""
    report = run("--messages", "2000", "--transport", "ipc", command=WITHOUT_PYNNG)

    assert (report.returncode, report.stderr) == (0, "")
    assert "install pynng" in report.stdout
    assert "(nng" not in report.stdout
    assert numbers(report.stdout) == {"ipc": [3000, 3000, 0, 0]}


def test_a_single_worker_with_large_jobs() -> None:
    """One worker is ours even where pynng is there; jobs of 100 kB are counted alike."""
    report = run("--messages", "200", "--workers", "1", "--size", "100000", "--transport", "ipc")

    assert (report.returncode, report.stderr) == (0, "")
    assert numbers(report.stdout) == {"ipc": [1200, 1200, 0, 0]}


@pytest.mark.parametrize("whom", ["group", "demo alone"])
def test_ctrl_c_lets_what_is_under_way_arrive(endless: subprocess.Popen[str], whom: str) -> None:
    """Exit code 130, a table with nothing lost, no traceback, no process left."""
    if whom == "group":
        os.killpg(endless.pid, signal.SIGINT)
    else:
        endless.send_signal(signal.SIGINT)
    output, errors = farewell(endless)

    assert (endless.returncode, errors) == (130, "")
    assert output.endswith("stopped by SIGINT\n")
    row = re.search(r"^tcp +([\d,]+) +([\d,]+) +0 +0 ", output, re.MULTILINE)
    assert row is not None, output
    assert row[1] == row[2]


def test_a_second_ctrl_c_ends_it_at_once(endless: subprocess.Popen[str]) -> None:
    """Who does not want to wait for the jobs under way does not have to."""
    assert endless.stdout is not None
    endless.send_signal(signal.SIGINT)
    assert any("stopping" in line for line in endless.stdout)
    endless.send_signal(signal.SIGINT)
    output, errors = farewell(endless)

    assert (endless.returncode, errors) == (130, "")
    assert output.endswith("stopped by SIGINT\n")


def test_terminate_ends_it_as_ctrl_c_does(endless: subprocess.Popen[str]) -> None:
    """With the exit code a shell expects of SIGTERM."""
    endless.terminate()
    output, errors = farewell(endless)

    assert (endless.returncode, errors) == (143, "")
    assert output.endswith("stopped by SIGTERM\n")


def test_a_killed_demo_leaves_no_process(endless: subprocess.Popen[str]) -> None:
    """Nobody can tell them any more: their input has ended, so they go."""
    endless.kill()
    _, errors = farewell(endless)

    assert (endless.returncode, errors) == (-signal.SIGKILL, "")


def test_a_process_that_fails_fails_the_demo(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It says which one, does not hang, and its own traceback is on the error stream."""

    def nowhere(*_: object) -> str:
        return "bogus://nowhere"

    monkeypatch.setattr(demo_module, "_address", nowhere)

    code = demo(Plan(transports=("tcp",), workers=1, messages=10, size=64))

    output = capfd.readouterr()
    assert code == 1
    assert re.search(r"failed: the (ventilator|sink) ended with exit code 1", output.out)
    assert "AddressError" in output.err
