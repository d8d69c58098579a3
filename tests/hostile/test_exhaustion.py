"""Crowds, and running out: connections that cost and do nothing, and a process without descriptors (B-12, B-19, B-32, B-33, R-05).

What a stranger can make us spend is bounded by what it spends itself; and what is used up comes back.
"""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from types import SimpleNamespace
from typing import TYPE_CHECKING, Self

import pytest

from nnqpy import Pair, Pull, Push, endpoint, reactor
from nnqpy.errors import Reason
from nnqpy.events import HandshakeFailed
from tests.hostile.kit import (
    PATIENCE,
    Arena,
    Memory,
    Stranger,
    announce,
    await_descriptors,
    descriptors_for,
    knock,
    open_descriptors,
    open_door,
    settle,
    url_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from tests.hostile.kit import Kind, Scheme

ROOT = Path(__file__).resolve().parent.parent.parent

each_scheme = pytest.mark.parametrize("scheme", ["tcp", "ipc"])
each_kind = pytest.mark.parametrize("kind", [Pull, Push, Pair])


# --- B-12, B-32: crowds ----------------------------------------------------------------------------------------------


@each_scheme
@each_kind
def test_b12_silent_connections_beyond_the_limit_push_out_the_oldest(
    kind: Kind, scheme: Scheme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many may be greeting at one listener; the oldest give way, and a good peer comes in beside them."""
    limit, crowd = 64, 400
    monkeypatch.setattr(endpoint, "HANDSHAKES_MAX", limit)

    with descriptors_for(2 * crowd), Arena(kind, scheme, "dialer") as arena, Memory() as memory:
        strangers = [arena.stranger(arena.hello[: number % 8]) for number in range(crowd)]
        evicted = arena.verdicts(crowd - limit)
        arena.exchange()

        assert {(type(end), end.reason) for end in evicted} == {(HandshakeFailed, Reason.LIMIT_HANDSHAKES)}
        names = [end.remote for end in evicted if isinstance(end, HandshakeFailed)]
        assert names == [stranger.name for stranger in strangers[: crowd - limit]]
        assert all(stranger.hears_the_end() for stranger in strangers[: crowd - limit])
        assert memory.grown < 4 << 20

        # The others are still heard.
        strangers[-1].say(b"\1")
        assert arena.verdict().reason is Reason.BAD_RESERVED
        for stranger in strangers[:-1]:
            stranger.finish()
        assert {end.reason for end in arena.verdicts(limit - 1)} == {Reason.GREETING_EOF}


@each_scheme
def test_b12_the_limit_as_it_stands(scheme: Scheme) -> None:
    """With 1,500 silent connections, the oldest 476 are gone, and a good peer is in at once."""
    crowd = 1500

    with descriptors_for(2 * crowd), Arena(Pull, scheme, "dialer", partner=False) as arena:
        strangers = arena.crowd(crowd)
        arena.invite()
        arena.exchange()

        evicted = arena.verdicts(crowd - endpoint.HANDSHAKES_MAX)
        assert {end.reason for end in evicted} == {Reason.LIMIT_HANDSHAKES}
        for stranger in strangers:
            stranger.finish()
        arena.verdicts(endpoint.HANDSHAKES_MAX)
        for stranger in strangers:
            stranger.close()


@each_scheme
def test_b32_a_flood_of_connections(scheme: Scheme) -> None:
    """Thousands that connect and close, as fast as they can: each told once, no descriptor more, the partner goes on."""
    flood = 2000

    with Arena(Pull, scheme, "dialer") as arena, Memory() as memory:
        before = open_descriptors()
        for number in range(flood):
            with Stranger(knock(arena.url)) as stranger:
                if number % 2:
                    stranger.reset() if scheme == "tcp" else stranger.close()
            if number % 100 == 0:
                arena.exchange()
                assert open_descriptors() < before + 2 * 100
        ends = arena.verdicts(flood)

        assert {end.reason for end in ends} <= {Reason.GREETING_EOF, Reason.RESET}
        assert memory.grown < 4 << 20


# --- B-19, R-05: announced, and not sent -----------------------------------------------------------------------------


@each_scheme
@pytest.mark.parametrize("mark", [None, 1 << 30])
def test_r05_a_gigabyte_announced_is_not_reserved(mark: int | None, scheme: Scheme) -> None:
    """16 connections announce 1 GiB each, send a byte of it, and stay."""
    with Arena(Pull, scheme, "dialer", recv_max_size=mark) as arena, Memory() as memory:
        strangers = [arena.attached() for _ in range(16)]
        for stranger in strangers:
            stranger.say(announce(scheme, 1 << 30) + b"x")
            arena.digest(stranger)
        arena.exchange()

        assert memory.grown < 16 * 64 << 10
        assert memory.highest < 64 << 20
        for stranger in strangers:
            stranger.finish()
        assert {end.reason for end in arena.verdicts(16)} == {Reason.EOF_MID_FRAME}
        assert arena.got == []


@each_scheme
def test_b19_a_thousand_bodies_begun_cost_what_has_arrived(scheme: Scheme) -> None:
    """Each announces as much as the mark allows and sends one byte: 64 GiB are announced, not 64 MiB are spent."""
    crowd, mark = 1000, 64 << 20

    with descriptors_for(2 * crowd), Arena(Pull, scheme, "dialer", recv_max_size=mark) as arena, Memory() as memory:
        strangers = arena.crowd(crowd, arena.hello + announce(scheme, mark) + b"x")
        arena.pull.wait_for_peers(crowd + 1, timeout=PATIENCE)
        arena.digest_all()
        arena.exchange(10)

        assert len(arena.pull.peers) == crowd + 1
        assert memory.grown < crowd * 32 << 10
        for stranger in strangers:
            stranger.finish()
        assert {end.reason for end in arena.verdicts(crowd)} == {Reason.EOF_MID_FRAME}
        for stranger in strangers:
            stranger.close()


# --- B-33: out of descriptors ----------------------------------------------------------------------------------------


class Exhausted:
    """A process of ours with few descriptors, and what it says."""

    def __init__(self, url: str) -> None:
        self.complaints = 0
        """Lines that it may write to its standard error: of throttling, no others."""
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.hostile.exhausted", url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: SimpleQueue[str] = SimpleQueue()
        self._listener = Thread(target=self._listen)
        self._listener.start()
        self.url = self.hears("listening")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line.strip())

    def tell(self, *words: str) -> None:
        """Have it do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()

    def hears(self, word: str) -> str:
        """Wait for its next line, which begins with `word`; return the rest of it."""
        first, _, rest = self._said.get(timeout=PATIENCE).partition(" ")
        assert first == word, f"{first} {rest}"
        return rest

    def hears_nothing(self, seconds: float) -> None:
        """Wait that long: it says nothing."""
        with pytest.raises(Empty):
            pytest.fail(self._said.get(timeout=seconds))

    def cpu(self) -> float:
        """Return the seconds that it has worked."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._process.stdin.close()
        complaints = self._process.stderr.read()
        self._process.stderr.close()
        try:
            code = self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._listener.join()
            self._process.stdout.close()
        if error is None:
            assert code == 0
            assert all(line.startswith("accept-throttled ") for line in complaints.splitlines()), complaints
            assert complaints.count("\n") <= self.complaints


@pytest.fixture
def exhausted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exhausted]:
    """Yield such a process, with its descriptors still there."""
    with Exhausted("tcp://127.0.0.1:0") as process:
        yield process


def test_b33_more_connections_than_descriptors(exhausted: Exhausted) -> None:
    """A listener that cannot accept says so once, works no more than it must, serves its peers, and recovers."""
    with Push(connect=exhausted.url) as partner, descriptors_for(200):
        assert exhausted.hears("added") == "in"
        crowd = [knock(exhausted.url) for _ in range(120)]

        exhausted.complaints = 1
        assert exhausted.hears("throttled") == "EMFILE"
        before, began = exhausted.cpu(), monotonic()
        for number in range(5):
            partner.send(b"%d" % number)
            assert exhausted.hears("received") == str(number)
            exhausted.hears_nothing(0.2)
        assert exhausted.cpu() - before <= 0.05 * (monotonic() - began) + 0.02

        for sock in crowd:
            sock.close()
        began = monotonic()
        with Push(connect=exhausted.url) as late:
            assert exhausted.hears("resumed") == ""
            assert exhausted.hears("added") == "in"
            late.send(b"late")
            assert exhausted.hears("received") == "late"
            assert monotonic() - began < 2
            exhausted.tell("threads")
            assert int(exhausted.hears("threads")) == 3  # main, the reader, the janitor


def test_b33_a_dial_without_descriptors_is_tried_again(exhausted: Exhausted) -> None:
    """The event says EMFILE; when there are descriptors, the connection comes."""
    with open_door("tcp://127.0.0.1:0") as door:
        exhausted.tell("use-up")
        exhausted.hears("used-up")
        exhausted.tell("connect", url_of(door))
        for _ in range(3):
            assert exhausted.hears("connect-failed") == "EMFILE"

        exhausted.tell("give-back")
        with Stranger(door.accept()[0]) as stranger:
            assert stranger.hear(8)[:3] == b"\0SP"


def test_b33_new_sockets_and_binds_without_descriptors(exhausted: Exhausted) -> None:
    """They raise OSError, whichever descriptor is the one too many; what was half made is put away without a word."""
    with Push(connect=exhausted.url) as partner:
        exhausted.hears("added")
        exhausted.tell("use-up")
        exhausted.hears("used-up")
        for spare in range(10):
            exhausted.tell("bind", "tcp://127.0.0.1:0")
            assert exhausted.hears("refused") == "EMFILE"
            exhausted.tell("new-socket", str(spare))
            # Two pollers, two bells, one listener.
            assert exhausted.hears("made" if spare >= 5 else "refused") == ("" if spare >= 5 else "EMFILE")
            partner.send(b"still here")
            assert exhausted.hears("received") == "still here"


def test_b33_a_janitor_that_cannot_be_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first socket of a process may be the one too many: no loop is left behind unclosed, which would warn."""

    def refuse() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    settle()
    before = open_descriptors()
    monkeypatch.setattr(reactor, "select", SimpleNamespace(epoll=refuse))
    with pytest.raises(OSError, match="Too many open files"):
        reactor.Janitor()

    assert open_descriptors() == before


# --- what is used comes back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [None, "tcp://127.0.0.1:0", "inproc://descriptors"])
def test_b33_a_closed_socket_holds_no_descriptors(url: str | None) -> None:
    """A program that opens and closes sockets does not run out of descriptors, also without the collector."""
    with Pull(bind=url):
        pass
    settle()
    gc.collect()
    before = open_descriptors()
    gc.disable()
    try:
        for _ in range(20):
            Pull(bind=url).close()
        settle()

        assert open_descriptors() <= before + 4
    finally:
        gc.enable()
        gc.collect()
        await_descriptors(before)


def test_b33_a_thread_that_only_sends_lets_go_of_closed_sockets() -> None:
    """They are collected like everything else; nobody has to receive for that."""
    with Pull(bind="tcp://127.0.0.1:0", recv_hwm=1) as pull:
        url = pull._ends.listeners[0].url
        settle()
        before = open_descriptors()
        for _ in range(5):
            with Push(connect=url) as push:
                push.wait_for_peers(timeout=PATIENCE)
                for _ in range(10):
                    push.send(b"for whom it may concern")
            del push

        await_descriptors(before + 10)  # both ends of each connection that the Pull has not read to its end yet
