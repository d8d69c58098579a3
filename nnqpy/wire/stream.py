"""The SP stream mapping: an 8-byte greeting each way, then frames of a length and a body.

    greeting   00 'S' 'P' 00 | protocol, u16 | 00 00
    tcp, tls   length, u64 | body
    ipc        01 | length, u64 | body

All numbers are big-endian. Nothing here remembers a connection: `TCP` and `IPC` serve all of them.
`split` is exact for any input; equal lengths in a row are only a faster way to the same bodies.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, chain
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, TypeVar

from nnqpy import accel
from nnqpy.errors import ProtocolError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nnqpy.wire.codec import Codec

__all__ = [
    "GREETING_SIZE",
    "IPC",
    "MAX_LENGTH",
    "TCP",
    "StreamCodec",
    "check_greeting_prefix",
    "codec",
    "greeting",
    "parse_greeting",
    "refusal",
]

GREETING_SIZE: Final = 8
MAX_LENGTH: Final = (1 << 60) - 1
"""Largest length a frame may announce: nng refuses the top 4 bits as well (tcp.c, 0x0fffffffffffffff)."""

_MAGIC: Final = b"\0SP"
_VERSION: Final = b"\0"
_RESERVED: Final = b"\0\0"
_WANTED: Final = "00 53 50 00 xx xx 00 00"

_RUN: Final = 32  # frames of one length that must be in sight: about where a run begins to pay
_LONG_RUN: Final = 4096  # frames of a run compared at once
_BLOCK: Final = 16  # bodies of a run taken at once: more wins little and takes longer to compile
_BLOCKS: Final = 256  # blocks remembered, by length and number of bodies
_SMALL: Final = 255  # bodies up to here have a Struct each to take them; above, copying is what costs
_FEW: Final = 512  # bytes behind a body from which on that pays
_HEADERS: Final = 4096  # headers remembered

_K = TypeVar("_K")
_V = TypeVar("_V")

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

    __slots__ = ("_blocks", "_headers", "_kind", "_takers", "_unpack", "header_size")

    header_size: Final[int]

    def __init__(self, prefix: bytes = b"") -> None:
        if len(prefix) > 1:
            raise ValueError(f"a frame's prefix is one byte or none, not {prefix!r}")
        size = len(prefix) + 8
        skip = f"{len(prefix)}x"
        pack = Struct(">Q").pack
        self.header_size = size
        self._kind = prefix[0] if prefix else None
        self._unpack: Callable[[bytes, int], tuple[int]] = Struct(f">{skip}Q").unpack_from
        self._takers: list[Callable[[bytes, int], tuple[bytes, int]]] = [
            Struct(f">{length}s{skip}Q").unpack_from for length in range(_SMALL + 1)
        ]

        def make_header(length: int) -> bytes:
            return prefix + pack(length)

        def make_block(frames: tuple[int, int]) -> Struct:
            length, count = frames
            return Struct(f"{size}x{length}s" * count)

        self._headers = _Remembered(make_header, _HEADERS)
        self._blocks = _Remembered(make_block, _BLOCKS)

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
        ends = list(accumulate(size + len(body) for body in bodies))
        whole = bisect_right(ends, sent)
        return whole, sent - (ends[whole - 1] if whole else 0)

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
        roof = max_size if 0 <= max_size < MAX_LENGTH else MAX_LENGTH
        position, goal = start, len(out) + limit
        previous = before = -1  # lengths of the two bodies in front
        no_run_before = 0  # a position: up to there a run was looked for
        while len(out) < goal:
            if position > last:
                if position < end:
                    self.peek(data, position, max_size)
                break
            (length,) = unpack(data, position)
            if length > roof or (kind is not None and data[position] != kind):
                self.peek(data, position, max_size)
            body = position + size
            after = body + length
            if after > end:
                break
            if length == previous == before and position >= no_run_before:
                # The third of a length: perhaps a long run. One look at a frame further on tells most false hopes.
                stride = size + length
                no_run_before = position + _RUN * stride
                room = min(goal - len(out), (end - position) // stride)
                if room >= _RUN and data.startswith(data[position:body], no_run_before - stride):
                    position = self._take_run(data, position, length, out, room)
                    before = -1
                    continue
            if after > last - _FEW:
                # Near the end, and so for a message alone, the loop below costs more to enter than it saves.
                append(data[body:after])
                position, before, previous = after, previous, length
                continue
            takers = self._takers
            small = min(roof, _SMALL)
            for _ in range(goal - len(out)):
                if length <= small:  # the body and the length behind it in one step
                    taken, following = takers[length](data, body)
                elif length <= roof:
                    taken = data[body:after]
                    (following,) = unpack(data, after)
                else:
                    break
                append(taken)
                body = after + size
                if kind is not None and data[after] != kind:
                    break
                if following == length == previous and after >= no_run_before:
                    break
                previous, length = length, following
                after = body + length
                if after > last:
                    break
            # What ended the loop is judged above, where every question is asked of a header.
            position, before = body - size, previous
        return position

    def peek(self, data: bytes, start: int, max_size: int) -> int | None:
        """Length of the body whose frame begins at `start`; `None` while its header is not complete.

        Raises:
            ProtocolError: as `split`.
        """
        kind, whole = self._kind, len(data) - start >= self.header_size
        (length,) = self._unpack(data, start) if whole else (0,)
        if (
            length > MAX_LENGTH
            or 0 <= max_size < length
            or (kind is not None and start < len(data) and data[start] != kind)
        ):
            raise refusal(data[start : start + self.header_size], max_size, kind)
        return length if whole else None

    def _take_run(self, data: bytes, start: int, length: int, out: list[bytes], room: int) -> int:
        """Take the frames of this length from `start` on, at least one, at most `room`; where the next one begins.

        All `room` frames lie within `data`. Each byte of the headers is compared as a column over all of them.
        """
        size = self.header_size
        stride = size + length
        # A run that breaks early costs one column of what was hoped for: that is bounded by _LONG_RUN.
        run = min(room, _LONG_RUN)
        if not data.startswith(data[start : start + size], start + (run - 1) * stride):
            run = min(run, _RUN)
        for column in range(start + size - 1, start - 1, -1):  # the last byte first: it differs most
            byte = data[column : column + 1]
            found = data[column : column + (run - 1) * stride + 1 : stride]
            if found != byte * run:
                run -= len(found.lstrip(byte))
        behind = start + run * stride
        rest = run % _BLOCK
        blocks = memoryview(data)[start : behind - rest * stride]
        out.extend(chain.from_iterable(self._blocks[length, _BLOCK].iter_unpack(blocks)))
        out.extend(self._blocks[length, rest].unpack_from(data, behind - rest * stride))
        return behind


def refusal(header: bytes, max_size: int, kind: int | None) -> ProtocolError:
    """What is wrong with a frame that cannot be accepted.

    Args:
        header: as much of it as there is, at least what is wrong.
        max_size: the largest body to accept, in bytes; negative: any.
        kind: the type byte that is wanted; None: there is none.
    """
    if kind is not None and header[0] != kind:
        return ProtocolError(Reason.IPC_BAD_TYPE, f"a frame begins with type byte {header[0]:02x}, wanted {kind:02x}")
    length = int.from_bytes(header[-8:], "big")
    if length > MAX_LENGTH:
        return ProtocolError(Reason.BAD_LENGTH, f"a frame announces {length:#018x} bytes: the top 4 bits must be zero")
    return ProtocolError(
        Reason.TOO_LARGE,
        f"a frame announces {length} bytes, recv_max_size is {max_size}: raise that option to accept it",
    )


class _Remembered(dict[_K, _V]):
    """What `make` makes of a key, for at most `most` keys at a time."""

    __slots__ = ("_make", "_most")

    def __init__(self, make: Callable[[_K], _V], most: int) -> None:
        super().__init__()
        self._make = make
        self._most = most

    def __missing__(self, key: _K) -> _V:
        made = self._make(key)
        if len(self) >= self._most:
            self.clear()
        self[key] = made
        return made


def _stranger(data: bytes) -> str | None:
    """Name of the one other protocol that begins like this, if there is exactly one."""
    names = {name for mark, name in _STRANGERS if data.startswith(mark) or mark.startswith(data)}
    return names.pop() if len(names) == 1 else None


def codec(prefix: bytes = b"", half: Any = accel.compiled) -> Codec:
    """A `StreamCodec`, of the compiled half of nnqpy, or for None of the one in Python."""
    if half is None:
        return StreamCodec(prefix)
    one: Codec = half.StreamCodec(prefix, refusal)
    return one


TCP: Final = codec()
IPC: Final = codec(b"\x01")
