"""The books are right at every instant: accepted is delivered, queued or dropped, and what was read is here or taken."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import pytest

from nnqpy import Closed, Pair, Pull, Push, TimedOut, WouldBlock
from tests.contract.kit import PATIENCE, base_of, noise, on_every_face, outcome, stalled, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnqpy import Stats
    from tests.contract.kit import Face

pytestmark = pytest.mark.timeout(60)

SAMPLES = 3000


class Auditor:
    """A thread that looks at a sender's and a receiver's counters all the time, and compares them with what it knows.

    A scenario counts each message before its call (`started`) and after it (`done`); the receiver's likewise. So
    at any instant the truth is between two numbers, and counters that are merely sums of each other do not pass.
    """

    def __init__(self, sent_by: Callable[[], Stats], taken_by: Callable[[], Stats]) -> None:
        self.sent_by = sent_by
        self.taken_by = taken_by
        self.started = self.done = 0
        self.asked = self.got = 0
        self.samples = 0
        self.faults: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)

    def _look(self) -> None:
        delivered = accepted = received = 0
        while not self._over.is_set() and not self.faults:
            self.samples += 1
            done, got = self.done, self.got
            sent, taken = self.sent_by(), self.taken_by()
            started, asked = self.started, self.asked
            self._claim(done <= sent.accepted <= started, f"accepted {sent.accepted} not in {done}..{started}")
            self._claim(sent.accepted == sent.delivered + sent.queued + sum(sent.dropped.values()), f"sum {sent}")
            self._claim(delivered <= sent.delivered, f"delivered went back from {delivered} to {sent.delivered}")
            self._claim(got <= taken.received - taken.inbox <= asked, f"{taken} not in {got}..{asked}")
            self._claim(received <= taken.received, f"received went back from {received}")
            self._claim(taken.received <= self.sent_by().accepted, "more was received than sent")
            delivered, accepted, received = sent.delivered, sent.accepted, taken.received
        self._claim(accepted > 0, "nothing was seen")

    def _claim(self, true: object, fault: str) -> None:
        if not true:
            self.faults.append(fault)


@pytest.mark.parametrize("size", [5, 6000])
@on_every_face
async def test_the_books_balance_while_messages_flow(face: Face, spot: str, size: int) -> None:
    """Looked at from another thread, thousands of times, under load and at the mark."""
    async with face.crowd() as crowd, face.pull(recv_hwm=20) as pull, face.push(send_hwm=20) as push:
        push.connect(pull.bind(spot).url)
        with Auditor(base_of(push).stats, base_of(pull).stats) as auditor:
            over = False

            async def feed() -> None:
                while not over:
                    auditor.started += 1
                    await push.send(b"x" * size)
                    auditor.done += 1

            feeding = crowd.start(feed)
            while auditor.samples < SAMPLES and not auditor.faults:
                auditor.asked += 1
                await pull.recv(timeout=PATIENCE)
                auditor.got += 1
            over = True
            while not feeding.done or auditor.got < auditor.done:
                auditor.asked = auditor.got + 1
                try:
                    pull.recv_nowait()
                except WouldBlock:
                    await face.pause()
                else:
                    auditor.got += 1
            await outcome(face, feeding)
        await push.flush(PATIENCE)
        sent, taken = push.stats(), pull.stats()

    assert auditor.faults == []
    assert (sent.accepted, sent.delivered, sent.queued, dict(sent.dropped)) == (auditor.done, auditor.done, 0, {})
    assert (taken.received, taken.inbox) == (auditor.done, 0)
    assert sent.bytes_delivered == taken.bytes_received == auditor.done * size


@on_every_face
async def test_what_was_refused_is_not_counted(face: Face) -> None:
    """A message over the mark, of whatever size and by whatever call, was never accepted."""
    async with face.push(send_hwm=3, linger=0) as push:
        await push.send_many([b"x"] * 3)
        for _ in range(50):
            with pytest.raises(WouldBlock):
                push.send_nowait(b"y")
            with pytest.raises(TimedOut):
                await push.send(b"y" * 50_000, timeout=0)
            with pytest.raises(TypeError):
                await push.send("text")  # type: ignore[arg-type]
            stats = push.stats()
            assert (stats.accepted, stats.queued, stats.delivered) == (3, 3, 0)


@on_every_face
async def test_the_counters_of_peers_add_up_to_the_sockets(face: Face, spot: str) -> None:
    """Sent and received, messages and bytes, on both ends, also of the peers that are gone."""
    async with face.push() as push:
        url = push.bind(spot).url
        pulls = [face.pull(connect=url) for _ in range(3)]
        await push.wait_for_peers(3, PATIENCE)
        for n in range(300):
            await push.send(b"x" * n)
        await push.flush(PATIENCE)
        sent = {peer.id: (peer.sent, peer.bytes_sent) for peer in push.peers}
        taken = [list[int]() for _ in pulls]

        def all_taken() -> bool:
            for pull, got in zip(pulls, taken, strict=True):
                with suppress(WouldBlock):
                    while True:
                        got.append(len(pull.recv_nowait()))
            return sum(map(len, taken)) >= 300

        await until(face, all_taken)
        received: list[tuple[int, int]] = []
        for pull, got in zip(pulls, taken, strict=True):
            (peer,) = pull.peers
            assert (peer.received, peer.bytes_received) == (len(got), sum(got))
            received.append((peer.received, peer.bytes_received))
        stats = push.stats()
        for pull in pulls:
            await pull.close()

    assert sorted(sent.values()) == sorted(received)
    assert stats.delivered == sum(number for number, _ in received) == 300
    assert stats.bytes_delivered == sum(size for _, size in received) == sum(range(300))


@pytest.mark.parametrize("cut", ["close", "linger"])
@on_every_face
async def test_what_close_abandons_is_dropped_with_its_reason(face: Face, cut: str) -> None:
    """The books stay open for reading after the end, and nothing is missing in them."""
    push = face.push(connect="inproc://contract-nobody-listens")
    await push.send_many([b"x"] * 5)
    await push.send(b"y" * 100_000)
    report = await push.close(0 if cut == "close" else 0.05)
    stats = push.stats()

    assert report.abandoned == 6
    assert (stats.accepted, stats.delivered, stats.queued, dict(stats.dropped)) == (6, 0, 0, {"closed": 6})


@on_every_face
async def test_a_message_that_was_cut_in_two_is_counted(face: Face, stream_spot: str) -> None:
    """A frame that a peer took in part, and nobody else can take, is dropped with the reason; the rest is abandoned."""
    async with face.crowd():
        pull, push = face.pull(recv_hwm=1), face.push(send_hwm=3)
        listener = pull.bind(stream_spot)
        dialer = await push.connect(listener.url, wait=True, timeout=PATIENCE)
        sent = await stalled(push, noise(1_000_000))
        dialer.close()
        backlog = [peer.backlog for peer in push.peers]
        await pull.close()
        await until(face, lambda: not push.peers)
        report = await push.close(0)
        stats = push.stats()

    assert backlog == [1]
    assert stats.accepted == sent == stats.delivered + sum(stats.dropped.values())
    assert stats.dropped["closed"] + stats.dropped.get("peer_lost_mid_frame", 0) == report.abandoned == 4


def test_a_snapshot_is_a_value() -> None:
    """It cannot be changed, and does not change when the socket does."""
    with Push(linger=0) as push:
        before = push.stats()
        push.send(b"x")

        assert (before.accepted, push.stats().accepted) == (0, 1)
        with pytest.raises(AttributeError):
            before.accepted = 5  # type: ignore[misc]


@pytest.mark.parametrize("kind", [Push, Pull, Pair])
def test_a_new_and_a_closed_socket_have_books_too(kind: type[Push | Pull | Pair]) -> None:
    """Counters can be asked for at any time of a socket's life; peers too."""
    socket = kind()
    new = socket.stats()
    socket.close()

    assert socket.stats() == new
    assert (new.accepted, new.received, new.peers, socket.peers) == (0, 0, 0, ())
    with pytest.raises(Closed):
        socket.wait_for_peers()
