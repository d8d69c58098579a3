"""Addresses: what may be written for a URL, and what may be found at its place (rows B-11, B-23 to B-25, B-35, B-36).

That a URL is no good is an `AddressError`, whatever is wrong with it, and told before anything is bound. What the system
refuses is an `OSError` out of `bind`, and an event of a dialer that goes on trying.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnqpy import AddressError, Pull, Push
from nnqpy.address import SCHEMES, SUN_PATH_MAX, URL_MAX, IpcAddress, TcpAddress, parse
from nnqpy.events import ConnectFailed
from nnqpy.transport import tcp
from tests.hostile.kit import PATIENCE, Arena, await_descriptors, open_descriptors, open_door, settle, url_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from nnqpy.sync import Events
    from tests.hostile.kit import Scheme

E = TypeVar("E")

each_scheme = pytest.mark.parametrize("scheme", ["tcp", "ipc"])

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
    "dtls://127.0.0.1:5555",
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
    shutil.rmtree(path, ignore_errors=True)  # a test may have removed it


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


PIECES = (
    *(
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
    ),
    *(
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
    ),
)


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


# --- B-35: binding and dialling again --------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["tcp", "ipc", "abstract"])
def test_b35_an_address_is_free_when_close_returns(scheme: str, folder: Path) -> None:
    """A socket, or a listener alone, gives its address back in `close`, not some time after."""
    url = {"tcp": free_tcp_url(), "ipc": f"ipc://{folder}/x", "abstract": f"abstract://{folder}/x"}[scheme]

    for _ in range(50):
        with Pull(bind=url):
            pass
    with Pull() as pull:
        for _ in range(50):
            pull.bind(url).close()
    with Pull(bind=url) as pull:
        assert_works(pull, url)


@each_scheme
def test_b35_a_listener_comes_back_beside_connections_that_linger(scheme: Scheme) -> None:
    """Connections that we ended leave their port in TIME_WAIT; the next listener takes it all the same."""
    with Arena(Pull, scheme, "dialer") as arena:
        strangers = [arena.stranger(b"no greeting") for _ in range(100)]
        arena.verdicts(100)
        for stranger in strangers:
            stranger.hears_the_end()
            stranger.close()
        url = arena.url
        (listener,) = (one for one in arena.ours._ends.listeners if one.url == url)
        listener.close()

        assert arena.ours.bind(url).url == url
        arena.stranger(b"no greeting")
        arena.verdict()
        del listener  # it holds the socket


@pytest.mark.parametrize("host", ["*", "127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]"])
def test_b35_port_0_is_announced_as_it_can_be_dialled(host: str) -> None:
    """The listener's URL has the real port; dialled at this machine, it works."""
    with Pull() as pull:
        url = pull.bind(f"tcp://{host}:0").url

        assert url.startswith(f"tcp://{host}:")
        assert 0 < int(url.rpartition(":")[2]) <= 65535
        local = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
        assert_works(pull, url.replace(host, local, 1))


@pytest.mark.parametrize("url", ["tcp://:0", "tcp://*:5555", "tcp://127.0.0.1:0", "tcp://:5555"])
def test_b35_a_wildcard_cannot_be_dialled(url: str) -> None:
    """It names nobody; the caller is told at once, where a dialer would try for ever."""
    with Push() as push, pytest.raises(AddressError, match="cannot be dialled"):
        push.connect(url)


@pytest.mark.parametrize("host", ["name.invalid", "a" * 64, "a..b", ".", "999.999.999.999"])
def test_b35_a_host_without_an_address(host: str) -> None:
    """A bind says so at once; a dialer says it in its events, tries again, and holds up nobody meanwhile."""
    with Pull(bind="tcp://127.0.0.1:0", reconnect_min=0.01, reconnect_max=0.01) as pull:
        with pytest.raises((AddressError, OSError)):
            pull.bind(f"tcp://{host}:0")

        events = pull.events()
        pull.connect(f"tcp://{host}:5555")
        assert_works(pull, pull._ends.listeners[0].url)

        failed = [next_of(events, ConnectFailed) for _ in range(2)]
        assert all(event.error and host in event.address for event in failed)


