"""The compiled half of nnqpy: it is there, it is chosen as was asked, and it does what the one in Python does."""

from __future__ import annotations

import gc
import inspect
import os
import select
import shutil
import subprocess
import sys
import sysconfig
import threading
import weakref
from collections import deque
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, pairwise
from operator import invert
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnqpy import Closed, Push, accel
from nnqpy.errors import ProtocolError
from nnqpy.wire.stream import codec, refusal
from tests.kit.halves import HALVES, halves

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

built: Any = HALVES.get("compiled")
PATIENCE = 20.0


def test_it_is_built_wherever_it_can_be() -> None:
    """Where there are a compiler and the interpreter's headers, an install from the source has the compiled half."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if shutil.which(compiler) and headers.exists():
        assert built is not None, "install nnqpy again: `pip install -e .` builds it"


def in_a_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


ASK = "import nnqpy.accel as accel; print(accel.describe())"


@pytest.mark.parametrize(
    ("wanted", "runs"), [("0", "in Python"), ("1", "compiled"), ("", "compiled")], ids=["0", "1", "not set"]
)
def test_the_environment_chooses(wanted: str, runs: str) -> None:
    """`NNQPY_ACCEL` forces a side, and without it the compiled one runs where it was built."""
    if built is None:
        pytest.skip("no compiled half, and no compiler: see the test above")
    assert in_a_process(ASK, NNQPY_ACCEL=wanted).stdout.strip() == runs


def test_any_other_word_is_an_error_that_names_it() -> None:
    """Who writes `yes` would else believe that he had chosen."""
    assert (
        "NNQPY_ACCEL is 0 (Python), 1 (compiled) or not set, not 'yes'" in in_a_process(ASK, NNQPY_ACCEL="yes").stderr
    )


MISSING = "import sys; sys.modules['nnqpy._accel'] = None; " + ASK


def test_what_is_not_there_is_done_without_or_asked_for_by_name() -> None:
    """Without the compiled half the one in Python runs; who insists is told what to do."""
    assert in_a_process(MISSING, NNQPY_ACCEL="").stdout.strip() == "in Python"
    assert "NNQPY_ACCEL=1 wants the compiled half of nnqpy, which was not built" in (
        in_a_process(MISSING, NNQPY_ACCEL="1").stderr
    )


# --- what exists twice -----------------------------------------------------------------------------------------------


def outcome(action: Callable[[], object]) -> object:
    """Return what an action gives, or its error in words."""
    try:
        return action()
    except (ProtocolError, ValueError, OverflowError) as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.skipif(built is None, reason="no compiled half, and no compiler: see the first test")
class TestSideBySide:
    """The same calls on both codecs give the same bytes, places and words, whatever comes off the stream."""

    @given(
        data=st.one_of(
            st.binary(max_size=200),
            st.lists(st.sampled_from([b"\0" * 7, b"\1", b"\2", b"\x0f", b"\x10", b"\xff" * 4, b"ab"])).map(b"".join),
        ),
        prefix=st.sampled_from([b"", b"\x01", b"\0"]),
        start=st.integers(0, 12),
        limit=st.integers(0, 5),
        most=st.sampled_from([-1, 0, 1, 1000, 1 << 61, 1 << 70]),
    )
    def test_of_any_bytes(self, data: bytes, prefix: bytes, start: int, limit: int, most: int) -> None:
        """`split` and `peek` judge every header alike."""
        start = min(start, len(data))
        found: list[Any] = []
        for half in HALVES.values():
            one, out = codec(prefix, half), list[bytes]()
            found.append(
                (
                    outcome(lambda one=one, out=out: one.split(data, start, out, limit, most)),  # type: ignore[misc]
                    out,
                    outcome(lambda one=one: one.peek(data, start, most)),  # type: ignore[misc]
                )
            )
        assert found[0] == found[1]

    @given(
        bodies=st.lists(st.binary(max_size=20), max_size=20),
        prefix=st.sampled_from([b"", b"\x01"]),
        sent=st.integers(-2, 700),
    )
    def test_of_any_bodies(self, bodies: list[bytes], prefix: bytes, sent: int) -> None:
        """`join`, `gather` and `written` are the same, and what is split again are the bodies."""
        found: list[Any] = []
        for half in HALVES.values():
            one, out = codec(prefix, half), list[bytes]()
            joined = one.join(bodies)
            one.split(joined, 0, out, len(bodies) + 1, -1)
            assert out == bodies
            sizes = list(map(len, one.gather(bodies)))
            found.append((joined, sizes, outcome(lambda one=one: one.written(bodies, sent))))  # type: ignore[misc]
        assert found[0] == found[1]


def both(name: str) -> pytest.MarkDecorator:
    """Parametrise by the two halves' function of this name."""
    functions = {
        half: getattr(accel, f"_{name}") if which is None else getattr(which, name if name != "taker" else "Taker")
        for half, which in HALVES.items()
    }
    return pytest.mark.parametrize(name, functions.values(), ids=functions.keys())


