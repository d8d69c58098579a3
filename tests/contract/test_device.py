"""Devices: what comes in at one raw socket goes out at the other, and what cannot go out is not lost."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

import nnqpy
from nnqpy import Message, WouldBlock
from tests.contract.kit import PATIENCE, on_every_face, outcome, until
from tests.contract.raw_kit import Log, cancelled, carry, device, link, newest, pair1, raw, running, take, urls
from tests.tasks.kit import on_both_loops, sweep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from nnqpy.kinds.device import Side
    from tests.contract.kit import Face
    from tests.contract.raw_kit import Dev, Kind, RawSock
    from tests.tasks.kit import Cut

pytestmark = pytest.mark.timeout(60)

NUMBER = b"\x80\0\0\1"
LARGE = bytes(100_000)

Line = tuple[str, "Kind", "Kind", str]
"""Who is on this side of a device, its two sockets, and who is on the other side."""
PIPELINE: Line = ("push", "RawPull", "RawPush", "pull")
PAIRS: Line = ("pair", "RawPair", "RawPair", "pair")
ONE_WAY: list[Line] = [PIPELINE, ("pub", "RawSub", "RawPub", "sub")]
TALKING: list[Line] = [PAIRS, ("pair1", "RawPair1", "RawPair1", "pair1"), ("bus", "RawBus", "RawBus", "bus")]
ASKING: list[Line] = [
    ("req", "RawRep", "RawReq", "rep"),
    ("surveyor", "RawRespondent", "RawSurveyor", "respondent"),
]
COUNTERPARTS: dict[Kind, Kind] = {
    "RawPull": "RawPush",
    "RawPush": "RawPull",
    "RawSub": "RawPub",
    "RawPub": "RawSub",
    "RawRep": "RawReq",
    "RawReq": "RawRep",
    "RawRespondent": "RawSurveyor",
    "RawSurveyor": "RawRespondent",
    "RawPair": "RawPair",
    "RawPair1": "RawPair1",
    "RawBus": "RawBus",
}
WRONG: list[tuple[Kind, Kind]] = [
    (front, back) for front in COUNTERPARTS for back in COUNTERPARTS if COUNTERPARTS[front] != back
]
NO_REFLECTOR: list[Kind] = [kind for kind, counterpart in COUNTERPARTS.items() if kind != counterpart]


def opened(face: Face, kind: str, **settings: Any) -> Any:
    """Return a socket of the name of its class, raw, or in small letters; a Sub hears everything."""
    if kind.startswith("Raw"):
        return raw(face, cast("Kind", kind), **settings)
    if kind == "pair1":
        return pair1(face, **settings)
    return getattr(face, kind)(**settings, **({"subscribe": ""} if kind == "sub" else {}))


def beside(spot: str, number: int = 2) -> str:
    """Return one more URL of the same transport."""
    return spot if spot.startswith("tcp:") else f"{spot}-{number}"


@asynccontextmanager
async def around(face: Face, spot: str, line: Line, **back_settings: Any) -> AsyncGenerator[tuple[Any, Any, Any, Any]]:
    """Open the two sockets of a device, and who is connected to them: front, back, this side, the other side."""
    near, front, back, far = line
    async with (
        raw(face, front) as a,
        raw(face, back, **back_settings) as b,
        opened(face, near) as one,
        opened(face, far) as other,
    ):
        await link(a, one, spot)
        await link(b, other, beside(spot))
        yield a, b, one, other


@asynccontextmanager
async def without_room(face: Face, spot: str) -> AsyncGenerator[tuple[RawSock, RawSock, Dev]]:
    """Open a device that will carry three of twenty messages, since nobody takes them: front, back, the device."""
    async with raw(face, "RawPull") as front, raw(face, "RawPush", send_hwm=3) as back, face.push() as push:
        await link(front, push, spot)
        await push.send_many(b"%d" % n for n in range(20))
        yield front, back, device(face, front, back)


async def three_went(dev: Dev, front: RawSock) -> None:
    """Look at a device that is over, and at what it left: what was not handed on can be received, in order."""
    assert done(dev) == (3, 0, 0)
    assert [message.body for message in await take(front, 17)] == [b"%d" % n for n in range(3, 20)]
    assert empty(front)


def label(kind: Kind) -> str:
    """Return what a kind's protocol is called."""
    return kind.removeprefix("Raw").lower()


