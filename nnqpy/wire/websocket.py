"""SP over WebSocket: an HTTP upgrade, then one binary message for each SP message, header and body together.

The frames are made and parsed by the package ``websockets`` (its sans-I/O half); here stand the rules that SP adds, and
those of RFC 6455 that it leaves open. There is no greeting: the upgrade names the pattern, as the subprotocol
``<name>.sp.nanomsg.org``, where the name is that of the side that listens.

What one side of `WebSocket` writes the other side only reads, so receiving and sending may go on in two threads.
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal, TypeVar, cast

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake, PayloadTooBig
from websockets.exceptions import ProtocolError as BadFrame
from websockets.frames import Close, CloseCode, Frame, Opcode, apply_mask  # type: ignore[attr-defined]  # in C, if it is there
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.streams import StreamReader
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from nnqpy.errors import ProtocolError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

__all__ = [
    "CONTROLS_MAX",
    "FRAGMENT_SIZE",
    "HEADERS_MAX",
    "HEAD_MAX",
    "LINE_MAX",
    "SMALL_FRAGMENT",
    "SMALL_FRAGMENTS_MAX",
    "ClientUpgrade",
    "Refused",
    "ServerUpgrade",
    "Upgraded",
    "WebSocket",
]

LINE_MAX: Final = 8192
"""The most bytes of a line of a head, its end included."""
HEADERS_MAX: Final = 64
"""The most headers."""
HEAD_MAX: Final = 16384
"""The most bytes of a head, counted while they come."""
FRAGMENT_SIZE: Final = 1 << 20
"""Bytes of a message that go into one frame. nng refuses larger ones (its ``ws:rxframe-max``), and sends up to these
itself; smaller ones cost every receiver a header and a piece to join for nothing."""
SMALL_FRAGMENT: Final = 4096
"""Fragments of less than this count as small: what it takes to keep one is no more a trifle beside what it brings."""
SMALL_FRAGMENTS_MAX: Final = 1024
"""The most small fragments in a message. Larger ones are bounded by the size of the message alone: nng sends 64 KiB at a
time, and a message of 100 MiB is no flood."""
CONTROLS_MAX: Final = 4096
"""The most pings and pongs in a row, with no part of a message between them and not a byte from us."""

_log: Final = logging.getLogger(__name__)

_END: Final = b"\r\n\r\n"
_STRAY: Final = re.compile(rb"\0|(?<!\r)\n|\r(?!\n|\Z)")  # what no head has; a last \r may still get its \n
_TARGET: Final = re.compile(rb"/[!-~]*")  # a path in printable ASCII: no absolute form, which is for proxies
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")
_STATUS: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9])( .*)?")
_ORIGIN: Final = re.compile(r"(https?)://([^/?#@\s]+)")
_DEFAULT_PORT: Final = {"http": ":80", "https": ":443"}
_NAME: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"[\t -~]*")
_STRANGERS: Final = ((b"\0", "the start of an SP greeting, as over tcp://"), (b"\x16\x03", "TLS, as over wss://"))
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_BESIDE: Final = {  # what a refusal says beside its text
    405: {"Allow": "GET"},
    426: {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
}
_HINTS: Final = {
    400: "; most often the pattern that listens there is no peer of ours",
    401: "; it wants credentials",
    403: "; it wants other credentials, or another Origin",
    404: "; nobody listens at this path, or not for this host",
}

_FINAL_BINARY: Final = 0x82  # the first byte of a message in one frame
_FINAL: Final = 0x80
_RESERVED: Final = 0x70
_CONTROL: Final = 0x08
_LENGTH: Final = 0x7F  # in the second byte: the length; or 126 or 127, and it stands in the 2 or 8 bytes behind
_CONTROL_MAX: Final = 125  # bytes in a control frame
_DETAIL_MAX: Final = 300  # characters of a detail
_TEXT_MAX: Final = 120  # characters of a reason that a close frame has room for
_OPCODES: Final = frozenset(Opcode)

_T = TypeVar("_T")


# ------------------------------------------------------------------------------------------------------ the upgrade


@dataclass(frozen=True, slots=True)
class Upgraded:
    """An upgrade that both sides agree on.

    Attributes:
        path: what was dialled, without its query.
        query: what stands behind the ``?``, or nothing.
        host: the Host header.
        subprotocol: ``<name>.sp.nanomsg.org``.
        rest: the bytes that came behind the head: the first ones for `WebSocket.receive`.
    """

    path: str
    query: str
    host: str
    subprotocol: str
    rest: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """An upgrade that comes to nothing; the connection is to be closed, once what is `to_send` went.

    Attributes:
        status: the HTTP status, ours to the client or the server's to us; 0 if what came is no HTTP response.
        reason: WS_HTTP, or PROTO_MISMATCH where the subprotocol is what does not fit.
        detail: what was found, for a person.
    """

    status: int
    reason: Reason
    detail: str


class _Upgrade(ABC):
    """What both sides do: collect a head, and say what follows from it once."""

    __slots__ = ("_head", "_pending", "result")

    def __init__(self) -> None:
        self.result: Upgraded | Refused | None = None
        self._head = _Head()
        self._pending = b""

    def to_send(self) -> bytes:
        """Return what is to be written and was not returned before."""
        data, self._pending = self._pending, b""
        return data

    def receive(self, data: bytes) -> None:
        """Take bytes of the connection in; they are ignored if the upgrade is refused already.

        Raises:
            ValueError: it is agreed on already, so the bytes are for `WebSocket.receive`.
        """
        agreed = isinstance(self.result, Upgraded)
        if agreed:
            raise ValueError("the upgrade is over: these bytes are for WebSocket.receive")
        if self.result is not None:
            return
        try:
            head = self._head.receive(data)
            if head is not None:
                self.result = self._judge(head)
        except _Fault as fault:
            self.result = self._refuse(fault)

    @abstractmethod
    def _judge(self, head: bytes) -> Upgraded:
        """Return what was agreed on; raises `_Fault` if nothing was."""
        ...

    @abstractmethod
    def _refuse(self, fault: _Fault) -> Refused:
        """Return what is the matter, having said it to the peer where that is our part."""
        ...


class ServerUpgrade(_Upgrade):
    """The side that listens: reads one request and answers it.

    Args:
        find: gets the path (without its query) and the Host header of a request; returns the subprotocol of who listens
            there, or `None` if nobody does.
        origins: the web pages from elsewhere that may connect: values of the Origin header, as
            ``"https://example.com"``, or ``"*"`` for all. A page of the same host and port always may, and so may a
            program that is no browser and sends no Origin.

    Attributes:
        result: `None` until the request is here.
    """

    __slots__ = ("_find", "_origins")

    def __init__(self, find: Callable[[str, str], str | None], *, origins: Iterable[str] = ()) -> None:
        super().__init__()
        self._find = find
        self._origins = frozenset(origin.lower() for origin in ([origins] if isinstance(origins, str) else origins))

    def _judge(self, head: bytes) -> Upgraded:
        target = _target(head)
        headers = _parsed(Request.parse(_reader(head).read_line)).headers
        if _one(headers, "Sec-WebSocket-Version") != "13":
            raise _Fault(426, "the request is no upgrade to WebSocket version 13")
        host, origin = _one(headers, "Host"), _one(headers, "Origin")
        if host is None:
            raise _Fault(400, "the request has no Host header")
        path, _, query = target.partition("?")
        wanted = self._find(path, host)
        if wanted is None:
            raise _Fault(404, f"nobody listens at the path {path!r} of {host!r}")
        if not (origin is None or self._origins & {origin.lower(), "*"} or _same_host(origin, host)):
            raise _Fault(
                403, f"a page of the origin {origin!r} may not connect here unless it is in the option origins"
            )
        offered = headers.get_all("Sec-WebSocket-Protocol")
        if offered != [wanted]:
            found = ", ".join(map(repr, offered)) or "none"
            raise _Fault(400, f"the subprotocol must be {wanted!r} alone; found {found}", Reason.PROTO_MISMATCH)
        if not (_one(headers, "Sec-WebSocket-Key") or "").isascii():
            raise _Fault(400, "the Sec-WebSocket-Key is not base64")  # which older websockets do not say
        protocol = ServerProtocol(subprotocols=[Subprotocol(wanted)], logger=_log)
        response = protocol.accept(Request(target, headers))
        if response.status_code != 101:
            raise _Fault(response.status_code, f"the request is no upgrade to WebSocket: {protocol.handshake_exc}")
        self._pending = response.serialize()
        return Upgraded(path, query, host, wanted, self._head.rest)

    def _refuse(self, fault: _Fault) -> Refused:
        body = f"{fault.detail}\n".encode("ascii")
        headers = Headers({"Connection": "close", "Content-Type": "text/plain", "Content-Length": str(len(body))})
        for name, value in _BESIDE.get(fault.status, {}).items():
            headers[name] = value
        self._pending = Response(fault.status, _PHRASES[fault.status], headers, body).serialize()
        return Refused(fault.status, fault.reason, fault.detail)


class ClientUpgrade(_Upgrade):
    """The side that dials: makes the request and judges the response.

    Args:
        host: the Host header: a name or an address, and the port behind a colon unless it is the scheme's own.
        path: begins with ``/``; it may have a query.
        subprotocol: ``<name>.sp.nanomsg.org`` with the name of the peer.
        headers: more of them, as ``Authorization``.

    Raises:
        ValueError: an argument cannot stand in a request, or a header is one of those that are made here.

    Attributes:
        result: `None` until the response is here.
    """

    __slots__ = ("_host", "_protocol", "_status", "_subprotocol", "_target")

    def __init__(self, host: str, path: str, subprotocol: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        if not _TARGET.fullmatch(path.encode()):
            raise ValueError(
                f"a path begins with / and has printable ASCII only, not {path!r}: percent-encode the rest"
            )
        self._status = 0
        self._host = host
        self._target = path
        self._subprotocol = subprotocol
        # The host of this URI goes nowhere: how it is written is the dialler's matter.
        uri = WebSocketURI(secure=False, host="localhost", port=80, path=path, query="")
        self._protocol = ClientProtocol(uri, subprotocols=[Subprotocol(subprotocol)], logger=_log)
        request = self._protocol.connect()
        more = [("Host", host), *(headers or {}).items()]
        for name, value in more:
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ValueError(f"no HTTP header: {name!r}: {value!r}")
        for name, _ in more[1:]:
            if name in request.headers:
                raise ValueError(f"the header {name} is made by the upgrade itself")
        del request.headers["Host"]
        request.headers = Headers([*more[:1], *request.headers.raw_items(), *more[1:]])
        self._pending = request.serialize()

    def _judge(self, head: bytes) -> Upgraded:
        line = head[: head.index(b"\r\n")]
        found = _STATUS.fullmatch(line)
        if found is None:
            raise _Fault(0, f"the peer answered with no HTTP/1.1: {line[:80]!r}")
        self._status = status = int(found[1])
        if status != 101:
            # Its body is of no interest, nor where a redirection leads: nng follows none either.
            what = f"HTTP {status} ({_PHRASES.get(status, 'unknown')})"
            raise _Fault(status, f"the peer refused the upgrade: {what}{_HINTS.get(status, '')}")
        reader = _reader(head)
        response = _parsed(Response.parse(reader.read_line, reader.read_exact, reader.read_to_eof))
        chosen = response.headers.get_all("Sec-WebSocket-Protocol")
        if chosen != [self._subprotocol]:
            found_there = ", ".join(map(repr, chosen)) or "none"
            raise _Fault(
                101,
                f"the subprotocol must be {self._subprotocol!r}; the peer chose {found_there}",
                Reason.PROTO_MISMATCH,
            )
        try:
            self._protocol.process_response(response)
        except InvalidHandshake as error:
            raise _Fault(101, f"the peer's upgrade is not one: {error}") from error
        path, _, query = self._target.partition("?")
        return Upgraded(path, query, self._host, self._subprotocol, self._head.rest)

    def _refuse(self, fault: _Fault) -> Refused:
        return Refused(self._status, fault.reason, fault.detail)


class _Fault(Exception):
    """What is wrong with a head."""

    def __init__(self, status: int, detail: str, reason: Reason = Reason.WS_HTTP) -> None:
        super().__init__(detail)
        self.status = status
        # It quotes a stranger, and ends in somebody's log.
        self.detail = detail.encode("ascii", "backslashreplace").decode("ascii")[:_DETAIL_MAX]
        self.reason = reason


class _Head:
    """Collects the head of a request or a response, judging its form and its size as it comes.

    ``websockets`` takes a little more than is good: it waits for the rest of what is wrong already, and bounds the lines
    but not their sum.
    """

    __slots__ = ("_bytes", "rest")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.rest = b""

    def receive(self, data: bytes) -> bytes | None:
        """Return the head, its empty line included, when it is whole; what came behind it is `rest`.

        Raises:
            _Fault: it is none, or too large.
        """
        held, before = self._bytes, len(self._bytes)
        start = max(0, before - 3)
        # What is more than a head may have is not even looked at.
        held += data[: HEAD_MAX + 1]
        end = held.find(_END, start)
        size = len(held) if end < 0 else end + len(_END)
        if _STRAY.search(held, start, size):
            strangers = (name for mark, name in _STRANGERS if held.startswith(mark))
            guess = next(strangers, "a NUL, or a line end that is not CR LF")
            raise _Fault(400, f"no HTTP: found {guess}")
        line = held.find(b"\r\n", 0, size)
        if line > LINE_MAX - 2 or (line < 0 and size >= LINE_MAX):
            raise _Fault(414, f"the first line has more than {LINE_MAX} bytes")
        if size > HEAD_MAX:
            raise _Fault(431, f"the head has more than {HEAD_MAX} bytes")
        if held.count(b"\r\n", 0, size) > HEADERS_MAX + 2:
            raise _Fault(431, f"the head has more than {HEADERS_MAX} headers")
        if end < 0:
            return None
        self.rest = data[size - before :]
        return bytes(held[:size])


def _target(head: bytes) -> str:
    """Return the target of a request that begins as it must.

    Raises:
        _Fault: it does not.
    """
    line = head[: head.index(b"\r\n")]
    words = line.split(b" ")
    if len(words) != 3 or not _VERSION.fullmatch(words[2]):
        raise _Fault(400, f"no HTTP request: found {line[:80]!r}")
    if words[2] != b"HTTP/1.1":
        raise _Fault(505, f"only HTTP/1.1 has this upgrade; found {words[2].decode('ascii')}")
    if words[0] != b"GET":
        raise _Fault(405, f"only GET has this upgrade; found {words[0][:80]!r}")
    if not _TARGET.fullmatch(words[1]):
        raise _Fault(400, f"a path begins with / and has printable ASCII only; found {words[1][:80]!r}")
    return words[1].decode("ascii")


def _reader(head: bytes) -> StreamReader:
    reader = StreamReader()
    reader.feed_data(head)
    reader.feed_eof()
    return reader


def _parsed(steps: Generator[None, None, _T]) -> _T:
    """Return what a parser of ``websockets`` makes of a whole head.

    Raises:
        _Fault: it cannot be read, or announces a body.
    """
    try:
        while True:
            next(steps)
    except StopIteration as done:
        return cast("_T", done.value)  # what the generator returns
    except Exception as error:  # of many classes: its own, ValueError, LookupError, NotImplementedError
        raise _Fault(400, f"the head is wrong: {error}") from error


def _one(headers: Headers, name: str) -> str | None:
    """Return the value of a header that may stand once.

    Raises:
        _Fault: it stands there again.
    """
    values = headers.get_all(name)
    if len(values) > 1:
        raise _Fault(400, f"the header {name} stands there {len(values)} times")
    return values[0] if values else None


def _same_host(origin: str, host: str) -> bool:
    """Whether a web page of `origin` came from the host and port that it now connects to."""
    page = _ORIGIN.fullmatch(origin.lower())
    if page is None:
        return False
    port = _DEFAULT_PORT[page[1]]
    return page[2].removesuffix(port) == host.lower().removesuffix(port)


# ------------------------------------------------------------------------------------------------------- the frames


class WebSocket:
    """The frames of one connection, after the upgrade: a message a frame, or several for a large one.

    Args:
        side: which end we are; the client's frames are masked, the server's must not be.
        max_size: the largest message to accept, in bytes; `None`: any.
        fragment_size: the most bytes of a message in one frame that we make, at least 1.

    Attributes:
        broken: an exception broke a `receive` off, so where the parser stands is unknown.
    """

    __slots__ = ("_carried", "_fault", "_fragment_size", "_intake", "_mask", "_parser", "_said", "broken")

    def __init__(
        self, side: Literal["client", "server"], max_size: int | None, *, fragment_size: int = FRAGMENT_SIZE
    ) -> None:
        self.broken = False
        self._mask = side == "client"
        self._fragment_size = fragment_size
        # The parser holds the intake, not this object: what a lost connection had begun goes with it, without a cycle.
        self._intake = _Intake(max_size)
        self._parser = _parse(self._intake, masked=side == "server")
        self._fault: tuple[Reason, str] | None = None  # no exception: its traceback would hold all this in a cycle
        self._said = 0  # the number of the ping that was answered last
        self._carried = 0  # ... and of the one whose answer the last `frames` brought

    # --- out-turn ------------------------------------------------------------------------------------------

    def frames(self, bodies: Sequence[bytes]) -> list[bytes]:
        """Return the bytes of each message, all its frames; a pong that is due stands in front of the first one's.

        They may be thrown away as long as not a byte of them went: nothing here depends on that.
        """
        mask, most = self._mask, self._fragment_size
        made = [
            Frame(Opcode.BINARY, body).serialize(mask=mask) if len(body) <= most else self._fragmented(body)
            for body in bodies
        ]
        number, payload = self._intake.heard
        if number != self._said and made:
            made[0] = self._frame(Opcode.PONG, payload) + made[0]
            self._carried = number
        else:
            self._carried = self._said
        return made

    def begun(self, whole: int, part: int) -> None:
        """Record what the kernel took of the last `frames`: `whole` messages, and `part` bytes of the next one."""
        if whole or part:
            self._said = self._carried
            self._intake.silent = False

    @property
    def owes(self) -> bool:
        """A pong is due."""
        return self._intake.heard[0] != self._said

    def own(self) -> bytes:
        """Return what is due without a message to carry it, a pong or nothing; it then counts as said."""
        number, payload = self._intake.heard
        if number == self._said:
            return b""
        self._said = self._carried = number
        self._intake.silent = False
        return self._frame(Opcode.PONG, payload)

    def closing(self) -> bytes:
        """Return the close frame that is due: for the fault that was found, for the peer's own, or for our leaving.

        It goes between two messages, and nothing goes behind it.
        """
        return self._frame(Opcode.CLOSE, self._intake.farewell)

    def _fragmented(self, body: bytes) -> bytes:
        """Return the frames of one message that has more bytes than a frame may have."""
        mask, most, last = self._mask, self._fragment_size, len(body) - self._fragment_size
        view = memoryview(body)
        return b"".join(
            Frame(Opcode.CONT if place else Opcode.BINARY, view[place : place + most], place >= last).serialize(
                mask=mask
            )
            for place in range(0, len(body), most)
        )

    def _frame(self, opcode: Opcode, payload: bytes) -> bytes:
        return Frame(opcode, payload).serialize(mask=self._mask)

    # --- in-turn -------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """The peer sent its close frame: this is the end of what it says, and `closing` answers it."""
        return self._intake.closed

    @property
    def midway(self) -> bool:
        """A frame or a message has begun to come, and is not whole."""
        intake = self._intake
        return intake.reading or bool(intake.parts or intake.data)

    def receive(self, data: bytes, out: list[bytes]) -> None:
        """Append the body of every message that `data` completes to `out`; nothing behind a close frame is looked at.

        Raises:
            ProtocolError: at the first fault (and at every later call); the messages in front of it are in `out`.
                WS_PROTOCOL, WS_TEXT, TOO_LARGE or FLOOD; INTERRUPTED if an exception broke the last call off.
        """
        if self.broken:
            raise ProtocolError(Reason.INTERRUPTED, "the reading of this connection was broken off by an exception")
        if self._fault is not None:
            raise ProtocolError(*self._fault)
        intake = self._intake
        if intake.closed:
            return
        self.broken = True
        intake.data = intake.data + data if intake.data else data
        intake.place = 0
        intake.out = out
        fault = None
        try:
            next(self._parser)
        except ProtocolError as error:
            fault = error.reason, error.detail
            intake.place = len(intake.data)
            intake.parts.clear()
        intake.out = []
        intake.data = intake.data[intake.place :]  # no more than a few bytes, the beginning of a header
        self._fault = fault
        # Whatever breaks in before this store, the connection is given up.
        self.broken = False
        if fault is not None:
            raise ProtocolError(*fault)

    def end(self) -> ProtocolError:
        """Return what the end of the stream means here: EOF, or EOF_MID_FRAME; the text has the peer's own words."""
        word = f": {self._intake.said}" if self._intake.said else ""
        if self.midway:
            return ProtocolError(Reason.EOF_MID_FRAME, f"the peer closed the connection within a message{word}")
        return ProtocolError(Reason.EOF, f"the peer closed the connection{word}")


