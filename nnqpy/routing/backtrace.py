"""The header of a request or a survey: words of 4 bytes; the last one, the number, has its highest bit set.

Each device on the way has put the number of the connection it came by in front (nng ``src/sp/protocol/reqrep0/xrep.c``),
and a reply finds its way back by them. So a header has at most as many words as a message may make steps.
"""

from __future__ import annotations

from typing import Final

WORD: Final = 4
LAST: Final = 0x80
"""The bit of a word's first byte that says: this is the number, and the body follows."""
MOST: Final = 16
"""Words that a header has at most, whatever a socket's `max_ttl` (nng: 64 bytes)."""


def end_of(payload: bytes, most: int) -> int:
    """Where the header of `payload` ends and its body begins.

    Returns:
        The number of bytes of the header; 0 if it has more than `most` words; -1 if the payload ends before it does.
    """
    end = 0
    for _ in range(most):
        if len(payload) < end + WORD:
            return -1
        end += WORD
        if payload[end - WORD] & LAST:
            return end
    return 0


def check(header: bytes) -> bytes:
    """Return a header that a user gave, or say what is wrong with it.

    Raises:
        ValueError: it is not 1 to 16 words, of which the last, and no other, has the highest bit set.
    """
    if end_of(header, MOST) != len(header) or not header:
        raise ValueError(
            f"a header is 1 to {MOST} words of {WORD} bytes of which only the last has its highest bit set, "
            f"not {header.hex(' ', -WORD) or 'empty'}"
        )
    return header
