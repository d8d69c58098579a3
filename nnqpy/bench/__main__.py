"""`python -m nnqpy.bench`, the same as `nnq bench`."""

import sys

from nnqpy.bench.command import main

sys.exit(main())
