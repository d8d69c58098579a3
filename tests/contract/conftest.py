"""What the contract's tests share: places to meet, and patience that ends."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

import pytest

from nnqpy.base import BaseSocket
from tests.kit.certificates import config_of

if TYPE_CHECKING:
    from pathlib import Path

_names = count(1)


EVERYWHERE: Final = ("tcp", "ipc", "inproc")
DRESSED: Final = ("tls+tcp", "zstd+tcp", "ws", "wss")
"""Those that are tcp with something over it: what is true of an engine and its framing is tried there too."""
OF_ENGINES: Final = ("test_messages", "test_closing", "test_marks", "test_stats")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have a test of a connection run on each transport."""
    dressed = DRESSED if metafunc.function.__module__.rpartition(".")[2] in OF_ENGINES else ()
    for name, schemes in (("spot", EVERYWHERE), ("stream_spot", EVERYWHERE[:2])):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, (*schemes, *dressed), indirect=True)


@pytest.fixture
def spot(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL to bind, on each transport; over TLS, each socket that is given no configuration has one."""
    if request.param in ("tls+tcp", "wss"):
        request.getfixturevalue("tls_for_all")
    return spot_of(request.param, tmp_path)


@pytest.fixture
def stream_spot(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL to bind, on each transport that goes through the kernel."""
    if request.param in ("tls+tcp", "wss"):
        request.getfixturevalue("tls_for_all")
    return spot_of(request.param, tmp_path)


@pytest.fixture
def tls_for_all(monkeypatch: pytest.MonkeyPatch, certificates: Path) -> None:
    """Have every socket know who it is and whom to trust."""
    defaults = BaseSocket.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "tls", config_of(certificates))


def spot_of(scheme: str, folder: Path) -> str:
    """Return a URL that nobody uses."""
    match scheme:
        case "ipc":
            return f"ipc://{folder}/{next(_names)}.sock"
        case "inproc":
            return f"inproc://contract-{next(_names)}"
        case _:
            return f"{scheme}://127.0.0.1:0"
