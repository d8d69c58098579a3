"""Cat: nngcat and nanocat, the command-line peers: one process receives all there is, or sends one body.

What both have in common: a body to send is an argument or a file at the start, so each body takes a process of its own,
and that process is kept (``--interval``): nanocat ends right after its send and takes the message with it. What waits
for nobody is said again and again. The body of one that answers is its answer, to whatever it is asked.

Neither says when it listens or is connected; both, and nnqpy, dial until it works, and what happened is told at the
first `receive`.

Traps, each seen: nngcat 1.5.2 does not know its own ``--pair`` (say ``--pair0``), and prints nothing unless a format is
given; ``--raw`` has no bounds between messages, ``--msgpack`` has; nanocat aborts on an empty ``--file`` and takes an
empty ``--data``; it receives no message of more than 1 MiB, the number in front of a question or an answer included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import IO, TYPE_CHECKING, Final

from interop.peers.child import Child
from interop.peers.peer import PeerFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.peers.child import Tell
    from interop.peers.peer import Side

_LENGTH_BYTES: Final = {b"\xc4": 1, b"\xc5": 2, b"\xc6": 4}  # MessagePack: bin 8, bin 16, bin 32
_IDLE: Final = "60"
"""Seconds that a program stays after its last word or its one send: more than a test lasts, and not for ever."""


class Cat(ABC):
    """One of the two programs as a peer.

    Args:
        protocol: an SP name: ``"pull"``, ``"pair"``.
        speaks: it will `send` or answer; otherwise it is started now and receives.
    """

    one_body = True

    def __init__(self, protocol: str, side: Side, url: str, *, speaks: bool) -> None:
        self.url = url
        self._call = self._words(protocol, side, url)
        if protocol in {"rep", "respondent"}:
            self._repeat: list[str] = []
        elif protocol in {"pub", "bus", "surveyor"}:
            self._repeat = self._again(protocol)
        else:
            self._repeat = ["--interval", _IDLE]
        self._child: Child | None = None
        if not speaks:
            self._launch(self._call)

    @abstractmethod
    def _words(self, protocol: str, side: Side, url: str) -> list[str]:
        """The program, its socket and its output's format."""

    @abstractmethod
    def _again(self, protocol: str) -> list[str]:
        """Have it say again soon what waits for nobody, as a Pub's: the first that comes is as good as another."""

    def send(self, body: bytes) -> None:
        self._speak(body, self._repeat)

    def receive(self, count: int = 1) -> list[bytes]:
        if self._child is None:
            raise PeerFailed("not started: a cat that speaks receives from its send() on")
        return [self._child.take("r") for _ in range(count)]

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None

    def _speak(self, body: bytes, repeat: Sequence[str]) -> None:
        if self._child is not None:
            raise PeerFailed("has a body already: stop() it before the next send()")
        self._launch([*self._call, *repeat, *(["--file", "-"] if body else ["--data", ""])], body)

    def _launch(self, command: Sequence[str], body: bytes = b"") -> None:
        self._child = Child(command, _read, talks=bool(body))
        if body:
            self._child.write_all(body)


class Nngcat(Cat):
    """nng's own program."""

    def _words(self, protocol: str, side: Side, url: str) -> list[str]:
        where = "--listen" if side == "bind" else "--dial"
        # Dial again and again, as the others do. (Its --verbose is no sign of life: not flushed before a message is.)
        return [
            "nngcat",
            f"--{protocol}" if protocol == "pair1" else f"--{protocol}0",
            where,
            url,
            "--async",
            *_habits(protocol),
        ]

    def _again(self, protocol: str) -> list[str]:
        if protocol != "surveyor":
            return ["--interval", "1"]  # the least that it takes: whole seconds
        # A survey is over after a second, and one sent in that moment hangs for ever: nng 1.5.2's send stops the last
        # one's timer under the lock that the timer's callback waits for (survey.c; nng 1.7 has no such timer).
        return ["--delay", "1", "--interval", "2"]

    def send_copies(self, body: bytes, count: int) -> None:
        """Have it send `body` that many times, back to back, and then end by itself."""
        self._speak(body, ["--count", str(count)])

    def wait(self) -> int:
        """Wait for it to end by itself: its exit code."""
        if self._child is None:
            raise PeerFailed("not started")
        return self._child.wait()


class Nanocat(Cat):
    """nanomsg's program."""

    def _words(self, protocol: str, side: Side, url: str) -> list[str]:
        where = "--bind" if side == "bind" else "--connect"
        return ["nanocat", f"--{protocol}", where, url, *_habits(protocol)]

    def _again(self, protocol: str) -> list[str]:
        return ["--interval", "0.05"]


def _habits(protocol: str) -> list[str]:
    """How it prints, and what ends it when nobody stops it: each refused for a socket that has no use for it."""
    receives = [] if protocol in {"push", "pub"} else ["--msgpack", "--recv-timeout", _IDLE]
    sends = [] if protocol in {"pull", "sub"} else ["--send-timeout", _IDLE]
    return [*receives, *sends]


def _read(output: IO[bytes], tell: Tell) -> None:
    while mark := output.read(1):
        length = int.from_bytes(output.read(_LENGTH_BYTES[mark]), "big")
        tell("r", output.read(length))
