"""What the README says is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nnqpy.cli import _parser

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["demo", "test"])
def test_a_command_is_one_line_that_can_be_copied(name: str) -> None:
    """CI runs the very lines: it finds them by their marks."""
    block = re.search(rf"^<!-- {name} -->\n```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)

    assert block is not None
    assert block[1].count("\n") == 1
    assert block[1].startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_the_numbers_of_the_demo_are_the_defaults() -> None:
    """Three workers and 200,000 jobs over each transport."""
    defaults = _parser().parse_args(["demo"])

    assert (defaults.workers, defaults.messages, defaults.transport) == (3, 200_000, "both")
    assert "three workers" in README
    assert "200,000 jobs" in README


def test_the_pipeline_of_the_tour_runs(tmp_path: Path) -> None:
    """Its two programs, as they stand but for the address, in two processes: the job arrives."""
    sender, receiver = (code.replace("tcp://127.0.0.1:5555", f"ipc://{tmp_path}/jobs") for code in PYTHON[:2])

    with subprocess.Popen([sys.executable, "-u", "-c", receiver], stdout=subprocess.PIPE, text=True) as worker:
        try:
            subprocess.run([sys.executable, "-c", sender], check=True, timeout=30)
            assert worker.stdout is not None
            assert worker.stdout.readline() == "resize 17.png\n"
        finally:
            worker.kill()


def test_the_question_of_the_tour_is_answered(tmp_path: Path) -> None:
    """Its two programs, likewise: the reply is printed."""
    server, client = (code.replace("tcp://127.0.0.1:5556", f"ipc://{tmp_path}/service") for code in PYTHON[3:5])

    with subprocess.Popen([sys.executable, "-c", server]) as service:
        try:
            run = subprocess.run([sys.executable, "-c", client], capture_output=True, text=True, check=True, timeout=30)
        finally:
            service.kill()

    assert run.stdout == "HELLO\n"


def test_the_other_programs_of_the_tour_are_python() -> None:
    """Whole programs or parts of them: they compile."""
    for code in PYTHON:
        compile(code, "README.md", "exec")
