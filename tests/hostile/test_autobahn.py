"""The cases of the Autobahn test suite for WebSocket, by its numbers, on frames written by hand, whoever dials.

Its sections 1 to 7, 9 and 10; the others are about compression. Most of its cases send text where any data would do: SP has
none, so they are sent in binary here, and 1.1, 6 and 9.1 stand for what becomes of text. The suite itself, with its text made
binary, is content with both ends of ours but for 2.10 and 2.11 (it wants an answer to each of many pings, which RFC 6455, 5.5.3,
does not) and 9.4.1 to 9.4.3, with their twins in 9.3 (a flood of small fragments, here).
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from nnqpy import Pull
from nnqpy.errors import Reason
from tests.hostile.dress import BINARY, CLOSE, CONT, FIN, PING, PONG, TEXT, hear_frame, last_words, web_frame
from tests.hostile.home import GoodPeer, Home

if TYPE_CHECKING:
    from tests.hostile.kit import Role

MASK: Final = b"\x12\x34\x56\x78"
KIB: Final = 1024
MIB: Final = 1024 * KIB

Frames = list[tuple[int, bytes]]


class Case(NamedTuple):
    """What is said, and what comes of it."""

    frames: Frames
    got: list[bytes] = []  # noqa: RUF012  # never changed
    """The messages that are received."""
    code: int | None = 1000
    """Of our close frame; None: it has none. Where 1000 and the peer has not said so itself, it says so in the end."""
    pongs: list[bytes] = []  # noqa: RUF012
    """What our pongs carry."""
    chop: int = 0
    """Bytes of a part; 0: all in one, -1: a frame a part."""


def data(size: int) -> bytes:
    return Random(size).randbytes(size)


def binary(payload: bytes) -> tuple[int, bytes]:
    return FIN | BINARY, payload


def close(code: int, reason: bytes = b"") -> tuple[int, bytes]:
    return FIN | CLOSE, code.to_bytes(2, "big") + reason


def pieces(payload: bytes, size: int) -> Frames:
    """Return the frames of one message in fragments of that size."""
    places = range(0, len(payload), size)
    return [
        ((BINARY if place == 0 else CONT) | (FIN if place == places[-1] else 0), payload[place : place + size])
        for place in places
    ]


SIZES: Final = {1: 0, 2: 125, 3: 126, 4: 127, 5: 128, 6: 65535, 7: 65536}
HELLO: Final = b"Hello, world!"
HALVES: Final[Frames] = [(BINARY, b"fragment1"), (FIN | CONT, b"fragment2")]
WHOLE: Final = b"fragment1fragment2"
FIVE: Final[Frames] = [
    (BINARY, b"fragment1"),
    (CONT, b"fragment2"),
    (FIN | PING, b"pongme 1!"),
    (CONT, b"fragment3"),
    (CONT, b"fragment4"),
    (FIN | PING, b"pongme 2!"),
    (FIN | CONT, b"fragment5"),
]
TEN: Final = [b"payload-%d" % n for n in range(10)]
PINGS: Final[Frames] = [(FIN | PING, payload) for payload in TEN]
NOTHING_TO_CONTINUE: Final = ["5.9", "5.10", "5.11", "5.12", "5.13", "5.14"]
FOUR_MIB: Final = data(4 * MIB)

CASES: Final[dict[str, Case]] = {
    **{f"1.1.{n}": Case([(FIN | TEXT, b"*" * size)], code=1003) for n, size in SIZES.items()},
    "1.1.8": Case([(FIN | TEXT, b"*" * 65536)], code=1003, chop=997),
    **{f"1.2.{n}": Case([binary(data(size))], [data(size)]) for n, size in SIZES.items()},
    "1.2.8": Case([binary(data(65536))], [data(65536)], chop=997),
    "2.1": Case([(FIN | PING, b"")], pongs=[b""]),
    "2.2": Case([(FIN | PING, HELLO)], pongs=[HELLO]),
    "2.3": Case([(FIN | PING, b"\0\xff\xfe\xfd\xfc\xfb\0\xff")], pongs=[b"\0\xff\xfe\xfd\xfc\xfb\0\xff"]),
    "2.4": Case([(FIN | PING, b"\xfe" * 125)], pongs=[b"\xfe" * 125]),
    "2.5": Case([(FIN | PING, b"\xfe" * 126)], code=1002),
    "2.6": Case([(FIN | PING, b"\xfe" * 125)], pongs=[b"\xfe" * 125], chop=1),
    "2.7": Case([(FIN | PONG, b"")]),
    "2.8": Case([(FIN | PONG, b"unsolicited")]),
    "2.9": Case([(FIN | PONG, b"unsolicited"), (FIN | PING, b"ping")], pongs=[b"ping"]),
    "2.10": Case(PINGS, pongs=TEN[-1:]),  # of several that came together the last one is answered (RFC 6455, 5.5.3)
    "2.11": Case(PINGS, pongs=TEN, chop=1),
    "3.1": Case([(FIN | 0x10 | BINARY, HELLO)], code=1002),
    "3.2": Case([binary(HELLO), (FIN | 0x20 | BINARY, HELLO), (FIN | PING, b"")], [HELLO], 1002),
    "3.3": Case([binary(HELLO), (FIN | 0x30 | BINARY, HELLO), (FIN | PING, b"")], [HELLO], 1002, chop=-1),
    "3.4": Case([binary(HELLO), (FIN | 0x40 | BINARY, HELLO), (FIN | PING, b"")], [HELLO], 1002, chop=1),
    "3.5": Case([(FIN | 0x50 | BINARY, b"\0\xff\xfe\xfd")], code=1002),
    "3.6": Case([(FIN | 0x60 | PING, HELLO)], code=1002),
    "3.7": Case([(FIN | 0x70 | CLOSE, b"")], code=1002),
    "4.1.1": Case([(FIN | 3, b"")], code=1002),
    "4.1.2": Case([(FIN | 4, b"reserved opcode payload")], code=1002),
    "4.1.3": Case([binary(HELLO), (FIN | 5, b""), (FIN | PING, b"")], [HELLO], 1002),
    "4.1.4": Case([binary(HELLO), (FIN | 6, HELLO), (FIN | PING, b"")], [HELLO], 1002),
    "4.1.5": Case([binary(HELLO), (FIN | 7, HELLO), (FIN | PING, b"")], [HELLO], 1002, chop=1),
    "4.2.1": Case([(FIN | 11, b"")], code=1002),
    "4.2.2": Case([(FIN | 12, b"reserved opcode payload")], code=1002),
    "4.2.3": Case([binary(HELLO), (FIN | 13, b""), (FIN | PING, b"")], [HELLO], 1002),
    "4.2.4": Case([binary(HELLO), (FIN | 14, HELLO), (FIN | PING, b"")], [HELLO], 1002),
    "4.2.5": Case([binary(HELLO), (FIN | 15, HELLO), (FIN | PING, b"")], [HELLO], 1002, chop=1),
    "5.1": Case([(PING, b"fragment1"), (FIN | CONT, b"fragment2")], code=1002),
    "5.2": Case([(PONG, b"fragment1"), (FIN | CONT, b"fragment2")], code=1002),
    **{f"5.{n}": Case(HALVES, [WHOLE], chop=chop) for n, chop in ((3, 0), (4, -1), (5, 1))},
    **{
        f"5.{n}": Case([HALVES[0], (FIN | PING, b"ping"), HALVES[1]], [WHOLE], pongs=[b"ping"], chop=chop)
        for n, chop in ((6, 0), (7, -1), (8, 1))
    },
    **{
        number: Case([((FIN if place < 3 else 0) | CONT, b"non-continuation"), binary(HELLO)], code=1002, chop=chop)
        for place, (number, chop) in enumerate(zip(NOTHING_TO_CONTINUE, (0, -1, 1, 0, -1, 1), strict=True))
    },
    "5.15": Case([*HALVES, (CONT, b"fragment3"), binary(b"fragment4")], [WHOLE], 1002),
    "5.16": Case([(CONT, b"fragment1"), *HALVES] * 2, code=1002),
    "5.17": Case([(FIN | CONT, b"fragment1"), *HALVES] * 2, code=1002),
    "5.18": Case([(BINARY, b"fragment1"), binary(b"fragment2")], code=1002),
    "5.19": Case(FIVE, [b"".join(b"fragment%d" % n for n in range(1, 6))], pongs=[b"pongme 2!"]),
    "5.20": Case(FIVE, [b"".join(b"fragment%d" % n for n in range(1, 6))], pongs=[b"pongme 1!", b"pongme 2!"], chop=-1),
    "6.1.1": Case([(FIN | TEXT, b"")], code=1003),
    "6.1.2": Case([(TEXT, b""), (CONT, b""), (FIN | CONT, b"")], code=1003),
    "6.2.1": Case([(FIN | TEXT, "Hello-µ@ßöäüàá-UTF-8!!".encode())], code=1003),
    "6.3.1": Case([(FIN | TEXT, b"\xce\xba\xed\xa0\x80edited")], code=1003),
    "6.4.1": Case([(TEXT, b"\xce\xba"), (CONT, b"\xf4\x90\x80\x80"), (FIN | CONT, b"edited")], code=1003, chop=-1),
    "7.1.1": Case([binary(HELLO), close(1000)], [HELLO]),
    "7.1.2": Case([close(1000), close(1000)]),
    "7.1.3": Case([close(1000), (FIN | PING, b"")]),
    "7.1.4": Case([close(1000), binary(HELLO)]),
    "7.1.5": Case([HALVES[0], close(1000), HALVES[1]]),
    "7.1.6": Case([binary(data(256 * KIB)), close(1000), (FIN | PING, b"")], [data(256 * KIB)]),
    "7.3.1": Case([(FIN | CLOSE, b"")], code=None),
    "7.3.2": Case([(FIN | CLOSE, b"a")], code=1002),
    "7.3.3": Case([close(1000)]),
    "7.3.4": Case([close(1000, HELLO)]),
    "7.3.5": Case([close(1000, b"*" * 123)]),
    "7.3.6": Case([close(1000, b"*" * 124)], code=1002),
    "7.5.1": Case([close(1000, b"\xce\xba\xed\xa0\x80edited")], code=1007),
    **{
        f"7.7.{n}": Case([close(code)], code=code)
        for n, code in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1)
    },
    **{
        f"7.9.{n}": Case([close(code)], code=1002)
        for n, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1)
    },
    "7.13.1": Case([close(5000)], code=1002),
    "7.13.2": Case([close(65535)], code=1002),
    **{f"9.1.{n}": Case([(FIN | TEXT, b"*" * size * KIB)], code=1003) for n, size in ((1, 64), (2, 256), (3, 1024))},
    **{
        f"9.2.{n}": Case([binary(data(size * KIB))], [data(size * KIB)])
        for n, size in ((1, 64), (2, 256), (3, 1024), (4, 4096))
    },
    # Very many small fragments are taken for a flood.
    **{
        f"9.4.{n}": Case(pieces(FOUR_MIB[: 2000 * size], size), code=1009) for n, size in ((1, 64), (2, 256), (3, 1024))
    },
    **{
        f"9.4.{n}": Case(pieces(FOUR_MIB, size * KIB), [FOUR_MIB])
        for n, size in ((4, 4), (5, 16), (6, 64), (7, 256), (8, 1024), (9, 4096))
    },
    "9.6.6": Case([binary(data(MIB))], [data(MIB)], chop=2048),
    "9.8.1": Case([binary(b"")] * 1000, [b""] * 1000),
    "9.8.6": Case([binary(data(4096))] * 1000, [data(4096)] * 1000),
    "10.1.1": Case(pieces(data(65536), 1300), [data(65536)]),
}

REASONS: Final = {1002: Reason.WS_PROTOCOL, 1003: Reason.WS_TEXT, 1007: Reason.WS_PROTOCOL}


@pytest.mark.parametrize("role", ["dialer", "listener"])
@pytest.mark.parametrize("number", CASES)
def test_b85_autobahn(number: str, role: Role) -> None:
    """B-85: what is received, what is answered, and how it ends; a good peer is served meanwhile."""
    case = CASES[number]
    said_so = any(first == FIN | CLOSE for first, _ in case.frames)
    mask = MASK if role == "dialer" else None
    parts = [web_frame(first, payload, mask=mask) for first, payload in case.frames]
    words = b"".join(parts)
    if case.chop >= 0:
        size = case.chop or len(words)
        parts = [words[place : place + size] for place in range(0, len(words), size)]
    with Home(Pull, "ws", recv_max_size=None) as home:
        good = GoodPeer(home)
        stranger = home.stranger(role)
        if len(words) > 100 * KIB:
            stranger.pour(words, meanwhile=good.exchange)
            while stranger.unheard():
                good.exchange()
            parts = []
        assert good.hears(stranger, parts) == case.got
        if case.code == 1009 and not said_so:
            assert home.verdict().reason is Reason.FLOOD
            return  # what it says is lost with what it has not read
        heard = [hear_frame(stranger) for _ in case.pongs]
        assert heard == [(FIN | PONG, payload) for payload in case.pongs]
        if case.code == 1000 and not said_so:
            assert good.hears(stranger, [web_frame(*close(1000), mask=mask)]) == []
        assert home.verdict().reason is reason(number, case)
        assert last_words(stranger)[:2] == (b"" if case.code is None else case.code.to_bytes(2, "big"))


def reason(number: str, case: Case) -> Reason:
    """Return what is told of the end: a good close frame of the peer's own is a good end, but within a message."""
    if number == "7.1.5":
        return Reason.EOF_MID_FRAME
    if case.code in (None, 1000) or number.startswith("7.7."):
        return Reason.EOF
    return REASONS[case.code]
