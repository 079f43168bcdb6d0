"""The feedback loop, without hands: choose what to ask, ask it on the page, learn from the answers, choose again.

    python examples/active_feedback_loop.py [--rounds 6] [--batch 32] [--seeds 5] [--pool 400] [--output active_feedback]
    python examples/active_feedback_loop.py --tiny    # one seed, two rounds of six questions: half a minute

A crowd of five (simulated_crowd.py), from careful to careless, answers over HTTP what `select_for_feedback` picks from a pool of
prompts with four responses each; after each round the reward model is trained anew on all answers so far, as the store exports
them. Beside it runs the same loop with questions at random. What the crowd likes is the score of a hidden reward model, so that
the accuracy of ours is known: the share of pairs of held-out responses that it orders as the hidden one does.

The tiny model makes this a matter of minutes on two cores. With your own model and people, the loop is the same four calls:
`select_for_feedback`, `WorkQueue.add`, `preferences`, `RewardTrainer`; and the page is `rlhf-ext feedback`.

Ends with a picture, report.html in the output folder, and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is on this machine

import torch
import transformers
from datasets import Dataset, disable_progress_bars
from simulated_crowd import Truth, Worker, work_together
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, PrinterCallback

from rlhf_ext import LocalGenerator, RewardConfig, RewardModel, RewardTrainer, assistant_preferences
from rlhf_ext.active import select_for_feedback
from rlhf_ext.data.store import FeedbackStore, WorkQueue, preferences
from rlhf_ext.embedded import tiny_model
from rlhf_ext.evaluation.report import Curve, Measure, Report, render_table, write_report
from rlhf_ext.labelers import sample_candidates
from rlhf_ext.stats import bootstrap_mean, paired_difference
from rlhf_ext.trainers.reward_ensemble import last_layers

STRATEGIES = {"active": "d_optimal", "random": "random"}
NOISES = {"Ada": 0.3, "Ben": 0.6, "Cem": 1.0, "Dana": 1.5, "Eve": 2.5}
"""Deviation of each person's view from the truth, in nats; responses to a prompt differ by 1.5 (deviation)."""


@dataclass
class World:
    """A pool to ask about, and what the crowd likes."""

    folder: str
    pool: list[dict[str, Any]]
    heldout: list[dict[str, Any]]
    liking: dict[tuple[str, str], float]

    def truth(self, prompt: str, answer: str) -> float:
        return self.liking[prompt.strip(), answer.strip()]


def make_world(folder: Path, size: int, seed: int) -> World:
    """Responses of the tiny model, and a hidden reward model that scores them."""
    base = tiny_model(folder / "tiny", words=True, vocab_size=1500)
    tokenizer = AutoTokenizer.from_pretrained(base)
    writer = LocalGenerator(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), tokenizer, batch_size=128)
    parts = []
    for part in ("train", "heldout"):
        prompts = assistant_preferences(part).select_columns(["prompt", "category"])
        prompts = prompts.shuffle(seed=seed).select(range(min(size, len(prompts))))
        rows = sample_candidates(writer, prompts, n=4, seed=seed, max_new_tokens=24).to_list()
        for row in rows:  # nobody can judge an answer that is not there
            row["responses"] = [one for one in row["responses"] if one[-1]["content"].strip()]
            del row["models"]
        parts.append([row for row in rows if len(row["responses"]) > 1])
    torch.manual_seed(seed)
    hidden = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
    torch.nn.init.normal_(hidden.score.weight)
    rows = [(row["prompt"], response) for part in parts for row in part for response in row["responses"]]
    scores = RewardModel(hidden, tokenizer, batch_size=128).score(*map(list, zip(*rows, strict=True)))
    liking = {
        (prompt[-1]["content"].strip(), response[-1]["content"].strip()): float(score)
        for (prompt, response), score in zip(rows, 1.5 * (scores - scores.mean()) / scores.std(), strict=True)
    }
    return World(base, *parts, liking)


@contextmanager
def feedback_page(database: Path, names: list[str]) -> Iterator[list[str]]:
    """`rlhf-ext feedback` on a free port, and the invitation links that it prints."""
    command = [sys.executable, "-u", "-m", "rlhf_ext", "feedback", "--database", str(database), "--port", "0"]
    server = subprocess.Popen([*command, "--invite", *names], stdout=subprocess.PIPE, text=True)
    try:
        links: list[str] = []
        while len(links) < len(names):
            line = server.stdout.readline()
            if not line:
                raise RuntimeError(f"The feedback page ended with {server.wait()}; see above.")
            if line.startswith("invite"):
                links.append(line.split()[1])
        yield links
    finally:
        server.terminate()
        server.wait(timeout=30)


def train_reward_model(world: World, rows: list[dict[str, Any]], folder: Path, seed: int) -> RewardModel:
    """A reward model on all answers so far; sliders are targets, not only signs."""
    data = Dataset.from_list(rows).select_columns(["prompt", "chosen", "rejected", "preference_strength"])
    args = RewardConfig(
        str(folder / "checkpoints"),
        strength_loss="soft_label",
        max_steps=80,
        learning_rate=1e-2,
        per_device_train_batch_size=16,
        seed=seed,
        bf16=False,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1000,
    )
    trainer = RewardTrainer(world.folder, args, train_dataset=data, peft_config=last_layers(world.folder))
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return RewardModel(trainer.model, AutoTokenizer.from_pretrained(world.folder), batch_size=128)


