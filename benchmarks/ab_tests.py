"""What looking costs: false alarms of A/B tests that are looked at again and again, and users that they need.

    python benchmarks/ab_tests.py [--quick]

- A/A: 1,000 experiments whose variants are the same, 20 looks each. How often is there a clear difference at any look? By the
  confidence sequence of `rlhf_ext.stats` (target: at most 5 %), by the usual z-test at each look, and by the usual test at the last
  look alone. Four kinds: yes and no with even shares; rare events with 5 % of users in one variant; skewed values with 10 %; and
  users who come again and again (some a hundred times) and differ among themselves, by users and, as one should not, by requests.
- sample ratio: the same for the check whether users were dealt as they should be, at 1 %.
- A/B: a rate of 10 % raised by 2, 3 or 5 points. Users that the fixed test needs for 80 % power, by its formula; users after which the
  always-valid test had stopped (looked at 200 times, up to three times as many), median and 80 %; its power at the fixed test's size.
- canary: users of a canary whose errors are above the bound of 5 % before it is rolled back, looked at after each, and how often one at
  the bound exactly is.

Each rate comes with Wilson's interval. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

LOOKS = 20
Draw = Callable[[Any], tuple[Any, Any, Any]]


def moments(values: Any) -> Any:
    from rlhf_ext.stats import Moments

    mean = float(values.mean()) if len(values) else 0.0
    return Moments(len(values), mean, float(((values - mean) ** 2).sum()))


def naive(first: Any, second: Any) -> float:
    """The p-value of the usual z-test, for one look."""
    error = math.sqrt(first.variance / first.n + second.variance / second.n) if min(first.n, second.n) > 1 else 0.0
    return 2 * NormalDist().cdf(-abs(second.mean - first.mean) / error) if error > 0 else 1.0


def single(share: float, n: int, draw: Callable[[Any, int], Any]) -> Draw:
    """Users who come once."""
    import numpy as np

    def make(rng: Any) -> tuple[Any, Any, Any]:
        return np.arange(n), rng.random(n) < share, draw(rng, n)

    return make


def returning(users: int, requests: int) -> Draw:
    """Users who come by a law of Zipf's, each with a rate of yes of its own."""
    import numpy as np

    def make(rng: Any) -> tuple[Any, Any, Any]:
        weights = 1 / np.arange(1, users + 1)
        who = rng.choice(users, size=requests, p=weights / weights.sum())
        arm, rate = rng.random(users) < 0.5, rng.beta(0.5, 0.5, users)
        return who, arm[who], (rng.random(requests) < rate[who]).astype(float)

    return make


def groups(who: Any, arm: Any, values: Any) -> tuple[Any, Any]:
    """Moments of the users' means, by arm."""
    import numpy as np

    counts = np.bincount(who)
    seen = np.flatnonzero(counts)
    means = np.bincount(who, values)[seen] / counts[seen]
    second = np.bincount(who, arm)[seen] > 0
    return moments(means[~second]), moments(means[second])


def same_against_same(make: Draw, rates: bool, times: int, seed: int) -> dict[str, Any]:
    import numpy as np

    from rlhf_ext.stats import difference_p_value, wilson

    counts = dict.fromkeys(
        ("always valid", "usual, each look", "usual, last look", "usual, last look, by requests"), 0
    )
    for turn in range(times):
        who, arm, values = make(np.random.default_rng([seed, turn]))
        always, usual = [], []
        for look in np.linspace(0, len(who), LOOKS + 1)[1:].astype(int):
            pair = groups(who[:look], arm[:look], values[:look])
            if all(group.n for group in pair):
                always.append(difference_p_value(*pair, rates=rates) <= 0.05)
                usual.append(naive(*pair) <= 0.05)
        by_request = naive(moments(values[~arm]), moments(values[arm])) <= 0.05
        for name, alarm in zip(counts, (any(always), any(usual), usual[-1], by_request), strict=True):
            counts[name] += bool(alarm)
    return {name: wilson(count, times) for name, count in counts.items()}


def sample_ratio(times: int) -> dict[str, Any]:
    import numpy as np

    from rlhf_ext.stats import always_valid_sample_ratio, sample_ratio_test, wilson

    shares, always, usual = [0.9, 0.1], 0, 0
    for turn in range(times):
        rows = np.cumsum(np.random.default_rng([7, turn]).multinomial(500, shares, size=LOOKS), axis=0).tolist()
        always += any(always_valid_sample_ratio(row, shares) <= 0.01 for row in rows)
        usual += any(sample_ratio_test(row, shares) <= 0.01 for row in rows)
    return {"always valid": wilson(always, times), "usual, each look": wilson(usual, times)}


