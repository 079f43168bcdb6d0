"""Gold reward against KL when a policy is trained on proxies of it: one reward model, or an ensemble of five.

    python benchmarks/overoptimization.py [--seeds 12] [--quick]

After Gao et al. (2210.10760), Coste et al. (2310.02743) and Eisenstein et al. (2312.09244). The gold reward gives each of the 40 words
that the reference policy uses most a value of its own, drawn at random and centred so that a longer or shorter text is worth neither more nor less;
the i-th occurrence in a text counts 1/i. It is scaled to mean 0 and deviation 1 over what the reference writes. Pairs of the
reference's completions are labelled by it, a quarter of the labels flipped. On these five reward models are trained, all weights,
alike but for the seed of their pretraining and of their training: what they agree on is what the labels say, and on the hundreds of
words without a value each errs on its own. Single proxies are two of the five; the ensemble is read as mean, worst case and
uncertainty-weighted. All are standardised on the reference's completions. Then, for each proxy:

- PPO, the same number of rollouts for all, nearly without a KL penalty, so that it goes as far as it likes; two runs for each proxy;
- best-of-n from the reference: the expected gold of the best by proxy among n (all subsets of the samples are averaged over),
  whose KL is log n - (n - 1)/n.

Gold and KL (nats a completion) are measured on held-out prompts. Each seed has its own gold reward, pairs, noise, proxies and
PPO runs; differences from the single proxy are paired by seed, with a bootstrap interval. Settings were chosen on seeds from 1000
on, for a regime in which members differ. Ten seeds (0 to 9) were then run with 30 rollouts and the uncertainty-weighted reading
named beforehand: PPO's gold was higher on every reading of the ensemble early on, and at the end no difference was left. The number of rollouts
was set to 12 after that, the mean named as the reading that is tested, and seeds from 20 on run, which nobody had seen: docs/rewards.md has both.
Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections import Counter
from typing import Any

from quiet import QUIET

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

LENGTH, VOCABULARY, VALUED, MEMBERS, FLIPPED = 24, 400, 40, 5, 0.25
PAIRS, PRETRAIN_STEPS, REWARD_STEPS, REWARD_RATE = 500, 60, 100, 4e-3
ROLLOUT, ROLLOUTS, EVERY, RATE, KL_COEF = 64, 12, 3, 1e-3, 0.01
SAMPLES, SUBSETS, REPEATS = 64, (1, 2, 4, 8, 16, 32, 64), 2
UNCERTAINTY_COEF = 0.625
"""Times the variance over members; 0.5 times the sample variance of five."""
METHODS = ("single", "mean", "worst_case", "uncertainty_weighted")


class WordValues:
    """The gold reward: random values of the words used most, the i-th occurrence counting 1/i."""

    def __init__(self, texts: list[str], seed: int):
        import numpy as np

        usage = dict(Counter(word for text in texts for word in text.split()).most_common(VALUED))
        values = np.random.default_rng([seed, 1]).normal(size=VALUED)
        values -= np.average(values, weights=list(usage.values()))
        self.values = dict(zip(usage, values, strict=True))
        raw = [self._raw(text) for text in texts]
        self.centre, self.scale = float(np.mean(raw)), float(np.std(raw))

    def score(self, texts: list[str]) -> list[float]:
        return [(self._raw(text) - self.centre) / self.scale for text in texts]

    def _raw(self, text: str) -> float:
        seen: dict[str, int] = {}
        total = 0.0
        for word in text.split():
            seen[word] = seen.get(word, 0) + 1
            total += self.values.get(word, 0.0) / seen[word]
        return total


class Proxy:
    """A reward to train on: one member of an ensemble, or a reading of all."""

    def __init__(self, name: str, ensemble: Any, models: list, member: int | None = None):
        self.__name__, self.ensemble, self.models, self.member = name, ensemble, models, member

    def __call__(self, prompts: list, completions: list, **columns: Any) -> list[float]:
        if self.member is None:
            return self.read(self.ensemble.score_members(prompts, completions))
        scores = self.models[self.member].score(prompts, completions)
        return ((scores - self.ensemble.centre[self.member]) / self.ensemble.scale[self.member]).tolist()

    def read(self, scores: Any) -> list[float]:
        """Of the members' scores, of shape (members, texts)."""
        from rlhf_ext.rewards.combining import UncertaintyWeighted
        from rlhf_ext.rewards.ensemble_scores import EnsembleScores

        if self.member is not None:
            return scores[self.member].tolist()
        is_weighted = self.__name__ == "uncertainty_weighted"
        combine = UncertaintyWeighted(UNCERTAINTY_COEF) if is_weighted else self.__name__
        return EnsembleScores.of(scores).combined(combine).tolist()


