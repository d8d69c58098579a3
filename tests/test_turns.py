"""Turns: one does the I/O, nobody is forgotten: whatever threads and interrupts come between any two steps."""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

import pytest

import nnqpy.turns
from nnqpy import Bus, Pub, Pull, Push, RawPub, RawReq, Rep, Req, Respondent, Surveyor
from nnqpy.base import close_at_once
from nnqpy.errors import Closed, ForkedError, Reason, TimedOut
from nnqpy.events import PeerAdded
from nnqpy.message import Addressed
from nnqpy.options import Options
from nnqpy.patterns.pair import PairCore
from nnqpy.patterns.pipeline import PullCore, PushCore
from nnqpy.routing.core import SocketCore
from nnqpy.routing.send_pump import BATCH_BYTES
from nnqpy.turns import BATCH, FIRST_LOOK, GATHER, PAUSE, QUIET, State, Turn, Verdict
from nnqpy.wire.stream import TCP
from tests.kit.cores import queue
from tests.kit.engines import Line, Socket, close_lines, connected, give_back, unwire, wire
from tests.kit.interleaving import Actor, intrude, polite, schedules
from tests.kit.interrupts import handlers, interrupt
from tests.kit.janitors import employ
from tests.kit.peers import FakePeer, marry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from nnqpy.base import BaseSocket
    from nnqpy.turns import Turns

OURS: Final = ("nnqpy.turns", "nnqpy.locks", "nnqpy.routing", "nnqpy.engine", "nnqpy.wire", "nnqpy.poller")


in_python = getattr(Push.send, "__wrapped__", Push.send)
"""`send` in steps that somebody can come in between; compiled it does the same in one."""


class Clock:
    """The time that `turns.py` sees: it stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still, so that every sender is a quick one."""
    made = Clock()
    monkeypatch.setattr(nnqpy.turns, "monotonic", made)
    return made


class World:
    """A real Push, a janitor that moves when it is told to, and peers."""

    def __init__(self, *rooms: int | None) -> None:
        self.push = Push()
        self.core, self.turns = self.push._core, self.push._turns
        self.janitor = employ(self.turns)
        self.peers = [FakePeer(room) for room in rooms]
        marry(self.turns, *self.peers)
        self.janitor.keep()

    @property
    def arrived(self) -> list[bytes]:
        return [body for peer in self.peers for body in peer.written]


@pytest.fixture
def worlds() -> Iterator[Callable[..., World]]:
    """Make worlds, and close their sockets in the end."""
    made: list[World] = []

    def make(*rooms: int | None) -> World:
        end()
        made.append(World(*rooms))
        return made[0]

    def end() -> None:
        while made:
            world = made.pop()
            world.push.close(0)
            give_back(world.turns)

    yield make
    end()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Close every line, also after a failure."""
    yield
    close_lines()


# --- taking and giving -------------------------------------------------------------------------------------


class Sleeper:
    """Somebody in line."""

    def __init__(self) -> None:
        self.times = 0

    @property
    def woken(self) -> bool:
        return self.times > 0

    def wake(self) -> None:
        self.times += 1


def test_a_turn_has_one_holder() -> None:
    """Who comes second does not wait: he is told that it is taken."""
    turn = Turn()

    assert turn.take()
    assert not turn.take()
    turn.lock.release()
    assert turn.take()


def test_waking_is_for_the_first_in_line() -> None:
    """One, not all: of those who wait for a turn the others would find it taken again."""
    turn, line = Turn(), [Sleeper(), Sleeper()]
    turn.line.extend(line)

    turn.wake()

    assert [one.times for one in line] == [1, 0]


def test_waking_more_than_there_are_is_no_error() -> None:
    """The line may have become shorter in the meantime."""
    turn, one = Turn(), Sleeper()
    turn.line.append(one)

    turn.wake(3)

    assert one.times == 1


@pytest.mark.parametrize("held", [False, True])
def test_an_interrupted_take_leaves_no_lock_behind(held: bool) -> None:
    """The turn is ours, and we know it, or it is not ours."""
    for at in count():
        turn = Turn()
        if held:
            turn.lock.acquire()
        if not interrupt(turn.take, at, "nnqpy.turns", "nnqpy.locks"):
            assert at > 1
            return
        assert turn.lock.locked() is held


WRITERS: Final[dict[str, Callable[[World], object]]] = {
    "write": lambda world: world.turns.write(),
    "tend": lambda world: world.turns.tend(),
    "keep": lambda world: world.turns.keep(),
    "place": lambda world: world.turns.place(b"large"),
    "place_many": lambda world: world.turns.place_many([b"one", b"two"]),
    "press": lambda world: world.turns.press(b"last"),
    "press_softly": lambda world: world.turns.press_softly(b"last"),
    "send": lambda world: in_python(world.push, b"last"),
    "send_many": lambda world: world.push.send_many([b"one", b"two"]),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_an_interrupted_writer_gives_the_turn_back(
    worlds: Callable[..., World], write: Callable[[World], object]
) -> None:
    """Wherever it is interrupted, the next writer can write everything, once and in order."""
    for at in count():
        world = worlds(None)
        queue(world.core, [b"%d" % n for n in range(5)])
        world.turns._promise(FIRST_LOOK)
        done = not interrupt(partial(write, world), at, *OURS, "nnqpy.blocking")

        assert not world.turns.out.lock.locked()
        assert not world.turns.into.lock.locked()
        world.turns.write()
        assert world.arrived[:5] == [b"%d" % n for n in range(5)]
        assert len(set(world.arrived)) == len(world.arrived)
        assert world.core.drained
        if done:
            assert at > 1
            return


@pytest.mark.parametrize("name", WRITERS)
def test_an_interrupted_writer_forgets_nobody_in_line(worlds: Callable[..., World], name: str) -> None:
    """Whoever waited for the turn is woken, by the writer or by the next tick."""
    for at in count():
        world, one = worlds(None), Sleeper()
        world.turns.out.line.append(one)
        queue(world.core, [b"x"])
        world.turns._promise(FIRST_LOOK)
        done = not interrupt(partial(WRITERS[name], world), at, *OURS, "nnqpy.blocking")
        world.janitor.tick()

        assert one.times >= 1, at
        if done:
            return


def test_an_interrupted_reader_gives_the_turn_back() -> None:
    """A janitor's look at a connection that hung up takes the in-turn, too."""
    for line in interrupted_looks(Sleeper()):
        home = line.home
        assert not home.turns.into.lock.locked()
        home.turns.hung_up(line.engine)
        home.turns.fill()

        assert list(home.core.inbox) == [b"one", b"two"]
        assert line.engine.gone


def test_an_interrupted_reader_forgets_nobody_in_line() -> None:
    """Whoever waited for messages is woken, by that look or by the next tick."""
    one = Sleeper()
    for number, line in enumerate(interrupted_looks(one)):
        line.home.turns.tend()

        assert one.times > number


def interrupted_looks(one: Sleeper) -> Iterator[Line]:
    """Yield a peer that hung up, each time looked at and interrupted one point later, with `one` in line."""
    for at in count():
        line = Line(Socket(PullCore))
        line.feed(wire(TCP, [b"one", b"two"]))
        line.far.close()
        line.home.turns.into.line.append(one)
        done = not interrupt(partial(line.home.turns.hung_up, line.engine), at, *OURS)
        yield line
        line.close()
        if done:
            assert at > 20
            return


