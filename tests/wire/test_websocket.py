"""WebSocket: every hostile frame and head, whole and in pieces; both sides against each other and against websockets."""

from __future__ import annotations

import contextlib
import gc
import itertools
import struct
import weakref
from base64 import b64encode
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from nnqpy.errors import ProtocolError, Reason
from nnqpy.wire.websocket import (
    CONTROLS_MAX,
    FRAGMENT_SIZE,
    HEAD_MAX,
    HEADERS_MAX,
    LINE_MAX,
    SMALL_FRAGMENT,
    SMALL_FRAGMENTS_MAX,
    ClientUpgrade,
    Refused,
    ServerUpgrade,
    Upgraded,
    WebSocket,
)
from tests.kit.interrupts import interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Role = Literal["client", "server"]
ROLES: list[Role] = ["client", "server"]
OTHER: dict[Role, Role] = {"client": "server", "server": "client"}
SIDE = {"client": Side.CLIENT, "server": Side.SERVER}

BINARY, TEXT, CONT, CLOSE, PING, PONG = 0x2, 0x1, 0x0, 0x8, 0x9, 0xA
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
MASK = b"\x37\xfa\x21\x3d"

roles = pytest.mark.parametrize("role", ROLES)


def masked(data: bytes, mask: bytes) -> bytes:
    return bytes(one ^ two for one, two in zip(data, itertools.cycle(mask), strict=False))


def frame(
    first: int, payload: bytes = b"", *, to: Role, mask: bytes = MASK, form: int = 0, wrong: bool = False
) -> bytes:
    """One frame made without the code under test.

    Args:
        first: the opcode and the bits beside it.
        payload: not masked.
        to: who gets it; a server gets a masked one.
        mask: the key.
        form: bytes that the length takes behind its first byte; 0: as few as do.
        wrong: masked for a client, not masked for a server.
    """
    size = len(payload)
    form = form or (0 if size < 126 else 2 if size < 1 << 16 else 8)
    hide = (to == "server") != wrong
    small = {0: size, 2: 126, 8: 127}[form]
    head = bytes((first, small | hide << 7)) + size.to_bytes(8, "big")[8 - form :]
    return head + (mask + masked(payload, mask) if hide else payload)


def pieces(data: bytes) -> Iterable[list[bytes]]:
    """The ways to cut it: not, at every place, everywhere; long data only near its ends."""
    yield [data]
    places = range(1, len(data)) if len(data) < 400 else [*range(1, 40), *range(len(data) - 20, len(data))]
    for place in places:
        yield [data[:place], data[place:]]
    if len(data) < 2000:
        yield [data[place : place + 1] for place in range(len(data))]


def heard(ws: WebSocket, chunks: Iterable[bytes]) -> tuple[list[bytes], ProtocolError | None]:
    """The messages in the chunks, and the fault behind them; a fault stays what it is."""
    out: list[bytes] = []
    fault: ProtocolError | None = None
    for chunk in chunks:
        try:
            ws.receive(chunk, out)
        except ProtocolError as error:
            assert fault is None or (fault.reason, fault.detail) == (error.reason, error.detail)  # noqa: PT017 (it stays)
            fault = error
        else:
            assert fault is None
    return out, fault


def farewell(ws: WebSocket, role: Role) -> bytes:
    """The payload of the close frame that is due."""
    data = ws.closing()
    masks = role == "client"
    assert (data[0], data[1] >> 7, len(data)) == (FIN | CLOSE, masks, 2 + 4 * masks + (data[1] & 127))
    return masked(data[6:], data[2:6]) if masks else data[2:]


def code(payload: bytes) -> int:
    return int.from_bytes(payload[:2], "big")


def gathered(ws: WebSocket, bodies: Sequence[bytes]) -> bytes:
    return b"".join(ws.frames(bodies))


# --------------------------------------------------------------------------------------------------------- frames

Item = tuple[int, bytes]

GOOD: dict[str, tuple[list[Item], list[bytes]]] = {
    "one": ([(FIN | BINARY, b"one")], [b"one"]),
    "empty (B-80)": ([(FIN | BINARY, b"")] * 3, [b""] * 3),
    "125 and 126 bytes": ([(FIN | BINARY, b"a" * 125), (FIN | BINARY, b"b" * 126)], [b"a" * 125, b"b" * 126]),
    "65535 and 65536": ([(FIN | BINARY, b"c" * 65535), (FIN | BINARY, b"d" * 65536)], [b"c" * 65535, b"d" * 65536]),
    "fragments": ([(BINARY, b"ab"), (CONT, b""), (CONT, b"c"), (FIN | CONT, b"d")], [b"abcd"]),
    "empty fragments": ([(BINARY, b""), (FIN | CONT, b"")], [b""]),
    "control between fragments (B-75)": (
        [(BINARY, b"ab"), (FIN | PING, b"p"), (FIN | PONG, b""), (FIN | CONT, b"d"), (FIN | BINARY, b"next")],
        [b"abd", b"next"],
    ),
    "ping of 125 (R-25)": ([(FIN | PING, b"p" * 125), (FIN | PING, b""), (FIN | BINARY, b"m")], [b"m"]),
    "pong nobody asked for": ([(FIN | PONG, b"p"), (FIN | BINARY, b"m")], [b"m"]),
}

