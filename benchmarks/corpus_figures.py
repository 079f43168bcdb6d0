"""Whether figures of a whole corpus have honest intervals: macro-F1 and perplexity, against what is true.

    python benchmarks/corpus_figures.py [--quick]

Answers are drawn from a known distribution, so that the true figure is known: macro-F1 of a classifier with a given confusion
over three classes (50, 35 and 15 %), and perplexity of answers of 5 to 200 tokens, whose nats a token differ from answer to
answer. Each figure goes the way it goes in a suite: `contributions`, then `clustered_rate` or `clustered_mean`.

- coverage: how often the 95 % interval holds the true figure. Nominal: 95 %.
- false alarms: how often the interval of the change between two equal models excludes 0. Nominal: 5 %.
- test: how often the sign-flip test gives p <= 0.05 for them. Nominal: 5 %.

Each rate comes with Wilson's interval. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

SHARES = np.array([0.5, 0.35, 0.15])
LABELS = ["a", "b", "c"]
NATS = 1.5


def confusion(right: float) -> np.ndarray:
    """Rows: what is right; columns: what is answered."""
    wrong = 1 - right
    return np.array(
        [[right, 0.7 * wrong, 0.3 * wrong], [0.6 * wrong, right, 0.4 * wrong], [0.5 * wrong, 0.5 * wrong, right]]
    )


def true_f1(right: float) -> float:
    joint = SHARES[:, None] * confusion(right)
    return float(np.mean(2 * joint.diagonal() / (joint.sum(0) + joint.sum(1))))


def labels(rng: np.random.Generator, cases: int, right: float) -> Callable[[], list[Any]]:
    """Answers of one model after another to the same cases."""
    gold = rng.choice(3, cases, p=SHARES)
    steps = confusion(right).cumsum(1)
    return lambda: [
        (LABELS[g], LABELS[min(int(np.searchsorted(steps[g], u)), 2)])
        for g, u in zip(gold, rng.random(cases), strict=True)
    ]


def nats(rng: np.random.Generator, cases: int, _: float) -> Callable[[], list[Any]]:
    """Nats and tokens of answers: how surprising one is does not hang on its length."""
    hard = rng.normal(0, 0.2, cases)
    return lambda: [
        (float(max(0.05, NATS + off + rng.normal(0, 0.3)) * tokens), int(tokens))
        for off, tokens in zip(hard, rng.integers(5, 201, cases), strict=True)
    ]


def perplexity(rows: list[Any]) -> float:
    return math.exp(sum(n for n, _ in rows) / sum(t for _, t in rows))


def measured(name: str, cases: int, right: float, runs: int, truth: float) -> dict[str, Any]:
    from rlhf_ext.evaluation.automatic import Classification
    from rlhf_ext.stats import (
        clustered_mean,
        clustered_rate,
        contributions,
        paired_difference,
        rate_difference,
        sign_flip_test,
        wilson,
    )

    rng = np.random.default_rng(cases)
    held = alarms = found = 0
    for run in range(runs):
        if name == "macro_f1":
            ask, statistic = labels(rng, cases, right), Classification(LABELS).macro_f1
        else:
            ask, statistic = nats(rng, cases, right), perplexity
        one, other = (contributions(statistic, ask()) for _ in range(2))
        draws: dict[str, Any] = {"resamples": 2000, "seed": run}
        if name == "macro_f1":
            estimate = clustered_rate(one, contributed=True, **draws)
            change = rate_difference(one, other, contributed=True, **draws)
        else:
            estimate, change = clustered_mean(one, **draws), paired_difference(one, other, **draws)
        held += estimate.low <= truth <= estimate.high
        alarms += change.excludes_zero
        found += sign_flip_test(one, other, **draws) <= 0.05
    rates = {"coverage": wilson(held, runs), "false_alarms": wilson(alarms, runs), "test": wilson(found, runs)}
    return {"figure": name, "cases": cases, "true": round(truth, 3), **rates}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Few runs: to see that it works.")
    quick = parser.parse_args().quick
    rows = []
    for cases in (50, 300):
        for name, right, truth in (
            ("macro_f1", 0.6, true_f1(0.6)),
            ("macro_f1", 0.9, true_f1(0.9)),
            ("perplexity", 0.0, math.exp(NATS)),
        ):
            row = measured(name, cases, right, 20 if quick else 400, truth)
            rows.append(row)
            shown = "   ".join(f"{key} {row[key]}" for key in ("coverage", "false_alarms", "test"))
            sys.stdout.write(f"{name:<12}{cases:>5} cases, true {row['true']:<7} {shown}\n")
            sys.stdout.flush()
    plain = [{key: v.to_dict() if hasattr(v, "to_dict") else v for key, v in row.items()} for row in rows]
    sys.stdout.write(json.dumps(plain) + "\n")


if __name__ == "__main__":
    main()
