"""``nnq demo``: a ventilator, workers and a sink, each a process, and every job counted.

The demo holds no socket of its own: it starts the processes of `nnqpy.cli.roles`, tells them what to do and listens to how
it goes, through their standard streams. Whatever happens to it, their input ends, and so do they.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from nnqpy.cli import nng
from nnqpy.cli.display import Display, rows
from nnqpy.cli.job import Report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import TracebackType

PACED: Final = 1000  # jobs, one a millisecond: for the latency
DRAIN: Final = 5.0  # seconds that jobs under way have to arrive after Ctrl-C
FAREWELL: Final = 5.0  # seconds that a process has to go when its input has ended


class Failed(Exception):
    """A process of the pipeline ended before its work was done."""


@dataclass(frozen=True)
class Plan:
    """What to run: `transports` one after the other, each with its own processes."""

    transports: tuple[str, ...]
    workers: int
    messages: int
    size: int

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        """Read it off the command line."""
        chosen: str = arguments.transport
        return cls(
            transports=("tcp", "ipc") if chosen == "both" else (chosen,),
            workers=arguments.workers,
            messages=arguments.messages,
            size=arguments.size,
        )


@dataclass(frozen=True)
class Outcome:
    """How one pipeline went: `sent` by the ventilator in all, `flooded` of them at full speed in `seconds`."""

    transport: str
    sent: int
    flooded: int
    seconds: float
    report: Report

    @property
    def lost(self) -> int:
        """Jobs that were sent and did not arrive whole."""
        return self.sent - self.report.received

    @property
    def good(self) -> bool:
        """True when every job arrived, once and whole."""
        return not (self.lost or self.report.doubled or self.report.damaged)


def demo(plan: Plan) -> int:
    """Run the plan, print the table, and return the exit code."""
    return asyncio.run(_Demo(plan).run())


class _Demo:
    """One run: which pipeline is on, and whether the user wants it to end."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._nng = nng.version() if plan.workers > 1 else None
        self._display = Display()
        self._stopped_by: signal.Signals | None = None
        self._ventilator: _Child | None = None
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        outcomes: list[Outcome] = []
        self._task = asyncio.create_task(self._pipelines(outcomes))
        failure = ""
        try:
            await self._task
        except asyncio.CancelledError:
            pass  # told twice to stop, or too early to have anything under way
        except Failed as error:
            failure = str(error)
        self._display.clear()
        if outcomes:
            print("\n".join(self._table(outcomes)))
        if failure:
            print(f"failed: {failure}")
        if self._stopped_by is not None:
            print(f"stopped by {self._stopped_by.name}")
            return 128 + self._stopped_by
        return 0 if not failure and all(outcome.good for outcome in outcomes) else 1

    def _stop(self, number: signal.Signals) -> None:
        """First time: send no more and let what is under way arrive. Second time, or when that takes long: end at once."""
        assert self._task is not None  # set before a handler can run: they run in the loop
        first, self._stopped_by = self._stopped_by is None, number
        if first and self._ventilator is not None:
            self._display.note("stopping: waiting for the jobs under way")
            self._ventilator.tell("stop")
            asyncio.get_running_loop().call_later(DRAIN, self._task.cancel)
        else:
            self._task.cancel()

    async def _pipelines(self, outcomes: list[Outcome]) -> None:
        for transport in self._plan.transports:
            if self._stopped_by is None:
                with contextlib.ExitStack() as stack:
                    place = ""
                    if transport == "ipc":
                        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="nnq-demo-"))
                    outcomes.append(await self._pipeline(transport, Path(place)))

    async def _pipeline(self, transport: str, place: Path) -> Outcome:
        plan, display = self._plan, self._display
        display.begin(transport, plan.messages + PACED)
        async with _Crew() as crew:
            ventilator = await crew.start("ventilator", _address(transport, place, "jobs"), plan.size, plan.workers)
            sink = await crew.start("sink", _address(transport, place, "results"), plan.size)
            [source], [goal] = await ventilator.hear("bound"), await sink.hear("bound")
            workers = [
                await crew.start(
                    "nng-worker" if self._nng and number == plan.workers else "worker", number, source, goal
                )
                for number in range(1, plan.workers + 1)
            ]
            await ventilator.hear("ready")

            self._ventilator = ventilator
            ventilator.watch("sent", display.sent)
            sink.watch("received", display.received)
            ventilator.tell("flood", plan.messages)
            flooded, began = map(int, await ventilator.hear("flooded"))
            sink.tell("expect", flooded)
            await sink.hear("reached")
            ventilator.tell("pace", PACED)
            [sent] = map(int, await ventilator.hear("paced"))
            sink.tell("expect", sent)
            await sink.hear("reached")
            self._ventilator = None

            for child in (ventilator, *workers):
                child.dismiss("end")
            sink.dismiss("report")
            report = Report.loads(" ".join(await sink.hear("report")))
        display.end(report.received)
        return Outcome(transport, sent, flooded, max(0.0, (report.flooded_at - began) / 1e9), report)

    def _table(self, outcomes: list[Outcome]) -> list[str]:
        head = ["", "messages sent", "received", "lost", "doubled", "rate", "latency p50", "p99"]
        body = [
            [
                outcome.transport,
                f"{outcome.sent:,}",
                f"{outcome.report.received:,}",
                f"{outcome.lost:,}",
                f"{outcome.report.doubled:,}",
                f"{outcome.flooded / outcome.seconds:,.0f}/s" if outcome.seconds else "-",
                _milliseconds(outcome.report.p50),
                _milliseconds(outcome.report.p99),
            ]
            for outcome in outcomes
        ]
        crew = [f"worker {number}" for number in range(1, self._plan.workers + 1)]
        if self._nng:
            crew[-1] += f" ({self._nng})"
        shares = [[""] + [outcome.transport for outcome in outcomes]]
        for number, name in enumerate(crew, 1):
            counts = [outcome.report.share_of(number) for outcome in outcomes]
            shares.append([name, *(f"{count:,}" for count in counts)])
        kind = (
            "all nnqpy; install pynng to see one of nng's" if not self._nng else "the last one is nng, the others nnqpy"
        )
        return [
            *rows([head, *body]),
            "",
            f"jobs by worker ({kind}):",
            *rows(shares),
            "",
            f"{self._plan.size} bytes a job. Rate: at full speed, ventilator to sink. Latency: the same way, one job a millisecond.",
        ]


