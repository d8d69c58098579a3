"""`close` drains within its bound, reports what it did, wakes everybody, and leaves the address free."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import warnings
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from nnqpy import Closed, Pair, Pull, Push, TimedOut, WouldBlock
from nnqpy.events import SocketClosed
from nnqpy.transport import ipc
from tests.contract.kit import BRIEFLY, PATIENCE, noise, on_every_face, outcome, stalled, take_no_call, until
from tests.kit.interrupts import handlers, interrupt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nnqpy import DrainReport
    from tests.contract.kit import Face

pytestmark = pytest.mark.timeout(60)

SLACK = 1.0
"""Seconds above its bound that a close may take here: the contract says 0.1, the machine may be busy."""


@on_every_face
async def test_close_sends_what_is_queued(face: Face, spot: str) -> None:
    """What a send accepted arrives, though the sender closes at once; the report says how many."""
    async with face.pull() as pull:
        push = face.push(connect=None)
        await push.send_many([b"%d" % n for n in range(500)])
        push.connect(pull.bind(spot).url)
        report = await push.close(PATIENCE)

        assert [await pull.recv(timeout=PATIENCE) for _ in range(500)] == [b"%d" % n for n in range(500)]

    assert report.flushed <= 500  # some may have gone before the close began
    assert report.abandoned == 0


@on_every_face
async def test_close_drains_while_the_dial_is_still_under_way(face: Face, spot: str) -> None:
    """A sender may connect, send and close before the listener exists; what comes up within `linger` is served."""
    url = spot.replace(":0", f":{free_port()}")
    async with face.crowd() as crowd, face.pull() as pull:
        push = face.push(connect=url, reconnect_min=0.02)
        await push.send_many([b"%d" % n for n in range(20)])
        closing = crowd.start(push.close, PATIENCE)
        await until(face, lambda: push.closed)

        pull.bind(url)

        assert [await pull.recv(timeout=PATIENCE) for _ in range(20)] == [b"%d" % n for n in range(20)]
        report = await outcome(face, closing)
    assert (report.flushed, report.abandoned) == (20, 0)


@on_every_face
async def test_close_gives_up_after_linger_and_says_what_it_abandoned(face: Face) -> None:
    """Nobody comes: the time is bounded, by the option or by the argument, and the loss is counted."""
    for option, argument, bound in ((0.2, None, 0.2), (60.0, 0.2, 0.2), (60.0, 0, 0.0)):
        push = face.push(connect="ipc:///nowhere/at/all.sock", linger=option)
        await push.send_many([b"lost"] * 7)
        began = monotonic()
        report = await push.close(argument)
        took = monotonic() - began

        assert (report.flushed, report.abandoned) == (0, 7)
        assert bound <= took < bound + SLACK
        assert bound <= report.elapsed <= took
        stats = push.stats()
        assert (stats.accepted, stats.queued, dict(stats.dropped)) == (7, 0, {"closed": 7})


@on_every_face
async def test_close_waits_for_a_slow_peer_but_not_for_ever(face: Face, spot: str) -> None:
    """A peer that does not read: the part that the kernel took is told from the part that is abandoned."""
    async with face.pull(recv_hwm=1) as pull:
        push = face.push(send_hwm=1000)
        push.connect(pull.bind(spot).url)
        sent = await stalled(push, noise(10_000))
        delivered = push.stats().delivered

        report = await push.close(0.2)

        assert report.abandoned == sent - delivered - report.flushed
        assert report.abandoned >= 900
        got = 0
        while True:
            try:
                assert pull.recv_nowait() == noise(10_000)
            except WouldBlock:
                if not pull.peers:
                    break
                await face.pause()
            else:
                got += 1
        # What was encrypted goes on to its end, and the message that was begun with it.
        begun = spot.startswith(("tls", "wss"))
        assert sent - report.abandoned <= got <= sent - report.abandoned + begun


@on_every_face
async def test_nobody_can_come_so_close_does_not_wait(face: Face) -> None:
    """Without a peer and without an endpoint the messages are lost at once, whatever `linger` says."""
    push = face.push(linger=60)
    await push.send_many([b"lost"] * 3)
    began = monotonic()

    report = await push.close()

    assert (report.flushed, report.abandoned) == (0, 3)
    assert monotonic() - began < SLACK


@on_every_face
async def test_the_report_counts_what_nobody_took(face: Face, spot: str) -> None:
    """Messages that were received and never asked for are told as unread."""
    pull = face.pull()
    async with face.push() as push:
        push.connect(pull.bind(spot).url)
        await push.send_many([b"%d" % n for n in range(10)])
        assert await pull.recv(timeout=PATIENCE) == b"0"
        await until(face, lambda: pull.stats().inbox == 9)

        report = await pull.close()

    assert (report.unread, report.flushed, report.abandoned) == (9, 0, 0)


CALLS = ["recv", "recv_many", "iteration", "send", "send_many", "big send", "flush", "wait_for_peers", "connect"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("number", [1, 3])
@on_every_face
async def test_close_wakes_every_blocked_call(face: Face, call: str, number: int) -> None:
    """Whatever is blocked on the socket raises `Closed` (an iteration ends), all of them, promptly."""
    async with face.crowd() as crowd, face.pair(send_hwm=1, linger=0) as pair:
        pair.bind(f"inproc://nobody-comes-here-{face.name}-{call}-{number}")
        await pair.send(b"fills the queue")

        async def iterate() -> None:
            async for _ in pair:
                raise AssertionError("nobody sends")
            raise Closed

        verbs: dict[str, tuple[Callable[[], Awaitable[object]], Callable[[], object]]] = {
            "recv": (pair.recv, lambda: face.receiving(pair) == number),
            "recv_many": (pair.recv_many, lambda: face.receiving(pair) == number),
            "iteration": (iterate, lambda: face.receiving(pair) == number),
            "send": (lambda: pair.send(b"more"), lambda: face.sending(pair) == number),
            "send_many": (lambda: pair.send_many([b"more"]), lambda: face.sending(pair) == number),
            "big send": (lambda: pair.send(b"x" * 100_000), lambda: face.sending(pair) == number),
            "flush": (pair.flush, lambda: face.sending(pair) == number),
            "wait_for_peers": (pair.wait_for_peers, lambda: face.watching(pair) == number),
            "connect": (lambda: pair.connect("inproc://nobody", wait=True), lambda: face.watching(pair) == number),
        }
        verb, blocked = verbs[call]
        jobs = [crowd.start(verb) for _ in range(number)]
        await until(face, blocked)
        began = monotonic()

        await pair.close()

        for job in jobs:
            with pytest.raises(Closed):
                await outcome(face, job)
        assert monotonic() - began < SLACK
        assert pair.stats().accepted == 1


@on_every_face
async def test_close_refuses_new_messages_while_it_drains(face: Face) -> None:
    """From the moment of `close` on, no message is accepted, so that the report can be true."""
    async with face.crowd() as crowd:
        push = face.push(connect="inproc://comes-later")
        await push.send(b"queued")
        closing = crowd.start(push.close, PATIENCE)
        await until(face, lambda: push.closed)

        await take_no_call(
            partial(push.send, b"late"),
            partial(push.send_nowait, b"late"),
            partial(push.send_many, [b"late"]),
            partial(push.send, b"x" * 100_000),
            partial(push.connect, "inproc://anywhere"),
        )

        async with face.pull(bind="inproc://comes-later") as pull:
            assert await pull.recv(timeout=PATIENCE) == b"queued"
            report = await outcome(face, closing)
            with pytest.raises(TimedOut):
                await pull.recv(timeout=BRIEFLY)
    assert (report.flushed, report.abandoned) == (1, 0)


@on_every_face
async def test_two_who_close_at_once_get_one_report(face: Face) -> None:
    """The second close, from wherever, waits for the first and returns the same report."""
    async with face.crowd() as crowd:
        push = face.push(connect="inproc://comes-later-too")
        await push.send_many([b"queued"] * 5)
        first = crowd.start(push.close, PATIENCE)
        await until(face, lambda: push.closed)
        second = crowd.start(push.close, 0)

        async with face.pull(bind="inproc://comes-later-too") as pull:
            for _ in range(5):
                assert await pull.recv(timeout=PATIENCE) == b"queued"
            reports = [await outcome(face, first), await outcome(face, second)]

    assert reports[0] is reports[1]
    assert reports[0].flushed == 5


@on_every_face
async def test_an_address_is_free_as_soon_as_close_returns(face: Face, spot: str) -> None:
    """A socket that takes over the address of one just closed never meets EADDRINUSE (F-03)."""
    url = spot.replace(":0", f":{free_port()}")
    for _ in range(50):
        async with face.pull(bind=url) as pull, face.push(connect=url) as push:
            await push.send(b"x")
            assert await pull.recv(timeout=PATIENCE) == b"x"


def test_an_abstract_name_is_free_as_soon_as_close_returns() -> None:
    """Abstract names live as long as a descriptor does, so the descriptor is gone when close returns."""
    for _ in range(50):
        Pull(bind=f"ipc://@nnqpy-contract-{os.getpid()}").close()


def test_a_closed_listener_leaves_its_peers(stream_spot: str) -> None:
    """``Listener.close`` frees the address and keeps the connections; so does ``Dialer.close``."""
    with Pull() as pull, Push() as push, Pull() as heir:
        listener = pull.bind(stream_spot)
        dialer = push.connect(listener.url, wait=True, timeout=PATIENCE)
        pull.wait_for_peers(1, PATIENCE)  # a connection that still greets goes with its listener

        dialer.close()
        listener.close()
        listener.close()
        heir.bind(listener.url)

        push.send(b"still here")
        assert pull.recv(timeout=PATIENCE) == b"still here"
        assert heir.peers == ()


def test_close_is_safe_from_the_callback_of_an_event() -> None:
    """A callback, in the janitor's thread, may close its own socket: nothing locks up."""
    reports: list[DrainReport] = []
    done = threading.Event()

    def on_event(event: object) -> None:
        if type(event).__name__ == "PeerAdded":
            reports.append(pull.close())
            done.set()

    pull = Pull(on_event=on_event)
    push = Push(connect=pull.bind("tcp://127.0.0.1:0").url)

    assert done.wait(PATIENCE)
    assert pull.closed
    assert reports == [pull.close()]
    push.close()


