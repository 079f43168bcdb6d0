"""People and judges as evaluators: who is preferred, how often and how surely, and whether they agree."""

from .agreement import Agreement, agreement_of, agreement_with_judges
from .answers import Answers, Rating, Vote, answers_from_rows
from .leaderboard import Leaderboard, rank_models
from .stored import answers_from_store

__all__ = [
    "Agreement",
    "Answers",
    "Leaderboard",
    "Rating",
    "Vote",
    "agreement_of",
    "agreement_with_judges",
    "answers_from_rows",
    "answers_from_store",
    "rank_models",
]