# What breaks a rule: the messages in front of it, the reason and the code of the close frame.
BAD: dict[str, tuple[list[Item], Reason, int]] = {
    **{
        f"reserved bits {bits:02x} (B-72, B-83)": ([(FIN | BINARY | bits, b"x")], Reason.WS_PROTOCOL, 1002)
        for bits in (RSV1, RSV2, RSV3, RSV1 | RSV2 | RSV3)
    },
    "reserved bit on a ping": ([(FIN | PING | RSV1, b"")], Reason.WS_PROTOCOL, 1002),
    "reserved bit on a fragment": ([(BINARY, b"x"), (FIN | CONT | RSV1, b"x")], Reason.WS_PROTOCOL, 1002),
    **{
        f"opcode {opcode} (B-72)": ([(FIN | opcode, b"x")], Reason.WS_PROTOCOL, 1002)
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    "text (B-74)": ([(FIN | TEXT, b"text")], Reason.WS_TEXT, 1003),
    "text that is not UTF-8": ([(FIN | TEXT, b"\xff\xfe")], Reason.WS_TEXT, 1003),
    "text in fragments": ([(TEXT, b"text"), (FIN | CONT, b"text")], Reason.WS_TEXT, 1003),
    "text within a message": ([(BINARY, b"x"), (FIN | TEXT, b"text")], Reason.WS_TEXT, 1003),
    "continuation first (B-75)": ([(FIN | CONT, b"x")], Reason.WS_PROTOCOL, 1002),
    "continuation behind the end": (
        [(BINARY, b"x"), (FIN | CONT, b"x"), (CONT, b"x")],
        Reason.WS_PROTOCOL,
        1002,
    ),
    "a message within a message (B-75)": ([(BINARY, b"x"), (FIN | BINARY, b"x")], Reason.WS_PROTOCOL, 1002),
    "a fragmented message within a message": ([(BINARY, b"x"), (BINARY, b"x")], Reason.WS_PROTOCOL, 1002),
    **{
        f"fragmented control frame {opcode} (B-75)": ([(opcode, b"")], Reason.WS_PROTOCOL, 1002)
        for opcode in (CLOSE, PING, PONG)
    },
    **{
        f"control frame {opcode} of {size} (R-25)": ([(FIN | opcode, b"x" * size)], Reason.WS_PROTOCOL, 1002)
        for opcode in (CLOSE, PING, PONG)
        for size in (126, 65536)
    },
    "close of 1 byte (R-26)": ([(FIN | CLOSE, b"\x03")], Reason.WS_PROTOCOL, 1002),
    **{
        f"close with {number} (R-26)": ([(FIN | CLOSE, struct.pack("!H", number))], Reason.WS_PROTOCOL, 1002)
        for number in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
    "close with a reason that is not UTF-8 (R-26)": (
        [(FIN | CLOSE, b"\x03\xe8\xce\xba\xff")],
        Reason.WS_PROTOCOL,
        1007,
    ),
    "101 bytes, 100 allowed (B-76)": ([(FIN | BINARY, b"x" * 101)], Reason.TOO_LARGE, 1009),
    "101 bytes in fragments (B-76)": (
        [(BINARY, b"x" * 60), (CONT, b"x" * 40), (CONT, b""), (FIN | CONT, b"x")],
        Reason.TOO_LARGE,
        1009,
    ),
}


@roles
@pytest.mark.parametrize("case", GOOD)
def test_messages_come_however_they_are_cut(role: Role, case: str) -> None:
    """What is allowed gives its messages, whole, cut at every place, a byte at a time."""
    items, bodies = GOOD[case]
    data = b"".join(frame(first, payload, to=role) for first, payload in items)

    for chunks in pieces(data):
        ws = WebSocket(role, None)
        assert heard(ws, chunks) == (bodies, None)
        assert (ws.closed, ws.broken, ws.end().reason) == (False, False, Reason.EOF)


@roles
@pytest.mark.parametrize("case", BAD)
def test_a_wrong_frame_ends_it(role: Role, case: str) -> None:
    """What was good in front of it is delivered, nothing behind it, and the peer is told why."""
    items, reason, number = BAD[case]
    items = [(FIN | BINARY, b"before"), (FIN | BINARY, b""), *items, (FIN | BINARY, b"behind")]
    data = b"".join(frame(first, payload, to=role) for first, payload in items)

    for chunks in pieces(data):
        ws = WebSocket(role, 100)
        bodies, fault = heard(ws, chunks)
        assert fault is not None
        assert (bodies[:2], fault.reason) == ([b"before", b""], reason)
        assert b"behind" not in bodies
        assert code(farewell(ws, role)) == number
        assert farewell(ws, role)[2:].decode() == fault.detail[:120]
        assert not ws.broken


@roles
def test_a_mask_that_is_missing_or_too_much(role: Role) -> None:
    """A client masks, a server does not (B-71): 1002, and the payload is not waited for."""
    data = frame(FIN | BINARY, b"x" * 1000, to=role, wrong=True)

    for chunks in pieces(data[:4]):
        ws = WebSocket(role, None)
        bodies, fault = heard(ws, chunks)
        assert fault is not None
        assert (bodies, fault.reason, code(farewell(ws, role))) == ([], Reason.WS_PROTOCOL, 1002)


@roles
@pytest.mark.parametrize(("size", "form"), [(0, 2), (1, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65535, 8)], ids=str)
@pytest.mark.parametrize("first", [FIN | BINARY, BINARY, FIN | PING])
def test_a_length_has_one_form(role: Role, size: int, form: int, first: int) -> None:
    """A longer form than the length needs is 1002 (B-73), before its payload is here."""
    head = frame(first, b"x" * size, to=role, form=form)[: 2 + form]

    for chunks in pieces(frame(FIN | BINARY, b"before", to=role) + head):
        ws = WebSocket(role, None)
        bodies, fault = heard(ws, chunks)
        assert fault is not None
        assert (bodies, fault.reason, code(farewell(ws, role))) == ([b"before"], Reason.WS_PROTOCOL, 1002)


@roles
@pytest.mark.parametrize("length", [1 << 63, (1 << 63) + 1, (1 << 64) - 1], ids=hex)
def test_a_length_has_no_top_bit(role: Role, length: int) -> None:
    """A length that is negative to some is 1002, not an allocation (R-22)."""
    head = bytes((FIN | BINARY, 127 | (role == "server") << 7)) + length.to_bytes(8, "big")

    for chunks in pieces(head):
        ws = WebSocket(role, None)
        _, fault = heard(ws, chunks)
        assert fault is not None
        assert (fault.reason, code(farewell(ws, role))) == (Reason.WS_PROTOCOL, 1002)


@roles
def test_what_is_too_large_is_refused_by_its_head(role: Role) -> None:
    """Nothing is allocated, or waited for, for a frame of 2**62 bytes (B-76); without a limit it is waited for."""
    head = bytes((FIN | BINARY, 127 | (role == "server") << 7)) + (1 << 62).to_bytes(8, "big")

    _, fault = heard(WebSocket(role, (1 << 62) - 1), [head])
    assert fault is not None
    assert (fault.reason, "recv_max_size" in fault.detail) == (Reason.TOO_LARGE, True)
    assert heard(WebSocket(role, None), [head, b"x" * 100]) == ([], None)


@roles
@pytest.mark.parametrize("most", [0, 1, 99, 100])
def test_the_largest_message_comes(role: Role, most: int) -> None:
    """Exactly `max_size` bytes, whole and in fragments, with control frames that do not count."""
    body = bytes(range(100))[:most]
    ping = frame(FIN | PING, b"p" * 125, to=role)
    halves = frame(BINARY, body[:50], to=role) + ping + frame(FIN | CONT, body[50:], to=role)

    for chunks in pieces(ping + frame(FIN | BINARY, body, to=role) + halves + halves):
        assert heard(WebSocket(role, most), chunks) == ([body] * 3, None)


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\xff\x01\x80"], ids=bytes.hex)
def test_any_mask_will_do(mask: bytes) -> None:
    """The key of nothing, of everything, of something; cut within it (B-82)."""
    data = b"".join(frame(FIN | BINARY, bytes(range(size)), to="server", mask=mask) for size in (0, 1, 3, 4, 5, 130))

    for chunks in pieces(data):
        bodies, fault = heard(WebSocket("server", None), chunks)
        assert (bodies, fault) == ([bytes(range(size)) for size in (0, 1, 3, 4, 5, 130)], None)


@roles
def test_many_empty_messages_are_no_flood(role: Role) -> None:
    """100,000 of them (B-80)."""
    ws, data = WebSocket(role, 0), frame(FIN | BINARY, b"", to=role) * 10_000

    for _ in range(10):
        assert heard(ws, [data]) == ([b""] * 10_000, None)


# ---------------------------------------------------------------------------------------------------------- floods


@roles
@pytest.mark.parametrize("size", [0, 1, SMALL_FRAGMENT - 1])
@pytest.mark.parametrize("between", [b"", b"ping"])
def test_small_fragments_without_end_are_refused(role: Role, size: int, between: bytes) -> None:
    """Not more of them than 1024 in a message (R-20, B-77), with pings between them or not; the code is 1009."""
    ping = frame(FIN | PING, b"", to=role) if between else b""
    more = frame(CONT, b"x" * size, to=role) + ping
    good = frame(BINARY, b"x" * size, to=role) + ping + more * (SMALL_FRAGMENTS_MAX - 2)
    ws = WebSocket(role, None)

    assert heard(ws, [good, frame(FIN | CONT, b"", to=role)]) == ([b"x" * size * (SMALL_FRAGMENTS_MAX - 1)], None)
    assert heard(ws, [good]) == ([], None)
    bodies, fault = heard(ws, [more])
    assert fault is not None
    assert (bodies, fault.reason, code(farewell(ws, role))) == ([], Reason.FLOOD, 1009)


@roles
def test_large_fragments_may_be_many(role: Role) -> None:
    """As nng sends them, 64 KiB at a time: it is `max_size` that bounds them."""
    ws = WebSocket(role, None)
    more = frame(CONT, b"x" * SMALL_FRAGMENT, to=role)

    chunks = [frame(BINARY, b"", to=role), *itertools.repeat(more, 3 * SMALL_FRAGMENTS_MAX)]
    assert heard(ws, chunks) == ([], None)
    bodies, _ = heard(ws, [frame(FIN | CONT, b"end", to=role)])
    assert bodies == [b"x" * SMALL_FRAGMENT * 3 * SMALL_FRAGMENTS_MAX + b"end"]


@roles
def test_the_bound_of_fragments_is_one_message_s(role: Role) -> None:
    """A connection that lives long has many of them, in many messages (R-20b)."""
    ws = WebSocket(role, 1 << 20)
    two = frame(BINARY, b"a", to=role) + frame(FIN | CONT, b"b", to=role)

    assert heard(ws, [frame(FIN | BINARY, b"x", to=role) * 5000]) == ([b"x"] * 5000, None)
    assert heard(ws, [two * 5000]) == ([b"ab"] * 5000, None)


@roles
@pytest.mark.parametrize("opcode", [PING, PONG])
def test_pings_and_pongs_without_end_are_refused(role: Role, opcode: int) -> None:
    """Nothing else in between, and not a byte from us (B-78): FLOOD behind the bound, however they are cut."""
    one = frame(FIN | opcode, b"p", to=role)

    for chunks in ([one * (CONTROLS_MAX + 1)], [one] * (CONTROLS_MAX + 1)):
        ws = WebSocket(role, None)
        bodies, fault = heard(ws, chunks)
        assert fault is not None
        assert (bodies, fault.reason, code(farewell(ws, role))) == ([], Reason.FLOOD, 1008)


@roles
def test_pings_that_are_answered_are_no_flood(role: Role) -> None:
    """Who pings for days gets its pongs; so does who sends a message now and then, or gets one from us."""
    ws, ping = WebSocket(role, None), frame(FIN | PING, b"p", to=role)

    for _ in range(3):
        assert heard(ws, [ping * CONTROLS_MAX]) == ([], None)
        assert ws.own()
        assert heard(ws, [ping * CONTROLS_MAX, frame(BINARY, b"a", to=role)]) == ([], None)
        assert heard(ws, [ping * CONTROLS_MAX, frame(FIN | CONT, b"b", to=role)]) == ([b"ab"], None)
        assert heard(ws, [ping * CONTROLS_MAX]) == ([], None)
        ws.frames([b"m"])
        ws.begun(0, 1)


# ----------------------------------------------------------------------------------------------------------- pongs


def spoken(data: bytes, role: Role) -> list[tuple[Opcode, bytes]]:
    """The frames that we said, as websockets reads them."""
    peer = Protocol(SIDE[OTHER[role]], max_size=None)
    peer.receive_data(data)
    assert peer.parser_exc is None
    found: list[tuple[Opcode, bytes]] = []
    for event in peer.events_received():
        assert isinstance(event, Frame)
        found.append((event.opcode, bytes(event.data)))
    return found


@roles
def test_a_ping_gets_its_pong_in_front_of_the_next_message(role: Role) -> None:
    """The latest one alone, in the bytes of the first message, until a byte of these went."""
    ws = WebSocket(role, None)
    heard(ws, [frame(FIN | PING, b"one", to=role), frame(FIN | PING, b"two", to=role)])
    wanted = [[(Opcode.PONG, b"two"), (Opcode.BINARY, b"a")], [(Opcode.BINARY, b"b")]]

    assert [spoken(one, role) for one in ws.frames([b"a", b"b"])] == wanted
    ws.begun(0, 0)
    assert [spoken(one, role) for one in ws.frames([b"a", b"b"])] == wanted
    ws.begun(0, 1)
    assert [spoken(one, role) for one in ws.frames([b"a", b"b"])] == [one[-1:] for one in wanted]
    assert ws.own() == b""


@roles
def test_a_ping_that_comes_while_the_pong_goes_is_answered_too(role: Role) -> None:
    """What `begun` books is the pong that went, not one that is due since."""
    ws = WebSocket(role, None)
    heard(ws, [frame(FIN | PING, b"one", to=role)])

    ws.frames([b"a"])
    heard(ws, [frame(FIN | PING, b"two", to=role)])
    ws.begun(1, 0)

    assert spoken(ws.own(), role) == [(Opcode.PONG, b"two")]
    assert ws.own() == b""


@roles
def test_a_pong_without_a_message(role: Role) -> None:
    """`own` says it once; there is none without a ping, and no message to carry one is none."""
    ws = WebSocket(role, None)

    assert (ws.own(), ws.owes) == (b"", False)
    heard(ws, [frame(FIN | PING, b"", to=role)])
    assert ws.owes
    assert ws.frames([]) == []
    ws.begun(0, 0)
    assert spoken(ws.own(), role) == [(Opcode.PONG, b"")]
    ws.begun(1, 0)
    assert (ws.own(), len(ws.frames([b"m"]))) == (b"", 1)
    assert spoken(ws.frames([b"m"])[0], role) == [(Opcode.BINARY, b"m")]


# ----------------------------------------------------------------------------------------------------------- close


@roles
@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "1005"),
        (b"\x03\xe8", "1000 (OK)"),
        (b"\x03\xf1too much", "1009 (message too big) 'too much'"),
        (b"\x03\xe8\r\n\xc3\xa4", "1000 (OK) '\\r\\nä'"),
        (b"\x0b\xb8" + b"x" * 123, f"3000 (registered) '{'x' * 123}'"),
        (b"\x13\x87", "4999 (private use)"),
    ],
)
def test_a_close_frame_ends_the_stream_and_is_echoed(role: Role, payload: bytes, words: str) -> None:
    """What comes behind it is not looked at, be it good or not (B-79, R-26)."""
    data = frame(FIN | BINARY, b"last", to=role) + frame(FIN | CLOSE, payload, to=role)
    behind = frame(FIN | BINARY, b"late", to=role) + b"\xff" * 20

    for chunks in pieces(data + behind):
        ws = WebSocket(role, None)
        assert heard(ws, chunks) == ([b"last"], None)
        assert (ws.closed, farewell(ws, role)) == (True, payload)
        assert (ws.end().reason, words in ws.end().detail) == (Reason.EOF, True)


