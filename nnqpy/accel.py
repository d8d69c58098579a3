"""The choice between the halves of nnqpy that exist twice: in Python, which is the reference, and compiled.

``NNQPY_ACCEL`` in the environment forces a side: ``0`` the one in Python, ``1`` the compiled one, and without it nnqpy is
not imported. Without the variable it is the compiled one where it was built.
"""

from __future__ import annotations

import inspect
import os
import sys
from functools import update_wrapper
from importlib import import_module
from itertools import repeat, starmap
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Coroutine, Iterator, Sequence

__all__ = [
    "Gate",
    "Look",
    "Pulse",
    "compiled",
    "describe",
    "in_python",
    "move",
    "quick",
    "quick_awaited",
    "taker",
    "ticker",
    "total_size",
]


def _choose(wanted: str | None) -> Any:
    """Return the compiled half, or None where the one in Python is to run.

    Raises:
        ImportError: it is wanted, and not there.
        ValueError: what is wanted is neither 0 nor 1.
    """
    if wanted not in {None, "", "0", "1"}:
        raise ValueError(f"NNQPY_ACCEL is 0 (Python), 1 (compiled) or not set, not {wanted!r}")
    if wanted == "0":
        return None
    try:
        return import_module("nnqpy._accel")
    except ImportError as error:
        if wanted == "1":
            raise ImportError(
                "NNQPY_ACCEL=1 wants the compiled half of nnqpy, which was not built for this interpreter: install nnqpy "
                f"from its source where there is a C compiler, or take the variable away ({error})",
                name=error.name,
            ) from error
        return None


compiled: Final[Any] = _choose(os.environ.get("NNQPY_ACCEL"))
"""The module of the compiled half, if it is the one that runs; else None."""


def _total_size(bodies: Sequence[bytes]) -> int:
    """Return the bytes of all bodies."""
    return sum(map(len, bodies))


class Look:
    """The base of a socket's core: what every sender compares."""

    look: int = 0
    """A sender whose message makes the outbox longer than this looks what is to be done; -1: closed."""


class Gate:
    """The base of a socket: where its messages go."""

    def _open_gate(self, queue: deque[bytes], core: Look, small: int) -> None:
        """Let bodies of at most `small` bytes into a queue, as long as that is within the core's `look`."""


if compiled and not TYPE_CHECKING:
    Look, Gate = compiled.Look, compiled.Gate
SendT = TypeVar("SendT", bound="Callable[..., None]")


def quick(send: SendT) -> SendT:
    """Have a method's usual case done in C: exact `bytes` for which there is room, and nothing to be done but to queue them."""
    if not compiled:
        return send
    quickly: Any = update_wrapper(compiled.Quick(send), send)
    return cast("SendT", quickly)


CoroutineT = TypeVar("CoroutineT", bound="Callable[..., Coroutine[Any, Any, Any]]")


def quick_awaited(way: Literal["send", "recv"]) -> Callable[[CoroutineT], CoroutineT]:
    """Have a coroutine function's usual case done in C, as it is awaited: there is room, or there is a message.

    Args:
        way: which case that is.
    """

    def wrap(method: CoroutineT) -> CoroutineT:
        if not compiled:
            return method
        quickly: Any = update_wrapper(compiled.Quick(method, way), method)
        return cast("CoroutineT", _marked(quickly))

    return wrap


def in_python(method: CoroutineT) -> CoroutineT:
    """Return a quick coroutine function's own half in Python, which does all of it."""
    whole: CoroutineT = getattr(method, "__wrapped__", method)
    return whole


def _marked(function: Any) -> Any:
    """Have `iscoroutinefunction` be true of a function of C: that of inspect, or up to 3.11 that of asyncio."""
    if sys.version_info >= (3, 12):
        return inspect.markcoroutinefunction(function)
    coroutines: Any = import_module("asyncio.coroutines")  # not at the top: wire and routing import us, and do without
    function._is_coroutine = coroutines._is_coroutine  # noqa: SLF001  # there is no other way to mark one
    return function


def _taker(queue: deque[Any]) -> Iterator[Any]:
    """Return an iterator that takes from the left end of a deque; `IndexError`, as often as it is empty."""
    return iter(queue.popleft, queue)  # which it is not in itself


def _move(queue: deque[bytes], bodies: list[bytes], number: int) -> None:
    """Move at most `number` items from the left end of a deque to the end of a list."""
    bodies.extend(starmap(queue.popleft, repeat((), min(number, len(queue)))))


total_size: Final[Callable[[Sequence[bytes]], int]] = compiled.total_size if compiled else _total_size
move: Final[Callable[[deque[bytes], list[bytes], int], None]] = compiled.move if compiled else _move


taker: Final[Callable[[deque[Any]], Iterator[Any]]] = compiled.Taker if compiled else _taker


class Pulse:
    """When a socket's writer was at it, for a ticker to see: nobody looks at this one."""

    __slots__ = ("_clock",)

    def __init__(self, clock: Callable[[], float], /) -> None:
        self._clock = clock

    def hold(self) -> None:
        """Begin to write."""

    def __call__(self) -> float:
        """Have written; return the time."""
        return self._clock()


if hasattr(compiled, "Pulse") and not TYPE_CHECKING:
    Pulse = compiled.Pulse
ticker: Final[Callable[[int, float, Callable[[], object], int], Any] | None] = getattr(compiled, "Ticker", None)
"""Makes a thread that watches pulses; None: there is none."""


def describe() -> str:
    """Say which half runs: ``"compiled"`` or ``"in Python"``."""
    return "compiled" if compiled else "in Python"
