"""Interrupts: raise KeyboardInterrupt, or what else a handler may raise, wherever CPython may run one, point by point.

CPython (3.11 to 3.14, ``ceval.c``: CHECK_EVAL_BREAKER, CHECK_PERIODIC) looks for signals only

* when a function is entered or a generator resumed,
* after a call that was carried out in C; not when a Python function returns to its caller,
* when it jumps backwards,

and a wait for a lock that another thread holds (``with lock:``) can be broken off. These are the legal points. (What 3.14
does between `__enter__` and the block is left to ``nnqpy/locks.py`` and its test.)
Between two other instructions no handler runs; the code under test relies on that (the law of ``routing/core.py``),
so raising at every line would show faults that cannot happen, and at every call would miss some that can.
"""

from __future__ import annotations

import dis
from inspect import CO_GENERATOR
from typing import TYPE_CHECKING, Final

import pytest

from tests.kit.instructions import watching

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

handlers = pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError], ids=["Ctrl-C", "alarm"])
"""What a signal handler raises: the second is an `OSError`, as the errors of connections are."""

_CALLS: Final = {"CALL", "CALL_KW", "CALL_FUNCTION_EX"}
_LOOPS: Final = ("JUMP_BACKWARD", "POP_JUMP_BACKWARD")
_INLINED: Final = "(a Python function returned)"
_ENTERED: Final = "(a function was entered)"


def interrupt(
    action: Callable[[], object], at: int, *modules: str, error: type[BaseException] = KeyboardInterrupt
) -> bool:
    """Call `action` and raise an error at the `at`-th legal point within `modules`; False if there are fewer.

    Args:
        action: what is interrupted; it must let the error out.
        at: counted from 0.
        modules: names of modules, or of packages with all that is in them.
        error: what the signal handler raises.
    """
    watcher = _Interrupter(at, error)
    try:
        with watching(watcher, *modules):
            action()
    except error:
        if not watcher.raised:
            raise
        return True
    assert not watcher.raised, f"the interrupt at {watcher.place} was swallowed"
    return False


class _Interrupter:
    """Knows of every instruction whether a handler may run before it, and raises at one."""

    def __init__(self, at: int, error: type[BaseException]) -> None:
        self.error = error
        self.raised = False
        self.place = ""
        self._left = at
        self._last: dict[FrameType, tuple[str, int]] = {}
        self._codes: dict[CodeType, bytes] = {}

    def entered(self, frame: FrameType, ours: bool) -> None:
        caller, code = frame.f_back, frame.f_code
        # A generator is run by a function in C, as sum() or extend(); so is __init__, by the call of its class.
        if caller in self._last and not code.co_flags & CO_GENERATOR and code.co_name != "__init__":
            self._last[caller] = (_INLINED, caller.f_lasti)
        if ours:
            self._last[frame] = (_ENTERED, -1)

    def step(self, frame: FrameType, place: int) -> None:
        before, from_place = self._last.get(frame, ("", -1))
        now = self._opname(frame.f_code, place)
        if now == "RESUME":
            return  # the function is entered by this very instruction
        if (
            before == _ENTERED
            or before in _CALLS
            or (before.startswith(_LOOPS) and place < from_place and "NO_INTERRUPT" not in before)
            or now == "BEFORE_WITH"
            or (before == "LOAD_SPECIAL" and now == "CALL")  # the same, from 3.14 on
        ):
            self._reached(frame, before)
        self._last[frame] = (now, place)

    def _reached(self, frame: FrameType, before: str) -> None:
        if self._left:
            self._left -= 1
            return
        self.raised = True
        self._left = -1
        self.place = f"{frame.f_code.co_qualname}:{frame.f_lineno} after {before}"
        raise self.error(self.place)

    def _opname(self, code: CodeType, place: int) -> str:
        codes = self._codes.get(code)
        if codes is None:
            codes = self._codes[code] = code.co_code
        return dis.opname[codes[place]]
