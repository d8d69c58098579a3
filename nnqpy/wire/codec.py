"""Codec: one framing of messages in a byte stream, as an engine sees it.

A codec holds no state of a connection: what is on its way belongs to the engine, so one instance
serves every connection of its scheme and every thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Codec"]


class Codec(Protocol):
    """How bodies become the bytes of a stream, and bytes become bodies again."""

    @property
    def header_size(self) -> int:
        """Bytes in front of each body."""
        ...

    def header(self, length: int) -> bytes:
        """The bytes that go in front of a body of `length` bytes."""
        ...

    def join(self, bodies: Sequence[bytes]) -> bytes:
        """All frames in one buffer, in order; empty for no bodies."""
        ...

    def gather(self, bodies: Sequence[bytes]) -> list[bytes]:
        """Header, body, header, body ...: the frames for `sendmsg`, without copying a body."""
        ...

    def written(self, bodies: Sequence[bytes], sent: int) -> tuple[int, int]:
        """How far `sent` bytes of the frames of `bodies` reach.

        Returns:
            (whole messages that went, bytes of the next frame that went, its header included).

        Raises:
            ValueError: `sent` is negative or more than the frames have.
        """
        ...

    def split(self, data: bytes, start: int, out: list[bytes], limit: int, max_size: int) -> int:
        """Append every whole body of `data[start:]` to `out`.

        Args:
            data: what came off the stream.
            start: where a frame begins in it.
            out: gets the bodies; those in front of a bad frame are in it when this raises.
            limit: the most bodies to append; a frame behind them is not looked at.
            max_size: the largest body to accept, in bytes; negative: any.

        Returns:
            The position behind the last whole frame taken.

        Raises:
            ProtocolError: the header of the next frame, whole or not, cannot be accepted.
        """
        ...

    def peek(self, data: bytes, start: int, max_size: int) -> int | None:
        """Length of the body whose frame begins at `start`; `None` while its header is not complete.

        Raises:
            ProtocolError: as `split`.
        """
        ...
