"""What two threads do to each other, without leaving it to chance: every schedule, one after the other.

`intrude` lets one thread's whole action come in between any two instructions of another's; it needs no second thread
for that and is quick. `schedules` has two threads in lock-step, with two switches between them; nearly every fault of
two threads shows with so few (Musuvathi and Qadeer, "Iterative context bounding for systematic testing", PLDI 2007).
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from tests.kit.instructions import is_within, watching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from nnqpy.routing.core import SocketCore

PATIENCE: Final = 10.0
"""Seconds after which an actor that is never given the stage gives up: only where the tool is at fault."""


def intrude(
    action: Callable[[], object], at: int, other: Callable[[], object], core: SocketCore, *modules: str
) -> bool:
    """Call `action`, and `other` in the middle of it; False, without that call, if `action` has no so many steps.

    Args:
        action: whose steps are counted: the instructions in `modules`, from 0.
        at: the step before which `other` comes in.
        other: what another thread does at that moment.
        core: whose short lock would stop the other thread: no step counts while it is held.
        modules: names of modules, or of packages with all that is in them.
    """
    watcher = _Intruder(at, other, core)
    with watching(watcher, *modules):
        action()
    return watcher.came


class _Intruder:
    def __init__(self, at: int, other: Callable[[], object], core: SocketCore) -> None:
        self.came = False
        self._left = at
        self._other = other
        self._core = core

    def entered(self, frame: FrameType, ours: bool) -> None:
        """Nothing depends on that."""

    def step(self, frame: FrameType, place: int) -> None:
        if self.came or self._core.lock.locked():
            return
        if not self._left:
            self.came = True
            self._other()  # nothing is watched while a watcher runs
        self._left -= 1


class Actor:
    """One of the two threads.

    Args:
        action: what it does.
        modules: where its steps, which are lines, are counted: names of modules, or of packages with all in them.
    """

    def __init__(self, action: Callable[[], object], *modules: str) -> None:
        self.action = action
        self.modules = modules


def schedules(scene: Callable[[], tuple[Actor, Actor]]) -> Iterator[tuple[int, int]]:
    """Play every schedule in turn: the first up to a step, the second up to a step, the first to its end, the second.

    Each time a new scene is made, played, and the two steps are yielded, so that the caller can look at the outcome.
    Play the two the other way round for the schedules that the second begins.
    """
    first = second = 0
    while True:
        stage = Stage(*scene(), first, second)
        stage.play()
        yield first, second
        if not stage.paused[0]:
            return  # it ended before that step
        first, second = (first, second + 1) if stage.paused[1] else (first + 1, 0)


class Stage:
    """Two actors of whom one moves at a time."""

    def __init__(self, one: Actor, other: Actor, first: int, second: int) -> None:
        self._actors = (one, other)
        self._until = [first, second]
        self._batons = (threading.Semaphore(0), threading.Semaphore(0))
        self._done = [False, False]
        self.paused = [False, False]
        """Which of the two reached the step at which it was to give way."""
        self.errors: list[BaseException] = []

    def play(self) -> None:
        """Play to the end; raises what an actor raised."""
        threads = [threading.Thread(target=self._act, args=(number,)) for number in (0, 1)]
        _stages.on = self
        try:
            for thread in threads:
                thread.start()
            self._batons[0].release()
            for thread in threads:
                thread.join(2 * PATIENCE)
        finally:
            _stages.on = None
        if self.errors:
            raise self.errors[0]

    def _act(self, number: int) -> None:
        actor = self._actors[number]

        def enter(frame: FrameType, event: str, arg: Any) -> Callable[..., Any] | None:  # as sys.settrace has it
            return step if is_within(frame.f_globals.get("__name__", ""), actor.modules) else None

        def step(frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
            if event == "line":
                if not self._until[number]:
                    self.paused[number] = True
                    self.give_way(number)
                self._until[number] -= 1
            return step

        try:
            self._wait(number)
            _stages.mine.number = number
            sys.settrace(enter)
            try:
                actor.action()
            finally:
                sys.settrace(None)
        except BaseException as error:
            self.errors.append(error)
        finally:
            self._done[number] = True
            self._batons[1 - number].release()

    def give_way(self, number: int) -> None:
        """Let the other go on until it gives way, or ends."""
        if not self._done[1 - number]:
            self._batons[1 - number].release()
            self._wait(number)

    def _wait(self, number: int) -> None:
        assert self._batons[number].acquire(timeout=PATIENCE), "nobody gave the stage back"


class _Stages:
    """What is on now, and who of the two a thread is."""

    def __init__(self) -> None:
        self.on: Stage | None = None
        self.mine = threading.local()


_stages = _Stages()


class PoliteLock:
    """A lock whose waiter lets the other actor go on instead of stopping both."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        while not self._lock.acquire(blocking=False):
            stage = _stages.on
            assert stage is not None, "nobody is there to give the lock back"
            stage.give_way(_stages.mine.number)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def polite(core: SocketCore) -> None:
    """Give a core a PoliteLock for its short lock."""
    core.lock = PoliteLock()  # type: ignore[assignment]  # a core only ever says `with self.lock`