@pytest.mark.parametrize("verb", ["write", "poll_out"])
def test_an_interrupted_writer_hears_of_room(verb: str) -> None:
    """The kernel took a part when Ctrl-C came, and has room right after: what is left goes, once and whole.

    An edge tells of room only once. Used up before the peer was known to be full, it would be missed for ever.
    """
    first, second = bytes(200_000), b"1" * 200_000
    for at in count():
        home = Socket(PushCore, send_hwm=10)
        line = Line(home, buffer=50_000)
        home.turns.place(first)
        got = line.drain()
        while home.core.cut_frames:
            home.turns.write()
            got += line.drain()
        home.core.outbox.append(second)
        if verb == "poll_out":
            home.turns.write()
            got += line.drain()
        done = not interrupt(home.turns.write, at, *OURS)
        for _ in range(20):
            got += line.drain()
            with held(home.turns.out):
                home.turns.poll_out(0)
                home.turns.pump()
        got += line.drain()

        assert unwire(TCP, got) == [first, second], at
        line.close()
        if done:
            assert at > 20
            return


@contextmanager
def held(turn: Turn) -> Generator[None]:
    """Hold a turn."""
    assert turn.take()
    try:
        yield
    finally:
        turn.lock.release()


SENDERS: Final[dict[str, tuple[Callable[[World], object], list[bytes]]]] = {
    # name: what is called, and the messages of it
    "send": (lambda world: world.push.send(b"last"), [b"last"]),
    "send a large one": (lambda world: world.push.send(bytes(5000)), [bytes(5000)]),
    "send_nowait": (lambda world: world.push.send_nowait(b"last"), [b"last"]),
    "send_many": (lambda world: world.push.send_many([b"one", b"two"]), [b"one", b"two"]),
    "send_many large ones": (lambda world: world.push.send_many([bytes(5000)] * 2), [bytes(5000)] * 2),
}


@handlers
@pytest.mark.parametrize(("send", "bodies"), SENDERS.values(), ids=SENDERS.keys())
def test_a_sender_who_was_interrupted_left_its_messages_to_somebody(
    worlds: Callable[..., World],
    clock: Clock,
    send: Callable[[World], object],
    bodies: list[bytes],
    error: type[BaseException],
) -> None:
    """It was broken off: each message was taken or not, but if it was, it is written or a tick comes."""
    for at in count():
        world = worlds(None)
        done = not interrupt(partial(send, world), at, *OURS, "nnqpy.blocking", error=error)
        world.janitor.keep()

        assert world.core.drained
        assert world.arrived == bodies[: len(world.arrived)]
        if done:
            return


def test_a_receiver_who_was_interrupted_has_its_message_or_left_it() -> None:
    """Wherever a signal handler may come in: a message is in the inbox, or with the one who called."""
    bodies = [b"%d" % n for n in range(6)]
    with Pull() as pull:
        got: list[bytes] = []

        def take_all() -> None:
            nonlocal got
            while True:
                body = pull.recv()
                got += [body]
                if body == bodies[-1]:
                    return

        for at in count():
            got = []
            pull._inbox.extend(bodies)
            done = not interrupt(take_all, at, __name__, "nnqpy.blocking")
            assert got + list(pull._inbox) == bodies
            pull._inbox.clear()
            if done:
                assert at >= len(bodies)
                return


# --- promises: every schedule of two threads ---------------------------------------------------------------


def send(world: World) -> None:
    in_python(world.push, b"1")


def send_another(world: World) -> None:
    in_python(world.push, b"2")


def send_large(world: World) -> None:
    in_python(world.push, b"1" * 100_000)


def send_several(world: World) -> None:
    world.push.send_many([b"1", b"2", b"3"])


def tick(world: World) -> None:
    world.janitor.tick()


def write(world: World) -> None:
    world.turns.write()


def empty_the_stalled(world: World) -> None:
    """A peer that was full has room again, and the janitor comes by."""
    world.peers[-1].give_room()
    world.janitor.told = True
    world.janitor.tick()


def quiet(world: World) -> None:
    """Nothing waits, nothing is promised."""


def promised(world: World) -> None:
    """A message waits for the tick."""
    queue(world.core, [b"0"])
    world.turns._promise(FIRST_LOOK)


def promise_kept(world: World) -> None:
    """The message was written, the promise still stands."""
    promised(world)
    world.turns.write()


def batch_waits(world: World) -> None:
    """Many messages wait for the tick."""
    queue(world.core, [b"0"] * 20)
    world.turns._promise(BATCH - 1)


BEFORE: Final = [quiet, promised, promise_kept, batch_waits]
STEPS: Final = ("nnqpy.blocking", "nnqpy.turns", "nnqpy.routing")
PAIRS: Final[list[tuple[Callable[[World], object], Callable[[World], object]]]] = [
    (send, tick),
    (tick, send),
    (send, write),
    (write, send),
    (send, send_another),
    (send_large, tick),
    (tick, send_large),
    (send_several, tick),
    (tick, send_several),
]
pairs = pytest.mark.parametrize(("one", "other"), PAIRS, ids=[f"{a.__name__}-{b.__name__}" for a, b in PAIRS])


def check_promises(world: World, when: object) -> None:
    """Everything is out, or a tick comes that gets it out; then nothing is promised any more."""
    assert world.core.look <= 0 or world.turns.promised, when
    world.janitor.keep()

    assert world.core.drained, when
    assert len(world.arrived) == world.core.delivered, when
    assert (world.turns.promised, world.core.look) == (False, 0), when


@pytest.mark.parametrize("before", BEFORE, ids=[one.__name__ for one in BEFORE])
@pairs
def test_whoever_comes_in_between_forgets_no_message(
    worlds: Callable[..., World],
    clock: Clock,
    before: Callable[[World], object],
    one: Callable[[World], object],
    other: Callable[[World], object],
) -> None:
    """Between any two instructions of one thread another does its whole work: what was sent is written or promised."""
    check_intrusions(worlds, [None], before, one, other)


@pytest.mark.parametrize("one", [send, empty_the_stalled], ids=["send", "empty_the_stalled"])
def test_whoever_comes_in_between_forgets_no_message_beside_a_stalled_peer(
    worlds: Callable[..., World], clock: Clock, one: Callable[[World], object]
) -> None:
    """The same while another peer is full, and has room again at any moment."""
    check_intrusions(worlds, [None, 0], promised, one, empty_the_stalled if one is send else send)


def check_intrusions(
    worlds: Callable[..., World],
    rooms: list[int | None],
    before: Callable[[World], object],
    one: Callable[[World], object],
    other: Callable[[World], object],
) -> None:
    for at in count():
        world = worlds(*rooms)
        before(world)
        if not intrude(partial(one, world), at, partial(other, world), world.core, *STEPS):
            assert at > 20
            return
        check_promises(world, at)


@pytest.mark.parametrize(("one", "other"), PAIRS[:2], ids=["send-tick", "tick-send"])
def test_no_schedule_of_a_sender_and_the_janitor_forgets_a_message(
    worlds: Callable[..., World], clock: Clock, one: Callable[[World], object], other: Callable[[World], object]
) -> None:
    """A sender that passes because a tick is promised, and the tick that ends the promise, in lock-step."""
    assert number_of_schedules(worlds, one, other, "nnqpy.turns") > 100


