"""A forked child has none of its parent's sockets: it is told so, and the parent and its peers notice nothing."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Literal

import pytest

from nnqpy import Closed, ForkedError, Pair, Pull, Push
from tests.process.kit import PATIENCE, child, switch_interval, until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.timeout(60),
    # Python 3.12 and later warn of what is tested here.
    pytest.mark.filterwarnings(r"ignore:This process \(pid=\d+\) is multi-threaded, use of fork:DeprecationWarning"),
]


class Fork:
    """A forked child that runs one function; its result is what the function returned, or its traceback."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._pipe, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                said = str(work())
            except BaseException:
                said = traceback.format_exc()
            os.write(writing, said.encode())
            os._exit(0)
        os.close(writing)

    def result(self) -> str:
        """Wait for its end; one that hangs is killed."""
        said, deadline = b"", monotonic() + PATIENCE
        while select.select([self._pipe], [], [], max(0.0, deadline - monotonic()))[0]:
            more = os.read(self._pipe, 1 << 16)
            if not more:
                break
            said += more
        else:
            os.kill(self.pid, signal.SIGKILL)
            said += b"it hangs"
        os.close(self._pipe)
        os.waitpid(self.pid, 0)
        return said.decode()


def in_child(work: Callable[[], object]) -> str:
    return Fork(work).result()


def connected(scheme: str, folder: Path) -> tuple[Pair, Pair]:
    """Two Pairs of this process that are attached."""
    urls = {"tcp": "tcp://127.0.0.1:0", "ipc": f"ipc://{folder}/fork.sock", "inproc": f"inproc://{folder.name}"}
    one, other = Pair(), Pair()
    other.connect(one.bind(urls[scheme]).url, wait=True, timeout=PATIENCE)
    one.wait_for_peers(1, PATIENCE)
    return one, other


def check_link(one: Pair, other: Pair) -> None:
    """Messages go both ways."""
    for sender, receiver in ((one, other), (other, one)):
        sender.send(b"over")
        assert receiver.recv(timeout=PATIENCE) == b"over"


