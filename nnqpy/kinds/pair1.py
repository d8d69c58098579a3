"""Pair1: the bound on steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnqpy.base import BaseSocket
from nnqpy.message import frozen
from nnqpy.patterns.pair1 import FIRST_HOP, Pair1Core

if TYPE_CHECKING:
    from typing import Unpack

    from nnqpy.base import Common
    from nnqpy.message import Body


class Pair1Kind(BaseSocket):
    """A Pair1, less the face."""

    _pattern = Pair1Core
    _specials = frozenset({"max_ttl"})

    def __init__(self, *, max_ttl: int = 8, **common: Unpack[Common]) -> None:
        """Make a socket; `common` is what every socket takes.

        Args:
            max_ttl: steps that a message may have made, 1 to 15; one that has made more is dropped.
            common: as `BaseSocket`.
        """
        super().__init__(max_ttl=max_ttl, **common)


def headed(body: Body) -> bytes:
    """Return a Pair1's message with its header: one step."""
    return FIRST_HOP + frozen(body)
