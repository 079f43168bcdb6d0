"""Scoring with what learns in a run, without teaching it anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .mixing import RewardMixer


@contextmanager
def standing_still(*functions: Any) -> Iterator[None]:
    """Within it, the mixers among reward functions learn nothing from what they score.

    Args:
        *functions (`Any`):
            Reward functions, or None; those that are no mixers are passed over.
    """
    learning = [one for one in functions if isinstance(one, RewardMixer) and one.training]
    for mixer in learning:
        mixer.eval()
    try:
        yield
    finally:
        for mixer in learning:
            mixer.train()
