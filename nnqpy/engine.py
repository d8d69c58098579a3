"""Engine: one connection: a non-blocking socket, a codec, and the bytes on their way.

`read` is called only by the holder of the in-turn, `push` and `push_rest` only by the holder of the out-turn.
Nothing here waits. The descriptor is given back when both turns have let go of it: a number that is free is
reused at once, and somebody may still be inside a call on it.

What arrived is recorded by the very call that reads it (``list.extend(map(recv, ...))`` is one C call), and
so is what a write got rid of: see the law of ``routing/core.py``.
"""

from __future__ import annotations

import socket
from operator import methodcaller
from typing import TYPE_CHECKING, Final, Literal, Protocol

from nnqpy.accel import total_size
from nnqpy.errors import ProtocolError, Reason, SystemErrors, TlsError, is_the_systems
from nnqpy.events import PeerInfo
from nnqpy.large import LARGE, LOAD, haul, haul_by_calls
from nnqpy.message import Batch
from nnqpy.poller import WRITABLE_ONCE
from nnqpy.routing.core import next_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nnqpy.proto import Proto
    from nnqpy.tls import Certificate
    from nnqpy.turns import Turns
    from nnqpy.wire.codec import Codec

READ_MIN: Final = 16 * 1024
READ_MAX: Final = 512 * 1024
GATHER_FROM: Final = 8192
"""Mean body size from which a batch is written from its parts (``sendmsg``) instead of being joined first."""
STRAY_MAX: Final = 64 * 1024
"""Bytes that a peer may send to a socket that only sends, before it is closed (nng reads and drops without end)."""

UNCLEAN: Final = ", without the word of TLS for it (close_notify): somebody in between may have cut something off"
"""What an end is said to be that a layer knows to be one that anybody can make."""

_unbooked: Final = methodcaller("unbooked")