def number_of_schedules(
    worlds: Callable[..., World], one: Callable[[World], object], other: Callable[[World], object], turns: str
) -> int:
    scenes: list[World] = []

    def scene() -> tuple[Actor, Actor]:
        world = worlds(None)
        promised(world)
        polite(world.core)
        scenes[:] = [world]
        return (
            Actor(lambda: one(world), "nnqpy.blocking", turns),
            Actor(lambda: other(world), "nnqpy.blocking", turns),
        )

    number = 0
    for schedule in schedules(scene):
        check_promises(scenes[0], schedule)
        number += 1  # the number is what is asked for
    return number


@pytest.mark.parametrize("one", [send, tick], ids=["send", "tick"])
def test_the_schedules_find_a_broken_promise(
    worlds: Callable[..., World], clock: Clock, monkeypatch: pytest.MonkeyPatch, one: Callable[[World], object]
) -> None:
    """A janitor that looks at the outbox first, and ends the promise after, would strand a message: it is found."""

    def careless(self: Turns) -> Verdict:
        self.core.pump()
        if self.core.outbox:
            return Verdict.BUSY
        self.promised = False
        self.core.look = 0
        return Verdict.CLEAN

    monkeypatch.setattr(nnqpy.turns.Turns, "_write_out", careless)

    with pytest.raises(AssertionError):
        number_of_schedules(worlds, one, tick if one is send else send, __name__)


# --- promises: one thread ----------------------------------------------------------------------------------


def test_a_lone_message_is_written_at_once(worlds: Callable[..., World], clock: Clock) -> None:
    """After a quiet time nothing is promised, everything done."""
    world = worlds(None)
    clock.now += 1

    world.push.send(b"alone")

    assert world.arrived == [b"alone"]
    assert not world.janitor.told


def test_a_burst_is_gathered_and_a_tick_comes(worlds: Callable[..., World], clock: Clock) -> None:
    """Messages in quick succession wait for the tick, which writes them together."""
    world = worlds(None)

    for n in range(5):
        world.push.send(b"%d" % n)
    assert (world.arrived, world.janitor.told) == ([], True)
    world.janitor.tick()

    assert world.arrived == [b"0", b"1", b"2", b"3", b"4"]
    assert world.peers[0].pushes == [5]


def test_a_full_batch_does_not_wait_for_the_tick(worlds: Callable[..., World], clock: Clock) -> None:
    """At 256 messages the sender writes them itself."""
    world = worlds(None)

    for n in range(BATCH + 1):
        world.push.send(b"%d" % n)

    assert len(world.arrived) >= BATCH


def test_a_burst_that_goes_on_is_written_by_its_sender(worlds: Callable[..., World], clock: Clock) -> None:
    """Messages are gathered for a short time only, also where no tick comes."""
    world = worlds(None)
    world.push.send(b"0")
    clock.now += PAUSE / 2

    for n in range(1, FIRST_LOOK + 1):
        world.push.send(b"%d" % n)

    assert world.arrived == [b"%d" % n for n in range(FIRST_LOOK + 1)]


def test_messages_wait_for_the_first_peer_without_ticks(worlds: Callable[..., World], clock: Clock) -> None:
    """A socket without peers has the janitor rest; the peer's coming wakes it."""
    world = worlds()
    world.push.send(b"early")
    world.janitor.keep()
    assert world.janitor.verdicts[-1] is Verdict.WAITING

    peer = FakePeer()
    marry(world.turns, peer)
    world.janitor.keep()

    assert peer.written == [b"early"]


def test_a_stalled_peer_never_holds_up_a_message_for_another(worlds: Callable[..., World], clock: Clock) -> None:
    """One worker is stuck for good: what is sent to the other is written, or a tick comes for it."""
    world = worlds(None, 0)
    queue(world.core, [b"0", b"1"])
    world.turns.write()
    world.janitor.told = True
    world.janitor.keep()
    assert (world.arrived, world.janitor.verdicts[-1]) == ([b"0", b"1"], Verdict.BLOCKED)

    for n in range(2, 20):
        clock.now += PAUSE * 2
        world.push.send(b"%d" % n)
        world.janitor.keep()
        clock.now += PAUSE / 1000
        world.push.send(b"quick %d" % n)
        world.janitor.keep()

        assert world.core.drained, f"message {n} waits, and nobody comes for it"


def test_a_peer_lost_while_full_is_not_waited_for(worlds: Callable[..., World], clock: Clock) -> None:
    """The promise is over when all that was full is gone."""
    world = worlds(None, 0)
    queue(world.core, [b"0", b"1"])
    world.turns.write()

    world.peers[1].die()
    world.janitor.keep()

    assert world.turns.blocked == set()
    assert world.janitor.verdicts[-1] is Verdict.CLEAN


@pytest.mark.parametrize("write", [WRITERS["write"], WRITERS["tend"]], ids=["write", "tend"])
def test_a_peer_that_dies_as_it_is_written_is_not_waited_for(
    worlds: Callable[..., World], clock: Clock, write: Callable[[World], object]
) -> None:
    """It may be lost by another thread at any moment of the write that finds it full."""
    for moment in ("before_write", "after_write"):
        for room in (0, 12, None):
            world = worlds(None, room)
            setattr(world.peers[1], moment, world.peers[1].die)
            queue(world.core, [b"0", b"1", b"2", b"3"])
            write(world)
            world.janitor.keep()

            assert world.turns.blocked == set()
            assert world.core.drained
            assert (world.turns.promised, world.core.look) == (False, 0)


def test_a_dead_peer_is_not_waited_for_wherever_its_write_was_interrupted(clock: Clock) -> None:
    """Ctrl-C right behind a partial write, and then the connection breaks: nothing of it is left behind."""
    for at in count():
        home = Socket(PushCore)
        home.core.replaceable = True
        line = Line(home, buffer=4608)
        bodies = [b"%03d" % n * 1000 for n in range(5)]
        queue(home.core, bodies)
        done = not interrupt(home.turns.write, at, *OURS)
        home.turns.lose(line.engine, Reason.RESET, "broken")
        home.turns.tend()
        home.turns.tend()

        whole: list[bytes] = []
        TCP.split(line.drain(), 0, whole, 100, -1)
        assert whole + list(home.core.outbox) == bodies
        assert home.turns.blocked == set()
        assert line.buried
        line.close()
        if done:
            assert at > 20
            return


# --- promises of an event loop -----------------------------------------------------------------------------


def test_a_loop_writes_a_lone_message_at_once(worlds: Callable[..., World], clock: Clock) -> None:
    """After a quiet time there is nothing to gather."""
    world = worlds(None)
    clock.now += 1

    world.core.outbox.append(b"alone")
    assert world.turns.press_softly(b"alone")

    assert world.arrived == [b"alone"]


def test_a_loop_writes_the_rest_at_the_end_of_its_turn(worlds: Callable[..., World], clock: Clock) -> None:
    """What its tasks send in one turn goes together; then the promise is over."""
    world = worlds(None)
    for n in range(5):
        world.core.outbox.append(b"%d" % n)
        assert world.turns.press_softly(b"%d" % n)
    world.turns.promise_by_loop()
    before = (world.arrived, world.core.look)

    world.turns.keep()

    assert before == ([], BATCH - 1)
    assert world.peers[0].pushes == [5]
    assert (world.turns.promised, world.core.look, world.janitor.told) == (False, 0, False)


def test_a_loop_does_not_hold_a_full_batch_back(worlds: Callable[..., World], clock: Clock) -> None:
    """256 messages are written in the middle of its turn."""
    world = worlds(None)
    queue(world.core, [b"."] * BATCH)

    assert world.turns.press_softly(b".")

    assert world.core.drained