def generate(model: Any, tokenizer: Any, prompts: list, seed: int) -> list[str]:
    from rlhf_ext import LocalGenerator

    writer = LocalGenerator(model, tokenizer, batch_size=128)
    return writer.generate(prompts, max_new_tokens=LENGTH, temperature=1.0, seed=seed)


def labelled_pairs(work: dict[str, Any], seed: int, count: int) -> tuple[Any, WordValues]:
    """Pairs of the reference's completions, the better by gold chosen except where the label is flipped; and that gold."""
    import numpy as np
    from datasets import Dataset

    rng = np.random.default_rng([seed, 2])
    prompts = [work["prompts"][i] for i in rng.integers(len(work["prompts"]), size=count)]
    texts = generate(work["reference"], work["tokenizer"], prompts * 2, seed)
    gold = WordValues(texts, seed)
    scores = np.array(gold.score(texts)).reshape(2, count)
    first_is_chosen = (scores[0] > scores[1]) ^ (rng.random(count) < FLIPPED)
    rows = []
    for prompt, one, other, keep in zip(prompts, texts[:count], texts[count:], first_is_chosen, strict=True):
        chosen, rejected = (one, other) if keep else (other, one)
        as_messages = [[{"role": "assistant", "content": text}] for text in (chosen, rejected)]
        rows.append({"prompt": prompt, "chosen": as_messages[0], "rejected": as_messages[1]})
    return Dataset.from_list(rows), gold


def proxies(work: dict[str, Any], pairs: Any, seed: int, steps: int) -> dict[str, list[Proxy]]:
    """For each method, the proxy of each of its runs; all saw the same pairs."""
    from transformers import PrinterCallback

    from rlhf_ext import RewardConfig, RewardEnsemble, RewardModel, RewardTrainer

    models = []
    for place, base in enumerate(work["bases"]):
        args = RewardConfig(
            tempfile.mkdtemp(dir=work["scratch"]),
            max_steps=steps,
            learning_rate=REWARD_RATE,
            per_device_train_batch_size=16,
            seed=10 * seed + place,
            **QUIET,
        )
        trainer = RewardTrainer(base, args, train_dataset=pairs)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        models.append(RewardModel(trainer.model, work["tokenizer"], batch_size=64))
    ensemble = RewardEnsemble(models)
    ensemble.standardize([*pairs["prompt"]] * 2, [*pairs["chosen"], *pairs["rejected"]])
    readings = {name: [Proxy(name, ensemble, models)] * REPEATS for name in METHODS[1:]}
    return {"single": [Proxy("single", ensemble, models, run) for run in range(REPEATS)], **readings}


def best_of_n(scores: list[float], gold: list[float], samples: int) -> list[dict[str, float]]:
    """Expected gold of the best by proxy among n, over all subsets of each prompt's samples; texts are grouped by prompt."""
    import numpy as np

    order = np.array(scores).reshape(-1, samples).argsort(axis=1)
    ranked = np.take_along_axis(np.array(gold).reshape(-1, samples), order, axis=1)  # the worst by proxy first
    curve = []
    for n in (n for n in SUBSETS if n <= samples):
        # The sample with r below it is the best of C(r, n - 1) of the C(samples, n) subsets.
        weights = np.array([math.comb(r, n - 1) for r in range(samples)], dtype=float) / math.comb(samples, n)
        curve.append({"n": n, "kl": math.log(n) - (n - 1) / n, "gold": float((ranked @ weights).mean())})
    return curve


