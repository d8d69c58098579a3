"""Devices: ours between nng's peers, nng's between ours, and as many of them in a row as a message may pass."""

from __future__ import annotations

import queue
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

import pytest

from interop.cases import SIZES, Case, Flow, answer_to
from interop.ours import BRISK, answerer, asker, receiver, sender
from interop.peers.pynng_peer import BY
from interop.witness import PATIENCE
from nnqpy import (
    Bus,
    Device,
    Pair,
    Pair1,
    RawBus,
    RawPair,
    RawPair1,
    RawPub,
    RawPull,
    RawPush,
    RawRep,
    RawReq,
    RawRespondent,
    RawSub,
    RawSurveyor,
    Rep,
    Req,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    from interop.conftest import Peers
    from interop.peers.pynng_peer import PynngPeer
    from interop.spots import Spots, Transport
    from nnqpy import Message

    RawSocket = (
        RawBus
        | RawPair
        | RawPair1
        | RawPub
        | RawPull
        | RawPush
        | RawRep
        | RawReq
        | RawRespondent
        | RawSub
        | RawSurveyor
    )

BODIES: Final = Case("pynng", "push", Flow.OUT, "pull", "bind", "tcp").bodies()
on_each = pytest.mark.parametrize("transport", ["tcp", "ipc"])


@dataclass(frozen=True, slots=True)
class Between:
    """What stands at a device: who speaks first, the device's two sockets, and who hears it."""

    near: str
    front: type[RawSocket]
    back: type[RawSocket]
    far: str
    answers: bool = True

    def __str__(self) -> str:
        return f"{self.near}-to-{self.far}"


BETWEEN: Final = (
    Between("push", RawPull, RawPush, "pull", answers=False),
    Between("pub", RawSub, RawPub, "sub", answers=False),
    Between("req", RawRep, RawReq, "rep"),
    Between("surveyor", RawRespondent, RawSurveyor, "respondent"),
    Between("pair", RawPair, RawPair, "pair"),
    Between("pair1", RawPair1, RawPair1, "pair1"),
    Between("bus", RawBus, RawBus, "bus"),
)
on_every_device = pytest.mark.parametrize("between", BETWEEN, ids=str)


@on_each
@on_every_device
def test_our_device_stands_between_two_of_nng(
    between: Between, transport: Transport, spots: Spots, peers: Peers
) -> None:
    """All sizes go through, and back where there is a way back; the device counts them."""
    with between.front() as front, between.back() as back, Device(front, back) as device:
        near = peers.pynng(between.near, "connect", front.bind(spots.any_url(transport)).url)
        far = peers.pynng(between.far, "connect", back.bind(spots.any_url(transport)).url)
        near.attached()
        far.attached()
        back.wait_for_peers(1, PATIENCE)

        for body in BODIES:
            near.send(body)
            assert far.receive() == [body]
            if between.answers:
                far.send(answer_to(body))
                assert near.receive() == [answer_to(body)]

        device.stop()
    stats = device.stats()
    assert (stats.to_back, stats.to_front, stats.dropped) == (len(SIZES), len(SIZES) * between.answers, 0)


@on_each
@pytest.mark.parametrize("between", [one for one in BETWEEN if not one.answers], ids=str)
def test_nngs_device_carries_what_we_send(between: Between, transport: Transport, spots: Spots, peers: Peers) -> None:
    """From our Push to our Pull, and from our Pub to our Sub."""
    with sender(between.near) as near, receiver(between.far) as far:
        _meet_at_a_device(between, near, far, transport, spots, peers)

        for body in BODIES:
            near.send(body)
            assert far.recv(timeout=PATIENCE) == body


@on_each
@pytest.mark.parametrize("between", [one for one in BETWEEN if one.answers], ids=str)
def test_nngs_device_carries_what_we_say_and_the_answer(
    between: Between, transport: Transport, spots: Spots, peers: Peers
) -> None:
    """There and back; it adds to our headers and takes off again."""
    with OPEN[between.near]() as near, OPEN[between.far]() as far:
        _meet_at_a_device(between, near, far, transport, spots, peers)

        for body in BODIES:
            near.send(body)
            assert far.recv(timeout=PATIENCE) == body
            far.send(answer_to(body))
            assert near.recv(timeout=PATIENCE) == answer_to(body)


def test_a_reflector_of_ours_makes_one_bus_of_all_its_peers(spots: Spots, peers: Peers) -> None:
    """A device of one RawBus: what one of nng's buses says all others hear, and not itself."""
    with RawBus() as bus, Device(bus):
        url = bus.bind(spots.any_url("tcp")).url
        members = [peers.pynng("bus", "connect", url) for _ in range(3)]
        bus.wait_for_peers(3, PATIENCE)
        for member in members:
            member.attached()

        for n, member in enumerate(members):
            member.send(b"%d" % n)
            for other in members:
                if other is not member:
                    assert other.receive() == [b"%d" % n]

        assert all(member.received_nothing() for member in members)


def test_our_device_brings_each_answer_to_who_has_asked(spots: Spots, peers: Peers) -> None:
    """Two of nng's Reqs with two questions each, all under way at once: nobody gets another's answer."""
    with RawRep() as front, RawReq() as back, Device(front, back):
        url = front.bind(spots.any_url("ipc")).url
        rep = peers.pynng("rep", "connect", back.bind(spots.any_url("tcp")).url, "contexts", "held")
        reqs = {name: peers.pynng("req", "connect", url, "contexts") for name in (b"a", b"b")}
        questions = {name: [name + b" 1", name + b" 2"] for name in reqs}

        for name, req in reqs.items():
            for question in questions[name]:
                req.send(question)
        assert sorted(rep.receive(4)) == sorted(questions[b"a"] + questions[b"b"])
        rep.go()

        for name, req in reqs.items():
            assert sorted(req.receive(2)) == [question + BY + b"re: " + question for question in questions[name]]


HOPS: Final = [
    pytest.param(7, 8, True, id="seven-devices-pass-by-default"),
    pytest.param(8, 8, False, id="the-eighth-is-too-many"),
    pytest.param(8, 9, True, id="eight-pass-with-9"),
    pytest.param(9, 9, False, id="the-ninth-is-too-many-with-9"),
]
"""Devices in a row, the most words that the last Rep takes, and whether a request gets there.

A header has a word for each device and one for the number: nng counts all of them against ``ttl-max``, and so do we.
"""


@pytest.mark.parametrize(("devices", "most", "arrives"), HOPS)
def test_devices_in_a_row_between_two_of_nng(
    devices: int, most: int, arrives: bool, spots: Spots, peers: Peers
) -> None:
    """The Rep drops what has come too far, and keeps the connection: who asks from nearer is answered."""
    url = spots.url("ipc")
    rep = peers.pynng("rep", "bind", url, ttl_max=most)
    with _row(devices, most, url, spots) as row:
        req = _asks_from_afar(row, peers)
        if not arrives:
            with Req(connect=row.last_entry) as near:
                near.send(b"from nearby")
                assert rep.receive() == [b"from nearby"]  # by the same connection, so the other one is dropped by now
                rep.send(b"who else?")
                assert near.recv(timeout=PATIENCE) == b"who else?"
        else:
            assert rep.receive() == [b"from afar"]
            rep.send(b"welcome")
            assert req.receive() == [b"welcome"]


@pytest.mark.parametrize(("devices", "most", "arrives"), HOPS)
def test_devices_in_a_row_before_our_rep(devices: int, most: int, arrives: bool, spots: Spots, peers: Peers) -> None:
    """The same with our Rep at the end: it counts what it drops."""
    with Rep(max_ttl=most) as rep, _row(devices, most, rep.bind(spots.any_url("ipc")).url, spots) as row:
        req = _asks_from_afar(row, peers)
        if not arrives:
            with Req(connect=row.last_entry) as near:
                near.send(b"from nearby")
                assert rep.recv(timeout=PATIENCE) == b"from nearby"
            assert rep.stats().discarded == {"ttl_exceeded": 1}
        else:
            assert rep.recv(timeout=PATIENCE) == b"from afar"
            rep.send(b"welcome")
            assert req.receive() == [b"welcome"]
            assert rep.stats().discarded == {}


def test_our_devices_and_nngs_stand_in_one_row(spots: Spots, peers: Peers) -> None:
    """Our Req, our device, nng's, ours again, and nng's Rep: the way there and back is the same."""
    url, front_url, back_url = spots.url("ipc"), spots.url("ipc"), spots.url("tcp")
    rep = peers.pynng("rep", "bind", url)
    peers.device("rep", "req", front_url, back_url)
    with (
        RawRep(connect=back_url, **BRISK) as front,
        RawReq(connect=url, **BRISK) as back,
        Device(front, back),
        _row(1, 8, front_url, spots) as row,
        Req(connect=row.entry) as req,
    ):
        for body in BODIES:
            req.send(body)
            assert rep.receive() == [body]
            rep.send(answer_to(body))
            assert req.recv(timeout=PATIENCE) == answer_to(body)


class _Row:
    """Devices in a row, as `_row` has made them."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        """Where each of them is entered, from the last to the first."""
        self._seen: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    @property
    def entry(self) -> str:
        """Where the first is entered."""
        return self.entries[-1]

    @property
    def last_entry(self) -> str:
        """Where the last is entered."""
        return self.entries[0]

    def see(self, _side: str, message: Message) -> None:
        """Be the tap of the last one."""
        self._seen.put(message.body)

    def passed(self, body: bytes) -> None:
        """Wait until the last one hands this body on: what it hears from now on goes on behind it."""
        assert self._seen.get(timeout=PATIENCE) == body


@contextmanager
def _row(devices: int, most: int, url: str, spots: Spots) -> Generator[_Row]:
    """Put devices before the Rep at `url`; each takes `most` words."""
    row = _Row()
    with ExitStack() as stack:
        for _ in range(devices):
            front = stack.enter_context(RawRep(max_ttl=most))
            back = stack.enter_context(RawReq(connect=url, **BRISK))
            url = front.bind(spots.any_url("ipc")).url
            stack.enter_context(Device(front, back, tap=None if row.entries else row.see))
            row.entries.append(url)
        yield row


def _asks_from_afar(row: _Row, peers: Peers) -> PynngPeer:
    """Have a Req of nng ask before the first device, and wait until the last one hands that on."""
    req = peers.pynng("req", "connect", row.entry)
    req.send(b"from afar")
    row.passed(b"from afar")
    return req


class _Connects(Protocol):
    """A socket of ours."""

    def connect(self, url: str) -> object: ...
    def wait_for_peers(self, n: int, timeout: float | None) -> object: ...


class Talks(_Connects, Protocol):
    """What our sockets that say something and hear something have in common."""

    def send(self, body: bytes) -> None: ...
    def recv(self, *, timeout: float | None) -> bytes: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


OPEN: Final[dict[str, Callable[[], Talks]]] = {
    "req": lambda: asker("req"),
    "rep": lambda: answerer("rep"),
    "surveyor": lambda: asker("surveyor"),
    "respondent": lambda: answerer("respondent"),
    "pair": lambda: Pair(**BRISK),
    "pair1": lambda: Pair1(**BRISK),
    "bus": lambda: Bus(**BRISK),
}


def _meet_at_a_device(
    between: Between, near: _Connects, far: _Connects, transport: Transport, spots: Spots, peers: Peers
) -> None:
    """Start nng's device and connect both of ours to it."""
    front_url, back_url = spots.url(transport), spots.url(transport)
    # A device's socket is the counterpart of who is there.
    device = peers.device(between.far, between.near, front_url, back_url)
    near.connect(front_url)
    far.connect(back_url)
    device.attached()
    near.wait_for_peers(1, PATIENCE)  # a survey waits for nobody
