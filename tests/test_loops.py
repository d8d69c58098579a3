"""Ctrl-C at the end of a loop's round runs the `finally` around the loop: no lock is left held.

A signal handler runs at backward jumps, too, and CPython looks up what handles its error by a place that is not always
within the `try`: on 3.13 the jump itself, which the compiler leaves out of the exception table where a loop ends in a
condition (python/cpython#130279); before that the instruction ahead of the jump (python/cpython#108214). A `while True`
with a `break` has neither gap.
"""

from __future__ import annotations

import dis
import sys
from pathlib import Path
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
GAPPED: Final = """if True:
    def f(lock, there):
        with lock:
            while there():
                pass
    def g(lock, items):
        with lock:
            for item in items:
                if item:
                    item()
    def h(lock, there):
        try:
            while True:
                there()
        finally:
            lock()
"""


@pytest.mark.parametrize("path", LIBRARY, ids=[path.relative_to(PACKAGE).as_posix() for path in LIBRARY])
def test_every_loop_within_a_try_stays_within_it(path: Path) -> None:
    """Whatever handles the errors of a loop's condition handles those of its backward jump."""
    assert list(gaps(compile(path.read_text(), path.name, "exec"))) == []


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the gap in conditions is there since 3.13")
def test_the_gap_is_seen() -> None:
    """A check that finds nothing in anything would pass everything."""
    assert [name for name, _ in gaps(compile(GAPPED, "gapped", "exec"))] == ["f", "g"]


def gaps(code: CodeType) -> Iterator[tuple[str, int | None]]:
    """Yield function and line of each backward jump whose error some `try` or `with` around its loop would not see."""
    handlers = Handlers(code)
    for before, jump in handlers.jumps():
        looked_up = jump if sys.version_info >= (3, 13) else before
        if handlers.around(jump.argval) - handlers.around(looked_up.offset):
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

    def jumps(self) -> Iterator[tuple[dis.Instruction, dis.Instruction]]:
        """Yield each backward jump at which a signal handler may run, and the instruction ahead of it."""
        for before, jump in zip(self._instructions, self._instructions[1:], strict=False):
            if jump.opname == "JUMP_BACKWARD" or jump.opname.startswith("POP_JUMP_BACKWARD"):
                yield before, jump

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
