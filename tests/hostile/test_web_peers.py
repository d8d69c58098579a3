"""ws over connections: upgrades and frames that are wrong, floods, cuts, masks and ends; our side listens or dials.

A bad frame ends its connection with a close frame that has the code of RFC 6455, and with the reason on the event stream;
what came in front of it is received, nothing behind it is, and a good peer on the same socket is served all the while.
"""

from __future__ import annotations

import select
import socket
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import pytest

import nnqpy
from nnqpy import Pair, Pull, Push
from nnqpy.errors import Reason
from nnqpy.wire.websocket import CONTROLS_MAX, HEAD_MAX, HEADERS_MAX, LINE_MAX, SMALL_FRAGMENTS_MAX
from tests.hostile.dress import (
    BINARY,
    CLOSE,
    CONT,
    FIN,
    NO_MASK,
    PING,
    PONG,
    TEXT,
    dressed,
    framed,
    greet,
    head,
    hear_frame,
    last_words,
    request,
    response,
    web_frame,
)
from tests.hostile.home import GoodPeer, Home, between
from tests.hostile.kit import PATIENCE, Delivery, Memory, Stranger, port_of, settle, sockaddr, told

if TYPE_CHECKING:
    from tests.hostile.kit import Role

MASK: Final = b"\x37\xfa\x21\x3d"
GREETING: Final = b"\0SP\0\0\x50\0\0"
"""A Push says it over tcp."""

each_role = pytest.mark.parametrize("role", ["dialer", "listener"])
each_delivery = pytest.mark.parametrize("delivery", Delivery)


def spoken(role: Role, *frames: tuple[int, bytes]) -> bytes:
    """Return frames as a peer of that role says them: masked if it dials."""
    return b"".join(web_frame(first, payload, mask=MASK if role == "dialer" else None) for first, payload in frames)


def code(number: int) -> bytes:
    return number.to_bytes(2, "big")


def leave(home: Home[Any], good: GoodPeer, stranger: Stranger) -> None:
    """Have a stranger go, whose connection was good to the end."""
    stranger.finish()
    good.exchange()
    assert home.verdict().reason is Reason.EOF
    stranger.close()


# --- the upgrade, at our listener ------------------------------------------------------------------------------------

