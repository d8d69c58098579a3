"""The end of a socket loses nothing that was promised: neither ours with nng listening, nor nng's with us listening."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from interop.ours import receiver, sender
from interop.witness import PATIENCE
from nnqpy import Pull, Push

if TYPE_CHECKING:
    from interop.conftest import Peers
    from interop.spots import Spots, Transport

on_each = pytest.mark.parametrize("transport", ["tcp", "ipc"])
BODIES = [(b"%d " % n).ljust(500, b".") for n in range(100)]
"""Little enough for the kernel to hold it all, for tcp and for ipc."""


@on_each
@pytest.mark.parametrize(("ours", "theirs"), [("push", "pull"), ("pair", "pair")])
def test_a_peer_gets_all_that_was_sent_before_a_close(
    ours: str, theirs: str, transport: Transport, spots: Spots, peers: Peers
) -> None:
    """It reads only after we have closed: what the kernel took for us still arrives, to the last message."""
    with sender(ours) as socket:
        peer = peers.pynng(theirs, "connect", socket.bind(spots.any_url(transport)).url, "held")
        peer.attached()
        for body in BODIES:
            socket.send(body)
        report = socket.close()

        peer.go()

        assert peer.receive(len(BODIES)) == BODIES
        peer.detached()
        assert (report.abandoned, socket.stats().delivered) == (0, len(BODIES))
        assert peer.received_nothing()


@on_each
def test_close_waits_for_a_peer_that_takes_its_time(transport: Transport, spots: Spots, peers: Peers) -> None:
    """More than the kernel holds: `close` sends on until nng has all of it."""
    bodies = [(b"%d " % n).ljust(4096, b".") for n in range(5000)]
    with Push(send_hwm=len(bodies)) as push:
        peer = peers.pynng("pull", "connect", push.bind(spots.any_url(transport)).url)
        push.send_many(bodies)

        report = push.close(linger=PATIENCE)

        assert report.abandoned == 0
        assert peer.receive(len(bodies)) == bodies


@on_each
def test_close_delivers_to_a_peer_that_was_not_there_yet(transport: Transport, spots: Spots, peers: Peers) -> None:
    """Sent and closed before the first connection: the linger time covers the dialling too."""
    url = spots.url(transport)
    peer = peers.pynng("pull", "bind", url)
    push = Push(connect=url)
    push.send(b"early")

    report = push.close(linger=PATIENCE)

    assert report.abandoned == 0
    assert peer.receive() == [b"early"]


@on_each
@pytest.mark.parametrize(("ours", "theirs"), [("pull", "push"), ("pair", "pair")])
def test_we_get_all_that_a_peer_handed_over_before_it_closed(
    ours: str, theirs: str, transport: Transport, spots: Spots, peers: Peers
) -> None:
    """It sends, closes and ends, and only then do we look: nothing of what its kernel took is lost.

    nng does not linger: it may end with its last message unwritten, so that one is its own loss.
    """
    with receiver(ours) as socket:
        peer = peers.pynng(theirs, "connect", socket.bind(spots.any_url(transport)).url)
        for body in BODIES:
            peer.send(body)
        peer.sent(len(BODIES))
        peer.close()
        with Pull() as other:  # a whole connection later, whoever watches connections has seen that one end
            peers.pynng("push", "connect", other.bind(spots.any_url(transport)).url)
            other.wait_for_peers(timeout=PATIENCE)

        received = [socket.recv(timeout=PATIENCE) for _ in BODIES[1:]]

        assert received == BODIES[:-1]
