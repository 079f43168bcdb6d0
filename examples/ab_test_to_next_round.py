"""From traffic to the next model: serve two variants, collect thumbs, train DPO on them, serve the result as the next variant.

    python examples/ab_test_to_next_round.py [--users 300] [--steps 60] [--model FOLDER] [--output ab_test]

Each round is what a team does by hand: `rlhf-ext serve` with an experiment of two variants, users who ask and vote (here simulated, over
HTTP, through the `openai` client), `rlhf-ext feedback export`, `rlhf-ext ab report`, `DPOTrainer` on the exported rows. The first round is an
A/A test of `base` and its `twin`, in which people vote; the second compares `base` with `next`, an adapter trained on what they liked. The users like vowels, a taste that no model has been told of.

With your own model and users, leave `simulate` out. Ends with the report's table and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is on this machine

import yaml
from openai import OpenAI
from peft import LoraConfig

from rlhf_ext import DPOConfig, DPOTrainer, assistant_preferences, load_preferences
from rlhf_ext.embedded import tiny_model

PROMPTS, ANSWERS, TOKENS = 30, 6, 24


@contextmanager
def gateway(folder: Path, model: str, adapters: dict[str, str], variants: list[str]) -> Iterator[str]:
    """`rlhf-ext serve` with an experiment of two variants; gives its address."""
    name = f"{variants[1]}-against-{variants[0]}"
    shares = dict.fromkeys(variants, 0.5)
    experiment = {"name": name, "traffic": "assistant", "salt": "1", "variants": shares}
    (folder / "experiments.yaml").write_text(yaml.safe_dump({"experiments": [experiment]}, sort_keys=False))
    targets = {one: {"backend": "local", **({"model": one} if one in adapters else {})} for one in variants}
    config = {
        "local": {"local": {"path": model, "adapters": adapters}},
        "models": {"assistant": {"backend": "local"}},
        "experiments": str(folder / "experiments.yaml"),
        "variants": targets,
        "store": {"database": str(folder / "gateway.sqlite"), "texts": True},
    }
    (folder / "gateway.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    command = [
        sys.executable,
        "-u",
        "-m",
        "rlhf_ext",
        "serve",
        "--config",
        str(folder / "gateway.yaml"),
        "--port",
        "0",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        while not (line := server.stdout.readline()).startswith("serving "):
            if not line:
                raise RuntimeError(f"The gateway ended with {server.wait()}; see above.")
        yield line.split()[1]
    finally:
        server.terminate()
        server.wait(timeout=60)


def likes(answer: str, luck: random.Random) -> bool:
    """Whether somebody is pleased: the more vowels, the likelier."""
    letters = [letter for letter in answer.lower() if letter.isalpha()]
    share = sum(letter in "aeiou" for letter in letters) / max(len(letters), 1)
    return luck.random() < 1 / (1 + math.exp(-40 * (share - 0.4)))


def simulate(url: str, users: int, seed: int) -> int:
    """Users who ask a few questions each and say what they think of the answers; gives the number of thumbs."""
    prompts = [row["prompt"] for row in assistant_preferences("train").select(range(PROMPTS))]
    client = OpenAI(base_url=url, api_key="none")

    def one(user: int) -> int:
        luck = random.Random(f"{seed} {user}")
        for turn in range(ANSWERS):
            settings = {
                "max_tokens": TOKENS,
                "temperature": 1.0,
                "seed": luck.randrange(2**31),
                "user": f"user {user}",
            }
            answer = client.chat.completions.create(model="assistant", messages=luck.choice(prompts), **settings)
            said = {
                "kind": "thumb",
                "up": likes(answer.choices[0].message.content or "", luck),
                "user": f"user {user}",
            }
            client.post(
                "/feedback", body={"response_id": answer.id, "id": f"{seed}-{user}-{turn}", **said}, cast_to=object
            )
        return ANSWERS

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(one, range(users)))


def command(*words: Any) -> int:
    """`rlhf-ext ...`, as one would type it."""
    return subprocess.run([sys.executable, "-m", "rlhf_ext", *map(str, words)], check=False).returncode


def report(folder: Path) -> dict[str, Any]:
    """What the experiment has shown so far."""
    outcomes, database = folder / "outcomes.jsonl", folder / "gateway.sqlite"
    command("feedback", "export", "--what", "outcomes", "--database", database, "--output", outcomes)
    asked = ["--outcomes", outcomes, "--experiments", folder / "experiments.yaml", "--better", "thumbs_up=higher"]
    command("ab", "report", *asked, "--output", folder / "report")
    return dict(json.loads((folder / "report" / "ab.json").read_text()))


def train(model: str, rows: Path, folder: Path, steps: int) -> tuple[str, int]:
    """DPO on what users liked better; the adapter's folder, and the number of rows."""
    data = load_preferences(rows)
    args = DPOConfig(
        str(folder),
        max_steps=steps,
        learning_rate=3e-3,
        per_device_train_batch_size=16,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        logging_steps=20,
        disable_tqdm=True,
    )
    trainer = DPOTrainer(
        model, args=args, train_dataset=data, peft_config=LoraConfig(r=16, target_modules="all-linear")
    )
    trainer.train()
    trainer.save_model(str(folder))
    return str(folder), len(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--model", help="folder; by default a tiny model that is built on the spot")
    parser.add_argument("--output", type=Path, default=Path("ab_test"))
    options = parser.parse_args()
    rounds = [options.output / "round_1", options.output / "round_2"]
    for folder in rounds:
        folder.mkdir(parents=True)
    model = options.model or tiny_model(options.output / "tiny", words=True, vocab_size=1500)

    with gateway(rounds[0], model, {}, ["base", "twin"]) as url:
        thumbs = simulate(url, options.users, seed=1)
    preferences = rounds[0] / "preferences.jsonl"
    if command("feedback", "export", "--database", rounds[0] / "gateway.sqlite", "--output", preferences):
        sys.exit("Nothing to learn from: no prompt has both liked and disliked answers.")
    adapter, rows = train(model, preferences, options.output / "next", options.steps)
    with gateway(rounds[1], model, {"next": adapter}, ["base", "next"]) as url:
        simulate(url, options.users, seed=2)
    found = report(rounds[1])
    sys.stdout.write(json.dumps({"thumbs": thumbs, "preferences": rows, "report": found}) + "\n")


if __name__ == "__main__":
    main()
