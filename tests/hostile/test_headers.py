"""Headers: what a peer that frames well may put into its messages, and what our own callers may (rows B-37 to B-44, B-46 to B-52).

A message without the header that its pattern has ends that connection; one that has come too far, or that nobody asked
for, is dropped and counted, and the connection stays. Wherever the bytes were parted, and whoever else is there: a good
peer on the same socket works on.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from contextlib import suppress
from functools import partial
from itertools import count
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Generic, TypeVar

import pytest

from nnqpy import (
    Bus,
    Closed,
    Device,
    Message,
    Pair1,
    PeerGone,
    Pub,
    Pull,
    Push,
    RawBus,
    RawPair1,
    RawPub,
    RawPush,
    RawRep,
    RawReq,
    RawRespondent,
    RawSurveyor,
    Rep,
    Req,
    Respondent,
    StateError,
    Sub,
    Surveyor,
    TimedOut,
    UnsupportedOperation,
    WouldBlock,
)
from nnqpy.engine import STRAY_MAX
from nnqpy.errors import Reason
from tests.hostile.dress import framed
from tests.hostile.home import Home
from tests.hostile.kit import (
    PATIENCE,
    Delivery,
    Memory,
    frame,
    settle,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nnqpy.sync import Socket
    from tests.hostile.dress import AnyScheme
    from tests.hostile.kit import (
        Stranger,
    )

Answerer = Rep | Respondent | RawRep | RawRespondent

A = TypeVar("A", bound=Answerer)

each_scheme = pytest.mark.parametrize("scheme", ["tcp", "ipc"])
every_scheme = pytest.mark.parametrize("scheme", ["tcp", "ipc", "tls+tcp", "ws"])
each_answerer = pytest.mark.parametrize("kind", [Rep, Respondent, RawRep, RawRespondent])
each_delivery = pytest.mark.parametrize("delivery", Delivery)

ASKERS: dict[type[Answerer], Callable[..., Req | Surveyor]] = {
    Rep: Req,
    RawRep: Req,
    Respondent: Surveyor,
    RawRespondent: Surveyor,
}
LAST = b"\x80\0\0\7"
"""A request's number."""
GOOD = LAST + b"good"


def questions(ours: Answerer) -> Iterator[tuple[bytes, bytes]]:
    """Take the questions that are there, each with the header that its answer has, as far as the socket shows it."""
    with suppress(TimedOut, Closed):
        while True:
            got = ours.recv(timeout=0)
            yield (got.header, got.body) if isinstance(got, Message) else (b"", got)


def replies(ours: Req | Surveyor) -> Iterator[bytes]:
    """Take the replies that are there to the question that is open."""
    with suppress(TimedOut):
        while True:
            yield ours.recv(timeout=0)


def messages(ours: RawReq | RawSurveyor | RawPair1) -> Iterator[Message]:
    """Take what is there."""
    with suppress(WouldBlock):
        while True:
            yield ours.recv_nowait()


def headless(header: bytes, kind: type[Answerer]) -> bytes:
    """Return the header as `questions` has it: a cooked socket hides it."""
    return header if kind in (RawRep, RawRespondent) else b""


def converse(home: Home[A], guest: Req | Surveyor) -> None:
    """Have a good peer ask, and ours answer it."""
    guest.send(b"still there?")
    got = home.ours.recv(timeout=PATIENCE)
    if isinstance(home.ours, RawRep | RawRespondent):
        assert isinstance(got, Message)
        assert got.body == b"still there?"
        home.ours.send(got.reply(b"yes"))
    else:
        assert got == b"still there?"
        home.ours.send(b"yes")
    home.ours.flush(PATIENCE)
    assert guest.recv(timeout=PATIENCE) == b"yes"


def words(number: int, first: int = 1) -> bytes:
    """Return so many words of a backtrace, none of them the last."""
    return b"".join((first + n).to_bytes(4, "big") for n in range(number))


# --- B-37 to B-41: questions -----------------------------------------------------------------------------------------


@every_scheme
@each_answerer
@each_delivery
def test_b37_b38_a_question_shorter_than_its_header(
    kind: type[Answerer], scheme: AnyScheme, delivery: Delivery
) -> None:
    """B-37, B-38: 0 to 3 bytes, or words without an end, end the connection; what came before counts, nothing behind."""
    bad = [b"", b"\0", b"\x80", b"\0\1", b"\xff\xff\xff", LAST[:3], words(1), words(1) + b"\0\0\0", words(7)]
    with Home[Answerer](kind, scheme) as home:
        guest = home.guest(ASKERS[kind])
        for payload in bad if delivery is not Delivery.SPLIT else [b"", b"\x80\0\0", words(1), words(2) + b"\x80"]:
            for parts in delivery.of(framed(scheme, payload)):
                with told(payload, parts):
                    stranger = home.stranger()
                    ahead = [framed(scheme, GOOD) + parts[0], *parts[1:]]
                    got = home.say(stranger, [*ahead[:-1], ahead[-1] + framed(scheme, GOOD)], questions)

                    end = home.verdict()
                    assert got == [(headless(LAST, kind), b"good")]
                    assert end.reason is Reason.HEADER_MISSING
                    assert f"{len(payload)} bytes" in end.detail
                    assert stranger.hears_the_end()
                    stranger.close()
        converse(home, guest)


@every_scheme
@each_answerer
def test_b39_words_without_an_end(kind: type[Answerer], scheme: AnyScheme) -> None:
    """B-39: fewer than `max_ttl` of them end the connection; from there on the message has come too far: dropped, counted."""
    with Home[Answerer](kind, scheme) as home:
        guest = home.guest(ASKERS[kind])
        for number in range(1, 21):
            with told(number):
                stranger = home.stranger()
                got = home.say(stranger, [framed(scheme, words(number)), framed(scheme, GOOD)], questions)
                far = number >= 8

                assert [body for _, body in got] == ([b"good"] if far else [])
                assert home.discarded("ttl_exceeded") == max(0, number - 7)
                if far:
                    stranger.finish()
                    list(questions(home.ours))
                assert home.verdict().reason is (Reason.EOF if far else Reason.HEADER_MISSING)
                stranger.close()
        converse(home, guest)