def done(dev: Dev) -> tuple[int, int, int]:
    """Return what a device has done: to the back, to the front, dropped."""
    stats = dev.stats()
    return stats.to_back, stats.to_front, stats.dropped


def empty(sock: RawSock) -> bool:
    """Whether nothing is there to receive."""
    try:
        sock.recv_nowait()
    except WouldBlock:
        return True
    return False


# --- forwarding ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ONE_WAY, ids=[one[0] for one in ONE_WAY])
@on_every_face
async def test_one_way_all_goes_on_in_order(face: Face, spot: str, line: Line) -> None:
    """One by one and many at once; the device counts them."""
    bodies = [b"%d" % n for n in range(600)]
    async with around(face, spot, line) as (front, back, sender, receiver):
        dev = device(face, front, back)
        async with running(face, dev):
            await sender.send(b"first")
            assert await receiver.recv(timeout=PATIENCE) == b"first"
            await sender.send_many(bodies)
            assert [await receiver.recv(timeout=PATIENCE) for _ in bodies] == bodies

        assert done(dev) == (601, 0, 0)


@on_every_face
async def test_the_way_is_also_from_back_to_front(face: Face, spot: str) -> None:
    """Which of the two is called the front is the user's affair."""
    async with around(face, spot, ("pull", "RawPush", "RawPull", "push")) as (front, back, pull, push):
        log = Log()
        dev = device(face, front, back, tap=log)
        async with running(face, dev):
            await push.send(b"x")
            assert await pull.recv(timeout=PATIENCE) == b"x"

        assert done(dev) == (0, 1, 0)
        assert log.bodies("back") == [b"x"]


@pytest.mark.parametrize("line", TALKING, ids=[one[0] for one in TALKING])
@on_every_face
async def test_both_ways_at_the_same_time(face: Face, spot: str, line: Line) -> None:
    """What either side says the other hears, in order."""
    there, back_again = [b"%d" % n for n in range(300)], [b"re %d" % n for n in range(200)]
    async with around(face, spot, line) as (front, back, one, other):
        dev = device(face, front, back)
        async with running(face, dev):
            await one.send_many(there)
            await other.send_many(back_again)
            assert [await other.recv(timeout=PATIENCE) for _ in there] == there
            assert [await one.recv(timeout=PATIENCE) for _ in back_again] == back_again

        assert done(dev) == (300, 200, 0)


@pytest.mark.parametrize(("near", "front", "back", "far"), ASKING, ids=[one[0] for one in ASKING])
@on_every_face
async def test_the_answer_finds_its_way_back(
    face: Face, spot: str, near: str, front: Kind, back: Kind, far: str
) -> None:
    """Of two who ask at the same time each has his own."""
    async with (
        raw(face, front) as a,
        raw(face, back) as b,
        opened(face, near) as one,
        opened(face, near) as other,
        opened(face, far) as answers,
    ):
        of_one, _ = await link(a, one, spot)
        other.connect(urls(a)[0])
        await newest(a, {of_one})
        await other.wait_for_peers(1, PATIENCE)
        await link(b, answers, beside(spot))
        dev = device(face, a, b)
        async with running(face, dev):
            for n in range(10):
                await one.send(b"one %d" % n)
                await other.send(b"other %d" % n)
                for _ in range(2):
                    body = await answers.recv(timeout=PATIENCE)
                    await answers.send(b"re " + body)
                assert await other.recv(timeout=PATIENCE) == b"re other %d" % n
                assert await one.recv(timeout=PATIENCE) == b"re one %d" % n

        assert done(dev) == (20, 20, 0)