@pytest.mark.parametrize("kind", [Push, Pull, Pair])
def test_opening_and_closing_leaves_no_descriptor(kind: type[Push | Pull | Pair], stream_spot: str) -> None:
    """Fifty sockets later there are as many descriptors open as before."""

    def round_trip() -> None:
        with Pair(bind=stream_spot) as a, Pair() as b:
            b.connect(a._ends.listeners[0].url, wait=True, timeout=PATIENCE)
            a.send(b"x")
            assert b.recv(timeout=PATIENCE) == b"x"
        with kind(bind=stream_spot):
            pass

    round_trip()
    before = settled_descriptors()
    for _ in range(17):
        round_trip()

    assert settled_descriptors(at_most=before) <= before


def settled_descriptors(at_most: int | None = None) -> int:
    """Count this process's descriptors, when those that leave in the background have left."""
    deadline = monotonic() + 3
    last = -1
    gc.collect()
    while monotonic() < deadline:
        number = sum(1 for _ in Path("/proc/self/fd").iterdir())
        if number == last if at_most is None else number <= at_most:
            return number
        last = number
        threading.Event().wait(0.02)
        if at_most is not None:
            gc.collect()  # perhaps by now
    return last


def test_a_close_that_is_interrupted_still_closes() -> None:
    """Ctrl-C during a long drain ends the drain, not the closing: peers and descriptors are given up."""
    push = Push(connect="inproc://nobody-at-all", linger=60)
    push.send_many([b"lost"] * 4)
    events = push.events()
    threading.Thread(target=lambda: interrupt_when(lambda: push._turns.out.parked)).start()
    with pytest.raises(KeyboardInterrupt):
        push.close()

    report = push.close()

    assert (report.flushed, report.abandoned) == (0, 4)
    assert [event for event in events if isinstance(event, SocketClosed)] == [SocketClosed(report)]


