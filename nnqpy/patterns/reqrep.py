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
from nnqpy.routing.core import NEVER
from nnqpy.routing.questions import Questions
from nnqpy.routing.reply_path import ReplyPath
from nnqpy.routing.requests import Requests
from nnqpy.routing.send_pump import SendPump

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nnqpy.options import Options
    from nnqpy.routing.core import Peer
    from nnqpy.routing.questions import Question

_due = attrgetter("due")


class ReqCore(SendPump, Questions):
    """Asks; each request is with one peer at a time."""

    proto = Proto.REQ

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.resent = 0
        """Requests that were sent once more."""

    def schedule(self, question: Question, now: float, again_after: float, remind: Callable[[float], None]) -> None:
        """Have a request sent again after so many seconds; if nobody comes to look before that, `remind` somebody."""
        with self.lock:
            question.again_after, question.due = again_after, now + again_after
            if question.due < self.timer:
                # Before it is noted: interrupted in between, somebody comes for nothing, and nobody relies on it.
                remind(question.due)
                self.timer = question.due

    def on_time(self, now: float) -> float:
        """Send again what is due; return when the next is."""
        due = [one for one in self.open() if one.due <= now and not one]
        for question in due:
            self.again(question)
            question.due = now + (question.again_after or 0.0)
        with self.lock:
            # Who asks from here on compares with the timer that we set now.
            self.timer = min(map(_due, filterfalse(bool, self.open())), default=NEVER)
        return self.timer

    def again(self, question: Question) -> None:
        """Queue a request once more; one that was not even written yet still stands in the queue."""
        with self.lock:
            if question.peer:
                if len(question.payload) > self.small:
                    self.weigh(len(question.payload))
                # A commit: no signal handler runs before the one call in it is over.
                question.peer = 0
                self.resent += 1
                self.outbox.append(question.payload)

    def _went(self, peer: Peer, bodies: Sequence[bytes], whole: int) -> None:
        for place in range(whole):
            question = self.find(bodies[place])
            if question is not None:
                question.peer = peer.id

    def _recover(self) -> None:
        """What a dead peer had and did not answer goes to another, or fails if it may be sent only once."""
        for peer in tuple(self.lost_out):
            with self.lock:
                body = peer.begun
                if body is not None and peer.rest_went():
                    self._book_begun(peer, body)  # it has that one, too
            if self.look >= 0:  # closed: nobody waits any more
                self._bereave(peer)
        super()._recover()

    def _bereave(self, peer: Peer) -> None:
        for question in self.open():
            if question.peer != peer.id or question:
                continue
            if question.again_after is not None:
                self.again(question)
            else:
                self.end(question, "the peer that had the request is gone, and it is sent only once (resend_time=None)")


class RepCore(ReplyPath, Requests):
    """Answers, each request by the way it came."""

    proto = Proto.REP
