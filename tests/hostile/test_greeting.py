"""The greeting: what a program that found the port may say instead of it, or with it (rows B-01 to B-10, R-03, R-12 to R-14).

Each is tried against all three sockets, over tcp and ipc, from a stranger who dials and from one who listens. Whatever
it says, it is never a peer, nothing of its bytes is a message, and the partner does not notice.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from nnqpy import Pair, Pull, Push
from nnqpy.errors import Reason
from nnqpy.events import Connecting, HandshakeFailed, PeerAdded, PeerRemoved
from nnqpy.proto import Proto
from nnqpy.wire.stream import greeting
from tests.hostile.kit import Arena, Delivery, Memory, Stranger, announce, descriptors_for, frame, knock, settle, told

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.hostile.kit import Kind, Role, Scheme

each_kind = pytest.mark.parametrize("kind", [Pull, Push, Pair])
each_scheme = pytest.mark.parametrize("scheme", ["tcp", "ipc"])
each_role = pytest.mark.parametrize("role", ["dialer", "listener"])


@dataclass(frozen=True)
class Imposture:
    """Words that are no greeting for a socket, and what they are taken for."""

    row: str
    words: bytes
    reason: Reason
    hint: str = ""
    """What the event's detail says for a person."""

    def __str__(self) -> str:
        return f"{self.row}-{self.words[:8].hex()}"


