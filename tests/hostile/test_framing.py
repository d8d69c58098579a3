"""Frames: what a peer that greeted well may send then (rows B-13 to B-18, B-20, B-21 and R-01, R-02, R-04, R-06, R-07, R-17).

What came before a bad frame is kept, what is in it and behind it is not looked at, and the reason is the same wherever
the bytes were parted. A connection has no way to be in step again after a bad frame: it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from nnqpy import Pair, Pull, Push
from nnqpy.engine import STRAY_MAX
from nnqpy.errors import Reason
from nnqpy.events import PeerRemoved
from nnqpy.large import LARGE
from tests.hostile.kit import PATIENCE, Arena, Delivery, Memory, announce, frame, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.hostile.kit import Kind, Role, Scheme

each_scheme = pytest.mark.parametrize("scheme", ["tcp", "ipc"])
each_role = pytest.mark.parametrize("role", ["dialer", "listener"])
each_reader = pytest.mark.parametrize("kind", [Pull, Pair])
each_delivery = pytest.mark.parametrize("delivery", Delivery)
each_reader_and_delivery = pytest.mark.parametrize(
    ("kind", "delivery"), [*((Pull, delivery) for delivery in Delivery), (Pair, Delivery.WHOLE)]
)
"""Both read by the same code: what the Pair adds is that its one peer may be the stranger."""

MARK = 1000
"""`recv_max_size` of the sockets here, unless a test says otherwise."""
BEFORE = (b"one", b"", b"three" * 7)
"""Good messages in front of a bad frame."""


@dataclass(frozen=True)
class Bad:
    """A head of a frame that cannot be accepted, and why."""

    length: int
    reason: Reason

    def __str__(self) -> str:
        return f"{self.length:#x}"


LENGTHS = [
    Bad(MARK + 1, Reason.TOO_LARGE),
    Bad(2**32 - 1, Reason.TOO_LARGE),
    Bad(2**32, Reason.TOO_LARGE),
    Bad(2**60 - 1, Reason.TOO_LARGE),
    # nng takes the top 4 bits for a mistake of their own (tcp.c): so do we, whatever the mark is.
    *(Bad(1 << bit, Reason.BAD_LENGTH) for bit in range(60, 64)),
    Bad(2**63 - 1, Reason.BAD_LENGTH),
    Bad(2**64 - 65536, Reason.BAD_LENGTH),
    Bad(2**64 - 8, Reason.BAD_LENGTH),
    Bad(2**64 - 1, Reason.BAD_LENGTH),
]


def suffer(
    arena: Arena, parts: Sequence[bytes], reason: Reason, bodies: Sequence[bytes] = (), end: str = "by us"
) -> None:
    """Take `parts` from a peer: it delivers `bodies`, goes for `reason`, and the partner does not notice.

    Args:
        arena: with the socket; the partner of a Pair comes after the stranger.
        parts: what the stranger says once it has greeted.
        reason: told, once.
        bodies: what is received of it.
        end: what the stranger does then: ``"finish"``, ``"reset"``, or nothing because our side ends it.
    """
    stranger = arena.attached()
    for part in parts:
        if not stranger.pour(part, meanwhile=arena.take):
            break  # enough was said
        arena.digest(stranger)
    if arena.partner is not None:
        arena.exchange()
    if end == "finish":
        stranger.finish()
    elif end == "reset":
        stranger.reset()

    failure = arena.verdict()
    assert isinstance(failure, PeerRemoved)
    assert failure.reason is reason
    assert (failure.peer.received, failure.peer.state, failure.peer.remote) == (len(bodies), "closed", stranger.name)
    assert failure.peer.bytes_received == sum(map(len, bodies))
    assert arena.got == list(bodies)
    arena.got.clear()
    if end != "reset":
        assert stranger.hears_the_end()
    stranger.close()


@each_role
@each_scheme
@each_reader_and_delivery
@pytest.mark.parametrize("before", [(), BEFORE], ids=["first", "after-good-ones"])
def test_b14_r01_r04_a_length_that_cannot_be_meant(
    kind: Kind, scheme: Scheme, role: Role, delivery: Delivery, before: tuple[bytes, ...]
) -> None:
    """Each impossible length, with ten bytes behind it: refused by its head, and nothing is reserved for it."""
    with Arena(kind, scheme, role, partner=kind is Pull, recv_max_size=MARK) as arena, Memory() as memory:
        good = frame(scheme, *before)
        for bad in LENGTHS:
            for parts in delivery.of(announce(scheme, bad.length) + b"0123456789"):
                with told(bad, parts):
                    suffer(arena, [good + parts[0], *parts[1:]], bad.reason, before)
        arena.invite()
        arena.exchange()

        assert memory.highest < 16 << 20


@each_role
@each_scheme
@pytest.mark.parametrize("bad", LENGTHS, ids=str)
def test_b14_what_is_behind_a_bad_frame_is_not_delivered(bad: Bad, scheme: Scheme, role: Role) -> None:
    """Good frames in front of it are received, good frames behind it in the same segment are not."""
    with Arena(Pull, scheme, role, recv_max_size=MARK) as arena:
        words = frame(scheme, *BEFORE) + announce(scheme, bad.length) + frame(scheme, b"too late")

        suffer(arena, [words], bad.reason, BEFORE)
        arena.exchange()


@each_role
@each_scheme
def test_r04_without_a_mark_the_top_bits_are_still_refused(scheme: Scheme, role: Role) -> None:
    """`recv_max_size=None` takes messages of any size that there can be; the bits above are none."""
    with Arena(Pull, scheme, role, recv_max_size=None) as arena, Memory() as memory:
        for bad in LENGTHS:
            with told(bad):
                if bad.reason is Reason.BAD_LENGTH:
                    suffer(arena, [announce(scheme, bad.length)], Reason.BAD_LENGTH)
                else:
                    suffer(arena, [announce(scheme, bad.length) + b"begun"], Reason.EOF_MID_FRAME, end="finish")

        assert memory.highest < 16 << 20


@each_scheme
@each_reader
@each_delivery
def test_b13_an_empty_message_is_a_message(kind: Kind, scheme: Scheme, delivery: Delivery) -> None:
    """One, and several in a row, wherever their heads are parted."""
    with Arena(kind, scheme, "dialer", partner=False) as arena:
        for bodies in ((b"",), (b"", b"", b""), (b"", b"x", b"")):
            for parts in delivery.of(frame(scheme, *bodies)):
                with told(parts):
                    suffer(arena, parts, Reason.EOF, bodies, end="finish")


@each_role
@each_scheme
@each_reader
@pytest.mark.parametrize("mark", [0, 1, MARK, LARGE - 1, LARGE, LARGE + 1, 200_000])
def test_b15_r06_the_mark_is_the_largest_that_passes(kind: Kind, scheme: Scheme, role: Role, mark: int) -> None:
    """One byte under `recv_max_size`, just it, and one byte over it, on one connection: the third ends it."""
    with Arena(kind, scheme, role, partner=kind is Pull and mark >= MARK, recv_max_size=mark) as arena:
        under, just, over = (bytes(max(0, mark + more)) for more in (-1, 0, 1))
        for bodies in ([under, just], [just, under], [just, just]):
            for whole in (True, False):
                with told([len(body) for body in bodies], whole):
                    parts = [frame(scheme, body) for body in (*bodies, over)]
                    suffer(arena, [b"".join(parts)] if whole else parts, Reason.TOO_LARGE, bodies)


BODIES = (1, 2, 100, LARGE - 1, LARGE, 3 * LARGE)


@each_role
@each_scheme
@each_reader
@pytest.mark.parametrize("end", ["finish", "reset"])
def test_b16_b31_a_head_cut_short(kind: Kind, scheme: Scheme, role: Role, end: str) -> None:
    """After each of its bytes: the end and the reset have reasons of their own, and what was whole is kept."""
    reason = Reason.EOF_MID_FRAME if end == "finish" else Reason.RESET_MID_FRAME
    head = announce(scheme, 5)

    with Arena(kind, scheme, role, partner=kind is Pull) as arena:
        for size in range(1, len(head)):
            for before in ((), BEFORE):
                with told(size, before):
                    suffer(arena, [frame(scheme, *before) + head[:size]], reason, before, end=end)


@each_role
@each_scheme
@each_reader
@pytest.mark.parametrize("end", ["finish", "reset"])
def test_b17_r07_b31_a_body_cut_short(kind: Kind, scheme: Scheme, role: Role, end: str) -> None:
    """After none, one, half and all but one of its bytes, for small bodies and large: nothing of it is delivered."""
    reason = Reason.EOF_MID_FRAME if end == "finish" else Reason.RESET_MID_FRAME

    with Arena(kind, scheme, role, partner=kind is Pull) as arena:
        for length in BODIES:
            for size in sorted({0, 1, length // 2, length - 1} - {length}):
                for before in ((), BEFORE):
                    with told(length, size, before):
                        words = frame(scheme, *before) + announce(scheme, length)
                        suffer(arena, [words, bytes(size)], reason, before, end=end)


@each_role
@each_scheme
@each_reader
@pytest.mark.parametrize("end", ["finish", "reset"])
def test_b31_the_end_between_two_messages(kind: Kind, scheme: Scheme, role: Role, end: str) -> None:
    """A peer that goes in step is told as that; all that it sent was received."""
    with Arena(kind, scheme, role, partner=kind is Pull) as arena:
        for length in (0, *BODIES):
            with told(length):
                suffer(arena, [], Reason.EOF if end == "finish" else Reason.RESET, end=end)
                bodies = [*BEFORE, bytes(length)]
                suffer(
                    arena, [frame(scheme, *bodies)], Reason.EOF if end == "finish" else Reason.RESET, bodies, end=end
                )


@each_role
@each_scheme
def test_b16_b17_silence_within_a_frame_holds_up_nobody(scheme: Scheme, role: Role) -> None:
    """A peer may pause anywhere; the partner goes on meanwhile, and the message is whole when the rest comes."""
    bodies = [b"x" * length for length in BODIES]
    words = frame(scheme, *bodies)

    with Arena(Pull, scheme, role) as arena:
        stranger = arena.attached()
        place = 0
        for stop in (1, 8, 9, 10, 17, 18, 30, LARGE, len(words) - 1, len(words)):
            stranger.say(words[place:stop])
            place = stop
            arena.digest(stranger)
            arena.exchange(3)
            assert arena.failures() == []

        assert arena.got == bodies
        stranger.finish()
        assert arena.verdict().reason is Reason.EOF


@each_role
@each_reader_and_delivery
def test_b21_every_other_type_byte_is_refused(kind: Kind, role: Role, delivery: Delivery) -> None:
    """An ipc frame begins with 01; any other byte ends the connection before a length is there."""
    with Arena(kind, "ipc", role, partner=kind is Pull) as arena:
        for byte in (0, *range(2, 256)) if delivery is Delivery.WHOLE else (0, 2, 255):
            for parts in delivery.of(bytes([byte]) + frame("ipc", b"body")[1:]):
                with told(parts):
                    suffer(arena, parts, Reason.IPC_BAD_TYPE)
                    suffer(arena, [frame("ipc", *BEFORE) + parts[0], *parts[1:]], Reason.IPC_BAD_TYPE, BEFORE)


# --- sizes around those of buffers ------------------------------------------------------------------------------


SIZES = (8191, 8192, 8193, 65535, 65536, 65537)


def every_pair(sizes: Sequence[int]) -> list[int]:
    """Return sizes in an order in which each follows each, itself too."""
    return [size for one in sizes for other in sizes for size in (one, other)]


@each_role
@each_scheme
@pytest.mark.parametrize(
    ("chunk", "sizes"), [(7, SIZES[:3]), (1009, SIZES), (8192, SIZES), (65536, SIZES), (1 << 30, SIZES)], ids=str
)
def test_r02_every_size_behind_every_size(scheme: Scheme, role: Role, chunk: int, sizes: Sequence[int]) -> None:
    """Bodies around a buffer's size, each behind each, in small parts and large: all come out as they went in."""
    bodies = [bytes([number]) * size for number, size in enumerate(every_pair(sizes))]
    words = memoryview(frame(scheme, *bodies))

    with Arena(Pull, scheme, role) as arena:
        stranger = arena.attached()
        for place in range(0, len(words), chunk):
            # Over loopback a part is there when `send` returns: what `take` finds are these very parts.
            stranger.pour(bytes(words[place : place + chunk]), meanwhile=arena.take)
            arena.take()
        arena.digest(stranger)
        stranger.finish()

        assert arena.verdict().reason is Reason.EOF
        assert [len(body) for body in arena.got] == [len(body) for body in bodies]
        assert arena.got == bodies


