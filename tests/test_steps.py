"""Coroutines of C: `send`, `recv` and ``async for`` of the asyncio face, where there is nothing to wait for.

Whatever is done with one must come out as with the coroutine of Python that it stands for, so most is done to both.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import subprocess
import sys
import traceback
import weakref
from collections import deque
from collections.abc import Coroutine
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import create_autospec

import pytest
import trio

import nnqpy.trio
from nnqpy import Closed
from nnqpy.accel import compiled
from nnqpy.asyncio import Pair1, Pull, Push
from tests.kit.halves import HALVES
from tests.kit.interrupts import handlers, interrupt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

built: Any = HALVES.get("compiled")
needs_it = pytest.mark.skipif(built is None, reason="no compiled half, and no compiler: see tests/test_accel.py")
PATIENCE = 20.0


class Once:
    """Suspends once, and is what it was then sent."""

    def __init__(self, what: object) -> None:
        self.what = what

    def __await__(self) -> Generator[object, object, object]:
        try:
            return (yield self.what)
        except KeyError as error:
            return str(error)


def make_socket(messages: list[Any], look: int) -> Any:
    """Make a socket in Python alone, with messages in its inbox and a look for its queue."""
    base: Any = built.Gate if built else object

    class Socket(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.inbox, self.outbox, self.core = deque(messages), deque[bytes](), built.Look()
            self.core.look = look
            self._open_gate(self.outbox, self.core, 9)
            self._take = built.Taker(self.inbox)

        async def send(self, body: bytes, *, timeout: float | None = None) -> object:
            if len(body) > 9:
                return "the long way"
            self.outbox.append(body)
            return await self._press(body, timeout) if len(self.outbox) > self.core.look else None

        async def _press(self, body: bytes, timeout: float | None) -> object:
            return f"pressed {timeout}", await Once(body)

        async def recv(self, *, timeout: float | None = None) -> object:
            return self.inbox.popleft() if self.inbox else (f"waited {timeout}", await Once("for it"))

    return Socket()


def make_both(messages: list[Any], look: int) -> tuple[Any, Any]:
    """Make two of them, of which one has quick methods."""
    plain, quick = make_socket(messages, look), make_socket(messages, look)
    kind: Any = quick.__class__
    for name in ("send", "recv"):
        setattr(kind, name, built.Quick(kind.__dict__[name], name))
    return plain, quick


# --- as in Python ----------------------------------------------------------------------------------------------------

SCRIPTS: Final[dict[str, list[tuple[Any, ...]]]] = {
    # name: what is called, one after the other
    "sent twice": [("send", None), ("send", None)],
    "sent something first": [("send", 1), ("send", None)],
    "sent an answer": [("send", None), ("send", "answer"), ("send", None)],
    "asked as an iterator": [("__next__",), ("__next__",), ("__next__",)],
    "closed": [("close",), ("close",), ("send", None)],
    "closed while it waits": [("send", None), ("close",), ("close",), ("send", None)],
    "closed too late": [("send", None), ("send", None), ("close",), ("close",)],
    "thrown at": [("throw", ValueError("x")), ("throw", ValueError("y")), ("send", None)],
    "thrown a class at": [("throw", ValueError), ("send", None)],
    "thrown at while it waits": [("send", None), ("throw", ValueError("x")), ("send", None)],
    "thrown at, and it goes on": [("send", None), ("throw", KeyError("x")), ("close",)],
    "thrown at too late": [("send", None), ("send", None), ("throw", ValueError("x"))],
    "thrown nonsense at": [("throw", 1), ("send", None), ("throw", 1), ("send", None)],
}
SOCKETS: Final[dict[str, tuple[list[Any], int]]] = {
    # name: messages in the inbox, how long the queue may get
    "with messages": ([b"one", b"two"], 5),
    "with what is no bytes": ([(b"one", b"two"), ValueError("no bytes")], 0),
    "with nothing": ([], 0),
}
CALLS: Final[dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]]] = {
    # name: the method, what it is called with
    "recv": ("recv", (), {}),
    "recv in time": ("recv", (), {"timeout": 3}),
    "send": ("send", (b"body",), {}),
    "send in time": ("send", (b"body",), {"timeout": 3}),
    "send much": ("send", (b"much of it",), {}),
    "send a bytearray": ("send", (bytearray(b"body"),), {}),
    "send nothing": ("send", (), {}),
    "send by name": ("send", (), {"body": b"body"}),
    "send by two names": ("send", (), {"timeout": 3, "body": b"body"}),
    "send two": ("send", (b"body", b"body"), {}),
    "recv a body": ("recv", (b"body",), {}),
    "recv by another name": ("recv", (), {"wait": 1}),
}


def play(script: list[tuple[Any, ...]], socket: Any, call: tuple[str, tuple[Any, ...], dict[str, Any]]) -> list[object]:
    """Return what comes of each step of a script, and what is in the socket after it."""
    name, arguments, keywords = call
    try:
        one = getattr(socket, name)(*arguments, **keywords)
    except TypeError as error:
        return [str(error)]
    asked: Any = one.__await__() if script[0] == ("__next__",) else one
    told: list[object] = []
    for step, *values in script:
        result: object
        try:
            result = getattr(asked, step)(*values)
        except StopIteration as end:
            result = "returned", repr(end.value)
        except Exception as error:  # whatever it is
            result = type(error), str(error)
        told.append((result, repr(socket.inbox), list(socket.outbox)))
    one.close()
    return told


@needs_it
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("which", SOCKETS.values(), ids=SOCKETS.keys())
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_it_does_what_the_coroutine_in_python_does(
    script: list[tuple[Any, ...]], which: tuple[list[Any], int], call: tuple[str, tuple[Any, ...], dict[str, Any]]
) -> None:
    """Sent to, thrown at, closed, in any order: the same results, errors and words, and the same is left behind."""
    plain, quick = make_both(*which)

    assert play(script, quick, call) == play(script, plain, call)


@needs_it
@pytest.mark.filterwarnings("always:coroutine:RuntimeWarning")
@pytest.mark.parametrize("call", [CALLS["send"], CALLS["recv in time"]], ids=["send", "recv"])
def test_who_forgets_to_await_is_told(call: tuple[str, tuple[Any, ...], dict[str, Any]]) -> None:
    """In the same words; nothing was sent, and nothing was taken."""
    said: list[list[str]] = []
    name, arguments, keywords = call
    for socket in make_both([b"one"], 5):
        with pytest.warns(RuntimeWarning) as warned:
            getattr(socket, name)(*arguments, **keywords)
        said.append([str(one.message) for one in warned])
        assert (list(socket.inbox), list(socket.outbox)) == ([b"one"], [])

    assert said[0] == said[1]
    assert "was never awaited" in said[0][0]


@needs_it
def test_it_can_be_seen_where_it_waits() -> None:
    """By its name, and once it waits by the frames of the coroutine that goes on."""
    plain, quick = make_both([], 0)
    ones = [socket.send(b"body", timeout=1) for socket in (plain, quick)]
    assert (ones[1].__qualname__, ones[1].__name__) == (ones[0].__qualname__, "send")
    for told in ("CORO_CREATED", "CORO_SUSPENDED", "CORO_CLOSED"):
        if told == "CORO_SUSPENDED":
            assert [one.send(None) for one in ones] == [b"body", b"body"]
        elif told == "CORO_CLOSED":
            assert [one.close() for one in ones] == [None, None]
        assert [inspect.getcoroutinestate(one) for one in ones] == [told, told]
        assert [type(one.cr_await) for one in ones[1:]] == [type(one.cr_await) for one in ones[:1]]
        assert ones[1].cr_code is not None
        assert ones[1].cr_origin is None
        assert (ones[1].cr_frame is None) == (ones[0].cr_frame is None)

    over = quick.send(b"body")
    quick.core.look = 5
    with pytest.raises(StopIteration):
        over.send(None)
    assert (inspect.getcoroutinestate(over), over.cr_code, over.cr_await) == ("CORO_CLOSED", None, None)


@needs_it
def test_one_that_waits_is_awaited_once() -> None:
    """As with a coroutine in Python: a second one who awaited it would take over the first one's answer."""

    async def wait(one: Any) -> object:
        return await one

    for socket in make_both([], 0):
        one = socket.send(b"body")
        first, second = wait(one), wait(one)
        assert first.send(None) == b"body"
        with pytest.raises(RuntimeError, match="being awaited already"):
            second.send(None)
        first.close()
        with pytest.raises(RuntimeError, match="cannot reuse"):
            wait(one).send(None)


