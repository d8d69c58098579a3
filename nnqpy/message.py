"""What is sent: a message is one body of bytes, and what is accepted cannot change any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import ReadableBuffer as Body
else:
    Body = "bytes-like"

__all__ = ["Batch", "Body", "frozen", "frozen_all"]


class Batch(list[bytes]):
    """Messages that go to several peers; what was made of them for one connection serves the next one too."""

    __slots__ = ("encoded",)

    def __init__(self) -> None:
        super().__init__()
        self.encoded: dict[object, bytes] = {}
        """By codec: the frames of all of them, once somebody has joined them."""


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
