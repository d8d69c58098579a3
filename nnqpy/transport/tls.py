"""tls+tcp: a TLS connection that looks to the engine like a non-blocking socket.

Ciphertext goes through two ``ssl.MemoryBIO``; the engine reads in one thread and writes in another at the same time, so
one lock is around the ``SSLObject`` (CPython before 3.13 has none of its own and gives the interpreter lock up inside).

**What was encrypted cannot be taken back**: a second time it would be other bytes. So a chunk whose ciphertext the kernel
took in part counts as taken but for its last byte, which is *owed*: the engine offers it again when there is room, and by
then it needs no encrypting any more.

**What a call of ssl has done cannot always be told by its return**: it looks for signals at its end
(``_ssl.c``: PyErr_CheckSignals), and a handler that raises takes the count along. So what was done is read off the objects
themselves: a piece was encrypted if ciphertext is there, a record was taken if fewer bytes of it are pending. Everything
else is recorded as in the engine: by the C call that does it, or by stores with no call between them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl
from functools import cache
from itertools import cycle
from operator import call
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from nnqpy.errors import Reason, SystemErrors, TlsError, is_the_systems
from nnqpy.locks import Lock
from nnqpy.tls import Certificate, TlsConfig
from nnqpy.transport import tcp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nnqpy.address import TcpAddress
    from nnqpy.options import Options

    Bytes = bytes | bytearray | memoryview

__all__ = ["TlsStream", "dress", "layer", "listen", "tls_error"]

RECORD: Final = 16 * 1024
"""Plaintext bytes of a record, at most; ``SSLObject.write`` makes one record a call."""
CHUNK: Final = 256 * 1024
"""Plaintext bytes that are encrypted ahead of the kernel, at most (but see `WHOLE`)."""
WHOLE: Final = 4 * 1024 * 1024
"""``bytes`` up to this size are one chunk.

They may be many frames, and a short count must not end where a frame ends: the engine would take that for a good place
to go on with another message, or with none. One byte less than all of them is within the last frame.
"""
CRUMB: Final = 1024
"""Parts below this size share a record with what comes behind them."""
RAW_LEAST: Final = 64 * 1024
RAW_MOST: Final = 256 * 1024
"""Bytes of ciphertext read at a time."""
SCRATCH: Final = RAW_MOST + 2 * RECORD
"""Room for the plaintext of one read, with the record that an earlier one has begun."""
BARREN_MAX: Final = 128 * 1024
"""Bytes of ciphertext without one of plaintext that a peer may send: tickets, key updates, empty records."""
NOTICES_MAX: Final = 16 * 1024
"""Bytes that TLS itself wants to say (alerts, answers to key updates) and the peer does not take, at most."""
HANDSHAKE_READ: Final = 2 * RECORD
HANDSHAKE_MAX: Final = 256 * 1024
"""Bytes of a peer's part of the handshake: OpenSSL itself takes no chain of more than 100 KiB."""

_SENTINEL: Final = 0xA5
_NOTHING: Final = memoryview(b"")
_NONE: Final = -1

# As it is used here: with a function of one argument, and that. A type checker asks for the general case.
_call = cast("Callable[[Callable[[Any], Any], Any], Any]", call)
_spare: list[memoryview] = []
"""Rooms for plaintext that nobody uses: as many as were in use at once."""


