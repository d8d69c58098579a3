"""zstd+tcp: tcp, whose messages are compressed (NNQ's RFC for zstd). Each connection has a state of its own.

What the connections of a socket share is the compressors and the one dictionary that is trained from what it sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from nnqpy.errors import ProtocolError
from nnqpy.framed import FramedEngine
from nnqpy.wire.zstd import Trainer, Zstd, ZstdConfig, payload_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnqpy.turns import Turns

__all__ = ["ZstdEngine", "engines"]

_trainers: WeakKeyDictionary[Turns, Trainer] = WeakKeyDictionary()


class ZstdEngine(FramedEngine[Zstd]):
    """zstd+tcp: the frames of tcp, whose bodies are packed."""

    __slots__ = ()

    def __init__(self, *connection: Any, **which: Any) -> None:
        """Take over a connection; as `FramedEngine`."""
        super().__init__(*connection, **which)
        self._most = payload_limit(self._most)

    def _commit(
        self, out: list[bytes], data: bytes, place: int, chunks: list[bytes], *state: Any, fault: Any, **flags: Any
    ) -> None:
        framing, bodies = self._framing, list[bytes]()
        try:
            framing.unpack(out, bodies, self._turns.recv_max)
        except ProtocolError as error:
            fault = error
        try:
            super()._commit(bodies, data, place, chunks, *state, fault=fault, **flags)
        finally:
            # Interrupted, it was booked or it was not; a dictionary goes with what it came with.
            if self._chunks is chunks:
                framing.received = framing.found


def engines(turns: Turns) -> Callable[..., ZstdEngine]:
    """Return what makes the engines of one socket.

    Raises:
        ImportError: there is no zstd library.
        ValueError: what is configured as a dictionary is none.
    """
    config = turns.core.options.zstd or ZstdConfig()
    trainer = _trainers.setdefault(turns, Trainer())
    trainer.packer(config.level, config.dictionary)  # a dictionary that is none is found out in the caller's thread

    def make(*connection: Any, **which: Any) -> ZstdEngine:
        return ZstdEngine(*connection, framing=Zstd(config, trainer), **which)

    return make
