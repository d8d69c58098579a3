"""How often threads give the interpreter lock up: more often while messages wait to be written, and as before after that."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from nnqpy import Push, reactor
from tests.process.kit import PATIENCE, switch_interval, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(60)

BEFORE = 0.004


@pytest.fixture(autouse=True)
def own_interval() -> Iterator[None]:
    """Have an interval that is nobody's default."""
    with switch_interval(BEFORE):
        yield


def test_a_burst_that_begins_while_it_is_put_back_has_it_put_back_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it stayed low for ever: the one forgot that the other had lowered it."""
    really, put_back = sys.setswitchinterval, list[float]()

    def and_a_burst_begins(interval: float) -> None:
        really(interval)
        if interval == BEFORE:
            put_back.append(interval)
            if len(put_back) == 1:
                reactor.janitor().watch_over(push._turns)

    with Push() as push:
        monkeypatch.setattr(sys, "setswitchinterval", and_a_burst_begins)
        reactor.janitor().watch_over(push._turns)

        until(lambda: len(put_back) == 2)

    assert sys.getswitchinterval() == BEFORE


def test_who_sets_it_meanwhile_keeps_what_he_has_set() -> None:
    """The interval is the program's: ours is put back only where it is still ours."""
    janitor, looked = reactor.janitor(), threading.Event()

    janitor._hurry(reactor.SWITCH_WATCHED)
    assert sys.getswitchinterval() < BEFORE
    sys.setswitchinterval(0.003)
    janitor.call(janitor._calm)
    janitor.call(looked.set)

    assert looked.wait(PATIENCE)
    assert sys.getswitchinterval() == 0.003
