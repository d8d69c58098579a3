"""The asyncio face: ``await`` in any task of any loop; cancelling loses nothing.

A loop watches a socket's poller while one of its tasks waits. What a task sends is written at the end of the
loop's turn, or when a batch is full, or before the task waits for an answer.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from nnqpy.awaiting.device import TaskDevice as Device
from nnqpy.awaiting.device import device
from nnqpy.awaiting.dialogue import TaskAnswersContext as AnswersContext
from nnqpy.awaiting.dialogue import TaskAnswersSocket, TaskReqSocket, TaskSurveyorSocket
from nnqpy.awaiting.dialogue import TaskReqContext as ReqContext
from nnqpy.awaiting.dialogue import TaskSurvey as Survey
from nnqpy.awaiting.dialogue import TaskSurveyorContext as SurveyorContext
from nnqpy.awaiting.pair1 import TaskPair1Socket
from nnqpy.awaiting.raw import TaskRawReceiving, TaskRawSending
from nnqpy.awaiting.sockets import TaskEvents as Events
from nnqpy.awaiting.sockets import TaskReceiving, TaskSending, TaskSocket
from nnqpy.kinds.device import DeviceStats
from nnqpy.kinds.dialogue import RepKind, RespondentKind
from nnqpy.kinds.raw import (
    RawBusKind,
    RawPair1Kind,
    RawPairKind,
    RawPubKind,
    RawPullKind,
    RawPushKind,
    RawRepKind,
    RawReqKind,
    RawRespondentKind,
    RawSubKind,
    RawSurveyorKind,
)
from nnqpy.kinds.spread import SpreadKind, SubKind
from nnqpy.patterns.bus import BusCore
from nnqpy.patterns.pair import PairCore
from nnqpy.patterns.pipeline import PullCore, PushCore
from nnqpy.patterns.pubsub import PubCore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from nnqpy.turns import Turn

__all__ = [
    "AnswersContext",
    "Bus",
    "Device",
    "DeviceStats",
    "Events",
    "Pair",
    "Pair1",
    "Pub",
    "Pull",
    "Push",
    "RawBus",
    "RawPair",
    "RawPair1",
    "RawPub",
    "RawPull",
    "RawPush",
    "RawRep",
    "RawReq",
    "RawRespondent",
    "RawSub",
    "RawSurveyor",
    "Rep",
    "Req",
    "ReqContext",
    "Respondent",
    "Socket",
    "Sub",
    "Survey",
    "Surveyor",
    "SurveyorContext",
    "device",
]


class _TaskWaiter:
    """One task that waits; woken from any thread."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[bool] = loop.create_future()

    @property
    def woken(self) -> bool:
        """Whether somebody has ended the wait, and it was not over already."""
        future = self._future
        return future.done() and not future.cancelled() and future.result()

    def wake(self) -> None:
        """End the wait."""
        if asyncio._get_running_loop() is self._loop:  # noqa: SLF001  # exported, for libraries
            self._settle(True)
            return
        try:
            self._loop.call_soon_threadsafe(self._settle, True)
        except RuntimeError:
            pass  # the loop is closed, and the task with it

    def _settle(self, woken: bool) -> None:  # a future's result
        if not self._future.done():
            self._future.set_result(woken)

    async def wait(self, deadline: float | None) -> bool:
        """Wait to be woken; False when the time is over."""
        if deadline is None:
            return await self._future
        timer = self._loop.call_later(max(0.0, deadline - monotonic()), self._settle, False)
        try:
            return await self._future
        finally:
            timer.cancel()


class _Watch:
    """One loop's eye on one turn's poller, open while somebody of the loop stands in the line."""

    __slots__ = ("_loop", "_turn", "_work", "on")

    def __init__(self, loop: asyncio.AbstractEventLoop, turn: Turn, work: Callable[[], None]) -> None:
        self._loop = loop
        self._turn = turn
        self._work = work
        self.on = False

    def start(self) -> None:
        """Watch from now on."""
        if not self.on:
            self.on = True
            self._turn.watched += 1
            self._loop.add_reader(self._turn.poller.fileno(), self._ready)

    def stop(self) -> None:
        """Watch no more."""
        if self.on:
            self.on = False
            self._turn.watched -= 1
            self._loop.remove_reader(self._turn.poller.fileno())

    def over(self) -> bool:
        """Whether the loop was closed, also with the watch open."""
        if not self._loop.is_closed():
            return False
        if self.on:
            self.on = False
            self._turn.watched -= 1
        return True

    def stop_from_anywhere(self) -> None:
        """Watch no more; from any thread."""
        if asyncio._get_running_loop() is self._loop:  # noqa: SLF001  # exported, for libraries
            self.stop()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.stop)

    def _ready(self) -> None:
        if self._turn.line:
            self._work()
        else:
            self.stop()  # nobody waits: what comes stays in the kernel, and its sender feels it


