"""Events tell what happened, in the order in which it happened, with the reason; who does not listen pays nothing."""

from __future__ import annotations

import errno
import gc
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from nnqpy import Closed, Pair, Pull, Reason, TimedOut, endpoint
from nnqpy.base import EVENTS_MAX
from nnqpy.events import (
    ConnectFailed,
    Connecting,
    EventsLost,
    HandshakeFailed,
    ListenerClosed,
    Listening,
    PeerAdded,
    PeerRefused,
    PeerRemoved,
    SocketClosed,
)
from nnqpy.routing import core
from tests.contract.kit import BRIEFLY, PATIENCE, on_every_face, until

if TYPE_CHECKING:
    from pathlib import Path

    from nnqpy import Event
    from tests.contract.kit import EventStream, Face

pytestmark = pytest.mark.timeout(60)


async def rest_of(stream: EventStream) -> list[Event]:
    """Return the events up to the end."""
    return [event async for event in stream]


async def next_of(stream: EventStream, kind: type[Event]) -> Event:
    """Return the next event of a kind; what comes before it is skipped."""
    while True:
        event = await stream.recv(timeout=PATIENCE)
        if isinstance(event, kind):
            return event


def kinds(events: list[Event]) -> list[str]:
    """Return the names of the events' types."""
    return [type(event).__name__ for event in events]


@on_every_face
async def test_the_life_of_two_sockets_is_told_from_both_ends(face: Face, spot: str) -> None:
    """Listening, connecting, coming, going and closing: each once, in that order, and `SocketClosed` ends it."""
    pull, push = face.pull(), face.push()
    of_pull, of_push = pull.events(), push.events()

    url = pull.bind(spot).url
    await push.connect(url, wait=True, timeout=PATIENCE)
    (pulling,) = await push.wait_for_peers(1, PATIENCE)
    (pushing,) = await pull.wait_for_peers(1, PATIENCE)
    await push.send_many([b"12345"] * 3)
    got = [await pull.recv(timeout=PATIENCE) for _ in range(3)]
    of_closing = await push.close()
    told: list[Event] = []
    while not told or not isinstance(told[-1], PeerRemoved):
        told.append(await of_pull.recv(timeout=PATIENCE))
    of_pulling = await pull.close()

    assert got == [b"12345"] * 3
    told += await rest_of(of_pull)
    assert kinds(told) == ["Listening", "PeerAdded", "PeerRemoved", "ListenerClosed", "SocketClosed"]
    listening, added, removed, stopped, closed = told
    assert listening == Listening(url)
    assert stopped == ListenerClosed(url, "closed by us")
    assert closed == SocketClosed(of_pulling)
    assert isinstance(added, PeerAdded)
    assert isinstance(removed, PeerRemoved)
    assert added.peer.id == removed.peer.id == pushing.id
    assert (added.peer.direction, added.peer.protocol, added.peer.state) == ("in", "push", "open")
    assert (removed.peer.state, removed.peer.received, removed.peer.bytes_received) == ("closed", 3, 15)
    assert removed.reason is Reason.EOF

    told = await rest_of(of_push)
    assert kinds(told) == ["Connecting", "PeerAdded", "PeerRemoved", "SocketClosed"]
    connecting, added, removed, closed = told
    assert connecting == Connecting(url, 1)
    assert isinstance(added, PeerAdded)
    assert isinstance(removed, PeerRemoved)
    assert added.peer.id == removed.peer.id == pulling.id
    assert (added.peer.direction, added.peer.protocol) == ("out", "pull")
    assert (removed.peer.sent, removed.peer.bytes_sent) == (3, 15)
    assert removed.reason is Reason.CLOSED_BY_US
    assert closed == SocketClosed(of_closing)


@on_every_face
async def test_the_stream_of_a_closed_socket_says_so_and_ends(face: Face) -> None:
    """Asking late is no way to hang; after the last event `recv` raises `Closed`."""
    pull = face.pull()
    early = pull.events()
    report = await pull.close()
    late = pull.events()

    for stream in (early, late):
        assert await stream.recv(timeout=PATIENCE) == SocketClosed(report)
        assert await rest_of(stream) == []
        with pytest.raises(Closed):
            await stream.recv()


@on_every_face
async def test_waiting_for_an_event_ends_by_its_timeout_and_leaves_nothing(face: Face) -> None:
    """A program may ask again and again: the calls that ended are not remembered."""
    async with face.pull() as pull:
        stream = pull.events()
        for timeout in (0, 0.001):
            for _ in range(20):
                with pytest.raises(TimedOut) as late:
                    await stream.recv(timeout=timeout)
                assert late.value.reason == "no_event"
                with pytest.raises(TimedOut) as late:
                    await pull.wait_for_peers(1, timeout)
                assert late.value.reason == "no_peers"

        assert face.watching(pull) == 0
        pull.bind("inproc://contract-leaves-nothing")
        assert await stream.recv(timeout=PATIENCE) == Listening("inproc://contract-leaves-nothing")