class TlsStream:
    """One TLS connection whose handshake is done.

    `recv` is called by one thread at a time, and so is `send`, with `sendmsg` and `unbooked`; the two may run at once.

    Attributes:
        more: after a `recv` that returned something: another one finds something although the descriptor tells of nothing.
        unclean: the peer's end came without a word of TLS (no close_notify): somebody may have cut the rest off.
        certificate: the peer's, or None if it showed none.
        version: as ``"TLSv1.3"``.
    """

    __slots__ = (
        "__weakref__",
        "_barren",
        "_before",
        "_cipher",
        "_fault",
        "_fed",
        "_filled",
        "_gone",
        "_incoming",
        "_lock",
        "_log",
        "_notices",
        "_outgoing",
        "_over",
        "_parted",
        "_plain",
        "_plan",
        "_raw",
        "_scratch",
        "_sink",
        "_sock",
        "_start",
        "_tasted",
        "_tls",
        "_verbs",
        "_weight",
        "_went",
        "_wire",
        "certificate",
        "more",
        "unclean",
        "version",
    )

    def __init__(
        self, sock: socket.socket, tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
    ) -> None:
        """Take a connection over.

        Args:
            sock: connected and non-blocking; belongs to the stream from now on.
            tls: its handshake is done.
            incoming: what `tls` reads.
            outgoing: what `tls` writes; empty.
        """
        self._sock = sock
        self._tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        self._lock = Lock()
        """Around `_tls` and its two ends. Whoever takes it tidies first."""
        self._wire = Lock()
        """Around what goes into the socket, so around the fields of the next group; taken before `_lock`."""
        self.certificate = Certificate.of(tls)
        self.version = tls.version() or ""

        self._cipher: list[bytes | memoryview] = []
        """Ciphertext that the kernel has not taken."""
        self._went: list[int] = []
        """How much of it the last write got rid of, not yet booked."""
        self._weight = 0
        """Bytes of plaintext that are on their way when all of `_cipher` is, and were not counted before."""
        self._gone = 0
        """Bytes of plaintext whose ciphertext the kernel has, of the `send` under way."""
        self._plan: list[int] = []
        """The lengths of the pieces that are being encrypted; empty: none are."""
        self._log: list[Any] = []
        """What came of them: a count and a record for each, or only the record, of one that was interrupted."""
        self._notices: list[bytes | memoryview] = []
        """What TLS itself wants to say, behind all that was encrypted."""
        self._sink: list[Any] = self._notices
        """Whose the ciphertext is that is found in `_outgoing`."""
        self._verbs: tuple[Callable[[Any], Any], ...] = (tls.write, outgoing.read)
        self._parted = False
        """close_notify was said: nothing more is encrypted."""

        # Bytes that came right behind the handshake are read as all others.
        rest = incoming.read()
        self._raw: list[bytes] = [rest] if rest else []
        """Ciphertext read from the kernel and not yet made plaintext of: one chunk, or none."""
        self._fed: list[int] = []
        """Not empty: `_raw` was handed to `_tls`."""
        self._scratch: memoryview | None = None
        self._filled = 0
        """Bytes of plaintext in `_scratch`."""
        self._before = _NONE
        """Bytes pending when a read from `_tls` began; `_NONE`: no read is under way."""
        self._tasted: list[int] = []
        self._plain = b""
        self._start = 0
        """What of `_plain` was given out."""
        self._barren = 0
        self._fault: TlsError | None = None
        self._over = False
        self.more = bool(rest)
        self.unclean = False

    # --- out -----------------------------------------------------------------------------------------------

    def send(self, data: Bytes) -> int:
        """Take `data`, or a beginning of it; what comes next must go on exactly behind that.

        ``bytes`` of up to `WHOLE` are taken whole or but for their last byte.

        Raises:
            BlockingIOError: nothing can be taken now.
            OSError: the connection is broken.
        """
        whole = type(data) is bytes and len(data) <= WHOLE
        return self._take((data,), WHOLE if whole else CHUNK)

    def sendmsg(self, parts: Sequence[Bytes]) -> int:
        """Take what is in `parts`, or a beginning of it, as `send`; a short count ends within a frame.

        Args:
            parts: header, body, header, body ...
        """
        return self._take(parts, CHUNK)

    def unbooked(self) -> int:
        """Return what an interrupted `send` would have returned, and forget it; 0 if there was none."""
        with self._wire:
            self._settle()
        return self._told()

    def _take(self, parts: Sequence[Bytes], limit: int) -> int:
        try:
            with self._wire:
                self._write(parts, limit)
        except OSError as error:
            if not is_the_systems(error) or (not self._gone and self._weight < 2):
                raise
            # Something was taken, and that must be told now; the connection will still be full, or broken.
        return self._told()

    def _told(self) -> int:
        """Return how much was taken, which the caller knows from now on; the byte that is owed stays behind."""
        taken = self._gone
        owed = self._weight
        if owed:
            taken += owed - 1
            owed = 1
        # A commit: stores only, no call.
        self._gone = 0
        self._weight = owed
        return taken

    def _write(self, parts: Sequence[Bytes], limit: int) -> None:
        self._settle()
        self._flush()
        skip = self._gone  # what was owed, or taken by an interrupted call that nobody has asked about
        if skip:
            parts = (memoryview(b"".join(parts) if len(parts) > 1 else parts[0])[skip:],)
        for pieces in _chunks(parts, limit):
            self._encrypt(pieces)
            self._flush()

    def _encrypt(self, pieces: list[Bytes]) -> None:
        """Make the ciphertext of one chunk; `_cipher` is empty before."""
        with self._lock:
            self._tidy()
            if self._parted:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            steps: list[Any] = [-1] * (2 * len(pieces))
            steps[::2] = pieces
            plan = list(map(len, pieces))
            log: list[Any] = []
            # A commit: stores only, no call. What TLS itself has to say was made before, and goes first.
            self._cipher = self._notices
            self._notices = []
            self._plan = plan
            self._log = self._sink = log
            try:
                log.extend(map(_call, cycle(self._verbs), steps))
            except ssl.SSLError as error:
                raise tls_error(error) from error
            self._book()

    def _tidy(self) -> None:
        """Give what is found in `_outgoing` to whom it belongs; `_lock` held."""
        if self._outgoing.pending:
            self._sink.extend(map(self._outgoing.read, (-1,)))

    def _book(self) -> None:
        """Move what was encrypted to what is to be written; both locks held."""
        self._tidy()
        records = [one for one in self._log if isinstance(one, bytes)]
        cipher = self._cipher + records
        weight = self._weight + sum(self._plan[: len(records)])
        # A commit: stores only, no call.
        self._cipher = cipher
        self._weight = weight
        self._plan = []
        self._log = []
        self._sink = self._notices

    def _settle(self) -> None:
        """Book what an interrupted call has left; `_wire` held."""
        if self._plan:
            with self._lock:
                self._book()
        if self._went:
            self._count()

    def _flush(self) -> None:
        """Write `_cipher`, all of it or until the kernel takes no more (BlockingIOError); `_wire` held."""
        while self._cipher:
            self._went.extend(map(self._sock.sendmsg, (self._cipher,)))
            self._count()

    def _count(self) -> None:
        cipher = _behind(self._cipher, self._went[0])
        gone = self._gone
        weight = self._weight
        if not cipher:
            gone, weight = gone + weight, 0
        # A commit: stores only, no call.
        self._cipher = cipher
        self._gone = gone
        self._weight = weight
        self._went = []

    def _answer(self) -> None:
        """Try to write what TLS itself has to say, unless a `send` is half done: the next one takes it along."""
        with self._wire:
            if self._plan or self._cipher:
                return
            with self._lock:
                self._tidy()
                # A commit: stores only, no call.
                self._cipher = self._notices
                self._notices = []
                self._sink = self._notices
            self._offer()

    def _offer(self) -> None:
        with SystemErrors():
            self._flush()  # as far as it goes

    # --- in ------------------------------------------------------------------------------------------------

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return at most `size` bytes, or ``b""`` at the end.

        Args:
            size: at least 1.
            flags: ``socket.MSG_PEEK`` leaves what is returned in place; `more` then tells of it.

        Raises:
            BlockingIOError: nothing is here.
            TlsError: the peer, or somebody in between, broke TLS; everything before that was returned.
            OSError: the connection is broken.
        """
        if not self._plain:
            self._fill(size)
        plain = self._plain
        start = self._start
        end = start + size
        chunk = plain if not start and end >= len(plain) else plain[start:end]
        if flags & socket.MSG_PEEK:
            self.more = bool(chunk)
            return chunk
        if end >= len(plain):
            plain, end = b"", 0
        # The end and a fault are known here, and no descriptor tells of them.
        more = bool(chunk) and (bool(plain) or self._over or self._fault is not None)
        # A commit: stores only, no call.
        self._plain = plain
        self._start = end
        self.more = more
        return chunk

    def _fill(self, size: int) -> None:
        """Make plaintext of what the kernel has; none is the end."""
        while True:
            if self._fault is not None:
                raise TlsError(self._fault.reason, self._fault.detail)
            if self._over:
                return
            if not self._raw:
                self._raw.extend(map(self._sock.recv, (max(RAW_LEAST, min(size, RAW_MOST)),)))
            with self._lock:
                self._decrypt()
            if self._notices:
                self._answer()
            if self._plain:
                return

    def _decrypt(self) -> None:
        """Make plaintext of `_raw`; `_lock` held."""
        self._tidy()
        if not self._fed:
            self._fed.extend(map(self._incoming.write, self._raw))
        if self._scratch is None:
            self._scratch = _spare.pop() if _spare else memoryview(bytearray(SCRATCH))
        scratch = self._scratch
        over = False
        fault: TlsError | None = None
        self._sink = self._notices
        try:
            over = self._drain(scratch)
        except ssl.SSLWantReadError:
            pass  # the record is not whole yet
        except ssl.SSLZeroReturnError:
            over = True  # so it is told once we have said ours
        except ssl.SSLError as error:
            fault = tls_error(error)
        self._tidy()
        came = len(self._raw[0])
        plain = bytes(scratch[: self._filled])
        barren = 0 if plain else self._barren + came
        unclean = not came and not over
        if fault is None and (barren > BARREN_MAX or sum(map(len, self._notices)) > NOTICES_MAX):
            fault = TlsError(Reason.TLS_BAD_RECORD, "the peer floods us with TLS records that carry nothing")
        # A commit: stores only, no call.
        self._plain = plain
        self._start = 0
        self._filled = 0
        self._before = _NONE
        self._tasted = []
        self._raw = []
        self._fed = []
        self._scratch = None
        self._barren = barren
        self._fault = fault
        self._over = over or unclean
        self.unclean = unclean
        _spare.append(scratch)

    def _drain(self, scratch: memoryview) -> bool:
        """Decrypt until nothing whole is left; True at the peer's close_notify.

        The first byte of a record is read alone: from then on it is known how many are pending, so however the next read
        ends, the difference tells what it took. Of a record of a single byte nothing is pending after that; then the place
        in `scratch` tells, unless the byte is the sentinel itself (and a signal came within that one call of ssl).
        """
        tls, incoming = self._tls, self._incoming
        read: Callable[[int, memoryview], int] = tls.read  # type: ignore[assignment]  # into a buffer: it counts
        again = self._before >= 0
        if again:
            self._recover(scratch)
        while True:
            filled = self._filled
            pending = tls.pending()
            if pending:
                self._before = pending
                filled += read(pending, scratch[filled : filled + pending])
            elif again or incoming.pending:
                # An interrupted read may have met the end, or a fault, that nothing else tells of: ask once more.
                again = False
                scratch[filled] = _SENTINEL
                self._before = 0
                self._tasted.extend(map(read, (1,), (scratch[filled : filled + 1],)))
                if not self._tasted[0]:
                    return True
                filled += 1
            else:
                return False
            # A commit: stores only, no call.
            self._filled = filled
            self._before = _NONE
            self._tasted = []

    def _recover(self, scratch: memoryview) -> None:
        """Find out what an interrupted read took."""
        before, filled = self._before, self._filled
        pending = self._tls.pending()
        if before:
            filled += before - pending
        elif self._tasted == [1] or pending or scratch[filled] != _SENTINEL:
            filled += 1
        # A commit: stores only, no call.
        self._filled = filled
        self._before = _NONE
        self._tasted = []

    # --- any thread ----------------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """End our half (``socket.SHUT_WR``), with a close_notify if it can be written at once; or cut both.

        What was taken and is not written yet still goes: the half ends when `drained` has seen to that.
        """
        if how != socket.SHUT_WR or self.drained():
            self._sock.shutdown(how)

    def drained(self) -> bool:
        """Write what was taken, and then a close_notify; True when nothing is left of it, or it can never be written."""
        try:
            with self._wire:
                self._settle()
                self._flush()
        except BlockingIOError:
            return False
        except OSError as error:
            if not is_the_systems(error):
                raise
            return True
        if not self._parted:
            self._part()
        return True

    def _part(self) -> None:
        with self._lock:
            self._tidy()
            # To say it takes a look at what has come, too, and plaintext would be lost by that: then the end is unclean.
            said = self._parted or self._before >= 0 or bool(self._incoming.pending)
            self._parted = True
            if not said:
                self._sink = self._notices
                self._say_goodbye()
        self._answer()

    def _say_goodbye(self) -> None:
        with SystemErrors():
            self._tls.unwrap()  # said, and not yet answered; or the connection is beyond that

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()

    def getpeername(self) -> Any:  # noqa: D102  # as the socket's own
        return self._sock.getpeername()

    def gettimeout(self) -> float:
        """Return 0.0: it never waits, and an event loop that asks may read it as any socket."""
        return 0.0

    def close(self) -> None:
        """Give the descriptor back, without a word to the peer."""
        self._sock.close()


def listen(address: TcpAddress, options: Options) -> tcp.Bound:
    """Bind and listen as tcp does, if there is a certificate to show.

    Raises:
        ValueError: there is none.
        OSError, AddressError: as `tcp.listen`.
    """
    if options.tls is None:
        raise ValueError(f"a listener at {address} needs tls=TlsConfig(cert=..., key=...): it shows a certificate")
    options.tls.server_context()
    return tcp.listen(address, options)


async def layer(
    address: TcpAddress, sock: socket.socket, direction: Literal["in", "out"], options: Options
) -> TlsStream:
    """Do the handshake on a new connection of one address; as `dress`."""
    return await dress(
        sock,
        options.tls or _everybodys(),
        server_side=direction == "in",
        server_name=address.host,
        loop=asyncio.get_running_loop(),
    )


@cache
def _everybodys() -> TlsConfig:
    """What a dialer has that was given nothing: the system's authorities."""
    return TlsConfig()


