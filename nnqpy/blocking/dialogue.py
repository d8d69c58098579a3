"""Req, Rep, Surveyor and Respondent in the blocking face, and their contexts.

A socket is a context too: what it has beyond a context is its endpoints, and the calls that need no state.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Self

from nnqpy.blocking.sockets import Flushing, Incoming
from nnqpy.errors import Closed, ForkedError, StateError, TimedOut
from nnqpy.kinds.dialogue import (
    CLOSED,
    OVER,
    REPLACED,
    TAKEN,
    AnswersKind,
    QuestionsKind,
    ReqKind,
    SurveyorKind,
    answer,
    check_concurrency,
    check_retries,
    check_unanswered,
    failed,
    survey_over,
)
from nnqpy.message import frozen
from nnqpy.waiting import Until, deadline_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import EllipsisType, TracebackType

    from nnqpy.kinds.dialogue import OnError
    from nnqpy.message import Body, Message
    from nnqpy.routing.questions import Question

    Handler = Callable[[bytes], Body | None]


class QuestionsSocket(QuestionsKind, Flushing, Incoming):
    """A socket that asks."""

    def _await_reply(self, question: Question, deadline: float | None) -> bytes | None:
        """Wait for a reply; None when the time is over first."""
        turns, reader = self._turns, self._reader
        self._before_waiting()
        while True:
            in_time = reader.wait(deadline, question, question.line)
            if (reply := self._reply(question)) is not None:
                return reply
            turns.check_open()
            check_unanswered(question)
            if not in_time:
                return None


class _Context:
    """What is used within `with`."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Asking:
    """One request at a time: a Req, or a context of it."""

    _home: ReqSocket
    _question: Question | None = None
    _again_after: float | None

    def send(self, body: Body, *, timeout: float | None = None) -> None:
        """Send a request; one that was open here before is given up.

        Args:
            body: any contiguous bytes-like object.
            timeout: seconds to wait for room in the send queue; None: for ever.

        Raises:
            TimedOut: no room in time; ``.reason`` is ``"no_peer"`` or ``"queue_full"``. No request is open then.
            TypeError: `body` is no message.
            Closed: the socket is closed, or was during the call.
        """
        home = self._home
        question = home._open_request(body, self._again_after)
        self._give_up(REPLACED)
        try:
            home._queue(question.payload, timeout)
            home._sent(question, self._again_after)
        except BaseException:
            home._close_question(question, REPLACED)
            raise
        self._question = question

    def recv(self, *, timeout: float | None = None) -> bytes:
        """Wait for the reply to the request. A time that is over leaves the request open: `recv` again goes on.

        Raises:
            StateError: no request is open here; or it was given up, or answered, in another thread meanwhile.
            PeerGone: the peer that had the request is gone, and it is sent only once (``resend_time=None``).
            TimedOut: no reply within `timeout` seconds.
            Closed: the socket is closed, or was during the call.
        """
        home = self._home
        question = home._asked(self._question, "request")
        deadline = deadline_of(timeout)
        reply = home._await_reply(question, deadline)
        if reply is None:
            raise home._no_reply(timeout)
        self._question = None
        home._close_question(question, TAKEN)
        return reply

    def request(self, body: Body, *, timeout: float | None = None, retries: int = 0) -> bytes:
        """Send a request and wait for its reply; any number of threads may, at the same time.

        It is no business of `send` and `recv`.

        Args:
            body: any contiguous bytes-like object.
            timeout: seconds for each attempt; None: for ever.
            retries: times that the request is sent once more after a `timeout`, with the same number, so that the reply
                to any of them counts; whoever answers may see it more than once.

        Raises:
            TimedOut: no reply in any attempt; or, by its ``.reason``, no room in the send queue.
            PeerGone: as in `recv`.
            TypeError: `body` is no message.
            Closed: the socket is closed, or was during the call.
        """
        check_retries(retries)
        home = self._home
        deadline = deadline_of(timeout)
        question = home._open_request(body, self._again_after)
        try:
            home._queue(question.payload, timeout)
            home._sent(question, self._again_after)
            attempts = 0
            while True:
                reply = home._await_reply(question, deadline)
                if reply is not None:
                    return reply
                attempts += 1
                if attempts > retries:
                    raise home._no_reply(timeout, attempts)
                deadline = deadline_of(timeout)
                home._ask_again(question)
        finally:
            home._forget(question)

    def _give_up(self, why: str) -> None:
        question, self._question = self._question, None
        if question is not None:
            self._home._close_question(question, why)


