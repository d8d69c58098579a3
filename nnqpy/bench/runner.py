"""Runner: all cells for all libraries, the libraries taking turns within each round.

The machine's mood changes over minutes, so nothing is measured in a block: round by round, cell by cell, each
library gets one sample right after the others (A B C, A B C, ...), and medians are taken over the rounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnqpy.bench.acts import ACTS
from nnqpy.bench.meters import ForeignLoad
from nnqpy.bench.results import Sample
from nnqpy.bench.stage import Stage, StageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nnqpy.bench.cells import Cell, Scale
    from nnqpy.bench.libraries import Entry
    from nnqpy.bench.results import Results

__all__ = ["run"]

_START = 15.0  # seconds that starting, connecting and finishing may take beyond the measured part
_CONNECT = 0.004  # seconds a connection of a crowd may take


async def run(results: Results, libraries: Sequence[Entry], scale: Scale, tell: Callable[[str], object]) -> None:
    """Fill `results` round by round; whoever stops it in between still has the rounds so far.

    Args:
        results: where samples go; its cells are what is run.
        libraries: those that take part, all of them present.
        scale: seconds and rounds.
        tell: gets one line of progress a sample.
    """
    for turn in range(scale.rounds):
        for cell in results.cells:
            if cell.once and turn:
                continue
            for library in libraries:
                if not cell.refusal(library):
                    tell(f"round {turn + 1}/{scale.rounds}  {cell.name}  {library.name}")
                    results.add(cell.name, library.name, await sample(cell, library, scale))


async def sample(cell: Cell, library: Entry, scale: Scale) -> Sample:
    """Measure once; trouble is a sample, too. Each tells under "foreign" how busy others kept the machine meanwhile."""
    others = ForeignLoad()
    seconds = scale.seconds * cell.stretch
    limit = _START + 4 * seconds + _CONNECT * cell.peers
    async with Stage(
        library.name, size=cell.size, seconds=seconds, limit=limit, peers=cell.peers, mode=cell.mode
    ) as stage:
        try:
            values = await ACTS[cell.act](stage)
            note = await stage.curtain()
        except StageError as trouble:
            return Sample({}, trouble.kind, await stage.complaints())
        detail = await stage.complaints() if note else ""
    return Sample({**values, "foreign": others.share()}, note, detail)
