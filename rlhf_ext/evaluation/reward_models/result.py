"""What a validation finds: estimates by name, what is drawn of them, and what could not be measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ...stats import Estimate
from ..report import Curve, Intervals, Report

if TYPE_CHECKING:
    from .thresholds import Thresholds

MEASURES = ("accuracy", "strength", "calibration", "length", "scores", "ensemble", "probes", "best_of_n")
"""What [`validate_reward_model`] can measure; `accuracy` always is."""


class CannotMeasure(Exception):
    """A measure has nothing to rest on in this data; the message says what is missing."""


@dataclass(frozen=True)
class Measurement:
    """What one measure found: estimates by name, and plots of them."""

    estimates: dict[str, Estimate]
    plots: list[Curve | Intervals] = field(default_factory=list)


class Kind(NamedTuple):
    """What an estimate is: the measure it comes from, what a reader sees, its unit, what it means."""

    measure: str
    label: str
    unit: Literal["", "%"] = ""
    note: str = ""


KINDS = {
    "accuracy": Kind("accuracy", "Accuracy", "%", "Pairs in which the chosen answer scores higher; a tie is wrong"),
    "unscored": Kind("accuracy", "Pairs without a score", "%", "The reward function gave None for one of the answers"),
    "strength.brier": Kind("strength", "Brier score", "", "Squared distance of the predicted from the given strength"),
    "strength.log_loss": Kind("strength", "Log loss", "", "Nats a pair, against the given strength"),
    "strength.correlation": Kind("strength", "Margin and strength", "", "Spearman's correlation, -1 to 1"),
    "ece": Kind(
        "calibration",
        "Calibration error (ECE)",
        "",
        "Mean distance between how sure the scores are and how often they are right; its interval reaches 0 where it "
        "cannot be told from chance",
    ),
    "temperature": Kind(
        "calibration", "Temperature that mends it", "", "Above 1: the scores are too sure. Divide them by it"
    ),
    "ece_after_temperature": Kind(
        "calibration", "ECE after it", "", "Cross-validated: each pair with the temperature of the other folds"
    ),
    "length.correlation": Kind("length", "Score and length", "", "Correlation of the two answers' differences"),
    "length.partial_correlation": Kind(
        "length", "Score and length at equal preference", "", "0 where length alone earns nothing"
    ),
    "length.slope": Kind("length", "Reward for 100 characters", "", "At equal preference, in reward units"),
    "length.accuracy_longer": Kind("length", "Accuracy where the chosen answer is longer", "%"),
    "length.accuracy_shorter": Kind("length", "Accuracy where the chosen answer is shorter", "%"),
    "margin": Kind("scores", "Margin", "", "Score of the chosen less that of the rejected answer, in reward units"),
    "ensemble.disagreement": Kind(
        "ensemble", "Disagreement of the members", "", "Deviation of their margins, in reward units"
    ),
    "ensemble.unanimous": Kind("ensemble", "Pairs that all members order alike", "%"),
    "ensemble.auc": Kind(
        "ensemble", "Disagreement tells errors (AUC)", "", "0.5: it says nothing; 1: it is higher on every error"
    ),
    "best_of_n.gain": Kind("best_of_n", "Gold gained by best-of-n", "", "Largest n against a random sample"),
    "best_of_n.drop": Kind(
        "best_of_n", "Gold lost after its peak", "", "Best n against the largest n; above 0 is over-optimisation"
    ),
    "best_of_n.correlation": Kind("best_of_n", "Proxy and gold", "", "Correlation among samples of one prompt"),
}
"""Estimates with a fixed name. Beside them: `accuracy.CATEGORY`, `probes.PROBE.change` and `probes.PROBE.raised`."""


def kind_of(name: str) -> Kind | None:
    """What the estimate called `name` is, or None if there is no such thing."""
    head, _, rest = name.partition(".")
    if head == "accuracy" and rest:
        return Kind("accuracy", f"… {rest}", "%")
    if head == "probes":
        probe, _, what = rest.rpartition(".")
        words = probe.replace("_", " ")
        if probe and what == "change":
            return Kind("probes", f"Probe: {words}", "", "Mean change of the score, in reward units")
        if probe and what == "raised":
            return Kind("probes", f"… {words} raises the score", "%", "Share of answers")
    return KINDS.get(name)


@dataclass(frozen=True)
class RewardValidation:
    """What held-out preferences say about a reward model.

    Args:
        estimates (`dict[str, Estimate]`):
            Every figure by its name, as thresholds name it; see [`validate_reward_model`] for the list.
        missing (`dict[str, str]`, *optional*):
            Measures that could not be taken, and why.
        plots (`list[Curve | Intervals]`, *optional*):
            Reliability curve, histograms, probes, best-of-n curve.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.reward_models import RewardValidation
    >>> from rlhf_ext.stats import wilson
    >>> validation = RewardValidation({"accuracy": wilson(55, 100)})
    >>> validation.refusal(0.6)
    'accuracy 0.55 [0.45, 0.64] on 100 held-out pairs is under the 0.6 that is asked for'

    ```
    """

    estimates: dict[str, Estimate]
    missing: dict[str, str] = field(default_factory=dict)
    plots: list[Curve | Intervals] = field(default_factory=list)

    @property
    def accuracy(self) -> Estimate:
        """Share of pairs in which the chosen answer scores higher (a tie is wrong), with Wilson's interval."""
        return self.estimates["accuracy"]

    @property
    def by_category(self) -> dict[str, Estimate]:
        """The same for each value of a `category` column; empty without one."""
        start = "accuracy."
        return {name[len(start) :]: found for name, found in self.estimates.items() if name.startswith(start)}

    @property
    def length_correlation(self) -> float:
        """Correlation of score and length at equal preference, in [-1, 1]; NaN where it is not defined."""
        found = self.estimates.get("length.partial_correlation")
        return float("nan") if found is None else found.value

    def why_missing(self, name: str) -> str:
        """Why there is no estimate of that name."""
        kind = kind_of(name)
        if kind is not None and kind.measure in self.missing:
            return self.missing[kind.measure]
        if name.startswith("accuracy."):
            return f"no rows of that category; there are {', '.join(self.by_category) or 'none'}"
        return "it was not measured, or is not defined on this data"

    def refusal(self, min_accuracy: float) -> str | None:
        """Why PPO may not use this reward model, or None if it may.

        The accuracy must reach `min_accuracy`, and its interval must lie above 0.5, where a coin is.
        """
        figure = f"accuracy {self.accuracy} on {self.accuracy.n} held-out pairs"
        if self.accuracy.value < min_accuracy:
            return f"{figure} is under the {min_accuracy:g} that is asked for"
        if self.accuracy.low <= 0.5:
            return f"{figure} cannot be told from a coin's 0.5"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: estimates by name, and why measures are missing."""
        return {"estimates": {name: e.to_dict() for name, e in self.estimates.items()}, "missing": dict(self.missing)}

    def to_report(
        self, title: str = "Reward model", subtitle: str = "", thresholds: Thresholds | None = None
    ) -> Report:
        """The validation as a page, see [`~rlhf_ext.evaluation.report.write_report`].

        Args:
            title (`str`, *optional*), subtitle (`str`, *optional*):
                What was validated, and on what.
            thresholds ([`Thresholds`], *optional*):
                What was asked of it; its verdicts are shown beside the measures.

        Returns:
            [`~rlhf_ext.evaluation.report.Report`].
        """
        from .page import make_page

        return make_page(self, title, subtitle, thresholds)
