"""TlsConfig: what is wrong is said when it is made, with the file's name; what is renewed is used, what is broken is not."""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
import pickle
import ssl
import threading
import warnings
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from nnqpy import tls as module
from nnqpy.tls import Certificate, InsecureTlsWarning, TlsConfig
from tests.kit.certificates import authority, made
from tests.kit.tls import Half

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES: Final = ("localhost", "127.0.0.1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with good files, to be broken."""
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    made("localhost", by=authority(), names=NAMES).write(tmp_path, "mine")
    return tmp_path


def config_of(folder: Path, **more: Any) -> TlsConfig:
    """Return a config of the good files; `more` goes before."""
    given: dict[str, Any] = {"ca": folder / "ca.pem", "cert": folder / "mine.pem", "key": folder / "mine.key"}
    return TlsConfig(**given | more)


def shown(config: TlsConfig, trust: TlsConfig | None = None) -> Certificate:
    """Return the certificate that a listener of `config` shows to a dialer of `trust`."""
    client = Half((trust or config).client_context(), server_hostname="localhost")
    server = Half(config.server_context(), server_side=True)
    for _ in range(3):
        client.step(server)
        server.step(client)
    certificate = Certificate.of(client.tls)
    assert certificate is not None
    return certificate


# --- what is right -----------------------------------------------------------------------------------------


def test_nothing_at_all_is_a_config_for_a_dialer() -> None:
    """It trusts whom the system trusts, and checks the name."""
    context = TlsConfig().client_context()

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert not context.hostname_checks_common_name


def test_a_listener_asks_for_no_certificate_unless_told(folder: Path) -> None:
    """With `require_client_cert` it takes nobody without one of its CA."""
    assert config_of(folder).server_context().verify_mode is ssl.CERT_NONE
    assert config_of(folder, require_client_cert=True).server_context().verify_mode is ssl.CERT_REQUIRED


def test_a_listener_gives_no_tickets(folder: Path) -> None:
    """A peer that only sends would never read them, and its close would be a reset."""
    context = config_of(folder).server_context()

    assert context.num_tickets == 0
    assert context.options & ssl.OP_NO_TICKET


def test_paths_may_be_text_and_the_key_may_be_in_the_certificate_s_file(folder: Path) -> None:
    """Both files in one, one below the other."""
    both = folder / "both.pem"
    both.write_bytes((folder / "mine.pem").read_bytes() + (folder / "mine.key").read_bytes())

    assert shown(TlsConfig(ca=str(folder / "ca.pem"), cert=str(both))).common_name == "localhost"


def test_a_password_opens_the_key(folder: Path) -> None:
    """Which is encrypted."""
    identity = made("locked", by=authority(), names=NAMES)
    files = identity.write(folder, "locked")
    files["key"].write_bytes(identity.key_pem(b"open sesame"))

    assert shown(config_of(folder, **files, password="open sesame")).common_name == "locked"


def test_contexts_are_made_once(folder: Path) -> None:
    """As long as the files stay as they are."""
    config = config_of(folder)

    assert config.server_context() is config.server_context()
    assert config.client_context() is config.client_context()


def test_only_a_certificate_makes_a_listener(folder: Path) -> None:
    """A dialer may do without."""
    with pytest.raises(ValueError, match="listener needs a certificate"):
        TlsConfig(ca=folder / "ca.pem").server_context()


def test_insecure_is_said_aloud() -> None:
    """Once, to who made it; then nothing is verified."""
    with pytest.warns(InsecureTlsWarning, match="anybody can pretend") as told:
        config = TlsConfig(insecure=True)

    assert [(issubclass(one.category, UserWarning), one.filename) for one in told] == [(True, __file__)]
    assert (config.client_context().verify_mode, config.client_context().check_hostname) == (ssl.CERT_NONE, False)


# --- what is wrong -----------------------------------------------------------------------------------------


def writing(name: str, text: bytes | Callable[[bytes], bytes]) -> Callable[[Path], dict[str, Any]]:
    """Return what writes something else to a file."""

    def act(folder: Path) -> dict[str, Any]:
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else text(path.read_bytes()))
        return {}

    return act