class Stream(Protocol):
    """What an engine reads and writes, where that is not the system's socket itself but a layer on it (TLS).

    Errors are those of a non-blocking socket: `BlockingIOError` where nothing can be done now.
    """

    @property
    def more(self) -> bool:
        """Whether there may be something to receive of which the descriptor does not tell."""
        ...

    @property
    def unclean(self) -> bool:
        """Whether the end, once it was received, came without the word that it is meant."""
        ...

    @property
    def certificate(self) -> Certificate | None:
        """What the other end has shown of itself."""
        ...

    def fileno(self) -> int:
        """Return the descriptor."""
        ...

    def send(self, data: bytes | memoryview, /) -> int:
        """Take a part of `data`, and return how many bytes; those behind it are offered next, from there on."""
        ...

    def sendmsg(self, parts: Sequence[bytes], /) -> int:
        """Likewise, of several buffers."""
        ...

    def unbooked(self) -> int:
        """Return what a `send` has taken that an interrupt broke off, and forget it."""
        ...

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Return at most `size` bytes; none at the end."""
        ...

    def shutdown(self, how: int, /) -> None:
        """Say that nothing more comes from us, once all that was taken is written; or cut the connection."""
        ...

    def drained(self) -> bool:
        """Whether all that was taken is written; tries to."""
        ...


class Engine:
    """Our half of one connection over a stream socket (tcp, ipc), or over a layer on one."""

    __slots__ = (
        "_appetite",
        "_arrived",
        "_bury",
        "_chunks",
        "_codec",
        "_data",
        "_fault",
        "_haul",
        "_held",
        "_layered",
        "_most",
        "_offer",
        "_place",
        "_recv",
        "_released",
        "_run",
        "_send",
        "_sock",
        "_stray",
        "_streak",
        "_stream",
        "_turns",
        "_uncut",
        "_watched",
        "_whole",
        "address",
        "begun",
        "bytes_received",
        "bytes_sent",
        "direction",
        "fd",
        "finishing",
        "full",
        "gone",
        "id",
        "missed",
        "on_gone",
        "protocol",
        "received",
        "record",
        "remote",
        "rest",
        "sent",
        "stuffed",
    )

    def __init__(
        self,
        sock: socket.socket,
        codec: Codec,
        turns: Turns,
        *,
        address: str,
        remote: str,
        direction: Literal["in", "out"],
        protocol: Proto,
        bury: Callable[[Engine, socket.socket], None],
        data: bytes = b"",
        stream: Stream | None = None,
    ) -> None:
        """Take over a connection that has greeted.

        Args:
            sock: connected and non-blocking; belongs to the engine from now on.
            codec: the framing that the two ends speak.
            turns: the socket that the connection is for.
            address: the URL of the endpoint that it came by.
            remote: who is at the other end.
            direction: who dialled.
            protocol: what the other end is.
            bury: takes the system's socket when both turns have let go of it.
            data: bytes that came right behind the greeting.
            stream: the layer on the socket that the engine speaks through; None: the socket itself.
        """
        self.id = next_id()
        self.address = address
        self.remote = remote
        self.direction: Literal["in", "out"] = direction
        self.protocol = protocol
        self.fd = sock.fileno()
        self.gone = False
        self.finishing = False
        self.on_gone: Callable[[], None] | None = None
        self._sock = sock
        self._stream: Stream | socket.socket = stream or sock
        self._layered = stream
        self._send: Callable[[bytes | memoryview], int] = self._stream.send
        self._recv: Callable[[int], bytes] = self._stream.recv
        self._codec = codec
        self._turns = turns
        self._bury = bury
        self._released = 0

        self.full = False
        self.record: list[int] = []
        self.begun: bytes | None = None
        self.rest: memoryview | bytes = b""
        self._held: list[int] = []
        self._offer = 0
        self._watched = False
        self.sent = 0
        self.bytes_sent = 0
        self.missed = 0

        self._uncut = bool(data)
        """Bytes are here that were not looked at yet: whole frames may be among them."""
        self.stuffed = self._uncut or (stream is not None and stream.more)
        """There may be something to take of which the descriptor does not tell."""
        self._data = data
        self._place = 0
        self._arrived: list[bytes] = []
        self._haul = haul
        if stream is not None:
            turns.reentrant = False  # a layer may have a lock of its own
        self._run = b""
        """The header of the large messages that come, as long as they are of one length; empty: there are none."""
        self._streak = 1
        """How many to expect at once."""
        self._chunks: list[bytes] = []
        self._whole: list[bytes] = []
        self._fault: ProtocolError | None = None
        self._most = turns.recv_max
        """Bytes of the largest frame to accept; negative: any."""
        self._appetite = READ_MIN * 4
        self._stray = 0
        self.received = 0
        self.bytes_received = 0

    # --- out-turn ------------------------------------------------------------------------------------------

    def push(self, bodies: Sequence[bytes], size: int) -> None:
        """Offer messages, `size` bytes of bodies in all, to the kernel, once; what it took stands in `record`."""
        record: list[int] = []
        self.record = record
        codec, number = self._codec, len(bodies)
        self._offer = offer = size + number * codec.header_size
        try:
            if size < GATHER_FROM * number:
                data = self._joined(bodies) if type(bodies) is Batch else codec.join(bodies)
                record.extend(map(self._send, (data,)))
            else:
                record.extend(map(self._stream.sendmsg, (codec.gather(bodies),)))
            if record[0] != offer:
                self._wait_for_room()
        except BlockingIOError:
            self._wait_for_room()
        except OSError as error:
            self._broken(error)

    def _joined(self, bodies: Batch) -> bytes:
        """Return the frames of messages that go to others too: joined once."""
        data = bodies.encoded.get(self._codec)
        if data is None:
            data = bodies.encoded[self._codec] = self._codec.join(bodies)
        return data

    def taken(self, bodies: Sequence[bytes]) -> tuple[int, int]:
        """Read the record: how many of `bodies` went whole, and how many bytes of the next frame."""
        if not self.record:
            self._recall(self.record)
            if not self.record:
                return 0, 0
        if self.record[0] == self._offer:
            return len(bodies), 0
        return self._reach(bodies, self.record[0])

    def _reach(self, bodies: Sequence[bytes], sent: int) -> tuple[int, int]:
        return self._codec.written(bodies, sent)

    def _recall(self, record: list[int]) -> None:
        """Note what a layer has taken in a call that was broken off by an interrupt."""
        if self._layered is not None:
            record.extend(filter(None, map(_unbooked, (self._layered,))))

    def remainder(self, body: bytes, written: int) -> bytes | memoryview:
        """Return what is still to be written of a frame of which `written` bytes went."""
        self._wait_for_room()
        header = self._codec.header(len(body))
        if written < len(header):
            return header[written:] + body
        return memoryview(body)[written - len(header) :]

    def push_rest(self) -> bool:
        """Go on with `rest`; True when nothing of it is left."""
        held = self._held
        if not held:
            self._recall(held)
        while True:
            if held:
                rest = self.rest[held[0] :]
                # A commit: stores only, no call.
                self._held = held = []
                self.rest = rest
            if not self.rest:
                return True
            try:
                held.extend(map(self._send, (self.rest,)))
            except BlockingIOError:
                self._wait_for_room()
                return False
            except OSError as error:
                self._broken(error)
                return False

    def rest_went(self) -> bool:
        """Whether all of `rest` was written, booked or not."""
        held = self._held
        if not held:
            self._recall(held)
        return len(self.rest) == (held[0] if held else 0)

    def _wait_for_room(self) -> None:
        self.full = True
        self._turns.blocked.add(self.id)
        if not self._watched:
            self._turns.out.poller.add(self.fd, WRITABLE_ONCE)
            self._watched = True

    def _broken(self, error: OSError) -> None:
        if not is_the_systems(error):
            raise error
        self.full = True
        if self._turns.core.receives:
            # What the peer sent before it left may still be here: the reader takes it, and finds the end behind it.
            self._turns.hang_up(self)
        else:
            self._reset(error)

    def _reset(self, error: OSError) -> None:
        """Give the connection up. Whoever finds it broken, the reason is the same: it looks at both directions."""
        if not is_the_systems(error):
            raise error
        if isinstance(error, TlsError):
            self._turns.lose(self, error.reason, error.detail)
            return
        mid_frame = self._mid_frame or self.begun is not None
        reason = Reason.RESET_MID_FRAME if mid_frame else Reason.RESET
        self._turns.lose(self, reason, error.strerror or str(error))

    # --- in-turn -------------------------------------------------------------------------------------------

    def read(self, limit: int) -> bool:
        """Read what is there, once, and deliver at most `limit` messages; False when nothing is there."""
        try:
            if self._fault is not None:
                self._turns.lose(self, self._fault.reason, self._fault.detail)
            elif self._run:
                self._read_large(limit)
            else:
                self._read_frames(limit)
        except BlockingIOError:
            self.stuffed = False  # of a layer: it has told of something, and there is nothing
            return False
        except BaseException as error:
            if not is_the_systems(error):
                # What was read and not delivered yet is told of by no descriptor.
                self._turns.ready_in.append(self)
                raise
            self._reset(error)
        return True

    @property
    def heavy(self) -> bool:
        """A large message is on its way, or was the last one."""
        return bool(self._run)

    @property
    def _mid_frame(self) -> bool:
        return bool(self._chunks) or self._place < len(self._data)

    def _end(self) -> None:
        if self._mid_frame:
            self._ended(Reason.EOF_MID_FRAME, "the peer closed the connection within a message")
        else:
            self._ended(Reason.EOF, "the peer closed the connection")

    def _ended(self, reason: Reason, detail: str) -> None:
        unclean = self._layered is not None and self._layered.unclean
        self._turns.lose(self, reason, detail + UNCLEAN if unclean else detail)

    def _read_frames(self, limit: int) -> None:
        codec, header_size = self._codec, self._codec.header_size
        most = self._most
        data, place = self._data, self._place
        out: list[bytes] = []
        fault: ProtocolError | None = None
        chunks: list[bytes] = []
        run = b""
        stuffed = False
        try:
            if not self._uncut:
                chunk = self._next_chunk()
                if not chunk:
                    self._end()
                    return
                if data:
                    # `data` is the start of one frame: complete that one alone, and leave the rest in place.
                    length = codec.peek(data, 0, most)
                    if length is None:
                        data, place = data + chunk, 0
                    elif (missing := header_size + length - len(data)) <= len(chunk):
                        out.append(data[header_size:] + chunk[:missing])
                        data, place = chunk, missing
                    else:
                        data, place = data + chunk, 0
                else:
                    data, place = chunk, 0
            if len(out) < limit:
                place = codec.split(data, place, out, limit - len(out), most)
            stuffed = len(out) >= limit and place < len(data)
            if not stuffed:
                length = codec.peek(data, place, most)
                if length is not None and length >= LARGE:
                    start = place + header_size
                    run, chunks = data[place:start], [data[start:]]
                    # A body beyond a load comes in pieces anyway; compiled, that was seen to cost more page faults.
                    self._haul = haul if length <= LOAD and self._layered is None else haul_by_calls
                    data, place = b"", 0
                elif place:
                    data, place = data[place:], 0
        except ProtocolError as error:
            fault = error
            data, place = b"", 0
        self._streak = 1
        self._commit(out, data, place, chunks, run, [], stuffed=stuffed, fault=fault)

    def _next_chunk(self) -> bytes:
        """Return what the kernel has, also when an interrupted turn read it and got no further."""
        arrived = self._arrived
        if not arrived:
            arrived.extend(map(self._recv, (self._appetite,)))
            size = len(arrived[0])
            if size >= self._appetite:
                self._appetite = min(READ_MAX, self._appetite * 2)
            elif size < self._appetite >> 3:
                self._appetite = max(READ_MIN, self._appetite >> 1)
        return arrived[0]

    def _read_large(self, limit: int) -> None:
        whole, arrived = self._whole, self._arrived
        broken: OSError | None = None
        if not whole:
            try:
                self._haul(self._recv, self.fd, self._run, self._chunks, whole, arrived, min(limit, self._streak))
            except BlockingIOError:
                raise
            except OSError as error:
                broken = error
        self._streak += len(whole)
        # What is none of them is read as any other frame, the next time.
        over = bool(arrived)
        self._commit(whole, b"", 0, [*self._chunks], b"" if over else self._run, arrived, stuffed=over, fault=None)
        if broken is not None:
            self._reset(broken)

    def _commit(
        self,
        out: list[bytes],
        data: bytes,
        place: int,
        chunks: list[bytes],
        run: bytes,
        arrived: list[bytes],
        *,
        stuffed: bool,
        fault: ProtocolError | None,
    ) -> None:
        core = self._turns.core
        uncut = stuffed and not arrived
        more = self._layered is not None and self._layered.more
        if not out:
            # A commit: stores only, no call.
            self._data, self._place = data, place
            self._chunks, self._run = chunks, run
            self._uncut, self._fault = uncut, fault
            self.stuffed = stuffed or more
            self._arrived = arrived
            if fault is not None:
                self._turns.lose(self, fault.reason, fault.detail)
            return
        bodies = iter(core.deliver(self, out))
        number, size = len(out), total_size(out)
        with core.lock:
            received, bytes_received = core.received + number, core.bytes_received + size
            mine, my_bytes = self.received + number, self.bytes_received + size
            # A commit: stores only, no call, so no signal handler runs in between.
            core.staged = bodies
            core.received, core.bytes_received = received, bytes_received
            self.received, self.bytes_received = mine, my_bytes
            self._data, self._place = data, place
            self._chunks, self._run = chunks, run
            self._uncut, self._fault = uncut, fault
            self.stuffed = stuffed or more
            self._arrived, self._whole = arrived, []
            core.inbox.extend(core.staged)
        if fault is not None:
            self._turns.lose(self, fault.reason, fault.detail)

    def drop_stray(self) -> None:
        """Read and drop what a peer sends to a socket that only sends; too much of it ends the connection."""
        try:
            self._drop_all()
        except BlockingIOError:
            return
        except OSError as error:
            self._reset(error)

    def _drop_all(self) -> None:
        while size := len(self._recv(READ_MIN)):
            self._stray += size
            if self._stray > STRAY_MAX:
                fault = stray(self.protocol)
                self._turns.lose(self, fault.reason, fault.detail)
                return
        self._end()

    def ended(self) -> bool:
        """Whether the next read would find the end, with nothing before it."""
        try:
            return not self._stream.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError as error:
            if not is_the_systems(error):
                raise
            return True

    # --- any thread ----------------------------------------------------------------------------------------

    def info(self) -> PeerInfo:
        """Describe the peer as it is now."""
        return PeerInfo(
            id=self.id,
            address=self.address,
            remote=self.remote,
            protocol=self.protocol.label,
            direction=self.direction,
            state="closed" if self.gone else "open",
            sent=self.sent,
            received=self.received,
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            backlog=int(self.begun is not None),
            missed=self.missed,
            certificate=None if self._layered is None else self._layered.certificate,
        )

    def cut(self) -> None:
        """End the conversation at once; the descriptor stays until both turns let go."""
        with SystemErrors():
            self._stream.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Say that nothing more comes from us; what was written still arrives."""
        self.finishing = True
        with SystemErrors():
            self._stream.shutdown(socket.SHUT_WR)

    def release_in(self) -> None:
        """The in-turn lets go of the descriptor."""
        self._release(1)

    def release_out(self) -> None:
        """The out-turn lets go of the descriptor."""
        self._release(2)

    def drained(self) -> bool:
        """Whether the kernel has all that was taken for this connection."""
        return self._layered is None or self._layered.drained()

    def _release(self, turn: int) -> None:
        with self._turns.core.lock:
            before = self._released
            self._released = before | turn
        if before != 3 and before | turn == 3:
            self._bury(self, self._sock)

    def forget(self) -> None:
        """In a forked child: give our copy of the descriptor back, without a word to the peer."""
        with SystemErrors():
            self._sock.close()


def stray(protocol: Proto) -> ProtocolError:
    """Return the error that says that a peer has sent much that it must not."""
    return ProtocolError(
        Reason.UNEXPECTED_DATA, f"more than {STRAY_MAX} bytes from a {protocol.label}, which must not send"
    )
