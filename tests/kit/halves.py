"""The two halves of nnqpy: what exists in Python and compiled is tested as both, whichever of them runs."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import pytest

HALVES: Final[dict[str, Any]] = {"Python": None}
"""What `half` may be, by its name. That the compiled one was built where it can be is tests/test_accel.py's to see."""
if find_spec("nnqpy._accel") is not None:
    HALVES["compiled"] = import_module("nnqpy._accel")

halves = pytest.mark.parametrize("half", HALVES.values(), ids=HALVES.keys())
