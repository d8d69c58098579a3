"""NngPeer: what a test may ask of the other end, whichever implementation it is.

A peer is always a process of its own. It is asked and it answers; nothing here sleeps, and nothing waits for ever.
"""

from __future__ import annotations

from typing import Literal, Protocol

Kind = Literal["pynng", "nngcat", "nanocat"]
Side = Literal["bind", "connect"]

PATIENCE = 20.0
"""Seconds that anything a peer does may take on a loaded machine; less than a test's own timeout."""


class PeerFailed(AssertionError):
    """The peer said no, ended early or said nothing in time; the text has its last words."""


class NngPeer(Protocol):
    """A running peer with one socket, bound or connected to `url`."""

    url: str
    one_body: bool
    """Each body to send takes a process of its own: `stop` it before the next `send`."""

    def send(self, body: bytes) -> None:
        """Ask it to send `body`; returns before it is sent."""
        ...

    def receive(self, count: int = 1) -> list[bytes]:
        """Wait for the next `count` bodies it received, in its order.

        Raises:
            PeerFailed: not within `PATIENCE`, or it ended before.
        """
        ...

    def stop(self) -> None:
        """Kill it; it has no time to say goodbye. Harmless when it is gone."""
        ...
