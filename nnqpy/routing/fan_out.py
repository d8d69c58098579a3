"""FanOut: every message goes to every peer (Pub, Bus, Surveyor)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnqpy.routing.outboxes import Outboxes

if TYPE_CHECKING:
    from nnqpy.message import Batch
    from nnqpy.routing.outboxes import Box


class FanOut(Outboxes):
    """Sends each message to all peers that are attached when it leaves the outbox."""

    @property
    def dealing(self) -> bool:
        """Whether a pump would take something from the outbox now."""
        return self.on_full != "block" or self._room() > 0

    def _room(self) -> int:
        """Messages that even the fullest box has room for."""
        return min(map(self._spare, self._behind.values()), default=self.options.send_hwm)

    def _most(self) -> int:
        most = super()._most()
        return min(most, self._room()) if self.on_full == "block" else most

    def _shared(self, batch: Batch) -> tuple[list[tuple[Box, list[bytes]]], int]:
        boxes = self.boxes.values() if batch else ()
        return [(box, batch) for box in boxes], 0 if boxes else len(batch)
