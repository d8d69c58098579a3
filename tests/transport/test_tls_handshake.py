"""dress: who may talk to whom, and what each of the two is told of a refusal."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import socket
import ssl
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from nnqpy.errors import Reason, TlsError
from nnqpy.tls import InsecureTlsWarning, TlsConfig
from nnqpy.transport.tls import HANDSHAKE_MAX, TlsStream, dress, tls_error
from tests.kit.certificates import CLIENT, SERVER, authority, made
from tests.kit.tls import PATIENCE, Half, joined, shake

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from tests.kit.certificates import Identity

HERE: Final = ("localhost", "127.0.0.1")
GREETING: Final = b"\0SP\0\0P\0\0"


def trusting(certificates: Path, **more: Any) -> TlsConfig:
    """Return a config that trusts the CA."""
    return TlsConfig(ca=certificates / "ca.pem", **more)


def insecure(**more: Any) -> TlsConfig:
    """Return a config that trusts anybody."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureTlsWarning)
        return TlsConfig(insecure=True, **more)


def reason_of(outcome: object) -> Reason | None:
    """Return why it failed, or None if it did not."""
    if isinstance(outcome, TlsStream):
        return None
    assert isinstance(outcome, TlsError), outcome
    return outcome.reason


BAD: Final[dict[str, tuple[Callable[[Any], Identity], Reason, Reason]]] = {
    # name: made by which uses; what we say of it, what its owner hears
    "wrong CA": (
        lambda use: made("x", by=authority("other"), names=HERE, uses=(use,)),
        Reason.TLS_CERT_UNTRUSTED,
        Reason.TLS_CERT_UNTRUSTED,
    ),
    "expired": (
        lambda use: made("x", by=authority(), names=HERE, uses=(use,), days=(-9, -1)),
        Reason.TLS_CERT_EXPIRED,
        Reason.TLS_CERT_EXPIRED,
    ),
    "not yet valid": (
        lambda use: made("x", by=authority(), names=HERE, uses=(use,), days=(1, 9)),
        Reason.TLS_CERT_EXPIRED,
        Reason.TLS_CERT_UNTRUSTED,
    ),
    "self-signed": (
        lambda use: made("x", names=HERE, uses=(use,)),
        Reason.TLS_CERT_UNTRUSTED,
        Reason.TLS_CERT_UNTRUSTED,
    ),
    "wrong use": (
        lambda use: made("x", by=authority(), names=HERE, uses=(SERVER if use is CLIENT else CLIENT,)),
        Reason.TLS_CERT_UNTRUSTED,
        Reason.TLS_CERT_UNTRUSTED,
    ),
}
bad = pytest.mark.parametrize(("make", "ours", "theirs"), BAD.values(), ids=BAD)


# --- the listener's certificate ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_dialer_takes_a_certificate_of_its_ca(config: TlsConfig, certificates: Path, name: str) -> None:
    """For the host, or the address, that it has dialled."""
    near, far = shake(trusting(certificates), config, name=name)

    assert isinstance(near, TlsStream)
    assert isinstance(far, TlsStream)
    assert (near.version, far.version) == ("TLSv1.3", "TLSv1.3")
    assert near.certificate is not None
    assert near.certificate.alt_names == ("DNS:localhost", "IP Address:127.0.0.1")


@bad
def test_a_dialer_takes_no_other(
    tmp_path: Path, certificates: Path, make: Callable[[Any], Identity], ours: Reason, theirs: Reason
) -> None:
    """And says why; the listener hears it by an alert (R-40, B-59)."""
    server = TlsConfig(**make(SERVER).write(tmp_path, "bad"))

    near, far = shake(trusting(certificates), server)

    assert (reason_of(near), reason_of(far)) == (ours, theirs)


@bad
def test_an_insecure_dialer_takes_any(
    tmp_path: Path, make: Callable[[Any], Identity], ours: Reason, theirs: Reason
) -> None:
    """That is what it asked for; of the certificate it knows the bytes (R-40)."""
    identity = make(SERVER)

    near, far = shake(insecure(), TlsConfig(**identity.write(tmp_path, "bad")), name="elsewhere")

    assert isinstance(near, TlsStream)
    assert isinstance(far, TlsStream)
    assert near.certificate is not None
    assert (near.certificate.common_name, len(near.certificate.fingerprint)) == (None, 64)


@pytest.mark.parametrize("name", ["elsewhere", "127.0.0.2", "sub.localhost"])
def test_a_certificate_is_for_its_own_host_alone(config: TlsConfig, certificates: Path, name: str) -> None:
    """A good one of somebody else does not help (R-39)."""
    near, far = shake(trusting(certificates), config, name=name)

    assert (reason_of(near), reason_of(far)) == (Reason.TLS_HOSTNAME, Reason.TLS_CERT_UNTRUSTED)