@roles
def test_a_close_frame_within_a_message(role: Role) -> None:
    """It is echoed, and the part that came is given up."""
    for chunks in pieces(frame(BINARY, b"part", to=role) + frame(FIN | CLOSE, b"", to=role)):
        ws = WebSocket(role, None)
        assert heard(ws, chunks) == ([], None)
        assert (ws.closed, farewell(ws, role), ws.end().reason) == (True, b"", Reason.EOF_MID_FRAME)


@roles
def test_we_leave_with_1000(role: Role) -> None:
    """Where nothing is wrong, that is our farewell, and a peer takes it."""
    ws, peer = WebSocket(role, None), Protocol(SIDE[OTHER[role]])

    peer.receive_data(ws.closing())

    assert peer.close_rcvd is not None
    assert (peer.close_rcvd.code, peer.parser_exc) == (1000, None)
    assert heard(ws, [b"".join(peer.data_to_send())]) == ([], None)
    assert ws.closed


@roles
def test_an_end_within_a_message_is_told_from_one_between_two(role: Role) -> None:
    """Wherever the stream is cut, also between two fragments (B-81)."""
    message = frame(BINARY, b"abc", to=role) + frame(FIN | CONT, b"d" * 130, to=role)

    for place in range(2 * len(message) + 1):
        ws = WebSocket(role, None)
        bodies, _ = heard(ws, [(message * 2)[:place]])
        assert len(bodies) == place // len(message)
        assert ws.end().reason == (Reason.EOF_MID_FRAME if place % len(message) else Reason.EOF)
        assert ws.midway == bool(place % len(message))


