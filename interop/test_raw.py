"""Our raw sockets with nng's cooked ones: headers as they are on the wire, any number of questions and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from interop.ours import BRISK
from interop.witness import PATIENCE
from nnqpy import RawBus, RawPair1, RawPull, RawRep, RawReq, RawRespondent, RawSurveyor

if TYPE_CHECKING:
    from interop.conftest import Peers
    from interop.spots import Spots, Transport

on_each = pytest.mark.parametrize("transport", ["tcp", "ipc"])

NUMBERS: Final = [bytes.fromhex(number) for number in ("80000000", "80000001", "ffffffff", "0000000780000000")]
"""Headers of questions; the last one as if it had come by a device."""


@on_each
def test_a_raw_req_has_many_questions_under_way(transport: Transport, spots: Spots, peers: Peers) -> None:
    """All are with a Rep of nng before it answers the first; each answer has the whole header of its question."""
    with RawReq() as raw:
        rep = peers.pynng("rep", "connect", raw.bind(spots.any_url(transport)).url, "contexts", "held")

        for header in NUMBERS:
            raw.send(header.hex().encode(), header=header)
        assert sorted(rep.receive(4)) == sorted(header.hex().encode() for header in NUMBERS)
        rep.go()

        replies = [raw.recv(timeout=PATIENCE) for _ in NUMBERS]
        assert {reply.header: reply.body for reply in replies} == {
            header: b"re: " + header.hex().encode() for header in NUMBERS
        }


@on_each
def test_a_raw_rep_answers_more_than_once_and_the_first_counts(
    transport: Transport, spots: Spots, peers: Peers
) -> None:
    """A Req of nng takes one answer to its question; a second one, and one that is late, it drops."""
    with RawRep() as raw:
        req = peers.pynng("req", "connect", raw.bind(spots.any_url(transport)).url)

        req.send(b"one?")
        one = raw.recv(timeout=PATIENCE)
        raw.send(one.reply(b"1"))
        raw.send(one.reply(b"1 again"))
        assert req.receive() == [b"1"]
        req.send(b"two?")
        two = raw.recv(timeout=PATIENCE)
        raw.send(one.reply(b"1, late"))
        raw.send(two.reply(b"2"))

        assert req.receive() == [b"2"]
        assert (one.body, two.body, one.peer) == (b"one?", b"two?", two.peer)
        assert int.from_bytes(two.header, "big") == int.from_bytes(one.header, "big") + 1  # so does nng count


@on_each
def test_a_raw_rep_answers_in_any_order(transport: Transport, spots: Spots, peers: Peers) -> None:
    """Four questions of nng's contexts, answered from the last to the first: each has its own."""
    with RawRep() as raw:
        req = peers.pynng("req", "connect", raw.bind(spots.any_url(transport)).url, "contexts")
        for n in range(4):
            req.send(b"%d" % n)
        questions = [raw.recv(timeout=PATIENCE) for _ in range(4)]

        for question in reversed(questions):
            raw.send(question.reply(b"re: " + question.body))

        assert sorted(req.receive(4)) == [b"%d - re: %d" % (n, n) for n in range(4)]


@on_each
def test_a_raw_surveyor_has_many_surveys_open(transport: Transport, spots: Spots, peers: Peers) -> None:
    """Two of nng's Respondents answer each of four surveys, and no deadline ends one."""
    with RawSurveyor() as raw:
        url = raw.bind(spots.any_url(transport)).url
        for _ in range(2):
            peers.pynng("respondent", "connect", url, "contexts")
        raw.wait_for_peers(2, PATIENCE)

        for header in NUMBERS:
            raw.send(header.hex().encode(), header=header)

        replies = [raw.recv(timeout=PATIENCE) for _ in range(2 * len(NUMBERS))]
        names = {peer.id for peer in raw.peers}
        assert len(replies) == len(set(replies))
        assert set(replies) == {(header, b"re: " + header.hex().encode(), name) for header in NUMBERS for name in names}


@on_each
def test_a_raw_respondent_answers_a_survey_twice(transport: Transport, spots: Spots, peers: Peers) -> None:
    """A Surveyor of nng takes both: it does not ask whose they are."""
    url = spots.url(transport)
    surveyor = peers.pynng("surveyor", "bind", url)
    with RawRespondent(connect=url, **BRISK) as raw:
        surveyor.attached()
        surveyor.send(b"how many?")
        survey = raw.recv(timeout=PATIENCE)

        raw.send(survey.reply(b"one"))
        raw.send(survey.reply(b"two"))

        assert survey.body == b"how many?"
        assert surveyor.receive(2) == [b"one", b"two"]


@on_each
def test_a_raw_pair1_shows_and_says_the_steps(transport: Transport, spots: Spots, peers: Peers) -> None:
    """A message of nng's has made one step; of ours it drops those that have made more than eight, and goes on."""
    url = spots.url(transport)
    pair = peers.pynng("pair1", "bind", url)
    with RawPair1(connect=url, **BRISK) as raw:
        pair.send(b"one step")
        assert raw.recv(timeout=PATIENCE)[:2] == (b"\0\0\0\1", b"one step")

        raw.send(b"eight steps", header=b"\0\0\0\7")
        raw.send(b"nine steps", header=b"\0\0\0\x08")
        raw.send(b"one step")

        assert pair.receive(2) == [b"eight steps", b"one step"]


@on_each
def test_a_raw_bus_sends_on_to_all_others(transport: Transport, spots: Spots, peers: Peers) -> None:
    """What came from one of nng's buses goes to the others, what has no origin to all."""
    with RawBus() as raw:
        url = raw.bind(spots.any_url(transport)).url
        near, far = (peers.pynng("bus", "connect", url) for _ in range(2))
        near.attached()
        far.attached()
        raw.wait_for_peers(2, PATIENCE)

        near.send(b"from near")
        raw.send(raw.recv(timeout=PATIENCE))
        raw.send(b"to all")

        assert far.receive(2) == [b"from near", b"to all"]
        assert near.receive() == [b"to all"]


def test_a_raw_pull_says_whose_a_message_is(spots: Spots, peers: Peers) -> None:
    """Two of nng's Pushes: their messages have different peers, each that of a connection."""
    with RawPull() as raw:
        url = raw.bind(spots.any_url("tcp")).url
        for name in (b"one", b"two"):
            push = peers.pynng("push", "connect", url)
            push.send(name)
            push.send(name)

        messages = [raw.recv(timeout=PATIENCE) for _ in range(4)]

        assert {message.peer for message in messages} == {peer.id for peer in raw.peers}
        assert len({(message.peer, message.body) for message in messages}) == 2
