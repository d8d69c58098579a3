"""Connections: what a peer, or the system, may do beside the bytes (rows B-22, B-26, B-28, B-31, B-34, R-09).

Descriptors passed along, urgent bytes, a peer that never reads, resets at every stage, and an error from each system call
that we make on a connection.
"""

from __future__ import annotations

import array
import errno
import os
import random
import select
import signal
import socket
import struct
import threading
from contextlib import contextmanager, nullcontext, suppress
from itertools import product
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from nnqpy import Pair, Pull, Push, TimedOut, WouldBlock, endpoint, reactor
from nnqpy.errors import Reason
from nnqpy.events import (
    AcceptResumed,
    AcceptThrottled,
    ConnectFailed,
    HandshakeFailed,
    ListenerClosed,
    PeerAdded,
    PeerRemoved,
)
from nnqpy.proto import Proto
from nnqpy.wire.stream import greeting
from tests.hostile.kit import (
    PATIENCE,
    Arena,
    frame,
    knock,
    settle,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from nnqpy.events import Event
    from tests.hostile.kit import Kind, Role, Scheme

each_scheme = pytest.mark.parametrize("scheme", ["tcp", "ipc"])
each_role = pytest.mark.parametrize("role", ["dialer", "listener"])
each_kind = pytest.mark.parametrize("kind", [Pull, Push, Pair])


# --- B-31: a reset at every stage ------------------------------------------------------------------------------------


@each_role
@each_scheme
@each_kind
def test_b31_a_reset_at_every_stage_of_a_greeting(kind: Kind, scheme: Scheme, role: Role) -> None:
    """Within it no peer was there; behind it one was, and it was added and removed once."""
    with Arena(kind, scheme, role, partner=kind is not Pair) as arena:
        for size in range(8):
            arena.stranger(arena.hello[:size]).reset()
            failure = arena.verdict()
            assert (type(failure), failure.reason) == (HandshakeFailed, arena.reset_of_the_ungreeted)
        assert len(arena.of(PeerAdded)) == 0

        arena.attached().reset()
        failure = arena.verdict()
        assert (type(failure), failure.reason) == (PeerRemoved, Reason.RESET)


@each_role
def test_b31_a_reset_between_the_greeting_and_the_first_look(role: Role) -> None:
    """Whoever reads and writes while a peer is being attached may find it gone, and let go of it: nobody stumbles."""
    with Arena(Pair, "tcp", role, partner=False) as arena:

        def read_and_write(event: Event) -> None:
            # Another thread may do this at just this time; here it is certain.
            if isinstance(event, PeerAdded):
                stranger.reset()
                for _ in range(2):
                    with suppress(WouldBlock):
                        arena.pair.recv_nowait()
                    with suppress(WouldBlock):
                        arena.pair.send_nowait(b"hello")

        arena.on_event = read_and_write
        for _ in range(2):
            stranger = arena.knocked()
            stranger.say(arena.hello)
            assert arena.verdict().reason is Reason.RESET
            arena.assert_nothing_logged()


@each_role
@each_scheme
@each_kind
def test_b31_who_is_sent_away_when_it_comes(kind: Kind, scheme: Scheme, role: Role) -> None:
    """A program that closes its socket as soon as a peer is there gets what it asked for."""
    with Arena(kind, scheme, role, partner=False) as arena:
        arena.on_event = lambda event: arena.ours.close() if isinstance(event, PeerAdded) else None
        stranger = arena.knocked()
        stranger.say(arena.hello)

        assert stranger.hears_the_end()
        arena.assert_nothing_logged()
        arena.on_event = None


@each_role
@each_scheme
@pytest.mark.parametrize("notices", ["janitor", "writer"])
def test_b31_a_reset_while_we_write(notices: str, scheme: Scheme, role: Role) -> None:
    """A peer that resets the connection with a message half taken: that message goes to another peer, whole."""
    body = os.urandom(8 << 20)

    with Arena(Push, scheme, role, partner=False, linger=0) as arena:
        stranger = arena.attached()
        arena.push.send(body)
        while not arena.push.peers[0].backlog:
            settle()
        with janitor_busy() if notices == "writer" else nullcontext():
            stranger.reset()
            if notices == "writer":
                assert refusal(lambda: arena.push.flush(timeout=0.05)) == "not_flushed"

        assert arena.verdict().reason is Reason.RESET_MID_FRAME
        arena.invite()
        assert arena.pull.recv(timeout=PATIENCE) == body
        arena.push.flush(timeout=PATIENCE)  # it may arrive before who wrote it has booked it
        stats = arena.push.stats()
        assert (stats.accepted, stats.delivered, stats.queued, dict(stats.dropped)) == (1, 1, 0, {})


# --- B-28: who never reads -------------------------------------------------------------------------------------------


@each_role
@each_scheme
def test_b28_a_peer_that_never_reads(scheme: Scheme, role: Role) -> None:
    """What the kernel does not take waits within the mark; then `send` says so, in each of its ways, and loses nothing."""
    mark, body = 50, bytes(10_000)

    with Arena(Push, scheme, role, partner=False, send_hwm=mark, linger=0) as arena:
        stranger = arena.attached()
        accepted = 0
        with suppress(WouldBlock):
            while True:
                arena.push.send_nowait(body)
                accepted += 1
        assert refusal(lambda: arena.push.send_nowait(body)) == "queue_full"
        assert refusal(lambda: arena.push.send(body, timeout=0)) == "queue_full"
        assert refusal(lambda: arena.push.send_many([body] * 3, timeout=0)) == "queue_full"
        stats = arena.push.stats()
        held = arena.push.peers[0].backlog  # one that the kernel has in part
        assert mark <= stats.queued <= mark + held
        assert stats.accepted == accepted == stats.delivered + stats.queued

        # A good one comes, and gets all that waits; what the kernel has taken for the stranger is the stranger's.
        arena.invite()
        for _ in range(stats.queued - held):
            assert arena.pull.recv(timeout=PATIENCE) == body
        stranger.reset()
        assert arena.verdict().reason is (Reason.RESET_MID_FRAME if held else Reason.RESET)
        for _ in range(held):
            assert arena.pull.recv(timeout=PATIENCE) == body
        arena.push.flush(timeout=PATIENCE)
        stats = arena.push.stats()
        assert (stats.accepted, stats.queued, dict(stats.dropped)) == (accepted, 0, {})
        arena.exchange()


@contextmanager
def janitor_busy() -> Generator[None]:
    """Keep the janitor from noticing anything."""
    begun, over = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        over.wait(PATIENCE)

    reactor.janitor().call(wait)
    begun.wait(PATIENCE)
    try:
        yield
    finally:
        over.set()


def refusal(call: Callable[[], object]) -> str:
    """Return why a call is refused."""
    try:
        call()
    except (WouldBlock, TimedOut) as refused:
        return refused.reason
    return "it was not"


@each_role
@each_scheme
def test_b28_the_partner_does_not_wait_for_who_never_reads(scheme: Scheme, role: Role) -> None:
    """With both there, messages go round the one that is full."""
    number, body = 3000, bytes(5000)

    with Arena(Push, scheme, role, linger=0) as arena:
        stranger = arena.attached()
        received: list[bytes] = []

        def receive() -> None:
            for one in arena.pull:
                if one == b"last":
                    return
                received.append(one)

        reader = threading.Thread(target=receive)
        reader.start()
        for _ in range(number):
            arena.push.send(body, timeout=PATIENCE)
        while arena.push.stats().queued > 1:  # one may be the stranger's, in part
            settle()
        stranger.reset()
        arena.verdict()
        arena.push.send(b"last")
        reader.join(PATIENCE)
        arena.push.flush(timeout=PATIENCE)

        peers = {peer.address: peer.sent for peer in arena.push.peers}
        assert set(received) == {body}
        assert len(received) > number // 3
        assert list(peers.values()) == [len(received) + 1]
        stats = arena.push.stats()
        assert (stats.accepted, stats.delivered, stats.queued) == (number + 1, number + 1, 0)


@each_role
@each_scheme
def test_b28_b34_a_peer_that_reads_in_sips(scheme: Scheme, role: Role) -> None:
    """The kernel takes our frames in parts of any size; they arrive as if it had not."""
    dice = random.Random(28)
    sizes = [0, 1, 2047, 2048, 2049, 4096, 65536, 300_000, *(dice.randrange(20_000) for _ in range(300))]
    bodies = [dice.randbytes(size) for size in sizes]
    wanted = greeting(Proto.PUSH) + frame(scheme, *bodies)

    with Arena(Push, scheme, role, partner=False) as arena:
        stranger = arena.attached()
        stranger.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        heard = bytearray()

        def sip() -> None:
            while len(heard) < len(wanted):
                heard.extend(stranger.sock.recv(dice.choice([1, 7, 100, 5000, 100_000])))

        drinker = threading.Thread(target=sip)
        drinker.start()
        for body in bodies:
            arena.push.send(body, timeout=PATIENCE)
        arena.push.flush(timeout=PATIENCE)
        drinker.join(PATIENCE)

        assert bytes(heard) == wanted
        stranger.finish()
        assert arena.verdict().reason is Reason.EOF
        arena.invite()
        arena.exchange()


# --- B-22, B-26: beside the stream -----------------------------------------------------------------------------------


@each_role
def test_b22_descriptors_that_are_passed_along_are_not_taken(role: Role) -> None:
    """With the greeting, with a head, with a body: the bytes count, the descriptors go, and nothing is left open."""
    body = b"look what I have"
    words = frame("ipc", body)

    with Arena(Pull, "ipc", role) as arena:
        stranger = arena.stranger()
        readers: list[int] = []
        for part in (arena.hello, words[:5], words[5:12], words[12:]):
            reader, writer = os.pipe()
            readers.append(reader)
            passed = array.array("i", [writer] * 10)
            stranger.sock.sendmsg([part], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
            os.close(writer)
            arena.digest(stranger)
        arena.exchange()

        assert arena.got == [body]
        for reader in readers:
            # The end is there when the last copy of the other side is closed: not even one is ours.
            assert select.select([reader], [], [], 0)[0] == [reader]
            assert os.read(reader, 1) == b""
            os.close(reader)
        stranger.finish()
        assert arena.verdict().reason is Reason.EOF


@each_role
def test_b22_credentials_that_are_passed_along_change_nothing(role: Role) -> None:
    """The kernel vouches for them, and we have not asked."""
    me = struct.pack("3i", os.getpid(), os.getuid(), os.getgid())

    with Arena(Pull, "ipc", role) as arena:
        stranger = arena.stranger()
        for part in (arena.hello, frame("ipc", b"it is me")):
            stranger.sock.sendmsg([part], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, me)])
            arena.digest(stranger)

        assert arena.got == [b"it is me"]
        stranger.finish()
        assert arena.verdict().reason is Reason.EOF


