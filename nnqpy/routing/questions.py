"""Questions: replies find who asked by a number, whichever peer they come from (Req, Surveyor).

What arrives goes to the inbox as ever, and from there, by one C call a reply, to the question with its number. A reply
that nobody asked for, or asks for no more, is discarded and counted.
"""

from __future__ import annotations

from collections import deque
from itertools import count, starmap
from random import getrandbits
from typing import TYPE_CHECKING, Final
from weakref import ref

from nnqpy.errors import Reason
from nnqpy.routing.backtrace import WORD
from nnqpy.routing.core import NEVER, SocketCore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nnqpy.options import Options
    from nnqpy.routing.core import Peer, Waiter

SWEEP: Final = 1024
"""Questions after which the table is looked through for those that nobody has any more."""
_ONE: Final = ((),)


class Question:
    """A request or a survey that is open, and the replies to it that nobody has taken yet.

    It is true as soon as it makes no sense to wait for it any longer.
    """

    __slots__ = ("__weakref__", "again_after", "due", "key", "limit", "line", "over", "payload", "peer", "queue")

    def __init__(self, key: bytes, body: bytes, limit: int) -> None:
        self.key = key
        """The number, as it stands on the wire."""
        self.payload = key + body
        self.queue: deque[bytes] = deque()
        """Replies, each with the number in front."""
        self.limit = limit
        """Replies that may wait here."""
        self.line: deque[Waiter] = deque()
        """Those who wait for a reply; all are woken together."""
        self.over = ""
        """Why there will be no reply any more; empty: there may be."""
        self.again_after: float | None = None
        """Seconds after which it is sent again; None: never."""
        self.due = NEVER
        """When it is sent again (`monotonic` seconds)."""
        self.peer = 0
        """Who has it; 0: it was not written yet."""

    def __bool__(self) -> bool:
        return bool(self.queue or self.over)

    def wake(self) -> None:
        """Have those who wait look."""
        for waiter in tuple(self.line):
            waiter.wake()

    def end(self, why: str) -> None:
        """Say why there will be no reply any more."""
        self.over = why
        self.wake()


class Questions(SocketCore):
    """Receives replies by number."""

    receives = True
    surplus = "duplicate_reply"
    """Why a reply is discarded when enough of them wait."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.questions: dict[bytes, ref[Question]] = {}
        """Those that are open, by number. Who asked holds them: one that nobody holds is forgotten."""
        self._numbers: Iterator[int] = count(getrandbits(31))
        self.alert: Callable[[], None] = _nobody
        """Makes who reads the peers look up: it may be the one who waits for a question that has ended."""
        self._told: Question | None = None
        """Whose reply was moved, and whose askers may not have been told."""

    def ask(self, body: bytes, limit: int) -> Question:
        """Open a question; what is to be sent is its `payload`."""
        while True:
            number = next(self._numbers)
            key = (number & 0x7FFFFFFF | 0x80000000).to_bytes(WORD, "big")
            question = Question(key, body, limit)
            mine = ref(question)
            if not number % SWEEP:
                self._sweep()
            if self.questions.setdefault(key, mine) is mine:
                return question

    def _sweep(self) -> None:
        for key, one in list(self.questions.items()):
            if one() is None:
                self.questions.pop(key, None)

    def find(self, payload: bytes) -> Question | None:
        """Return the open question whose number a payload begins with."""
        one = self.questions.get(payload[:WORD])
        return None if one is None else one()

    def open(self) -> list[Question]:
        """Return the questions that are open."""
        return [question for one in list(self.questions.values()) if (question := one()) is not None]

    def forget(self, question: Question) -> bool:
        """Ask no longer: replies are discarded, and what has not left is taken back; True if there was something."""
        withdrawn = False
        if self.questions.pop(question.key, None) is not None and not question.peer:
            with self.lock:
                withdrawn = self.withdraw(question.payload)
                if withdrawn and len(question.payload) > self.small:
                    self.weigh(len(question.payload), -1)
        return withdrawn

    def end(self, question: Question, why: str) -> None:
        """Say to all who wait for a reply that there will be none any more."""
        question.end(why)
        self.alert()

    def deliver(self, peer: Peer, bodies: list[bytes]) -> Iterable[bytes]:
        """Take what has a number; a peer that leaves it out speaks something else, and is closed."""
        if min(map(len, bodies)) >= WORD:
            return bodies
        place = next(place for place, payload in enumerate(bodies) if len(payload) < WORD)
        detail = f"a reply of {len(bodies[place])} bytes; the number in front of the body is {WORD} bytes"
        self.lose(peer, Reason.HEADER_MISSING, detail)
        return bodies[:place]

    def sort(self) -> None:
        """In-turn held: give each reply in the inbox to its question."""
        if self._told is not None:
            self._told.wake()
            self._told = None
        inbox = self.inbox
        while inbox:
            try:
                question = self.find(inbox[0])
                if question is None:
                    self._discard_reply("unknown_request")
                elif len(question.queue) >= question.limit:
                    self._discard_reply(self.surplus)
                else:
                    # Noted before it moves: if an interrupt comes in between, the next holder of the turn tells them.
                    self._told = question
                    question.queue.extend(starmap(inbox.popleft, _ONE))
                    question.wake()
                    self._told = None
            except IndexError:
                return  # a close has cleared the inbox meanwhile

    def _discard_reply(self, why: str) -> None:
        self.discard(why, 1)
        self.inbox.popleft()

    @property
    def readable(self) -> bool:
        """Whether there is a reply to take."""
        return any(question.queue for question in self.open())

    @property
    def unread(self) -> int:
        """Replies received that nobody has taken yet."""
        waiting = super().unread
        for question in self.open():
            waiting += len(question.queue)
        return waiting

    def clear(self) -> None:
        """The socket is closed: what nobody took, nobody gets."""
        super().clear()
        for question in self.open():
            question.queue.clear()


def _nobody() -> None:
    """Nobody reads yet."""
