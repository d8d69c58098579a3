"""Devices in the blocking face: a thread for each direction."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Self

from nnqpy.base import MANY
from nnqpy.blocking.raw import RawSocket
from nnqpy.errors import Closed, ForkedError, TimedOut
from nnqpy.kinds.device import DeviceKind
from nnqpy.waiting import wait_out

if TYPE_CHECKING:
    from types import TracebackType

    from nnqpy.kinds.device import Tap, Way
    from nnqpy.message import Message


class Device(DeviceKind[RawSocket]):
    """Carries messages between two raw sockets, both ways where both can: a proxy, a broker, a forwarder.

    Within `with` it works beside you, in threads of its own; leaving that stops it. The sockets stay yours to close, and
    closing one of them ends it too.
    """

    _threads: tuple[threading.Thread, ...] = ()

    def run(self) -> None:
        """Carry messages in this thread (and one more for the way back) until `stop`, or until a socket is closed.

        Raises:
            BaseException: what the tap raises.
        """
        errors: list[BaseException] = []
        beside = self._start(errors, self._ways[1:])
        try:
            self._work(self._ways[0])
        finally:
            self.stop()
            for thread in beside:
                thread.join()
        if errors:
            raise errors[0]

    def _start(self, errors: list[BaseException], ways: list[Way[RawSocket]]) -> list[threading.Thread]:
        def work(way: Way[RawSocket]) -> None:
            try:
                self._work(way)
            except BaseException as error:
                errors.append(error)
            finally:
                self.stop()

        threads = [threading.Thread(target=work, args=(way,), name="nnqpy-device", daemon=True) for way in ways]
        for thread in threads:
            thread.start()
        return threads

    def _work(self, way: Way[RawSocket]) -> None:
        """Carry messages one way until somebody ends it."""
        way.begin()
        try:
            self._carry_on(way)
        finally:
            way.end()

    def _carry_on(self, way: Way[RawSocket]) -> None:
        source, until = way.source, way.until
        while not until.over:
            try:
                messages: list[Message] = source._next_many(MANY, None, until)
            except ForkedError:
                raise
            except (Closed, TimedOut):
                return
            try:
                self._carry(way, messages)
            finally:
                if messages:
                    source._put_back(messages)

    def _carry(self, way: Way[RawSocket], messages: list[Message]) -> None:
        """Hand messages on; those that nobody takes until it is over are left in the list."""
        turns = way.sink._turns
        payloads = way.payloads(messages)
        while payloads:
            with suppress(Closed):
                taken = turns.place_many(payloads)
                way.handed += taken
                del payloads[:taken], messages[:taken]
                if payloads:
                    wait_out(turns, partial(way.ready, payloads[0]), None)
            if way.until.over or way.sink.closed:
                break

    def __enter__(self) -> Self:
        self._errors: list[BaseException] = []
        self._threads = tuple(self._start(self._errors, self._ways))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for thread in self._threads:
            thread.join()
        if self._errors and error is None:
            raise self._errors[0]


def device(front: RawSocket, back: RawSocket | None = None, *, tap: Tap | None = None) -> None:
    """Carry messages between two raw sockets until one of them is closed; see `Device`, which can be stopped."""
    Device(front, back, tap=tap).run()
