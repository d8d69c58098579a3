"""The greeting and the framings of byte streams: golden bytes, any chunking, every hostile header."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nnqpy.errors import ProtocolError, Reason
from nnqpy.wire import stream
from nnqpy.wire.codec import Codec
from nnqpy.wire.stream import (
    GREETING_SIZE,
    IPC,
    MAX_LENGTH,
    TCP,
    StreamCodec,
    check_greeting_prefix,
    codec,
    greeting,
    parse_greeting,
)
from tests.kit.halves import HALVES

if TYPE_CHECKING:
    from collections.abc import Sequence


ALL = 1 << 30  # a limit nobody reaches
ANY_SIZE = -1
STRANGERS = [
    (b"GET / HT", "HTTP"),
    (b"HTTP/1.1", "HTTP"),
    (b"POST /a ", "HTTP"),
    (b"PRI * HT", "HTTP"),
    (bytes.fromhex("1603010200010001"), "TLS"),
    (bytes.fromhex("1503030002022800"), "TLS"),
    (b"SSH-2.0-", "SSH"),
    (bytes.fromhex("ff00000000000000"), "ZMTP"),
    (b"*1\r\n$4\r\n", "Redis"),
    (b"-ERR unk", "Redis"),
    (b"PING\r\n\0\0", "Redis"),
]

CODECS: Final = {
    f"{name}, {half}": codec(prefix, which)
    for half, which in HALVES.items()
    for name, prefix in {"tcp": b"", "ipc": b"\x01"}.items()
}
codecs = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
typed = pytest.mark.parametrize("codec", [one for name, one in CODECS.items() if name.startswith("ipc")])


def frame(codec: Codec, length: int, body: bytes = b"") -> bytes:
    """One frame made without the code under test; `length` need not be true."""
    return (b"\x01" if codec.header_size == 9 else b"") + length.to_bytes(8, "big") + body


def frames(codec: Codec, bodies: Sequence[bytes]) -> bytes:
    return b"".join(frame(codec, len(body), body) for body in bodies)


def split_plainly(codec: Codec, data: bytes, start: int, limit: int, max_size: int) -> tuple[list[bytes], object]:
    """What `split` must do, a byte at a time: the bodies, and the position reached or the reason to refuse."""
    kind = 1 if codec.header_size == 9 else 0
    bodies: list[bytes] = []
    while len(bodies) < limit:
        if kind and start < len(data) and data[start] != 1:
            return bodies, Reason.IPC_BAD_TYPE
        body = start + kind + 8
        if body > len(data):
            break
        length = int.from_bytes(data[start + kind : body], "big")
        if length >= 1 << 60:
            return bodies, Reason.BAD_LENGTH
        if 0 <= max_size < length:
            return bodies, Reason.TOO_LARGE
        if body + length > len(data):
            break
        bodies.append(data[body : body + length])
        start = body + length
    return bodies, start


def split(codec: Codec, data: bytes, start: int, limit: int, max_size: int) -> tuple[list[bytes], object]:
    """`split` in the form of `split_plainly`; what `out` held before must stay."""
    out = [b"earlier"]
    try:
        result: object = codec.split(data, start, out, limit, max_size)
    except ProtocolError as error:
        result = error.reason
    assert out.pop(0) == b"earlier"
    return out, result


def reassemble(codec: Codec, chunks: Sequence[bytes], limit: int) -> list[bytes]:
    """The bodies in a stream that comes in these chunks, taken at most `limit` at a time."""
    bodies: list[bytes] = []
    rest = b""
    for chunk in chunks:
        rest += chunk
        used = -1
        while used:
            used = codec.split(rest, 0, bodies, limit, ANY_SIZE)
            rest = rest[used:]
    assert not rest
    return bodies


def refused(data: bytes) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        check_greeting_prefix(data)
    return caught.value


@st.composite
def runs(draw: st.DrawFn) -> list[bytes]:
    """Bodies whose lengths come in runs, short and long, as real traffic has them."""
    shape = draw(st.lists(st.tuples(st.sampled_from([0, 1, 7, 64, 255, 256, 700]), st.integers(1, 90)), max_size=5))
    # Headers within bodies must not be taken for headers.
    seed = draw(st.binary(min_size=1, max_size=12))
    return [((seed + frame(TCP, length)) * (length // 9 + 1))[:length] for length, count in shape for _ in range(count)]


some_bodies = st.one_of(st.lists(st.binary(max_size=40), max_size=40), runs())


# ------------------------------------------------------------------------------------------------------- greeting


@pytest.mark.parametrize(
    ("protocol", "golden"), [(0x10, "0053500000100000"), (0x50, "0053500000500000"), (0xFFEE, "00535000ffee0000")]
)
def test_greeting_is_the_eight_bytes_of_the_rfc(protocol: int, golden: str) -> None:
    """The greeting is 00 S P 00, the number, 00 00, and reads back as the number."""
    assert greeting(protocol) == bytes.fromhex(golden)
    assert parse_greeting(bytes.fromhex(golden)) == protocol
    assert len(greeting(protocol)) == GREETING_SIZE


@pytest.mark.parametrize("protocol", [-1, 0x10000])
def test_greeting_has_no_room_for_other_numbers(protocol: int) -> None:
    """A protocol number that is no u16 is an error of ours, not a wrong greeting."""
    with pytest.raises(OverflowError):
        greeting(protocol)


@pytest.mark.parametrize("size", [0, 7, 9])
def test_only_a_whole_greeting_is_parsed(size: int) -> None:
    """`parse_greeting` wants 8 bytes; anything else is the caller's mistake."""
    with pytest.raises(ValueError, match=f"8 bytes, not {size}"):
        parse_greeting(greeting(0x50).ljust(9, b"\0")[:size])


