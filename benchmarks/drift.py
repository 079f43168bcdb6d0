"""False alarms and detection delay of the drift test on live texts, against tests that were made for one look.

    python benchmarks/drift.py [--quick]

Streams of texts whose words are drawn by rank, against a reference of 300 texts. Without drift: how often a stream of 1,000 texts
ever raises an alarm at a nominal rate of 5 %, for the conformal martingale that the gateway uses (all features), for a two-sample
Kolmogorov-Smirnov test of the last 100 texts' lengths at every 20th text, as it is often done, and for the same with its level divided
by the number of looks. With drift from the 301st text on (longer texts, another topic, another language for a fifth, twice the spread
of lengths): how many texts until the alarm, and how often none comes within 700. Rates have Wilson intervals, delays bootstrap
intervals of the median. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.stats import ks_2samp

from rlhf_ext.deployment.monitoring.drift import SideWatch
from rlhf_ext.deployment.monitoring.features import characters, length, words
from rlhf_ext.stats import Estimate, bootstrap, wilson

ALPHA, REFERENCE, QUIET, LOOK, WINDOW = 0.05, 300, 300, 20, 100
VOCABULARY = np.array(
    [f"{a}{b}" for a in ("ba", "do", "ki", "lu", "me", "no", "pa", "ri") for b in ("ta", "ne", "sol")]
)
OTHER = np.array([f"{a}{b}" for a in ("ши", "да", "ню", "ко", "ре", "му", "га", "ты") for b in ("ва", "не", "сол")])

Texts = Callable[[np.random.Generator, int], list[str]]


def texts(
    rng: np.random.Generator, count: int, topic: int = 0, mean: float = 20.0, sd: float = 5.0, other: float = 0.0
):
    """Texts of a topic (which words are common), with a length in words, a share of them in another script."""
    weights = np.roll(1 / np.arange(1, len(VOCABULARY) + 1), topic)
    sizes = np.maximum(1, rng.normal(mean, sd, count)).astype(int)
    drawn = rng.random(count) < other
    return [
        " ".join(rng.choice(OTHER if new else VOCABULARY, size, p=weights / weights.sum()))
        for size, new in zip(sizes, drawn, strict=True)
    ]


DRIFTS: dict[str, Texts] = {
    "a quarter longer": lambda rng, n: texts(rng, n, mean=25),
    "twice the spread of lengths": lambda rng, n: texts(rng, n, sd=10),
    "another topic": lambda rng, n: texts(rng, n, topic=8),
    "a fifth in another language": lambda rng, n: texts(rng, n, other=0.2),
}


def martingale(stream: list[str], seed: int) -> int | None:
    """After how many texts beyond the reference there is an alarm."""
    makers = {"length": length, "characters": characters, "words": words}
    # Twice: the first reference has half of alpha, the rest is kept for later ones. Here there is one.
    watch = SideWatch("input", makers, 2 * ALPHA, REFERENCE, seed)
    for number, text in enumerate(stream, 1 - REFERENCE):
        if watch.add(text):
            return number
    return None


def repeated_ks(stream: list[str], divided: bool) -> int | None:
    """The same for a test of a fixed size that is looked at again and again."""
    sizes = np.log1p([len(text) for text in stream])
    looks = range(REFERENCE + WINDOW, len(sizes) + 1, LOOK)
    level = ALPHA / len(looks) if divided else ALPHA
    for end in looks:
        if ks_2samp(sizes[:REFERENCE], sizes[end - WINDOW : end]).pvalue <= level:
            return end - REFERENCE
    return None


METHODS: dict[str, Callable[[list[str], int], int | None]] = {
    "conformal martingale, 3 features": martingale,
    "KS of lengths at every look": lambda stream, seed: repeated_ks(stream, divided=False),
    "KS of lengths, Bonferroni": lambda stream, seed: repeated_ks(stream, divided=True),
}


def false_alarms(streams: int) -> dict[str, Estimate]:
    """How often a stream without drift ever raises an alarm, by method."""
    alarms = dict.fromkeys(METHODS, 0)
    for seed in range(streams):
        stream = texts(np.random.default_rng(seed), REFERENCE + 1000)
        for name, method in METHODS.items():
            alarms[name] += method(stream, seed) is not None
    return {name: wilson(count, streams) for name, count in alarms.items()}


def delays(after: Texts, streams: int) -> dict[str, tuple[Estimate | None, Estimate]]:
    """By method: the median delay of what is found, and how often drift is missed, or an alarm came before it."""
    found: dict[str, list[float]] = {name: [] for name in METHODS}
    for seed in range(streams):
        rng = np.random.default_rng(10_000 + seed)
        stream = texts(rng, REFERENCE + QUIET) + after(rng, 700)
        for name, method in METHODS.items():
            at = method(stream, seed)
            if at is not None and at > QUIET:
                found[name].append(at - QUIET)
    return {
        name: (
            bootstrap(np.median, values) if len(values) > 2 else None,
            wilson(streams - len(values), streams),
        )
        for name, values in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the streams")
    quick = parser.parse_args().quick
    started = time.perf_counter()
    result: dict[str, object] = {"alpha": ALPHA}
    print(f"{'':34}{'false alarms, 1,000 texts':>30}")
    for name, rate in false_alarms(20 if quick else 60).items():
        print(f"{name:34}{rate!s:>30}")
        result[f"false alarms: {name}"] = [rate.value, rate.low, rate.high]
    print(f"\n{'':34}{'median delay in texts':>30}{'missed or too early':>26}")
    for drift, after in DRIFTS.items():
        print(drift)
        for name, (delay, missed) in delays(after, 5 if quick else 15).items():
            shown = "none found" if delay is None else f"{delay.value:.0f} [{delay.low:.0f}, {delay.high:.0f}]"
            print(f"  {name:32}{shown:>30}{missed!s:>26}")
            result[f"{drift}: {name}"] = {
                "delay": None if delay is None else [delay.value, delay.low, delay.high],
                "missed": [missed.value, missed.low, missed.high],
            }
    result["seconds"] = round(time.perf_counter() - started, 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
