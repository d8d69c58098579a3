"""One pynng socket as a process: orders on stdin, what happens on stdout. The only place that imports pynng.

Run as ``python pynng_process.py PROTOCOL bind|connect URL [FLAG ...] [OPTION=NUMBER ...]``, or as ``... device FRONT BACK
FRONT_URL BACK_URL`` for two raw sockets and nng's own device between them. An option is one of pynng's attributes
(``ttl_max=9``; ``resend_tick`` too); ``tls=FOLDER`` has it show and verify the certificates there, and ``mutual=1`` ask for
the other's. Both ways a word is one byte of kind, four bytes of length (big-endian), and that
many bytes.

======  =====================================================================================
orders  ``s`` send this body (an answer: as soon as a question is there), ``p`` send to this pipe (4 bytes) this body,
        ``g`` go: receive (for a socket that was started ``held``), ``o`` set this option, ``w`` wait until a send would
        not wait, ``c`` close and end
tells   ``u`` listening or dialling (the versions), ``r`` received this body, ``s`` sent one, ``+`` a peer was attached,
        ``-`` a connection was removed, ``x`` no answer, and the error's name, ``w`` a send would not wait, ``c`` closed,
        ``e`` an error's text
flags   ``held``: do not receive before ``g`` (with ``contexts``: do not answer); ``poly``: a polyamorous Pair1, which tells
        of what it received also the pipe, 4 bytes in front; ``contexts``: each ``s`` is asked in a context of its own, and
        what it tells is the question, `BY` and the answer; or (rep, respondent) `SERVERS` contexts answer, each with
        "re: " and what it was asked
======  =====================================================================================

The end of stdin is the end of the process: it does not outlive who started it.
"""

from __future__ import annotations

import os
import queue
import select
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

import pynng

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES: Final = {
    "pair": "Pair0",
    "pair1": "Pair1",
    "bus": "Bus0",
    "pub": "Pub0",
    "sub": "Sub0",
    "push": "Push0",
    "pull": "Pull0",
    "req": "Req0",
    "rep": "Rep0",
    "surveyor": "Surveyor0",
    "respondent": "Respondent0",
}
DEAF: Final = frozenset({"push", "pub"})
ASKS: Final = frozenset({"req", "surveyor"})
ANSWERS: Final = frozenset({"rep", "respondent"})
FLAGS: Final = frozenset({"held", "poly", "contexts"})
REDIAL_MS: Final = 50
SURVEY_MS: Final = 20_000
"""As long as a test waits; nng's own is a second."""
BY: Final = b" - "
SERVERS: Final = 4
PIPE_BYTES: Final = 4

NO_ANSWER: Final = (pynng.Timeout, pynng.BadState, pynng.Canceled, pynng.ConnectionReset)


class Pipe(Protocol):
    """A pynng pipe."""

    id: int

    def send(self, data: bytes) -> None: ...


class Message(Protocol):
    """A pynng message."""

    pipe: Pipe

    @property
    def bytes(self) -> bytes: ...


class Talks(Protocol):
    """What a pynng socket and a context have in common, which have no types of their own."""

    def send(self, data: bytes) -> None: ...
    def recv_msg(self) -> Message: ...


class Pynng(Talks, Protocol):
    """What this process uses of a pynng socket."""

    @property
    def socket(self) -> object: ...
    @property
    def send_fd(self) -> int: ...
    @property
    def pipes(self) -> tuple[Pipe, ...]: ...

    def listen(self, address: str) -> object: ...
    def dial(self, address: str, *, block: bool) -> object: ...
    def new_context(self) -> Talks: ...
    def close(self) -> None: ...
    def add_post_pipe_connect_cb(self, callback: Callable[[object], None]) -> None: ...
    def add_post_pipe_remove_cb(self, callback: Callable[[object], None]) -> None: ...


class Nng(Protocol):
    """What this process uses of the C library itself."""

    def nng_device(self, one: object, other: object) -> int: ...


Orders = queue.SimpleQueue[tuple[bytes, bytes]]
_telling = threading.Lock()


def tell(kind: bytes, word: bytes = b"") -> None:
    """Say one word; any thread may."""
    with _telling:
        sys.stdout.buffer.write(kind + len(word).to_bytes(4, "big") + word)
        sys.stdout.buffer.flush()


def beside(work: Callable[..., None], *args: object) -> None:
    """Do something in a thread that nobody waits for."""
    threading.Thread(target=work, args=args, daemon=True).start()


def read_orders(orders: Orders) -> None:
    """Take in all orders as they come, so that who gives them never waits; end the process with its input."""
    while len(head := sys.stdin.buffer.read(5)) == 5:
        orders.put((head[:1], sys.stdin.buffer.read(int.from_bytes(head[1:], "big"))))
    os._exit(3)