@pytest.mark.parametrize("size", range(GREETING_SIZE + 1))
def test_the_beginning_of_a_good_greeting_is_not_refused(size: int) -> None:
    """As long as every byte there is right, there is nothing to refuse."""
    check_greeting_prefix(greeting(0xFFFF)[:size])


@given(st.integers(0, 7), st.integers(0, 255), st.integers(0, 0xFFFF))
def test_every_wrong_byte_is_refused_as_soon_as_it_is_there(at: int, byte: int, protocol: int) -> None:
    """A wrong byte is named by its own reason, with no byte behind it and with all of them."""
    good = greeting(protocol)
    bad = good[:at] + bytes((byte,)) + good[at + 1 :]
    if at in {4, 5} or bad == good:
        assert parse_greeting(bad) == int.from_bytes(bad[4:6], "big")
        return
    reason = [Reason.BAD_MAGIC] * 3 + [Reason.BAD_VERSION, None, None] + [Reason.BAD_RESERVED] * 2

    for size in range(at + 1, 9):
        assert refused(bad[:size]).reason is reason[at]
    check_greeting_prefix(bad[:at])
    with pytest.raises(ProtocolError) as caught:
        parse_greeting(bad)
    assert caught.value.reason is reason[at]


@pytest.mark.parametrize(
    "data", [b"\0SQ\0", b"\0SP\x01\0\x10", b"\0SP\0\0\x50\0\x07"], ids=["magic", "version", "reserved"]
)
def test_a_refusal_shows_what_was_found_and_what_was_wanted(data: bytes) -> None:
    """Whoever reads the detail can compare the bytes."""
    assert f"found {data.hex(' ')}, wanted 00 53 50 00 xx xx 00 00" in refused(data).detail


@pytest.mark.parametrize(("data", "name"), STRANGERS)
def test_a_stranger_is_named(data: bytes, name: str) -> None:
    """A peer that speaks something well known is told apart by its first bytes, whole or not."""
    for size in (4, 8):
        assert f"(looks like {name})" in refused(data[:size]).detail


@pytest.mark.parametrize("data", [b"P", b"PO\0", b"\x01", b"hello!!!", b"GETS lost"[:8], b"\0\0\0\0"])
def test_an_unknown_stranger_gets_no_name(data: bytes) -> None:
    """No guess where two would fit (P: POST or PING) or none does."""
    error = refused(data)

    assert error.reason is Reason.BAD_MAGIC
    assert "looks like" not in error.detail


# -------------------------------------------------------------------------------------------------------- writing


@codecs
def test_frames_are_the_bytes_of_the_mapping(codec: Codec) -> None:
    """Golden bytes: a u64 length on tcp, the byte 01 in front of it on ipc, zero-length bodies included."""
    tcp = "0000000000000002 6869 0000000000000000 0000000000000001 21"
    ipc = "010000000000000002 6869 010000000000000000 010000000000000001 21"

    assert codec.join([b"hi", b"", b"!"]) == bytes.fromhex(ipc if codec.header_size == 9 else tcp)
    assert codec.header_size in {8, 9}


