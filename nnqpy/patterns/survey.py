"""Surveyor and Respondent (SP survey v0; nng ``src/sp/protocol/survey0``): a question to all, answers until a deadline."""

from __future__ import annotations

from nnqpy.proto import Proto
from nnqpy.routing.fan_out import FanOut
from nnqpy.routing.questions import Questions
from nnqpy.routing.reply_path import ReplyPath
from nnqpy.routing.requests import Requests


class SurveyorCore(FanOut, Questions):
    """Asks all Respondents; one that is behind misses the newest."""

    proto = Proto.SURVEYOR
    on_full = "drop_newest"
    surplus = "queue_full"


class RespondentCore(ReplyPath, Requests):
    """Answers, or not, each survey by the way it came."""

    proto = Proto.RESPONDENT
