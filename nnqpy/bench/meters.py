"""Meters: processor time, memory and percentiles, each read the same way in every worker."""

from __future__ import annotations

import os
import resource
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ProcessorTime", "percentile", "raise_descriptor_limit", "resident_bytes"]


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


def percentile(ordered: Sequence[int], share: float) -> float:
    """The nearest-rank percentile of an ascending sequence; `share` 0.5 is the median."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def resident_bytes() -> int:
    """Memory of this process that is in RAM now (Linux: statm, whole pages)."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGESIZE")


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
