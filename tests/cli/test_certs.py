"""nnq certs: what it makes is good for `TlsConfig`, and what it cannot do it says in one line."""

from __future__ import annotations

import ssl
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from nnqpy.cli import main
from nnqpy.tls import Certificate, TlsConfig
from tests.kit.certificates import made
from tests.kit.tls import Half

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Return a folder with a CA."""
    folder = tmp_path / "certs"
    assert main(["certs", "init", str(folder)]) == 0
    capsys.readouterr()
    return folder


def issue(folder: Path, *words: str) -> int:
    """Run ``nnq certs issue`` there."""
    return main(["certs", "issue", "--dir", str(folder), *words])


def meet(listener: TlsConfig, dialer: TlsConfig, name: str) -> tuple[Certificate | None, Certificate | None]:
    """Return what the two see of each other; raises what the dialer has against the listener, or the other way round."""
    client = Half(dialer.client_context(), server_hostname=name)
    server = Half(listener.server_context(), server_side=True)
    for _ in range(3):
        client.step(server)
        server.step(client)
    with suppress(ssl.SSLWantReadError):
        client.tls.read()
    return Certificate.of(server.tls), Certificate.of(client.tls)


def test_a_ca_is_made_where_it_is_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For ten years; only its owner may read the key."""
    folder = tmp_path / "new" / "certs"

    assert main(["certs", "init", str(folder)]) == 0

    assert "ca.pem" in capsys.readouterr().out
    assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600
    cert = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    assert cert.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
        ca=True, path_length=0
    )
    assert timedelta(days=3649) < cert.not_valid_after_utc - datetime.now(UTC) < timedelta(days=3651)
    assert sorted(path.name for path in folder.iterdir()) == ["ca.key", "ca.pem"]