@both("total_size")
def test_the_sizes_of_bodies_are_added(total_size: Callable[[Any], int]) -> None:
    """Of none, of empty ones, of a list or a tuple."""
    assert [total_size([]), total_size([b""]), total_size([b"ab", b"c"]), total_size((b"abc", b""))] == [0, 0, 3, 3]


@both("move")
def test_messages_move_from_a_queue_to_a_list(move: Callable[[deque[int], list[int], int], None]) -> None:
    """From the left end, in order, behind what is there; no more than there are, and none for 0."""
    queue, bodies = deque([1, 2, 3]), [0]

    move(queue, bodies, 2)
    move(queue, bodies, 0)
    assert (queue, bodies) == (deque([3]), [0, 1, 2])
    move(queue, bodies, 9)
    assert (queue, bodies) == (deque(), [0, 1, 2, 3])


@both("taker")
def test_a_taker_takes_and_goes_on_when_there_is_something_again(taker: Callable[[deque[Any]], Any]) -> None:
    """An empty queue is an `IndexError`, not the end."""
    queue = deque[Any]([b"a", None])
    one = taker(queue)

    assert iter(one) is one
    assert (next(one), next(one)) == (b"a", None)
    for _ in range(2):
        with pytest.raises(IndexError):
            next(one)
    queue.append(b"b")
    assert next(one) == b"b"


# --- what is asked of C ----------------------------------------------------------------------------------------------

needs_it = pytest.mark.skipif(built is None, reason="no compiled half, and no compiler: see the first test")


@needs_it
def test_a_taker_takes_by_an_operator() -> None:
    """A message, whatever it is, or an `IndexError`."""
    queue = deque[Any]([b"a", None])
    one = built.Taker(queue)

    assert (~one, ~one) == (b"a", None)
    with pytest.raises(IndexError):
        invert(one)
    queue.append(b"b")
    assert [~one, *queue] == [b"b"]
    with pytest.raises(TypeError, match="deque"):
        invert(built.Taker([1]))


class Unasked(deque[Any]):
    def __len__(self) -> int:
        raise AssertionError("asked for its length")


def sent(c: Any, queue: object) -> object:
    """Send one body into a queue by the quick way."""
    gate = c.Gate()
    gate._open_gate(queue, c.Look(), 9)
    return c.Quick(len)(gate, b"a")


def awaited(c: Any, queue: object, way: str) -> object:
    """Await a quick send or recv by such a queue."""
    gate = c.Gate()
    gate._open_gate(queue, c.Look(), 9)
    gate._take = c.Taker(queue)
    one = c.Quick(len, way)(gate, *([b"a"] if way == "send" else []))
    return [*one.__await__()]


