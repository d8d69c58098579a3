"""Leave the interpreter in one of many ways, with sockets in one of many states. Its last line is the second it began to."""
# ruff: noqa: T201  # a program talks with its test by printing

from __future__ import annotations

import asyncio
import atexit
import gc
import sys
import threading
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HELD: list[object] = []
"""What is still referred to when the interpreter goes down."""
LINGER = 0.5


def last_words(of: str) -> None:
    """Registered before nnqpy is imported, this runs after nnqpy's own farewell."""
    if of != "atexit, after nnqpy's own":
        return
    for one in HELD:
        assert isinstance(one, nnqpy.Push)
        assert one.closed
        try:
            one.send(b"too late")
        except nnqpy.Closed:
            print("closed", flush=True)


if __name__ == "__main__":
    atexit.register(last_words, sys.argv[1])

import nnqpy  # noqa: E402  # see last_words
import nnqpy.asyncio  # noqa: E402
from nnqpy import Pull, Push, reactor  # noqa: E402


def until(claim: Callable[[], object]) -> None:
    while not claim():
        threading.Event().wait(0.001)


def leaving() -> None:
    print(monotonic(), flush=True)


def connected() -> tuple[Pull, Push]:
    pull = Pull(bind="tcp://127.0.0.1:0", linger=LINGER)
    push = Push(linger=LINGER)
    push.connect(pull._ends.listeners[0].url, wait=True, timeout=20)
    pull.wait_for_peers(1, 20)
    return pull, push


def unused() -> None:
    HELD.append(Push())
    leaving()


def closed() -> None:
    pull, push = connected()
    push.send(b"x")
    pull.recv(timeout=20)
    push.close()
    pull.close()
    leaving()


def opened() -> None:
    HELD.extend(connected())
    leaving()


def opened_in_a_local() -> None:
    sockets = connected()
    assert all(sockets)
    leaving()


def opened_in_a_cycle() -> None:
    pull, _ = connected()
    cycle: list[object] = [pull]
    cycle.append(cycle)
    leaving()


def queued_for_nobody() -> None:
    push = Push(connect="inproc://nobody", linger=LINGER)
    push.send_many([b"1", b"2", b"3"])
    HELD.append(push)
    leaving()


def queued_for_a_dead_port() -> None:
    push = Push(connect="tcp://127.0.0.1:1", linger=LINGER)
    push.send_many([b"1", b"2", b"3"])
    HELD.append(push)
    leaving()


def queued_with_no_end() -> None:
    push = Push(linger=20)
    push.send(b"1")
    HELD.append(push)
    leaving()


def ten_queued_for_nobody() -> None:
    for n in range(10):
        push = Push(connect=f"inproc://nobody-{n}", linger=LINGER)
        push.send(b"x")
        HELD.append(push)
    leaving()


def forgotten() -> None:
    push = Push(connect="inproc://nobody", linger=LINGER)
    push.send_many([b"1", b"2", b"3"])
    del push
    gc.collect()
    leaving()


def forgotten_in_a_hurry() -> None:
    """The janitor has had no time to close it when the interpreter goes down."""
    push = Push(connect="inproc://nobody", linger=LINGER)
    push.send_many([b"1", b"2", b"3"])
    busy = threading.Event()
    reactor.janitor().call(partial(busy.wait, 0.3))
    del push
    gc.collect()
    leaving()


def deliver() -> None:
    push = Push(linger=20)
    push.connect(sys.argv[2], wait=True, timeout=20)
    for n in range(500):
        push.send(b"%d" % n)
    HELD.append(push)
    leaving()


def daemon_that_receives() -> None:
    pull, push = connected()
    HELD.append(push)
    threading.Thread(target=pull.recv, daemon=True).start()
    until(lambda: pull._turns.into.parked)
    leaving()


def daemon_that_iterates() -> None:
    pull, push = connected()
    HELD.append(push)
    threading.Thread(target=list, args=(pull,), daemon=True).start()
    until(lambda: pull._turns.into.parked)
    leaving()


def daemon_at_the_mark() -> None:
    push = Push(connect="inproc://nobody", send_hwm=1, linger=LINGER)
    push.send(b"1")
    threading.Thread(target=push.send, args=(b"2",), daemon=True).start()
    until(lambda: push._turns.out.parked)
    leaving()