async def dress(
    sock: socket.socket,
    config: TlsConfig,
    *,
    server_side: bool,
    server_name: str,
    loop: asyncio.AbstractEventLoop,
) -> TlsStream:
    """Do the handshake on a new connection, and return the stream over it. The caller sets the deadline.

    With TLS 1.3 a client is done before the server has looked at its certificate, and learns of a refusal only with its
    first `recv`. So a connection is good when something has come over it, not when this returns.

    Args:
        sock: connected and non-blocking; stays the caller's to close if this raises.
        config: who we are and whom we trust.
        server_side: we accepted.
        server_name: the host that was dialled, for a client; `TlsConfig.server_name` goes before.
        loop: the running loop.

    Raises:
        TlsError: no TLS came of it.
        OSError: the connection broke.
    """
    context = config.server_context() if server_side else config.client_context()
    name = None if server_side else (config.server_name or server_name)
    if context.check_hostname and not name:
        raise TlsError(Reason.TLS_HOSTNAME, "no host name to hold the certificate against: give server_name")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        tls = context.wrap_bio(incoming, outgoing, server_side=server_side, server_hostname=name or None)
    except (ValueError, TypeError) as error:  # the latter for a null byte
        raise TlsError(Reason.TLS_HOSTNAME, f"{name!r} is no host name: {error}") from error
    came = 0
    while True:
        done = True
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            done = False
        except ssl.SSLError as error:
            if outgoing.pending:
                try:
                    sock.send(outgoing.read())  # the alert that says why; it fits, or is not worth a wait
                except OSError:
                    pass
            raise tls_error(error, handshaking=True) from error
        if outgoing.pending:
            await loop.sock_sendall(sock, outgoing.read())
        if done:
            return TlsStream(sock, tls, incoming, outgoing)
        data = await loop.sock_recv(sock, HANDSHAKE_READ)
        came += len(data)
        if not data:
            raise TlsError(Reason.TLS_HANDSHAKE, f"the peer left within the handshake, after {came} bytes of it")
        if came > HANDSHAKE_MAX:
            raise TlsError(Reason.TLS_HANDSHAKE, f"more than {HANDSHAKE_MAX} bytes, and no end of the handshake")
        incoming.write(data)


