"""What is accepted is bytes, and cannot change any more."""

from __future__ import annotations

import array
import mmap
from typing import Any

import pytest

from nnqpy.message import frozen, frozen_all


class Derived(bytes):
    """Not exactly `bytes`."""


def test_bytes_are_taken_as_they_are() -> None:
    """No copy is made of what cannot change."""
    body = b"x" * 1000

    assert frozen(body) is body


@pytest.mark.parametrize(
    ("body", "contents"),
    [
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abc")[1:], b"bc"),
        (memoryview(bytearray(b"abc")), b"abc"),
        (array.array("H", [1, 2]), array.array("H", [1, 2]).tobytes()),
        (Derived(b"abc"), b"abc"),
        (memoryview(b"abcdef").cast("B", (2, 3)), b"abcdef"),
        (bytearray(), b""),
    ],
    ids=["bytearray", "a part", "a view", "array", "a subclass", "two dimensions", "empty"],
)
def test_any_contiguous_buffer_is_taken(body: Any, contents: bytes) -> None:  # whatever has the buffer protocol
    """What comes out is exactly `bytes`, with the same contents."""
    whole = frozen(body)

    assert (type(whole), whole) == (bytes, contents)


def test_what_is_taken_does_not_change_with_its_source() -> None:
    """The sender may write into its buffer as soon as the call returns."""
    source = bytearray(b"before")
    whole = frozen(source)

    source[:] = b"after!"

    assert whole == b"before"


def test_the_source_is_not_held() -> None:
    """A buffer that was sent can be resized or closed."""
    source, mapped = bytearray(b"abc"), mmap.mmap(-1, 10)
    frozen(source)
    frozen(mapped)

    source.append(1)
    mapped.close()

    assert source == b"abc\x01"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("text", "a message is bytes, not str: encode it first, for example body.encode()"),
        (None, "a message is a bytes-like object, not NoneType"),
        (5, "a message is a bytes-like object, not int"),
        ([b"x"], "a message is a bytes-like object, not list"),
        (memoryview(b"abcd")[::2], "a message's buffer must be contiguous; copy it first, for example bytes(view)"),
    ],
    ids=["str", "None", "int", "list", "a view with gaps"],
)
def test_what_is_no_message_says_what_to_do(body: Any, text: str) -> None:  # that is what is tested
    """The text names what was found."""
    with pytest.raises(TypeError) as caught:
        frozen(body)

    assert str(caught.value) == text


def test_many_are_frozen_each() -> None:
    """The list is a new one; bytes in it are the same objects, the rest are copies."""
    given: list[bytes | bytearray | memoryview] = [b"a", bytearray(b"b"), memoryview(b"c")]

    whole = frozen_all(given)

    assert whole == [b"a", b"b", b"c"]
    assert {type(body) for body in whole} == {bytes}
    assert whole[0] is given[0]
    assert isinstance(given[1], bytearray)


def test_many_may_come_from_a_generator() -> None:
    """Any iterable will do, an empty one too."""
    assert frozen_all(b"%d" % n for n in range(3)) == [b"0", b"1", b"2"]
    assert frozen_all(iter(())) == []


def test_one_that_is_no_message_refuses_all() -> None:
    """Nothing is returned of a list with a bad element."""
    with pytest.raises(TypeError, match="not str"):
        frozen_all([b"a", "b"])  # type: ignore[list-item]  # that is what is tested
    with pytest.raises(TypeError, match="not int"):
        frozen_all(b"one message, where many were wanted")  # type: ignore[arg-type]  # likewise
