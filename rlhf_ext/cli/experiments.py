"""`rlhf-ext ab`: what an A/B test has shown so far."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .parsing import parse
from .writers import needed

_HELP = """\
usage: rlhf-ext ab report --outcomes FILE.jsonl [--experiments FILE.yaml --experiment NAME] [--control NAME] ...

A row of --outcomes has `variant`, `user`, `value` (a number, true, false, or null where nothing is known), and if wanted `metric`,
`experiment` and `why` (others than "hash" are left out). `rlhf-ext feedback export --what outcomes` writes such rows.

Look as often as you like: intervals and p-values hold at every look.

Exit code 1 where the sample ratio does not hold, or a variant is clearly worse in a metric of --better.

"""


@dataclass(kw_only=True)
class ReportArguments:
    """Arguments of `rlhf-ext ab report`."""

    outcomes: str | None = field(default=None, metadata={"help": "JSON lines with variant, user, value."})
    experiments: str | None = field(
        default=None, metadata={"help": "YAML file with the experiment, for its control and its shares."}
    )
    experiment: str | None = field(default=None, metadata={"help": "Its name, where there are several."})
    control: str | None = field(
        default=None,
        metadata={"help": "What the others are compared with; by default the experiment's first variant."},
    )
    shares: list[str] = field(
        default_factory=list,
        metadata={"help": "Without --experiments: sft=0.5 dpo=0.5, to check the sample ratio by."},
    )
    better: list[str] = field(
        default_factory=list, metadata={"help": "Which way is better: thumbs_up=higher seconds=lower."}
    )
    confidence: float = field(default=0.95, metadata={"help": "Of the intervals."})
    planned: int = field(
        default=1000, metadata={"help": "Users after which they are to be tightest; set it before looking."}
    )
    output: str | None = field(default=None, metadata={"help": "Folder for report.html and ab.json."})


def ab(arguments: list[str]) -> int:
    """Reports; 1 where the sample ratio does not hold or something is clearly worse."""
    if arguments[:1] in ([], ["-h"], ["--help"]):
        sys.stdout.write(_HELP)
        return 0
    if arguments[0] != "report":
        raise ValueError(f"unknown action {arguments[0]!r}; there is report.")
    if any(one in ("-h", "--help") for one in arguments[1:]):
        sys.stdout.write(_HELP)
    (options,) = parse("ab report", [ReportArguments], arguments[1:])
    needed("ab", "outcomes", options.outcomes)
    from ..deployment.experiments import ab_report, read_outcomes
    from ..evaluation.report import render_table, write_report

    name, control, shares = _experiment(options)
    outcomes = read_outcomes(options.outcomes, name)
    report = ab_report(
        outcomes,
        control,
        shares,
        _pairs("better", options.better),
        name or "A/B test",
        options.confidence,
        options.planned,
    )
    page = report.page()
    sys.stdout.write(f"{render_table(page)}\n\n" + "".join(f"{note}\n" for note in page.notes))
    if options.output is not None:
        path = write_report(page, options.output)
        figures = json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n"
        (Path(options.output) / "ab.json").write_text(figures, encoding="utf-8")
        sys.stdout.write(f"\nreport  {path}\n")
    lines = [f"{effect.metric} of {effect.variant} is clearly worse" for effect in report.worse]
    if report.sample_ratio is not None and not report.sample_ratio.holds:
        lines.insert(0, "the sample ratio does not hold")
    for line in lines:
        sys.stdout.write(f"fails   {line}\n")
    return 1 if lines else 0


def _experiment(options: ReportArguments) -> tuple[str | None, str, dict[str, float] | None]:
    """The experiment's name, its control and its shares, from the file or from flags."""
    if options.experiments is None:
        given = _pairs("shares", options.shares)
        control = options.control or next(iter(given), None)
        if control is None:
            raise ValueError("Who is the control? Give --experiments, --shares or --control.")
        return options.experiment, control, {name: _share(name, share) for name, share in given.items()} or None
    if options.shares:
        raise ValueError("--shares are those of --experiments; give one of them.")
    from ..deployment.experiments import read_experiments

    found, _ = read_experiments(options.experiments)
    names = [one.name for one in found]
    if options.experiment is None and len(names) > 1:
        raise ValueError(
            f"{options.experiments} has several experiments; say which: --experiment {' | '.join(names)}."
        )
    name = options.experiment or names[0]
    if name not in names:
        raise ValueError(f"{options.experiments} has no experiment {name!r}; there are {', '.join(names)}.")
    return name, options.control or found[name].control, dict(found[name].variants)


def _pairs(flag: str, given: list[str]) -> dict[str, Any]:
    found = {}
    for pair in given:
        name, equals, value = pair.rpartition("=")
        if not (name and equals and value):
            raise ValueError(f"--{flag} takes NAME=VALUE, got {pair!r}.")
        found[name] = value
    return found


def _share(name: str, share: str) -> float:
    try:
        return float(share)
    except ValueError:
        raise ValueError(f"--shares: the share of {name!r} must be a number, got {share!r}.") from None