def test_b35_a_name_with_several_addresses_is_tried_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first address refuses, the second one answers."""
    with Pull(bind="tcp://127.0.0.1:0") as pull, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # bound, not listening: refuses, and nobody else can have it
        port = int(pull._ends.listeners[0].url.rpartition(":")[2])
        refusing = int(silent.getsockname()[1])

        def resolve(address: TcpAddress, **_: bool) -> list[tuple[int, tuple[str, int]]]:
            assert address.host == "two.addresses"
            return [(socket.AF_INET, ("127.0.0.1", refusing)), (socket.AF_INET, ("127.0.0.1", port))]

        monkeypatch.setattr(tcp, "_resolve", resolve)

        with Push() as push:
            push.connect("tcp://two.addresses:1", wait=True, timeout=PATIENCE)
            push.send(b"through")

            assert pull.recv(timeout=PATIENCE) == b"through"


# --- B-11: dialling oneself ------------------------------------------------------------------------------------------


def test_b11_a_dialer_that_meets_itself_says_so_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nobody at a port of the dynamic range, the kernel may give the dialer that very port: it reaches itself."""
    url = free_tcp_url()
    port = int(url.rpartition(":")[2])

    class Mirrored(socket.socket):
        """Leaves from the port that it goes to, as happens to one dial in some ten thousand."""

        def connect(self, address: tuple[str, int] | str | bytes, /) -> None:  # type: ignore[override]
            if isinstance(address, tuple) and address[1] == port:
                self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.bind(("127.0.0.1", port))
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Mirrored)
    with Pull(reconnect_min=0.01, reconnect_max=0.01) as pull:
        events = pull.events()
        pull.connect(url)

        failed = [next_of(events, ConnectFailed) for _ in range(3)]
        assert all("itself" in event.error for event in failed)
        assert pull.peers == ()

        # It holds the port only while it tries, so the listener it is waiting for can come.
        monkeypatch.undo()
        with Push(bind=url) as push:
            push.send(b"here I am")
            assert pull.recv(timeout=PATIENCE) == b"here I am"


# --- B-23 to B-25: the places of ipc ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET], ids=lambda kind: str(kind.name))
def test_b23_another_kind_of_unix_socket_cannot_connect(kind: socket.SocketKind) -> None:
    """The kernel refuses it; we see nothing of it, and it nothing of us."""
    with Arena(Pull, "ipc", "dialer") as arena, socket.socket(socket.AF_UNIX, kind) as sock:
        with pytest.raises(OSError) as refused:
            sock.connect(arena.url.removeprefix("ipc://"))

        assert refused.value.errno == errno.EPROTOTYPE
        arena.exchange()


def test_b24_a_path_that_is_deleted(folder: Path) -> None:
    """Who is connected stays connected; who dials now is told that there is nothing, and waits for a new listener."""
    path = folder / "x"
    with Pull(bind=f"ipc://{path}") as pull, Push(connect=f"ipc://{path}") as before:
        before.wait_for_peers(timeout=PATIENCE)
        path.unlink()

        before.send(b"still here")
        assert pull.recv(timeout=PATIENCE) == b"still here"
        with Push(reconnect_min=0.01, reconnect_max=0.01) as late:
            events = late.events()
            late.connect(f"ipc://{path}")
            assert next_of(events, ConnectFailed).errno == errno.ENOENT
            pull.bind(f"ipc://{path}")
            late.send(b"at last")
            assert pull.recv(timeout=PATIENCE) == b"at last"


def test_b24_a_path_that_somebody_else_has_taken_over(folder: Path) -> None:
    """`close` leaves what is not its own where it is."""
    path = folder / "x"
    with Pull(bind=f"ipc://{path}"):
        path.unlink()
        with open_door(f"ipc://{path}") as door:
            assert url_of(door) == f"ipc://{path}"
            inode = path.stat().st_ino

    assert path.stat().st_ino == inode


def test_b24_a_directory_that_is_removed(folder: Path) -> None:
    """`close` finds nothing to remove, and says nothing; a bind in it says what is missing."""
    place = folder / "deep"
    place.mkdir()
    with Pull(bind=f"ipc://{place}/x") as pull:
        shutil.rmtree(place)

        with pytest.raises(FileNotFoundError):
            pull.bind(f"ipc://{place}/y")


