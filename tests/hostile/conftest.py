"""Hundreds of these tests look for what was left behind: the collector need not look through the imports each time."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package", autouse=True)
def old_objects_are_left_alone() -> Iterator[None]:
    """Keep what was there before out of every collection (it took most of the time of these tests)."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