def test_a_loop_that_promised_nothing_has_nothing_to_keep(worlds: Callable[..., World], clock: Clock) -> None:
    """It may have been kept by another thread."""
    world = worlds(None)
    queue(world.core, [b"x"])

    world.turns.keep()

    assert world.arrived == []


@pytest.mark.parametrize(("rooms", "told"), [([0], True), ([12], True), ([], False)], ids=["full", "in part", "nobody"])
def test_what_the_peers_do_not_take_of_a_loop_is_left_to_the_janitor(
    worlds: Callable[..., World], clock: Clock, rooms: list[int], told: bool
) -> None:
    """A full peer is waited for by the janitor; a first peer will tell it when it comes."""
    world = worlds(*rooms)
    queue(world.core, [b"later"])
    world.turns.promise_by_loop()

    world.turns.keep()

    assert (world.turns.promised, world.janitor.told) == (True, told)
    for peer in world.peers:
        peer.give_room()
    world.janitor.keep()
    world.turns.write()
    assert world.arrived == [b"later"] * len(rooms)


def test_a_loop_leaves_its_messages_to_who_writes_already(worlds: Callable[..., World], clock: Clock) -> None:
    """The turn is taken: the janitor looks after that."""
    world = worlds(None)
    queue(world.core, [b"x"])
    world.turns.promise_by_loop()

    world.turns.out.take()
    world.turns.keep()
    told = world.janitor.told
    world.turns.out.lock.release()
    world.janitor.keep()

    assert (told, world.arrived) == (True, [b"x"])


def test_a_loop_is_told_of_the_marks() -> None:
    """A batch that nobody takes fills the queue: the message over the mark is taken out again."""
    home = Socket(PushCore, send_hwm=BATCH)
    queue(home.core, [b"."] * BATCH)
    assert home.turns.press_softly(b".")
    last = b"one too many"
    home.core.outbox.append(last)

    assert not home.turns.press_softly(last)
    assert len(home.core.outbox) == BATCH
    home.turns.refuse()
    home.core.outbox.append(last)
    with pytest.raises(Closed):
        home.turns.press_softly(last)


# --- what the janitor looks after --------------------------------------------------------------------------


def test_the_janitor_lets_go_of_the_dead() -> None:
    """A tick does for both turns what nobody else does: the descriptor goes back."""
    home = Socket(PairCore)
    line = Line(home)
    home.turns.lose(line.engine, Reason.RESET, "")

    assert home.turns.tend() is Verdict.CLEAN

    assert line.buried == [line._near]


@pytest.mark.parametrize("turn", ["into", "out"])
def test_the_janitor_comes_again_while_a_turn_is_held(turn: str) -> None:
    """Whoever holds the turn is told to look; if he waits in the poller, the bell ends that."""
    home = Socket(PairCore)
    line = Line(home)
    home.turns.lose(line.engine, Reason.RESET, "")
    held: Turn = getattr(home.turns, turn)
    held.take()
    held.parked = True

    verdict = home.turns.tend()

    assert (verdict, held.bell.rung, line.buried) == (Verdict.BUSY, True, [])
    held.lock.release()
    assert home.turns.tend() is Verdict.CLEAN
    assert line.buried == [line._near]


def test_the_janitor_reads_those_that_hung_up() -> None:
    """Of a peer without a descriptor nobody else hears that; while a reader is busy, it comes again."""
    home, peer = Socket(PairCore), FakePeer()
    marry(home.turns, peer)
    peer.send(b"last words")
    home.turns.hang_up(peer)

    home.turns.into.take()
    busy = home.turns.tend()
    home.turns.into.lock.release()

    assert busy is Verdict.BUSY
    assert home.turns.tend() is Verdict.CLEAN
    assert list(home.core.inbox) == [b"last words"]


@pytest.mark.parametrize("who", ["janitor", "sender"])
@pytest.mark.parametrize(("rooms", "rung"), [((0, None), True), ((0, 0), False)], ids=["room", "no-room"])
def test_who_waits_for_one_peers_room_is_roused_for_another(
    rooms: tuple[int | None, ...], rung: bool, who: str
) -> None:
    """A writer waits in the poller; a message that another thread queues goes to the peer that has room."""
    home = Socket(PushCore)
    peers = [FakePeer(room) for room in rooms]
    marry(home.turns, *peers)
    queue(home.core, [b"for the stalled", b"for the stalled"])
    home.turns.write()
    out = home.turns.out
    out.bell.silence()
    out.take()
    out.parked = True
    queue(home.core, [b"for the other"])

    if who == "janitor":
        assert home.turns.tend() is Verdict.BUSY
    else:
        home.turns.write()

    assert out.bell.rung is rung
    out.parked = False
    out.lock.release()
    home.turns.write()
    assert peers[0].written == []
    assert (b"for the other" in peers[1].written) is rung


# --- coming and closing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [PairCore, PullCore])
@pytest.mark.parametrize("first", ["attach", "close"])
def test_who_comes_while_the_socket_closes_is_let_go(first: str, pattern: type[PairCore | PullCore]) -> None:
    """Whichever comes in the middle of the other, at whatever step: no peer stays with a closed socket."""
    for at in count():
        home, peer = Socket(pattern), FakePeer()
        refused: list[Reason | None] = []

        def attach(home: Socket = home, peer: FakePeer = peer, refused: list[Reason | None] = refused) -> None:
            refused.append(home.turns.attach(peer))

        def close(home: Socket = home) -> None:
            home.turns.refuse()
            home.turns.shut()

        action, other = (attach, close) if first == "attach" else (close, attach)
        came = intrude(action, at, other, home.core, "nnqpy.turns", "nnqpy.routing")
        if not came:
            other()
        home.turns.tend()

        assert peer.gone or refused == [Reason.CLOSED_BY_US], at
        assert not home.core.peers
        assert not home.core.lost_in
        assert not home.core.lost_out
        give_back(home.turns)
        if not came:
            assert at > 50
            return


def test_who_follows_is_told_of_the_close() -> None:
    """Once, when it begins, and not any more when he has gone."""
    home, told = Socket(PushCore), list[str]()
    home.turns.followers += [partial(told.append, "one"), leaver := partial(told.append, "other")]
    home.turns.followers.remove(leaver)
    home.turns.refuse()
    home.turns.refuse()

    assert told == ["one"]


# --- marks -------------------------------------------------------------------------------------------------


def test_a_message_over_the_mark_is_taken_out_again() -> None:
    """`press` says that there is no room, and the queue is as it was."""
    home = Socket(PushCore, send_hwm=2)
    for body in (b"0", b"1"):
        home.core.outbox.append(body)
        assert home.turns.press(body)
    home.core.outbox.append(b"2")

    assert not home.turns.press(b"2")

    assert list(home.core.outbox) == [b"0", b"1"]


