"""What holds for every test: reproducible hypothesis runs in CI, and nothing left behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from nnqpy import reactor
from nnqpy.turns import State
from tests.kit.certificates import certificates
from tests.kit.instructions import unwatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nnqpy.turns import Turns

__all__ = ["certificates", "nothing_left_behind"]

settings.register_profile(
    "ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("dev", deadline=None)  # a shared machine's pauses are no bug of ours
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") == "true" else "dev"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whoever runs us in the background of a shell has Ctrl-C ignored, and our children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def open_sockets() -> set[Turns]:
    """Return the sockets of this process that nobody has closed."""
    return {turns for turns in tuple(reactor.sockets) if turns.state is State.OPEN}


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that leaves a socket, a thread or a child process of its own: it would disturb another one.

    What a test had watched instruction by instruction is as it was.
    """
    sockets, threads = open_sockets(), set(threading.enumerate())
    failed_before = request.session.testsfailed
    yield
    unwatch()
    if request.session.testsfailed > failed_before:
        return  # what a failed test leaves is held by its traceback: one report is enough
    if open_sockets() - sockets:
        gc.collect()  # one that nobody holds warns now, in this test's name
    assert not open_sockets() - sockets, "a socket was left open"
    for thread in set(threading.enumerate()) - threads:
        if not thread.daemon:
            thread.join(timeout=5)
    left = [thread.name for thread in set(threading.enumerate()) - threads if not thread.daemon]
    assert not left, f"threads left running: {left}"
    assert not multiprocessing.active_children()
