"""Req, Rep, Surveyor and Respondent in the task faces, and their contexts.

A socket is a context too: what it has beyond a context is its endpoints, and the calls that need no state.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from inspect import isawaitable
from time import monotonic
from typing import TYPE_CHECKING, Self

from nnqpy.awaiting.sockets import TaskFlushing, TaskIncoming
from nnqpy.base import MANY
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
from nnqpy.waiting import deadline_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import EllipsisType, TracebackType

    from nnqpy.kinds.dialogue import OnError
    from nnqpy.message import Body, Message
    from nnqpy.routing.questions import Question

    Handler = Callable[[bytes], Body | Awaitable[Body | None] | None]


class TaskQuestionsSocket(QuestionsKind, TaskFlushing, TaskIncoming):
    """A socket that asks."""

    async def _await_reply(self, question: Question, deadline: float | None) -> bytes | None:
        """Wait for a reply; None when the time is over first. Cancelled, it has taken none."""
        while True:
            in_time = await self._fill(deadline, question, question.line)
            if (reply := self._reply(question)) is not None:
                return reply
            self._turns.check_open()
            check_unanswered(question)
            if not in_time:
                return None


class _Context:
    """What is used within `async with`."""

    @abstractmethod
    def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TaskAsking:
    """One request at a time: a Req, or a context of it."""

    _home: TaskReqSocket
    _question: Question | None = None
    _again_after: float | None

    async def send(self, body: Body, *, timeout: float | None = None) -> None:
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
        await home.enter()
        question = home._open_request(body, self._again_after)
        self._give_up(REPLACED)
        try:
            await home._queue(question.payload, timeout)
            home._sent(question, self._again_after)
        except BaseException:
            home._close_question(question, REPLACED)
            raise
        self._question = question

    async def recv(self, *, timeout: float | None = None) -> bytes:
        """Wait for the reply to the request. A time that is over leaves the request open: `recv` again goes on.

        Raises:
            StateError: no request is open here; or it was given up, or answered, in another task meanwhile.
            PeerGone: the peer that had the request is gone, and it is sent only once (``resend_time=None``).
            TimedOut: no reply within `timeout` seconds.
            Closed: the socket is closed, or was during the call.
        """
        home = self._home
        await home.enter()
        question = home._asked(self._question, "request")
        deadline = deadline_of(timeout)
        reply = await home._await_reply(question, deadline)
        if reply is None:
            raise home._no_reply(timeout)
        self._question = None
        home._close_question(question, TAKEN)
        return reply

    async def request(self, body: Body, *, timeout: float | None = None, retries: int = 0) -> bytes:
        """Send a request and wait for its reply; any number of tasks may, at the same time.

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
        await home.enter()
        deadline = deadline_of(timeout)
        question = home._open_request(body, self._again_after)
        try:
            await home._queue(question.payload, timeout, awaited=True)
            home._sent(question, self._again_after)
            attempts = 0
            while True:
                reply = await home._await_reply(question, deadline)
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


class TaskReqContext(TaskAsking, _Context):
    """One request at a time, beside those of the socket's other contexts. For one task at a time."""

    def __init__(self, home: TaskReqSocket, again_after: float | None) -> None:
        self._home = home
        self._again_after = again_after

    def close(self) -> None:
        """Give the open request up, if there is one."""
        self._give_up(CLOSED)


class TaskReqSocket(ReqKind, TaskAsking, TaskQuestionsSocket):
    """A Req in the task faces."""

    @property
    def _home(self) -> TaskReqSocket:  # type: ignore[override]  # its own
        return self

    @property
    def _again_after(self) -> float | None:  # type: ignore[override]  # an option
        return self._resend_time

    def context(self, *, resend_time: float | EllipsisType | None = ...) -> TaskReqContext:
        """Return a context: its requests are its own, the connections are the socket's.

        Args:
            resend_time: as the socket's option; left out: the socket's.

        Raises:
            Closed: the socket is closed.
        """
        self._turns.check_open()
        return TaskReqContext(self, self._resend_time_for(resend_time))


class TaskSurvey(_Context):
    """The replies to one survey, until its deadline; iterate over it."""

    def __init__(self, home: TaskSurveyorSocket, question: Question, deadline: float) -> None:
        self._home = home
        self._question = question
        self._deadline = deadline

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        home, question = self._home, self._question
        await home.enter()
        while not home._end_if_due(question, self._deadline):
            try:
                reply = await home._await_reply(question, self._deadline)
            except (StateError, TimedOut):
                break  # ended in another task
            if reply is not None:
                return reply
        raise StopAsyncIteration

    def close(self) -> None:
        """End the survey before its deadline: further replies are discarded."""
        self._home._close_question(self._question, CLOSED)