def test_a_message_is_placed_while_there_is_room() -> None:
    """Messages and bytes have a mark each; the first message always has room."""
    home = Socket(PushCore, send_hwm=3, send_hwm_bytes=30_000)

    assert home.turns.place(b"x" * 100_000)
    assert not home.turns.place(b"y")
    home = Socket(PushCore, send_hwm=3, send_hwm_bytes=30_000)
    assert [home.turns.place(b"x" * 10_000) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("sizes", "options", "placed"),
    [
        ([1] * 5, {"send_hwm": 10}, 5),
        ([1] * 5, {"send_hwm": 3}, 3),
        ([1] * 5, {"send_hwm": 3, "send_hwm_bytes": None}, 3),
        ([5000] * 5, {"send_hwm": 10, "send_hwm_bytes": 12_000}, 2),
        ([50_000, 1], {"send_hwm": 10, "send_hwm_bytes": 12_000}, 1),
        ([1, 50_000, 1], {"send_hwm": 10, "send_hwm_bytes": 100_000}, 3),
        ([0, 3, 3], {"send_hwm": 10, "send_hwm_bytes": 5}, 2),
    ],
)
def test_of_many_as_many_are_placed_as_have_room(sizes: list[int], options: dict[str, int], placed: int) -> None:
    """The first of them in order; how many is told."""
    home = Socket(PushCore, **options)
    bodies = [bytes([n]) * size for n, size in enumerate(sizes)]

    assert home.turns.place_many(bodies) == placed

    assert list(home.core.outbox) == bodies[:placed]
    assert home.core.fits()


def test_many_small_ones_have_no_room_in_a_full_queue() -> None:
    """None of them is placed, none is lost."""
    home = Socket(PushCore, send_hwm=2)
    home.turns.place_many([b"0", b"1"])

    assert home.turns.place_many([b"2"]) == 0
    assert list(home.core.outbox) == [b"0", b"1"]


# --- reading -----------------------------------------------------------------------------------------------


def lines(home: Socket, number: int) -> list[Line]:
    return [Line(home) for _ in range(number)]


def test_everybody_who_sent_is_read() -> None:
    """One `fill` reads each connection that has something."""
    home = Socket(PullCore)
    peers = lines(home, 3)
    for n, peer in enumerate(peers):
        peer.feed(wire(TCP, [b"%d" % n] * 2))

    assert home.turns.fill()

    assert sorted(home.core.inbox) == [b"0", b"0", b"1", b"1", b"2", b"2"]
    assert not home.turns.fill()


@pytest.mark.parametrize("number", [1, 2, 5])
def test_no_more_is_read_than_the_mark_allows(number: int) -> None:
    """A full inbox is not read into, whoever sent; what was held back comes when there is room, in order."""
    home = Socket(PullCore, recv_hwm=10)
    peers = lines(home, number)
    bodies = [[b"%d.%03d" % (n, m) for m in range(100)] for n in range(number)]
    for peer, sent in zip(peers, bodies, strict=True):
        peer.feed(wire(TCP, sent))

    taken: list[bytes] = []
    while len(taken) < 100 * number:
        home.turns.fill()
        home.turns.fill()
        assert 0 < len(home.core.inbox) <= 10
        taken.append(home.core.inbox.popleft())

    assert [[body for body in taken if body.startswith(b"%d." % n)] for n in range(number)] == bodies


def test_a_loud_peer_does_not_keep_the_others_out() -> None:
    """Who always has more is read in turn with the rest."""
    home = Socket(PullCore, recv_hwm=300)
    loud, *rest = lines(home, 4)
    loud.feed(wire(TCP, [b"loud"] * 5000))
    for peer in rest:
        peer.feed(wire(TCP, [b"soft"]))

    taken: list[bytes] = []
    for _ in range(4):
        home.turns.fill()
        taken += home.core.inbox
        home.core.inbox.clear()

    assert taken.count(b"soft") == 3
    assert taken.count(b"loud") > 500


def test_a_crowd_is_read_to_the_last() -> None:
    """However few are looked at in one go, everybody is read in the end."""
    home = Socket(PullCore)
    crowd = lines(home, 40)
    for n, line in enumerate(crowd):
        line.feed(wire(TCP, [b"%d" % n]))

    for _ in range(40):
        home.turns.fill()

    assert sorted(map(int, home.core.inbox)) == list(range(40))


@pytest.mark.parametrize(("number", "hwm"), [(1, 1), (1, 4), (1, 100), (3, 1), (3, 4), (3, 100)])
def test_no_message_is_stuck_wherever_a_reader_is_interrupted(number: int, hwm: int) -> None:
    """The next readers find everything, in order, whatever the interrupted one had in hand."""
    for at in count():
        home = Socket(PullCore, recv_hwm=hwm)
        peers = lines(home, number)
        bodies = [[b"%d.%d" % (n, m) for m in range(6)] for n in range(number)]
        for peer, sent in zip(peers, bodies, strict=True):
            peer.feed(wire(TCP, sent))
        done = not interrupt(home.turns.fill, at, *OURS)

        taken: list[bytes] = []
        for _ in range(20 * number):
            taken += home.core.inbox
            home.core.inbox.clear()
            home.turns.fill()
        assert [[body for body in taken if body.startswith(b"%d." % n)] for n in range(number)] == bodies, at
        close_lines()
        if done:
            assert at > 20
            return


def test_peers_without_a_descriptor_are_read_too() -> None:
    """What another thread left for us is as good as what the kernel has."""
    home = Socket(PairCore)
    peer = FakePeer()
    marry(home.turns, peer)

    peer.send(b"one", b"two")
    home.turns.fill()

    assert list(home.core.inbox) == [b"one", b"two"]
    assert not home.turns.ready_in


def test_a_dead_peer_is_no_longer_read() -> None:
    """Its descriptor leaves the poller before it goes back to the system."""
    home = Socket(PullCore)
    first, second = lines(home, 2)
    first.far.close()
    home.turns.fill()
    assert home.lost == [Reason.EOF]

    second.feed(wire(TCP, [b"x"]))
    home.turns.fill()
    home.turns.tend()

    assert list(home.core.inbox) == [b"x"]
    assert (len(first.buried), len(second.buried)) == (1, 0)


def test_a_wait_ends_by_the_bell() -> None:
    """Somebody else has news: who waits in the poller looks again."""
    home = Socket(PullCore)
    home.turns.into.parked = True

    home.turns.attend()
    home.turns.poll_in(None)

    assert not home.turns.into.bell.rung


def test_what_a_peer_left_behind_is_read_when_it_hangs_up() -> None:
    """The janitor takes in what fits, and wakes who waits; nobody need have been reading."""
    home, one = Socket(PullCore), Sleeper()
    home.turns.into.line.append(one)
    line = Line(home)
    line.feed(wire(TCP, [b"last words"]))
    line.far.close()

    assert home.turns.hung_up(line.engine)

    assert list(home.core.inbox) == [b"last words"]
    assert (home.lost, one.times) == ([Reason.EOF], 1)
    assert home.turns.hung_up(line.engine)


def test_what_does_not_fit_is_left_for_the_reader() -> None:
    """A hang-up fills the inbox up to its mark and no further."""
    home = Socket(PullCore, recv_hwm=2)
    line = Line(home)
    line.feed(wire(TCP, [b"%d" % n for n in range(5)]))
    line.far.close()

    home.turns.hung_up(line.engine)
    assert list(home.core.inbox) == [b"0", b"1"]
    taken: list[bytes] = []
    while not line.engine.gone or home.core.inbox:
        home.turns.fill()
        taken += home.core.inbox
        home.core.inbox.clear()

    assert taken == [b"%d" % n for n in range(5)]


def test_a_hang_up_waits_for_a_busy_reader() -> None:
    """Whoever holds the in-turn sees the end himself if he waits in the poller; else one comes again."""
    home = Socket(PullCore)
    line = Line(home)
    line.far.close()

    home.turns.into.take()
    busy = home.turns.hung_up(line.engine)
    home.turns.into.parked = True
    parked = home.turns.hung_up(line.engine)

    assert (busy, parked, line.engine.gone) == (False, True, False)


