"""Cells: the catalogue of what is measured; every row of the report is a cell's metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnqpy.bench.events import LARGEST
from nnqpy.bench.libraries import OURS, PYTHON
from nnqpy.bench.topics import PREFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnqpy.bench.libraries import Entry

__all__ = ["FULL", "GROUPS", "QUICK", "Cell", "Metric", "Scale", "catalogue"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a cell.

    Args:
        key: its name in an act's figures.
        label: what the row is called, "" for the cell's label alone.
        unit: "msg/s", "us", "B" or "%".
        more_is_better: which way is good.
    """

    key: str
    label: str
    unit: str
    more_is_better: bool = False


RATE = Metric("rate", "", "msg/s", more_is_better=True)
CPU = Metric("cpu", "CPU per message", "us")
TRIP = (Metric("p50", "p50", "us"), Metric("p99", "p99", "us"), Metric("p999", "p99.9", "us"))


_SPREAD = (RATE, CPU, Metric("missed", "missed", "%"))


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement that every library takes in the same way.

    Args:
        group: what `--only` names.
        name: unique, stable, as in the JSON.
        label: the row's label within its group.
        act: a name of `acts.ACTS`.
        metrics: the figures that make rows.
        size: bytes of a body, of the largest where they differ.
        stretch: factor on the seconds of a run (percentiles want more samples).
        peers: connections of a crowd, or subscribers.
        mode: the variant of a role.
        once: whether one round is enough (memory does not jitter).
        ours_only: whether only nnqpy takes part.
        spare: whether a quick run leaves it out.
    """

    group: str
    name: str
    label: str
    act: str
    metrics: tuple[Metric, ...]
    size: int = 64
    stretch: float = 1.0
    peers: int = 1
    mode: str = ""
    once: bool = False
    ours_only: bool = False
    spare: bool = False

    def refusal(self, library: Entry) -> str:
        """Why this library takes no part here; "" if it does."""
        if self.ours_only and library.name not in (OURS, PYTHON):
            return "-"
        return library.refuses.get(self.group, "")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything a run does.

    Args:
        seconds: measured time of a sample.
        rounds: samples of each cell and library.
        connections: idle connections of the memory cell.
        crowds: numbers of peers in the cost cells.
        whole: whether the variants that tell a user least are run, too.
    """

    seconds: float
    rounds: int
    connections: int
    crowds: tuple[int, ...]
    whole: bool


FULL = Scale(seconds=1.0, rounds=3, connections=10_000, crowds=(1, 10, 100, 1000), whole=True)
QUICK = Scale(seconds=0.12, rounds=1, connections=1000, crowds=(1, 100), whole=False)

GROUPS = {
    "throughput": "PUSH to PULL over tcp, two processes",
    "rtt": "full round trip over PAIR, tcp, two processes",
    "reqrep": "full round trip over REQ and REP, tcp, two processes",
    "shares": "one PUSH to three PULLs over tcp, four processes",
    "device": "PUSH to a device to PULL over tcp, three processes",
    "tail": "last message of a burst, delay from before its send to in hand, tcp",
    "asyncio": "both sides asyncio, every send awaited, tcp",
    "pubsub": "one PUB to several SUBs over tcp, sum of what they receive",
    "topics": "processor time of a SUB per message that arrives, every second one wanted, by number of prefixes, tcp",
    "requests": "requests over REQ and REP by number in flight, both sides asyncio, tcp, two processes",
    "tls": "PUSH to PULL over tls+tcp, two processes",
    "ws": "PUSH to PULL over ws, two processes",
    "zstd": "PUSH to PULL, JSON events of 200 to 1,000 bytes over tcp and over zstd+tcp, two processes",
    "inproc": "PUSH to PULL over inproc, two threads of one process",
    "threads": "two threads send on one PUSH, tcp, two processes",
    "memory": "resident memory of a listener per idle connection",
    "peers": "processor time of a hub per message, by number of connections, tcp",
}

_SIZES = {"64 B": 64, "1 KiB": 1024, "64 KiB": 65536, "1 MiB": 1048576}
_CROWD_MODES = {
    "single": ("send one by one", "send_to_crowd"),
    "spread": ("send in full flow", "send_to_crowd"),
    "gather": ("receive in full flow", "receive_from_crowd"),
}


