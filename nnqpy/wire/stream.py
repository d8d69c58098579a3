"""The SP stream mapping: an 8-byte greeting each way, then frames of a length and a body.

    greeting   00 'S' 'P' 00 | protocol, u16 | 00 00
    tcp, tls   length, u64 | body
    ipc        01 | length, u64 | body

All numbers are big-endian. Nothing here remembers a connection: `TCP` and `IPC` serve all of them.
`split` is exact for any input; equal lengths in a row are only a faster way to the same bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from struct import Struct
from typing import Final

from nnqpy.errors import ProtocolError, Reason

__all__ = [
    "GREETING_SIZE",
    "IPC",
    "MAX_LENGTH",
    "TCP",
    "StreamCodec",
    "check_greeting_prefix",
    "greeting",
    "parse_greeting",
]

GREETING_SIZE: Final = 8
MAX_LENGTH: Final = (1 << 60) - 1
"""Largest length a frame may announce: nng refuses the top 4 bits as well (tcp.c, 0x0fffffffffffffff)."""

_MAGIC: Final = b"\0SP"
_VERSION: Final = b"\0"
_RESERVED: Final = b"\0\0"
_WANTED: Final = "00 53 50 00 xx xx 00 00"

_HEADERS: Final = 4096  # headers remembered
_BLOCKS: Final = 64  # lengths whose block is remembered
_BLOCK: Final = 16  # bodies taken at once; more wins little and compiles longer
_RUN: Final = 8  # frames of one length that must be in sight before a run is tried

# How other protocols begin, in either direction: the common reasons for a wrong magic.
_STRANGERS: Final = (
    *((verb, "HTTP") for verb in (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"OPTIONS ")),
    *((verb, "HTTP") for verb in (b"TRACE ", b"PATCH ", b"PRI * HT", b"HTTP/")),
    *((bytes((kind, 3)), "TLS") for kind in (0x14, 0x15, 0x16, 0x17)),
    (b"SSH-", "SSH"),
    (b"\xff\0\0\0\0\0\0", "ZMTP"),
    *((mark, "Redis") for mark in (b"*", b"+", b"-", b"$", b"PING")),
)


def greeting(protocol: int) -> bytes:
    """The 8 bytes each side sends first.

    Args:
        protocol: our own SP number, 0..65535 (`OverflowError` beyond).
    """
    return _MAGIC + _VERSION + protocol.to_bytes(2, "big") + _RESERVED


def parse_greeting(data: bytes) -> int:
    """Protocol number of the peer whose whole greeting this is.

    Args:
        data: exactly `GREETING_SIZE` bytes (`ValueError` otherwise).

    Raises:
        ProtocolError: BAD_MAGIC, BAD_VERSION or BAD_RESERVED, for the first byte that is wrong.
    """
    if len(data) != GREETING_SIZE:
        raise ValueError(f"a greeting is {GREETING_SIZE} bytes, not {len(data)}")
    check_greeting_prefix(data)
    return int.from_bytes(data[4:6], "big")


def check_greeting_prefix(data: bytes) -> None:
    """Refuse a greeting by its first bytes, before the rest of it has come.

    Args:
        data: 0 to `GREETING_SIZE` bytes; as many as there are get checked.

    Raises:
        ProtocolError: BAD_MAGIC, BAD_VERSION or BAD_RESERVED, for the first byte that is wrong.
    """
    found = data.hex(" ")
    if not _MAGIC.startswith(data[:3]):
        stranger = _stranger(data)
        guess = f" (looks like {stranger})" if stranger else ""
        raise ProtocolError(Reason.BAD_MAGIC, f"not an SP greeting{guess}: found {found}, wanted {_WANTED}")
    if not _VERSION.startswith(data[3:4]):
        raise ProtocolError(
            Reason.BAD_VERSION, f"SP version {data[3]}, only 0 is spoken here: found {found}, wanted {_WANTED}"
        )
    if not _RESERVED.startswith(data[6:8]):
        raise ProtocolError(
            Reason.BAD_RESERVED, f"reserved bytes of the SP greeting are not zero: found {found}, wanted {_WANTED}"
        )


class StreamCodec:
    """Frames of a u64 length and a body, each behind an optional type byte (`Codec`).

    Args:
        prefix: the type byte, or nothing (`ValueError` if longer).
    """

    __slots__ = ("_blocks", "_headers", "_kind", "_unpack", "header_size")

    header_size: Final[int]

    def __init__(self, prefix: bytes = b"") -> None:
        if len(prefix) > 1:
            raise ValueError(f"a frame's prefix is one byte or none, not {prefix!r}")
        self.header_size = len(prefix) + 8
        self._kind = prefix[0] if prefix else None
        self._unpack = Struct(f">{len(prefix)}xQ").unpack_from
        self._headers = _Headers(prefix)
        self._blocks = _Blocks(self.header_size)

    def header(self, length: int) -> bytes:
        """The bytes that go in front of a body of `length` bytes."""
        return self._headers[length]

    def join(self, bodies: Sequence[bytes]) -> bytes:
        """All frames in one buffer, in order; empty for no bodies."""
        count = len(bodies)
        if count == 1:
            body = bodies[0]
            return self._headers[len(body)] + body
        lengths = list(map(len, bodies))
        if count and lengths.count(lengths[0]) == count:
            # The header is the glue; the empty first part puts one in front of the first body as well.
            return self._headers[lengths[0]].join((b"", *bodies))
        parts = [b""] * (2 * count)
        parts[::2] = map(self._headers.__getitem__, lengths)
        parts[1::2] = bodies
        return b"".join(parts)

    def gather(self, bodies: Sequence[bytes]) -> list[bytes]:
        """Header, body, header, body ...: the frames for `sendmsg`, without copying a body."""
        parts = [b""] * (2 * len(bodies))
        parts[::2] = map(self._headers.__getitem__, map(len, bodies))
        parts[1::2] = bodies
        return parts

    def written(self, bodies: Sequence[bytes], sent: int) -> tuple[int, int]:
        """How far `sent` bytes of the frames of `bodies` reach.

        Returns:
            (whole messages that went, bytes of the next frame that went, its header included).

        Raises:
            ValueError: `sent` is negative or more than the frames have.
        """
        size = self.header_size
        total = sum(map(len, bodies)) + size * len(bodies)
        if sent == total:
            return len(bodies), 0
        if not 0 <= sent < total:
            raise ValueError(f"{sent} bytes cannot have gone: the frames have {total}")
        whole = 0
        for length in map(len, bodies):  # pragma: no branch: sent < total, so a frame breaks the loop
            if sent < size + length:
                break
            sent -= size + length
            whole += 1
        return whole, sent

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
            ProtocolError: IPC_BAD_TYPE, BAD_LENGTH or TOO_LARGE: the header of the next frame (or its first
                byte, when no more has come) cannot be accepted.
        """
        size, kind, unpack, append = self.header_size, self._kind, self._unpack, out.append
        end = len(data)
        last = end - size  # where the last whole header can begin
        roof = MAX_LENGTH if max_size < 0 else max_size
        position, goal, previous = start, len(out) + limit, -1
        while len(out) < goal:
            if position > last:
                self.peek(data, position, max_size)
                break
            (length,) = unpack(data, position)
            if length > roof or (kind is not None and data[position] != kind):
                self.peek(data, position, max_size)
            body = position + size
            after = body + length
            if after > end:
                break
            if length == previous:
                room = min(goal - len(out), (end - position) // (size + length))
                if room >= _RUN and data.startswith(data[position:body], position + (_RUN - 1) * (size + length)):
                    position = self._take_run(data, position, length, out, room)
                    previous = -1
                    continue
            append(data[body:after])
            position, previous = after, length
        return position

    def peek(self, data: bytes, start: int, max_size: int) -> int | None:
        """Length of the body whose frame begins at `start`; `None` while its header is not complete.

        Raises:
            ProtocolError: as `split`.
        """
        kind = self._kind
        if kind is not None and start < len(data) and data[start] != kind:
            raise ProtocolError(
                Reason.IPC_BAD_TYPE, f"a frame begins with type byte {data[start]:02x}, wanted {kind:02x}"
            )
        if len(data) - start < self.header_size:
            return None
        length: int = self._unpack(data, start)[0]
        if length > MAX_LENGTH:
            raise ProtocolError(
                Reason.BAD_LENGTH, f"a frame announces {length:#018x} bytes: the top 4 bits must be zero"
            )
        if 0 <= max_size < length:
            raise ProtocolError(
                Reason.TOO_LARGE,
                f"a frame announces {length} bytes, recv_max_size is {max_size}: raise that option to accept it",
            )
        return length

    def _take_run(self, data: bytes, start: int, length: int, out: list[bytes], room: int) -> int:
        """Take the frames of this length from `start` on, at least one, at most `room`; where the next one begins."""
        size = self.header_size
        stride = size + length
        head = data[start : start + size]
        position, piece = start, 2 * _RUN
        while room:
            # The pieces grow, so that looking at frames beyond the end of a run costs no more than the run.
            piece = min(piece, room)
            run = piece
            for column in range(size - 1, -1, -1):
                byte = head[column : column + 1]
                found = data[position + column : position + run * stride : stride]
                if found != byte * run:
                    run -= len(found.lstrip(byte))
            whole = position + run // _BLOCK * _BLOCK * stride
            if whole > position:
                blocks = self._blocks[length].iter_unpack(memoryview(data)[position:whole])
                out.extend(chain.from_iterable(blocks))
            position += run * stride
            out.extend([data[after - length : after] for after in range(whole + stride, position + 1, stride)])
            room -= run
            if run < piece:
                break
            piece *= 8
        return position


class _Headers(dict[int, bytes]):
    """Length -> header, remembered for the lengths in use."""

    __slots__ = ("_pack", "_prefix")

    def __init__(self, prefix: bytes) -> None:
        super().__init__()
        self._prefix = prefix
        self._pack = Struct(">Q").pack

    def __missing__(self, length: int) -> bytes:
        if len(self) >= _HEADERS:
            self.clear()
        header = self[length] = self._prefix + self._pack(length)
        return header


class _Blocks(dict[int, Struct]):
    """Length -> a Struct that takes _BLOCK bodies of it out of their frames, remembered for the lengths in use."""

    __slots__ = ("_size",)

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def __missing__(self, length: int) -> Struct:
        if len(self) >= _BLOCKS:
            self.clear()
        block = self[length] = Struct(f"{self._size}x{length}s" * _BLOCK)
        return block


def _stranger(data: bytes) -> str | None:
    """Name of the one other protocol that begins like this, if there is exactly one."""
    names = {name for mark, name in _STRANGERS if data.startswith(mark) or mark.startswith(data)}
    return names.pop() if len(names) == 1 else None


TCP: Final = StreamCodec()
IPC: Final = StreamCodec(b"\x01")
