"""The stages of a run, numbered for those who watch it."""

from __future__ import annotations

from tqdm.auto import tqdm

from .config import RLHFConfig
from .state import processes


class Plan:
    """Numbers the stages of a run for those who watch it."""

    _WORDS = {
        "before": "answers of the model before",
        "labels": "AI feedback",
        "revisions": "critique and revision by the constitution",
        "sft": "supervised warm start",
        "reward_model": "reward model",
        "validation": "validation of the reward model",
        "policy": "",
        "after": "answers of the model after",
        "evaluation": "suites, before and after",
    }

    def __init__(self, config: RLHFConfig, wants_reward: bool, feedback: set[str], evaluates: bool = False):
        skipped = {"labels", "revisions"} - feedback
        skipped |= set() if config.supervised_warm_start else {"sft"}
        skipped |= set() if wants_reward else {"reward_model", "validation"}
        skipped |= set() if evaluates else {"evaluation"}
        self._names = [name for name in self._WORDS if name not in skipped]
        self._algorithm = config.algorithm.upper()

    def title(self, stage: str) -> str:
        words = self._WORDS[stage] or self._algorithm
        title = f"[{self._names.index(stage) + 1}/{len(self._names)}] {words}"
        if stage in ("before", "labels", "revisions", "validation", "after", "evaluation"):
            self._announce(title)
        return title

    def _announce(self, title: str) -> None:
        if processes().is_main_process:
            tqdm.write(title)