def test_stray_data_is_dropped_by_the_janitor() -> None:
    """A socket that only sends has nobody who reads."""
    home = Socket(PushCore)
    line = Line(home)
    line.feed(b"stray")

    assert home.turns.hung_up(line.engine)

    assert list(home.core.inbox) == []
    assert not line.engine.gone


# --- peers -------------------------------------------------------------------------------------------------


def test_a_peer_that_comes_is_told_of_and_wakes_who_waits() -> None:
    """Watchers count again, the janitor looks what may be sent now."""
    home, one = Socket(PushCore), Sleeper()
    home.turns.watchers.append(one)

    marry(home.turns, FakePeer())

    assert [type(event) for event in home.told] == [PeerAdded]
    assert (one.times, home.calls) == (1, 1)


def test_a_peer_that_goes_wakes_who_waits_and_its_dialer() -> None:
    """Each of them once."""
    home, one, peer = Socket(PushCore), Sleeper(), FakePeer()
    gone: list[FakePeer] = []
    peer.on_gone = lambda: gone.append(peer)
    marry(home.turns, peer)
    home.turns.watchers.append(one)

    home.turns.lose(peer, Reason.EOF, "")
    home.turns.lose(peer, Reason.EOF, "")

    assert (gone, one.times) == ([peer], 1)


def test_a_dialer_is_told_wherever_a_loss_is_interrupted() -> None:
    """If nobody told it, it would never dial again."""
    for at in count():
        home, peer = Socket(PushCore), FakePeer()
        gone: list[FakePeer] = []
        peer.on_gone = partial(gone.append, peer)
        marry(home.turns, peer)
        done = not interrupt(partial(home.turns.lose, peer, Reason.EOF, ""), at, *OURS)
        home.turns.lose(peer, Reason.EOF, "")
        home.turns.tend()

        assert gone
        assert not home.core.peers
        if done:
            assert at > 5
            return


def test_a_refused_connection_is_not_waited_for() -> None:
    """Its descriptor is out of the poller again, and still its owner's to close."""
    home, near, far = Socket(PairCore), *socket.socketpair()
    marry(home.turns, FakePeer())
    peer = FakePeer()
    peer.fd = near.fileno()

    assert home.turns.attach(peer) is Reason.LIMIT_PIPES
    far.send(b"x")
    assert not home.turns.fill()

    assert not home.turns.spinnable
    near.close()
    far.close()


def test_a_reader_spins_on_a_few_light_peers_only() -> None:
    """Looking again and again makes sense for a few other processes that send little at a time."""
    home = Socket(PullCore)
    seen = [home.turns.spinnable]
    (line,) = lines(home, 1)
    seen.append(home.turns.spinnable)
    line.feed(TCP.header(1 << 20) + b"x")
    home.turns.fill()
    seen.append(home.turns.spinnable)
    lines(home, 3)
    seen.append(home.turns.spinnable)
    lines(home, 1)
    seen.append(home.turns.spinnable)

    assert seen == [False, True, False, True, False]


def test_a_refused_peer_leaves_no_trace() -> None:
    """A Pair has one peer; the second is not told of, and nobody is woken."""
    home = Socket(PairCore)
    marry(home.turns, FakePeer())
    calls = home.calls

    assert home.turns.attach(FakePeer()) is Reason.LIMIT_PIPES
    assert (len(home.told), home.calls) == (1, calls)


# --- closing -----------------------------------------------------------------------------------------------


def test_a_closing_socket_takes_no_message() -> None:
    """What was queued before is still drained; what comes now is refused and not kept."""
    home = Socket(PushCore)
    queue(home.core, [b"before"])
    assert home.turns.refuse()
    assert not home.turns.refuse()

    home.core.outbox.append(b"after")
    with pytest.raises(Closed):
        home.turns.press(b"after")
    with pytest.raises(Closed):
        home.turns.place(b"after")
    with pytest.raises(Closed):
        home.turns.place_many([b"after"])

    assert list(home.core.outbox) == [b"before"]


def test_a_message_that_the_drain_took_along_is_accepted() -> None:
    """It was appended at the last moment, and is on its way: its sender must not hear that it was refused."""
    home = Socket(PushCore)
    home.turns.refuse()

    assert home.turns.press(b"not in the queue any more")


@pytest.mark.parametrize("make", [Push, Pub, Bus, Rep, Respondent, Req, Surveyor, RawPub, RawReq])
def test_what_is_queued_after_the_close_is_its_senders_to_take_back(make: Callable[[], BaseSocket]) -> None:
    """The janitor comes by in between, and does not take it for one more that nobody is there for."""
    sock = make()
    employ(sock._turns)
    close_at_once(sock._ends)
    late = Addressed.to(1, b"", b"late") if make in {Rep, Respondent} else b"late"
    sock._core.outbox.append(late)

    assert sock._turns.tend() is Verdict.CLEAN
    sock._turns.write()
    assert not sock._turns.promised
    with pytest.raises(Closed):
        sock._turns.press(late)
    assert sock.stats().accepted == 0


def test_a_closing_sender_takes_a_late_peer() -> None:
    """A dial that is under way may still bring the one who takes what is queued; a receiver has no use for it."""
    sender, receiver = Socket(PushCore), Socket(PullCore)
    sender.turns.refuse()
    receiver.turns.refuse()

    assert sender.turns.attach(FakePeer()) is None
    assert receiver.turns.attach(FakePeer()) is Reason.CLOSED_BY_US


def test_to_shut_is_to_part_with_everybody_and_to_count() -> None:
    """Peers are finished gently, what is left is counted, descriptors go back."""
    home = Socket(PairCore)
    line = Line(home, buffer=4608)
    queue(home.core, [b"x" * 100_000, b"never sent"])
    home.core.inbox.extend([b"never read"] * 3)
    home.turns.write()
    home.turns.refuse()

    assert home.turns.shut() == (2, 3)

    assert home.lost == [Reason.CLOSED_BY_US]
    assert home.turns.state is State.CLOSED
    assert dict(home.core.stats().dropped) == {"peer_lost_mid_frame": 1, "closed": 1}
    assert line.buried
    with pytest.raises(Closed):
        home.turns.check_open()


def test_to_shut_works_on_a_snapshot() -> None:
    """Parting with one peer may lose others, or the same again: each is parted with once."""
    home, peers = Socket(PushCore), [FakePeer() for _ in range(4)]
    marry(home.turns, *peers)

    def lose_all() -> None:
        for peer in peers:
            home.turns.lose(peer, Reason.RESET, "while the socket is being closed")

    for peer in peers:
        peer.on_gone = lose_all
    home.turns.refuse()
    home.turns.shut()

    assert sorted(home.lost) == [Reason.CLOSED_BY_US, *[Reason.RESET] * 3]
    assert [len(peer.calls) for peer in peers] == [3] * 4  # finish or cut, and each turn's release
    assert home.core.peers == {}


def test_to_shut_wakes_everybody() -> None:
    """Those in line, those who watch peers: all of them see the end."""
    home = Socket(PairCore)
    waiting = [Sleeper() for _ in range(5)]
    home.turns.into.line.extend(waiting[:2])
    home.turns.out.line.extend(waiting[2:4])
    home.turns.watchers.append(waiting[4])

    home.turns.refuse()
    home.turns.shut()

    assert all(one.times == 1 for one in waiting)