class ReqContext(Asking, _Context):
    """One request at a time, beside those of the socket's other contexts. For one thread at a time."""

    def __init__(self, home: ReqSocket, again_after: float | None) -> None:
        self._home = home
        self._again_after = again_after

    def close(self) -> None:
        """Give the open request up, if there is one."""
        self._give_up(CLOSED)


class ReqSocket(ReqKind, Asking, QuestionsSocket):
    """A Req in the blocking face."""

    @property
    def _home(self) -> ReqSocket:  # type: ignore[override]  # its own
        return self

    @property
    def _again_after(self) -> float | None:  # type: ignore[override]  # an option
        return self._resend_time

    def context(self, *, resend_time: float | EllipsisType | None = ...) -> ReqContext:
        """Return a context: its requests are its own, the connections are the socket's.

        Args:
            resend_time: as the socket's option; left out: the socket's.

        Raises:
            Closed: the socket is closed.
        """
        self._turns.check_open()
        return ReqContext(self, self._resend_time_for(resend_time))


class Survey(_Context):
    """The replies to one survey, until its deadline; iterate over it."""

    def __init__(self, home: SurveyorSocket, question: Question, deadline: float) -> None:
        self._home = home
        self._question = question
        self._deadline = deadline

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        home, question = self._home, self._question
        while not home._end_if_due(question, self._deadline):
            try:
                reply = home._await_reply(question, self._deadline)
            except (StateError, TimedOut):
                break  # ended in another thread
            if reply is not None:
                return reply
        raise StopIteration

    def close(self) -> None:
        """End the survey before its deadline: further replies are discarded."""
        self._home._close_question(self._question, CLOSED)


class Surveying:
    """One survey at a time: a Surveyor, or a context of it."""

    _home: SurveyorSocket
    _survey_now: Survey | None = None

    def send(self, body: Body, *, deadline: float | None = None) -> None:
        """Send a survey to all Respondents; one that was open here before is given up. It waits for nothing.

        Args:
            body: any contiguous bytes-like object.
            deadline: seconds that the survey is open for, from now; None: the socket's `survey_time`.

        Raises:
            TypeError: `body` is no message.
            Closed: the socket is closed.
        """
        survey = self.survey(body, deadline=deadline)
        self._give_up(REPLACED)
        self._survey_now = survey

    def recv(self, *, timeout: float | None = None) -> bytes:
        """Wait for one reply to the survey that is open.

        Raises:
            TimedOut: the survey's deadline came (``.reason`` is ``"survey_over"``; it is then no longer open), or
                `timeout` seconds were over before (``"no_reply"``; it still is).
            StateError: no survey is open here; or it was given up in another thread meanwhile.
            Closed: the socket is closed, or was during the call.
        """
        home, survey = self._home, self._survey_now
        question = home._asked(None if survey is None else survey._question, "survey")
        assert survey is not None  # was checked
        until = survey._deadline
        deadline = deadline_of(timeout)
        first = until if deadline is None else min(until, deadline)
        while not home._end_if_due(question, until) or question.over is not OVER:
            reply = home._await_reply(question, first)
            if reply is not None:
                return reply
            if monotonic() < until:
                raise home._no_reply(timeout)
        home._turns.check_open()
        if self._survey_now is survey:
            self._survey_now = None
        raise survey_over()

    def survey(self, body: Body, *, deadline: float | None = None) -> Survey:
        """Send a survey; iterate over what it returns to have the replies, until the deadline.

        Any number of threads may, at the same time; it is no business of `send` and `recv`.

        Args:
            body: any contiguous bytes-like object.
            deadline: seconds that the survey is open for, from now; None: the socket's `survey_time`.

        Raises:
            TypeError: `body` is no message.
            Closed: the socket is closed; from the iterator: was closed meanwhile.
        """
        home = self._home
        return Survey(home, *home._survey(body, deadline))

    def _give_up(self, why: str) -> None:
        survey, self._survey_now = self._survey_now, None
        if survey is not None:
            self._home._close_question(survey._question, why)


class SurveyorContext(Surveying, _Context):
    """One survey at a time, beside those of the socket's other contexts. For one thread at a time."""

    def __init__(self, home: SurveyorSocket) -> None:
        self._home = home

    def close(self) -> None:
        """Give the open survey up, if there is one."""
        self._give_up(CLOSED)


