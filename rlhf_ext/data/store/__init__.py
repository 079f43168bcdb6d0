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
from .assignments import AlreadyAnswered, Assignment, LeaseExpired, NotAssigned, Progress
from .exports import demonstrations, preferences, ratings, thumbs
from .feedback import FeedbackStore
from .files import Exported, export
from .items import FeedbackItem
from .judgements import Allowance, Judgement, JudgementStore, Spent
from .overview import AnnotatorFigures, Overview, failed_annotators
from .queue import WorkQueue
from .records import FeedbackRecord

__all__ = [
    "Allowance",
    "AlreadyAnswered",
    "Annotator",
    "AnnotatorFigures",
    "Annotators",
    "Assignment",
    "ExpiredToken",
    "Exported",
    "FeedbackItem",
    "FeedbackRecord",
    "FeedbackStore",
    "InvitationError",
    "Judgement",
    "JudgementStore",
    "LeaseExpired",
    "NotAssigned",
    "Overview",
    "Progress",
    "RevokedToken",
    "Spent",
    "UsedToken",
    "WorkQueue",
    "WrongToken",
    "demonstrations",
    "export",
    "failed_annotators",
    "preferences",
    "ratings",
    "thumbs",
]
