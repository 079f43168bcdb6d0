"""What active.py chooses from: a tiny model's answers, what is true of them, and the pool of each setting and seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAMPLES, DIMENSIONS = 12, 64
GOLD_SPREAD = 1.2
"""Deviation of the gold reward within a prompt, in nats: about a quarter of the labels are wrong."""


@dataclass
class World:
    """Texts, their features, and what does not need a reward model."""

    features: np.ndarray  # (P, n, d)
    logprobs: np.ndarray  # (P, n)
    texts: list[list[str]]
    categories: np.ndarray


def build(folder: str, quick: bool) -> World:
    """Answers by the tiny model, and what it sees in them."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rlhf_ext import LocalGenerator, assistant_preferences
    from rlhf_ext.active import LogProbs
    from rlhf_ext.embedded import tiny_model

    rows = [*assistant_preferences("train"), *assistant_preferences("heldout")][:: 4 if quick else 1]
    path = tiny_model(f"{folder}/tiny", words=True, vocab_size=1500)
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    prompts = [row["prompt"] for row in rows for _ in range(SAMPLES)]
    texts = LocalGenerator(model, tokenizer, batch_size=128).generate(prompts, max_new_tokens=24, seed=0)
    texts = [text or "?" for text in texts]
    logprobs = LogProbs(model, tokenizer, batch_size=128)(prompts=prompts, completions=texts)
    states = []
    for start in range(0, len(texts), 128):
        talks = [
            [*prompt, {"role": "assistant", "content": text}]
            for prompt, text in zip(prompts[start : start + 128], texts[start : start + 128], strict=True)
        ]
        batch = tokenizer.apply_chat_template(
            talks, padding=True, return_tensors="pt", return_dict=True, tokenizer_kwargs={"padding_side": "right"}
        )
        mask = batch["attention_mask"]
        with torch.no_grad():
            hidden = model.model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        states.append(torch.cat([mean, hidden[torch.arange(len(talks)), mask.sum(1) - 1]], dim=1))
    flat = torch.cat(states).double().numpy()
    flat -= flat.mean(axis=0)
    flat = flat @ np.linalg.svd(flat, full_matrices=False)[2][:DIMENSIONS].T
    shape = (len(rows), SAMPLES)
    return World(
        (flat / flat.std()).reshape(*shape, DIMENSIONS),
        np.array(logprobs).reshape(shape),
        [texts[start : start + SAMPLES] for start in range(0, len(texts), SAMPLES)],
        np.array([row["category"] for row in rows]),
    )


def gold_rewards(world: World, kind: str, seed: int) -> np.ndarray:
    """The truth, shape `(P, n)`, in nats."""
    rng = np.random.default_rng([seed, 1])
    if kind == "network":
        hidden = np.tanh(
            world.features @ rng.normal(size=(DIMENSIONS, 32)) / DIMENSIONS**0.5 + 0.3 * rng.normal(size=32)
        )
        gold = hidden @ rng.normal(size=32)
    else:
        vocabulary = sorted({word for row in world.texts for text in row for word in text.split()})
        values = dict(zip(vocabulary, rng.normal(size=len(vocabulary)), strict=True))
        gold = np.array([[sum(values[word] for word in set(text.split())) for text in row] for row in world.texts])
    return gold * GOLD_SPREAD / (gold - gold.mean(axis=1, keepdims=True)).std()


@dataclass
class Trial:
    """One seed of a setting: pool, truth, and held-out pairs."""

    seed: int
    features: np.ndarray  # (pool, n, d)
    gold: np.ndarray  # (pool, n)
    chance: np.ndarray  # (pool, n, n): the label of each pair, drawn once
    logprobs: np.ndarray
    texts: list[list[str]]
    held: np.ndarray  # (pairs, d)
    truth: np.ndarray  # (pairs,)
    own_mix: np.ndarray  # (pairs,): weights as the pool's categories

    def label(self, prompts: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Differences of features, and labels, of some pairs."""
        first, second = pairs.T
        x = self.features[prompts, first] - self.features[prompts, second]
        p = 1 / (1 + np.exp(self.gold[prompts, second] - self.gold[prompts, first]))
        return x, (self.chance[prompts, first, second] < p).astype(float)


def draw_trial(world: World, setting: str, seed: int, pool: int) -> Trial:
    rng = np.random.default_rng([seed, 2])
    names, category = np.unique(world.categories, return_inverse=True)
    count = len(category)
    held = rng.permutation(count)[: count // 4]
    free = np.setdiff1d(np.arange(count), held)
    if setting == "plain":
        source, n = free, 2
    else:
        popular = 1.0 / (1 + rng.permutation(len(names))) ** 1.5
        often = popular[category[free]] / np.bincount(category[free], minlength=len(names))[category[free]]
        often = often / (1.0 + rng.permutation(len(free))) ** 0.7
        source, n = rng.choice(free, pool, p=often / often.sum()), 4
    picked = np.argsort(rng.random((len(source), SAMPLES)), axis=1)[:, :n]
    gold = gold_rewards(world, "words" if setting == "words" else "network", seed)
    one, other = np.triu_indices(SAMPLES, 1)
    share = np.bincount(category[source], minlength=len(names)) / np.bincount(
        category[held], minlength=len(names)
    ).clip(1)
    return Trial(
        seed,
        world.features[source[:, None], picked],
        gold[source[:, None], picked],
        rng.random((len(source), n, n)),
        world.logprobs[source[:, None], picked],
        [[world.texts[prompt][place] for place in places] for prompt, places in zip(source, picked, strict=True)],
        (world.features[held][:, one] - world.features[held][:, other]).reshape(-1, DIMENSIONS),
        (gold[held][:, one] - gold[held][:, other]).ravel(),
        np.repeat(share[category[held]], len(one)),
    )
