"""Where the tasks' tests meet."""

from tests.contract.conftest import spot, stream_spot

__all__ = ["spot", "stream_spot"]
