"""Req, Rep, Surveyor and Respondent: how a question is opened and closed, and an answer addressed."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from nnqpy import reactor
from nnqpy.base import NEVER, BaseSocket
from nnqpy.errors import PeerGone, StateError, TimedOut
from nnqpy.message import Addressed, frozen
from nnqpy.options import check_seconds
from nnqpy.patterns.reqrep import RepCore, ReqCore
from nnqpy.patterns.survey import RespondentCore, SurveyorCore
from nnqpy.routing.backtrace import WORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import EllipsisType
    from typing import Unpack

    from nnqpy.base import Common
    from nnqpy.message import Body, Message
    from nnqpy.options import Options
    from nnqpy.routing.core import SocketCore
    from nnqpy.routing.questions import Question, Questions

    OnError = Callable[[bytes, Exception], Body | None]

log = logging.getLogger(__name__)

TAKEN: Final = "its reply was taken by another call"
REPLACED: Final = "it was given up for a later one"
CLOSED: Final = "its context was closed"
OVER: Final = "its deadline has come"


class QuestionsKind(BaseSocket):
    """A socket that asks, less the face."""

    _questions: Questions

    def __init__(self, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self._questions.alert = self._turns.into.alert

    def _make_core(self, options: Options) -> SocketCore:
        core = super()._make_core(options)
        self._questions = cast("Questions", core)
        return core

    def _open(self, body: Body) -> Question:
        raise NotImplementedError

    def _close_question(self, question: Question, why: str) -> None:
        self._forget(question)
        self._questions.end(question, why)
        self._turns.level()

    def _forget(self, question: Question) -> None:
        """Ask no longer; if it was taken out of the queue, those who wait for room get it."""
        out = self._turns.out
        if self._questions.forget(question):
            out.alert()
            out.wake()

    def _asked(self, question: Question | None, what: str) -> Question:
        """Return the open question, or say that there is none."""
        if question is None:
            self._turns.check_open()
            raise StateError(f"no {what} is open here: send one first")
        return question

    def _reply(self, question: Question) -> bytes | None:
        """Take a reply, if one is there; interrupted by a signal, it has taken none."""
        try:
            for payload in iter(question.queue.popleft, NEVER):
                try:
                    self._turns.level()
                except BaseException:
                    question.queue.appendleft(payload)
                    raise
                return payload[WORD:]
        except IndexError:
            pass
        return None

    def _no_reply(self, timeout: float | None, attempts: int = 1) -> TimedOut:
        """Return the error that says that nobody has answered."""
        text = f"no reply within {timeout} s"
        if attempts > 1:
            text += f", asked {attempts} times"
        if not self._core.peers:
            text += f"; {self._lonely_text()}"
        return TimedOut(text, timeout=timeout or 0.0, reason="no_reply")


class ReqKind(QuestionsKind):
    """A Req, less the face."""

    _pattern = ReqCore
    _core: ReqCore

    def __init__(self, *, resend_time: float | None = 60.0, **common: Unpack[Common]) -> None:
        """Make a socket; `common` is what every socket takes.

        Args:
            resend_time: seconds after which a request without a reply is sent again, to whoever has room; it also is
                when the peer that has it dies. None: a request is sent once, and fails with its peer.
            common: as `BaseSocket`.
        """
        check_resend_time(resend_time)
        self._resend_time = resend_time
        super().__init__(**common)

    def _open_request(self, body: Body, again_after: float | None) -> Question:
        question = self._open(body)
        question.again_after = again_after  # now: as soon as it is queued it may be written, and its peer may die
        return question

    def _open(self, body: Body) -> Question:
        self._turns.check_open()
        return self._core.ask(frozen(body), 1)

    def _resend_time_for(self, given: float | EllipsisType | None) -> float | None:
        """What a context was given, or the socket's own."""
        if given is ...:
            return self._resend_time
        check_resend_time(given)
        return given

    def _sent(self, question: Question, again_after: float | None) -> None:
        """A request is queued: see that it will be sent again."""
        if again_after is not None:
            self._core.schedule(question, monotonic(), again_after, self._remind)

    def _remind(self, at: float) -> None:
        reactor.janitor().remind(self._turns, at)

    def _ask_again(self, question: Question) -> None:
        """Send a request that may be lost to whoever has room."""
        self._core.again(question)
        self._turns.write()

    @property
    def resent(self) -> int:
        """Requests that were sent once more, so far."""
        return self._core.resent


def check_resend_time(seconds: object) -> None:
    """Refuse what is no time to wait before a request is sent again."""
    if seconds is None:
        return
    check_seconds("resend_time", seconds)
    if not seconds:
        raise ValueError("resend_time is more than 0 seconds, or None for a request that is sent once")