# ------------------------------------------------------------------------------------------------------- round trips

some_bodies = st.lists(st.one_of(st.binary(max_size=10), st.binary(min_size=120, max_size=300)), max_size=12)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut at these places, taken modulo the length; empty chunks are left out, as no socket gives any."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


@given(
    role=st.sampled_from(ROLES),
    bodies=some_bodies,
    most=st.sampled_from([1, 2, 7, 125, 126, FRAGMENT_SIZE]),
    places=st.lists(st.integers(0, 1 << 20), max_size=20),
)
@example(role="client", bodies=[b""], most=1, places=[])
def test_both_sides_understand_each_other(role: Role, bodies: list[bytes], most: int, places: list[int]) -> None:
    """Any bodies, in any fragments and any chunks."""
    data = gathered(WebSocket(role, None, fragment_size=most), bodies)
    longest = max(map(len, bodies), default=0)

    assert heard(WebSocket(OTHER[role], longest), cut(data, places)) == (bodies, None)


@given(role=st.sampled_from(ROLES), bodies=some_bodies, most=st.sampled_from([1, 100, FRAGMENT_SIZE]))
def test_websockets_understands_us(role: Role, bodies: list[bytes], most: int) -> None:
    """No frame that it finds fault with, and none over the limit."""
    said = spoken(gathered(WebSocket(role, None, fragment_size=most), bodies), role)

    assert b"".join(payload for _, payload in said) == b"".join(bodies)
    assert [opcode for opcode, _ in said].count(Opcode.BINARY) == len(bodies)
    assert all(len(payload) <= most for _, payload in said)


@given(
    role=st.sampled_from(ROLES),
    bodies=some_bodies,
    size=st.integers(1, 400),
    places=st.lists(st.integers(0, 1 << 20), max_size=20),
)
def test_we_understand_websockets(role: Role, bodies: list[bytes], size: int, places: list[int]) -> None:
    """Its fragments of any size, with pings between them; the last ping is answered."""
    peer = Protocol(SIDE[OTHER[role]])
    for body in bodies:
        parts = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
        peer.send_binary(parts[0], fin=len(parts) == 1)
        for number, part in enumerate(parts[1:], 2):
            peer.send_ping(part[:9])
            peer.send_continuation(part, fin=number == len(parts))
    peer.send_ping(b"last")
    ws = WebSocket(role, None)

    assert heard(ws, cut(b"".join(peer.data_to_send()), places)) == (bodies, None)
    assert spoken(ws.own(), role) == [(Opcode.PONG, b"last")]


@given(role=st.sampled_from(ROLES), data=st.binary(max_size=300), places=st.lists(st.integers(0, 1 << 20), max_size=9))
def test_anything_may_come_and_the_cuts_do_not_matter(role: Role, data: bytes, places: list[int]) -> None:
    """No error but ours leaves `receive`, and what it finds is the same for every cut."""
    one, many = WebSocket(role, 1000), WebSocket(role, 1000)
    bodies, fault = heard(one, [data])
    again, same = heard(many, cut(data, places))

    assert (again, one.closed) == (bodies, many.closed)
    assert (fault and fault.reason, farewell(one, role)) == (same and same.reason, farewell(many, role))