@handlers
def test_a_close_that_is_interrupted_anywhere_is_finished_by_the_next(error: type[BaseException]) -> None:
    """Its readers hear of its end, its addresses are free, and no lock and no descriptor is kept."""
    closed_twice(0, error)  # the janitor has descriptors, too
    before = settled_descriptors()
    at = 0
    while closed_twice(at, error):
        at += 1
    assert at > 50
    assert settled_descriptors(before) <= before


def closed_twice(at: int, error: type[BaseException]) -> bool:
    """Interrupt a close at a point and close again; False if there are fewer points."""
    push = Push(bind=["inproc://interrupted", "tcp://127.0.0.1:0"], connect="inproc://nobody-at-all", linger=0)
    push.send_many([b"lost"] * 4)
    events = push.events()
    modules = "nnqpy.base", "nnqpy.locks", "nnqpy.turns", "nnqpy.routing", "nnqpy.endpoint"
    gc.disable()  # what an earlier one left goes at another time: an error in there would be swallowed
    try:
        interrupted = interrupt(push.close, at, *modules, error=error)
    finally:
        gc.enable()

    report = push.close()

    assert (report.flushed, report.abandoned) == (0, 4), at
    while not isinstance(last := events.recv(timeout=PATIENCE), SocketClosed):
        pass
    assert last.report == report, at
    for lock in (push._core.lock, push._turns.into.lock, push._turns.out.lock):
        assert lock.acquire(timeout=PATIENCE), at
        lock.release()
    Pull(bind="inproc://interrupted").close()
    return interrupted


