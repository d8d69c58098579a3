"""The header of a request: words of 4 bytes up to the first with its highest bit set, and no more than the limit."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nnqpy.routing.backtrace import LAST, MOST, WORD, check, end_of

words = st.binary(min_size=WORD, max_size=WORD)
steps = words.map(lambda word: bytes([word[0] & ~LAST]) + word[1:])
"""Words of devices on the way: the highest bit is clear."""
numbers = words.map(lambda word: bytes([word[0] | LAST]) + word[1:])
"""The last word: the highest bit is set."""
limits = st.integers(1, MOST)


def join(way: list[bytes], number: bytes) -> bytes:
    """Put the steps of the way in front of the number."""
    return b"".join((*way, number))


whole_headers = st.builds(join, st.lists(steps, max_size=MOST - 1), numbers)


def end_plainly(payload: bytes, most: int) -> int:
    """What `end_of` must return, said another way."""
    whole = [payload[place : place + WORD] for place in range(0, len(payload) - len(payload) % WORD, WORD)]
    ends = [place for place, word in enumerate(whole, 1) if word[0] >= LAST]
    if ends and ends[0] <= most:
        return WORD * ends[0]
    return 0 if len(whole) >= most else -1


@given(payload=st.binary(max_size=100), most=limits)
@example(payload=b"", most=1)
@example(payload=b"\0\0\0\1", most=1)
@example(payload=b"\0\0\0\1\x80\0\0\0", most=1)
@example(payload=b"\x7f\xff\xff\xff\x80\0\0", most=2)
def test_anything_has_a_header_or_none(payload: bytes, most: int) -> None:
    """Whatever a stranger sends: the end, too many words, or too few bytes."""
    assert end_of(payload, most) == end_plainly(payload, most)


@given(header=whole_headers, body=st.binary(max_size=80), most=limits)
def test_the_first_last_word_ends_it(header: bytes, body: bytes, most: int) -> None:
    """What follows is body, also if it looks like further words; it is within the limit or too much."""
    assert end_of(header + body, most) == (len(header) if len(header) <= WORD * most else 0)


@given(way=st.lists(steps, max_size=20), rest=st.binary(max_size=WORD - 1), most=limits)
def test_without_a_last_word_it_is_cut_off_or_too_long(way: list[bytes], rest: bytes, most: int) -> None:
    """As many words as the limit are too many, whatever would follow; with fewer the payload ends before the header."""
    assert end_of(b"".join(way) + rest, most) == (0 if len(way) >= most else -1)


@given(header=whole_headers)
@example(header=b"\0\0\0\1" * (MOST - 1) + b"\x80\0\0\0")
def test_a_whole_header_is_taken_from_a_user_as_it_is(header: bytes) -> None:
    """The very object, of up to 16 words."""
    assert check(header) is header


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (b"", "empty"),
        (b"\x80", "80"),
        (b"\x80\0\0", "800000"),
        (b"\0\0\0\1", "00000001"),
        (b"\x80\0\0\1\x80\0\0\2", "80000001 80000002"),
        (b"\x80\0\0\1\0", "80000001 00"),
        (b"\0\0\0\1\x80\0\0", "00000001 800000"),
        (b"\0\0\0\1" * MOST + b"\x80\0\0\2", "80000002"),
    ],
)
def test_what_is_no_header_is_refused_and_shown(header: bytes, shown: str) -> None:
    """Too short, without its last word, with something behind it, or too long: the text says what was found."""
    with pytest.raises(ValueError, match="a header is 1 to 16 words of 4 bytes") as caught:
        check(header)
    assert caught.match(shown)


@given(header=whole_headers, more=st.binary(min_size=1, max_size=20))
def test_a_header_ends_with_its_last_word(header: bytes, more: bytes) -> None:
    """What follows is no part of it, and a part of it is none."""
    with pytest.raises(ValueError, match="not "):
        check(header + more)
    with pytest.raises(ValueError, match="not "):
        check(header[:-1])
