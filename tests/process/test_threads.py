"""Any thread may call anything, at any moment: nothing is lost or doubled, and a close ends every call."""

from __future__ import annotations

import random
import sys
import threading
from itertools import count
from typing import TYPE_CHECKING

import pytest

from nnqpy import Closed, Pair, Pull, Push, TimedOut, WouldBlock
from tests.process.kit import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(60)

_names = count()


@pytest.fixture(autouse=True)
def restless() -> Iterator[None]:
    """Have threads take turns as often as the interpreter can."""
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(0.005)  # as the interpreter begins; what was found may be what the janitor had lowered it to


def spot(scheme: str) -> str:
    return "tcp://127.0.0.1:0" if scheme == "tcp" else f"inproc://threads-{next(_names)}"


class Crew:
    """Threads, and what came out of them."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.errors: list[BaseException] = []

    def start(self, work: Callable[[], object]) -> None:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                self.errors.append(error)

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(PATIENCE)
        hanging = sum(thread.is_alive() for thread in self.threads)
        assert not hanging, f"{hanging} of {len(self.threads)} threads hang"


@pytest.mark.parametrize("number", [8, 16])
@pytest.mark.parametrize("scheme", ["tcp", "inproc"])
def test_many_threads_share_two_sockets(scheme: str, number: int) -> None:
    """Threads send on one Push and receive from one Pull, each in its own way: all arrives once."""
    each = 3200 // number
    got: list[list[bytes]] = [[] for _ in range(number)]
    with Pull(recv_hwm=50) as pull, Push(send_hwm=50) as push:
        push.connect(pull.bind(spot(scheme)).url, wait=True, timeout=PATIENCE)
        senders, receivers = Crew(), Crew()

        def send(who: int) -> None:
            bodies = [b"%d %d" % (who, n) for n in range(each)]
            match who % 4:
                case 0:
                    for body in bodies:
                        push.send(body, timeout=PATIENCE)
                case 1:
                    assert push.send_many(bodies, timeout=PATIENCE) == each
                case 2:
                    for body in bodies:
                        try:
                            push.send_nowait(body)
                        except WouldBlock:
                            push.send(body, timeout=PATIENCE)
                case _:
                    for body in bodies:
                        push.send(body, timeout=PATIENCE)
                        push.flush(PATIENCE)

        def receive(mine: list[bytes], way: int) -> None:
            if way == 0:
                mine.extend(pull)
                return
            try:
                while True:
                    match way:
                        case 1:
                            mine.append(pull.recv())
                        case 2:
                            mine.extend(pull.recv_many(7))
                        case _:
                            try:
                                mine.append(pull.recv(timeout=0.001))
                            except TimedOut:
                                pass
            except Closed:
                pass

        for who in range(number):
            receivers.start(lambda who=who: receive(got[who], who % 4))  # type: ignore[misc]  # bound by its default
            senders.start(lambda who=who: send(who))  # type: ignore[misc]
        senders.join()
        until(lambda: sum(map(len, got)) >= number * each)
        pull.close()
        receivers.join()

        stats = push.stats()

    assert (senders.errors, receivers.errors) == ([], [])
    assert sorted(body for mine in got for body in mine) == sorted(
        b"%d %d" % (who, n) for who in range(number) for n in range(each)
    )
    assert (stats.accepted, stats.queued) == (number * each, 0)


@pytest.mark.parametrize("scheme", ["tcp", "inproc"])
def test_a_thread_sees_its_own_messages_in_order(scheme: str) -> None:
    """With one receiver, what each of eight threads sends comes in that thread's order."""
    with Pull() as pull, Push(send_hwm=20) as push:
        push.connect(pull.bind(spot(scheme)).url, wait=True, timeout=PATIENCE)
        crew = Crew()

        def send(who: int) -> None:
            for n in range(300):
                push.send(b"%d %d" % (who, n), timeout=PATIENCE)

        for who in range(8):
            crew.start(lambda who=who: send(who))  # type: ignore[misc]  # bound by its default
        got = [tuple(map(int, pull.recv(timeout=PATIENCE).split())) for _ in range(8 * 300)]
        crew.join()

    assert crew.errors == []
    assert all([n for one, n in got if one == who] == [*range(300)] for who in range(8))


CALLS: list[Callable[[Pair], object]] = [
    lambda pair: pair.recv(),
    lambda pair: pair.recv_many(5),
    lambda pair: pair.send(b"x"),
    lambda pair: pair.send(bytes(20_000)),
    lambda pair: pair.send_many([b"x"] * 20),
    lambda pair: pair.flush(),
    lambda pair: pair.wait_for_peers(2),
    lambda pair: pair.connect("inproc://nobody", wait=True),
]


