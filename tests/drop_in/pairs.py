"""The same run twice, with TRL's class and with ours, and what must be equal: every figure in the log, and every weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TIMED = ("runtime", "per_second", "time", "memory")


def figures(trainer: Any) -> list[dict[str, float]]:
    """The whole log, without what a clock says."""
    return [
        {name: value for name, value in entry.items() if not any(word in name for word in TIMED)}
        for entry in trainer.state.log_history
    ]


def losses(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def assert_same_run(theirs: Any, ours: Any) -> None:
    """Both have been trained: to the last bit, the same log and the same weights."""
    assert losses(theirs), "nothing was trained"
    assert figures(ours) == figures(theirs)
    assert_same_weights(theirs, ours)


def assert_same_weights(theirs: Any, ours: Any) -> None:
    mine, their = ours.model.state_dict(), theirs.model.state_dict()
    assert list(mine) == list(their)
    assert not [name for name in mine if not torch.equal(mine[name], their[name])]


def outcome(run: Callable[[], Any]) -> Any:
    """A trainer that has run, or what it was refused with."""
    try:
        return run()
    except (ValueError, TypeError, NotImplementedError, RuntimeError) as error:
        return type(error), str(error)


def load(folder: str) -> tuple[Any, Any]:
    return (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        AutoTokenizer.from_pretrained(folder),
    )