WRONG: dict[str, tuple[Callable[[Any], object], type[Exception], str]] = {
    # name: what is called with the module, the error, its text
    "a body that is a str": (lambda c: c.total_size(["a"]), TypeError, "a body is bytes, not str"),
    "bodies in a set": (lambda c: c.total_size({b"a"}), TypeError, "not in a set"),
    "two arguments for move": (lambda c: c.move(deque(), []), TypeError, "a deque, a list and a number"),
    "a tuple to move to": (lambda c: c.move(deque([1]), (), 1), TypeError, "wanted a list, found a tuple"),
    "a number that is none": (lambda c: c.move(deque([1]), [], "1"), TypeError, "int"),
    "a deque that would be asked with an error at hand": (
        lambda c: c.move(Unasked(), [], "1"),
        TypeError,
        "an integer is required",
    ),
    "a deque that does not know its length": (lambda c: sent(c, Unasked()), AssertionError, "asked for its length"),
    "no deque to send by": (lambda c: sent(c, []), TypeError, "deque"),
    "no deque to await room in": (lambda c: awaited(c, [], "send"), TypeError, "deque"),
    "no deque to await a message of": (lambda c: awaited(c, [1], "recv"), TypeError, "deque"),
    "no length of what is awaited": (
        lambda c: awaited(c, Unasked([1]), "recv"),
        AssertionError,
        "asked for its length",
    ),
    "no number of what is awaited": (lambda c: awaited(c, 5, "recv"), TypeError, "len()"),
    "a press that is missing": (lambda c: awaited(c, deque(b"abc"), "send"), AttributeError, "_press"),
    "no way to be quick": (lambda c: c.Quick(len, "spend"), ValueError, 'to "send" or to "recv", not to \'spend\''),
    "no deque to move from": (lambda c: c.move([1], [], 1), TypeError, "deque"),
    "a long prefix": (lambda c: c.StreamCodec(b"ab", None), ValueError, "one byte or none, not b'ab'"),
    "a prefix that is a str": (lambda c: c.StreamCodec("a", None), TypeError, "bytes"),
    "keywords": (lambda c: c.StreamCodec(b"", refusal=None), TypeError, "takes no keyword arguments"),
    "a negative length": (lambda c: c.StreamCodec(b"", None).header(-1), OverflowError, "negative"),
    "a length beyond 64 bits": (lambda c: c.StreamCodec(b"", None).header(1 << 64), OverflowError, "too big"),
    "a stream that is a bytearray": (
        lambda c: c.StreamCodec(b"", None).split(bytearray(9), 0, [], 1, -1),
        TypeError,
        "is bytes, not bytearray",
    ),
    "a start before the first byte": (
        lambda c: c.StreamCodec(b"", None).peek(b"", -1, -1),
        ValueError,
        "no frame begins at -1 of 0 bytes",
    ),
    "a start behind the last byte": (
        lambda c: c.StreamCodec(b"", None).split(b"ab", 3, [], 1, -1),
        ValueError,
        "no frame begins at 3 of 2 bytes",
    ),
    "a start beyond all sizes": (lambda c: c.StreamCodec(b"", None).peek(b"", 1 << 70, -1), OverflowError, "C ssize_t"),
    "too few arguments": (lambda c: c.StreamCodec(b"", None).split(b""), TypeError, "5 arguments, not 1"),
    "a refusal that is no error": (
        lambda c: c.StreamCodec(b"\1", "no {} {} {}".format).peek(b"x", 0, -1),
        TypeError,
        'a refusal is an exception, not "no b',
    ),
    "a refusal that fails": (lambda c: c.StreamCodec(b"\1", None).peek(b"x", 0, -1), TypeError, "not callable"),
    "a str among the bodies": (lambda c: c.StreamCodec(b"", None).join([b"a", "b"]), TypeError, "bytes, not str"),
    "a str to gather": (lambda c: c.StreamCodec(b"", None).gather(["b"]), TypeError, "bytes, not str"),
    "one that counts": (lambda c: c.StreamCodec(b"", None).written([1], 0), TypeError, "bytes, not int"),
    "more than a size was sent": (
        lambda c: c.StreamCodec(b"", None).written([], 1 << 80),
        ValueError,
        "1208925819614629174706176 bytes cannot have gone: the frames have 0",
    ),
    "a prefix to match that is a str": (lambda c: c.Prefixes(["a"]), TypeError, "a prefix is bytes, not str"),
    "no prefixes": (lambda c: c.Prefixes(1), TypeError, "not iterable"),
    "a body to match that is a str": (lambda c: c.Prefixes([b"a"]).select(["a"]), TypeError, "bytes, not str"),
    "no clock": (lambda c: c.Pulse(), TypeError, "1 argument"),
    "a period of nothing": (lambda c: c.Ticker(0, 0.0), ValueError, "between 0 and 1 s, not 0.0"),
    "a period of ages": (lambda c: c.Ticker(0, 1.5), ValueError, "not 1.5"),
}


