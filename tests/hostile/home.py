"""A socket of ours that strangers come to, by whatever transport, and a good peer beside them whom they must not disturb."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from contextlib import ExitStack, suppress
from itertools import count
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from nnqpy import Push, WouldBlock
from nnqpy.errors import Reason
from nnqpy.events import HandshakeFailed, PeerAdded, PeerRemoved
from tests.hostile.dress import dressed, greet, papers
from tests.hostile.kit import PATIENCE, await_descriptors, knock, open_descriptors, open_door, settle

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from nnqpy import Pull
    from nnqpy.events import Event, PeerInfo
    from nnqpy.sync import Socket
    from tests.hostile.dress import AnyScheme
    from tests.hostile.kit import Role, Stranger

S = TypeVar("S", bound="Socket")
S2 = TypeVar("S2", bound="Socket")
T = TypeVar("T")


class Home(Generic[S]):
    """One socket of ours at home: strangers come to it, and good peers come by a door of their own.

    In the end every descriptor comes back, and nothing was logged as an error.
    """

    def __init__(self, make: Callable[..., S], scheme: AnyScheme, **options: object) -> None:
        """Make the socket by `make`, and bind it where strangers come; or they have it dial them."""
        self._told = threading.Condition()
        self._kept = ExitStack()
        self._errors: list[str] = []
        self._removed: list[PeerRemoved] = []
        self._failed: list[HandshakeFailed] = []
        self._added: list[PeerInfo] = []
        settle()
        # The pollers of a closed socket stay as long as the test holds it, or a context of it.
        self._descriptors = open_descriptors() + 4
        folder = tempfile.mkdtemp(prefix="nnq-")
        self._kept.callback(shutil.rmtree, folder)
        self._log = _Errors(self._errors)
        logging.getLogger().addHandler(self._log)
        self._kept.callback(logging.getLogger().removeHandler, self._log)
        self.scheme: AnyScheme = scheme
        self._papers = {"tls": papers()} if scheme in ("tls+tcp", "wss") else {}
        # A stranger whom it dials it dials at once again.
        often = {"reconnect_min": 0.001, "reconnect_max": 0.001}
        self.ours = make(on_event=self._hear, **{**often, **self._papers, **options})
        places = [f"ipc://{folder}/{name}" for name in "ab"] if scheme == "ipc" else [f"{scheme}://127.0.0.1:0"] * 2
        self.url, self.door = (self.ours.bind(place).url for place in places)
        self._hall: socket.socket | None = None

    def _hear(self, event: Event) -> None:
        with self._told:
            if isinstance(event, PeerAdded):
                self._added.append(event.peer)
            elif isinstance(event, PeerRemoved) and event.reason is not Reason.CLOSED_BY_US:
                self._removed.append(event)
            elif isinstance(event, HandshakeFailed):
                self._failed.append(event)
            self._told.notify_all()

    def stranger(self, role: Role = "dialer") -> Stranger:
        """Return a stranger who has greeted as it should and is a peer now; our greeting is read."""
        number = len(self._added)
        stranger = dressed(self.knocked(role), self.scheme, role)
        greet(stranger, self.scheme, role, self.ours._core.proto)
        with self._told:
            assert self._told.wait_for(lambda: len(self._added) > number, PATIENCE)
        return stranger

    def knocked(self, role: Role = "dialer") -> socket.socket:
        """Return a new connection with our side, over which nothing was said."""
        if role == "dialer":
            sock = knock(self.url)
        else:
            if self._hall is None:
                self._hall = open_door("tcp://127.0.0.1:0")
                self._kept.callback(self._hall.close)
                self.ours.connect(f"{self.scheme}://127.0.0.1:{self._hall.getsockname()[1]}")
            sock = self._hall.accept()[0]
            sock.settimeout(PATIENCE)
        self._kept.callback(sock.close)
        return sock

    def guest(self, make: Callable[..., S2], *, to: str | None = None, **options: object) -> S2:
        """Return a good peer, attached; it comes by the door of its own, or to another place."""
        number = len(self._added)
        guest = make(connect=to or self.door, **{**self._papers, **options})
        self._descriptors += 4
        self._kept.callback(guest.close, 0)
        with self._told:
            assert self._told.wait_for(lambda: len(self._added) > number, PATIENCE)
        guest.wait_for_peers(1, PATIENCE)  # it may have been told of us later than we of it
        return guest

    @property
    def newest(self) -> PeerInfo:
        """Who came last."""
        return self._added[-1]

    def verdict(self) -> PeerRemoved:
        """Wait for one peer's end to be told, and return what is told of it."""
        with self._told:
            assert self._told.wait_for(lambda: bool(self._removed), PATIENCE), "no end is told"
            return self._removed.pop(0)

    def ended(self) -> bool:
        """Whether the end of a peer is told that `verdict` has not returned."""
        return bool(self._removed)

    def failed(self) -> bool:
        """Whether a handshake's failure is told that `failure` has not returned."""
        return bool(self._failed)

    def failure(self) -> HandshakeFailed:
        """Wait for a handshake's failure to be told, and return what is told of it."""
        with self._told:
            assert self._told.wait_for(lambda: bool(self._failed), PATIENCE), "no failure is told"
            return self._failed.pop(0)

    def discarded(self, why: str) -> int:
        """Messages received and discarded for that reason so far."""
        return self.ours.stats().discarded.get(why, 0)

    def say(self, stranger: Stranger, parts: Iterable[bytes], take: Callable[[S], Iterator[T]]) -> list[T]:
        """Say `parts`, and have our side read each alone; return what it received."""
        got: list[T] = []
        for part in parts:
            stranger.say(part)
            got += take(self.ours)
            while stranger.unheard():  # the janitor was at work with one who is gone, and nobody else looks meanwhile
                settle()
                got += take(self.ours)
        return got

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ours.close(linger=0)
        self._kept.close()
        if error is None:
            assert self._removed == [], "ends were told that nobody asked for"
            assert self._failed == [], "failures were told that nobody asked for"
            await_descriptors(self._descriptors)
            assert self._errors == []