@on_every_face
async def test_a_wait_for_an_event_ends_by_the_event(face: Face) -> None:
    """Who waits, for an event or for a peer, is woken by it."""
    async with face.crowd() as crowd, face.pull() as pull, face.push() as push:
        stream = pull.events()
        waiting = crowd.start(next_of, stream, PeerAdded)
        for_peers = crowd.start(pull.wait_for_peers, 1)
        await until(face, lambda: face.watching(pull) == 1)

        push.connect(pull.bind("inproc://contract-by-the-event").url)
        await until(face, lambda: waiting.done and for_peers.done)

    assert isinstance(waiting.value[0], PeerAdded)
    assert [peer.id for peer in for_peers.value[0]] == [waiting.value[0].peer.id]


@pytest.mark.parametrize("taken", [0, 1, 7])
@on_every_face
async def test_a_slow_reader_is_told_how_many_it_missed(face: Face, taken: int) -> None:
    """A reader keeps the newest events, and is told where and how many are missing: nothing is unaccounted for."""
    pull = face.pull()
    quick, slow = pull.events(), pull.events()
    told: list[Event] = []
    first: list[Event] = []
    for n in range(EVENTS_MAX):
        pull.bind(f"inproc://contract-missed-{n}").close()
        told += [await quick.recv(timeout=PATIENCE), await quick.recv(timeout=PATIENCE)]
        if n == 10:
            first += [await slow.recv(timeout=PATIENCE) for _ in range(taken)]
    told.append(SocketClosed(await pull.close()))

    assert first == told[:taken]
    missing, *rest = await rest_of(slow)
    assert missing == EventsLost(2 * EVENTS_MAX + 1 - EVENTS_MAX - taken)
    assert rest == told[-EVENTS_MAX:]
    assert await rest_of(quick) == told[-1:]


@on_every_face
async def test_a_callback_hears_what_a_reader_hears(face: Face, spot: str) -> None:
    """All events, in one order, to the last one: nothing comes after `SocketClosed`."""
    heard: list[Event] = []
    over = threading.Event()

    def on_event(event: Event) -> None:
        heard.append(event)
        if isinstance(event, SocketClosed):
            over.set()

    async with face.push() as push:
        pull = face.pull(on_event=on_event)
        stream = pull.events()
        for n in range(20):
            listener = pull.bind(spot)
            dialer = await push.connect(listener.url, wait=True, timeout=PATIENCE)
            await pull.wait_for_peers(n + 1, PATIENCE)
            dialer.close()
            listener.close()
        await pull.close()
        read = await rest_of(stream)

    await until(face, over.is_set)
    assert heard == read
    assert kinds(heard).count("PeerAdded") == kinds(heard).count("PeerRemoved") == 20
    assert kinds(heard)[-1] == "SocketClosed"


