"""What the contract's tests share: places to meet, and patience that ends."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_names = count(1)


@pytest.fixture(params=["tcp", "ipc", "inproc"])
def spot(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL to bind, on each transport."""
    return spot_of(request.param, tmp_path)


@pytest.fixture(params=["tcp", "ipc"])
def stream_spot(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL to bind, on each transport that goes through the kernel."""
    return spot_of(request.param, tmp_path)


def spot_of(scheme: str, folder: Path) -> str:
    """Return a URL that nobody uses."""
    match scheme:
        case "tcp":
            return "tcp://127.0.0.1:0"
        case "ipc":
            return f"ipc://{folder}/{next(_names)}.sock"
        case _:
            return f"inproc://contract-{next(_names)}"
