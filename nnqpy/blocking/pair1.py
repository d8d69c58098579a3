"""Pair1 in the blocking face."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnqpy.base import MANY, parts
from nnqpy.blocking.sockets import Receiving, Sending
from nnqpy.kinds.pair1 import Pair1Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nnqpy.message import Body, Message


class Pair1Socket(Pair1Kind, Sending, Receiving):
    """A Pair1 in the blocking face."""

    def send(self, body: Body, *, peer: int | None = None, timeout: float | None = None) -> None:
        """Queue one message, as every `send`; the header is put in front of it.

        Args:
            body: any contiguous bytes-like object.
            peer: with ``poly``, the `PeerInfo.id` of whom it goes to; None: the first that is attached. For one who is
                gone, and for nobody, it is dropped and counted.
            timeout: seconds to wait for room; None: for ever; 0: not at all.
        """
        self._queue(self._headed(body, peer), timeout)

    def send_nowait(self, body: Body, *, peer: int | None = None) -> None:
        """Queue one message if there is room, as every `send_nowait`."""
        self._send_now(self._headed(body, peer))

    def send_many(self, bodies: Iterable[Body], *, peer: int | None = None, timeout: float | None = None) -> int:
        """Queue many messages, as every `send_many`."""
        return self._queue_many(parts((self._headed(body, peer) for body in bodies), list), timeout)

    def recv(self, *, timeout: float | None = None) -> bytes:
        """Wait for one message, as every `recv`; whose it is, with ``poly``, only `recv_message` says."""
        return self.recv_message(timeout=timeout).body if self._poly else super().recv(timeout=timeout)

    def recv_nowait(self) -> bytes:
        """Take one message if one is there, as every `recv_nowait`."""
        if not self._poly:
            return super().recv_nowait()
        message: Message = self._recv_now()
        return message.body

    def recv_many(self, max: int = MANY, *, timeout: float | None = None) -> list[bytes]:  # noqa: A002  # the plain word
        """Wait for at least one message and take what is there, as every `recv_many`."""
        messages = self._next_many(max, timeout)
        return [message.body for message in messages] if self._poly else messages

    def recv_message(self, *, timeout: float | None = None) -> Message:
        """Wait for one message, and have the peer that it came from with it: for ``poly`` only.

        Raises:
            UnsupportedOperation: the socket is not ``poly``.
            TimedOut, Closed: as `recv`.
        """
        self._check_poly()
        message: Message = self._next(timeout)
        return message
