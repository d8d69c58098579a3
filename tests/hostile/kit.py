"""What a hostile peer can do to a socket of ours, and what must hold while it does.

A `Stranger` is a plain system socket: it says the bytes it is told to say, whole or in parts, and never reads what it
is not told to read. An `Arena` is one of our sockets, with a good partner beside the strangers. Whatever a stranger does:
exactly one event tells of its end, none of the others notices, nothing is logged as an error, and every descriptor
comes back.

Nothing here waits for time to pass. A part counts as delivered when our socket has read it, which the kernel tells;
what the janitor then does is over after a few turns of its loop.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import resource
import select
import shutil
import socket
import struct
import sys
import tempfile
import termios
import threading
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Literal, Self, TypedDict, TypeVar, Unpack

import pytest

from nnqpy import Closed, Pair, Pull, Push, WouldBlock, reactor
from nnqpy.blocking.sockets import Receiving
from nnqpy.errors import Reason
from nnqpy.events import HandshakeFailed, PeerAdded, PeerRefused, PeerRemoved
from nnqpy.wire.stream import IPC, TCP, greeting

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from types import TracebackType

    from nnqpy.events import Event

Scheme = Literal["tcp", "ipc"]
Role = Literal["dialer", "listener"]
"""What the stranger is: it dials our listener, or listens for our dialer."""
Failure = HandshakeFailed | PeerRefused | PeerRemoved
Kind = type[Pull] | type[Push] | type[Pair]

E = TypeVar("E", bound="Event")

PATIENCE = 10.0
"""Seconds after which a thing that should happen at once has not happened."""
ROUNDS = 6
"""Turns of the janitor's loop in which it deals with whatever has arrived: read, wake the task, attach, tell."""
PARTNERS: dict[Kind, Kind] = {Pull: Push, Push: Pull, Pair: Pair}


class Delivery(StrEnum):
    """How bytes arrive; a socket that holds up under one of them must under all."""

    WHOLE = "whole"
    BYTEWISE = "bytewise"
    SPLIT = "split"

    def of(self, words: bytes) -> Iterator[list[bytes]]:
        """Yield the ways to deliver `words`, each a list of parts; SPLIT is one way for each place within them."""
        match self:
            case Delivery.WHOLE:
                yield [words]
            case Delivery.BYTEWISE:
                yield [words[place : place + 1] for place in range(len(words))]
            case Delivery.SPLIT:
                for place in range(1, len(words)):
                    yield [words[:place], words[place:]]


def frame(scheme: Scheme, *bodies: bytes) -> bytes:
    """Return the frames of `bodies`, as a good peer sends them."""
    return (IPC if scheme == "ipc" else TCP).join(bodies)


def announce(scheme: Scheme, length: int) -> bytes:
    """Return the head of a frame that announces `length` bytes, any number of 64 bits."""
    return (b"\x01" if scheme == "ipc" else b"") + length.to_bytes(8, "big")