class SurveyorSocket(SurveyorKind, Surveying, QuestionsSocket):
    """A Surveyor in the blocking face."""

    @property
    def _home(self) -> SurveyorSocket:  # type: ignore[override]  # its own
        return self

    def context(self) -> SurveyorContext:
        """Return a context: its surveys are its own, the connections are the socket's.

        Raises:
            Closed: the socket is closed.
        """
        self._turns.check_open()
        return SurveyorContext(self)


class Answering:
    """One request at a time is answered: a Rep or a Respondent, or a context of it."""

    _home: AnswersSocket
    _route: Message | None = None
    _receiving = False

    def recv(self, *, timeout: float | None = None) -> bytes:
        """Wait for a request; one that was not answered here is forgotten.

        Args:
            timeout: seconds; None: for ever; 0: take only what is there.

        Raises:
            TimedOut: there was none in time.
            StateError: another thread is in this call; many at a time need a context each.
            Closed: the socket is closed, or was during the call.
        """
        if self._receiving:
            raise StateError("another thread receives here; take a context for each")
        self._receiving = True
        try:
            request: Message = self._home._next(timeout)
            self._route = request
        finally:
            self._receiving = False
        return request.body

    def send(self, body: Body, *, timeout: float | None = None) -> None:
        """Answer the request that was received last, to whoever has sent it, if it is still there.

        Args:
            body: any contiguous bytes-like object.
            timeout: seconds to wait if `send_hwm` answers wait for that peer already; None: for ever.

        Raises:
            StateError: there is no request to answer, or it is answered.
            TimedOut: no room in time. The request can still be answered.
            TypeError: `body` is no message.
            Closed: the socket is closed, or was during the call.
        """
        home = self._home
        request = home._asked_by(self._route)
        home._queue(answer(request, frozen(body)), timeout)
        self._route = None


class AnswersContext(Answering, _Context):
    """One request at a time, beside those of the socket's other contexts. For one thread at a time."""

    def __init__(self, home: AnswersSocket) -> None:
        self._home = home

    def close(self) -> None:
        """Forget the request, if it is not answered."""
        self._route = None


class AnswersSocket(AnswersKind, Answering, Flushing, Incoming):
    """A Rep or a Respondent in the blocking face."""

    @property
    def _home(self) -> AnswersSocket:  # type: ignore[override]  # its own
        return self

    def context(self) -> AnswersContext:
        """Return a context: whom it answers is its own affair, the requests come from all of the socket's peers.

        Raises:
            Closed: the socket is closed.
        """
        self._turns.check_open()
        return AnswersContext(self)

    def serve(self, handler: Handler, *, concurrency: int = 1, on_error: OnError | None = None) -> None:
        """Answer requests by `handler` until the socket is closed; then return.

        Args:
            handler: called with a request's body; what it returns is the answer, None is none.
            concurrency: requests at a time; all but one are served in threads of their own.
            on_error: called with a request's body and what the handler raised; what it returns is the answer, None is
                none. Without it the error is logged, and there is no answer.

        Raises:
            BaseException: what `on_error` raises, and what a handler raises that is no `Exception`, ends the serving.
        """
        check_concurrency(concurrency)
        until = Until(self._inbox)
        errors: list[BaseException] = []

        def work() -> None:
            try:
                self._serve(handler, until, on_error)
            except BaseException as error:
                errors.append(error)
                raise
            finally:
                until.over = True
                self._turns.alarm()

        def work_beside() -> None:
            with suppress(BaseException):  # told by the one who has called
                work()

        threads = [
            threading.Thread(target=work_beside, name="nnqpy-serve", daemon=True) for _ in range(concurrency - 1)
        ]
        for thread in threads:
            thread.start()
        try:
            work()
        finally:
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]

    def _serve(self, handler: Handler, until: Until, on_error: OnError | None) -> None:
        while not until.over:
            try:
                request: Message = self._next(None, until)
            except ForkedError:
                raise
            except (Closed, TimedOut):
                return  # closed; or somebody else has ended it
            try:
                reply = handler(request.body)
            except Exception as error:  # the user's own: one request must not end the service
                reply = failed(request, error, on_error)
            if reply is not None:
                try:
                    self._answer_now(request, reply)
                except Closed:
                    return
