"""Req and Rep (SP reqrep v0; nng ``src/sp/protocol/reqrep0``): a question, and one answer to it.

A request goes to whoever has room. It is sent again, with the same number, when the peer that has it dies and when
`resend_time` is over; so a Rep may see it twice. (nng does not advance the time after sending again, and then repeats
itself every second; we do.)
"""

from __future__ import annotations

from itertools import filterfalse
from operator import attrgetter
from typing import TYPE_CHECKING

from nnqpy.proto import Proto
from nnqpy.routing.backtrace import WORD
from nnqpy.routing.questions import Questions
from nnqpy.routing.reply_path import ReplyPath
from nnqpy.routing.requests import Requests
from nnqpy.routing.send_pump import SendPump

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnqpy.options import Options
    from nnqpy.routing.core import Peer
    from nnqpy.routing.questions import Question

NEVER = float("inf")

_due = attrgetter("due")


class ReqCore(SendPump, Questions):
    """Asks; each request is with one peer at a time."""

    proto = Proto.REQ

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.resent = 0
        """Requests that were sent once more."""
        self.timer = NEVER
        """When somebody comes to look which are due (`monotonic` seconds); changed with the lock held."""

    def schedule(self, question: Question, due: float) -> bool:
        """Have a request sent again at `due`; True if nobody comes to look before that."""
        with self.lock:
            question.due = due
            if due >= self.timer:
                return False
            self.timer = due
            return True

    def overdue(self, now: float) -> set[Question]:
        """Return the requests that are due now, and note when the next ones are."""
        waiting = list(filterfalse(bool, tuple(self.questions.values())))
        due = {one for one in waiting if one.due <= now}
        with self.lock:
            # Whoever asks from here on compares with the timer that we set now.
            later = filterfalse(due.__contains__, filterfalse(bool, tuple(self.questions.values())))
            self.timer = min(map(_due, later), default=NEVER)
        return due

    def again(self, question: Question) -> None:
        """Queue a request once more; one that was not even written yet still stands in the queue."""
        with self.lock:
            if question.peer:
                if len(question.payload) > self.small:
                    self.weigh(len(question.payload))
                self.outbox.append(question.payload)
                question.peer = 0
                self.resent += 1

    def _went(self, peer: Peer, bodies: Sequence[bytes], whole: int) -> None:
        for place in range(whole):
            question = self.questions.get(bodies[place][:WORD])
            if question is not None:
                question.peer = peer.id

    def _recover(self) -> None:
        """What a dead peer had and did not answer goes to another, or fails if it may be sent only once."""
        for peer in tuple(self.lost_out):
            for question in tuple(self.questions.values()):
                if question.peer != peer.id or question:
                    continue
                if question.due < NEVER:
                    self.again(question)
                else:
                    question.end("the peer that had the request is gone, and it is sent only once (resend_time=None)")
        super()._recover()


class RepCore(ReplyPath, Requests):
    """Answers, each request by the way it came."""

    proto = Proto.REP
