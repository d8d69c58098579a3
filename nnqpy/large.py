"""Large messages: each body is read into a `bytes` of its own, and followed by the next of its length without a detour.

What is on its way is in lists that belong to the connection, and each thing that arrives is recorded in one of them by the
very call that reads it. So an interrupt finds every byte in exactly one place, and the next call goes on from there.

Memory follows what has arrived, not what was announced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from nnqpy import accel

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Haul: TypeAlias = Callable[[Callable[[int], bytes], int, bytes, list[bytes], list[bytes], list[bytes], int], None]

__all__ = ["BODY_READ", "CRUMB", "LARGE", "LOAD", "haul", "haul_by_calls"]

LARGE: Final = 32 * 1024
"""Bodies from this size on are read so: without any copy where they arrive whole."""
BODY_READ: Final = 1024 * 1024
"""Bytes asked for at a time of one body, or as many as are here already: what did not come is given back at once."""
CRUMB: Final = 16 * 1024
"""Smaller pieces of a body are joined as they come: a slow peer's body is no list of single bytes."""
LOAD: Final = 256 * 1024
"""Bytes of bodies after which a call ends: other connections have their turn."""


def haul_by_calls(
    recv: Callable[[int], bytes],
    fd: int,
    header: bytes,
    chunks: list[bytes],
    whole: list[bytes],
    arrived: list[bytes],
    number: int,
    /,
) -> None:
    """Read large frames that all have the same header, until there is no more for now, or a load.

    Args:
        recv: receives at most so many bytes of the connection, or raises `BlockingIOError`; none at its end.
        fd: the descriptor of the same connection.
        header: what each of the frames begins with.
        chunks: the pieces of the body that is on its way, fewer bytes than it has; without any, a header comes next.
        whole: gets the bodies that have come whole.
        arrived: empty; gets what came and is no such frame, from its first byte on; ``b""``: the end of the connection.
            After a body that is cut short by the end, `chunks` is as it was.
        number: the most bodies to read, at least 1.

    Raises:
        BlockingIOError: nothing came.
        OSError: the connection is broken; what came before is in the lists.
    """
    if arrived and chunks:
        return  # the end, within a body
    length = int.from_bytes(header[-8:], "big")
    end = len(whole) + min(number, LOAD // length + 1)
    before = len(whole), len(chunks), sum(map(len, chunks))
    try:
        while True:
            if len(whole) >= end or not _advance(recv, header, length, chunks, whole, arrived):
                break
            pass  # noqa: PIE790  # what the jump belongs to: tests/test_loops.py
    except BlockingIOError:
        if not arrived and before == (len(whole), len(chunks), sum(map(len, chunks))):
            raise


def _advance(
    recv: Callable[[int], bytes],
    header: bytes,
    length: int,
    chunks: list[bytes],
    whole: list[bytes],
    arrived: list[bytes],
) -> bool:
    """Receive a header, or a piece of a body, and book what is whole; False if it was something else."""
    if not chunks:
        if not arrived:
            arrived.extend(map(recv, (len(header),)))
        if arrived[0] != header:
            return False
        # A commit: no call.
        chunks += (b"",)
        del arrived[:]
        return True
    have = sum(map(len, chunks))
    if have < length:
        chunks.extend(map(recv, (min(length - have, max(BODY_READ, have)),)))
        come = len(chunks[-1])
        if not come:
            arrived.append(b"")
            return False
        have += come
        if come < CRUMB and len(chunks[-2]) < CRUMB:
            chunks[-2:] = [chunks[-2] + chunks[-1]]
        if have < length:
            return True
    body = chunks[-1] if len(chunks[-1]) == length else b"".join(chunks)
    # A commit: no call.
    whole += (body,)
    del chunks[:]
    return True


def chosen(half: Any = accel.compiled) -> Haul:
    """Return what the compiled half of nnqpy reads large bodies with, or for None the one in Python: `haul_by_calls`."""
    one: Haul = haul_by_calls if half is None else half.haul
    return one


haul: Final = chosen()