@on_every_face
async def test_a_device_shares_requests_among_servers(face: Face, spot: str) -> None:
    """Forty requests, ten at a time, two that serve: each asker has the answer to its own question, from either."""
    served: list[str] = []
    async with raw(face, "RawRep") as front, raw(face, "RawReq") as back, face.req() as req:
        reps = [face.rep() for _ in range(2)]
        await link(front, req, spot)
        url = back.bind(beside(spot)).url
        for rep in reps:
            await rep.connect(url, wait=True, timeout=PATIENCE)
        await back.wait_for_peers(2, PATIENCE)
        dev = device(face, front, back)
        async with face.crowd() as serving:
            for name, rep in zip("ab", reps, strict=True):

                def answer(body: bytes, name: str = name) -> bytes:
                    served.append(name)
                    return b"re " + body

                serving.start(rep.serve, answer)
            async with running(face, dev) as crowd:
                for begin in range(0, 40, 10):
                    jobs = [crowd.start(req.request, b"%d" % n) for n in range(begin, begin + 10)]
                    for n, job in enumerate(jobs, start=begin):
                        assert await outcome(face, job) == b"re %d" % n
            for rep in reps:
                await rep.close()

        assert set(served) == {"a", "b"}
        assert done(dev) == (40, 40, 0)


@on_every_face
async def test_a_survey_asks_all_behind_a_device(face: Face, spot: str) -> None:
    """And has the answers of all of them."""
    async with (
        raw(face, "RawRespondent") as front,
        raw(face, "RawSurveyor") as back,
        face.surveyor(survey_time=PATIENCE) as surveyor,
        face.respondent() as one,
        face.respondent() as other,
    ):
        await link(front, surveyor, spot)
        of_one, _ = await link(back, one, beside(spot))
        other.connect(urls(back)[0])
        await newest(back, {of_one})
        dev = device(face, front, back)
        async with running(face, dev):
            await surveyor.send(b"who?")
            for name, respondent in ((b"one", one), (b"other", other)):
                assert await respondent.recv(timeout=PATIENCE) == b"who?"
                await respondent.send(name)

            assert {await surveyor.recv(timeout=PATIENCE) for _ in range(2)} == {b"one", b"other"}
        assert done(dev) == (1, 2, 0)


@on_every_face
async def test_the_device_function_carries_until_a_socket_is_closed(face: Face, spot: str) -> None:
    """It is a device that cannot be stopped otherwise."""
    async with around(face, spot, PAIRS) as (front, back, one, other), face.crowd() as crowd:
        carrying = crowd.start(carry, face, front, back)
        await one.send(b"to the back")
        assert await other.recv(timeout=PATIENCE) == b"to the back"
        await other.send(b"to the front")
        assert await one.recv(timeout=PATIENCE) == b"to the front"
        assert not carrying.done

        await front.close()
        await outcome(face, carrying)


# --- what a device is made of ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("front", "back"), WRONG)
@on_every_face
async def test_wrong_couples_are_refused(face: Face, front: Kind, back: Kind) -> None:
    """The text says what goes with what."""
    async with raw(face, front) as a, raw(face, back) as b:
        with pytest.raises(ValueError, match="a device needs a socket and its counterpart") as caught:
            device(face, a, b)

        wanted = f"; {label(front)} goes with {label(COUNTERPARTS[front])}, not {label(back)}"
        assert str(caught.value).endswith(wanted)


@pytest.mark.parametrize("kind", NO_REFLECTOR)
@on_every_face
async def test_who_is_no_counterpart_of_himself_does_not_reflect(face: Face, kind: Kind) -> None:
    """Without a back socket only a RawBus, a RawPair and a RawPair1 go."""
    async with raw(face, kind) as sock:
        with pytest.raises(ValueError, match=f"{label(kind)} goes with .*, not {label(kind)}"):
            device(face, sock)


@on_every_face
async def test_cooked_sockets_are_refused(face: Face) -> None:
    """At either side, and alone."""
    async with raw(face, "RawPair") as there, face.pair() as pair, raw(face, "RawPull") as pull, face.push() as push:
        for front, back, name in ((pair, there, "Pair"), (there, pair, "Pair"), (pull, push, "Push")):
            with pytest.raises(TypeError, match=f"a device is made of raw sockets, not of a {name}"):
                device(face, front, back)
        with pytest.raises(TypeError, match="a device is made of raw sockets, not of a Pair"):
            device(face, pair)


# --- the tap ---------------------------------------------------------------------------------------------------------


