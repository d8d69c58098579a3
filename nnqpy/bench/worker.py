"""Worker: the process that plays one role for one library: `python -m nnqpy.bench.worker TASK`.

It ends by itself: when its role is done, when its parent is gone, or when its time is up, in which case it writes
where every thread stands to standard error first.
"""

from __future__ import annotations

import faulthandler
import sys

from nnqpy.bench.desk import Desk
from nnqpy.bench.libraries import LIBRARIES
from nnqpy.bench.roles import ROLES
from nnqpy.bench.roles_pubsub import PUBSUB_ROLES
from nnqpy.bench.tasks import Task

__all__ = ["main"]


def main() -> None:
    """Play the role that the command line names."""
    task = Task.load(sys.argv[1])
    # The watch-dog thread needs no interpreter lock: it also ends a library that never gives it back.
    faulthandler.dump_traceback_later(task.limit, exit=True)
    desk = Desk()
    library = LIBRARIES[task.library].load()
    if task.role in ROLES:
        role = ROLES[task.role]
    elif task.role in PUBSUB_ROLES:
        role = PUBSUB_ROLES[task.role]
    else:
        from nnqpy.bench.roles_asyncio import ASYNC_ROLES  # here: blocking roles carry no asyncio in their memory

        role = ASYNC_ROLES[task.role]
    role(desk, library, task)


if __name__ == "__main__":
    main()
