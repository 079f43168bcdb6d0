"""What was paid for or said, kept: judgements of models, feedback of people, and the queue of what they are asked.

All of it lies in one database, a file (SQLite) or PostgreSQL, that processes and threads share.
"""

from .annotators import (
    Annotator,
    Annotators,
    ExpiredToken,
    InvitationError,
    RevokedToken,
    UsedToken,
    WrongToken,
)
from .feedback import FeedbackStore
from .items import FeedbackItem
from .judgements import Allowance, Judgement, JudgementStore, Spent
from .queue import AlreadyAnswered, Assignment, LeaseExpired, NotAssigned, Progress, WorkQueue
from .records import FeedbackRecord

__all__ = [
    "Allowance",
    "AlreadyAnswered",
    "Annotator",
    "Annotators",
    "Assignment",
    "ExpiredToken",
    "FeedbackItem",
    "FeedbackRecord",
    "FeedbackStore",
    "InvitationError",
    "Judgement",
    "JudgementStore",
    "LeaseExpired",
    "NotAssigned",
    "Progress",
    "RevokedToken",
    "Spent",
    "UsedToken",
    "WorkQueue",
    "WrongToken",
]