REFUSED: Final = {
    "path": (request("/nowhere"), b"404", Reason.WS_HTTP),
    "subprotocol": (request(Sec_WebSocket_Protocol="pub.sp.nanomsg.org"), b"400", Reason.PROTO_MISMATCH),
    "no subprotocol": (request(Sec_WebSocket_Protocol=""), b"400", Reason.PROTO_MISMATCH),
    "version": (request(Sec_WebSocket_Version="8"), b"426", Reason.WS_HTTP),
    "origin": (request(Origin="http://evil.example"), b"403", Reason.WS_HTTP),
    "key": (request(Sec_WebSocket_Key="short"), b"400", Reason.WS_HTTP),
    "body": (request(Content_Length="5") + b"hello", b"400", Reason.WS_HTTP),
    "chunked": (request(Transfer_Encoding="chunked") + b"FFFFFFFFFFFFFFFF\r\n", b"400", Reason.WS_HTTP),
    "post": (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"405", Reason.WS_HTTP),
    "http1": (request().replace(b"HTTP/1.1", b"HTTP/1.0"), b"505", Reason.WS_HTTP),
    "http2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505", Reason.WS_HTTP),
    "sp": (GREETING + b"\r\n\r\n", b"400", Reason.WS_HTTP),
    "tls": (b"\x16\x03\x01\0\5hello", b"400", Reason.WS_HTTP),
    "bare line end": (request().replace(b"\r\n", b"\n"), b"400", Reason.WS_HTTP),
    "long line": (request("/" + "a" * LINE_MAX), b"414", Reason.WS_HTTP),
    "many headers": (request(**{f"X{n}": "" for n in range(HEADERS_MAX)}), b"431", Reason.WS_HTTP),
    "long head": (request(**{f"X{n}": "x" * 1000 for n in range(HEAD_MAX // 1000 + 1)}), b"431", Reason.WS_HTTP),
}


@each_delivery
@pytest.mark.parametrize("case", REFUSED)
def test_b67_b68_b70_an_upgrade_that_is_refused(case: str, delivery: Delivery) -> None:
    """With a status for the other end and a reason for ours, however it is cut; what stands behind it is never a frame."""
    data, status, reason = REFUSED[case]
    words = data + framed("ws", b"never")
    if delivery is Delivery.SPLIT:
        ways = [[words[:place], words[place:]] for place in (1, 16, len(data) - 3, len(data) - 1, len(data))]
    else:
        ways = list(delivery.of(words)) if len(words) < 600 else [[words]]
    with Home(Pull, "ws") as home:
        good = GoodPeer(home)
        for parts in ways:
            with told(parts[0][:100]):
                stranger = Stranger(home.knocked())
                stranger.await_acceptance()
                assert good.hears(stranger, parts) == []
                assert home.failure().reason is reason
                assert head(stranger).startswith(b"HTTP/1.1 " + status)
                assert stranger.hears_the_end()
                stranger.close()


def test_b83_no_extension_is_agreed_on() -> None:
    """permessage-deflate is offered, and the answer has no word of it."""
    with Home(Pull, "ws") as home:
        good = GoodPeer(home)
        stranger = Stranger(home.knocked())
        stranger.say(request(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"))
        answer = head(stranger)
        stranger.await_acceptance()

        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"extension" not in answer.lower()
        assert good.hears(stranger, [framed("ws", b"plain")]) == [b"plain"]
        leave(home, good, stranger)


def test_b84_a_second_request_is_no_frame() -> None:
    """Pipelined behind the upgrade: it ends the connection, and is answered with no second response."""
    with Home(Pull, "ws") as home:
        good = GoodPeer(home)
        stranger = Stranger(home.knocked())
        stranger.await_acceptance()
        assert good.hears(stranger, [request() + request()]) == []
        assert home.verdict().reason is Reason.WS_PROTOCOL
        assert head(stranger).startswith(b"HTTP/1.1 101 ")
        assert last_words(stranger)[:2] == code(1002)


@pytest.mark.parametrize("words", [b"", b"GET / HTT", request()[:-1]], ids=["silent", "begun", "all-but-a-byte"])
def test_b84_r21_who_falls_silent_has_until_the_deadline(words: bytes) -> None:
    """Whatever was said before; a good peer is served meanwhile."""
    with Home(Pull, "ws", handshake_timeout=0.2) as home:
        good = GoodPeer(home)
        stranger = Stranger(home.knocked())
        stranger.say(words)
        good.exchange(10)

        assert home.failure().reason is Reason.GREETING_TIMEOUT
        assert stranger.hears_the_end()


def test_b84_r21_a_slow_upgrade_has_until_the_deadline() -> None:
    """Byte by byte: the deadline is one for the whole, and does not move."""
    with Home(Pull, "ws", handshake_timeout=0.3) as home:
        good = GoodPeer(home)
        stranger, began = Stranger(home.knocked()), monotonic()
        while stranger.say(b"x"):
            assert monotonic() < began + PATIENCE
            select.select([stranger.sock], [], [], 0.02)
            good.exchange()

        assert home.failure().reason is Reason.GREETING_TIMEOUT


def test_b84_an_answer_that_nobody_reads_is_no_trouble() -> None:
    """Who never reads its 101 is a peer, and what it sends arrives."""
    with Home(Pull, "ws") as home:
        good = GoodPeer(home)
        stranger = Stranger(home.knocked())
        stranger.say(request())
        stranger.await_acceptance()

        assert good.hears(stranger, [framed("ws", b"deaf")]) == [b"deaf"]
        leave(home, good, stranger)


def test_b86_what_a_proxy_might_say_is_not_believed() -> None:
    """The peer's address is that of the connection."""
    with Home(Pull, "ws") as home:
        stranger = Stranger(home.knocked())
        stranger.say(request(X_Forwarded_For="192.0.2.1", X_Real_IP="192.0.2.1", Forwarded="for=192.0.2.1"))
        assert head(stranger).startswith(b"HTTP/1.1 101 ")
        home.ours.wait_for_peers(1, PATIENCE)

        assert home.newest.remote == stranger.name
        stranger.finish()
        with pytest.raises(nnqpy.TimedOut):
            home.ours.recv(timeout=0.01)
        assert home.verdict().reason is Reason.EOF


# --- the upgrade, at our dialler -------------------------------------------------------------------------------------

ANSWERS: Final[dict[str, tuple[bytes | dict[str, str], Reason]]] = {
    "200": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Reason.WS_HTTP),
    "301": (b"HTTP/1.1 301 Moved\r\nLocation: ws://127.0.0.1:1/\r\n\r\n", Reason.WS_HTTP),
    "401": (b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n", Reason.WS_HTTP),
    "400 as nng says it to a wrong pattern": (b"HTTP/1.1 400 Bad Request\r\n\r\n", Reason.WS_HTTP),
    "another accept": ({"Sec_WebSocket_Accept": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}, Reason.WS_HTTP),
    "no accept": ({"Sec_WebSocket_Accept": ""}, Reason.WS_HTTP),
    "no upgrade": ({"Upgrade": "h2c"}, Reason.WS_HTTP),
    "another subprotocol": ({"Sec_WebSocket_Protocol": "pub.sp.nanomsg.org"}, Reason.PROTO_MISMATCH),
    "no subprotocol": ({"Sec_WebSocket_Protocol": ""}, Reason.PROTO_MISMATCH),
    "an extension nobody offered": ({"Sec_WebSocket_Extensions": "permessage-deflate"}, Reason.WS_HTTP),
    "chunked (R-28)": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8000000000000000\r\n", Reason.WS_HTTP),
    "an endless head": (b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: y\r\n" * 100_000, Reason.WS_HTTP),
    "an endless line": (b"HTTP/1.1 101 " + b"x" * 200_000, Reason.WS_HTTP),
    "many interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, Reason.WS_HTTP),
    "a greeting of SP": (GREETING + b"\r\n\r\n", Reason.WS_HTTP),
    "noise": (Random(7).randbytes(100) + b"\r\n\r\n", Reason.WS_HTTP),
    "nothing": (b"", Reason.GREETING_EOF),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_b69_what_we_are_answered(case: str) -> None:
    """No peer comes of it, nothing behind it is received, and the dialler says why; a good peer is served meanwhile."""
    answer, reason = ANSWERS[case]
    with Home(Pull, "ws") as home:
        good = GoodPeer(home)
        stranger = Stranger(home.knocked("listener"))
        asked = head(stranger)
        assert b"extension" not in asked.lower()
        words = answer if isinstance(answer, bytes) else response(asked, **answer)
        stranger.pour(words + framed("ws", b"never", role="listener"), meanwhile=good.exchange)
        stranger.finish()
        good.exchange()

        assert home.failure().reason is reason
        assert good.take() == []
        assert [peer.direction for peer in home.ours.peers] == ["in"]


def test_b69_frames_right_behind_the_answer_arrive() -> None:
    """In one segment with it, or cut anywhere."""
    with Home(Pull, "ws") as home:
        good = GoodPeer(home)
        for place in (None, 1, 50, -1, -3, -8):
            with told(place):
                stranger = Stranger(home.knocked("listener"))
                words = response(head(stranger)) + framed("ws", b"first", b"second", role="listener")
                stranger.await_acceptance()
                parts = [words] if place is None else [words[:place], words[place:]]
                assert good.hears(stranger, parts) == [b"first", b"second"]
                leave(home, good, stranger)


# --- frames ----------------------------------------------------------------------------------------------------------

Spoken = tuple[tuple[int, bytes], ...]
BAD: Final[dict[str, tuple[Spoken | bytes, Reason, int]]] = {
    "text": (((FIN | TEXT, b"text"),), Reason.WS_TEXT, 1003),
    "text that is no UTF-8": (((FIN | TEXT, b"\xff\xfe"),), Reason.WS_TEXT, 1003),
    "text fragment": (((TEXT, b"te"), (FIN | CONT, b"xt")), Reason.WS_TEXT, 1003),
    **{f"opcode {n}": (((FIN | n, b""),), Reason.WS_PROTOCOL, 1002) for n in (3, 7, 11, 15)},
    **{f"reserved bits {bits:x}": (((FIN | bits | BINARY, b"x"),), Reason.WS_PROTOCOL, 1002) for bits in (16, 32, 64)},
    "deflated (B-83)": (
        ((FIN | 0x40 | BINARY, bytes.fromhex("ecc1010000008090feaf6e08000000000000000000000000006806")),),
        Reason.WS_PROTOCOL,
        1002,
    ),
    "continuation of nothing": (((FIN | CONT, b"x"),), Reason.WS_PROTOCOL, 1002),
    "message within a message": (((BINARY, b"x"), (FIN | BINARY, b"y")), Reason.WS_PROTOCOL, 1002),
    "fragmented ping": (((PING, b"x"), (FIN | CONT, b"y")), Reason.WS_PROTOCOL, 1002),
    "ping of 126 bytes": (((FIN | PING, bytes(126)),), Reason.WS_PROTOCOL, 1002),
    "too large": (((FIN | BINARY, bytes(1001)),), Reason.TOO_LARGE, 1009),
    "too large in fragments": (((BINARY, bytes(600)), (CONT, bytes(401))), Reason.TOO_LARGE, 1009),
    "length below zero (R-22)": (b"\x82\xff\x80\0\0\0\0\0\0\1", Reason.WS_PROTOCOL, 1002),
    "length too long for 8 bytes": (b"\x82\xff" + (1001).to_bytes(8, "big"), Reason.WS_PROTOCOL, 1002),
    "length too long for 2 bytes": (b"\x82\xfe" + (125).to_bytes(2, "big"), Reason.WS_PROTOCOL, 1002),
    "enormous": (b"\x82\xff" + ((1 << 63) - 1).to_bytes(8, "big"), Reason.TOO_LARGE, 1009),
}


@each_role
@each_delivery
@pytest.mark.parametrize("case", BAD)
def test_b71_to_b76_a_bad_frame_ends_the_connection(case: str, role: Role, delivery: Delivery) -> None:
    """At every split: the message in front of it is received, a whole one behind it in the same segment is not (R-27)."""
    frames, reason, closing = BAD[case]
    if isinstance(frames, tuple):
        words = spoken(role, *frames)
    else:  # a head alone; who listens masks nothing
        words = frames + MASK if role == "dialer" else frames[:1] + bytes([frames[1] & 0x7F]) + frames[2:]
    if delivery is Delivery.WHOLE or len(words) < 100:
        ways = list(delivery.of(words))
    else:
        ways = [[words[:place], words[place:]] for place in (1, 2, 3, 4, 5, 6, 7, 8, 9, 50, len(words) - 1)]
    good_one = framed("ws", b"good", role=role)
    with Home(Pull, "ws", recv_max_size=1000) as home:
        good = GoodPeer(home)
        for parts in ways:
            with told(parts):
                stranger = home.stranger(role)
                assert good.hears(stranger, between(good_one, parts, good_one)) == [b"good"]
                assert home.verdict().reason is reason
                stranger.close()
        stranger = home.stranger(role)
        assert good.hears(stranger, [words]) == []
        assert home.verdict().reason is reason
        assert last_words(stranger)[:2] == code(closing)


@each_role
def test_b71_masks_are_the_dialer_s_alone(role: Role) -> None:
    """A mask that is missing, or one too many, ends the connection."""
    with Home(Pull, "ws") as home:
        good = GoodPeer(home)
        other: Role = "listener" if role == "dialer" else "dialer"
        for body in (b"", b"x", bytes(200)):
            stranger = home.stranger(role)
            assert good.hears(stranger, [framed("ws", body, role=other)]) == []
            assert home.verdict().reason is Reason.WS_PROTOCOL
            assert last_words(stranger)[:2] == code(1002)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("mask", [NO_MASK, MASK, b"\xff\xff\xff\xff", b"\0\0\0\1", b"\x80\0\0\0"], ids=bytes.hex)
def test_b82_any_mask_and_any_split_give_the_same(scheme: Any, mask: bytes) -> None:
    """Split at every place in header, mask and body, and byte by byte: the same bytes are received."""
    bodies = [b"", b"a", b"abcd", bytes(range(130)), Random(3).randbytes(66_000)]
    with Home(Pull, scheme) as home:
        good = GoodPeer(home)
        stranger = home.stranger()
        for body in bodies:
            words = web_frame(FIN | BINARY, body, mask=mask)
            for place in range(1, min(len(words), 20)):
                with told(len(body), place):
                    assert good.hears(stranger, [words[:place], words[place:]]) == [body]
        words = b"".join(web_frame(FIN | BINARY, body, mask=mask) for body in bodies[:4])
        assert good.hears(stranger, [words[place : place + 1] for place in range(len(words))]) == bodies[:4]
        leave(home, good, stranger)


# --- floods ----------------------------------------------------------------------------------------------------------


@each_role
@pytest.mark.parametrize("between_them", [(), ((FIN | PING, b"p"),)], ids=["bare", "pings"])
@pytest.mark.parametrize("size", [0, 1, 1024])
def test_b77_r20_fragments_without_end(size: int, between_them: Spoken, role: Role) -> None:
    """Empty, tiny or small ones, with pings between them: refused, and what they leave is next to nothing."""
    burst = spoken(role, *[(CONT, bytes(size)), *between_them] * 64)
    with Home(Pull, "ws") as home:
        good = GoodPeer(home)
        stranger = home.stranger(role)
        with Memory() as memory:
            stranger.say(spoken(role, (BINARY, bytes(size))))
            rounds = 0
            while stranger.pour(burst, meanwhile=good.exchange) and rounds < 2 * SMALL_FRAGMENTS_MAX // 64:
                rounds += 1
                good.exchange()
            assert memory.grown < 4 << 20
        end = home.verdict()

        assert end.reason is (Reason.TOO_LARGE if size == 1024 and end.reason is not Reason.FLOOD else Reason.FLOOD)
        assert rounds <= SMALL_FRAGMENTS_MAX // 64 + 1
        assert good.take() == []
        good.exchange(10)


def test_r20b_a_long_life_with_fragments_is_no_flood() -> None:
    """5,000 messages of two fragments each, and of one: what is counted is of one message."""
    number, batch = 5000, 250
    with Home(Pull, "ws", recv_hwm=4 * batch) as home:
        good = GoodPeer(home)
        stranger = home.stranger()
        words = spoken("dialer", (BINARY, b"two "), (FIN | PING, b""), (FIN | CONT, b"parts"), (FIN | BINARY, b"one"))
        for _ in range(0, number, batch):
            assert good.hears(stranger, [words * batch]) == [b"two parts", b"one"] * batch
            while stranger.sock in select.select([stranger.sock], [], [], 0)[0]:
                assert hear_frame(stranger) == (FIN | PONG, b"")
        leave(home, good, stranger)


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_b78_pings_and_pongs_without_end(opcode: int) -> None:
    """To a side whose answers nobody takes: at last it gives the peer up; a good one is served meanwhile."""
    burst = spoken("dialer", *[(FIN | opcode, bytes(125))] * 512)
    with Home(Pull, "ws") as home, socket.socket() as sock:
        good = GoodPeer(home)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # room for some thirty answers
        sock.connect(sockaddr(home.url)[1])
        stranger = Stranger(sock)
        greet(stranger, "ws", "dialer", home.ours._core.proto)
        assert stranger._ours is not None
        stranger._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        with Memory() as memory:
            rounds = 0
            while stranger.pour(burst, meanwhile=good.exchange) and not home.ended():
                good.exchange()
                rounds += 1
                assert rounds < 1000, "nobody has enough of it"
            assert memory.grown < 8 << 20

        assert home.verdict().reason is Reason.FLOOD
        assert rounds * 512 >= CONTROLS_MAX - 512
        assert good.take() == []


@pytest.mark.parametrize("kind", [Pull, Push, Pair])
@each_role
def test_b78_a_ping_is_answered(kind: type[Any], role: Role) -> None:
    """Also by who only sends, while nobody is in any call."""
    with Home(kind, "ws") as home:
        stranger = home.stranger(role)
        stranger.say(spoken(role, (FIN | PING, b"are you there?")))
        if kind is not Push:
            with pytest.raises(nnqpy.WouldBlock):
                while not select.select([stranger.sock], [], [], 0)[0]:
                    home.ours.recv_nowait()
                home.ours.recv_nowait()

        assert hear_frame(stranger) == (FIN | PONG, b"are you there?")
        stranger.finish()
        if kind is not Push:
            with pytest.raises(nnqpy.TimedOut):
                home.ours.recv(timeout=0.01)
        assert home.verdict().reason is Reason.EOF


@each_role
@pytest.mark.parametrize("how", ["one frame", "fragments", "empty messages"])
def test_b46_who_only_sends_collects_nothing(how: str, role: Role) -> None:
    """What is not whole counts, too, and so do empty messages: 64 KiB are too much, whatever `recv_max_size` is."""
    start, burst = {
        "one frame": (b"\x82\x7f" + (1 << 40).to_bytes(8, "big"), bytes(4096)),
        "fragments": (spoken(role, (BINARY, b"")), spoken(role, (CONT, bytes(4096)))),
        "empty messages": (b"", spoken(role, (FIN | BINARY, b"")) * 4096),
    }[how]
    if how == "one frame" and role == "dialer":
        start = b"\x82\xff" + start[2:] + NO_MASK
    with Home(Push, "ws", recv_max_size=None) as home:
        stranger = home.stranger(role)
        with Memory() as memory:
            rounds = 0
            stranger.say(start)
            while not home.ended() and stranger.say(burst):
                settle()
                rounds += 1
                assert rounds <= 17, "there is no end of it"
            assert memory.grown < 4 << 20
        assert home.verdict().reason is Reason.UNEXPECTED_DATA


# --- cuts ------------------------------------------------------------------------------------------------------------


@each_role
@pytest.mark.parametrize("abrupt", [False, True], ids=["fin", "rst"])
def test_b81_a_cut_within_a_message(role: Role, *, abrupt: bool) -> None:
    """Within a frame's head, mask or payload, or between two fragments: nothing is received, and the reason says it."""
    words = spoken(role, (BINARY, b"one"), (CONT, bytes(200)), (FIN | CONT, b"three"))
    with Home(Pull, "ws") as home:
        good = GoodPeer(home)
        ends = [1, 2, 5, 6, 8, 9, 10, 11, 13, 100, len(words) - 1]
        for place in ends:
            with told(place):
                stranger = home.stranger(role)
                assert good.hears(stranger, [framed("ws", b"good", role=role) + words[:place]]) == [b"good"]
                if abrupt:
                    stranger.reset()
                else:
                    stranger.finish()
                good.exchange()
                reason = home.verdict().reason
                assert reason is (Reason.RESET_MID_FRAME if abrupt else Reason.EOF_MID_FRAME)
                stranger.close()


@each_role
def test_b81_who_falls_silent_within_a_message_holds_nobody_up(role: Role) -> None:
    """It stays a peer; what is missing of its message may come as late as it likes."""
    words = spoken(role, (BINARY, b"one "), (CONT, b"two "), (FIN | CONT, b"three"))
    with Home(Pull, "ws") as home:
        good = GoodPeer(home)
        strangers = [home.stranger(role) for _ in (words[1:] if role == "dialer" else words[:1])]
        for place, stranger in enumerate(strangers, 1):
            assert good.hears(stranger, [words[:place]]) == []
        good.exchange(100)
        for place, stranger in enumerate(strangers, 1):
            assert good.hears(stranger, [words[place:]]) == [b"one two three"]
            leave(home, good, stranger)


# --- the end ---------------------------------------------------------------------------------------------------------

FAREWELLS: Final = {
    "bare": (b"", Reason.EOF, b""),
    "code": (code(1000), Reason.EOF, code(1000)),
    "reason": (code(1001) + b"going away", Reason.EOF, code(1001) + b"going away"),
    "longest reason": (code(3000) + b"x" * 123, Reason.EOF, code(3000) + b"x" * 123),
    "one byte": (b"\3", Reason.WS_PROTOCOL, code(1002)),
    "too long": (code(1000) + b"x" * 124, Reason.WS_PROTOCOL, code(1002)),
    "no UTF-8": (code(1000) + b"\xff", Reason.WS_PROTOCOL, code(1007)),
    **{
        f"code {n}": (code(n), Reason.WS_PROTOCOL, code(1002))
        for n in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
}


@each_role
@each_delivery
@pytest.mark.parametrize("case", FAREWELLS)
def test_b79_r26_a_close_frame_is_answered(case: str, role: Role, delivery: Delivery) -> None:
    """A good one with itself, a bad one with what is wrong; the message in front of it is received, none behind it is."""
    payload, reason, answer = FAREWELLS[case]
    words = spoken(role, (FIN | CLOSE, payload))
    message = framed("ws", b"message", role=role)
    ways = list(delivery.of(words)) if len(words) < 50 else [[words[:5], words[5:]]]
    with Home(Pull, "ws") as home:
        good = GoodPeer(home)
        for parts in ways:
            with told(parts):
                stranger = home.stranger(role)
                assert good.hears(stranger, between(message, parts, message)) == [b"message"]
                assert home.verdict().reason is reason
                said = last_words(stranger)
                assert said == answer if reason is Reason.EOF else said[:2] == answer
                stranger.close()


@each_role
def test_b79_r26_a_close_frame_within_a_message(role: Role) -> None:
    """It is answered, and the reason says that a message was cut."""
    with Home(Pull, "ws") as home:
        good = GoodPeer(home)
        stranger = home.stranger(role)
        assert good.hears(stranger, [spoken(role, (BINARY, b"half"), (FIN | CLOSE, code(1000)))]) == []
        assert home.verdict().reason is Reason.EOF_MID_FRAME
        assert last_words(stranger) == code(1000)


@pytest.mark.parametrize("kind", [Pull, Push])
@each_role
def test_b79_who_only_sends_hears_the_end_too(kind: type[Any], role: Role) -> None:
    """Without any call of the program's, if it only sends."""
    with Home(kind, "ws") as home:
        stranger = home.stranger(role)
        stranger.say(spoken(role, (FIN | CLOSE, code(1000))))
        if kind is Pull:
            with pytest.raises(nnqpy.TimedOut):
                home.ours.recv(timeout=0.01)
        assert home.verdict().reason is Reason.EOF
        assert last_words(stranger) == code(1000)


@each_role
@pytest.mark.parametrize("kind", [Pull, Push])
def test_b79_r26_our_close_waits_for_nobody(kind: type[Any], role: Role) -> None:
    """A peer that never answers our close frame, and never leaves, holds no close up; it is told that we leave."""
    with Home(kind, "ws", linger=PATIENCE) as home:
        stranger = home.stranger(role)
        began = monotonic()
        home.ours.close()

        assert monotonic() - began < PATIENCE / 2
        assert last_words(stranger)[:2] == code(1000)


# --- wss -------------------------------------------------------------------------------------------------------------


@each_role
def test_frames_may_be_cut_anywhere_by_records(role: Role) -> None:
    """wss: a record a byte, several frames a record: the same messages; and the end of a bad one is told by its frame."""
    bodies = [b"first", b"", b"third"]
    words = framed("wss", *bodies, role=role)
    with Home(Pull, "wss") as home:
        good = GoodPeer(home)
        stranger = home.stranger(role)
        assert good.hears(stranger, [words]) == bodies
        assert good.hears(stranger, [words[place : place + 1] for place in range(len(words))]) == bodies
        assert good.hears(stranger, [spoken(role, (FIN | TEXT, b"text"))]) == []
        assert home.verdict().reason is Reason.WS_TEXT
        first, payload = hear_frame(stranger)
        assert (first, payload[:2]) == (FIN | CLOSE, code(1003))


def test_an_upgrade_that_is_refused_over_tls() -> None:
    """The status comes by TLS, too."""
    with Home(Pull, "wss") as home:
        good = GoodPeer(home)
        stranger = dressed(home.knocked(), "wss", "dialer")
        stranger.say(request("/nowhere"))

        assert head(stranger).startswith(b"HTTP/1.1 404 ")
        assert home.failure().reason is Reason.WS_HTTP
        settle()
        good.exchange()


# --- one port ---------------------------------------------------------------------------------------------------------


def test_paths_of_one_port_are_different_sockets() -> None:
    """Each has its own; a path is taken once, and the port is free when the last one has gone."""
    with Pull() as first, Pull() as second, Push() as push:
        url = first.bind("ws://127.0.0.1:0/first").url
        other = url.replace("first", "second")
        second.bind(other)
        with Pull() as third, pytest.raises(OSError, match="cannot listen"):
            third.bind(url)
        push.connect(other, wait=True, timeout=PATIENCE)
        push.send(b"to the second")
        assert second.recv(timeout=PATIENCE) == b"to the second"
        first.close()
        with Push() as late:
            late.connect(other, wait=True, timeout=PATIENCE)
        second.close()
        with socket.create_server(("127.0.0.1", port_of(url))):
            pass
