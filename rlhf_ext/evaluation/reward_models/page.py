"""A validation as a page: its figures, what was asked of them, and its plots."""

from __future__ import annotations

from typing import Literal

from ..report import Measure, Report
from .result import RewardValidation, kind_of
from .thresholds import Thresholds


def make_page(validation: RewardValidation, title: str, subtitle: str, thresholds: Thresholds | None) -> Report:
    """See [`RewardValidation.to_report`]."""
    asked = [] if thresholds is None else list(thresholds.limits)
    names = [*validation.estimates, *(name for name in asked if name not in validation.estimates)]
    notes = ["Accuracy, calibration and correlations are of held-out pairs; probes edit the chosen answers."]
    notes += [f"Not measured: {name.replace('_', '-')}, since {why}." for name, why in validation.missing.items()]
    notes += _raised(validation)
    return Report(
        title=title,
        subtitle=subtitle,
        measures=[_measure(name, validation, thresholds) for name in names],
        plots=validation.plots,
        notes=notes,
    )


def _measure(name: str, validation: RewardValidation, thresholds: Thresholds | None) -> Measure:
    kind, estimate = kind_of(name), validation.estimates.get(name)
    assert kind is not None
    verdict: Literal["", "passes", "fails"] = ""
    wanted = ""
    if thresholds is not None and name in thresholds.limits:
        wanted = str(thresholds.limits[name])
        verdict = "passes" if thresholds.failure(name, validation) is None else "fails"
    note = kind.note if estimate is not None else f"Not measured: {validation.why_missing(name)}"
    return Measure(name, kind.label, estimate, kind.unit, note, wanted, verdict)


def _raised(validation: RewardValidation) -> list[str]:
    """Probes that clearly raise the score: what a policy would learn to do."""
    found = [
        name.split(".", 1)[1].removesuffix(".change").replace("_", " ")
        for name, estimate in validation.estimates.items()
        if name.startswith("probes.") and name.endswith(".change") and estimate.low > 0
    ]
    return [f"The score rises with {', '.join(found)}: a policy trained on it would learn that."] if found else []
