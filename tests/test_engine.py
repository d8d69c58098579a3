"""Engine: every split of the stream gives the same messages, and an interrupt at any point loses no byte."""

from __future__ import annotations

import socket
import tracemalloc
from collections import deque
from itertools import count, pairwise
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nnqpy.engine import GATHER_FROM, READ_MAX, STRAY_MAX
from nnqpy.errors import Reason
from nnqpy.large import BODY_READ, CRUMB, LARGE
from nnqpy.patterns.pair import PairCore
from nnqpy.patterns.pipeline import PullCore, PushCore
from nnqpy.wire.stream import IPC, TCP
from tests.kit.cores import queue
from tests.kit.engines import Line, Socket, close_lines, connected, unwire, wire
from tests.kit.interrupts import handlers, interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nnqpy.wire.codec import Codec

codecs = pytest.mark.parametrize("codec", [TCP, IPC], ids=["tcp", "ipc"])
SIZES: Final = [0, 1, 9, 1000, LARGE - 1, LARGE, LARGE + 1, 100_000]


def numbered(sizes: list[int]) -> list[bytes]:
    """Bodies of these sizes, each of its own bytes."""
    return [bytes([n % 251]) * size for n, size in enumerate(sizes)]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Close every line, also after a failure."""
    yield
    close_lines()


# --- reading -----------------------------------------------------------------------------------------------


@codecs
@given(
    sizes=st.lists(st.sampled_from(SIZES), max_size=8),
    cuts=st.lists(st.integers(0, 300_000), max_size=8),
    limit=st.integers(1, 4),
    before=st.integers(0, 3000),
)
@example(sizes=[LARGE, 5], cuts=[8, 9], limit=1, before=0)
@example(sizes=[3, LARGE, LARGE, 0], cuts=[4], limit=2, before=11)
@settings(max_examples=150)
def test_any_split_of_the_stream_gives_the_same_messages(
    codec: Codec, sizes: list[int], cuts: list[int], limit: int, before: int
) -> None:
    """Wherever the segments end, and however few messages are asked for at a time, they come whole and in order."""
    bodies = numbered(sizes)
    stream = wire(codec, bodies)
    places = sorted({min(place, len(stream)) for place in (*cuts, before, len(stream))})
    with connected(codec, data=stream[: min(before, len(stream))]) as line:
        take_all(line, limit)
        for start, end in pairwise([min(before, len(stream)), *(place for place in places if place > before)]):
            feed_and_take(line, stream[start:end], limit)

        assert list(line.core.inbox) == bodies
        assert (line.engine.received, line.engine.bytes_received) == (len(bodies), sum(sizes))
        assert (line.core.received, line.core.bytes_received) == (len(bodies), sum(sizes))


def feed_and_take(line: Line, data: bytes, limit: int) -> None:
    for start in range(0, len(data), 65536):
        line.feed(data[start : start + 65536])
        take_all(line, limit)


def take_all(line: Line, limit: int) -> None:
    """Read until nothing is there; no read delivers more than it was asked for."""
    more = True
    while more:
        had = len(line.core.inbox)
        more = line.engine.read(limit)
        assert len(line.core.inbox) - had <= limit


@codecs
def test_a_stream_of_single_bytes_gives_the_same_messages(codec: Codec) -> None:
    """A segment of one byte is the worst that a network can do."""
    bodies = numbered([0, 1, 300, 0, 20])
    with connected(codec) as line:
        for byte in wire(codec, bodies):
            line.feed(bytes([byte]))
            line.read()

        assert list(line.core.inbox) == bodies


@codecs
def test_a_large_body_may_come_in_crumbs(codec: Codec) -> None:
    """A large body that arrives byte by byte is no list of single bytes."""
    body = bytes(range(256)) * (LARGE // 256)
    most = 0
    with connected(codec) as line:
        stream = wire(codec, [body, b"next"])
        for start in range(0, len(stream), 7):
            line.feed(stream[start : start + 7])
            line.read()
            most = max(most, len(line.engine._chunks))

        assert list(line.core.inbox) == [body, b"next"]
        assert most <= 2 + 2 * LARGE // CRUMB


def test_nothing_there_is_told_as_such() -> None:
    """`read` says False when the kernel has nothing."""
    with connected() as line:
        assert not line.engine.read(10)
        line.feed(wire(TCP, [b"x"]))
        assert line.engine.read(10)
        assert not line.engine.read(10)


def test_what_is_over_the_limit_stays_and_is_told_of() -> None:
    """`stuffed` says that whole frames may be here that no descriptor tells of."""
    bodies = numbered([5] * 10)
    with connected() as line:
        line.feed(wire(TCP, bodies))

        line.engine.read(3)
        assert (list(line.core.inbox), line.engine.stuffed) == (bodies[:3], True)
        line.engine.read(7)
        assert list(line.core.inbox) == bodies
        assert not line.engine.stuffed


def test_a_limit_reached_at_the_end_of_the_data_leaves_nothing() -> None:
    """Exactly as many messages as were asked for leave the engine empty."""
    with connected() as line:
        line.feed(wire(TCP, numbered([5] * 3)))

        line.engine.read(3)

        assert not line.engine.stuffed


def test_a_part_of_a_frame_behind_the_limit_is_kept() -> None:
    """The rest of what was read is a part of a frame: it waits for the rest of it."""
    bodies = numbered([5] * 4)
    stream = wire(TCP, bodies)
    with connected() as line:
        line.feed(stream[:-2])
        stuffed = [line.engine.read(3) and line.engine.stuffed for _ in range(2)]
        assert stuffed == [True, False]

        line.feed(stream[-2:])

        assert line.read() == bodies


def test_data_behind_the_greeting_is_not_lost() -> None:
    """What came in one segment with the greeting is there without any descriptor being readable."""
    bodies = numbered([5, 6])
    with connected(data=wire(TCP, bodies)) as line:
        assert line.engine.stuffed

        assert line.read() == bodies


def test_reading_adapts_to_how_much_comes() -> None:
    """A full buffer asks for a larger one, up to a bound; a nearly empty one for a smaller."""
    with connected() as line:
        start = line.engine._appetite
        for _ in range(5):
            line.feed(wire(TCP, [b"x" * 1016] * 128))  # 128 KiB: nothing small is left over
            line.read()
        grown = line.engine._appetite
        for _ in range(20):
            line.feed(wire(TCP, [b"x"]))
            line.read()

        assert start < grown <= READ_MAX
        assert line.engine._appetite < start


@codecs
def test_an_announced_length_costs_nothing(codec: Codec) -> None:
    """Memory follows what has arrived, not what a header promises."""
    with connected(codec, recv_max_size=None) as line:
        line.feed(codec.header(1 << 40) + b"x" * 10)
        line.read()
        tracemalloc.start()
        try:
            for _ in range(100):
                line.feed(b"y" * 1000)
                line.read()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert peak < 2 * BODY_READ
        assert line.engine.heavy


@pytest.mark.parametrize("size", [LARGE, READ_MAX, 1 << 20, 5 << 20])
def test_large_bodies_arrive_whole(size: int) -> None:
    """Bodies beyond one read are the same bytes, one behind the other and mixed with small ones."""
    bodies = numbered([size, size, 3, size, size])
    with connected() as line:
        feed_and_take(line, wire(TCP, bodies), 10)

        assert list(line.core.inbox) == bodies


@codecs
@pytest.mark.parametrize("part", [1, 5])
def test_the_header_behind_a_large_body_may_be_cut(codec: Codec, part: int) -> None:
    """It is read alone there, and may not be whole."""
    large, bodies = b"x" * READ_MAX, [b"x" * READ_MAX, b"y" * READ_MAX, b"z"]
    stream = wire(codec, bodies)
    cut = codec.header_size + len(large) + part
    with connected(codec) as line:
        feed_and_take(line, stream[:cut], 10)
        feed_and_take(line, stream[cut:], 10)

        assert list(line.core.inbox) == bodies


def test_a_bad_header_behind_a_large_body_is_judged() -> None:
    """As one anywhere else: what came before is delivered."""
    with connected(recv_max_size=READ_MAX) as line:
        feed_and_take(line, wire(TCP, [b"x" * READ_MAX]), 10)
        line.feed(TCP.header(READ_MAX + 1))
        line.read()

        assert list(line.core.inbox) == [b"x" * READ_MAX]
        assert line.home.lost == [Reason.TOO_LARGE]


def test_a_peer_with_large_messages_is_heavy() -> None:
    """From the first part of a large body on, until something small comes."""
    with connected() as line:
        heavy = [line.engine.heavy]
        for part in (TCP.header(READ_MAX) + bytes(10), bytes(READ_MAX - 10), wire(TCP, [b"small"] * 2)):
            feed_and_take(line, part, 10)
            heavy.append(line.engine.heavy)

        assert heavy == [False, True, True, False]


# --- how a connection ends ---------------------------------------------------------------------------------

WHOLE: Final = [b"one", b"two"]
ENDS: Final = {
    "nothing": (b"", Reason.EOF, Reason.RESET),
    "between two frames": (wire(TCP, WHOLE), Reason.EOF, Reason.RESET),
    "in a header": (wire(TCP, WHOLE) + b"\0\0", Reason.EOF_MID_FRAME, Reason.RESET_MID_FRAME),
    "behind a header": (wire(TCP, WHOLE) + TCP.header(4), Reason.EOF_MID_FRAME, Reason.RESET_MID_FRAME),
    "in a body": (wire(TCP, WHOLE) + TCP.header(4) + b"thr", Reason.EOF_MID_FRAME, Reason.RESET_MID_FRAME),
    "in a large body": (wire(TCP, WHOLE) + TCP.header(LARGE) + b"x", Reason.EOF_MID_FRAME, Reason.RESET_MID_FRAME),
}
ends = pytest.mark.parametrize(("stream", "eof", "reset"), ENDS.values(), ids=ENDS.keys())


@ends
def test_the_end_says_whether_a_message_was_cut(stream: bytes, eof: Reason, reset: Reason) -> None:
    """EOF between two messages is a peer that left; within one it is a fault. What came whole stays."""
    with connected() as line:
        line.feed(stream)
        line.read()
        line.far.close()
        line.read()

        assert line.home.lost == [eof]
        assert list(line.core.inbox) == (WHOLE if stream else [])
        assert line.engine.gone


@ends
def test_the_end_is_the_same_in_one_piece(stream: bytes, eof: Reason, reset: Reason) -> None:
    """Data and end may have been there together."""
    with connected() as line:
        line.feed(stream)
        line.far.close()

        assert line.read() == (WHOLE if stream else [])
        assert line.home.lost == [eof]


@ends
def test_a_reset_says_whether_a_message_was_cut(stream: bytes, eof: Reason, reset: Reason) -> None:
    """A connection that breaks has other reasons than one that ends."""
    with connected() as line:
        line.feed(stream)
        line.read()
        line._near.send(b"never read: the kernel answers the close with a reset")
        line.far.close()
        line.read()

        assert line.home.lost == [reset]
        assert line.home.told[-1].detail  # type: ignore[attr-defined]  # a PeerRemoved


def test_a_reader_finds_the_end_as_often_as_it_looks() -> None:
    """A second look at the end is no second event."""
    with connected() as line:
        line.far.close()

        line.engine.read(1)
        line.engine.read(1)

        assert line.home.lost == [Reason.EOF]


BAD: Final[dict[str, tuple[Codec, bytes, dict[str, int], Reason]]] = {
    "an ipc frame of another type": (IPC, b"\2", {}, Reason.IPC_BAD_TYPE),
    "a length with a top bit": (TCP, b"\xf0" + bytes(7), {}, Reason.BAD_LENGTH),
    "more than recv_max_size": (TCP, TCP.header(11), {"recv_max_size": 10}, Reason.TOO_LARGE),
    "more than recv_max_size over ipc": (IPC, IPC.header(LARGE), {"recv_max_size": 10}, Reason.TOO_LARGE),
}


@pytest.mark.parametrize(("codec", "bad", "options", "reason"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_bad_frame_ends_the_connection(
    codec: Codec, bad: bytes, options: dict[str, int], reason: Reason, step: int
) -> None:
    """What came before it is delivered, what comes behind it is not looked at, and the event says why."""
    stream = wire(codec, WHOLE) + bad + wire(codec, [b"behind"])
    with connected(codec, **options) as line:  # type: ignore[arg-type]  # they are keywords of Options
        for start in range(0, len(stream), step):
            line.feed(stream[start : start + step])
            line.read()
            if line.engine.gone:
                break

        assert line.read() == WHOLE
        assert line.home.lost == [reason]


def test_a_body_of_recv_max_size_is_taken() -> None:
    """The limit is the largest size that is accepted."""
    with connected(recv_max_size=10) as line:
        line.feed(wire(TCP, [b"x" * 10]))

        assert line.read() == [b"x" * 10]


def test_a_header_that_comes_in_two_is_judged() -> None:
    """The first part of a frame was kept: the judgement comes when its header is whole."""
    with connected(recv_max_size=10) as line:
        header = TCP.header(11)
        line.feed(header[:5])
        line.read()

        line.feed(header[5:])
        line.read()

        assert line.home.lost == [Reason.TOO_LARGE]


# --- stray data --------------------------------------------------------------------------------------------


def test_a_little_stray_data_is_dropped() -> None:
    """A peer that must not send may send up to a bound: nothing is delivered, nothing is lost by it."""
    with connected(pattern=PushCore) as line:
        line.feed(b"x" * STRAY_MAX)
        line.engine.drop_stray()

        assert (line.home.lost, list(line.core.inbox)) == ([], [])
        assert not line.engine.gone


def test_much_stray_data_ends_the_connection() -> None:
    """Beyond the bound the peer is given up, and the event says what it is that must not send."""
    with connected(pattern=PushCore) as line:
        line.feed(b"x" * STRAY_MAX)
        line.engine.drop_stray()
        line.feed(b"x")
        line.engine.drop_stray()

        assert line.home.lost == [Reason.UNEXPECTED_DATA]
        assert "a pull, which must not send" in str(line.home.told[-1])


def test_a_peer_that_should_not_send_may_leave() -> None:
    """The end is noticed although nobody reads."""
    with connected(pattern=PushCore) as line:
        line.feed(b"some")
        line.far.close()
        line.engine.drop_stray()

        assert line.home.lost == [Reason.EOF]


def test_a_peer_that_should_not_send_may_break() -> None:
    """So is a reset."""
    with connected(pattern=PushCore) as line:
        line._near.send(b"unread")
        line.far.close()
        line.engine.drop_stray()

        assert line.home.lost == [Reason.RESET]


def test_the_end_is_seen_only_with_nothing_before_it() -> None:
    """`ended` looks without taking."""
    with connected() as line:
        assert not line.engine.ended()
        line.feed(b"x")
        assert not line.engine.ended()
        line.far.close()
        assert not line.engine.ended()
        line._near.recv(10)
        assert line.engine.ended()


def test_a_broken_connection_has_ended() -> None:
    """A reset is an end, too."""
    with connected() as line:
        line._near.send(b"unread")
        line.far.close()

        assert line.engine.ended()


# --- writing -----------------------------------------------------------------------------------------------


def pumped(line: Line) -> bytes:
    """Pump and take at the far end until all is said; return what arrived."""
    data = b""
    while not line.core.drained:
        line.home.turns.pump()
        data += line.drain()
    return data + line.drain()


@codecs
@pytest.mark.parametrize("buffer", [None, 4608, 20_000])
@pytest.mark.parametrize("size", [0, 1, 100, GATHER_FROM - 1, GATHER_FROM, 50_000])
def test_what_is_written_arrives(codec: Codec, size: int, buffer: int | None) -> None:
    """Joined or gathered, in whole batches or a few bytes at a time: the other end gets the frames."""
    bodies = numbered([size] * 40)
    with connected(codec, pattern=PushCore, buffer=buffer, send_hwm=100) as line:
        queue(line.core, bodies)

        assert unwire(codec, pumped(line)) == bodies
        assert (line.engine.sent, line.engine.bytes_sent) == (40, 40 * size)


@given(
    sizes=st.lists(st.sampled_from([0, 1, 50, 3000, 20_000, 300_000]), max_size=20), buffer=st.integers(4608, 100_000)
)
@settings(max_examples=60)
def test_any_mixture_of_sizes_arrives_in_order(sizes: list[int], buffer: int) -> None:
    """However the kernel cuts what it is offered."""
    bodies = numbered(sizes)
    with connected(IPC, pattern=PushCore, buffer=buffer) as line:
        queue(line.core, bodies)

        assert unwire(IPC, pumped(line)) == bodies


@codecs
@pytest.mark.parametrize("step", [1, 3, 8, 9])
def test_the_kernel_may_cut_a_header(codec: Codec, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes at a time, the frames are still the same."""
    bodies = [b"one", b"", b"three"]
    with connected(codec, pattern=PushCore) as line:

        def send(data: bytes | memoryview) -> int:
            return line._near.send(data[:step])

        monkeypatch.setattr(line.engine, "_send", send)
        queue(line.core, bodies)

        assert unwire(codec, pumped(line)) == bodies