@needs_it
@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_argument_is_an_error_and_not_a_crash(
    call: Callable[[Any], object], error: type[Exception], text: str
) -> None:
    """C believes no type, no number and no size that it was given."""
    with pytest.raises(error, match=text):
        call(built)


BODY = b"a body of its own"


def calls(prefix: bytes) -> list[Callable[[], object]]:
    """Each function of the module, as it is meant."""
    one = codec(prefix, built)
    return [
        lambda: built.total_size([BODY, BODY]),
        lambda: built.move(deque([BODY, None]), [], 2),
        lambda: next(built.Taker(deque([BODY]))),
        lambda: next(built.Taker(deque())),
        lambda: ~built.Taker(deque([BODY])),
        lambda: iter(built.Taker(deque([BODY]))),
        lambda: built.Pulse(monotonic)() < monotonic(),
        lambda: sent(built, deque[Any]()),
        lambda: built.Quick(len)(BODY),
        lambda: awaited(built, deque([BODY]), "recv"),
        lambda: awaited(built, deque[Any](maxlen=0), "send"),
        lambda: next(awaited_in_python(built).__await__()),
        lambda: awaited_in_python(built).throw(KeyError(BODY)),
        lambda: awaited_in_python(built).close(),
        lambda: built.Prefixes([BODY[:1], BODY[1:]]).select([BODY, BODY[2:], b""]),
        lambda: codec(prefix, built).header_size,
        lambda: one.header(1 << 50),
        lambda: one.join([BODY, BODY]),
        lambda: one.gather((BODY, BODY)),
        lambda: one.written([BODY, BODY], 30),
        lambda: one.written([BODY], 3000),
        lambda: one.split(one.join([BODY, BODY]), 0, [], 9, 1 << 40),
        lambda: one.split(b"\xff" * 20, 0, [], 9, 1 << 40),
        lambda: one.split(one.header(300), 0, [], 9, 200),
        lambda: one.peek(one.header(300), 0, 400),
        lambda: one.peek(b"", 0, 200),
    ]


def awaited_in_python(c: Any) -> Any:
    """Return a quick recv whose message is gone when it begins."""

    async def recv(*_: object) -> bytes:
        return BODY

    gate, queue = c.Gate(), deque([BODY])
    gate._take = c.Taker(queue)
    one = c.Quick(recv, "recv")(gate)
    queue.clear()
    return one


def call_all(times: int) -> None:
    """Call each function of the module, as it is meant and wrongly."""
    wrong: list[Callable[[], object]] = [partial(call, built) for call, _, _ in WRONG.values()]
    for call in (*calls(b""), *calls(b"\x01"), *wrong):
        for _ in range(times):
            with suppress(Exception):
                call()


def kept() -> list[int]:
    """Count the memory in use, in blocks, and the references to what lives longer than a call."""
    gc.collect()
    types = [built.StreamCodec, built.Taker, built.Prefixes, built.Pulse, built.Ticker, built.Step, built.Quick]
    return [sys.getallocatedblocks(), *map(sys.getrefcount, [None, BODY, monotonic, refusal, built, *types])]


@needs_it
def test_calls_leave_nothing_behind() -> None:
    """No call keeps an object, a reference or memory, whether it ends well or with an error."""

    def growth() -> int:
        before = kept()
        call_all(300)
        return max(after - earlier for after, earlier in zip(kept(), before, strict=True))

    assert min(growth() for _ in range(4)) < 100  # what is made once, or by another thread, is not made each time


