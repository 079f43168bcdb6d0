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
from .argilla import read_argilla
from .assignments import AlreadyAnswered, Assignment, LeaseExpired, NotAssigned, Progress
from .exports import demonstrations, preferences, ratings, thumbs
from .feedback import FeedbackStore
from .files import Exported, export
from .foreign import Imported
from .items import FeedbackItem
from .judged import record_judgements
from .judgements import Allowance, Judgement, JudgementStore, Spent
from .label_studio import read_label_studio
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
    "Imported",
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
    "read_argilla",
    "read_label_studio",
    "record_judgements",
    "thumbs",
]