@needs_it
def test_who_asks_where_it_was_made_is_told() -> None:
    """Who runs a loop in its debug mode does."""
    plain, quick = make_both([], 5)
    before = sys.get_coroutine_origin_tracking_depth()
    sys.set_coroutine_origin_tracking_depth(1)
    try:
        ones = [socket.send(b"body") for socket in (plain, quick)]
    finally:
        sys.set_coroutine_origin_tracking_depth(before)

    assert ones[0].cr_origin == ones[1].cr_origin
    assert __file__ in str(ones[1].cr_origin)
    for one in ones:
        one.close()


@needs_it
def test_it_stands_for_one_coroutine_whoever_asks_for_it_meanwhile() -> None:
    """What is begun while that coroutine is made, as by a finalizer, does not make a second one."""
    made: list[object] = []

    def recv(gate: Any) -> Coroutine[Any, Any, object]:
        made.append(gate)
        with pytest.raises(RuntimeError, match="cannot reuse"):
            one.send(None)
        return plain.recv()  # type: ignore[no-any-return]

    plain, quick = make_both([b"one"], 0)
    plain.inbox.clear()
    one = built.Quick(recv, "recv")(quick)
    with pytest.raises(ValueError, match="x"):
        one.throw(ValueError("x"))
    assert len(made) == 1


