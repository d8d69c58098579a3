"""The config of these tests: made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit.certificates import config_of

if TYPE_CHECKING:
    from pathlib import Path

    from nnqpy.tls import TlsConfig


@pytest.fixture(scope="session")
def config(certificates: Path) -> TlsConfig:
    """Return a config for both ends."""
    return config_of(certificates)
