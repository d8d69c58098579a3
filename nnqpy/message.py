"""What is sent and received: bodies of bytes; a header and a peer too, where a raw socket shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import ReadableBuffer as Body
else:
    Body = "bytes-like"

__all__ = ["Addressed", "Batch", "Body", "Message", "frozen", "frozen_all", "peer_id", "plain_header"]


class Message(NamedTuple):
    """A message as a raw socket has it, and whose it is.

    Attributes:
        header: what the pattern puts in front of the body: the backtrace of a request, the hop count of a Pair1; empty
            where the pattern has no header.
        body: what the other side's user sent.
        peer: the `PeerInfo.id` of the peer that it came from.
    """

    header: bytes
    body: bytes
    peer: int

    def reply(self, body: Body) -> Message:
        """Return `body` with this message's header and peer: what answers it."""
        return Message(self.header, frozen(body), self.peer)


class Addressed(bytes):
    """A payload (header and body) that goes to one peer, or comes from it and goes to all others."""

    peer: int

    @classmethod
    def to(cls, peer: int, *parts: bytes) -> Addressed:
        """Join a payload."""
        payload = cls(b"".join(parts))
        payload.peer = peer
        return payload


class Batch(list[bytes]):
    """Messages that go to several peers; what was made of them for one connection serves the next one too."""

    __slots__ = ("encoded", "packed")

    def __init__(self) -> None:
        super().__init__()
        self.encoded: dict[object, bytes] = {}
        """By codec: the frames of all of them, once somebody has joined them."""
        self.packed: dict[object, list[bytes]] = {}
        """By level and dictionary: the frame of each of them, once somebody has compressed them."""


def frozen(body: Body) -> bytes:
    """Return `body` as `bytes`: the object itself if it is exactly that, else a copy of its contents.

    Raises:
        TypeError: `body` is a `str`, not bytes-like, or not contiguous.
    """
    if type(body) is bytes:
        return body
    if isinstance(body, str):
        raise TypeError("a message is bytes, not str: encode it first, for example body.encode()")
    try:
        view = memoryview(body)
    except TypeError:
        raise TypeError(f"a message is a bytes-like object, not {type(body).__name__}") from None
    with view:
        if not view.contiguous:
            raise TypeError("a message's buffer must be contiguous; copy it first, for example bytes(view)")
        return view.tobytes(None)


def frozen_all(bodies: Iterable[Body]) -> list[bytes]:
    """Return the bodies as a list of `bytes`, each as `frozen` does."""
    whole = list(bodies)
    for place, body in enumerate(whole):
        if type(body) is not bytes:
            whole[place] = frozen(body)
    return whole  # type: ignore[return-value]  # every element was checked or replaced above


def peer_id(peer: object) -> int:
    """Return what names a peer, or refuse what cannot.

    Raises:
        TypeError: it is no `PeerInfo.id`.
    """
    if isinstance(peer, int) and not isinstance(peer, bool):
        return peer
    raise TypeError(f"a peer is the id of one (int), not {peer!r}")


def plain_header(header: object) -> bytes:
    """Return a header that a user gave, whatever stands in it.

    Raises:
        TypeError: it is not bytes.
    """
    if isinstance(header, bytes):
        return header
    raise TypeError(f"a header is bytes, not {type(header).__name__}")