def users_needed(effect: float, times: int) -> dict[str, Any]:
    import numpy as np

    from rlhf_ext.stats import Moments, bootstrap, difference_p_value, wilson

    base, normal = 0.1, NormalDist()
    variance = base * (1 - base) + (base + effect) * (1 - base - effect)
    fixed = 2 * math.ceil((normal.inv_cdf(0.975) + normal.inv_cdf(0.8)) ** 2 * variance / effect**2)
    most, stopped = 3 * fixed, []
    looks = np.unique(np.linspace(0, most, 201)[1:].astype(int))
    for turn in range(times):
        rng = np.random.default_rng([11, turn])
        arm = rng.random(most) < 0.5
        yes = rng.random(most) < base + effect * arm
        n, total = np.cumsum(arm), np.cumsum(arm & yes)
        other, other_total = np.arange(1, most + 1) - n, np.cumsum(~arm & yes)
        stopped.append(math.inf)
        for look in looks - 1:
            sizes = ((int(other[look]), int(other_total[look])), (int(n[look]), int(total[look])))
            pair = [Moments(k, s / k, s - s * s / k) if k else Moments() for k, s in sizes]
            if all(one.n for one in pair) and difference_p_value(*pair, planned=fixed, rates=True) <= 0.05:
                stopped[-1] = float(look + 1)
                break
    found = np.array(stopped)
    return {
        "fixed test": fixed,
        "median": bootstrap(lambda values: float(np.median(values)), np.minimum(found, most)),
        "80 % had stopped": float(np.quantile(found, 0.8, method="higher")),
        "power at the fixed test's size": wilson(int((found <= fixed).sum()), times),
        "power at three times as many": wilson(int(np.isfinite(found).sum()), times),
    }


def canary(rate: float, times: int, most: int = 1_000) -> dict[str, Any]:
    import numpy as np

    from rlhf_ext.deployment.experiments import Guard
    from rlhf_ext.stats import Moments, wilson

    guard, users = Guard("error", at_most=0.05), []
    for turn in range(times):
        errors = np.cumsum(np.random.default_rng([13, turn]).random(most) < rate).tolist()
        for n, total in enumerate(errors, 1):
            estimate = guard.estimate(Moments(n, total / n), Moments(), 0.95, 30) if total > 0.05 * n else None
            if estimate is not None and guard.broken(estimate):
                users.append(n)
                break
    return {
        "rolled back": wilson(len(users), times),
        "median users": float(np.median(users)) if users else None,
        "90 % by": float(np.quantile(users, 0.9)) if users else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 of each, which show no more than that it runs")
    quick = parser.parse_args().quick
    times = 20 if quick else 1_000
    kinds: dict[str, tuple[Draw, bool]] = {
        "yes and no, even shares": (single(0.5, 4_000, lambda rng, n: (rng.random(n) < 0.3).astype(float)), True),
        "rare (2 %), 5 % in one": (single(0.05, 10_000, lambda rng, n: (rng.random(n) < 0.02).astype(float)), True),
        "skewed, 10 % in one": (single(0.1, 4_000, lambda rng, n: rng.lognormal(0.0, 1.0, n)), False),
        "returning users": (returning(400, 4_000), True),
    }
    results: dict[str, dict[str, Any]] = {}
    for seed, (name, (make, rates)) in enumerate(kinds.items()):
        results[f"A/A {name}"] = same_against_same(make, rates, times, seed)
    results["sample ratio"] = sample_ratio(times)
    for effect in (0.02, 0.03, 0.05):
        results[f"A/B 10 % + {100 * effect:g} points"] = users_needed(effect, 20 if quick else 400)
    for rate in (0.05, 0.1, 0.2, 0.5):
        results[f"canary with {100 * rate:g} % errors, bound 5 %"] = canary(rate, 20 if quick else 300)
    for name, found in results.items():
        sys.stdout.write(f"{name}\n")
        for what, value in found.items():
            sys.stdout.write(f"  {what:<34} {f'{value:,.0f}' if isinstance(value, float | int) else value}\n")
    plain = {
        name: {what: value.to_dict() if hasattr(value, "to_dict") else value for what, value in found.items()}
        for name, found in results.items()
    }
    sys.stdout.write(json.dumps({"times": times, "looks": LOOKS, **plain}) + "\n")


if __name__ == "__main__":
    main()