def accuracy(world: World, reward: RewardModel) -> float:
    """Share of pairs of held-out responses that are ordered as the crowd's liking orders them."""
    rows = [(row["prompt"], response) for row in world.heldout for response in row["responses"]]
    scores = iter(reward.score(*map(list, zip(*rows, strict=True))).tolist())
    right = []
    for row in world.heldout:
        prompt = row["prompt"][-1]["content"]
        both = [(next(scores), world.truth(prompt, answer[-1]["content"])) for answer in row["responses"]]
        right += [(a - b) * (true - other) > 0 for (a, true), (b, other) in combinations(both, 2)]
    return sum(right) / len(right)


def run_loop(world: World, strategy: str, rounds: int, batch: int, folder: Path, seed: int) -> dict[str, list[float]]:
    """One loop; labels and accuracy after each round."""
    folder.mkdir(parents=True)
    database = folder / "feedback.sqlite"
    store = FeedbackStore(database)
    queue = WorkQueue(store, seed=seed)
    curve: dict[str, list[float]] = {"labels": [], "accuracy": []}
    truth: Truth = world.truth
    with feedback_page(database, list(NOISES)) as links:
        crowd = [Worker(link, noise, truth, seed) for link, noise in zip(links, NOISES.values(), strict=True)]
        reward, asked = None, []
        for _ in range(rounds):
            chosen = select_for_feedback(
                None,
                world.pool,
                budget=batch,
                reward=reward,
                strategy=strategy if reward is not None else "random",
                asked=asked,
                seed=seed,
            )
            asked += chosen.rows
            queue.add([{"kind": "comparison", "wanted": 1, **question(row)} for row in chosen.rows])
            answered = work_together(crowd)
            rows = list(preferences(store))
            reward = train_reward_model(world, rows, folder, seed)
            curve["labels"].append(len(asked))
            curve["accuracy"].append(accuracy(world, reward))
            sys.stdout.write(f"  {answered} answers, {len(rows)} preferences, accuracy {curve['accuracy'][-1]:.3f}\n")
            sys.stdout.flush()
    right = ", ".join(f"{name} {w.right}/{w.answered}" for name, w in zip(NOISES, crowd, strict=True))
    sys.stdout.write(f"  the crowd was right: {right}\n")
    store.close()
    return curve


def question(row: dict[str, Any]) -> dict[str, Any]:
    """A selected row as an item of the work queue."""
    return {"prompt": row["prompt"], "responses": tuple(row["responses"]), "priority": row["utility"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--batch", type=int, default=32, help="questions a round")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pool", type=int, default=400, help="prompts to choose from")
    parser.add_argument("--output", type=Path, default=Path("active_feedback"))
    parser.add_argument("--tiny", action="store_true", help="other defaults: for a run in seconds")
    if "--tiny" in sys.argv:
        parser.set_defaults(rounds=2, batch=6, seeds=1, pool=24)
    options = parser.parse_args()
    if options.output.exists():
        parser.error(f"{options.output} exists: choose another --output, or remove it.")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    disable_progress_bars()
    curves: dict[str, list[dict[str, list[float]]]] = {name: [] for name in STRATEGIES}
    for seed in range(options.seeds):
        world = make_world(options.output / f"seed_{seed}", options.pool, seed)
        for name, strategy in STRATEGIES.items():
            sys.stdout.write(f"seed {seed}, {name}\n")
            folder = options.output / f"seed_{seed}" / name
            curves[name].append(run_loop(world, strategy, options.rounds, options.batch, folder, seed))
    sys.stdout.write(json.dumps(summarise(curves, options.output)) + "\n")


def summarise(curves: dict[str, list[dict[str, list[float]]]], output: Path) -> dict[str, Any]:
    """The picture, and the figures behind it."""
    series, finals, over = {}, {}, {}
    for name, runs in curves.items():
        labels = runs[0]["labels"]
        means = [sum(at) / len(at) for at in zip(*(run["accuracy"] for run in runs), strict=True)]
        series[name] = list(zip(labels, means, strict=True))
        finals[name] = [run["accuracy"][-1] for run in runs]
        over[name] = [sum(run["accuracy"][1:]) / len(run["accuracy"][1:]) for run in runs]  # the first round is alike
    figures: dict[str, Any] = {f"final accuracy, {name}": bootstrap_mean(values) for name, values in finals.items()}
    figures["accuracy over rounds, active less random"] = paired_difference(over["random"], over["active"])
    measures = [Measure(label.replace(" ", "_"), label.capitalize(), estimate) for label, estimate in figures.items()]
    plot = Curve("Accuracy of the reward model", "answers of people", "accuracy on held-out pairs", series)
    title, mean = "Active selection against asking at random", f"mean over {len(curves['random'])} seeds"
    report = Report(title, mean, plots=[plot], measures=measures)
    path = write_report(report, output)
    sys.stdout.write(f"\n{render_table(report)}\n\nreport  {path}\n")
    return {"curves": curves, **{label: estimate.to_dict() for label, estimate in figures.items()}}


if __name__ == "__main__":
    main()