IMPOSTURES = [
    Imposture("B05", b"\1SP\0\0\x50\0\0", Reason.BAD_MAGIC, "found 01"),
    Imposture("B05", b"\0xP\0\0\x50\0\0", Reason.BAD_MAGIC, "found 00 78"),
    Imposture("B05", b"\0Sx\0\0\x50\0\0", Reason.BAD_MAGIC, "found 00 53 78"),
    Imposture("B05", b"\0SP\1\0\x50\0\0", Reason.BAD_VERSION, "SP version 1"),
    Imposture("B05", b"\0SP\xff\0\x50\0\0", Reason.BAD_VERSION, "SP version 255"),
    Imposture("B05", b"\0SP\0\0\x50\1\0", Reason.BAD_RESERVED, "not zero"),
    Imposture("B05", b"\0SP\0\0\x50\0\1", Reason.BAD_RESERVED, "not zero"),
    Imposture("B06", b"\0SP\0\0\0\0\0", Reason.PROTO_MISMATCH, "an unknown protocol (0x0000)"),
    Imposture("B06", b"\0SP\0\xff\xff\0\0", Reason.PROTO_MISMATCH, "an unknown protocol (0xffff)"),
    Imposture("B06", b"\0SP\0\0\x11\0\0", Reason.PROTO_MISMATCH, "pair1 (0x0011)"),
    Imposture("B06", b"\0SP\0\0\x20\0\0", Reason.PROTO_MISMATCH, "pub (0x0020)"),
    Imposture("B06", b"\0SP\0\0\x60\0\0", Reason.PROTO_MISMATCH, "an unknown protocol (0x0060)"),  # surveyor, long ago
    Imposture("B06", b"\0SP\0\0\x61\0\0", Reason.PROTO_MISMATCH, "an unknown protocol (0x0061)"),
    Imposture("B07", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", Reason.BAD_MAGIC, "looks like HTTP"),
    Imposture("B07", bytes.fromhex("16030100c8010000c40303"), Reason.BAD_MAGIC, "looks like TLS"),
    Imposture("B07", b"SSH-2.0-OpenSSH_9.2p1\r\n", Reason.BAD_MAGIC, "looks like SSH"),
    Imposture("B07", b"\xff\0\0\0\0\0\0\0\x01\x7f", Reason.BAD_MAGIC, "looks like ZMTP"),
    Imposture("B07", b"PING\r\n", Reason.BAD_MAGIC, "looks like Redis"),
    Imposture("B07", random.Random(7).randbytes(64), Reason.BAD_MAGIC),
]


def deceive(arena: Arena, imposture: Imposture, parts: Iterable[bytes]) -> None:
    """Say `parts` as a stranger: it must be found out, once, while the partner goes on."""
    stranger = arena.stranger()
    for part in parts:
        if not stranger.say(part):
            break  # found out by its first bytes
        arena.digest(stranger)
    arena.exchange()

    failure = arena.verdict()
    assert isinstance(failure, HandshakeFailed)
    assert (failure.reason, failure.remote) == (imposture.reason, stranger.name)
    assert stranger.hears_the_end()
    assert arena.got == []
    stranger.close()


@each_role
@each_scheme
@each_kind
@pytest.mark.parametrize("delivery", Delivery)
def test_b05_b06_b07_what_is_no_greeting_is_found_out(
    kind: Kind, scheme: Scheme, role: Role, delivery: Delivery
) -> None:
    """However the bytes come, the reason is the same, and nothing behind them is looked at."""
    behind = frame(scheme, b"not for you")

    with Arena(kind, scheme, role) as arena:
        for imposture in IMPOSTURES:
            for parts in delivery.of(imposture.words):
                with told(imposture, parts):
                    deceive(arena, imposture, parts)
            with told(imposture, "with a message behind it"):
                deceive(arena, imposture, [imposture.words + arena.hello + behind])
        arena.exchange()


@pytest.mark.parametrize("imposture", [one for one in IMPOSTURES if one.hint], ids=str)
def test_b07_the_event_says_for_a_person_what_it_was(imposture: Imposture) -> None:
    """The detail names the guess or the bytes, and what was wanted instead."""
    with Arena(Pull, "tcp", "dialer") as arena:
        arena.stranger(imposture.words)

        failure = arena.verdict()

        assert isinstance(failure, HandshakeFailed)
        assert imposture.hint in failure.detail
        assert "00 53 50 00 xx xx 00 00" in failure.detail or "push (0x0050)" in failure.detail


@each_role
@each_scheme
def test_b05_every_version_and_every_reserved_bit_is_refused(scheme: Scheme, role: Role) -> None:
    """Versions 1 to 255, and each of the 16 reserved bits alone."""
    good = greeting(Proto.PUSH)
    wrong = [
        *((good[:3] + bytes([version]) + good[4:], Reason.BAD_VERSION) for version in range(1, 256)),
        *((good[:6] + (1 << bit).to_bytes(2, "big"), Reason.BAD_RESERVED) for bit in range(16)),
    ]

    with Arena(Pull, scheme, role) as arena:
        for words, reason in wrong:
            with told(words):
                deceive(arena, Imposture("B05", words, reason), [words])


@each_role
@each_scheme
@each_kind
def test_b06_ones_own_protocol_is_no_partner(kind: Kind, scheme: Scheme, role: Role) -> None:
    """Two Pulls, or two Pushes, refuse each other; a Pair refuses both."""
    protocols = {Proto.PUSH, Proto.PULL, Proto.PAIR}

    with Arena(kind, scheme, role) as arena:
        for protocol in protocols - {arena.ours._core.proto.peer}:
            deceive(arena, Imposture("B06", b"", Reason.PROTO_MISMATCH), [greeting(protocol)])
        assert arena.of(PeerAdded) == []


@each_scheme
def test_b06_a_dialer_does_not_hammer_a_listener_that_refuses_it(scheme: Scheme) -> None:
    """The pause before each further attempt doubles, jitter or not."""
    first, attempts = 0.02, 5

    with Arena(Pull, scheme, "listener", reconnect_min=first, reconnect_max=10.0) as arena:
        times: list[float] = []
        for number in range(1, attempts + 1):
            stranger = arena.stranger()
            times.append(monotonic())
            assert arena.wait_for(Connecting).attempt == number
            stranger.say(greeting(Proto.PULL))
            arena.verdict()
            stranger.close()

    for number, (before, after) in enumerate(pairwise(times)):
        assert after - before >= first * 2**number / 2


@each_role
@each_scheme
@each_kind
def test_b01_who_comes_and_goes_without_a_word(kind: Kind, scheme: Scheme, role: Role) -> None:
    """A connection that ends before a byte was said is told as that, whichever way it ends."""
    with Arena(kind, scheme, role) as arena:
        for _ in range(5):
            stranger = arena.stranger()
            stranger.finish()
            arena.exchange()
            assert reason_of(arena) is Reason.GREETING_EOF

            arena.stranger().reset()
            arena.exchange()
            assert reason_of(arena) is arena.reset_of_the_ungreeted


@each_scheme
@each_kind
def test_b01_r13_a_crowd_that_comes_and_goes_at_once(kind: Kind, scheme: Scheme) -> None:
    """Hundreds who do not even wait for our greeting: one event each, and no descriptor stays."""
    crowd = 300

    with Arena(kind, scheme, "dialer") as arena:
        for number in range(crowd):
            with Stranger(knock(arena.url)) as stranger:
                if number % 3 == 1:
                    stranger.finish()
                elif number % 3 == 2:
                    stranger.say(b"\0SP\0")
            if number % 50 == 0:
                arena.exchange()
        ends = arena.verdicts(crowd)
        arena.exchange()

    assert {type(end) for end in ends} == {HandshakeFailed}
    assert {end.reason for end in ends} <= {Reason.GREETING_EOF, Reason.RESET}


@each_role
@each_scheme
@each_kind
def test_b02_a_greeting_cut_short(kind: Kind, scheme: Scheme, role: Role) -> None:
    """After 1 to 7 of the 8 bytes: the end is GREETING_EOF, a reset is RESET, and the event says how far it came."""
    with Arena(kind, scheme, role) as arena:
        for size in range(1, 8):
            with told(size):
                stranger = arena.stranger(arena.hello[:size])
                arena.exchange()
                stranger.finish()
                failure = arena.verdict()
                assert isinstance(failure, HandshakeFailed)
                assert (failure.reason, failure.detail.split(" of ")[0][-1]) == (Reason.GREETING_EOF, str(size))

                stranger = arena.stranger(arena.hello[:size])
                stranger.reset()
                assert reason_of(arena) is arena.reset_of_the_ungreeted


@each_role
@each_scheme
@each_kind
def test_b03_a_greeting_that_stops(kind: Kind, scheme: Scheme, role: Role) -> None:
    """After 0 to 7 bytes and then silence, the time for it ends the connection, not before and not much later."""
    limit = 0.3

    with Arena(kind, scheme, role, handshake_timeout=limit, reconnect_min=PAUSE, reconnect_max=PAUSE) as arena:
        if role == "listener":
            for _ in range(7):
                arena.ours.connect(arena.url)
        began = monotonic()
        strangers = [arena.stranger(arena.hello[:size]) for size in range(8)]
        arena.exchange()
        assert arena.told_of(HandshakeFailed, within=limit + 1)
        first = monotonic() - began
        ends = arena.verdicts(8)

        assert {end.reason for end in ends} == {Reason.GREETING_TIMEOUT}
        assert all(stranger.hears_the_end() for stranger in strangers)
        assert limit * 0.9 < first < limit + 1


PAUSE = 30.0
"""Seconds between two dials for a dialer that is to dial once."""


@each_role
@each_scheme
def test_b04_bytes_that_trickle_in_buy_no_time(scheme: Scheme, role: Role) -> None:
    """The limit is for the whole greeting: a byte every now and then does not move it."""
    limit, beat = 0.4, 0.1

    with Arena(Pull, scheme, role, handshake_timeout=limit, reconnect_min=PAUSE, reconnect_max=PAUSE) as arena:
        stranger = arena.stranger()
        said = 0
        for said in range(1, 8):
            stranger.say(arena.hello[said - 1 : said])
            if arena.told_of(HandshakeFailed, within=beat):
                break

        assert reason_of(arena) is Reason.GREETING_TIMEOUT
        assert said < 7, "each byte has moved the deadline"
        arena.exchange()


@each_role
@each_scheme
@pytest.mark.parametrize("delivery", Delivery)
def test_b08_messages_right_behind_the_greeting(scheme: Scheme, role: Role, delivery: Delivery) -> None:
    """They are delivered, wherever the bytes are parted."""
    bodies = [b"first", b"", b"third"]

    with Arena(Pull, scheme, role) as arena:
        words = arena.hello + frame(scheme, *bodies)
        for parts in delivery.of(words):
            with told(parts):
                stranger = arena.stranger()
                for part in parts:
                    assert stranger.say(part)
                    arena.digest(stranger)
                    arena.exchange()
                stranger.finish()

                failure = arena.verdict()
                assert isinstance(failure, PeerRemoved)
                assert (failure.reason, failure.peer.received) == (Reason.EOF, 3)
                assert arena.got == bodies
                arena.got.clear()
                stranger.close()


@each_role
@each_scheme
def test_b08_a_busy_pair_takes_nothing_of_the_second_one(scheme: Scheme, role: Role) -> None:
    """A whole greeting with messages behind it, to a Pair that has its peer: refused, and nothing delivered."""
    with Arena(Pair, scheme, role) as arena:
        stranger = arena.stranger(arena.hello + frame(scheme, b"let me in"))
        arena.exchange()

        assert reason_of(arena) is Reason.LIMIT_PIPES
        assert stranger.hears_the_end()
        assert arena.got == []


@each_role
@each_scheme
def test_b09_a_peer_that_talks_and_never_listens(scheme: Scheme, role: Role) -> None:
    """1 MiB of messages from a peer that has not even read our greeting: all of it arrives."""
    bodies = [number.to_bytes(2, "big") * 512 for number in range(1024)]

    with Arena(Pull, scheme, role, recv_hwm=100) as arena:
        stranger = arena.stranger()

        assert stranger.pour(arena.hello + frame(scheme, *bodies), meanwhile=arena.turn)
        arena.digest(stranger)
        arena.exchange()
        stranger.finish()

        assert reason_of(arena) is Reason.EOF
        assert arena.got == bodies


@each_role
@each_scheme
@pytest.mark.parametrize("delivery", Delivery)
def test_b10_a_second_greeting_is_a_bad_frame(scheme: Scheme, role: Role, delivery: Delivery) -> None:
    """Over tcp its 8 bytes are a length of far too many bytes; over ipc its first byte is no frame's."""
    wanted = Reason.IPC_BAD_TYPE if scheme == "ipc" else Reason.TOO_LARGE

    with Arena(Pull, scheme, role) as arena:
        for parts in delivery.of(arena.hello):
            with told(parts):
                stranger = arena.attached()
                for part in parts:
                    if not stranger.say(part):
                        break
                    arena.digest(stranger)
                arena.exchange()

                failure = arena.verdict()
                assert isinstance(failure, PeerRemoved)
                assert failure.reason is wanted
                assert arena.got == []
                stranger.close()


@each_role
@each_scheme
@pytest.mark.parametrize("words", [b"\xff" * 8, b"GET / HTT", greeting(Proto.PAIR1)], ids=bytes.hex)
def test_r03_a_flood_behind_a_bad_greeting_is_never_read(scheme: Scheme, role: Role, words: bytes) -> None:
    """1 MiB comes with it; 8 bytes of it are enough to part."""
    flood = words + bytes(1 << 20)

    with Arena(Pull, scheme, role) as arena, Memory() as memory:
        stranger = arena.stranger()
        stranger.pour(flood, meanwhile=settle)
        arena.exchange()

        assert isinstance(arena.verdict(), HandshakeFailed)
        assert arena.got == []
        stranger.close()
        assert memory.grown < 1 << 20


@each_role
@each_scheme
def test_r03_a_flood_behind_a_good_greeting_ends_at_its_first_frame(scheme: Scheme, role: Role) -> None:
    """The first length is impossible: what is behind it is not kept."""
    flood = greeting(Proto.PUSH) + announce(scheme, 2**63) + bytes(1 << 20)

    with Arena(Pull, scheme, role) as arena, Memory() as memory:
        stranger = arena.stranger()
        stranger.pour(flood, meanwhile=arena.turn)
        arena.exchange()

        assert reason_of(arena) is Reason.BAD_LENGTH
        assert arena.got == []
        stranger.close()
        assert memory.grown < 1 << 20


@each_scheme
@each_kind
def test_r12_a_hundred_browsers_at_once(kind: Kind, scheme: Scheme) -> None:
    """Lines of HTTP, and of anything, from many at the same time: each is told of, and the partner goes on."""
    dice = random.Random(12)

    with Arena(kind, scheme, "dialer") as arena:
        for _ in range(3):
            strangers = [arena.stranger() for _ in range(100)]
            for stranger in strangers:
                words = b"GET / HTTP/1.1\r\n" + bytes(dice.choices(range(32, 127), k=dice.randrange(2000)))
                stranger.say(words if dice.random() < 0.5 else words[16:] + b"\r\n")
                arena.exchange()
            ends = arena.verdicts(100)
            for stranger in strangers:
                stranger.close()

            assert {end.reason for end in ends} == {Reason.BAD_MAGIC}


@each_role
@each_scheme
def test_r13_who_greets_and_leaves(scheme: Scheme, role: Role) -> None:
    """A whole greeting, then the end or a reset at once: a peer came and went, nothing else happened."""
    with Arena(Pull, scheme, role) as arena:
        for number in range(100):
            with told(number):
                stranger = arena.stranger()
                stranger.say(arena.hello)
                if number % 2:
                    stranger.reset()
                else:
                    stranger.finish()
                failure = arena.verdict()
                stranger.close()
                # A reset may be there before the janitor has looked at the greeting; then it was no peer yet.
                if isinstance(failure, PeerRemoved):
                    assert failure.reason is (Reason.RESET if number % 2 else Reason.EOF)
                    assert arena.wait_for(PeerAdded).peer.id == failure.peer.id
                else:
                    assert failure.reason is Reason.RESET
        arena.exchange()


@each_scheme
@each_kind
def test_r14_silent_strangers_hold_up_nobody(kind: Kind, scheme: Scheme) -> None:
    """A thousand connections that say nothing: a good peer comes in beside them, and they cost little."""
    crowd = 1000

    with descriptors_for(2 * crowd), Arena(kind, scheme, "dialer", partner=False) as arena, Memory() as memory:
        strangers = arena.crowd(crowd)
        began = monotonic()
        arena.invite()
        took = monotonic() - began
        arena.exchange(10)

        assert took < 1
        assert memory.grown < 16 << 20
        assert arena.failures() == []
        for stranger in strangers:
            stranger.finish()
        assert {end.reason for end in arena.verdicts(crowd)} == {Reason.GREETING_EOF}
        for stranger in strangers:
            stranger.close()


def reason_of(arena: Arena) -> Reason:
    return arena.verdict().reason
