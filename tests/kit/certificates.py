"""Certificates of all kinds, good ones and bad ones, for tests: one CA a run, keys on P-256.

The good ones say what strict verification wants, which is Python's default from 3.13 on (RFC 5280).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nnqpy.tls import TlsConfig

if TYPE_CHECKING:
    from pathlib import Path

Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True)
class Identity:
    """A certificate and its key."""

    cert: x509.Certificate
    key: Private

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.cert.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, password: bytes | None = None) -> bytes:
        """The key, encrypted if there is a password."""
        how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)

    def write(self, folder: Path, name: str) -> dict[str, Any]:
        """Write both, and return their paths by the names that `TlsConfig` has for them."""
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        cert.write_bytes(self.pem)
        key.write_bytes(self.key_pem())
        return {"cert": cert, "key": key}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the CA (ca.pem) and a certificate of its for this machine (cert.pem, key.pem; both.pem)."""
    folder = tmp_path_factory.mktemp("certificates")
    own = made("localhost", by=authority(), names=("localhost", "127.0.0.1"))
    for name, text in (("ca", authority().pem), ("cert", own.pem), ("key", own.key_pem())):
        (folder / f"{name}.pem").write_bytes(text)
    (folder / "both.pem").write_bytes(own.pem + own.key_pem())
    return folder


def config_of(folder: Path, **more: Any) -> TlsConfig:
    """Return a config for either end, of what `certificates` has written."""
    return TlsConfig(ca=folder / "ca.pem", cert=folder / "cert.pem", key=folder / "key.pem", **more)


@cache
def authority(name: str = "the CA") -> Identity:
    """Return the CA of that name."""
    return made(name, ca=True)


def made(
    name: str,
    *,
    by: Identity | None = None,
    names: tuple[str, ...] = (),
    days: tuple[float, float] = (-1, 30),
    uses: tuple[x509.ObjectIdentifier, ...] = (),
    ca: bool = False,
    path_length: int | None = None,
    key: Private | None = None,
) -> Identity:
    """Make a certificate.

    Args:
        name: its common name.
        by: who signs it; None: it does so itself.
        names: host names and addresses it is for.
        days: from and up to when it is good, from now.
        uses: what for; empty: anything.
        ca: it may sign others.
        path_length: how many CAs may stand below it.
        key: None: a new one.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.cert.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((by.key if by else key).public_key()), critical=False
        )
    )
    if ca:
        builder = builder.add_extension(_SIGNS, critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(one) for one in names]), critical=False)
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return Identity(builder.sign(by.key if by else key, hashes.SHA256()), key)


_SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
"""What a CA's key is for."""


def _general(name: str) -> Any:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
