"""zstd+tcp: golden bytes, both directions over any cuts, dictionaries per connection, every hostile payload."""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nnqpy.errors import ProtocolError, Reason
from nnqpy.message import Addressed, Batch
from nnqpy.wire import zstd
from nnqpy.wire.stream import MAX_LENGTH, TCP
from nnqpy.wire.zstd import (
    DICTIONARY_MAX,
    LEVEL_MAX,
    LEVEL_MIN,
    TRAINED_MAX,
    TRAINING_BYTES,
    Trainer,
    Zstd,
    ZstdConfig,
    payload_limit,
)
from tests.kit.interrupts import interrupt
from tests.kit.zstd import (
    CONTENT,
    DICTIONARY,
    FRAME,
    ID,
    MAGIC,
    OFFSETS,
    OTHER,
    PLAIN,
    TABLES,
    block,
    bomb,
    event,
    frame,
    library,
    zstd_frame,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ANY_SIZE: Final = -1
MIB: Final = 1 << 20
PLAIN_CONFIG: Final = ZstdConfig(train=False)
GIVEN: Final = ZstdConfig(dictionary=DICTIONARY)


EVENTS: Final = [event(n) for n in range(1000)]
ENOUGH: Final = EVENTS[: TRAINING_BYTES // min(map(len, EVENTS)) + 1]


def payloads_of(frames: Iterable[bytes]) -> list[bytes]:
    """The payloads in frames of tcp, which end with the last one."""
    payloads: list[bytes] = []
    stream = b"".join(frames)
    assert TCP.split(stream, 0, payloads, 1 << 30, ANY_SIZE) == len(stream)
    return payloads


def unpacked(end: Zstd, payloads: Sequence[bytes], max_size: int = ANY_SIZE) -> list[bytes]:
    """What `unpack` gives, and the booking of it."""
    out: list[bytes] = []
    end.unpack(payloads, out, max_size)
    end.received = end.found
    return out


def sent(end: Zstd, bodies: Sequence[bytes]) -> list[bytes]:
    """The payloads of bodies that go whole."""
    frames = end.frames(bodies)
    end.begun(len(frames), 0)
    return payloads_of(frames)


def refused(
    payloads: Sequence[bytes], max_size: int = ANY_SIZE, end: Zstd | None = None
) -> tuple[ProtocolError, list[bytes]]:
    """The error that payloads raise, and the bodies in front of the bad one."""
    out = [b"earlier"]
    with pytest.raises(ProtocolError) as caught:
        (end or fresh()).unpack(payloads, out, max_size)
    assert out.pop(0) == b"earlier"
    return caught.value, out


def fresh(config: ZstdConfig = PLAIN_CONFIG, trainer: Trainer | None = None) -> Zstd:
    return Zstd(config, trainer)


def dictionaries(payloads: Iterable[bytes]) -> list[bytes]:
    return [payload for payload in payloads if payload.startswith(MAGIC)]


def names_dictionary(payload: bytes) -> int:
    """The dictionary that a zstd frame needs, 0 for none, read by hand (RFC 8878, 3.1.1.1)."""
    if not payload.startswith(FRAME):
        return 0
    descriptor = payload[4]
    at = 5 if descriptor & 0x20 else 6
    return int.from_bytes(payload[at : at + (0, 1, 2, 4)[descriptor & 3]], "little")


def content_size(payload: bytes) -> int | None:
    """What a zstd frame announces, read by hand (RFC 8878, 3.1.1.1)."""
    descriptor = payload[4]
    at = (5 if descriptor & 0x20 else 6) + (0, 1, 2, 4)[descriptor & 3]
    flag = descriptor >> 6
    if not flag and not descriptor & 0x20:
        return None
    return int.from_bytes(payload[at : at + (1, 2, 4, 8)[flag]], "little") + (256 if flag == 1 else 0)


class Line:
    """A connection in one direction, with a kernel that takes any number of bytes at a time."""

    def __init__(self, config: ZstdConfig, trainer: Trainer | None, reads: int = 1 << 30) -> None:
        self.near, self.far = fresh(config, trainer), fresh()
        self.wire = b""
        self.payloads: list[bytes] = []
        self._reads = reads

    def write(self, bodies: Sequence[bytes], most: int) -> list[bytes]:
        """Offer bodies to a kernel with room for `most` bytes, as an engine does; return what is to be offered again."""
        frames = self.near.frames(bodies)
        assert len(frames) == len(bodies)
        whole, left = 0, most
        while whole < len(frames) and len(frames[whole]) <= left:
            left -= len(frames[whole])
            whole += 1
        part = left if whole < len(frames) else 0
        for _ in range(2):  # its booking is interrupted once
            self.near.begun(whole, part)
        self.wire += b"".join(frames)[:most]
        if part:
            self.wire += frames[whole][part:]  # the rest of a begun frame goes before anything else
            whole += 1
        return list(bodies[whole:])

    def read(self) -> list[bytes]:
        """Everything that arrived, read a few payloads at a time."""
        arrived = payloads_of([self.wire])
        self.wire = b""
        self.payloads += arrived
        out: list[bytes] = []
        for start in range(0, len(arrived), self._reads):
            out += unpacked(self.far, arrived[start : start + self._reads])
        return out


# --------------------------------------------------------------------------------------------------- golden bytes


def test_a_short_body_goes_as_it_is() -> None:
    """The length, four zero bytes, the body: the RFC's own example, and nothing at all."""
    frames = fresh().frames([b"hi", b""])

    assert frames == [bytes.fromhex("0000000000000006 00000000 6869"), bytes.fromhex("0000000000000004 00000000")]
    assert unpacked(fresh(), payloads_of(frames)) == [b"hi", b""]


@pytest.mark.parametrize(
    ("golden", "body"),
    [
        ("28b52ffd 20 05 290000 6162636465", b"abcde"),  # one byte of content size, one raw block
        ("28b52ffd 20 00 010000", b""),
        ("28b52ffd 60 e802 431f00 61", b"a" * 1000),  # two bytes (less 256), one block of a repeated byte
        ("28b52ffd a0 05000000 280000 6162636465 010000", b"abcde"),  # four bytes; an empty block ends it
        ("28b52ffd e0 0500000000000000 290000 6162636465", b"abcde"),  # eight bytes
        ("28b52ffd 40 00 0000 030800 61", b"a" * 256),  # not a single segment: a window of 1 KiB
    ],
)
def test_the_frames_of_the_format_are_understood(golden: str, body: bytes) -> None:
    """Written by hand from RFC 8878, with each width of the content size."""
    payload = bytes.fromhex(golden)

    assert content_size(payload) == len(body)
    assert unpacked(fresh(), [payload], max_size=len(body)) == [body]


def test_a_long_body_goes_as_one_zstd_frame() -> None:
    """Length, the magic as sentinel, and the size of the content in the header; the sentinel is part of the frame."""
    body = b"abcdefgh" * 200

    (whole,) = fresh().frames([body])

    assert whole[:8] == (len(whole) - 8).to_bytes(8, "big")
    assert whole[8:12] == FRAME
    assert content_size(whole[8:]) == len(body)
    assert len(whole) < 100
    assert library.decompress(whole[8:]) == body


@pytest.mark.parametrize("size", [72_000, 20 * MIB])
def test_a_large_body_says_its_size_too(size: int) -> None:
    """However many blocks it has."""
    body = (b"%015d." % size) * (size // 16)

    (payload,) = sent(fresh(), [body])

    assert content_size(payload) == size
    assert unpacked(fresh(), [payload], max_size=size) == [body]


def test_a_dictionary_message_is_the_dictionary() -> None:
    """Its magic is the sentinel, and a length stands in front: in the same bytes as the first frame that uses it."""
    body = CONTENT * 2

    first, second = fresh(GIVEN).frames([body, body])

    assert first[: 8 + len(DICTIONARY)] == frame(DICTIONARY)
    assert first[8 + len(DICTIONARY) :] == second
    assert second[8:12] == FRAME
    assert names_dictionary(second[8:]) == ID


def test_a_frame_made_with_the_dictionary_is_understood() -> None:
    """A frame that refers to the dictionary's content and tables, made elsewhere."""
    made = bytes.fromhex("28b52ffd23cf5f7b6d4695000048372c226e223a34397d02cc421818094702")
    body = b'{"type":"order.created","user":"u7","currency":"EUR","ok":true,"n":49}'

    assert unpacked(fresh(), [DICTIONARY, made]) == [body]


def test_a_frame_with_a_checksum_is_understood() -> None:
    """We send none, others may; a wrong one is noticed."""
    options = {int(library.CompressionParameter.checksum_flag): 1}
    payload = library.compress(b"abc" * 300, options=options)

    error, _ = refused([payload[:-1] + bytes([payload[-1] ^ 1])])

    assert unpacked(fresh(), [payload]) == [b"abc" * 300]
    assert error.reason is Reason.ZSTD_BAD_FRAME


# -------------------------------------------------------------------------------------------------- what is packed


@pytest.mark.parametrize(("config", "least"), [(PLAIN_CONFIG, 512), (GIVEN, 64)], ids=["none", "dictionary"])
def test_the_threshold_depends_on_the_dictionary(config: ZstdConfig, least: int) -> None:
    """512 bytes without one, 64 with one."""
    end = fresh(config)

    short, long = sent(end, [b"a" * (least - 1)]), sent(end, [b"a" * least])

    assert short == [PLAIN + b"a" * (least - 1)]
    assert long[-1].startswith(FRAME)


def test_what_saves_less_than_four_bytes_goes_as_it_is() -> None:
    """A body is sent compressed from the first saving of 4 bytes on, and random bytes never."""
    end, packer = fresh(), library.ZstdCompressor(level=-3)
    savings: dict[int, bool] = {}
    for letters in range(200):
        body = os.urandom(600 - letters) + b"a" * letters
        saving = len(body) - len(packer.compress(body, packer.FLUSH_FRAME))
        (payload,) = sent(end, [body])
        savings[saving] = payload.startswith(FRAME)
        assert payload == PLAIN + body or unpacked(fresh(), [payload]) == [body]

    assert {packed for saving, packed in savings.items() if saving >= 4} == {True}
    assert {packed for saving, packed in savings.items() if saving < 4} == {False}


def test_exactly_four_bytes_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit itself, with a compressor whose savings are known."""
    end = fresh()

    def first_bytes(saving: int) -> bytes:
        def compress(body: bytes, mode: int) -> bytes:
            return FRAME.ljust(len(body) - saving, b"!")

        monkeypatch.setattr(end._packer, "_compress", compress)
        return sent(end, [b"x" * 1000])[0][:4]

    assert (first_bytes(3), first_bytes(4)) == (PLAIN, FRAME)


def test_a_payload_for_one_peer_is_packed_like_any() -> None:
    """Bytes of a subclass, as the routing patterns hand them."""
    bodies = [Addressed.to(1, b"short"), Addressed.to(2, b"long" * 300)]

    frames = fresh().frames(bodies)

    assert [type(one) for one in frames] == [bytes, bytes]
    assert unpacked(fresh(), payloads_of(frames)) == bodies


@pytest.mark.parametrize("level", [LEVEL_MIN, -7, 0, 3, 19])
def test_every_level_is_understood(level: int) -> None:
    """The level is the sender's business."""
    body = b"".join(EVENTS[:20])

    payloads = sent(fresh(ZstdConfig(level=level)), [body])

    assert unpacked(fresh(), payloads) == [body]


@pytest.mark.parametrize(("size", "limit"), [(-1, -1), (0, 65_536), (65_532, 65_536), (65_533, 65_537)])
def test_the_framing_has_room_for_a_sentinel_and_a_dictionary(size: int, limit: int) -> None:
    """A body of the largest size has 4 bytes in front, and a dictionary may be larger than any body."""
    assert payload_limit(size) == limit


# --------------------------------------------------------------------------------------------- any bodies, any cuts

words = st.sampled_from([b"order.created", b'"user":', b"EUR", b"\0\0\0\0", FRAME, MAGIC, b"0123456789" * 9])
bodies_of_any_kind = st.one_of(
    st.binary(max_size=80),
    st.lists(words, max_size=60).map(b"".join),
    st.integers(0, 999).map(event),
    st.integers(500, 3000).map(os.urandom),
)


@given(
    st.lists(st.lists(bodies_of_any_kind, min_size=1, max_size=6), max_size=6),
    st.lists(st.integers(0, 4000), max_size=12),
    st.sampled_from([PLAIN_CONFIG, GIVEN, ZstdConfig(level=5, dictionary=OTHER)]),
    st.sampled_from([1, 3, 1 << 30]),
)
@example([[CONTENT * 2]], [0, 1], GIVEN, 1)
def test_bodies_arrive_whatever_the_kernel_takes(
    offers: list[list[bytes]], cuts: list[int], config: ZstdConfig, reads: int
) -> None:
    """Whole, in parts, not at all: every body arrives once and in order, and the dictionary once, where it is needed."""
    line, room = Line(config, None, reads), iter(cuts)
    arrived: list[bytes] = []
    for bodies in offers:
        rest = bodies
        while rest:
            rest = line.write(rest, next(room, 1 << 30))
            arrived += line.read()

    assert arrived == [body for bodies in offers for body in bodies]
    first_use = next((n for n, one in enumerate(line.payloads) if names_dictionary(one)), None)
    shipped = [n for n, one in enumerate(line.payloads) if one.startswith(MAGIC)]
    assert shipped == ([] if first_use is None else [first_use - 1])


@settings(max_examples=20)
@given(st.integers(0, 1 << 30), st.lists(st.integers(0, 3000), max_size=40), st.sampled_from([-3, 3]))
def test_training_on_the_way_loses_nothing(start: int, cuts: list[int], level: int) -> None:
    """The dictionary appears in the middle of traffic that is cut anywhere; two connections take turns."""
    trainer, config, room = Trainer(), ZstdConfig(level=level), iter(cuts)
    trainer.learn(ENOUGH[:-40])
    lines = Line(config, trainer), Line(config, trainer)
    bodies = [event(start + n) for n in range(120)]
    arrived: list[list[bytes]] = [[], []]
    given: list[list[bytes]] = [[], []]
    for turn, at in enumerate(range(0, len(bodies), 12)):
        which = turn % 2
        rest = bodies[at : at + 12]
        given[which] += rest
        while rest:
            rest = lines[which].write(rest, next(room, 1 << 30))
            arrived[which] += lines[which].read()

    assert arrived == given
    assert trainer.dictionary is not None
    for line in lines:
        assert dictionaries(line.payloads) == [trainer.dictionary]


# ----------------------------------------------------------------------------------------- who has which dictionary


def test_each_connection_gets_the_dictionary_once_before_the_first_use() -> None:
    """Also the ones that come later; upstream kept one mark for all connections, so the second peer never got it."""
    trainer = Trainer()
    first, second = Line(ZstdConfig(), trainer), Line(ZstdConfig(), trainer)
    for line in (first, second):
        line.write(EVENTS[:3], 1 << 30)

    first.write(ENOUGH, 1 << 30)
    third = Line(ZstdConfig(), trainer)
    for line in (first, second, third):
        line.write(EVENTS[:3], 1 << 30)
        line.write(EVENTS[3:6], 1 << 30)

    assert first.read() == [*EVENTS[:3], *ENOUGH, *EVENTS[:6]]
    assert second.read() == [*EVENTS[:3], *EVENTS[:6]]
    assert third.read() == EVENTS[:6]
    for line in (first, second, third):
        assert dictionaries(line.payloads) == [trainer.dictionary]


def test_a_connection_dialled_again_gets_the_dictionary_again() -> None:
    """What an old connection was given says nothing of the new one: upstream never asked for it again."""
    trainer = Trainer()
    old = Line(ZstdConfig(), trainer)
    old.write(ENOUGH, 1 << 30)

    new = Line(ZstdConfig(), trainer)
    new.write(EVENTS[:2], 1 << 30)

    assert new.read() == EVENTS[:2]
    assert len(dictionaries(new.payloads)) == 1


def test_each_connection_has_its_own_received_dictionary() -> None:
    """Two peers with different ones, even under one id: upstream shared one place among all connections."""
    same_id = MAGIC + ID.to_bytes(4, "little") + TABLES + OFFSETS + CONTENT[::-1]
    peers = [fresh(ZstdConfig(dictionary=one)) for one in (DICTIONARY, OTHER, same_id)]
    ours = [fresh() for _ in peers]
    body = CONTENT.upper() + CONTENT + CONTENT[::-1]

    for _ in range(2):
        for peer, mine in zip(peers, ours, strict=True):
            assert unpacked(mine, sent(peer, [body])) == [body]


def test_the_dictionary_waits_for_a_frame_that_needs_it() -> None:
    """Short bodies, and such as cannot be compressed, go without it."""
    end, random = fresh(GIVEN), os.urandom(300)

    first = end.frames([b"short", random])
    end.begun(2, 0)
    second = end.frames([b"short", random, CONTENT * 3, CONTENT * 3])
    end.begun(4, 0)

    assert payloads_of(first) == [PLAIN + b"short", PLAIN + random]
    assert [DICTIONARY in one for one in second] == [False, False, True, False]


def test_the_dictionary_is_shipped_when_a_byte_of_its_write_went() -> None:
    """Not before: what was offered and not taken is offered with it again."""
    bodies = [b"short", CONTENT * 3, CONTENT * 3]
    for whole, part, shipped in ((0, 0, False), (0, 5, False), (1, 0, False), (1, 1, True), (2, 0, True), (3, 0, True)):
        end = fresh(GIVEN)
        end.frames(bodies)

        end.begun(whole, part)
        end.begun(whole, part)

        assert (DICTIONARY in b"".join(end.frames(bodies))) is not shipped


def test_other_bodies_may_be_offered_when_nothing_went() -> None:
    """The place of the dictionary is that of the last offer: what was put back may go elsewhere."""
    end = fresh(GIVEN)
    end.frames([CONTENT * 3])
    end.begun(0, 0)

    end.frames([b"short", CONTENT * 3])
    end.begun(1, 0)
    end.frames([b"short"])
    end.begun(1, 0)

    assert dictionaries(sent(end, [CONTENT * 3])) == [DICTIONARY]


def test_a_dictionary_of_the_user_skips_training() -> None:
    """Nothing is collected, and his is used from the first message on."""
    trainer = Trainer()
    line = Line(GIVEN, trainer)

    line.write(ENOUGH, 1 << 30)

    assert line.read() == ENOUGH
    assert (trainer.dictionary, len(trainer._samples)) == (None, 0)
    assert dictionaries(line.payloads) == [DICTIONARY]


@pytest.mark.parametrize("trainer", [None, Trainer()], ids=["no trainer", "train=False"])
def test_without_training_there_is_no_dictionary(trainer: Trainer | None) -> None:
    """Whether there is nobody to train or it is switched off."""
    line = Line(ZstdConfig(train=trainer is None), trainer)

    line.write(EVENTS, 1 << 30)

    assert line.read() == EVENTS
    assert dictionaries(line.payloads) == []


# --------------------------------------------------------------------------------------------------------- training


def test_a_hundred_kib_make_a_dictionary() -> None:
    """It is made by the message that completes them, within 8 KiB, with an id that nobody else has reserved."""
    trainer = Trainer()
    enough = next(n for n in count(1) if sum(map(len, EVENTS[:n])) >= TRAINING_BYTES)

    trainer.learn(EVENTS[: enough - 1])
    before = trainer.learning, trainer.dictionary
    trainer.learn(EVENTS[enough - 1 :])

    assert before == (True, None)
    assert not trainer.learning
    assert trainer.dictionary is not None
    assert trainer.dictionary.startswith(MAGIC)
    assert len(trainer.dictionary) <= TRAINED_MAX
    assert not trainer._samples


def test_a_thousand_messages_make_a_dictionary() -> None:
    """Where they are so short that they come to less than 100 KiB."""
    trainer = Trainer()
    shorts = [b'{"id":%010d,"type":"order.created","user":"u%08d"}%s' % (n, n * n, b" " * 20) for n in range(1000)]
    assert sum(map(len, shorts)) < TRAINING_BYTES

    trainer.learn(shorts[:-1])
    before = trainer.learning
    trainer.learn(shorts[-1:])

    assert (before, trainer.learning) == (True, False)
    assert trainer.dictionary is not None


@pytest.mark.parametrize("kind", range(6))
def test_trained_ids_are_in_the_range_of_users(kind: int) -> None:
    """32768..2**31-1, whatever was learned; and the other end takes what was made."""
    trainer = Trainer()
    trainer.learn([(event(n + 5000 * kind) * (kind + 1))[:1024] for n in range(1000)])
    assert trainer.dictionary is not None

    (payload,) = dictionaries(sent(fresh(trainer=trainer, config=ZstdConfig()), EVENTS[:1]))

    assert 32768 <= int.from_bytes(payload[4:8], "little") < 1 << 31
    assert unpacked(fresh(), [payload]) == []


def test_messages_that_cannot_profit_are_no_samples() -> None:
    """Above 1024 bytes, and below the 64 from which on a dictionary is used."""
    trainer = Trainer()
    bodies = [b"a" * size for size in (0, 63, 64, 1024, 1025, 100_000)]

    trainer.learn(bodies)

    assert list(map(len, trainer._samples.values())) == [64, 1024]


def test_one_message_is_one_sample_however_often_it_is_offered() -> None:
    """To several peers, or again after none of it went."""
    trainer = Trainer()
    ends = [Zstd(ZstdConfig(), trainer) for _ in range(3)]

    for end in (*ends, *ends):
        end.frames(EVENTS[:5])

    assert list(trainer._samples.values()) == EVENTS[:5]


@pytest.mark.parametrize("fault", [ValueError("no"), MemoryError(), library.ZstdError("Src size is incorrect"), None])
def test_a_training_that_fails_is_the_last_one(monkeypatch: pytest.MonkeyPatch, fault: Exception | None) -> None:
    """All goes on without a dictionary; a trained one that no peer could read is a failure, too."""
    tried: list[int] = []

    def train(samples: Iterable[bytes], size: int) -> library.ZstdDict:
        tried.append(size)
        if fault is not None:
            raise fault
        return library.ZstdDict(b"no dictionary at all", is_raw=True)

    broken = zstd._library()._replace(train=train)
    monkeypatch.setattr(zstd, "_library", lambda: broken)
    trainer = Trainer()
    line = Line(ZstdConfig(), trainer)

    line.write(EVENTS, 1 << 30)
    line.write(EVENTS, 1 << 30)

    assert line.read() == EVENTS * 2
    assert tried == [8192]
    assert (trainer.learning, trainer.dictionary, len(trainer._samples)) == (False, None, 0)


def test_what_the_library_cannot_train_from_is_no_trouble() -> None:
    """A failure of its own, not a made one: samples that have nothing to give."""
    trainer = Trainer()
    trainer.learn([bytes([n % 256, n // 256]) * 512 for n in range(101)])

    assert not trainer.learning


# ---------------------------------------------------------------------------------------------------------- fan-out


def counted(trainer: Trainer, config: ZstdConfig, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the bodies that are compressed from now on."""
    packer = trainer.packer(config.level, config.dictionary)
    compress, sizes = packer._compress, list[int]()

    def counting(body: bytes, mode: int) -> bytes:
        sizes.append(len(body))
        return compress(body, packer._to_the_end)

    monkeypatch.setattr(packer, "_compress", counting)
    return sizes


@pytest.mark.parametrize("config", [PLAIN_CONFIG, GIVEN], ids=["none", "dictionary"])
def test_fan_out_compresses_once(config: ZstdConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many get a batch; who has the dictionary already shares with who gets it now."""
    trainer = Trainer()
    old, *new = [Line(config, trainer) for _ in range(4)]
    old.write([CONTENT * 20], 1 << 30)
    sizes = counted(trainer, config, monkeypatch)
    batch = Batch()
    batch.extend([CONTENT * 10, b"short", CONTENT * 20])

    for line in (old, *new):
        line.write(batch, 1 << 30)

    assert sizes == [len(CONTENT) * 10, len(CONTENT) * 20]
    assert old.read() == [CONTENT * 20, *batch]
    assert [line.read() for line in new] == [list(batch)] * 3


def test_what_was_compressed_otherwise_is_not_shared() -> None:
    """Another level or dictionary is another frame."""
    configs = [ZstdConfig(level=level, dictionary=one) for level in (-3, 3) for one in (None, DICTIONARY, OTHER)]
    trainer = Trainer()
    lines = [Line(config, trainer) for config in configs]
    batch = Batch()
    batch.extend([CONTENT * 10])

    for line in lines:
        line.write(batch, 1 << 30)

    assert [line.read() for line in lines] == [list(batch)] * 6
    assert len(batch.packed) == 6


# --------------------------------------------------------------------------------------------------- hostile payloads

GOOD: Final = [PLAIN + b"first", zstd_frame(block(6, last=True, raw=b"second"), 6)]
SMALL: Final = zstd_frame(block(5, last=True, raw=b"abcde"), 5)
UNTOLD: Final = zstd_frame(block(5, last=True, raw=b"abcde"), None, window=10)

HOSTILE: Final = [
    ("empty", b"", Reason.ZSTD_BAD_SENTINEL, "0 bytes begins with nothing, wanted 00 00 00 00"),
    ("short", b"\0\0\0", Reason.ZSTD_BAD_SENTINEL, "3 bytes begins with 00 00 00, wanted"),
    ("half a magic", FRAME[:3], Reason.ZSTD_BAD_SENTINEL, "begins with 28 b5 2f, wanted"),
    ("unknown", b"hello world", Reason.ZSTD_BAD_SENTINEL, "11 bytes begins with 68 65 6c 6c, wanted"),
    ("skippable", bytes.fromhex("502a4d1804000000") + b"abcd", Reason.ZSTD_BAD_SENTINEL, "begins with 50 2a 4d 18"),
    ("lz4", bytes.fromhex("04224d18") + b"abcd", Reason.ZSTD_BAD_SENTINEL, "begins with 04 22 4d 18"),
    ("magic alone", FRAME, Reason.ZSTD_BAD_FRAME, "of 4 bytes is not whole"),
    (
        "no content size",
        UNTOLD,
        Reason.ZSTD_BAD_FRAME,
        "does not say how long its content is, wanted Frame_Content_Size",
    ),
    (
        "garbage behind",
        SMALL + b"x",
        Reason.ZSTD_BAD_FRAME,
        "ends 1 bytes before the message, wanted nothing behind it",
    ),
    ("two frames", SMALL + SMALL, Reason.ZSTD_BAD_FRAME, f"ends {len(SMALL)} bytes before the message"),
    (
        "more than told",
        zstd_frame(block(5, last=True, raw=b"abcde"), 4),
        Reason.ZSTD_BAD_FRAME,
        "cannot be decompressed",
    ),
    (
        "less than told",
        zstd_frame(block(5, last=True, raw=b"abcde"), 6),
        Reason.ZSTD_BAD_FRAME,
        "cannot be decompressed",
    ),
    ("nothing told", zstd_frame(block(5, last=True, raw=b"abcde"), 0), Reason.ZSTD_BAD_FRAME, "cannot be decompressed"),
    ("all untrue", zstd_frame(block(0, last=True), 5), Reason.ZSTD_BAD_FRAME, "wanted 5 bytes of content"),
    ("reserved block", FRAME + bytes.fromhex("20052f0000") + b"abcde", Reason.ZSTD_BAD_FRAME, "is not whole"),
    ("reserved bit", FRAME + bytes([0x28]) + SMALL[5:], Reason.ZSTD_BAD_FRAME, "is not whole"),
    (
        "too large",
        zstd_frame(block(101, last=True, rle=b"a"), 101),
        Reason.TOO_LARGE,
        "has 101 bytes, recv_max_size is 100",
    ),
    ("huge", zstd_frame(b"\1\0\0", (1 << 64) - 3), Reason.TOO_LARGE, "has 18446744073709551613 bytes"),
    ("plain too large", PLAIN + bytes(101), Reason.TOO_LARGE, "a message has 101 bytes, recv_max_size is 100: raise"),
    (
        "needs a dictionary",
        zstd_frame(block(5, last=True, raw=b"abcde"), 5, dictionary=77),
        Reason.ZSTD_BAD_DICTIONARY,
        "needs dictionary 77, this connection has no dictionary",
    ),
    ("dictionary alone", MAGIC, Reason.ZSTD_BAD_DICTIONARY, "a dictionary of 4 bytes cannot be read"),
    ("dictionary, no tables", MAGIC + b"\1\0\0\0", Reason.ZSTD_BAD_DICTIONARY, "8 bytes cannot be read (id 1)"),
    ("dictionary, bad tables", MAGIC + b"\1\0\0\0" + b"junk" * 30, Reason.ZSTD_BAD_DICTIONARY, "cannot be read (id 1)"),
    (
        "dictionary, id 0",
        MAGIC + bytes(4) + DICTIONARY[8:],
        Reason.ZSTD_BAD_DICTIONARY,
        "cannot be read (id 0), wanted an id other than 0",
    ),
    (
        "dictionary, too large",
        DICTIONARY.ljust(DICTIONARY_MAX + 1, b"x"),
        Reason.ZSTD_BAD_DICTIONARY,
        "a dictionary of 65537 bytes, wanted at most 65536",
    ),
]


@pytest.mark.parametrize(
    ("payload", "reason", "text"), [case[1:] for case in HOSTILE], ids=[case[0].replace(" ", "-") for case in HOSTILE]
)
def test_a_bad_payload_is_refused_and_the_good_ones_are_kept(payload: bytes, reason: Reason, text: str) -> None:
    """By its own reason and with what was found, also behind good ones; what stands behind it is not looked at."""
    alone, nothing = refused([payload], max_size=100)
    error, good = refused([*GOOD, payload, b"never seen"], max_size=100)

    assert (alone.reason, error.reason) == (reason, reason)
    assert text in error.detail
    assert nothing == []
    assert good == [b"first", b"second"]


def test_a_frame_for_another_dictionary_is_refused() -> None:
    """The text names both; a frame that needs none is welcome beside a dictionary."""
    end = fresh()
    assert unpacked(end, [DICTIONARY, *GOOD]) == [b"first", b"second"]

    error, _ = refused([zstd_frame(block(5, last=True, raw=b"abcde"), 5, dictionary=77)], end=end)

    assert error.reason is Reason.ZSTD_BAD_DICTIONARY
    assert f"needs dictionary 77, this connection has dictionary {ID}" in error.detail
    assert unpacked(end, [zstd_frame(block(5, last=True, raw=b"abcde"), 5, dictionary=ID)]) == [b"abcde"]


@pytest.mark.parametrize("again", [DICTIONARY, OTHER], ids=["the same", "another"])
@pytest.mark.parametrize("apart", [False, True], ids=["in one call", "later"])
def test_a_second_dictionary_is_refused(again: bytes, apart: bool) -> None:
    """Upstream lets it take the first one's place, against its own RFC."""
    end = fresh()
    if apart:
        assert unpacked(end, [DICTIONARY]) == []
        assert unpacked(end, GOOD) == [b"first", b"second"]

    error, out = refused([*GOOD, again] if apart else [DICTIONARY, *GOOD, again], end=end)

    assert error.reason is Reason.ZSTD_BAD_DICTIONARY
    assert f"a second dictionary (id {int.from_bytes(again[4:8], 'little')})" in error.detail
    assert f"that has one (id {ID})" in error.detail
    assert out == [b"first", b"second"]


def test_the_largest_dictionary_is_taken() -> None:
    """64 KiB, which is more than any message on this connection may have."""
    end = fresh()

    assert unpacked(end, [DICTIONARY + bytes(DICTIONARY_MAX - len(DICTIONARY))], max_size=10) == []
    assert end.received is not None
    assert end.received.dict_id == ID


def test_sizes_are_limited_exactly() -> None:
    """A body of the largest size is taken, in either form; one byte more is not, nor is it decompressed."""
    body = b"a" * 700
    packed, plain = zstd_frame(block(700, last=True, rle=b"a"), 700), PLAIN + body

    assert unpacked(fresh(), [packed, plain], max_size=700) == [body, body]
    assert unpacked(fresh(), [packed, plain], max_size=-1) == [body, body]
    assert unpacked(fresh(), [packed, plain], max_size=1 << 62) == [body, body]
    for payload in (packed, plain):
        assert refused([payload], max_size=699)[0].reason is Reason.TOO_LARGE
        assert refused([payload], max_size=0)[0].reason is Reason.TOO_LARGE


@pytest.mark.parametrize("max_size", [-1, 1 << 62])
def test_no_limit_ends_where_the_framing_does(max_size: int) -> None:
    """2**60 bytes, which nobody means: not a number that the library would choke on."""
    error, _ = refused([zstd_frame(b"\1\0\0", MAX_LENGTH + 1)], max_size=max_size)

    assert error.reason is Reason.TOO_LARGE
    assert f"the most that any message may have is {MAX_LENGTH}" in error.detail


@pytest.mark.parametrize(
    "payload",
    [
        SMALL,
        sent(fresh(), [b"".join(EVENTS[:5])])[0],
        sent(fresh(GIVEN), [CONTENT * 2])[1],
        bytes.fromhex("28b52ffd 60 e802 431f00 61"),
    ],
    ids=["raw", "packed", "with dictionary", "rle"],
)
def test_a_frame_cut_off_anywhere_is_refused(payload: bytes) -> None:
    """At every byte: never a body, never another error, and the bodies in front are kept."""
    end = fresh()
    assert unpacked(end, [DICTIONARY]) == []
    assert len(unpacked(end, [payload])) == 1

    for size in range(len(payload)):
        error, good = refused([*GOOD, payload[:size]], end=end)

        assert error.reason is (Reason.ZSTD_BAD_SENTINEL if size < 4 else Reason.ZSTD_BAD_FRAME)
        assert good == [b"first", b"second"]


def test_a_dictionary_cut_off_anywhere_is_refused_or_a_shorter_one() -> None:
    """Its content has no length of its own; where the tables are not whole, or less is left than offsets need, it is none."""
    needed = len(DICTIONARY) - len(CONTENT) + 8  # the largest offset
    for size in range(4, len(DICTIONARY)):
        if size < needed:
            assert refused([DICTIONARY[:size]])[0].reason is Reason.ZSTD_BAD_DICTIONARY
        else:
            assert unpacked(fresh(), [DICTIONARY[:size]]) == []


@given(st.data())
def test_damage_is_an_error_of_the_protocol_or_harmless(data: st.DataObject) -> None:
    """Any bytes overwritten anywhere: a ProtocolError or bodies within the limit, and nothing else."""
    line = fresh(data.draw(st.sampled_from([PLAIN_CONFIG, GIVEN])))
    payloads = [bytearray(one) for one in sent(line, [CONTENT * 2, b"".join(EVENTS[:4]), b"short", CONTENT * 9])]
    for which, at, byte in data.draw(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=4)
    ):
        payload = payloads[which % len(payloads)]
        payload[at % len(payload)] = byte
    out: list[bytes] = []

    try:
        fresh().unpack([bytes(one) for one in payloads], out, 5000)
    except ProtocolError as error:
        assert error.reason in {  # noqa: PT017 - not raising is as good
            Reason.ZSTD_BAD_SENTINEL,
            Reason.ZSTD_BAD_FRAME,
            Reason.ZSTD_BAD_DICTIONARY,
            Reason.TOO_LARGE,
        }

    assert all(len(body) <= 5000 for body in out)


def peak(action: Callable[[], object]) -> int:
    """Bytes by which the memory of this process grew at most while `action` ran, C's included."""

    def kib(name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        assert found
        return int(found[1])

    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    before = kib("VmRSS")
    action()
    return (kib("VmHWM") - before) * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the high-water mark is read from /proc")
@pytest.mark.parametrize("announced", [256 * MIB, MIB, MIB - 1, 10, 0], ids=["true", "limit", "less", "ten", "none"])
def test_a_bomb_costs_no_more_than_the_limit(announced: int) -> None:
    """256 MiB in 8 KiB, with a true size or a lie: refused, in about the memory of the largest message."""
    payload = bomb(256 * MIB, announced)
    assert len(payload) < 256 * MIB // 30_000

    def explode() -> None:
        error, good = refused([*GOOD, payload], max_size=MIB)
        assert error.reason is (Reason.TOO_LARGE if announced > MIB else Reason.ZSTD_BAD_FRAME)
        assert good == [b"first", b"second"]

    explode()  # what is allocated once, for good

    assert peak(explode) < 4 * MIB


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the high-water mark is read from /proc")
def test_a_bomb_within_the_limit_costs_what_it_holds() -> None:
    """1000 to 1 and more is no crime: the body is made, at a few times its size at most."""
    payload = bomb(16 * MIB, 16 * MIB)

    def explode() -> None:
        assert unpacked(fresh(), [payload], max_size=16 * MIB) == [b"a" * 16 * MIB]

    assert peak(explode) < 4 * 16 * MIB


def test_the_library_is_not_trusted_with_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds a content size that lies by itself; should one release not, we do."""

    class Careless:
        def __init__(self, zstd_dict: object) -> None:
            pass

        def decompress(self, payload: bytes, most: int) -> bytes:
            return b"abcdef"[:most]

    careless = zstd._library()._replace(decompressor=Careless)  # type: ignore[arg-type]
    monkeypatch.setattr(zstd, "_library", lambda: careless)
    error, _ = refused([SMALL])

    assert error.reason is Reason.ZSTD_BAD_FRAME
    assert "holds 6 bytes or more, wanted the 5 bytes that it announces" in error.detail


# -------------------------------------------------------------------------------------------------------- interrupts


def test_an_interrupt_while_packing_loses_nothing_and_ships_nothing_twice() -> None:
    """Ctrl-C at every step of an offer that trains: the next one is as if there had been none."""
    at, interrupted = -1, True
    while interrupted:
        at += 1
        trainer = Trainer()
        trainer.learn(ENOUGH[:-1])
        trainer._size = TRAINING_BYTES - 1
        line = Line(ZstdConfig(), trainer)
        bodies = [b"short", *EVENTS[-3:], os.urandom(100)]

        interrupted = interrupt(partial(line.near.frames, bodies), at, "nnqpy.wire.zstd")
        line.near.begun(0, 0)
        line.write(bodies, 1 << 30)

        assert line.read() == bodies
        assert trainer.dictionary is not None
        assert dictionaries(line.payloads) == [trainer.dictionary]
    assert at > 30


def test_an_interrupt_while_booking_is_repaired_by_booking_again() -> None:
    """The dictionary goes once, whether Ctrl-C came before or behind the store."""
    at, interrupted = -1, True
    while interrupted:
        at += 1
        line = Line(GIVEN, None)
        line.wire += b"".join(line.near.frames([CONTENT * 2]))

        interrupted = interrupt(partial(line.near.begun, 1, 0), at, "nnqpy.wire.zstd")
        line.near.begun(1, 0)
        line.write([CONTENT * 3], 1 << 30)

        assert line.read() == [CONTENT * 2, CONTENT * 3]
    assert at > 0


@pytest.mark.parametrize("bad", [[], [b"bad"], [DICTIONARY]], ids=["good", "bad", "second dictionary"])
def test_an_interrupt_while_unpacking_changes_nothing(bad: list[bytes]) -> None:
    """Ctrl-C at every step: the same payloads give the same again, the dictionary among them included."""
    payloads = [*sent(fresh(GIVEN), [b"short", CONTENT * 2, CONTENT * 30]), *bad]
    wanted = [b"short", CONTENT * 2, CONTENT * 30]
    at, interrupted = -1, True
    while interrupted:
        at += 1
        end = fresh()

        def unpack(end: Zstd = end) -> list[bytes]:
            out: list[bytes] = []
            try:
                end.unpack(payloads, out, ANY_SIZE)
            except ProtocolError:
                assert bad
            return out

        interrupted = interrupt(unpack, at, "nnqpy.wire.zstd")

        assert unpack() == wanted
    assert at > 10


def test_an_interrupt_of_the_caller_before_it_booked_changes_nothing() -> None:
    """What `unpack` gave was lost, and comes again; only what is booked is remembered."""
    end, (dictionary, *payloads) = fresh(), sent(fresh(GIVEN), [CONTENT * 2])

    for _ in range(3):
        end.unpack([dictionary], [], ANY_SIZE)

    assert end.received is None
    assert unpacked(end, [dictionary, *payloads]) == [CONTENT * 2]
    assert unpacked(end, payloads) == [CONTENT * 2]
    assert refused([dictionary], end=end)[0].reason is Reason.ZSTD_BAD_DICTIONARY


# ------------------------------------------------------------------------------------------------ config and library


def test_the_levels_are_those_of_the_library() -> None:
    """So that a config can be made, and refused, without it."""
    assert library.CompressionParameter.compression_level.bounds() == (LEVEL_MIN, LEVEL_MAX)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"level": 23}, "level is from -131072 to 22, not 23"),
        ({"level": -131073}, "level is from -131072 to 22, not -131073"),
        ({"dictionary": b""}, "no zstd dictionary: it begins with nothing, wanted 37 a4 30 ec"),
        ({"dictionary": CONTENT}, "no zstd dictionary: it begins with 7b 22 74 79, wanted 37 a4 30 ec; make one with"),
        ({"dictionary": DICTIONARY[:100]}, "a dictionary of 100 bytes cannot be read"),
        ({"dictionary": DICTIONARY.ljust(65537)}, "a dictionary of 65537 bytes, wanted at most 65536"),
    ],
)
def test_a_config_refuses_wrong_values(options: dict[str, int | bytes], text: str) -> None:
    """At once, and with what is wanted; a dictionary that is none would else show only at the other end."""
    with pytest.raises(ValueError, match=re.escape(text)):
        ZstdConfig(**options)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"level": "3"}, "level is a zstd level (int), not '3'"),
        ({"level": True}, "level is a zstd level (int), not True"),
        ({"train": "no"}, "train is True or False, not 'no'"),
        ({"dictionary": "text"}, "dictionary is bytes or None, not str"),
        ({"dictionary": bytearray(DICTIONARY)}, "dictionary is bytes or None, not bytearray"),
    ],
)
def test_a_config_refuses_wrong_types(options: dict[str, object], text: str) -> None:
    """Before they cause an error far away."""
    with pytest.raises(TypeError, match=re.escape(text)):
        ZstdConfig(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_a_dictionary_that_cannot_compress_is_refused() -> None:
    """Should the library read one for receiving that it cannot use for sending."""
    with pytest.raises(ValueError, match="a dictionary of 48 bytes cannot be used to compress"):
        zstd._Packer(-3, MAGIC + b"\1\0\0\0" + b"junk" * 10)


def test_the_largest_dictionary_of_the_user_is_allowed() -> None:
    """And not shown in full by repr."""
    config = ZstdConfig(dictionary=DICTIONARY.ljust(DICTIONARY_MAX, b"x"), level=22)

    assert repr(config) == "ZstdConfig(level=22, train=True)"
    assert hash(config) == hash(ZstdConfig(dictionary=config.dictionary, level=22))


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A config without dictionary can be made; what would compress cannot."""
    monkeypatch.setitem(sys.modules, library.__name__, None)
    zstd._library.cache_clear()
    try:
        config = ZstdConfig()
        with pytest.raises(ImportError, match=re.escape("pip install 'nnqpy[zstd]'")):
            Trainer()
        with pytest.raises(ImportError, match=re.escape(library.__name__)):
            Zstd(config, None)
    finally:
        zstd._library.cache_clear()
