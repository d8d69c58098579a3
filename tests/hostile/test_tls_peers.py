"""tls+tcp over connections: no handshake, a bad one, floods of what carries nothing, cuts, ends, and somebody in between.

Whatever comes: the connection ends with its reason on the event stream, in time; nothing that did not come whole through
good records is received, and a good peer on the same socket is served all the while.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import pytest

from nnqpy import Pull, Push, Reason, endpoint
from nnqpy.engine import UNCLEAN
from nnqpy.events import PeerRemoved
from nnqpy.transport.tls import BARREN_MAX
from tests.hostile.dress import TlsStranger, framed, greet, papers, request
from tests.hostile.home import GoodPeer, Home
from tests.hostile.kit import PATIENCE, Delivery, Stranger, descriptors_for, port_of, settle, told
from tests.kit.programs import program
from tests.kit.tls import Forger, Half

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nnqpy.events import Event
    from tests.hostile.kit import Role

GREETING: Final = b"\0SP\0\0\x50\0\0"
"""A Push's."""

each_role = pytest.mark.parametrize("role", ["dialer", "listener"])
each_version = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


def context(role: Role, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Return a context of a stranger's own, for one version of TLS."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if role == "listener" else ssl.PROTOCOL_TLS_CLIENT)
    known = papers()
    assert known.ca is not None
    assert known.cert is not None
    made.load_cert_chain(known.cert, known.key)
    made.load_verify_locations(known.ca)
    if version is not None:
        made.set_ciphers("ALL:@SECLEVEL=0")
        made.minimum_version = made.maximum_version = version
    return made


def shaken(home: Home[Any], role: Role, how: ssl.SSLContext | None = None) -> TlsStranger:
    """Return a stranger who is a peer, with a context of its own."""
    stranger = TlsStranger(home.knocked(role), role, how)
    stranger.shake()
    greet(stranger, "tls+tcp", role, home.ours._core.proto)
    settle()
    return stranger


def forger(home: Home[Any], role: Role, folder: Path) -> tuple[TlsStranger, Forger]:
    """Return a stranger who is a peer, and who can say any record."""
    how = context(role)
    how.keylog_filename = os.fspath(folder / "keylog")
    stranger = shaken(home, role, how)
    how.keylog_filename = None  # type: ignore[assignment]  # closes the file, which the stubs do not know
    tickets = how.num_tickets if role == "listener" else 0
    return stranger, Forger(stranger.half, folder / "keylog", written=tickets + 1)  # and its greeting


# --- no handshake ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["tls+tcp", "wss"])
@pytest.mark.parametrize("delivery", Delivery)
@pytest.mark.parametrize(
    "data",
    [GREETING + framed("tcp", b"stray"), request(), os.urandom(64), b"\x16\x03\x01\xff\xff", b"\x15\x03\x01\0\2\2\0"],
    ids=["sp", "http", "random", "long-record", "alert"],
)
def test_b58_what_is_no_tls_is_refused(scheme: Literal["tls+tcp", "wss"], data: bytes, delivery: Delivery) -> None:
    """With a reason that says TLS, however it is cut; nothing of it is a message."""
    with Home(Pull, scheme) as home:
        good = GoodPeer(home)
        ways = delivery.of(data) if delivery is not Delivery.SPLIT else [[data[:n], data[n:]] for n in (1, 3, 5, 6)]
        for parts in ways:
            with told(parts):
                stranger = Stranger(home.knocked())
                stranger.await_acceptance()
                assert good.hears(stranger, [part for part in parts if part]) == []
                stranger.finish()
                assert home.failure().reason.startswith("TLS_")
                assert stranger.hears_the_end()
                stranger.close()


@each_role
@pytest.mark.parametrize("flight", ["nothing", "a part", "hello"])
def test_b58_who_falls_silent_in_the_handshake_has_until_the_deadline(flight: str, role: Role) -> None:
    """One deadline for all of it, whoever dialled, however far it came."""
    with Home(Pull, "tls+tcp", handshake_timeout=0.2) as home:
        good = GoodPeer(home)
        stranger = TlsStranger(home.knocked(role), role)
        if flight == "a part":
            stranger.utter(b"\x16\x03\x01")
        elif flight == "hello":
            if role == "listener":
                stranger.half.incoming.write(stranger.sock.recv(65536))
            with suppress(ssl.SSLWantReadError):
                stranger.half.tls.do_handshake()
            hello = stranger.half.outgoing.read()
            stranger.utter(hello if role == "dialer" else hello[:200])
        good.exchange(10)

        failed = home.failure()
        assert failed.reason is Reason.TLS_TIMEOUT
        assert "handshake_timeout" in failed.detail
        stranger.close()


def test_b58_who_greets_with_nothing_has_until_the_same_deadline() -> None:
    """Behind a good handshake: the reason is the greeting's."""
    with Home(Pull, "tls+tcp", handshake_timeout=0.3) as home:
        good = GoodPeer(home)
        stranger = TlsStranger(home.knocked(), "dialer")
        stranger.shake()
        good.exchange(10)

        assert home.failure().reason is Reason.GREETING_TIMEOUT
        assert stranger.hears_the_end()


def test_r38_plaintext_before_the_handshake_is_never_a_message() -> None:
    """Sent and closed at once, again and again: CVE-2023-40217 had it read as if it had come over TLS."""
    with Home(Pull, "tls+tcp", tls=papers()) as home:
        good = GoodPeer(home)
        for _ in range(100):
            with home.knocked() as sock:
                sock.sendall(GREETING + framed("tcp", b"stray"))
            good.exchange()
        for _ in range(100):
            assert home.failure().reason.startswith("TLS_")
        assert good.take() == []


@each_role
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_b60_old_versions_are_refused(version: str, role: Role) -> None:
    """TLS 1.0 and 1.1, whoever dials: the other end is told by an alert that this is the matter."""
    with Home(Pull, "tls+tcp") as home:
        good = GoodPeer(home)
        stranger = TlsStranger(home.knocked(role), role, context(role, ssl.TLSVersion[version]))
        with pytest.raises(ssl.SSLError) as error:
            stranger.shake()
        good.exchange()

        assert error.value.reason is not None
        assert "PROTOCOL" in error.value.reason  # the alert protocol_version, or that ours offered none of its own
        assert home.failure().reason in {Reason.TLS_HANDSHAKE, Reason.TLS_ALERT}
        assert not [peer for peer in home.ours.peers if peer.address != home.door]


@each_role
@each_version
def test_b60_newer_versions_are_spoken(version: ssl.TLSVersion, role: Role) -> None:
    """The same strangers are good peers by TLS 1.2 and 1.3."""
    with Home(Pull, "tls+tcp") as home:
        good = GoodPeer(home)
        stranger = shaken(home, role, context(role, version))

        assert good.hears(stranger, [framed("tls+tcp", b"one"), framed("tls+tcp", b"two")]) == [b"one", b"two"]
        stranger.finish()
        good.exchange()
        assert home.verdict().reason is Reason.EOF


# --- floods of what carries nothing ----------------------------------------------------------------------------------


# RFC 8446, 4.6.1: lifetime, an age to add, a nonce of 4 bytes, a ticket of 11, no extensions.
TICKET: Final = b"\4\0\0\x1c" + b"\0\0\x0e\x10" + bytes(4) + b"\4abcd" + b"\0\x0bticketticke" + b"\0\0"
EMPTY: Final[dict[str, Callable[[Forger], bytes]]] = {
    "key update": Forger.key_update,
    "wanted key update": partial(Forger.key_update, wanted=True),
    "empty record": partial(Forger.record, kind=23, content=b""),
    "ticket": partial(Forger.record, kind=22, content=TICKET),
}


@pytest.mark.parametrize(
    ("kind", "role"),
    [(kind, role) for kind in EMPTY for role in ("dialer", "listener") if (kind, role) != ("ticket", "dialer")],
)
def test_b60_what_carries_nothing_is_taken_and_bounded(kind: str, role: Role, tmp_path: Path) -> None:
    """Between messages there may be any number of them; without any message there is a bound, and then the end."""
    with Home(Pull, "tls+tcp") as home:
        good = GoodPeer(home)
        stranger, forge = forger(home, role, tmp_path)
        for _ in range(20):
            words = b"".join(EMPTY[kind](forge) for _ in range(5))
            message = forge.record(23, framed("tls+tcp", b"message"))
            assert good.hears(stranger, [words, message], stranger.utter) == [b"message"]
        size = 0
        while not home.ended():
            words = b"".join(EMPTY[kind](forge) for _ in range(100))
            size += len(words)
            assert good.hears(stranger, [words], stranger.utter) == []
            assert size < 2 * BARREN_MAX, "there is no end of it"

        assert home.verdict().reason is Reason.TLS_BAD_RECORD
        good.exchange(10)


def test_b60_a_ticket_is_the_listener_s_to_give(tmp_path: Path) -> None:
    """From who dials it ends the connection."""
    with Home(Pull, "tls+tcp") as home:
        good = GoodPeer(home)
        stranger, forge = forger(home, "dialer", tmp_path)

        assert good.hears(stranger, [forge.record(22, TICKET)], stranger.utter) == []
        assert home.verdict().reason is Reason.TLS_BAD_RECORD


def test_b60_there_is_no_renegotiation() -> None:
    """OpenSSL's own client asks for it: it is refused that, and what it had sent before it is received."""
    with Home(Pull, "tls+tcp") as home:
        good = GoodPeer(home)
        where = f"127.0.0.1:{port_of(home.url)}"
        command = [program("openssl"), "s_client", "-connect", where, "-tls1_2"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        ) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(GREETING + framed("tls+tcp", b"before"))
            assert home.ours.recv(timeout=PATIENCE) == b"before"
            client.stdin.write(b"R\n")
            while not home.ended():
                good.exchange()
            said = client.stdout.read()
        assert b"RENEGOTIATING" in said
        assert b"no renegotiation" in said
        assert home.verdict().reason is Reason.TLS_ALERT
        assert good.take() == []


# --- cuts and ends ---------------------------------------------------------------------------------------------------


@each_role
@each_version
@pytest.mark.parametrize("how", ["fin", "rst", "close_notify"])
def test_b61_a_cut_within_a_message_is_told(how: str, version: ssl.TLSVersion, role: Role) -> None:
    """Also by a clean end of TLS: the message that was begun is lost, and the reason says so."""
    message = framed("tls+tcp", b"message")
    with Home(Pull, "tls+tcp") as home:
        good = GoodPeer(home)
        for place in (0, 1, 7, 8, 9, len(message) - 1):
            with told(place):
                stranger = shaken(home, role, context(role, version))
                assert good.hears(stranger, [message + message[:place]]) == [b"message"]
                if how == "close_notify":
                    with suppress(ssl.SSLWantReadError):
                        stranger.half.tls.unwrap()
                    stranger.utter(stranger.half.outgoing.read())
                if how == "rst":
                    stranger.reset()
                else:
                    stranger.finish()
                good.exchange()
                word = "RESET" if how == "rst" else "EOF"
                verdict = home.verdict()
                assert verdict.reason == (f"{word}_MID_FRAME" if place else word)
                assert (UNCLEAN in verdict.detail) == (how == "fin")
                stranger.close()


@each_role
def test_b61_a_cut_within_a_record_is_told(role: Role) -> None:
    """Nothing of the record is received, though all but a byte of it has come."""
    message = framed("tls+tcp", b"message")
    with Home(Pull, "tls+tcp") as home:
        good = GoodPeer(home)
        for place in (1, 4, 5, 6, -1):
            with told(place):
                stranger = shaken(home, role)
                assert good.hears(stranger, [message]) == [b"message"]
                assert good.hears(stranger, [stranger.sealed(message)[:place]], stranger.utter) == []
                stranger.finish()
                good.exchange()
                verdict = home.verdict()
                assert verdict.reason is Reason.EOF
                assert UNCLEAN in verdict.detail
                stranger.close()


@each_role
@pytest.mark.parametrize("behind", ["record", "noise", "plain"])
def test_b62_what_comes_behind_the_end_is_ignored(behind: str, role: Role, tmp_path: Path) -> None:
    """Behind close_notify, in the same segment or later: it is neither received nor a fault."""
    message = framed("tls+tcp", b"message")
    for together in (True, False):
        with Home(Pull, "tls+tcp") as home:
            good = GoodPeer(home)
            stranger, forge = forger(home, role, tmp_path)
            goodbye = forge.record(23, message) + forge.record(21, b"\1\0")
            more = {"record": forge.record(23, message), "noise": os.urandom(100), "plain": message}[behind]
            parts = [goodbye + more] if together else [goodbye, more]

            assert good.hears(stranger, parts, stranger.utter) == [b"message"]
            assert home.verdict().reason is Reason.EOF
            stranger.close()


# --- somebody in between ---------------------------------------------------------------------------------------------


class Meddler:
    """A proxy between a dialler and a listener: it hands on what they say, and changes a bit when it is told to."""

    def __init__(self, url: str, towards: Literal["dialer", "listener"]) -> None:
        self._target = "127.0.0.1", port_of(url)
        self._towards = towards
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self.place: int | None = None
        """Where in the next record a bit is changed; None: nowhere."""
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while self._door in self._ready(self._door):
            with self._door.accept()[0] as near, socket.create_connection(self._target) as far:
                self._carry(near, far)

    def _ready(self, *socks: socket.socket) -> list[socket.socket]:
        ready = select.select([self._stopped, *socks], [], [])[0]
        return [] if self._stopped in ready else ready

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        other = {near: far, far: near}
        spoilt = far if self._towards == "listener" else near
        while ready := self._ready(*other):
            for one in ready:
                try:
                    data = one.recv(65536)
                    if data and self.place is not None and other[one] is spoilt:
                        data = flipped(data, self.place)
                        self.place = None
                    other[one].sendall(data)
                except OSError:
                    return
                if not data:
                    with suppress(OSError):
                        other[one].shutdown(socket.SHUT_WR)
                    del other[one]
            if len(other) < 2:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()
        self._thread.join(PATIENCE)
        self._stopped.close()
        self._door.close()


def flipped(data: bytes, place: int) -> bytes:
    """Return the same with one bit of one byte changed."""
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("towards", ["listener", "dialer"])
@pytest.mark.parametrize("place", [0, 5, 20, -17, -1], ids=["type", "first", "body", "tag", "last"])
def test_b63_a_bit_changed_on_the_way(place: int, towards: Literal["dialer", "listener"]) -> None:
    """What came before it is received, nothing of it or behind it is; both ends say so, and then begin anew."""
    said: list[Event] = []
    with Home(Pull if towards == "listener" else Push, "tls+tcp") as home, Meddler(home.url, towards) as meddler:
        kind: type[Push | Pull] = Push if towards == "listener" else Pull
        there = home.guest(
            kind,
            to=f"tls+tcp://127.0.0.1:{meddler.port}",
            on_event=said.append,
            reconnect_min=0.001,
            reconnect_max=0.001,
        )
        source, sink = (there, home.ours) if towards == "listener" else (home.ours, there)
        assert isinstance(source, Push)
        assert isinstance(sink, Pull)
        for n in range(3):
            source.send(b"before %d" % n)
            assert sink.recv(timeout=PATIENCE) == b"before %d" % n
        meddler.place = place
        source.send(b"changed")
        while not (home.ended() and any(isinstance(event, PeerRemoved) for event in said)):
            assert attempt(sink) is None
        source.wait_for_peers(1, PATIENCE)
        source.send(b"after")
        assert sink.recv(timeout=PATIENCE) == b"after"

        ends = {
            "listener": home.verdict().reason,
            "dialer": next(event.reason for event in said if isinstance(event, PeerRemoved)),
        }
        other = "dialer" if towards == "listener" else "listener"
        assert ends[towards] is Reason.TLS_BAD_RECORD
        assert ends[other] in {Reason.TLS_ALERT, Reason.RESET, Reason.EOF}
        assert sink.stats().received == 4
        there.close(0)
        while not home.ended():
            settle()
            if isinstance(home.ours, Pull):
                assert attempt(home.ours) is None
        home.verdict()


def attempt(sink: Pull) -> bytes | None:
    """Receive what comes within a moment."""
    with suppress(TimeoutError):
        return sink.recv(timeout=0.01)
    return None


# --- very many -------------------------------------------------------------------------------------------------------


def test_b64_a_crowd_of_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there may be are in hand, the oldest give way; each is told of, and a plain peer is served throughout."""
    most, number = 40, 120
    monkeypatch.setattr(endpoint, "HANDSHAKES_MAX", most)
    monkeypatch.setattr(endpoint, "ACCEPT_BURST", most // 4)
    half = Half(papers().client_context(), server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        half.tls.do_handshake()
    hello = half.outgoing.read()
    with descriptors_for(3 * number), Home(Pull, "tcp") as plain, Home(Pull, "tls+tcp") as home:
        unhurt, good = GoodPeer(plain), GoodPeer(home)
        crowd: list[Stranger] = []
        for _ in range(number):
            stranger = Stranger(home.knocked())
            stranger.say(hello)
            crowd.append(stranger)
            unhurt.exchange()
        for _ in range(number - most):
            assert home.failure().reason is Reason.LIMIT_HANDSHAKES
            unhurt.exchange()
        for stranger in crowd[-most:]:
            stranger.await_input()
        assert not home.failed()
        for stranger in crowd:
            stranger.close()
            unhurt.exchange()
        for _ in range(most):
            assert home.failure().reason in {Reason.TLS_HANDSHAKE, Reason.RESET}

        peers = [TlsStranger(home.knocked(), "dialer") for _ in range(most)]
        for peer in peers:  # all at once: each says its first word before any has heard an answer
            with suppress(ssl.SSLWantReadError):
                peer.half.tls.do_handshake()
            peer.utter(peer.half.outgoing.read())
            unhurt.exchange()
        for n, peer in enumerate(peers):
            peer.shake()
            greet(peer, "tls+tcp", "dialer", home.ours._core.proto)
            unhurt.exchange()
            assert good.hears(peer, [framed("tls+tcp", b"%d" % n)]) == [b"%d" % n]
        for peer in peers:
            peer.finish()
            good.exchange()
            assert home.verdict().reason is Reason.EOF