@codecs
@pytest.mark.parametrize("length", [0, 1, 255, 256, 2**32 - 1, 2**32, 2**60 - 1, 2**64 - 1])
def test_header_of_any_length(codec: Codec, length: int) -> None:
    """The header is the type byte, if any, and the length; asked twice, the same."""
    assert codec.header(length) == codec.header(length) == frame(codec, length)


@codecs
@given(bodies=some_bodies)
@example(bodies=[])
@example(bodies=[b""])
@example(bodies=[b"x" * 64] * 256)
def test_join_and_gather_write_the_same_frames(codec: Codec, bodies: list[bytes]) -> None:
    """One buffer or many, lengths equal or not: the bytes on the stream are the same."""
    expected = frames(codec, bodies)

    gathered = codec.gather(bodies)

    assert codec.join(bodies) == codec.join(tuple(bodies)) == expected
    assert b"".join(gathered) == expected
    assert all(part is body for part, body in zip(gathered[1::2], bodies, strict=True))


@pytest.mark.parametrize("prefix", [b"", b"\x01"], ids=["tcp", "ipc"])
def test_remembered_headers_and_blocks_are_bounded(prefix: bytes) -> None:
    """Traffic of ever new lengths makes the codec remember some, does not make it grow, and stays right."""
    codec = StreamCodec(prefix)
    most_blocks = 0
    for length in range(2 * stream._HEADERS + 1):
        assert codec.header(length) == prefix + frame(TCP, length)
    for length in range(2 * stream._BLOCKS):
        bodies = [bytes(length)] * 40
        assert split(codec, codec.join(bodies), 0, ALL, ANY_SIZE)[0] == bodies
        most_blocks = max(most_blocks, len(codec._blocks))

    assert 0 < len(codec._headers) <= stream._HEADERS
    assert most_blocks == stream._BLOCKS


@codecs
@given(bodies=st.lists(st.binary(max_size=12), max_size=8))
def test_written_says_how_far_any_number_of_bytes_reaches(codec: Codec, bodies: list[bytes]) -> None:
    """Against counting frame by frame, for every number of bytes the kernel may have taken."""
    for sent in range(len(codec.join(bodies)) + 1):
        whole = max(n for n in range(len(bodies) + 1) if len(frames(codec, bodies[:n])) <= sent)

        assert codec.written(bodies, sent) == (whole, sent - len(frames(codec, bodies[:whole])))


@codecs
@pytest.mark.parametrize("excess", [-1, 1])
def test_written_refuses_what_cannot_have_gone(codec: Codec, excess: int) -> None:
    """Fewer than no bytes or more than there are: the caller's books are wrong, and it must know."""
    sent = len(codec.join([b"ab", b"c"])) + 1 if excess > 0 else -1

    with pytest.raises(ValueError, match=f"^{sent} bytes cannot have gone"):
        codec.written([b"ab", b"c"], sent)


def test_a_prefix_is_one_byte_at_most() -> None:
    """Nothing in the mappings has a longer one, so a longer one is a mistake."""
    with pytest.raises(ValueError, match="one byte or none"):
        StreamCodec(b"\x01\x02")


# -------------------------------------------------------------------------------------------------------- reading


@codecs
@given(bodies=some_bodies, cuts=st.lists(st.integers(0, 10_000), max_size=8), limit=st.sampled_from([1, 3, 40, ALL]))
def test_any_chunking_gives_the_same_messages(codec: Codec, bodies: list[bytes], cuts: list[int], limit: int) -> None:
    """However the stream is cut and however few bodies are taken at a time, they come out whole and in order."""
    data = codec.join(bodies)
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    chunks = [data[a:b] for a, b in pairwise(edges)]

    assert reassemble(codec, chunks, limit) == bodies


@codecs
def test_bytes_that_come_one_by_one(codec: Codec) -> None:
    """The worst chunking there is: every message arrives once, and not before its last byte."""
    bodies = [b"", b"a", b"bc", b"", b"defg"]
    data = codec.join(bodies)

    assert reassemble(codec, [data[i : i + 1] for i in range(len(data))], ALL) == bodies


