"""`fileno` is a descriptor for any selector: readable exactly while there is something to take."""

from __future__ import annotations

import select
import selectors
import threading
from typing import TYPE_CHECKING

import pytest

from nnqpy import Closed, Pair, Pull, Push, TimedOut, WouldBlock
from tests.contract.kit import PATIENCE, on_every_face, until

if TYPE_CHECKING:
    from tests.contract.kit import Face, Receiver

pytestmark = pytest.mark.timeout(60)

CALM = 0.02
"""Seconds without readiness after which a descriptor is taken to be quiet."""


def readable(fd: int, seconds: float) -> bool:
    """Return whether a descriptor is readable, or becomes so."""
    return bool(select.select([fd], [], [], seconds)[0])


async def calm(face: Face, pull: Receiver) -> None:
    """Wait until a socket's descriptor is not readable and stays so.

    It may be readable once without a message, as when a peer leaves: then a `recv_nowait` makes it quiet.
    """

    def quiet() -> bool:
        if not readable(pull.fileno(), CALM):
            return True
        with pytest.raises(WouldBlock):
            pull.recv_nowait()
        return False

    await until(face, quiet)


@pytest.mark.parametrize("burst", [1, 5, 300, 1500])
@on_every_face
async def test_it_is_readable_while_there_is_something_to_take(face: Face, spot: str, burst: int) -> None:
    """Level-triggered: one message, or many more than the inbox holds, taken one by one, and then silence."""
    async with face.pull(recv_hwm=100) as pull, face.push(send_hwm=2000) as push:
        push.connect(pull.bind(spot).url)
        fd = pull.fileno()
        assert pull.fileno() == fd
        await pull.wait_for_peers(1, PATIENCE)
        await calm(face, pull)
        for round_ in range(2):
            await push.send_many([b"%d" % n for n in range(burst)])
            for n in range(burst):
                await until(face, lambda: readable(fd, 0))
                assert await take(face, pull) == b"%d" % n, round_
            await calm(face, pull)
            with pytest.raises(WouldBlock):
                pull.recv_nowait()


async def take(face: Face, pull: Receiver) -> bytes:
    """Take a message after readiness, which may once be that of something that is no message."""
    got: list[bytes] = []

    def taken() -> bool:
        try:
            got.append(pull.recv_nowait())
        except WouldBlock:
            return False
        return True

    await until(face, taken)
    return got[0]


@pytest.mark.parametrize("verb", ["recv", "recv_nowait", "recv_many", "iteration"])
@on_every_face
async def test_whatever_takes_the_last_message_makes_it_quiet(face: Face, spot: str, verb: str) -> None:
    """Readiness would otherwise promise a message that is not there, and a `recv` that believes it would hang."""
    async with face.pull() as pull, face.push() as push:
        push.connect(pull.bind(spot).url)
        pull.fileno()
        for _ in range(2):
            await push.send_many([b"1", b"2", b"3"])
            await push.flush(PATIENCE)
            got: list[bytes] = []
            while len(got) < 3:
                match verb:
                    case "recv":
                        got.append(await pull.recv(timeout=PATIENCE))
                    case "recv_nowait":
                        got.append(await take(face, pull))
                    case "recv_many":
                        got += await pull.recv_many(timeout=PATIENCE)
                    case _:
                        got.append(await anext(pull))
            assert got == [b"1", b"2", b"3"]
            await calm(face, pull)


@on_every_face
async def test_what_was_there_before_it_was_asked_for_is_told(face: Face, spot: str) -> None:
    """Messages in the inbox, read by an earlier call, count as much as those in the kernel."""
    async with face.pull() as pull, face.push() as push:
        push.connect(pull.bind(spot).url)
        await push.send_many([b"1", b"2", b"3"])
        assert await pull.recv(timeout=PATIENCE) == b"1"

        fd = pull.fileno()

        assert readable(fd, PATIENCE)
        assert [await take(face, pull), await take(face, pull)] == [b"2", b"3"]
        await calm(face, pull)


