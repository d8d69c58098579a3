"""A process that has run out of descriptors, for ``test_exhaustion.py``: ``python -m tests.hostile.exhausted``.

It says what happens on its standard output, one line each; its limits are its own. It ends with its standard input.
"""

from __future__ import annotations

import errno
import gc
import os
import resource
import sys
import threading
from contextlib import suppress

from nnqpy import Pull, reactor
from nnqpy.events import AcceptResumed, AcceptThrottled, ConnectFailed, PeerAdded


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def on_event(event: object) -> None:
    match event:
        case AcceptThrottled(errno=number):
            say("throttled", errno.errorcode[number])
        case AcceptResumed():
            say("resumed")
        case ConnectFailed(errno=number):
            say("connect-failed", errno.errorcode.get(number or 0, number))
        case PeerAdded(peer=peer):
            say("added", peer.direction)
        case _:
            pass


def use_up() -> list[int]:
    """Take every descriptor that is left."""
    taken: list[int] = []
    with suppress(OSError):
        while True:
            taken.append(os.dup(0))
    return taken


def main(url: str) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    pull = Pull(on_event=on_event, reconnect_min=0.05, reconnect_max=0.05)
    say("listening", pull.bind(url).url)
    taken: list[int] = []

    def receive() -> None:
        for body in pull:
            say("received", body.decode())

    threading.Thread(target=receive, daemon=True).start()
    for line in sys.stdin:
        match line.split():
            case ["use-up"]:
                taken = use_up()
                say("used-up")
            case ["give-back"]:
                while taken:
                    os.close(taken.pop())
                say("given-back")
            case ["connect", target]:
                pull.connect(target)
            case ["new-socket", spare]:
                all_of_them = len(taken)
                for _ in range(int(spare)):
                    os.close(taken.pop())
                try:
                    Pull(bind="tcp://127.0.0.1:0").close()
                    say("made")
                except OSError as error:
                    say("refused", errno.errorcode[error.errno or 0])
                while len(taken) < all_of_them:  # the janitor gives some back at its next tick
                    gc.collect()
                    idle = threading.Event()
                    reactor.janitor().call(idle.set)
                    idle.wait()
                    taken += use_up()
            case ["bind", other]:
                try:
                    say("bound", pull.bind(other).url)
                except OSError as error:
                    say("refused", errno.errorcode[error.errno or 0])
            case ["threads"]:
                say("threads", threading.active_count())
            case words:
                raise SystemExit(f"what is {words}?")
    pull.close()


main(*sys.argv[1:])
