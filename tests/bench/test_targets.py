"""Targets: each is met, not met or open, and never met by accident."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from nnqpy.bench.results import Sample
from nnqpy.bench.targets import judge
from tests.bench.made import made_results

if TYPE_CHECKING:
    from nnqpy.bench.results import Results
    from nnqpy.bench.targets import Verdict
    from tests.bench.made import Figures

# Every target at its very edge: one step worse and it is not met.
EDGE: Figures = {
    "throughput-64": {
        "nnqpy": {"rate": 3000.0, "lost": 0.0},
        "pyomq": {"rate": 1500.0},
        "pyzmq": {"rate": 1000.0},
        "pynng": {"rate": 30.0},
    },
    "throughput-1024": {"nnqpy": {"rate": 1500.0}, "pyomq": {"rate": 1500.0}, "pyzmq": {"rate": 900.0}},
    "throughput-65536": {"nnqpy": {"rate": 1700.0}, "pyomq": {"rate": 1000.0}, "raw": {"rate": 2000.0}},
    "tls-64": {"nnqpy": {"rate": 1000.0}, "pynng": {"rate": 100.0}},
    "tls-65536": {"nnqpy": {"rate": 200.0}, "pynng": {"rate": 100.0}},
    "ws-64": {"nnqpy": {"rate": 1000.0}, "pynng": {"rate": 100.0}},
    "ws-65536": {"nnqpy": {"rate": 200.0}, "pynng": {"rate": 100.0}},
    "rtt-64": {
        "nnqpy": {"p50": 20.0, "p99": 99.0},
        "pyomq": {"p50": 50.0, "p99": 110.0},
        "pyzmq": {"p50": 70.0, "p99": 99.0},
        "raw": {"p50": 10.0, "p99": 15.0},
    },
    "reqrep-64": {"nnqpy": {"p50": 25.0}, "pyomq": {"p50": 50.0}},
    "asyncio-throughput-64": {"nnqpy": {"rate": 300.0}, "pyomq": {"rate": 100.0}, "raw": {"rate": 900.0}},
    "asyncio-rtt-64": {"nnqpy": {"p50": 50.0}, "pyzmq": {"p50": 100.0}},
    "shares-64": {"nnqpy": {"rate": 120.0, "uneven": 0.05}, "pyomq": {"rate": 100.0}},
    "pubsub-4": {"nnqpy": {"rate": 120.0}, "pyomq": {"rate": 100.0}},
    "topics-64": {"nnqpy": {"growth": 2.0}},
    "threads-64": {"nnqpy": {"rate": 120.0}, "pyomq": {"rate": 100.0}},
    "inproc-64": {"nnqpy": {"rate": 120.0}, "pyomq": {"rate": 100.0}},
    "peers-single-1": {"nnqpy": {"cpu": 10.0}},
    "peers-single-1000": {"nnqpy": {"cpu": 13.0}},
    "peers-spread-1": {"nnqpy": {"cpu": 10.0}},
    "peers-spread-1000": {"nnqpy": {"cpu": 13.0}},
    "peers-gather-1": {"nnqpy": {"cpu": 10.0}},
    "peers-gather-1000": {"nnqpy": {"cpu": 13.0}},
    "memory": {"nnqpy": {"resident": 8192.0}},
    "tail-compute": {"nnqpy": {"p50": 2500.0}},
}


def verdict_on(results: Results, start: str) -> Verdict:
    """The one verdict whose claim starts like this."""
    (found,) = [one for one in judge(results) if one.claim.startswith(start)]
    return found


def test_figures_at_the_edge_meet_every_target() -> None:
    """The targets say at least and at most: the edge itself is met."""
    verdicts = judge(made_results(EDGE))

    assert len(verdicts) == 27
    assert [one.claim for one in verdicts if one.met is not True] == []


@pytest.mark.parametrize(
    ("cell", "key", "worse", "claims"),
    [
        ("throughput-64", "rate", 2999.0, ["64 B: at least 2 x pyomq", "64 B: at least 3 x", "64 B: at least 100 x"]),
        ("throughput-1024", "rate", 1499.0, ["1 KiB"]),
        ("throughput-65536", "rate", 1699.0, ["64 KiB: at least 1.7 x", "64 KiB: at least 0.85 x"]),
        ("rtt-64", "p50", 20.1, ["round trip p50"]),
        ("rtt-64", "p99", 99.1, ["round trip p99"]),
        ("reqrep-64", "p50", 25.1, ["request and reply p50"]),
        ("asyncio-throughput-64", "rate", 299.0, ["asyncio throughput"]),
        ("asyncio-rtt-64", "p50", 50.1, ["asyncio round trip"]),
        ("tls-64", "rate", 999.0, ["tls+tcp, 64 B"]),
        ("tls-65536", "rate", 199.0, ["tls+tcp, 64 KiB"]),
        ("ws-64", "rate", 999.0, ["ws, 64 B"]),
        ("ws-65536", "rate", 199.0, ["ws, 64 KiB"]),
        ("shares-64", "rate", 119.0, ["one sender, three receivers: at least"]),
        ("shares-64", "uneven", 0.051, ["one sender, three receivers: shares"]),
        ("pubsub-4", "rate", 119.0, ["one Pub, four Subs"]),
        ("topics-64", "growth", 2.01, ["10,000 prefixes"]),
        ("threads-64", "rate", 119.0, ["two threads"]),
        ("inproc-64", "rate", 119.0, ["inproc"]),
        ("peers-single-1000", "cpu", 13.1, ["sending one by one"]),
        ("peers-spread-1000", "cpu", 13.1, ["sending in full flow"]),
        ("peers-gather-1000", "cpu", 13.1, ["receiving in full flow"]),
        ("memory", "resident", 8193.0, ["at most 8 KiB"]),
        ("tail-compute", "p50", 2501.0, ["last message of a burst"]),
        ("throughput-64", "lost", 1.0, ["nothing lost"]),
    ],
)
def test_one_step_worse_misses_exactly_its_own_targets(cell: str, key: str, worse: float, claims: list[str]) -> None:
    """No target is decided by another one's figure."""
    figures = {**EDGE, cell: {**EDGE[cell], "nnqpy": {**EDGE[cell]["nnqpy"], key: worse}}}

    missed = [one for one in judge(made_results(figures)) if one.met is False]

    assert len(missed) == len(claims)
    assert all(one.claim.startswith(claim) for one, claim in zip(missed, claims, strict=True))
    assert {one.word for one in missed} == {"NOT MET"}


