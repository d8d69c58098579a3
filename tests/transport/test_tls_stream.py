"""TlsStream: what goes in at one end comes out at the other, once and in order, whatever comes in between."""

from __future__ import annotations

import gc
import random
import signal
import socket
import ssl
import subprocess
import threading
from contextlib import ExitStack, suppress
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import pytest

from nnqpy.errors import Reason, TlsError
from nnqpy.transport import tls as module
from nnqpy.transport.tls import CHUNK, CRUMB, RECORD, WHOLE, TlsStream
from tests.kit.interrupts import handlers, interrupt
from tests.kit.programs import program
from tests.kit.tls import PATIENCE, Ends, ends, take, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from nnqpy.tls import TlsConfig

TINY: Final = 4608
"""The least that the kernel has for a send buffer: a record does not fit."""
VERSIONS: Final = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
versions = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])


def pattern(size: int, seed: int = 0) -> bytes:
    """Return bytes of which no two places look alike."""
    return random.Random(seed).randbytes(size)


class Writing:
    """Somebody who sends as the engine does: from where the last call ended."""

    def __init__(self, stream: TlsStream, data: bytes, cuts: Sequence[int] = ()) -> None:
        self.stream = stream
        self._rests: list[bytes | memoryview] = []
        for cut in cuts:
            self._rests.append(data[:cut])
            data = data[cut:]
        self._rests.append(data)

    @property
    def done(self) -> bool:
        return not self._rests

    def book(self, taken: int) -> None:
        """Go on behind what was taken."""
        rest = memoryview(self._rests[0])[taken:]
        assert taken <= len(self._rests[0])
        self._rests[:1] = [rest] if rest else []

    def go_on(self) -> None:
        """Send until the kernel takes no more."""
        while self._rests:
            went: list[int] = []
            try:
                went.extend(map(self.stream.send, (self._rests[0],)))
            except BlockingIOError:
                return
            finally:
                for taken in went:
                    self.book(taken)


def carry(writing: Writing, reader: TlsStream, size: int = 1 << 20) -> bytes:
    """Send all of it, and return what arrived."""
    data = b""
    while not writing.done:
        writing.go_on()
        data += take(reader, size)
    return data + take(reader, size)


# --- both ways ---------------------------------------------------------------------------------------------


@versions
def test_what_goes_in_comes_out(config: TlsConfig, version: ssl.TLSVersion) -> None:
    """In both directions."""
    with ends(config, version=version) as both:
        assert both.near.version == version.name.replace("_", ".")
        for one, other in ((both.near, both.far), (both.far, both.near)):
            assert one.send(b"hello") == 5
            assert (other.recv(100), other.more) == (b"hello", False)
            with pytest.raises(BlockingIOError):
                other.recv(100)


def test_records_of_every_size_arrive_one_by_one(config: TlsConfig) -> None:
    """From one byte to one more than a record holds (B-65)."""
    data = pattern(RECORD + 1)
    with ends(config) as both:
        for size in range(1, RECORD + 2):
            assert both.near.send(data[:size]) == size
            assert both.far.recv(RECORD * 2) == data[:size]


def test_many_records_arrive_together(config: TlsConfig) -> None:
    """Of all sizes, in one read."""
    sizes = [1, 2, 1, 100, RECORD, RECORD - 1, 1, RECORD + 1, 3]
    with ends(config) as both:
        for place, size in enumerate(sizes):
            both.near.send(pattern(size, place))

        assert take(both.far) == b"".join(pattern(size, place) for place, size in enumerate(sizes))


@pytest.mark.parametrize("size", [1, 8, 1000, RECORD, 1 << 20])
def test_a_reader_gets_at_most_what_it_asks_for(config: TlsConfig, size: int) -> None:
    """And `more` tells of the rest, of which no descriptor tells."""
    data = pattern(3 * RECORD)
    with ends(config) as both:
        both.near.send(data)
        first = both.far.recv(size)

        assert first == data[: len(first)]
        assert len(first) <= size
        assert both.far.more is (len(first) < len(data))
        assert first + take(both.far, size) == data
        assert not both.far.more


