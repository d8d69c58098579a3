"""Programs of their own process, and how a test talks with one: a line at a time, with patience that ends."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from nnqpy import reactor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 15.0
"""Seconds after which what should have happened is given up: long on purpose, the machine may be busy."""


class Child:
    """A program that runs beside the test."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        assert process.stdout is not None
        self._out = process.stdout.fileno()
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._out, selectors.EVENT_READ)
        self._said = b""

    def hear(self) -> str:
        """Return the next line that it says."""
        deadline = monotonic() + PATIENCE
        while b"\n" not in self._said:
            assert self._ready.select(deadline - monotonic()), f"the program is silent; it said {self._said!r}"
            more = os.read(self._out, 1 << 16)
            assert more, f"the program ended; it said {self._said!r} and {self._complaints()}"
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def rest(self) -> str:
        """Return all that it still says until its end."""
        deadline = monotonic() + PATIENCE
        while self._ready.select(deadline - monotonic()) and (more := os.read(self._out, 1 << 16)):
            self._said += more
        rest, self._said = self._said.decode(), b""
        return rest

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def interrupt(self) -> int:
        """Send SIGINT until the program says that its handler ran; return how often it took.

        Once, nearly always. A signal that comes between the interpreter's last look and the system call it then
        waits in is seen at the next event only: that is CPython's own gap, and people press the keys again.
        """
        for times in range(1, 1 + int(PATIENCE)):
            self.signal(signal.SIGINT)
            if b"\n" in self._said or self._ready.select(1):
                assert self.hear() == "interrupted"
                return times
        raise AssertionError("no signal is looked at")

    def end(self) -> tuple[int, str]:
        """Wait for its end; return its code and what it complained of."""
        code = self.process.wait(PATIENCE)
        return code, self._complaints()

    def _complaints(self) -> str:
        assert self.process.stderr is not None
        self.process.wait(PATIENCE)
        return self.process.stderr.read().decode()

    def done(self) -> None:
        """Let go of it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._ready.close()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@contextmanager
def child(program: str, *args: str, flags: tuple[str, ...] = ()) -> Generator[Child]:
    """Start one of the programs beside this file; at the end of the block it is gone."""
    process = subprocess.Popen(
        [sys.executable, *flags, "-m", f"tests.process.programs.{program}", *args],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    one = Child(process)
    try:
        yield one
    finally:
        one.done()


def until(claim: Callable[[], object], timeout: float = PATIENCE, *, tell: Callable[[], object] = tuple) -> None:
    """Wait until `claim()` is true; if it never is, `tell` says how things stand."""
    deadline = monotonic() + timeout
    while not claim():
        assert monotonic() < deadline, f"not true within {timeout} s: {tell()}"
        threading.Event().wait(0.001)


@contextmanager
def switch_interval(seconds: float) -> Generator[None]:
    """Have threads take turns that often; set and put back while nobody of ours has lowered it."""
    janitor = reactor.janitor()

    def at_rest() -> bool:
        lowered = sys.getswitchinterval() <= reactor.SWITCH
        return not (lowered or janitor._ticking or janitor._hurrying or janitor._switch)

    def how_it_is() -> object:
        busy = [(turns.core.proto.label, turns.state.name, turns.tend().name) for turns in list(reactor.sockets)]
        return janitor._ticking, janitor._hurrying, janitor._switch, janitor._dirty, busy

    until(at_rest, tell=how_it_is)
    default = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
        until(at_rest, tell=how_it_is)
    finally:
        sys.setswitchinterval(default)
