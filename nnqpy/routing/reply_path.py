"""ReplyPath: a message goes to the one peer it is addressed to (Rep, Respondent, polyamorous Pair1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from nnqpy.routing.outboxes import Outboxes

if TYPE_CHECKING:
    from nnqpy.message import Addressed, Batch
    from nnqpy.options import OnFull
    from nnqpy.routing.outboxes import Box


class ReplyPath(Outboxes):
    """Sends `Addressed` payloads, each to its peer; one whose peer is gone is dropped and counted."""

    on_full: OnFull = "block"
    """``"block"``: who sends to a peer with a full box waits; nobody else does."""
    unclaimed: ClassVar[str] = "peer_gone"
    marks_alike = False

    def _shared(self, batch: Batch) -> tuple[list[tuple[Box, list[bytes]]], int]:
        groups: dict[int, list[bytes]] = {}
        for payload in cast("list[Addressed]", batch):
            groups.setdefault(payload.peer, []).append(payload)
        boxes = self.boxes
        shares = [(boxes[peer], bodies) for peer, bodies in groups.items() if peer in boxes]
        return shares, len(batch) - sum(len(bodies) for _, bodies in shares)

    def has_room(self, body: bytes) -> bool:
        """Whether one more message may be queued: in the outbox, and in its peer's box."""
        return super().has_room(body) and not self.crowded(body)

    def miss(self, payload: Addressed) -> None:
        """Count an answer that its peer does not get, because it is too far behind."""
        with self.lock:
            box = self.boxes.get(payload.peer)
            missed, dropped = 0 if box is None else box.peer.missed + 1, self.dropped["queue_full"] + 1
            # A commit: stores only, no call.
            if box is not None:
                box.peer.missed = missed
            self.dropped["queue_full"] = dropped

    def full_text(self) -> str:
        """Say so: it may be the queue of the one peer, too."""
        return (
            f"the send queue ({len(self.outbox)} messages) or that of the peer is full "
            f"(send_hwm is {self.options.send_hwm} each) and the peer takes no more now"
        )

    def crowded(self, body: bytes) -> bool:
        """Whether the peer of a message has as much waiting as it may, and its sender is to wait for it."""
        if self.on_full != "block":
            return False
        box = self.boxes.get(cast("Addressed", body).peer)
        return box is not None and self._spare(box) <= 0
