"""Every error the library raises, and every reason it closes a connection for: one tree, one list.

::

    NnqError
    ├── AddressError        (ValueError)       the URL you gave cannot be used
    ├── StateError          (RuntimeError)     not now: the socket is in the wrong state
    ├── Closed                                 the socket is closed, or was closed during the call
    │   └── ForkedError                        the socket belongs to the parent process
    ├── PeerGone            (ConnectionError)  the peer that this is about is gone
    ├── TimedOut            (TimeoutError)     the time you gave is over
    ├── WouldBlock          (BlockingIOError)  a ``*_nowait`` call would have to wait
    ├── ProtocolError                          the peer broke the protocol: never leaves ``send`` or ``recv``
    └── TlsError            (OSError)          TLS with a peer failed: never leaves ``send`` or ``recv`` either

There is a class per reaction, not per cause: the cause is in the text and in ``reason``.
"""

from __future__ import annotations

import errno
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Callable

    # What `__reduce__` gives: how to make the error again, from what, and its attributes. An error crosses to another
    # process by it (a pool hands its workers' errors on), and Python's own way knows no keyword arguments.
    Recipe = tuple[Callable[[str], "NnqError"], tuple[str], dict[str, object]]


class Reason(StrEnum):
    """Why a connection was refused or closed; stable words that a program can compare."""

    BAD_MAGIC = "BAD_MAGIC"
    """The greeting does not start with ``00 53 50``: the peer does not speak SP."""
    BAD_VERSION = "BAD_VERSION"
    """The greeting's fourth byte (the SP version) is not 0."""
    BAD_RESERVED = "BAD_RESERVED"
    """The greeting's last two bytes are not 0."""
    PROTO_MISMATCH = "PROTO_MISMATCH"
    """The peer speaks SP, but a pattern that does not go with ours."""
    GREETING_TIMEOUT = "GREETING_TIMEOUT"
    """No whole greeting within ``handshake_timeout``."""
    GREETING_EOF = "GREETING_EOF"
    """The peer went away before its greeting was whole."""
    IPC_BAD_TYPE = "IPC_BAD_TYPE"
    """An ipc frame does not start with the byte 01."""
    BAD_LENGTH = "BAD_LENGTH"
    """A frame declares a length that no peer can mean (one of the top four bits is set)."""
    TOO_LARGE = "TOO_LARGE"
    """A frame declares more than ``recv_max_size``, as it is or decompressed."""
    ZSTD_BAD_SENTINEL = "ZSTD_BAD_SENTINEL"
    """A message on a zstd+tcp connection begins with none of the three sentinels."""
    ZSTD_BAD_FRAME = "ZSTD_BAD_FRAME"
    """A compressed message is not one whole zstd frame that says truly how long its content is."""
    ZSTD_BAD_DICTIONARY = "ZSTD_BAD_DICTIONARY"
    """A zstd dictionary is invalid, too large or the connection's second one, or a frame needs one that never came."""
    WS_HTTP = "WS_HTTP"
    """The upgrade to WebSocket was refused, by us or by the peer, or what came is no HTTP; the text has the status."""
    WS_PROTOCOL = "WS_PROTOCOL"
    """A WebSocket frame breaks RFC 6455: a wrong mask, a reserved bit, a fragment out of place (close code 1002)."""
    WS_TEXT = "WS_TEXT"
    """A WebSocket message is text; SP messages are binary (close code 1003)."""
    FLOOD = "FLOOD"
    """Very many frames that carry next to nothing: pings and pongs alone, or tiny fragments of one message."""
    INTERRUPTED = "INTERRUPTED"
    """An exception of ours (Ctrl-C) broke off the reading of this connection: where it stopped, nobody can tell."""
    UNEXPECTED_DATA = "UNEXPECTED_DATA"
    """More than a little data from a peer that must not send."""
    HEADER_MISSING = "HEADER_MISSING"
    """A message is too short for the header that its pattern has."""
    HEADER_BAD = "HEADER_BAD"
    """A message's header is none of its pattern."""
    EOF = "EOF"
    """The peer closed the connection between two messages."""
    EOF_MID_FRAME = "EOF_MID_FRAME"
    """The peer closed the connection within a message; the part that arrived is discarded."""
    RESET = "RESET"
    """The connection broke between two messages."""
    RESET_MID_FRAME = "RESET_MID_FRAME"
    """The connection broke within a message; the part that arrived is discarded."""
    LIMIT_PIPES = "LIMIT_PIPES"
    """The socket takes no further peer (a Pair has one)."""
    LIMIT_HANDSHAKES = "LIMIT_HANDSHAKES"
    """Too many handshakes under way at one listener: the oldest gives way."""
    CLOSED_BY_US = "CLOSED_BY_US"
    """We closed it: the socket, the dialer or the listener was closed."""
    TLS_BAD_RECORD = "TLS_BAD_RECORD"
    """What came is no TLS record, or was changed on its way: no TLS at the other end, or somebody in between."""
    TLS_ALERT = "TLS_ALERT"
    """The peer ended TLS with an alert; the detail has its words."""
    TLS_TIMEOUT = "TLS_TIMEOUT"
    """No whole TLS handshake within ``handshake_timeout``."""
    TLS_CERT_EXPIRED = "TLS_CERT_EXPIRED"
    """A certificate is past its end or before its beginning."""
    TLS_CERT_UNTRUSTED = "TLS_CERT_UNTRUSTED"
    """A certificate comes from nobody who is trusted, or is not for this use."""
    TLS_HOSTNAME = "TLS_HOSTNAME"
    """The certificate is good, but not one of the host that was dialled."""
    TLS_CERT_REQUIRED = "TLS_CERT_REQUIRED"
    """The listener wants a certificate of its clients, and got none."""
    TLS_HANDSHAKE = "TLS_HANDSHAKE"
    """The TLS handshake came to nothing for another reason: no common version or cipher, or the peer left."""


