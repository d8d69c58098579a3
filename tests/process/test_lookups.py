"""What a call looks up for every message: CPython finds it without a search, also after a while."""

from __future__ import annotations

import dis
from inspect import isfunction
from typing import TYPE_CHECKING, Any

import pytest

from nnqpy import Pull, Push, TimedOut, accel

if TYPE_CHECKING:
    from collections.abc import Callable

ENOUGH = 2000
"""Calls until the interpreter has settled on how it carries them out."""


def searched(function: Callable[..., Any], name: str) -> list[str]:
    """Return how the interpreter carries out each lookup of an attribute in a function, as it runs now."""
    return [one.opname for one in dis.get_instructions(function, adaptive=True) if one.argval == name]


def test_the_inbox_is_found_at_once_also_by_one_who_has_waited() -> None:
    """A look at an instance's `__dict__` would have all its attributes searched for from then on."""
    with Pull(bind="inproc://lookups") as pull, Push(connect="inproc://lookups") as push:
        with pytest.raises(TimedOut):
            pull.recv(timeout=0.001)
        for _ in range(ENOUGH):
            push.send(b"x")
            assert pull.recv() == b"x"

    assert searched(Pull.recv, "_take") == ["LOAD_ATTR_SLOT" if accel.compiled else "LOAD_ATTR_INSTANCE_VALUE"]


def test_the_queue_is_found_at_once() -> None:
    """So is it in `send`; compiled, it is not the interpreter that looks."""
    with Push() as push:
        for _ in range(ENOUGH // 2):
            push.send(b"x")

    if accel.compiled:
        assert not isfunction(Push.send)
    else:
        assert {*searched(Push.send, "_outbox"), *searched(Push.send, "_small")} == {"LOAD_ATTR_INSTANCE_VALUE"}
