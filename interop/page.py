"""The page of the documentation that says what nnqpy is tried with, made of the tables that the tests are made of.

``python -m interop.page`` writes it; `test_page` holds it against the tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from interop.cases import CASES, KIB, MIB, PATTERNS, WORD, Flow
from interop.peers.peer import Kind
from interop.test_devices import BETWEEN, HOPS
from interop.test_dressed import CONVERSATIONS, MUTUAL, TRANSPORTS
from interop.test_dressed import SIZES as DRESSED_SIZES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.cases import Pattern

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "reference" / "interop.md"

VERBS: Final = {
    Flow.OUT: "sends to",
    Flow.IN: "receives from",
    Flow.BOTH: "echoes",
    Flow.ASK: "asks",
    Flow.ANSWER: "answers",
}
SIZES: Final = {3_000_000: "3 MB", MIB: "1 MiB", MIB - WORD: f"1 MiB - {WORD} B", 64 * KIB: "64 KiB"}

HEAD: Final = """\
# Interoperability

nnqpy is held against the real thing: nng by way of pynng, nng's own nngcat, and nanomsg's nanocat, each in a process of its own.
`interop/` in the source has the tests; this page is made of their tables (`python -m interop.page`).

## Patterns

Each field is four conversations: either side binds, over tcp and over ipc. It shows the largest message that went through, after
smaller ones down to an empty one; 100 B stands for one message, of a program that says the same again and again to be heard at
all.
"""

DRESSED: Final = """
## Over TLS and WebSocket

With nng by way of pynng, over {transports}: either side binds. Messages of
{sizes} bytes go through whole. With mutual TLS, over
{mutual}, each side asks for the other's certificate and gets it, whoever binds.
"""

DEVICES: Final = """
## Devices

Our devices between two of nng's sockets, and nng's `nng_device` between two of ours, over tcp and ipc:
"""

REST: Final = """
As many of them in a row as a request may pass, with nng's Rep at the end and with ours:
"""

TAIL: Final = """
## What else there is a test for

- nng's Req sends a request again with the same number: our Rep may answer each time, and nng's user sees one answer. Ours sends
  it again, byte for byte, to the next Rep of nng.
- The window of a survey counts from the send, on either side: an answer after it is dropped, and the next survey is clean.
- Pub drops the oldest for a Sub that is behind, nng's for ours and ours for nng's.
- Contexts of either side with contexts of the other, four questions under way at a time.
- Raw sockets: headers as they are on the wire, many answers to one question, steps of a Pair1.
- A polyamorous Pair1 as the hub of nng's, and nng's as the hub of ours.
- Peers that are killed and come back, refused connections, and the bytes of each conversation.
"""


def page() -> str:
    """Return the page."""
    patterns = [["nnqpy", "", "peer", *get_args(Kind)]]
    for pattern in PATTERNS:
        for flow in pattern.flows:
            fields = [_largest(kind, pattern, flow) for kind in get_args(Kind)]
            patterns.append([pattern.ours.capitalize(), VERBS[flow], pattern.theirs.capitalize(), *fields])
    dressed = [["nnqpy", "", "peer", *TRANSPORTS]]
    for pattern, flow in CONVERSATIONS:
        largest = [SIZES[max(DRESSED_SIZES)]] * len(TRANSPORTS)
        dressed.append([pattern.ours.capitalize(), VERBS[flow], pattern.theirs.capitalize(), *largest])
    over = DRESSED.format(
        transports=_listed(TRANSPORTS), sizes=_listed([f"{size:,}" for size in DRESSED_SIZES]), mutual=_listed(MUTUAL)
    )
    devices = [["from", "by", "to", "and back"]]
    for between in BETWEEN:
        by = f"{between.front.__name__}, {between.back.__name__}"
        devices.append([between.near.capitalize(), by, between.far.capitalize(), "yes" if between.answers else "no"])
    rows = [["devices", "`max_ttl`", "the request"]]
    for hops in HOPS:
        count, most, arrives = hops.values
        rows.append([str(count), str(most), "arrives" if arrives else "is dropped by the Rep"])
    return HEAD + _table(patterns) + over + _table(dressed) + DEVICES + _table(devices) + REST + _table(rows) + TAIL


def _largest(kind: Kind, pattern: Pattern, flow: Flow) -> str:
    """Return the largest message of a field's cases, which are four or none."""
    cases = [case for case in CASES if (case.peer, case.ours, case.flow) == (kind, pattern.ours, flow)]
    if not cases:
        return "not spoken"
    assert len({(case.we, case.transport) for case in cases}) == len(cases) == 4
    (sizes,) = {case.sizes for case in cases}
    return SIZES.get(max(sizes), f"{max(sizes)} B")


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _table(rows: list[list[str]]) -> str:
    head, *rest = (f"| {' | '.join(row)} |\n".replace("|  |", "| |") for row in rows)
    return f"\n{head}|{'---|' * len(rows[0])}\n{''.join(rest)}"


if __name__ == "__main__":
    PAGE.write_text(page())
