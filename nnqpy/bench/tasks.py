"""Task: what the parent tells a worker to do, as it stands on the worker's command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

__all__ = ["Task"]


@dataclass(frozen=True, slots=True)
class Task:
    """One role in one measurement.

    Args:
        role: which function of `roles` or `roles_asyncio` to run.
        library: a name of `libraries.LIBRARIES`.
        size: bytes of a body.
        seconds: how long the measured part lasts.
        peers: connections of a crowd.
        mode: the variant of a role that has several.
        limit: seconds after which the worker ends itself, whatever it is doing.
    """

    role: str
    library: str
    size: int
    seconds: float
    peers: int
    mode: str
    limit: float

    def dump(self) -> str:
        """As one command-line word."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, word: str) -> Task:
        """Back from the command line."""
        return cls(**json.loads(word))