EMPTIED = """
import gc
from nnqpy import _accel

bodies = [b"a"] * 100

class Emptying:
    def __init__(self):
        self.me = self
    def __del__(self):
        bodies.clear()

gather = _accel.StreamCodec(b"", None).gather
gc.disable()
Emptying()
held = [[] for _ in range(200)]  # no list is left that could be had again without making one
gc.set_threshold(1)
gc.enable()
try:
    assert len(gather(bodies)) == 200
except RuntimeError as error:
    assert "changed its length" in str(error), error
gc.collect()
assert not bodies
print("well")
"""


@needs_it
def test_a_list_that_a_finalizer_empties_is_not_read_beyond_its_end() -> None:
    """A collection of garbage, which Python 3.11 begins wherever an object is made, may change what is being gathered."""
    ran = in_a_process(EMPTIED)
    assert (ran.stdout, ran.returncode) == ("well\n", 0), ran.stderr


LATE = """
import ctypes, gc, os, sys, warnings
from collections import deque
from importlib.util import module_from_spec
from nnqpy import _accel

seen = []

class Holder:
    pass

def late(*_):  # called while the garbage is taken apart, when no weak reference to it is left
    peek, take, make, move, quick, wrap, soon, gate, begun = ctypes.cast(seen[0], ctypes.py_object).value
    for call in (
        lambda: peek(b"x", 0, -1),
        take,
        lambda: make(deque()),
        lambda: move(deque([1]), [], 1),
        lambda: quick(b"ab"),
        lambda: wrap(len),
        lambda: soon(gate),
        lambda: begun.send(None),
    ):
        try:
            print(call())
        except Exception as error:
            print(type(error).__name__)

def garbage():
    module = module_from_spec(_accel.__spec__)
    _accel.__spec__.loader.exec_module(module)
    peek = module.StreamCodec(b"\\1", ValueError).peek
    take = module.Taker(deque([1])).__next__
    quick = module.Quick(len)
    gate = module.Gate()
    gate._take = module.Taker(deque([1]))
    soon = module.Quick(lambda gate: "soon", "recv")
    begun = soon(gate)
    opened = [os.scandir("/")]  # warns when it goes, and is no business of the collector's
    opened.append(opened)
    holder = Holder()
    holder.calls = peek, take, module.Taker, module.move, quick, module.Quick, soon, gate, begun
    holder.rest = opened, holder
    seen.append(id(holder.calls))

warnings.simplefilter("always")
warnings.showwarning = late
gc.disable()
garbage()
gc.collect()
"""


@needs_it
def test_what_is_called_out_of_the_garbage_is_whole_or_an_error() -> None:
    """What goes late in a collection may still call a codec, a taker, a send, a type or a function of it."""
    ran = in_a_process(LATE)
    assert (ran.stdout.split(), ran.returncode) == (
        ["ValueError", "IndexError", "TypeError", "None", "2", "TypeError", "soon", "AttributeError"],
        0,
    ), ran.stderr


@needs_it
def test_nobody_meets_prefixes_that_are_not_ready() -> None:
    """They are made when the last one has come out of an iterator, which may look at everything there is."""

    def prefixes() -> Iterator[bytes]:
        yield b"a"
        met.extend(one for one in gc.get_objects() if type(one) is built.Prefixes)
        yield b"b"

    met = list[Any]()
    before = [one for one in gc.get_objects() if type(one) is built.Prefixes]
    ready = built.Prefixes(prefixes())

    assert met == before
    assert ready.select([b"ab", b"c"]) == [b"ab"]


@needs_it
def test_nothing_is_kept_for_ever() -> None:
    """Codecs, prefixes, takers, pulses and tickers go with their last user, also out of a cycle."""

    class Thing:
        def refusal(self) -> None: ...

    thing = Thing()
    gone = weakref.ref(thing)
    thing.__dict__["codec"] = built.StreamCodec(b"", thing.refusal)
    thing.__dict__["taker"] = built.Taker(deque([thing]))
    thing.__dict__["pulse"] = built.Pulse(thing.refusal)
    del thing
    gc.collect()

    assert gone() is None


