"""What a socket tells is values: they compare, they match, and they do not change."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import FrozenInstanceError

import pytest

import nnqpy.events
from nnqpy.errors import Reason
from nnqpy.events import (
    AcceptResumed,
    AcceptThrottled,
    ConnectFailed,
    Connecting,
    DrainReport,
    Event,
    EventsLost,
    HandshakeFailed,
    ListenerClosed,
    Listening,
    PeerAdded,
    PeerInfo,
    PeerRefused,
    PeerRemoved,
    SocketClosed,
    Stats,
)

PEER = PeerInfo(
    id=7,
    address="tcp://127.0.0.1:1",
    remote="127.0.0.1:2",
    protocol="pull",
    direction="in",
    state="open",
    sent=1,
    received=2,
    bytes_sent=3,
    bytes_received=4,
    backlog=0,
)
REPORT = DrainReport(flushed=1, abandoned=2, unread=3, elapsed=0.5)
EVERY: list[Event] = [
    Listening("tcp://x:1"),
    ListenerClosed("tcp://x:1", "closed by us"),
    Connecting("tcp://x:1", 1),
    ConnectFailed("tcp://x:1", 111, "Connection refused", 0.1),
    HandshakeFailed("tcp://x:1", "y:2", Reason.BAD_MAGIC, "found 47"),
    PeerAdded(PEER),
    PeerRefused("tcp://x:1", "y:2", Reason.LIMIT_PIPES, "this Pair has its one peer already"),
    PeerRemoved(PEER, Reason.EOF, "the peer closed the connection"),
    AcceptThrottled("tcp://x:1", 24, "Too many open files", 0.1),
    AcceptResumed("tcp://x:1"),
    EventsLost(5),
    SocketClosed(REPORT),
]
every = pytest.mark.parametrize("event", EVERY, ids=[type(event).__name__ for event in EVERY])


def test_every_event_is_looked_at() -> None:
    """The list above is all that there are."""
    kinds = {one for one in vars(nnqpy.events).values() if isinstance(one, type) and issubclass(one, Event)}

    assert {type(event) for event in EVERY} | {Event} == kinds


@every
def test_an_event_is_a_value(event: Event) -> None:
    """Equal to its like, usable as a key, and the same in another process."""
    assert copy.copy(event) == event
    assert pickle.loads(pickle.dumps(event)) == event
    assert hash(copy.copy(event)) == hash(event)
    assert event not in [other for other in EVERY if other is not event]


@every
def test_an_event_does_not_change(event: Event) -> None:
    """Two readers of one event see the same; a mistyped name is an error, not a new attribute."""
    for field in dataclasses.fields(event):
        with pytest.raises(FrozenInstanceError):
            setattr(event, field.name, None)
    assert not hasattr(event, "__dict__")


@every
def test_an_event_names_what_it_shows(event: Event) -> None:
    """Printed, it says its name and each field with its own."""
    shown = repr(event)

    assert shown.startswith(f"{type(event).__name__}(")
    assert all(f"{field.name}=" in shown for field in dataclasses.fields(event))


@every
def test_an_event_says_what_it_tells_of(event: Event) -> None:
    """Each class is documented for who writes a ``match`` over them."""
    assert (inspect.getdoc(type(event)) or "").rstrip().endswith((".", "it."))


def test_events_can_be_matched() -> None:
    """By class and by position."""
    found: list[object] = []
    for event in EVERY:
        match event:
            case PeerRemoved(PeerInfo(id=number), Reason.EOF):
                found.append(number)
            case HandshakeFailed(_, _, reason, _):
                found.append(reason)
            case _:
                pass

    assert found == [Reason.BAD_MAGIC, 7]


@pytest.mark.parametrize("value", [PEER, REPORT], ids=["PeerInfo", "DrainReport"])
def test_a_snapshot_does_not_change(value: PeerInfo | DrainReport) -> None:
    """What was so at one moment stays so."""
    for field in dataclasses.fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, None)
    assert dataclasses.replace(value) == value


def stats() -> Stats:
    return Stats(accepted=3, delivered=1, queued=2, received=0, inbox=0, peers=1, bytes_delivered=10, bytes_received=0)


def test_stats_drop_nothing_unless_they_say_so() -> None:
    """The mapping of what was dropped is there, and empty, and each snapshot's own."""
    assert stats().dropped == {}
    assert stats().dropped is not stats().dropped
    assert stats() == stats()


def test_stats_can_be_made_a_dictionary_and_sent_away() -> None:
    """A program that exports its counters needs no more than the standard library."""
    assert dataclasses.asdict(stats())["dropped"] == {}
    assert pickle.loads(pickle.dumps(stats())) == stats()


def test_the_names_are_all_there() -> None:
    """Nothing public in the module is left out of these tests."""
    values = {one for one in vars(nnqpy.events).values() if dataclasses.is_dataclass(one) and isinstance(one, type)}

    assert values == {type(event) for event in EVERY} | {Event, PeerInfo, DrainReport, Stats}