def test_a_full_kernel_is_no_error() -> None:
    """What is not taken stays queued, and the peer is marked until there is room again."""
    with connected(pattern=PushCore, buffer=4608) as line:
        queue(line.core, [b"x" * 1000] * 100)

        line.home.turns.pump()
        assert line.engine.full
        assert line.home.turns.blocked == {line.engine.id}
        line.home.turns.pump()
        queued = line.core.queued

        line.drain()
        line.home.turns.pump()
        assert line.core.queued < queued


def test_a_peer_that_is_full_from_the_start_begins_nothing() -> None:
    """Where the kernel takes no byte, all messages stay queued."""
    with connected(pattern=PushCore) as line:
        fill(line)
        queue(line.core, [b"one", b"two"])

        line.home.turns.pump()

        assert (list(line.core.outbox), line.engine.begun) == ([b"one", b"two"], None)


def fill(line: Line) -> None:
    """Fill the kernel's buffer."""
    try:
        while True:
            line._near.send(b"x" * 65536)
    except BlockingIOError:
        pass


def test_a_write_to_a_broken_connection_gives_it_up() -> None:
    """Between two messages the reason is RESET, and what was queued waits for another peer."""
    with connected(pattern=PushCore) as line:
        line.core.replaceable = True
        line.far.close()
        queue(line.core, [b"one", b"two"])

        line.home.turns.pump()

        assert line.home.lost == [Reason.RESET]
        assert list(line.core.outbox) == [b"one", b"two"]


