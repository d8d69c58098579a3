"""URLs: ``tcp://host:port``, ``ipc://path``, ``ipc://@name``, ``abstract://name``, ``inproc://name``. Parsed strictly, once.

``tls+tcp``, ``zstd+tcp`` and ``tcp`` have one form; ``ws`` and ``wss`` have a path too, and a port of their own (80, 443).

The rules are nng's (``src/core/url.c``) where they are not looser than they look: the scheme must match whole,
ports are decimal, and ``*`` is taken as the wildcard host, as nng 1.x and nanomsg do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from nnqpy.errors import AddressError

SUN_PATH_MAX: Final = 107
"""Bytes of a Unix socket path or abstract name (``sun_path`` is 108 with its NUL)."""
URL_MAX: Final = 4096
TCP: Final = tuple(over + "tcp" + family for over in ("", "tls+", "zstd+") for family in ("", "4", "6"))
"""The schemes that are a host and a port."""
WEB: Final = {web + family: port for web, port in (("ws", 80), ("wss", 443)) for family in ("", "4", "6")}
"""The schemes of WebSocket, and the port of a URL that names none."""
SCHEMES: Final = (*TCP, *WEB, "ipc", "unix", "abstract", "inproc")


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host and a port; host ``""`` is the wildcard, `family` ``4`` or ``6`` where the scheme says so, else 0."""

    scheme: str
    host: str
    port: int
    family: int = 0

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host or "*"
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class WebAddress(TcpAddress):
    """A host, a port and a path (with the query, if there is one); as nng has it, no path is ``/``."""

    path: str = "/"

    def __str__(self) -> str:
        return TcpAddress.__str__(self) + self.path

    @property
    def authority(self) -> str:
        """The Host header: without the port, if that is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == WEB[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class IpcAddress:
    """A path in the file system, or (Linux) an abstract name: exactly one of the two is set."""

    path: str | None
    abstract: bytes | None
    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def sockaddr(self) -> str | bytes:
        """What ``bind`` and ``connect`` of the system take."""
        if self.abstract is not None:
            return b"\0" + self.abstract
        assert self.path is not None  # one of the two is set: see `parse`
        return self.path


@dataclass(frozen=True, slots=True)
class InprocAddress:
    """A name within this process, compared exactly."""

    name: str

    def __str__(self) -> str:
        return f"inproc://{self.name}"


Address = TcpAddress | IpcAddress | InprocAddress


def parse(url: object) -> Address:
    """Read a URL.

    Raises:
        AddressError: what is wrong, and what was wanted.
    """
    if not isinstance(url, str):
        raise AddressError(f"a URL is a str, not {type(url).__name__}")
    if len(url) > URL_MAX:
        raise AddressError(f"a URL has at most {URL_MAX} characters, not {len(url)}")
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in SCHEMES:
        raise AddressError(f"no transport for {url!r}; known: {', '.join(f'{name}://' for name in SCHEMES)}")
    if not rest:
        wanted = _EXAMPLE.get(scheme) or f"{scheme}://host:port{'/path' if scheme in WEB else ''}"
        raise AddressError(f"{url!r} ends after its scheme; wanted {wanted}")
    if scheme in TCP:
        return TcpAddress(
            scheme, *_host_and_port(url, rest.removesuffix("/"), f"{scheme}://host:port"), _family(scheme)
        )
    if scheme in WEB:
        return _web(url, scheme, rest)
    if scheme == "inproc":
        return InprocAddress(rest)
    try:
        name = rest.encode("utf-8", "surrogateescape")  # as Python writes a file name that is not UTF-8
    except UnicodeEncodeError as error:
        raise AddressError(f"{url!r} has characters that no path and no name can hold") from error
    if scheme == "abstract":
        return _abstract(url, unquote_to_bytes(name))
    if rest.startswith("@"):
        return _abstract(url, name[1:])
    if "\0" in rest:
        raise AddressError(f"{url!r} has a NUL in its path; for an abstract name write ipc://@name")
    if len(name) > SUN_PATH_MAX:
        raise AddressError(f"an ipc path has at most {SUN_PATH_MAX} bytes, not {len(name)}: {url!r}")
    return IpcAddress(rest, None, f"ipc://{rest}")


_EXAMPLE: Final = {
    "ipc": "ipc:///run/app.sock or ipc://@name",
    "unix": "unix:///run/app.sock",
    "abstract": "abstract://name",
    "inproc": "inproc://name",
}


def _abstract(url: str, name: bytes) -> IpcAddress:
    if not name:
        raise AddressError(f"{url!r} has no abstract name; wanted ipc://@name")
    if len(name) > SUN_PATH_MAX:
        raise AddressError(f"an abstract name has at most {SUN_PATH_MAX} bytes, not {len(name)}: {url!r}")
    return IpcAddress(None, name, url)


def _family(scheme: str) -> int:
    return int(scheme[-1]) if scheme[-1].isdigit() else 0


def _web(url: str, scheme: str, rest: str) -> WebAddress:
    wanted = f"{scheme}://host:port/path"
    end = next((place for place, mark in enumerate(rest) if mark in "/?#"), len(rest))
    where, path = rest[:end], rest[end:] or "/"
    if "#" in path or not path.isascii() or not path.isprintable() or " " in path:
        raise AddressError(f"{url!r} has a path with characters that a request line has not; quote them, as %20")
    if (not where.startswith("[") and ":" not in where) or where.endswith("]"):
        where += f":{WEB[scheme]}"
    host, port = _host_and_port(url, where, wanted)
    return WebAddress(scheme, host, port, _family(scheme), path if path.startswith("/") else f"/{path}")


def _host_and_port(url: str, where: str, wanted: str) -> tuple[str, int]:
    v6 = wanted.replace("host", "[v6-address]")
    if where.startswith("["):
        host, bracket, tail = where[1:].partition("]")
        if not bracket or not tail.startswith(":") or ":" not in host:
            raise AddressError(f"{url!r} is no {url.partition('://')[0]} URL; wanted {v6}")
        port = tail[1:]
    else:
        host, colon, port = where.rpartition(":")
        if not colon:
            raise AddressError(f"{url!r} has no port; wanted {wanted}")
        if ":" in host:
            raise AddressError(f"{url!r} has an IPv6 address without brackets; wanted {v6}")
    strange = set(host) & set("/?#@[]\\ \t\r\n\0")
    if strange or not host.isascii() or len(host) > 255:
        raise AddressError(f"{url!r} has no usable host; wanted {wanted}")
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65535:
        raise AddressError(f"{url!r} has port {port!r}; wanted a decimal number from 0 to 65535")
    name, percent, zone = host.partition("%")  # an IPv6 zone is the name of an interface: its case counts
    host = "" if host == "*" else name.lower() + percent + zone
    return host, int(port)
