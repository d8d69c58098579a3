"""Interrupts: raise KeyboardInterrupt wherever CPython may run a signal handler, at one point after the other.

CPython (3.11 to 3.13, ``ceval.c``: CHECK_EVAL_BREAKER) looks for signals only

* when a function is entered or a generator resumed,
* after a call that was carried out in C; not when a Python function returns to its caller,
* when it jumps backwards,

and a wait for a lock that another thread holds (``with lock:``) can be broken off. These are the legal points.
Between two other instructions no handler runs; the code under test relies on that (the law of ``routing/core.py``),
so raising at every line would show faults that cannot happen, and at every call would miss some that can.
"""

from __future__ import annotations

import dis
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

_CALLS: Final = {"CALL", "CALL_KW", "CALL_FUNCTION_EX"}
_LOOPS: Final = ("JUMP_BACKWARD", "POP_JUMP_BACKWARD")
_INLINED: Final = "(a Python function returned)"
_ENTERED: Final = "(a function was entered)"
_GENERATOR: Final = 0x20  # inspect.CO_GENERATOR: such a frame is run by a function in C, as sum() or extend()


def interrupt(action: Callable[[], object], at: int, *modules: str) -> bool:
    """Call `action` and raise KeyboardInterrupt at the `at`-th legal point within `modules`; False if there are fewer.

    Args:
        action: what is interrupted; it must let the KeyboardInterrupt out.
        at: counted from 0.
        modules: names of modules, or of packages with all that is in them.
    """
    tracer = _Tracer(at, modules)
    before = sys.gettrace()
    sys.settrace(tracer.enter)
    try:
        action()
    except KeyboardInterrupt:
        if not tracer.raised:
            raise
        return True
    finally:
        sys.settrace(before)
    assert not tracer.raised, f"the interrupt at {tracer.place} was swallowed"
    return False


class _Tracer:
    """A trace function that sees every instruction of the modules it is asked about."""

    def __init__(self, at: int, modules: tuple[str, ...]) -> None:
        self.raised = False
        self.place = ""
        self._left = at
        self._modules = modules
        self._last: dict[FrameType, tuple[str, int]] = {}
        self._names: dict[CodeType, bytes] = {}

    def enter(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any] | None:  # as sys.settrace has it
        caller = frame.f_back
        by_python = not frame.f_code.co_flags & _GENERATOR and frame.f_code.co_name != "__init__"
        if caller in self._last and by_python:
            self._last[caller] = (_INLINED, caller.f_lasti)
        module = frame.f_globals.get("__name__", "")
        if frame.f_code.co_name == "__del__":
            return None  # what it raises goes nowhere
        if not any(module == one or module.startswith(f"{one}.") for one in self._modules):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        self._last[frame] = (_ENTERED, -1)
        return self._step

    def _step(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
        if event == "opcode":
            place = frame.f_lasti
            before, from_place = self._last[frame]
            now = self._opname(frame.f_code, place)
            if (
                before == _ENTERED
                or before in _CALLS
                or (before.startswith(_LOOPS) and place < from_place and "NO_INTERRUPT" not in before)
                or now == "BEFORE_WITH"
            ):
                self._reached(frame, before)
            self._last[frame] = (now, place)
        return self._step

    def _reached(self, frame: FrameType, before: str) -> None:
        if self._left:
            self._left -= 1
            return
        self.raised = True
        self._left = -1
        self.place = f"{frame.f_code.co_qualname}:{frame.f_lineno} after {before}"
        raise KeyboardInterrupt(self.place)

    def _opname(self, code: CodeType, place: int) -> str:
        codes = self._names.get(code)
        if codes is None:
            codes = self._names[code] = code.co_code
        return dis.opname[codes[place]]
