"""Roles: what one worker process does in a measurement, with blocking verbs.

Every role follows the same manners: say "url" once bound, hear where to connect, do its part, say the outcome, and keep its
sockets open until the parent says to quit, so that nothing in flight is lost with them.
"""

from __future__ import annotations

import gc
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from itertools import cycle
from time import monotonic_ns, perf_counter
from typing import TYPE_CHECKING

from nnqpy.bench.adapters import END, Library, Order, Pattern
from nnqpy.bench.crowd import connect_crowd, frame
from nnqpy.bench.desk import Desk, text
from nnqpy.bench.events import events
from nnqpy.bench.flow import (
    ask,
    counted_body,
    drain,
    echo,
    ping,
    pump,
    pump_each,
    warm_body,
    warm_up,
    warm_up_with,
)
from nnqpy.bench.keys import HOST
from nnqpy.bench.libraries import LIBRARIES
from nnqpy.bench.meters import ProcessorTime, percentile, raise_descriptor_limit, resident_bytes, tcp_bytes
from nnqpy.bench.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nnqpy.bench.adapters import Drained, Endpoint

__all__ = [
    "ANYWHERE",
    "ROLES",
    "Role",
    "drain_all",
    "feed",
    "receive_beside_others",
    "say_drained",
    "say_trips",
    "send_to_several",
    "warm_seconds",
]

Role = Callable[[Desk, Library, Task], None]

ANYWHERE = "tcp://127.0.0.1:0"
DRESSED = ("tls+tcp", "ws", "zstd+tcp")
"""The modes of a flow that are another transport."""
_COMPUTE = 0.012  # seconds between two bursts: longer than any delay that a release of the interpreter lock can cause
_RUN = 32  # messages that a feeding connection writes at once


def warm_seconds(task: Task) -> float:
    """How long a flow warms up: a fifth of the measured time, at least 50 ms."""
    return max(0.05, task.seconds / 5)


def flow_receive(desk: Desk, library: Library, task: Task) -> None:
    """Receive one flow from one sender."""
    end = library.open(Order(Pattern.PULL, bind=_anywhere(task), size=task.size))
    desk.say(url=end.url)
    say_drained(desk, end.drain() if end.drain else drain(end.recv))
    desk.hear()
    end.close()


def _anywhere(task: Task) -> str:
    if task.mode not in DRESSED:
        return ANYWHERE
    # nng does not tell the port that it took.
    with socket.create_server((HOST, 0)) as chosen:
        port: int = chosen.getsockname()[1]
    return f"{task.mode}://{HOST}:{port}" + ("/flow" if task.mode == "ws" else "")


def flow_send(desk: Desk, library: Library, task: Task) -> None:
    """Send one flow to one receiver, from one thread or (mode "2") from two."""
    end = library.open(Order(Pattern.PUSH, connect=text(desk.hear(), "url"), size=task.size))
    chunk = warm_up(end.send, task.size, warm_seconds(task))
    meter = ProcessorTime()
    sent = _pump_from_threads(end, task, chunk) if task.mode == "2" else pump(end.send, task.size, task.seconds, chunk)
    end.send(END)
    desk.hear()
    desk.say(sent=sent, processor=meter.seconds())
    end.close()


def event_send(desk: Desk, library: Library, task: Task) -> None:
    """Send a flow of events, and tell how many bytes went over the line for each byte of them."""
    end = library.open(Order(Pattern.PUSH, connect=text(desk.hear(), "url"), size=task.size))
    made = events()
    chunk = warm_up_with(end.send, cycle([b"w" + event for event in made]), warm_seconds(task))
    end.flush()
    before, meter = tcp_bytes(), ProcessorTime()
    sent = pump_each(end.send, cycle(made), task.seconds, chunk)
    end.flush()
    carried = tcp_bytes() - before
    end.send(END)
    desk.hear()
    rounds, rest = divmod(sent, len(made))
    size = rounds * sum(map(len, made)) + sum(map(len, made[:rest]))
    desk.say(sent=sent, processor=meter.seconds(), line=carried / size)
    end.close()