def check_retries(retries: object) -> None:
    """Refuse what is no number of further attempts."""
    if not isinstance(retries, int) or isinstance(retries, bool):
        raise TypeError(f"retries is a number of further attempts (int), not {retries!r}")
    if retries < 0:
        raise ValueError(f"retries is at least 0 further attempts, not {retries}")


def check_unanswered(question: Question) -> None:
    """Say why there will be no reply, if that is so."""
    if question.over and not question.queue:
        if question.over is OVER:
            raise survey_over()
        if question.over in (TAKEN, REPLACED, CLOSED):
            raise StateError(f"the reply will not come here: {question.over}")
        raise PeerGone(question.over)


class SurveyorKind(QuestionsKind):
    """A Surveyor, less the face."""

    _pattern = SurveyorCore

    def __init__(self, *, survey_time: float = 1.0, **common: Unpack[Common]) -> None:
        """Make a socket; `common` is what every socket takes.

        Args:
            survey_time: seconds that a survey is open for, from when it is sent.
            common: as `BaseSocket`; `send_hwm` is per peer, `recv_hwm` per survey: further replies are discarded.
        """
        check_survey_time("survey_time", survey_time)
        self._survey_time = survey_time
        super().__init__(**common)

    def _open(self, body: Body) -> Question:
        self._turns.check_open()
        return self._questions.ask(frozen(body), self._core.options.recv_hwm)

    def _survey(self, body: Body, seconds: float | None) -> tuple[Question, float]:
        """Send a survey; return it, and the `monotonic` second at which it is over. Waits for nothing."""
        if seconds is None:
            seconds = self._survey_time
        check_survey_time("deadline", seconds)
        question = self._open(body)
        self._turns.insert(question.payload, self._turns.write)  # who is behind misses it: there is nothing to wait for
        return question, monotonic() + seconds

    def _end_if_due(self, question: Question, deadline: float) -> bool:
        """At its deadline end a survey: what has come by now can still be taken, and no more; True if none is left."""
        if not question.over and monotonic() >= deadline:
            self._turns.read()
            self._close_question(question, OVER)
        return bool(question.over) and not (question.over is OVER and question.queue)


def check_survey_time(name: str, seconds: object) -> None:
    """Refuse what is no time for a survey."""
    check_seconds(name, seconds)
    if not seconds:
        raise ValueError(f"{name} is more than 0 seconds, not {seconds}")


def survey_over() -> TimedOut:
    """Return the error that says that a survey's deadline has come."""
    return TimedOut("the survey is over", timeout=0.0, reason="survey_over")


class AnswersKind(BaseSocket):
    """A socket that answers, less the face."""

    _core: RepCore | RespondentCore
    _specials = frozenset({"max_ttl"})
    _word = "request"

    def __init__(self, *, max_ttl: int = 8, **common: Unpack[Common]) -> None:
        """Make a socket; `common` is what every socket takes.

        Args:
            max_ttl: words of 4 bytes that a header may have, 1 to 15: one for the asker and one for each device on the
                way. What came further is dropped.
            common: as `BaseSocket`; `send_hwm` is per peer: an answer to one that is so far behind waits for it.
        """
        super().__init__(max_ttl=max_ttl, **common)

    def _asked_by(self, route: Message | None) -> Message:
        """Return the request that is to be answered, or say that there is none."""
        if route is None:
            self._turns.check_open()
            raise StateError(f"there is no {self._word} to answer: recv one first")
        return route

    def _answer_now(self, request: Message, body: Body) -> None:
        """Answer without waiting: one who does not take his answers misses those beyond `send_hwm`, and is counted."""
        payload = answer(request, frozen(body))
        if self._core.crowded(payload):
            self._core.miss(payload)
        else:
            self._turns.insert(payload, self._see_to_it)

    def _see_to_it(self) -> None:
        """Face hook: have what was inserted written."""
        self._turns.write()


def answer(request: Message, body: bytes) -> Addressed:
    """Return the payload that answers a request."""
    return Addressed.to(request.peer, request.header, body)


def failed(request: Message, error: Exception, on_error: OnError | None) -> Body | None:
    """A handler has failed: ask the user what to answer; None: nothing."""
    if on_error is not None:
        return on_error(request.body, error)
    log.error("handler-failed; the request stays without an answer", exc_info=error)
    return None


def check_concurrency(concurrency: object) -> None:
    """Refuse what is no number of requests to serve at a time."""
    if not isinstance(concurrency, int) or isinstance(concurrency, bool):
        raise TypeError(f"concurrency is a number of requests at a time (int), not {concurrency!r}")
    if concurrency < 1:
        raise ValueError(f"concurrency is at least 1 request at a time, not {concurrency}")


class RepKind(AnswersKind):
    """A Rep, less the face."""

    _pattern = RepCore


class RespondentKind(AnswersKind):
    """A Respondent, less the face."""

    _pattern = RespondentCore
    _word = "survey"