@each_scheme
def test_r02_byte_by_byte(scheme: Scheme) -> None:
    """The same where it is not too slow for that."""
    bodies = [b"a" * 8191, b"b" * 8193, b"c" * (LARGE + 1)]

    with Arena(Pull, scheme, "dialer") as arena:
        stranger = arena.attached()
        for byte in frame(scheme, *bodies):
            stranger.say(bytes([byte]))
            arena.take()
        arena.digest(stranger)
        stranger.finish()

        assert arena.verdict().reason is Reason.EOF
        assert arena.got == bodies


# --- B-18, B-20: slow ones and fast ones -----------------------------------------------------------------------------


@each_role
@each_scheme
def test_b18_a_body_that_trickles_in_takes_what_has_arrived(scheme: Scheme, role: Role) -> None:
    """16 MiB are announced and 64 KiB come, byte by byte: that is what it costs, and it is not cut off for it."""
    body = bytes(range(256)) * (16 << 12)
    words = announce(scheme, len(body)) + body
    slow = 64 << 10

    with Arena(Pull, scheme, role) as arena:
        stranger = arena.attached()
        with Memory() as memory:
            for place in range(slow):
                stranger.say(words[place : place + 1])
                arena.take()
                if place % 8192 == 0:
                    arena.exchange()
            assert memory.grown <= 2 << 20  # a read may take room for 1 MiB for a moment

        assert stranger.pour(words[slow:], meanwhile=arena.take)
        arena.digest(stranger)
        stranger.finish()
        assert arena.verdict().reason is Reason.EOF
        assert arena.got == [body]