def test_a_glance_leaves_everything_in_place(config: TlsConfig) -> None:
    """MSG_PEEK, as the engine looks for the end; what it has read from the kernel is told of by `more`."""
    with ends(config) as both:
        with pytest.raises(BlockingIOError):
            both.far.recv(1, socket.MSG_PEEK)
        both.near.send(b"hello")
        assert [both.far.recv(1, socket.MSG_PEEK) for _ in range(2)] == [b"h", b"h"]
        assert both.far.more
        assert both.far.recv(3) == b"hel"
        assert both.far.recv(1, socket.MSG_PEEK) == b"l"
        assert both.far.recv(10) == b"lo"
        both.near.shutdown(socket.SHUT_WR)
        assert both.far.recv(1, socket.MSG_PEEK) == b""
        assert not both.far.more


def test_it_looks_like_a_socket(config: TlsConfig) -> None:
    """To whom needs its number, its address, or its end."""
    with ends(config, tcp=True) as both:
        assert both.near.fileno() == both.near_sock.fileno()
        assert both.near.getpeername() == both.far_sock.getsockname()
        assert both.near.gettimeout() == 0.0
        both.near.close()
        assert both.near_sock.fileno() == -1
        assert both.far.recv(1) == b""
        assert both.far.unclean


def test_each_end_knows_whom_it_has(config: TlsConfig) -> None:
    """The client sees the certificate, and the server none: it asked for none."""
    with ends(config) as both:
        assert both.near.certificate is not None
        assert both.near.certificate.common_name == "localhost"
        assert both.far.certificate is None


@pytest.mark.parametrize("seed", range(6))
def test_both_ways_at_once_through_buffers_that_hold_nothing(config: TlsConfig, seed: int) -> None:
    """A thread for each direction at each end, pieces of all sizes, as bytes, as views and in parts."""
    sent = [pattern(1_500_000, seed), pattern(1_500_000, seed + 100)]
    came: list[list[bytes]] = [[], []]
    faults: list[BaseException] = []

    def write(stream: TlsStream, sock: socket.socket, data: bytes, dice: random.Random) -> None:
        place = 0
        while place < len(data):
            part: bytes | memoryview = data[place : place + dice.choice([1, 100, RECORD, RECORD + 1, 70_000, 600_000])]
            try:
                if dice.random() < 0.3 and len(part) > 50:
                    taken = stream.sendmsg([part[:8], part[8:40], part[40:]])
                else:
                    taken = stream.send(memoryview(part) if dice.random() < 0.5 else part)
            except BlockingIOError:
                wait(sock, writable=True)
                continue
            assert 0 < taken <= len(part)
            place += taken
        stream.shutdown(socket.SHUT_WR)

    def read(stream: TlsStream, sock: socket.socket, into: list[bytes], dice: random.Random) -> None:
        while True:
            try:
                into.append(stream.recv(dice.choice([1, 8, RECORD, 65536, 1 << 20])))
            except BlockingIOError:
                wait(sock)
                continue
            if not into[-1]:
                return

    def guarded(function: Callable[..., None], *arguments: Any) -> None:
        try:
            function(*arguments)
        except BaseException as error:
            faults.append(error)

    with ends(config, buffer=TINY if seed % 2 else 100_000) as both:
        work: list[tuple[Any, ...]] = [
            (write, both.near, both.near_sock, sent[0], random.Random(seed)),
            (write, both.far, both.far_sock, sent[1], random.Random(seed + 1)),
            (read, both.near, both.near_sock, came[1], random.Random(seed + 2)),
            (read, both.far, both.far_sock, came[0], random.Random(seed + 3)),
        ]
        threads = [threading.Thread(target=guarded, args=one, daemon=True) for one in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)

        assert faults == []
        assert [b"".join(one) for one in came] == sent


# --- what is owed ------------------------------------------------------------------------------------------


def test_a_chunk_that_went_in_part_is_owed_its_last_byte(config: TlsConfig) -> None:
    """It is encrypted, so all of it will go; the engine is kept waiting for the last byte of it."""
    data = pattern(100_000)
    with ends(config, buffer=TINY) as both:
        assert both.near.send(data) == len(data) - 1
        for _ in range(2):
            with pytest.raises(BlockingIOError):
                both.near.send(data[-1:])
        writing = Writing(both.near, data[-1:])

        assert carry(writing, both.far) == data
        assert both.near.send(b"next") == 4
        assert take(both.far) == b"next"


