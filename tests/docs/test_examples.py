"""Every example of the documentation runs and prints what the documentation shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
INCLUDE = re.compile(r"```\{literalinclude\} (\S+)")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_prints_what_the_page_shows(example: Path) -> None:
    """It ends by itself with exit code 0 and nothing on the error stream, warnings switched on."""
    run = subprocess.run(
        [sys.executable, "-W", "default", example], capture_output=True, text=True, check=False, timeout=50
    )

    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == example.with_suffix(".out").read_text()


def test_every_example_and_its_output_is_shown_on_a_page() -> None:
    """A page includes the very file that runs, so none can be out of date; no example is an orphan."""
    shown = {
        (page.parent / name).resolve()
        for page in DOCS.rglob("*.md")
        for name in INCLUDE.findall(page.read_text())
        if "_build" not in page.parts
    }

    assert len(EXAMPLES) >= 6
    assert {path for example in EXAMPLES for path in (example, example.with_suffix(".out"))} <= shown
