"""The browser's module: its own tests, run by node where there is one, and that it ships with the package."""

from __future__ import annotations

import subprocess
from importlib.resources import files
from pathlib import Path

from tests.kit.programs import program

HERE = Path(__file__).resolve().parent


def test_the_module_is_a_part_of_the_package() -> None:
    """Where `importlib.resources` finds it, with no import of its own: a page needs this one file."""
    module = files("nnqpy").joinpath("web", "sp.js").read_text(encoding="utf-8")

    assert all(f"export class {name} " in module for name in ("Sub", "Pub", "Req", "Rep", "Push", "Pull", "Pair"))
    assert not [line for line in module.splitlines() if line.startswith("import ")]


def test_the_patterns_hold() -> None:
    """What ``sp.test.mjs`` says, over connections that it plays."""
    report = subprocess.run(
        [program("node"), "--test", "--test-reporter=tap", "sp.test.mjs"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )

    assert report.returncode == 0, report.stdout[-4000:] + report.stderr