def _pump_from_threads(end: Endpoint, task: Task, chunk: int) -> int:
    sent: list[int] = []
    threads = [
        threading.Thread(target=lambda: sent.append(pump(end.send, task.size, task.seconds, chunk))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(sent)


def flow_inproc(desk: Desk, library: Library, task: Task) -> None:
    """Both ends in one process: the sender in a thread of its own, the receiver in the main thread."""
    into = library.open(Order(Pattern.PULL, bind="inproc://bench"))
    out = library.open(Order(Pattern.PUSH, connect="inproc://bench"))
    sent: list[int] = []

    def send() -> None:
        chunk = warm_up(out.send, task.size, warm_seconds(task))
        sent.append(pump(out.send, task.size, task.seconds, chunk))
        out.send(END)

    sender = threading.Thread(target=send)
    sender.start()
    got = drain(into.recv)
    sender.join()
    desk.say(received=got.received, start=got.start, end=got.end, processor=got.processor, sent=sent[0])
    desk.hear()
    out.close()
    into.close()


def share_send(desk: Desk, library: Library, task: Task) -> None:
    """Send one flow, of which each receiver gets a share."""
    send_to_several(desk, library.open(Order(Pattern.PUSH, bind=ANYWHERE, size=task.size)), task)


def send_to_several(desk: Desk, end: Endpoint, task: Task) -> None:
    """Send one flow to several receivers, all of which are there before the clock starts."""
    desk.say(url=end.url)
    repeat_until_called(desk, end.send, warm_body(task.size))
    chunk = warm_up(end.send, task.size, warm_seconds(task))
    meter = ProcessorTime()
    sent = pump(end.send, task.size, task.seconds, chunk)
    # Which receiver gets an END is the library's business: go on until the parent has heard from all of them.
    repeat_until_called(desk, end.send, END)
    desk.say(sent=sent, processor=meter.seconds())
    end.close()


def repeat_until_called(desk: Desk, send: Callable[[bytes], object], body: bytes) -> None:
    while not desk.called():
        send(body)
        time.sleep(0.001)
    desk.hear()


def share_receive(desk: Desk, library: Library, task: Task) -> None:
    """Receive a share of a flow."""
    receive_beside_others(desk, library.open(Order(Pattern.PULL, connect=text(desk.hear(), "url"), size=task.size)))


def receive_beside_others(desk: Desk, end: Endpoint) -> None:
    """Receive what one of several receivers gets of a flow."""
    end.recv()
    desk.say(warm=1)
    say_drained(desk, drain(end.recv))
    desk.hear()
    end.close()


def carry(desk: Desk, library: Library, task: Task) -> None:
    """Carry a flow from where one sends to where another receives. No library's proxy ends but with its process."""
    front, back = (Order(one, bind=ANYWHERE, size=task.size) for one in (Pattern.PULL, Pattern.PUSH))
    device = library.open_device(front, back)
    desk.say(front=device.front, back=device.back)
    threading.Thread(target=_leave_when_told, args=(desk,), daemon=True).start()
    device.run()


def _leave_when_told(desk: Desk) -> None:
    desk.hear()
    os._exit(0)


def trip_echo(desk: Desk, library: Library, task: Task) -> None:
    """Answer pings (mode "request": by a REP)."""
    pattern = Pattern.REP if task.mode == "request" else Pattern.PAIR
    end = library.open(Order(pattern, bind=ANYWHERE, size=task.size))
    desk.say(url=end.url)
    meter = ProcessorTime()
    answered = echo(end.send, end.recv)
    desk.say(answered=answered, processor=meter.seconds())
    desk.hear()
    end.close()


def trip_ping(desk: Desk, library: Library, task: Task) -> None:
    """Ping (mode "request": by a REQ), and keep every full round trip."""
    pattern = Pattern.REQ if task.mode == "request" else Pattern.PAIR
    end = library.open(Order(pattern, connect=text(desk.hear(), "url"), size=task.size))
    _ping(end, task.size, warm_seconds(task))
    meter = ProcessorTime()
    trips = _ping(end, task.size, task.seconds)
    processor = meter.seconds()
    end.send(END)
    end.flush()
    say_trips(desk, trips, processor)
    desk.hear()
    end.close()


def _ping(end: Endpoint, size: int, seconds: float) -> list[int]:
    return ask(end.request, size, seconds) if end.request else ping(end.send, end.recv, size, seconds)


# Lengths that end on every side of what a sender may gather: single messages, a few, powers of two and their neighbours.
_BURSTS = (10, 171, 64, 499, 1, 318, 25, 256, 112, 257, 3, 1000)
_STAMP = struct.Struct(">cq")


def tail_send(desk: Desk, library: Library, task: Task) -> None:
    """Send bursts; after each, compute in pure Python (mode "compute") or sleep (mode "sleep")."""
    end = library.open(Order(Pattern.PUSH, connect=text(desk.hear(), "url"), size=task.size))
    warm_up(end.send, task.size, warm_seconds(task))
    send, plain, bursts = end.send, counted_body(task.size), 0
    rest = _compute if task.mode == "compute" else time.sleep
    rest(_COMPUTE)
    over = perf_counter() + task.seconds
    for length in cycle(_BURSTS):
        if perf_counter() > over:
            break
        for _ in range(length - 1):
            send(plain)
        send(_STAMP.pack(b"l", monotonic_ns()).ljust(task.size, b"\0"))
        rest(_COMPUTE)
        bursts += 1
    send(END)
    desk.hear()
    desk.say(sent=bursts)
    end.close()


def _compute(seconds: float) -> None:
    """Keep the interpreter busy: nothing in here waits or gives its lock away."""
    end, value = perf_counter() + seconds, 1
    while perf_counter() < end:
        for n in range(1000):
            value = (value * 31 + n) & 0xFFFF


def tail_receive(desk: Desk, library: Library, task: Task) -> None:
    """Note when the last message of each burst is in hand."""
    end = library.open(Order(Pattern.PULL, bind=ANYWHERE, size=task.size))
    desk.say(url=end.url)
    delays: list[int] = []
    for body in iter(end.recv, END):
        if body[:1] == b"l":
            now = monotonic_ns()
            delays.append(now - int(_STAMP.unpack_from(body)[1]))
    delays.sort()
    desk.say(received=len(delays), p50=percentile(delays, 0.5), p99=percentile(delays, 0.99))
    desk.hear()
    end.close()


def hub_rest(desk: Desk, library: Library, task: Task) -> None:
    """Hold idle connections, and tell how much memory this process uses whenever asked."""
    raise_descriptor_limit(task.peers + 256)
    end = library.open(Order(Pattern.PULL, bind=ANYWHERE, size=task.size))
    desk.say(url=end.url)
    while "quit" not in desk.hear():
        gc.collect()
        desk.say(resident=resident_bytes())
    end.close()


def hub_send(desk: Desk, library: Library, task: Task) -> None:
    """Send to a crowd: each message by itself (mode "single") or in full flow (mode "spread")."""
    raise_descriptor_limit(task.peers + 256)
    end = library.open(Order(Pattern.PUSH, bind=ANYWHERE, size=task.size))
    desk.say(url=end.url)
    desk.hear()
    send = _one_by_one(end) if task.mode == "single" else end.send
    chunk = warm_up(send, task.size, warm_seconds(task))
    meter = ProcessorTime()
    sent = pump(send, task.size, task.seconds, chunk)
    desk.say(messages=sent, processor=meter.seconds())
    desk.hear()
    end.close()


def _one_by_one(end: Endpoint) -> Callable[[bytes], None]:
    """A send that does not leave its message for the next one to take along."""
    send, flush = end.send, end.flush

    def send_now(body: bytes) -> None:
        send(body)
        flush()

    return send_now


def hub_receive(desk: Desk, library: Library, task: Task) -> None:
    """Receive from a crowd that always has more (mode "gather")."""
    raise_descriptor_limit(task.peers + 256)
    end = library.open(Order(Pattern.PULL, bind=ANYWHERE, size=task.size))
    desk.say(url=end.url)
    desk.hear()
    take = end.recv
    chunk = warm_up(lambda _: take(), task.size, warm_seconds(task))
    meter = ProcessorTime()
    received = pump(lambda _: take(), task.size, task.seconds, chunk)
    desk.say(messages=received, processor=meter.seconds())
    desk.hear()
    end.close()


def crowd(desk: Desk, _library: Library, task: Task) -> None:
    """Be many bare connections that rest, drain or feed, until the parent says to quit."""
    raise_descriptor_limit(task.peers + 256)
    url = text(desk.hear(), "url")
    dialect = LIBRARIES[task.library].dialect
    pattern = Pattern.PULL if task.mode in ("single", "spread") else Pattern.PUSH
    members = connect_crowd(url, task.peers, dialect, pattern)
    desk.say(connected=len(members))
    if task.mode == "rest":
        desk.hear()
    elif task.mode == "gather":
        feed(desk, members, frame(counted_body(task.size), dialect) * _RUN)
    else:
        drain_all(desk, members)
    desk.say(done=1)


def feed(desk: Desk, members: list[socket.socket], run: bytes) -> None:
    """Keep every connection's buffers full."""
    with selectors.DefaultSelector() as selector:
        for member in members:
            member.setblocking(False)
            selector.register(member, selectors.EVENT_WRITE)
        whole = memoryview(run)
        left = {member.fileno(): whole for member in members}
        by_number = {member.fileno(): member for member in members}
        while not desk.called():
            for key, _ in selector.select(0.1):
                try:
                    taken = by_number[key.fd].send(left[key.fd])
                except BlockingIOError:
                    continue
                left[key.fd] = left[key.fd][taken:] or whole


def drain_all(desk: Desk, members: list[socket.socket]) -> None:
    """Read and forget whatever arrives."""
    buffer = bytearray(256 * 1024)
    with selectors.DefaultSelector() as selector:
        for member in members:
            selector.register(member, selectors.EVENT_READ)
        by_number = {member.fileno(): member for member in members}
        while not desk.called():
            for key, _ in selector.select(0.1):
                if not by_number[key.fd].recv_into(buffer):
                    return


def say_drained(desk: Desk, got: Drained) -> None:
    """Tell the parent what a receiver saw."""
    desk.say(received=got.received, start=got.start, end=got.end, processor=got.processor)


def say_trips(desk: Desk, trips: list[int], processor: float) -> None:
    """Tell the parent what a pinger saw: full round trips, in nanoseconds."""
    trips.sort()
    desk.say(
        trips=len(trips),
        processor=processor,
        p50=percentile(trips, 0.5),
        p99=percentile(trips, 0.99),
        p999=percentile(trips, 0.999),
    )


ROLES: Mapping[str, Role] = {
    role.__name__: role
    for role in (
        flow_receive,
        flow_send,
        event_send,
        flow_inproc,
        share_send,
        share_receive,
        carry,
        trip_echo,
        trip_ping,
        tail_send,
        tail_receive,
        hub_rest,
        hub_send,
        hub_receive,
        crowd,
    )
}