def test_a_turn_that_is_held_for_good_does_not_hold_up_the_end() -> None:
    """A caller that this very thread interrupted cannot leave its turn: the rest is done without it."""
    home = Socket(PairCore)
    home.turns.out.take()
    home.turns.refuse()

    home.turns.shut()

    assert home.turns.state is State.CLOSED
    assert home.turns.out.lock.locked()


def test_a_forked_child_has_a_socket_that_is_not_its_own() -> None:
    """Nothing is sent, nobody is told, held locks are forgotten, and each use says what happened."""
    home, peer = Socket(PairCore), FakePeer()
    marry(home.turns, peer)
    queue(home.core, [b"the parent's"])
    home.core.inbox.append(b"the parent's, too")
    home.turns.out.take()
    with home.core.lock:
        home.turns.forked()

    assert (peer.calls, peer.pushes) == (["forget"], [])
    assert home.turns.tend() is Verdict.CLEAN
    assert home.turns.hung_up(peer)
    with pytest.raises(ForkedError):
        home.turns.check_open()
    with pytest.raises(ForkedError):
        home.turns.place(b"x")
    home.core.outbox.append(b"x")
    with pytest.raises(ForkedError):
        home.turns.press(b"x")


# --- the descriptor for other loops ------------------------------------------------------------------------


