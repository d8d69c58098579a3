"""Sockets with nothing to do cost nothing: the janitor looks at them no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nnqpy import Bus, Pair, Pull, Push
from nnqpy.turns import Verdict
from tests.process.kit import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnqpy.sync import Socket

pytestmark = pytest.mark.timeout(60)


def at_rest(*socks: Socket) -> Callable[[], bool]:
    """Return whether the janitor would find nothing to come again for."""
    return lambda: all(sock._turns.tend() is not Verdict.BUSY for sock in socks)


def test_a_second_peer_of_this_process_that_was_refused_is_forgotten() -> None:
    """It never was attached, so nobody waits for that before it is looked at for the last time."""
    with Pair(bind="inproc://rest-1") as first, Pair(bind="inproc://rest-2") as second, Pair() as pair:
        pair.connect("inproc://rest-1", wait=True, timeout=PATIENCE)
        pair.connect("inproc://rest-2")
        until(lambda: (second.stats().peers == 0 and second._turns.core.lost_out) or pair._turns.hung)

        until(at_rest(first, second, pair))
        assert not pair._turns.hung


def test_what_goes_as_the_close_begins_is_in_its_report() -> None:
    """A peer comes right after the last message was accepted, and before the close has told all who follow."""
    push = Push(connect="inproc://rest-late", reconnect_min=0.01)
    push.send_many([b"x"] * 20)

    with Pull() as pull:

        def follow() -> None:
            pull.bind("inproc://rest-late")
            assert [pull.recv(timeout=PATIENCE) for _ in range(20)] == [b"x"] * 20

        push._turns.followers.append(follow)
        report = push.close(PATIENCE)

    assert (report.flushed, report.abandoned) == (20, 0)


@pytest.mark.parametrize("scheme", ["tcp://127.0.0.1:0", "inproc://rest"])
def test_who_sent_and_received_comes_to_rest(scheme: str) -> None:
    """Also when peers have come and gone."""
    with Pull() as pull, Push() as push, Bus() as bus:
        url = pull.bind(scheme).url
        for _ in range(3):
            with Push() as other:
                other.connect(url, wait=True, timeout=PATIENCE)
                other.send(b"x")
                assert pull.recv(timeout=PATIENCE) == b"x"
        push.connect(url, wait=True, timeout=PATIENCE)
        push.send(b"x")
        assert pull.recv(timeout=PATIENCE) == b"x"
        bus.send(b"to nobody")

        until(at_rest(pull, push, bus))
