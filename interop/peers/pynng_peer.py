"""PynngPeer: nng 1.11 by way of pynng, in a process of its own: its threads and its C state never share ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from interop.peers.child import Child

if TYPE_CHECKING:
    from interop.peers.child import Tell
    from interop.peers.peer import Side

_PROGRAM: Final = Path(__file__).with_name("pynng_process.py")


class PynngPeer:
    """A pynng socket that sends on order, receives all the time, and tells who comes and goes.

    Args:
        held: do not receive before `go`: the messages stay where they are, in the kernel and on the other side.
    """

    one_body = False

    def __init__(self, protocol: str, side: Side, url: str, *, held: bool = False) -> None:
        self.url = url
        command = [sys.executable, str(_PROGRAM), protocol, side, url, *(["held"] if held else [])]
        self._child = Child(command, _read, talks=True)
        try:
            self._child.take("u")
        except BaseException:
            self._child.stop()
            raise

    def send(self, body: bytes) -> None:
        self._order(b"s", body)

    def sent(self, count: int = 1) -> None:
        """Wait until it has handed `count` more bodies to nng (``nng_send`` returned)."""
        for _ in range(count):
            self._child.take("s")

    def receive(self, count: int = 1) -> list[bytes]:
        return [self._child.take("r") for _ in range(count)]

    def received_nothing(self) -> bool:
        """True if all that it received so far has been asked for."""
        return self._child.quiet("r")

    def go(self) -> None:
        """Let a peer that was started `held` receive."""
        self._order(b"g")

    def attached(self) -> None:
        """Wait until one more peer is attached on its side."""
        self._child.take("+")

    def detached(self) -> None:
        """Wait until one more connection is removed on its side; nng tells it also of those it refused."""
        self._child.take("-")

    def close(self) -> None:
        """Have it close its socket and end; waits for both."""
        self._order(b"c")
        self._child.take("c")
        self._child.wait()

    def stop(self) -> None:
        self._child.stop()

    def _order(self, kind: bytes, word: bytes = b"") -> None:
        self._child.write(kind + len(word).to_bytes(4, "big") + word)


def _read(output: IO[bytes], tell: Tell) -> None:
    while len(head := output.read(5)) == 5:
        tell(head[:1].decode(), output.read(int.from_bytes(head[1:], "big")))
