"""What a socket tells about itself: events as they happen, and snapshots when asked. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nnqpy.errors import Reason
    from nnqpy.tls import Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerInfo:
    """One peer, as it is now.

    Attributes:
        id: a number of this process, never used again.
        address: the URL of the listener or dialer that the connection came by.
        remote: the other end's own address where the transport knows one, as ``"127.0.0.1:40112"``.
        protocol: the peer's SP name: ``"pull"``.
        direction: ``"in"`` for an accepted connection, ``"out"`` for a dialled one.
        state: ``"open"`` or ``"closed"``.
        sent: messages whose last byte the kernel (or the other thread) has taken.
        received: whole messages that came from it.
        bytes_sent: bytes of `sent`: the bodies and what the pattern puts in front of them.
        bytes_received: the same of `received`.
        backlog: messages begun and not yet taken whole by the kernel: 0 or 1.
        missed: messages that it did not get, because its queue was full or it left; where each peer has a queue (Pub,
            Bus, Surveyor, Rep, Respondent, a ``poly`` Pair1).
        certificate: what it has shown of itself over TLS, if anything.
    """

    id: int
    address: str
    remote: str
    protocol: str
    direction: Literal["in", "out"]
    state: Literal["open", "closed"]
    sent: int
    received: int
    bytes_sent: int
    bytes_received: int
    backlog: int
    missed: int = 0
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A socket's counters, all of one instant: ``accepted == delivered + queued + sum(dropped.values())``.

    Attributes:
        accepted: messages that `send` took.
        delivered: messages handed whole to the kernel (tcp, ipc) or to the other socket (inproc): not acknowledged.
        queued: messages that wait, with those being written.
        dropped: messages given up, by reason.
        received: whole messages taken from peers.
        inbox: of those, how many nobody has asked for yet.
        peers: peers attached.
        bytes_delivered: bytes of `delivered`: the bodies and what the pattern puts in front of them.
        bytes_received: the same of `received`.
        discarded: received messages that nobody gets, by reason.
    """

    accepted: int
    delivered: int
    queued: int
    dropped: Mapping[str, int] = field(default_factory=dict[str, int])
    received: int
    inbox: int
    peers: int
    bytes_delivered: int
    bytes_received: int
    discarded: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReport:
    """What a `close` did with the messages that were queued.

    Attributes:
        flushed: messages that were queued when `close` began and were still handed on.
        abandoned: messages that nobody took within the linger time; they are gone.
        unread: messages received and never asked for; they are gone too.
        elapsed: seconds that it took.
    """

    flushed: int
    abandoned: int
    unread: int
    elapsed: float


@dataclass(frozen=True, slots=True)
class Event:
    """The root of all events."""


@dataclass(frozen=True, slots=True)
class Listening(Event):
    """A listener accepts connections at `address` (with the real port)."""

    address: str


@dataclass(frozen=True, slots=True)
class ListenerClosed(Event):
    """A listener accepts no more; `detail` says why."""

    address: str
    detail: str


@dataclass(frozen=True, slots=True)
class Connecting(Event):
    """A dialer begins an attempt, the `attempt`-th since the last success (from 1)."""

    address: str
    attempt: int


@dataclass(frozen=True, slots=True)
class ConnectFailed(Event):
    """An attempt failed before any greeting; the next is in `retry_in` seconds.

    Attributes:
        errno: the system's error number, or None where there is none (name resolution).
        error: its text, for a person.
    """

    address: str
    errno: int | None
    error: str
    retry_in: float


@dataclass(frozen=True, slots=True)
class HandshakeFailed(Event):
    """A connection came to be, but not its greeting; `remote` is who it was, where known."""

    address: str
    remote: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class PeerAdded(Event):
    """A peer is attached: messages can flow."""

    peer: PeerInfo


@dataclass(frozen=True, slots=True)
class PeerRefused(Event):
    """A peer greeted well and was refused by the pattern (a Pair has one peer)."""

    address: str
    remote: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class PeerRemoved(Event):
    """A peer is gone; `peer` holds its last counters."""

    peer: PeerInfo
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class AcceptThrottled(Event):
    """A listener cannot accept (out of descriptors or memory) and tries again every `retry_in` seconds.

    Told once per spell, not once per attempt.
    """

    address: str
    errno: int
    error: str
    retry_in: float


@dataclass(frozen=True, slots=True)
class AcceptResumed(Event):
    """The spell that `AcceptThrottled` told of is over."""

    address: str


@dataclass(frozen=True, slots=True)
class EventsLost(Event):
    """The reader of this stream was too slow: `count` events before this one are missing."""

    count: int


@dataclass(frozen=True, slots=True)
class SocketClosed(Event):
    """The socket is closed; always the last event."""

    report: DrainReport