@on_every_face
async def test_the_tap_sees_each_message_before_it_goes_on(face: Face, spot: str) -> None:
    """With the side it came in at, its header and its peer."""
    seen: list[tuple[Side, Message, int]] = []
    async with (
        raw(face, "RawRep") as front,
        raw(face, "RawReq") as back,
        raw(face, "RawReq") as asks,
        face.rep() as rep,
    ):
        of_asks, _ = await link(front, asks, spot)
        of_rep, _ = await link(back, rep, beside(spot))

        def tap(side: Side, message: Message) -> None:
            seen.append((side, message, (back if side == "front" else front).stats().accepted))

        async with running(face, device(face, front, back, tap=tap)):
            for n in range(3):
                await asks.send(b"%d" % n, header=NUMBER)
                assert await rep.recv(timeout=PATIENCE) == b"%d" % n
                await rep.send(b"re %d" % n)
                assert (await asks.recv(timeout=PATIENCE))[:2] == (NUMBER, b"re %d" % n)

    way_back = of_asks.to_bytes(4, "big") + NUMBER
    assert [one for one in seen if one[0] == "front"] == [
        ("front", Message(NUMBER, b"%d" % n, of_asks), n) for n in range(3)
    ]
    assert [one for one in seen if one[0] == "back"] == [
        ("back", Message(way_back, b"re %d" % n, of_rep), n) for n in range(3)
    ]


class TapError(Exception):
    """The tap's own."""


def failing(side: Side, message: Message) -> None:
    """Be a tap that takes only good messages."""
    if message.body != b"good":
        raise TapError(side)


@on_every_face
async def test_an_error_in_the_tap_ends_a_device_of_one_way(face: Face, spot: str) -> None:
    """It comes out of `run` as it is, and its message is still to be received."""
    async with around(face, spot, PIPELINE) as (front, back, push, pull), face.crowd() as crowd:
        dev = device(face, front, back, tap=failing)
        carrying = crowd.start(dev.run)
        await push.send(b"good")
        assert await pull.recv(timeout=PATIENCE) == b"good"
        await push.send(b"bad")
        with pytest.raises(TapError, match="front"):
            await outcome(face, carrying)

        assert [message.body for message in await take(front, 1)] == [b"bad"]
        assert done(dev) == (1, 0, 0)


@pytest.mark.parametrize("side", ["front", "back"])
@on_every_face
async def test_an_error_in_the_tap_ends_both_ways(face: Face, spot: str, side: Side) -> None:
    """It comes out of `run`; of a device in tasks, in a group."""
    async with around(face, spot, PAIRS) as (front, back, one, other), face.crowd() as crowd:
        carrying = crowd.start(device(face, front, back, tap=failing).run)
        for sock in (one, other):
            await sock.send(b"good")
        for sock in (one, other):
            assert await sock.recv(timeout=PATIENCE) == b"good"
        await (one if side == "front" else other).send(b"bad")

        error: Exception | None = None
        try:
            await outcome(face, carrying)
        except ExceptionGroup as group:
            assert face.name != "blocking"
            (error,) = group.exceptions
        except TapError as alone:
            assert face.name == "blocking"
            error = alone
        assert isinstance(error, TapError)
        assert error.args == (side,)
        assert [message.body for message in await take(front if side == "front" else back, 1)] == [b"bad"]


# --- the books -------------------------------------------------------------------------------------------------------


@on_every_face
async def test_an_answer_that_knows_no_way_is_dropped(face: Face, spot: str) -> None:
    """Nobody behind the device has asked for it; those around it pass."""
    async with around(face, spot, ("RawReq", "RawRep", "RawReq", "RawRep")) as (front, back, asks, answers):
        dev = device(face, front, back)
        async with running(face, dev):
            await asks.send(b"?", header=NUMBER)
            question = await answers.recv(timeout=PATIENCE)
            await answers.send_many(
                [
                    question.reply(b"1"),
                    Message(NUMBER, b"without the device's word", question.peer),
                    question.reply(b"2"),
                ]
            )

            assert [message.body for message in await take(asks, 2)] == [b"1", b"2"]
        assert done(dev) == (1, 2, 1)
        assert empty(asks)