@needs_it
def test_a_quick_send_is_the_method_that_it_stands_for() -> None:
    """Its words, its signature, by keyword, by `super`, of the class, and of a subclass that has its own."""
    said: list[bytes] = []

    class Mine(Push):
        def send(self, body: Any, *, timeout: float | None = None) -> None:
            said.append(body)
            super().send(body, timeout=timeout)

    in_python = getattr(Push.send, "__wrapped__", Push.send)
    quick = built.Quick(in_python)
    assert str(inspect.signature(Push.send)) == str(inspect.signature(in_python))
    assert (Push.send.__doc__, Push.send.__name__) == (in_python.__doc__, "send")
    with Mine(linger=0) as push:
        assert push.stats().queued == 0
        push.send(b"1")
        push.send(b"2", timeout=1)
        Push.send(push, bytearray(b"3"), timeout=None)
        quick(push, b"4")
        assert push.stats().queued == 4
        for wrong in ("x", None):
            with pytest.raises(TypeError):
                push.send(wrong)
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            quick(push, b"x", wait=1)
        with pytest.raises(TypeError, match="positional"):
            quick(push, b"x", 1)
    assert said == [b"1", b"2", "x", None]
    with pytest.raises(Closed):
        push.send(b"late")


@needs_it
def test_a_gate_and_a_look_believe_nothing() -> None:
    """Both are the bases of classes in Python, which may do with them what they like."""
    look, gate = built.Look(), built.Gate()
    look.look = 1 << 80
    assert look.look == sys.maxsize
    look.look = -1
    assert look.look == -1
    with pytest.raises(TypeError):
        look.look = "1"
    with pytest.raises(AttributeError):
        del look.look
    wrong: list[list[Any]] = [[], [deque(), object(), 1], [deque(), look, "1"]]
    for arguments in wrong:
        with pytest.raises(TypeError):
            gate._open_gate(*arguments)
    gate._open_gate(deque(), look, 1 << 80)
    gate._open_gate([], look, 10)
    quick = built.Quick(print)
    with pytest.raises(TypeError, match="deque"):
        quick(gate, b"x")
    with pytest.raises(TypeError, match="not callable"):
        built.Quick(None)(gate)


# --- the ticker ------------------------------------------------------------------------------------------------------


@contextmanager
def ticking(period: float = 1e-3, *here: Any) -> Generator[tuple[Any, int]]:
    """Start a ticker with a descriptor to wait for."""
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    ticker = built.Ticker(fd, period, *here)
    try:
        yield ticker, fd
    finally:
        ticker.stop()
        os.close(fd)


def wait(fd: int) -> None:
    """Wait until a ticker has told of something."""
    assert select.select([fd], [], [], PATIENCE)[0], "the ticker told of nothing"
    os.eventfd_read(fd)


def missed(ticker: Any) -> list[Any]:
    """Return whose pulses have missed a period."""
    out: list[Any] = []
    ticker.missed(out)
    return out


@needs_it
def test_a_pulse_tells_the_time() -> None:
    """A writer needs to know it anyway."""
    pulse = built.Pulse(monotonic)
    before = monotonic()
    assert before <= pulse() <= monotonic()
    pulse.hold()
    assert before <= pulse() <= monotonic()


@needs_it
def test_a_quiet_pulse_is_told_of_once() -> None:
    """Whoever misses a period is told of, and from then on not watched, until somebody asks for it again."""
    one, other = built.Pulse(monotonic), built.Pulse(monotonic)
    with ticking() as (ticker, fd):
        assert not ticker.watching
        for _ in range(3):
            ticker.watch(one, "one")
            ticker.watch(one, "again")
            assert ticker.watching
            wait(fd)
            assert ticker.watching
            assert missed(ticker) == ["one"]
            assert missed(ticker) == []
            assert not ticker.watching
        ticker.watch(one, "one")
        ticker.watch(other, "other")
        told = list[Any]()
        while len(told) < 2:
            wait(fd)
            told += missed(ticker)
        assert {*told} == {"one", "other"}