def test_bytes_of_many_frames_are_one_chunk(config: TlsConfig) -> None:
    """A short count within them might be where a frame ends, and then nobody would come for what is owed."""
    data = pattern(WHOLE)
    with ends(config, buffer=TINY) as both:
        assert both.near.send(data) == len(data) - 1
        assert carry(Writing(both.near, data[-1:]), both.far) == data


@pytest.mark.parametrize("data", [memoryview(pattern(CHUNK * 3)), pattern(WHOLE + 1)], ids=["a view", "very much"])
def test_the_rest_of_one_frame_is_encrypted_as_there_is_room(config: TlsConfig, data: bytes | memoryview) -> None:
    """A chunk at a time, not all of a large message ahead of a slow peer."""
    with ends(config, buffer=TINY) as both:
        assert both.near.send(data) == CHUNK - 1
        assert carry(Writing(both.near, bytes(data[CHUNK - 1 :])), both.far) == data


def test_chunks_that_went_count_whole(config: TlsConfig) -> None:
    """And the one behind them, of which the kernel took a part or nothing, but for a byte."""
    data = memoryview(pattern(CHUNK * 20))
    with ends(config, buffer=1 << 20) as both:
        taken = both.near.send(data)

        assert CHUNK < taken < len(data)
        assert taken % CHUNK == CHUNK - 1
        assert carry(Writing(both.near, bytes(data[taken:])), both.far) == data


@pytest.mark.parametrize(
    "lengths",
    [
        [8, 5],
        [8, RECORD],
        [8, CRUMB - 1] * 40,
        [8, CHUNK - 8, 8, 0, 8, 70_000],
        [8, 100_000] * 7,
        [8, 1] * 3,
        [2000, 20_000],
    ],
    ids=str,
)
@pytest.mark.parametrize("buffer", [1 << 20, TINY], ids=["room", "no room"])
def test_parts_arrive_as_one(config: TlsConfig, lengths: list[int], buffer: int | None) -> None:
    """However long they are; a short count never ends where a frame ends."""
    parts = [pattern(length, place) for place, length in enumerate(lengths)]
    whole = b"".join(parts)
    frames = {sum(lengths[:place]) for place in range(0, len(lengths), 2)}
    with ends(config, buffer=buffer) as both:
        taken = both.near.sendmsg(parts)

        assert taken == len(whole) or taken not in frames
        data = take(both.far)
        assert data + carry(Writing(both.near, whole[taken:]), both.far) == whole


def test_nothing_is_unbooked_but_by_an_interrupt(config: TlsConfig) -> None:
    """Neither what was returned nor what is owed."""
    with ends(config, buffer=TINY) as both:
        assert both.near.unbooked() == 0
        both.near.send(b"hello")
        assert both.near.unbooked() == 0
        both.near.send(bytes(100_000))
        assert both.near.unbooked() == 0
        with pytest.raises(BlockingIOError):
            both.near.send(b"\0")
        assert both.near.unbooked() == 0
        assert len(carry(Writing(both.near, b"\0"), both.far)) == 100_005


def test_whoever_does_not_ask_and_sends_the_same_again_loses_nothing(config: TlsConfig) -> None:
    """What an interrupted call has taken is not encrypted a second time; of bytes, of a view, of parts."""
    data = pattern(50_000)
    ways: list[Callable[[TlsStream], int]] = [
        lambda stream: stream.send(data),
        lambda stream: stream.send(memoryview(data)),
        lambda stream: stream.sendmsg([data[:8], data[8:]]),
    ]
    for again in ways:
        with ends(config, disguise=Disguise) as both:
            interrupt_in(both.near, "write", 2)
            with pytest.raises(KeyboardInterrupt):
                both.near.send(data)

            assert again(both.near) == len(data)
            assert take(both.far) == data