def ppo(proxy: Proxy, work: dict[str, Any], gold: WordValues, seed: int, rollouts: int) -> list[dict[str, float]]:
    """Gold, proxy and KL on held-out prompts while PPO trains on the proxy."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PrinterCallback, TrainerCallback

    from rlhf_ext import PPOConfig, PPOTrainer
    from rlhf_ext.evaluation.before_after import sequence_logprobs

    heldout, tokenizer = work["heldout"], work["tokenizer"]
    curve: list[dict[str, float]] = []

    class Probe(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            if state.global_step % (4 * EVERY) and state.global_step != state.max_steps:
                return
            model.eval()
            texts = generate(model, tokenizer, heldout, seed=7)
            logprobs = [sequence_logprobs(m, tokenizer, heldout, texts, 128) for m in (model, work["reference"])]
            model.train()
            curve.append(
                {
                    "kl": sum(logprobs[0]) / len(texts) - sum(logprobs[1]) / len(texts),
                    "gold": sum(gold.score(texts)) / len(texts),
                    "proxy": sum(proxy(prompts=heldout, completions=texts)) / len(texts),
                }
            )

    torch.manual_seed(seed)
    args = PPOConfig(
        tempfile.mkdtemp(dir=work["scratch"]),
        max_steps=4 * rollouts,
        learning_rate=RATE,
        kl_coef=KL_COEF,
        num_iterations=1,
        per_device_train_batch_size=ROLLOUT // 4,
        steps_per_generation=4,
        max_completion_length=LENGTH,
        lr_scheduler_type="constant",
        seed=seed,
        **QUIET,
        logging_steps=1000,
    )
    trainer = PPOTrainer(
        AutoModelForCausalLM.from_pretrained(work["folder"], dtype=torch.float32),
        proxy,
        args,
        train_dataset=Dataset.from_dict({"prompt": work["prompts"]}),
        processing_class=tokenizer,
        value_model="shared",
        callbacks=[Probe()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return curve


def one_seed(seed: int, work: dict[str, Any], rollouts: int, steps: int, samples: int) -> dict[str, Any]:
    """All curves of a seed, each the mean over the runs of its method."""
    pairs, gold = labelled_pairs(work, seed, PAIRS)
    runs = proxies(work, pairs, seed, steps)
    prompts = [prompt for prompt in work["heldout"][:32] for _ in range(samples)]
    texts = generate(work["reference"], work["tokenizer"], prompts, seed + 1)
    golds = gold.score(texts)
    seen = runs["mean"][0].ensemble.score_members(prompts, texts)
    found = {}
    for method in METHODS:
        bon = [best_of_n(proxy.read(seen), golds, samples) for proxy in runs[method]]
        trained = [ppo(proxy, work, gold, 10 * seed + run, rollouts) for run, proxy in enumerate(runs[method])]
        found[method] = {"bon": mean_curve(bon), "ppo": mean_curve(trained)}
    return found


def mean_curve(curves: list[list[dict[str, float]]]) -> list[dict[str, float]]:
    """Point by point."""
    return [{key: sum(p[key] for p in at) / len(at) for key in at[0]} for at in zip(*curves, strict=True)]


def report(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Prints the curves and the differences; gives the figures."""
    from rlhf_ext.stats import bootstrap_mean, paired_difference

    figures: dict[str, Any] = {}
    for kind, label in (("ppo", "PPO"), ("bon", "best-of-n")):
        sys.stdout.write(f"\n{label}: gold at each KL, means over {len(runs)} seeds (gold @ KL)\n")
        for method in METHODS:
            means = mean_curve([run[method][kind] for run in runs])
            figures[f"{kind} curve {method}"] = means
            words = "  ".join(f"{point['gold']:+.2f} @ {point['kl']:.1f}" for point in means)
            sys.stdout.write(f"{method:<21} {words}\n")
        ends = {method: [run[method][kind][-1]["gold"] for run in runs] for method in METHODS}
        sys.stdout.write(f"{label}: final gold, in deviations of the reference's\n")
        for method in METHODS:
            figures[f"{kind} final {method}"] = bootstrap_mean(ends[method]).to_dict()
            words = f"{method:<21} {bootstrap_mean(ends[method])}"
            if method != "single":
                less = paired_difference(ends["single"], ends[method])
                figures[f"{kind} {method} less single"] = less.to_dict()
                words += f"   less single: {less}"
            sys.stdout.write(words + "\n")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first-seed", type=int, default=20, help="from 1000 on: seeds to choose settings with")
    parser.add_argument("--quick", action="store_true", help="two seeds of a few steps: that it runs, not a figure")
    options = parser.parse_args()
    seeds, rollouts, steps, samples = (
        (2, 2, 5, 8) if options.quick else (options.seeds, ROLLOUTS, REWARD_STEPS, SAMPLES)
    )

    import torch
    import transformers
    from datasets import disable_progress_bars
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rlhf_ext import assistant_preferences
    from rlhf_ext._allocator import keep_freed_memory
    from rlhf_ext.embedded import tiny_model

    keep_freed_memory()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    disable_progress_bars()
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = tiny_model(f"{scratch}/tiny", vocab_size=VOCABULARY, words=True)
        pretrained = {"vocab_size": VOCABULARY, "words": True, "pretrain_steps": PRETRAIN_STEPS}
        work = {
            "scratch": scratch,
            "folder": folder,
            "bases": [tiny_model(f"{scratch}/base_{n}", seed=100 + n, **pretrained) for n in range(MEMBERS)],
            "tokenizer": AutoTokenizer.from_pretrained(folder),
            "reference": AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
            "prompts": list(assistant_preferences("train")["prompt"]),
            "heldout": list(assistant_preferences("heldout")["prompt"])[:64] * 2,
        }
        for seed in range(options.first_seed, options.first_seed + seeds):
            started = time.process_time()
            runs.append(one_seed(seed, work, rollouts, steps, samples))
            words = ", ".join(f"{method} {runs[-1][method]['ppo'][-1]['gold']:+.2f}" for method in METHODS)
            sys.stdout.write(f"  seed {seed} ({time.process_time() - started:.0f} CPU-s): final gold of PPO {words}\n")
            sys.stdout.flush()
    figures = report(runs)
    figures["runs"] = runs
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
