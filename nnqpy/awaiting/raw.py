"""The raw sockets in the task faces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from nnqpy.awaiting.sockets import TaskFlushing, TaskIncoming, TaskOutgoing
from nnqpy.base import MANY, parts
from nnqpy.errors import Closed, ForkedError
from nnqpy.kinds.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nnqpy.message import Body, Message


class TaskRawSocket(Raw, TaskOutgoing, TaskIncoming):
    """What a device is made of."""


class TaskRawSending(TaskRawSocket, TaskFlushing):
    """The sending half of a raw socket."""

    async def send(
        self,
        message: Message | Body,
        *,
        header: bytes | None = None,
        peer: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Queue one message; waits only while there is no room for it. Cancelled, it has queued nothing.

        Args:
            message: a body; or a `Message`, with its header and its peer where the pattern has them.
            header: the header, where the pattern has one.
            peer: the `PeerInfo.id` of whom it goes to (RawRep, RawRespondent), or of whom it comes from (RawBus).
            timeout: seconds to wait for room; None: for ever; 0: not at all.

        Raises:
            PeerGone: the peer is gone, and the socket is strict; otherwise such a message is dropped and counted.
            TimedOut: no room in time; ``.reason`` is ``"no_peer"`` or ``"queue_full"``. The message was not taken.
            TypeError: the body is no message; the header or the peer is missing, or is not the pattern's.
            ValueError: the header is none of the pattern's.
            Closed: the socket is closed, or was during the call.
        """
        await self.enter()
        await self._queue(self._pack(message, header, peer), timeout)

    def send_nowait(self, message: Message | Body, *, header: bytes | None = None, peer: int | None = None) -> None:
        """Queue one message if there is room.

        Raises:
            WouldBlock: there is none; ``.reason`` is ``"no_peer"`` or ``"queue_full"``.
            PeerGone, TypeError, ValueError, Closed: as in `send`.
        """
        self._send_now(self._pack(message, header, peer))

    async def send_many(self, messages: Iterable[Message | Body], *, timeout: float | None = None) -> int:
        """Queue many messages, in order, and return how many.

        Args:
            messages: as for `send`; taken from the iterable in parts of 256.
            timeout: seconds for all of them together.

        Raises:
            TimedOut: no room in time; ``.sent`` says how many were queued.
            PeerGone, TypeError, ValueError, Closed: as in `send`; those of earlier parts are queued.
        """
        await self.enter()
        return await self._queue_many(parts(map(self._pack, messages), list), timeout)


class TaskRawReceiving(TaskRawSocket):
    """The receiving half of a raw socket."""

    async def recv(self, *, timeout: float | None = None) -> Message:
        """Wait for one message. Cancelled, it has taken none.

        Args:
            timeout: seconds; None: for ever; 0: take only what is there.

        Raises:
            TimedOut: there was none in time.
            Closed: the socket is closed, or was during the call.
        """
        await self.enter()
        message: Message = await self._next(timeout)
        return message

    def recv_nowait(self) -> Message:
        """Take one message if one is there.

        Raises:
            WouldBlock: none is there.
            Closed: the socket is closed.
        """
        message: Message = self._recv_now()
        return message

    async def recv_many(self, max: int = MANY, *, timeout: float | None = None) -> list[Message]:  # noqa: A002  # the plain word
        """Wait for at least one message and take what is there, at most `max`. Cancelled, it has taken none.

        Raises:
            TimedOut, Closed: as `recv`.
        """
        await self.enter()
        return await self._next_many(max, timeout)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.recv()
        except ForkedError:
            raise
        except Closed:
            raise StopAsyncIteration from None