def test_the_raw_socket_is_a_limit_and_no_peer() -> None:
    """Raw sockets are quicker than any library; a target about the best peer does not mean them."""
    assert verdict_on(made_results(EDGE), "round trip p50").found == "0.40 x pyomq (20 us)"


def test_the_best_peer_is_chosen_for_each_figure() -> None:
    """One has the lowest median round trip, another the lowest p99."""
    assert verdict_on(made_results(EDGE), "round trip p99").found == "1.00 x pyzmq (99 us)"


def test_a_target_is_open_without_the_library_it_names() -> None:
    """Of a library that took no part nothing is claimed."""
    results = made_results({"throughput-64": {"nnqpy": {"rate": 9e9}, "pyomq": {"rate": 1.0}}})

    verdict = verdict_on(results, "64 B: at least 3 x pyzmq")

    assert (verdict.met, verdict.word, verdict.found) == (None, "open", "pyzmq has no figure")


def test_a_target_is_open_when_our_own_cell_came_to_nothing() -> None:
    """A hung cell is not met, and not missed either: it has no figure."""
    results = made_results({"rtt-64": {"pyomq": {"p50": 50.0, "p99": 60.0}}})
    results.libraries = ["nnqpy", "pyomq"]
    results.add("rtt-64", "nnqpy", Sample({}, "hung"))

    verdict = verdict_on(results, "round trip p50")

    assert (verdict.met, verdict.found) == (None, "nnqpy has no figure")


def test_memory_at_fewer_connections_leaves_its_target_open() -> None:
    """8 KiB at 1,000 connections say nothing of 10,000."""
    results = made_results({"memory": {"nnqpy": {"resident": 1024.0}}})
    results.cells = [
        type(cell)(cell.group, cell.name, cell.label, cell.act, cell.metrics, peers=1000) for cell in results.cells
    ]

    verdict = verdict_on(results, "at most 8 KiB")

    assert (verdict.met, verdict.found) == (None, "1.0 KiB at 1,000")


def test_a_run_without_figures_does_not_count_as_nothing_lost() -> None:
    """Every cell hung: nothing was seen to arrive."""
    results = made_results({"rtt-64": {"nnqpy": {}}})

    assert verdict_on(results, "nothing lost").met is None


def test_only_the_groups_that_were_run_are_judged() -> None:
    """`--only rtt` prints the two targets of rtt and the one about losses."""
    results = made_results({"rtt-64": EDGE["rtt-64"]}, only=("rtt",))

    assert [one.claim.partition(":")[0] for one in judge(results)] == [
        "round trip p50",
        "round trip p99",
        "nothing lost in any cell",
    ]


def test_nothing_is_judged_without_nnqpy() -> None:
    """A comparison of the peers alone has no targets."""
    assert judge(made_results({"rtt-64": {"pyzmq": {"p50": 1.0}}})) == []


BOTH: Final = {
    cell: {**figures, **({"nnqpy-python": figures["nnqpy"]} if "nnqpy" in figures else {})}
    for cell, figures in EDGE.items()
}
COMPILED: Final[dict[str, dict[str, float]]] = {
    "throughput-64": {"rate": 4000.0},
    "throughput-1024": {"rate": 3000.0},
    "throughput-65536": {"rate": 1900.0},
    "asyncio-throughput-64": {"rate": 400.0},
    "pubsub-4": {"rate": 250.0},
    "memory": {"resident": 4096.0},
    "tail-compute": {"p50": 500.0},
}


def test_where_both_halves_took_part_each_is_held_to_its_own_targets() -> None:
    """The figures of the one in Python do not meet the compiled one's, and the other way round none is asked."""
    verdicts = judge(made_results(BOTH))
    compiled = {one.claim: one.met for one in verdicts if one.claim.startswith("compiled, ")}

    assert len(verdicts) == 27 + len(compiled)
    assert [one.claim for one in verdicts if not one.met and one.claim not in compiled] == []
    assert [claim for claim, met in compiled.items() if met] == [
        "compiled, 64 KiB: at least 1.7 x the best peer",  # the only one that is asked of both
        "compiled, nothing lost in any cell",
    ]


def test_the_compiled_half_meets_its_targets_at_their_edge() -> None:
    """And nothing that the one in Python measures changes that."""
    figures = {cell: {**row, "nnqpy": {**row["nnqpy"], **COMPILED.get(cell, {})}} for cell, row in BOTH.items()}
    verdicts = judge(made_results(figures))

    assert [(one.claim, one.found) for one in verdicts if not one.met] == []