def test_a_common_name_is_no_host_name(tmp_path: Path, certificates: Path) -> None:
    """Only the alternative names count."""
    server = TlsConfig(**made("localhost", by=authority()).write(tmp_path, "cn"))

    assert reason_of(shake(trusting(certificates), server)[0]) is Reason.TLS_HOSTNAME


@pytest.mark.parametrize("name", ["", ".bad", "a\0b"])
def test_without_a_name_there_is_no_connection(config: TlsConfig, certificates: Path, name: str) -> None:
    """Never is the check left out because there is nothing to check against (R-39)."""
    near, far = shake(trusting(certificates), config, name=name)

    assert (reason_of(near), reason_of(far)) == (Reason.TLS_HOSTNAME, Reason.TLS_HANDSHAKE)


def test_the_config_s_name_goes_before_the_host_s(config: TlsConfig, certificates: Path) -> None:
    """For a listener that is dialled by a number, or through a tunnel."""
    assert reason_of(shake(trusting(certificates, server_name="localhost"), config, name="10.0.0.1")[0]) is None
    assert reason_of(shake(trusting(certificates, server_name="other"), config)[0]) is Reason.TLS_HOSTNAME


def test_a_missing_link_is_no_trust(tmp_path: Path, certificates: Path) -> None:
    """With the certificate in between it is; one CA too many is not (B-59)."""
    between = made("between", by=authority(), ca=True, path_length=0)
    below = made("below", by=between, ca=True)
    leaf, deep = made("x", by=between, names=HERE), made("x", by=below, names=HERE)
    chains = {
        "missing": (leaf, b""),
        "whole": (leaf, between.pem),
        "too long": (deep, below.pem + between.pem),
    }
    outcomes = {}
    for name, (identity, rest) in chains.items():
        files = identity.write(tmp_path, name.replace(" ", "-"))
        files["cert"].write_bytes(identity.pem + rest)
        outcomes[name] = reason_of(shake(trusting(certificates), TlsConfig(**files))[0])

    untrusted = Reason.TLS_CERT_UNTRUSTED
    assert outcomes == {"missing": untrusted, "whole": None, "too long": untrusted}


def test_a_weak_key_is_no_trust(tmp_path: Path, certificates: Path) -> None:
    """RSA of 1024 bits is refused where the config is made, by OpenSSL's own rules (B-59)."""
    weak = made("x", by=authority(), names=HERE, key=rsa.generate_private_key(65537, 1024))

    with pytest.raises(ValueError, match="key too small"):
        TlsConfig(**weak.write(tmp_path, "weak"))


@pytest.mark.parametrize("number", [2, 200])
def test_a_long_chain_is_bounded(tmp_path: Path, certificates: Path, number: int) -> None:
    """Of 200 certificates the dialer reads what OpenSSL allows; it does not fall over (R-43)."""
    identity = made("x", by=authority(), names=HERE)
    files = identity.write(tmp_path, "chain")
    files["cert"].write_bytes(identity.pem + authority("other").pem * (number - 1))

    assert reason_of(shake(trusting(certificates), TlsConfig(**files))[0]) in {None, Reason.TLS_BAD_RECORD}


def test_very_many_names_are_bounded(tmp_path: Path, certificates: Path) -> None:
    """10,000 of them are more than a dialer reads of a certificate (R-43)."""
    many = made("x", by=authority(), names=tuple(f"host-{n}.example.com" for n in range(10_000)))

    assert (
        reason_of(shake(trusting(certificates), TlsConfig(**many.write(tmp_path, "many")))[0]) is Reason.TLS_BAD_RECORD
    )


# --- the dialer's certificate --------------------------------------------------------------------------------


def greet(client: TlsConfig, server: TlsConfig) -> tuple[Reason | None, Reason | None, object]:
    """Shake hands, and wait at the dialer for the listener's greeting: who fails, why, and the listener's stream."""

    async def near_side(sock: socket.socket) -> Reason | None:
        loop = asyncio.get_running_loop()
        try:
            stream = await dress(sock, client, server_side=False, server_name="localhost", loop=loop)
            stream.send(GREETING)
            while True:
                try:
                    assert stream.recv(8) == GREETING
                except BlockingIOError:
                    await readable(sock)
                else:
                    return None
        except TlsError as error:
            return error.reason

    async def far_side(sock: socket.socket) -> tuple[Reason | None, object]:
        loop = asyncio.get_running_loop()
        try:
            stream = await dress(sock, server, server_side=True, server_name="", loop=loop)
        except TlsError as error:
            sock.shutdown(socket.SHUT_WR)
            return error.reason, None
        stream.send(GREETING)
        return None, stream

    async def both() -> tuple[Reason | None, Reason | None, object]:
        with joined() as (near, far):
            async with asyncio.timeout(PATIENCE):
                ours, (theirs, stream) = await asyncio.gather(near_side(near), far_side(far))
            return ours, theirs, stream

    return asyncio.run(both())


