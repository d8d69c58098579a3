"""Child: a peer's process. Its output is read by a thread at once, so it never waits for the test; killed at the end.

A peer that outlives its test would answer the next one. So `stop` kills and reaps, and on Linux the kernel kills the
peer also when the tests themselves are killed.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from typing import IO, TYPE_CHECKING

from interop.peers.peer import PATIENCE, PeerFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Tell = Callable[[str, bytes], None]
    Read = Callable[[IO[bytes], Tell], None]


class Child:
    """A process that says things: each is a kind and a word, and every kind has its own line.

    Args:
        command: the program and its arguments.
        read: called in a thread with the process's output and `tell(kind, word)`; returns at the end of the output.
        talks: its input is a pipe that `write` feeds; otherwise it is empty.
    """

    def __init__(self, command: Sequence[str], read: Read, *, talks: bool = False) -> None:
        self._command = " ".join(command)
        self._lines: dict[str, queue.SimpleQueue[bytes | None]] = {}
        self._lines_lock = threading.Lock()
        self._ended = False
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - `stop` closes it
        self._process = subprocess.Popen(
            [*_tied_to_us(), *command],
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        self._reader = threading.Thread(target=self._read, args=(read,), name=f"reads-{command[0]}", daemon=True)
        self._reader.start()

    def take(self, kind: str, within: float = PATIENCE) -> bytes:
        """Wait for the next word of that kind.

        Raises:
            PeerFailed: the process ended, or said no such word within that many seconds.
        """
        line = self._line(kind)
        try:
            word = line.get(timeout=within)
        except queue.Empty:
            raise PeerFailed(f"no {kind!r} within {within} s from `{self._command}`{self._last_words()}") from None
        if word is None:
            line.put(None)  # for who asks again
            code = self._process.wait(PATIENCE)
            raise PeerFailed(f"ended with {code} before {kind!r}: `{self._command}`{self._last_words()}")
        return word

    def quiet(self, kind: str) -> bool:
        """True if no word of that kind waits to be taken."""
        line = self._line(kind)
        with self._lines_lock:
            return line.qsize() == (1 if self._ended else 0)  # the mark of the end

    def write(self, words: bytes) -> None:
        """Feed its input."""
        assert self._process.stdin is not None  # `talks`
        try:
            self._process.stdin.write(words)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            code = self._process.wait(PATIENCE)
            raise PeerFailed(f"ended with {code}: `{self._command}`{self._last_words()}") from error

    def write_all(self, words: bytes) -> None:
        """Feed its input and end it."""
        self.write(words)
        assert self._process.stdin is not None  # `talks`
        self._process.stdin.close()

    def wait(self) -> int:
        """Wait for it to end by itself: its exit code."""
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise PeerFailed(f"does not end within {PATIENCE} s: `{self._command}`{self._last_words()}") from None

    @property
    def running(self) -> bool:
        """False once it has ended."""
        return self._process.poll() is None

    def freeze(self) -> None:
        """Stop it where it is; returns when it stands still."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def thaw(self) -> None:
        """Let it go on after a `freeze`."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill it and reap it; what it had said can still be taken."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass  # words that it did not read any more

    def _line(self, kind: str) -> queue.SimpleQueue[bytes | None]:
        with self._lines_lock:
            if kind not in self._lines:
                self._lines[kind] = queue.SimpleQueue()
                if self._ended:
                    self._lines[kind].put(None)
            return self._lines[kind]

    def _read(self, read: Read) -> None:
        assert self._process.stdout is not None  # a pipe: see __init__
        try:
            read(self._process.stdout, lambda kind, word: self._line(kind).put(word))
        finally:
            with self._lines_lock:
                self._ended = True
                for line in self._lines.values():
                    line.put(None)

    def _last_words(self) -> str:
        if self._stderr.closed:
            return ""
        # pread: the file's offset is the child's too.
        words = os.pread(self._stderr.fileno(), 4096, 0).decode(errors="replace").strip()
        return f"; it said:\n{words}" if words else ""


def _tied_to_us() -> list[str]:
    """The words before a command that make the kernel kill it with us, where there are such."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
