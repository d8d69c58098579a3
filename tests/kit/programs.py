"""Programs that a test drives: where one is missing the test is skipped, and in CI it fails: a skip would hide it."""

from __future__ import annotations

import os
import shutil

import pytest


def program(*names: str) -> str:
    """Return the path of the first of these programs that is here."""
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    missing = f"none of {', '.join(names)} is installed"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{missing} (CI=true: a missing program is a failure)", pytrace=False)
    pytest.skip(missing)
