"""The events: what a compressor would find in a program's own."""

from __future__ import annotations

import json

from nnqpy.bench.events import LARGEST, events


def test_every_run_has_the_same_events() -> None:
    """Two runs can be compared."""
    assert events() == events()


def test_events_are_json_of_like_names_and_other_values() -> None:
    """From 200 bytes to what `LARGEST` says; no two are the same; none is taken for a warm-up or an end."""
    made = events()

    assert 200 <= min(map(len, made)) < max(map(len, made)) <= LARGEST
    assert len(set(made)) == len(made) > 1000
    assert {tuple(json.loads(one)) for one in made} == {("id", "sequence", "type", "time", "user", "items")}
    assert {one[:1] for one in made} == {b"{"}
