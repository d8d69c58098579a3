"""Raw sockets and polyamorous Pair1s: header, body and peer of every message, the user's to see and to give."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import nnqpy
from nnqpy import Message, PeerGone, TimedOut, UnsupportedOperation, WouldBlock
from nnqpy.events import PeerAdded, PeerRemoved, SocketClosed
from tests.contract.kit import BRIEFLY, PATIENCE, on_every_face, outcome, take_no_call, until
from tests.contract.raw_kit import link, newest, pair1, raw, take, urls

if TYPE_CHECKING:
    from nnqpy import PeerInfo
    from nnqpy.options import OnFull
    from tests.contract.kit import Face
    from tests.contract.raw_kit import Kind, RawSock

pytestmark = pytest.mark.timeout(60)

NUMBER = b"\x80\0\0\1"
WORD = b"\0\0\0\5"

PLAIN: list[tuple[Kind, Kind]] = [
    ("RawPush", "RawPull"),
    ("RawPair", "RawPair"),
    ("RawPub", "RawSub"),
    ("RawBus", "RawBus"),
    ("RawPair1", "RawPair1"),
]
ASKING: list[tuple[Kind, Kind]] = [("RawReq", "RawRep"), ("RawSurveyor", "RawRespondent")]
ALL: list[Kind] = [kind for couple in (*PLAIN, *ASKING) for kind in dict.fromkeys(couple)]
ANSWERERS: list[Kind] = [answerer for _, answerer in ASKING]
SILENT: list[Kind] = ["RawPull", "RawSub"]
DEAF: list[Kind] = ["RawPush", "RawPub"]

each_plain = pytest.mark.parametrize(("sender", "receiver"), PLAIN, ids=[sender for sender, _ in PLAIN])
each_asking = pytest.mark.parametrize(("asker", "answerer"), ASKING, ids=["req", "survey"])
each_answerer = pytest.mark.parametrize(("asker", "answerer"), ASKING, ids=["rep", "respondent"])


# --- what goes in and what comes out ---------------------------------------------------------------------------------


@each_plain
@on_every_face
async def test_a_message_says_whose_it_is(face: Face, spot: str, sender: Kind, receiver: Kind) -> None:
    """Sent as a body or as a `Message`, one by one or many, it comes with its peer; only a Pair1 has a header."""
    header = b"\0\0\0\1" if sender == "RawPair1" else b""
    async with raw(face, sender) as one, raw(face, receiver) as other:
        peer, _ = await link(other, one, spot)
        await one.send(b"1")
        await one.send(bytearray(b"2"))
        one.send_nowait(memoryview(b"3"))
        await one.send(Message(b"", b"4", 0))
        one.send_nowait(Message(b"", b"5", 0))
        assert await one.send_many([b"6", Message(b"", b"", 0), b"7"]) == 3

        got = [await other.recv(timeout=PATIENCE), await anext(other)]
        while len(got) < 8:
            got += await other.recv_many(8 - len(got), timeout=PATIENCE)
        assert got == [Message(header, body, peer) for body in (b"1", b"2", b"3", b"4", b"5", b"6", b"", b"7")]
        assert all(type(message) is Message and type(message.body) is bytes for message in got)
        with pytest.raises(WouldBlock):
            other.recv_nowait()
        with pytest.raises(TimedOut):
            await other.recv(timeout=BRIEFLY)


@each_asking
@on_every_face
async def test_a_question_and_its_answers(face: Face, spot: str, asker: Kind, answerer: Kind) -> None:
    """What is sent has the header it is given; the answer goes back by header and peer, in any form, any number of times."""
    async with raw(face, asker) as asks, raw(face, answerer) as answers:
        asker_id, answerer_id = await link(answers, asks, spot)
        await asks.send(b"why?", header=NUMBER)
        question = await answers.recv(timeout=PATIENCE)
        assert question == Message(NUMBER, b"why?", asker_id)

        await answers.send(question.reply(b"1"))
        await answers.send(b"2", header=question.header, peer=question.peer)
        answers.send_nowait(question.reply(bytearray(b"3")))
        answers.send_nowait(memoryview(b"4"), header=WORD + NUMBER, peer=question.peer)
        await answers.send_many([question.reply(b"5"), Message(NUMBER, b"6", asker_id)])
        await answers.send(Message(WORD + NUMBER, b"7", 0), header=NUMBER, peer=asker_id)

        headers = [NUMBER] * 3 + [WORD + NUMBER] + [NUMBER] * 3
        assert await take(asks, 7) == [
            Message(header, b"%d" % n, answerer_id) for n, header in enumerate(headers, start=1)
        ]


@each_asking
@on_every_face
async def test_questions_by_every_way_to_send(face: Face, spot: str, asker: Kind, answerer: Kind) -> None:
    """A `Message` has its header; words in front of the number are steps."""
    async with raw(face, asker) as asks, raw(face, answerer) as answers:
        peer, _ = await link(answers, asks, spot)
        await asks.send(Message(NUMBER, b"1", 77))
        asks.send_nowait(b"2", header=WORD + NUMBER)
        await asks.send_many([Message(WORD * 7 + NUMBER, b"3", 0), Message(NUMBER, b"", 0)])
        await asks.send(Message(b"nonsense", b"4", 0), header=NUMBER)

        assert await take(answers, 5) == [
            Message(NUMBER, b"1", peer),
            Message(WORD + NUMBER, b"2", peer),
            Message(WORD * 7 + NUMBER, b"3", peer),
            Message(NUMBER, b"", peer),
            Message(NUMBER, b"4", peer),
        ]


@on_every_face
async def test_answers_go_each_its_own_way(face: Face, spot: str) -> None:
    """Of many askers with one and the same number, in any order, much later."""
    async with raw(face, "RawRep") as answers:
        url = answers.bind(spot).url
        asks = [raw(face, "RawReq", connect=url) for _ in range(5)]
        await answers.wait_for_peers(5, PATIENCE)
        for n, one in enumerate(asks):
            await one.send(b"%d" % n, header=NUMBER)
        questions = await take(answers, 5)
        assert len({question.peer for question in questions}) == 5
        for question in reversed(questions):
            await answers.send(question.reply(b"re " + question.body))

        for n, one in enumerate(asks):
            assert (await one.recv(timeout=PATIENCE))[:2] == (NUMBER, b"re %d" % n)
            with pytest.raises(WouldBlock):
                one.recv_nowait()
            await one.close()


@on_every_face
async def test_a_raw_server_of_cooked_clients(face: Face, spot: str) -> None:
    """A Surveyor takes every answer, a Req the first; the others are counted there."""
    async with raw(face, "RawRespondent") as answers, face.surveyor() as surveyor:
        await link(answers, surveyor, spot)
        await surveyor.send(b"all?", deadline=PATIENCE)
        question = await answers.recv(timeout=PATIENCE)
        await answers.send_many(question.reply(b"%d" % n) for n in range(300))
        assert [await surveyor.recv(timeout=PATIENCE) for _ in range(300)] == [b"%d" % n for n in range(300)]


@on_every_face
async def test_a_req_takes_the_first_answer_of_several(face: Face, spot: str) -> None:
    """The second one comes for nobody."""
    async with raw(face, "RawRep") as answers, face.req() as req:
        await link(answers, req, spot)
        await req.send(b"one?")
        question = await answers.recv(timeout=PATIENCE)
        await answers.send_many([question.reply(b"first"), question.reply(b"second")])
        assert await req.recv(timeout=PATIENCE) == b"first"
        await req.send(b"next?")
        await answers.send((await answers.recv(timeout=PATIENCE)).reply(b"third"))

        assert await req.recv(timeout=PATIENCE) == b"third"
        assert sum(req.stats().discarded.values()) == 1


@on_every_face
async def test_a_bus_message_does_not_go_back(face: Face, spot: str) -> None:
    """With `peer=`, or sent on as it came; without, to all."""
    async with raw(face, "RawBus") as hub, face.bus() as a, face.bus() as b:
        of_a, _ = await link(hub, a, spot)
        b.connect(urls(hub)[0])
        await newest(hub, {of_a})
        await b.wait_for_peers(1, PATIENCE)
        await a.send(b"from a")
        message = await hub.recv(timeout=PATIENCE)
        assert message == Message(b"", b"from a", of_a)

        await hub.send(message)
        await hub.send(b"not to a", peer=of_a)
        await hub.send_many([message, b"to all"])
        hub.send_nowait(b"the last", peer=1 << 40)

        assert [await a.recv(timeout=PATIENCE) for _ in range(2)] == [b"to all", b"the last"]
        assert [await b.recv(timeout=PATIENCE) for _ in range(5)] == [
            *(b"from a", b"not to a", b"from a", b"to all", b"the last")
        ]


@on_every_face
async def test_a_pair1_message_counts_its_steps(face: Face, spot: str) -> None:
    """Sent on as it came it has made one more; `header=` says how many it has made so far."""
    async with raw(face, "RawPair1", max_ttl=15) as one, raw(face, "RawPair1", max_ttl=15) as other:
        await link(one, other, spot)
        await one.send(b"x")
        for steps in range(1, 15, 2):
            message = await other.recv(timeout=PATIENCE)
            assert message.header == bytes([0, 0, 0, steps])
            await other.send(message)
            back = await one.recv(timeout=PATIENCE)
            assert back.header == bytes([0, 0, 0, steps + 1])
            await one.send(back.reply(b"y"))
        assert (await other.recv(timeout=PATIENCE)).header == b"\0\0\0\x0f"

        await one.send(b"z", header=b"\0\0\0\0")
        await one.send(b"z", header=b"\0\0\0\7")
        assert [message.header for message in await take(other, 2)] == [b"\0\0\0\1", b"\0\0\0\x08"]


@pytest.mark.parametrize(
    ("sender", "receiver", "ttl"),
    [(sender, receiver, ttl) for sender, receiver in (*ASKING, PLAIN[-1]) for ttl in (1, 8, 15)],
)
@on_every_face
async def test_what_has_come_too_far_is_dropped(face: Face, spot: str, sender: Kind, receiver: Kind, ttl: int) -> None:
    """`max_ttl` words, or steps, are taken; one more is counted, and the connection stays."""

    def header(steps: int) -> bytes:
        return bytes([0, 0, 0, steps - 1]) if sender == "RawPair1" else WORD * (steps - 1) + NUMBER

    async with raw(face, sender) as one, raw(face, receiver, max_ttl=ttl) as other:
        await link(one, other, spot)
        for steps in (ttl, ttl + 1, 1):
            await one.send(b"%d" % steps, header=header(steps))

        assert [message.body for message in await take(other, 2)] == [b"%d" % ttl, b"1"]
        await until(face, lambda: other.stats().discarded == {"ttl_exceeded": 1})


# --- wrong arguments -------------------------------------------------------------------------------------------------

NO_HEADER: list[Kind] = ["RawPush", "RawPair", "RawPub", "RawBus"]
NO_PEER: list[Kind] = ["RawPush", "RawPair", "RawPub", "RawPair1", "RawReq", "RawSurveyor"]
QUESTION = Message(NUMBER, b"x", 1)
WRONG: list[tuple[Kind, object, dict[str, Any], type[Exception], str]] = [
    *((kind, b"x", {"header": NUMBER}, TypeError, f"what a {kind} sends has no header") for kind in NO_HEADER),
    *((kind, b"x", {"peer": 1}, TypeError, f"what a {kind} sends has no peer") for kind in NO_PEER),
    ("RawPush", QUESTION, {"header": NUMBER}, TypeError, "what a RawPush sends has no header"),
    ("RawReq", QUESTION, {"peer": 1}, TypeError, "what a RawReq sends has no peer"),
    *((kind, b"x", {}, TypeError, f"a {kind} needs the header") for kind in ("RawReq", "RawSurveyor")),
    *(
        (kind, b"x", which, TypeError, f"a {kind} needs header=... and peer=...")
        for kind in ("RawRep", "RawRespondent")
        for which in ({}, {"header": NUMBER}, {"peer": 1})
    ),
    *(
        (kind, Message(header, b"x", 1), {}, ValueError, "a header is 1 to 16 words")
        for kind in ("RawReq", "RawSurveyor", "RawRep", "RawRespondent")
        for header in (b"", b"\x80", WORD, NUMBER + NUMBER, NUMBER + b"\0", WORD * 16 + NUMBER)
    ),
    *(
        ("RawPair1", b"x", {"header": header}, ValueError, "a hop count is from 00 00 00 00 to 00 00 00 fe, not")
        for header in (b"\0", b"\0\0\1\0", b"\0\0\0\xff", b"\xff\xff\xff\xff", bytes(5))
    ),
    *(
        (kind, message, {}, TypeError, "a message is bytes, not str")
        for kind in ("RawPush", "RawPair", "RawPub", "RawBus", "RawPair1")
        for message in ("text", Message(b"", "text", 0))  # type: ignore[arg-type]  # that is the point
    ),
    *(
        (kind, Message(NUMBER, "text", 1), {}, TypeError, "a message is bytes, not str")  # type: ignore[arg-type]
        for kind in ("RawReq", "RawSurveyor", "RawRep", "RawRespondent")
    ),
    ("RawPush", Message(b"", None, 0), {}, TypeError, "bytes-like object, not NoneType"),  # type: ignore[arg-type]
    ("RawPush", None, {}, TypeError, "bytes-like object, not NoneType"),
    *(
        (kind, QUESTION, {"header": header}, TypeError, f"a header is bytes, not {type(header).__name__}")
        for kind in ("RawReq", "RawRep", "RawPair1")
        for header in ("text", 5, [0, 0, 0, 1])
    ),
    *(
        (kind, QUESTION, {"peer": peer}, TypeError, f"a peer is the id of one .int., not {peer!r}")
        for kind in ("RawRep", "RawRespondent", "RawBus")
        for peer in ("1", 1.5)
    ),
]


@pytest.mark.parametrize(("kind", "message", "arguments", "error", "words"), WRONG)
@on_every_face
async def test_wrong_arguments_are_refused_before_anything_is_queued(
    face: Face, kind: Kind, message: Any, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    """The text says what was found and what is wanted, in each call that sends."""
    async with raw(face, kind) as sock:
        with pytest.raises(error, match=words):
            await sock.send(message, **arguments)
        with pytest.raises(error, match=words):
            sock.send_nowait(message, **arguments)
        if not arguments:
            with pytest.raises(error, match=words):
                await sock.send_many([message])

        assert sock.stats().accepted == 0


@pytest.mark.parametrize(("sender", "receiver"), [*PLAIN, *ASKING, *(couple[::-1] for couple in ASKING)])
@on_every_face
async def test_a_body_may_change_after_it_was_sent(face: Face, sender: Kind, receiver: Kind) -> None:
    """Also that of a `Message`: what is queued is a copy, as of every body that can change."""
    body = bytearray(b"before")
    header = b"" if sender == "RawPair1" else NUMBER
    async with raw(face, sender) as one, raw(face, receiver) as other:
        peer, _ = await link(one, other, f"inproc://changes-{face.name}")  # where a body is handed over as it is
        await one.send(Message(header, body, peer if sender in ANSWERERS else 0))  # type: ignore[arg-type]  # bytes-like
        body[:] = b"after!"

        assert (await other.recv(timeout=PATIENCE)).body == b"before"


@pytest.mark.parametrize("kind", DEAF)
@on_every_face
async def test_who_only_sends_does_not_receive(face: Face, kind: Kind) -> None:
    """As the cooked ones: said by the attribute, so that `hasattr` knows too."""
    async with raw(face, kind) as sock:
        for name in ("recv", "recv_nowait", "recv_many"):
            with pytest.raises(UnsupportedOperation, match=f"a {kind} does not receive: it has no {name}"):
                getattr(getattr(sock, "raw", sock), name)
            assert not hasattr(getattr(sock, "raw", sock), name)


@pytest.mark.parametrize("kind", SILENT)
@on_every_face
async def test_who_only_receives_does_not_send(face: Face, kind: Kind) -> None:
    """Likewise."""
    async with raw(face, kind) as sock:
        for name in ("send", "send_nowait", "send_many", "flush"):
            with pytest.raises(UnsupportedOperation, match=f"a {kind} does not send: it has no {name}"):
                getattr(getattr(sock, "raw", sock), name)
            assert not hasattr(getattr(sock, "raw", sock), name)


@on_every_face
async def test_a_closed_raw_socket_says_so(face: Face) -> None:
    """In every call; iteration ends."""
    sock = raw(face, "RawPair")
    await sock.close()

    await take_no_call(partial(sock.send, b"x"), partial(sock.send_nowait, b"x"), partial(sock.send_many, [b"x"]))
    await take_no_call(sock.recv, sock.recv_nowait, sock.recv_many)
    assert [message async for message in sock] == []


# --- peers that are gone ---------------------------------------------------------------------------------------------


async def orphaned(face: Face, answers: RawSock, asker: Kind, spot: str) -> Message:
    """Return a question whose asker is gone."""
    async with raw(face, asker) as leaver:
        await link(answers, leaver, spot)
        await leaver.send(b"and off", header=NUMBER)
        question = await answers.recv(timeout=PATIENCE)
    await until(face, lambda: not answers.peers)
    return question


async def still_answers(face: Face, answers: RawSock, asker: Kind) -> None:
    """Somebody else comes, asks, and is answered."""
    async with raw(face, asker) as other:
        await other.connect(urls(answers)[0], wait=True, timeout=PATIENCE)
        await other.wait_for_peers(1, PATIENCE)
        await other.send(b"still here?", header=NUMBER)
        question = await answers.recv(timeout=PATIENCE)
        assert question.body == b"still here?"
        await answers.send(question.reply(b"yes"))
        assert (await other.recv(timeout=PATIENCE)).body == b"yes"


@each_answerer
@on_every_face
async def test_an_answer_to_who_is_gone_is_dropped(face: Face, spot: str, asker: Kind, answerer: Kind) -> None:
    """And counted, in each call that sends; the next one is answered."""
    async with raw(face, answerer) as answers:
        question = await orphaned(face, answers, asker, spot)
        await answers.send(question.reply(b"late"))
        answers.send_nowait(question.reply(b"late"))
        await answers.send_many([question.reply(b"late")])
        await answers.flush(PATIENCE)

        assert dict(answers.stats().dropped) == {"peer_gone": 3}
        await still_answers(face, answers, asker)


@each_answerer
@on_every_face
async def test_a_strict_socket_says_that_a_peer_is_gone(face: Face, spot: str, asker: Kind, answerer: Kind) -> None:
    """`PeerGone` from each call that sends, and nothing is queued; the next one is answered."""
    async with raw(face, answerer, strict=True) as answers:
        question = await orphaned(face, answers, asker, spot)
        with pytest.raises(PeerGone, match=f"peer {question.peer} is gone"):
            await answers.send(question.reply(b"late"))
        with pytest.raises(PeerGone):
            answers.send_nowait(question.reply(b"late"))
        with pytest.raises(PeerGone):
            await answers.send_many([question.reply(b"late")])
        with pytest.raises(PeerGone, match="peer 0 is gone"):
            await answers.send(b"late", header=NUMBER, peer=0)

        assert dict(answers.stats().dropped) == {}
        assert answers.stats().accepted == 0
        await still_answers(face, answers, asker)


@pytest.mark.parametrize("kind", ALL)
@on_every_face
async def test_who_has_gone_is_told_once(face: Face, spot: str, kind: Kind) -> None:
    """`on_peer_closed` gets each peer with its last counters: those that leave, and those that our close sends away."""
    gone: list[PeerInfo] = []
    others: dict[Kind, Kind] = {one: other for couple in (*PLAIN, *ASKING) for one, other in (couple, couple[::-1])}
    number = 1 if kind in ("RawPair", "RawPair1") else 3
    sock = raw(face, kind, on_peer_closed=gone.append)
    url = sock.bind(spot).url
    peers = [raw(face, others[kind], connect=url) for _ in range(number)]
    there = {peer.id for peer in await sock.wait_for_peers(number, PATIENCE)}
    for peer in peers:
        await peer.wait_for_peers(1, PATIENCE)
    assert gone == []
    await peers[0].close()
    await until(face, lambda: gone)
    assert (gone[0].state, gone[0].address, gone[0].direction) == ("closed", url, "in")
    await sock.close()
    for peer in peers[1:]:
        await peer.close()

    await until(face, lambda: len(gone) >= number)
    assert sorted(peer.id for peer in gone) == sorted(there)


@on_every_face
async def test_who_has_gone_is_told_beside_the_events(face: Face, caplog: pytest.LogCaptureFixture) -> None:
    """`on_event` has every event first, also if it fails: that is logged, and `on_peer_closed` is called all the same."""
    told: list[object] = []

    def on_event(event: object) -> None:
        told.append(event)
        raise OSError("the user's own")

    with caplog.at_level(logging.ERROR):
        async with raw(face, "RawPull", on_event=on_event, on_peer_closed=told.append) as pull:
            push = face.push()
            await link(pull, push, "tcp://127.0.0.1:0")
            await push.send(b"x")
            assert (await pull.recv(timeout=PATIENCE)).body == b"x"
            await push.close()
            await until(face, lambda: any(isinstance(one, nnqpy.PeerInfo) for one in told))

    assert caplog.text.count("on-event-failed") == sum(not isinstance(one, nnqpy.PeerInfo) for one in told)
    (added,) = (one for one in told if isinstance(one, PeerAdded))
    (place,) = (n for n, one in enumerate(told) if isinstance(one, PeerRemoved))
    removed, info = told[place : place + 2]
    assert isinstance(removed, PeerRemoved)
    assert info == removed.peer
    assert (removed.peer.id, removed.peer.received) == (added.peer.id, 1)
    assert isinstance(told[-1], SocketClosed)


# --- who does not take his answers -----------------------------------------------------------------------------------

LARGE = bytes(100_000)


@pytest.mark.parametrize("policy", [None, "drop_newest", "drop_oldest"])
@each_answerer
@on_every_face
async def test_who_is_behind_misses_answers(
    face: Face, stream_spot: str, asker: Kind, answerer: Kind, policy: OnFull | None
) -> None:
    """By the policy, beyond `send_hwm`: it is counted for him, and the others have theirs at once."""
    number = 100
    async with (
        raw(face, answerer, on_full=policy, send_hwm=5) as answers,
        raw(face, asker, recv_hwm=1) as slow,
        raw(face, asker) as quick,
    ):
        of_slow, _ = await link(answers, slow, stream_spot)
        url = urls(answers)[0]
        quick.connect(url)
        of_quick = await newest(answers, {of_slow})
        for n in range(number):
            await answers.send(b"%05d" % n + LARGE, header=NUMBER, peer=of_slow)
            await answers.send(b"%05d" % n, header=NUMBER, peer=of_quick)
            assert (await quick.recv(timeout=PATIENCE)).body == b"%05d" % n

        missed = {peer.id: peer.missed for peer in answers.peers}
        assert missed[of_quick] == 0
        assert missed[of_slow] > 0
        assert dict(answers.stats().dropped) == {"queue_full": missed[of_slow]}
        late = [int(message.body[:5]) for message in await take(slow, number - missed[of_slow])]
        assert late == sorted(set(late))
        assert (late[-1] == number - 1) == (policy == "drop_oldest")


@each_answerer
@on_every_face
async def test_answers_may_wait_for_who_is_behind(face: Face, stream_spot: str, asker: Kind, answerer: Kind) -> None:
    """`on_full="block"`: nothing is missed; only who sends to him waits, and who must not wait is told."""
    number = 200
    async with (
        raw(face, answerer, on_full="block", send_hwm=5) as answers,
        raw(face, asker, recv_hwm=1) as slow,
        raw(face, asker) as quick,
        face.crowd() as crowd,
    ):
        of_slow, _ = await link(answers, slow, stream_spot)
        quick.connect(urls(answers)[0])
        of_quick = await newest(answers, {of_slow})

        async def answer() -> None:
            for n in range(number):
                await answers.send(b"%05d" % n + LARGE, header=NUMBER, peer=of_slow)

        answering = crowd.start(answer)
        await until(face, lambda: face.sending(answers) == 1)
        await answers.send(b"quick", header=NUMBER, peer=of_quick, timeout=PATIENCE)
        assert (await quick.recv(timeout=PATIENCE)).body == b"quick"
        more = 0  # the kernel may find room for some more
        with pytest.raises(WouldBlock):
            while True:
                answers.send_nowait(b"more." + LARGE, header=NUMBER, peer=of_slow)
                more += 1
        with pytest.raises(TimedOut):
            while True:
                await answers.send(b"more." + LARGE, header=NUMBER, peer=of_slow, timeout=BRIEFLY)
                more += 1

        late = [message.body[:5] for message in await take(slow, number + more)]
        await outcome(face, answering)
        assert [name for name in late if name != b"more."] == [b"%05d" % n for n in range(number)]
        assert dict(answers.stats().dropped) == {}


@pytest.mark.parametrize(
    ("sender", "receiver"), [("RawPub", "RawSub"), ("RawBus", "RawBus"), ("RawSurveyor", "RawRespondent")]
)
@pytest.mark.parametrize("policy", [None, "drop_oldest", "drop_newest", "block"])
@on_every_face
async def test_who_sends_to_all_has_a_policy(
    face: Face, stream_spot: str, sender: Kind, receiver: Kind, policy: OnFull | None
) -> None:
    """None: a RawPub drops the oldest, the others the newest; with ``"block"`` nobody misses anything."""
    number = 150
    async with (
        raw(face, sender, on_full=policy, send_hwm=5) as one,
        raw(face, receiver, recv_hwm=1) as slow,
        face.crowd() as crowd,
    ):
        await link(one, slow, stream_spot)

        async def publish() -> None:
            for n in range(number):
                await one.send(Message(NUMBER, b"%05d" % n + LARGE, 0))

        publishing = crowd.start(publish)
        if policy == "block":
            await until(face, lambda: face.sending(one) == 1)
            assert not publishing.done
        else:
            await outcome(face, publishing)
        got: list[int] = []
        while len(got) < number - sum(one.stats().dropped.values()):
            got.append(int((await slow.recv(timeout=PATIENCE)).body[:5]))
        await outcome(face, publishing)

        assert got == sorted(set(got))
        if policy == "block":
            assert got == list(range(number))
        else:
            oldest = policy == "drop_oldest" or (policy is None and sender == "RawPub")
            assert (got[-1] == number - 1) == oldest
            assert dict(one.stats().dropped) == {"queue_full": number - len(got)}


# --- Pair1 with many peers -------------------------------------------------------------------------------------------


@on_every_face
async def test_a_poly_pair1_knows_its_peers(face: Face, spot: str) -> None:
    """`recv_message` says whose a message is, `send(peer=)` takes whose it is to be; `recv` and the others give bodies."""
    async with pair1(face, poly=True) as hub, pair1(face) as a, pair1(face) as b:
        of_a, _ = await link(hub, a, spot)
        b.connect(urls(hub)[0])
        of_b = await newest(hub, {of_a})
        await b.wait_for_peers(1, PATIENCE)
        for name, sock, peer in ((b"a", a, of_a), (b"b", b, of_b)):
            await sock.send(name)
            assert await hub.recv_message(timeout=PATIENCE) == Message(b"\0\0\0\1", name, peer)

        await hub.send(b"1", peer=of_b)
        hub.send_nowait(b"2", peer=of_b)
        assert await hub.send_many([b"3", bytearray(b"4")], peer=of_b) == 2
        await hub.send(b"to the first")
        hub.send_nowait(b"likewise")
        await hub.send_many([b"and so on"])

        assert [await b.recv(timeout=PATIENCE) for _ in range(4)] == [b"1", b"2", b"3", b"4"]
        assert [await a.recv(timeout=PATIENCE) for _ in range(3)] == [b"to the first", b"likewise", b"and so on"]
        await a.send_many([b"5", b"6", b"7"])
        assert await hub.recv(timeout=PATIENCE) == b"5"
        many = await hub.recv_many(timeout=PATIENCE)
        while len(many) < 2:
            many += await hub.recv_many(timeout=PATIENCE)
        assert many == [b"6", b"7"]
        with pytest.raises(WouldBlock):
            hub.recv_nowait()
        with pytest.raises(TimedOut):
            await hub.recv_message(timeout=BRIEFLY)


@on_every_face
async def test_a_poly_pair1_drops_what_is_nobodys(face: Face, spot: str) -> None:
    """Without any peer, to an id that never was, and to who is gone: counted, and nothing waits."""
    async with pair1(face, poly=True) as hub, pair1(face) as stays:
        await hub.send(b"nobody is there", timeout=0)
        await hub.send(b"nor this one", peer=1 << 40, timeout=0)
        leaver = pair1(face)
        of_leaver, _ = await link(hub, leaver, spot)
        await leaver.close()
        await until(face, lambda: not hub.peers)
        hub.send_nowait(b"gone", peer=of_leaver)
        await hub.send_many([b"gone"] * 3, peer=of_leaver)
        await hub.flush(PATIENCE)
        assert dict(hub.stats().dropped) == {"peer_gone": 6}

        stays.connect(urls(hub)[0])
        await hub.wait_for_peers(1, PATIENCE)
        await hub.send(b"here")
        assert await stays.recv(timeout=PATIENCE) == b"here"


@on_every_face
async def test_who_is_behind_a_poly_pair1_misses_the_newest(face: Face, stream_spot: str) -> None:
    """Per peer, beyond `send_hwm`, and the others have theirs."""
    number = 200
    async with pair1(face, poly=True, send_hwm=5) as hub, pair1(face, recv_hwm=1) as slow, pair1(face) as quick:
        of_slow, _ = await link(hub, slow, stream_spot)
        quick.connect(urls(hub)[0])
        of_quick = await newest(hub, {of_slow})
        for n in range(number):
            await hub.send(b"%05d" % n + LARGE, peer=of_slow, timeout=PATIENCE)
            await hub.send(b"%05d" % n, peer=of_quick, timeout=PATIENCE)
            assert await quick.recv(timeout=PATIENCE) == b"%05d" % n

        missed = {peer.id: peer.missed for peer in hub.peers}
        assert missed[of_quick] == 0
        assert dict(hub.stats().dropped) == {"queue_full": missed[of_slow]}
        late = [int((await slow.recv(timeout=PATIENCE))[:5]) for _ in range(number - missed[of_slow])]
        assert late == sorted(set(late))
        assert late[-1] < number - 1


@on_every_face
async def test_a_pair1_of_two_takes_no_peer(face: Face) -> None:
    """It has one: `peer=` and `recv_message` are for ``poly`` alone."""
    async with pair1(face) as sock:
        for peer in (0, 1):
            with pytest.raises(TypeError, match="unless it is poly"):
                await sock.send(b"x", peer=peer)
            with pytest.raises(TypeError, match="unless it is poly"):
                sock.send_nowait(b"x", peer=peer)
            with pytest.raises(TypeError, match="unless it is poly"):
                await sock.send_many([b"x"], peer=peer)
        with pytest.raises(UnsupportedOperation, match="poly=True"):
            await sock.recv_message(timeout=0)
        assert sock.stats().accepted == 0
    async with pair1(face, poly=True) as hub:
        with pytest.raises(TypeError, match="a message is bytes, not str"):
            await hub.send("x")  # type: ignore[arg-type]  # that is the point
        with pytest.raises(TypeError, match=r"a peer is the id of one .int., not '1'"):
            await hub.send(b"x", peer="1")  # type: ignore[arg-type]  # that is the point
