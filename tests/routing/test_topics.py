"""Topics: a message is wanted if it begins with a prefix that was added and not discarded; looking costs the same for many."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnqpy.routing.topics import FEW, Topics
from tests.kit.halves import halves

words = st.binary(max_size=4).map(lambda body: bytes(byte % 3 for byte in body))


@halves
@given(st.lists(st.tuples(st.booleans(), words), max_size=30), st.lists(words, max_size=30))
def test_it_is_what_a_linear_scan_finds(half: Any, changes: list[tuple[bool, bytes]], bodies: list[bytes]) -> None:
    """After any additions and removals, for any messages."""
    topics, model = Topics(half), set[bytes]()
    for add, prefix in changes:
        if add:
            topics.add(prefix)
            model.add(prefix)
        elif prefix in model:
            topics.discard(prefix)
            model.remove(prefix)
        else:
            with pytest.raises(KeyError):
                topics.discard(prefix)

    wanted = [body for body in bodies if any(body.startswith(prefix) for prefix in model)]
    assert topics.select(bodies) == wanted
    assert [body for body in bodies if topics.want(body)] == wanted
    assert (list(topics), len(topics)) == (sorted(model), len(model))
    assert all(prefix in topics for prefix in model)


MANY = range(10 * FEW)


@halves
@pytest.mark.parametrize(
    "prefixes",
    [
        [b"%04d" % n for n in MANY],
        [b"%04d" % n + b"." * (n % 3) for n in MANY],
        [b"%d/" % n for n in MANY],
        [b"b", *(b"all%d/" % n for n in MANY)],
    ],
    ids=["of-one-length", "of-several-lengths", "few-begin-alike", "many-begin-alike"],
)
def test_many_prefixes_are_what_a_linear_scan_finds(half: Any, prefixes: list[bytes]) -> None:
    """However long they are and however many of them begin alike, also for messages shorter than any of them."""
    topics = Topics(half)
    for prefix in random.Random(1).sample(prefixes, len(prefixes)):
        topics.add(prefix)
    bodies = [body for prefix in prefixes for body in (prefix, prefix + b"x", prefix[:-1], b"x" + prefix)]
    bodies += [b"", b"0", b"999/", b"all"]

    assert topics.select(bodies) == [body for body in bodies if body.startswith(tuple(prefixes))]


@halves
def test_a_shorter_prefix_covers_and_uncovers(half: Any) -> None:
    """The longer ones count again when the shorter one is discarded."""
    topics = Topics(half)
    for prefix in (b"ab", b"ac", b"a", b"b", b"a"):
        topics.add(prefix)
    assert topics.select([b"ad", b"ab", b"c"]) == [b"ad", b"ab"]

    topics.discard(b"b")
    assert topics.select([b"ad", b"ab", b"b"]) == [b"ad", b"ab"]
    topics.add(b"b")
    topics.discard(b"ab")
    topics.discard(b"a")

    assert topics.select([b"ad", b"ab", b"acx", b"b"]) == [b"acx", b"b"]


@halves
def test_nothing_is_wanted_without_a_prefix_and_everything_with_the_empty_one(half: Any) -> None:
    """Both are nng's."""
    topics = Topics(half)
    bodies = [b"", b"a"]
    assert topics.select(bodies) == []

    topics.add(b"")

    assert topics.select(bodies) is bodies
