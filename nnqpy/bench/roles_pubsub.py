"""The roles of PUB and SUB, with blocking verbs and the manners of `roles`."""

from __future__ import annotations

import select
import selectors
from contextlib import suppress
from time import monotonic_ns
from typing import TYPE_CHECKING

from nnqpy.bench.adapters import END, Order, Pattern
from nnqpy.bench.crowd import connect_crowd, frame
from nnqpy.bench.desk import text
from nnqpy.bench.flow import counted_body, pump, warm_body, warm_up
from nnqpy.bench.libraries import LIBRARIES
from nnqpy.bench.meters import ProcessorTime, raise_descriptor_limit
from nnqpy.bench.roles import ANYWHERE, drain_all, receive_beside_others, send_to_several, warm_seconds
from nnqpy.bench.topics import PREFIXES, place, prefixes, restamped, run

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nnqpy.bench.adapters import Library
    from nnqpy.bench.desk import Desk
    from nnqpy.bench.roles import Role
    from nnqpy.bench.tasks import Task

__all__ = ["PUBSUB_ROLES"]

_PIECE = 256 * 1024


def publish(desk: Desk, library: Library, task: Task) -> None:
    """Send one flow to all subscribers; in mode "lossless" wait for who is behind, if the library can."""
    order = Order(Pattern.PUB, bind=ANYWHERE, size=task.size, lossless=task.mode == "lossless")
    send_to_several(desk, library.open(order), task)


def subscribe(desk: Desk, library: Library, task: Task) -> None:
    """Receive the whole of a flow."""
    order = Order(Pattern.SUB, connect=text(desk.hear(), "url"), size=task.size, topics=(b"",))
    receive_beside_others(desk, library.open(order))


def crowd_subscribe(desk: Desk, _library: Library, task: Task) -> None:
    """Be many bare subscribers, and count what all of them get.

    What a message is for tells the letter that its body is made of; no header of such short bodies has it.
    """
    raise_descriptor_limit(task.peers + 256)
    url = text(desk.hear(), "url")
    members = connect_crowd(url, task.peers, LIBRARIES[task.library].dialect, Pattern.SUB)
    for _ in _until_each_has(warm_body(1), members):
        pass
    desk.say(warm=1)
    letter, start, counted = counted_body(1), 0, 0
    for piece in _until_each_has(END, members):
        counted += piece.count(letter)
        if counted and not start:
            start = monotonic_ns()
    # The processor time of bare connections is no library's.
    desk.say(received=counted // task.size, start=start, end=monotonic_ns(), processor=0.0)
    drain_all(desk, members)


def _until_each_has(letter: bytes, members: Sequence[socket.socket]) -> Iterator[bytes]:
    """Yield what arrives, until the letter came by every connection."""
    with selectors.DefaultSelector() as selector:
        for one in members:
            selector.register(one, selectors.EVENT_READ)
        by_number = {one.fileno(): one for one in members}
        without = set(by_number)
        while without:
            for key, _ in selector.select():
                piece = by_number[key.fd].recv(_PIECE)
                if not piece:
                    raise ConnectionError("the other side closed")
                yield piece
                if letter in piece:
                    without.discard(key.fd)


def match(desk: Desk, library: Library, task: Task) -> None:
    """Receive what is wanted of a flow, with more and more prefixes, each number of them at a new socket."""
    for count in PREFIXES:
        end = library.open(Order(Pattern.SUB, bind=ANYWHERE, size=task.size, topics=prefixes(count)))
        desk.say(url=end.url)
        desk.hear()
        _match(desk, end.recv, task, count)
        desk.hear()
        end.close()


def _match(desk: Desk, take: Callable[[], bytes], task: Task, count: int) -> None:
    chunk = warm_up(lambda _: take(), task.size, warm_seconds(task))
    meter, first = ProcessorTime(), place(take(), count)
    received = pump(lambda _: take(), task.size, task.seconds, chunk)
    arrived = place(take(), count) - first
    desk.say(arrived=arrived, received=received + 1, processor=meter.seconds())


def crowd_publish(desk: Desk, _library: Library, task: Task) -> None:
    """Be a bare publisher that always has more."""
    dialect = LIBRARIES[task.library].dialect
    for count in PREFIXES:
        whole = b"".join(frame(body, dialect) for body in run(count, task.size))
        (member,) = connect_crowd(text(desk.hear(), "url"), 1, dialect, Pattern.PUB)
        desk.say(connected=1)
        _publish_runs(desk, member, whole)
        member.close()
        desk.say(done=1)


def _publish_runs(desk: Desk, member: socket.socket, whole: bytes) -> None:
    """Run after run, each with its number, until the parent calls."""
    member.setblocking(False)
    number, left = 0, memoryview(whole)
    while not desk.called():
        select.select([], [member], [], 0.1)
        with suppress(BlockingIOError):
            left = left[member.send(left) :]
        if not left:
            number += 1
            whole = restamped(whole, number)
            left = memoryview(whole)
    desk.hear()


PUBSUB_ROLES: Mapping[str, Role] = {
    role.__name__: role for role in (publish, subscribe, crowd_subscribe, match, crowd_publish)
}