OUTLIVES = """
import ctypes, gc, os, warnings
from collections import deque
from nnqpy import _accel

seen, kept = [], []

class Holder:
    pass

def late(*_):  # called while the garbage is taken apart, when no weak reference to it is left
    soon, gate = ctypes.cast(seen[0], ctypes.py_object).value
    kept.append(soon(gate, b"x"))

async def send(gate, body):
    return "in Python"

def garbage():
    opened = [os.scandir("/")]  # warns when it goes
    opened.append(opened)
    gate = _accel.Gate()  # made after that, and so taken apart after it
    gate._open_gate(deque(), _accel.Look(), 9)
    holder = Holder()
    holder.calls = _accel.Quick(send, "send"), gate
    opened.append(holder)
    holder.me = holder
    holder.rest = opened
    seen.append(id(holder.calls))

warnings.simplefilter("always")
warnings.showwarning = late
gc.disable()
garbage()
gc.collect()
try:
    kept[0].send(None)
except StopIteration as end:
    print(end.value)
"""


@needs_it
def test_one_that_outlives_its_socket_goes_the_long_way() -> None:
    """Made out of the garbage, it finds a socket without a queue."""
    ran = subprocess.run(
        [sys.executable, "-c", OUTLIVES], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (ran.stdout.split(), ran.returncode) == (["in", "Python"], 0), ran.stderr


@needs_it
def test_what_others_take_in_between_is_waited_for() -> None:
    """There was a message when `recv` was called, and none is there when it is awaited."""
    _, quick = make_both([b"one"], 0)
    first, second = quick.recv(), quick.recv()

    with pytest.raises(StopIteration) as end:
        first.send(None)
    assert end.value.value == b"one"
    assert second.send(None) == "for it"
    second.close()
    quick.inbox.append(b"two")
    third = quick.recv(timeout=1)
    quick._take = built.Taker(deque())
    with pytest.raises(StopIteration):
        third.send(None)


@needs_it
def test_no_cycle_keeps_it() -> None:
    """It goes with the socket that has it, awaited or not, also out of the garbage."""

    def make(*, begun: bool) -> weakref.ref[Any]:
        _, quick = make_both([], 0)
        quick.one = quick.send(b"body")
        if begun:
            quick.one.send(None)
        return weakref.ref(quick)

    with pytest.warns(RuntimeWarning, match="never awaited"):
        gone = [make(begun=True), make(begun=False)]
        gc.collect()
    gc.collect()  # the warning that was caught has had the coroutine
    assert [one() for one in gone] == [None, None]


@needs_it
def test_none_can_be_made_by_itself() -> None:
    """Only a quick method gives one."""
    _, quick = make_both([], 5)
    one = quick.send(b"body")
    with pytest.raises(TypeError, match="cannot create"):
        type(one)()
    unbound: list[Any] = [Push.send, Pull.recv]
    for method in unbound:
        with pytest.raises(TypeError, match="missing"):
            method(timeout=1)
    with pytest.raises(ValueError, match='is to "send" or to "recv", not to \'spend\''):
        built.Quick(print, "spend")
    one.close()


# --- on real sockets -------------------------------------------------------------------------------------------------


def run(scenario: Callable[[Pull, Push], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE), Pull() as pull, Push(linger=0) as push:
            push.connect(pull.bind("inproc://steps").url)
            await push.wait_for_peers()
            await scenario(pull, push)

    asyncio.run(main())


def test_they_are_coroutines_to_all_who_ask() -> None:
    """To asyncio, to inspect and to a mock: so they can be wrapped in tasks, gathered and waited for."""

    async def scenario(pull: Pull, push: Push) -> None:
        for call in (push.send(b"1"), pull.recv(), anext(pull)):
            assert isinstance(call, Coroutine)
            assert asyncio.iscoroutine(call)
            assert inspect.isawaitable(call)
            call.close()
        for method in (push.send, pull.recv, Pull.recv, Push.send):
            known: Any = inspect if sys.version_info >= (3, 12) or not compiled else asyncio
            assert known.iscoroutinefunction(method)
        assert await create_autospec(push, instance=True).send(b"1") is not None

        await asyncio.create_task(push.send(b"1"))
        await asyncio.wait_for(push.send(b"2"), PATIENCE)
        async with asyncio.TaskGroup() as group:
            group.create_task(push.send(b"3"))
        await asyncio.gather(push.send(b"4", timeout=PATIENCE))
        assert await asyncio.create_task(pull.recv()) == b"1"
        assert await asyncio.wait_for(pull.recv(timeout=PATIENCE), PATIENCE) == b"2"
        assert [*await asyncio.gather(pull.recv())] == [b"3"]
        async for body in pull:
            assert body == b"4"
            break

    run(scenario)


def test_a_task_that_waits_is_shown_where_it_waits() -> None:
    """By its name and its stack, and cancelled it takes nothing."""

    async def scenario(pull: Pull, push: Push) -> None:
        waits, ready = asyncio.create_task(pull.recv()), asyncio.create_task(push.send(b"1"))
        assert "recv" in repr(waits)
        assert "send" in repr(ready)
        await asyncio.sleep(0)
        assert any("recv" in "".join(traceback.format_stack(frame)) for frame in waits.get_stack())
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert await pull.recv() == b"1"

    run(scenario)


def test_a_class_with_its_own_recv_is_iterated_by_it() -> None:
    """Whichever messages are here already, and which are waited for."""

    class Mine(Pull):
        async def recv(self, *, timeout: float | None = None) -> Any:  # what its user makes of a body
            return await super().recv(timeout=timeout), "mine"

    class More(Mine):
        pass

    async def scenario(pull: Pull, push: Push) -> None:
        for kind in (Mine, More):
            async with kind() as own, Push() as other:
                other.connect(own.bind("inproc://own").url)
                await other.wait_for_peers()
                await other.send_many([b"1", b"2"])
                got: list[object] = [await anext(own), await anext(own)]
                assert got == [(b"1", "mine"), (b"2", "mine")]
        async with Pair1(poly=True) as many, Pair1() as one:
            one.connect(many.bind("inproc://own").url)
            await one.wait_for_peers()
            await one.send_many([b"1", b"2"])
            assert [await anext(many), await anext(many)] == [b"1", b"2"]

    run(scenario)


def test_trio_ends_an_iteration_that_is_cancelled() -> None:
    """Each message is a point where it may be, as each call is there, also while there are more of them."""

    async def scenario() -> None:
        async with nnqpy.trio.Pull() as pull, nnqpy.trio.Push() as push:
            push.connect(pull.bind("inproc://own").url)
            await push.send_many([b"%d" % n for n in range(9)])
            got: list[bytes] = []
            with trio.CancelScope() as scope:
                async for body in pull:
                    got.append(body)
                    if len(got) == 3:
                        scope.cancel()
            assert (len(got), scope.cancelled_caught) == (3, True)

    trio.run(scenario)


def test_a_call_before_close_that_is_awaited_after_it() -> None:
    """Nothing is sent on a closed socket; what was received is still there."""

    async def scenario(pull: Pull, push: Push) -> None:
        await push.send_many([b"1", b"2"])
        assert await pull.recv() == b"1"
        late, waiting = push.send(b"3"), pull.recv()
        await push.close()
        await pull.close()

        with pytest.raises(Closed):
            await late
        with pytest.raises(Closed):
            await waiting

    run(scenario)


def test_a_descriptor_stays_true_while_messages_are_awaited() -> None:
    """Once it is exported, each receive looks after it."""

    async def scenario(pull: Pull, push: Push) -> None:
        await push.send_many([b"1", b"2", b"3"])
        assert await pull.recv() == b"1"
        early = pull.recv()
        ready = asyncio.Event()
        asyncio.get_running_loop().add_reader(pull.fileno(), ready.set)
        await ready.wait()
        assert (await early, await pull.recv()) == (b"2", b"3")
        ready.clear()
        await push.send(b"4")
        await ready.wait()
        assert pull.recv_nowait() == b"4"

    run(scenario)


@pytest.mark.filterwarnings(
    "ignore:coroutine:RuntimeWarning"
)  # an interrupt behind a call leaves one that nobody awaits
@pytest.mark.parametrize("way", ["recv", "async for"])
def test_an_interrupt_loses_no_message_that_is_awaited(way: str) -> None:
    """Wherever a signal handler may come in: a message is in the inbox, or with the one who awaited it."""

    async def scenario(pull: Pull, push: Push) -> None:
        got: list[bytes] = []

        async def one_by_one() -> None:
            nonlocal got
            while True:
                body = await pull.recv()
                got += [body]
                if body == b"5":
                    return

        async def all_of_them() -> None:
            nonlocal got
            async for body in pull:
                got += [body]
                if body == b"5":
                    return

        bodies = [b"%d" % n for n in range(6)]
        work = one_by_one if way == "recv" else all_of_them
        at = 0
        for at in count():
            got = []
            await push.send_many(bodies)
            while len(pull._inbox) < len(bodies):
                pull._turns.fill()
                await asyncio.sleep(0)
            taking = work()
            interrupted = interrupt(lambda taking=taking: finish(taking), at, __name__, "nnqpy.awaiting.sockets")  # type: ignore[misc]
            assert got + list(pull._inbox) == bodies
            pull._inbox.clear()
            taking.close()
            if not interrupted:
                break
        assert at >= 6

    run(scenario)
    gc.collect()


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
@handlers
def test_an_interrupted_send_leaves_its_message_to_somebody(error: type[BaseException]) -> None:
    """It is queued or it is not; but if it is, it goes, although its sender does no more about it."""

    async def scenario(pull: Pull, push: Push) -> None:
        at = 0
        for at in count():
            sending = push.send(b"x")
            interrupted = interrupt(
                lambda sending=sending: finish(sending),  # type: ignore[misc]
                at,
                "nnqpy.awaiting.sockets",
                "nnqpy.turns",
                "nnqpy.locks",
                error=error,
            )
            sending.close()
            while push.stats().queued:  # noqa: ASYNC110  # nobody tells of it
                await asyncio.sleep(0)
            while pull._turns.fill():
                pass
            assert list(pull._inbox) in ([], [b"x"])
            pull._inbox.clear()
            if not interrupted:
                break
        assert at >= 10

    run(scenario)
    gc.collect()


def finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")
