"""The meters: what they count, and as whose."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys

import pytest

from nnqpy.bench import meters
from nnqpy.bench.meters import ForeignLoad, ProcessorTime, percentile, raise_descriptor_limit, tcp_bytes


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (0.001, 1)])
def test_percentiles_are_of_the_nearest_rank(share: float, expected: int) -> None:
    """The 99th percentile of the numbers 1 to 100 is 99."""
    assert percentile(range(1, 101), share) == expected


def test_processor_time_counts_this_process() -> None:
    """Work is seen, and time only goes forward."""
    meter = ProcessorTime()
    before = meter.seconds()
    while (after := meter.seconds()) == before:
        pass

    assert after > before >= 0


def test_resident_memory_grows_with_what_is_kept() -> None:
    """A page counts once it was written to. In a process of its own: this one may have room from before."""
    program = """if True:
        from nnqpy.bench.meters import resident_bytes
        before = resident_bytes()
        kept = bytearray(b"x" * (16 << 20))
        print(resident_bytes() - before)
    """

    report = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert int(report.stdout) > 8 << 20


def test_bytes_handed_to_tcp_count_whether_they_were_read_or_not() -> None:
    """Of all connections together, and of nothing else: what is on its way, what waits to be sent, what is in hand."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as near:
        far, pipes = listener.accept()[0], socket.socketpair()
        with far, pipes[0] as pipe, pipes[1]:
            before = tcp_bytes()
            near.setblocking(False)
            handed = near.send(b"x" * (64 << 20))
            pipe.send(b"not over tcp")
            far.sendall(b"and back")

            assert tcp_bytes() - before == handed + 8
            far.recv(1000)
            assert tcp_bytes() - before == handed + 8


@pytest.mark.parametrize(
    ("machine", "family", "expected"),
    [((10.0, 14.0), (1.0, 3.0), 0.5), ((10.0, 12.0), (1.0, 3.0), 0.0), ((10.0, 11.0), (1.0, 3.0), 0.0)],
    ids=["others took two of four seconds", "all of it was ours", "ticks are coarser than our own count"],
)
def test_foreign_load_is_what_the_machine_did_beyond_us(
    monkeypatch: pytest.MonkeyPatch, machine: tuple[float, float], family: tuple[float, float], expected: float
) -> None:
    """Two processors over two seconds have four to give."""
    clock, spent, ours = iter((100.0, 102.0)), iter(machine), iter(family)
    monkeypatch.setattr(meters, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(meters, "_machine_spent", lambda: next(spent))
    monkeypatch.setattr(meters, "_family_spent", lambda: next(ours))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    assert ForeignLoad().share() == expected


def test_foreign_load_reads_this_machine() -> None:
    """Whatever it is, it is a part of the whole."""
    assert 0.0 <= ForeignLoad().share() <= 1.0


def test_more_descriptors_than_the_hard_limit_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit and the wish are both named; a wish within the limit raises the soft limit, and only that."""
    given: list[tuple[int, int]] = []

    def limits_now(_: int) -> tuple[int, int]:
        return 1024, 4096

    def note(_: int, limits: tuple[int, int]) -> None:
        given.append(limits)

    monkeypatch.setattr(resource, "getrlimit", limits_now)
    monkeypatch.setattr(resource, "setrlimit", note)

    raise_descriptor_limit(1000)
    raise_descriptor_limit(4096)
    with pytest.raises(RuntimeError, match="needs 4097 descriptors, the hard limit is 4096"):
        raise_descriptor_limit(4097)

    assert given == [(4096, 4096)]