@each_role
@each_scheme
@pytest.mark.parametrize("kind", [Pull, Push, Pair])
def test_b26_an_urgent_byte_is_not_in_the_stream(kind: Kind, scheme: Scheme, role: Role) -> None:
    """Between the parts of a greeting, before and within a head and a body: the messages are what they were."""
    bodies = [b"", b"first", b"second" * 10]

    with Arena(kind, scheme, role, partner=kind is not Pair) as arena:
        words = arena.hello + (frame(scheme, *bodies) if kind is not Push else b"")
        for place in range(len(words)):
            with told(place):
                stranger = arena.stranger()
                stranger.say(words[:place])
                stranger.sock.send(b"!", socket.MSG_OOB)
                stranger.say(words[place:])
                for _ in range(3):
                    arena.turn()
                stranger.finish()
                failure = arena.verdict()
                stranger.close()

                assert isinstance(failure, PeerRemoved), failure
                assert (failure.reason, failure.peer.received) == (Reason.EOF, 0 if kind is Push else 3)
                assert arena.got == ([] if kind is Push else bodies)
                arena.got.clear()


# --- closing in the middle -------------------------------------------------------------------------------------


@each_scheme
@each_kind
def test_r09_a_listener_that_closes_while_strangers_greet(kind: Kind, scheme: Scheme) -> None:
    """Who was greeting is let go without an event of its own; who comes later finds nobody; peers stay."""
    with Arena(kind, scheme, "dialer") as arena:
        strangers = [arena.stranger(arena.hello[: number % 8]) for number in range(20)]
        for one in tuple(arena.ours._ends.listeners):
            if one.url == arena.url:
                one.close()
            del one
        with pytest.raises(ConnectionRefusedError if scheme == "tcp" else FileNotFoundError):
            knock(arena.url)

        assert arena.wait_for(ListenerClosed).address == arena.url
        for stranger in strangers:
            assert stranger.hears_the_end()
            stranger.close()
        arena.exchange()
        assert arena.failures() == []