def readable(turns: Turns) -> bool:
    poll = select.poll()
    poll.register(turns.into.poller.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def test_an_exported_descriptor_tells_of_what_there_is() -> None:
    """It is readable while a message is there, wherever it is: in the inbox, in a peer, in the kernel."""
    home, peer = Socket(PairCore), FakePeer()
    marry(home.turns, peer)
    home.turns.export()
    seen = [readable(home.turns)]

    peer.send(b"one")
    seen.append(readable(home.turns))
    home.turns.fill()
    home.turns.level()
    seen.append(readable(home.turns))
    home.core.inbox.clear()
    home.turns.level()
    seen.append(readable(home.turns))

    assert seen == [False, True, True, False]


def test_an_exported_descriptor_tells_of_what_the_kernel_has() -> None:
    """A connection's own readability is the socket's."""
    home = Socket(PullCore)
    line = Line(home)
    home.turns.export()
    seen = [readable(home.turns)]

    line.feed(wire(TCP, [b"x"]))
    seen.append(readable(home.turns))

    assert seen == [False, True]


def test_what_arrives_together_is_read_together() -> None:
    """A whole batch comes out of one read, and its frames are all taken."""
    home = Socket(PairCore)
    line = Line(home)
    bodies = [b"%d" % n for n in range(200)]
    line.feed(wire(TCP, bodies))

    home.turns.fill()
    home.core.outbox.extend(home.core.inbox)
    home.turns.write()

    assert unwire(TCP, line.drain()) == bodies


def test_who_finds_another_writing_looks_again_after_a_batch() -> None:
    """The writer takes along what is appended meanwhile: two senders do not look at each other for each message."""
    home = Socket(PushCore, send_hwm=1000)
    home.core.outbox.extend([b"x"] * 10)
    with held(home.turns.out):
        home.turns.write()

        assert (home.core.look, home.turns.promised, home.calls) == (BATCH, True, 1)


# --- the descriptor that a user has --------------------------------------------------------------------------


def tells(home: Socket) -> bool:
    """Whether the exported descriptor is readable."""
    return bool(select.select([home.turns.into.poller.fileno()], [], [], 0)[0])


def test_a_bell_that_rings_while_it_is_silenced_still_tells_of_what_comes_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One thread silences; in the middle of that another rings for a message, which a third takes: then the next comes."""
    home = Socket(PullCore)
    home.turns.export()
    home.turns.into.bell.ring()
    read = os.eventfd_read

    def in_between(fd: int) -> int:
        monkeypatch.undo()
        home.core.inbox.append(b"taken at once")
        home.turns.level()
        try:
            return read(fd)
        finally:
            home.core.inbox.clear()

    monkeypatch.setattr(os, "eventfd_read", in_between)
    home.turns.level()
    assert not tells(home)

    home.core.inbox.append(b"for the next")
    home.turns.level()
    assert tells(home)


def test_a_ring_that_a_silence_overtakes_can_be_silenced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who rings was held up between its two steps: the descriptor is readable, and that is known, so it ends."""
    home = Socket(PullCore)
    home.turns.export()
    write = os.eventfd_write

    def held_up(fd: int, number: int) -> None:
        monkeypatch.undo()
        home.turns.level()  # another thread, which finds nothing there
        write(fd, number)

    monkeypatch.setattr(os, "eventfd_write", held_up)
    home.turns.into.bell.ring()
    assert tells(home)

    home.turns.level()
    assert not tells(home)


def test_a_timer_that_reads_leaves_the_descriptor_true(clock: Clock) -> None:
    """What the janitor reads while it looks at the time is in the inbox, where the kernel does not tell of it any more."""
    home = Socket(PullCore)
    home.turns.export()
    (line,) = lines(home, 1)
    home.core.timer = clock.now
    line.feed(wire(TCP, [b"in time"]))

    home.turns.on_time()

    assert list(home.core.inbox) == [b"in time"]
    assert tells(home)


# --- large messages --------------------------------------------------------------------------------------------------

HEAVY: Final = b"." * (BATCH_BYTES // 4)


def test_large_messages_of_a_burst_go_together(worlds: Callable[..., World], clock: Clock) -> None:
    """The first one at once, the next ones with the batch that they fill; and what does not fill one is promised."""
    world = worlds(None)
    clock.now += 1

    for _ in range(8):
        world.push.send(HEAVY)

    assert world.peers[0].pushes == [1, 4]
    assert (world.janitor.told, world.turns.promised) == (True, True)
    world.janitor.keep()
    assert world.peers[0].pushes == [1, 4, 3]
    check_promises(world, "at the end")


def test_large_messages_wait_for_no_more_than_a_moment(worlds: Callable[..., World], clock: Clock) -> None:
    """Whoever sends one now and then has each written at once."""
    world = worlds(None)

    for _ in range(3):
        clock.now += GATHER + QUIET
        world.push.send(HEAVY)

    assert world.peers[0].pushes == [1, 1, 1]


def test_a_large_message_to_peers_of_their_own_queues_waits_for_nothing(clock: Clock) -> None:
    """Who is behind misses it now or does not: that is not to depend on what comes next."""
    with Pub(linger=0) as pub:
        peer = FakePeer()
        employ(pub._turns)
        marry(pub._turns, peer)
        clock.now += 1

        for _ in range(3):
            pub.send(HEAVY)

        assert peer.pushes == [1, 1, 1]


def test_who_is_about_to_wait_writes_his_large_messages_first(worlds: Callable[..., World], clock: Clock) -> None:
    """They may be what the answer waits for."""
    world = worlds(None)
    clock.now += 1
    with Pull() as pull:
        for _ in range(3):
            world.push.send(HEAVY)
        assert world.peers[0].pushes == [1]

        with pytest.raises(TimedOut):
            pull.recv(timeout=0)

    assert world.peers[0].pushes == [1, 2]


@pytest.mark.parametrize("sender", [send, send_large, send_several], ids=lambda one: one.__name__)
def test_what_is_queued_as_the_janitor_goes_to_sleep_is_seen_to(
    worlds: Callable[..., World], clock: Clock, sender: Callable[[World], None]
) -> None:
    """He waits for the room of a peer that is full, and there is one that has some: nothing would wake him."""
    for at in count():
        world = worlds(0, None)
        queue(world.core, [b"0", b"0"])
        world.turns.write()

        came = intrude(partial(tick, world), at, partial(sender, world), world.core, *STEPS)

        assert world.core.look <= 0 or world.turns.promised
        world.janitor.keep()
        assert not world.core.outbox, at
        if not came:
            break


def test_a_message_may_be_taken_back_at_any_moment_of_a_pump(worlds: Callable[..., World]) -> None:
    """By its sender, if the socket is closing: then there is nothing left to give, and that is no error."""
    for at in count():
        world = worlds(None)
        body = b"the only one"
        queue(world.core, [body])

        came = intrude(world.turns.write, at, lambda world=world, body=body: withdraw(world, body), world.core, *STEPS)  # type: ignore[misc]

        assert world.arrived in ([], [body])
        if not came:
            break


def withdraw(world: World, body: bytes) -> None:
    with world.core.lock:
        world.core.withdraw(body)


def test_a_late_message_in_the_hand_of_a_writer_is_waited_for(
    worlds: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A close has parted with the peers: what was being offered to one of them comes back, and was not accepted."""
    world = worlds(None)
    core, body = world.core, b"late"
    world.turns.refuse()
    core.hand = [body]
    waits: list[float] = []

    def comes_back(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            core.outbox.append(core.hand.pop())

    monkeypatch.setattr(nnqpy.turns, "sleep", comes_back)
    with pytest.raises(Closed):
        world.turns.press(body)
    assert not core.outbox

    def goes(seconds: float) -> None:
        core.hand.clear()

    core.hand = [body]
    monkeypatch.setattr(nnqpy.turns, "sleep", goes)
    assert world.turns.press(body)
    core.hand = [body]
    monkeypatch.setattr(nnqpy.turns, "sleep", waits.append)  # the hand is our own thread's
    assert world.turns.press(body)
    core.hand = []


# --- amid something else ---------------------------------------------------------------------------------------------


class Amid:
    """The main thread's part in keeping promises: it comes in between its own instructions."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.kept: list[bool | None] = []
        turns = world.turns
        turns._by_fd.update(
            {1_000_000 + n: peer for n, peer in enumerate(world.peers)}
        )  # numbers that no descriptor has

    def __call__(self) -> None:
        kept = self.world.turns.tend_amid()
        self.kept.append(kept)
        if not kept:  # it is watched again, or the janitor is to see to it
            self.world.janitor.told = True


UNLOCKED: Final = SocketCore(Options())
"""A core whose lock nobody has: who comes in between is the very thread that may hold the one of the socket."""


def amid_every_step(
    worlds: Callable[..., World],
    rooms: tuple[int | None, ...],
    prepare: Callable[[World], None],
    action: Callable[[World], object],
) -> Iterator[tuple[World, Amid, int]]:
    """Do something with the promises kept in the middle of it, at one step after the other."""
    for at in count():
        world = worlds(*rooms)
        amid = Amid(world)
        prepare(world)
        came = intrude(partial(action, world), at, amid, UNLOCKED, *STEPS, "nnqpy.waiting", "nnqpy.base")
        yield world, amid, at
        if not came:
            return


def ask(world: World) -> None:
    world.push.stats()


ACTIONS: Final = [send, send_large, send_several, tick, write, ask]


@pytest.mark.parametrize("before", BEFORE, ids=lambda one: one.__name__)
@pytest.mark.parametrize("action", ACTIONS, ids=lambda one: one.__name__)
def test_the_main_thread_may_keep_its_promise_amid_anything(
    worlds: Callable[..., World], clock: Clock, before: Callable[[World], None], action: Callable[[World], object]
) -> None:
    """It does not wait for a lock that it holds itself; nothing is lost or doubled, and what it cannot do is done later."""
    kept = set[bool | None]()
    for world, amid, at in amid_every_step(worlds, (None,), before, action):
        kept.update(amid.kept)
        check_promises(world, at)
        assert len(set(world.peers[0].written) - {b"0"}) == len(
            [one for one in world.peers[0].written if one != b"0"]
        ), at
    assert True in kept
    assert None in kept or action is send, "it was never in the way of what it came upon"


@pytest.mark.parametrize("action", [send, send_large, tick], ids=lambda one: one.__name__)
def test_amid_anything_a_full_peer_is_left_to_the_janitor(
    worlds: Callable[..., World], clock: Clock, action: Callable[[World], object]
) -> None:
    """He is the one who waits for its room."""
    for world, amid, at in amid_every_step(worlds, (1,), batch_waits, action):
        assert not any(amid.kept) or not world.core.outbox, at
        world.peers[0].room = None
        empty_the_stalled(world)
        check_promises(world, at)


def test_amid_anything_nobody_is_woken(worlds: Callable[..., World]) -> None:
    """An event loop may just have found that it has nothing to do: who waits is the janitor's to wake."""
    world, one = worlds(None), Sleeper()
    amid = Amid(world)
    promised(world)
    world.turns.out.line.append(one)
    assert world.turns.tend_amid() is False
    assert (one.times, world.arrived) == (0, [])
    world.turns.out.line.clear()

    world.peers[0].before_write = lambda: world.turns.out.line.append(one)  # comes while we write
    amid()
    assert (one.times, amid.kept, world.arrived) == (0, [False], [b"0"])
    world.janitor.keep()
    assert one.times == 1


def test_amid_anything_no_peer_is_given_up() -> None:
    """That would tell an event, whose reader may wait for us: the janitor does it."""
    with connected(pattern=PushCore) as line:
        turns, home = line.home.turns, line.home
        assert turns.tend_amid()
        queue(line.core, [b"1"])
        turns._promise(FIRST_LOOK)
        line.far.close()
        line.engine._sock.shutdown(socket.SHUT_RDWR)  # whoever writes finds the connection broken

        calls = home.calls
        assert turns.tend_amid() is False
        assert (home.lost, home.calls > calls) == ([], True)
        turns.tend()
        assert home.lost == [Reason.RESET]


@pytest.mark.parametrize("what", ["lost_in", "lost_out", "hung", "layer", "inproc", "closed"])
def test_what_takes_longer_is_not_done_amid_anything(worlds: Callable[..., World], what: str) -> None:
    """Burials, hang-ups, connections with locks of their own, and those whose other end is in this process."""
    world = worlds(None)
    Amid(world)
    promised(world)
    turns, core = world.turns, world.core
    if what == "layer":
        turns.reentrant = False
    elif what == "inproc":
        turns._by_fd.clear()
    elif what == "closed":
        turns.refuse()
    elif what == "hung":
        turns.hung.append(world.peers[0])
    else:
        getattr(core, what).append(world.peers[0])

    assert turns.tend_amid() is False
    assert world.arrived == []

    turns.hung.clear()
    core.lost_in.clear()
    core.lost_out.clear()


def test_whom_another_thread_gives_up_meanwhile_is_given_up_at_once(worlds: Callable[..., World]) -> None:
    """Only what fails amid something else is put aside; and it is not forgotten."""
    world = worlds(None, None)
    turns, core = world.turns, world.core
    turns._amid = threading.get_ident()
    other = threading.Thread(target=turns.lose, args=(world.peers[0], Reason.CLOSED_BY_US, "another thread closes"))
    other.start()
    other.join()
    assert len(core.peers) == 1
    turns.lose(world.peers[1], Reason.RESET, "it broke")
    assert (len(core.peers), world.janitor.told) == (1, True)
    turns._amid = 0

    world.janitor.keep()

    assert not core.peers
