"""Fork with sockets open; parent and child both leave by the interpreter's own end.

Lines: ``child`` and its exit code, then that the parent's link still works.
"""
# ruff: noqa: T201  # a program talks with its test by printing

from __future__ import annotations

import os
import sys
import threading
import warnings

from nnqpy import Pull, Push

warnings.filterwarnings("ignore", r"This process \(pid=\d+\) is multi-threaded, use of fork", DeprecationWarning)


def main() -> None:
    way = sys.argv[1]
    with Pull(bind="tcp://127.0.0.1:0") as pull, Push(send_hwm=10) as push:
        push.connect(pull._ends.listeners[0].url, wait=True, timeout=20)
        over = threading.Event()

        def talk() -> None:
            while not over.is_set():
                push.send(b"x", timeout=20)
            push.send(b"last", timeout=20)

        thread = threading.Thread(target=talk)
        if way == "busy":
            thread.start()
            for _ in range(100):
                pull.recv(timeout=20)
        else:
            push.send(b"x")
            pull.recv(timeout=20)
        pid = os.fork()
        if not pid:
            if way == "own":
                with Pull(bind="tcp://127.0.0.1:0") as mine, Push() as own:
                    own.connect(mine._ends.listeners[0].url, wait=True, timeout=20)
                    own.send(b"mine")
                    assert mine.recv(timeout=20) == b"mine"
            return
        print("child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        over.set()
        if way != "busy":
            push.send(b"last", timeout=20)
        while pull.recv(timeout=20) != b"last":
            pass
        if way == "busy":
            thread.join(20)
        print("the link holds", flush=True)


if __name__ == "__main__":
    main()
