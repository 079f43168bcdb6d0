"""The report of an evaluation: gate first, then figures, then what to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import __version__
from .answers_shown import examples
from .comparison import compare, compare_categories, measures, plots
from .gate import ReleaseGate
from .preferred import Preferred
from .report import Report
from .running import SuiteResult
from .suite import EMPTY, FAILED


def evaluation_report(
    results: Sequence[SuiteResult],
    baselines: Sequence[SuiteResult] | None = None,
    gate: ReleaseGate | None = None,
    title: str = "Evaluation",
    preferred: Sequence[Preferred] = (),
) -> Report:
    """A page on one model, or on a model against a baseline.

    Args:
        results (`Sequence[SuiteResult]`):
            What the model did, a suite each.
        baselines (`Sequence[SuiteResult]`, *optional*):
            The same suites answered by the baseline.
        gate ([`ReleaseGate`], *optional*):
            What is asked of the model.
        title (`str`, *optional*, defaults to `"Evaluation"`):
            Of the page.
        preferred (`Sequence[Preferred]`, *optional*):
            What a judge said of the pairs of answers, from [`~rlhf_ext.evaluation.preferred.prefer`]; its results are to be
            among `results` and `baselines`.

    Returns:
        [`~rlhf_ext.evaluation.report.Report`]: to be shown or written by [`~rlhf_ext.evaluation.report.write_report`]. Its
        `gate` has a verdict for each limit.

    Raises:
        ValueError: If two results are not comparable, or the gate asks for what makes no sense of these figures.
    """
    pairs = [(None, result) for result in results] if baselines is None else list(zip(baselines, results, strict=True))
    figures = [figure for old, new in pairs if old is not None for figure in compare(old, new)]
    subtitle = results[0].model if baselines is None else f"{results[0].model} against {baselines[0].model}"
    return Report(
        title=title,
        subtitle=f"{subtitle}, on {' and '.join(_size_of(result) for result in results)}",
        figures=figures,
        measures=[one for given in preferred for one in given.measures]
        + ([] if baselines is not None else [one for result in results for one in measures(result)]),
        plots=[] if baselines is not None else [plot for result in results for plot in plots(result)],
        examples=[example for old, new in pairs for example in examples(new, old)],
        settings=_settings(results, baselines),
        notes=[note for old, new in pairs for note in _notes(old, new)]
        + [note for given in preferred for note in given.notes],
        gate=[] if gate is None else gate.check(results, figures),
        breakdown=[figure for old, new in pairs if old is not None for figure in compare_categories(old, new)],
    )


def _size_of(result: SuiteResult) -> str:
    answers = "" if result.samples == 1 else f", {result.samples} answers each"
    return f"{len(result.cases):,} cases of {result.suite}{answers}"


def _notes(before: SuiteResult | None, after: SuiteResult) -> list[str]:
    notes = []
    for result in filter(None, (before, after)):
        if result.failures:
            first = result.failures[min(result.failures)]
            notes.append(
                f"{result.model}: {len(result.failures):,} of {len(result.answers):,} answers to {result.suite} could not be "
                f"generated, and are in no figure but that of failures. The first: {first}"
            )
        nothing = [
            c.label for c in result.columns if all(v is None for v in c.values) and c.name not in (FAILED, EMPTY)
        ]
        if nothing:
            notes.append(
                f"{result.model}: not measured on {result.suite}, for want of any value: {', '.join(nothing)}."
            )
    if before is not None and before.identity == after.identity and before.seed == after.seed:
        notes.append(f"Both answers to {after.suite} are of the same model with the same seed: they cannot differ.")
    return notes


def _settings(results: Sequence[SuiteResult], baselines: Sequence[SuiteResult] | None) -> dict[str, str]:
    settings = {"model": results[0].identity}
    if baselines is not None:
        settings["baseline"] = baselines[0].identity
    for result in results:
        settings[f"suite {result.suite}"] = f"version {result.version}, {_size_of(result)}, {_plain(result.sampling)}"
    return {**settings, "seed": str(results[0].seed), "rlhf_ext": __version__}


def _plain(sampling: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in sampling.items() if isinstance(value, int | float))