def test_a_write_to_a_peer_that_has_left_does_not_destroy_what_it_sent() -> None:
    """Where both sides send, its last words are read first; the end is found behind them."""
    with connected(pattern=PairCore) as line:
        line.feed(wire(TCP, [b"last words"]))
        line.far.close()
        queue(line.core, [b"too late"])

        line.home.turns.pump()
        assert line.home.lost == []
        while not line.engine.gone:
            line.home.turns.fill()

        assert list(line.core.inbox) == [b"last words"]
        assert line.home.lost == [Reason.EOF]


def test_a_connection_that_breaks_within_a_message_says_so() -> None:
    """The message that was cut is queued again, at the head."""
    bodies = [b"x" * 100_000, b"y"]
    with connected(pattern=PushCore, buffer=4608) as line:
        line.core.replaceable = True
        queue(line.core, bodies)
        line.home.turns.pump()
        assert line.engine.info().backlog == 1

        line.far.close()
        line.home.turns.pump()
        line.home.turns.pump()

        assert line.home.lost == [Reason.RESET_MID_FRAME]
        assert list(line.core.outbox) == bodies


# --- the descriptor ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("release_in", "release_out"), ("release_out", "release_in")])
def test_the_descriptor_goes_back_when_both_turns_let_go(order: tuple[str, str]) -> None:
    """Once, after the second, and no matter how often each says so."""
    with connected() as line:
        first, second = (getattr(line.engine, name) for name in order)
        first()
        first()
        assert line.buried == []

        second()
        second()
        first()

        assert line.buried == [line._near]


