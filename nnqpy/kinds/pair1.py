"""Pair1: the bound on steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnqpy.base import BaseSocket
from nnqpy.errors import UnsupportedOperation
from nnqpy.message import Addressed, frozen, peer_id
from nnqpy.patterns.pair1 import FIRST_HOP, Pair1Core, PolyPair1Core

if TYPE_CHECKING:
    from typing import Unpack

    from nnqpy.base import Common
    from nnqpy.message import Body
    from nnqpy.options import Options
    from nnqpy.routing.core import SocketCore


class Pair1Kind(BaseSocket):
    """A Pair1, less the face."""

    _specials = frozenset({"max_ttl"})

    def __init__(self, *, poly: bool = False, max_ttl: int = 8, **common: Unpack[Common]) -> None:
        """Make a socket; `common` is what every socket takes.

        Args:
            poly: talk to any number of peers: `recv_message` says whose a message is, `send` takes whose it is to be.
                (nng: polyamorous mode.)
            max_ttl: steps that a message may have made, 1 to 15; one that has made more is dropped.
            common: as `BaseSocket`; with `poly`, `send_hwm` is per peer: who is so far behind misses the newest.
        """
        self._poly = poly
        super().__init__(max_ttl=max_ttl, **common)

    def _make_core(self, options: Options) -> SocketCore:
        return PolyPair1Core(options) if self._poly else Pair1Core(options)

    def _headed(self, body: Body, peer: int | None = None) -> bytes:
        """Return the payload to queue: one step, and the body."""
        if not self._poly:
            if peer is not None:
                raise TypeError("a Pair1 has one peer and takes none, unless it is poly")
            return FIRST_HOP + frozen(body)
        # Without a name, the first of them; 0 is nobody.
        to = next(iter(self._core.peers), 0) if peer is None else peer_id(peer)
        return Addressed.to(to, FIRST_HOP, frozen(body))

    def _check_poly(self) -> None:
        if not self._poly:
            raise UnsupportedOperation("a Pair1 has one peer: recv_message is for Pair1(poly=True)")
