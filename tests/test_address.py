"""URLs are read strictly, once, and written back so that they can be read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnqpy.address import SCHEMES, SUN_PATH_MAX, URL_MAX, InprocAddress, IpcAddress, TcpAddress, WebAddress, parse
from nnqpy.errors import AddressError

if TYPE_CHECKING:
    from nnqpy.address import Address

GOOD: dict[str, Address] = {
    "tcp://127.0.0.1:5555": TcpAddress("tcp", "127.0.0.1", 5555),
    "tcp://127.0.0.1:5555/": TcpAddress("tcp", "127.0.0.1", 5555),
    "tcp://example.org:0": TcpAddress("tcp", "example.org", 0),
    "tcp://Example.ORG:65535": TcpAddress("tcp", "example.org", 65535),
    "tcp://*:80": TcpAddress("tcp", "", 80),
    "tcp://:80": TcpAddress("tcp", "", 80),
    "tcp://[::1]:80": TcpAddress("tcp", "::1", 80),
    "tcp://[FE80::1%Eth0]:80": TcpAddress("tcp", "fe80::1%Eth0", 80),
    "tcp4://localhost:080": TcpAddress("tcp4", "localhost", 80, 4),
    "tcp6://[::]:80": TcpAddress("tcp6", "::", 80, 6),
    "tls+tcp://Example.ORG:65535": TcpAddress("tls+tcp", "example.org", 65535),
    "tls+tcp6://[::1]:80": TcpAddress("tls+tcp6", "::1", 80, 6),
    "zstd+tcp4://localhost:80/": TcpAddress("zstd+tcp4", "localhost", 80, 4),
    "ws://Localhost": WebAddress("ws", "localhost", 80, 0, "/"),
    "ws://localhost/": WebAddress("ws", "localhost", 80, 0, "/"),
    "ws://*:8080/a/b?c=d": WebAddress("ws", "", 8080, 0, "/a/b?c=d"),
    "ws4://127.0.0.1?c": WebAddress("ws4", "127.0.0.1", 80, 4, "/?c"),
    "wss://[::1]/a": WebAddress("wss", "::1", 443, 0, "/a"),
    "wss6://[::1]:8443": WebAddress("wss6", "::1", 8443, 6, "/"),
    "ipc:///run/app.sock": IpcAddress("/run/app.sock", None, "ipc:///run/app.sock"),
    "ipc://relative": IpcAddress("relative", None, "ipc://relative"),
    "ipc://a b%41#?": IpcAddress("a b%41#?", None, "ipc://a b%41#?"),
    "ipc://" + "x" * SUN_PATH_MAX: IpcAddress("x" * SUN_PATH_MAX, None, "ipc://" + "x" * SUN_PATH_MAX),
    "ipc://caf\udce9": IpcAddress("caf\udce9", None, "ipc://caf\udce9"),
    "unix:///run/app.sock": IpcAddress("/run/app.sock", None, "ipc:///run/app.sock"),
    "ipc://@name": IpcAddress(None, b"name", "ipc://@name"),
    "ipc://@caf\u00e9": IpcAddress(None, "caf\u00e9".encode(), "ipc://@caf\u00e9"),
    "ipc://@caf\udce9": IpcAddress(None, b"caf\xe9", "ipc://@caf\udce9"),
    "abstract://name": IpcAddress(None, b"name", "abstract://name"),
    "abstract://a%00%ffb": IpcAddress(None, b"a\0\xffb", "abstract://a%00%ffb"),
    "inproc://name": InprocAddress("name"),
    "inproc://Any /thing: \u00e9": InprocAddress("Any /thing: \u00e9"),
}


@pytest.mark.parametrize(("url", "address"), GOOD.items(), ids=list(GOOD))
def test_a_url_is_read(url: str, address: Address) -> None:
    """Each scheme has its form."""
    assert parse(url) == address


@pytest.mark.parametrize("url", list(GOOD), ids=list(GOOD))
def test_an_address_is_written_as_a_url(url: str) -> None:
    """What an address says of itself is the same address."""
    assert parse(str(parse(url))) == parse(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("tcp://:80/", "tcp://*:80"),
        ("tcp6://[::1]:080", "tcp6://[::1]:80"),
        ("unix://x", "ipc://x"),
        ("inproc://x", "inproc://x"),
        ("abstract://%41", "abstract://%41"),
    ],
)
def test_a_url_is_shown_in_one_form(url: str, shown: str) -> None:
    """The wildcard is ``*``, an IPv6 address has brackets."""
    assert str(parse(url)) == shown


LONG = "x" * (SUN_PATH_MAX + 1)
BAD: dict[object, str] = {
    None: "a URL is a str, not NoneType",
    b"tcp://x:1": "a URL is a str, not bytes",
    "inproc://" + "x" * URL_MAX: f"a URL has at most {URL_MAX} characters, not {URL_MAX + 9}",
    "": "no transport for ''; known: tcp://, tcp4://, tcp6://, tls+tcp://, ",
    "127.0.0.1:80": "no transport for '127.0.0.1:80'; known: ",
    "tcp:/x:80": "no transport for 'tcp:/x:80'; known: ",
    "TCP://x:80": "no transport for 'TCP://x:80'; known: ",
    " tcp://x:80": "no transport for ' tcp://x:80'; known: ",
    "tcp5://x:80": "no transport for 'tcp5://x:80'; known: ",
    "http://x:80": "no transport for 'http://x:80'; known: ",
    "tls+tcp://": "ends after its scheme; wanted tls+tcp://host:port",
    "tls+tcp://x": "has no port; wanted tls+tcp://host:port",
    "zstd+tcp://x:port": "has port 'port'",
    "ws://": "ends after its scheme; wanted ws://host:port/path",
    "ws://x:80/a b": "quote them, as %20",
    "ws://x:80/caf\u00e9": "quote them, as %20",
    "ws://x:80/a#b": "quote them, as %20",
    "ws://::1/a": "has an IPv6 address without brackets; wanted ws://[v6-address]:port/path",
    "wss://[::1/a": "is no wss URL; wanted wss://[v6-address]:port/path",
    "wss://x:/a": "has port ''",
    "tcp://": "'tcp://' ends after its scheme; wanted tcp://host:port",
    "tcp4://": "'tcp4://' ends after its scheme; wanted tcp4://host:port",
    "tcp6://": "'tcp6://' ends after its scheme; wanted tcp6://host:port",
    "ipc://": "'ipc://' ends after its scheme; wanted ipc:///run/app.sock or ipc://@name",
    "unix://": "'unix://' ends after its scheme; wanted unix:///run/app.sock",
    "abstract://": "'abstract://' ends after its scheme; wanted abstract://name",
    "inproc://": "'inproc://' ends after its scheme; wanted inproc://name",
    "tcp://host": "'tcp://host' has no port; wanted tcp://host:port",
    "tcp://host/": "'tcp://host/' has no port; wanted tcp://host:port",
    "tcp://::1:80": "'tcp://::1:80' has an IPv6 address without brackets; wanted tcp://[v6-address]:port",
    "tcp://[::1:80": "'tcp://[::1:80' is no tcp URL; wanted tcp://[v6-address]:port",
    "tcp://[::1]": "'tcp://[::1]' is no tcp URL; wanted tcp://[v6-address]:port",
    "tcp://[::1]80": "'tcp://[::1]80' is no tcp URL; wanted tcp://[v6-address]:port",
    "tcp://[::1]]:80": "'tcp://[::1]]:80' is no tcp URL; wanted tcp://[v6-address]:port",
    "tcp://[host]:80": "'tcp://[host]:80' is no tcp URL; wanted tcp://[v6-address]:port",
    "tcp://[[::1]:80": "'tcp://[[::1]:80' has no usable host; wanted tcp://host:port",
    "tcp://a[b]:80": "'tcp://a[b]:80' has no usable host; wanted tcp://host:port",
    "tcp://a/b:80": "'tcp://a/b:80' has no usable host; wanted tcp://host:port",
    "tcp://user@host:80": "'tcp://user@host:80' has no usable host; wanted tcp://host:port",
    "tcp://a b:80": "'tcp://a b:80' has no usable host; wanted tcp://host:port",
    "tcp://a\0b:80": r"'tcp://a\x00b:80' has no usable host; wanted tcp://host:port",
    "tcp://\u00e9:80": "'tcp://\u00e9:80' has no usable host; wanted tcp://host:port",
    "tcp://" + "x" * 256 + ":80": "has no usable host; wanted tcp://host:port",
    "tcp://host:": "'tcp://host:' has port ''; wanted a decimal number from 0 to 65535",
    "tcp://host:65536": "'tcp://host:65536' has port '65536'; wanted a decimal number from 0 to 65535",
    "tcp://host:000080": "'tcp://host:000080' has port '000080'; wanted a decimal number from 0 to 65535",
    "tcp://host:-1": "'tcp://host:-1' has port '-1'; wanted a decimal number from 0 to 65535",
    "tcp://host: 1": "'tcp://host: 1' has port ' 1'; wanted a decimal number from 0 to 65535",
    "tcp://host:0x50": "'tcp://host:0x50' has port '0x50'; wanted a decimal number from 0 to 65535",
    "tcp://host:http": "'tcp://host:http' has port 'http'; wanted a decimal number from 0 to 65535",
    "tcp://host:\u0668\u0660": "has port '\u0668\u0660'; wanted a decimal number from 0 to 65535",
    "tcp://host:\u00b2": "has port '\u00b2'; wanted a decimal number from 0 to 65535",
    "tcp://host:80//": "'tcp://host:80//' has port '80/'; wanted a decimal number from 0 to 65535",
    "tcp://host:80/path": "'tcp://host:80/path' has port '80/path'; wanted a decimal number from 0 to 65535",
    "ipc://a\0b": r"'ipc://a\x00b' has a NUL in its path; for an abstract name write ipc://@name",
    "ipc://\ud800": r"'ipc://\ud800' has characters that no path and no name can hold",
    "ipc://@\ud800": r"'ipc://@\ud800' has characters that no path and no name can hold",
    "abstract://\ud800": r"'abstract://\ud800' has characters that no path and no name can hold",
    f"ipc://{LONG}": f"an ipc path has at most {SUN_PATH_MAX} bytes, not {SUN_PATH_MAX + 1}: 'ipc://{LONG}'",
    "ipc://" + "\u00e9" * 54: f"an ipc path has at most {SUN_PATH_MAX} bytes, not 108: ",
    "ipc://@": "'ipc://@' has no abstract name; wanted ipc://@name",
    f"ipc://@{LONG}": f"an abstract name has at most {SUN_PATH_MAX} bytes, not {SUN_PATH_MAX + 1}: 'ipc://@{LONG}'",
    f"abstract://{LONG}": f"an abstract name has at most {SUN_PATH_MAX} bytes, not {SUN_PATH_MAX + 1}: ",
}


@pytest.mark.parametrize(("url", "text"), BAD.items(), ids=[ascii(url)[:40] for url in BAD])
def test_a_bad_url_says_what_was_found_and_what_was_wanted(url: object, text: str) -> None:
    """The text alone is enough to put the URL right."""
    with pytest.raises(AddressError) as caught:
        parse(url)

    assert text in str(caught.value)


def test_a_bad_url_is_a_value_error() -> None:
    """Who knows nothing of this library's errors catches it all the same."""
    with pytest.raises(ValueError, match="no transport"):
        parse("udp://x:1")