@each_role
@each_scheme
@each_kind
def test_r09_a_socket_that_closes_while_a_stranger_greets(kind: Kind, scheme: Scheme, role: Role) -> None:
    """After each byte of a greeting: the connection ends with the socket, and nothing of it stays."""
    for size in range(8):
        with told(size), Arena(kind, scheme, role) as arena:
            stranger = arena.stranger(arena.hello[:size])
            arena.ours.close()
            assert stranger.hears_the_end()


# --- B-34: what the system may answer --------------------------------------------------------------------------------


class Faulty(socket.socket):
    """A socket whose system answers each call as it is told to; when it is told nothing more, it does its work.

    The strangers' sockets wait, ours do not: that tells them apart.
    """

    answers: ClassVar[dict[str, list[int]]] = {}

    def _answer(self, call: str) -> None:
        if self.gettimeout() == 0 and (left := self.answers.get(call)):
            number = left.pop(0)
            raise OSError(number, os.strerror(number))

    def accept(self) -> tuple[socket.socket, Any]:
        self._answer("accept")
        return super().accept()

    def connect(self, address: Any, /) -> None:
        self._answer("connect")
        super().connect(address)

    def setsockopt(self, level: int, name: int, value: Any, length: Any = None, /) -> None:
        self._answer("setsockopt")
        super().setsockopt(level, name, value)

    def send(self, words: Any, flags: int = 0, /) -> int:
        self._answer("send")
        return super().send(words, flags)

    def sendmsg(self, words: Any, ancillary: Any = (), flags: int = 0, address: Any = None, /) -> int:
        self._answer("send")
        return super().sendmsg(words, ancillary, flags, address)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        self._answer("recv")
        return super().recv(size, flags)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[int]]]:
    """Yield what the system is to answer, by call: a list of error numbers each; all of it is asked for in the test."""
    reactor.janitor()  # its loop has sockets of its own
    monkeypatch.setattr(socket, "socket", Faulty)
    Faulty.answers = {}
    yield Faulty.answers
    left, Faulty.answers = {call: numbers for call, numbers in Faulty.answers.items() if numbers}, {}
    assert left == {}


