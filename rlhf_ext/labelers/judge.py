"""What labelers that ask a language model have in common: how it is asked, where its answers are kept, who pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..data.store import Judgement, JudgementStore
from ..generation.identity import identity, model_name
from .budget import Budget
from .comparisons import CUT, Comparison
from .job import JudgementJob, key_of
from .modes import Mode, choose_mode


class JudgeLabeler:
    """A language model that judges, and the settings of its jobs; see [`PairwiseLabeler`] and [`ScoreLabeler`] for them.

    Raises:
        ValueError: If a setting is out of range, or votes cannot differ.
        NotImplementedError: If the endpoint lacks what the mode needs, or `truncate` is asked of a judge whose window is not
            known; the message says what.
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
        truncate: bool,
        model: str | None,
        store: str | Path | JudgementStore | None,
        budget: Budget | None,
        progress: bool,
        retry_failed: bool,
        seed: int,
    ):
        self.min_confidence = check_confidence(min_confidence)
        if truncate and not callable(getattr(generator, "fits", None)):
            raise NotImplementedError(
                f"`truncate` needs to know how long a question may be, and {type(generator).__name__} does not say: it is for models "
                "in this process. Without it, what is too long is left out with the reason; or shorten the rows before."
            )
        self.generator, self.truncate, self.seed = generator, truncate, seed
        self.mode: Mode = choose_mode(generator, mode, votes, temperature)
        self.model = model or model_name(generator)
        self._judge_id = identity(generator, self.model)
        self.store = as_store(store)
        self.budget, self.progress, self.retry_failed = budget or Budget(), progress, retry_failed

    @property
    def annotator(self) -> str:
        """What labels are made by, for provenance."""
        raise NotImplementedError

    def _provenance(self, pair: Comparison) -> dict[str, Any]:
        """Columns that say where a label comes from."""
        found: dict[str, Any] = {"source": "ai", "annotator": self.annotator, "model": self.model}
        return {**found, CUT: pair.characters_cut} if self.truncate else found

    def _new_job(self, settings: Sequence[Any], data: Sequence[Any]) -> JudgementJob:
        """The job on some data: the same one, with what it has spent, whenever settings and data are the same."""
        settings = [self._judge_id, *settings, *vars(self.mode).values(), self.seed, *["truncate"] * self.truncate]
        name = key_of(settings=settings, data=data)
        return JudgementJob(self.generator, self.store, name, self.budget, self.progress, self.retry_failed)


def as_store(store: str | Path | JudgementStore | None) -> JudgementStore:
    """A store as it is, a file or URL opened; where there is none, one that is gone with the process."""
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