@on_every_face
async def test_an_answer_to_who_is_gone_is_the_front_sockets_to_count(face: Face, spot: str) -> None:
    """The device hands it on as any other; the front socket finds nobody there."""
    async with raw(face, "RawRep") as front, raw(face, "RawReq") as back, face.rep() as rep:
        await link(back, rep, beside(spot))
        dev = device(face, front, back)
        async with running(face, dev):
            async with face.req() as req:
                await link(front, req, spot)
                await req.send(b"?")
                assert await rep.recv(timeout=PATIENCE) == b"?"
            await until(face, lambda: not front.peers)
            await rep.send(b"too late")

            await until(face, lambda: front.stats().dropped == {"peer_gone": 1})
        assert done(dev) == (1, 1, 0)


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("front", "back"), [("RawPull", "RawPush"), ("RawPair", "RawPair"), ("RawRep", "RawReq")])
@on_every_face
async def test_a_device_that_waits_can_be_stopped(face: Face, front: Kind, back: Kind) -> None:
    """From elsewhere, as often as one likes; it carries nothing afterwards, and the sockets stay open."""
    async with raw(face, front) as a, raw(face, back) as b, face.crowd() as crowd:
        dev = device(face, a, b)
        carrying = crowd.start(dev.run)
        await until(face, lambda: face.receiving(a) == 1)
        assert not carrying.done
        dev.stop()
        await outcome(face, carrying)

        dev.stop()
        await dev.run()
        assert not a.closed
        assert not b.closed
        assert face.receiving(a) == face.receiving(b) == 0


@on_every_face
async def test_a_device_that_was_stopped_before_carries_nothing(face: Face, spot: str) -> None:
    """`run` is over at once, and what waits goes on waiting."""
    async with raw(face, "RawPull") as front, raw(face, "RawPush") as back, face.push() as push:
        await link(front, push, spot)
        await push.send(b"x")
        dev = device(face, front, back)
        dev.stop()
        await dev.run()

        assert done(dev) == (0, 0, 0)
        assert [message.body for message in await take(front, 1)] == [b"x"]


@on_every_face
async def test_the_tap_may_stop_the_device(face: Face, spot: str) -> None:
    """What it saw by then is either handed on or still with the front socket: together, all, in order."""
    async with around(face, spot, PIPELINE) as (front, back, push, pull), face.crowd() as crowd:

        def tap(side: Side, message: Message) -> None:
            if message.body == b"50":
                dev.stop()

        dev = device(face, front, back, tap=tap)
        await push.send_many(b"%d" % n for n in range(100))
        await outcome(face, crowd.start(dev.run))

        handed = dev.stats().to_back
        there = [await pull.recv(timeout=PATIENCE) for _ in range(handed)]
        left = [message.body for message in await take(front, 100 - handed)]
        assert there + left == [b"%d" % n for n in range(100)]


@on_every_face
async def test_what_has_no_peer_to_go_to_stays_with_who_received_it(face: Face, spot: str) -> None:
    """Stopped while it waits for room: what went goes to the first peer, the rest can be received, in order."""
    async with without_room(face, spot) as (front, back, dev), face.pull() as pull, face.crowd() as crowd:
        carrying = crowd.start(dev.run)
        await until(face, lambda: face.sending(back) == 1)
        assert not carrying.done
        dev.stop()
        await outcome(face, carrying)

        await three_went(dev, front)
        await link(back, pull, beside(spot))
        assert [await pull.recv(timeout=PATIENCE) for _ in range(3)] == [b"0", b"1", b"2"]


@on_every_face
async def test_a_request_without_a_server_stays_with_who_received_it(face: Face, spot: str) -> None:
    """With header and peer, so that it can still be answered."""
    async with (
        raw(face, "RawRep") as front,
        raw(face, "RawReq", send_hwm=1) as back,
        raw(face, "RawReq") as asks,
        face.crowd() as crowd,
    ):
        of_asks, _ = await link(front, asks, spot)
        dev = device(face, front, back)
        carrying = crowd.start(dev.run)
        for n in range(5):
            await asks.send(b"%d" % n, header=NUMBER)
        await until(face, lambda: face.sending(back) == 1)
        dev.stop()
        await outcome(face, carrying)

        left = await take(front, 4)
        assert left == [Message(NUMBER, b"%d" % n, of_asks) for n in range(1, 5)]
        for question in left:
            await front.send(question.reply(b"re " + question.body))
        assert [message.body for message in await take(asks, 4)] == [b"re %d" % n for n in range(1, 5)]