def removing(name: str) -> Callable[[Path], dict[str, Any]]:
    """Return what removes a file."""

    def act(folder: Path) -> dict[str, Any]:
        (folder / name).unlink()
        return {}

    return act


def locked(folder: Path, **more: Any) -> dict[str, Any]:
    """Encrypt the key."""
    identity = made("x")
    files = identity.write(folder, "locked")
    files["key"].write_bytes(identity.key_pem(b"open sesame"))
    return {**files, **more}


def others_key(folder: Path) -> dict[str, Any]:
    """Take somebody else's key."""
    return {"key": made("other").write(folder, "other")["key"]}


def cut(text: bytes) -> bytes:
    """Leave the last part of the block out, but for its end."""
    lines = text.splitlines(keepends=True)
    return b"".join(lines[:2] + lines[-1:])


WRONG: Final[dict[str, tuple[Callable[[Path], dict[str, Any]], list[str]]]] = {
    "no ca": (removing("ca.pem"), ["ca: cannot read", "ca.pem", "No such file", "CAs to trust"]),
    "no certificate": (removing("mine.pem"), ["cert: cannot read", "mine.pem", "our certificate"]),
    "no key": (removing("mine.key"), ["key: cannot read", "mine.key", "private key"]),
    "a directory": (lambda folder: {"ca": folder}, ["ca: cannot read", "directory"]),
    "no path": (lambda folder: {"ca": "a\0b"}, ["ca: ", "is no path"]),
    "an empty ca": (writing("ca.pem", b" \n"), ["ca: ", "ca.pem", "is empty"]),
    "an empty certificate": (writing("mine.pem", b""), ["cert: ", "mine.pem", "is empty"]),
    "an empty key": (writing("mine.key", b""), ["key: ", "mine.key", "is empty"]),
    "no PEM": (writing("ca.pem", b"\x30\x82\1\2"), ["ca: ", "no PEM file", "CAs to trust"]),
    "a key for a certificate": (lambda folder: {"cert": folder / "mine.key"}, ["cert: ", "has no BEGIN CERTIFICATE"]),
    "a certificate for a key": (lambda folder: {"key": folder / "mine.pem"}, ["key: ", "has no BEGIN PRIVATE KEY"]),
    "no key in the certificate's file": (lambda folder: {"key": None}, ["cert: ", "mine.pem", "has no BEGIN PRIVATE KEY"]),
    "a cut ca": (writing("ca.pem", cut), ["ca: ", "ca.pem", "holds no good certificate"]),
    "a cut certificate": (writing("mine.pem", cut), ["cert: ", "mine.pem", "holds no good certificate"]),
    "a cut key": (writing("mine.key", cut), ["key: ", "mine.key", "holds no good private key"]),
    "another's key": (others_key, ["key: ", "other.key", "is not the key of the certificate", "mine.pem"]),
    "a locked key": (locked, ["key: ", "locked.key", "is encrypted: give its password"]),
    "a wrong password": (lambda folder: locked(folder, password="wrong"), ["key: the password does not open", "locked.key"]),
    "a key alone": (lambda folder: {"cert": None}, ["give cert, too"]),
    "clients of any CA": (lambda folder: {"ca": None, "require_client_cert": True}, ["require_client_cert needs ca"]),
    "clients without a listener": (lambda folder: {"cert": None, "key": None, "require_client_cert": True}, ["give cert, too"]),
    "both": (lambda folder: {"require_client_cert": True, "insecure": True}, ["contradict"]),
    "an empty name": (lambda folder: {"server_name": ""}, ["server_name is a host's name"]),
    "a dot for a name": (lambda folder: {"server_name": ".x"}, ["server_name is a host's name", "'.x'"]),
}  # fmt: skip


