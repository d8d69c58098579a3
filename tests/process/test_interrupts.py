"""Ctrl-C ends whatever waits, at once, and loses, doubles and reorders nothing."""

from __future__ import annotations

import random
import signal
import threading
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from nnqpy import Pull, Push, TimedOut
from tests.process.kit import PATIENCE, child
from tests.process.programs.blocked import SCENES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)

PROMPTLY = 1.0
"""Seconds from the signal to the KeyboardInterrupt; the promise is 0.1, the machine may be busy."""
INTERRUPTS = 300


@pytest.mark.parametrize("scene", SCENES)
def test_a_blocked_call_ends_by_ctrl_c(scene: str) -> None:
    """It raises KeyboardInterrupt without any other event, and the socket goes on as if nobody had called."""
    with child("blocked", scene) as program:
        assert program.hear() == "blocked"
        sent = monotonic()
        program.signal(signal.SIGINT)

        assert float(program.hear()) - sent < PROMPTLY
        assert program.hear() == "after"
        assert program.end() == (0, "")


def spot(scheme: str, folder: Path) -> str:
    return "tcp://127.0.0.1:0" if scheme == "tcp" else f"ipc://{folder}/storm.sock"


def storms(verbs: list[str]) -> pytest.MarkDecorator:
    """Each verb with small messages over tcp and with large ones over ipc."""
    return pytest.mark.parametrize(
        ("scheme", "verb", "size"),
        [(scheme, verb, size) for scheme, size in [("tcp", 10), ("ipc", 200_000)] for verb in verbs],
    )


@storms(["recv", "recv_many", "iteration", "timed", "nowait"])
def test_a_receiver_interrupted_all_the_time_gets_everything_once(
    scheme: str, verb: str, size: int, tmp_path: Path
) -> None:
    """Hundreds of interrupts, before, within and after the arrival of messages: 0..N-1 in order, nothing twice."""
    rng = random.Random(f"{scheme} {verb} {size}")
    interrupts, burst, hwm = (INTERRUPTS, 300, 1000) if size == 10 else (INTERRUPTS // 5, 6, 10)
    with child("storm_receiver", verb, spot(scheme, tmp_path)) as program, Push(send_hwm=hwm) as push:
        push.connect(program.hear(), wait=True, timeout=PATIENCE)
        sent = again = 0
        for _ in range(interrupts):
            for _ in range(rng.choice([0, 1, 1, 5, burst])):
                push.send(b"%d " % sent + bytes(size), timeout=PATIENCE)
                sent += 1
            if rng.random() < 0.5:
                push.flush(PATIENCE)
            threading.Event().wait(rng.choice([0, 0, rng.random() / 1000]))
            again += program.interrupt() - 1
        push.send(b"end", timeout=PATIENCE)

        assert again <= interrupts // 50
        assert program.hear() == f"{sent} in order"
        assert int(program.hear()) > interrupts // 10, "the interrupts came at no interesting moment"
        assert program.end() == (0, "")


@storms(["send", "send_many", "nowait", "flush"])
def test_a_sender_interrupted_all_the_time_sends_nothing_twice(
    scheme: str, verb: str, size: int, tmp_path: Path
) -> None:
    """What `send` returned for arrives once and in order; what it raised for arrives once or not at all."""
    rng = random.Random(f"{scheme} {verb} {size}")
    interrupts = INTERRUPTS if size == 10 else INTERRUPTS // 5
    got: list[int] = []
    with Pull(recv_hwm=10) as pull:
        url = pull.bind(spot(scheme, tmp_path)).url
        with child("storm_sender", verb, url, str(size)) as program:
            assert program.hear() == "attached"
            peers = pull.wait_for_peers(1, PATIENCE)
            again = 0
            for _ in range(interrupts):
                for _ in range(rng.choice([0, 1, 20, 100])):
                    try:
                        got.append(int(pull.recv(timeout=rng.random() / 1000).split(maxsplit=1)[0]))
                    except TimedOut:
                        break
                again += program.interrupt() - 1
            assert again <= interrupts // 50
            program.signal(signal.SIGTERM)
            while (body := pull.recv(timeout=PATIENCE)) != b"end":
                got.append(int(body.split(maxsplit=1)[0]))

            assert [peer.id for peer in pull.peers] in ([peers[0].id], [])
            tried, *unsure = map(int, program.hear().split())
            assert program.hear() == "books in order"
            assert program.end() == (0, "")

    assert got == sorted(set(got))
    assert set(range(tried)) - set(unsure) <= set(got) <= set(range(tried))
    assert len(unsure) > interrupts // 20, "the interrupts came at no interesting moment"
