"""Receive numbered messages while Ctrl-C comes again and again; each is caught and the receiving goes on.

Lines: the URL, ``interrupted`` for each signal, at ``b"end"`` the verdict and the number of calls it came out of.
"""
# ruff: noqa: T201  # a program talks with its test by printing

from __future__ import annotations

import os
import signal
import sys

from nnqpy import Pull, TimedOut, WouldBlock
from tests.process.programs.storm import STRUCK, Storm


def receive(pull: Pull, verb: str, got: list[bytes]) -> None:
    # Between a Python function's return and the call of append or extend no signal handler runs (see
    # tests/kit/interrupts.py), so what is taken here is noted.
    match verb:
        case "recv":
            got.append(pull.recv())
        case "recv_many":
            got.extend(pull.recv_many(7))
        case "iteration":
            for body in pull:
                got.append(body)
                if body == b"end":
                    break
        case "timed":
            try:
                got.append(pull.recv(timeout=0.0002))
            except TimedOut:
                pass
        case _:
            try:
                got.append(pull.recv_nowait())
            except WouldBlock:
                os.sched_yield()


def main() -> None:
    verb, url = sys.argv[1:]
    storm = Storm()
    got: list[bytes] = []
    raised = 0
    with Pull(recv_hwm=100) as pull:
        signal.signal(signal.SIGINT, storm.on_interrupt)
        print(pull.bind(url).url, flush=True)
        while not got or got[-1] != b"end":
            try:
                storm.armed = True
                receive(pull, verb, got)
                storm.armed = False
            except STRUCK:
                raised += 1
        numbers = [int(body.split(maxsplit=1)[0]) for body in got[:-1]]
        right = numbers == [*range(len(numbers))]
        print(f"{len(numbers)} in order" if right else f"wrong: {faults(numbers)}", flush=True)
        print(raised, flush=True)


def faults(numbers: list[int]) -> str:
    places = [f"{n} where {i} was due" for i, n in enumerate(numbers) if i != n][:3]
    return f"{places}; missing {sorted(set(range(max(numbers) + 1)) - set(numbers))[:10]} of {len(numbers)}"


if __name__ == "__main__":
    main()
