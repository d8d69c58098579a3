"""Targets: what nnqpy promises beside its peers, and whether a run shows it.

Each target is one claim about medians. It is met, not met, or open: open when a library or a cell that it speaks
of took no part, which is never counted as met.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnqpy.bench.libraries import OURS, PYTHON, RAW
from nnqpy.bench.results import Results

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target after a run.

    Args:
        claim: the target in words.
        met: None while it is open.
        found: what the run shows, or what is missing.
    """

    claim: str
    met: bool | None
    found: str

    @property
    def word(self) -> str:
        """The verdict in one word or two."""
        return "open" if self.met is None else "met" if self.met else "NOT MET"


def judge(results: Results) -> list[Verdict]:
    """The targets of the groups that were run, in the order of the report; none if nnqpy took no part.

    Where both of its halves did, the one in Python is held to what it promises, and the compiled one to more.
    """
    if OURS not in results.libraries:
        return []
    groups = {cell.group for cell in results.cells} | {"all"}
    both = PYTHON in results.libraries
    found = [target(results, PYTHON if both else OURS) for group, target in _TARGETS if group in groups]
    if both:
        found += [target(results, OURS) for group, target in _COMPILED if group in groups]
    return found


_Target = Callable[[Results, str], Verdict]
"""Judges the results of the one of our halves that is named."""


def _best_peer(results: Results, cell: str, key: str, *, more: bool) -> tuple[str, float] | None:
    found = [
        (name, value)
        for name in results.libraries
        if name not in (OURS, PYTHON, RAW) and (value := results.value(cell, name, key)) is not None
    ]
    if not found:
        return None
    return (max if more else min)(found, key=lambda one: one[1])


def _faster(claim: str, cell: str, factor: float, rival: str = "") -> _Target:
    """Our rate is at least `factor` times the rival's; without a rival, the best peer's."""

    def target(results: Results, us: str) -> Verdict:
        ours = results.value(cell, us, "rate")
        if rival:
            theirs = results.value(cell, rival, "rate")
            other = None if theirs is None else (rival, theirs)
        else:
            other = _best_peer(results, cell, "rate", more=True)
        if ours is None or other is None:
            return _open(claim, ours, rival)
        return Verdict(claim, ours >= factor * other[1], f"{ours / other[1]:.2f} x {other[0]}")

    return target


def _quicker(claim: str, cell: str, key: str, factor: float) -> _Target:
    """Our delay is at most `factor` times the best peer's."""

    def target(results: Results, us: str) -> Verdict:
        ours, other = results.value(cell, us, key), _best_peer(results, cell, key, more=False)
        if ours is None or other is None:
            return _open(claim, ours, "")
        return Verdict(claim, ours <= factor * other[1], f"{ours / other[1]:.2f} x {other[0]} ({ours:.0f} us)")

    return target


def _within(claim: str, cell: str, key: str, most: float, told: str, scale: float = 1.0) -> _Target:
    """Our own figure is at most `most`."""

    def target(results: Results, us: str) -> Verdict:
        ours = results.value(cell, us, key)
        if ours is None:
            return _open(claim, ours, "")
        return Verdict(claim, ours <= most, told.format(ours / scale))

    return target


def _flat(claim: str, mode: str, peers: int, factor: float) -> _Target:
    """A message costs about the same with 1 and with `peers` connections."""

    def target(results: Results, us: str) -> Verdict:
        one = results.value(f"peers-{mode}-1", us, "cpu")
        many = results.value(f"peers-{mode}-{peers}", us, "cpu")
        if one is None or many is None:
            return Verdict(claim, None, f"needs 1 and {peers:,} peers")
        return Verdict(claim, many <= factor * one, f"{many / one:.2f} x ({one:.2f} us, {many:.2f} us)")

    return target


def _memory(claim: str, connections: int, most: int) -> _Target:
    """Memory per idle connection, at that many of them."""

    def target(results: Results, us: str) -> Verdict:
        cell = next((cell for cell in results.cells if cell.group == "memory"), None)
        ours = None if cell is None else results.value(cell.name, us, "resident")
        if cell is None or ours is None:
            return _open(claim, None, "")
        found = f"{ours / 1024:.1f} KiB at {cell.peers:,}"
        return Verdict(claim, ours <= most if cell.peers >= connections else None, found)

    return target


def _complete(claim: str) -> _Target:
    """Nothing sent by us was lost in any cell."""

    def target(results: Results, us: str) -> Verdict:
        lost = {cell.name: results.lost(cell.name, us) for cell in results.cells}
        bad = [f"{name}: {count}" for name, count in lost.items() if count]
        ran = any(sample.values for cell in results.cells for sample in results.of(cell.name, us))
        return Verdict(claim, not bad if ran else None, ", ".join(bad) or "0 lost")

    return target


def _open(claim: str, ours: float | None, rival: str) -> Verdict:
    return Verdict(
        claim,
        None,
        "nnqpy has no figure" if ours is None else f"{rival} has no figure" if rival else "no peer has a figure",
    )