class _Intake:
    """What has come and is not delivered yet; written by who receives, but for `silent`."""

    __slots__ = (
        "closed",
        "controls",
        "data",
        "farewell",
        "heard",
        "max_size",
        "out",
        "parts",
        "place",
        "reading",
        "said",
        "silent",
        "size",
        "small",
    )

    def __init__(self, max_size: int | None) -> None:
        self.max_size = max_size
        self.data = b""
        self.place = 0
        self.out: list[bytes] = []
        self.reading = False  # within a frame of which not all has come
        self.parts: list[bytes | bytearray] = []  # the fragments of the message under way
        self.size = 0  # ... their bytes
        self.small = 0  # ... how many of them are small
        self.controls = 0  # pings and pongs in a row
        self.silent = True  # not a byte went from us since the last of them
        # The last ping, numbered: one store, so that who answers finds both or neither.
        self.heard: tuple[int, bytes] = (0, b"")
        self.closed = False
        self.farewell = Close(CloseCode.NORMAL_CLOSURE, "").serialize()
        self.said = ""

    def read(self, size: int) -> Generator[None, None, bytes | bytearray]:
        """Return the next `size` bytes, when they are here."""
        start = self.place
        end = start + size
        data = self.data
        if end <= len(data):
            self.place = end
            return data[start:end]
        # It grows with what arrives, not with what was announced, and a slow peer's body is no list of single bytes.
        held = bytearray(data[start:])
        while (missing := size - len(held)) > 0:
            self.place, self.reading = len(self.data), True
            yield
            held += self.data[:missing]
            self.place = missing  # behind the end until all is here, which the loop puts right
        self.reading = False
        return held

    def refuse(self, reason: Reason, code: CloseCode, detail: str) -> ProtocolError:
        """Return the error, and have its close frame ready."""
        self.farewell = Close(code, detail[:_TEXT_MAX]).serialize()
        return ProtocolError(reason, detail)

    def wrong(self, detail: str) -> ProtocolError:
        """Return the error for a breach of RFC 6455."""
        return self.refuse(Reason.WS_PROTOCOL, CloseCode.PROTOCOL_ERROR, detail)


