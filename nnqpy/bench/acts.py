"""Acts: who plays with whom in a measurement, and what its figures are made of.

An act starts the workers, passes their words between them and returns the figures of one sample, under the keys
that the cells' metrics name: rates are messages/s, times us, memory bytes. `lost` is sent minus received.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from nnqpy.bench.desk import number, text
from nnqpy.bench.stage import Stage
from nnqpy.bench.topics import PREFIXES, WANTED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nnqpy.bench.desk import Words
    from nnqpy.bench.stage import Actor

__all__ = ["ACTS", "Act"]

Act = Callable[[Stage], Awaitable[dict[str, float]]]

_RECEIVERS = 3


async def flow(stage: Stage, prefix: str = "") -> dict[str, float]:
    """One sender, one receiver: throughput at the receiver from the first message to the last."""
    receiver, sender = await stage.start(f"{prefix}flow_receive"), await stage.start(f"{prefix}flow_send")
    return _flow_figures(*await _flow(receiver, sender))


async def flow_of_events(stage: Stage) -> dict[str, float]:
    """The same with events: also what they take on the line, as a part of their bytes."""
    receiver, sender = await stage.start("flow_receive"), await stage.start("event_send")
    got, sent = await _flow(receiver, sender)
    return {**_flow_figures(got, sent), "line": number(sent, "line")}


async def inproc(stage: Stage) -> dict[str, float]:
    """The same between two threads of one process, whose processor time is counted once."""
    both = await stage.start("flow_inproc")
    got = await both.hear()
    both.say(quit=1)
    return _flow_figures([got], {"sent": number(got, "sent"), "processor": 0.0})


async def shares(stage: Stage) -> dict[str, float]:
    """One sender, three receivers: the sum of their rates, and how far from even their shares are."""
    got, sent = await _flow_to_several(stage, "share_send", ["share_receive"] * _RECEIVERS)
    figures = _flow_figures(got, sent)
    counts = [number(one, "received") for one in got]
    figures |= {f"share_{n}": count for n, count in enumerate(counts, 1)}
    figures["uneven"] = (max(counts) - min(counts)) / (sum(counts) / len(counts)) if any(counts) else 0.0
    return figures


async def spread(stage: Stage, *, bare: bool = False) -> dict[str, float]:
    """One publisher, everything to every subscriber: the sum of their rates, and what they missed."""
    subscribers = ["crowd_subscribe"] if bare else ["subscribe"] * stage.peers
    got, sent = await _flow_to_several(stage, "publish", subscribers)
    copies = number(sent, "sent") * stage.peers
    figures = _flow_figures(got, {**sent, "sent": copies})
    figures["missed"] = figures["lost"] / copies
    if stage.mode != "lossless":
        del figures["lost"]  # it was to be expected
    return figures


async def topics(stage: Stage) -> dict[str, float]:
    """A subscriber with more and more prefixes: what a message that arrives costs it, wanted or not."""
    hub, crowd = await stage.start("match"), await stage.start("crowd_publish")
    figures: dict[str, float] = {}
    arrived = received = 0.0
    for count in PREFIXES:
        await _introduce(hub, crowd)
        await crowd.hear()
        hub.say(go=1)
        cost = await hub.hear()
        # The crowd stops first: it must not write to a hub that has closed.
        crowd.say(stop=1)
        await crowd.hear()
        hub.say(stop=1)
        figures[f"cpu_{count}"] = number(cost, "processor") / number(cost, "arrived") * 1e6
        arrived += number(cost, "arrived")
        received += number(cost, "received")
    figures["growth"] = figures[f"cpu_{PREFIXES[-1]}"] / figures[f"cpu_{PREFIXES[0]}"]
    figures["missed"] = max(0.0, 1 - received / (arrived * WANTED))
    return figures


async def _flow_to_several(stage: Stage, send: str, receive: Sequence[str]) -> tuple[list[Words], Words]:
    """What each receiver got, and what was sent; all receivers are there before the flow begins."""
    sender = await stage.start(send)
    receivers = [await stage.start(role) for role in receive]
    await _introduce(sender, *receivers)
    for receiver in receivers:
        await receiver.hear()
    sender.say(go=1)
    got = list(await asyncio.gather(*(receiver.hear() for receiver in receivers)))
    sender.say(quit=1)
    sent = await sender.hear()
    for receiver in receivers:
        receiver.say(quit=1)
    return got, sent


async def carried(stage: Stage) -> dict[str, float]:
    """One sender, a device, one receiver: throughput at the receiver."""
    device, receiver, sender = [await stage.start(role) for role in ("carry", "share_receive", "flow_send")]
    where = await device.hear()
    receiver.say(url=text(where, "back"))
    sender.say(url=text(where, "front"))
    await receiver.hear()
    got = await receiver.hear()
    sender.say(quit=1)
    sent = await sender.hear()
    for actor in (receiver, device):
        actor.say(quit=1)
    return _flow_figures([got], sent)


async def trip(stage: Stage, prefix: str = "") -> dict[str, float]:
    """Ping and echo: percentiles of the full round trip."""
    echo, ping = await stage.start(f"{prefix}trip_echo"), await stage.start(f"{prefix}trip_ping")
    await _introduce(echo, ping)
    trips = await ping.hear()
    answers = await echo.hear()
    for actor in (echo, ping):
        actor.say(quit=1)
    answered, counted = number(answers, "answered"), number(trips, "trips")
    return {
        **{key: number(trips, key) / 1e3 for key in ("p50", "p99", "p999")},
        "trips": counted,
        # The echo's time is over all its answers, warm-up included; a trip is two messages.
        "cpu": (number(trips, "processor") / counted + number(answers, "processor") / answered) / 2 * 1e6,
    }


async def load(stage: Stage) -> dict[str, float]:
    """Many requests in flight: how many are answered a second."""
    server, client = await stage.start("async_serve"), await stage.start("async_load")
    await _introduce(server, client)
    got = await client.hear()
    server.say(stop=1)
    served = await server.hear()
    for actor in (client, server):
        actor.say(quit=1)
    answered = number(got, "answered")
    return {
        "rate": answered / (number(got, "elapsed") / 1e9),
        # The server's time is over all that was asked, warm-up included.
        "cpu": (number(got, "processor") / answered + number(served, "processor") / number(got, "asked")) * 1e6,
        "answered": answered,
    }


async def tail(stage: Stage) -> dict[str, float]:
    """Bursts: how long the last message of each was on its way."""
    receiver, sender = await stage.start("tail_receive"), await stage.start("tail_send")
    (got,), sent = await _flow(receiver, sender)
    return {
        "p50": number(got, "p50") / 1e3,
        "p99": number(got, "p99") / 1e3,
        "bursts": number(got, "received"),
        "lost": number(sent, "sent") - number(got, "received"),
    }


async def rest(stage: Stage) -> dict[str, float]:
    """A listener with many idle connections: what each adds to its resident memory."""
    hub, crowd = await stage.start("hub_rest"), await stage.start("crowd")
    url = await hub.hear()
    before = await _settled(hub)
    crowd.say(**url)
    await crowd.hear()
    after = await _settled(hub)
    await _disperse(crowd, hub)
    return {"resident": (after - before) / stage.peers, "connections": stage.peers}


async def crowd_cost(stage: Stage, role: str) -> dict[str, float]:
    """One hub, many connections: the hub's processor time a message."""
    hub, crowd = await stage.start(role), await stage.start("crowd")
    await _introduce(hub, crowd)
    await crowd.hear()
    hub.say(go=1)
    cost = await hub.hear()
    await _disperse(crowd, hub)
    return {
        "cpu": number(cost, "processor") / number(cost, "messages") * 1e6,
        "messages": number(cost, "messages"),
    }


