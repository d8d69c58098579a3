"""Meters: processor time, memory and percentiles, each read the same way in every worker."""

from __future__ import annotations

import os
import resource
import socket
import stat
import struct
from contextlib import suppress
from math import ceil
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ForeignLoad", "ProcessorTime", "percentile", "raise_descriptor_limit", "resident_bytes", "tcp_bytes"]


class ProcessorTime:
    """User and system seconds that this process spent since the meter was made."""

    __slots__ = ("_start",)

    def __init__(self) -> None:
        self._start = _spent()

    def seconds(self) -> float:
        """Seconds of processor time until now, all threads."""
        return _spent() - self._start


def _spent() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class ForeignLoad:
    """The part of the machine's processors that others used since the meter was made.

    Others are all processes but this one and its children, and whoever shares the hardware ("steal"). Interrupts
    are left out: loopback traffic is handled in them, and it is ours.
    """

    __slots__ = ("_began", "_busy", "_ours")

    def __init__(self) -> None:
        self._began, self._busy, self._ours = perf_counter(), _machine_spent(), _family_spent()

    def share(self) -> float:
        """0.0 to 1.0 of all processors; children count as ours once they have been waited for."""
        elapsed = perf_counter() - self._began
        foreign = _machine_spent() - self._busy - (_family_spent() - self._ours)
        return min(1.0, max(0.0, foreign / elapsed / (os.cpu_count() or 1)))


def _machine_spent() -> float:
    # /proc/stat, proc(5): cpu user nice system idle iowait irq softirq steal ..., in ticks
    user, nice, system, _, _, _, _, steal = map(int, Path("/proc/stat").read_bytes().split(maxsplit=9)[1:9])
    return (user + nice + system + steal) / os.sysconf("SC_CLK_TCK")


def _family_spent() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def percentile(ordered: Sequence[int], share: float) -> float:
    """The nearest-rank percentile of an ascending sequence; `share` 0.5 is the median."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def resident_bytes() -> int:
    """Memory of this process that is in RAM now (Linux: statm, whole pages)."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGESIZE")


_TCP_INFO: Final = struct.Struct("144x I 52x Q Q")
"""Linux's tcp_info: bytes not sent yet; at its end bytes sent, and how many of these for the second time."""


def tcp_bytes() -> int:
    """Bytes that this process has handed to the TCP connections that it has open (Linux)."""
    handed = 0
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208  # numbers, not paths
        # One that is closed by now was the listing's own.
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(int(entry)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(entry))) as sock:
                if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM:
                    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
                    waiting, sent, again = _TCP_INFO.unpack(info)
                    handed += waiting + sent - again
    return handed


def raise_descriptor_limit(wanted: int) -> None:
    """Let this process open `wanted` descriptors.

    Raises:
        RuntimeError: the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise RuntimeError(f"needs {wanted} descriptors, the hard limit is {hard}: raise it (ulimit -Hn)")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