@each_scheme
def test_b20_a_million_empty_messages(scheme: Scheme) -> None:
    """They wait in the kernel, not with us, and all arrive."""
    number, mark = 1_000_000, 1000
    burst = frame(scheme, *[b""] * 10_000)

    with Arena(Pull, scheme, "dialer", recv_hwm=mark) as arena, Memory() as memory:
        stranger = arena.attached()
        received = 0

        def receive() -> None:
            nonlocal received
            assert arena.pull.stats().inbox <= mark
            bodies = arena.pull.recv_many(timeout=PATIENCE)
            assert not any(bodies)
            received += len(bodies)

        for _ in range(number // 10_000):
            assert stranger.pour(burst, meanwhile=receive)
        while received < number:
            receive()
        arena.exchange()
        stranger.finish()
        failure = arena.verdict()

        assert isinstance(failure, PeerRemoved)
        assert (failure.reason, failure.peer.received) == (Reason.EOF, number)
        assert memory.grown < 4 << 20


@each_scheme
def test_b20_a_flood_does_not_put_the_partner_behind_it(scheme: Scheme) -> None:
    """A message of the partner is behind no more of the flood than the inbox holds a few times over."""
    mark = 100
    flood = frame(scheme, *[b""] * 20_000)

    with Arena(Pull, scheme, "dialer", recv_hwm=mark) as arena:
        stranger = arena.attached()
        behind: list[int] = []
        for _ in range(5):
            stranger.pour(flood, meanwhile=lambda: arena.pull.recv_many(timeout=PATIENCE))
            arena.push.send(b"good")
            between = 0
            while arena.pull.recv(timeout=PATIENCE) != b"good":
                between += 1
            behind.append(between)
        arena.digest(stranger)
        arena.got.clear()
        stranger.finish()
        arena.verdict()

    assert max(behind) <= 4 * mark


# --- who must not send at all -----------------------------------------------------------------------------------


@each_role
@each_scheme
def test_r17_a_pull_that_floods_a_push(scheme: Scheme, role: Role) -> None:
    """A little is read and dropped; more than that ends the connection, long before the 100 MB are through."""
    flood = frame(scheme, bytes(1 << 16)) * 16

    with Arena(Push, scheme, role) as arena, Memory() as memory:
        stranger = arena.attached()
        through = 0
        while stranger.pour(flood, meanwhile=arena.turn) and through < 100:
            through += 1
        failure = arena.verdict()

        assert isinstance(failure, PeerRemoved)
        assert failure.reason is Reason.UNEXPECTED_DATA
        assert through < 16
        assert memory.grown <= 2 << 20
        stranger.close()
        arena.exchange()


@each_role
@each_scheme
@pytest.mark.parametrize("end", ["finish", "reset"])
@pytest.mark.parametrize("words", [b"", b"\xff" * 100, bytes(STRAY_MAX)], ids=["nothing", "junk", "just-not-too-much"])
def test_r17_a_little_from_a_pull_is_dropped(scheme: Scheme, role: Role, end: str, words: bytes) -> None:
    """It is no message and no fault; what tells of the peer's end is its end."""
    with Arena(Push, scheme, role) as arena:
        stranger = arena.attached()
        stranger.pour(words, meanwhile=arena.turn)
        arena.digest(stranger)
        assert arena.failures() == []

        if end == "finish":
            stranger.finish()
        else:
            stranger.reset()

        assert arena.verdict().reason is (Reason.EOF if end == "finish" else Reason.RESET)
        arena.exchange()


# --- B-27: half a farewell -------------------------------------------------------------------------------------------


@each_role
@each_scheme
@each_reader
@pytest.mark.parametrize("length", [0, 5, LARGE])
def test_b27_who_says_all_and_then_listens(kind: Kind, scheme: Scheme, role: Role, length: int) -> None:
    """A message, then shutdown for writing, all before we looked: the message is received, then the connection ends."""
    body = b"x" * length

    with Arena(kind, scheme, role, partner=False) as arena:
        stranger = arena.attached()
        stranger.say(frame(scheme, body))
        stranger.finish()

        assert arena.verdict().reason is Reason.EOF
        assert arena.got == [body]
        assert stranger.hears_the_end()
