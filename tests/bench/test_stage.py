"""The stage: every worker ends, and a measurement that came to nothing says why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from nnqpy.bench.desk import number, text
from nnqpy.bench.stage import Stage, StageError

if TYPE_CHECKING:
    from nnqpy.bench.desk import Words


def fail_with(role: str, limit: float) -> StageError:
    """Start one worker that will never be told anything, and wait for its word."""

    async def play() -> None:
        async with Stage("raw", size=64, seconds=0.01, limit=limit) as stage:
            actor = await stage.start(role)
            await actor.hear()

    with pytest.raises(StageError) as caught:
        asyncio.run(play())
    return caught.value


def test_a_worker_whose_time_is_up_is_marked_hung_and_shows_where_it_stood() -> None:
    """It waits for a word that never comes; its own watch-dog ends it and writes the stack."""
    error = fail_with("trip_ping", limit=1.0)

    assert error.kind == "hung"
    assert "in hear" in error.detail
    assert "in trip_ping" in error.detail


def test_a_worker_that_breaks_is_marked_failed_with_its_traceback() -> None:
    """No such role: the last line names the mistake."""
    error = fail_with("no_such_role", limit=30.0)

    assert error.kind == "failed"
    assert error.detail.splitlines()[-1] == "KeyError: 'no_such_role'"


def test_leaving_the_stage_ends_workers_that_still_wait() -> None:
    """An act that breaks in the middle leaves no process behind."""

    async def play() -> list[int | None]:
        async with Stage("raw", size=64, seconds=0.01, limit=30.0) as stage:
            actors = [await stage.start("trip_ping") for _ in range(2)]
        return [actor.exit_code for actor in actors]

    assert asyncio.run(play()) == [-9, -9]


def test_words_are_taken_for_what_they_should_be_or_refused() -> None:
    """A worker that says something else than agreed is found out at once."""
    words: Words = {"sent": 3, "url": "tcp://127.0.0.1:1"}

    assert number(words, "sent") == 3
    assert text(words, "url") == "tcp://127.0.0.1:1"
    assert text(words, "nothing") == ""
    with pytest.raises(TypeError, match="expected a number for 'url'"):
        number(words, "url")
    with pytest.raises(TypeError, match="expected a text for 'sent'"):
        text(words, "sent")