@pytest.mark.parametrize("left", ["ca.pem", "ca.key"])
def test_a_ca_is_never_overwritten(folder: Path, left: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All that it has issued would be worth nothing any more."""
    other = "ca.key" if left == "ca.pem" else "ca.pem"
    (folder / other).unlink()
    before = (folder / left).read_bytes()

    assert main(["certs", "init", str(folder)]) == 1

    assert f"{left} is there already" in capsys.readouterr().err
    assert (folder / left).read_bytes() == before
    assert not (folder / other).exists()


def test_here_is_where_nothing_else_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory, for the CA and for what it issues."""
    monkeypatch.chdir(tmp_path)

    assert main(["certs", "init"]) == 0
    assert main(["certs", "issue", "localhost"]) == 0

    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.key", "ca.pem", "localhost.key", "localhost.pem"]


def test_what_it_issues_is_taken(folder: Path) -> None:
    """A listener's, and a dialer's; each knows who the other is."""
    assert issue(folder, "localhost", "127.0.0.1", "*.example.org", "--ip", "::1", "--ip", "10.0.0.1") == 0
    assert issue(folder, "worker-1", "--client") == 0
    ca = folder / "ca.pem"
    listener = TlsConfig(ca=ca, cert=folder / "localhost.pem", key=folder / "localhost.key", require_client_cert=True)
    dialer = TlsConfig(ca=ca, cert=folder / "worker-1.pem", key=folder / "worker-1.key")

    for name in ("localhost", "127.0.0.1", "a.example.org", "::1", "10.0.0.1"):
        at_listener, at_dialer = meet(listener, dialer, name)
        assert at_listener is not None
        assert at_dialer is not None
        assert (at_listener.common_name, at_dialer.common_name) == ("worker-1", "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        meet(listener, dialer, "elsewhere")
    assert (folder / "worker-1.key").stat().st_mode & 0o777 == 0o600


def test_a_certificate_is_for_one_of_the_two_ends(folder: Path) -> None:
    """That of a dialer makes no listener."""
    issue(folder, "localhost", "--client")
    config = TlsConfig(ca=folder / "ca.pem", cert=folder / "localhost.pem", key=folder / "localhost.key")

    with pytest.raises(ssl.SSLCertVerificationError, match=r"unsuitable|unsupported"):
        meet(config, config, "localhost")


def test_a_certificate_is_good_as_long_as_asked_but_not_longer_than_its_ca(folder: Path) -> None:
    """Which would be of no use."""
    untils: list[datetime] = []
    for days in ("3", "3650"):
        issue(folder, "localhost", "--days", days)
        untils.append(x509.load_pem_x509_certificate((folder / "localhost.pem").read_bytes()).not_valid_after_utc)

    assert timedelta(days=2) < untils[0] - datetime.now(UTC) < timedelta(days=4)
    assert untils[1] == x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()).not_valid_after_utc


def test_issuing_again_renews(folder: Path) -> None:
    """And a config that is in use takes the new one."""
    issue(folder, "localhost")
    config = TlsConfig(ca=folder / "ca.pem", cert=folder / "localhost.pem", key=folder / "localhost.key")
    before = meet(config, config, "localhost")[1]

    assert issue(folder, "localhost") == 0

    after = meet(config, config, "localhost")[1]
    assert before is not None
    assert after is not None
    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize(
    ("words", "stem"),
    [(["::1"], "__1"), (["*.example.org"], "_.example.org"), ([f"{'x' * 70}.example.org"], f"{'x' * 70}.example.org")],
)
def test_every_name_makes_a_file(folder: Path, words: list[str], stem: str) -> None:
    """Also one that is no file name, or too long for a common name."""
    assert issue(folder, *words) == 0
    assert (folder / f"{stem}.pem").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["../evil"], "'../evil' is neither a host name nor an IP address"),
        (["a b"], "neither a host name"),
        (["ca"], "the CA's own name"),
    ],
    ids=str,
)
def test_what_is_no_name_is_refused(
    folder: Path, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is written."""
    before = sorted(folder.iterdir())

    assert issue(folder, *words) == 1

    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert complaint in told.err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["issue"], "required: NAME"),
        (["issue", "a", "--days", "0"], "from 1 to 3650 days, not 0"),
        (["issue", "a", "--days", "x"], "--days"),
        (["issue", "a", "--ip", "host"], "'host' does not appear to be an IPv4 or IPv6 address"),
        (["make"], "invalid choice: 'make'"),
        ([], "required: task"),
    ],
    ids=str,
)
def test_a_wrong_command_line_is_explained(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2."""
    with pytest.raises(SystemExit) as stop:
        main(["certs", *words])

    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


def test_without_a_ca_it_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The very command."""
    assert issue(tmp_path, "localhost") == 1
    assert f"nnq certs init {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "complaint"),
    [(b"nonsense", "are no CA of ours"), (made("x").key_pem(b"locked"), "are no CA of ours"), (made("x").key_pem(), "is not the key of")],
    ids=["nonsense", "locked", "another's"],
)  # fmt: skip
def test_a_ca_that_is_none_is_named(
    folder: Path, key: bytes, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its files."""
    (folder / "ca.key").write_bytes(key)

    assert issue(folder, "localhost") == 1
    assert complaint in capsys.readouterr().err


def test_show_says_what_is_in_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of each certificate that is in it."""
    issue(folder, "localhost", "127.0.0.1", "--days", "10")
    both = folder / "both.pem"
    both.write_bytes((folder / "localhost.pem").read_bytes() + (folder / "ca.pem").read_bytes())
    capsys.readouterr()

    assert main(["certs", "show", str(both)]) == 0

    leaf, ca = (
        {line[:11].strip(): line[11:].strip() for line in block.splitlines()}
        for block in capsys.readouterr().out.split("\n\n")
    )
    assert list(leaf) == ["subject", "names", "for", "issuer", "not before", "not after", "sha256"]
    assert (leaf["subject"], leaf["names"], leaf["for"]) == ("CN=localhost", "DNS:localhost, IP:127.0.0.1", "listener")
    assert leaf["not after"].endswith("UTC (9 days left)")
    assert leaf["issuer"] == ca["issuer"] == ca["subject"]
    assert (ca["names"], ca["for"], len(ca["sha256"])) == ("none", "CA", 64)


def test_show_knows_what_others_have_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without names or uses, with a use of somebody's own, over its time."""
    plain = tmp_path / "plain.pem"
    plain.write_bytes(made("x", days=(-9, -1)).pem + made("y", uses=(x509.ObjectIdentifier("1.2.3.4"),)).pem)

    assert main(["certs", "show", str(plain)]) == 0

    told = capsys.readouterr().out
    assert "for         anything" in told
    assert "(expired)" in told
    assert "for         1.2.3.4" in told


@pytest.mark.parametrize("text", [b"nonsense", None], ids=["nonsense", "no file"])
def test_show_says_what_is_no_certificate(
    tmp_path: Path, text: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line."""
    path = tmp_path / "x.pem"
    if text is not None:
        path.write_bytes(text)

    assert main(["certs", "show", str(path)]) == 1

    told = capsys.readouterr().err
    assert str(path) in told
    assert told.count("\n") == 1


def test_without_cryptography_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest of the library does not need it."""
    monkeypatch.delitem(sys.modules, "nnqpy.cli.authority", raising=False)
    monkeypatch.setitem(sys.modules, "cryptography", None)

    assert main(["certs", "init", "anywhere"]) == 1
    assert "pip install 'nnqpy[certs]'" in capsys.readouterr().err