@every_scheme
@each_answerer
@pytest.mark.parametrize("ttl", [1, 8, 15])
def test_b40_b41_as_many_words_as_may_be(kind: type[Answerer], scheme: AnyScheme, ttl: int) -> None:
    """B-40, B-41: `max_ttl` words are taken, one more is not, at every split; the body may look like words, of any kind."""
    with Home[Answerer](kind, scheme, max_ttl=ttl) as home:
        guest, stranger = home.guest(ASKERS[kind]), home.stranger()
        far = 0
        for number in sorted({1, 2, 7, 8, 9, 15, 16, ttl, ttl + 1}):
            header = words(number - 1) + LAST
            body = (LAST + words(3) + LAST)[: 4 * number]  # the first end counts
            data = framed(scheme, header + body, GOOD)
            for cut in range(1, len(data)):
                with told(number, cut):
                    got = home.say(stranger, [data[:cut], data[cut:]], questions)
                    far += number > ttl

                    wanted = [(headless(header, kind), body)] if number <= ttl else []
                    assert got == [*wanted, (headless(LAST, kind), b"good")]
        assert dict(home.ours.stats().discarded) == ({"ttl_exceeded": far} if far else {})
        converse(home, guest)
        stranger.finish()
        list(questions(home.ours))
        assert home.verdict().reason is Reason.EOF


@every_scheme
@each_answerer
def test_b40_an_answer_has_the_header_of_its_question(kind: type[Answerer], scheme: AnyScheme) -> None:
    """B-40, B-41: every byte of it, and nothing of the body that follows."""
    with Home[Answerer](kind, scheme, max_ttl=15) as home:
        stranger = home.stranger()
        for number in range(1, 16):
            header = words(number - 1, first=0x7FFFFF00) + b"\xff\xff\xff\xff"
            stranger.say(framed(scheme, header + words(2) + LAST))
            if isinstance(home.ours, RawRep | RawRespondent):
                home.ours.send(home.ours.recv(timeout=PATIENCE).reply(b"answer"))
            else:
                assert home.ours.recv(timeout=PATIENCE) == words(2) + LAST
                home.ours.send(b"answer")
            home.ours.flush(PATIENCE)

            wanted = framed(scheme, header + b"answer", role="listener")
            assert stranger.hear(len(wanted)) == wanted
        stranger.finish()
        list(questions(home.ours))
        assert home.verdict().reason is Reason.EOF


@each_answerer
@pytest.mark.parametrize("ttl", [0, 16, -1])
def test_b40_the_limit_is_from_1_to_15(kind: type[Answerer], ttl: int) -> None:
    """B-40: as in nng."""
    with pytest.raises(ValueError, match=f"max_ttl is from 1 to 15 steps, not {ttl}"):
        kind(max_ttl=ttl)


# --- B-42: replies to requests ---------------------------------------------------------------------------------------


def number_of(stranger: Stranger, scheme: AnyScheme, body: bytes) -> bytes:
    """Read a question from our side, and return its number."""
    heard = stranger.hear(len(framed(scheme, LAST + body, role="listener")))
    assert heard.endswith(body)
    number = heard[-len(body) - 4 :][:4]
    assert number[0] & 0x80
    return number


@every_scheme
@each_delivery
@pytest.mark.parametrize("kind", [Req, Surveyor])
def test_b42_b43_a_reply_shorter_than_its_number(
    kind: type[Req | Surveyor], scheme: AnyScheme, delivery: Delivery
) -> None:
    """B-42, B-43: 0 to 3 bytes end the connection; a good peer gets the question, or another one, and answers it."""
    with Home[Req | Surveyor](kind, scheme) as home:
        for payload in (b"", b"\x80", b"\x80\0\0"):
            for parts in delivery.of(framed(scheme, payload)):
                with told(payload, parts):
                    stranger = home.stranger()
                    home.ours.send(b"a question")
                    number = number_of(stranger, scheme, b"a question")
                    got = home.say(stranger, [*parts[:-1], parts[-1] + framed(scheme, number + b"late")], replies)

                    end = home.verdict()
                    assert (got, end.reason) == ([], Reason.HEADER_MISSING)
                    assert f"{len(payload)} bytes" in end.detail
                    stranger.close()
        assert dict(home.ours.stats().discarded) == {}
        with home.guest(Rep if kind is Req else Respondent) as guest:
            if isinstance(home.ours, Surveyor):
                home.ours.send(b"a question")
            assert guest.recv(timeout=PATIENCE) == b"a question"
            guest.send(b"an answer")
            guest.flush(PATIENCE)
            assert home.ours.recv(timeout=PATIENCE) == b"an answer"
        assert home.verdict().reason is Reason.EOF


@every_scheme
def test_b42_replies_that_nobody_asked_for(scheme: AnyScheme) -> None:
    """B-42: an unknown number, one without its top bit, that of a request given up: dropped, counted, at every split."""
    with Home(Req, scheme) as home:
        stranger = home.stranger()
        home.ours.send(b"given up")
        old = number_of(stranger, scheme, b"given up")
        dropped = 0
        for wrong in (b"\x80\0\0\0", b"\xff\xff\xff\xff", bytes(4), bytes([old[0] & 0x7F]) + old[1:], old):
            home.ours.send(b"a question")
            number = number_of(stranger, scheme, b"a question")
            for tail in (b"", b"body", number):
                data = framed(scheme, wrong + tail)
                for cut in range(len(data)):
                    with told(wrong, tail, cut):
                        assert home.say(stranger, [data[:cut], data[cut:]], replies) == []
                        dropped += 1
                        assert home.discarded("unknown_request") == dropped
            stranger.say(framed(scheme, number + b"an answer"))
            assert home.ours.recv(timeout=PATIENCE) == b"an answer"
        assert dict(home.ours.stats().discarded) == {"unknown_request": dropped}
        stranger.finish()
        assert home.verdict().reason is Reason.EOF


@each_scheme
def test_b42_a_second_reply_never_arrives(scheme: AnyScheme) -> None:
    """B-42: before the first one was taken and after it, by the same peer and by another: the first is the reply."""
    with Home(Req, scheme) as home:
        one, other = home.stranger(), home.stranger()
        for second in (one, other):
            for cut in range(len(framed(scheme, GOOD))):
                home.ours.send(b"question")
                asked = whoever_hears([one, other])
                number = number_of(asked, scheme, b"question")
                data = framed(scheme, number + b"twin")
                asked.say(framed(scheme, number + b"once"))
                second.say(data[:cut])
                assert home.ours.recv(timeout=PATIENCE) == b"once"
                second.say(data[cut:])

                with pytest.raises(StateError, match="no request is open"):
                    home.ours.recv(timeout=0)
                assert_asks_on(home.ours, scheme, one, other)
        discarded = home.ours.stats().discarded
        assert sum(discarded.values()) == 2 * len(framed(scheme, GOOD))
        assert set(discarded) <= {"unknown_request", "duplicate_reply"}
        for stranger in (one, other):
            stranger.finish()
            assert home.verdict().reason is Reason.EOF