@codecs
@pytest.mark.parametrize(
    "lengths",
    [[64] * 100, [0] * 100, [1024] * 70, [1024, 2000] * 9, [*range(90)] * 2, [*([5] * 50), 6, *([5] * 50)], [300] * 5],
    ids=["uniform", "empty", "large", "large-mixed", "mixed", "broken", "few"],
)
def test_every_limit_takes_as_many_and_no_more(codec: Codec, lengths: list[int]) -> None:
    """`limit` bodies are taken wherever it falls, in a run or not, and the position fits them."""
    bodies = [bytes((n % 251,)) * length for n, length in enumerate(lengths)]
    data = b"skip" + frames(codec, bodies)

    for limit in range(len(bodies) + 2):
        position = 4 + len(frames(codec, bodies[:limit]))

        assert split(codec, data, 4, limit, ANY_SIZE) == (bodies[:limit], position)


@codecs
@pytest.mark.parametrize("length", [0, 3, 255, 256, 900])
def test_a_run_broken_anywhere_is_exact(codec: Codec, length: int) -> None:
    """One frame of another length within equal ones, at each place: a little longer, or by a higher byte."""
    for count in (31, 34, 35, 50, 51, 80):
        run = [(b"%03d" % n * 300)[:length] for n in range(count)]
        for other in (length + 1, length + 256):
            for at in range(count):
                bodies = [*run[:at], b"?" * other, *run[at + 1 :]]

                assert reassemble(codec, [frames(codec, bodies)], ALL) == bodies


@codecs
def test_a_run_longer_than_is_compared_at_once(codec: Codec) -> None:
    """Tens of thousands of frames in one buffer are taken like a few."""
    bodies = [b"%05d" % n for n in range(3 * stream._LONG_RUN + 7)]

    assert split(codec, frames(codec, bodies), 0, ALL, ANY_SIZE) == (bodies, len(frames(codec, bodies)))


@codecs
def test_a_partial_last_frame_stays(codec: Codec) -> None:
    """Every length of the buffer: whole frames are taken, the begun one is left where it is."""
    bodies = [b"0123456789"] * 60 + [b"x" * 300]
    data = frames(codec, bodies)

    for end in range(len(data) + 1):
        assert split(codec, data[:end], 0, ALL, 300) == split_plainly(codec, data[:end], 0, ALL, 300)


@codecs
@given(st.data())
def test_split_is_the_plain_reading_of_any_bytes(codec: Codec, data: st.DataObject) -> None:
    """Frames with corrupted bytes, cut off anywhere, under any limit and size: as the plain model says."""
    raw = bytearray(b"xyz" + frames(codec, data.draw(some_bodies)))
    start = data.draw(st.integers(0, 3))
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0), st.sampled_from([0, 1, 2, 16, 255])), max_size=3)):
        raw[at % len(raw)] = byte
    buffer = bytes(raw[: data.draw(st.integers(start, len(raw)))])
    limit = data.draw(st.sampled_from([0, 1, 5, 33, ALL]))
    max_size = data.draw(st.sampled_from([ANY_SIZE, 0, 7, 64, 300, 1 << 62]))

    assert split(codec, buffer, start, limit, max_size) == split_plainly(codec, buffer, start, limit, max_size)


@codecs
def test_split_is_the_plain_reading_of_damaged_runs(codec: Codec) -> None:
    """Long runs with a damaged header each time, by thousands: more than hypothesis would draw."""
    chance = random.Random(7)
    for _ in range(1500):
        length = chance.choice([0, 2, 64, 256])
        data = bytearray(frames(codec, [bytes(length)] * chance.randint(1, 120) + [bytes(3)] * 40))
        data[chance.randrange(len(data))] = chance.choice([0, 1, 2, 64, 255])
        buffer = bytes(data)
        limit = chance.choice([40, ALL])

        assert split(codec, buffer, 0, limit, 256) == split_plainly(codec, buffer, 0, limit, 256)


# -------------------------------------------------------------------------------------------------------- hostile


