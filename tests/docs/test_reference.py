"""The reference has a page for every pattern and a place for every name, and its tables say what the code has."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

import nnqpy
from nnqpy.events import Stats
from nnqpy.kinds.dialogue import ReqKind, SurveyorKind
from nnqpy.options import Options
from nnqpy.proto import Proto

DOCS = Path(__file__).resolve().parents[2] / "docs"
REFERENCE = DOCS / "reference"
PATTERNS = [
    "push",
    "pull",
    "pair",
    "pair1",
    "pub",
    "sub",
    "bus",
    "req",
    "rep",
    "surveyor",
    "respondent",
    "raw",
    "device",
]
HEADINGS = ["Description", "Socket operations", "Protocol versions", "Options", "Wire format"]
PYTHON = [
    pytest.param(code, id=f"{page.relative_to(DOCS)}:{place}")
    for page in sorted(DOCS.rglob("*.md"))
    if "_build" not in page.parts
    for place, code in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_has_its_five_headings(pattern: str) -> None:
    """So whoever has read one page finds his way on all of them."""
    page = (REFERENCE / f"{pattern}.md").read_text()

    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == HEADINGS


def test_every_public_name_has_its_place() -> None:
    """Each name of `nnqpy` is described by a directive on one of the pages."""
    pages = "\n".join(page.read_text() for page in REFERENCE.glob("*.md") if page.stem != "faces")
    described = set(re.findall(r"\.\. auto\w+:: nnqpy\.(\w+)", pages))
    described |= set(re.findall(r"[\w]+", " ".join(re.findall(r":members: (.*)", pages))))

    assert set(nnqpy.__all__) - described == {"__version__"}


@pytest.mark.parametrize("proto", Proto, ids=lambda proto: proto.label)
def test_the_numbers_of_the_patterns_are_those_of_the_code(proto: Proto) -> None:
    """On its own page, with its peer's, and in the table of the wire format."""
    wire, page = ((REFERENCE / f"{name}.md").read_text() for name in ("wire", proto.label))

    assert f"| {proto.label.capitalize()} | 0x{proto:04x} | {proto.peer.label.capitalize()} |" in wire
    assert f"Protocol number {proto:d} (0x{proto:04x})" in page
    if proto.peer is not proto:
        assert f"the peer's is {proto.peer:d} (0x{proto.peer:04x})" in page


def test_every_option_is_in_the_tables() -> None:
    """Those that all sockets have, and those of some patterns, of the raw sockets too."""
    page = (REFERENCE / "options.md").read_text()
    listed = {name for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    taken = {field.name for field in fields(Options)}
    for name in nnqpy.__all__:
        kind = getattr(nnqpy, name)
        if isinstance(kind, type) and hasattr(kind, "wait_for_peers"):
            taken |= {one.name for one in inspect.signature(kind).parameters.values() if one.kind is one.KEYWORD_ONLY}

    assert listed == taken | {"bind", "connect", "on_event"}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("resend_time", inspect.signature(ReqKind).parameters["resend_time"].default),
        ("survey_time", inspect.signature(SurveyorKind).parameters["survey_time"].default),
        ("max_ttl", Options().max_ttl),
        ("linger", Options().linger),
        ("send_hwm", Options().send_hwm),
        ("recv_hwm", Options().recv_hwm),
    ],
)
def test_the_defaults_are_those_of_the_code(option: str, value: object) -> None:
    """As they stand in the second column."""
    page = (REFERENCE / "options.md").read_text()

    assert re.search(rf"^\| `{option}` \| {value} \|", page, re.MULTILINE)


def test_the_counters_have_their_tables() -> None:
    """What is counted by reason has a table of the reasons."""
    page = (REFERENCE / "stats.md").read_text()
    by_reason = [field.name for field in fields(Stats) if "Mapping" in str(field.type)]

    assert [name for name in by_reason if f"| `Stats.{name}` | |" not in page] == []


@pytest.mark.parametrize("code", PYTHON)
def test_what_looks_like_python_is(code: str) -> None:
    """The short pieces, which do not run, compile at least."""
    compile(code, "a page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
