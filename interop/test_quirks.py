"""What users meet in nng's ways: questions that come twice, windows that count from the send, who misses what."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Final

import pytest

from interop.cases import KIB
from interop.ours import BRISK
from interop.peers.pynng_peer import BY
from interop.wiretap import Wiretap
from interop.witness import PATIENCE
from nnqpy import Pub, RawRep, Rep, Req, Respondent, StateError, Sub, Surveyor, TimedOut

if TYPE_CHECKING:
    from interop.conftest import Peers
    from interop.spots import Spots, Transport

on_each = pytest.mark.parametrize("transport", ["tcp", "ipc"])

AT_ONCE: Final = {"resend_time": 1, "resend_tick": 10}
"""A Req of nng that asks again and again: its tick, not its time, is what it keeps to from the second time on."""
WINDOW: Final = 100
"""Milliseconds."""
OVER: Final = {"Timeout", "BadState"}
"""What nng says when a window is over: it was waiting, or it came later than that."""


# A request comes twice.


@on_each
def test_nngs_req_asks_again_with_the_same_number(transport: Transport, spots: Spots, peers: Peers) -> None:
    """Header and body are the same each time, on the same connection."""
    with RawRep() as raw:
        req = peers.pynng("req", "connect", raw.bind(spots.any_url(transport)).url, **AT_ONCE)

        req.send(b"well?")

        questions = [raw.recv(timeout=PATIENCE) for _ in range(5)]
        assert questions == [questions[0]] * 5
        raw.send(questions[0].reply(b"yes"))
        assert req.receive() == [b"yes"]


@on_each
def test_our_rep_answers_each_time_and_nngs_user_sees_one(transport: Transport, spots: Spots, peers: Peers) -> None:
    """The first answer counts; the others are dropped there, and the next question has its own."""
    with Rep() as rep, ExitStack() as stack:
        req = peers.pynng("req", "connect", rep.bind(spots.any_url(transport)).url, **AT_ONCE)
        desks = [stack.enter_context(rep.context()) for _ in range(3)]

        req.send(b"well?")
        assert [desk.recv(timeout=PATIENCE) for desk in desks] == [b"well?"] * 3
        for n, desk in enumerate(desks):
            desk.send(b"answer %d" % n)
        assert req.receive() == [b"answer 0"]
        req.send(b"and then?")
        while (question := rep.recv(timeout=PATIENCE)) == b"well?":
            rep.send(b"answered already")
        rep.send(b"that is all")

        assert question == b"and then?"
        assert req.receive() == [b"that is all"]


@on_each
def test_nngs_req_asks_our_next_rep_the_same(transport: Transport, spots: Spots, peers: Peers) -> None:
    """Ours closes with the question in hand; the next one at that address is asked at once, and has the same header."""
    url = spots.url(transport)
    with RawRep(bind=url) as first:
        req = peers.pynng("req", "connect", url)
        req.send(b"anybody?")
        asked = first.recv(timeout=PATIENCE)

    with RawRep(bind=url) as second:
        again = second.recv(timeout=PATIENCE)
        second.send(again.reply(b"me"))

        assert (again.header, again.body) == (asked.header, asked.body)
        assert req.receive() == [b"me"]


@on_each
def test_our_req_asks_the_next_rep_of_nng_in_the_same_bytes(transport: Transport, spots: Spots, peers: Peers) -> None:
    """The one that has the question is killed; the other one gets, byte for byte, what the first has got."""
    reps = [peers.pynng("rep", "bind", spots.url(transport)) for _ in range(2)]
    with ExitStack() as stack:
        taps = [stack.enter_context(closing(Wiretap(spots.url(transport), rep.url))) for rep in reps]
        req = stack.enter_context(Req(connect=taps[0].url))
        taps[0].start()
        req.send(b"anybody?")
        assert reps[0].receive() == [b"anybody?"]

        reps[0].stop()
        taps[1].start()
        req.connect(taps[1].url)
        assert reps[1].receive() == [b"anybody?"]
        reps[1].send(b"me")

        assert req.recv(timeout=PATIENCE) == b"me"
        assert taps[0].dialer_said == taps[1].dialer_said
        assert req.resent == 1


@on_each
@pytest.mark.parametrize("we", ["bind", "connect"])
def test_our_req_asks_nngs_rep_that_came_back(we: str, transport: Transport, spots: Spots, peers: Peers) -> None:
    """The same program, killed and started again at the same address, is asked again without being asked to."""
    url = spots.url(transport)
    with Req(**BRISK) as req:
        (req.bind if we == "bind" else req.connect)(url)
        first = peers.pynng("rep", "connect" if we == "bind" else "bind", url)
        req.send(b"anybody?")
        assert first.receive() == [b"anybody?"]

        first.stop()
        second = peers.pynng("rep", "connect" if we == "bind" else "bind", url)

        assert second.receive() == [b"anybody?"]
        second.send(b"me")
        assert req.recv(timeout=PATIENCE) == b"me"


@on_each
def test_our_req_asks_nngs_rep_again_when_it_takes_too_long(transport: Transport, spots: Spots, peers: Peers) -> None:
    """Its user sees the question again and again, and answers once; the next question is clean."""
    with Req(resend_time=0.01) as req:
        rep = peers.pynng("rep", "connect", req.bind(spots.any_url(transport)).url)

        req.send(b"well?")
        assert rep.receive(4) == [b"well?"] * 4
        rep.send(b"yes")
        assert req.recv(timeout=PATIENCE) == b"yes"
        assert req.resent >= 3
        req.send(b"and then?")
        while rep.receive() != [b"and then?"]:
            pass  # said again before the answer was there
        rep.send(b"that is all")

        assert req.recv(timeout=PATIENCE) == b"that is all"


# A survey is over when its window is, which counts from the send.


@on_each
def test_nng_drops_our_late_answer_and_the_next_survey_is_clean(
    transport: Transport, spots: Spots, peers: Peers
) -> None:
    """What our Respondent says after the window nobody hears, neither then nor in answer to the next survey."""
    with Respondent() as respondent:
        surveyor = peers.pynng("surveyor", "connect", respondent.bind(spots.any_url(transport)).url, survey_time=WINDOW)
        surveyor.attached()
        surveyor.send(b"one?")
        assert respondent.recv(timeout=PATIENCE) == b"one?"
        assert surveyor.failed() in OVER

        respondent.send(b"late")
        surveyor.set(survey_time=20_000)
        surveyor.send(b"two?")
        assert respondent.recv(timeout=PATIENCE) == b"two?"
        respondent.send(b"in time")

        assert surveyor.receive() == [b"in time"]
        assert surveyor.received_nothing()


def test_nngs_window_counts_from_the_send_also_for_answers_in_time(spots: Spots, peers: Peers) -> None:
    """Who does not receive before it is over gets nothing, though the answer was there."""
    with Respondent() as respondent:
        surveyor = peers.pynng(
            "surveyor", "connect", respondent.bind(spots.any_url("tcp")).url, "held", survey_time=WINDOW
        )
        surveyor.attached()
        surveyor.send(b"well?")
        assert respondent.recv(timeout=PATIENCE) == b"well?"
        respondent.send(b"in time")
        clock = peers.pynng("surveyor", "bind", spots.url("tcp"), survey_time=WINDOW)
        clock.send(b"a survey that was sent later is over")
        assert clock.failed() in OVER

        surveyor.go()

        assert surveyor.failed() == "BadState"
        assert surveyor.received_nothing()


@on_each
def test_our_surveyor_drops_a_late_answer_of_nng_and_the_next_survey_is_clean(
    transport: Transport, spots: Spots, peers: Peers
) -> None:
    """After the window there is no survey to receive for; the late answer is counted and not given to the next one."""
    with Surveyor(survey_time=PATIENCE) as surveyor:
        respondent = peers.pynng("respondent", "connect", surveyor.bind(spots.any_url(transport)).url)
        surveyor.wait_for_peers(1, PATIENCE)
        surveyor.send(b"one?", deadline=WINDOW / 1000)
        assert respondent.receive() == [b"one?"]
        with pytest.raises(TimedOut) as over:
            surveyor.recv()
        assert over.value.reason == "survey_over"
        with pytest.raises(StateError, match="no survey is open"):
            surveyor.recv()

        respondent.send(b"late")
        respondent.sent()
        surveyor.send(b"two?")
        assert respondent.receive() == [b"two?"]
        respondent.send(b"in time")

        assert surveyor.recv(timeout=PATIENCE) == b"in time"
        assert surveyor.stats().discarded == {"unknown_request": 1}


def test_our_survey_ends_by_itself_with_the_answers_that_came(spots: Spots, peers: Peers) -> None:
    """Three of nng's Respondents, of which two answer: these two, and then the end."""
    with Surveyor() as surveyor:
        url = surveyor.bind(spots.any_url("tcp")).url
        talkers = [peers.pynng("respondent", "connect", url) for _ in range(2)]
        silent = peers.pynng("respondent", "connect", url)
        surveyor.wait_for_peers(3, PATIENCE)

        with surveyor.survey(b"who is there?", deadline=1) as survey:
            for n, talker in enumerate(talkers):
                assert talker.receive() == [b"who is there?"]
                talker.send(b"%d" % n)

            assert sorted(survey) == [b"0", b"1"]
        assert silent.receive() == [b"who is there?"]