class TaskSurveying:
    """One survey at a time: a Surveyor, or a context of it."""

    _home: TaskSurveyorSocket
    _survey_now: TaskSurvey | None = None

    async def send(self, body: Body, *, deadline: float | None = None) -> None:
        """Send a survey to all Respondents; one that was open here before is given up. It waits for nothing.

        Args:
            body: any contiguous bytes-like object.
            deadline: seconds that the survey is open for, from now; None: the socket's `survey_time`.

        Raises:
            TypeError: `body` is no message.
            Closed: the socket is closed.
        """
        await self._home.enter()
        survey = self.survey(body, deadline=deadline)
        self._give_up(REPLACED)
        self._survey_now = survey

    async def recv(self, *, timeout: float | None = None) -> bytes:
        """Wait for one reply to the survey that is open.

        Raises:
            TimedOut: the survey's deadline came (``.reason`` is ``"survey_over"``; it is then no longer open), or
                `timeout` seconds were over before (``"no_reply"``; it still is).
            StateError: no survey is open here; or it was given up in another task meanwhile.
            Closed: the socket is closed, or was during the call.
        """
        await self._home.enter()
        home, survey = self._home, self._survey_now
        question = home._asked(None if survey is None else survey._question, "survey")
        assert survey is not None  # was checked
        until = survey._deadline
        deadline = deadline_of(timeout)
        first = until if deadline is None else min(until, deadline)
        while not home._end_if_due(question, until) or question.over is not OVER:
            reply = await home._await_reply(question, first)
            if reply is not None:
                return reply
            if monotonic() < until:
                raise home._no_reply(timeout)
        home._turns.check_open()
        if self._survey_now is survey:
            self._survey_now = None
        raise survey_over()

    def survey(self, body: Body, *, deadline: float | None = None) -> TaskSurvey:
        """Send a survey; iterate over what it returns to have the replies, until the deadline.

        Any number of tasks may, at the same time; it is no business of `send` and `recv`.

        Args:
            body: any contiguous bytes-like object.
            deadline: seconds that the survey is open for, from now; None: the socket's `survey_time`.

        Raises:
            TypeError: `body` is no message.
            Closed: the socket is closed; from the iterator: was closed meanwhile.
        """
        home = self._home
        return TaskSurvey(home, *home._survey(body, deadline))

    def _give_up(self, why: str) -> None:
        survey, self._survey_now = self._survey_now, None
        if survey is not None:
            self._home._close_question(survey._question, why)


class TaskSurveyorContext(TaskSurveying, _Context):
    """One survey at a time, beside those of the socket's other contexts. For one task at a time."""

    def __init__(self, home: TaskSurveyorSocket) -> None:
        self._home = home

    def close(self) -> None:
        """Give the open survey up, if there is one."""
        self._give_up(CLOSED)


class TaskSurveyorSocket(SurveyorKind, TaskSurveying, TaskQuestionsSocket):
    """A Surveyor in the task faces."""

    @property
    def _home(self) -> TaskSurveyorSocket:  # type: ignore[override]  # its own
        return self

    def context(self) -> TaskSurveyorContext:
        """Return a context: its surveys are its own, the connections are the socket's.

        Raises:
            Closed: the socket is closed.
        """
        self._turns.check_open()
        return TaskSurveyorContext(self)


class TaskAnswering:
    """One request at a time is answered: a Rep or a Respondent, or a context of it."""

    _home: TaskAnswersSocket
    _route: Message | None = None
    _receiving = False

    async def recv(self, *, timeout: float | None = None) -> bytes:
        """Wait for a request; one that was not answered here is forgotten.

        Args:
            timeout: seconds; None: for ever; 0: take only what is there.

        Raises:
            TimedOut: there was none in time.
            StateError: another task is in this call; many at a time need a context each.
            Closed: the socket is closed, or was during the call.
        """
        if self._receiving:
            raise StateError("another task receives here; take a context for each")
        self._receiving = True
        try:
            await self._home.enter()
            request: Message = await self._home._next(timeout)
            self._route = request
        finally:
            self._receiving = False
        return request.body

    async def send(self, body: Body, *, timeout: float | None = None) -> None:
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
        await home.enter()
        request = home._asked_by(self._route)
        await home._queue(answer(request, frozen(body)), timeout)
        self._route = None


class TaskAnswersContext(TaskAnswering, _Context):
    """One request at a time, beside those of the socket's other contexts. For one task at a time."""

    def __init__(self, home: TaskAnswersSocket) -> None:
        self._home = home

    def close(self) -> None:
        """Forget the request, if it is not answered."""
        self._route = None


class TaskAnswersSocket(AnswersKind, TaskAnswering, TaskFlushing, TaskIncoming):
    """A Rep or a Respondent in the task faces."""

    @property
    def _home(self) -> TaskAnswersSocket:  # type: ignore[override]  # its own
        return self

    def context(self) -> TaskAnswersContext:
        """Return a context: whom it answers is its own affair, the requests come from all of the socket's peers.

        Raises:
            Closed: the socket is closed.
        """
        self._turns.check_open()
        return TaskAnswersContext(self)

    async def serve(self, handler: Handler, *, concurrency: int = 1, on_error: OnError | None = None) -> None:
        """Answer requests by `handler` until the socket is closed; then return. Cancelled, it stops serving.

        Args:
            handler: called with a request's body, and awaited if that gives something to await; what it returns is the
                answer, None is none.
            concurrency: requests at a time, each in a task of its own.
            on_error: called with a request's body and what the handler raised; what it returns is the answer, None is
                none. Without it the error is logged, and there is no answer.

        Raises:
            BaseException: what `on_error` raises, and what a handler raises that is no `Exception`, ends the serving;
                in a group of exceptions if `concurrency` is more than 1.
        """
        check_concurrency(concurrency)
        if concurrency == 1:
            await self._serve(handler, on_error)
        else:
            await self._together([partial(self._serve, handler, on_error)] * concurrency)

    def _see_to_it(self) -> None:
        if len(self._outbox) >= MANY:
            self._turns.write()
        else:
            self._promise()  # what the tasks answer before the loop turns is written together

    async def _serve(self, handler: Handler, on_error: OnError | None) -> None:
        while True:
            await self.enter()
            try:
                request: Message = await self._next(None)
            except ForkedError:
                raise
            except Closed:
                return
            try:
                reply = handler(request.body)
                if isawaitable(reply):
                    reply = await reply
            except Exception as error:  # the user's own: one request must not end the service
                reply = failed(request, error, on_error)
            if reply is not None:
                try:
                    self._answer_now(request, reply)
                except Closed:
                    return
