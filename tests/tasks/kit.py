"""Cutting: run a coroutine and cancel it exactly at its n-th suspension; then at the next, until it gets through.

A coroutine stops only where it hands something to its loop. So `Cut` stands between the two and counts; nothing is
left to chance, and a scenario that was cut at every one of its suspensions was cancelled everywhere it can be.
"""

from __future__ import annotations

import asyncio
import functools
import types
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import pytest
import trio

from tests.contract.kit import FACES, Asyncio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from tests.contract.kit import Face

T = TypeVar("T")
P = ParamSpec("P")

LOOPS: dict[str, Face] = {name: FACES[name] for name in ("asyncio", "trio")}
MOST = 2000
"""Suspensions that no scenario here has: a sweep that gets so far does not end by itself."""
DENSE = 50
"""Suspensions that are cut one by one; of those that follow, in scenarios that go on alike, ever fewer."""
CLEAR = 3
"""Runs in a row that nothing cut, after which a sweep is over: the number of suspensions varies a little."""


def on_both_loops(
    test: Callable[Concatenate[Face, P], Coroutine[Any, Any, None]],
) -> Callable[Concatenate[Face, P], None]:
    """Make a test of a scenario: once for each event loop, which comes as the argument `face`."""

    @functools.wraps(test)
    def run(face: Face, *args: P.args, **kwargs: P.kwargs) -> None:
        if isinstance(face, Asyncio):
            asyncio.run(test(face, *args, **kwargs))  # not in debug mode, which is slow enough to make other turns
        else:
            face.run(lambda: test(face, *args, **kwargs))

    marked: Callable[Concatenate[Face, P], None] = pytest.mark.parametrize("face", LOOPS.values(), ids=LOOPS)(run)
    return marked


class Cut:
    """One cancellation, at the suspension `at`.

    `late` (asyncio alone; trio has no such moment): what the task waits for is over already, and its next step
    is due in this very turn of the loop, when the cancellation comes.
    """

    def __init__(self, face: Face, at: int, *, late: bool = False) -> None:
        self.face = face
        self.at = at
        self.late = late
        self.suspended = 0
        self.cancelled = False

    async def __call__(self, work: Coroutine[Any, Any, object]) -> None:
        """Run `work` to its end or to its cancellation, which must come out if it was cut."""
        if isinstance(self.face, Asyncio):
            task: asyncio.Task[None] = asyncio.create_task(self._in_task(work))
            await asyncio.wait([task])
            self.cancelled = task.cancelled()
            if not self.cancelled:
                task.result()
        else:
            with trio.CancelScope() as scope:
                await _steps(work, self, scope.cancel)
            self.cancelled = scope.cancelled_caught
        assert self.cancelled == (self.suspended > self.at), "the cancellation was swallowed, or came by itself"

    async def _in_task(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.current_task()
        assert task is not None
        await _steps(work, self, task.cancel)

    def due(self, handed: object, cancel: Callable[[], object]) -> None:
        """Cancel if this suspension is the one; `handed` is what the coroutine gave to its loop."""
        if self.suspended == self.at:
            if not self.late:
                cancel()
            elif isinstance(handed, asyncio.Future):
                future: asyncio.Future[object] = handed  # pyright: ignore[reportUnknownVariableType]  # of whatever
                future.add_done_callback(lambda _: cancel())  # before the task adds its own
            else:
                asyncio.get_running_loop().call_soon(cancel)  # a bare `sleep(0)`: before the task's next step
        self.suspended += 1


@types.coroutine
def _steps(
    work: Coroutine[Any, Any, object], cut: Cut, cancel: Callable[[], object]
) -> Generator[object, object, None]:
    answer: object = None
    error: BaseException | None = None
    while True:
        try:
            handed = work.send(answer) if error is None else work.throw(error)
        except StopIteration:
            return
        cut.due(handed, cancel)
        answer = error = None
        try:
            answer = yield handed
        except BaseException as thrown:  # a cancellation among others
            error = thrown


async def sweep(face: Face, attempt: Callable[[Cut], Awaitable[None]], *, late: bool = False) -> int:
    """Make the attempt again and again, each time cut at a later suspension; return how many were cut."""
    clear = cuts = at = 0
    while at < MOST:
        cut = Cut(face, at, late=late)
        await attempt(cut)
        if cut.cancelled:
            clear = 0
            cuts += 1
        else:
            clear += 1
            if clear == CLEAR:
                return cuts
        at += max(1, at // DENSE)
    raise AssertionError("the scenario has no end")