# One who is behind misses the oldest.

BODIES: Final = [(b"%d " % n).ljust(64 * KIB, b".") for n in range(100)]
KEPT: Final = 4


def test_nngs_pub_drops_the_oldest_when_our_sub_is_slow(spots: Spots, peers: Peers) -> None:
    """Nobody receives here until all is published: then comes what was under way, and the last ones."""
    url = spots.url("ipc")
    pub = peers.pynng("pub", "bind", url, send_buffer_size=KEPT)
    with Sub(subscribe="", connect=url, recv_hwm=1) as sub:
        pub.attached()
        for body in BODIES:
            pub.send(body)
        pub.sent(len(BODIES))

        received = [sub.recv(timeout=PATIENCE)]
        while received[-1] != BODIES[-1]:
            received.append(sub.recv(timeout=PATIENCE))

        assert len(received) < len(BODIES)
        assert received == [body for body in BODIES if body in received]
        assert received[-KEPT:] == BODIES[-KEPT:]


def test_our_pub_drops_the_oldest_when_nngs_sub_is_slow(spots: Spots, peers: Peers) -> None:
    """The program stands still until all is published: then it hears what was under way, and the last ones."""
    with Pub(send_hwm=KEPT) as pub:
        sub = peers.pynng("sub", "connect", pub.bind(spots.any_url("ipc")).url)
        sub.attached()
        pub.wait_for_peers(1, PATIENCE)
        sub.freeze()
        for body in BODIES:
            pub.send(body)

        sub.thaw()

        received = sub.receive()
        while received[-1] != BODIES[-1]:
            received += sub.receive()
        assert len(received) < len(BODIES)
        assert received == [body for body in BODIES if body in received]
        assert received[-KEPT:] == BODIES[-KEPT:]
        assert pub.peers[0].missed == len(BODIES) - len(received)