@pytest.mark.parametrize("size", [SUN_PATH_MAX - 1, SUN_PATH_MAX])
def test_b24_a_path_of_full_length(size: int, folder: Path) -> None:
    """107 bytes fill the system's field, and work."""
    url = f"ipc://{folder}/".ljust(len("ipc://") + size, "x")

    with Pull(bind=url) as pull:
        assert_works(pull, url)
        with pytest.raises(AddressError, match="at most 107 bytes, not 108"):
            pull.bind(url + "x" * (SUN_PATH_MAX + 1 - size))


@pytest.mark.parametrize("name", [b"\xff\xfe", "\u00e9".encode(), b"100%", b"a b?c#d", b"@not-first"], ids=ascii)
def test_b24_a_path_of_any_bytes(name: bytes, folder: Path) -> None:
    """A path is bytes: nothing in it is decoded, quoted or cut."""
    url = f"ipc://{folder}/{os.fsdecode(name)}"

    with Pull(bind=url) as pull:
        assert [os.fsencode(path.name) for path in folder.iterdir()] == [name]
        assert_works(pull, url)


def test_b24_a_path_in_no_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name is one in the working directory."""
    monkeypatch.chdir(folder)

    with Pull(bind="ipc://x") as pull:
        assert (folder / "x").is_socket()
        assert_works(pull, "ipc://x")
    assert not (folder / "x").exists()


def make_file(path: Path) -> None:
    path.write_text("precious")


def make_link(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


@pytest.mark.parametrize("make", [make_file, make_link, Path.mkdir, os.mkfifo])
def test_b24_a_path_that_is_no_socket(make: Callable[[Path], None], folder: Path) -> None:
    """Whatever is there is left alone; bind says why, and a dialer tries again."""
    path = folder / "x"
    make(path)
    before = path.lstat()

    with Pull(reconnect_min=0.01, reconnect_max=0.01) as pull:
        with pytest.raises(FileExistsError, match="no socket"):
            pull.bind(f"ipc://{path}")
        events = pull.events()
        pull.connect(f"ipc://{path}")
        failed = [next_of(events, ConnectFailed) for _ in range(2)]

    after = path.lstat()
    assert (after.st_ino, after.st_mode, after.st_size) == (before.st_ino, before.st_mode, before.st_size)
    wanted = errno.ENOENT if stat.S_ISLNK(before.st_mode) else errno.ECONNREFUSED
    assert {event.errno for event in failed} == {wanted}


def test_b24_a_live_listener_keeps_its_path_and_a_dead_one_loses_it(folder: Path) -> None:
    """Nobody takes over from who listens; the file of a process that died is no obstacle."""
    url = f"ipc://{folder}/x"
    with Pull(bind=url) as pull:
        with pytest.raises(OSError, match="live") as refused:
            Pull(bind=url)
        assert refused.value.errno == errno.EADDRINUSE
        assert_works(pull, url)
    open_door(url).close()  # its file stays
    assert (folder / "x").is_socket()

    with Pull(bind=url) as pull:
        assert_works(pull, url)


def test_b25_a_dialer_without_permission_is_told(folder: Path) -> None:
    """EACCES, again and again, until the file's owner allows it."""
    path = folder / "x"
    folder.chmod(0o755)
    with Pull(bind=f"ipc://{path}", ipc_mode=0o200) as pull, Push(reconnect_min=0.01, reconnect_max=0.01) as push:
        assert stat.S_IMODE(path.stat().st_mode) == 0o200
        path.chmod(0)  # for who owns it and is not root
        events = push.events()
        with as_another_user():
            push.connect(f"ipc://{path}")
            failed = [next_of(events, ConnectFailed) for _ in range(2)]

        assert {event.errno for event in failed} == {errno.EACCES}
        path.chmod(0o600)
        push.send(b"thank you")
        assert pull.recv(timeout=PATIENCE) == b"thank you"


# --- helpers ---------------------------------------------------------------------------------------------------------


@contextmanager
def as_another_user() -> Generator[None]:
    """Be nobody for a moment, if we are root: root may everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def free_tcp_url() -> str:
    """Return a URL that nobody listens at."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return url_of(sock)


def next_of(events: Events, kind: type[E]) -> E:
    while True:
        event = events.recv(timeout=PATIENCE)
        if isinstance(event, kind):
            return event


def assert_works(pull: Pull, url: str) -> None:
    """Send something to `pull` by `url`."""
    with Push(connect=url) as push:
        push.send(b"it works")
        assert pull.recv(timeout=PATIENCE) == b"it works"