@each_scheme
def test_b42_of_two_replies_in_one_segment_the_first_counts(scheme: AnyScheme) -> None:
    """B-42: both are there before anybody has taken one; the second is counted as a duplicate."""
    with Home(Req, scheme) as home:
        stranger = home.stranger()
        home.ours.send(b"question")
        number = number_of(stranger, scheme, b"question")
        stranger.say(framed(scheme, number + b"first", number + b"second"))

        assert home.ours.recv(timeout=PATIENCE) == b"first"
        assert dict(home.ours.stats().discarded) == {"duplicate_reply": 1}
        assert_asks_on(home.ours, scheme, stranger)
        stranger.finish()
        assert home.verdict().reason is Reason.EOF


def whoever_hears(strangers: list[Stranger]) -> Stranger:
    """Wait until one of them has something to read, and return it."""
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        for stranger in strangers:
            stranger.sock.setblocking(False)
            try:
                with suppress(BlockingIOError):
                    if stranger.sock.recv(1, 2):  # MSG_PEEK
                        return stranger
            finally:
                stranger.sock.settimeout(PATIENCE)
        settle()
    raise AssertionError("nobody is asked")


def assert_asks_on(ours: Req, scheme: AnyScheme, *strangers: Stranger) -> None:
    """Ask once more, and get the reply."""
    ours.send(b"next")
    asked = whoever_hears(list(strangers))
    asked.say(framed(scheme, number_of(asked, scheme, b"next") + b"reply"))
    assert ours.recv(timeout=PATIENCE) == b"reply"


@each_scheme
def test_b42_a_reply_by_another_connection_counts(scheme: AnyScheme) -> None:
    """B-42: as with nng the number decides, not the way; the next reply to it is none."""
    with Home(Req, scheme) as home:
        one, other = home.stranger(), home.stranger()
        home.ours.send(b"question")
        asked = whoever_hears([one, other])
        number = number_of(asked, scheme, b"question")
        (stranger,) = {one, other} - {asked}
        stranger.say(framed(scheme, number + b"by another way"))

        assert home.ours.recv(timeout=PATIENCE) == b"by another way"
        asked.say(framed(scheme, number + b"by the way it came"))
        assert_asks_on(home.ours, scheme, one, other)
        assert dict(home.ours.stats().discarded) == {"unknown_request": 1}
        for stranger in (one, other):
            stranger.finish()
            assert home.verdict().reason is Reason.EOF


@each_scheme
def test_b42_a_reply_after_the_time_is_over(scheme: AnyScheme) -> None:
    """B-42: to a `request` whose time is over, or whose context is closed: dropped and counted."""
    with Home(Req, scheme) as home:
        stranger = home.stranger()
        with pytest.raises(TimedOut):
            home.ours.request(b"in vain", timeout=0.01)
        late = number_of(stranger, scheme, b"in vain")
        with home.ours.context() as context:
            context.send(b"closed")
            closed = number_of(stranger, scheme, b"closed")
        stranger.say(framed(scheme, late + b"1", closed + b"2"))

        assert_asks_on(home.ours, scheme, stranger)
        assert dict(home.ours.stats().discarded) == {"unknown_request": 2}
        stranger.finish()
        assert home.verdict().reason is Reason.EOF


@each_scheme
@pytest.mark.parametrize("kind", [RawReq, RawSurveyor])
def test_b42_b43_raw_replies_have_a_whole_header(kind: type[RawReq | RawSurveyor], scheme: AnyScheme) -> None:
    """B-42, B-43: up to 16 words, whatever the number is; more are dropped, no end ends the connection."""
    with Home[RawReq | RawSurveyor](kind, scheme) as home:
        stranger = home.stranger()
        for number in (1, 2, 15, 16, 17):
            header = words(number - 1) + LAST
            data = framed(scheme, header + words(1), GOOD)
            for cut in range(0, len(data), 1 if number < 3 else 7):
                got = home.say(stranger, [data[:cut], data[cut:]], messages)

                wanted = [(header, words(1))] if number <= 16 else []
                assert [one[:2] for one in got] == [*wanted, (LAST, b"good")]
                assert {one.peer for one in got} == {home.newest.id}
        for payload in (b"", b"\x80\0\0", words(1), words(15) + b"\0\0"):
            for cut in range(len(framed(scheme, payload))):
                data = framed(scheme, payload)
                with told(payload, cut):
                    assert (
                        home.say(stranger, [framed(scheme, GOOD) + data[:cut], data[cut:]], messages)[0][1] == b"good"
                    )
                    assert home.verdict().reason is Reason.HEADER_MISSING
                    stranger.close()
                    stranger = home.stranger()
        stranger.finish()
        list(messages(home.ours))
        assert home.verdict().reason is Reason.EOF


# --- B-43: replies to surveys ----------------------------------------------------------------------------------------


@every_scheme
def test_b43_replies_to_an_earlier_survey(scheme: AnyScheme) -> None:
    """B-43: given up, or over: dropped and counted, at every split; the one that is open has its own."""
    with Home(Surveyor, scheme) as home:
        stranger = home.stranger()
        home.ours.send(b"earlier", deadline=PATIENCE)
        earlier = number_of(stranger, scheme, b"earlier")
        with home.ours.survey(b"no time", deadline=0.001) as survey:
            assert list(survey) == []
        no_time = number_of(stranger, scheme, b"no time")
        home.ours.send(b"this one", deadline=PATIENCE)
        number = number_of(stranger, scheme, b"this one")
        dropped = 0
        for wrong in (earlier, no_time, b"\x80\0\0\0", bytes([number[0] & 0x7F]) + number[1:]):
            data = framed(scheme, wrong + b"late", number + b"in time")
            for cut in range(len(data)):
                with told(wrong, cut):
                    assert home.say(stranger, [data[:cut], data[cut:]], replies) == [b"in time"]
                    dropped += 1

        assert dict(home.ours.stats().discarded) == {"unknown_request": dropped}
        stranger.finish()
        assert list(replies(home.ours)) == []
        assert home.verdict().reason is Reason.EOF


