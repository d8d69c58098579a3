"""Bare cores of the two mixins, and a `Ledger` that knows where each message must be."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from nnqpy.options import Options
from nnqpy.proto import Proto
from nnqpy.routing.fair_queue import FairQueue
from nnqpy.routing.send_pump import SendPump

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nnqpy.routing.core import SocketCore
    from tests.kit.peers import FakePeer


class Sender(SendPump):
    """A SendPump and nothing else."""

    proto = Proto.PUSH


class Receiver(FairQueue):
    """A FairQueue and nothing else."""

    proto = Proto.PULL


def sender(**options: Any) -> Sender:  # Options checks them
    """Make a `Sender`."""
    return Sender(Options(**options))


def queue(core: SocketCore, bodies: Iterable[bytes]) -> None:
    """Append messages as a face does, whatever the marks say."""
    for body in bodies:
        with core.lock:
            if len(body) > core.small:
                core.weigh(len(body))
            core.outbox.append(body)


class Ledger:
    """Numbers the messages that a core is given, and says whether each is where it must be."""

    def __init__(self, core: SocketCore) -> None:
        self.core = core
        self.peers: list[FakePeer] = []
        """Every peer that was ever attached."""
        self.accepted: list[bytes] = []

    def queue(self, *sizes: int) -> None:
        """Queue a message of each size; it begins with its number, so it has at least 4 bytes."""
        bodies = [(len(self.accepted) + n).to_bytes(4, "big").ljust(size, b".") for n, size in enumerate(sizes)]
        queue(self.core, bodies)
        self.accepted += bodies

    @property
    def delivered(self) -> list[bytes]:
        """What the other ends have, peer by peer."""
        return [body for peer in self.peers for body in peer.written]

    def check_count(self) -> None:
        """No message is lost or doubled: holds at every moment, also in the middle of an interrupted pump."""
        stats = self.core.stats()
        assert stats.accepted == stats.delivered + stats.queued + sum(stats.dropped.values())
        assert stats.accepted == len(self.accepted)

    def check(self) -> None:
        """Each message is in one place, and every counter is true: holds whenever no pump is under way."""
        core = self.core
        stats = core.stats()
        self.check_count()
        delivered = Counter(self.delivered)
        waiting = [*core.outbox, *(peer.begun for peer in self.peers if peer.begun is not None)]
        dropped = Counter(self.accepted) - delivered - Counter(waiting)
        assert delivered + Counter(waiting) + dropped == Counter(self.accepted)
        assert (core.hand, list(core.unsent)) == ([], [])
        assert sum(stats.dropped.values()) == dropped.total()
        assert stats.queued == len(waiting)
        assert stats.delivered == delivered.total()
        assert stats.bytes_delivered == sum(map(len, self.delivered))
        for peer in self.peers:
            assert peer.sent == len(peer.written)
            assert peer.bytes_sent == sum(map(len, peer.written))
            if peer.begun is not None:
                assert peer.begun[:4] == peer.torn[8:12].ljust(4)[: len(peer.torn) - 8] or len(peer.torn) < 12
        self.check_marks()

    def check_marks(self) -> None:
        """What counts against `send_hwm_bytes` is what waits in the outbox."""
        core = self.core
        big = [len(body) for body in core.outbox if len(body) > core.small]
        assert (core.big, core.big_bytes) == (len(big), sum(big))