def daemon_that_is_busy() -> None:
    pull, push = connected()

    def talk() -> None:
        while True:
            push.send(b"x")

    threading.Thread(target=talk, daemon=True).start()
    threading.Thread(target=list, args=(pull,), daemon=True).start()
    until(lambda: pull.stats().received > 1000)
    leaving()


def sys_exit() -> None:
    HELD.extend(connected())
    leaving()
    sys.exit(3)


def uncaught() -> None:
    HELD.extend(connected())
    leaving()
    raise LookupError("the program's own")


def uncaught_in_recv() -> None:
    pull, push = connected()
    HELD.append(push)
    leaving()
    pull.recv(timeout=0)


def atexit_before() -> None:
    """Registered after nnqpy was imported, so called before nnqpy's farewell: everything works."""
    pull, push = connected()

    def farewell() -> None:
        push.send(b"farewell")
        assert pull.recv(timeout=20) == b"farewell"
        with Pull(bind="tcp://127.0.0.1:0") as other, Push() as another:
            another.connect(other._ends.listeners[0].url, wait=True, timeout=20)
        push.close()
        pull.close()
        print("said farewell", flush=True)

    atexit.register(farewell)
    leaving()


def atexit_after() -> None:
    HELD.append(Push(connect="inproc://nobody", linger=0))
    leaving()


def asyncio_open() -> None:
    async def main() -> None:
        pull = nnqpy.asyncio.Pull(bind="tcp://127.0.0.1:0", linger=LINGER)
        push = nnqpy.asyncio.Push(linger=LINGER)
        await push.connect(pull._ends.listeners[0].url, wait=True, timeout=20)
        await push.send(b"x")
        HELD.extend((pull, push))

    asyncio.run(main())
    leaving()


def asyncio_awaiting() -> None:
    async def main() -> None:
        pull = nnqpy.asyncio.Pull(bind="tcp://127.0.0.1:0", linger=LINGER)
        task = asyncio.create_task(pull.recv())
        HELD.extend((pull, task))
        while not pull._turns.into.line:  # noqa: ASYNC110  # nobody tells of it
            await asyncio.sleep(0)

    asyncio.run(main())
    leaving()


def asyncio_forgotten() -> None:
    async def main() -> None:
        push = nnqpy.asyncio.Push(connect="tcp://127.0.0.1:1", linger=LINGER)
        await push.send(b"x")

    asyncio.run(main())
    leaving()


def trio_open() -> None:
    import trio

    import nnqpy.trio

    async def main() -> None:
        pull = nnqpy.trio.Pull(bind="tcp://127.0.0.1:0", linger=LINGER)
        push = nnqpy.trio.Push(linger=LINGER)
        await push.connect(pull._ends.listeners[0].url, wait=True, timeout=20)
        await push.send(b"x")
        HELD.extend((pull, push))

    trio.run(main)
    leaving()


def trio_awaiting() -> None:
    import trio

    import nnqpy.trio

    async def main() -> None:
        pull = nnqpy.trio.Pull(bind="tcp://127.0.0.1:0", linger=LINGER)
        HELD.append(pull)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pull.recv)
            while not pull._turns.into.line:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    trio.run(main)
    leaving()


WAYS: dict[str, Callable[[], object]] = {
    "unused": unused,
    "closed": closed,
    "open": opened,
    "open in a local": opened_in_a_local,
    "open in a cycle": opened_in_a_cycle,
    "queued for nobody": queued_for_nobody,
    "queued for a dead port": queued_for_a_dead_port,
    "queued with no end": queued_with_no_end,
    "ten queued for nobody": ten_queued_for_nobody,
    "forgotten": forgotten,
    "forgotten in a hurry": forgotten_in_a_hurry,
    "deliver": deliver,
    "daemon that receives": daemon_that_receives,
    "daemon that iterates": daemon_that_iterates,
    "daemon at the mark": daemon_at_the_mark,
    "daemon that is busy": daemon_that_is_busy,
    "sys.exit": sys_exit,
    "uncaught": uncaught,
    "uncaught in recv": uncaught_in_recv,
    "atexit, before nnqpy's own": atexit_before,
    "atexit, after nnqpy's own": atexit_after,
    "asyncio, open": asyncio_open,
    "asyncio, awaiting": asyncio_awaiting,
    "asyncio, forgotten": asyncio_forgotten,
    "trio, open": trio_open,
    "trio, awaiting": trio_awaiting,
}


if __name__ == "__main__":
    WAYS[sys.argv[1]]()