def test_a_peer_given_up_is_buried_by_the_two_turns() -> None:
    """The in-turn and the out-turn each do their part, in whatever order they come by."""
    with connected(pattern=PairCore) as line:
        line.far.close()
        line.read()

        line.home.turns.bury_in()
        assert line.buried == []
        line.home.turns.bury_out()

        assert line.buried == [line._near]


def test_to_cut_is_to_end_at_once() -> None:
    """The other end sees the end; the descriptor is still ours."""
    with connected() as line:
        line.engine.cut()

        assert line.far.recv(1) == b""
        assert line._near.fileno() >= 0
        line.engine.cut()


def test_to_finish_is_to_say_no_more() -> None:
    """What was written arrives, then the end; what the other end sends still comes."""
    with connected(pattern=PairCore) as line:
        queue(line.core, [b"last"])
        line.home.turns.pump()
        line.engine.finish()
        line.feed(wire(TCP, [b"answer"]))

        assert line.drain() == wire(TCP, [b"last"])
        assert line.read() == [b"answer"]
        assert line.engine.finishing
        line.far.close()
        line.engine.finish()


def test_a_forked_child_lets_go_silently() -> None:
    """The descriptor is closed, without a shutdown that the parent's peer would see."""
    with connected() as line:
        copy = line._near.dup()
        line.engine.forget()

        copy.send(b"still there")
        assert line.far.recv(100) == b"still there"
        assert line._near.fileno() == -1
        copy.close()