async def readable(sock: socket.socket) -> None:
    """Wait until there is something to read."""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(sock, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(sock)


def test_a_listener_takes_the_clients_of_its_ca(config: TlsConfig, certificates: Path, tmp_path: Path) -> None:
    """And knows their names."""
    server = TlsConfig(ca=config.ca, cert=config.cert, key=config.key, require_client_cert=True)
    worker = made("worker-7", by=authority(), names=("worker-7",), uses=(CLIENT,))

    ours, theirs, stream = greet(trusting(certificates, **worker.write(tmp_path, "worker")), server)

    assert (ours, theirs) == (None, None)
    assert isinstance(stream, TlsStream)
    assert stream.certificate is not None
    assert stream.certificate.common_name == "worker-7"


@bad
def test_a_listener_takes_no_other(
    config: TlsConfig, tmp_path: Path, certificates: Path, make: Callable[[Any], Identity], ours: Reason, theirs: Reason
) -> None:
    """With TLS 1.3 the dialer is done by then: it learns of it where it waits for the greeting (R-40, B-59)."""
    server = TlsConfig(ca=config.ca, cert=config.cert, key=config.key, require_client_cert=True)

    said, heard, stream = greet(trusting(certificates, **make(CLIENT).write(tmp_path, "bad")), server)

    assert (heard, stream) == (ours, None)
    assert said is theirs


@bad
def test_a_listener_that_asks_for_none_takes_any(
    config: TlsConfig, tmp_path: Path, certificates: Path, make: Callable[[Any], Identity], ours: Reason, theirs: Reason
) -> None:
    """It does not look at what it did not ask for, and does not take it for a name either (R-40)."""
    said, heard, stream = greet(trusting(certificates, **make(CLIENT).write(tmp_path, "bad")), config)

    assert (said, heard) == (None, None)
    assert isinstance(stream, TlsStream)
    assert stream.certificate is None


def test_a_client_without_a_certificate_is_told_so(config: TlsConfig, certificates: Path) -> None:
    """Both ends say the same (B-59)."""
    server = TlsConfig(ca=config.ca, cert=config.cert, key=config.key, require_client_cert=True)

    assert greet(trusting(certificates), server) == (Reason.TLS_CERT_REQUIRED, Reason.TLS_CERT_REQUIRED, None)


# --- strangers and troublemakers -----------------------------------------------------------------------------


def alone(
    config: TlsConfig,
    act: Callable[[socket.socket], Coroutine[object, object, None]],
    *,
    server_side: bool = True,
    tcp: bool = False,
) -> object:
    """Return what `dress` comes to when `act` is at the other end of the connection."""

    async def both() -> object:
        loop = asyncio.get_running_loop()
        with joined(tcp=tcp) as (near, far):
            async with asyncio.timeout(PATIENCE):
                acting = asyncio.create_task(act(far))
                try:
                    return await dress(near, config, server_side=server_side, server_name="localhost", loop=loop)
                except OSError as error:
                    return error
                finally:
                    acting.cancel()
                    await asyncio.wait([acting])

    return asyncio.run(both())


def says(data: bytes, *, step: int = 1 << 20) -> Callable[[socket.socket], Coroutine[object, object, None]]:
    """Return somebody who sends `data` and leaves."""

    async def act(sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for place in range(0, len(data), step):
            await loop.sock_sendall(sock, data[place : place + step])
            await asyncio.sleep(0)
        sock.shutdown(socket.SHUT_WR)

    return act


def hello(config: TlsConfig) -> bytes:
    """Return a whole ClientHello."""
    half = Half(config.client_context(), server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        half.tls.do_handshake()
    return half.outgoing.read()


STRANGERS: Final = {
    "a greeting in the clear": (GREETING + b"\0\0\0\0\0\0\0\5hello", {Reason.TLS_BAD_RECORD}),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", {Reason.TLS_BAD_RECORD}),
    "HTTP to a proxy": (b"CONNECT a:1 HTTP/1.1\r\n\r\n", {Reason.TLS_BAD_RECORD}),
    "nothing": (b"", {Reason.TLS_HANDSHAKE}),
    "random bytes": (random.Random(1).randbytes(1000), {Reason.TLS_BAD_RECORD}),
    "an alert first": (b"\x15\x03\x01\0\2\2\x28", {Reason.TLS_ALERT, Reason.TLS_HANDSHAKE, Reason.TLS_BAD_RECORD}),
    "an empty record": (b"\x16\x03\x01\0\0", {Reason.TLS_HANDSHAKE, Reason.TLS_BAD_RECORD}),
    "very many empty records": (b"\x16\x03\x01\0\0" * 100_000, {Reason.TLS_HANDSHAKE, Reason.TLS_BAD_RECORD}),
    "a record too long": (b"\x16\x03\x01\xff\xff" + bytes(0xFFFF), {Reason.TLS_BAD_RECORD}),
    "a hello of 64 KiB": (b"\x16\x03\x01\x40\0\1\0\xff\xff\x03\x03" + bytes(65536), {Reason.TLS_HANDSHAKE, Reason.TLS_BAD_RECORD}),
}  # fmt: skip


@pytest.mark.parametrize(("data", "reasons"), STRANGERS.values(), ids=STRANGERS)
@pytest.mark.parametrize("server_side", [True, False], ids=["listener", "dialer"])
@pytest.mark.parametrize("step", [1 << 20, 1], ids=["at once", "byte by byte"])
def test_who_does_not_speak_tls_is_sent_away(
    config: TlsConfig, data: bytes, reasons: set[Reason], server_side: bool, step: int
) -> None:
    """Whatever it sends, whoever has dialled (B-58)."""
    outcome = alone(config, says(data[: 5000 if step == 1 else None], step=step), server_side=server_side)

    assert reason_of(outcome) in reasons | ({Reason.TLS_HANDSHAKE} if step == 1 else set())


@pytest.mark.parametrize("kind", range(256))
def test_no_type_of_record_brings_it_down(config: TlsConfig, kind: int) -> None:
    """None of them is a handshake (B-58)."""
    outcome = alone(config, says(bytes((kind, 3, 3, 0, 32)) + bytes(32)))

    assert isinstance(outcome, TlsError)


def test_a_hello_in_records_of_one_byte_is_one(config: TlsConfig) -> None:
    """It may be cut as anybody likes (B-58)."""
    data = hello(config)[5:]
    cut = b"".join(b"\x16\x03\x01\0\1" + data[n : n + 1] for n in range(len(data)))
    answers: list[bytes] = []

    async def act(sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, cut)
        answers.append(await loop.sock_recv(sock, 5))
        sock.shutdown(socket.SHUT_RDWR)

    assert isinstance(alone(config, act), OSError)
    assert answers[0][:1] == b"\x16"


def test_a_handshake_that_never_ends_is_ended(config: TlsConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever OpenSSL would go on reading, there is a bound of ours."""
    monkeypatch.setattr("nnqpy.transport.tls.HANDSHAKE_MAX", 100)
    assert HANDSHAKE_MAX > 100

    outcome = alone(config, says(hello(config)))

    assert reason_of(outcome) is Reason.TLS_HANDSHAKE
    assert "no end" in str(outcome)


def test_plain_text_in_front_of_tls_never_becomes_a_message(config: TlsConfig) -> None:
    """Sent and closed at once, before the handshake begins (R-38)."""
    for number in range(200):
        with joined(tcp=True) as (near, far):
            near.send((GREETING + b"\0\0\0\0\0\0\0\5hello")[: 1 + number % 21])
            near.close()

            async def accept(sock: socket.socket = far) -> object:
                loop = asyncio.get_running_loop()
                try:
                    return await dress(sock, config, server_side=True, server_name="", loop=loop)
                except OSError as error:
                    return error

            assert reason_of(asyncio.run(accept())) in {Reason.TLS_BAD_RECORD, Reason.TLS_HANDSHAKE}


def test_what_comes_right_behind_the_handshake_is_read(config: TlsConfig) -> None:
    """In one piece with its last flight; `more` tells of it."""

    async def act(sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        half = Half(config.client_context(), server_hostname="localhost")
        while True:
            with suppress(ssl.SSLWantReadError):
                half.tls.do_handshake()
                break
            await loop.sock_sendall(sock, half.outgoing.read())
            half.incoming.write(await loop.sock_recv(sock, 10_000))
        half.tls.write(b"hello")
        await loop.sock_sendall(sock, half.outgoing.read())

    outcome = alone(config, act)

    assert isinstance(outcome, TlsStream)
    assert outcome.more
    assert (outcome.recv(100), outcome.more) == (b"hello", False)


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_are_refused(config: TlsConfig, version: str) -> None:
    """By whoever asks for them (B-60)."""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.minimum_version = old.maximum_version = ssl.TLSVersion[version]
    old.set_ciphers("ALL:@SECLEVEL=0")

    assert reason_of(refused(config, old)) is Reason.TLS_HANDSHAKE


@pytest.mark.parametrize("ciphers", ["eNULL", "aNULL"])
def test_ciphers_that_hide_nothing_are_refused(config: TlsConfig, ciphers: str) -> None:
    """Without encryption, or without a certificate (B-60)."""
    assert reason_of(refused(config, weak_context(ciphers))) is Reason.TLS_HANDSHAKE


def weak_context(ciphers: str) -> ssl.SSLContext:
    """Return a context that offers these alone."""
    weak = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    return weak


def refused(config: TlsConfig, context: ssl.SSLContext) -> object:
    """Return what `dress` says to a client with that context."""
    half = Half(context, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        half.tls.do_handshake()
    return alone(config, says(half.outgoing.read()))


@pytest.mark.parametrize("server_side", [True, False], ids=["listener", "dialer"])
def test_nothing_is_left_of_a_handshake_that_broke_off(
    config: TlsConfig, certificates: Path, server_side: bool
) -> None:
    """At any of its flights, a hundred times (R-45)."""
    gc.collect()
    before = sum(isinstance(one, ssl.SSLObject) for one in gc.get_objects())
    for number in range(100):

        async def act(sock: socket.socket, flights: int = number % 3) -> None:
            loop = asyncio.get_running_loop()
            context = config.client_context() if server_side else config.server_context()
            half = Half(context, server_side=not server_side, server_hostname="localhost" if server_side else None)
            for _ in range(flights):
                with suppress(ssl.SSLWantReadError):
                    half.tls.do_handshake()
                await loop.sock_sendall(sock, half.outgoing.read())
                half.incoming.write(await loop.sock_recv(sock, 10_000))
            sock.shutdown(socket.SHUT_RDWR)

        outcome = alone(config, act, server_side=server_side)
        assert isinstance(outcome, OSError | TlsStream)
        del outcome
    gc.collect()

    assert sum(isinstance(one, ssl.SSLObject) for one in gc.get_objects()) <= before


def test_a_peer_that_is_gone_when_it_is_to_hear_why_is_no_trouble(config: TlsConfig) -> None:
    """The alert goes nowhere."""
    old = Half(weak_context("aNULL"), server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        old.tls.do_handshake()

    async def act(sock: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, old.outgoing.read())
        sock.close()

    assert reason_of(alone(config, act)) is Reason.TLS_HANDSHAKE


def test_nothing_secret_is_logged(
    config: TlsConfig,
    certificates: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither what is sent nor a key, whatever the level is, and whatever goes wrong (R-44)."""
    caplog.set_level(logging.DEBUG)
    keys = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    locked = tmp_path / "locked.key"
    locked.write_bytes(made("x").key_pem(b"open sesame"))
    with pytest.raises(ValueError, match="password") as error:
        TlsConfig(cert=config.cert, key=locked, password="not this one")
    greet(TlsConfig(ca=config.ca), TlsConfig(ca=config.ca, cert=config.cert, key=config.key))
    alone(config, says(b"payload " * 100))

    told = caplog.text + str(error.value)
    assert not keys.exists()
    assert not [word for word in ("payload", "not this one", "PRIVATE", "open sesame") if word in told]


@pytest.mark.parametrize(
    ("word", "handshaking", "reason"),
    [
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", True, Reason.TLS_ALERT),
        ("TLSV1_ALERT_UNKNOWN_CA", True, Reason.TLS_CERT_UNTRUSTED),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", False, Reason.TLS_CERT_REQUIRED),
        ("TLSV1_UNRECOGNIZED_NAME", True, Reason.TLS_ALERT),
        ("NO_SHARED_CIPHER", True, Reason.TLS_HANDSHAKE),
        ("NO_SHARED_CIPHER", False, Reason.TLS_BAD_RECORD),
        ("BAD_PACKET_LENGTH", True, Reason.TLS_BAD_RECORD),
        (None, True, Reason.TLS_HANDSHAKE),
    ],
)
def test_every_error_of_openssl_has_a_reason(word: str | None, handshaking: bool, reason: Reason) -> None:
    """Also one that it has no name for."""
    error = ssl.SSLError(1, "text")
    error.reason = word  # type: ignore[assignment]  # None where OpenSSL has no name

    assert tls_error(error, handshaking=handshaking).reason is reason