class Stranger:
    """The other end of one connection of ours: a program that found the port."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.name = _name(sock)
        """What our side calls it, as ``127.0.0.1:40112``; over ipc our side knows a process, not a connection."""
        self._said = 0
        self._ours: socket.socket | None = None
        self._hailed = False
        sock.settimeout(PATIENCE)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def await_greeting(self) -> bytes:
        """Wait until our greeting is there, and look at it without reading it."""
        self.await_input()
        self._hailed = True
        if self.sock.family != socket.AF_UNIX:
            self._ours = _other_end(self.sock)
        return self.sock.recv(8, socket.MSG_PEEK)

    def await_acceptance(self) -> None:
        """Wait until our listener has accepted the connection."""
        settle()
        if self.sock.family != socket.AF_UNIX:
            self._ours = _other_end(self.sock)

    def await_input(self) -> None:
        """Wait until there is something to read, or the end."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        assert poll.poll(PATIENCE * 1000), "our socket says nothing"

    def say(self, words: bytes) -> bool:
        """Send all of `words`; False if our side has ended the connection by then."""
        try:
            self.sock.sendall(words)
        except (BrokenPipeError, ConnectionResetError):
            return False
        self._said += len(words)
        return True

    def pour(self, words: bytes, meanwhile: Callable[[], object]) -> bool:
        """Send all of `words`, calling `meanwhile` whenever the kernel takes no more; False as in `say`."""
        rest = memoryview(words)
        deadline = monotonic() + PATIENCE
        self.sock.setblocking(False)
        try:
            while rest:
                assert monotonic() < deadline, f"{len(rest)} bytes are not taken"
                try:
                    sent = self.sock.send(rest)
                except BlockingIOError:
                    meanwhile()
                    continue
                except (BrokenPipeError, ConnectionResetError):
                    return False
                self._said += sent
                rest = rest[sent:]
        finally:
            self.sock.settimeout(PATIENCE)
        return True

    def unheard(self) -> int:
        """Bytes said that our socket has not read; 0 too if it is closed. Over ipc: more than 0, or 0."""
        if self.sock.family == socket.AF_UNIX:
            return _ask(self.sock.fileno(), termios.TIOCOUTQ)
        assert self._ours is not None, "wait for our greeting first"
        try:
            facts = self._ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136)
            arrived = int.from_bytes(facts[128:136], sys.byteorder)  # tcpi_bytes_received
            # It counts a FIN, and nothing else that was not said.
            return max(0, self._said - arrived) + _ask(self._ours.fileno(), termios.FIONREAD)
        except (OSError, ValueError):  # the latter if it is closed just now: it has no descriptor then
            return 0

    def hear(self, size: int) -> bytes:
        """Read exactly `size` bytes."""
        heard = b""
        while len(heard) < size:
            part = self.sock.recv(size - len(heard))
            assert part, f"our side left after {heard!r}"
            heard += part
        return heard

    def hears_the_end(self) -> bool:
        """Read until our side ends the connection; True however it does."""
        with suppress(ConnectionResetError):
            while self.sock.recv(65536):
                pass
        return True

    def finish(self) -> None:
        """Say that nothing more comes (FIN); our side may go on talking."""
        with suppress(OSError):  # our side was faster, and reset it
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection so that our side gets ECONNRESET."""
        if self.sock.family == socket.AF_UNIX:
            # That is what it means there: closed, with something unread. Our greeting still is, if there was one.
            assert self._hailed == bool(_ask(self.sock.fileno(), termios.FIONREAD)), (
                "read nothing from who is to be reset"
            )
        else:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Go."""
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Marks(TypedDict, total=False):
    """The options of our socket that the tests set."""

    recv_max_size: int | None
    recv_hwm: int
    send_hwm: int
    handshake_timeout: float
    reconnect_min: float
    reconnect_max: float
    linger: float


