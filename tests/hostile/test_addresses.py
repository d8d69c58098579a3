"""Addresses: what a user or a configuration file may write for a URL, and what may be at its place (B-11, B-24, B-35, B-36).

Nothing but `AddressError` says that a URL is no good, and it says so before anything is bound.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnqpy import AddressError, Pull, Push
from nnqpy.address import SCHEMES, SUN_PATH_MAX, URL_MAX, IpcAddress, TcpAddress, parse
from tests.hostile.kit import PATIENCE, await_descriptors, open_descriptors, settle

if TYPE_CHECKING:
    from collections.abc import Iterator

BAD_URLS = [
    "",
    "tcp",
    "tcp:",
    "tcp:/",
    "tcp://",
    "tcp:///",
    "tcp://127.0.0.1",
    "tcp://127.0.0.1:",
    "tcp://127.0.0.1:65536",
    "tcp://127.0.0.1:-1",
    "tcp://127.0.0.1:+5",
    "tcp://127.0.0.1: 5",
    "tcp://127.0.0.1:5 ",
    "tcp://127.0.0.1:0x10",
    "tcp://127.0.0.1:5_0",
    "tcp://127.0.0.1:\u0665",  # a digit, in another script
    "tcp://127.0.0.1:" + "0" * 5000 + "1",
    "tcp://::1:5555",
    "tcp://[::1]",
    "tcp://[::1]5555",
    "tcp://[::1:5555",
    "tcp://[127.0.0.1]:5555",
    "tcp://user@127.0.0.1:5555",
    "tcp://user:pass@127.0.0.1:5555",
    "tcp://127.0.0.1:5555/path",
    "tcp://127.0.0.1:5555?query",
    "tcp://127.0.0.1:5555#part",
    "tcp://127.0.0.1#:5555",
    "tcp://exa mple:5555",
    "tcp://exam\0ple:5555",
    "tcp://ex\u00e4mple:5555",
    "tcp://" + "a" * 256 + ":5555",
    "tcp://" + "a" * (1 << 20) + ":5555",
    "TCP://127.0.0.1:5555",
    " tcp://127.0.0.1:5555",
    "udp://127.0.0.1:5555",
    "tls+tcp://127.0.0.1:5555",
    "file:///etc/passwd",
    "ipc://",
    "ipc://@",
    "ipc://a\0b",
    "ipc://\0abstract",
    "ipc://" + "x" * (SUN_PATH_MAX + 1),
    "ipc://" + "\u00e9" * 54,  # 108 bytes
    "ipc://\ud800",  # half a character: not from a file name, which has \udc80 to \udcff
    "ipc://@" + "x" * (SUN_PATH_MAX + 1),
    "ipc://@\ud800",
    "unix://",
    "abstract://",
    "abstract://" + "%00" * (SUN_PATH_MAX + 1),
    "abstract://\ud800",
    "inproc://",
    "inproc://" + "x" * URL_MAX,
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder with a short name: an ipc path has 107 bytes at most."""
    path = Path(tempfile.mkdtemp(prefix="nnq-"))
    yield path
    settle()
    shutil.rmtree(path)


@pytest.mark.parametrize("url", BAD_URLS, ids=lambda url: ascii(url[:40]))
def test_b36_a_bad_url_is_an_address_error(url: str) -> None:
    """In a bind, a connect and a constructor alike; its text has the URL or says its length, and nothing is bound."""
    with Pull() as pull:
        with pytest.raises(AddressError) as caught:
            pull.bind(url)
        with pytest.raises(AddressError):
            pull.connect(url)
    with pytest.raises(AddressError):
        Push(connect=url)

    text = str(caught.value)
    assert repr(url) in text or "at most" in text
    assert len(text) < URL_MAX * 3


def test_b36_one_bad_url_of_several_binds_none() -> None:
    """The good ones before it are given back at once, and every descriptor with them."""
    with Pull(bind="tcp://127.0.0.1:0") as pull:
        taken = pull.bind("tcp://127.0.0.1:0").url
        settle()
        before = open_descriptors()

        with pytest.raises(AddressError):
            Pull(bind=["tcp://127.0.0.1:0", "tcp://127.0.0.1:0", "tcp://nowhere"])
        with pytest.raises(OSError, match=taken) as refused:
            Pull(bind=["tcp://127.0.0.1:0", taken])

        assert refused.value.errno == errno.EADDRINUSE
        del refused  # and with it the frames that hold the socket
        await_descriptors(before)


@given(st.text(st.characters(), max_size=300))  # without `characters` there are no surrogates in it
def test_b36_no_text_is_more_than_an_address_or_an_address_error(text: str) -> None:
    """Whatever the characters, lone surrogates among them."""
    for url in (text, *(f"{scheme}://{text}" for scheme in SCHEMES)):
        parsed_or_refused(url)


PIECES = [
    "tcp",
    "ipc",
    "inproc",
    "abstract",
    "://",
    ":",
    "/",
    "//",
    "[",
    "]",
    "@",
    "*",
    "%",
    "%0",
    "%00",
    "%ff",
    "::1",
    "::",
]
PIECES += [
    "127.0.0.1",
    "localhost",
    "0",
    "5555",
    "65535",
    "65536",
    "-1",
    "+5",
    "0x10",
    " ",
    "\0",
    "\ud800",
    "\udc80",
    "\u0665",
]


@given(st.sampled_from(["", *(f"{scheme}://" for scheme in SCHEMES)]), st.lists(st.sampled_from(PIECES), max_size=8))
def test_b36_no_order_of_a_urls_pieces_is_more_than_that(scheme: str, pieces: list[str]) -> None:
    """What random text never comes to: nearly good URLs."""
    parsed_or_refused(scheme + "".join(pieces))


def parsed_or_refused(url: str) -> None:
    try:
        address = parse(url)
    except AddressError:
        return
    # What was understood can be said again and means the same.
    assert parse(str(address)) == address
    if isinstance(address, TcpAddress):
        assert 0 <= address.port <= 65535
    elif isinstance(address, IpcAddress):
        assert len(os.fsencode(address.sockaddr)) <= SUN_PATH_MAX + 1