def test_a_peer_is_described_as_it_is_now() -> None:
    """Who, where, which way, how far."""
    with connected(pattern=PairCore) as line:
        queue(line.core, [b"four"])
        line.home.turns.pump()
        line.feed(wire(TCP, [b"one", b"two"]))
        line.read()
        info = line.engine.info()

        assert (info.id, info.address, info.remote) == (line.engine.id, "fake://", "far")
        assert (info.protocol, info.direction, info.state, info.backlog) == ("pair", "in", "open", 0)
        assert (info.sent, info.bytes_sent, info.received, info.bytes_received) == (1, 4, 2, 6)
        line.far.close()
        line.read()
        assert line.engine.info().state == "closed"


# --- interrupts --------------------------------------------------------------------------------------------

OURS: Final = ("nnqpy.engine", "nnqpy.routing", "nnqpy.wire", "nnqpy.turns", "nnqpy.locks", "nnqpy.poller")

LARGE_BODY: Final = bytes(range(256)) * (LARGE // 128)
READS: Final[dict[str, tuple[list[bytes], list[int], int]]] = {
    # name: bodies, lengths of the pieces, limit
    "whole frames": (WHOLE, [], 10),
    "a cut header": (WHOLE, [3], 10),
    "a cut body": (WHOLE, [9, 4, 8], 10),
    "a frame that needs three pieces": ([b"x" * 30], [10, 10], 10),
    "more than the limit": ([b"a", b"b", b"c", b"d"], [20], 1),
    "a large body": ([LARGE_BODY, b"next"], [], 10),
    "a large body in pieces": ([b"x", LARGE_BODY], [12, 20_000, 5, 6, 7], 10),
    "two large bodies": ([LARGE_BODY, LARGE_BODY, b"x"], [40_000], 10),
}


def pieces_of(stream: bytes, lengths: list[int]) -> Iterator[bytes]:
    place = 0
    for length in lengths:
        yield stream[place : place + length]
        place += length
    yield stream[place:]


class Reading:
    """A far end with some pieces to send, and a reader that can be interrupted and called again."""

    def __init__(self, line: Line, pieces: Iterator[bytes], limit: int) -> None:
        self.line = line
        self._pieces = deque(pieces)
        self._limit = limit

    def go_on(self) -> None:
        """Read what is there, then have the next piece sent, to the end."""
        while True:
            self.line.read(self._limit)
            if not self._pieces or self.line.engine.gone:
                return
            self.line.feed(self._pieces.popleft())


def every_interrupt(
    begin: Callable[[], tuple[Line, Callable[[], object]]], error: type[BaseException]
) -> Iterator[Line]:
    """Yield a line whose action was interrupted at one legal point after the other, and then called again."""
    for at in count():
        line, action = begin()
        try:
            if not interrupt(action, at, *OURS, error=error):
                assert at > 20, "the interrupts found no point to come at"
                return
            action()
            yield line
        finally:
            line.close()


@handlers
@codecs
@pytest.mark.parametrize(("bodies", "lengths", "limit"), READS.values(), ids=READS.keys())
def test_no_byte_is_lost_wherever_a_read_is_interrupted(
    codec: Codec, bodies: list[bytes], lengths: list[int], limit: int, error: type[BaseException]
) -> None:
    """The next read goes on from the record: nothing lost, nothing twice, the counters right."""

    def begin() -> tuple[Line, Callable[[], object]]:
        line = Line(Socket(PullCore), codec)
        return line, Reading(line, pieces_of(wire(codec, bodies), lengths), limit).go_on

    for line in every_interrupt(begin, error):
        core, engine = line.core, line.engine
        assert [*core.inbox, *core.staged] == bodies
        assert core.received == engine.received == len(bodies)
        assert core.bytes_received == engine.bytes_received == sum(map(len, bodies))


@handlers
@pytest.mark.parametrize(("codec", "bad", "options", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_frame_is_found_wherever_its_read_is_interrupted(
    codec: Codec, bad: bytes, options: dict[str, int], reason: Reason, error: type[BaseException]
) -> None:
    """What came before the bad frame is delivered once, and the peer is given up."""

    def begin() -> tuple[Line, Callable[[], object]]:
        line = Line(Socket(PullCore, **options), codec)
        return line, Reading(line, iter([wire(codec, WHOLE) + bad]), 10).go_on

    for line in every_interrupt(begin, error):
        assert [*line.core.inbox, *line.core.staged] == WHOLE
        assert line.engine.gone


@handlers
@ends
def test_the_end_is_found_wherever_its_read_is_interrupted(
    stream: bytes, eof: Reason, reset: Reason, error: type[BaseException]
) -> None:
    """An interrupted reader of the end finds it again."""

    def begin() -> tuple[Line, Callable[[], object]]:
        line = Line(Socket(PullCore))
        line.feed(stream)
        line.far.shutdown(socket.SHUT_WR)
        return line, line.read

    for line in every_interrupt(begin, error):
        assert line.engine.gone
        assert [*line.core.inbox, *line.core.staged] == (WHOLE if stream else [])


class Writing:
    """A socket with something to send, and a writer that can be interrupted and called again."""

    def __init__(self, codec: Codec, bodies: list[bytes], buffer: int | None) -> None:
        self.line = Line(Socket(PushCore), codec, buffer=buffer)
        self.arrived = b""
        queue(self.line.core, bodies)

    def go_on(self) -> None:
        """Pump while the far end takes what comes, until nothing moves any more."""
        still = 0
        while still < 3:
            self.line.home.turns.pump()
            data = self.line.drain()
            self.arrived += data
            still = 0 if data else still + 1


WRITES: Final[dict[str, tuple[list[bytes], int | None]]] = {
    "small frames": ([b"one", b"two", b"three"], None),
    "small frames that do not fit": ([b"%03d" % n * 100 for n in range(30)], 4608),
    "gathered frames": ([b"x" * GATHER_FROM, b"y" * GATHER_FROM], None),
    "gathered frames that do not fit": ([b"x" * GATHER_FROM, b"y" * GATHER_FROM, b"z"], 4608),
    "one large frame": ([b"x" * 30_000], 4608),
}


@handlers
@pytest.mark.parametrize(("bodies", "buffer"), WRITES.values(), ids=WRITES.keys())
def test_the_stream_stays_in_step_wherever_a_write_is_interrupted(
    bodies: list[bytes], buffer: int | None, error: type[BaseException]
) -> None:
    """The other end gets every message once, in order; no frame is torn, and the writer never gets stuck."""
    writings: list[Writing] = []

    def begin() -> tuple[Line, Callable[[], object]]:
        writings.append(Writing(TCP, bodies, buffer))
        return writings[-1].line, writings[-1].go_on

    for line in every_interrupt(begin, error):
        assert unwire(TCP, writings[-1].arrived) == bodies
        assert line.core.drained
        assert (line.engine.sent, line.engine.bytes_sent) == (len(bodies), sum(map(len, bodies)))
        writings.clear()