class _Child:
    """One process of the pipeline: told what to do through its input, listened to through its output."""

    def __init__(self, role: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None  # both are pipes: see `_Crew.start`
        assert process.stdout is not None
        self.process = process
        self._role = role
        self._input = process.stdin
        self._output = process.stdout
        self._dismissed = False
        self._answers: dict[str, asyncio.Queue[list[str]]] = {}
        self._watchers: dict[str, Callable[[int], None]] = {}

    def tell(self, *words: object) -> None:
        """Write one line to it; to one that is gone, nothing: `listen` raises then."""
        if not self._input.is_closing():
            self._input.write(" ".join(map(str, words)).encode() + b"\n")

    def dismiss(self, *words: object) -> None:
        """Tell it the last thing, after which it is right to go."""
        self._dismissed = True
        self.tell(*words)

    async def hear(self, word: str) -> list[str]:
        """Wait for its next line that begins with `word`; return the rest of it."""
        return await self._answers.setdefault(word, asyncio.Queue()).get()

    def watch(self, word: str, watcher: Callable[[int], None]) -> None:
        """Call `watcher` with the number in each line that begins with `word`."""
        self._watchers[word] = watcher

    async def listen(self) -> None:
        """Take in its lines until it ends.

        Raises:
            Failed: it ended badly, or before it was dismissed.
        """
        async for line in self._output:
            word, *rest = line.decode().split()
            if watcher := self._watchers.get(word):
                watcher(int(rest[0]))
            else:
                self._answers.setdefault(word, asyncio.Queue()).put_nowait(rest)
        code = await self.process.wait()
        if code or not self._dismissed:
            raise Failed(f"the {self._role} ended with exit code {code}")

    def end_input(self) -> None:
        """Close its input: it goes at once, whatever it is doing."""
        self._input.close()


class _Crew:
    """The processes of one pipeline; leaving it waits until all have gone, and makes them go when something failed."""

    def __init__(self) -> None:
        self._children: list[_Child] = []
        self._listeners = asyncio.TaskGroup()

    async def start(self, role: str, *arguments: object) -> _Child:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "nnqpy.cli.roles", role, *map(str, arguments)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # a Ctrl-C on the terminal is for the demo, which then tells them
        )
        child = _Child(role, process)
        self._children.append(child)
        self._listeners.create_task(child.listen())
        return child

    async def __aenter__(self) -> Self:
        await self._listeners.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._listeners.__aexit__(kind, error, trace)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # the first to fail; the others may have failed because of it
        finally:
            await self._see_off()

    async def _see_off(self) -> None:
        for child in self._children:
            child.end_input()
        try:
            async with asyncio.timeout(FAREWELL):
                await asyncio.gather(*(child.process.wait() for child in self._children))
        except TimeoutError:
            pass
        finally:  # also when the user grows impatient
            for child in self._children:
                if child.process.returncode is None:
                    child.process.kill()


def _address(transport: str, place: Path, name: str) -> str:
    return "tcp://127.0.0.1:0" if transport == "tcp" else f"ipc://{place / name}"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.2f} ms"
