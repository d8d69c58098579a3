"""The libraries of the comparison: what each is called, how its presence is known, what it cannot do.

Nothing here imports a peer: presence is asked of the import system, versions of the package's metadata.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

import nnqpy
from nnqpy import accel
from nnqpy.bench.crowd import Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nnqpy.bench.adapters import Library

__all__ = ["LIBRARIES", "OURS", "PYTHON", "RAW", "Entry", "named"]

OURS = "nnqpy"
PYTHON = "nnqpy-python"
"""nnqpy without its compiled half, where it has one."""
RAW = "raw"


@dataclass(frozen=True, slots=True)
class Entry:
    """One library as the parent process knows it.

    Args:
        name: what it is called in tables and on the command line.
        module: the import that tells whether it is there; "" for the standard library.
        distribution: the package whose version is printed; "" for the standard library.
        adapter: module and class, loaded by the worker only.
        dialect: the greeting that its connections speak.
        refuses: groups of cells that it takes no part in, and why.
        environment: variables that its workers have.
    """

    name: str
    module: str
    distribution: str
    adapter: str
    dialect: Dialect
    refuses: Mapping[str, str] = field(default_factory=dict[str, str])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def present(self) -> bool:
        """Whether this interpreter can import it; of our two halves the second one counts if it is another than the first."""
        if self.name == PYTHON:
            return accel.compiled is not None
        return not self.module or find_spec(self.module) is not None

    def version(self) -> str:
        """The version of the installed package, "" where there is none to ask."""
        if self.name in (OURS, PYTHON):  # a source tree has no metadata
            return f"{nnqpy.__version__} {accel.describe() if self.name == OURS else 'in Python'}"
        try:
            return metadata.version(self.distribution) if self.distribution else ""
        except metadata.PackageNotFoundError:
            return ""

    def load(self) -> Library:
        """Import the adapter, and with it the library."""
        module, _, name = self.adapter.partition(":")
        made: Library = getattr(import_module(f"nnqpy.bench.adapters.{module}"), name)()
        return made


_NO_FRAMING = "-"
_NO_WEB = {"tls": "has none", "ws": "has none"}

LIBRARIES: Mapping[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(OURS, "nnqpy.sync", "nnqpy", "ours:Ours", Dialect.SP),
        Entry(PYTHON, "nnqpy.sync", "nnqpy", "ours:Ours", Dialect.SP, environment={"NNQPY_ACCEL": "0"}),
        Entry("pyzmq", "zmq", "pyzmq", "zmq:Pyzmq", Dialect.ZMTP, _NO_WEB | {"threads": "not thread-safe"}),
        Entry("pyomq", "pyomq", "pyomq", "zmq:Pyomq", Dialect.ZMTP, _NO_WEB),
        Entry("pynng", "pynng", "pynng", "pynng:Pynng", Dialect.SP, {"device": "has none"}),
        Entry("nng", "nng", "nng", "nng:Nng", Dialect.SP, {"device": "has none", "tls": "has none", "ws": "not asked"}),
        Entry(
            RAW,
            "",
            "",
            "raw:Raw",
            Dialect.NONE,
            dict.fromkeys(
                (
                    *("reqrep", "shares", "device", "tail", "pubsub", "topics", "requests"),
                    *("tls", "ws", "inproc", "threads", "memory", "peers"),
                ),
                _NO_FRAMING,
            ),
        ),
    )
}


def named(names: Sequence[str]) -> list[Entry]:
    """The entries of these names, in the order given.

    Raises:
        ValueError: a name is not known; the text lists those that are.
    """
    for name in names:
        if name not in LIBRARIES:
            raise ValueError(f"no library {name!r}; known: {', '.join(LIBRARIES)}")
    return [LIBRARIES[name] for name in names]
