"""Many calls wait on one socket: each gets what is for it, and those who wait let the processor rest."""

from __future__ import annotations

from time import process_time
from typing import TYPE_CHECKING

import pytest

from tests.contract.kit import PATIENCE, noise, on_every_face, outcome, stalled, until

if TYPE_CHECKING:
    from tests.contract.kit import Face

pytestmark = pytest.mark.timeout(60)


async def burnt(face: Face) -> float:
    """Return the seconds of processor time that this process takes in a pause of 0.1 s.

    It is one long pause: an event loop in its debug mode takes 0.4 ms for each, whoever waits.
    """
    before = process_time()
    await face.pause(0.1)
    return process_time() - before


@pytest.mark.parametrize("number", [2, 3, 5])
@on_every_face
async def test_receivers_that_wait_burn_nothing(face: Face, spot: str, number: int) -> None:
    """After some messages were shared out, those who wait for more sleep (three threads used to wake each other)."""
    got: list[bytes] = []

    async def work() -> None:
        async for body in pull:
            got.append(body)  # noqa: PERF401  # one at a time, as they come

    async with face.crowd() as crowd, face.pull() as pull, face.push() as push:
        push.connect(pull.bind(spot).url)
        for _ in range(number):
            crowd.start(work)
        for burst in (1, 3, 50):
            await push.send_many([b"x"] * burst)
            await push.flush(PATIENCE)
            await until(face, lambda: face.receiving(pull) == number and pull.stats().inbox == 0)

            assert await burnt(face) < 0.03
        assert len(got) == 54


@pytest.mark.parametrize("number", [2, 5])
@on_every_face
async def test_senders_that_wait_burn_nothing(face: Face, number: int) -> None:
    """Several who wait for room, and one who waits for the queue to empty, sleep until there is news."""
    async with face.crowd() as crowd, face.push(connect="inproc://contract-no-such", send_hwm=5, linger=0) as push:
        await push.send_many([b"x"] * 5)
        for _ in range(number):
            crowd.start(push.send_many, [b"y"])
        crowd.start(push.flush)
        await until(face, lambda: face.sending(push) == number + 1)

        assert await burnt(face) < 0.03


@on_every_face
async def test_who_waits_for_much_does_not_hold_up_who_waits_for_little(face: Face, spot: str) -> None:
    """One waits until all is written, another for one place in the queue, and the receiver takes only some."""
    async with face.crowd() as crowd, face.pull(recv_hwm=1) as pull, face.push(send_hwm=1000) as push:
        push.connect(pull.bind(spot).url)
        await push.wait_for_peers(1, PATIENCE)
        sent = await stalled(push, noise(20_000))
        flushing = crowd.start(push.flush)
        await until(face, lambda: face.sending(push) == 1)
        sending = crowd.start(push.send, noise(20_000))
        await until(face, lambda: face.sending(push) == 2)

        for _ in range(sent - 500):
            await pull.recv(timeout=PATIENCE)
        await outcome(face, sending)

        assert not flushing.done
        for _ in range(501):
            await pull.recv(timeout=PATIENCE)
        await outcome(face, flushing)


@on_every_face
async def test_many_receivers_get_each_message_once(face: Face, spot: str) -> None:
    """Eight receivers on one socket share 4000 messages: none is lost, none comes twice, nobody is left asleep."""
    got: list[bytes] = []

    async def one_by_one() -> None:
        async for body in pull:
            got.append(body)  # noqa: PERF401

    async def many() -> None:
        while True:
            got.extend(await pull.recv_many(7))

    async with face.crowd() as crowd, face.pull(recv_hwm=64) as pull, face.push() as push:
        push.connect(pull.bind(spot).url)
        for _ in range(4):
            crowd.start(one_by_one)
            crowd.start(many)
        for n in range(4000):
            await push.send(n.to_bytes(4, "big"))
        await until(face, lambda: len(got) >= 4000)

        assert sorted(got) == [n.to_bytes(4, "big") for n in range(4000)]


@on_every_face
async def test_many_senders_wait_in_line_and_all_get_through(face: Face, spot: str) -> None:
    """Eight senders push 2000 messages of mixed sizes through a queue of three, and each keeps its own order."""

    async def feed(who: int) -> None:
        for n in range(250):
            await push.send(bytes([who]) + n.to_bytes(4, "big") + b"x" * (9000 if n % 7 == who % 7 else 0))

    async with face.crowd() as crowd, face.pull(recv_hwm=5) as pull, face.push(send_hwm=3) as push:
        push.connect(pull.bind(spot).url)
        jobs = [crowd.start(feed, who) for who in range(8)]
        got = [await pull.recv(timeout=PATIENCE) for _ in range(2000)]
        for job in jobs:
            await outcome(face, job)

        for who in range(8):
            assert [body[1:5] for body in got if body[0] == who] == [n.to_bytes(4, "big") for n in range(250)]