# Contexts: many conversations on one connection.


@on_each
@pytest.mark.parametrize("theirs", ["rep", "respondent"])
def test_our_contexts_ask_those_of_nng(theirs: str, transport: Transport, spots: Spots, peers: Peers) -> None:
    """Four questions, all of them there before the first is answered; each context has its own answer."""
    with Req() if theirs == "rep" else Surveyor(survey_time=PATIENCE) as ours:
        peer = peers.pynng(theirs, "connect", ours.bind(spots.any_url(transport)).url, "contexts", "held")
        ours.wait_for_peers(1, PATIENCE)
        contexts = [ours.context() for _ in range(4)]

        for n, context in enumerate(contexts):
            context.send(b"%d" % n)
        assert sorted(peer.receive(4)) == [b"%d" % n for n in range(4)]
        peer.go()

        for n, context in enumerate(contexts):
            assert context.recv(timeout=PATIENCE) == b"re: %d" % n


@on_each
@pytest.mark.parametrize("theirs", ["req", "surveyor"])
def test_our_contexts_answer_those_of_nng(theirs: str, transport: Transport, spots: Spots, peers: Peers) -> None:
    """Four questions, answered from the last to the first; each of nng's contexts has its own answer."""
    with Rep() if theirs == "req" else Respondent() as ours:
        peer = peers.pynng(theirs, "connect", ours.bind(spots.any_url(transport)).url, "contexts")
        peer.attached()
        contexts = [ours.context() for _ in range(4)]
        for n in range(4):
            peer.send(b"%d" % n)
        questions = [context.recv(timeout=PATIENCE) for context in contexts]

        for context, question in zip(reversed(contexts), reversed(questions), strict=True):
            context.send(b"re: " + question)

        assert sorted(peer.receive(4)) == [b"%d" % n + BY + b"re: %d" % n for n in range(4)]
