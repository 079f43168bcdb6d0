"""Experiments and canaries from YAML, read strictly: what is not understood is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from ..._strict_yaml import read_yaml
from .canary import Canary
from .experiment import Experiment
from .guards import Guard
from .layers import Experiments
from .ramp import Step
from .transitions import CanaryStore

_EXPERIMENT = tuple(f.name for f in fields(Experiment))


@dataclass(frozen=True)
class CanaryPlan:
    """A canary as it is written down, to be started on a store."""

    experiment: Experiment
    variant: str
    steps: tuple[Step, ...]
    guards: tuple[Guard, ...]
    name: str | None = None
    alpha: float = 0.05

    def start(self, store: CanaryStore) -> Canary:
        """The canary: begun, or as it stands in the store. Raises as [`Canary`]."""
        return Canary(self.experiment, self.variant, self.steps, self.guards, store, self.name, self.alpha)


def read_experiments(path: str | Path) -> tuple[Experiments, list[CanaryPlan]]:
    """Experiments, and the canaries among their variants.

    ```yaml
    experiments:
      - name: dpo-2
        traffic: assistant          # requests for this model; without it all
        salt: 2026-05
        variants: {sft: 1.0, dpo: 0.0}
        holdout: 0.05
        overrides: {ada: dpo}
        shadow: {dpo3: 0.01}
        canary:
          variant: dpo
          steps:
            - {share: 0.01, minutes: 30, users: 50}
            - {share: 0.1, hours: 6, users: 500}
            - {share: 0.5, hours: 24, users: 2000}
          guards:
            - {metric: error, at_most: 0.02, per: request}
            - {metric: seconds, at_most: 4, quantile: 0.95}
            - {metric: toxicity, at_most: 0.01, against_control: true}
    ```

    Args:
        path (`str` or `Path`):
            A YAML file.

    Returns:
        `tuple[Experiments, list[CanaryPlan]]`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no YAML, gives a key twice, or a field is unknown, missing or wrong; it is named.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"No such file: {path}. Give a YAML file with `experiments`.")
    content = read_yaml(path)
    try:
        whole = _mapping("the file", content, ("experiments",), ("experiments",))
        rows = _list("experiments", whole["experiments"])
        read = [_experiment(f"experiments[{index}]", row) for index, row in enumerate(rows)]
        return Experiments([experiment for experiment, _ in read]), [plan for _, plan in read if plan is not None]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _experiment(where: str, row: Any) -> tuple[Experiment, CanaryPlan | None]:
    given = _mapping(where, row, (*_EXPERIMENT, "canary"), ("name", "variants", "salt"))
    canary = given.pop("canary", None)
    if not isinstance(given["salt"], str):
        raise ValueError(f"{where}.salt must be a text, got {given['salt']!r}; put it in quotes.")
    experiment = _made(where, Experiment, given)
    return experiment, None if canary is None else _canary(f"{where}.canary", experiment, canary)


def _canary(where: str, experiment: Experiment, row: Any) -> CanaryPlan:
    known, needed = ("variant", "steps", "guards", "name", "alpha"), ("variant", "steps", "guards")
    given = _mapping(where, row, known, needed)
    given["steps"] = tuple(
        _step(f"{where}.steps[{i}]", step) for i, step in enumerate(_list(f"{where}.steps", given["steps"]))
    )
    given["guards"] = tuple(
        _made(f"{where}.guards[{i}]", Guard, guard)
        for i, guard in enumerate(_list(f"{where}.guards", given["guards"]))
    )
    _number(f"{where}.alpha", given.get("alpha", 0.05))
    return CanaryPlan(experiment, **given)


def _step(where: str, row: Any) -> Step:
    given = _mapping(where, row, ("share", "seconds", "minutes", "hours", "users"), ("share",))
    units = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0}
    used = [unit for unit in units if unit in given]
    if len(used) > 1:
        raise ValueError(f"{where} has {' and '.join(used)}; give one of them.")
    for unit in used:
        given["seconds"] = _number(f"{where}.{unit}", given.pop(unit)) * units[unit]
    for name in ("share", "users"):
        _number(f"{where}.{name}", given.get(name, 0))
    return _made(where, Step, given)


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where} must be a number, got {value!r}.")
    return value


def _made(where: str, kind: Callable[..., Any], given: Any) -> Any:
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]  # type: ignore[arg-type]
    values = _mapping(where, given, known, needed)
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _mapping(where: str, value: Any, known: Any, needed: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a mapping, got {value!r}.")
    unknown = [str(key) for key in value if key not in known]
    if unknown:
        raise ValueError(f"{where} has the unknown field {unknown[0]!r}; there are {', '.join(known)}.")
    missing = [key for key in needed if key not in value]
    if missing:
        raise ValueError(f"{where} has no {missing[0]!r}, which is needed.")
    return dict(value)


def _list(where: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{where} must be a list with something in it, got {value!r}.")
    return value