def named(number: object) -> str:
    return errno.errorcode[number] if isinstance(number, int) else str(number)


@each_scheme
@pytest.mark.parametrize("times", [1, 3, 200])
@pytest.mark.parametrize(
    "number",
    [
        *(errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EAGAIN),
        # Linux hands on what the network has for the new connection: see accept(2).
        *(errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH, errno.ENETUNREACH),
    ],
    ids=named,
)
def test_b34_an_accept_that_fails_is_no_end(
    number: int, times: int, scheme: Scheme, answers: dict[str, list[int]]
) -> None:
    """It is about one connection, which is gone: the next one is served, nobody is told."""
    with Arena(Pull, scheme, "dialer", partner=False) as arena:
        answers["accept"] = [number] * times
        stranger = arena.attached()
        arena.invite()
        arena.exchange()

        stranger.finish()
        assert arena.verdict().reason is Reason.EOF
        assert arena.of(AcceptThrottled) == []


@each_scheme
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM], ids=named)
def test_b34_an_accept_without_resources_is_told_once_and_tried_again(
    number: int, scheme: Scheme, answers: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it fails in a spell; the one who waits is served when it is over."""
    monkeypatch.setattr(endpoint, "ACCEPT_PAUSE", 0.02)

    with Arena(Pull, scheme, "dialer", partner=False) as arena:
        answers["accept"] = [number] * 5
        arena.attached()

        spells = arena.of(AcceptThrottled)
        assert [(spell.address, spell.errno, spell.error) for spell in spells] == [
            (arena.url, number, os.strerror(number))
        ]
        assert [resumed.address for resumed in arena.of(AcceptResumed)] == [arena.url]
        arena.ours.close()


@each_scheme
@pytest.mark.parametrize(
    "number",
    [
        *(
            errno.ECONNREFUSED,
            errno.ETIMEDOUT,
            errno.EHOSTUNREACH,
            errno.ENETUNREACH,
            errno.EADDRNOTAVAIL,
            errno.EACCES,
        ),
        *(errno.EPERM, errno.ENOBUFS, errno.ENOMEM, errno.ECONNRESET, errno.ENETDOWN),
    ],
    ids=named,
)
def test_b34_a_connect_that_fails_is_told_and_tried_again(
    number: int, scheme: Scheme, answers: dict[str, list[int]]
) -> None:
    """The event has the system's number and words; the dialer does not give up."""
    answers["connect"] = [number] * 3

    with Arena(Pull, scheme, "listener", partner=False) as arena:
        stranger = arena.attached()
        failed = arena.of(ConnectFailed)

        assert [(event.address, event.errno, event.error) for event in failed] == [
            (arena.url, number, os.strerror(number))
        ] * 3
        stranger.finish()
        assert arena.verdict().reason is Reason.EOF


@each_role
@each_scheme
@pytest.mark.parametrize(
    "number",
    [errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENOBUFS, errno.ENOMEM, errno.EIO],
    ids=named,
)
@pytest.mark.parametrize("size", [1, 100_000])
def test_b34_a_send_that_fails_ends_that_connection_alone(
    number: int, size: int, scheme: Scheme, role: Role, answers: dict[str, list[int]]
) -> None:
    """The message was not taken, so another peer gets it; `send` raises nothing."""
    body = bytes(size)

    with Arena(Push, scheme, role, partner=False) as arena:
        stranger = arena.attached()
        answers["send"] = [number]
        arena.push.send(body)

        failure = arena.verdict()
        assert isinstance(failure, PeerRemoved)
        assert (failure.reason, failure.detail) == (Reason.RESET, os.strerror(number))
        assert stranger.hears_the_end()
        arena.invite()
        assert arena.pull.recv(timeout=PATIENCE) == body
        assert dict(arena.push.stats().dropped) == {}


@each_role
@each_scheme
@pytest.mark.parametrize(
    "number", [errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENOMEM, errno.EIO], ids=named
)
@pytest.mark.parametrize("begun", [False, True])
def test_b34_a_recv_that_fails_ends_that_connection_alone(
    number: int, begun: bool, scheme: Scheme, role: Role, answers: dict[str, list[int]]
) -> None:
    """What was received stays received; the reason says whether a message was under way; `recv` raises nothing."""
    with Arena(Pull, scheme, role) as arena:
        stranger = arena.attached()
        stranger.say(frame(scheme, b"before") + frame(scheme, b"in part")[: -3 if begun else 0])
        arena.digest(stranger)
        answers["recv"] = [number]
        stranger.say(b"art" if begun else frame(scheme, b"after"))

        failure = arena.verdict()
        assert isinstance(failure, PeerRemoved)
        assert failure.reason is (Reason.RESET_MID_FRAME if begun else Reason.RESET)
        assert failure.detail == os.strerror(number)
        assert arena.got == [b"before"]
        assert stranger.hears_the_end()
        arena.exchange()


@each_role
@pytest.mark.parametrize(
    ("scheme", "call"), [*product(["tcp", "ipc"], ["send", "recv"]), ("tcp", "setsockopt")], ids=str
)
@each_kind
def test_b34_a_call_that_fails_while_greeting_is_a_greeting_that_failed(
    call: str, kind: Kind, scheme: Scheme, role: Role, answers: dict[str, list[int]]
) -> None:
    """Told once; the next connection is a new one."""
    answers[call] = [errno.ECONNRESET]

    with Arena(kind, scheme, role, partner=False) as arena:
        unlucky = arena.knocked()
        unlucky.say(arena.hello)

        failure = arena.verdict()
        assert isinstance(failure, HandshakeFailed)
        assert (failure.reason, failure.detail) == (Reason.RESET, os.strerror(errno.ECONNRESET))
        assert unlucky.hears_the_end()
        arena.attached()
        arena.ours.close()


@each_scheme
def test_b34_signals_all_the_time_change_nothing(scheme: Scheme) -> None:
    """Every call that waits is interrupted again and again, and goes on."""
    heard: list[int] = []
    before = signal.signal(signal.SIGPROF, lambda number, _: heard.append(number))
    signal.setitimer(signal.ITIMER_PROF, 0.0005, 0.0005)
    try:
        with Arena(Pair, scheme, "dialer") as arena:
            deadline = monotonic() + PATIENCE
            while len(heard) < 100 and monotonic() < deadline:
                arena.exchange(10)
            with pytest.raises(TimedOut):
                arena.ours.recv(timeout=0.01) if isinstance(arena.ours, Pair) else None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)

    assert len(heard) >= 100
