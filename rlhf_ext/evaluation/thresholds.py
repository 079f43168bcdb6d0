"""Thresholds on figures, as they are written in YAML: what a gate is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from ..stats import Estimate


@dataclass(frozen=True)
class Limit:
    """Bounds on one figure, both allowed ends included.

    Args:
        min (`float`, *optional*), max (`float`, *optional*):
            Lowest and highest value that passes.
        interval (`bool`, *optional*, defaults to `False`):
            Whether the whole interval must lie within the bounds, rather than the value alone.
        not_worse (`bool`, *optional*, defaults to `False`):
            Whether the figure must not have become clearly worse than before; for gates that compare two models.
    """

    min: float | None = None
    max: float | None = None
    interval: bool = False
    not_worse: bool = False

    def __str__(self) -> str:
        return self.text()

    def text(self, unit: Literal["", "%", "points"] = "") -> str:
        """In words; with a unit bounds that are given in [0, 1] are shown in per cent or percentage points."""
        scale, unit_text = (100.0 if unit else 1.0), (" points" if unit == "points" else unit)
        parts = [f"at least {self.min * scale:g}{unit_text}"] if self.min is not None else []
        parts += [f"at most {self.max * scale:g}{unit_text}"] if self.max is not None else []
        bounds = " and ".join(parts) + (" over its whole interval" if self.interval and parts else "")
        return " and ".join(filter(None, [bounds, "not clearly worse" if self.not_worse else ""]))

    def holds(self, estimate: Estimate) -> bool:
        """Whether an estimate lies within the bounds: its value, or both ends of its interval."""
        low, high = (estimate.low, estimate.high) if self.interval else (estimate.value, estimate.value)
        return (self.min is None or low >= self.min) and (self.max is None or high <= self.max)


class Limits:
    """Limits by the figure that they are set on. What figures there are, subclasses know.

    Args:
        limits (`dict`):
            `{figure: {"min": ..., "max": ..., "interval": ...}}`.

    Raises:
        ValueError: If there is none, a key is unknown (the known ones are named), or a bound is no number.
    """

    keys: ClassVar[tuple[str, ...]] = ("min", "max", "interval")
    whole_interval: ClassVar[bool] = False
    """Where `interval` is not given."""

    def __init__(self, limits: Mapping[str, Any]):
        if not isinstance(limits, Mapping) or not limits:
            raise ValueError(f"Thresholds must be a mapping such as {{accuracy: {{min: 0.7}}}}, got {limits!r}.")
        self.limits = {self.check_name(name): self._limit(name, bounds) for name, bounds in limits.items()}

    def check_name(self, name: Any) -> str:
        """The figure's name, if there is such a figure.

        Raises:
            ValueError: If there is none.
        """
        raise NotImplementedError

    @classmethod
    def from_file(cls, path: str | Path, *args: Any) -> Self:
        """Reads them from YAML; what else the class is made of follows.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is no YAML, gives a figure twice, or has no thresholds.
        """
        from .._strict_yaml import read_yaml

        content = read_yaml(path)
        try:
            return cls(content, *args)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain values, as they are written in YAML."""
        names = [field.name for field in fields(Limit) if field.name in self.keys]
        return {
            figure: {name: value for name in names if (value := getattr(limit, name)) is not None}
            for figure, limit in self.limits.items()
        }

    def _limit(self, name: str, bounds: Any) -> Limit:
        if not isinstance(bounds, Mapping):
            raise ValueError(f"The threshold of {name!r} must be a mapping such as {{min: 0.7}}, got {bounds!r}.")
        if unknown := [key for key in bounds if key not in self.keys]:
            raise ValueError(f"The threshold of {name!r} has no {unknown[0]!r}; there are {', '.join(self.keys)}.")
        for key in ("min", "max"):
            value = bounds.get(key)
            if key in bounds and (
                isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
            ):
                raise ValueError(f"The threshold of {name!r}: `{key}` must be a finite number, got {value!r}.")
        limit = Limit(**{"interval": self.whole_interval, **bounds})
        for key in ("interval", "not_worse"):
            if not isinstance(getattr(limit, key), bool):
                raise ValueError(
                    f"The threshold of {name!r}: `{key}` must be true or false, got {getattr(limit, key)!r}."
                )
        if limit.min is None and limit.max is None and not limit.not_worse:
            raise ValueError(f"The threshold of {name!r} has neither `min` nor `max`.")
        if limit.min is not None and limit.max is not None and limit.min > limit.max:
            raise ValueError(
                f"The threshold of {name!r}: nothing is at least {limit.min:g} and at most {limit.max:g}."
            )
        return limit
