"""What came of an experiment, by user: the unit that was dealt."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...stats import Moments
from .guards import IN_UNITS


@dataclass(frozen=True)
class Outcome:
    """One value of one request.

    Args:
        variant (`str`), user (`str`):
            Who answered, and whose request it was.
        value (`float` or `None`):
            What came of it; `None` where nothing is known (no feedback): the user still counts as served.
        metric (`str`, *optional*, defaults to `"value"`):
            What was measured: `"thumbs_up"`, `"seconds"`, ...
    """

    variant: str
    user: str
    value: float | None
    metric: str = "value"


@dataclass
class Outcomes:
    """Outcomes of users, variant by variant.

    Requests of one user are alike, so that many of one user are worth less than as many of many users: each user counts once for each
    metric, with the mean of the values. Users who were served by two variants (since weights changed, or somebody overrode them)
    belong to neither, and are left out.

    Args:
        sums (`dict`):
            By metric, variant and user: how many values, and their sum.
        served (`dict`):
            By user: the variants that served them.
    """

    sums: dict[str, dict[str, dict[str, tuple[int, float]]]] = field(default_factory=dict)
    served: dict[str, set[str]] = field(default_factory=dict)
    _bounds: dict[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Outcome]) -> Outcomes:
        """Those of all rows.

        Raises:
            ValueError: If a value is not finite, or a variant or user is empty.
        """
        found = cls()
        for row in rows:
            found.add(row)
        return found

    def add(self, row: Outcome) -> None:
        """Takes one more."""
        if not row.variant or not row.user:
            raise ValueError(f"an outcome needs a variant and a user, got {row.variant!r} and {row.user!r}")
        self.served.setdefault(row.user, set()).add(row.variant)
        if row.value is None:
            return
        if not math.isfinite(row.value):
            raise ValueError(
                f"the value of {row.metric!r} for the user {row.user!r} must be finite or null, got {row.value}"
            )
        users = self.sums.setdefault(row.metric, {}).setdefault(row.variant, {})
        n, total = users.get(row.user, (0, 0.0))
        users[row.user] = (n + 1, total + row.value)
        low, high = self._bounds.get(row.metric, (row.value, row.value))
        self._bounds[row.metric] = (min(low, row.value), max(high, row.value))

    @property
    def metrics(self) -> list[str]:
        """In the order of their first value."""
        return list(self.sums)

    @property
    def variants(self) -> list[str]:
        """Those that served anybody, by name."""
        return sorted({variant for variants in self.served.values() for variant in variants})

    def is_rate(self, metric: str) -> bool:
        """Whether all values are in [0, 1], of a metric that has no unit of its own."""
        if metric in IN_UNITS:  # quick answers take less than a second, and are no rate for that
            return False
        low, high = self._bounds[metric]
        return low >= 0 and high <= 1

    def crossed(self) -> int:
        """Users who were served by more than one variant."""
        return sum(len(variants) > 1 for variants in self.served.values())

    def users(self, variant: str) -> int:
        """Users who were served by this variant alone."""
        return sum(variants == {variant} for variants in self.served.values())

    def requests(self, metric: str, variant: str) -> int:
        """Values of users who count."""
        return sum(n for user, (n, _) in self._of(metric, variant))

    def moments(self, metric: str, variant: str) -> Moments:
        """Of the users' means."""
        return Moments.of(total / n for _, (n, total) in self._of(metric, variant))

    def _of(self, metric: str, variant: str) -> Iterator[tuple[str, tuple[int, float]]]:
        users = self.sums.get(metric, {}).get(variant, {})
        return ((user, sums) for user, sums in users.items() if len(self.served[user]) == 1)


def read_outcomes(path: str | Path, experiment: str | None = None) -> Outcomes:
    """Outcomes from a file with one JSON object a line: `variant`, `user`, `value`, and if wanted `metric`, `experiment`, `why`.

    Rows of other experiments are passed over, and those of users who were not dealt by lot (`why` is not `"hash"`). A `value` may be
    true or false, and null where nothing is known.

    Args:
        path (`str` or `Path`):
            The file.
        experiment (`str`, *optional*):
            The one that is meant; needed where the file has several.

    Returns:
        [`Outcomes`].

    Raises:
        OSError: If it cannot be read.
        ValueError: If a line is no such object, there are several experiments and none is named, or no row is left; the line is named.
    """
    found, experiments = Outcomes(), set()
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                outcome = _outcome(row)
                if row.get("experiment") is not None:
                    if experiment is not None and row["experiment"] != experiment:
                        continue
                    experiments.add(row["experiment"])
                if row.get("why", "hash") == "hash":
                    found.add(outcome)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
    if len(experiments) > 1:
        raise ValueError(
            f"{path} has several experiments ({', '.join(sorted(map(str, experiments)))}); say which with --experiment."
        )
    if not found.served:
        raise ValueError(
            f"{path} has no outcome{f' of the experiment {experiment!r}' if experiment else ''} of users dealt by lot."
        )
    return found


def _outcome(row: Any) -> Outcome:
    if not isinstance(row, Mapping):
        raise ValueError(f"expected an object with variant, user and value, got {row!r:.80}")
    missing = [name for name in ("variant", "user", "value") if name not in row]
    if missing:
        raise ValueError(f"there is no {missing[0]!r}")
    for name in ("variant", "user"):
        if not isinstance(row[name], str):
            raise ValueError(f"{name!r} must be a text, got {row[name]!r}")
    value, metric = row["value"], row.get("metric", "value")
    if value is not None and not isinstance(value, bool | int | float):
        raise ValueError(f"'value' must be a number, true, false or null, got {value!r}")
    if not isinstance(metric, str) or not metric:
        raise ValueError(f"'metric' must be a text, got {metric!r}")
    return Outcome(row["variant"], row["user"], None if value is None else float(value), metric)
