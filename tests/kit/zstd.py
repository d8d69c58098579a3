"""zstd by hand: the frames and dictionaries of RFC 8878, made without the code under test, and the library that reads them."""

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from backports import zstd as library
else:
    library = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

__all__ = [
    "CONTENT",
    "DICTIONARY",
    "FRAME",
    "ID",
    "MAGIC",
    "OFFSETS",
    "OTHER",
    "PLAIN",
    "TABLES",
    "block",
    "bomb",
    "event",
    "frame",
    "library",
    "zstd_frame",
]

PLAIN: Final = bytes(4)
FRAME: Final = bytes.fromhex("28b52ffd")
MAGIC: Final = bytes.fromhex("37a430ec")

# A dictionary as RFC 8878, section 5, has it: magic, id, entropy tables (Huffman; offsets, match and literals lengths), the
# offsets 1, 4 and 8 to begin with, content.
TABLES: Final = bytes.fromhex(
    "1c10e00a950effffffffebebffbd4bb989dc72cb829378afb5d65a6b01030000000000e80100000024408000010204040404"
    "04040404040404040404040404040404d609080804e92222222222224992a40354af61ed4e08218488888888888888882449920e"
)
OFFSETS: Final = bytes.fromhex("010000000400000008000000")
CONTENT: Final = b'{"type":"order.created","user":"u","currency":"EUR","ok":true}'
ID: Final = 1836801999
DICTIONARY: Final = MAGIC + ID.to_bytes(4, "little") + TABLES + OFFSETS + CONTENT
OTHER: Final = MAGIC + (4711).to_bytes(4, "little") + TABLES + OFFSETS + CONTENT.upper()


def event(number: int) -> bytes:
    """A message of about 200 bytes, of which no two are equal."""
    return json.dumps(
        {
            "id": number,
            "type": ("order.created", "order.paid", "cart.updated")[number % 3],
            "user": f"u{number * 7919 % 1_000_000:06d}",
            "amount": number * 31 % 10_000 / 100,
            "items": [{"sku": f"SKU-{number * 104_729 % 100_000:05d}", "n": number % 9}],
            "trace": f"{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}",
            "ok": True,
        }
    ).encode()


def frame(payload: bytes) -> bytes:
    """A frame of tcp, made without the code under test."""
    return len(payload).to_bytes(8, "big") + payload


def block(size: int, *, last: bool, rle: bytes = b"", raw: bytes = b"") -> bytes:
    """A block of a zstd frame as RFC 8878, 3.1.1.2, has it; `size` need not be true."""
    return (size << 3 | bool(rle) << 1 | last).to_bytes(3, "little") + rle + raw


def zstd_frame(blocks: bytes, size: int | None, *, dictionary: int = 0, window: int | None = None) -> bytes:
    """A zstd frame as RFC 8878, 3.1.1.1, has it, with a content size that need not be true, or none."""
    if size is None:
        assert window is not None
        flag, field = 0, b""
    else:
        flag, field = 3, size.to_bytes(8, "little")
    single = window is None
    named = 3 if dictionary else 0
    described = b"" if window is None else bytes([(window - 10) << 3])
    name = dictionary.to_bytes(4, "little") if dictionary else b""
    return FRAME + bytes([flag << 6 | single << 5 | named]) + described + name + field + blocks


def bomb(size: int, announced: int) -> bytes:
    """`size` bytes (whole times 128 KiB) of one letter in a frame that announces `announced`: over 30000 to 1."""
    most = 128 * 1024
    blocks = block(most, last=False, rle=b"a") * (size // most)
    return zstd_frame(blocks + block(0, last=True), announced, window=20)
