"""The trio face: the same names as ``nnqpy.asyncio``, with trio's cancellation.

Every call is a cancellation point before it does anything; it lets other tasks run when it has to wait, and at
least once a batch. A system task watches a socket's poller while one of the run's tasks waits.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import trio

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
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from trio.lowlevel import TrioToken

    from nnqpy.message import Body
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


def _token() -> TrioToken | None:
    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None


class _TaskWaiter:
    """One task that waits; woken from any thread."""

    __slots__ = ("_event", "_token")

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._event = trio.Event()

    @property
    def woken(self) -> bool:
        """Whether somebody has ended the wait."""
        return self._event.is_set()

    def wake(self) -> None:
        """End the wait."""
        if _token() is self._token:
            self._event.set()
            return
        try:
            self._token.run_sync_soon(self._event.set)
        except (trio.RunFinishedError, OSError):
            pass  # the run is over (or was broken off, and its descriptors are closed), and the task with it

    async def wait(self, deadline: float | None) -> bool:
        """Wait to be woken; False when the time is over."""
        if deadline is None:
            await self._event.wait()
            return True
        with trio.move_on_after(max(0.0, deadline - monotonic())):
            await self._event.wait()
        return self._event.is_set()


class _Watch:
    """One run's eye on one turn's poller, open while somebody of the run stands in the line."""

    __slots__ = ("_scope", "_token", "_turn", "_work", "on")

    def __init__(self, turn: Turn, work: Callable[[], None]) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._turn = turn
        self._work = work
        self._scope = trio.CancelScope()
        self.on = False

    def start(self) -> None:
        """Watch from now on."""
        if not self.on:
            self.on = True
            self._turn.watched += 1
            self._scope = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._run, name="nnqpy-watch")

    def stop_from_anywhere(self) -> None:
        """Watch no more; from any thread."""
        if _token() is self._token:
            self._scope.cancel()
            return
        try:
            self._token.run_sync_soon(self._scope.cancel)
        except trio.RunFinishedError:
            pass

    def over(self) -> bool:
        """Whether the run is another one than this, and the watch not open."""
        return not self.on and self._token is not _token()

    async def _run(self) -> None:
        try:
            with self._scope:
                while True:
                    if not self._turn.line:
                        break
                    await trio.lowlevel.wait_readable(self._turn.poller.fileno())
                    self._work()
                    await trio.lowlevel.checkpoint()
        finally:
            self.on = False
            self._turn.watched -= 1


class Socket(TaskSocket):
    """What all trio sockets have."""

    def _waiter(self) -> _TaskWaiter:
        return _TaskWaiter()

    def _new_watch(self, turn: Turn, work: Callable[[], None]) -> _Watch:
        return _Watch(turn, work)

    async def enter(self) -> None:
        """Begin a call: a cancellation point before anything is done."""
        await trio.lowlevel.checkpoint_if_cancelled()

    async def _together(self, works: Sequence[Callable[[], Awaitable[None]]]) -> None:
        async with trio.open_nursery() as nursery:
            for work in works:
                nursery.start_soon(work)

    def _soon(self, flush: Callable[[], None]) -> None:
        trio.lowlevel.current_trio_token().run_sync_soon(flush)

    def _here(self) -> TrioToken:
        return trio.lowlevel.current_trio_token()

    async def _breathe(self) -> None:
        await trio.lowlevel.checkpoint()


class _Sending(TaskSending, Socket):
    async def send(self, body: Body, *, timeout: float | None = None) -> None:  # inherited
        await trio.lowlevel.checkpoint_if_cancelled()
        await super().send(body, timeout=timeout)

    async def send_many(self, bodies: Iterable[Body], *, timeout: float | None = None) -> int:
        await trio.lowlevel.checkpoint_if_cancelled()
        return await super().send_many(bodies, timeout=timeout)


class _Receiving(TaskReceiving, Socket):
    async def recv(self, *, timeout: float | None = None) -> bytes:  # inherited
        await trio.lowlevel.checkpoint_if_cancelled()
        return await super().recv(timeout=timeout)

    async def recv_many(self, max: int = 256, *, timeout: float | None = None) -> list[bytes]:  # noqa: A002  # the plain word
        await trio.lowlevel.checkpoint_if_cancelled()
        return await super().recv_many(max, timeout=timeout)


class Push(_Sending):
    """Deals messages evenly to the Pull sockets that have room; waits when none has."""

    _pattern = PushCore


class Pull(_Receiving):
    """Takes messages from all its Push sockets, fairly."""

    _pattern = PullCore


class Pair(_Sending, _Receiving):
    """Talks to exactly one other Pair: the first that comes, until it leaves."""

    _pattern = PairCore


class Pair1(TaskPair1Socket, Socket):
    """A Pair of version 1, whose messages count the steps they made; with ``poly`` it talks to many."""


class Pub(SpreadKind, _Sending):
    """Sends everything to all Sub sockets that are attached; a slow one misses messages and slows no other."""

    _pattern = PubCore


class Sub(SubKind, _Receiving):
    """Receives what begins with one of its prefixes; from all Pub sockets, fairly."""


class Bus(SpreadKind, _Sending, _Receiving):
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
