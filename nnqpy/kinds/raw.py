"""The raw sockets: what they take and give, what a device hands on, and who is told that a peer is gone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from nnqpy.base import BaseSocket
from nnqpy.errors import PeerGone
from nnqpy.events import PeerRemoved
from nnqpy.message import Addressed, Message, frozen, peer_id, plain_header
from nnqpy.patterns.pair1 import FIRST_HOP, HOPS, LAST_HOP
from nnqpy.patterns.raw import (
    RawBusCore,
    RawPair1Core,
    RawPairCore,
    RawPubCore,
    RawPullCore,
    RawPushCore,
    RawRepCore,
    RawReqCore,
    RawRespondentCore,
    RawSubCore,
    RawSurveyorCore,
)
from nnqpy.routing.backtrace import MOST, WORD, check

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from nnqpy.base import Common
    from nnqpy.events import Event, PeerInfo
    from nnqpy.message import Body
    from nnqpy.options import OnFull

    OnPeerClosed = Callable[[PeerInfo], None]


class Raw(BaseSocket):
    """What all raw sockets have."""

    _takes: ClassVar[frozenset[str]] = frozenset()
    """Which of header and peer the pattern has on what it sends."""
    _strict = False

    def __init__(self, *, on_peer_closed: OnPeerClosed | None = None, **common: Unpack[Common]) -> None:
        """Make a socket; `common` is what every socket takes.

        Args:
            on_peer_closed: called with a peer when it is gone, in whatever thread it happens; it must not block.
            common: as `BaseSocket`.
        """
        if on_peer_closed is not None:
            common["on_event"] = partial(_tell, on_peer_closed, common.get("on_event"))
        super().__init__(**common)

    def _pack(self, message: Message | Body, header: bytes | None = None, peer: int | None = None) -> bytes:
        """Return the payload to queue."""
        if header is not None or peer is not None:
            self._check_takes(header=header, peer=peer)
        if isinstance(message, Message):
            header = message.header if header is None else header
            peer = message.peer if peer is None else peer
            body: Body = message.body
        else:
            body = message
        return self._payload(
            None if header is None else plain_header(header), frozen(body), None if peer is None else peer_id(peer)
        )

    def _check_takes(self, **given: object) -> None:
        """Refuse what the pattern does not have on what it sends."""
        for name, value in given.items():
            if value is not None and name not in self._takes:
                raise TypeError(f"what a {type(self).__name__} sends has no {name}")

    def _payload(self, header: bytes | None, body: bytes, peer: int | None) -> bytes:
        """Kind hook: put together what the pattern sends; what it has not got is left out."""
        return body

    def _onward(self, message: Message) -> bytes | None:
        """Kind hook: what a device sends here of a message that came in at its other socket; None: it goes no further."""
        return message.body

    def _check_there(self, peer: int) -> None:
        if self._strict and peer not in self._core.peers:
            raise PeerGone(f"peer {peer} is gone")


def _tell(on_peer_closed: OnPeerClosed, on_event: Callable[[Event], None] | None, event: Event) -> None:
    try:
        if on_event is not None:
            on_event(event)
    finally:
        if isinstance(event, PeerRemoved):
            on_peer_closed(event.peer)


class RawPushKind(Raw):
    """A RawPush, less the face."""

    _pattern = RawPushCore


class RawPullKind(Raw):
    """A RawPull, less the face."""

    _pattern = RawPullCore


class RawPairKind(Raw):
    """A RawPair, less the face."""

    _pattern = RawPairCore


class RawSubKind(Raw):
    """A RawSub, less the face."""

    _pattern = RawSubCore


class RawPair1Kind(Raw):
    """A RawPair1, less the face."""

    _pattern = RawPair1Core
    _specials = frozenset({"max_ttl"})
    _takes = frozenset({"header"})

    def __init__(
        self, *, max_ttl: int = 8, on_peer_closed: OnPeerClosed | None = None, **common: Unpack[Common]
    ) -> None:
        """Make a socket; `common` is what every socket takes.

        Args:
            max_ttl: steps that a message may have made, 1 to 15; one that has made more is dropped.
            on_peer_closed: called with a peer when it is gone, in whatever thread it happens; it must not block.
            common: as `BaseSocket`.
        """
        super().__init__(on_peer_closed=on_peer_closed, max_ttl=max_ttl, **common)  # type: ignore[call-arg]  # checked by _specials

    def _payload(self, header: bytes | None, body: bytes, peer: int | None) -> bytes:
        if not header:
            return FIRST_HOP + body
        if len(header) != HOPS or header[:-1] != FIRST_HOP[:-1] or header[-1] == LAST_HOP:
            raise ValueError(f"a hop count is from 00 00 00 00 to 00 00 00 fe, not {header.hex(' ')}")
        return FIRST_HOP[:-1] + bytes((header[-1] + 1,)) + body

    def _onward(self, message: Message) -> bytes | None:
        return None if message.header[-1] == LAST_HOP else self._pack(message)


class RawSpreadKind(Raw):
    """A RawPub, RawBus or RawSurveyor, less the face."""

    _specials = frozenset({"on_full"})

    def __init__(
        self,
        *,
        on_full: OnFull | None = None,
        on_peer_closed: OnPeerClosed | None = None,
        **common: Unpack[Common],
    ) -> None:
        """Make a socket; `common` is what every socket takes.

        Args:
            on_full: as for a Pub; None: as the pattern has it.
            on_peer_closed: called with a peer when it is gone, in whatever thread it happens; it must not block.
            common: as `BaseSocket`; `send_hwm` is per peer.
        """
        super().__init__(on_peer_closed=on_peer_closed, on_full=on_full, **common)  # type: ignore[call-arg]  # checked by _specials


class RawPubKind(RawSpreadKind):
    """A RawPub, less the face."""

    _pattern = RawPubCore


class RawBusKind(RawSpreadKind):
    """A RawBus, less the face."""

    _pattern = RawBusCore
    _takes = frozenset({"peer"})

    def _payload(self, header: bytes | None, body: bytes, peer: int | None) -> bytes:
        return Addressed.to(peer, body) if peer else body  # 0 is nobody

    def _onward(self, message: Message) -> bytes | None:
        return self._pack(message)


class _Asks(Raw):
    """What a RawReq and a RawSurveyor have in common."""

    _takes = frozenset({"header"})

    def _payload(self, header: bytes | None, body: bytes, peer: int | None) -> bytes:
        if header is None:
            raise TypeError(f"a {type(self).__name__} needs the header of what it sends: header=...")
        return check(header) + body

    def _onward(self, message: Message) -> bytes | None:
        """Note in front whom the answer is for."""
        if len(message.header) + WORD > MOST * WORD:
            return None
        return message.peer.to_bytes(WORD, "big") + message.header + message.body


class RawReqKind(_Asks):
    """A RawReq, less the face."""

    _pattern = RawReqCore


class RawSurveyorKind(_Asks, RawSpreadKind):
    """A RawSurveyor, less the face."""

    _pattern = RawSurveyorCore


class _Answers(Raw):
    """What a RawRep and a RawRespondent have in common."""

    _specials = frozenset({"max_ttl", "on_full"})
    _takes = frozenset({"header", "peer"})

    def __init__(
        self,
        *,
        strict: bool = False,
        max_ttl: int = 8,
        on_full: OnFull | None = None,
        on_peer_closed: OnPeerClosed | None = None,
        **common: Unpack[Common],
    ) -> None:
        """Make a socket; `common` is what every socket takes.

        Args:
            strict: raise `PeerGone` for an answer to a peer that is gone, instead of dropping and counting it.
            max_ttl: words of 4 bytes that a header may have, 1 to 15; what came further is dropped.
            on_full: what a peer that is `send_hwm` answers behind misses: ``"drop_newest"`` (also None) or
                ``"drop_oldest"`` of them; ``"block"``: nothing, `send` to it waits.
            on_peer_closed: called with a peer when it is gone, in whatever thread it happens; it must not block.
            common: as `BaseSocket`; `send_hwm` is per peer.
        """
        self._strict = strict
        super().__init__(on_peer_closed=on_peer_closed, max_ttl=max_ttl, on_full=on_full, **common)  # type: ignore[call-arg]  # checked by _specials

    def _payload(self, header: bytes | None, body: bytes, peer: int | None) -> bytes:
        if header is None or peer is None:
            raise TypeError(f"a {type(self).__name__} needs header=... and peer=..., or a Message that has them")
        self._check_there(peer)
        return Addressed.to(peer, check(header), body)

    def _onward(self, message: Message) -> bytes | None:
        """Take off what a device has noted in front: whom the answer is for."""
        header = message.header
        if len(header) <= WORD:
            return None  # no device has sent the question
        return Addressed.to(int.from_bytes(header[:WORD], "big"), header[WORD:], message.body)


class RawRepKind(_Answers):
    """A RawRep, less the face."""

    _pattern = RawRepCore


class RawRespondentKind(_Answers):
    """A RawRespondent, less the face."""

    _pattern = RawRespondentCore
