"""A socket's listeners and dialers. They run in the janitor; what they give to the socket is an attached engine.

A peer is attached only when its whole greeting was read: until then it may be any program that found the port.
One absolute deadline covers the greeting. A dialer tries for ever; its back-off begins anew only after a
connection that lasted, so a peer that greets and leaves (a busy Pair) is not dialled in a hot loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import random
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal

from nnqpy import reactor
from nnqpy.errors import ProtocolError, Reason, TlsError
from nnqpy.events import (
    AcceptResumed,
    AcceptThrottled,
    ConnectFailed,
    Connecting,
    HandshakeFailed,
    ListenerClosed,
    Listening,
    PeerRefused,
)
from nnqpy.locks import Lock
from nnqpy.proto import describe
from nnqpy.transport import inproc, transport_for
from nnqpy.turns import State
from nnqpy.wire.stream import GREETING_SIZE, check_greeting_prefix, greeting, parse_greeting

if TYPE_CHECKING:
    import socket

    from nnqpy.address import InprocAddress, IpcAddress, TcpAddress
    from nnqpy.engine import Engine, Stream
    from nnqpy.transport import Bound, Transport
    from nnqpy.turns import Turns

log = logging.getLogger(__name__)

ACCEPT_BURST: Final = 64
ACCEPT_PAUSE: Final = 0.1
"""Seconds between two tries to accept while the system has no descriptors or memory for us."""
HANDSHAKES_MAX: Final = 1024
LASTING: Final = 1.0
"""Seconds after which a connection counts as a success: the next loss starts the back-off anew."""
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Endpoint:
    """What listeners and dialers share: a URL, a socket, and the greeting."""

    def __init__(self, turns: Turns, address: TcpAddress | IpcAddress) -> None:
        self._turns = turns
        self._core = turns.core
        self._options = turns.core.options
        self._transport: Transport = transport_for(address, turns)
        self._janitor = reactor.janitor()
        self.address = address
        self.closed = False

    @property
    def url(self) -> str:
        """The URL, with the real port."""
        return str(self.address)

    async def _greet(self, sock: socket.socket, direction: Literal["in", "out"], deadline: float) -> Engine | None:
        """Exchange greetings and attach; None, with the event that says why, if that failed.

        The peer is attached to whom the greeting was for: one port may serve several sockets.
        """
        remote = self._transport.remote(sock)
        stream: Stream | None = None
        layer = self._transport.layer
        try:
            self._transport.tune(sock, self._options)
            async with asyncio.timeout_at(deadline):
                if layer is not None:
                    stream = await layer(sock, direction, self._options)
                home, data = await self._exchange(sock if stream is None else stream, direction)
        except ProtocolError as error:
            if error.reason is Reason.LIMIT_PIPES:
                self._refuse(sock, remote, error.reason)
            else:
                self._failed(sock, remote, error.reason, error.detail)
            return None
        except TimeoutError:
            if layer is not None and stream is None:
                reason, what = Reason.TLS_TIMEOUT, "TLS handshake"
            else:
                reason, what = Reason.GREETING_TIMEOUT, "greeting"
            detail = f"no whole {what} within {self._options.handshake_timeout} s (handshake_timeout)"
            self._failed(sock, remote, reason, detail)
            return None
        except TlsError as error:
            self._failed(sock, remote, error.reason, error.detail)
            return None
        except OSError as error:
            self._failed(sock, remote, Reason.RESET, error.strerror or str(error))
            return None
        except asyncio.CancelledError as cancelled:
            if Reason.LIMIT_HANDSHAKES not in cancelled.args:
                sock.close()
                raise
            detail = f"more than {HANDSHAKES_MAX} connections were greeting at once"
            self._failed(sock, remote, Reason.LIMIT_HANDSHAKES, detail)
            return None
        except BaseException:
            sock.close()
            raise
        return home._adopt(sock, stream, direction, remote, data)

    def _adopt(
        self, sock: socket.socket, stream: Stream | None, direction: Literal["in", "out"], remote: str, data: bytes
    ) -> Engine | None:
        """Attach a connection that has greeted, or refuse it."""
        engine = self._transport.engine(
            sock,
            self._transport.codec,
            self._turns,
            address=self.url,
            remote=remote,
            direction=direction,
            protocol=self._core.proto.peer,
            bury=reactor.bury,
            stream=stream,
            data=data,
        )
        engine.on_gone = self._gone
        # Watched first: once attached, another thread may close the socket, and the number is somebody else's.
        self._janitor.watch(self._turns, engine)
        refused = self._turns.attach(engine)
        if refused is None:
            return engine
        self._janitor.unwatch(engine)
        self._refuse(sock, remote, refused)
        return None

    def _refuse(self, sock: socket.socket, remote: str, reason: Reason) -> None:
        sock.close()
        if reason is not Reason.CLOSED_BY_US:
            detail = "this Pair has its one peer already" if reason is Reason.LIMIT_PIPES else "refused"
            self._core.emit(PeerRefused(self.url, remote, reason, detail))

    def _gone(self) -> None:
        """An engine of ours is gone; from any thread."""

    async def _exchange(self, sock: socket.socket | Stream, direction: Literal["in", "out"]) -> tuple[Endpoint, bytes]:
        """Exchange greetings; return whose peer it is, and what came behind its greeting."""
        ours = self._core.proto
        # Whom we greet may send at once, and would lose that by being refused. So while the one place is taken, who
        # dials us is greeted second, and only if the place is free by then.
        guarded = direction == "in" and self._core.refusal() is not None
        if not guarded:
            self._hello(sock)
        data = b""
        while len(data) < GREETING_SIZE:
            chunk = await self._janitor.receive(sock, GREETING_SIZE - len(data))
            if not chunk:
                raise ProtocolError(
                    Reason.GREETING_EOF, f"the peer left after {len(data)} of the {GREETING_SIZE} bytes of its greeting"
                )
            data += chunk
            check_greeting_prefix(data)
        theirs = parse_greeting(data)
        if theirs != ours.peer:
            raise ProtocolError(
                Reason.PROTO_MISMATCH,
                f"the peer is {describe(theirs)}; we are {describe(ours)} and want {describe(ours.peer)}",
            )
        if guarded:
            refused = self._core.refusal()
            if refused is not None:
                raise ProtocolError(refused, "no further peer is taken")
            self._hello(sock)
        return self, b""

    def _hello(self, sock: socket.socket | Stream) -> None:
        hello = greeting(self._core.proto)
        if sock.send(hello) != len(hello):  # 8 bytes into an empty buffer
            raise ProtocolError(Reason.RESET, "the system took no whole greeting")

    def _failed(self, sock: socket.socket, remote: str, reason: Reason, detail: str) -> None:
        sock.close()
        log.debug("handshake-failed address=%s remote=%s reason=%s detail=%s", self.url, remote, reason, detail)
        self._core.emit(HandshakeFailed(self.url, remote, reason, detail))


class StreamListener(Endpoint):
    """Accepts connections at one address."""

    def __init__(self, turns: Turns, address: TcpAddress | IpcAddress) -> None:
        """Bind and listen, in the caller's thread.

        Raises:
            OSError: the system refuses the address.
            AddressError: the host has no address here.
        """
        super().__init__(turns, address)
        self._bound: Bound = self._bind()
        self.address = self._bound.address
        self._greeting: deque[asyncio.Task[None]] = deque()
        self._unwelcomed: dict[asyncio.Task[None], socket.socket] = {}
        """Connections whose greeting has not begun: cancelled now, it would never see its socket."""
        self._throttled = False
        self._closing = Lock()
        self._stopped = False
        """The system's socket is given back."""
        reactor.stray_sockets.add(self._bound.sock)
        self._core.emit(Listening(self.url))
        self._janitor.call(self._watch)

    def _bind(self) -> Bound:
        return self._transport.listen(self._options)

    def close(self) -> None:
        """Accept no more; peers that are attached stay. From any thread, as often as one likes.

        The address is free when this returns.
        """
        with self._closing:
            if self._stopped or self._turns.state is State.FORKED:
                return
            again = self.closed  # or by somebody who was interrupted
            self.closed = True
            self._bound.leave()
            # The loop watches the number, so that is not given back yet: something harmless takes its place.
            os.dup2(self._janitor.fileno(), self._bound.sock.fileno(), inheritable=False)
        if not again:
            self._core.emit(ListenerClosed(self.url, "closed by us"))
        self._janitor.call(self._stop)

    def _watch(self) -> None:
        if not self.closed:
            self._janitor.loop.add_reader(self._bound.sock.fileno(), self._accept)

    def _stop(self) -> None:
        with self._closing:
            if self._stopped:
                return
            self._stopped = True
            self._janitor.loop.remove_reader(self._bound.sock.fileno())
            self._bound.sock.close()
        for task in tuple(self._greeting):
            task.cancel()

    def _accept(self) -> None:
        if self.closed:
            return
        for _ in range(ACCEPT_BURST):
            try:
                sock, _address = self._bound.sock.accept()
            except BlockingIOError:
                # Not with the first that is accepted: what one connection gives back, the next one may use up.
                if self._throttled:
                    self._throttled = False
                    self._core.emit(AcceptResumed(self.url))
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._throttle(error)
                    return
                continue  # that one connection was aborted before we had it
            sock.setblocking(False)
            reactor.stray_sockets.add(sock)
            if len(self._greeting) >= HANDSHAKES_MAX:
                self._greeting.popleft().cancel(Reason.LIMIT_HANDSHAKES)
            task = self._janitor.loop.create_task(self._welcome(sock))
            self._greeting.append(task)
            self._unwelcomed[task] = sock
            task.add_done_callback(self._leave)

    def _throttle(self, error: OSError) -> None:
        loop = self._janitor.loop
        if self.closed:
            return
        loop.remove_reader(self._bound.sock.fileno())
        loop.call_later(ACCEPT_PAUSE, self._watch)
        if not self._throttled:
            self._throttled = True
            text = error.strerror or str(error)
            log.warning("accept-throttled address=%s errno=%s error=%s", self.url, error.errno, text)
            self._core.emit(AcceptThrottled(self.url, error.errno or 0, text, ACCEPT_PAUSE))

    async def _welcome(self, sock: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None  # we are in one
        self._unwelcomed.pop(task, None)
        await self._greet(sock, "in", self._janitor.loop.time() + self._options.handshake_timeout)

    def _leave(self, task: asyncio.Task[None]) -> None:
        with contextlib.suppress(ValueError):
            self._greeting.remove(task)
        sock = self._unwelcomed.pop(task, None)
        if sock is not None:
            sock.close()


class Dialer:
    """Keeps one connection, for ever: attempt, hold, pause, again. How to attempt is the scheme's."""

    def __init__(self, turns: Turns) -> None:
        self.closed = False
        self.up = False
        """Its connection is attached."""
        self.last_error = ""
        """Why the last attempt failed, for a person."""
        self._turns = turns
        self._core = turns.core
        self._options = turns.core.options
        self._janitor = reactor.janitor()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def close(self) -> None:
        """Dial no more; the peer that is attached stays. From any thread, as often as one likes."""
        self.closed = True
        if not self._stopped:
            self._janitor.call(self._stop)

    def _stop(self) -> None:
        if self._task is not None and not self._stopped:
            self._stopped = True
            self._task.cancel()

    def _gone(self) -> None:
        self.up = False
        self._janitor.call(self._changed.set)

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        with contextlib.suppress(asyncio.CancelledError):
            await self._keep_up()

    async def _keep_up(self) -> None:
        options, delay, attempt = self._options, self._options.reconnect_min, 0
        while not self.closed:
            attempt += 1
            pause = delay * random.uniform(0.5, 1)  # noqa: S311  # jitter, no secret
            lasted = 0.0
            if await self._attempt(attempt, pause):
                attached = monotonic()
                while self.up:
                    await self._changed.wait()
                    self._changed.clear()
                lasted = monotonic() - attached
            if lasted >= max(LASTING, delay):
                attempt, delay = 0, options.reconnect_min
                pause = delay * random.uniform(0.5, 1)  # noqa: S311  # jitter, no secret
            else:
                delay = min(delay * 2, options.reconnect_max)
            await asyncio.sleep(pause)

    async def _attempt(self, attempt: int, pause: float) -> bool:
        """Try once; True if the connection is attached (it may be gone again already)."""
        raise NotImplementedError


class StreamDialer(Dialer, Endpoint):
    """Keeps one connection to one address."""

    def __init__(self, turns: Turns, address: TcpAddress | IpcAddress) -> None:
        Endpoint.__init__(self, turns, address)
        Dialer.__init__(self, turns)
        self._janitor.start(self._run())

    async def _attempt(self, attempt: int, pause: float) -> bool:
        self._core.emit(Connecting(self.url, attempt))
        deadline = self._janitor.loop.time() + self._options.handshake_timeout
        try:
            async with asyncio.timeout_at(deadline):
                sock = await self._transport.dial(self._options)
        except OSError as error:
            if isinstance(error, TimeoutError) and error.errno is None:
                error = OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            number = error.errno if isinstance(error.errno, int) and error.errno > 0 else None
            self.last_error = os.strerror(number) if number else error.strerror or str(error)
            log.debug("connect-failed address=%s error=%s", self.url, self.last_error)
            self._core.emit(ConnectFailed(self.url, number, self.last_error, pause))
            return False
        reactor.stray_sockets.add(sock)
        engine = await self._greet(sock, "out", deadline)
        if engine is None:
            return False
        self.up = True
        if engine.gone:  # at once: `_gone` may have come before us
            self.up = False
        self._turns.notify()
        return True

    def _failed(self, sock: socket.socket, remote: str, reason: Reason, detail: str) -> None:
        self.last_error = f"{reason}: {detail}"
        super()._failed(sock, remote, reason, detail)


class InprocListener:
    """Takes the dialers of one name, within this process."""

    def __init__(self, turns: Turns, address: InprocAddress) -> None:
        """Claim the name.

        Raises:
            OSError: EADDRINUSE: another socket has it.
        """
        self.address = address
        self.closed = False
        self.turns = turns
        with _names:
            if address.name in _listeners:
                raise OSError(errno.EADDRINUSE, f"{os.strerror(errno.EADDRINUSE)}: cannot listen at {address}")
            _listeners[address.name] = self
            waiting = _waiting.pop(address.name, [])
        turns.core.emit(Listening(self.url))
        for dialer in waiting:
            dialer.join()

    @property
    def url(self) -> str:
        """The URL."""
        return str(self.address)

    def close(self) -> None:
        """Give the name back; peers that are attached stay. From any thread, as often as one likes."""
        with _names:
            if self.closed or _listeners.get(self.address.name) is not self:  # the latter in a forked child
                return
            self.closed = True
            del _listeners[self.address.name]
        self.turns.core.emit(ListenerClosed(self.url, "closed by us"))


class InprocDialer(Dialer):
    """Keeps one connection to a name of this process, bound already or later."""

    _begun = False

    def __init__(self, turns: Turns, address: InprocAddress) -> None:
        super().__init__(turns)
        self.address = address
        self._joining = Lock()
        self._core.emit(Connecting(self.url, 1))
        self.join()
        self._janitor.start(self._run())

    @property
    def url(self) -> str:
        """The URL."""
        return str(self.address)

    def join(self) -> None:
        """Connect now if the name is bound, in the caller's thread; else when it is."""
        with self._joining:
            if self.up or self.closed:
                return
            with _names:
                listener = _listeners.get(self.address.name)
                if listener is None:
                    waiting = _waiting.setdefault(self.address.name, [])
                    if self not in waiting:
                        waiting.append(self)
            if listener is None:
                self.last_error = "nobody has bound the name yet"
                return
            self.up = True
            failed = inproc.join(listener.turns, self._turns, self.url, on_gone=self._gone)
            if failed is not None:
                self.up = False
                reason, to_us, to_them = failed
                self.last_error = f"{reason}: {to_us}"
                kind = HandshakeFailed if reason is Reason.PROTO_MISMATCH else PeerRefused
                self._core.emit(kind(self.url, "", reason, to_us))
                listener.turns.core.emit(kind(self.url, "", reason, to_them))
        self._janitor.call(self._changed.set)

    def close(self) -> None:
        """Dial no more; the peer that is attached stays. From any thread, as often as one likes."""
        with _names:
            waiting = _waiting.get(self.address.name, [])
            if self in waiting:
                waiting.remove(self)
        super().close()

    async def _attempt(self, attempt: int, pause: float) -> bool:
        if self._begun:
            self._core.emit(Connecting(self.url, attempt))
            self._changed.clear()
            self.join()
        self._begun = True  # the first attempt was made in the caller's thread
        while not self.up and self in _waiting.get(self.address.name, ()):
            await self._changed.wait()
            self._changed.clear()
        return self.up


_names = Lock()
_listeners: dict[str, InprocListener] = {}
_waiting: dict[str, list[InprocDialer]] = {}


def _after_fork() -> None:
    """In a forked child no name is bound; whoever held the lock is not here to give it back."""
    global _names  # noqa: PLW0603  # nobody here can give the old lock back
    _names = Lock()
    _listeners.clear()
    _waiting.clear()


os.register_at_fork(after_in_child=_after_fork)
