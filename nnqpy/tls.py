"""TLS: who we are, whom we trust, and who the peer is.

A `TlsConfig` is checked when it is made: what can be wrong with a file is said there, with the file's name, and not by the
first peer that fails. It is a value: it never changes. The *files* may: whoever asks for a context gets one of what they
hold now, so that a certificate is renewed by replacing its file. What is broken when it is looked at (written by half, the
key not yet the new one) is not used: the former context stays until the files change again.
"""

from __future__ import annotations

import logging
import os
import ssl
import warnings
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from nnqpy.locks import Lock

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Certificate", "InsecureTlsWarning", "TlsConfig"]

log = logging.getLogger(__name__)

PEM_MAX: Final = 8 * 1024 * 1024
"""Bytes of a file that we look at; a system's whole store of CAs is about a quarter of a MiB."""

FilePath: TypeAlias = "str | os.PathLike[str]"
_Stamp: TypeAlias = "tuple[int, int, int, int] | None"


class InsecureTlsWarning(UserWarning):
    """A `TlsConfig` verifies nobody: whoever sits in between can read and change everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """Certificates and trust, for listeners and dialers. TLS 1.2 is the least that is spoken.

    The files are PEM. They may be replaced while in use: new connections use what is there then.

    Attributes:
        ca: file with the CAs whose certificates are accepted; None: those that the system trusts.
        cert: file with our certificate, and behind it those between it and the CA. A listener needs one.
        key: file with its private key; None: it is in `cert`.
        password: opens an encrypted key.
        server_name: the name that the listener's certificate must have; None: the host that is dialled.
        require_client_cert: the listener accepts those alone who show a certificate of `ca`.
        insecure: the dialer accepts any certificate at all. Warns.

    Raises:
        ValueError: a file is missing, unreadable, or does not hold what it should; or the fields contradict each other.
    """

    ca: FilePath | None = None
    cert: FilePath | None = None
    key: FilePath | None = None
    password: str | None = field(default=None, repr=False)
    server_name: str | None = None
    require_client_cert: bool = False
    insecure: bool = False
    _kept: _Kept = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_fields()
        object.__setattr__(self, "_kept", _Kept(self))
        if self.insecure:
            text = "insecure=True: no certificate is verified, so anybody can pretend to be the peer; for tests alone"
            warnings.warn(text, InsecureTlsWarning, stacklevel=3)

    def _check_fields(self) -> None:
        for name in ("ca", "cert", "key"):
            path = getattr(self, name)
            if path is not None and not isinstance(path, str | os.PathLike):
                raise TypeError(f"{name} is the path of a PEM file (str or PathLike), not {type(path).__name__}")
        for name in ("password", "server_name"):
            text = getattr(self, name)
            if text is not None and not isinstance(text, str):
                raise TypeError(f"{name} is a str, not {type(text).__name__}")
        if self.server_name is not None and (not self.server_name or self.server_name.startswith(".")):
            raise ValueError(f"server_name is a host's name, not {self.server_name!r}; None: the host that is dialled")
        if self.cert is None and (self.key is not None or self.password is not None):
            raise ValueError("key and password belong to a certificate: give cert, too")
        if self.require_client_cert and self.cert is None:
            raise ValueError("require_client_cert is for a listener, which needs a certificate itself: give cert, too")
        if self.require_client_cert and self.ca is None:
            raise ValueError(
                "require_client_cert needs ca, the CA of the clients: "
                "any public CA that the system trusts would let in whoever it has certified"
            )
        if self.require_client_cert and self.insecure:
            raise ValueError("require_client_cert and insecure contradict each other: verify, or do not")

    def server_context(self) -> ssl.SSLContext:
        """Return the context for who accepts, of what the files hold now.

        Raises:
            ValueError: there is no `cert`.
        """
        server = self._kept.current()[0]
        if server is None:
            raise ValueError("a TLS listener needs a certificate: TlsConfig(cert=..., key=...)")
        return server

    def client_context(self) -> ssl.SSLContext:
        """Return the context for who dials, of what the files hold now."""
        return self._kept.current()[1]

    @property
    def trouble(self) -> str | None:
        """Why the last change of the files is not in use; None: they are what is used. It is logged, too."""
        return self._kept.trouble

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[[], TlsConfig], tuple[()]]:
        given = {one.name: getattr(self, one.name) for one in fields(self) if one.init}
        return partial(type(self), **given), ()


class _Kept:
    """The two contexts of a config, and what the files looked like when they were made."""

    def __init__(self, config: TlsConfig) -> None:
        self._config = config
        self._lock = Lock()
        self._files: list[FilePath] = [path for path in (config.ca, config.cert, config.key) if path is not None]
        self.trouble: str | None = None
        self._stamps = self._look()
        self._contexts = _contexts(config)

    def current(self) -> tuple[ssl.SSLContext | None, ssl.SSLContext]:
        """Return the contexts (server, client), made anew if the files have changed to something good."""
        with self._lock:
            # Before they are read: what changes meanwhile is seen the next time.
            stamps = self._look()
            if stamps != self._stamps:
                self._stamps = stamps
                try:
                    self._contexts = _contexts(self._config)
                except ValueError as error:
                    self.trouble = str(error)
                    log.warning("tls-reload-failed error=%s", error)
                else:
                    self.trouble = None
                    log.info("tls-reloaded files=%s", [os.fspath(path) for path in self._files])
            return self._contexts

    def _look(self) -> list[_Stamp]:
        return [_stamp(path) for path in self._files]


def _stamp(path: FilePath) -> _Stamp:
    try:
        found = os.stat(path)  # noqa: PTH116  # str or PathLike
    except (OSError, ValueError):  # the latter for a null byte
        return None
    return found.st_mtime_ns, found.st_size, found.st_dev, found.st_ino


def _contexts(config: TlsConfig) -> tuple[ssl.SSLContext | None, ssl.SSLContext]:
    """Make the contexts of the files as they are; ValueError says what is wrong with which."""
    if config.ca is not None:
        _check_pem(config.ca, "ca", "CERTIFICATE", "the certificates of the CAs to trust")
    if config.cert is not None:
        _check_pem(config.cert, "cert", "CERTIFICATE", "our certificate")
        _check_pem(config.key or config.cert, "key" if config.key else "cert", "PRIVATE KEY", "its private key")

    client = _context(config, ssl.PROTOCOL_TLS_CLIENT)
    client.hostname_checks_common_name = False
    if config.insecure:
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
    elif config.ca is None:
        client.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust(client, config.ca)
    if config.cert is None:
        return None, client

    server = _context(config, ssl.PROTOCOL_TLS_SERVER)
    # A ticket to a client that only sends would lie there unread, and reset the connection when that closes.
    server.num_tickets = 0
    server.options |= ssl.OP_NO_TICKET
    if config.require_client_cert:
        assert config.ca is not None  # checked when it was made
        _trust(server, config.ca)
        server.verify_mode = ssl.CERT_REQUIRED
    return server, client


def _context(config: TlsConfig, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if config.cert is not None:
        _show(context, config, config.cert)
    return context


def _trust(context: ssl.SSLContext, ca: FilePath) -> None:
    try:
        context.load_verify_locations(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"ca: {_quoted(ca)} holds no good certificate: {_why(error)}") from error


def _show(context: ssl.SSLContext, config: TlsConfig, cert: FilePath) -> None:
    asked: list[bool] = []

    def password() -> str:
        asked.append(True)
        return config.password or ""

    key = config.key or cert
    try:
        context.load_cert_chain(cert, key, password)
    except OSError as error:
        word = getattr(error, "reason", None)
        if word == "KEY_VALUES_MISMATCH":
            text = f"key: {_quoted(key)} is not the key of the certificate in {_quoted(cert)}"
        elif asked and config.password is None:
            text = f"key: {_quoted(key)} is encrypted: give its password"
        elif asked:
            text = f"key: the password does not open {_quoted(key)}: {_why(error)}"
        elif _is_certificate(cert) and word not in _WEAK:
            text = f"key: {_quoted(key)} holds no good private key: {_why(error)}"
        else:
            text = f"cert: {_quoted(cert)} holds no good certificate: {_why(error)}"
        raise ValueError(text) from error


_WEAK: Final = {"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"}


def _is_certificate(path: FilePath) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError:
        return False
    return True


def _check_pem(path: FilePath, name: str, kind: str, what: str) -> None:
    """Refuse a file that cannot be read or has no PEM block whose name ends in `kind`."""
    wanted = f"wanted is a PEM file with {what}"
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # str or PathLike
            text = file.read(PEM_MAX + 1)
    except OSError as error:
        raise ValueError(f"{name}: cannot read {_quoted(path)}: {error.strerror or error}; {wanted}") from error
    except ValueError as error:  # a null byte
        raise ValueError(f"{name}: {_quoted(path)} is no path: {error}; {wanted}") from error
    if len(text) > PEM_MAX:
        raise ValueError(f"{name}: {_quoted(path)} has more than {PEM_MAX} bytes; {wanted}")
    if not text.strip():
        raise ValueError(f"{name}: {_quoted(path)} is empty; {wanted}")
    if b"-----BEGIN " not in text:
        raise ValueError(f"{name}: {_quoted(path)} is no PEM file (it has no BEGIN line); {wanted}")
    if f"{kind}-----".encode() not in text:
        raise ValueError(f"{name}: {_quoted(path)} has no BEGIN {kind}; {wanted}")


def _quoted(path: FilePath) -> str:
    return repr(os.fspath(path))


def _why(error: OSError) -> str:
    """Return OpenSSL's name for what is wrong, or the system's."""
    word: str | None = getattr(error, "reason", None)
    return word.replace("_", " ").lower() if word else error.strerror or str(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A peer's certificate. What only a verified one tells is None if it was not (``insecure``), but for `der`.

    Attributes:
        common_name: of its subject, if that has one.
        alt_names: whom it is for: ``"DNS:host"``, ``"IP Address:127.0.0.1"``, ``"URI:..."``.
        issuer: who has signed it: ``"commonName=..., organizationName=..."``.
        serial_number: in hexadecimal.
        not_before: it is good from then on (UTC).
        not_after: and up to then.
        der: the whole of it.
    """

    common_name: str | None = None
    alt_names: tuple[str, ...] | None = None
    issuer: str | None = None
    serial_number: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    der: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `der`, in hexadecimal."""
        return sha256(self.der).hexdigest()

    @classmethod
    def of(cls, tls: ssl.SSLObject) -> Certificate | None:
        """Return the certificate of the other end; None if it has shown none."""
        der = tls.getpeercert(binary_form=True)
        if not der:
            return None
        told: dict[str, Any] = tls.getpeercert() or {}  # mixed values, looked at below
        if not told:
            return cls(der=der)
        subject, issuer = (
            [(name, value) for part in told.get(whose, ()) for name, value in part] for whose in ("subject", "issuer")
        )
        return cls(
            common_name=dict(subject).get("commonName"),
            alt_names=tuple(f"{kind}:{name}" for kind, name in told.get("subjectAltName", ())),
            issuer=", ".join(f"{name}={value}" for name, value in issuer),
            serial_number=told["serialNumber"],
            not_before=_moment(told["notBefore"]),
            not_after=_moment(told["notAfter"]),
            der=der,
        )


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
