"""The certificates of these tests: made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nnqpy.tls import TlsConfig
from tests.kit.certificates import authority, made

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the CA and a certificate of it for this machine."""
    folder = tmp_path_factory.mktemp("papers")
    (folder / "ca.pem").write_bytes(authority().pem)
    made("localhost", by=authority(), names=("localhost", "127.0.0.1")).write(folder, "localhost")
    return folder


@pytest.fixture(scope="session")
def config(papers: Path) -> TlsConfig:
    """Return a config for both ends."""
    return TlsConfig(ca=papers / "ca.pem", cert=papers / "localhost.pem", key=papers / "localhost.key")