class Arena:
    """One socket of ours, the strangers it meets, and a good partner whom they must not disturb.

    The partner has an endpoint of its own, so everything told of the strangers' endpoint is about them.
    """

    ours: Pull | Push | Pair

    def __init__(self, kind: Kind, scheme: Scheme, role: Role, *, partner: bool = True, **marks: Unpack[Marks]) -> None:
        """Make the socket, and open the endpoint where strangers come from.

        Args:
            kind: which of our sockets.
            scheme: how strangers come.
            role: whether they dial or listen.
            partner: whether the good partner is there before them (a Pair has one peer).
            marks: options of the socket. A dialer tries again at once unless they say otherwise.
        """
        self.kind, self.scheme, self.role = kind, scheme, role
        self.events: list[Event] = []
        self.got: list[bytes] = []
        """What was received, less the partner's."""
        self.partner: Pull | Push | Pair | None = None
        self.on_event: Callable[[Event], object] | None = None
        """What else is done with each event, where it happens."""
        self._told = threading.Condition()
        self._judged = 0
        self._exchanges = 0
        self._errors = _ErrorLog()
        self._kept = ExitStack()
        self._door: socket.socket | None = None
        reactor.janitor()  # it stays, and so do its descriptors
        settle()
        self._descriptors = open_descriptors()
        self._folder = Path(tempfile.mkdtemp(prefix="nnq-"))  # not tmp_path: that can be too long for an ipc path
        self._kept.callback(shutil.rmtree, self._folder)
        logging.getLogger().addHandler(self._errors)
        if role == "listener":
            marks = {"reconnect_min": 0.001, "reconnect_max": 0.001, **marks}
        self.ours = kind(on_event=self._hear, **marks)
        self._partners_url = self.ours.bind(self._any_url("partner")).url
        if partner:
            self.invite()
        if role == "dialer":
            self.url = self.ours.bind(self._any_url("strangers")).url
        else:
            self._door = open_door(self._any_url("strangers"))
            self._kept.callback(self._door.close)
            self.url = url_of(self._door)
            self.ours.connect(self.url)

    def _any_url(self, name: str) -> str:
        return "tcp://127.0.0.1:0" if self.scheme == "tcp" else f"ipc://{self._folder}/{name}"

    def _hear(self, event: Event) -> None:
        with self._told:
            self.events.append(event)
            self._told.notify_all()
        if self.on_event is not None:
            self.on_event(event)

    # --- strangers -----------------------------------------------------------------------------------------

    @property
    def hello(self) -> bytes:
        """The greeting of a peer that our socket wants."""
        return greeting(self.ours._core.proto.peer)

    def stranger(self, words: bytes = b"") -> Stranger:
        """Return a new connection with a stranger, who has said `words` already; our side has greeted.

        Or it waits to be greeted: a Pair whose place is taken greets nobody else.
        """
        stranger = self.knocked()
        if self.reserved:
            stranger.await_acceptance()
        else:
            assert stranger.await_greeting() == greeting(self.ours._core.proto), "this is not our greeting"
        if words:
            stranger.say(words)
            self.digest(stranger)
        return stranger

    @property
    def reserved(self) -> bool:
        """Whether our side greets only when it has been greeted: a Pair that listens and has its peer."""
        return self._door is None and self.ours._core.refusal() is not None

    @property
    def reset_of_the_ungreeted(self) -> Reason:
        """What our side makes of a reset before the greetings: over ipc there is none where nothing is unread."""
        return Reason.GREETING_EOF if self.reserved and self.scheme == "ipc" else Reason.RESET

    def knocked(self) -> Stranger:
        """Return a new connection with a stranger; our side may not have seen it yet."""
        stranger = Stranger(knock(self.url) if self._door is None else self._door.accept()[0])
        self._kept.callback(stranger.close)
        return stranger

    def crowd(self, number: int, words: bytes = b"") -> list[Stranger]:
        """Return that many strangers at our listener who have each said `words`; our side has greeted them all."""
        strangers = [self.knocked() for _ in range(number)]
        for stranger in strangers:
            stranger.say(words)
        for stranger in strangers:
            if self.reserved and not words:
                stranger.await_acceptance()
            else:
                stranger.await_input()
        return strangers

    def attached(self) -> Stranger:
        """Return a stranger who has greeted as it should and is a peer now."""
        stranger = self.stranger(self.hello)
        added = self.wait_for(PeerAdded)
        assert added.peer.address == self.url
        return stranger

    def digest(self, stranger: Stranger) -> None:
        """Let our side read and consider all that the stranger has said; what it received is in `got`."""
        deadline = monotonic() + PATIENCE
        while True:
            self.turn()
            if not stranger.unheard():
                return
            assert monotonic() < deadline, f"{stranger.unheard()} bytes are not read"

    def turn(self) -> None:
        """Let our side do what it can: the janitor's work, then a receive of what is there."""
        settle()
        self.take()

    def digest_all(self) -> None:
        """Let our side read what all of its peers have said; that must be on its way to us by now."""
        deadline = monotonic() + PATIENCE
        while True:
            self.turn()
            if not any(_ask(peer.fd, termios.FIONREAD) for peer in self.ours._core.peers.values()):
                return
            assert monotonic() < deadline, "not all is read"

    def take(self) -> None:
        """Receive what is there."""
        if isinstance(self.ours, Receiving):
            with suppress(WouldBlock, Closed):
                while True:
                    self.got.append(self.ours.recv_nowait())

    # --- what is told --------------------------------------------------------------------------------------

    def failures(self) -> list[Failure]:
        """Return what was told of the strangers' ends that `verdict` has not returned yet; less what our side ended."""
        told = [event for event in tuple(self.events) if isinstance(event, HandshakeFailed | PeerRefused | PeerRemoved)]
        return [event for event in told if event.reason is not Reason.CLOSED_BY_US][self._judged :]

    def verdict(self) -> Failure:
        """Wait for the end of a stranger to be told, once; and return what is told of it."""
        deadline = monotonic() + PATIENCE
        while not self.failures():
            assert monotonic() < deadline, f"no end is told, only {self.events}"
            self.turn()
        self.turn()
        (failure,) = self.failures()
        self._judged += 1
        address = failure.peer.address if isinstance(failure, PeerRemoved) else failure.address
        assert address == self.url, f"the partner was lost: {failure}"
        return failure

    def verdicts(self, number: int) -> list[Failure]:
        """Wait for `number` ends to be told, and return what is told of them, in that order."""
        deadline = monotonic() + PATIENCE
        while len(self.failures()) < number:
            assert monotonic() < deadline, f"{len(self.failures())} of {number} ends are told"
            self.turn()
        settle()
        failures = self.failures()
        assert len(failures) == number
        self._judged += number
        return failures

    def wait_for(self, kind: type[E], *, timeout: float = PATIENCE) -> E:
        """Wait for the next event of a kind, or take the first that nobody has waited for; and return it."""
        with self._told:
            if not self._told.wait_for(lambda: self.of(kind), timeout):
                raise AssertionError(f"no {kind.__name__} within {timeout} s, only {self.events}")
            event = self.of(kind)[0]
            # Ends are counted by `verdict`.
            if not isinstance(event, HandshakeFailed | PeerRefused | PeerRemoved):
                self.events.remove(event)
        return event

    def told_of(self, kind: type[Event], *, within: float) -> bool:
        """Wait at most `within` seconds for an event of a kind; True if there is one."""
        with self._told:
            return self._told.wait_for(lambda: self.of(kind), within) != []

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one kind so far."""
        return [event for event in tuple(self.events) if isinstance(event, kind)]

    # --- the partner ---------------------------------------------------------------------------------------

    def invite(self) -> None:
        """Have the good partner come, if it is not here."""
        if self.partner is None:
            self.partner = PARTNERS[self.kind](connect=self._partners_url)
            added = self.wait_for(PeerAdded)
            assert added.peer.address == self._partners_url

    def exchange(self, rounds: int = 1) -> None:
        """Send messages between our socket and the partner, one after the other; each arrives, whole, at once."""
        for _ in range(rounds):
            self._exchanges += 1
            token = b"good %d" % self._exchanges
            match self.ours, self.partner:
                case Push() as sender, Pull() as receiver:
                    sender.send(token, timeout=PATIENCE)
                    assert receiver.recv(timeout=PATIENCE) == token
                case Receiving() as receiver, Push() | Pair() as sender:
                    sender.send(token, timeout=PATIENCE)
                    while (body := receiver.recv(timeout=PATIENCE)) != token:
                        self.got.append(body)
                    self.exchange_back()
                case _:
                    raise AssertionError("invite a partner first")

    def exchange_back(self) -> None:
        """Send the partner a message, if our socket is a Pair."""
        if isinstance(self.partner, Pair):
            self.pair.send(b"back", timeout=PATIENCE)
            assert self.partner.recv(timeout=PATIENCE) == b"back"

    @property
    def pull(self) -> Pull:
        """Our socket, or the partner: the one that is a Pull. Keep no name for it: see `__exit__`."""
        (pull,) = (one for one in (self.ours, self.partner) if isinstance(one, Pull))
        return pull

    @property
    def push(self) -> Push:
        """Our socket, or the partner: the one that is a Push."""
        (push,) = (one for one in (self.ours, self.partner) if isinstance(one, Push))
        return push

    @property
    def pair(self) -> Pair:
        """Our socket, which is a Pair."""
        assert isinstance(self.ours, Pair)
        return self.ours

    # --- the end -------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unjudged: list[Failure] = []
        if error is None:
            self.turn()
            unjudged = self.failures()
        self.ours.close(linger=0)
        if self.partner is not None:
            self.partner.close(linger=0)
        settle()
        self._kept.close()
        try:
            if error is None:
                assert unjudged == [], "ends were told that nobody asked for"
                # The pollers of a closed socket stay as long as somebody holds it.
                del self.ours, self.partner
                await_descriptors(self._descriptors)
                self.assert_nothing_logged()
        finally:
            logging.getLogger().removeHandler(self._errors)

    def assert_nothing_logged(self) -> None:
        """Fail if an error of ours was logged, by us or by the loop that it escaped to."""
        settle()
        gc.collect()  # a task that failed is told of when it goes
        assert self._errors.records == []


class Memory:
    """What this process has committed since the block began; bytes that were only announced count here as well."""

    def __init__(self) -> None:
        self._before = (0, 0, 0)

    def __enter__(self) -> Self:
        gc.collect()
        self._before = _memory()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @property
    def grown(self) -> int:
        """Bytes more than before: of resident or of writable memory, whichever grew more."""
        resident, data, _ = _memory()
        return max(resident - self._before[0], data - self._before[1])

    @property
    def highest(self) -> int:
        """Bytes that the address space grew beyond its highest so far: what was taken and given back shows here too."""
        return _memory()[2] - self._before[2]


def _memory() -> tuple[int, int, int]:
    facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    resident, data, highest = (int(facts[name].split()[0]) * 1024 for name in ("VmRSS", "VmData", "VmPeak"))
    return resident, data, highest


@contextmanager
def descriptors_for(number: int) -> Generator[None]:
    """Let this process have that many descriptors more than now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = open_descriptors() + number + 64
    if hard != resource.RLIM_INFINITY and wanted > hard:
        pytest.skip(f"{wanted} descriptors are needed, this machine allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class _ErrorLog(logging.Handler):
    """Keeps what is logged as an error, by us or by the loop that an exception of ours escaped to."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


@contextmanager
def told(*what: object) -> Generator[None]:
    """Say in a failure which of many tries it was."""
    try:
        yield
    except BaseException as error:
        error.add_note(" ".join(map(repr, what)))
        raise


def settle(rounds: int = ROUNDS) -> None:
    """Let the janitor deal with what has arrived: return when its loop has turned `rounds` times."""
    loop = reactor.janitor().loop
    over = threading.Event()

    def turn(left: int) -> None:
        if left:
            loop.call_soon(turn, left - 1)
        else:
            over.set()

    loop.call_soon_threadsafe(turn, rounds)
    assert over.wait(PATIENCE), "the janitor does not turn"


def open_descriptors() -> int:
    """Count the descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def await_descriptors(number: int) -> None:
    """Wait until no more than `number` descriptors are open."""
    deadline = monotonic() + PATIENCE
    while open_descriptors() > number:
        if monotonic() > deadline:
            names = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
            raise AssertionError(f"{open_descriptors()} descriptors are open, {number} were: {names}")
        settle()
        gc.collect()  # a closed socket's pollers go with it


def sockaddr(url: str) -> tuple[socket.AddressFamily, tuple[str, int] | str]:
    """Return what the system's own ``bind`` and ``connect`` take for a URL; a path behind the port is none of theirs."""
    scheme, _, rest = url.partition("://")
    if scheme == "ipc":
        return socket.AF_UNIX, rest
    return socket.AF_INET, (rest.rpartition(":")[0], port_of(url))


def port_of(url: str) -> int:
    """Return the port of a URL that has one."""
    return int(url.partition("://")[2].partition("/")[0].rpartition(":")[2])


def knock(url: str) -> socket.socket:
    """Connect to a URL, as any program can."""
    family, address = sockaddr(url)
    sock = socket.socket(family)
    try:
        sock.connect(address)  # without a time limit: Unix sockets take that for "do not wait for the listener"
    except BaseException:
        sock.close()
        raise
    return sock


def open_door(url: str, *, backlog: int = 128) -> socket.socket:
    """Listen at a URL, as any program can."""
    family, address = sockaddr(url)
    sock = socket.socket(family)
    try:
        sock.settimeout(PATIENCE)
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def url_of(door: socket.socket) -> str:
    """Return the URL at which a door can be dialled."""
    if door.family == socket.AF_UNIX:
        return f"ipc://{door.getsockname()}"
    host, port = door.getsockname()
    return f"tcp://{host}:{port}"


def _name(sock: socket.socket) -> str:
    if sock.family == socket.AF_UNIX:
        return f"pid {os.getpid()} uid {os.getuid()}"
    host, port = sock.getsockname()
    return f"{host}:{port}"


def _ask(fd: int, request: int) -> int:
    (answer,) = struct.unpack("i", fcntl.ioctl(fd, request, bytes(4)))
    return int(answer)


def _other_end(sock: socket.socket) -> socket.socket:
    """Find the system socket of ours that is connected to `sock`."""
    names = (sock.getpeername(), sock.getsockname())
    for one in _ours():
        with suppress(OSError):  # a listener, or closed meanwhile
            if (one.getsockname(), one.getpeername()) == names:
                return one
    raise AssertionError(f"nothing of ours is connected to {names}")


def _ours() -> Iterable[socket.socket]:
    while True:
        with suppress(RuntimeError):  # the janitor has added one meanwhile
            return tuple(reactor.stray_sockets)
