"""Thresholds on a validation's figures: what makes it a gate."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .probes import OTHER_PROMPT, PROBES
from .result import KINDS, RewardValidation, kind_of

_KEYS = ("min", "max", "interval")


@dataclass(frozen=True)
class Limit:
    """Bounds on one figure, both allowed ends included.

    Args:
        min (`float`, *optional*), max (`float`, *optional*):
            Lowest and highest value that passes.
        interval (`bool`, *optional*, defaults to `False`):
            Whether the whole interval must lie within the bounds, rather than the value alone.
    """

    min: float | None = None
    max: float | None = None
    interval: bool = False

    def __str__(self) -> str:
        parts = [f"at least {self.min:g}"] if self.min is not None else []
        parts += [f"at most {self.max:g}"] if self.max is not None else []
        return " and ".join(parts) + (" over its whole interval" if self.interval else "")


class Thresholds:
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
        if not isinstance(limits, Mapping) or not limits:
            raise ValueError(f"Thresholds must be a mapping such as {{accuracy: {{min: 0.7}}}}, got {limits!r}.")
        known = {*PROBES, OTHER_PROMPT, *probes}
        self.limits = {_known(name, known): _limit(name, bounds) for name, bounds in limits.items()}

    @classmethod
    def from_file(cls, path: str | Path) -> Thresholds:
        """Reads them from YAML.

        Raises:
            OSError: If the file cannot be read.
            ValueError, yaml.YAMLError: If it is no YAML, or no thresholds.
        """
        import yaml

        try:
            return cls(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @property
    def measures(self) -> set[str]:
        """The measures that they need, of [`MEASURES`]."""
        return {kind.measure for name in self.limits if (kind := kind_of(name)) is not None}

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain values, as they are written in YAML."""
        return {name: {k: v for k, v in vars(limit).items() if v is not None} for name, limit in self.limits.items()}

    def failure(self, name: str, validation: RewardValidation) -> str | None:
        """Why a figure fails its threshold, or None if it passes."""
        limit, found = self.limits[name], validation.estimates.get(name)
        if found is None:
            return f"{name} was not measured ({validation.why_missing(name)}), and {limit} is asked for"
        low, high = (found.low, found.high) if limit.interval else (found.value, found.value)
        fits = (limit.min is None or low >= limit.min) and (limit.max is None or high <= limit.max)
        return None if fits else f"{name} is {found}, and {limit} is asked for"

    def failures(self, validation: RewardValidation) -> list[str]:
        """A sentence for every threshold that does not hold; empty where the validation passes."""
        return [line for name in self.limits if (line := self.failure(name, validation)) is not None]


def _known(name: Any, probes: Collection[str]) -> str:
    kind = kind_of(name) if isinstance(name, str) else None
    if kind is None or (kind.measure == "probes" and name.split(".", 1)[1].rpartition(".")[0] not in probes):
        figures = [*KINDS, "accuracy.CATEGORY", "probes.PROBE.change", "probes.PROBE.raised"]
        raise ValueError(
            f"There is no figure {name!r} to set a threshold on. There are {', '.join(figures)}, where PROBE is one of "
            f"{', '.join(sorted(probes))}."
        )
    return name


def _limit(name: str, bounds: Any) -> Limit:
    if not isinstance(bounds, Mapping):
        raise ValueError(f"The threshold of {name!r} must be a mapping such as {{min: 0.7}}, got {bounds!r}.")
    if unknown := [key for key in bounds if key not in _KEYS]:
        raise ValueError(f"The threshold of {name!r} has no {unknown[0]!r}; there are {', '.join(_KEYS)}.")
    for key in ("min", "max"):
        value = bounds.get(key)
        if key in bounds and (
            isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
        ):
            raise ValueError(f"The threshold of {name!r}: `{key}` must be a finite number, got {value!r}.")
    limit = Limit(**bounds)
    if limit.min is None and limit.max is None:
        raise ValueError(f"The threshold of {name!r} has neither `min` nor `max`.")
    if not isinstance(limit.interval, bool):
        raise ValueError(f"The threshold of {name!r}: `interval` must be true or false, got {limit.interval!r}.")
    if limit.min is not None and limit.max is not None and limit.min > limit.max:
        raise ValueError(f"The threshold of {name!r}: nothing is at least {limit.min:g} and at most {limit.max:g}.")
    return limit
