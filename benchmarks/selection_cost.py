"""What choosing costs once scores are there: CPU time and memory, from 1,000 to 100,000 prompts.

    python benchmarks/selection_cost.py [--quick]

Four responses a prompt, scores by five members, features of 64 dimensions in float32, texts of 40 words. For each strategy, the
utilities and pairs of all prompts and a batch of 500; for the ways to spread a batch, 500 out of all. CPU-seconds of the choice
alone, and the most memory beside the arrays that it was given (the peak of `tracemalloc`, in a second run, since tracing costs
time). Growth is the exponent between the two largest sizes: 1 is linear. Target: at most 60 s for each at 100,000 prompts on two
cores, memory linear with a small constant. One thread.
Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

RESPONSES, MEMBERS, DIMENSIONS, BATCH = 4, 5, 64, 500
SIZES, TARGET = (1_000, 10_000, 100_000), 60.0
SPREADS = ("k_center", "k_means_plus_plus", "deduplicate", "with_quotas", "d_optimal batch")


def task(name: str, size: int) -> Callable[[], Any]:
    """The choice to measure, with its arrays made."""
    import numpy as np

    from rlhf_ext import active
    from rlhf_ext.active.strategies import STRATEGIES

    rng = np.random.default_rng(0)
    scores = rng.normal(size=(size, RESPONSES, MEMBERS))
    present = np.ones((size, RESPONSES), dtype=bool)
    features = rng.normal(size=(size, RESPONSES, DIMENSIONS)).astype(np.float32)
    if name == "d_optimal batch":
        return lambda: active.Design(DIMENSIONS, active.ridge_of(features)).choose(features, BATCH, scores)
    if name in SPREADS:
        points, utilities = features[:, 0], rng.random(size)
        categories = rng.choice(["code", "math", "chat"], size).tolist()
        return {
            "k_center": lambda: active.k_center(points, BATCH),
            "k_means_plus_plus": lambda: active.k_means_plus_plus(points, BATCH, utilities),
            # On the shortlist that it is meant for: eight times the batch.
            "deduplicate": lambda: active.deduplicate(points[: 8 * BATCH], 0.95, utilities[: 8 * BATCH]),
            "with_quotas": lambda: active.with_quotas(utilities, categories, BATCH, {"code": 0.5, "math": 0.2}),
        }[name]
    words = [f"word{i}" for i in range(500)]
    texts: list[list[str]] = [[""]] * size
    if name == "response_diversity":
        texts = [
            [" ".join(words[i] for i in row) for row in rng.integers(500, size=(RESPONSES, 40))] for _ in range(size)
        ]
    design = active.Design(DIMENSIONS) if name == "d_optimal" else None
    given = features if name == "d_optimal" else None
    block = active.Candidates(texts, present, rng, scores, given, -np.abs(scores[:, :, 0]), design)
    return lambda: active.top_k(STRATEGIES[name].acquire(block).utilities, BATCH)


def measure(name: str, size: int) -> dict[str, float]:
    """CPU-seconds, and the peak of memory in megabytes beside the arrays."""
    choose = task(name, size)
    started = time.process_time()
    choose()
    seconds = time.process_time() - started
    choose = task(name, size)
    tracemalloc.start()
    choose()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"cpu_s": seconds, "peak_mb": peak / 1e6}


def growth(small: float, large: float, ratio: float) -> float:
    return math.log(max(large, 1e-9) / max(small, 1e-9)) / math.log(ratio)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1,000 and 2,000 prompts: that it runs, not a figure")
    options = parser.parse_args()
    from rlhf_ext.active import STRATEGIES

    sizes = (1_000, 2_000) if options.quick else SIZES
    results: dict[str, Any] = {}
    sys.stdout.write(f"{'':<26}" + "".join(f"{size:>10,} prompts" for size in sizes) + "      growth\n")
    for name in (*STRATEGIES, *SPREADS):
        found = [measure(name, size) for size in sizes]
        ratio = sizes[-1] / sizes[-2]
        grown = {key: round(growth(found[-2][key], found[-1][key], ratio), 2) for key in ("cpu_s", "peak_mb")}
        results[name] = {str(size): one for size, one in zip(sizes, found, strict=True)} | {"growth": grown}
        cells = "".join(f"{one['cpu_s']:>9.2f} s {one['peak_mb']:>4.0f} MB" for one in found)
        sys.stdout.write(f"{name:<26}{cells}   time {grown['cpu_s']:.2f}, memory {grown['peak_mb']:.2f}\n")
        sys.stdout.flush()
    slowest = max(results, key=lambda name: results[name][str(sizes[-1])]["cpu_s"])
    seconds = results[slowest][str(sizes[-1])]["cpu_s"]
    results["target_met"] = seconds <= TARGET
    sys.stdout.write(f"slowest: {slowest}, {seconds:.1f} CPU-s of {TARGET:.0f}\n")
    sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