class Peer:
    """The socket, and what is done with it."""

    def __init__(self, protocol: str, flags: frozenset[str], options: dict[str, int]) -> None:
        self.protocol = protocol
        self.flags = flags
        self.socket = opened(protocol, flags, options)
        self._go = threading.Event()
        if "held" not in flags:
            self._go.set()
        self._questions: queue.SimpleQueue[None] = queue.SimpleQueue()
        """Those that were asked: here, where we ask; and there, where we answer."""

    def start(self) -> None:
        """Receive, from now on."""
        if self.protocol in ANSWERS and "contexts" in self.flags:
            for _ in range(SERVERS):
                beside(self._answer, self.socket.new_context())
        elif self.protocol in ASKS:
            beside(self._receive_answers)
        elif self.protocol not in DEAF:
            beside(self._receive_all)

    def do(self, kind: bytes, word: bytes) -> None:
        """Follow an order."""
        if kind == b"s" and self.protocol in ASKS and "contexts" in self.flags:
            beside(self._ask, self.socket.new_context(), word)
        elif kind == b"s":
            if self.protocol in ANSWERS:
                self._questions.get()
            self.socket.send(word)
            if self.protocol in ASKS:
                self._questions.put(None)
            tell(b"s")
        elif kind == b"p":
            number = int.from_bytes(word[:PIPE_BYTES], "big")
            next(pipe for pipe in self.socket.pipes if pipe.id == number).send(word[PIPE_BYTES:])
        elif kind == b"g":
            self._go.set()
        elif kind == b"o":
            name, _, value = word.decode().partition("=")
            setattr(self.socket, name, int(value))
        elif kind == b"w":
            select.select([self.socket.send_fd], [], [])  # nng marks it as readable
            tell(b"w")
        elif kind == b"c":
            self.socket.close()
            tell(b"c")
            os._exit(0)  # the reader of orders sits in read(): no orderly end with it

    def _receive_all(self) -> None:
        """Tell every body that comes, until the socket is closed."""
        self._go.wait()
        while True:
            try:
                message = self.socket.recv_msg()  # pynng 0.9's recv() fails on an empty body
            except pynng.Closed:
                return
            self._questions.put(None)
            tell(b"r", (message.pipe.id.to_bytes(PIPE_BYTES, "big") if "poly" in self.flags else b"") + message.bytes)

    def _receive_answers(self) -> None:
        """Tell the answer to each question, all of them to a survey; or why there is none."""
        while True:
            self._questions.get()
            self._go.wait()
            try:
                tell(b"r", self.socket.recv_msg().bytes)
                while self.protocol == "surveyor":
                    tell(b"r", self.socket.recv_msg().bytes)
            except NO_ANSWER as error:
                tell(b"x", type(error).__name__.encode())
            except pynng.Closed:
                return

    def _ask(self, context: Talks, question: bytes) -> None:
        context.send(question)
        tell(b"s")
        tell(b"r", question + BY + context.recv_msg().bytes)

    def _answer(self, context: Talks) -> None:
        while True:
            try:
                question = context.recv_msg().bytes
                tell(b"r", question)
                self._go.wait()
                context.send(b"re: " + question)
            except pynng.Closed:
                return


def opened(protocol: str, flags: frozenset[str], options: dict[str, int]) -> Pynng:
    """A socket that is not connected yet and tells who comes and goes."""
    make: Callable[..., Pynng] = getattr(pynng, CLASSES[protocol])
    if protocol == "req":
        make.resend_tick = pynng.nng.MsOption("req:resend-tick")  # type: ignore[attr-defined]  # forgotten by pynng
    starting: dict[str, object] = {}
    if protocol == "sub":
        starting["topics"] = b""
    elif protocol == "surveyor":
        starting["survey_time"] = SURVEY_MS
    elif "poly" in flags:
        starting["polyamorous"] = True
    # Without the upper bound nng keeps to the lower one: uniformly within [0, REDIAL_MS).
    socket = make(reconnect_time_min=REDIAL_MS, **starting)
    for name, value in options.items():
        setattr(socket, name, value)
    announce(socket)
    return socket


def shown(folder: str, *, serves: bool, mutual: bool) -> object:
    """Return a TLS configuration of the certificates in a folder."""
    config: Any = pynng.TLSConfig  # without types
    return config(
        config.MODE_SERVER if serves else config.MODE_CLIENT,
        ca_files=f"{folder}/ca.pem",
        cert_key_file=f"{folder}/both.pem",
        server_name=None if serves else "localhost",
        auth_mode=config.AUTH_MODE_NONE if serves and not mutual else config.AUTH_MODE_REQUIRED,
    )


def announce(socket: Pynng, attached: bytes = b"+") -> None:
    """Tell who comes and goes."""
    socket.add_post_pipe_connect_cb(lambda _pipe: tell(attached))
    socket.add_post_pipe_remove_cb(lambda _pipe: tell(b"-"))


def be_a_device(front: str, back: str, front_url: str, back_url: str) -> None:
    """Be nng's device, until the process is ended; who comes to its back is told as ``*``."""
    library: Nng = getattr(pynng, "lib")  # noqa: B009  # C, by cffi: without types
    make: Callable[..., Pynng] = getattr(pynng, "Socket")  # noqa: B009  # likewise
    sockets: list[Pynng] = []
    for protocol, url, attached in ((front, front_url, b"+"), (back, back_url, b"*")):
        socket = make(opener=getattr(library, f"nng_{CLASSES[protocol].lower()}_open_raw"))
        announce(socket, attached)
        socket.listen(url)
        sockets.append(socket)
    tell(b"u")
    error = library.nng_device(sockets[0].socket, sockets[1].socket)
    raise RuntimeError(f"nng's device has ended with {error}")


def main(protocol: str, *words: str) -> None:
    orders: Orders = queue.SimpleQueue()
    beside(read_orders, orders)
    if protocol == "device":
        be_a_device(*words)
    side, url, *rest = words
    given = {name: value for name, is_, value in (word.partition("=") for word in rest) if is_}
    folder, mutual = given.pop("tls", ""), bool(given.pop("mutual", ""))
    peer = Peer(protocol, FLAGS.intersection(rest), {name: int(value) for name, value in given.items()})
    if folder:
        setattr(peer.socket, "tls_config", shown(folder, serves=side == "bind", mutual=mutual))  # noqa: B010  # likewise
    if side == "bind":
        peer.socket.listen(url)
    else:
        peer.socket.dial(url, block=False)
    peer.start()
    tell(b"u")
    while True:
        peer.do(*orders.get())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # the test wants the text, whatever it was
        tell(b"e", f"{type(error).__name__}: {error}".encode())
        raise
