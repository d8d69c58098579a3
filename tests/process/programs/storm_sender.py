"""Send numbered messages while Ctrl-C comes again and again, until SIGTERM; each is caught and the sending goes on.

Lines: ``attached``, ``interrupted`` for each SIGINT, how many messages were tried and the numbers of those whose
call raised, and the verdict on the socket's own books.
"""
# ruff: noqa: T201  # a program talks with its test by printing

from __future__ import annotations

import os
import signal
import sys

from nnqpy import Push, WouldBlock
from tests.process.programs.storm import STRUCK, Storm


def send(push: Push, verb: str, first: int, filler: bytes) -> int:
    """Send the next message or messages; return how many."""
    body = b"%d " % first + filler
    match verb:
        case "send":
            push.send(body)
        case "send_many":
            return push.send_many(b"%d " % n + filler for n in range(first, first + 5))
        case "flush":
            push.send(body)
            push.flush()
        case _:
            try:
                push.send_nowait(body)
            except WouldBlock:
                os.sched_yield()
                return 0
    return 1


def main() -> None:
    verb, url, size = sys.argv[1:]
    filler = bytes(int(size))
    storm = Storm()
    number = 0
    unsure: list[int] = []
    push = Push(send_hwm=20, linger=20)
    push.connect(url, wait=True, timeout=20)
    signal.signal(signal.SIGINT, storm.on_interrupt)
    signal.signal(signal.SIGTERM, storm.on_term)
    print("attached", flush=True)
    many = 5 if verb == "send_many" else 1
    while not storm.over:
        try:
            storm.armed = True
            number += send(push, verb, number, filler)
            storm.armed = False
        except STRUCK:
            unsure.extend(range(number, number + many))
            number += many
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    push.send(b"end")
    report = push.close()
    print(number, *unsure, flush=True)
    stats = push.stats()
    dropped = sum(stats.dropped.values())
    right = (
        report.abandoned == 0
        and stats.queued == 0
        and stats.accepted == stats.delivered + dropped
        and number - len(unsure) + 1 <= stats.accepted <= number + 1
    )
    print("books in order" if right else f"wrong: {report} {stats} {number=} {len(unsure)=}", flush=True)


if __name__ == "__main__":
    main()
