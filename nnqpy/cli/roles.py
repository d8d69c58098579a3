"""The processes of the demo: ``python -m nnqpy.cli.roles ventilator|worker|nng-worker|sink ...``.

Each is told what to do by words on its standard input and tells how it goes by words on its standard output, one line a
thing. The end of its input means that the demo is gone: then it goes too, at once, whatever it is doing.
"""

from __future__ import annotations

import io
import os
import queue
import sys
import threading
import time
from itertools import islice

from nnqpy import Closed, Pull, Push, TimedOut
from nnqpy.cli.job import HEAD, NOBODY, Tally, filling, stamped
from nnqpy.cli.nng import Relay

BATCH = 256
PACED_EVERY = 0.001  # seconds
TELL_EVERY = 0.1  # seconds
PATIENCE = 3.0  # seconds without a message after which the sink calls the rest lost


class Orders:
    """The words that the demo writes on our standard input.

    Attributes:
        stop: set when the demo wants no more jobs sent, whatever was ordered before.
        end: set when this process's work is done, and its Pull closed.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.end = threading.Event()
        self._others: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
        self._pull: Pull | None = None
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def next(self) -> list[str]:
        """Wait for the next order but ``stop`` and return its words."""
        return self._others.get()

    def poll(self) -> list[str]:
        """Return the words of the next order if there is one, else none."""
        try:
            return self._others.get_nowait()
        except queue.Empty:
            return []

    def at_end_close(self, pull: Pull) -> None:
        """Close `pull` when the end is ordered: who waits in its ``recv`` then sees `Closed`."""
        self._pull = pull

    def _listen(self) -> None:
        # Unbuffered: a buffered reader's lock, held by a thread that waits, is fatal to the interpreter's exit.
        for line in io.FileIO(0, closefd=False):
            words = line.decode().split()
            if words == ["stop"]:
                self.stop.set()
                continue
            if words == ["end"]:
                if self._pull is not None:
                    self._pull.close()
                self.end.set()
            self._others.put(words)
        os._exit(1)  # who is done has ended before: the demo ends our input last


def tell(*words: object) -> None:
    """Write one line to the demo."""
    try:
        sys.stdout.write(" ".join(map(str, words)) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(1)


def ventilator(orders: Orders, url: str, size: int, workers: int) -> None:
    """Send as fast as the workers take them, then one a millisecond."""
    rest = filling(size)
    with Push(linger=30.0) as push:
        tell("bound", push.bind(url).url)
        push.wait_for_peers(workers)
        tell("ready")
        number = 0
        while True:
            match orders.next():
                case ["flood", count]:
                    began = time.monotonic_ns()
                    number = _flood(orders, push, int(count), rest)
                    tell("flooded", number, began)
                case ["pace", count]:
                    number = _pace(orders, push, number, number + int(count), rest)
                    tell("paced", number)
                case _:
                    break


def _flood(orders: Orders, push: Push, count: int, rest: bytes) -> int:
    """Return how many were sent: `count`, or fewer when told to stop."""
    jobs = (HEAD.pack(number, 0, NOBODY) + rest for number in range(count))
    sent, told = 0, time.monotonic()
    while not orders.stop.is_set() and (batch := list(islice(jobs, BATCH))):
        sent += push.send_many(batch)
        if time.monotonic() - told > TELL_EVERY:
            tell("sent", sent)
            told = time.monotonic()
    push.flush()
    return sent


def _pace(orders: Orders, push: Push, first: int, last: int, rest: bytes) -> int:
    """Send the jobs from `first` up to `last`, one at a time; return where it stopped."""
    due = time.monotonic()
    for number in range(first, last):
        if orders.stop.is_set():
            return number
        push.send(HEAD.pack(number, time.monotonic_ns(), NOBODY) + rest)
        push.flush()
        due += PACED_EVERY
        time.sleep(max(0.0, due - time.monotonic()))
    return last


def worker(orders: Orders, number: int, source: str, goal: str) -> None:
    """Put our number on every job and hand it on."""
    with Pull(connect=source) as jobs, Push(connect=goal, linger=30.0) as results:
        orders.at_end_close(jobs)
        try:
            while True:
                results.send_many([stamped(job, number) for job in jobs.recv_many(BATCH)])
                # The last of a burst must not wait for the next one.
                results.flush()
        except Closed:
            orders.end.wait()  # until the close is done, which we see from its beginning on


def nng_worker(orders: Orders, number: int, source: str, goal: str) -> None:
    """Do as `worker` does, with nng's own library: a real peer."""
    relay = Relay(source, goal)
    with relay.jobs as jobs, relay.results as results:
        while not orders.end.is_set():
            try:
                job = jobs.recv()
            except relay.Timeout:
                continue
            results.send(stamped(job, number))


def sink(orders: Orders, url: str, size: int) -> None:
    """Count what arrives; when told how many to expect, say when they are here or nothing has come for a while."""
    tally = Tally(filling(size))
    expected: int | None = None
    told = 0
    told_at = quiet_since = time.monotonic()
    with Pull() as pull:
        tell("bound", pull.bind(url).url)
        while True:
            try:
                tally.count(pull.recv_many(timeout=TELL_EVERY / 2), time.monotonic_ns())
                quiet_since = time.monotonic()
            except TimedOut:
                pass
            now = time.monotonic()
            if tally.received != told and now - told_at > TELL_EVERY:
                told, told_at = tally.received, now
                tell("received", told)
            if expected is not None and (tally.received >= expected or now - quiet_since > PATIENCE):
                tell("reached", tally.received)
                expected = None
            match orders.poll():
                case ["expect", count]:
                    expected, quiet_since = int(count), now
                case ["report"]:
                    break
                case _:
                    pass
    tell("report", tally.report().dumps())


def main() -> None:
    """Play the role that the command line names."""
    orders = Orders()
    match sys.argv[1:]:
        case ["ventilator", url, size, workers]:
            ventilator(orders, url, int(size), int(workers))
        case ["worker", number, source, goal]:
            worker(orders, int(number), source, goal)
        case ["nng-worker", number, source, goal]:
            nng_worker(orders, int(number), source, goal)
        case ["sink", url, size]:
            sink(orders, url, int(size))
        case words:
            raise SystemExit(f"no such role: {words}")


if __name__ == "__main__":
    main()