class NnqError(Exception):
    """The root of everything this library raises."""


class AddressError(NnqError, ValueError):
    """The URL is malformed, has an unknown scheme, or cannot be used for this call."""


class StateError(NnqError, RuntimeError):
    """The call is not possible in the socket's present state; the text says what to do first."""


class UnsupportedOperation(NnqError, AttributeError):
    """The pattern has no such operation: a Push does not receive. A type checker says so before."""


class Closed(NnqError):
    """The socket is closed, or was closed by somebody else during the call."""


class ForkedError(Closed):
    """The socket was made before ``fork`` and belongs to the parent; make a new one in the child."""


class PeerGone(NnqError, ConnectionError):
    """The one peer that could take this, or answer it, is gone.

    A raw socket says so if it is ``strict``; a request, if it may not be sent again (``resend_time=None``).
    """


class TimedOut(NnqError, TimeoutError):
    """The call's ``timeout`` is over; nothing was sent or taken by it.

    Attributes:
        timeout: the seconds that were given.
        reason: ``"no_peer"`` (nobody to send to, and the queue is full), ``"queue_full"`` (peers there, all slow),
            ``"no_message"`` (nothing to receive), ``"no_peers"`` (too few peers attached),
            ``"not_flushed"`` (messages still queued), ``"no_event"``, ``"no_reply"`` (to a request),
            ``"survey_over"`` (its deadline).
        sent: how many messages of a `send_many` were accepted before.
    """

    def __init__(self, text: str, *, timeout: float, reason: str, sent: int = 0) -> None:
        super().__init__(errno.ETIMEDOUT, text)
        self.timeout = timeout
        self.reason = reason
        self.sent = sent

    def __reduce__(self) -> Recipe:
        return partial(type(self), timeout=self.timeout, reason=self.reason, sent=self.sent), (str(self),), vars(self)

    def __str__(self) -> str:
        return str(self.args[1])


class WouldBlock(NnqError, BlockingIOError):
    """A ``*_nowait`` call cannot succeed now; nothing was sent or taken.

    Attributes:
        reason: ``"no_peer"``, ``"queue_full"`` or ``"no_message"``, as in `TimedOut`.
    """

    def __init__(self, text: str, *, reason: str) -> None:
        super().__init__(errno.EAGAIN, text)
        self.reason = reason

    def __reduce__(self) -> Recipe:
        return partial(type(self), reason=self.reason), (str(self),), vars(self)

    def __str__(self) -> str:
        return str(self.args[1])


class ProtocolError(NnqError):
    """The peer broke the protocol; it ends that one connection and is told through the socket's events.

    Attributes:
        reason: the machine-readable reason.
        detail: what was found and what was wanted, for a person.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> Recipe:
        return partial(type(self), self.reason), (self.detail,), vars(self)


class TlsError(NnqError, OSError):
    """TLS with a peer failed; it ends that one connection and is told through the socket's events.

    Attributes:
        reason: the machine-readable reason.
        detail: what was found and what was wanted, for a person.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(errno.EPROTO, f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> Recipe:
        return partial(type(self), self.reason), (self.detail,), vars(self)

    def __str__(self) -> str:
        return str(self.args[1])


def is_the_systems(error: BaseException) -> TypeGuard[OSError]:
    """Whether an error says what became of a call to the system, or of TLS (`TlsError` has a number, too).

    Every other one was raised by a signal handler that came in between. It may be an `OSError`, as a `TimeoutError` that is to end
    a wait is, but has no number.
    """
    return isinstance(error, OSError) and error.errno is not None


class SystemErrors:
    """A context in which the system's errors do not matter."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        return error is not None and is_the_systems(error)