@on_every_face
async def test_what_a_full_peer_does_not_take_stays_with_who_received_it(face: Face, stream_spot: str) -> None:
    """Stopped in the middle of it: what went and what is left are all, in order; another device takes it up."""
    number = 60
    async with (
        raw(face, "RawPull") as front,
        raw(face, "RawPush", send_hwm=3) as back,
        face.push() as push,
        face.pull(recv_hwm=1) as pull,
        face.crowd() as crowd,
    ):
        await link(front, push, stream_spot)
        await link(back, pull, beside(stream_spot))
        dev = device(face, front, back)
        carrying = crowd.start(dev.run)
        sending = crowd.start(push.send_many, [b"%05d" % n + LARGE for n in range(number)])
        await until(face, lambda: face.sending(back) == 1)
        dev.stop()
        await outcome(face, carrying)

        handed = dev.stats().to_back
        assert handed < number
        kept = await front.recv(timeout=PATIENCE)
        assert int(kept.body[:5]) == handed
        there = [int((await pull.recv(timeout=PATIENCE))[:5]) for _ in range(handed)]
        async with running(face, device(face, front, back)):
            there += [int((await pull.recv(timeout=PATIENCE))[:5]) for _ in range(number - handed - 1)]
            await outcome(face, sending)
        assert there == [n for n in range(number) if n != handed]


@pytest.mark.parametrize("ended", ["front", "back"])
@pytest.mark.parametrize(("front", "back"), [("RawPair", "RawPair"), ("RawBus", "RawBus"), ("RawRep", "RawReq")])
@on_every_face
async def test_closing_a_socket_ends_the_device(face: Face, front: Kind, back: Kind, ended: str) -> None:
    """Either of them; the other one stays open."""
    async with raw(face, front) as a, raw(face, back) as b, face.crowd() as crowd:
        carrying = crowd.start(device(face, a, b).run)
        await until(face, lambda: face.receiving(a) == face.receiving(b) == 1)
        first, other = (a, b) if ended == "front" else (b, a)
        await first.close()
        await outcome(face, carrying)

        assert not other.closed


@on_every_face
async def test_closing_the_source_ends_a_device_of_one_way(face: Face, spot: str) -> None:
    """What was handed on goes on."""
    async with (
        raw(face, "RawPull") as front,
        raw(face, "RawPush") as back,
        face.push() as push,
        face.pull() as pull,
        face.crowd() as crowd,
    ):
        await link(front, push, spot)
        dev = device(face, front, back)
        carrying = crowd.start(dev.run)
        await push.send(b"x")
        await until(face, lambda: done(dev) == (1, 0, 0))
        await front.close()
        await outcome(face, carrying)

        await link(back, pull, beside(spot))
        assert await pull.recv(timeout=PATIENCE) == b"x"


@on_every_face
async def test_closing_the_sink_ends_a_device_that_waits_for_messages(face: Face, spot: str) -> None:
    """Also the one that nothing is received from: `run` is over, and the other one stays open."""
    async with (
        raw(face, "RawPull") as front,
        raw(face, "RawPush") as back,
        face.push() as push,
        face.crowd() as crowd,
    ):
        await link(front, push, spot)
        carrying = crowd.start(device(face, front, back).run)
        await until(face, lambda: face.receiving(front) == 1)
        await back.close()
        await outcome(face, carrying)

        await push.send(b"x")
        assert [message.body for message in await take(front, 1)] == [b"x"]


@on_every_face
async def test_closing_the_sink_ends_a_device_that_waits_for_room(face: Face, spot: str) -> None:
    """What was not handed on can be received, in order."""
    async with without_room(face, spot) as (front, back, dev), face.crowd() as crowd:
        carrying = crowd.start(dev.run)
        await until(face, lambda: face.sending(back) == 1)
        await back.close(0)
        await outcome(face, carrying)

        await three_went(dev, front)


# --- reflectors ------------------------------------------------------------------------------------------------------


