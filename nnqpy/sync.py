"""The blocking face: every call waits in the caller's thread, and any thread may call.

A blocked call does the socket's I/O itself (see ``turns.py``), so it can be interrupted by a signal at any time
and loses nothing by it.
"""

from __future__ import annotations

from nnqpy.blocking.device import Device, device
from nnqpy.blocking.dialogue import (
    AnswersContext,
    AnswersSocket,
    ReqContext,
    ReqSocket,
    Survey,
    SurveyorContext,
    SurveyorSocket,
)
from nnqpy.blocking.pair1 import Pair1Socket
from nnqpy.blocking.raw import RawReceiving, RawSending
from nnqpy.blocking.sockets import Events, Receiving, Sending, Socket
from nnqpy.kinds.device import DeviceStats
from nnqpy.kinds.dialogue import RepKind, RespondentKind
from nnqpy.kinds.raw import (
    RawBusKind,
    RawPair1Kind,
    RawPairKind,
    RawPubKind,
    RawPullKind,
    RawPushKind,
    RawRepKind,
    RawReqKind,
    RawRespondentKind,
    RawSubKind,
    RawSurveyorKind,
)
from nnqpy.kinds.spread import SpreadKind, SubKind
from nnqpy.patterns.bus import BusCore
from nnqpy.patterns.pair import PairCore
from nnqpy.patterns.pipeline import PullCore, PushCore
from nnqpy.patterns.pubsub import PubCore

__all__ = [
    "AnswersContext",
    "Bus",
    "Device",
    "DeviceStats",
    "Events",
    "Pair",
    "Pair1",
    "Pub",
    "Pull",
    "Push",
    "RawBus",
    "RawPair",
    "RawPair1",
    "RawPub",
    "RawPull",
    "RawPush",
    "RawRep",
    "RawReq",
    "RawRespondent",
    "RawSub",
    "RawSurveyor",
    "Rep",
    "Req",
    "ReqContext",
    "Respondent",
    "Socket",
    "Sub",
    "Survey",
    "Surveyor",
    "SurveyorContext",
    "device",
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


class Pair1(Pair1Socket):
    """A Pair of version 1, whose messages count the steps they made; with ``poly`` it talks to many."""


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


class RawPush(RawPushKind, RawSending):
    """Deals messages evenly to the Pull sockets that have room, as a Push does."""


class RawPull(RawPullKind, RawReceiving):
    """Takes messages from all its Push sockets, and says whose each is."""


class RawPair(RawPairKind, RawSending, RawReceiving):
    """Talks to exactly one other Pair, and says whose a message is."""


class RawPair1(RawPair1Kind, RawSending, RawReceiving):
    """A Pair of version 1 that shows the steps a message has made, and counts one more when it sends it on."""


class RawPub(RawPubKind, RawSending):
    """Sends everything to all Sub sockets that are attached, as a Pub does."""


class RawSub(RawSubKind, RawReceiving):
    """Receives everything from all Pub sockets, and says whose each is."""


class RawBus(RawBusKind, RawSending, RawReceiving):
    """Talks to all other Bus sockets; what it sends on does not go back to the peer that it came from."""


class RawReq(RawReqKind, RawSending, RawReceiving):
    """Sends requests that have their header, to whoever has room, and receives every reply."""


class RawRep(RawRepKind, RawSending, RawReceiving):
    """Receives requests with header and peer, and answers by them: later, in any order, any number of times."""


class RawSurveyor(RawSurveyorKind, RawSending, RawReceiving):
    """Sends surveys that have their header to all Respondents, and receives every reply."""


class RawRespondent(RawRespondentKind, RawSending, RawReceiving):
    """Receives surveys with header and peer, and answers by them: later, in any order, any number of times."""