_TARGETS: Sequence[tuple[str, _Target]] = (
    ("throughput", _faster("64 B: at least 2 x pyomq", "throughput-64", 2, "pyomq")),
    ("throughput", _faster("64 B: at least 3 x pyzmq", "throughput-64", 3, "pyzmq")),
    ("throughput", _faster("64 B: at least 100 x pynng", "throughput-64", 100, "pynng")),
    ("throughput", _faster("1 KiB: level with the best peer", "throughput-1024", 1)),
    ("throughput", _faster("64 KiB: at least 1.7 x the best peer", "throughput-65536", 1.7)),
    ("throughput", _faster("64 KiB: at least 0.85 x a raw socket", "throughput-65536", 0.85, RAW)),
    ("rtt", _quicker("round trip p50: at most 0.4 x the best peer", "rtt-64", "p50", 0.4)),
    ("rtt", _quicker("round trip p99: not above the best peer", "rtt-64", "p99", 1)),
    ("reqrep", _quicker("request and reply p50: at most 0.5 x the best peer", "reqrep-64", "p50", 0.5)),
    ("asyncio", _faster("asyncio throughput: at least 3 x the best peer", "asyncio-throughput-64", 3)),
    ("asyncio", _quicker("asyncio round trip p50: at most 0.5 x the best peer", "asyncio-rtt-64", "p50", 0.5)),
    ("tls", _faster("tls+tcp, 64 B: at least 10 x pynng", "tls-64", 10, "pynng")),
    ("tls", _faster("tls+tcp, 64 KiB: at least 2 x pynng", "tls-65536", 2, "pynng")),
    ("ws", _faster("ws, 64 B: at least 10 x pynng", "ws-64", 10, "pynng")),
    ("ws", _faster("ws, 64 KiB: at least 2 x pynng", "ws-65536", 2, "pynng")),
    ("shares", _faster("one sender, three receivers: at least 1.2 x the best peer", "shares-64", 1.2)),
    (
        "shares",
        _within("one sender, three receivers: shares even (within 5 %)", "shares-64", "uneven", 0.05, "{:.1f} %", 0.01),
    ),
    ("pubsub", _faster("one Pub, four Subs, lossless: at least 1.2 x the best peer", "pubsub-4", 1.2)),
    (
        "topics",
        _within("10,000 prefixes cost a Sub at most 2 x as much as one", "topics-64", "growth", 2, "{:.2f} x"),
    ),
    ("threads", _faster("two threads on one socket: at least 1.2 x the best peer", "threads-64", 1.2)),
    ("inproc", _faster("inproc between threads: at least 1.2 x the best peer", "inproc-64", 1.2)),
    ("peers", _flat("sending one by one costs the same at 1 and 1,000 peers (1.3 x)", "single", 1000, 1.3)),
    ("peers", _flat("sending in full flow costs the same at 1 and 1,000 peers (1.3 x)", "spread", 1000, 1.3)),
    ("peers", _flat("receiving in full flow costs the same at 1 and 1,000 peers (1.3 x)", "gather", 1000, 1.3)),
    ("memory", _memory("at most 8 KiB per idle connection at 10,000", 10_000, 8 * 1024)),
    (
        "tail",
        _within(
            "last message of a burst, sender computes: p50 at most 2.5 ms",
            "tail-compute",
            "p50",
            2500,
            "{:.2f} ms",
            1e3,
        ),
    ),
    ("all", _complete("nothing lost in any cell")),
)

_COMPILED: Sequence[tuple[str, _Target]] = (
    ("throughput", _faster("compiled, 64 B: at least 2.5 x pyomq", "throughput-64", 2.5, "pyomq")),
    ("throughput", _faster("compiled, 64 B: at least 4 x pyzmq", "throughput-64", 4, "pyzmq")),
    ("throughput", _faster("compiled, 1 KiB: at least 2 x the best peer", "throughput-1024", 2)),
    ("throughput", _faster("compiled, 64 KiB: at least 1.7 x the best peer", "throughput-65536", 1.7)),
    ("throughput", _faster("compiled, 64 KiB: at least 0.95 x a raw socket", "throughput-65536", 0.95, RAW)),
    ("asyncio", _faster("compiled, asyncio throughput: at least 4 x the best peer", "asyncio-throughput-64", 4)),
    ("pubsub", _faster("compiled, one Pub, four Subs, lossless: at least 2.5 x the best peer", "pubsub-4", 2.5)),
    ("memory", _memory("compiled, at most 4 KiB per idle connection at 10,000", 10_000, 4 * 1024)),
    (
        "tail",
        _within(
            "compiled, last message of a burst, sender computes: p50 at most 0.5 ms",
            "tail-compute",
            "p50",
            500,
            "{:.2f} ms",
            1e3,
        ),
    ),
    ("all", _complete("compiled, nothing lost in any cell")),
)
