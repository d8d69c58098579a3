"""Loops that come and go: what a task has sent arrives, and nothing of a dead loop stays."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import nnqpy
import nnqpy.asyncio as nnqa
import nnqpy.turns
from nnqpy.turns import BATCH, QUIET
from tests.kit.janitors import employ
from tests.kit.peers import FakePeer, marry

if TYPE_CHECKING:
    import pytest


def test_what_a_stopped_loop_did_not_flush_arrives() -> None:
    """A loop is stopped and closed before it came to the end of its turn: the janitor writes what waits."""
    with nnqpy.Pull() as pull:
        url = pull.bind("tcp://127.0.0.1:0").url
        push = nnqa.Push()
        loop = asyncio.new_event_loop()

        async def send() -> None:
            await push.connect(url, wait=True, timeout=20)
            for n in range(3):
                await push.send(b"%d" % n)
            loop.stop()

        task = loop.create_task(send())
        loop.run_forever()
        assert task.done()
        loop.close()

        assert [pull.recv(timeout=20) for _ in range(3)] == [b"0", b"1", b"2"]

        async def send_more() -> None:
            await push.send(b"3")
            await push.close()

        asyncio.run(send_more())
        assert pull.recv(timeout=20) == b"3"


def test_a_socket_forgets_the_loops_that_are_over() -> None:
    """One socket, twenty loops: only the last one's watch is kept."""
    with nnqpy.Push() as push:
        url = push.bind("tcp://127.0.0.1:0").url
        pull = nnqa.Pull(connect=url)
        for n in range(20):
            push.send(b"%d" % n, timeout=20)
            assert asyncio.run(pull.recv(timeout=20)) == b"%d" % n
        assert len(pull._watches) <= 1
        assert pull._turns.into.watched <= 1
        asyncio.run(pull.close())


def test_a_task_that_sends_large_bodies_lets_others_run() -> None:
    """Another task of the loop gets its turns while large messages are sent to a peer that takes them all."""

    async def main() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with nnqa.Pull() as pull, nnqa.Push() as push:
            await push.connect(pull.bind("inproc://large").url, wait=True, timeout=20)
            task = asyncio.create_task(other())
            for _ in range(320):
                await push.send(bytes(5000), timeout=20)
            task.cancel()
        return turns

    assert asyncio.run(main()) >= 10


def test_the_time_that_other_tasks_take_is_no_pause_of_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender in full flow lets them run after a batch, and what it sends next is no lone message to be written at once."""
    now = 1000.0
    monkeypatch.setattr(nnqpy.turns, "monotonic", lambda: now)

    async def other() -> None:
        nonlocal now
        while True:
            now += 2 * QUIET
            await asyncio.sleep(0)

    async def main() -> list[int]:
        async with nnqa.Push(linger=0) as push:
            peer = FakePeer()
            employ(push._turns)
            marry(push._turns, peer)
            task = asyncio.create_task(other())
            for _ in range(4 * BATCH):
                await push.send(b"x")
            task.cancel()
            return peer.pushes

    assert len(asyncio.run(main())) < 20
