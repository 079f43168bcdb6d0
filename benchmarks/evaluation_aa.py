"""How often an evaluation cries wolf: a model against itself, 200 times.

    python benchmarks/evaluation_aa.py [--quick]

The tiny model answers the same 100 prompts, twice each, once for each of 400 seeds; the answers of seeds 2i and 2i + 1 are
compared as those of two models are: `run_suite`, `compare`, `ReleaseGate`. Nothing is drawn from a pool: all answers are
independent of one another. Every difference is chance, so whatever is found is a false alarm.

- intervals: how often the 95 % interval of a change excludes 0. Nominal: 5 %.
- tests: how often the sign-flip test gives p <= 0.05. Nominal: 5 %, less for rare events, where no p is just 5 %.
- family: how often at least one of the seven figures is called clearly changed, by its own interval, and by p-values that
  Holm's method corrects. Nominal after the correction: at most 5 %.
- gate: how often a release gate fails that asks all seven not to get worse. Nominal: at most 2.5 %, as getting worse is one
  of two ways to change.
- power: the same comparisons of one rate, with the event put into a further share of one side's answers, the share being what
  `detectable_difference` names: how often the interval excludes 0. Nominal: 80 %.

Each rate comes with Wilson's interval; over figures, comparisons are resampled whole. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

PROMPTS, SAMPLES = 100, 2


def make_suite() -> Any:
    from rlhf_ext import assistant_preferences
    from rlhf_ext.evaluation.suite import Case, Column, version_of

    class Letters:
        """Events from common to rare, means, and one that is reduced over the samples of a case."""

        name, samples = "letters", SAMPLES
        sampling = {"max_new_tokens": 10, "temperature": 1.0}
        rates = {"common": lambda a: " s" in a or " a" in a, "third": lambda a: "th" in a, "rare": lambda a: "z" in a}
        figures = [*rates, "very_rare", "vowels", "characters", "any_rare"]

        def __init__(self) -> None:
            prompts = dict.fromkeys(row["prompt"][-1]["content"] for row in assistant_preferences("train"))
            self.cases = [
                Case(f"p{index}", [{"role": "user", "content": prompt}])
                for index, prompt in enumerate(list(prompts)[:PROMPTS])
            ]
            self.version = version_of(self.cases, sampling=self.sampling, samples=SAMPLES)

        def measure(self, cases: list, answers: list[str]) -> list:
            found = [
                Column(name, name, [float(event(answer)) for answer in answers], better="lower")
                for name, event in self.rates.items()
            ]
            vowels = [sum(letter in "aeiou" for letter in answer) / max(1, len(answer)) for answer in answers]
            rare = [found[2].values[row : row + SAMPLES] for row in range(0, len(answers), SAMPLES)]
            return [
                *found,
                Column("very_rare", "very rare", [float("!" in answer) for answer in answers], better="lower"),
                Column("vowels", "vowels", vowels, "mean", "lower"),
                Column("characters", "characters", [float(len(answer)) for answer in answers], "mean", "lower"),
                Column("any_rare", "any rare", [max(group) for group in rare], better="lower", per="case"),
            ]

    return Letters()


def with_events(values: list[float], share: float, seed: int) -> list[float]:
    """The values with the event in a further share of all answers."""
    pick = random.Random(seed)
    chance = share / (1 - sum(values) / len(values))
    return [1.0 if value == 0 and pick.random() < chance else value for value in values]


def compare_all(generator: Any, suite: Any, times: int) -> dict[str, list[Any]]:
    from tqdm.auto import tqdm

    from rlhf_ext.evaluation.comparison import compare
    from rlhf_ext.evaluation.gate import ReleaseGate
    from rlhf_ext.evaluation.running import run_suite
    from rlhf_ext.stats import holm, rate_difference

    gate = ReleaseGate({f"letters.{name}": {"not_worse": True} for name in suite.figures}, [suite], baseline=True)
    seen: dict[str, list[Any]] = {
        name: [] for name in ("interval", "test", "family", "holm", "gate", "rates", "power", "shares")
    }
    for turn in tqdm(range(times), desc="comparisons"):
        before, after = (run_suite(generator, suite, "tiny", seed=2 * turn + side) for side in (0, 1))
        # Without `failed` and `empty`, which are figures only where they happen.
        figures = [figure for figure in compare(before, after) if figure.name.split(".")[1] in suite.figures]
        alarms = [figure.difference.excludes_zero for figure in figures]
        seen["interval"].append(alarms)
        seen["test"].append([figure.p_value <= 0.05 for figure in figures])
        seen["family"].append(any(alarms))
        seen["holm"].append(min(holm([figure.p_value for figure in figures])) <= 0.05)
        seen["gate"].append(any(row.verdict == "fails" for row in gate.check([after], figures)))
        seen["rates"].append([figure.after.value for figure in figures])
        third = figures[suite.figures.index("third")]
        old, new = (side.columns[suite.figures.index("third")] for side in (before, after))
        more = with_events(new.values, third.detectable, turn)
        seen["power"].append(rate_difference(old.values, more, before.clusters(old)).excludes_zero)
        seen["shares"].append(third.detectable)
    return seen


def figures_of(seen: dict[str, list[Any]], names: list[str]) -> dict[str, Any]:
    from rlhf_ext.stats import bootstrap_mean, clustered_rate, wilson

    found: dict[str, Any] = {}
    for kind in ("interval", "test"):
        flat = [float(alarm) for alarms in seen[kind] for alarm in alarms]
        found[kind] = clustered_rate(flat, [turn for turn, alarms in enumerate(seen[kind]) for _ in alarms])
        for place, name in enumerate(names):
            found[f"{kind} {name}"] = wilson(sum(alarms[place] for alarms in seen[kind]), len(seen[kind]))
    for kind in ("family", "holm", "gate", "power"):
        found[kind] = wilson(sum(seen[kind]), len(seen[kind]))
    for place, name in enumerate(names):
        found[f"value {name}"] = bootstrap_mean([values[place] for values in seen["rates"]])
    found["detectable share"] = bootstrap_mean(seen["shares"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 comparisons, which show no more than that it runs")
    times = 20 if parser.parse_args().quick else 200
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rlhf_ext.embedded import tiny_model
    from rlhf_ext.generation import LocalGenerator

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = tiny_model(f"{folder}/tiny", pretrain_steps=60)
        model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    suite = make_suite()
    seen = compare_all(LocalGenerator(model, tokenizer, batch_size=PROMPTS * SAMPLES), suite, times)
    found = figures_of(seen, list(suite.figures))
    for name, estimate in found.items():
        sys.stdout.write(f"{name:<22} {estimate}\n")
    plain = {name: estimate.to_dict() for name, estimate in found.items()}
    sys.stdout.write(json.dumps({"comparisons": times, "answers": times * 2 * PROMPTS * SAMPLES, **plain}) + "\n")


if __name__ == "__main__":
    main()