@on_every_face
async def test_a_callback_that_raises_disturbs_nobody(face: Face, spot: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its exception is logged with the event's name; messages flow, and readers get their events."""

    def on_event(event: Event) -> None:
        raise ZeroDivisionError

    async with face.pull(on_event=on_event) as pull, face.push(on_event=on_event) as push:
        stream = pull.events()
        push.connect(pull.bind(spot).url)
        for n in range(10):
            await push.send(b"%d" % n)
            assert await pull.recv(timeout=PATIENCE) == b"%d" % n
        assert isinstance(await next_of(stream, PeerAdded), PeerAdded)

    texts = [record.getMessage() for record in caplog.records if record.name == "nnqpy.base"]
    assert "on-event-failed event=PeerAdded" in texts
    assert "on-event-failed event=SocketClosed" in texts


def test_who_does_not_listen_pays_nothing() -> None:
    """Without a reader and a callback an event ends in a function that does nothing; readers that went are forgotten."""
    with Pull() as pull:
        assert pull._core.emit is core.ignore
        for _ in range(1000):
            pull.events()
        gc.collect()
        pull.events()

        assert len(pull._ends._logs) <= 2


@on_every_face
async def test_of_each_peer_the_coming_is_told_before_the_going(face: Face, stream_spot: str) -> None:
    """Also when connections end as soon as they begin, in whatever thread that is seen."""
    async with face.pull() as pull:
        stream = pull.events()
        url = pull.bind(stream_spot).url
        for _ in range(40):
            push = face.push(connect=url)
            await push.wait_for_peers(1, PATIENCE)
            await push.close(0)
        await pull.wait_for_peers(0)
        told: list[Event] = []
        while kinds(told).count("PeerRemoved") < 40:
            told.append(await stream.recv(timeout=PATIENCE))

    seen: set[int] = set()
    for event in told:
        if isinstance(event, PeerAdded):
            seen.add(event.peer.id)
        elif isinstance(event, PeerRemoved):
            assert event.peer.id in seen
            seen.remove(event.peer.id)
    assert seen == set()


@on_every_face
async def test_a_peers_going_is_seen_while_somebody_waits_to_receive(face: Face, spot: str) -> None:
    """Who is blocked in `recv` learns that the peer left as soon as anybody (inproc has no descriptor to tell it)."""
    async with face.crowd() as crowd, face.pull() as pull:
        push = face.push(connect=pull.bind(spot).url)
        await push.wait_for_peers(1, PATIENCE)
        await pull.wait_for_peers(1, PATIENCE)
        crowd.start(pull.recv)
        await until(face, lambda: face.receiving(pull) == 1)

        await push.close()

        await until(face, lambda: not pull.peers)


@on_every_face
async def test_a_dial_that_fails_says_why_and_when_again(face: Face, tmp_path: Path) -> None:
    """The system's number and words, and a pause that doubles up to its bound, with jitter."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refusing = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
        for url, number in ((refusing, errno.ECONNREFUSED), (f"ipc://{tmp_path}/none.sock", errno.ENOENT)):
            async with face.push(reconnect_min=0.01, reconnect_max=0.05) as push:
                stream = push.events()
                push.connect(url)
                told = [await stream.recv(timeout=PATIENCE) for _ in range(14)]

            assert kinds(told) == ["Connecting", "ConnectFailed"] * 7
            assert [event.attempt for event in told if isinstance(event, Connecting)] == [1, 2, 3, 4, 5, 6, 7]
            failures = [event for event in told if isinstance(event, ConnectFailed)]
            assert {(event.address, event.errno, event.error) for event in failures} == {
                (url, number, os.strerror(number))
            }
            for event, most in zip(failures, (0.01, 0.02, 0.04, 0.05, 0.05, 0.05, 0.05), strict=True):
                assert most / 2 <= event.retry_in <= most


@on_every_face
async def test_a_name_that_does_not_resolve_is_a_dial_that_fails(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no system error number for it, so `errno` is None; the text is the resolver's."""

    def nowhere(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with face.push() as push:
        stream = push.events()
        monkeypatch.setattr(socket, "getaddrinfo", nowhere)
        push.connect("tcp://nobody.example:1")

        failure = await next_of(stream, ConnectFailed)

    assert isinstance(failure, ConnectFailed)
    assert (failure.errno, failure.error) == (None, "Name or service not known")


@on_every_face
async def test_connecting_waits_for_the_whole_greeting(face: Face) -> None:
    """A program that accepts and says nothing is no peer: the call ends by its timeout and tells the last error."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        async with face.push(handshake_timeout=0.05, reconnect_min=0.01) as push:
            stream = push.events()
            with pytest.raises(TimedOut, match="no whole greeting") as late:
                await push.connect(url, wait=True, timeout=0.5)
            assert late.value.reason == "no_peer"
            assert push.peers == ()
            failure = await next_of(stream, HandshakeFailed)
            await push.close()
            last = (await rest_of(stream))[-1]

    assert isinstance(failure, HandshakeFailed)
    assert (failure.address, failure.reason) == (url, Reason.GREETING_TIMEOUT)
    assert isinstance(last, SocketClosed)


@on_every_face
async def test_the_back_off_goes_on_while_no_greeting_succeeds(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that takes long and fails is no success: the attempts are counted on, the pauses grow."""
    monkeypatch.setattr(endpoint, "LASTING", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        async with face.push(handshake_timeout=0.1, reconnect_min=0.01, reconnect_max=0.02) as push:
            stream = push.events()
            push.connect(url)
            told = [await stream.recv(timeout=PATIENCE) for _ in range(8)]

    assert kinds(told) == ["Connecting", "HandshakeFailed"] * 4
    assert [event.attempt for event in told if isinstance(event, Connecting)] == [1, 2, 3, 4]


@pytest.mark.parametrize("lasting", [0.0, 100.0])
@on_every_face
async def test_the_back_off_begins_anew_after_a_connection_that_lasted(
    face: Face, monkeypatch: pytest.MonkeyPatch, stream_spot: str, lasting: float
) -> None:
    """A peer that greets and leaves at once is not dialled in a hot loop; one that stayed a while is, at once."""
    monkeypatch.setattr(endpoint, "LASTING", lasting)
    async with face.push(reconnect_min=0.001, reconnect_max=0.002) as push:
        stream = push.events()
        attempts: list[int] = []
        pull = face.pull()
        url = pull.bind(stream_spot).url
        push.connect(url)
        for _ in range(3):
            await next_of(stream, PeerAdded)
            for _ in range(20):
                await face.pause()  # longer than the longest pause between two dials
            await pull.close()
            await next_of(stream, PeerRemoved)
            attempts.append(await next_attempt(stream))
            pull = face.pull(bind=url)
        await pull.close()

    # 0: every connection lasted, so each loss is followed by a first attempt. 100: none did, and they are counted on.
    if lasting:
        assert attempts == sorted(set(attempts))
        assert attempts[0] == 2
    else:
        assert attempts == [1, 1, 1]


async def next_attempt(stream: EventStream) -> int:
    """Return the number of the next attempt."""
    event = await next_of(stream, Connecting)
    assert isinstance(event, Connecting)
    return event.attempt


@on_every_face
async def test_two_that_do_not_go_together_are_told_what_the_other_is(face: Face, spot: str) -> None:
    """A push that dials a push: both ends say PROTO_MISMATCH and name the two, and nobody is attached."""
    async with face.push() as one, face.push(reconnect_min=0.01) as other:
        of_one, of_other = one.events(), other.events()
        other.connect(one.bind(spot).url)

        failure = await next_of(of_other, HandshakeFailed)
        assert isinstance(failure, HandshakeFailed)
        assert failure.reason is Reason.PROTO_MISMATCH
        assert "push" in failure.detail
        failure = await next_of(of_one, HandshakeFailed)
        assert isinstance(failure, HandshakeFailed)
        assert failure.reason is Reason.PROTO_MISMATCH
        assert "push" in failure.detail
        with pytest.raises(TimedOut):
            await other.wait_for_peers(1, BRIEFLY)
        assert one.peers == ()


@on_every_face
async def test_a_second_pair_is_refused_and_both_are_told(face: Face, spot: str) -> None:
    """The first wins. The listener says who was refused and why; the dialer learns that it has no peer."""
    async with face.pair() as host, face.pair() as first, face.pair(reconnect_min=0.02) as second:
        of_host, of_second = host.events(), second.events()
        url = host.bind(spot).url
        await first.connect(url, wait=True, timeout=PATIENCE)
        await host.wait_for_peers(1, PATIENCE)

        second.connect(url)
        refused = await next_of(of_host, PeerRefused)
        assert isinstance(refused, PeerRefused)
        assert (refused.address, refused.reason) == (url, Reason.LIMIT_PIPES)
        assert refused.detail
        while True:
            told = await of_second.recv(timeout=PATIENCE)
            if isinstance(told, PeerRefused | PeerRemoved | HandshakeFailed):
                break
        assert told.reason in {Reason.LIMIT_PIPES, Reason.EOF, Reason.RESET, Reason.GREETING_EOF}

        for n in range(20):
            await host.send(b"to %d" % n)
            await first.send(b"from %d" % n)
        assert [await first.recv(timeout=PATIENCE) for _ in range(20)] == [b"to %d" % n for n in range(20)]
        assert [await host.recv(timeout=PATIENCE) for _ in range(20)] == [b"from %d" % n for n in range(20)]


@on_every_face
async def test_when_the_first_pair_leaves_the_second_gets_its_place(face: Face, spot: str) -> None:
    """The refused one dials on, and is taken when the place is free; it lost nothing by having been refused."""
    async with face.pair() as host, face.pair(reconnect_min=0.02, reconnect_max=0.1) as second:
        first = face.pair()
        of_host = host.events()
        url = host.bind(spot).url
        await first.connect(url, wait=True, timeout=PATIENCE)
        await host.wait_for_peers(1, PATIENCE)
        await second.send_many([b"%d" % n for n in range(10)])
        second.connect(url)
        for _ in range(3):
            await next_of(of_host, PeerRefused)

        await first.close()

        assert [await host.recv(timeout=2) for _ in range(10)] == [b"%d" % n for n in range(10)]
        assert len(host.peers) == 1


def test_a_busy_pair_does_not_greet(stream_spot: str) -> None:
    """A dialer that gets a greeting may write at once; so who is to be refused must not get one."""
    with Pair(bind=stream_spot) as host, Pair() as first:
        (listener,) = host._ends.listeners
        first.connect(listener.url, wait=True, timeout=PATIENCE)
        host.wait_for_peers(1, PATIENCE)
        family = socket.AF_INET if stream_spot.startswith("tcp") else socket.AF_UNIX
        with socket.socket(family, socket.SOCK_STREAM) as stranger:
            stranger.settimeout(PATIENCE)
            address = listener.url.removeprefix("ipc://")
            stranger.connect(("127.0.0.1", int(address.rpartition(":")[2])) if family == socket.AF_INET else address)
            stranger.send(b"\0SP\0\0\x10\0\0")

            assert stranger.recv(8) == b""
