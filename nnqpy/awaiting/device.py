"""Devices in the task faces: a task for each direction."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from nnqpy.awaiting.raw import TaskRawSocket
from nnqpy.base import MANY
from nnqpy.errors import Closed, ForkedError, TimedOut
from nnqpy.kinds.device import DeviceKind

if TYPE_CHECKING:
    from nnqpy.kinds.device import Tap, Way
    from nnqpy.message import Message


class TaskDevice(DeviceKind[TaskRawSocket]):
    """Carries messages between two raw sockets, both ways where both can: a proxy, a broker, a forwarder.

    The sockets stay yours to close, and closing one of them ends it too.
    """

    async def run(self) -> None:
        """Carry messages until `stop`, or until a socket is closed, or until it is cancelled; nothing is lost by that.

        Raises:
            BaseException: what the tap raises; in a group of exceptions if there are two directions.
        """
        works = [partial(self._work, way) for way in self._ways]
        if len(works) == 1:
            await works[0]()
        else:
            await self._ways[0].source._together(works)

    async def _work(self, way: Way[TaskRawSocket]) -> None:
        """Carry messages one way until somebody ends it; then the other way ends too."""
        way.begin()
        try:
            await self._carry_on(way)
        finally:
            way.end()
            self.stop()

    async def _carry_on(self, way: Way[TaskRawSocket]) -> None:
        source, until = way.source, way.until
        while not until.over:
            await source.enter()
            try:
                messages: list[Message] = await source._next_many(MANY, None, until)
            except ForkedError:
                raise
            except (Closed, TimedOut):
                return
            try:
                await self._carry(way, messages)
            finally:
                if messages:
                    source._put_back(messages)

    async def _carry(self, way: Way[TaskRawSocket], messages: list[Message]) -> None:
        """Hand messages on; those that nobody takes until it is over are left in the list."""
        sink = way.sink
        payloads = way.payloads(messages)
        while payloads:
            with suppress(Closed):
                taken = sink._turns.place_many(payloads)
                way.handed += taken
                del payloads[:taken], messages[:taken]
                if payloads:
                    await sink._wait_out(partial(way.ready, payloads[0]), None)
            if way.until.over or sink.closed:
                break


async def device(front: TaskRawSocket, back: TaskRawSocket | None = None, *, tap: Tap | None = None) -> None:
    """Carry messages between two raw sockets until one of them is closed; see `Device`, which can be stopped."""
    await TaskDevice(front, back, tap=tap).run()
