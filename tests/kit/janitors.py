"""Janitor: one that moves when he is told to, so that nobody else comes in between what a test does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnqpy.turns import Verdict

if TYPE_CHECKING:
    from nnqpy.turns import Turns


def employ(turns: Turns) -> Janitor:
    """Give a socket such a janitor, before anything is told to its own."""
    janitor = Janitor(turns)
    turns._janitor = turns._watcher = janitor
    return janitor


class Janitor:
    """The janitor's part in keeping promises, one step at a time."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.told = False
        """Somebody has asked for a tick, or the last one asked for the next."""
        self.verdicts: list[Verdict] = []

    def __call__(self, turns: Turns) -> None:
        assert turns is self.turns
        self.told = True

    def tick(self) -> None:
        """Sweep once, as `reactor.Janitor` does."""
        self.told = False
        verdict = self.turns.tend()
        self.verdicts.append(verdict)
        if verdict is Verdict.BUSY:
            self.told = True

    def keep(self) -> None:
        """Tick until nothing is left to do, which must not take for ever."""
        for _ in range(20):
            if not self.told:
                return
            self.tick()
        raise AssertionError(f"the janitor never rests: {self.verdicts[-5:]}")
