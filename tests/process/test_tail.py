"""The last messages of a burst leave although their sender goes on computing."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from nnqpy import Pair, Push, accel, reactor
from nnqpy.wire.stream import TCP, greeting
from tests.process.kit import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.timeout(60)

in_the_main_thread = pytest.mark.skipif(
    not accel.compiled or not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="the half in Python, and an interpreter without a lock, have the janitor do it",
)


@contextmanager
def far_end(sock: Push | Pair, protocol: int) -> Generator[socket.socket]:
    """Be a peer, by hand: what comes is looked at without any wait."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock.connect(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        server.settimeout(PATIENCE)
        far, _ = server.accept()
        with far:
            far.settimeout(PATIENCE)
            far.sendall(greeting(protocol))
            sock.wait_for_peers(1, PATIENCE)
            assert len(far.recv(8, socket.MSG_WAITALL)) == 8
            far.setblocking(False)
            yield far


@contextmanager
def held_up() -> Generator[None]:
    """Have the janitor do nothing."""
    there, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        there.set()
        go_on.wait(PATIENCE)

    reactor.janitor().call(wait)
    assert there.wait(PATIENCE)
    try:
        yield
    finally:
        go_on.set()


def computed_until_all_is_there(far: socket.socket, stream: bytes) -> bytes:
    """Go on in Python, and return what has come meanwhile."""
    got, deadline = b"", monotonic() + PATIENCE
    while len(got) < len(stream) and monotonic() < deadline:
        try:
            got += far.recv(1 << 20)
        except BlockingIOError:
            pass
    return got


@in_the_main_thread
@pytest.mark.parametrize("number", [2, 5, 100, 1000, 3000])
@pytest.mark.parametrize("size", [8, 64 * 1024])
def test_they_leave_without_the_janitor(number: int, size: int) -> None:
    """The main thread writes them itself, between two of its instructions, also where it is somewhere in nnqpy."""
    number = min(number, 500_000 // size)  # what the kernel takes at once: for more the janitor waits
    bodies = [b"%8d" % n * (size // 8) for n in range(number)]
    stream = b"".join(TCP.header(size) + body for body in bodies)
    with Push(linger=0, send_hwm=10_000) as push, far_end(push, 0x51) as far:
        for _ in range(5):
            with held_up():
                for body in bodies:
                    push.send(body)
                got = computed_until_all_is_there(far, stream)
            assert got == stream
            push.flush(PATIENCE)


@pytest.mark.parametrize("number", [2, 1000])
def test_they_leave_from_any_thread(number: int) -> None:
    """Whether there is one that nobody can come in between of or not."""
    stream = (TCP.header(1) + b"x") * number

    def send() -> None:
        for _ in range(number):
            pair.send(b"x")

    with Pair(linger=0, send_hwm=10_000) as pair, far_end(pair, 0x10) as far:
        for _ in range(20):
            thread = threading.Thread(target=send)
            thread.start()
            got = computed_until_all_is_there(far, stream)
            thread.join()
            assert got == stream