def test_a_listener_that_is_closed_again_leaves_the_next_ones_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the system has given the new file the number of the old one."""

    def always_the_same(path: str) -> int | None:
        return 7 if Path(path).exists() else None

    monkeypatch.setattr(ipc, "_inode", always_the_same)
    path = tmp_path / "place"
    with Pull() as first, Pull() as second:
        listener = first.bind(f"ipc://{path}")
        listener.close()
        assert not path.exists()
        second.bind(f"ipc://{path}")
        listener.close()
        first.close()

        assert path.exists()


def interrupt_when(claim: Callable[[], object]) -> None:
    deadline = monotonic() + PATIENCE
    while not claim() and monotonic() < deadline:
        threading.Event().wait(0.001)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_a_forgotten_socket_is_told_and_closed(stream_spot: str) -> None:
    """A socket that is dropped unclosed warns with the number of messages lost, and lets go of everything."""
    with Pull(bind=stream_spot) as pull:
        url = pull._ends.listeners[0].url
        push = Push()
        push.connect(url, wait=True, timeout=PATIENCE)
        pull.wait_for_peers(1, PATIENCE)
        other = Push(connect="inproc://nobody-here", linger=60)
        other.send_many([b"x"] * 12)

        with pytest.warns(ResourceWarning, match=r"unclosed <nnqpy\.sync\.Push .*0 messages"):
            del push
            gc.collect()
        with pytest.warns(ResourceWarning, match=r"unclosed .* 12 messages"):
            del other
            gc.collect()

        deadline = monotonic() + PATIENCE
        while pull.peers and monotonic() < deadline:
            threading.Event().wait(0.001)
        assert pull.peers == ()


def test_a_socket_that_never_was_leaves_nothing() -> None:
    """A constructor that fails closes what it had opened, and warns of nothing."""
    with Pull(bind="tcp://127.0.0.1:0"):
        pass  # the janitor, who has descriptors of his own, is there
    before = settled_descriptors()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            with socket.create_server(("127.0.0.1", 0)) as busy, pytest.raises(OSError, match="in use"):
                Pull(bind=["tcp://127.0.0.1:0", f"tcp://127.0.0.1:{busy.getsockname()[1]}"])
            with pytest.raises(ValueError, match="send_hwm"):
                Push(send_hwm=0)
        gc.collect()

    assert settled_descriptors(at_most=before + 1) <= before + 1


def test_a_socket_in_a_cycle_is_collected_even_under_its_own_lock(tmp_path: Path) -> None:
    """A collector may run anywhere, also where the janitor holds the very lock of the socket that goes."""
    push = Push(connect=f"ipc://{tmp_path}/none.sock", linger=0)
    push.send(b"x")
    core = push._core
    finished = threading.Event()

    def drop() -> None:
        nonlocal push
        with core.lock:
            del push
            gc.collect()
        finished.set()

    with pytest.warns(ResourceWarning):
        thread = threading.Thread(target=drop, daemon=True)
        thread.start()
        assert finished.wait(5)
    thread.join(5)
    patience = monotonic() + PATIENCE
    while core.look >= 0:  # whoever has its lock cannot close it: the janitor does
        assert monotonic() < patience, "it was never closed"
        threading.Event().wait(0.001)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