@each_scheme
def test_b43_a_flood_of_replies_to_one_survey(scheme: AnyScheme) -> None:
    """B-43: 100,000 of them while the program waits for another survey: `recv_hwm` wait, the others are counted."""
    number, mark, burst = 100_000, 100, 1000

    with Home(Surveyor, scheme, recv_hwm=mark) as home, home.ours.context() as patient:
        stranger = home.stranger()
        home.ours.send(b"flooded", deadline=PATIENCE)
        flooded = number_of(stranger, scheme, b"flooded")
        patient.send(b"patient", deadline=PATIENCE)
        waiting = number_of(stranger, scheme, b"patient")

        def look() -> None:
            with pytest.raises(TimedOut):
                patient.recv(timeout=0)
            assert home.ours.stats().inbox <= 2 * mark

        with Memory() as memory:
            flood = framed(scheme, *(flooded + b"%03d" % n for n in range(burst)))
            for _ in range(number // burst):
                assert stranger.pour(flood, meanwhile=look)
            while home.ours.stats().received < number:
                look()
            assert memory.grown < 4 << 20
        guest = home.guest(Respondent)
        stranger.say(framed(scheme, waiting + b"at last"))

        assert patient.recv(timeout=PATIENCE) == b"at last"
        assert list(replies(home.ours)) == [b"%03d" % n for n in range(mark)]
        assert dict(home.ours.stats().discarded) == {"queue_full": number - mark}
        home.ours.send(b"another", deadline=PATIENCE)
        assert guest.recv(timeout=PATIENCE) == b"another"
        guest.send(b"from a good one")
        assert home.ours.recv(timeout=PATIENCE) == b"from a good one"
        stranger.finish()
        assert list(replies(home.ours)) == []
        assert home.verdict().reason is Reason.EOF


# --- B-44: hop counts ------------------------------------------------------------------------------------------------


def take_pair1(ours: Pair1 | RawPair1) -> Iterator[tuple[bytes, bytes]]:
    """Take what is there: each hop count, as far as the socket shows it, and body."""
    with suppress(WouldBlock):
        while True:
            got = ours.recv_nowait()
            yield got[:2] if isinstance(got, Message) else (b"", got)


poly = partial(Pair1, poly=True)
everything = partial(Sub, subscribe="")
each_pair1 = pytest.mark.parametrize("make", [Pair1, poly, RawPair1], ids=["cooked", "poly", "raw"])
HOP = b"\0\0\0\1"


@every_scheme
@each_pair1
@each_delivery
def test_b44_what_is_no_hop_count_ends_the_connection(
    make: Callable[..., Pair1 | RawPair1], scheme: AnyScheme, delivery: Delivery
) -> None:
    """B-44: less than 4 bytes, or more than 255 steps; what came before is received, and the next peer is served."""
    with Home(make, scheme) as home:
        for payload in (b"", b"\0\0\0", b"\xff", b"\0\0\1\0", b"\1\0\0\1body", b"\xff\xff\xff\xff"):
            for parts in delivery.of(framed(scheme, payload)):
                with told(payload, parts):
                    stranger = home.stranger()
                    data = [framed(scheme, HOP + b"good") + parts[0], *parts[1:]]
                    got = home.say(stranger, [*data[:-1], data[-1] + framed(scheme, HOP + b"behind")], take_pair1)

                    assert [body for _, body in got] == [b"good"]
                    reason = Reason.HEADER_MISSING if len(payload) < 4 else Reason.HEADER_BAD
                    assert home.verdict().reason is reason
                    stranger.close()
        exchange_pair1(home)


def exchange_pair1(home: Home[Pair1 | RawPair1]) -> None:
    """Have a good peer come, and talk with it both ways."""
    guest = home.guest(Pair1)
    guest.send(b"still there?")
    got = home.ours.recv(timeout=PATIENCE)
    assert (got.body if isinstance(got, Message) else got) == b"still there?"
    home.ours.send(b"yes")
    assert guest.recv(timeout=PATIENCE) == b"yes"


@every_scheme
@each_pair1
@pytest.mark.parametrize("ttl", [1, 8, 15])
def test_b44_too_many_steps_are_dropped(make: Callable[..., Pair1 | RawPair1], scheme: AnyScheme, ttl: int) -> None:
    """B-44: 0 to `max_ttl` steps are taken, more are counted and the connection stays, at every split."""
    with Home(make, scheme, max_ttl=ttl) as home:
        stranger = home.stranger()
        far = 0
        for steps in (0, 1, ttl, ttl + 1, 255):
            hops = bytes([0, 0, 0, steps])
            data = framed(scheme, hops + hops, HOP)
            for cut in range(1, len(data)):
                with told(steps, cut):
                    got = home.say(stranger, [data[:cut], data[cut:]], take_pair1)
                    far += steps > ttl

                    shown = isinstance(home.ours, RawPair1)
                    wanted = [(hops if shown else b"", hops)] if steps <= ttl else []
                    assert got == [*wanted, (HOP if shown else b"", b"")]
        assert dict(home.ours.stats().discarded) == {"ttl_exceeded": far}
        stranger.finish()
        list(take_pair1(home.ours))
        assert home.verdict().reason is Reason.EOF
        exchange_pair1(home)


@each_scheme
def test_b44_a_message_to_a_dead_peer_is_dropped(scheme: AnyScheme) -> None:
    """B-44: of a poly Pair1: counted, and the others have what is theirs; an id that never was is the same."""
    with Home(poly, scheme) as home:
        stranger = home.stranger()
        dead = home.newest.id
        stranger.finish()
        list(take_pair1(home.ours))
        assert home.verdict().reason is Reason.EOF
        home.ours.send(b"for nobody")
        guest = home.guest(Pair1)
        for peer in (dead, 1 << 40, 0, -1):
            home.ours.send(b"for the dead", peer=peer)
        home.ours.send(b"for the living", peer=home.newest.id)

        assert guest.recv(timeout=PATIENCE) == b"for the living"
        home.ours.flush(PATIENCE)
        assert dict(home.ours.stats().dropped) == {"peer_gone": 5}


# --- B-46: who must not send -----------------------------------------------------------------------------------------


@every_scheme
@pytest.mark.parametrize("kind", [Push, Pub, RawPush, RawPub])
@pytest.mark.parametrize("part", [1, 1024, STRAY_MAX])
def test_b46_data_to_who_does_not_receive(
    kind: type[Push | Pub | RawPush | RawPub], scheme: AnyScheme, part: int
) -> None:
    """B-46: 64 KiB are read and dropped, one byte more ends the connection; messages go on meanwhile, and after it."""
    other: Callable[..., Pull | Sub] = Pull if kind in (Push, RawPush) else everything
    whole, more = as_much_as_may_be(scheme)
    with Home[Push | Pub | RawPush | RawPub](kind, scheme) as home:
        stranger = home.stranger()
        many = min(len(whole), 100 * part) // part * part
        for place in range(0, many, part):
            stranger.say(whole[place : place + part])
            settle(1)
        stranger.say(whole[many:])
        await_heard(stranger)
        assert home._removed == []
        home.ours.send(b"for the stranger")
        said = framed(scheme, b"for the stranger", role="listener")
        assert stranger.hear(len(said)) == said
        guest = home.guest(other)
        stranger.say(more)

        assert home.verdict().reason is Reason.UNEXPECTED_DATA
        assert stranger.hears_the_end()
        home.ours.send(b"for the guest")
        assert guest.recv(timeout=PATIENCE) == b"for the guest"


def as_much_as_may_be(scheme: AnyScheme) -> tuple[bytes, bytes]:
    """Return what a peer may say at most that must not send, and the least that is too much behind it."""
    if scheme == "ws":  # there messages count: their bytes, and one more for each
        return framed("ws", *[b"x" * 1023] * (STRAY_MAX // 1024)), framed("ws", b"")
    return framed(scheme, *[b"x" * 991] * (STRAY_MAX // 991))[:STRAY_MAX].ljust(STRAY_MAX, b"x"), b"!"


def await_heard(stranger: Stranger) -> None:
    """Wait until the janitor has read all that the stranger has said."""
    deadline = monotonic() + PATIENCE
    while stranger.unheard():
        assert monotonic() < deadline, f"{stranger.unheard()} bytes are not read"
        settle()


# --- B-47, B-48: publishing ------------------------------------------------------------------------------------------


def test_b47_a_hundred_thousand_subscriptions() -> None:
    """B-47: to subscribe ten times as often takes no hundred times as long, nor does the end of that; each one counts."""
    seconds: list[float] = []
    for number in (10_000, 100_000):
        topics = [b"%d." % n for n in range(number)]
        with Home(Sub, "tcp") as home:
            stranger = home.stranger()
            with Memory() as memory:
                began = perf_counter()
                for topic in topics:
                    home.ours.subscribe(topic)
                stranger.say(frame("tcp", b"777.x", b"777", b"100000.", topics[-1], b"0.", b"x"))
                assert [home.ours.recv(timeout=PATIENCE) for _ in range(3)] == [b"777.x", topics[-1], b"0."]
                for topic in topics[1:]:
                    home.ours.unsubscribe(topic)
                seconds.append(perf_counter() - began)
                assert memory.grown < 64 << 20
            stranger.say(frame("tcp", topics[-1], b"0.last"))

            assert home.ours.recv(timeout=PATIENCE) == b"0.last"
            assert home.ours.subscriptions == (b"0.",)
            stranger.finish()
            assert list(bodies(home.ours)) == []
            assert home.verdict().reason is Reason.EOF

    assert seconds[1] < 50 * seconds[0]


def bodies(ours: Sub) -> Iterator[bytes]:
    """Take what is there."""
    with suppress(TimedOut):
        while True:
            yield ours.recv(timeout=0)


@every_scheme
def test_b47_topics_of_any_bytes_and_sizes(scheme: AnyScheme) -> None:
    """B-47: empty, binary, 1 MiB, one within the other, one twice: what begins with one of them is received, once."""
    large = b"L" + bytes(range(256)) * 4096
    with Home(Sub, scheme) as home:
        guest, stranger = home.guest(Pub), home.stranger()
        for topic in (large, large[:-1] + b"!", b"\0", b"\0\0", b"\xff\xfe", b"ab", b"abc", b"abc", b"a\nb"):
            home.ours.subscribe(topic)
        wanted = [large, large + b"more", large[:-1] + b"!?", b"\0", b"\0\1", b"\xff\xfe\xfd", b"abc", b"abcd", b"a\nb"]
        unwanted = [large[:-1], large[:-1] + b"?", b"", b"\xff", b"a", b"a\n", b"b"]
        mixed = [body for pair in zip(wanted, [*unwanted, b"x", b"y"], strict=True) for body in pair]
        got: list[bytes] = []
        stranger.pour(framed(scheme, *mixed), meanwhile=lambda: got.extend(bodies(home.ours)))
        while len(got) < len(wanted):
            got.append(home.ours.recv(timeout=PATIENCE))
        assert got == wanted

        home.ours.unsubscribe(b"abc")
        with pytest.raises(ValueError, match="no subscription"):
            home.ours.unsubscribe(b"abc")
        home.ours.unsubscribe(b"ab")
        home.ours.subscribe(b"")
        home.ours.unsubscribe(large)
        home.ours.unsubscribe(b"")
        guest.send_many([b"abc", b"", large, b"\0good"])
        assert home.ours.recv(timeout=PATIENCE) == b"\0good"
        stranger.finish()
        got += bodies(home.ours)
        assert home.verdict().reason is Reason.EOF
        assert got == wanted


@every_scheme
def test_b48_one_stuck_subscriber_among_many(scheme: AnyScheme) -> None:
    """B-48, with 50 good ones (15 where they cost more): they miss nothing; the stuck one costs `send_hwm` messages, and misses are its own."""
    number, wave, mark = 2000, 40, 50
    many = 50 if scheme in ("tcp", "ipc") else 15
    with Home(Pub, scheme, send_hwm=mark) as home:
        home.stranger()
        stuck = home.newest.id
        subs = [home.guest(everything) for _ in range(many)]
        with Memory() as memory:
            for first in range(0, number, wave):
                home.ours.send_many([b"%05d" % n + bytes(4000) for n in range(first, first + wave)])
                for sub in subs:
                    got = [int(sub.recv(timeout=PATIENCE)[:5]) for _ in range(wave)]
                    assert got == list(range(first, first + wave))
            assert memory.grown < 16 << 20

        missed = {peer.id: peer.missed for peer in home.ours.peers}
        stats = home.ours.stats()
        assert {missed[peer] for peer in missed if peer != stuck} == {0}
        assert missed[stuck] > number // 10
        assert dict(stats.dropped) == {"queue_full": missed[stuck]}
        assert stats.queued <= mark + 1
        assert stats.accepted == number * (many + 1)
        home.ours.close(0)


# --- B-49: loops -----------------------------------------------------------------------------------------------------


@pytest.fixture
def spots(scheme: AnyScheme) -> Iterator[Iterator[str]]:
    """URLs to bind, without end."""
    folder = tempfile.mkdtemp(prefix="nnq-")
    yield ("tcp://127.0.0.1:0" if scheme == "tcp" else f"ipc://{folder}/{n}" for n in count())
    shutil.rmtree(folder)


Seen = list[tuple[str, bytes]]


@each_scheme
@pytest.mark.parametrize("ttl", [1, 8, 15])
def test_b49_a_loop_of_pair1_devices_ends(scheme: AnyScheme, spots: Iterator[str], ttl: int) -> None:
    """B-49: each device counts one step more; what has made `max_ttl` of them goes round no further, and new ones still do."""
    assert scheme
    seen: Seen = []
    note = partial(noted, seen)
    with (
        RawPair1(max_ttl=ttl) as a,
        RawPair1(max_ttl=ttl) as b,
        RawPair1(max_ttl=ttl) as c,
        RawPair1(max_ttl=ttl) as d,
        Device(a, b, tap=note),
        Device(c, d, tap=note),
    ):
        b.connect(c.bind(next(spots)).url, wait=True, timeout=PATIENCE)
        d.connect(a.bind(next(spots)).url, wait=True, timeout=PATIENCE)
        for turn in (1, 2):
            b.send(b"round and round")  # to c, d, a, and b again
            await_true(lambda turn=turn: far(a, b, c, d) == turn)  # type: ignore[misc]

            assert seen == [("front", bytes([0, 0, 0, steps])) for steps in range(1, ttl + 1)] * turn


def noted(seen: Seen, side: str, message: Message) -> None:
    """Note whence a message came and its header."""
    seen.append((side, message.header))


def far(*socks: Socket) -> int:
    """Messages that came too far, in all."""
    return sum(sock.stats().discarded.get("ttl_exceeded", 0) for sock in socks)


def await_true(claim: Callable[[], bool]) -> None:
    """Wait until it is."""
    deadline = monotonic() + PATIENCE
    while not claim():
        assert monotonic() < deadline, "not true in time"
        settle(1)


@each_scheme
@pytest.mark.parametrize(
    ("front", "back", "asker"), [(RawRep, RawReq, Req), (RawRespondent, RawSurveyor, Surveyor)], ids=["req", "survey"]
)
@pytest.mark.parametrize("ttl", [1, 8, 15])
def test_b49_a_loop_of_devices_that_carry_questions_ends(
    front: type[RawRep | RawRespondent],
    back: type[RawReq | RawSurveyor],
    asker: type[Req | Surveyor],
    scheme: AnyScheme,
    spots: Iterator[str],
    ttl: int,
) -> None:
    """B-49: A hands on to B, and B to A: the header grows by a word each time, until it has `max_ttl` of them."""
    assert scheme
    seen: Seen = []
    note = partial(noted, seen)
    with (
        asker(linger=0) as ask,
        front(max_ttl=ttl) as a,
        back() as a_back,
        front(max_ttl=ttl) as b,
        back() as b_back,
        Device(a, a_back, tap=note),
        Device(b, b_back, tap=note),
    ):
        url = a.bind(next(spots)).url
        a_back.connect(b.bind(next(spots)).url, wait=True, timeout=PATIENCE)
        b_back.connect(url, wait=True, timeout=PATIENCE)
        ask.connect(url, wait=True, timeout=PATIENCE)
        for turn in (1, 2):
            ask.send(b"is anybody there?")
            await_true(lambda turn=turn: far(a, b) == turn)  # type: ignore[misc]

            assert [(side, len(header)) for side, header in seen] == [
                ("front", 4 * words) for words in range(1, ttl + 1)
            ] * turn


@each_scheme
def test_b49_reflectors_of_a_bus_send_nothing_back(scheme: AnyScheme, spots: Iterator[str]) -> None:
    """B-49: A bus has no limit of steps; who it came from does not get it, so two reflectors at each other are no loop."""
    assert scheme
    seen: Seen = []
    note = partial(noted, seen)
    with (
        Bus() as one,
        Bus() as two,
        Bus() as far_one,
        RawBus() as a,
        RawBus() as b,
        Device(a, tap=note),
        Device(b, tap=note),
    ):
        url = a.bind(next(spots)).url
        far_url = b.bind(next(spots)).url
        one.connect(url, wait=True, timeout=PATIENCE)
        two.connect(url, wait=True, timeout=PATIENCE)
        far_one.connect(far_url, wait=True, timeout=PATIENCE)
        b.connect(url, wait=True, timeout=PATIENCE)
        for reflector, number in ((a, 3), (b, 2)):
            reflector.wait_for_peers(number, PATIENCE)
        for n in range(100):
            one.send(b"%d" % n)
        for listener in (two, far_one):
            assert [int(listener.recv(timeout=PATIENCE)) for _ in range(100)] == list(range(100))
        far_one.send(b"back")
        assert [bus.recv(timeout=PATIENCE) for bus in (one, two)] == [b"back", b"back"]

        for bus in (one, two, far_one):
            with pytest.raises(WouldBlock):
                bus.recv_nowait()
        assert len(seen) == 202  # each reflector saw each once


# --- B-50: not now ---------------------------------------------------------------------------------------------------


@each_scheme
def test_b50_a_pattern_that_has_no_such_call(scheme: AnyScheme) -> None:
    """B-50: recv on a Pub or Push, send on a Sub or Pull: said, and the socket is as it was."""
    pairs: list[tuple[type[Pub | Push], Callable[..., Sub | Pull]]] = [(Pub, everything), (Push, Pull)]
    for kind, other in pairs:
        with Home[Pub | Push](kind, scheme) as home:
            guest = home.guest(other)
            for name in ("recv", "recv_nowait", "recv_many"):
                with pytest.raises(UnsupportedOperation, match="does not receive"):
                    getattr(home.ours, name)
            for name in ("send", "send_nowait", "send_many"):
                with pytest.raises(UnsupportedOperation, match="does not send"):
                    getattr(guest, name)
            home.ours.send(b"all the same")
            assert guest.recv(timeout=PATIENCE) == b"all the same"


@each_scheme
@pytest.mark.parametrize("kind", [Rep, Respondent])
def test_b50_an_answer_without_a_question(kind: type[Rep | Respondent], scheme: AnyScheme) -> None:
    """B-50: before the first question, after the answer, and in a fresh context: `StateError`, and then all goes on."""
    with Home[Rep | Respondent](kind, scheme) as home:
        guest = home.guest(ASKERS[kind])
        with pytest.raises(StateError, match="recv one first"):
            home.ours.send(b"to whom?")
        for n in range(3):
            guest.send(b"%d" % n)
            assert home.ours.recv(timeout=PATIENCE) == b"%d" % n
            with pytest.raises(StateError), home.ours.context() as context:
                context.send(b"not its own")
            home.ours.send(b"yes")
            with pytest.raises(StateError):
                home.ours.send(b"twice")

            home.ours.flush(PATIENCE)
            assert guest.recv(timeout=PATIENCE) == b"yes"
        assert home.ours.stats().accepted == 3


@each_scheme
@pytest.mark.parametrize("kind", [Req, Surveyor])
def test_b50_a_reply_without_a_question(kind: type[Req | Surveyor], scheme: AnyScheme) -> None:
    """B-50: recv before the first question and in a fresh context: `StateError`, and then all goes on."""
    with Home[Req | Surveyor](kind, scheme) as home, home.ours.context() as context:
        guest = home.guest(Rep if kind is Req else Respondent)
        for n in range(3):
            with pytest.raises(StateError):
                context.recv(timeout=0)
            if isinstance(home.ours, Req) or not n:
                with pytest.raises(StateError):
                    home.ours.recv(timeout=0)
            home.ours.send(b"%d" % n)
            assert guest.recv(timeout=PATIENCE) == b"%d" % n
            guest.send(b"yes")
            guest.flush(PATIENCE)

            assert home.ours.recv(timeout=PATIENCE) == b"yes"


@each_scheme
@pytest.mark.parametrize("kind", [Rep, Respondent])
def test_b50_two_receive_at_once(kind: type[Rep | Respondent], scheme: AnyScheme) -> None:
    """B-50: one question at a time: the second thread is told so; the first one gets its question and answers it."""
    with Home[Rep | Respondent](kind, scheme) as home:
        guest = home.guest(ASKERS[kind])
        first = Beside(lambda: home.ours.recv(timeout=PATIENCE))
        await_true(lambda: receiving(home.ours) == 1)
        with pytest.raises(StateError, match="take a context"):
            home.ours.recv(timeout=0)
        guest.send(b"question")

        assert first.result() == b"question"
        home.ours.send(b"answer")
        home.ours.flush(PATIENCE)
        assert guest.recv(timeout=PATIENCE) == b"answer"


T = TypeVar("T")


class Beside(Generic[T]):
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._outcome: list[T | BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], T]) -> None:
        try:
            self._outcome.append(call())
        except BaseException as error:
            self._outcome.append(error)

    def result(self) -> T:
        """Wait for what it returns or raises."""
        self._thread.join(PATIENCE)
        (outcome,) = self._outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def receiving(sock: Socket) -> int:
    """Return how many threads wait for messages."""
    into = sock._turns.into
    return into.parked + len(into.line)


# --- B-51: contexts --------------------------------------------------------------------------------------------------


@each_scheme
@pytest.mark.parametrize("kind", [Req, Surveyor])
def test_b51_a_context_is_closed_while_it_receives(kind: type[Req | Surveyor], scheme: AnyScheme) -> None:
    """B-51: who waits is told so; the late reply is dropped, and a new context works."""
    with Home[Req | Surveyor](kind, scheme) as home:
        guest = home.guest(Rep if kind is Req else Respondent)
        context = home.ours.context()
        context.send(b"first")
        assert guest.recv(timeout=PATIENCE) == b"first"
        waiting = Beside(lambda: context.recv(timeout=PATIENCE))
        await_true(lambda: receiving(home.ours) == 1)
        context.close()
        context.close()

        with pytest.raises(StateError, match="its context was closed"):
            waiting.result()
        guest.send(b"late")
        with home.ours.context() as another:
            another.send(b"second")
            assert guest.recv(timeout=PATIENCE) == b"second"
            guest.send(b"in time")
            guest.flush(PATIENCE)
            assert another.recv(timeout=PATIENCE) == b"in time"
        assert dict(home.ours.stats().discarded) == {"unknown_request": 1}


@each_scheme
def test_b51_ten_thousand_contexts_that_ask(scheme: AnyScheme) -> None:
    """B-51: all of them at the same time: each has its own reply, in whatever order they are asked for."""
    number = 10_000
    with Home(Req, scheme) as home:
        guest = home.guest(Rep, send_hwm=number)  # nobody takes replies while all ask
        serving = Beside(lambda: guest.serve(lambda body: b"re " + body))
        contexts = [home.ours.context() for _ in range(number)]
        with Memory() as memory:
            for n, context in enumerate(contexts):
                context.send(b"%d" % n, timeout=PATIENCE)
            for n in (*range(0, number, 2), *reversed(range(1, number, 2))):
                assert contexts[n].recv(timeout=PATIENCE) == b"re %d" % n
            assert memory.grown < 64 << 20
        for context in contexts:
            context.close()

        assert dict(home.ours.stats().discarded) == {}
        assert home.ours.request(b"after all", timeout=PATIENCE) == b"re after all"
        guest.close()
        serving.result()
        assert home.verdict().reason is Reason.EOF


@each_scheme
@pytest.mark.parametrize("kind", [Rep, Respondent])
def test_b51_ten_thousand_contexts_that_answer(kind: type[Rep | Respondent], scheme: AnyScheme) -> None:
    """B-51: each has a question of one stranger, and the last answers first: each answer has the number of its question."""
    number = 10_000
    numbers = [(0x80000000 + n).to_bytes(4, "big") for n in range(number)]
    with Home[Rep | Respondent](kind, scheme) as home:
        guest, stranger = home.guest(ASKERS[kind]), home.stranger()
        contexts = [home.ours.context() for _ in range(number)]
        asking = Beside(lambda: stranger.sock.sendall(framed(scheme, *numbers)))
        for context in contexts:
            assert context.recv(timeout=PATIENCE) == b""
        asking.result()
        wanted = framed(scheme, *(one + b"!" for one in reversed(numbers)))
        hearing = Beside(lambda: stranger.hear(len(wanted)))
        for context in reversed(contexts):
            context.send(b"!", timeout=PATIENCE)

        assert hearing.result() == wanted
        converse(home, guest)
        stranger.finish()
        list(questions(home.ours))
        assert home.verdict().reason is Reason.EOF


@each_scheme
@pytest.mark.parametrize("kind", [Req, Surveyor, Rep, Respondent])
def test_b51_a_context_outlives_its_socket(kind: type[Req | Surveyor | Rep | Respondent], scheme: AnyScheme) -> None:
    """B-51: who waits in one gets `Closed`, and so does every call from then on; closing it is no mistake."""
    with Home[Req | Surveyor | Rep | Respondent](kind, scheme) as home:
        home.stranger()
        waiting, idle = home.ours.context(), home.ours.context()
        for context in (waiting, idle):
            if isinstance(home.ours, Req | Surveyor):
                context.send(b"question")
        calls = [Beside(lambda: waiting.recv(timeout=PATIENCE))]
        await_true(lambda: receiving(home.ours) == 1)
        home.ours.close(0)

        for call in calls:
            with pytest.raises(Closed):
                call.result()
        for context in (waiting, idle):
            with pytest.raises(Closed):
                context.recv(timeout=0)
            if isinstance(home.ours, Req | Surveyor):
                with pytest.raises(Closed):
                    context.send(b"another")
            context.close()
        with pytest.raises(Closed):
            home.ours.context()


# --- B-52: raw sends -------------------------------------------------------------------------------------------------

MALFORMED = [b"", b"\x80", b"\x80\0\0", words(1), LAST + words(1), LAST + LAST, words(1) + b"\x80", words(16) + LAST]


@each_scheme
@pytest.mark.parametrize("kind", [RawRep, RawRespondent])
@pytest.mark.parametrize("strict", [False, True])
def test_b52_answers_with_a_bad_header_or_to_the_dead(
    kind: type[RawRep | RawRespondent], scheme: AnyScheme, strict: bool
) -> None:
    """B-52: a malformed header is the caller's mistake; a dead peer is none: counted, or told by a strict socket."""
    with Home[RawRep | RawRespondent](kind, scheme, strict=strict) as home:
        guest, stranger = home.guest(ASKERS[kind]), home.stranger()
        peer = home.newest.id
        stranger.say(framed(scheme, GOOD))
        question = home.ours.recv(timeout=PATIENCE)
        for header in MALFORMED:
            with pytest.raises(ValueError, match="a header is 1 to 16 words"):
                home.ours.send(b"x", header=header, peer=peer)
            with pytest.raises(ValueError, match="a header is 1 to 16 words"):
                home.ours.send_nowait(Message(header, b"x", peer))
        assert home.ours.stats().accepted == 0
        home.ours.send(question.reply(b"well"))
        home.ours.flush(PATIENCE)
        assert stranger.hear(len(framed(scheme, LAST + b"well"))) == framed(scheme, LAST + b"well")
        stranger.finish()
        list(questions(home.ours))
        assert home.verdict().reason is Reason.EOF

        for answer in (question.reply(b"late"), Message(LAST, b"x", 0), Message(LAST, b"x", 1 << 40)):
            if strict:
                with pytest.raises(PeerGone, match=f"peer {answer.peer} is gone"):
                    home.ours.send(answer)
            else:
                home.ours.send(answer)
        home.ours.flush(PATIENCE)
        assert dict(home.ours.stats().dropped) == ({} if strict else {"peer_gone": 3})
        converse(home, guest)


@each_scheme
@pytest.mark.parametrize("kind", [RawReq, RawSurveyor])
def test_b52_questions_with_a_bad_header(kind: type[RawReq | RawSurveyor], scheme: AnyScheme) -> None:
    """B-52: refused, and nothing of it leaves; what has a good one is sent as it is."""
    with Home[RawReq | RawSurveyor](kind, scheme) as home:
        make: Callable[..., RawRep | RawRespondent] = RawRep if kind is RawReq else RawRespondent
        guest = home.guest(make, max_ttl=15)
        for header in MALFORMED:
            with pytest.raises(ValueError, match="a header is 1 to 16 words"):
                home.ours.send(b"x", header=header)
        for number in (1, 15):
            home.ours.send(b"x", header=words(number - 1) + LAST)

            assert guest.recv(timeout=PATIENCE)[:2] == (words(number - 1) + LAST, b"x")
        assert home.ours.stats().accepted == 2


@each_scheme
def test_b52_a_bad_hop_count(scheme: AnyScheme) -> None:
    """B-52: of a RawPair1: refused, as in nng; one that may make no further step too."""
    with Home(RawPair1, scheme) as home:
        guest = home.guest(RawPair1, max_ttl=15)
        for header in (b"\0", b"\0\0\1\0", b"\0\0\0\xff", b"\x80\0\0\1", bytes(5)):
            with pytest.raises(ValueError, match="a hop count is from"):
                home.ours.send(b"x", header=header)
        for steps in (0, 14):
            home.ours.send(b"x", header=bytes([0, 0, 0, steps]))

            assert guest.recv(timeout=PATIENCE)[:2] == (bytes([0, 0, 0, steps + 1]), b"x")
        assert home.ours.stats().accepted == 2


@each_scheme
def test_b52_a_bus_message_from_a_dead_peer_goes_to_all(scheme: AnyScheme) -> None:
    """B-52: the id only says who does not get it."""
    with Home(RawBus, scheme) as home:
        stranger = home.stranger()
        dead = home.newest.id
        guest = home.guest(Bus)
        stranger.finish()
        with suppress(WouldBlock):
            home.ours.recv_nowait()
        assert home.verdict().reason is Reason.EOF
        home.ours.send(b"its last words", peer=dead)

        assert guest.recv(timeout=PATIENCE) == b"its last words"
        assert dict(home.ours.stats().dropped) == {}
