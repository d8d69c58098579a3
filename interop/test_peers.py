"""The peers' drivers, tried peer against peer: what fails here is no fault of nnqpy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, get_args

import pytest

from interop.cases import SIZES, Case, Flow
from interop.peers import choose
from interop.peers.cats import Nngcat
from interop.peers.child import Child
from interop.peers.peer import Kind, PeerFailed

if TYPE_CHECKING:
    from interop.conftest import Peers
    from interop.spots import Spots, Transport

KINDS = get_args(Kind)
BODIES = Case("pynng", "push", Flow.OUT, "pull", "bind", "tcp").bodies()


def test_the_bodies_have_the_sizes_of_the_table() -> None:
    """Empty, one byte, and up to 1 MiB, each the same in every run."""
    again = Case("pynng", "push", Flow.OUT, "pull", "bind", "tcp").bodies()

    assert [len(body) for body in BODIES] == list(SIZES) == [0, 1, 100, 65536, 1048576]
    assert again == BODIES


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("receiver", KINDS)
@pytest.mark.parametrize("sender", KINDS)
def test_every_peer_gets_what_every_other_sends(
    sender: Kind, receiver: Kind, transport: Transport, spots: Spots, peers: Peers
) -> None:
    """All sizes, to a listening Pull, through every pair of drivers."""
    url = spots.url(transport)
    pull = peers.start(receiver, "pull", "bind", url, speaks=False)
    push = peers.start(sender, "push", "connect", url, speaks=True)

    for body in BODIES:
        push.send(body)
        assert pull.receive() == [body]
        if push.one_body:
            push.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_every_peer_answers_on_a_pair(kind: Kind, spots: Spots, peers: Peers) -> None:
    """A Pair that speaks also receives, whoever it is; here it listens and the other dials."""
    url = spots.url("tcp")
    near = peers.start(kind, "pair", "bind", url, speaks=True)
    far = peers.pynng("pair", "connect", url)

    near.send(b"ping")
    assert far.receive() == [b"ping"]
    far.send(b"pong")
    assert near.receive() == [b"pong"]


@pytest.mark.parametrize("rep", KINDS)
@pytest.mark.parametrize("req", KINDS)
def test_every_peer_answers_every_other(req: Kind, rep: Kind, spots: Spots, peers: Peers) -> None:
    """One that asks receives the answer, one that answers is given it before it is asked."""
    url = spots.url("tcp")
    answers = peers.start(rep, "rep", "bind", url, speaks=True)
    asks = peers.start(req, "req", "connect", url, speaks=True)

    answers.send(b"yes")
    asks.send(b"well?")

    assert answers.receive() == [b"well?"]
    assert asks.receive() == [b"yes"]


def test_a_frozen_peer_goes_on_when_thawed(spots: Spots, peers: Peers) -> None:
    """What came meanwhile waits in the kernel."""
    url = spots.url("tcp")
    pull = peers.pynng("pull", "bind", url)
    push = peers.pynng("push", "connect", url)
    push.attached()
    pull.freeze()

    push.send(b"are you there?")
    push.sent()
    assert pull.received_nothing()
    pull.thaw()

    assert pull.receive() == [b"are you there?"]


def test_a_peer_comes_back_to_its_port(spots: Spots, peers: Peers) -> None:
    """A spot stays the peer's own across a kill, so that a restart is on the same port."""
    url = spots.url("tcp")
    push = peers.pynng("push", "connect", url)
    first = peers.pynng("pull", "bind", url)
    push.attached()
    first.stop()
    push.detached()

    second = peers.pynng("pull", "bind", url)
    push.attached()
    push.send(b"again")

    assert second.receive() == [b"again"]


def test_nngcat_sends_copies_and_ends(spots: Spots, peers: Peers) -> None:
    """With a count it sends back to back, exits with 0, and nothing is lost."""
    choose.require("nngcat")
    url = spots.url("ipc")
    pull = peers.pynng("pull", "bind", url)
    push = peers.start("nngcat", "push", "connect", url, speaks=True)
    assert isinstance(push, Nngcat)

    push.send_copies(b"again and again", 1000)

    assert pull.receive(1000) == [b"again and again"] * 1000
    assert push.wait() == 0


def test_a_held_peer_receives_when_told(spots: Spots, peers: Peers) -> None:
    """Until then the messages wait outside of it."""
    url = spots.url("tcp")
    pull = peers.pynng("pull", "bind", url, "held")
    push = peers.pynng("push", "connect", url)
    for body in (b"1", b"2"):
        push.send(body)
    push.sent(2)

    assert pull.received_nothing()
    pull.go()

    assert pull.receive(2) == [b"1", b"2"]


def test_a_peer_that_cannot_start_says_why(spots: Spots, peers: Peers) -> None:
    """An address that is taken, and a program that fails: the error has the peer's own words."""
    choose.require("pynng")
    choose.require("nngcat")
    url = spots.url("tcp")
    peers.pynng("pull", "bind", url)

    with pytest.raises(PeerFailed, match="AddressInUse"):
        peers.pynng("pull", "bind", url)
    with pytest.raises(PeerFailed, match="Address in use"):
        peers.start("nngcat", "pull", "bind", url, speaks=False).receive()


def test_a_stopped_peer_is_gone_and_its_words_remain() -> None:
    """Killed and reaped, its output read to the end."""
    program = "import sys; sys.stdout.write('one'); sys.stdout.flush(); sys.stdin.read()"
    child = Child([sys.executable, "-c", program], lambda output, tell: tell("word", output.read(3)), talks=True)
    assert child.take("word") == b"one"

    child.stop()

    assert not child.running
    with pytest.raises(PeerFailed, match="ended with -9 before 'word'"):
        child.take("word")


def test_a_missing_peer_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a person's machine the reason is shown; a CI run without its peers is red."""
    monkeypatch.setenv("PATH", "/nowhere")

    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="nngcat is not installed: apt-get install nng-utils"):
        choose.require("nngcat")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="nanocat is not installed: apt-get install nanomsg-utils"):
        choose.require("nanocat")
