"""nng's own library, by way of pynng, as far as the demo uses it: a real peer, if it is installed.

pynng publishes no types; what we rely on is said here.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType


class NngSocket(Protocol):
    """A pynng socket."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def recv(self) -> bytes:
        """Wait for a message."""
        ...

    def send(self, data: bytes) -> None:
        """Wait until a message is taken."""
        ...


class Relay:
    """A Pull0 and a Push0.

    Attributes:
        Timeout: what `jobs.recv` raises after 100 ms without a message.
    """

    def __init__(self, source: str, goal: str) -> None:
        pynng = importlib.import_module("pynng")
        self.Timeout: type[Exception] = pynng.Timeout
        self.jobs: NngSocket = pynng.Pull0(dial=source, recv_timeout=100)
        self.results: NngSocket = pynng.Push0(dial=goal)


def version() -> str | None:
    """Return what the nng peer is, as ``"nng 1.11.0, pynng 0.9.0"``, or None where pynng cannot be used."""
    try:
        pynng = importlib.import_module("pynng")
    except ImportError:
        return None
    nng: bytes = pynng.ffi.string(pynng.lib.nng_version())
    return f"nng {nng.decode()}, pynng {importlib.metadata.version('pynng')}"
