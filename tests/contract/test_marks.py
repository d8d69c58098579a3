"""The marks: what waits is bounded on both sides, the sender feels it, and nothing is dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nnqpy import TimedOut, WouldBlock
from tests.contract.kit import BRIEFLY, PATIENCE, STANDSTILL, noise, on_every_face, outcome, stalled, until

if TYPE_CHECKING:
    from tests.contract.kit import Face, Sender

pytestmark = pytest.mark.timeout(60)


async def fill(push: Sender, body: bytes) -> int:
    """Send until the queue is at its mark; return how many went."""
    sent = 0
    while True:
        try:
            push.send_nowait(body)
        except WouldBlock:
            return sent
        sent += 1


@on_every_face
async def test_the_1001st_message_waits_and_a_peer_frees_it(face: Face, spot: str) -> None:
    """With nobody there a socket holds 1000 messages; the next send waits until somebody comes, and nothing is lost."""
    async with face.crowd() as crowd, face.pull() as pull, face.push() as push:
        for n in range(1000):
            await push.send(b"%d" % n, timeout=0)
        with pytest.raises(TimedOut) as late:
            await push.send(b"refused", timeout=BRIEFLY)
        with pytest.raises(WouldBlock) as full:
            push.send_nowait(b"refused")
        waiting = crowd.start(push.send, b"1000")
        await until(face, lambda: face.sending(push) == 1)
        assert (late.value.reason, full.value.reason) == ("no_peer", "no_peer")
        assert push.stats().accepted == 1000
        assert not waiting.done

        push.connect(pull.bind(spot).url)

        assert [await pull.recv(timeout=PATIENCE) for _ in range(1001)] == [b"%d" % n for n in range(1001)]
        await outcome(face, waiting)
        with pytest.raises(TimedOut):
            await pull.recv(timeout=0)


@on_every_face
async def test_each_way_to_send_stops_at_the_mark(face: Face) -> None:
    """send_many tells how many were taken; what was refused is nowhere."""
    async with face.push(send_hwm=10, linger=0) as push:
        with pytest.raises(TimedOut) as late:
            await push.send_many([b"x"] * 25, timeout=0)
        assert late.value.sent == 10
        with pytest.raises(TimedOut):
            await push.send(b"y", timeout=0)
        with pytest.raises(TimedOut):
            await push.send(b"y" * 100_000, timeout=0)
        with pytest.raises(WouldBlock):
            push.send_nowait(b"y")

        assert push.stats().queued == push.stats().accepted == 10


@pytest.mark.parametrize("count", [1, 300])
@on_every_face
async def test_a_send_many_that_waits_is_freed_in_order(face: Face, spot: str, count: int) -> None:
    """The rest of a send_many goes as room comes, in the order given."""
    async with face.crowd() as crowd, face.pull() as pull, face.push(send_hwm=count) as push:
        job = crowd.start(push.send_many, [b"%d" % n for n in range(5000)])
        await until(face, lambda: face.sending(push) == 1)
        assert push.stats().accepted == count

        push.connect(pull.bind(spot).url)

        assert [await pull.recv(timeout=PATIENCE) for _ in range(5000)] == [b"%d" % n for n in range(5000)]
        assert await outcome(face, job) == 5000


@pytest.mark.parametrize(("size", "fit"), [(1, 100_000), (1000, 100), (10_000, 10), (33_000, 3), (500_000, 1)])
@on_every_face
async def test_the_byte_mark_counts_bodies(face: Face, size: int, fit: int) -> None:
    """At most `send_hwm_bytes` wait; one message of any size always may."""
    async with face.push(send_hwm=1_000_000, send_hwm_bytes=100_000, linger=0) as push:
        sent = await fill(push, b"x" * size)

        assert sent == fit
        with pytest.raises(TimedOut) as late:
            await push.send(b"x" * size, timeout=0)
        assert late.value.reason == "no_peer"
        with pytest.raises(TimedOut) as late:
            await push.send_many([b"x" * size] * 3, timeout=0)
        assert late.value.sent == 0


@on_every_face
async def test_no_byte_mark_means_only_messages_count(face: Face) -> None:
    """``send_hwm_bytes=None``: any bytes, up to `send_hwm` messages."""
    async with face.push(send_hwm=20, send_hwm_bytes=None, linger=0) as push:
        assert await fill(push, b"x" * (5 << 20)) == 20


@on_every_face
async def test_the_byte_mark_frees_as_bytes_leave(face: Face, spot: str) -> None:
    """Large messages pass one by one when only one fits."""
    bodies = [bytes([n]) * 200_000 for n in range(30)]
    async with face.crowd() as crowd, face.pull() as pull, face.push(send_hwm_bytes=250_000) as push:
        job = crowd.start(push.send_many, bodies)
        await until(face, lambda: face.sending(push) == 1)
        assert push.stats().accepted == 1

        push.connect(pull.bind(spot).url)

        assert [await pull.recv(timeout=PATIENCE) for _ in bodies] == bodies
        assert await outcome(face, job) == 30


@on_every_face
async def test_full_and_no_peer_are_told_apart(face: Face, spot: str) -> None:
    """The reason is in the error, for a program and for a person."""
    async with face.pull(recv_hwm=1) as pull, face.push(send_hwm=1, linger=0) as push:
        push.send_nowait(b"0")
        with pytest.raises(WouldBlock, match="no peer yet") as alone:
            push.send_nowait(b"1")
        push.connect(pull.bind(spot).url)
        await push.wait_for_peers(1, PATIENCE)
        await stalled(push, noise(100_000))
        with pytest.raises(WouldBlock, match="no peer takes more") as full:
            push.send_nowait(b"2")
        with pytest.raises(TimedOut, match="no peer takes more"):
            await push.send_many([b"2"], timeout=0)

    assert (alone.value.reason, full.value.reason) == ("no_peer", "queue_full")


@on_every_face
async def test_the_last_dial_error_is_told_with_no_peer(face: Face) -> None:
    """Who waits for a peer learns why there is none."""
    async with face.push(connect="ipc:///nowhere/at/all.sock", send_hwm=1, linger=0) as push:
        await push.send(b"0")
        events = push.events()
        await events.recv(timeout=PATIENCE)
        await events.recv(timeout=PATIENCE)

        with pytest.raises(TimedOut, match="No such file"):
            await push.send(b"1", timeout=BRIEFLY)


@pytest.mark.parametrize("size", [2000, 100_000])
@on_every_face
async def test_a_slow_receiver_is_felt_by_the_sender_and_nothing_is_dropped(face: Face, spot: str, size: int) -> None:
    """The receiver holds at most `recv_hwm`, the sender is held up, and then everything arrives, in order."""
    async with face.pull(recv_hwm=50) as pull, face.push(send_hwm=50) as push:
        push.connect(pull.bind(spot).url)
        await push.wait_for_peers(1, PATIENCE)
        body = noise(size - 8)
        sent = 0
        with pytest.raises(TimedOut) as full:
            while True:
                await push.send(sent.to_bytes(8, "big") + body, timeout=STANDSTILL)
                sent += 1
        assert full.value.reason == "queue_full"
        assert pull.stats().inbox <= 50
        assert push.stats().queued >= 50

        for n in range(sent):
            assert await pull.recv(timeout=PATIENCE) == n.to_bytes(8, "big") + body
            assert pull.stats().inbox <= 50

        with pytest.raises(TimedOut):
            await pull.recv(timeout=0)
        await push.flush(PATIENCE)
        stats = push.stats()
        assert (stats.delivered, stats.queued, dict(stats.dropped)) == (sent, 0, {})


@on_every_face
async def test_a_held_up_sender_goes_on_as_soon_as_there_is_room(face: Face, spot: str) -> None:
    """A send that waits for a full peer returns when the receiver takes messages."""
    async with face.crowd() as crowd, face.pull(recv_hwm=10) as pull, face.push(send_hwm=10) as push:
        push.connect(pull.bind(spot).url)
        await push.wait_for_peers(1, PATIENCE)
        sent = await stalled(push, noise(50_000))
        waiting = crowd.start(push.send, b"last")
        await until(face, lambda: face.sending(push) == 1)

        for _ in range(sent):
            assert await pull.recv(timeout=PATIENCE) == noise(50_000)
        assert await pull.recv(timeout=PATIENCE) == b"last"
        await outcome(face, waiting)


@pytest.mark.parametrize("senders", [2, 5])
@on_every_face
async def test_a_loud_sender_crowds_nobody_out(face: Face, spot: str, senders: int) -> None:
    """Among peers that all have messages waiting, each gets its turn, an inbox full at a time."""
    async with face.pull(recv_hwm=100) as pull:
        url = pull.bind(spot).url
        pushes = [face.push(connect=url, send_hwm=2000) for _ in range(senders)]
        try:
            await pull.wait_for_peers(senders, PATIENCE)
            for who, push in enumerate(pushes):
                await push.send_many([b"%d" % who] * (2000 if who == 0 else 100))
            for push in pushes[1:]:
                await push.flush(PATIENCE)

            taken = [await pull.recv(timeout=PATIENCE) for _ in range(200 * senders)]
        finally:
            for push in pushes:
                await push.close(0)

    # Among the first 200 for each of them an unfair queue would show the first sender alone: it has 2000 waiting.
    quiet = {who: taken.count(b"%d" % who) for who in range(1, senders)}
    assert quiet == dict.fromkeys(quiet, 100)


@on_every_face
async def test_small_loads_are_dealt_evenly(face: Face, spot: str) -> None:
    """Forty jobs for four idle workers are ten each when given at once; one by one nobody is ahead by more than a share."""
    async with face.push() as push:
        url = push.bind(spot).url
        pulls = [face.pull(connect=url, recv_hwm=1000) for _ in range(4)]
        try:
            await push.wait_for_peers(4, PATIENCE)
            await push.send_many([b"%d" % n for n in range(40)])
            await push.flush(PATIENCE)
            at_once = [peer.sent for peer in push.peers]
            for n in range(40):
                await push.send(b"%d" % n)
            await push.flush(PATIENCE)
            after = [peer.sent for peer in push.peers]
        finally:
            for pull in pulls:
                await pull.close()

    assert at_once == [10, 10, 10, 10]
    assert sum(after) == 80
    assert max(after) <= 20 + 20  # the law of `SendPump._deal`: as much ahead as what each had in this burst, at most
