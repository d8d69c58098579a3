"""Ctrl-C at the end of a loop's round runs the `finally` around the loop: no lock is left held.

A signal handler runs at backward jumps, too, and CPython looks up what handles its error by a place that is not always
within the `try`: from 3.13 on the jump itself, which the compiler leaves out of the exception table where a loop ends in a
condition (python/cpython#130279; on 3.14 also where it ends in an `if` with a `break`); before that the place ahead of where
it jumps to, which is not within a `try` that begins with a `while True` in one line (python/cpython#108214). A `while True`,
on a line of its own, whose last line is a plain one, be it a `pass`, has neither gap.
"""

from __future__ import annotations

import dis
import signal
import sys
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from textwrap import indent
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

import pytest

import nnqpy

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE: Final = Path(nnqpy.__file__).parent
LIBRARY: Final = sorted(
    path for path in PACKAGE.rglob("*.py") if not {"cli", "bench", "__main__.py"} & set(path.relative_to(PACKAGE).parts)
)
LOOPS: Final = {
    "condition": "while go:\n    pass",
    "condition-within-a-loop": "while True:\n    while go:\n        pass",
    "if-at-the-end": "for item in nothings:\n    if item:\n        item",
    "for": "for item in nothings:\n    pass",
    "break": "while True:\n    if not go:\n        break",
    "break-and-pass": "while True:\n    if not go:\n        break\n    pass",
    "in-one-line": "while True: go = 1",
    "in-two-lines": "while True:\n    go = 1",
}
AROUND: Final = {"try": "try:\n{}\nfinally:\n    ended()", "with": "with guard:\n{}"}


@pytest.mark.parametrize("path", LIBRARY, ids=[path.relative_to(PACKAGE).as_posix() for path in LIBRARY])
def test_every_loop_within_a_try_stays_within_it(path: Path) -> None:
    """Whatever handles the errors of a loop's condition handles those of its backward jump."""
    assert list(gaps(compile(path.read_text(), path.name, "exec"))) == []


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_gap_is_seen_where_a_signal_finds_one(loop: str, around: str) -> None:
    """A check that finds nothing in anything would pass everything; each of these loops is interrupted at its jump."""
    code = compile(around.format(indent(loop, "    ")), "loop", "exec")

    assert bool(list(gaps(code))) is any(escapes(code, go) for go in (True, False))


def escapes(code: CodeType, go: bool) -> bool:
    """Interrupt an endless loop that calls nothing, so at its jump: True if what is around it does not run.

    A loop that has two jumps takes the one or the other, depending on `go`; and one that is not endless just ends.
    """
    ends: list[str] = []
    guard = ExitStack()
    guard.callback(ends.append, "with")
    former = signal.signal(signal.SIGVTALRM, signal.default_int_handler)
    try:
        # Time of this process's own work, so that no pause of the machine is taken for the loop's.
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.01)
        exec(code, {"go": go, "nothings": repeat(None), "ended": lambda: ends.append("try"), "guard": guard})
    except KeyboardInterrupt:
        pass
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, former)
    return not ends


def gaps(code: CodeType) -> Iterator[tuple[str, int | None]]:
    """Yield function and line of each backward jump whose error some `try` or `with` around its loop would not see."""
    handlers = Handlers(code)
    for jump in handlers.jumps():
        looked_up: int = jump.offset if sys.version_info >= (3, 13) else jump.argval - 2
        if handlers.around(jump.argval) - handlers.around(looked_up):
            yield code.co_qualname, jump.positions.lineno if jump.positions else None
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from gaps(constant)


class Handlers:
    """The exception table of one code object."""

    def __init__(self, code: CodeType) -> None:
        self._instructions = list(dis.get_instructions(code))
        self._names = {one.offset: place for place, one in enumerate(self._instructions)}
        entries: list[Any] = vars(dis)["_parse_exception_table"](code)  # there is no public reader
        self._spans: list[tuple[int, int, int]] = [(one.start, one.end, one.target) for one in entries]

    def jumps(self) -> Iterator[dis.Instruction]:
        """Yield each backward jump at which a signal handler may run."""
        for one in self._instructions:
            if one.opname == "JUMP_BACKWARD" or one.opname.startswith("POP_JUMP_BACKWARD"):
                yield one

    def around(self, offset: int) -> set[int]:
        """Return the handlers, written in the source, that an error at `offset` comes to in the end."""
        found: set[int] = set()
        while (target := self._target(offset)) is not None and target not in found:
            found.add(target)
            offset = target
        return {target for target in found if self._is_written(target)}

    def _target(self, offset: int) -> int | None:
        return next((target for start, end, target in self._spans if start <= offset < end), None)

    def _is_written(self, target: int) -> bool:
        """Whether a handler is one of a `try` or `with`: neither a comprehension's nor a generator's own."""
        place = self._names[target]
        first, second = self._instructions[place : place + 2]
        return first.opname == "PUSH_EXC_INFO" and "CALL_INTRINSIC" not in second.opname