def catalogue(scale: Scale, only: Sequence[str] = ()) -> list[Cell]:
    """All cells of these groups, of all groups when `only` is empty.

    Raises:
        ValueError: a group is not known; the text lists those that are.
    """
    for group in only:
        if group not in GROUPS:
            raise ValueError(f"no group {group!r}; known: {', '.join(GROUPS)}")
    cells = [
        *(
            Cell("throughput", f"throughput-{size}", label, "flow", (RATE, CPU), size=size)
            for label, size in _SIZES.items()
        ),
        Cell("rtt", "rtt-64", "64 B", "trip", (*TRIP, CPU), stretch=2),
        Cell("reqrep", "reqrep-64", "64 B", "trip", (*TRIP, CPU), mode="request"),
        Cell(
            "shares",
            "shares-64",
            "64 B",
            "shares",
            (RATE, CPU, Metric("uneven", "shares: most minus least, of the mean", "%")),
        ),
        # The processor time of the device is not known for what was counted alone.
        Cell("device", "device-64", "64 B", "carried", (RATE,), stretch=0.5),
        Cell("tail", "tail-compute", "sender computes", "tail", TRIP[:2], stretch=1.5, mode="compute"),
        Cell("tail", "tail-sleep", "sender sleeps", "tail", TRIP[:2], stretch=1.5, mode="sleep", spare=True),
        Cell("asyncio", "asyncio-throughput-64", "throughput 64 B", "async_flow", (RATE, CPU)),
        Cell("asyncio", "asyncio-rtt-64", "round trip 64 B", "async_trip", (*TRIP, CPU), stretch=2),
        Cell("pubsub", "pubsub-1", "to 1", "spread", _SPREAD, mode="lossless", stretch=0.5, spare=True),
        Cell("pubsub", "pubsub-4", "to 4", "spread", _SPREAD, peers=4, mode="lossless", stretch=0.5),
        Cell("pubsub", "pubsub-4-default", "to 4, by default", "spread", _SPREAD, peers=4, stretch=0.5, spare=True),
        Cell("pubsub", "pubsub-64", "to 64 bare", "spread_bare", _SPREAD, peers=64, mode="lossless", stretch=0.5),
        Cell(
            "topics",
            "topics-64",
            "64 B",
            "topics",
            (
                *(Metric(f"cpu_{n}", f"{n:,} prefix{'es' if n > 1 else ''}", "us") for n in PREFIXES),
                Metric("growth", f"{PREFIXES[-1]:,} prefixes, of the cost with {PREFIXES[0]}", "%"),
                Metric("missed", "wanted and missed", "%"),
            ),
            stretch=0.3,
        ),
        *(
            Cell(
                "requests",
                f"requests-{at_once}",
                f"{at_once} in flight",
                "load",
                (RATE, Metric("cpu", "CPU per request", "us")),
                mode=str(at_once),
                stretch=0.5,
                spare=at_once == 16,
            )
            for at_once in (1, 16, 256)
        ),
        *(
            Cell(group, f"{group}-{_SIZES[label]}", label, "flow", (RATE, CPU), size=_SIZES[label], mode=scheme)
            for group, scheme in (("tls", "tls+tcp"), ("ws", "ws"))
            for label in ("64 B", "64 KiB")
        ),
        *(
            Cell(
                "zstd",
                f"zstd-events-{scheme}",
                scheme,
                "flow_of_events",
                (RATE, CPU, Metric("line", "bytes on the line, of what is sent", "%")),
                size=LARGEST,
                mode=scheme,
                ours_only=True,
            )
            for scheme in ("tcp", "zstd+tcp")
        ),
        Cell("inproc", "inproc-64", "64 B", "inproc", (RATE, CPU)),
        Cell("threads", "threads-64", "64 B", "flow", (RATE, CPU), mode="2"),
        Cell(
            "memory",
            "memory",
            f"{scale.connections:,} connections",
            "rest",
            (Metric("resident", "", "B"),),
            peers=scale.connections,
            mode="rest",
            once=True,
        ),
        *(
            Cell(
                "peers",
                f"peers-{mode}-{peers}",
                f"{label}, {peers:,} peer{'s' if peers > 1 else ''}",
                act,
                (Metric("cpu", "", "us"),),
                peers=peers,
                mode=mode,
                stretch=0.5,
                # The ends of the row say whether a library scales; the middle is for our own curve.
                ours_only=not scale.whole or peers not in (scale.crowds[0], scale.crowds[-1]),
            )
            for mode, (label, act) in _CROWD_MODES.items()
            for peers in scale.crowds
        ),
    ]
    return [cell for cell in cells if (not only or cell.group in only) and (scale.whole or not cell.spare)]