def test_a_connection_that_breaks_behind_a_chunk_tells_of_the_chunk_first(config: TlsConfig) -> None:
    """What the kernel took is not offered to somebody else; the next call raises."""
    with ends(config) as both:
        near = both.near
        near._sock = Faulty(both.near_sock, after=1)  # type: ignore[assignment]  # all that is used of it
        data = memoryview(bytes(CHUNK // 4))
        assert near.send(data) == len(data)
        near._sock = Faulty(both.near_sock, after=1)  # type: ignore[assignment]  # as above
        assert near.send(memoryview(bytes(CHUNK + 100))) == CHUNK + 99
        with pytest.raises(BrokenPipeError):
            near.send(b"\0")


class Faulty:
    """A system socket that breaks after some writes; the first takes everything."""

    def __init__(self, sock: socket.socket, after: int) -> None:
        self._sock = sock
        self._left = after

    def sendmsg(self, parts: Sequence[bytes | memoryview]) -> int:
        if not self._left:
            raise BrokenPipeError(32, "Broken pipe")
        self._left -= 1
        return sum(map(len, parts))


# --- the end -----------------------------------------------------------------------------------------------


@versions
def test_a_clean_end_is_told_behind_the_last_byte(config: TlsConfig, version: ssl.TLSVersion) -> None:
    """`more` tells of it: the kernel has nothing any more. The other direction goes on."""
    with ends(config, version=version) as both:
        both.near.send(b"last")
        both.near._part()
        assert (both.far.recv(100), both.far.more) == (b"last", True)
        assert [both.far.recv(100) for _ in range(2)] == [b"", b""]
        assert not both.far.more
        assert not both.far.unclean
        both.near.shutdown(socket.SHUT_WR)
        both.far.send(b"answer")
        both.far.shutdown(socket.SHUT_WR)
        assert both.near.recv(100) == b"answer"
        assert both.near.recv(100) == b""
        assert not both.near.unclean
        with pytest.raises(BrokenPipeError):
            both.near.send(b"more")


@pytest.mark.parametrize("cut", [0, 3, 20], ids=["between records", "in a header", "in a record"])
def test_an_end_without_a_word_is_unclean(config: TlsConfig, cut: int) -> None:
    """It is an end all the same; what is missing of a record is not delivered (B-61)."""
    with ends(config) as both:
        both.near.send(b"whole")
        both.near.send(b"whole or nothing")
        records = both.far_sock.recv(1000)
        second = 5 + int.from_bytes(records[3:5], "big")
        both.near_sock.send(records[: second + cut])
        both.near_sock.shutdown(socket.SHUT_WR)

        assert both.far.recv(100) == b"whole"
        assert [both.far.recv(100) for _ in range(2)] == [b"", b""]
        assert both.far.unclean


def test_what_comes_behind_the_end_is_ignored(config: TlsConfig) -> None:
    """Whatever it is (B-62)."""
    with ends(config) as both:
        both.near.send(b"last")
        both.near._part()
        both.near_sock.send(b"whatever")
        assert take(both.far) == b"last"
        both.near_sock.send(b"whatever")
        assert both.far.recv(100) == b""
        assert not both.far.unclean


def test_a_reset_is_the_system_s_error(config: TlsConfig) -> None:
    """As of any socket."""
    with ends(config, tcp=True) as both:
        both.near_sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        both.near.close()
        with pytest.raises(ConnectionResetError):
            both.far.recv(1)


def test_a_cut_says_nothing(config: TlsConfig) -> None:
    """Both directions end at once."""
    with ends(config) as both:
        both.near.shutdown(socket.SHUT_RDWR)
        assert both.far.recv(1) == b""
        assert both.near.recv(1) == b""
        assert both.far.unclean


def test_an_end_is_not_said_in_the_middle_of_a_record(config: TlsConfig) -> None:
    """What the kernel has not taken yet still goes, and the end behind it."""
    with ends(config, buffer=TINY) as both:
        assert both.near.send(bytes(100_000)) == 99_999
        both.near.shutdown(socket.SHUT_WR)
        came = len(take(both.far))
        assert came < 100_000
        while not both.near.drained():
            came += len(take(both.far))
        both.near.shutdown(socket.SHUT_WR)

        assert came + len(take(both.far)) == 100_000
        assert not both.far.unclean


def test_an_end_that_nobody_takes_any_more_is_an_end(config: TlsConfig) -> None:
    """What is left can never be written: nobody waits for it."""
    with ends(config, buffer=TINY) as both:
        both.near.send(bytes(100_000))
        both.far.close()
        both.near_sock.shutdown(socket.SHUT_WR)

        assert both.near.drained()


def test_an_end_is_not_said_where_there_is_no_room_for_it(config: TlsConfig) -> None:
    """Nobody waits for that."""
    with ends(config, buffer=TINY) as both:
        with suppress(BlockingIOError):
            while True:
                both.near_sock.send(b"\0")
        both.near.shutdown(socket.SHUT_WR)
        both.near.shutdown(socket.SHUT_WR)


def test_an_end_is_not_said_over_what_was_not_read(config: TlsConfig) -> None:
    """A reader was interrupted: what it has not got yet would be lost by saying it."""
    with ends(config, disguise=Disguise) as both:
        both.far.send(pattern(1000))
        interrupt_in(both.near, "read", 2)
        with pytest.raises(KeyboardInterrupt):
            both.near.recv(10_000)
        both.near.shutdown(socket.SHUT_WR)

        assert take(both.near) == pattern(1000)
        assert both.far.recv(1) == b""
        assert both.far.unclean


# --- what TLS itself wants to say ---------------------------------------------------------------------------


def test_an_answer_of_tls_goes_at_once_if_nobody_sends(config: TlsConfig) -> None:
    """A socket that only receives answers, too."""
    with ends(config, disguise=Disguise) as both:
        disguise(both.near).say = b"NOTICE"
        both.far.send(b"hello")

        assert both.near.recv(100) == b"hello"
        assert both.far_sock.recv(100) == b"NOTICE"


def test_an_answer_of_tls_waits_for_a_record_that_is_on_its_way(config: TlsConfig) -> None:
    """It goes behind what was encrypted before it, and in front of what is encrypted later."""
    with ends(config, buffer=TINY, disguise=Disguise) as both:
        data = pattern(20_000)
        both.near.send(data)
        disguise(both.near).say = b"NOTICE"
        both.far.send(b"hello")
        assert both.near.recv(100) == b"hello"
        stream, taken = b"", 0
        while not taken:
            stream += both.far_sock.recv(100_000)
            with suppress(BlockingIOError):
                taken = both.near.send(data[-1:] + b"next")
        while len(stream) < len(data) + 2 * 22 + len(b"NOTICE") + 22 + len(b"next"):
            stream += both.far_sock.recv(100_000)

        assert taken == 5
        assert stream.index(b"NOTICE") == len(data) + 2 * 22


def test_a_peer_that_asks_and_takes_no_answer_is_given_up(config: TlsConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be said to it would grow for ever (B-60)."""
    monkeypatch.setattr(module, "NOTICES_MAX", 5)
    with ends(config, disguise=Disguise) as both:
        disguise(both.near).say = b"NOTICE"
        both.far.send(b"hello")
        assert (both.near.recv(100), both.near.more) == (b"hello", True)
        with pytest.raises(TlsError) as error:
            both.near.recv(100)
        assert error.value.reason is Reason.TLS_BAD_RECORD


def test_a_peer_that_sends_much_and_says_nothing_is_given_up(
    config: TlsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tickets, key updates, a record that never ends: bounded (B-58, B-60)."""
    monkeypatch.setattr(module, "BARREN_MAX", 1000)
    with ends(config) as both:
        both.near.send(bytes(5000))
        record = both.far_sock.recv(10_000)
        both.near_sock.send(record[:1000])
        with pytest.raises(BlockingIOError):
            both.far.recv(1)
        both.near_sock.send(record[1000:1001])
        with pytest.raises(TlsError, match="floods"):
            both.far.recv(1)


def test_key_updates_are_answered(config: TlsConfig) -> None:
    """From OpenSSL's own client: it changes its key, and wants us to change ours."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
        port = listener.getsockname()[1]
        client = stack.enter_context(
            subprocess.Popen(
                [program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-quiet", "-no_ign_eof"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        )
        sock = stack.enter_context(listener.accept()[0])
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = config.server_context().wrap_bio(incoming, outgoing, server_side=True)
        while True:
            with suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(10_000))
        sock.sendall(outgoing.read())
        sock.setblocking(False)
        stream = TlsStream(sock, tls, incoming, outgoing)
        assert client.stdin is not None
        assert client.stdout is not None
        for line in (b"before\n", b"behind\n"):
            client.stdin.write(line)
            client.stdin.flush()
            data = b""
            while data != line:
                wait(sock)
                data += take(stream)
            stream.send(data)
            assert client.stdout.readline() == line
        client.terminate()


# --- what a stranger sends ---------------------------------------------------------------------------------


@versions
def test_a_record_that_was_changed_is_refused(config: TlsConfig, version: ssl.TLSVersion) -> None:
    """What came before it is delivered, nothing of it, and nothing behind it; the other end gets an alert (B-63)."""
    with ends(config, version=version) as both:
        for word in (b"one", b"two", b"three"):
            both.near.send(word)
        records = bytearray(both.far_sock.recv(1000))
        records[5 + int.from_bytes(records[3:5], "big") + 9] ^= 1
        both.near_sock.send(records)

        assert (both.far.recv(100), both.far.more) == (b"one", True)
        for _ in range(2):
            with pytest.raises(TlsError) as error:
                both.far.recv(100)
            assert error.value.reason is Reason.TLS_BAD_RECORD
        with pytest.raises(TlsError):
            both.far.send(b"answer")
        with pytest.raises(TlsError) as error:
            both.near.recv(100)
        assert error.value.reason is Reason.TLS_ALERT
        both.far.shutdown(socket.SHUT_WR)


STRANGERS: Final = {
    "an SP greeting": b"\0SP\0\0P\0\0",
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "empty records": b"\x17\x03\x03\0\0" * 100_000,
    "a long record": b"\x17\x03\x03\xff\xff" + bytes(0xFFFF),
    "an alert in the clear": b"\x15\x03\x03\0\x02\x02\x28",
    **{f"type {kind:02x}": bytes((kind, 3, 3, 0, 32)) + bytes(32) for kind in range(256)},
}


@versions
@pytest.mark.parametrize("data", STRANGERS.values(), ids=STRANGERS)
def test_what_is_no_record_of_the_peer_s_is_refused(config: TlsConfig, version: ssl.TLSVersion, data: bytes) -> None:
    """Within a connection that was good until then; never is a byte of it delivered (B-58)."""
    with ends(config, version=version) as both:
        both.near.send(b"good")
        both.near_sock.send(data)
        both.near_sock.shutdown(socket.SHUT_WR)
        assert both.far.recv(100) == b"good"
        reasons: list[Reason] = []
        try:
            assert both.far.recv(100) == b""
        except TlsError as error:
            reasons.append(error.reason)

        assert both.far.unclean or reasons in ([Reason.TLS_BAD_RECORD], [Reason.TLS_ALERT])


# --- interrupts --------------------------------------------------------------------------------------------


class Disguise:
    """An `SSLObject` in which a signal comes: behind what it has done, so that nobody gets to know what it was."""

    def __init__(self, tls: ssl.SSLObject) -> None:
        self._tls = tls
        self.calls: dict[str, int] = {}
        self.outgoing: ssl.MemoryBIO | None = None
        self.say = b""

    def __getattr__(self, name: str) -> Any:  # whatever it is asked for
        function = getattr(self._tls, name)

        def done(*arguments: Any, **options: Any) -> Any:
            try:
                if name == "read" and self.say:
                    assert self.outgoing is not None
                    self.outgoing.write(self.say)
                    self.say = b""
                return function(*arguments, **options)
            finally:
                left = self.calls.get(name, 0)
                self.calls[name] = left - 1
                if left == 1:
                    raise KeyboardInterrupt

        return done


def disguise(stream: TlsStream) -> Disguise:
    one: Any = stream._tls
    assert isinstance(one, Disguise)
    one.outgoing = stream._outgoing
    return one


def interrupt_in(stream: TlsStream, name: str, at: int) -> None:
    """Have a signal come within the `at`-th call of a method of ssl's, from 1."""
    disguise(stream).calls[name] = at


OURS: Final = "nnqpy.transport.tls"


class Transfer:
    """Data on its way from one end to the other, by calls that may be interrupted, and that record what they did."""

    def __init__(self, both: Ends, sends: list[bytes | list[bytes]], size: int = 1 << 20) -> None:
        self.both = both
        self.whole = b"".join(one if isinstance(one, bytes) else b"".join(one) for one in sends)
        self._sends = sends
        self._rest: bytes | memoryview = b""
        self._size = size
        self._went: list[int] = []
        self._came: list[bytes] = []
        self._parting = False

    def _book(self) -> None:
        """Note what the last call took. Stores only, behind all calls: the timer's signals come in here, too."""
        if not self._went:
            return
        taken, sends, rest = self._went[-1], self._sends, self._rest
        if taken and not rest:
            one, sends = sends[0], sends[1:]
            rest = memoryview(one if isinstance(one, bytes) else b"".join(one))
        rest = rest[taken:]
        nothing: list[int] = []
        self._went, self._sends, self._rest = nothing, sends, rest

    def go_on(self) -> None:
        """Send and receive in turn until all is said, with the end behind it."""
        near, far = self.both.near, self.both.far
        while not self._came or self._came[-1]:
            self._book()
            try:
                if self._rest:
                    self._went.extend(map(near.send, (self._rest,)))
                elif self._sends:
                    one = self._sends[0]
                    send: Any = near.send if isinstance(one, bytes) else near.sendmsg  # goes with what `one` is
                    self._went.extend(map(send, (one,)))
                else:
                    self._parting = True
                    near.shutdown(socket.SHUT_WR)
            except BlockingIOError:
                pass
            with suppress(BlockingIOError):
                while not self._came or self._came[-1]:
                    self._came.extend(map(far.recv, (self._size,)))

    def recover(self) -> None:
        """Ask what the interrupted call has done."""
        self._book()
        if not self._parting:
            self._went.append(self.both.near.unbooked())

    @property
    def arrived(self) -> bytes:
        return b"".join(self._came)


SENDS: Final[dict[str, tuple[list[bytes | list[bytes]], int | None, int]]] = {
    # name: what is sent, bytes that the kernel takes, bytes that the reader asks for
    "one record": ([b"hello", b"world"], None, 100),
    "three records": ([pattern(2 * RECORD + 5)], None, 1 << 20),
    "no room": ([pattern(RECORD + 50), b"and more"], TINY, 1 << 20),
    "parts": ([[b"." * 8, pattern(3000), b"-" * 8, b"short"]], None, 1 << 20),
    "parts and no room": ([[b"." * 8, pattern(12_000), b"-" * 8, b"short"]], TINY, 1 << 20),
    "a small appetite": ([b"some", b"small", b"pieces"], None, 3),
    "single bytes": ([b"a", b"\xa4", b"\0"], None, 100),
}


@handlers
@pytest.mark.parametrize(("sends", "buffer", "size"), SENDS.values(), ids=SENDS)
def test_no_byte_is_lost_or_doubled_wherever_a_call_is_interrupted(
    config: TlsConfig, sends: list[bytes | list[bytes]], buffer: int | None, size: int, error: type[BaseException]
) -> None:
    """A signal may come at every legal point of both ends."""
    for at in count():
        with ends(config, buffer=buffer) as both:
            transfer = Transfer(both, list(sends), size)
            if not interrupt(transfer.go_on, at, OURS, error=error):
                assert at > 50, "the interrupts found no point to come at"
                break
            transfer.recover()
            transfer.go_on()
            assert transfer.arrived == transfer.whole


@pytest.mark.parametrize(("sends", "buffer", "size"), SENDS.values(), ids=SENDS)
def test_no_byte_is_lost_when_what_mends_it_is_interrupted_too(
    config: TlsConfig, sends: list[bytes | list[bytes]], buffer: int | None, size: int
) -> None:
    """Somebody leans on the keyboard: at one point after the other, and then again, shortly after."""
    dice = random.Random(1)
    for at in count(dice.randrange(5), 5):
        with ends(config, buffer=buffer) as both:
            transfer = Transfer(both, list(sends), size)
            if not interrupt(transfer.go_on, at, OURS):
                break
            interrupt(transfer.recover, dice.randrange(40), OURS)
            transfer.recover()
            interrupt(transfer.go_on, dice.randrange(60), OURS)
            transfer.recover()
            transfer.go_on()
            assert transfer.arrived == transfer.whole


@pytest.mark.parametrize("name", ["write", "pending", "read", "unwrap"])
@pytest.mark.parametrize("near_reads", [False, True], ids=["sends", "receives"])
def test_no_byte_is_lost_when_a_signal_comes_within_ssl(config: TlsConfig, name: str, near_reads: bool) -> None:
    """Its methods look for signals when their work is done, and then nobody is told what it was."""
    sends: list[bytes | list[bytes]] = [b"x", pattern(2 * RECORD + 5), b"end"]
    for at in count(1):
        with ends(config, disguise=Disguise) as both:
            interrupt_in(both.near, name, at)
            transfer = Transfer(both, list(sends))
            if near_reads:
                transfer.both = Ends(both.far, both.near, (both.far_sock, both.near_sock))
            try:
                transfer.go_on()
            except KeyboardInterrupt:
                transfer.recover()
                transfer.go_on()
            assert transfer.arrived == transfer.whole
            if disguise(both.near).calls[name] > 0:
                break


def test_a_fault_is_found_wherever_the_reader_is_interrupted(config: TlsConfig) -> None:
    """What came before it is delivered once."""
    for at in count():
        with ends(config) as both:
            both.near.send(b"good")
            both.near_sock.send(b"\x17\x03\x03\0\x20" + bytes(32))
            came: list[bytes] = []

            def read(came: list[bytes] = came, far: TlsStream = both.far) -> None:
                with pytest.raises(TlsError):
                    while True:
                        came.extend(map(far.recv, (100,)))

            interrupted = interrupt(read, at, OURS)
            if interrupted:
                read()
            assert came == [b"good"]
            if not interrupted:
                break


def test_a_transfer_may_itself_be_interrupted_anywhere(config: TlsConfig) -> None:
    """Else what a real signal shows below might be its own fault."""
    for at in count():
        with ends(config) as both:
            transfer = Transfer(both, [pattern(3000, seed) for seed in range(3)])
            interrupted = interrupt(transfer.go_on, at, __name__)
            if interrupted:
                transfer.recover()
                transfer.go_on()
            assert transfer.arrived == transfer.whole, at
            if not interrupted:
                assert at > 20
                break


def test_no_byte_is_lost_to_real_signals(config: TlsConfig) -> None:
    """A timer, in place of somebody who leans on Ctrl-C."""
    armed = interrupts = 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal armed, interrupts
        # Not in what watches the tests, whose locks would stay locked.
        if armed and frame is not None and frame.f_globals.get("__name__") in {OURS, "ssl", __name__}:
            armed = 0
            interrupts += 1
            raise KeyboardInterrupt

    with ends(config, buffer=50_000) as both:
        transfer = Transfer(both, [pattern(70_000, seed) for seed in range(60)])
        former = signal.signal(signal.SIGALRM, handler)
        until = monotonic() + PATIENCE
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
            while monotonic() < until:
                try:
                    armed = 1
                    transfer.go_on()
                    armed = 0
                    break
                except KeyboardInterrupt:
                    transfer.recover()
        finally:
            armed = 0
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, former)

        transfer.go_on()  # what a busy machine had no time for
        same = transfer.arrived == transfer.whole  # and no search for what is not: that takes minutes
        assert same, (len(transfer.arrived), len(transfer.whole))
        assert interrupts > 5


def test_rooms_for_plaintext_are_used_again(config: TlsConfig) -> None:
    """As many as were in use at once, however many connections there were."""
    module._spare.clear()
    for _ in range(5):
        with ends(config) as both:
            both.near.send(b"hello")
            assert both.far.recv(10) == b"hello"

    assert len(module._spare) == 1


def test_a_stream_is_gone_when_nobody_has_it(config: TlsConfig) -> None:
    """It holds itself by nothing (R-45)."""
    gc.collect()
    before = sum(isinstance(one, ssl.SSLObject) for one in gc.get_objects())

    def quarrel() -> None:
        with ends(config) as both:
            both.near_sock.send(b"nonsense")
            with pytest.raises(TlsError):
                both.far.recv(1)
            with suppress(OSError):
                both.near.recv(1)

    for _ in range(20):
        quarrel()
    gc.collect()

    assert sum(isinstance(one, ssl.SSLObject) for one in gc.get_objects()) <= before