async def _flow(receiver: Actor, sender: Actor) -> tuple[list[Words], Words]:
    """What the receiver got, and what was sent."""
    await _introduce(receiver, sender)
    got = await receiver.hear()
    sender.say(quit=1)
    sent = await sender.hear()
    receiver.say(quit=1)
    return [got], sent


async def _introduce(bound: Actor, *others: Actor) -> None:
    """Tell the others where the bound one listens."""
    where = await bound.hear()
    for other in others:
        other.say(**where)


async def _disperse(crowd: Actor, hub: Actor) -> None:
    """Let the crowd stop first: it must not write to a hub that has closed."""
    crowd.say(quit=1)
    await crowd.hear()
    hub.say(quit=1)


async def _settled(hub: Actor) -> float:
    """The hub's memory once two readings a moment apart agree within 1 %, or after 5 s."""
    last = -1.0
    for _ in range(20):
        hub.say(measure=1)
        now = number(await hub.hear(), "resident")
        if abs(now - last) <= 0.01 * now:
            return now
        last = now
        await asyncio.sleep(0.25)
    return last


def _flow_figures(got: list[Words], sent: Words) -> dict[str, float]:
    received = sum(number(one, "received") for one in got)
    elapsed = max(number(one, "end") for one in got) - min(number(one, "start") for one in got)
    processor = sum(number(one, "processor") for one in got) + number(sent, "processor")
    return {
        # The clock starts with the first message in hand.
        "rate": (received - len(got)) / (elapsed / 1e9),
        "cpu": processor / received * 1e6,
        "lost": number(sent, "sent") - received,
        "received": received,
    }


ACTS: Mapping[str, Act] = {
    "flow": flow,
    "flow_of_events": flow_of_events,
    "async_flow": lambda stage: flow(stage, "async_"),
    "inproc": inproc,
    "shares": shares,
    "carried": carried,
    "spread": spread,
    "spread_bare": lambda stage: spread(stage, bare=True),
    "topics": topics,
    "trip": trip,
    "async_trip": lambda stage: trip(stage, "async_"),
    "load": load,
    "tail": tail,
    "rest": rest,
    "send_to_crowd": lambda stage: crowd_cost(stage, "hub_send"),
    "receive_from_crowd": lambda stage: crowd_cost(stage, "hub_receive"),
}
