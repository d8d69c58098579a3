"""A small certificate authority, with the ``cryptography`` package: EC P-256 keys, one CA that signs leaves itself.

For development and for closed networks. There is no revocation: issue for short times, and issue again.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Issued", "create", "describe", "issue"]

CA_DAYS: Final = 3650
SKEW: Final = timedelta(minutes=5)
"""A certificate is good from a little before it was made: not all clocks agree."""
LONGEST: Final = 64  # characters of a common name (RFC 5280, ub-common-name)


@dataclass(frozen=True, slots=True)
class Issued:
    """Where a certificate and its private key were written, and how long it is good."""

    cert: Path
    key: Path
    until: datetime


def create(folder: Path, days: int = CA_DAYS) -> Issued:
    """Make a CA: ``ca.pem`` and ``ca.key`` in `folder`.

    Raises:
        FileExistsError: there is one: what it has issued would be worth nothing any more.
        OSError: the system refuses to write there.
    """
    cert, key = folder / "ca.pem", folder / "ca.key"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (key, cert):
        if path.exists():
            raise FileExistsError(f"{path} is there already: choose another directory, or remove it yourself")
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"nnq CA {secrets.token_hex(4)}")])
    now = datetime.now(UTC)
    until = now + timedelta(days=days)
    made = (
        _begun(name, name, private.public_key(), now - SKEW, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .sign(private, hashes.SHA256())
    )
    _write(key, _private(private), 0o600, fresh=True)
    _write(cert, _public(made), 0o644, fresh=True)
    return Issued(cert, key, until)


def issue(folder: Path, names: Sequence[str], *, days: int, ips: Sequence[str] = (), client: bool = False) -> Issued:
    """Make a certificate by the CA in `folder`, as ``NAME.pem`` and ``NAME.key``; former ones are replaced.

    Args:
        folder: where ``ca.pem`` and ``ca.key`` are.
        names: whom it is for, at least one: host names and IP addresses. The first one names the files.
        days: how long it is good, but not longer than the CA.
        ips: further IP addresses.
        client: it is for who dials, not for who listens.

    Raises:
        ValueError: a name is none, or the CA's files do not hold what they should.
        OSError: they cannot be read, or nothing can be written there.
    """
    ca, ca_key = _authority(folder)
    wanted = [_alt_name(name) for name in names] + [x509.IPAddress(ip_address(ip)) for ip in ips]
    stem = re.sub(r"[*:]", "_", names[0])
    if stem == "ca":
        raise ValueError("'ca' is the CA's own name: choose another one")
    private = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    until = min(now + timedelta(days=days), ca.not_valid_after_utc)
    use = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:LONGEST])])
    made = (
        _begun(subject, ca.subject, private.public_key(), now - SKEW, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(x509.SubjectAlternativeName(wanted), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    cert, key = folder / f"{stem}.pem", folder / f"{stem}.key"
    # Who looks between the two finds a pair that does not match, and keeps what it had (`nnqpy.tls`).
    _write(key, _private(private), 0o600)
    _write(cert, _public(made), 0o644)
    return Issued(cert, key, until)


def describe(path: Path) -> list[list[tuple[str, str]]]:
    """Return what to know of each certificate in a PEM file: lines of a heading and a text.

    Raises:
        ValueError: there is none in it.
        OSError: it cannot be read.
    """
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} holds no certificate in PEM form") from error
    return [_lines(one) for one in found]


def _lines(cert: x509.Certificate) -> list[tuple[str, str]]:
    names: list[str] = []
    with contextlib.suppress(x509.ExtensionNotFound):
        for one in cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value:
            kind = {"DNSName": "DNS", "IPAddress": "IP"}.get(type(one).__name__, type(one).__name__)
            names.append(f"{kind}:{one.value}")
    uses: list[str] = []
    with contextlib.suppress(x509.ExtensionNotFound):
        if cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            uses.append("CA")
    with contextlib.suppress(x509.ExtensionNotFound):
        known = {ExtendedKeyUsageOID.SERVER_AUTH: "listener", ExtendedKeyUsageOID.CLIENT_AUTH: "dialer"}
        purposes = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        uses += [known.get(one) or one.dotted_string for one in purposes]
    left = cert.not_valid_after_utc - datetime.now(UTC)
    state = "expired" if left < timedelta() else f"{left.days} days left"
    return [
        ("subject", cert.subject.rfc4514_string()),
        ("names", ", ".join(names) or "none"),
        ("for", ", ".join(uses) or "anything"),
        ("issuer", cert.issuer.rfc4514_string()),
        ("not before", f"{cert.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"),
        ("not after", f"{cert.not_valid_after_utc:%Y-%m-%d %H:%M} UTC ({state})"),
        ("sha256", cert.fingerprint(hashes.SHA256()).hex()),
    ]


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    cert, key = folder / "ca.pem", folder / "ca.key"
    try:
        ca = x509.load_pem_x509_certificate(cert.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no CA in {folder}: make one with `nnq certs init {folder}`") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{cert} and {key} are no CA of ours: {error}") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != ca.public_key():
        raise ValueError(f"{key} is not the key of {cert}")
    return ca, private


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _alt_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    if not re.fullmatch(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        raise ValueError(f"{name!r} is neither a host name nor an IP address")
    return x509.DNSName(name)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, text: bytes, mode: int, *, fresh: bool = False) -> None:
    """Write a whole file or none; its mode is right from the first byte on. `fresh`: there must be none."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(text)
        if fresh:
            os.link(new, path)  # unlike a rename it never replaces
        else:
            new.replace(path)
    finally:
        new.unlink(missing_ok=True)
