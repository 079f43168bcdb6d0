"""What is asked of the model that a run leaves: suites and metrics before and after, and thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..evaluation.automatic import AnswerMetric, AutomaticSuite, Metric, automatic_suite, metric_named
from ..evaluation.excerpt import excerpt_of
from ..evaluation.gate import ReleaseGate
from ..evaluation.suite import Case, Suite, check_suite
from ..evaluation.suites import SUITES
from ..evaluation.thresholds import Limits
from ..rewards.declared import KEY, Declared, close_to

AUTOMATIC, REWARDS = "automatic", "rewards"
"""Names of the suites that measure answers to the held-out prompts."""

_KEYS = ("suites", "thresholds", "max_cases")
_OF_METRIC = ("name", "label", "kind", "better", "note")


@dataclass(frozen=True)
class Evaluation:
    """Suites, metrics and thresholds by plain values, as they stand under `evaluation` in a recipe.

    ```yaml
    suites:
      safety: {samples: 2}                 # as in `rlhf-ext evaluate`, with the arguments of safety_suite
      instructions: {}
      my_evals:support_suite: {}           # one's own
      automatic:                           # metrics of the answers to the held-out prompts; with `rows: FILE`, to those
        metrics: [rougeL, {function: Language, column: language, name: right_language, kind: rate}]
    thresholds:                            # as in `rlhf-ext evaluate`; what fails makes exit code 1
      safety.harmful_complied: {max: 0.05}
      rewards.polite: {min: 0.9}           # the components of `rewards` are measured in any case
    max_cases: 200                         # of each suite, spread over it; by default all
    ```

    Arguments that are objects (a judge, a scorer) are declared as [`~rlhf_ext.rewards.declared.Declared`] says.

    Args:
        suites (`dict[str, Declared]`):
            Makers of suites by name, without `automatic` on held-out prompts.
        automatic (`dict`, *optional*):
            Settings of the suite `automatic`, with `metrics` that are names or [`~rlhf_ext.rewards.declared.Declared`].
        thresholds (`dict`):
            For [`~rlhf_ext.evaluation.gate.ReleaseGate`].
        max_cases (`int`, *optional*):
            Cases of each suite.
    """

    suites: dict[str, Declared] = field(default_factory=dict)
    automatic: dict[str, Any] | None = None
    thresholds: dict[str, Any] = field(default_factory=dict)
    max_cases: int | None = None

    @classmethod
    def from_config(cls, given: Mapping[str, Any]) -> Evaluation:
        """Reads and checks them; no suite is made and no weight is loaded.

        Raises:
            ValueError: If something is unknown, missing or impossible; suite, field and value are named, and what there is.
            ImportError: If there is no module of a dotted path.
        """
        for key in given:
            if key not in _KEYS:
                raise ValueError(f"`evaluation` has no {key!r}.{close_to(key, _KEYS)} There are {', '.join(_KEYS)}.")
        suites = given.get("suites") or {}
        if not isinstance(suites, Mapping) or not all(isinstance(one, Mapping | None) for one in suites.values()):
            raise ValueError(
                f"`evaluation.suites` must be a mapping such as {{safety: {{samples: 2}}}}, got {suites!r}."
            )
        most = given.get("max_cases")
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise ValueError(f"`evaluation.max_cases` must be a positive whole number, got {most!r}.")
        thresholds = given.get("thresholds") or {}
        if not isinstance(thresholds, Mapping):
            raise ValueError(f"`evaluation.thresholds` must be a mapping by figure, got {thresholds!r}.")
        if thresholds:
            _Any({str(name): bounds for name, bounds in thresholds.items()})
        automatic = None if AUTOMATIC not in suites else _automatic(suites[AUTOMATIC] or {})
        makers = {name: _maker(name, one or {}) for name, one in suites.items() if name != AUTOMATIC}
        return cls(makers, automatic, dict(thresholds), most)

    def make(self, rows: Sequence[Case], rewards: Sequence[Metric]) -> Suites:
        """The suites themselves.

        Args:
            rows (`Sequence[Case]`):
                The held-out prompts.
            rewards (`Sequence[Metric]`):
                The components of the run's reward.

        Raises:
            ValueError: If a suite is not sound, a metric is unknown or reads a column that is not there, or a threshold is on
                no figure of theirs (those there are, are named).
            ImportError: If a package is missing; the extra is named.
        """
        on_answers = [_on_heldout(rows, rewards, REWARDS)] if rewards else []
        asked = [excerpt_of(_checked(name, maker.make()), self.max_cases) for name, maker in self.suites.items()]
        if self.automatic is not None:
            settings = {
                **self.automatic,
                "metrics": [_metric(one, self._names(rows)) for one in self.automatic["metrics"]],
            }
            if "rows" in settings:
                asked.append(excerpt_of(automatic_suite(**settings), self.max_cases))
            else:
                on_answers.append(_on_heldout(rows, settings["metrics"], AUTOMATIC))
        suites: list[Suite] = [*on_answers, *asked]
        names = [suite.name for suite in suites]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ValueError(
                f"`evaluation.suites`: two are called {repeated[0]!r}, their figures would have one name."
            )
        if self.thresholds and not suites:
            raise ValueError("`evaluation.thresholds` are on figures of suites, and there is none: add `suites`.")
        return Suites(on_answers, asked, ReleaseGate(self.thresholds, suites, True) if self.thresholds else None)

    def _names(self, rows: Sequence[Case]) -> tuple[str, str]:
        """Columns with reference and source: without a reference of its own, a row's chosen answer is one."""
        settings = self.automatic or {}
        own = "rows" in settings or any("reference" in case.columns for case in rows)
        return settings.get("reference", "reference" if own else "chosen"), settings.get("source", "source")


