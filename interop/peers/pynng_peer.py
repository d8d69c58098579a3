"""PynngPeer: nng 1.11 by way of pynng, in a process of its own: its threads and its C state never share ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal

from interop.peers.child import Child

if TYPE_CHECKING:
    from interop.peers.child import Tell
    from interop.peers.peer import Side

Flag = Literal["held", "poly", "contexts"]

_PROGRAM: Final = Path(__file__).with_name("pynng_process.py")
_PIPE_BYTES: Final = 4
BY: Final = b" - "
"""What stands between a question and the answer to it, where a peer that asks has ``"contexts"``."""


def _started(*words: str) -> Child:
    child = Child([sys.executable, str(_PROGRAM), *words], _read, talks=True)
    try:
        child.take("u")
    except BaseException:
        child.stop()
        raise
    return child


class PynngPeer:
    """A pynng socket that sends on order, receives all the time, and tells who comes and goes.

    One that answers does so by `send`, when it was asked. One that asks receives by `receive`, or hears by `failed` why
    there is nothing more to come.

    Args:
        flags: ``"held"``: do not receive before `go`: the messages stay where they are, in the kernel and on the other
            side. ``"poly"``, ``"contexts"``: see ``pynng_process.py``.
        options: pynng's attributes of the socket, as ``ttl_max=9``; times are in milliseconds. ``tls`` is a folder with
            ca.pem and both.pem, ``mutual=1`` has it ask for our certificate.
    """

    one_body = False

    def __init__(self, protocol: str, side: Side, url: str, *flags: Flag, **options: int | str) -> None:
        self.url = url
        self._child = _started(protocol, side, url, *flags, *(f"{name}={value}" for name, value in options.items()))

    def send(self, body: bytes) -> None:
        self._order(b"s", body)

    def sent(self, count: int = 1) -> None:
        """Wait until it has handed `count` more bodies to nng (``nng_send`` returned)."""
        for _ in range(count):
            self._child.take("s")

    def ready(self) -> None:
        """Wait until a send of its would not wait: one that has no queue is done with all it was told to send.

        Before that, do not close the connection of a push that is to send again: nng 1.11 puts a connection back into
        those that are ready to send when a send on it is done, also if it was closed in between, and a later send by what
        is freed then kills the process (push.c: ``push0_send_cb`` after ``push0_pipe_close``).
        """
        self._order(b"w")
        self._child.take("w")

    def receive(self, count: int = 1) -> list[bytes]:
        return [self._child.take("r") for _ in range(count)]

    def receive_from(self) -> tuple[int, bytes]:
        """Wait for the next body at a ``"poly"`` one: the pipe that it came by, for `send_to`, and the body."""
        word = self._child.take("r")
        return int.from_bytes(word[:_PIPE_BYTES], "big"), word[_PIPE_BYTES:]

    def send_to(self, pipe: int, body: bytes) -> None:
        """Have a ``"poly"`` one send `body` by one of its pipes."""
        self._order(b"p", pipe.to_bytes(_PIPE_BYTES, "big") + body)

    def failed(self) -> str:
        """Wait until it is told that there is no answer, or no more to a survey: the name of pynng's error."""
        return self._child.take("x").decode()

    def set(self, **options: int) -> None:
        """Set options of its socket, before what it is asked to do next."""
        for name, value in options.items():
            self._order(b"o", f"{name}={value}".encode())

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

    def freeze(self) -> None:
        """Stop the whole process where it is, with its threads: from now on it reads nothing."""
        self._child.freeze()

    def thaw(self) -> None:
        """Let it go on."""
        self._child.thaw()

    def stop(self) -> None:
        self._child.stop()

    def _order(self, kind: bytes, word: bytes = b"") -> None:
        self._child.write(kind + len(word).to_bytes(4, "big") + word)


class NngDevice:
    """nng's own device (``nng_device``): two raw sockets in a process, both bound.

    Args:
        front: the SP name of the socket at `front_url`; `back` and `back_url` likewise.
    """

    def __init__(self, front: str, back: str, front_url: str, back_url: str) -> None:
        self._child = _started("device", front, back, front_url, back_url)

    def attached(self) -> None:
        """Wait until one more peer is attached to each of its sockets."""
        self._child.take("+")
        self._child.take("*")

    def stop(self) -> None:
        """Kill it."""
        self._child.stop()


def _read(output: IO[bytes], tell: Tell) -> None:
    while len(head := output.read(5)) == 5:
        tell(head[:1].decode(), output.read(int.from_bytes(head[1:], "big")))