@pytest.mark.parametrize(("act", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_where_it_is_made(
    folder: Path, act: Callable[[Path], dict[str, Any]], words: list[str]
) -> None:
    """With the file, what was found, and what was wanted (B-66)."""
    more = act(folder)

    with pytest.raises(ValueError, match=r"\w") as error:
        config_of(folder, **more)

    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize(
    ("name", "value"), [("ca", b"ca.pem"), ("cert", 5), ("key", True), ("password", b"x"), ("server_name", 1)]
)
def test_what_is_of_the_wrong_type_is_refused(folder: Path, name: str, value: object) -> None:
    """By its name."""
    with pytest.raises(TypeError, match=f"^{name} is "):
        config_of(folder, **{name: value})


def test_a_file_that_may_not_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the system is made to refuse (B-66)."""

    def refuse(path: object, mode: str) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(module, "open", refuse, raising=False)

    with pytest.raises(ValueError, match=r"ca: cannot read '.*ca\.pem': Permission denied"):
        config_of(folder)


def test_a_file_of_any_length_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads a gigabyte by mistake (R-43)."""
    monkeypatch.setattr(module, "PEM_MAX", 100)

    with pytest.raises(ValueError, match="has more than 100 bytes"):
        config_of(folder)


@pytest.mark.parametrize("number", [2, 200])
def test_a_file_may_hold_many_cas(folder: Path, number: int) -> None:
    """Each of them is trusted; text in between is none of our business (R-43)."""
    others = [made(f"CA {n}", ca=True, key=authority().key).pem for n in range(number - 1)]
    (folder / "ca.pem").write_bytes(b"the CA\n".join([*others, authority().pem]) + b"# " + bytes(1 << 20))

    assert config_of(folder).client_context().cert_store_stats()["x509_ca"] == number
    assert shown(config_of(folder)).common_name == "localhost"


# --- a value -----------------------------------------------------------------------------------------------


def test_it_never_changes(folder: Path) -> None:
    """And takes no place of its own for more; it may be a key of a dict."""
    config = config_of(folder)

    with pytest.raises(dataclasses.FrozenInstanceError):
        config.ca = None  # type: ignore[misc]  # that is what is tried
    assert not hasattr(config, "__dict__")
    assert config == config_of(folder)
    assert len({config, config_of(folder), config_of(folder, server_name="x")}) == 2


def test_nobody_sees_the_password(folder: Path) -> None:
    """It is in no repr."""
    config = config_of(folder, **locked(folder, password="open sesame"))

    assert "locked.pem" in repr(config)
    assert "sesame" not in repr(config)
    assert "_kept" not in repr(config)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_a_copy_is_the_same_one(folder: Path, again: Callable[[TlsConfig], TlsConfig]) -> None:
    """There is nothing in it that could be changed."""
    config = config_of(folder)

    assert again(config) is config


def test_it_goes_to_another_process_and_reads_the_files_there(folder: Path) -> None:
    """With its password: it would be of no use without."""
    config = config_of(folder, **locked(folder, password="open sesame"))

    other = pickle.loads(pickle.dumps(config))

    assert (other, other.password) == (config, "open sesame")
    assert other.server_context() is not config.server_context()
    (folder / "locked.key").unlink()
    with pytest.raises(ValueError, match="cannot read"):
        pickle.loads(pickle.dumps(config))


# --- renewal -----------------------------------------------------------------------------------------------


def renew(folder: Path, name: str) -> None:
    """Put a new certificate in the place of the old one, each file at once."""
    new = made(name, by=authority(), names=NAMES).write(folder, "new")
    new["key"].replace(folder / "mine.key")
    new["cert"].replace(folder / "mine.pem")


def test_a_renewed_certificate_is_used(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By new connections, without a word to us; who has the former context keeps it (B-66)."""
    caplog.set_level(logging.INFO)
    config = config_of(folder)
    before = config.server_context()
    assert shown(config).common_name == "localhost"

    renew(folder, "renewed")

    assert shown(config).common_name == "renewed"
    assert config.server_context() is not before
    assert config.trouble is None
    assert [record.message.split()[0] for record in caplog.records] == ["tls-reloaded"]


def test_a_new_ca_is_used(folder: Path) -> None:
    """By dialers."""
    listener, dialer = config_of(folder), TlsConfig(ca=folder / "ca.pem")
    assert shown(listener, dialer).common_name == "localhost"

    (folder / "ca.pem").write_bytes(authority("another").pem)

    with pytest.raises(ssl.SSLCertVerificationError):
        shown(listener, dialer)


def test_a_file_of_the_same_length_written_in_place_is_seen(folder: Path) -> None:
    """By its time, to the nanosecond."""
    config = config_of(folder)
    before = config.client_context()
    path = folder / "ca.pem"
    stamp = path.stat()
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))

    assert config.client_context() is not before


@pytest.mark.parametrize(
    ("name", "text"), [("mine.pem", b"-----BEGIN CERTIFICATE-----\nMI"), ("mine.key", b""), ("ca.pem", None)], ids=str
)
def test_what_is_broken_is_not_used(
    folder: Path, name: str, text: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The former context stays, one line says why, and a good file ends the trouble (B-66)."""
    config = config_of(folder)
    before, good = config.server_context(), (folder / name).read_bytes()
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(text)

    assert [config.server_context() for _ in range(3)] == [before] * 3
    assert config.trouble is not None
    assert name in config.trouble
    assert [record.message.split()[0] for record in caplog.records] == ["tls-reload-failed"]

    (folder / name).write_bytes(good)

    assert config.server_context() is not before
    assert config.trouble is None


def test_a_key_that_comes_before_its_certificate_waits_for_it(folder: Path) -> None:
    """Two files cannot be replaced at once."""
    config = config_of(folder)
    new = made("renewed", by=authority(), names=NAMES).write(folder, "new")

    new["key"].replace(folder / "mine.key")
    assert shown(config).common_name == "localhost"
    assert config.trouble is not None
    assert "is not the key of" in config.trouble
    new["cert"].replace(folder / "mine.pem")

    assert shown(config).common_name == "renewed"


def test_threads_get_one_context_between_them(folder: Path) -> None:
    """Whoever comes first makes it."""
    config = config_of(folder)
    renew(folder, "renewed")
    got: list[ssl.SSLContext] = []
    threads = [threading.Thread(target=lambda: got.append(config.server_context())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(got) == 8
    assert len({id(one) for one in got}) == 1


# --- certificates ------------------------------------------------------------------------------------------


def test_a_certificate_says_who_it_is(folder: Path) -> None:
    """What it says was verified."""
    certificate = shown(config_of(folder))

    assert certificate.common_name == "localhost"
    assert certificate.alt_names == ("DNS:localhost", "IP Address:127.0.0.1")
    assert certificate.issuer == "commonName=the CA"
    assert certificate.serial_number
    assert int(certificate.serial_number, 16)
    assert certificate.not_before is not None
    assert certificate.not_after is not None
    assert certificate.not_before < datetime.now(UTC) < certificate.not_after < datetime.now(UTC) + timedelta(days=31)
    assert len(certificate.der) > 100
    assert len(certificate.fingerprint) == 64
    assert "der" not in repr(certificate)


def test_of_a_certificate_that_nobody_verified_only_the_bytes_are_told(folder: Path) -> None:
    """What it says may be a lie."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureTlsWarning)
        careless = TlsConfig(insecure=True)

    certificate = shown(config_of(folder), careless)

    assert (certificate.common_name, certificate.alt_names, certificate.not_after) == (None, None, None)
    assert certificate.fingerprint == shown(config_of(folder)).fingerprint


def test_who_showed_none_has_none(folder: Path) -> None:
    """As a dialer mostly does."""
    server = Half(config_of(folder).server_context(), server_side=True)
    client = Half(config_of(folder).client_context(), server_hostname="localhost")
    for _ in range(3):
        client.step(server)
        server.step(client)

    assert Certificate.of(server.tls) is None