@on_every_face
async def test_waiting_still_works_when_it_was_asked_for(face: Face, spot: str) -> None:
    """A blocked `recv` and a selector may be used side by side."""
    async with face.crowd() as crowd, face.pull() as pull, face.push() as push:
        push.connect(pull.bind(spot).url)
        pull.fileno()
        for n in range(50):
            job = crowd.start(pull.recv)
            await until(face, lambda: face.receiving(pull) == 1)
            await push.send(b"%d" % n)
            await until(face, lambda: job.done)  # noqa: B023  # awaited in the same turn of the loop
            assert job.value == [b"%d" % n]
        await calm(face, pull)
        with pytest.raises(TimedOut):
            await pull.recv(timeout=0)


@on_every_face
async def test_a_sender_has_one_too_and_it_is_never_readable(face: Face, spot: str) -> None:
    """Whether its peer comes, takes, is full or leaves: there is nothing to receive."""
    async with face.push(linger=0) as push:
        fd = push.fileno()
        pull = face.pull(recv_hwm=1)
        push.connect(pull.bind(spot).url)
        await push.wait_for_peers(1, PATIENCE)
        await push.send_many([b"x"] * 100)
        assert not readable(fd, CALM)
        await pull.close()
        await until(face, lambda: not push.peers)

        assert not readable(fd, CALM)


@on_every_face
async def test_a_peer_that_leaves_does_not_leave_it_readable(face: Face, spot: str) -> None:
    """The end of a connection is no message: after a moment the descriptor is quiet, whoever looks or not."""
    async with face.pull() as pull:
        fd = pull.fileno()
        url = pull.bind(spot).url
        for _ in range(3):
            push = face.push(connect=url)
            await push.send(b"last words")
            await push.close(PATIENCE)
            assert readable(fd, PATIENCE)
            assert await take(face, pull) == b"last words"
            await until(face, lambda: not pull.peers)
            await calm(face, pull)


@on_every_face
async def test_a_closed_socket_has_none(face: Face) -> None:
    """The number may belong to somebody else by then."""
    pull = face.pull()
    pull.fileno()
    await pull.close()

    with pytest.raises(Closed):
        pull.fileno()


@on_every_face
async def test_closing_wakes_a_selector(face: Face, spot: str) -> None:
    """Who waits for the descriptor elsewhere looks again, and learns of the end from `recv_nowait`."""
    pull = face.pull(bind=spot)
    fd = pull.fileno()
    poller = select.epoll()
    poller.register(fd, select.EPOLLIN)
    await pull.close()

    assert poller.poll(PATIENCE)
    with pytest.raises(Closed):
        pull.recv_nowait()


def test_one_thread_serves_many_sockets_with_selectors(stream_spot: str) -> None:
    """The plain event loop of the standard library: twenty pairs, each echoed by one loop."""
    echoed: list[bytes] = []
    with selectors.DefaultSelector() as ready:
        hosts = [Pair(bind=stream_spot.replace(".sock", f"{n}.sock")) for n in range(20)]
        callers = [Pair(connect=host._ends.listeners[0].url) for host in hosts]
        for host in hosts:
            ready.register(host, selectors.EVENT_READ)

        def ask_all() -> None:
            for n, caller in enumerate(callers):
                caller.send(b"%d" % n)

        sender = threading.Thread(target=ask_all)
        sender.start()
        while len(echoed) < 20:
            events = ready.select(PATIENCE)
            assert events
            for key, _ in events:
                asked = key.fileobj
                assert isinstance(asked, Pair)
                try:
                    while True:
                        echoed.append(asked.recv_nowait())
                        asked.send(echoed[-1])
                except WouldBlock:
                    pass
        sender.join()

        assert [caller.recv(timeout=PATIENCE) for caller in callers] == [b"%d" % n for n in range(20)]
        for host in hosts:
            ready.unregister(host)
    for socket in (*hosts, *callers):
        socket.close()


def test_two_threads_at_one_descriptor_miss_nothing(spot: str) -> None:
    """Each waits in `select` and takes without blocking; together they get every message once."""
    got: list[bytes] = []
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if len(got) >= 2000:
                    return
            if not readable(fd, 0.02):
                continue
            try:
                body = pull.recv_nowait()
            except WouldBlock:
                continue
            with lock:
                got.append(body)

    with Pull(recv_hwm=50) as pull, Push() as push:
        push.connect(pull.bind(spot).url)
        fd = pull.fileno()
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for n in range(2000):
            push.send(b"%d" % n, timeout=PATIENCE)
        for thread in threads:
            thread.join(PATIENCE)

    assert sorted(map(int, got)) == list(range(2000))