@roles
def test_a_large_message_goes_in_frames_that_nng_takes(role: Role) -> None:
    """None over 1 MiB: the first says binary, the last that it is the last."""
    body = bytes(range(256)) * (10 * FRAGMENT_SIZE // 1024) + b"rest"
    said = spoken(gathered(WebSocket(role, None), [body]), role)

    assert [(opcode, len(payload)) for opcode, payload in said] == [
        (Opcode.BINARY, 1 << 20),
        (Opcode.CONT, 1 << 20),
        (Opcode.CONT, (1 << 19) + 4),
    ]
    assert b"".join(payload for _, payload in said) == body


def test_a_mask_is_a_new_one_for_every_frame() -> None:
    """RFC 6455, section 5.3."""
    made = WebSocket("client", None).frames([b"same"] * 100)

    assert len({one[2:6] for one in made}) > 90


# --------------------------------------------------------------------------------------------------- interruptions


@roles
def test_an_interrupt_of_receive_gives_the_connection_up(role: Role) -> None:
    """Wherever it comes, all is taken or nothing, or the connection says INTERRUPTED: no message comes twice."""
    data = frame(FIN | BINARY, b"one", to=role) + frame(BINARY, b"t", to=role) + frame(FIN | PING, b"", to=role)
    data += frame(FIN | CONT, b"wo", to=role) + frame(FIN | BINARY, b"x" * 200, to=role)
    outcomes: set[str] = set()

    for at in itertools.count():
        ws, out = WebSocket(role, None), list[bytes]()
        if not interrupt(partial(ws.receive, data, out), at, "nnqpy.wire.websocket", "websockets.frames"):
            break
        if ws.broken:
            outcomes.add("broken")
            for _ in range(2):
                with pytest.raises(ProtocolError) as caught:
                    ws.receive(data, out)
                assert caught.value.reason is Reason.INTERRUPTED
        else:
            outcomes.add("before")
            assert out == []
            ws.receive(data, out)
            assert out == [b"one", b"two", b"x" * 200]

    assert outcomes == {"broken", "before"}


@roles
def test_an_interrupt_of_frames_costs_nothing(role: Role) -> None:
    """They are made anew; a pong is said once."""
    for at in itertools.count():
        ws = WebSocket(role, None)
        heard(ws, [frame(FIN | PING, b"p", to=role)])
        if not interrupt(partial(ws.frames, [b"a", b"b"]), at, "nnqpy.wire.websocket"):
            break
        assert [len(spoken(one, role)) for one in ws.frames([b"a", b"b"])] == [2, 1]
        ws.begun(1, 0)
        assert [len(spoken(one, role)) for one in ws.frames([b"a", b"b"])] == [1, 1]


@roles
@pytest.mark.parametrize("end", [b"", b"\xff\xff"], ids=["lost", "at fault"])
def test_a_lost_connection_leaves_nothing_behind(role: Role, end: bytes) -> None:
    """What had come of a large message goes with the object, without the cycle collector."""

    class Watched(WebSocket):
        __slots__ = ("__weakref__",)

    ws = Watched(role, None)
    head = frame(BINARY, b"x" * 100, to=role)
    with contextlib.suppress(ProtocolError):
        ws.receive(head + (end or frame(CONT, b"x" * 100, to=role)[:50]), [])
    there = weakref.ref(ws)
    gc.disable()
    try:
        del ws
        assert there() is None
    finally:
        gc.enable()


# ----------------------------------------------------------------------------------------------------- the upgrade

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3
REP = "rep.sp.nanomsg.org"
HOST = "localhost:7000"

REQUEST: dict[str, str] = {
    "Host": HOST,
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": REP,
}
RESPONSE: dict[str, str] = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Accept": ACCEPT,
    "Sec-WebSocket-Protocol": REP,
}


def head(line: str, headers: dict[str, str], *more: str, **changes: str | None) -> bytes:
    """A request or a response; a change of `None` leaves the header out, and ``_`` is ``-`` in its name."""
    fields = {name.lower(): (name, value) for name, value in headers.items()}
    for name, value in changes.items():
        header = name.replace("_", "-")
        fields.pop(header.lower(), None)
        if value is not None:
            fields[header.lower()] = (header, value)
    lines = [line, *(f"{name}: {value}" for name, value in fields.values()), *more]
    return "".join(f"{one}\r\n" for one in [*lines, ""]).encode("latin-1")


def request(*more: str, line: str = "GET /x HTTP/1.1", **changes: str | None) -> bytes:
    return head(line, REQUEST, *more, **changes)


def find(path: str, host: str) -> str | None:
    return {"/x": REP, "/": "pub.sp.nanomsg.org"}.get(path)


def fed(upgrade: ServerUpgrade | ClientUpgrade, chunks: Iterable[bytes]) -> Upgraded | Refused | None:
    """What it makes of these bytes; nothing behind a refusal is looked at, all behind an agreement is `rest`."""
    rest = b""
    for chunk in chunks:
        if isinstance(upgrade.result, Upgraded):
            rest += chunk
        else:
            upgrade.receive(chunk)
    result = upgrade.result
    return replace(result, rest=result.rest + rest) if isinstance(result, Upgraded) else result


def asked(chunks: Iterable[bytes], origins: Iterable[str] = ()) -> tuple[Upgraded | Refused | None, bytes]:
    """What a server makes of these bytes, and its answer."""
    upgrade = ServerUpgrade(find, origins=origins)
    result, answer = fed(upgrade, chunks), upgrade.to_send()
    assert upgrade.to_send() == b""
    return result, answer


ACCEPTED: dict[str, tuple[bytes, str, str]] = {
    "plain": (request(), "/x", ""),
    "the root": (request(line="GET / HTTP/1.1", Sec_WebSocket_Protocol="pub.sp.nanomsg.org"), "/", ""),
    "a query": (request(line="GET /x?token=1?2 HTTP/1.1"), "/x", "token=1?2"),
    "words in any case (B-67)": (request(Upgrade="WebSocket", Connection="keep-alive, UPGRADE"), "/x", ""),
    "names in any case": (
        request().lower().replace(KEY.lower().encode(), KEY.encode()).replace(b"get /x http", b"GET /x HTTP"),
        "/x",
        "",
    ),
    "two Connection headers": (request("Connection: keep-alive"), "/x", ""),
    "an extension is ignored (B-83)": (
        request("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame"),
        "/x",
        "",
    ),
    "an extension that nobody can read": (request("Sec-WebSocket-Extensions: ;;=,\xff"), "/x", ""),
    "its own origin (B-70)": (request(Origin="http://LOCALHOST:7000"), "/x", ""),
    "its own origin at the port of the scheme": (request(Host="example.com", Origin="https://example.com"), "/x", ""),
    "the same, with the port": (request(Host="example.com:80", Origin="http://example.com"), "/x", ""),
    "what proxies say is nothing to us (B-86)": (
        request("X-Forwarded-For: 10.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil"),
        "/x",
        "",
    ),
    "as many headers as may be": (request(*(f"X-{n}: {n}" for n in range(HEADERS_MAX - len(REQUEST)))), "/x", ""),
    "as long as a head may be": (
        request("X: " + "x" * 8000, "Y: " + "y" * (HEAD_MAX - len(request()) - 8000 - 10)),
        "/x",
        "",
    ),
    "as long as a line may be": (
        request(line=f"GET /x?{'y' * (LINE_MAX - 2 - len('GET /x? HTTP/1.1'))} HTTP/1.1"),
        "/x",
        "y" * (LINE_MAX - 2 - len("GET /x? HTTP/1.1")),
    ),
}

