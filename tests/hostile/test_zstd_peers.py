"""zstd+tcp over connections: bytes written by hand from NNQ's RFC, good ones and bad ones, in both directions.

A bad payload ends its connection with the reason that says what is wrong; what came in front of it is received, nothing
behind it is, nothing that is announced is made, and a good peer on the same socket is served all the while.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from nnqpy import Pull, Push
from nnqpy.errors import Reason
from nnqpy.wire.zstd import DICTIONARY_MAX, ZstdConfig
from tests.hostile.home import GoodPeer, Home, between
from tests.hostile.kit import PATIENCE, Delivery, Memory, told
from tests.kit.zstd import DICTIONARY, FRAME, ID, MAGIC, OTHER, PLAIN, block, bomb, event, frame, library, zstd_frame

if TYPE_CHECKING:
    from tests.hostile.kit import Role, Stranger

MIB: Final = 1 << 20
GOOD: Final = frame(PLAIN + b"good")

each_role = pytest.mark.parametrize("role", ["dialer", "listener"])
each_delivery = pytest.mark.parametrize("delivery", Delivery)


def hello(dictionary: int = 0, *, size: int | None = 5) -> bytes:
    """Return the zstd frame of ``hello``, all of it literal."""
    return zstd_frame(block(5, last=True, raw=b"hello"), size, dictionary=dictionary, window=None if size else 20)


def compressed(body: bytes, dictionary: bytes) -> bytes:
    """Return the zstd frame that the reference library makes of a body."""
    return library.compress(body, zstd_dict=library.ZstdDict(dictionary))


def heard(stranger: Stranger) -> bytes:
    """Read one payload from our side."""
    return stranger.hear(int.from_bytes(stranger.hear(8), "big"))


# --- what arrives ----------------------------------------------------------------------------------------------------

ARRIVES: Final = {
    "plain": ([PLAIN + b"body"], [b"body"]),
    "empty": ([PLAIN, zstd_frame(block(0, last=True), 0)], [b"", b""]),
    "plain of any kind": ([PLAIN + FRAME + b"x", PLAIN + MAGIC], [FRAME + b"x", MAGIC]),
    "frame": ([hello()], [b"hello"]),
    "short size field": ([FRAME + b"\x20\x05" + b"\x29\0\0hello"], [b"hello"]),
    "frame of the library": ([library.compress(event(1) * 9)], [event(1) * 9]),
    "two to one": ([zstd_frame(block(200, last=True, rle=b"a"), 200)], [b"a" * 200]),
    "dictionary": (
        [DICTIONARY, hello(ID), compressed(event(7), DICTIONARY), PLAIN + b"x", hello()],
        [b"hello", event(7), b"x", b"hello"],
    ),
    "dictionary and nothing that needs it": ([DICTIONARY, PLAIN + b"x"], [b"x"]),
}


@each_role
@each_delivery
@pytest.mark.parametrize("case", ARRIVES)
def test_what_a_peer_may_send_arrives(case: str, role: Role, delivery: Delivery) -> None:
    """The three kinds of payload, written by hand or by the library, at every split; who sends may dial or listen."""
    payloads, bodies = ARRIVES[case]
    with Home(Pull, "zstd+tcp") as home:
        good = GoodPeer(home)
        words = b"".join(map(frame, payloads))
        if DICTIONARY in payloads and delivery is Delivery.SPLIT:  # one dictionary a connection
            ways = [[words[:place], words[place:]] for place in (1, 8, 9, 12, 100, len(words) - 40, len(words) - 1)]
        else:
            ways = list(delivery.of(words))
        stranger = home.stranger(role)
        for parts in ways:
            with told(parts):
                if DICTIONARY in payloads and parts is not ways[0]:
                    stranger.finish()
                    assert good.take() == []
                    good.exchange()
                    assert home.verdict().reason is Reason.EOF
                    stranger.close()
                    stranger = home.stranger(role)
                assert good.hears(stranger, parts) == bodies
        stranger.finish()
        good.exchange()
        assert home.verdict().reason is Reason.EOF
        stranger.close()


@each_role
def test_what_we_send_is_read_by_the_library(role: Role) -> None:
    """Short ones plain; the dictionary in front of the first frame that needs it, once to each peer; sizes in every frame."""
    config = ZstdConfig(dictionary=DICTIONARY)
    known = library.ZstdDict(DICTIONARY)
    with Home(Push, "zstd+tcp", zstd=config) as home:
        for number in range(2):  # a second connection knows nothing of the first one's
            stranger = home.stranger(role)
            short, noise = b"x" * 63, Random(1).randbytes(256)
            first, second = event(number) * 2, event(number + 10) * 2
            home.ours.send_many([short, first, b"", second, noise])

            assert heard(stranger) == PLAIN + short
            assert heard(stranger) == DICTIONARY
            for body in (first, b"", second):
                payload = heard(stranger)
                if not body:
                    assert payload == PLAIN
                    continue
                info = library.get_frame_info(payload)
                assert (payload[:4], info.decompressed_size, info.dictionary_id) == (FRAME, len(body), ID)
                assert library.decompress(payload, zstd_dict=known) == body
                assert len(payload) < len(body)
            assert heard(stranger) == PLAIN + noise
            stranger.finish()
            assert home.verdict().reason is Reason.EOF
            stranger.close()


def test_what_we_send_without_a_dictionary() -> None:
    """Plain below 512 bytes or where it saves nothing; else a frame that the library reads with nothing else."""
    with Home(Push, "zstd+tcp", zstd=ZstdConfig(train=False)) as home:
        stranger = home.stranger()
        noise = Random(1).randbytes(600)
        home.ours.send_many([b"a" * 511, b"a" * 512, noise])

        assert heard(stranger) == PLAIN + b"a" * 511
        payload = heard(stranger)
        assert payload.startswith(FRAME)
        assert library.get_frame_info(payload).decompressed_size == 512
        assert library.decompress(payload) == b"a" * 512
        assert heard(stranger) == PLAIN + noise
        stranger.finish()
        assert home.verdict().reason is Reason.EOF


# --- what ends the connection ----------------------------------------------------------------------------------------

TAIL: Final = library.compress(event(3) * 4)
BAD: Final = {
    "sentinel": ([b"\0\0\0\1body"], Reason.ZSTD_BAD_SENTINEL),
    "no sentinel": ([b""], Reason.ZSTD_BAD_SENTINEL),
    "half a sentinel": ([PLAIN[:3]], Reason.ZSTD_BAD_SENTINEL),
    "half a frame's": ([FRAME[:3]], Reason.ZSTD_BAD_SENTINEL),
    "as over tcp": ([b"a message"], Reason.ZSTD_BAD_SENTINEL),
    "a skippable frame": ([b"\x50\x2a\x4d\x18\1\0\0\0x"], Reason.ZSTD_BAD_SENTINEL),
    "an older frame": ([b"\x27\xb5\x2f\xfd" + hello()[4:]], Reason.ZSTD_BAD_SENTINEL),
    "dictionary twice": ([DICTIONARY, DICTIONARY], Reason.ZSTD_BAD_DICTIONARY),
    "another dictionary": ([DICTIONARY, PLAIN + b"x", OTHER], Reason.ZSTD_BAD_DICTIONARY),
    "dictionary of a magic alone": ([MAGIC], Reason.ZSTD_BAD_DICTIONARY),
    "dictionary cut off": ([DICTIONARY[:60]], Reason.ZSTD_BAD_DICTIONARY),
    "dictionary without an id": ([MAGIC + bytes(4) + DICTIONARY[8:]], Reason.ZSTD_BAD_DICTIONARY),
    "dictionary too large": (
        [DICTIONARY + bytes(DICTIONARY_MAX + 1 - len(DICTIONARY))],
        Reason.ZSTD_BAD_DICTIONARY,
    ),
    "needs a dictionary": ([hello(ID)], Reason.ZSTD_BAD_DICTIONARY),
    "needs another dictionary": ([DICTIONARY, hello(ID + 1)], Reason.ZSTD_BAD_DICTIONARY),
    "no content size": ([hello(size=None)], Reason.ZSTD_BAD_FRAME),
    "frame of a magic alone": ([FRAME], Reason.ZSTD_BAD_FRAME),
    "frame cut off": ([TAIL[:-1]], Reason.ZSTD_BAD_FRAME),
    "frame cut off in its header": ([TAIL[:6]], Reason.ZSTD_BAD_FRAME),
    "garbage behind the frame": ([hello() + b"x"], Reason.ZSTD_BAD_FRAME),
    "a frame behind the frame": ([hello() + hello()], Reason.ZSTD_BAD_FRAME),
    "holds less than announced": ([hello(size=6)], Reason.ZSTD_BAD_FRAME),
    "holds more than announced": ([hello(size=4)], Reason.ZSTD_BAD_FRAME),
    "announces more than may be": ([zstd_frame(block(5, last=True, raw=b"hello"), MIB + 1)], Reason.TOO_LARGE),
    "announces 2**64 - 3": ([zstd_frame(block(5, last=True, raw=b"hello"), (1 << 64) - 3)], Reason.TOO_LARGE),
    "announces 2**64 - 1, which the library takes for no size": (
        [zstd_frame(block(5, last=True, raw=b"hello"), (1 << 64) - 1)],
        Reason.ZSTD_BAD_FRAME,
    ),
    "an honest bomb": ([bomb(64 * MIB, 64 * MIB)], Reason.TOO_LARGE),
    "a bomb that lies": ([bomb(64 * MIB, 100)], Reason.ZSTD_BAD_FRAME),
    "plain and one too many": ([PLAIN + bytes(MIB + 1)], Reason.TOO_LARGE),
    "plain and far too many": ([PLAIN + bytes(MIB + 5)], Reason.TOO_LARGE),
}


def ways(words: bytes, delivery: Delivery) -> list[list[bytes]]:
    """Return the ways to deliver `words`; the long ones have a few cuts."""
    if delivery is Delivery.WHOLE or len(words) < 120:
        return list(delivery.of(words))
    places = [1, 7, 8, 11, 12, 13, len(words) // 2, len(words) - 1]
    if delivery is Delivery.SPLIT:
        return [[words[:place], words[place:]] for place in places]
    return [[words[start:end] for start, end in zip([0, *places], [*places, len(words)], strict=True)]]


@each_role
@each_delivery
@pytest.mark.parametrize("case", BAD)
def test_a_bad_payload_ends_its_connection_alone(case: str, role: Role, delivery: Delivery) -> None:
    """At every split: what is in front of it arrives, what is behind it does not, and a good peer is served throughout."""
    payloads, reason = BAD[case]
    words = b"".join(map(frame, payloads))
    with Home(Pull, "zstd+tcp", recv_max_size=MIB) as home:
        good = GoodPeer(home)
        with Memory() as memory:
            for parts in ways(words, delivery):
                with told([part[:100] for part in parts]):
                    stranger = home.stranger(role)
                    got = good.hears(stranger, between(GOOD, parts, GOOD))

                    assert got == [b"good", *[payload[4:] for payload in payloads[:-1] if payload.startswith(PLAIN)]]
                    assert home.verdict().reason is reason
                    assert stranger.hears_the_end()
                    stranger.close()
            assert memory.grown < 32 * MIB  # a bomb has 64
        good.exchange(10)


def test_a_dictionary_is_its_connection_s_own() -> None:
    """What one peer has sent is none of another's, who may have one with the same id and other words."""
    twin = DICTIONARY[:-30] + b"!" * 30
    with Home(Pull, "zstd+tcp") as home:
        good = GoodPeer(home)
        one, other, third = (home.stranger() for _ in range(3))

        assert good.hears(one, [frame(DICTIONARY) + frame(compressed(event(1), DICTIONARY))]) == [event(1)]
        assert good.hears(other, [frame(twin) + frame(compressed(event(2), twin))]) == [event(2)]
        assert good.hears(third, [frame(hello(ID))]) == []
        assert home.verdict().reason is Reason.ZSTD_BAD_DICTIONARY
        assert good.hears(one, [frame(compressed(event(3), DICTIONARY))]) == [event(3)]
        for stranger in (one, other):
            stranger.finish()
            good.exchange()
            assert home.verdict().reason is Reason.EOF


