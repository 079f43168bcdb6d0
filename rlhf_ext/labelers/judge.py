"""What labelers that ask a language model have in common: how it is asked, where its answers are kept, who pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..data.store import Judgement, JudgementStore
from ..generation.identity import identity, model_name
from .budget import Budget
from .job import JudgementJob, key_of
from .modes import Mode, choose_mode


class JudgeLabeler:
    """A language model that judges, and the settings of its jobs; see [`PairwiseLabeler`] and [`ScoreLabeler`] for them.

    Raises:
        ValueError: If a setting is out of range, or votes cannot differ.
        NotImplementedError: If the endpoint lacks what the mode needs; the message says what.
        ConnectionError: If the endpoint cannot be reached.
    """

    def __init__(
        self,
        generator: Any,
        *,
        mode: str,
        votes: int,
        temperature: float,
        min_confidence: float,
        model: str | None,
        store: str | Path | JudgementStore | None,
        budget: Budget | None,
        progress: bool,
        retry_failed: bool,
        seed: int,
    ):
        self.min_confidence = check_confidence(min_confidence)
        self.generator, self.seed = generator, seed
        self.mode: Mode = choose_mode(generator, mode, votes, temperature)
        self.model = model or model_name(generator)
        self._judge_id = identity(generator, self.model)
        self.store = as_store(store)
        self.budget, self.progress, self.retry_failed = budget or Budget(), progress, retry_failed

    def _new_job(self, settings: Sequence[Any], data: Sequence[Any]) -> JudgementJob:
        """The job on some data: the same one, with what it has spent, whenever settings and data are the same."""
        name = key_of(settings=[self._judge_id, *settings, *vars(self.mode).values(), self.seed], data=data)
        return JudgementJob(self.generator, self.store, name, self.budget, self.progress, self.retry_failed)


def as_store(store: str | Path | JudgementStore | None) -> JudgementStore:
    """A store as it is, a file or URL opened, and in memory where there is none."""
    return store if isinstance(store, JudgementStore) else JudgementStore(store or "sqlite://")


def check_confidence(min_confidence: float) -> float:
    if not 0.5 <= min_confidence <= 1:
        raise ValueError(f"`min_confidence` should be in [0.5, 1], got {min_confidence}.")
    return min_confidence


def read_text(judgement: Judgement, read: Callable[[str], float | None]) -> float | str:
    """What a judge wrote, as a number, or in words why there is none."""
    if judgement.result is None:
        return f"failed: {judgement.failure}"
    text = judgement.result["text"] or ""
    number = read(text)
    return f"unreadable: the judge wrote {text[:200]!r}" if number is None else number
