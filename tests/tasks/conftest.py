"""Where the tasks' tests meet."""

from tests.contract.conftest import pytest_generate_tests, spot, stream_spot

__all__ = ["pytest_generate_tests", "spot", "stream_spot"]