@each_role
@pytest.mark.parametrize("abrupt", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("payload", [PLAIN + b"body", DICTIONARY, hello()], ids=["plain", "dictionary", "frame"])
def test_a_cut_within_a_payload(payload: bytes, role: Role, *, abrupt: bool) -> None:
    """Nothing of it is received, and the reason says that something was cut."""
    words = frame(payload)
    with Home(Pull, "zstd+tcp") as home:
        good = GoodPeer(home)
        for place in (1, 7, 8, 9, 12, len(words) - 1):
            with told(place):
                stranger = home.stranger(role)
                assert good.hears(stranger, [GOOD + words[:place]]) == [b"good"]
                if abrupt:
                    stranger.reset()
                else:
                    stranger.finish()
                good.exchange()
                assert home.verdict().reason is (Reason.RESET_MID_FRAME if abrupt else Reason.EOF_MID_FRAME)
                stranger.close()


def test_over_plain_tcp_the_sentinel_is_a_part_of_the_body() -> None:
    """Nothing is negotiated: an end without the scheme is handed what stands there; towards us it is found out."""
    with Home(Pull, "tcp") as home:
        good = GoodPeer(home)
        with home.guest(Push, to=home.url.replace("tcp", "zstd+tcp", 1)) as guest:
            guest.send(b"body", timeout=PATIENCE)
            guest.flush(PATIENCE)
            good.exchange()
            assert good.take() == [PLAIN + b"body"]
        good.exchange()
        assert home.verdict().reason is Reason.EOF