class Socket(TaskSocket):
    """What all asyncio sockets have."""

    def _waiter(self) -> _TaskWaiter:
        return _TaskWaiter(asyncio.get_running_loop())

    def _new_watch(self, turn: Turn, work: Callable[[], None]) -> _Watch:
        return _Watch(asyncio.get_running_loop(), turn, work)

    async def _together(self, works: Sequence[Callable[[], Awaitable[None]]]) -> None:
        async def run(work: Callable[[], Awaitable[None]]) -> None:
            await work()

        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(run(work))

    def _soon(self, flush: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(flush)

    def _here(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def _breathe(self) -> None:
        await asyncio.sleep(0)


class Push(TaskSending, Socket):
    """Deals messages evenly to the Pull sockets that have room; waits when none has."""

    _pattern = PushCore


class Pull(TaskReceiving, Socket):
    """Takes messages from all its Push sockets, fairly."""

    _pattern = PullCore


class Pair(TaskSending, TaskReceiving, Socket):
    """Talks to exactly one other Pair: the first that comes, until it leaves."""

    _pattern = PairCore


class Pair1(TaskPair1Socket, Socket):
    """A Pair of version 1, whose messages count the steps they made; with ``poly`` it talks to many."""


class Pub(SpreadKind, TaskSending, Socket):
    """Sends everything to all Sub sockets that are attached; a slow one misses messages and slows no other."""

    _pattern = PubCore


class Sub(SubKind, TaskReceiving, Socket):
    """Receives what begins with one of its prefixes; from all Pub sockets, fairly."""


class Bus(SpreadKind, TaskSending, TaskReceiving, Socket):
    """Talks to all other Bus sockets that are attached to it; one that is behind misses the newest messages."""

    _pattern = BusCore


class Req(TaskReqSocket, Socket):
    """Asks a Rep, and waits for its reply; asks another one if it dies."""


class Rep(RepKind, TaskAnswersSocket, Socket):
    """Answers each request by the way it came."""


class Surveyor(TaskSurveyorSocket, Socket):
    """Asks all Respondents that are attached, and takes their replies until a deadline."""


class Respondent(RespondentKind, TaskAnswersSocket, Socket):
    """Answers surveys, or not, each by the way it came."""


class RawPush(RawPushKind, TaskRawSending, Socket):
    """Deals messages evenly to the Pull sockets that have room, as a Push does."""


class RawPull(RawPullKind, TaskRawReceiving, Socket):
    """Takes messages from all its Push sockets, and says whose each is."""


class RawPair(RawPairKind, TaskRawSending, TaskRawReceiving, Socket):
    """Talks to exactly one other Pair, and says whose a message is."""


class RawPair1(RawPair1Kind, TaskRawSending, TaskRawReceiving, Socket):
    """A Pair of version 1 that shows the steps a message has made, and counts one more when it sends it on."""


class RawPub(RawPubKind, TaskRawSending, Socket):
    """Sends everything to all Sub sockets that are attached, as a Pub does."""


class RawSub(RawSubKind, TaskRawReceiving, Socket):
    """Receives everything from all Pub sockets, and says whose each is."""


class RawBus(RawBusKind, TaskRawSending, TaskRawReceiving, Socket):
    """Talks to all other Bus sockets; what it sends on does not go back to the peer that it came from."""


class RawReq(RawReqKind, TaskRawSending, TaskRawReceiving, Socket):
    """Sends requests that have their header, to whoever has room, and receives every reply."""


class RawRep(RawRepKind, TaskRawSending, TaskRawReceiving, Socket):
    """Receives requests with header and peer, and answers by them: later, in any order, any number of times."""


class RawSurveyor(RawSurveyorKind, TaskRawSending, TaskRawReceiving, Socket):
    """Sends surveys that have their header to all Respondents, and receives every reply."""


class RawRespondent(RawRespondentKind, TaskRawSending, TaskRawReceiving, Socket):
    """Receives surveys with header and peer, and answers by them: later, in any order, any number of times."""
