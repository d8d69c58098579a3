"""Many tasks wait on one socket: whoever is woken and does not take passes it on, and nobody wakes for nothing."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

import nnqpy.asyncio as nnqa
from nnqpy import TimedOut, WouldBlock
from tests.contract.kit import PATIENCE, until
from tests.tasks.kit import LOOPS, Cut, on_both_loops

if TYPE_CHECKING:
    from tests.contract.kit import Face, Receiver, Sender

pytestmark = pytest.mark.timeout(60)

NEVER = 1 << 30
BIG = bytes(60_000)
"""A body of which the marks of these tests hold one."""


async def wakes(face: Face, *cuts: Cut) -> int:
    """Let the loop turn many times, and as many times again: how often were these woken meanwhile?"""
    suspended: list[int] = []
    for _ in range(2):
        for _ in range(20):
            await face.pause()
        suspended.append(sum(cut.suspended for cut in cuts))
    return suspended[1] - suspended[0]


@on_both_loops
async def test_receivers_that_wait_do_not_wake_each_other(face: Face, spot: str) -> None:
    """Four wait in `recv` and nothing comes: each is suspended and stays so, whatever else the loop does."""
    cuts = [Cut(face, NEVER) for _ in range(4)]

    async def one(pull: Receiver) -> None:
        await pull.recv()

    async with face.crowd() as crowd, face.pull() as pull, face.push() as push:
        push.connect(pull.bind(spot).url)
        await push.wait_for_peers()
        await until(face, lambda: pull.peers)
        for cut in cuts:
            crowd.start(cut, one(pull))
        await until(face, lambda: face.receiving(pull) == 4)

        assert await wakes(face, *cuts) == 0
        await push.send_many([b"1", b"2", b"3", b"4"])


@on_both_loops
async def test_senders_that_wait_do_not_wake_each_other(face: Face, spot: str) -> None:
    """Four wait for room and there is none: they keep still (they used to turn the loop without end)."""
    cuts = [Cut(face, NEVER) for _ in range(4)]

    async def one(push: Sender) -> None:
        await push.send(BIG)

    async with face.crowd() as crowd, face.pull() as pull, face.push(send_hwm_bytes=100_000) as push:
        await push.send(BIG)
        for cut in cuts:
            crowd.start(cut, one(push))
        await until(face, lambda: face.sending(push) == 4)

        assert await wakes(face, *cuts) == 0
        push.connect(pull.bind(spot).url)
        assert [await pull.recv(timeout=PATIENCE) for _ in range(5)] == [BIG] * 5


@on_both_loops
async def test_a_sender_that_waits_for_a_peer_is_left_alone(face: Face, spot: str) -> None:
    """While no peer comes, nothing wakes a sender at the mark."""
    cut = Cut(face, NEVER)

    async def one(push: Sender) -> None:
        await push.send(BIG)

    async with face.crowd() as crowd, face.pull() as pull, face.push(send_hwm_bytes=100_000) as push:
        url = pull.bind(spot).url
        await push.send(BIG)
        crowd.start(cut, one(push))
        woken = await wakes(face, cut)
        push.connect(url)
        assert [await pull.recv(timeout=PATIENCE) for _ in range(2)] == [BIG] * 2

    assert woken == 0


@pytest.mark.parametrize("hwm", [1, 2, 100])
@on_both_loops
async def test_a_mark_below_a_batch_is_kept(face: Face, hwm: int) -> None:
    """A queue of `send_hwm` messages takes so many, and no more."""
    async with face.push(send_hwm=hwm, linger=0) as push:
        accepted = 0
        while accepted < 300:
            try:
                await push.send(b"x", timeout=0)
            except TimedOut:
                break
            accepted += 1

    assert accepted == hwm


@pytest.mark.parametrize("victim", range(4))
@on_both_loops
async def test_a_cancelled_receiver_passes_its_turn_on(face: Face, spot: str, victim: int) -> None:
    """Four wait, three messages come, one of the four is cancelled (asyncio: as it is woken): the others get them."""
    got: list[bytes] = []
    cut = Cut(face, 0, late=face is LOOPS["asyncio"])

    async def one(pull: Receiver) -> None:
        got.append(await pull.recv())

    async with face.crowd() as crowd, face.pull() as pull, face.push() as push:
        push.connect(pull.bind(spot).url)
        await push.wait_for_peers()
        await until(face, lambda: pull.peers)
        for place in range(4):
            crowd.start(cut if place == victim else one, one(pull) if place == victim else pull)
        await until(face, lambda: face.receiving(pull) == 3 + (not cut.cancelled))
        for body in (b"0", b"1", b"2"):
            await push.send(body)
        await until(face, lambda: len(got) == 3)
        await push.send(b"3")  # for the victim, should no message have come by while it was first in line
        await until(face, lambda: cut.cancelled or len(got) == 4)
        if cut.cancelled:
            assert await pull.recv() == b"3"
            got.append(b"3")

    assert sorted(got) == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize("victim", range(4))
@on_both_loops
async def test_a_cancelled_sender_passes_its_turn_on(face: Face, spot: str, victim: int) -> None:
    """Four wait for room, one is cancelled (asyncio: as it is woken): the other three, and no others, have sent."""
    cut = Cut(face, 0, late=face is LOOPS["asyncio"])

    async def one(push: Sender, number: int) -> None:
        await push.send(b"%d" % number + BIG)

    async with face.crowd() as crowd, face.pull() as pull, face.push(send_hwm_bytes=100_000) as push:
        await push.send(b"first" + BIG)
        jobs = [crowd.start(one, push, number) for number in range(4) if number != victim]
        cutting = crowd.start(cut, one(push, victim))
        await until(face, lambda: face.sending(push) == 3 + (not cut.cancelled))
        push.connect(pull.bind(spot).url)
        got = [await pull.recv(timeout=PATIENCE) for _ in range(4)]
        await until(face, lambda: cutting.done and all(job.done for job in jobs))

        assert cut.cancelled
        assert got[0] == b"first" + BIG
        assert sorted(body[:1] for body in got[1:]) == sorted(b"%d" % n for n in range(4) if n != victim)
        with pytest.raises(WouldBlock):
            pull.recv_nowait()


@pytest.mark.parametrize("seed", range(3))
def test_thousands_of_random_cancels_lose_and_double_nothing(seed: int, spot: str) -> None:
    """`wait_for`, `timeout` and a failing `TaskGroup` end calls at any moment; the books of both sides agree."""
    chance = random.Random(seed)
    sent: list[bytes] = []
    got: list[bytes] = []
    cancels = 0

    async def send(push: nnqa.Push, body: bytes) -> None:
        await push.send(body)
        sent.append(body)

    async def receive(pull: nnqa.Pull) -> None:
        got.append(await pull.recv())

    async def receive_many(pull: nnqa.Pull) -> None:
        got.extend(await pull.recv_many(3))

    async def fail(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        raise ArithmeticError

    async def ended(call: asyncio.Task[None], way: int) -> bool:
        if way == 0:
            await asyncio.wait_for(call, chance.random() * 2e-4)
        elif way == 1:
            async with asyncio.timeout(chance.random() * 2e-4):
                await call
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(wait(call))
                group.create_task(fail(chance.randrange(4)))
        return False

    async def wait(call: asyncio.Task[None]) -> None:
        await call

    async def senders(push: nnqa.Push, who: int) -> None:
        nonlocal cancels
        for number in range(1500):
            body = (b"%d %d " % (who, number)).ljust(chance.choice([10, 60_000]), b".")
            call = asyncio.create_task(send(push, body))
            try:
                await ended(call, chance.randrange(3))
            except (TimeoutError, ExceptionGroup):
                cancels += call.cancelled()

    async def receivers(pull: nnqa.Pull, over: asyncio.Event) -> None:
        nonlocal cancels
        while not over.is_set():
            call = asyncio.create_task(chance.choice([receive, receive_many])(pull))
            try:
                await ended(call, chance.randrange(3))
            except (TimeoutError, ExceptionGroup):
                cancels += call.cancelled()

    async def scenario() -> None:
        async with nnqa.Pull(recv_hwm=4) as pull, nnqa.Push(send_hwm_bytes=100_000) as push:
            push.connect(pull.bind(spot).url)
            await push.wait_for_peers()
            over = asyncio.Event()
            takers = [asyncio.create_task(receivers(pull, over)) for _ in range(3)]
            await asyncio.gather(*(senders(push, who) for who in range(3)))
            over.set()
            await asyncio.gather(*takers)
            while len(got) < len(sent):
                got.append(await pull.recv(timeout=PATIENCE))
            with pytest.raises(WouldBlock):
                pull.recv_nowait()

    asyncio.run(scenario())

    assert sorted(got) == sorted(sent)
    assert cancels > 300  # of the some thousands of all seeds and transports