def tls_error(error: ssl.SSLError, *, handshaking: bool = False) -> TlsError:
    """Say in our words what went wrong; `error` holds no secrets, only OpenSSL's names for things."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = _VERDICTS.get(error.verify_code, Reason.TLS_CERT_UNTRUSTED)
        return TlsError(reason, f"the peer's certificate is refused: {error.verify_message}")
    word = error.reason or ""
    found = re.match(r"(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?(.*)", word)
    if found:
        said = found[1].replace("_", " ").lower()
        return TlsError(_ALERTS.get(found[1], Reason.TLS_ALERT), f"the peer refused with the alert {said!r}")
    text = word.replace("_", " ").lower() or "no reason given"
    if word in _WITHOUT:
        return TlsError(Reason.TLS_CERT_REQUIRED, "the peer showed no certificate, and we require one")
    if word in _STRANGERS:
        return TlsError(Reason.TLS_BAD_RECORD, f"the peer does not speak TLS, but something else ({text})")
    if handshaking and word not in _BAD_RECORDS:
        return TlsError(Reason.TLS_HANDSHAKE, text)
    return TlsError(Reason.TLS_BAD_RECORD, text)


# X509_V_ERR_* of openssl/x509_vfy.h
_VERDICTS: Final = {
    9: Reason.TLS_CERT_EXPIRED,  # not yet valid
    10: Reason.TLS_CERT_EXPIRED,
    62: Reason.TLS_HOSTNAME,
    64: Reason.TLS_HOSTNAME,  # of an IP address
}
_ALERTS: Final = {
    "CERTIFICATE_EXPIRED": Reason.TLS_CERT_EXPIRED,
    "CERTIFICATE_REQUIRED": Reason.TLS_CERT_REQUIRED,
    "UNKNOWN_CA": Reason.TLS_CERT_UNTRUSTED,
    "BAD_CERTIFICATE": Reason.TLS_CERT_UNTRUSTED,
    "UNSUPPORTED_CERTIFICATE": Reason.TLS_CERT_UNTRUSTED,
    "CERTIFICATE_REVOKED": Reason.TLS_CERT_UNTRUSTED,
    "CERTIFICATE_UNKNOWN": Reason.TLS_CERT_UNTRUSTED,
}
_WITHOUT: Final = {"PEER_DID_NOT_RETURN_A_CERTIFICATE"}
_STRANGERS: Final = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST"}
_BAD_RECORDS: Final = {
    "BAD_LENGTH",
    "BAD_PACKET_LENGTH",
    "BAD_RECORD_TYPE",
    "DATA_LENGTH_TOO_LONG",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
    "ENCRYPTED_LENGTH_TOO_LONG",
    "EXCESSIVE_MESSAGE_SIZE",
    "INVALID_CCS_MESSAGE",
    "LENGTH_MISMATCH",
    "LENGTH_TOO_SHORT",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",  # what OpenSSL 3.6 makes of some of these
    "RECORD_LENGTH_MISMATCH",
    "RECORD_TOO_SMALL",
    "UNEXPECTED_CCS_MESSAGE",
    "UNEXPECTED_MESSAGE",
    "UNEXPECTED_RECORD",
}


def _chunks(parts: Sequence[Bytes], limit: int) -> Iterator[list[Bytes]]:
    """Cut `parts` into pieces of a record each, and these into chunks of about `limit` bytes.

    A chunk ends with a part, or well behind a part's beginning: see `WHOLE`.
    """
    pieces: list[Bytes] = []
    size = 0
    crumbs = b""
    for part in parts:
        view = memoryview(part)
        length = len(view)
        if length + len(crumbs) < CRUMB:
            crumbs += view
            continue
        place = 0
        if crumbs:
            place = RECORD - len(crumbs)
            pieces.append(crumbs + view[:place])
            size += len(pieces[-1])
            crumbs = b""
        while place < length:
            if size >= limit:
                yield pieces
                pieces, size = [], 0
            pieces.append(view[place : place + RECORD])
            size += RECORD
            place += RECORD
        if size >= limit:
            yield pieces
            pieces, size = [], 0
    if crumbs:
        pieces.append(crumbs)
    if pieces:
        yield pieces


def _behind(parts: list[bytes | memoryview], sent: int) -> list[bytes | memoryview]:
    """Return what is left of `parts` when `sent` bytes of them went."""
    for place, part in enumerate(parts):
        if sent < len(part):
            return [memoryview(part)[sent:], *parts[place + 1 :]]
        sent -= len(part)
    return []