@needs_it
def test_a_pulse_that_beats_is_left_in_peace() -> None:
    """As long as somebody writes within each period nobody is disturbed."""
    busy, quiet = built.Pulse(monotonic), built.Pulse(monotonic)
    rounds = 0
    with ticking(0.05) as (ticker, fd):
        while rounds < 3:
            ticker.watch(busy, "busy")
            ticker.watch(quiet, "quiet")
            beats = [busy()]
            while not select.select([fd], [], [], 0)[0]:
                beats.append(busy())
            os.eventfd_read(fd)
            late = missed(ticker)
            if max(later - beat for beat, later in pairwise([*beats, monotonic()])) < 0.05:  # else we were held up
                assert late == ["quiet"]
                rounds += 1


@needs_it
def test_who_is_writing_misses_no_period_for_a_while() -> None:
    """A long write is not the end of all writing; but one that never ends is told of."""
    pulse = built.Pulse(monotonic)
    with ticking(1e-4) as (ticker, fd):
        for _ in range(10):
            pulse.hold()
            began = monotonic()
            ticker.watch(pulse, "it")
            wait(fd)
            assert monotonic() - began >= 2e-3
            assert missed(ticker) == ["it"]


@needs_it
def test_a_ticker_that_has_stopped_forgets_what_it_watched() -> None:
    """It lets go of the pulses and of their owners, and takes no new ones; a second stop does nothing."""
    pulse, owner = built.Pulse(monotonic), object()
    before = sys.getrefcount(pulse), sys.getrefcount(owner)
    with ticking(0.9) as (ticker, _):
        ticker.watch(pulse, owner)
        assert (sys.getrefcount(pulse), sys.getrefcount(owner)) == (before[0] + 1, before[1] + 1)
        ticker.stop()
        assert (sys.getrefcount(pulse), sys.getrefcount(owner)) == before
        ticker.watch(pulse, owner)
        assert (sys.getrefcount(pulse), sys.getrefcount(owner)) == before
        assert missed(ticker) == []
        assert not ticker.watching
        ticker.stop()


@needs_it
def test_what_a_ticker_has_told_it_keeps_no_longer() -> None:
    """Neither the pulse nor its owner."""
    pulse, owner = built.Pulse(monotonic), object()
    before = sys.getrefcount(pulse), sys.getrefcount(owner)
    with ticking() as (ticker, fd):
        ticker.watch(pulse, owner)
        wait(fd)
        missed(ticker)
        assert (sys.getrefcount(pulse), sys.getrefcount(owner)) == before


@needs_it
def test_a_ticker_that_nobody_has_ends_its_thread() -> None:
    """Forgotten, it leaves no thread behind that would write to somebody else's descriptor; also out of a cycle."""
    threads = Path("/proc/self/task")
    fd = os.eventfd(0)

    def others() -> set[Path]:
        return {*threads.iterdir()} - before

    before = {*threads.iterdir()}  # of which some may end meanwhile
    ticker = built.Ticker(fd, 0.001)
    assert len(others()) == 1
    ticker.watch(built.Pulse(monotonic), None)
    del ticker
    assert not others()

    class Owner:
        def here(self) -> None: ...

    owner = Owner()
    owner.__dict__["ticker"] = built.Ticker(fd, 0.001, owner.here, 1)
    assert len(others()) == 1
    del owner
    gc.collect()
    assert not others()
    os.close(fd)


# --- the ticker's calls in the main thread ---------------------------------------------------------------------------

has_lock: Final = getattr(sys, "_is_gil_enabled", lambda: True)()
needs_lock = pytest.mark.skipif(built is None or not has_lock, reason="needs the compiled half and an interpreter lock")
MAIN: Final = threading.main_thread().ident


def compute_until(claim: Callable[[], object]) -> None:
    """Go on in pure Python, waiting for nothing."""
    deadline = monotonic() + PATIENCE
    while not claim():
        assert monotonic() < deadline, "nobody came"


