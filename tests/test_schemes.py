"""Which endpoint a URL gets; what a scheme needs is said when it is missing, and not before."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(60)

WITHOUT = """
import sys
for name in ("websockets", "backports.zstd", "compression.zstd", "cryptography"):
    sys.modules[name] = None
import nnqpy
with nnqpy.Pull() as pull:
    pull.bind("tcp://127.0.0.1:0")
    for verb in (pull.bind, pull.connect):
        try:
            verb({url!r})
        except ImportError as error:
            assert {wanted!r} in str(error), error
        else:
            raise SystemExit("no error")
"""


@pytest.mark.parametrize(
    ("url", "extra"),
    [
        ("ws://127.0.0.1:1/", "nnqpy[ws]"),
        ("wss://127.0.0.1:1/", "nnqpy[ws]"),
        ("zstd+tcp://127.0.0.1:1", "nnqpy[zstd]"),
    ],
)
def test_a_missing_package_is_named(url: str, extra: str) -> None:
    """With what to install; everything else works without it."""
    code = WITHOUT.format(url=url, wanted=extra)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
