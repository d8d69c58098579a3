"""Pub, Sub and Bus: a policy for who is behind, subscriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from nnqpy.base import BaseSocket
from nnqpy.message import frozen
from nnqpy.patterns.pubsub import LatestSubCore, SubCore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Unpack

    from nnqpy.base import Common
    from nnqpy.options import OnFull, Options

KEEP: Final = ("all", "latest")


class SpreadKind(BaseSocket):
    """A Pub or a Bus, less the face."""

    _specials = frozenset({"on_full"})

    def __init__(self, *, on_full: OnFull | None = None, **common: Unpack[Common]) -> None:
        """Make a socket; `common` is what every socket takes.

        Args:
            on_full: what a peer that is `send_hwm` messages behind misses: ``"drop_oldest"`` (None: so does a Pub) or
                ``"drop_newest"`` (None: so does a Bus) of them. ``"block"``: nothing; then `send` waits for it, and so
                do all others.
            common: as `BaseSocket`; `send_hwm` is per peer.
        """
        super().__init__(on_full=on_full, **common)


class SubKind(BaseSocket):
    """A Sub, less the face."""

    _core: SubCore

    def __init__(
        self,
        *,
        subscribe: str | bytes | Iterable[str | bytes] = (),
        keep: Literal["all", "latest"] = "all",
        **common: Unpack[Common],
    ) -> None:
        """Make a socket; `common` is what every socket takes.

        Args:
            subscribe: a prefix, or several, as `subscribe` takes them. None of them: nothing is received.
            keep: ``"all"``: when `recv_hwm` messages wait, the senders feel it and nothing is lost here.
                ``"latest"``: of what arrives the last `recv_hwm` messages are kept, also while nobody receives.
            common: as `BaseSocket`.
        """
        if keep not in KEEP:
            raise ValueError(f"keep is one of {', '.join(KEEP)}, not {keep!r}")
        self._keep = keep
        self._first = [subscribe] if isinstance(subscribe, str | bytes) else list(subscribe)
        super().__init__(**common)

    def _make_core(self, options: Options) -> SubCore:
        core = LatestSubCore(options) if self._keep == "latest" else SubCore(options)
        for prefix in self._first:
            core.topics.add(_topic(prefix))
        return core

    def subscribe(self, prefix: str | bytes) -> None:
        """Receive what begins with `prefix` too, from now on; the empty one is in front of everything.

        Args:
            prefix: bytes, or a str that stands for its UTF-8. A second time changes nothing.
        """
        self._turns.check_open()
        with self._core.lock:
            self._core.topics.add(_topic(prefix))

    def unsubscribe(self, prefix: str | bytes) -> None:
        """Receive it no more. What was received before stays.

        Raises:
            ValueError: there is no such subscription.
        """
        self._turns.check_open()
        with self._core.lock:
            try:
                self._core.topics.discard(_topic(prefix))
            except KeyError:
                raise ValueError(f"there is no subscription to {prefix!r}") from None

    @property
    def subscriptions(self) -> tuple[bytes, ...]:
        """The prefixes subscribed to."""
        with self._core.lock:
            return tuple(self._core.topics)


def _topic(prefix: str | bytes) -> bytes:
    return prefix.encode() if isinstance(prefix, str) else frozen(prefix)