class _Errors(logging.Handler):
    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(self.format(record))


class GoodPeer:
    """A good peer that sends to our Pull, whatever else comes: each of its messages arrives, in order, at once."""

    def __init__(self, home: Home[Pull]) -> None:
        self._home = home
        self._push = home.guest(Push)
        self._numbers = count()
        self.got: list[bytes] = []
        """What came meanwhile from others."""

    def exchange(self, rounds: int = 1) -> None:
        """Have it send messages, and receive them."""
        for _ in range(rounds):
            token = b"good %d" % next(self._numbers)
            self._push.send(token, timeout=PATIENCE)
            while (body := self._home.ours.recv(timeout=PATIENCE)) != token:
                self.got.append(body)

    def take(self) -> list[bytes]:
        """Receive what is there, and return what came from others since the last call."""
        with suppress(WouldBlock):
            while True:
                self.got.append(self._home.ours.recv_nowait())
        got, self.got = self.got, []
        return got

    def hears(
        self, stranger: Stranger, parts: Iterable[bytes], say: Callable[[bytes], object] | None = None
    ) -> list[bytes]:
        """Have a stranger say `parts`, each of which our side reads alone, with a good message behind it.

        Args:
            stranger: who says them.
            parts: what.
            say: how, if not by the stranger's own `say`.

        Returns:
            What our side received from the stranger.
        """
        for part in parts:
            (say or stranger.say)(part)
            self.exchange()
            while stranger.unheard():
                settle()
                self.exchange()
        settle()  # the janitor may have read it, with a greeting
        self.exchange()
        return self.take()


def between(ahead: bytes, parts: list[bytes], behind: bytes) -> list[bytes]:
    """Return the parts of something, with something else said in one breath with the first and with the last of them."""
    first, *rest = parts
    parts = [ahead + first, *rest]
    return [*parts[:-1], parts[-1] + behind]