@on_every_face
async def test_a_reflector_makes_one_bus_of_all_its_peers(face: Face, spot: str) -> None:
    """What one says all others hear, and not itself."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(raw(face, "RawBus"))
        members = [await stack.enter_async_context(face.bus()) for _ in range(3)]
        url = hub.bind(spot).url
        for member in members:
            await member.connect(url, wait=True, timeout=PATIENCE)
        await hub.wait_for_peers(3, PATIENCE)
        log = Log()
        dev = device(face, hub, tap=log)
        async with running(face, dev):
            for n, member in enumerate(members):
                await member.send(b"%d" % n)
                for other in members:
                    if other is not member:
                        assert await other.recv(timeout=PATIENCE) == b"%d" % n

        for member in members:
            with pytest.raises(WouldBlock):
                member.recv_nowait()
        assert log.bodies("front") == [b"0", b"1", b"2"]
        assert done(dev) == (3, 0, 0)


@pytest.mark.parametrize("kind", ["RawPair", "RawPair1"])
@on_every_face
async def test_a_reflector_of_a_pair_sends_back(face: Face, spot: str, kind: Kind) -> None:
    """All of it, in order; it is an echo."""
    bodies = [b"%d" % n for n in range(300)]
    async with raw(face, kind) as echo, raw(face, kind) as one:
        await link(echo, one, spot)
        dev = device(face, echo)
        async with running(face, dev):
            await one.send_many(bodies)
            assert [message.body for message in await take(one, len(bodies))] == bodies

        assert done(dev) == (300, 0, 0)


@on_every_face
async def test_a_reflector_of_a_pair1_counts_its_step(face: Face, spot: str) -> None:
    """What comes back has made one more."""
    async with raw(face, "RawPair1") as echo, raw(face, "RawPair1") as one:
        await link(echo, one, spot)
        async with running(face, device(face, echo)):
            await one.send(b"x")
            await one.send(b"y", header=b"\0\0\0\4")

            assert [message[:2] for message in await take(one, 2)] == [(b"\0\0\0\2", b"x"), (b"\0\0\0\6", b"y")]


# --- devices in a row ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("devices", "most", "arrives"),
    [
        pytest.param(7, 8, True, id="seven-pass-by-default"),
        pytest.param(8, 8, False, id="the-eighth-is-too-many"),
        pytest.param(8, 9, True, id="eight-pass-with-9"),
        pytest.param(9, 9, False, id="the-ninth-is-too-many-with-9"),
    ],
)
@on_every_face
async def test_a_request_passes_so_many_devices(face: Face, spot: str, devices: int, most: int, arrives: bool) -> None:
    """A header has a word for each of them and one for the number; who asks from nearer is answered all the same."""
    async with AsyncExitStack() as stack:
        rep = await stack.enter_async_context(face.rep(max_ttl=most))
        url = rep.bind(spot).url
        entries: list[str] = []
        row: list[Dev] = []
        for number in range(devices):
            front = await stack.enter_async_context(raw(face, "RawRep", max_ttl=most))
            back = await stack.enter_async_context(raw(face, "RawReq"))
            await back.connect(url, wait=True, timeout=PATIENCE)
            url = front.bind(beside(spot, number)).url
            entries.append(url)
            row.append(device(face, front, back))
        async with running(face, *row), face.req() as afar, face.req() as near:
            await afar.connect(entries[-1], wait=True, timeout=PATIENCE)
            await near.connect(entries[0], wait=True, timeout=PATIENCE)
            await afar.send(b"from afar")
            if arrives:
                assert await rep.recv(timeout=PATIENCE) == b"from afar"
                await rep.send(b"welcome")
                assert await afar.recv(timeout=PATIENCE) == b"welcome"
            else:  # what comes from nearby goes by the same connection, behind it
                await until(face, lambda: done(row[0]) == (1, 0, 0))
            await near.send(b"from nearby")
            assert await rep.recv(timeout=PATIENCE) == b"from nearby"
            await rep.send(b"who else?")
            assert await near.recv(timeout=PATIENCE) == b"who else?"

        assert rep.stats().discarded == ({} if arrives else {"ttl_exceeded": 1})
        assert [done(one) for one in row] == [(2, 1 + arrives, 0), *[(1, int(arrives), 0)] * (devices - 1)]


# --- cancelled -------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_a_device_that_waits_for_room_can_be_cancelled(face: Face, spot: str) -> None:
    """What was not handed on can be received, in order."""
    async with without_room(face, spot) as (front, back, dev):
        await cancelled(face, dev.run, lambda: face.sending(back) == 1)

        await three_went(dev, front)
        assert face.sending(back) == 0


@on_both_loops
async def test_a_device_of_two_ways_that_is_cancelled_loses_nothing(face: Face, stream_spot: str) -> None:
    """Cut at each of its suspensions, with messages under way in both directions; the next device goes on."""
    there, again = [b"%d" % n for n in range(12)], [b"re %d" % n for n in range(12)]

    async def attempt(cut: Cut) -> None:
        async with (
            raw(face, "RawPair", send_hwm=2) as front,
            raw(face, "RawPair", send_hwm=2) as back,
            face.pair() as one,
            face.pair() as other,
            face.crowd() as crowd,
        ):
            await link(front, one, stream_spot)
            await link(back, other, beside(stream_spot))
            first = device(face, front, back)

            async def talk() -> None:
                for to_back, to_front in zip(there, again, strict=True):
                    await one.send(to_back)
                    await other.send(to_front)
                    await face.pause()

            async def stop_behind() -> None:
                await until(face, lambda: cut.cancelled or done(first) == (12, 12, 0))
                first.stop()

            talking = crowd.start(talk)
            crowd.start(stop_behind)
            await cut(first.run())
            async with running(face, device(face, front, back)):
                assert [await other.recv(timeout=PATIENCE) for _ in there] == there
                assert [await one.recv(timeout=PATIENCE) for _ in again] == again
            await outcome(face, talking)

    late = (False, True) if face.name == "asyncio" else (False,)
    assert sum([await sweep(face, attempt, late=mode) for mode in late]) >= 1


# --- the blocking device within `with` -------------------------------------------------------------------------------


def test_within_with_a_device_works_beside_you(spot: str) -> None:
    """Leaving stops it: no thread of it is left, and the sockets are yours again."""
    with nnqpy.RawPair() as front, nnqpy.RawPair() as back, nnqpy.Pair() as one, nnqpy.Pair() as other:
        one.connect(front.bind(spot).url, wait=True, timeout=PATIENCE)
        other.connect(back.bind(beside(spot)).url, wait=True, timeout=PATIENCE)
        with nnqpy.Device(front, back) as dev:
            one.send(b"to the back")
            assert other.recv(timeout=PATIENCE) == b"to the back"
            other.send(b"to the front")
            assert one.recv(timeout=PATIENCE) == b"to the front"
            threads = dev._threads
            assert [thread.is_alive() for thread in threads] == [True, True]

        assert [thread.is_alive() for thread in threads] == [False, False]
        one.send(b"to you")
        assert front.recv(timeout=PATIENCE).body == b"to you"
        assert (dev.stats().to_back, dev.stats().to_front) == (1, 1)


def test_an_error_in_the_tap_comes_out_of_with(spot: str) -> None:
    """As it is left; it has ended the device before."""
    with nnqpy.RawPull() as front, nnqpy.RawPush() as back, nnqpy.Push(connect=front.bind(spot).url) as push:
        with pytest.raises(TapError), nnqpy.Device(front, back, tap=failing) as dev:
            push.send(b"bad")
            for thread in dev._threads:
                thread.join(PATIENCE)
                assert not thread.is_alive()

        assert front.recv(timeout=PATIENCE).body == b"bad"


def test_your_own_error_comes_out_of_with_first(spot: str) -> None:
    """The tap's is not put in its place."""
    with nnqpy.RawPull() as front, nnqpy.RawPush() as back, nnqpy.Push(connect=front.bind(spot).url) as push:
        with pytest.raises(LookupError, match="mine"), nnqpy.Device(front, back, tap=failing) as dev:
            push.send(b"bad")
            for thread in dev._threads:
                thread.join(PATIENCE)
            raise LookupError("mine")

        assert front.recv(timeout=PATIENCE).body == b"bad"