@pytest.mark.parametrize("state", ["blocked", "busy"])
@pytest.mark.parametrize("scheme", ["tcp", "inproc"])
def test_a_close_ends_every_call_of_every_thread(scheme: str, state: str) -> None:
    """A hundred times: eight threads block in, or are busy with, all there is; the close of one more ends them all."""
    for _ in range(100):
        with Pair(send_hwm=2, linger=0, recv_hwm=2) as one, Pair(send_hwm=2, linger=0, recv_hwm=2) as other:
            url = one.bind(spot(scheme)).url
            if state == "busy":
                other.connect(url, wait=True, timeout=PATIENCE)
            else:
                one.send_many([b"x"] * 2)
            calls, crew = [0] * len(CALLS), Crew()

            def use(place: int, one: Pair = one, calls: list[int] = calls) -> None:
                while True:
                    calls[place] += 1
                    CALLS[place](one)

            def answer(other: Pair = other) -> None:
                while True:
                    other.recv()
                    try:
                        other.send_nowait(b"y")
                    except WouldBlock:
                        pass

            for place in range(len(CALLS)):
                crew.start(lambda place=place, use=use: use(place))  # type: ignore[misc]  # bound by their defaults
            if state == "busy":
                crew.start(answer)
                until(lambda calls=calls: min(calls) >= 1 and max(calls) >= 5)  # type: ignore[misc]
            else:
                until(
                    lambda one=one: (  # type: ignore[misc]
                        sum(turn.parked + len(turn.line) for turn in (one._turns.into, one._turns.out))
                        + len(one._turns.watchers)
                        == len(CALLS)
                    )
                )
            reports = [one.close()]
            other.close()
            crew.join()

            assert [type(error) for error in crew.errors] == [Closed] * len(crew.threads)
            assert one.close() is reports[0]
            stats = one.stats()
            assert stats.accepted == stats.delivered + stats.queued + sum(stats.dropped.values())


@pytest.mark.parametrize("scheme", ["tcp", "inproc"])
def test_a_close_at_any_moment_of_a_flow_keeps_the_books(scheme: str) -> None:
    """Two hundred times: eight threads send, one closes at a random moment; accepted is sent, queued or dropped."""
    rng = random.Random(scheme)
    for _ in range(200):
        with Pull(linger=0) as pull, Push(linger=PATIENCE, send_hwm=10) as push:
            push.connect(pull.bind(spot(scheme)).url, wait=True, timeout=PATIENCE)
            crew, taker = Crew(), Crew()
            sent: list[bytes] = []
            got: list[bytes] = []

            def send(who: int, push: Push = push, sent: list[bytes] = sent) -> None:
                for n in count():
                    body = b"%d %d" % (who, n)
                    push.send(body)
                    sent.append(body)

            taker.start(lambda got=got, pull=pull: got.extend(pull))  # type: ignore[misc]  # bound by their defaults
            for who in range(8):
                crew.start(lambda who=who, send=send: send(who))  # type: ignore[misc]
            few = rng.choice([0, 1, 10, 100])
            until(lambda sent=sent, few=few: len(sent) >= few)  # type: ignore[misc]

            report = push.close()
            crew.join()

            stats = push.stats()
            assert [type(error) for error in crew.errors] == [Closed] * 8
            assert (report.abandoned, stats.queued, stats.accepted) == (0, 0, stats.delivered)
            until(
                lambda got=got, stats=stats: len(got) >= stats.accepted,  # type: ignore[misc]
                tell=lambda got=got, pull=pull, stats=stats, taker=taker: (  # type: ignore[misc]
                    len(got),
                    stats,
                    pull.stats(),
                    pull.peers,
                    taker.errors,
                ),
            )
            pull.close()
            taker.join()
            assert len(got) == stats.accepted
            assert len(set(got)) == len(got)
            assert set(sent) <= set(got)


@pytest.mark.parametrize("scheme", ["tcp", "inproc"])
def test_everything_else_may_be_called_meanwhile(scheme: str) -> None:
    """Threads bind, connect, count, list, watch and close ends while messages flow: they flow on, all of them."""
    with Pull() as pull, Push(send_hwm=50) as push:
        push.connect(pull.bind(spot(scheme)).url, wait=True, timeout=PATIENCE)
        crew, over = Crew(), threading.Event()

        def rounds(work: Callable[[], object]) -> None:
            while not over.is_set():
                work()

        def ends() -> None:
            listener = push.bind("tcp://127.0.0.1:0")
            dialer = pull.connect(listener.url)
            assert repr(push)
            assert repr(pull)
            dialer.close()
            listener.close()

        def count_up() -> None:
            stats = push.stats()
            assert stats.accepted == stats.delivered + stats.queued + sum(stats.dropped.values())
            ids = [peer.id for peer in push.peers]
            assert len(set(ids)) == len(ids)
            assert pull.wait_for_peers(1, PATIENCE)

        def flow() -> None:
            for n in range(1500):
                push.send(b"%d" % n, timeout=PATIENCE)

        def watch() -> None:
            events = pull.events()
            try:
                events.recv(timeout=0)
            except TimedOut:
                pass

        for work in (ends, ends, count_up, watch, pull.fileno):
            crew.start(lambda work=work: rounds(work))  # type: ignore[misc]  # bound by its default
        sender = Crew()
        sender.start(flow)
        got = sorted(int(pull.recv(timeout=PATIENCE)) for _ in range(1500))
        over.set()
        sender.join()
        crew.join()

        assert crew.errors == sender.errors == []
        assert got == [*range(1500)]
