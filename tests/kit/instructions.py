"""Look at every instruction of some modules as it is about to run: for tests that come in between any two of them.

Python 3.11 has `sys.settrace` for that. From 3.12 on opcodes are reliably told of only by `sys.monitoring` (a code
object's first run is not traced by the older way), which changes the code objects themselves: that is kept from one
`watching` to the next, and undone by `unwatch` at the end of a test.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from threading import get_ident
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from types import FrameType, ModuleType


class Watcher(Protocol):
    """What is told; it may raise, and its error comes out of the code that is watched."""

    def entered(self, frame: FrameType, ours: bool) -> None:
        """A Python function, of our modules or not, is entered or resumed."""
        ...

    def step(self, frame: FrameType, place: int) -> None:
        """The instruction at `place` of a function of ours comes next."""
        ...


def is_within(name: str, modules: tuple[str, ...]) -> bool:
    """Whether a module is one of `modules`, or in one of them."""
    return any(name == one or name.startswith(f"{one}.") for one in modules)


if sys.version_info < (3, 12):

    @contextmanager
    def watching(watcher: Watcher, *modules: str) -> Generator[None, None, None]:
        """Tell `watcher` of every instruction of `modules` (with all that is in them) in this thread."""

        def enter(frame: FrameType, event: str, arg: Any) -> Any:  # as sys.settrace has it
            ours = is_within(frame.f_globals.get("__name__", ""), modules)
            watcher.entered(frame, ours)
            if not ours or frame.f_code.co_name == "__del__":  # what that raises goes nowhere
                return None
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            return step

        def step(frame: FrameType, event: str, arg: Any) -> Any:
            if event == "opcode":
                watcher.step(frame, frame.f_lasti)
            return step

        before = sys.gettrace()
        sys.settrace(enter)
        try:
            yield
        finally:
            sys.settrace(before)

    def unwatch() -> None:
        """Undo what `watching` has left: here, nothing."""

else:
    TOOL: Final = 4  # 0, 1, 2 and 5 have their uses by convention
    _watched: dict[CodeType, str] = {}
    _modules: set[str] = set()

    @contextmanager
    def watching(watcher: Watcher, *modules: str) -> Generator[None, None, None]:
        """Tell `watcher` of every instruction of `modules` (with all that is in them) in this thread."""
        monitoring = sys.monitoring
        _arm(modules)
        mine = get_ident()

        def entered(code: CodeType, place: int) -> None:
            if get_ident() == mine:  # the janitor is told of, too
                watcher.entered(sys._getframe(1), is_within(_watched.get(code, ""), modules))

        def step(code: CodeType, place: int) -> None:
            if get_ident() == mine and is_within(_watched[code], modules):
                watcher.step(sys._getframe(1), place)

        starts = monitoring.events.PY_START, monitoring.events.PY_RESUME
        for event in starts:
            monitoring.register_callback(TOOL, event, entered)
        monitoring.register_callback(TOOL, monitoring.events.INSTRUCTION, step)
        monitoring.set_events(TOOL, starts[0] | starts[1])
        try:
            yield
        finally:
            monitoring.set_events(TOOL, 0)
            for event in (*starts, monitoring.events.INSTRUCTION):
                monitoring.register_callback(TOOL, event, None)

    def _arm(modules: tuple[str, ...]) -> None:
        if sys.monitoring.get_tool(TOOL) is None:
            sys.monitoring.use_tool_id(TOOL, "tests.kit.instructions")
        if _modules.issuperset(modules):
            return
        _modules.update(modules)
        for name, module in tuple(sys.modules.items()):
            if is_within(name, modules):
                for code in _codes(module):
                    if code.co_name != "__del__":  # what that raises goes nowhere
                        _watched[code] = name
                        sys.monitoring.set_local_events(TOOL, code, sys.monitoring.events.INSTRUCTION)

    def unwatch() -> None:
        """Undo what `watching` has left in the code objects."""
        for code in _watched:
            sys.monitoring.set_local_events(TOOL, code, 0)
        _watched.clear()
        _modules.clear()
        if sys.monitoring.get_tool(TOOL) is not None:
            sys.monitoring.free_tool_id(TOOL)


def _codes(module: ModuleType) -> Iterator[CodeType]:
    """Yield the code of every function and method that a module defines."""
    for value in vars(module).values():
        if getattr(value, "__module__", None) == module.__name__:
            for one in (value, *vars(value).values()) if isinstance(value, type) else (value,):
                for function in (one, *(getattr(one, name, None) for name in ("__func__", "fget", "__wrapped__"))):
                    if isinstance(function, FunctionType):
                        yield from _with_inner(function.__code__)


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _with_inner(inner)