@given(st.text(max_size=60), st.sampled_from(["", *(f"{scheme}://" for scheme in SCHEMES)]))
def test_any_text_is_an_address_or_an_address_error(text: str, start: str) -> None:
    """Nothing else ever comes out, and what is taken can be read again from its own form."""
    try:
        address = parse(start + text)
    except AddressError:
        return

    assert parse(str(address)) == address


def test_an_ipc_address_has_what_the_system_takes() -> None:
    """A path as it is; an abstract name behind a NUL."""
    path, name = parse("ipc:///run/app.sock"), parse("ipc://@name")

    assert isinstance(path, IpcAddress)
    assert isinstance(name, IpcAddress)
    assert (path.sockaddr, name.sockaddr) == ("/run/app.sock", b"\0name")


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("ws://x/", "x"),
        ("ws://x:8080/", "x:8080"),
        ("wss://x:443/", "x"),
        ("wss://x:80/", "x:80"),
        ("ws://[::1]/", "[::1]"),
        ("ws6://[::1]:81/", "[::1]:81"),
    ],
)
def test_the_host_header_names_no_port_that_is_the_schemes_own(url: str, authority: str) -> None:
    """As browsers have it; nng compares it with its own URL."""
    address = parse(url)
    assert isinstance(address, WebAddress)
    assert address.authority == authority