def _parse(intake: _Intake, *, masked: bool) -> Generator[None, None, None]:
    """Take frame after frame of what the intake has; give way when there is no whole one."""
    parse = Frame.parse
    read, parts = intake.read, intake.parts
    head = 6 if masked else 2
    most_small = 125 if intake.max_size is None else intake.max_size
    while True:
        data, place = intake.data, intake.place
        have = len(data) - place
        if have < 2:
            yield
            continue
        first, second = data[place], data[place + 1]
        length = second & _LENGTH
        if first == _FINAL_BINARY and length < 126 and second >> 7 == masked and not parts and length <= most_small:
            # A short message in one frame, all here: what nearly every frame is, and nothing about it can be wrong.
            start = place + head
            end = start + length
            if end <= len(data):
                intake.out.append(apply_mask(data[start:end], data[start - 4 : start]) if masked else data[start:end])
                intake.place = end
                intake.controls = 0
                continue
        if first != _FINAL_BINARY or parts:
            _check(intake, first, length)
        if length == 126:
            if have < 4:
                yield
                continue
            if not data[place + 2] and data[place + 3] < 126:
                raise intake.wrong("a WebSocket frame writes a length below 126 in two bytes more than it takes")
        elif length == 127:
            if have < 10:
                yield
                continue
            announced = int.from_bytes(data[place + 2 : place + 10], "big")
            if announced < 1 << 16:
                raise intake.wrong(f"a WebSocket frame writes its length, {announced}, in 8 bytes: 2 would do")
            if announced >> 63:
                raise intake.wrong(f"a WebSocket frame announces {announced:#018x} bytes: the top bit must be zero")
        control = first & _CONTROL
        most = intake.max_size
        if most is not None:
            most = _CONTROL_MAX if control else most - intake.size
        try:
            frame = yield from parse(read, mask=masked, max_size=most, extensions=())
        except BadFrame as error:
            raise intake.wrong(f"a WebSocket frame is wrong: {error}") from error
        except PayloadTooBig as error:
            raise intake.refuse(
                Reason.TOO_LARGE,
                CloseCode.MESSAGE_TOO_BIG,
                f"a message is larger than recv_max_size, which is {intake.max_size}: raise that option to accept it",
            ) from error
        body: bytes | bytearray = frame.data  # type: ignore[assignment]  # what `read` gave, or its unmasked bytes
        if control:
            _heed(intake, frame.opcode, bytes(body))
            continue
        intake.controls = 0
        if first == _FINAL_BINARY:
            intake.out.append(bytes(body))
            continue
        parts.append(body)
        if first & _FINAL:
            whole = b"".join(parts)
            parts.clear()
            intake.size = intake.small = 0
            intake.out.append(whole)
            continue
        intake.size += len(body)
        if len(body) < SMALL_FRAGMENT:
            intake.small += 1
            if intake.small >= SMALL_FRAGMENTS_MAX:
                raise intake.refuse(
                    Reason.FLOOD,
                    CloseCode.MESSAGE_TOO_BIG,
                    f"a message of more than {SMALL_FRAGMENTS_MAX} fragments below {SMALL_FRAGMENT} bytes",
                )


