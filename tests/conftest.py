"""What holds for every test: reproducible hypothesis runs in CI, and nothing left behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile(
    "ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("dev", deadline=None)  # a shared machine's pauses are no bug of ours
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") == "true" else "dev"))


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail the test that leaves a thread of its own or a child process: it would disturb another one."""
    before = set(threading.enumerate())
    yield
    gc.collect()  # an unclosed socket or file warns now, in this test's name
    for thread in set(threading.enumerate()) - before:
        if not thread.daemon:
            thread.join(timeout=5)
    left = [thread.name for thread in set(threading.enumerate()) - before if not thread.daemon]
    assert not left, f"threads left running: {left}"
    assert not multiprocessing.active_children()