@needs_lock
def test_what_the_main_thread_has_left_is_told_there() -> None:
    """While it computes, between two of its instructions, and in no other thread."""
    calls: list[tuple[list[Any], int]] = []
    pulse = built.Pulse(monotonic)

    def here() -> None:
        calls.append((missed(ticker), threading.get_ident()))

    with ticking(1e-3, here, MAIN) as (ticker, _):
        for n in range(20):
            ticker.watch(pulse, n)
            compute_until(lambda n=n: len(calls) > n)  # type: ignore[misc]  # bound by its default
        assert [*chain.from_iterable(late for late, _ in calls)] == [*range(20)]
        assert {thread for _, thread in calls} == {MAIN}


@needs_lock
def test_what_it_does_not_fetch_the_descriptor_tells_of() -> None:
    """It waits for something: then nothing is called in it, and somebody else is to see to it."""
    pulse = built.Pulse(monotonic)
    calls: list[None] = []
    with ticking(1e-3, lambda: calls.append(None), MAIN) as (ticker, fd):
        for _ in range(5):
            ticker.watch(pulse, "it")
            wait(fd)
            assert missed(ticker) == ["it"]


@needs_lock
def test_what_another_thread_has_left_the_descriptor_tells_of_at_once() -> None:
    """There is no way to have it called."""
    calls: list[None] = []
    with ticking(1e-3, lambda: calls.append(None), MAIN) as (ticker, fd):
        thread = threading.Thread(target=lambda: ticker.watch(built.Pulse(monotonic), "it"))
        thread.start()
        thread.join()
        compute_until(lambda: select.select([fd], [], [], 0)[0])
        assert missed(ticker) == ["it"]
        assert calls == []


@needs_lock
def test_what_a_signal_handler_raises_in_there_comes_out() -> None:
    """As it would anywhere else; and the descriptor tells of what was left."""

    def here() -> None:
        raise KeyboardInterrupt

    with ticking(1e-3, here, MAIN) as (ticker, fd):
        ticker.watch(built.Pulse(monotonic), "it")
        with pytest.raises(KeyboardInterrupt):
            compute_until(lambda: False)
        wait(fd)
        assert missed(ticker) == ["it"]


@needs_lock
@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_that_there_is_no_room_for_the_call_is_no_business_of_the_programs(error: type[Exception]) -> None:
    """It may be at the bottom of a recursion; somebody else sees to it."""
    calls: list[None] = []

    def here() -> None:
        calls.append(None)
        raise error

    with ticking(1e-3, here, MAIN) as (ticker, fd):
        ticker.watch(built.Pulse(monotonic), "it")
        compute_until(lambda: calls)
        wait(fd)
        assert missed(ticker) == ["it"]


@needs_lock
def test_who_is_stopped_is_not_called_any_more() -> None:
    """Also if the interpreter was asked already."""
    calls: list[None] = []
    for _ in range(200):
        with ticking(1e-5, lambda: calls.append(None), MAIN) as (ticker, _):
            ticker.watch(built.Pulse(monotonic), "it")
            ticker.stop()
            before = len(calls)
            for _ in range(100):
                pass
            assert len(calls) == before


FORKED = """
import os
import threading
from time import monotonic
from nnqpy import _accel

def here():
    ticker.missed([])

ticker = _accel.Ticker(os.eventfd(0), 0.001, here, threading.get_ident())
for _ in range(50):
    ticker.watch(_accel.Pulse(monotonic), None)
    child = os.fork()
    if not child:
        ticker.watch(_accel.Pulse(monotonic), None)
        out = []
        ticker.missed(out)
        assert out == [] and not ticker.watching
        ticker.stop()
        del ticker
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print("well")
"""


@needs_it
def test_a_forked_child_has_no_ticker_and_is_not_held_up_by_it() -> None:
    """Its thread stayed with the parent, perhaps with its lock held: the child touches neither."""
    ran = in_a_process(FORKED)
    assert (ran.stdout, ran.returncode) == ("well\n", 0), ran.stderr


@halves
def test_one_of_them_runs(half: Any) -> None:
    """What runs is one of the two, and says which."""
    assert (accel.compiled is half) == (accel.describe() == ("in Python" if half is None else "compiled"))