def _check(intake: _Intake, first: int, length: int) -> None:
    """Refuse a frame by its first byte, before its payload has come.

    Raises:
        ProtocolError: WS_PROTOCOL or WS_TEXT.
    """
    opcode = first & ~(_FINAL | _RESERVED)
    if first & _RESERVED:
        raise intake.wrong("a WebSocket frame has a reserved bit set: no extension was agreed on")
    if opcode not in _OPCODES:
        raise intake.wrong(f"a WebSocket frame has the unknown opcode {opcode}")
    if opcode == Opcode.TEXT:
        raise intake.refuse(
            Reason.WS_TEXT,
            CloseCode.UNSUPPORTED_DATA,
            "a text message: SP messages are binary (in a browser, send an ArrayBuffer)",
        )
    if opcode & _CONTROL:
        if not first & _FINAL:
            raise intake.wrong("a WebSocket control frame is fragmented")
        if length > _CONTROL_MAX:
            raise intake.wrong(f"a WebSocket control frame has more than {_CONTROL_MAX} bytes")
    elif opcode == Opcode.CONT:
        if not intake.parts:
            raise intake.wrong("a WebSocket continuation frame with nothing to continue")
    elif intake.parts:
        raise intake.wrong("a new WebSocket message within a fragmented one")


def _heed(intake: _Intake, opcode: Opcode, payload: bytes) -> None:
    """Take a control frame in.

    Raises:
        ProtocolError: WS_PROTOCOL or FLOOD.
    """
    if opcode is Opcode.CLOSE:
        try:
            close = Close.parse(payload)
        except BadFrame as error:
            raise intake.wrong(f"a WebSocket close frame is wrong: {error}") from error
        except UnicodeDecodeError as error:
            raise intake.refuse(
                Reason.WS_PROTOCOL, CloseCode.INVALID_DATA, "the reason in a WebSocket close frame is not UTF-8"
            ) from error
        intake.said = f"{Close(close.code, '')}{f' {close.reason!r}' if close.reason else ''}"
        intake.farewell = payload
        intake.closed = True
        intake.place = len(intake.data)
        return
    if opcode is Opcode.PING:
        intake.heard = intake.heard[0] + 1, payload
    if not intake.silent:
        intake.silent = True
        intake.controls = 0
    intake.controls += 1
    if intake.controls > CONTROLS_MAX:
        raise intake.refuse(
            Reason.FLOOD, CloseCode.POLICY_VIOLATION, f"more than {CONTROLS_MAX} pings and pongs in a row"
        )
