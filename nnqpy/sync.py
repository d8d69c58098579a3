"""The blocking face: every call waits in the caller's thread, and any thread may call.

A blocked call does the socket's I/O itself (see ``turns.py``), so it can be interrupted by a signal at any time
and loses nothing by it.
"""

from __future__ import annotations

from nnqpy.blocking.dialogue import AnswersSocket, ReqSocket, SurveyorSocket
from nnqpy.blocking.pair1 import HeadedSending
from nnqpy.blocking.sockets import Events, Receiving, Sending, Socket
from nnqpy.kinds.dialogue import RepKind, RespondentKind
from nnqpy.kinds.pair1 import Pair1Kind
from nnqpy.kinds.spread import SpreadKind, SubKind
from nnqpy.patterns.bus import BusCore
from nnqpy.patterns.pair import PairCore
from nnqpy.patterns.pipeline import PullCore, PushCore
from nnqpy.patterns.pubsub import PubCore

__all__ = [
    "Bus",
    "Events",
    "Pair",
    "Pair1",
    "Pub",
    "Pull",
    "Push",
    "Rep",
    "Req",
    "Respondent",
    "Socket",
    "Sub",
    "Surveyor",
]


class Push(Sending):
    """Deals messages evenly to the Pull sockets that have room; waits when none has."""

    _pattern = PushCore


class Pull(Receiving):
    """Takes messages from all its Push sockets, fairly."""

    _pattern = PullCore


class Pair(Sending, Receiving):
    """Talks to exactly one other Pair: the first that comes, until it leaves."""

    _pattern = PairCore


class Pair1(Pair1Kind, HeadedSending, Receiving):
    """A Pair of version 1, whose messages count the steps they made; it talks to exactly one other Pair1."""


class Pub(SpreadKind, Sending):
    """Sends everything to all Sub sockets that are attached; a slow one misses messages and slows no other."""

    _pattern = PubCore


class Sub(SubKind, Receiving):
    """Receives what begins with one of its prefixes; from all Pub sockets, fairly."""


class Bus(SpreadKind, Sending, Receiving):
    """Talks to all other Bus sockets that are attached to it; one that is behind misses the newest messages."""

    _pattern = BusCore


class Req(ReqSocket):
    """Asks a Rep, and waits for its reply; asks another one if it dies."""


class Rep(RepKind, AnswersSocket):
    """Answers each request by the way it came."""


class Surveyor(SurveyorSocket):
    """Asks all Respondents that are attached, and takes their replies until a deadline."""


class Respondent(RespondentKind, AnswersSocket):
    """Answers surveys, or not, each by the way it came."""