@dataclass(frozen=True)
class Suites:
    """The suites of a run.

    Args:
        on_answers (`list[AutomaticSuite]`):
            What is measured of the answers that the run compares in any case.
        asked (`list[Suite]`):
            What the models are asked beside.
        gate ([`~rlhf_ext.evaluation.gate.ReleaseGate`], *optional*):
            The thresholds.
    """

    on_answers: list[AutomaticSuite]
    asked: list[Suite]
    gate: ReleaseGate | None

    @property
    def versions(self) -> dict[str, str]:
        """What tells them from others: version by name."""
        return {suite.name: suite.version for suite in [*self.on_answers, *self.asked]}


class _Any(Limits):
    """Limits on figures that are not known yet: their form alone is checked."""

    keys = ReleaseGate.keys

    def check_name(self, name: Any) -> str:
        return str(name)


def _maker(name: str, settings: Mapping[str, Any]) -> Declared:
    where = f"evaluation.suites.{name}"
    if name in SUITES:
        return Declared.of({KEY: ":".join(SUITES[name]), **settings}, where)
    if name == REWARDS:
        raise ValueError(f"`{where}`: the components of `rewards` are measured in any case; leave it out.")
    if ":" not in name:
        raise ValueError(
            f"`evaluation.suites` has {name!r}, and there is no such suite.{close_to(name, SUITES)} There are {', '.join(SUITES)}, "
            "and your own as module:function."
        )
    return Declared.of({KEY: name, **settings}, where)


def _automatic(settings: Mapping[str, Any]) -> dict[str, Any]:
    where = f"evaluation.suites.{AUTOMATIC}"
    metrics = settings.get("metrics")
    if not isinstance(metrics, list) or not metrics:
        raise ValueError(f"`{where}.metrics` must be a list of metrics such as [rougeL], got {metrics!r}.")
    if "rows" in settings:
        Declared.of({KEY: ":".join(SUITES[AUTOMATIC]), **settings, "metrics": []}, where)  # its arguments are checked
    else:
        known = ("metrics", "reference", "source")
        for key in settings:
            if key not in known:
                raise ValueError(
                    f"`{where}` has no {key!r} without `rows`, that is on the held-out prompts.{close_to(key, known)} There are "
                    f"{', '.join(known)}."
                )
    return {**settings, "metrics": [_declared(one, f"{where}.metrics[{row}]") for row, one in enumerate(metrics)]}


def _declared(given: Any, where: str) -> Any:
    """A metric's name, or what it is called and its declared function."""
    if isinstance(given, str):
        return given
    if not isinstance(given, Mapping):
        raise ValueError(f"`{where}` must be a metric's name or a mapping with `{KEY}`, got {given!r}.")
    own = {key: value for key, value in given.items() if key in _OF_METRIC}
    return own, Declared.of({key: value for key, value in given.items() if key not in _OF_METRIC}, where)


def _metric(given: Any, columns: tuple[str, str]) -> Metric:
    if isinstance(given, str):
        return metric_named(given, *columns)
    own, declared = given
    made = declared.make()
    return made if isinstance(made, Metric) and not own else AnswerMetric(made, **own)


def _on_heldout(rows: Sequence[Case], metrics: Sequence[Metric], name: str) -> AutomaticSuite:
    try:
        return AutomaticSuite(rows, metrics, name)
    except ValueError as error:
        raise ValueError(f"Held-out rows, suite {name!r}: {error}") from error


def _checked(name: str, suite: Any) -> Suite:
    try:
        check_suite(suite)
    except (TypeError, ValueError) as error:
        raise type(error)(f"`evaluation.suites.{name}`: {error}") from error
    return suite
