"""The asyncio roles: the same parts as in `roles`, both sides awaiting everything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nnqpy.bench.adapters import END, Order, Pattern
from nnqpy.bench.desk import text
from nnqpy.bench.flow import adrain, aecho, aload, aping, apump, awarm_up
from nnqpy.bench.meters import ProcessorTime
from nnqpy.bench.roles import ANYWHERE, say_drained, say_trips, warm_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from nnqpy.bench.adapters import Library
    from nnqpy.bench.desk import Desk, Words
    from nnqpy.bench.roles import Role
    from nnqpy.bench.tasks import Task

__all__ = ["ASYNC_ROLES"]


async def async_flow_receive(desk: Desk, library: Library, task: Task) -> None:
    """Receive one flow from one sender."""
    end = library.open_async(Order(Pattern.PULL, bind=ANYWHERE, size=task.size))
    desk.say(url=end.url)
    say_drained(desk, await (end.drain() if end.drain else adrain(end.recv)))
    await _hear(desk)
    await end.close()


async def async_flow_send(desk: Desk, library: Library, task: Task) -> None:
    """Send one flow to one receiver."""
    url = text(await _hear(desk), "url")
    end = library.open_async(Order(Pattern.PUSH, connect=url, size=task.size))
    chunk = await awarm_up(end.send, task.size, warm_seconds(task))
    meter = ProcessorTime()
    sent = await apump(end.send, task.size, task.seconds, chunk)
    await end.send(END)
    await _hear(desk)
    desk.say(sent=sent, processor=meter.seconds())
    await end.close()


async def async_trip_echo(desk: Desk, library: Library, task: Task) -> None:
    """Answer pings."""
    end = library.open_async(Order(Pattern.PAIR, bind=ANYWHERE, size=task.size))
    desk.say(url=end.url)
    meter = ProcessorTime()
    answered = await aecho(end.send, end.recv)
    desk.say(answered=answered, processor=meter.seconds())
    await _hear(desk)
    await end.close()


async def async_trip_ping(desk: Desk, library: Library, task: Task) -> None:
    """Ping, and keep every full round trip."""
    url = text(await _hear(desk), "url")
    end = library.open_async(Order(Pattern.PAIR, connect=url, size=task.size))
    await aping(end.send, end.recv, task.size, warm_seconds(task))
    meter = ProcessorTime()
    trips = await aping(end.send, end.recv, task.size, task.seconds)
    processor = meter.seconds()
    await end.send(END)
    say_trips(desk, trips, processor)
    await _hear(desk)
    await end.close()


async def async_serve(desk: Desk, library: Library, task: Task) -> None:
    """Answer requests, as many at a time as the mode says, until told to stop."""
    server = library.open_server(Order(Pattern.REP, bind=ANYWHERE, size=task.size, at_once=int(task.mode)))
    desk.say(url=server.url)
    meter = ProcessorTime()
    serving = asyncio.ensure_future(server.serve(_same))
    hearing = asyncio.ensure_future(_hear(desk))
    await asyncio.wait([serving, hearing], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
        raise RuntimeError("stopped to serve by itself")
    processor = meter.seconds()
    serving.cancel()
    await asyncio.wait([serving])
    desk.say(processor=processor)
    await _hear(desk)
    await server.close()


def _same(body: bytes) -> bytes:
    return body


async def async_load(desk: Desk, library: Library, task: Task) -> None:
    """Keep as many requests in flight as the mode says."""
    url = text(await _hear(desk), "url")
    client = library.open_client(Order(Pattern.REQ, connect=url, size=task.size, at_once=int(task.mode)))
    warm, _ = await aload(client.requests, task.size, warm_seconds(task))
    meter = ProcessorTime()
    answered, elapsed = await aload(client.requests, task.size, task.seconds)
    desk.say(asked=warm + answered, answered=answered, elapsed=elapsed, processor=meter.seconds())
    await _hear(desk)
    await client.close()


async def _hear(desk: Desk) -> Words:
    """Wait for the parent while the loop goes on: what was sent may still be on its way."""
    return await asyncio.get_running_loop().run_in_executor(None, desk.hear)


def _blocking(role: Callable[[Desk, Library, Task], Awaitable[None]]) -> Role:
    async def main(desk: Desk, library: Library, task: Task) -> None:
        await role(desk, library, task)

    return lambda desk, library, task: asyncio.run(main(desk, library, task))


ASYNC_ROLES: Mapping[str, Role] = {
    name: _blocking(role)
    for name, role in {
        "async_flow_receive": async_flow_receive,
        "async_flow_send": async_flow_send,
        "async_trip_echo": async_trip_echo,
        "async_trip_ping": async_trip_ping,
        "async_serve": async_serve,
        "async_load": async_load,
    }.items()
}
