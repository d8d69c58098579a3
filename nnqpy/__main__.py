"""``python -m nnqpy`` is the ``nnq`` command."""

from __future__ import annotations

import sys

from nnqpy.cli import main

if __name__ == "__main__":
    sys.exit(main())