Refusal = tuple[bytes, int, Reason]

REFUSED: dict[str, Refusal] = {
    **{
        case: (data, status, Reason.WS_HTTP)
        for case, data, status in [
            ("POST (B-67)", request(line="POST /x HTTP/1.1"), 405),
            ("a method that is none", request(line="get /x HTTP/1.1"), 405),
            ("HTTP/1.0 (B-67)", request(line="GET /x HTTP/1.0"), 505),
            ("HTTP/2 (B-67)", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            ("HTTP/0.9", b"GET /x\r\n\r\n", 400),
            ("a line of one word", request(line="GET"), 400),
            ("a line of four", request(line="GET /x y HTTP/1.1"), 400),
            ("two spaces", request(line="GET  /x HTTP/1.1"), 400),
            ("a version that is none", request(line="GET /x HTTP/1.1x"), 400),
            ("an empty line first", b"\r\n" + request(), 400),
            ("absolute form (B-67)", request(line=f"GET http://{HOST}/x HTTP/1.1"), 400),
            ("asterisk form", request(line="GET * HTTP/1.1"), 400),
            ("wrong path (B-67)", request(line="GET /y HTTP/1.1"), 404),
            ("path with another case", request(line="GET /X HTTP/1.1"), 404),
            ("path with %00 (R-30)", request(line="GET /x%00 HTTP/1.1"), 404),
            ("path with dots (R-30)", request(line="GET /y/../x HTTP/1.1"), 404),
            ("path that is encoded", request(line="GET /%78 HTTP/1.1"), 404),
            ("path with a fragment", request(line="GET /x#y HTTP/1.1"), 404),
            ("path that is no ASCII (R-30)", request(line="GET /\xff\xfe HTTP/1.1"), 400),
            ("path with a control character", request(line="GET /x\x7f HTTP/1.1"), 400),
            ("a long line (R-30)", request(line=f"GET /{'x' * LINE_MAX} HTTP/1.1"), 414),
            (
                "one byte too long",
                request(line=f"GET /x?{'y' * (LINE_MAX - 1 - len('GET /x? HTTP/1.1'))} HTTP/1.1"),
                414,
            ),
            ("a line without an end (R-30)", b"GET /" + b"x" * (1 << 20), 414),
            ("65 headers", request(*(f"X-{n}: {n}" for n in range(HEADERS_MAX - len(REQUEST) + 1))), 431),
            ("10,000 headers (R-30)", request(*(f"X-{n}: {n}" for n in range(10_000))), 431),
            ("headers without an end (R-31)", b"GET /x HTTP/1.1\r\n" + b"A: b\r\n" * 5000, 431),
            ("a head without an end", b"GET /x HTTP/1.1\r\nA: " + b"b" * (1 << 20), 431),
            (
                "one byte too much",
                request("X: " + "x" * 8000, "Y: " + "y" * (HEAD_MAX - len(request()) - 8000 - 9)),
                431,
            ),
            ("a header line over 8 KiB", request("X: " + "x" * LINE_MAX), 400),
            ("no Host (B-67)", request(Host=None), 400),
            ("two Hosts", request("Host: elsewhere"), 400),
            ("no Upgrade (B-67)", request(Upgrade=None), 426),
            ("another Upgrade", request(Upgrade="h2c"), 426),
            ("two Upgrades", request("Upgrade: websocket"), 426),
            ("no Connection (B-67)", request(Connection=None), 426),
            ("another Connection", request(Connection="keep-alive"), 426),
            ("no key (B-67)", request(Sec_WebSocket_Key=None), 400),
            ("a key of 15 bytes (B-67)", request(Sec_WebSocket_Key=b64encode(b"x" * 15).decode()), 400),
            ("a key of 17 bytes", request(Sec_WebSocket_Key=b64encode(b"x" * 17).decode()), 400),
            ("a key that is no base64", request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ=!"), 400),
            ("a key that is no ASCII", request(Sec_WebSocket_Key="\xff" * 24), 400),
            ("two keys", request(f"Sec-WebSocket-Key: {KEY}"), 400),
            ("no version (B-67)", request(Sec_WebSocket_Version=None), 426),
            *(
                (f"version {n} (B-67)", request(Sec_WebSocket_Version=n), 426)
                for n in ("8", "12", "14", "013", "13, 8")
            ),
            ("two versions", request("Sec-WebSocket-Version: 13"), 400),
            ("a web browser that looks", b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
            ("a foreign origin (B-70)", request(Origin="https://evil.example"), 403),
            ("the same host, another port", request(Origin="http://localhost:8000"), 403),
            ("no scheme in the origin", request(Origin=HOST), 403),
            ("an origin of no page", request(Origin="null"), 403),
            ("two origins", request("Origin: http://localhost:7000", Origin="http://localhost:7000"), 400),
            ("a body (R-29)", request("Content-Length: 5") + b"hello", 400),
            ("two lengths (R-29)", request("Content-Length: 0", "Content-Length: 5"), 400),
            ("chunked (R-29)", request("Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n", 400),
            ("an obsolete fold (R-29)", request(" folded: value"), 400),
            ("a space before the colon", request("Name : value"), 400),
            ("no colon (R-30)", request("Name"), 400),
            ("no name", request(": value"), 400),
            ("NUL (R-29)", request("Name: va\0lue"), 400),
            ("a control character", request("Name: va\x01lue"), 400),
            ("bare LF (R-29)", request("Name: value\nOther: value"), 400),
            ("bare LF everywhere", request().replace(b"\r\n", b"\n"), 400),
            ("bare CR (R-29)", request("Name: value\rOther: value"), 400),
            ("an SP greeting", b"\0SP\0\0\x30\0\0", 400),
            ("TLS", bytes.fromhex("1603010200010001fc0303"), 400),
        ]
    },
    **{
        case: (data, 400, Reason.PROTO_MISMATCH)
        for case, data in [
            ("no subprotocol (B-68)", request(Sec_WebSocket_Protocol=None)),
            ("another subprotocol (B-68)", request(Sec_WebSocket_Protocol="pub.sp.nanomsg.org")),
            ("several (B-68)", request(Sec_WebSocket_Protocol=f"{REP}, pub.sp.nanomsg.org")),
            ("the right one twice", request(Sec_WebSocket_Protocol=f"{REP}, {REP}")),
            ("two headers", request(f"Sec-WebSocket-Protocol: {REP}")),
            ("another case (B-68)", request(Sec_WebSocket_Protocol="REP.sp.nanomsg.org")),
            ("an empty one", request(Sec_WebSocket_Protocol="")),
            ("no ASCII (R-32)", request(Sec_WebSocket_Protocol="\xff\xfe")),
            ("1000 of them (R-32)", request(Sec_WebSocket_Protocol=", ".join(["a"] * 1000))),
        ]
    },
}


def few(data: bytes) -> Iterable[list[bytes]]:
    """The ways to cut a head."""
    yield [data]
    if len(data) < 1000:
        yield from ([data[:place], data[place:]] for place in range(1, len(data)))
    yield [data[place : place + 1] for place in range(min(len(data), 20_000))]


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_request_is_accepted_however_it_is_cut(case: str) -> None:
    """The path and the host are told, the subprotocol is echoed, and what came behind the head is kept."""
    data, path, query = ACCEPTED[case]
    first = frame(FIN | BINARY, b"first", to="server")

    for chunks in few(data + first):
        result, answer = asked(chunks)
        assert isinstance(result, Upgraded)
        assert (result.path, result.query, result.subprotocol, result.rest) == (path, query, find(path, ""), first)
        assert result.host.lower() in data.decode("latin-1").lower()
        lines = answer.decode().split("\r\n")
        assert lines[0] == "HTTP/1.1 101 Switching Protocols"
        assert {
            "Upgrade: websocket",  # exactly so: nng compares it so
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {ACCEPT}",
            f"Sec-WebSocket-Protocol: {result.subprotocol}",
        } <= set(lines)
        assert "Extensions" not in answer.decode()


@pytest.mark.parametrize("case", REFUSED)
def test_a_request_is_refused_however_it_is_cut(case: str) -> None:
    """With a status and a sentence, once; nothing behind the head is looked at."""
    data, status, reason = REFUSED[case]

    for chunks in few(data):
        result, answer = asked([*chunks, frame(FIN | BINARY, b"late", to="server")])
        assert isinstance(result, Refused)
        assert (result.status, result.reason) == (status, reason)
        top, _, body = answer.decode("ascii").partition("\r\n\r\n")
        assert top.startswith(f"HTTP/1.1 {status} ")
        assert {"Connection: close", f"Content-Length: {len(body)}"} <= set(top.split("\r\n"))
        assert (("Sec-WebSocket-Version: 13" in top), ("Allow: GET" in top)) == (status == 426, status == 405)
        assert len(result.detail) <= 300


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        (["https://a.example"], "https://a.example", True),
        (["https://a.example"], "HTTPS://A.example", True),
        (["https://A.example", "null"], "null", True),
        (["https://a.example"], "https://a.example.evil", False),
        (["https://a.example"], "http://a.example", False),
        (["https://a.example"], "http://localhost:7000", True),
        ("https://a.example", "https://a.example", True),
        ("*", "https://evil.example", True),
        (["*"], "anything", True),
    ],
)
def test_the_pages_that_may_connect(origins: Iterable[str], origin: str, allowed: bool) -> None:
    """Those of the list, all of them for ``*``, and always one's own (B-70)."""
    result, _ = asked([request(Origin=origin)], origins)

    assert isinstance(result, Upgraded if allowed else Refused)


def test_a_half_request_waits() -> None:
    """There is nothing to say yet."""
    upgrade = ServerUpgrade(find)

    upgrade.receive(request()[:-1])

    assert (upgrade.result, upgrade.to_send()) == (None, b"")


def test_bytes_behind_an_upgrade_are_not_its_own() -> None:
    """They go to the frames: handing them in is the caller's mistake, and must not lose them."""
    upgrade = ServerUpgrade(find)
    upgrade.receive(request())

    with pytest.raises(ValueError, match=r"WebSocket\.receive"):
        upgrade.receive(b"\x82\x80")


def test_who_listens_is_asked_with_path_and_host() -> None:
    """Several sockets listen on one port, and a host may count as well."""
    seen: list[tuple[str, str]] = []

    def decide(path: str, host: str) -> str:
        seen.append((path, host))
        return REP

    ServerUpgrade(decide).receive(request(line="GET /a/b?c HTTP/1.1"))

    assert seen == [("/a/b", HOST)]


# ------------------------------------------------------------------------------------------------- the client's side


def dial(**more: str) -> ClientUpgrade:
    """A client whose key is the one of the RFC."""
    upgrade = ClientUpgrade(HOST, "/x?q", REP, more or None)
    upgrade._protocol.key = KEY
    return upgrade


def response(*more: str, line: str = "HTTP/1.1 101 Switching Protocols", **changes: str | None) -> bytes:
    return head(line, RESPONSE, *more, **changes)


def test_a_request_is_what_nng_wants() -> None:
    """HTTP/1.1, the host first, one subprotocol, no extension; said once."""
    upgrade = ClientUpgrade(HOST, "/x?q=1", REP, {"Authorization": "Bearer x"})
    lines = upgrade.to_send().decode().split("\r\n")

    assert lines[:2] == ["GET /x?q=1 HTTP/1.1", f"Host: {HOST}"]
    assert {
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: {REP}",
        "Authorization: Bearer x",
    } <= set(lines)
    assert not any(line.startswith(("Sec-WebSocket-Extensions", "Origin")) for line in lines)
    assert (lines[-2:], upgrade.to_send(), upgrade.result) == (["", ""], b"", None)


@pytest.mark.parametrize(
    ("host", "path", "headers"),
    [
        (HOST, "x", {}),
        (HOST, "", {}),
        (HOST, "/a b", {}),
        (HOST, "/a\r\nX: y", {}),
        (HOST, "/\xe4", {}),
        (HOST, "/\udcff", {}),
        ("local\r\nX: y", "/x", {}),
        (HOST, "/x", {"X": "y\r\nZ: z"}),
        (HOST, "/x", {"X": "y\n"}),
        (HOST, "/x", {"X:": "y"}),
        (HOST, "/x", {"": "y"}),
        (HOST, "/x", {"X": "\xe4"}),
        (HOST, "/x", {"Host": "y"}),
        (HOST, "/x", {"sec-websocket-key": "y"}),
        (HOST, "/x", {"Sec-WebSocket-Protocol": "y"}),
        (HOST, "/x", {"UPGRADE": "y"}),
    ],
)
def test_what_cannot_stand_in_a_request(host: str, path: str, headers: dict[str, str]) -> None:
    """It is the caller's mistake; nothing is smuggled in."""
    with pytest.raises(ValueError):
        ClientUpgrade(host, path, REP, headers)


@pytest.mark.parametrize(
    "data",
    [
        response(),
        response(line="HTTP/1.1 101 "),
        response(Upgrade="WebSocket", Connection="keep-alive, upgrade"),
        response("Server: nng", "Date: today"),
    ],
)
def test_a_good_response_is_good_however_it_is_cut(data: bytes) -> None:
    """Also one with the first message right behind it (B-69)."""
    first = frame(FIN | BINARY, b"first", to="client")

    for chunks in few(data + first):
        result = fed(dial(), chunks)
        assert isinstance(result, Upgraded)
        assert (result.path, result.query, result.host, result.subprotocol) == ("/x", "q", HOST, REP)
        assert heard(WebSocket("client", None), [result.rest]) == ([b"first"], None)


UNANSWERED: dict[str, tuple[bytes, int, Reason, str]] = {
    case: (data, status, reason, words)
    for case, data, status, reason, words in [
        ("200 (B-69)", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, Reason.WS_HTTP, "200 (OK)"),
        ("301 (B-69)", b"HTTP/1.1 301 Moved\r\nLocation: http://evil/\r\n\r\n", 301, Reason.WS_HTTP, "301"),
        ("400", b"HTTP/1.1 400 Bad\r\n\r\n", 400, Reason.WS_HTTP, "no peer of ours"),
        ("401 (B-69)", b"HTTP/1.1 401 No\r\n\r\n", 401, Reason.WS_HTTP, "credentials"),
        ("404", b"HTTP/1.1 404 No\r\n\r\n", 404, Reason.WS_HTTP, "nobody listens"),
        ("100 again and again (B-69)", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 100, Reason.WS_HTTP, "100"),
        ("599", b"HTTP/1.1 599 x\r\n\r\n", 599, Reason.WS_HTTP, "599 (unknown)"),
        (
            "chunks without end (R-28)",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n",
            200,
            Reason.WS_HTTP,
            "200",
        ),
        ("HTTP/1.0", response(line="HTTP/1.0 101 Switching Protocols"), 0, Reason.WS_HTTP, "HTTP/1.0"),
        ("no status", response(line="HTTP/1.1 x y"), 0, Reason.WS_HTTP, "no HTTP/1.1"),
        ("status 600", response(line="HTTP/1.1 600 y"), 0, Reason.WS_HTTP, "600"),
        ("a greeting", b"\0SP\0\0\x31\0\0", 0, Reason.WS_HTTP, "SP greeting"),
        ("something else", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 0, Reason.WS_HTTP, "SSH"),
        ("bare LF", response().replace(b"\r\n", b"\n"), 0, Reason.WS_HTTP, "CR LF"),
        ("10 MiB (B-69)", response("X: " + "x" * (10 << 20)), 0, Reason.WS_HTTP, str(HEAD_MAX)),
        ("a long first line", response(line="HTTP/1.1 101 " + "x" * LINE_MAX), 0, Reason.WS_HTTP, str(LINE_MAX)),
        ("65 headers", response(*["X: y"] * 61), 0, Reason.WS_HTTP, "64 headers"),
        ("no space behind 101", response(line="HTTP/1.1 101"), 101, Reason.WS_HTTP, "status line"),
        ("no colon", response("x"), 101, Reason.WS_HTTP, "x"),
        ("no accept (B-69)", response(Sec_WebSocket_Accept=None), 101, Reason.WS_HTTP, "Accept"),
        ("a wrong accept (B-69)", response(Sec_WebSocket_Accept=KEY), 101, Reason.WS_HTTP, "Accept"),
        ("two accepts", response(f"Sec-WebSocket-Accept: {ACCEPT}"), 101, Reason.WS_HTTP, "Accept"),
        ("no upgrade", response(Upgrade=None), 101, Reason.WS_HTTP, "Upgrade"),
        ("no connection", response(Connection=None), 101, Reason.WS_HTTP, "Connection"),
        ("an extension", response("Sec-WebSocket-Extensions: permessage-deflate"), 101, Reason.WS_HTTP, "extension"),
        ("no subprotocol (B-68)", response(Sec_WebSocket_Protocol=None), 101, Reason.PROTO_MISMATCH, "none"),
        ("another (B-68)", response(Sec_WebSocket_Protocol="pub"), 101, Reason.PROTO_MISMATCH, "'pub'"),
        ("two (B-68)", response(Sec_WebSocket_Protocol=f"{REP}, a"), 101, Reason.PROTO_MISMATCH, ", a'"),
        ("two headers", response("Sec-WebSocket-Protocol: a"), 101, Reason.PROTO_MISMATCH, "'a'"),
        ("no ASCII", response(Sec_WebSocket_Protocol="\xff"), 101, Reason.PROTO_MISMATCH, "chose '\\"),
    ]
}


@pytest.mark.parametrize("case", UNANSWERED)
def test_a_response_that_is_no_upgrade(case: str) -> None:
    """It is refused with the status that came, and bounded; what comes behind it is ignored."""
    data, status, reason, words = UNANSWERED[case]

    for chunks in few(data):
        upgrade = dial()
        upgrade.to_send()
        result = fed(upgrade, [*chunks, b"more"])
        assert isinstance(result, Refused)
        assert (result.status, result.reason) == (status, reason)
        assert words in result.detail
        assert (upgrade.to_send(), len(result.detail) <= 300) == (b"", True)


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_both_sides_agree(size: int) -> None:
    """Our client with our server, in chunks of any size; then a message each way."""
    client, server = ClientUpgrade(HOST, "/x", REP), ServerUpgrade(find)
    there, back = WebSocket("client", None), WebSocket("server", None)

    def carry(data: bytes, receive: Callable[[bytes], None]) -> None:
        for place in range(0, len(data), size):
            receive(data[place : place + size])

    carry(client.to_send(), server.receive)
    carry(server.to_send(), client.receive)

    assert isinstance(client.result, Upgraded)
    assert client.result == server.result
    assert heard(back, [gathered(there, [b"q"])]) == ([b"q"], None)
    assert heard(there, [gathered(back, [b"a"])]) == ([b"a"], None)


@given(data=st.binary(max_size=200), places=st.lists(st.integers(0, 1 << 20), max_size=9))
def test_anything_may_come_instead_of_a_head(data: bytes, places: list[int]) -> None:
    """No error leaves `receive`; both sides come to the same for every cut."""
    for line in (b"", b"GET /x HTTP/1.1\r\n", b"HTTP/1.1 101 x\r\n"):
        for make in (lambda: ServerUpgrade(find), dial):
            one, many = make(), make()
            one.receive(line + data)
            for chunk in cut(line + data, places):
                many.receive(chunk)
            assert type(one.result) is type(many.result)