@codecs
@pytest.mark.parametrize(
    ("length", "max_size", "reason"),
    [
        (100, 100, None),
        (101, 100, Reason.TOO_LARGE),
        (1, 0, Reason.TOO_LARGE),
        (0, 0, None),
        (2**32 - 1, 1 << 26, Reason.TOO_LARGE),
        (2**32, 1 << 26, Reason.TOO_LARGE),
        (2**32, ANY_SIZE, None),
        (MAX_LENGTH, 1 << 26, Reason.TOO_LARGE),
        (MAX_LENGTH, ANY_SIZE, None),
        (MAX_LENGTH, 1 << 63, None),
        *((1 << bit, size, Reason.BAD_LENGTH) for bit in (60, 61, 62, 63) for size in (ANY_SIZE, 1 << 26, 1 << 64)),
        (2**63 - 1, ANY_SIZE, Reason.BAD_LENGTH),
        (2**64 - 1, ANY_SIZE, Reason.BAD_LENGTH),
        (2**64 - 1, 0, Reason.BAD_LENGTH),
    ],
)
def test_a_length_is_judged_by_its_header_alone(
    codec: Codec, length: int, max_size: int, reason: Reason | None
) -> None:
    """With the last byte of the header, not before and not later; the good frames in front are handed out."""
    for in_front in (0, 1, 2, 100):
        good = [b""] * in_front
        start = len(frames(codec, good))
        data = frames(codec, good) + frame(codec, length)
        taken = [*good, b""] if length == 0 else good

        for end in range(start, len(data)):
            assert split(codec, data[:end], 0, ALL, max_size) == (good, start)
            assert codec.peek(data[:end], start, max_size) is None
        assert split(codec, data, 0, ALL, max_size) == (taken, reason or len(frames(codec, taken)))
        if reason is None:
            assert codec.peek(data, start, max_size) == length
        else:
            with pytest.raises(ProtocolError) as caught:
                codec.peek(data, start, max_size)
            assert caught.value.reason is reason


@codecs
def test_a_frame_that_is_there_whole_can_be_too_large_as_well(codec: Codec) -> None:
    """The limit holds for small and large bodies, alone, among others and within a run."""
    for length in (3, 300, 5000):
        for count in (1, 2, 3, 100):
            good = [b"ab"] * 5
            data = frames(codec, good + [b"x" * length] * count + good)

            assert split(codec, data, 0, ALL, length - 1) == (good, Reason.TOO_LARGE)
            assert len(split(codec, data, 0, ALL, length)[0]) == count + 10


@typed
@pytest.mark.parametrize("byte", [0, 2, 0x47, 255])
@pytest.mark.parametrize("in_front", [0, 1, 3, 70])
def test_a_wrong_ipc_type_is_refused_by_its_one_byte(codec: Codec, byte: int, in_front: int) -> None:
    """As soon as the byte is there, whatever comes behind it and however many good frames stand in front."""
    good = [b"good"] * in_front
    start = len(frames(codec, good))
    data = frames(codec, good) + bytes((byte,)) + frame(TCP, 4, b"good") + frames(codec, [b"good"] * 60)

    for end in range(start + 1, len(data) + 1):
        assert split(codec, data[:end], 0, ALL, 100) == (good, Reason.IPC_BAD_TYPE)
    with pytest.raises(ProtocolError, match=f"type byte {byte:02x}, wanted 01"):
        codec.peek(data[: start + 1], start, 100)


@codecs
def test_a_bad_frame_behind_the_limit_is_left_for_the_next_call(codec: Codec) -> None:
    """Messages that are good are not held back by what comes after them."""
    good = [b"ab"] * 40
    data = frames(codec, good) + frame(codec, 1 << 63)

    for limit in range(len(good) + 1):
        assert split(codec, data, 0, limit, ANY_SIZE) == (good[:limit], len(frames(codec, good[:limit])))
    assert split(codec, data, 0, len(good) + 1, ANY_SIZE) == (good, Reason.BAD_LENGTH)


@codecs
def test_a_refusal_names_the_sizes_and_the_option(codec: Codec) -> None:
    """Who runs into recv_max_size reads in the event what to change."""
    with pytest.raises(ProtocolError, match=r"announces 2001 bytes, recv_max_size is 2000"):
        codec.peek(frame(codec, 2001), 0, 2000)
    with pytest.raises(ProtocolError, match="announces 0x8000000000000000 bytes"):
        codec.peek(frame(codec, 1 << 63), 0, 2000)


def test_the_codecs_fit_the_seam() -> None:
    """An engine takes them as `Codec`: the type checkers judge the signatures, this the names."""
    codecs_of_today: list[Codec] = [TCP, IPC, *CODECS.values()]
    asked = {name for name in vars(Codec) if not name.startswith("_")}

    assert asked == {"gather", "header", "header_size", "join", "peek", "split", "written"}
    assert all(hasattr(codec, name) for codec in codecs_of_today for name in asked)
