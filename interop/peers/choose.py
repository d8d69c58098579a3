"""Which peers there are here, which versions, and how to start one."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from interop.peers.cats import Nanocat, Nngcat
from interop.peers.pynng_peer import PynngPeer

if TYPE_CHECKING:
    from interop.peers.peer import Kind, NngPeer, Side

SOURCES: Final[dict[Kind, str]] = {
    "pynng": "pip install pynng",
    "nngcat": "apt-get install nng-utils",
    "nanocat": "apt-get install nanomsg-utils",
}


def present(kind: Kind) -> bool:
    """True if such a peer can be started here."""
    if kind == "pynng":
        return importlib.util.find_spec("pynng") is not None  # found, not imported: see pynng_process
    return shutil.which(kind) is not None


def require(kind: Kind) -> None:
    """Skip the test if there is no such peer here; in CI (``CI=true``) fail it: a skip there would hide all of interop."""
    if present(kind):
        return
    missing = f"{kind} is not installed: {SOURCES[kind]}"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{missing} (CI=true: a missing peer is a failure)", pytrace=False)
    pytest.skip(missing)


def start(kind: Kind, protocol: str, side: Side, url: str, *, speaks: bool) -> NngPeer:
    """Start a peer; `speaks` says that it will be asked to send (see `Cat`)."""
    if kind == "pynng":
        return PynngPeer(protocol, side, url)
    if kind == "nngcat":
        return Nngcat(protocol, side, url, speaks=speaks)
    return Nanocat(protocol, side, url, speaks=speaks)


def describe() -> str:
    """One line for the head of a test run: the peers and what is missing."""
    return ", ".join(f"{kind} {_version(kind)}" if present(kind) else f"no {kind}" for kind in SOURCES)


def _version(kind: Kind) -> str:
    if kind == "pynng":
        return importlib.metadata.version("pynng")
    if kind == "nngcat":
        return subprocess.run([kind, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return "found"  # nanocat does not know its own