CALLS: dict[str, Callable[[Pair], object]] = {
    "send": lambda pair: pair.send(b"x"),
    "large send": lambda pair: pair.send(bytes(1 << 20)),
    "send with a timeout": lambda pair: pair.send(b"x", timeout=0),
    "send_nowait": lambda pair: pair.send_nowait(b"x"),
    "large send_nowait": lambda pair: pair.send_nowait(bytes(1 << 20)),
    "send_many": lambda pair: pair.send_many([b"x"]),
    "flush": lambda pair: pair.flush(),
    "recv": lambda pair: pair.recv(),
    "recv with a timeout": lambda pair: pair.recv(timeout=0),
    "recv_nowait": lambda pair: pair.recv_nowait(),
    "recv_many": lambda pair: pair.recv_many(),
    "iteration": list,
    "fileno": lambda pair: pair.fileno(),
    "bind": lambda pair: pair.bind("tcp://127.0.0.1:0"),
    "connect": lambda pair: pair.connect("tcp://127.0.0.1:1"),
    "connect and wait": lambda pair: pair.connect("inproc://nobody", wait=True),
    "wait_for_peers": lambda pair: pair.wait_for_peers(),
    "wait_for_peers, of which there are enough": lambda pair: pair.wait_for_peers(0),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("scheme", ["tcp", "inproc"])
def test_every_call_on_an_inherited_socket_says_so(scheme: Literal["tcp", "inproc"], call: str, tmp_path: Path) -> None:
    """`ForkedError`, at once, also where a message was waiting; the parent's link does not feel it."""
    one, other = connected(scheme, tmp_path)
    with one, other:
        one.send_many([b"first", b"second"])
        assert other.recv(timeout=PATIENCE) == b"first"  # the second may lie in the inbox now

        def use() -> str:
            with pytest.raises(ForkedError, match="before fork"):
                CALLS[call](other)
            with pytest.raises(ForkedError, match="before fork"):
                CALLS[call](one)
            return "told"

        assert in_child(use) == "told"

        assert other.recv(timeout=PATIENCE) == b"second"
        check_link(one, other)


@pytest.mark.parametrize("verb", ["recv", "iteration"])
def test_inherited_events_say_so(verb: str) -> None:
    """Nothing will happen any more to a socket that is not ours: a wait for it would never end."""
    with Pair() as pair:
        events = pair.events()

        def use() -> str:
            with pytest.raises(ForkedError, match="before fork"):
                events.recv() if verb == "recv" else list(events)
            with pytest.raises(ForkedError, match="before fork"):
                pair.events().recv()
            return "told"

        assert in_child(use) == "told"


@pytest.mark.parametrize("scheme", ["tcp", "ipc", "inproc"])
def test_closing_what_was_inherited_harms_nobody(scheme: str, tmp_path: Path) -> None:
    """`close` of the socket, its listener or its dialer in the child is no error and no news for anybody."""
    one, other = connected(scheme, tmp_path)
    with one, other:
        ids = [peer.id for peer in (*one.peers, *other.peers)]
        events = one.events()

        def close() -> str:
            began = monotonic()
            for pair in (one, other):
                for end in (*pair._ends.listeners, *pair._ends.dialers):
                    end.close()
                assert pair.closed
                assert (pair.close().flushed, pair.close(PATIENCE).abandoned) == (0, 0)
                with pair:
                    pass
                assert pair.stats().queued == 0
                assert repr(pair)
            assert monotonic() - began < 2
            return "closed"

        assert in_child(close) == "closed"

        check_link(one, other)
        assert [peer.id for peer in (*one.peers, *other.peers)] == ids
        if scheme == "ipc":
            assert (tmp_path / "fork.sock").exists()
        one.close()
        assert [type(event).__name__ for event in events] in (
            ["ListenerClosed", "PeerRemoved", "SocketClosed"],
            ["ListenerClosed", "SocketClosed", "PeerRemoved"],
        )


def test_a_fork_during_a_close_leaves_the_close_to_the_parent() -> None:
    """The child's `close` of a socket that another thread drains waits for nobody and parts with nobody."""
    push = Push(connect="inproc://comes-after-the-fork", linger=PATIENCE)
    push.send_many([b"1", b"2"])
    closer = threading.Thread(target=push.close)
    closer.start()
    until(lambda: push._turns.out.parked)

    def close() -> str:
        began = monotonic()
        push.close()
        return "closed" if monotonic() - began < 2 else "slow"

    closed = in_child(close)
    with Pull(bind="inproc://comes-after-the-fork") as pull:
        got = [pull.recv(timeout=PATIENCE), pull.recv(timeout=PATIENCE)]
        closer.join(PATIENCE)

    assert (closed, got, push.close().flushed) == ("closed", [b"1", b"2"], 2)


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_a_child_makes_its_own_sockets(scheme: str, tmp_path: Path) -> None:
    """New sockets in the child work, also back to the parent, whose other peers stay the same."""
    one, other = connected(scheme, tmp_path)
    with one, other, Pull() as answers:
        ids = [one.peers[0].id, other.peers[0].id]
        url = answers.bind("tcp://127.0.0.1:0").url

        def talk() -> str:
            with Push(connect=url, linger=PATIENCE) as push, Pair(bind="inproc://both") as a, Pair() as b:
                b.connect("inproc://both", wait=True, timeout=PATIENCE)
                check_link(a, b)
                push.send(b"from the child")
                return str(push.close().abandoned)

        assert in_child(talk) == "0"

        assert answers.recv(timeout=PATIENCE) == b"from the child"
        check_link(one, other)
        assert [one.peers[0].id, other.peers[0].id] == ids


def test_a_grandchild_is_no_different() -> None:
    """A socket of the child is the child's: the grandchild is told, and makes its own."""
    with Pull() as answers:
        url = answers.bind("tcp://127.0.0.1:0").url

        def talk() -> str:
            with Push(connect=url, linger=PATIENCE) as push:

                def deeper() -> str:
                    with pytest.raises(ForkedError):
                        push.send(b"not mine")
                    with Push(connect=url, linger=PATIENCE) as own:
                        own.send(b"from the grandchild")
                    return "told"

                said = in_child(deeper)
                push.send(b"from the child")
                return said

        assert in_child(talk) == "told"

        assert {answers.recv(timeout=PATIENCE) for _ in range(2)} == {b"from the child", b"from the grandchild"}


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_what_the_parent_has_queued_is_sent_by_the_parent_alone(scheme: str, tmp_path: Path) -> None:
    """Messages in the queue at the fork, before a peer or a full one: once each, whatever the child does then."""
    spot = {"tcp": "tcp://127.0.0.1:0", "ipc": f"ipc://{tmp_path}/fork.sock"}[scheme]
    with Pull(recv_hwm=1) as pull, Push(send_hwm=200) as push:
        push.connect(pull.bind(spot).url, wait=True, timeout=PATIENCE)
        sent = 0
        while not push._turns.blocked or len(push._outbox) < 50:
            push.send(b"%d " % sent + bytes(20_000), timeout=PATIENCE)
            sent += 1

        def wait() -> str:
            """Whoever waits first writes what its thread has left: here that would be the parent's."""
            with Pair(bind="inproc://a") as a, Pair(connect="inproc://a") as b:
                b.send(b"x")
                assert a.recv(timeout=PATIENCE) == b"x"
                with pytest.raises(TimeoutError):
                    a.recv(timeout=0.05)
            return "done"

        said = in_child(wait)
        got = [int(pull.recv(timeout=PATIENCE).split(maxsplit=1)[0]) for _ in range(sent)]

        assert said == "done"
        assert got == [*range(sent)]


def test_what_a_thread_has_just_sent_is_not_the_childs_to_write() -> None:
    """A burst is in the queue at the fork: the child, when it waits, leaves it alone, and nothing happens to its peer."""
    told: list[object] = []
    got: list[bytes] = []
    with Pull() as pull, Push(on_event=told.append) as push:
        push.connect(pull.bind("tcp://127.0.0.1:0").url, wait=True, timeout=PATIENCE)

        def wait() -> str:
            del told[:]
            with Pair(bind="inproc://a") as a, pytest.raises(TimeoutError):
                a.recv(timeout=0.001)
            return str(told)

        said: list[str] = []
        for _ in range(20):
            for _ in range(30):
                push.send(b"x")
            said.append(in_child(wait))
            got += [pull.recv(timeout=PATIENCE) for _ in range(30)]

        assert said == ["[]"] * 20
        assert got == [b"x"] * 600
        with pytest.raises(TimeoutError):
            pull.recv(timeout=0)


@pytest.mark.parametrize("scheme", ["tcp", "ipc", "inproc"])
def test_traffic_goes_on_while_children_come_and_go(scheme: str, tmp_path: Path) -> None:
    """Threads send and receive through twenty forks: nothing is lost, no peer changes, each child can use its own."""
    spot = {"tcp": "tcp://127.0.0.1:0", "ipc": f"ipc://{tmp_path}/fork.sock", "inproc": f"inproc://{tmp_path.name}"}
    got: list[int] = []
    with Pull() as pull, Push() as push:
        push.connect(pull.bind(spot[scheme]).url, wait=True, timeout=PATIENCE)
        pull.wait_for_peers(1, PATIENCE)
        ids = [pull.peers[0].id, push.peers[0].id]
        events = pull.events()
        over = threading.Event()
        sent: list[int] = []

        def send() -> None:
            while not over.is_set():
                push.send(b"%d" % len(sent), timeout=PATIENCE)
                sent.append(0)
            push.send(b"end", timeout=PATIENCE)

        def receive() -> None:
            while (body := pull.recv(timeout=PATIENCE)) != b"end":
                got.append(int(body))

        def use() -> str:
            with pytest.raises(ForkedError):
                push.send(b"x")
            with pytest.raises(ForkedError):
                pull.recv()
            with Pull(bind="tcp://127.0.0.1:0") as mine, Push() as own:
                own.connect(mine._ends.listeners[0].url, wait=True, timeout=PATIENCE)
                own.send(b"mine")
                return mine.recv(timeout=PATIENCE).decode()

        threads = [threading.Thread(target=work, daemon=True) for work in (send, receive)]
        for thread in threads:
            thread.start()
        said: list[str] = []
        for number in range(1, 21):
            until(lambda number=number: len(got) >= 50 * number)  # type: ignore[misc]  # the lambda is called at once
            said.append(in_child(use))
        over.set()
        for thread in threads:
            thread.join(PATIENCE)

        assert said == ["mine"] * 20
        assert got == [*range(len(sent))]
        assert [pull.peers[0].id, push.peers[0].id] == ids
        with pytest.raises(TimeoutError):
            events.recv(timeout=0)


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_a_peer_sees_the_parents_end_though_a_child_lives(scheme: str, tmp_path: Path) -> None:
    """The child holds none of the parent's connections or addresses open: closing in the parent is closing."""
    one, other = connected(scheme, tmp_path)
    resting, release = os.pipe()
    here, arrived = os.pipe()

    def rest() -> bytes:
        os.write(arrived, b"x")  # from here on the child's own part of the fork is done
        return os.read(resting, 1)

    with one, other:
        url = one._ends.listeners[0].url
        fork = Fork(rest)
        try:
            assert select.select([here], [], [], PATIENCE)[0]
            one.close()
            until(lambda: other.peers == ())
            with Pair(bind=url):  # nobody holds the address
                pass
        finally:
            os.write(release, b"x")
            assert fork.result() == "b'x'"
    for fd in (resting, release, here, arrived):
        os.close(fd)


def _mp_child(inherited: Pair, url: str) -> None:
    try:
        inherited.send(b"not mine")
    except Closed as error:
        with Push(connect=url, linger=PATIENCE) as push:
            push.send(type(error).__name__.encode())


def test_multiprocessing_by_fork_works() -> None:
    """`multiprocessing` workers made by fork use their own sockets and end with code 0."""
    context = multiprocessing.get_context("fork")
    with Pair() as pair, Pull() as pull:
        url = pull.bind("tcp://127.0.0.1:0").url
        workers = [context.Process(target=_mp_child, args=(pair, url)) for _ in range(3)]
        for worker in workers:
            worker.start()

        assert [pull.recv(timeout=PATIENCE) for _ in workers] == [b"ForkedError"] * 3
        for worker in workers:
            worker.join(PATIENCE)
        assert [worker.exitcode for worker in workers] == [0, 0, 0]


@pytest.mark.parametrize("way", ["idle", "busy", "own"])
def test_a_forked_child_leaves_silently(way: str) -> None:
    """It ends the interpreter as any program does: no hang, no word, nothing of the parent's torn down."""
    with child("forker", way, flags=("-W", "always::ResourceWarning")) as program:
        assert program.hear() == "child 0"
        assert program.hear() == "the link holds"
        assert program.end() == (0, "")


def test_a_program_that_is_executed_inherits_nothing(tmp_path: Path) -> None:
    """Every descriptor is close-on-exec: sockets, listeners, pollers, bells, those of the janitor."""
    one, other = connected("tcp", tmp_path)
    with one, other, Pair(bind=f"ipc://{tmp_path}/more.sock") as more, Push(connect="tcp://127.0.0.1:1"):
        more.fileno()
        ours = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
        inheritable: list[int] = []
        for fd in ours - {0, 1, 2}:
            try:
                if os.get_inheritable(fd):
                    inheritable.append(fd)
            except OSError:
                pass  # that of the listing itself
        text = "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists(f'/dev/fd/{n}')))"
        run = subprocess.run(
            [sys.executable, "-S", "-c", text], close_fds=False, capture_output=True, text=True, check=True
        )

    assert [fd for fd in inheritable if "socket:" in target(fd) or "anon_inode" in target(fd)] == []
    assert set(map(int, run.stdout.strip()[1:-1].split(","))) - {0, 1, 2} <= set(inheritable)


def target(fd: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return ""


def test_a_childs_threads_give_the_interpreter_lock_up_as_often_as_before() -> None:
    """While a burst is on its way they do so more often, and there is nobody in the child who would put that back."""
    before = 0.004
    with switch_interval(before), Pull() as pull, Push() as push:
        push.connect(pull.bind("tcp://127.0.0.1:0").url, wait=True, timeout=PATIENCE)
        deadline = monotonic() + PATIENCE
        while sys.getswitchinterval() >= before:
            assert monotonic() < deadline, "nobody has lowered it"
            push.send_nowait(b"of a burst")
            pull.recv(timeout=PATIENCE)
        assert Fork(sys.getswitchinterval).result() == str(before)
        until(lambda: sys.getswitchinterval() == before)
