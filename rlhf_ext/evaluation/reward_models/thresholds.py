"""Thresholds on a validation's figures: what makes it a gate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..thresholds import Limits
from .probes import OTHER_PROMPT, PROBES
from .result import KINDS, RewardValidation, kind_of


class Thresholds(Limits):
    """What is asked of a reward model before anyone trains against it.

    A figure that could not be measured fails: a gate that is not checked is not passed. `min` and `max` read the value;
    with `interval: true` they read the unfavourable end of its interval, which is stricter, the more so the fewer rows
    there are.

    Args:
        limits (`dict`):
            `{figure: {"min": ..., "max": ..., "interval": ...}}`; figures as [`validate_reward_model`] lists them.
        probes (`Collection[str]`, *optional*):
            Names of probes beside the built-in ones.

    Raises:
        ValueError: If there is none, a figure or key is unknown (the known ones are named), or a bound is no number.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.reward_models import RewardValidation, Thresholds
    >>> from rlhf_ext.stats import wilson
    >>> thresholds = Thresholds({"accuracy": {"min": 0.7}, "ece": {"max": 0.1}})
    >>> for line in thresholds.failures(RewardValidation({"accuracy": wilson(60, 100)})):
    ...     print(line)
    accuracy is 0.60 [0.50, 0.69], and at least 0.7 is asked for
    ece was not measured (it was not measured, or is not defined on this data), and at most 0.1 is asked for

    ```
    """

    def __init__(self, limits: Mapping[str, Any], probes: Collection[str] = ()):
        self._probes = {*PROBES, OTHER_PROMPT, *probes}
        super().__init__(limits)

    def check_name(self, name: Any) -> str:
        kind = kind_of(name) if isinstance(name, str) else None
        if kind is None or (kind.measure == "probes" and name.split(".", 1)[1].rpartition(".")[0] not in self._probes):
            figures = [*KINDS, "accuracy.CATEGORY", "probes.PROBE.change", "probes.PROBE.raised"]
            raise ValueError(
                f"There is no figure {name!r} to set a threshold on. There are {', '.join(figures)}, where PROBE is one of "
                f"{', '.join(sorted(self._probes))}."
            )
        return name

    @property
    def measures(self) -> set[str]:
        """The measures that they need, of [`MEASURES`]."""
        return {kind.measure for name in self.limits if (kind := kind_of(name)) is not None}

    def failure(self, name: str, validation: RewardValidation) -> str | None:
        """Why a figure fails its threshold, or None if it passes."""
        limit, found = self.limits[name], validation.estimates.get(name)
        if found is None:
            return f"{name} was not measured ({validation.why_missing(name)}), and {limit} is asked for"
        return None if limit.holds(found) else f"{name} is {found}, and {limit} is asked for"

    def failures(self, validation: RewardValidation) -> list[str]:
        """A sentence for every threshold that does not hold; empty where the validation passes."""
        return [line for name in self.limits if (line := self.failure(name, validation)) is not None]
