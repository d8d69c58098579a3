"""Keys: the certificates of the cells over TLS, made once a run by ``nnq certs``; workers find them by the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["HOST", "folder", "keys"]

HOST: Final = "127.0.0.1"
"""Whom the certificate is for."""
_FOLDER: Final = "NNQ_BENCH_KEYS"


@contextmanager
def keys() -> Generator[None]:
    """Have ca.pem, own.pem, own.key and both.pem (certificate and key) in a folder, until the end."""
    with TemporaryDirectory(prefix="nnq-bench-") as made:
        for words in (("init", made), ("issue", HOST, "--dir", made)):
            subprocess.run(  # noqa: S603  # our own words
                [sys.executable, "-m", "nnqpy", "certs", *words], check=True, stdout=subprocess.DEVNULL
            )
        place = Path(made)
        for suffix in ("pem", "key"):
            (place / f"{HOST}.{suffix}").rename(place / f"own.{suffix}")
        (place / "both.pem").write_bytes((place / "own.pem").read_bytes() + (place / "own.key").read_bytes())
        os.environ[_FOLDER] = made
        try:
            yield
        finally:
            del os.environ[_FOLDER]


def folder() -> Path:
    """Return where they are."""
    return Path(os.environ[_FOLDER])
