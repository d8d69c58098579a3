"""Pub, Sub and Bus: everything to everybody; who is behind misses by the policy; who wants the latest has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import nnqpy
from nnqpy import Closed, TimedOut
from nnqpy.errors import Reason
from nnqpy.events import HandshakeFailed, PeerRemoved
from tests.contract.kit import BRIEFLY, PATIENCE, on_every_face, until

if TYPE_CHECKING:
    from nnqpy.options import OnFull
    from tests.contract.kit import Face, Receiver

pytestmark = pytest.mark.timeout(60)


async def take(sock: Receiver, number: int) -> list[bytes]:
    """Receive so many messages."""
    return [await sock.recv(timeout=PATIENCE) for _ in range(number)]


@on_every_face
async def test_each_sub_gets_what_it_subscribed_to(face: Face, spot: str) -> None:
    """Prefixes of bytes or str, any number; without one nothing; with the empty one everything."""
    async with (
        face.pub() as pub,
        face.sub(subscribe=["news.", b"sport"]) as some,
        face.sub(subscribe="") as all_of_it,
        face.sub() as none,
    ):
        url = pub.bind(spot).url
        for sub in (some, all_of_it, none):
            sub.connect(url)
        await pub.wait_for_peers(3, PATIENCE)
        sent = [b"news.1", b"new", b"sports", b"", b"weather", "news.\u00e9".encode()]
        await pub.send_many(sent)

        assert await take(all_of_it, 6) == sent
        assert await take(some, 3) == [sent[0], sent[2], sent[5]]
        await until(face, lambda: none.stats().received == 6 or not seen(none))
        with pytest.raises(TimedOut):
            await none.recv(timeout=BRIEFLY)
        with pytest.raises(TimedOut):
            await some.recv(timeout=0)


def seen(sub: Receiver) -> bool:
    """Whether a socket that receives nothing has looked at what came; it looks when it is asked."""
    return bool(sub.stats().received)


@on_every_face
async def test_a_subscription_holds_from_then_on_and_until_then(face: Face, spot: str) -> None:
    """`subscribe` and `unsubscribe` while messages flow; the tuple says what is subscribed to."""
    async with face.pub() as pub, face.sub() as sub:
        sub.connect(pub.bind(spot).url)
        await pub.wait_for_peers(1, PATIENCE)
        sub.subscribe("b")
        sub.subscribe(b"a")
        sub.subscribe("a")
        assert sub.subscriptions == (b"a", b"b")
        await pub.send_many([b"a1", b"b1", b"c1"])
        assert await take(sub, 2) == [b"a1", b"b1"]

        sub.unsubscribe(b"b")
        with pytest.raises(ValueError, match="no subscription to 'zzz'"):
            sub.unsubscribe("zzz")
        await pub.send_many([b"b2", b"a2"])

        assert await take(sub, 1) == [b"a2"]


@on_every_face
async def test_a_pub_without_peers_drops_and_counts(face: Face) -> None:
    """Nothing waits for a Sub that may come: that is the difference to a Push. `wait_for_peers` is for that."""
    async with face.pub() as pub:
        await pub.send_many([b"1", b"2"])
        await pub.flush(PATIENCE)

        assert dict(pub.stats().dropped) == {"no_peer": 2}


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
@on_every_face
async def test_a_slow_sub_misses_and_slows_no_other(face: Face, stream_spot: str, policy: OnFull) -> None:
    """The quick one has every message; what the slow one misses is counted for it, and it has the others in order."""
    number, body = 3000, bytes(10_000)
    async with (
        face.pub(send_hwm=20, on_full=policy) as pub,
        face.sub(subscribe="", recv_hwm=10) as slow,
        face.sub(subscribe="") as quick,
    ):
        url = pub.bind(stream_spot).url
        slow.connect(url)
        await pub.wait_for_peers(1, PATIENCE)
        quick.connect(url)
        _, of_quick = await pub.wait_for_peers(2, PATIENCE)
        got: list[bytes] = []
        for n in range(number):
            await pub.send(b"%05d" % n + body)
            while n % 10 == 9 and len(got) <= n:  # all of them: that is what makes it quick
                got += await quick.recv_many(timeout=PATIENCE)

        missed = {peer.id: peer.missed for peer in pub.peers}
        assert [int(one[:5]) for one in got] == list(range(number))
        assert missed.pop(of_quick.id) == 0
        (lost,) = missed.values()
        assert dict(pub.stats().dropped) == {"queue_full": lost}
        late = [int((await slow.recv(timeout=PATIENCE))[:5]) for _ in range(number - lost)]
        assert late == sorted(set(late))
        assert lost > 0
        assert (late[-1] == number - 1) == (policy == "drop_oldest")


@on_every_face
async def test_a_pub_may_wait_for_the_slowest(face: Face, spot: str) -> None:
    """`on_full="block"`: nobody misses anything, and `send` is held up."""
    body = bytes(5000)
    async with (
        face.pub(send_hwm=5, on_full="block") as pub,
        face.sub(subscribe="", recv_hwm=5) as slow,
        face.sub(subscribe="") as quick,
        face.crowd() as crowd,
    ):
        url = pub.bind(spot).url
        slow.connect(url)
        quick.connect(url)
        await pub.wait_for_peers(2, PATIENCE)

        async def publish() -> None:
            for n in range(3000):
                await pub.send(b"%04d" % n + body)
            await pub.flush()

        async def watch() -> list[bytes]:
            return await take(quick, 3000)

        publishing, watching = crowd.start(publish), crowd.start(watch)
        await until(face, lambda: face.sending(pub) == 1)
        late = await take(slow, 3000)
        await until(face, lambda: publishing.done and watching.done)

        assert [int(one[:4]) for one in late] == list(range(3000))
        assert watching.value[0] == late
        assert dict(pub.stats().dropped) == {}


@on_every_face
async def test_the_latest_is_kept_while_nobody_receives(face: Face, spot: str) -> None:
    """Bounded, fresh, and the publisher feels nothing; what had to go is counted."""
    async with face.pub(on_full="block") as pub, face.sub(subscribe="", keep="latest", recv_hwm=3) as sub:
        sub.connect(pub.bind(spot).url)
        await pub.wait_for_peers(1, PATIENCE)
        for n in range(3000):
            await pub.send(b"%d" % n + bytes(2000), timeout=PATIENCE)
        await pub.flush(PATIENCE)
        await until(face, lambda: sub.stats().received == 3000)

        assert sub.stats().discarded == {"replaced": 2997}
        assert [body[:4] for body in await take(sub, 3)] == [b"2997", b"2998", b"2999"]
        await pub.send(b"last")
        assert await sub.recv(timeout=PATIENCE) == b"last"


@on_every_face
async def test_a_bus_talks_to_all_others_and_not_to_itself(face: Face, spot: str) -> None:
    """Each of three that know each other hears the two others."""
    async with face.bus() as a, face.bus() as b, face.bus() as c:
        url = a.bind(spot).url
        b.connect(url)
        c.connect(url)
        c.connect(b.bind(spot.replace(".sock", "2.sock") if "ipc" in spot else spot + "2" * ("inproc" in spot)).url)
        for one in (a, b, c):
            await one.wait_for_peers(2, PATIENCE)
        for name, one in ((b"a", a), (b"b", b), (b"c", c)):
            await one.send(name)

        assert sorted(await take(a, 2)) == [b"b", b"c"]
        assert sorted(await take(b, 2)) == [b"a", b"c"]
        assert sorted(await take(c, 2)) == [b"a", b"b"]
        with pytest.raises(TimedOut):
            await a.recv(timeout=BRIEFLY)


@on_every_face
async def test_a_sub_speaks_only_with_a_pub(face: Face, spot: str) -> None:
    """Another pattern at the other end is told on both, as ever."""
    async with face.sub(subscribe="") as sub, face.push(reconnect_min=0.01) as push:
        events = push.events()
        push.connect(sub.bind(spot).url)
        while not isinstance(event := await events.recv(timeout=PATIENCE), HandshakeFailed):
            pass

        assert event.reason is Reason.PROTO_MISMATCH
        assert "sub" in event.detail


@on_every_face
async def test_a_closed_sub_takes_no_subscription(face: Face) -> None:
    """As every other call."""
    sub = face.sub()
    await sub.close()

    with pytest.raises(Closed):
        sub.subscribe("x")
    with pytest.raises(Closed):
        sub.unsubscribe("x")


@on_every_face
async def test_a_sub_that_leaves_takes_its_queue_along(face: Face, stream_spot: str) -> None:
    """What waited for it is counted as dropped, and goes to nobody else."""
    async with face.pub(send_hwm=50) as pub:
        events = pub.events()
        sub = face.sub(subscribe="", recv_hwm=1)
        sub.connect(pub.bind(stream_spot).url)
        await pub.wait_for_peers(1, PATIENCE)
        for _ in range(100):
            await pub.send(bytes(100_000))
        await sub.close(0)
        while not isinstance(await events.recv(timeout=PATIENCE), PeerRemoved):
            pass
        await until(face, lambda: pub.stats().queued == 0)

        dropped = pub.stats().dropped
        assert dropped["peer_gone"] + dropped.get("peer_lost_mid_frame", 0) > 0
        assert pub.stats().accepted == 100


@pytest.mark.parametrize("kind", [nnqpy.Pub, nnqpy.Bus])
def test_a_policy_that_is_none_is_refused(kind: type[nnqpy.Pub | nnqpy.Bus]) -> None:
    """The text has the three that are."""
    with pytest.raises(ValueError, match="drop_oldest, drop_newest, block"):
        kind(on_full="drop")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="all, latest"):
        nnqpy.Sub(keep="first")  # type: ignore[arg-type]


def test_an_option_of_another_kind_is_refused() -> None:
    """A Push has one queue for all its peers, and no policy."""
    with pytest.raises(TypeError, match="Push takes no option on_full"):
        nnqpy.Push(on_full="block")
