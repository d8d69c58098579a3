"""Block in one call, say when; say when Ctrl-C came out of it; then show that the socket goes on as if never asked.

Lines: ``blocked``, the `monotonic` second of the KeyboardInterrupt, and what the socket did after it.
"""
# ruff: noqa: T201  # a program talks with its test by printing

from __future__ import annotations

import sys
import threading
from itertools import count
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from nnqpy import Pair, Pull, Push
from nnqpy.events import PeerAdded

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnqpy.turns import Turn

_names = count()

# A call that blocks, the claim that it does, and what must be possible after it.
Scene = tuple["Callable[[], object]", "Callable[[], object]", "Callable[[], object]"]


def held(turn: Turn) -> bool:
    return turn.parked


def receiving(take: Callable[[Pull], object]) -> Scene:
    pull = Pull(bind="tcp://127.0.0.1:0")
    push = Push(connect=pull._ends.listeners[0].url)
    pull.wait_for_peers(1, 20)
    turn = pull._turns.into

    def after() -> str:
        push.send(b"after")
        said = pull.recv(timeout=20)
        push.close()
        pull.close()
        return said.decode()

    return lambda: take(pull), lambda: held(turn), after


def recv_in_line() -> Scene:
    """Another thread does the socket's reading; we stand behind it, and it must not suffer."""
    pull = Pull(bind="tcp://127.0.0.1:0")
    push = Push(connect=pull._ends.listeners[0].url)
    turn = pull._turns.into
    first: list[bytes] = []
    leader = threading.Thread(target=lambda: first.append(pull.recv()), daemon=True)
    leader.start()
    while not held(turn):
        threading.Event().wait(0.001)

    def after() -> str:
        push.send(b"one")
        leader.join(20)
        push.send(b"two")
        said = [*first, pull.recv(timeout=20)]
        push.close()
        pull.close()
        return "after" if said == [b"one", b"two"] else repr(said)

    return pull.recv, lambda: bool(turn.line), after


def sending(send: Callable[[Push], object], full: int) -> Scene:
    """At the mark with nobody there: what was refused is not in the queue, what was accepted comes."""
    name = f"inproc://mark-{next(_names)}"
    push = Push(connect=name, send_hwm=3)
    push.send_many([b"0", b"1", b"2"][:full])

    def after() -> str:
        accepted = push.stats().accepted
        pull = Pull(bind=name)
        said = [pull.recv(timeout=20) for _ in range(full)]
        push.send(b"after")
        last = pull.recv(timeout=20)
        push.close()
        pull.close()
        return "after" if (accepted, said, last) == (full, [b"0", b"1", b"2"][:full], b"after") else f"{said} {last!r}"

    return lambda: send(push), lambda: held(push._turns.out), after


def send_to_the_full() -> Scene:
    """At the mark with a peer that reads nothing: all the kernel's buffers are full."""
    pull = Pull(bind="tcp://127.0.0.1:0", recv_hwm=1)
    push = Push(connect=pull._ends.listeners[0].url, send_hwm=2)
    pull.wait_for_peers(1, 20)
    returned = 0

    def fill() -> None:
        nonlocal returned
        for n in count():
            push.send(b"%08d" % n + bytes(1 << 20), timeout=None)
            returned = n + 1

    def after() -> str:
        taken = [int(pull.recv(timeout=20)[:8]) for _ in range(returned)]
        accepted = push.stats().accepted
        taken += [int(pull.recv(timeout=20)[:8]) for _ in range(accepted - returned)]
        push.close()
        pull.close()
        right = taken == [*range(accepted)] and returned <= accepted <= returned + 1
        return "after" if right else f"{returned} {accepted} {taken}"

    return fill, lambda: held(push._turns.out) and len(push._turns.blocked) > 0, after


def waiting(wait: Callable[[Pair, str], object]) -> Scene:
    name = f"inproc://nobody-{next(_names)}"
    pair = Pair()

    def after() -> str:
        other = Pair(bind=name)
        pair.connect(name, wait=True, timeout=20)
        other.send(b"after")
        said = pair.recv(timeout=20)
        pair.close()
        other.close()
        return said.decode()

    return lambda: wait(pair, name), lambda: bool(pair._turns.watchers), after


def closing() -> Scene:
    push = Push(connect="inproc://nobody-takes-this", linger=60)
    push.send_many([b"lost"] * 4)

    def after() -> str:
        report = push.close()
        return "after" if (report.flushed, report.abandoned) == (0, 4) else str(report)

    return push.close, lambda: held(push._turns.out), after


def telling(iterate: bool) -> Scene:
    pull = Pull()
    events = pull.events()

    def after() -> str:
        pull.bind("inproc://tells")
        push = Push(connect="inproc://tells")
        while not isinstance(events.recv(timeout=20), PeerAdded):
            pass
        push.close()
        pull.close()
        return "after"

    return (lambda: next(events)) if iterate else events.recv, lambda: bool(events._log.line), after


SCENES: dict[str, Callable[[], Scene]] = {
    "recv": lambda: receiving(lambda pull: pull.recv()),
    "recv with a timeout": lambda: receiving(lambda pull: pull.recv(timeout=60)),
    "recv in line": recv_in_line,
    "recv_many": lambda: receiving(lambda pull: pull.recv_many()),
    "iteration": lambda: receiving(lambda pull: [None for _ in pull]),
    "send at the mark": lambda: sending(lambda push: push.send(b"refused"), 3),
    "large send at the mark": lambda: sending(lambda push: push.send(bytes(100_000)), 3),
    "send_many at the mark": lambda: sending(lambda push: push.send_many([b"refused"]), 3),
    "send to a full peer": send_to_the_full,
    "flush": lambda: sending(lambda push: push.flush(), 2),
    "wait_for_peers": lambda: waiting(lambda pair, name: pair.wait_for_peers()),
    "connect": lambda: waiting(lambda pair, name: pair.connect(name, wait=True)),
    "close": closing,
    "events": lambda: telling(False),
    "iteration over events": lambda: telling(True),
}


def asleep() -> bool:
    """Whether the main thread waits in the kernel, where only a signal or an event ends it."""
    fields = Path(f"/proc/self/task/{threading.main_thread().native_id}/stat").read_text().rpartition(")")[2]
    return fields.split()[0] == "S"


def announce(blocked: Callable[[], object]) -> None:
    while not (blocked() and asleep()):
        threading.Event().wait(0.001)
    print("blocked", flush=True)


def main() -> None:
    call, blocked, after = SCENES[sys.argv[1]]()
    threading.Thread(target=announce, args=(blocked,), daemon=True).start()
    try:
        call()
        print("the call returned", flush=True)
    except KeyboardInterrupt:
        print(monotonic(), flush=True)
    print(after(), flush=True)


if __name__ == "__main__":
    main()
