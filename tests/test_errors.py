"""One tree of errors, a class per reaction; each says what happened in its text and in its attributes."""

from __future__ import annotations

import copy
import errno
import pickle
from typing import TYPE_CHECKING

import pytest

import nnqpy.errors
from nnqpy.errors import (
    AddressError,
    Closed,
    ForkedError,
    NnqError,
    PeerGone,
    ProtocolError,
    Reason,
    StateError,
    SystemErrors,
    TimedOut,
    TlsError,
    UnsupportedOperation,
    WouldBlock,
    is_the_systems,
)

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY: list[NnqError] = [
    AddressError("the URL"),
    StateError("not now"),
    UnsupportedOperation("not now"),
    Closed("it is closed"),
    ForkedError("it is the parent's"),
    PeerGone("it left"),
    TimedOut("too late", timeout=1.5, reason="no_peer", sent=3),
    WouldBlock("not now", reason="no_message"),
    ProtocolError(Reason.BAD_MAGIC, "found 47"),
    TlsError(Reason.TLS_ALERT, "unknown CA"),
]
every = pytest.mark.parametrize("error", EVERY, ids=[type(error).__name__ for error in EVERY])


def pickled(error: NnqError) -> NnqError:
    there: NnqError = pickle.loads(pickle.dumps(error))
    return there


def test_every_class_is_looked_at() -> None:
    """The list above is the whole tree."""
    classes = {one for one in vars(nnqpy.errors).values() if isinstance(one, type) and issubclass(one, NnqError)}

    assert classes == {type(error) for error in EVERY} | {NnqError}


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (AddressError, ValueError),
        (StateError, RuntimeError),
        (ForkedError, Closed),
        (PeerGone, ConnectionError),
        (TimedOut, TimeoutError),
        (WouldBlock, BlockingIOError),
        (TlsError, OSError),
    ],
)
def test_an_error_is_also_what_python_calls_it(kind: type[NnqError], builtin: type[Exception]) -> None:
    """Who does not know this library catches the built-in class."""
    assert issubclass(kind, builtin)


@every
def test_the_text_is_all_of_what_is_shown(error: NnqError) -> None:
    """No number in front, no tuple around it."""
    texts = {"the URL", "not now", "it is closed", "it is the parent's", "too late", "it left"}

    assert str(error) in texts | {"BAD_MAGIC: found 47", "TLS_ALERT: unknown CA"}


@every
@pytest.mark.parametrize("again", [pickled, copy.copy], ids=["pickle", "copy"])
def test_an_error_can_be_sent_to_another_process(error: NnqError, again: Callable[[NnqError], NnqError]) -> None:
    """A pool of processes hands its workers' errors on: text, attributes and notes stay."""
    error = copy.copy(error)
    error.add_note("in the worker")

    other = again(error)

    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_a_time_out_says_what_was_waited_for() -> None:
    """The seconds, the cause, and what was done before."""
    error = TimedOut("too late", timeout=1.5, reason="queue_full", sent=3)

    assert (error.timeout, error.reason, error.sent, error.errno) == (1.5, "queue_full", 3, errno.ETIMEDOUT)
    assert TimedOut("too late", timeout=0, reason="no_message").sent == 0


def test_would_block_says_why() -> None:
    """The cause, and the system's number for it."""
    error = WouldBlock("not now", reason="no_peer")

    assert (error.reason, error.errno) == ("no_peer", errno.EAGAIN)


def test_a_protocol_error_carries_its_reason() -> None:
    """A word for the program, a sentence for the person."""
    error = ProtocolError(Reason.TOO_LARGE, "10 GiB")

    assert (error.reason, error.detail, str(error)) == (Reason.TOO_LARGE, "10 GiB", "TOO_LARGE: 10 GiB")


def test_a_tls_error_carries_its_reason() -> None:
    """As a protocol error does; to the system's eye it is a broken protocol."""
    error = TlsError(Reason.TLS_HOSTNAME, "not for b")

    assert (error.reason, error.detail, str(error)) == (Reason.TLS_HOSTNAME, "not for b", "TLS_HOSTNAME: not for b")
    assert (error.errno, error.strerror) == (errno.EPROTO, str(error))


def test_a_reason_is_its_word() -> None:
    """It compares with the plain string, and prints as it."""
    assert all(reason == reason.name == str(reason) == f"{reason}" for reason in Reason)
    assert Reason("EOF") is Reason.EOF


SYSTEMS = [
    OSError(errno.EPIPE, "broken pipe"),
    ConnectionResetError(errno.ECONNRESET, "reset"),
    TlsError(Reason.TLS_ALERT, "x"),
]
OTHERS = [TimeoutError(), TimeoutError("a handler's"), OSError("a handler's")]


@pytest.mark.parametrize("error", SYSTEMS, ids=repr)
def test_an_error_of_the_system_can_be_left_to_itself(error: OSError) -> None:
    """It has a number, or is our own word for one of TLS."""
    assert is_the_systems(error)
    with SystemErrors():
        raise error


@pytest.mark.parametrize("error", [*OTHERS, KeyboardInterrupt(), ValueError()], ids=repr)
def test_what_a_signal_handler_raises_is_not_the_systems(error: BaseException) -> None:
    """`TimeoutError` is an `OSError`, too, but nobody gave it a number."""
    with pytest.raises(type(error)), SystemErrors():
        raise error
    assert not is_the_systems(error)
