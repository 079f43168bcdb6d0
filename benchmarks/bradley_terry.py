"""How often intervals of Bradley-Terry strengths hold the truth: votes that are independent, or that share items and people.

    python benchmarks/bradley_terry.py [--runs 400]

Six models with strengths from -1 to 1 logit. Votes of one item share how far it favours each model, votes of one person a taste; the truth
is the strength that explains the mean over many items and people.
"""

from __future__ import annotations

import argparse
import sys
from itertools import combinations

import numpy as np

from rlhf_ext.stats import bradley_terry, wilson

NAMES = "abcdef"
STRENGTHS = np.linspace(-1, 1, 6)


def votes(rng, items, people, item_spread, taste_spread, strangers=False):
    """Each person sees each item with a pair of models: the two models, item, person, vote (half where it is near).

    With `strangers` each item is seen by people whom no other item knows.
    """
    favours = item_spread * rng.normal(size=(items, 6))
    tastes = taste_spread * rng.normal(size=(items * people if strangers else people, 6))
    pair = np.array(list(combinations(range(6), 2)))[rng.integers(15, size=items)]
    item = np.repeat(np.arange(items), people)
    person = np.arange(items * people) if strangers else np.tile(np.arange(people), items)
    i, j = pair[item].T
    logit = STRENGTHS[i] - STRENGTHS[j]
    logit = logit + favours[item, i] - favours[item, j] + tastes[person, i] - tastes[person, j]
    logit = logit + rng.logistic(size=len(item))
    won = np.where(np.abs(logit) < 0.3, 0.5, (logit > 0).astype(float))
    return i, j, item, person, won


def truth(rng, item_spread, taste_spread):
    """Differences that a very large crowd on very many items gives."""
    i, j, _, _, won = votes(rng, 400_000, 1, item_spread, taste_spread, strangers=True)
    found = bradley_terry([NAMES[k] for k in i], [NAMES[k] for k in j], won, clusters=np.zeros(len(i)), resamples=1)
    return {pair: estimate.value for pair, estimate in found.differences.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=400)
    runs = parser.parse_args().runs
    settings = {
        "votes of their own": (300, 1, 0.0, 0.0, ("rows", "items")),
        "5 people an item, items differ": (100, 5, 1.0, 0.0, ("rows", "items")),
        "20 people with tastes, items differ": (100, 20, 0.7, 0.7, ("rows", "items", "both")),
    }
    for name, (items, people, item_spread, taste_spread, ways) in settings.items():
        true = truth(np.random.default_rng(0), item_spread, taste_spread)
        held = dict.fromkeys(ways, 0)
        for run in range(runs):
            i, j, item, person, won = votes(np.random.default_rng(run + 1), items, people, item_spread, taste_spread)
            first, second = ([NAMES[k] for k in side] for side in (i, j))
            labels = {"rows": (None, None), "items": (item, None), "both": (item, person)}
            for way in ways:
                found = bradley_terry(first, second, won, *labels[way], resamples=300, seed=run)
                one = found.differences["f", "a"]
                held[way] += one.low <= true["f", "a"] <= one.high
        for way in ways:
            rate = wilson(held[way], runs)
            sys.stdout.write(f"{name:<38} resampling {way:<6} {rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
