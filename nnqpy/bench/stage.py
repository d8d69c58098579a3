"""Stage: the worker processes of one measurement, started fresh and always ended.

A worker that says nothing for too long is killed and the measurement is marked "hung"; one that ends early is
marked "failed"; both carry what the worker wrote to standard error.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Self

from nnqpy.bench.libraries import LIBRARIES
from nnqpy.bench.tasks import Task

if TYPE_CHECKING:
    from types import TracebackType

    from nnqpy.bench.desk import Value, Words

__all__ = ["Actor", "Stage", "StageError"]

_GRACE = 3.0  # seconds a worker has to end by itself, beyond its own limit or after it was told to quit


class StageError(Exception):
    """A measurement that came to nothing.

    Args:
        kind: "hung" or "failed", for the table.
        detail: what the worker wrote to standard error.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail


class Actor:
    """One worker process, seen from the parent."""

    def __init__(self, task: Task, process: asyncio.subprocess.Process) -> None:
        self._task = task
        self._process = process
        assert process.stderr is not None, "started with a pipe"
        self._complaints = asyncio.ensure_future(process.stderr.read())

    @property
    def exit_code(self) -> int | None:
        """How the worker ended, None while it runs."""
        return self._process.returncode

    def say(self, **words: Value) -> None:
        """Tell the worker one thing."""
        assert self._process.stdin is not None, "started with a pipe"
        self._process.stdin.write(json.dumps(words).encode() + b"\n")

    async def hear(self) -> Words:
        """Wait for what the worker says next.

        Raises:
            StageError: it ended instead, or its time is up.
        """
        assert self._process.stdout is not None, "started with a pipe"
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), self._task.limit + _GRACE)
        except TimeoutError:
            await self.end()
            raise StageError("hung", await self.complaint()) from None
        if not line:
            await self.leave()
            detail = await self.complaint()
            raise StageError("hung" if detail.startswith("Timeout (") else "failed", detail)
        words: dict[str, Value] = json.loads(line)
        return words

    async def leave(self) -> str:
        """Wait for the worker to end after its last word; returns what is to be said of its way to go, "" if nothing."""
        try:
            await asyncio.wait_for(self._process.wait(), _GRACE)
        except TimeoutError:
            await self.end()
            return "hung at close"
        return "failed at close" if self._process.returncode else ""

    async def end(self) -> None:
        """Kill the worker if it still runs, and bury it."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await asyncio.wait([self._complaints])

    async def complaint(self) -> str:
        """What the worker, which has ended, wrote to standard error."""
        return (await self._complaints).decode(errors="replace").strip()


class Stage:
    """The place where one library plays one cell; leaving it ends every worker.

    Args:
        library: whom the workers play for.
        size: bytes of a body.
        seconds: length of the measured part.
        limit: seconds after which a worker ends itself.
        peers: connections of a crowd.
        mode: the variant of a role.
    """

    def __init__(
        self, library: str, *, size: int, seconds: float, limit: float, peers: int = 1, mode: str = ""
    ) -> None:
        self.peers = peers
        self.mode = mode
        self._library = library
        self._size = size
        self._seconds = seconds
        self._limit = limit
        self._actors: list[Actor] = []

    async def start(self, role: str) -> Actor:
        """Start a fresh interpreter that plays `role`."""
        task = Task(role, self._library, self._size, self._seconds, self.peers, self.mode, self._limit)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "nnqpy.bench.worker",
            task.dump(),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env={**_environment(), **LIBRARIES[self._library].environment},
        )
        actor = Actor(task, process)
        self._actors.append(actor)
        return actor

    async def curtain(self) -> str:
        """Wait for all workers, who have said their last; returns what is to be said of how they ended, "" if nothing."""
        return ", ".join(sorted({note for actor in self._actors if (note := await actor.leave())}))

    async def complaints(self) -> str:
        """End all workers; returns what they wrote to standard error: one may have failed because another did."""
        await self._end()
        return "\n".join([said for actor in self._actors if (said := await actor.complaint())])

    async def _end(self) -> None:
        for actor in self._actors:
            await actor.end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()


def _environment() -> dict[str, str]:
    """Let the worker import this very package: a source tree is named to it, an installed one it finds by itself."""
    root = str(Path(__file__).parents[2])
    if root in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return dict(os.environ)
    paths = filter(None, (root, os.environ.get("PYTHONPATH")))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
