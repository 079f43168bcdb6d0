"""The strategies by name, what each needs, and what they are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import acquisition, sampled, thompson
from .arrays import Acquisition, Floats
from .design import Design
from .distances import embedding_distances, text_distances


@dataclass
class Candidates:
    """Responses to a block of `P` prompts and what is known of them, padded to `n` responses a prompt.

    Args:
        responses (`list[list]`): The different responses to each prompt, text or messages.
        present (boolean array of shape `(P, n)`): Which of them there are, and have a reward.
        rng (`numpy.random.Generator`): For strategies that draw.
        scores (array of shape `(P, n, m)`, *optional*): Rewards by m members, in reward units.
        features (array of shape `(P, n, d)`, *optional*): What `embed` gave.
        logprobs (array of shape `(P, n)`, *optional*): Log-probabilities.
        design ([`Design`], *optional*): What was asked so far, where there are features.
        temperature (`float`, *optional*, defaults to `1.0`): p(better) = sigmoid(difference / temperature).
    """

    responses: Sequence[Sequence[Any]]
    present: NDArray[np.bool_]
    rng: np.random.Generator
    scores: Floats | None = None
    features: NDArray[Any] | None = None
    logprobs: Floats | None = None
    design: Design | None = None
    temperature: float = 1.0


Strategy: TypeAlias = str | Callable[[Candidates], Acquisition]
"""A name in [`STRATEGIES`], or a function of [`Candidates`]."""


@dataclass(frozen=True)
class Named:
    """A strategy, and what it needs.

    Args:
        acquire (`Callable`): Gives an [`Acquisition`] for [`Candidates`].
        needs (`str`): `"nothing"`, `"a reward"`, `"an ensemble"`, `"embeddings"` or `"log-probabilities"`.
    """

    acquire: Callable[[Candidates], Acquisition]
    needs: str


def _d_optimal(block: Candidates) -> Acquisition:
    assert block.design is not None
    return block.design.gains(block.features, block.scores, block.present)


def _diversity(block: Candidates) -> Acquisition:
    distances = text_distances(block.responses) if block.features is None else embedding_distances(block.features)
    width = block.present.shape[1]
    return sampled.response_diversity(distances[:, :width, :width], block.present)


STRATEGIES: dict[str, Named] = {
    "d_optimal": Named(_d_optimal, "embeddings"),
    "bald": Named(lambda b: acquisition.bald(b.scores, b.present, b.temperature), "an ensemble"),
    "disagreement": Named(lambda b: acquisition.disagreement(b.scores, b.present, b.temperature), "an ensemble"),
    "delta_ucb": Named(lambda b: thompson.delta_ucb(b.scores, b.present), "an ensemble"),
    "double_thompson": Named(lambda b: thompson.double_thompson(b.scores, b.present, b.rng), "an ensemble"),
    "reversed_double_thompson": Named(
        lambda b: thompson.reversed_double_thompson(b.scores, b.present, b.rng), "an ensemble"
    ),
    "margin": Named(lambda b: acquisition.margin(b.scores, b.present), "a reward"),
    "label_entropy": Named(lambda b: acquisition.label_entropy(b.scores, b.present, b.temperature), "a reward"),
    "max_min": Named(lambda b: thompson.max_min(b.scores, b.present), "a reward"),
    "predictive_entropy": Named(
        lambda b: sampled.predictive_entropy(b.logprobs, b.present, seed=b.rng), "log-probabilities"
    ),
    "response_diversity": Named(_diversity, "nothing"),
    "random": Named(lambda b: sampled.random(b.present, b.rng), "nothing"),
}
"""All strategies that have a name, with what each needs."""


def check_strategy(strategy: Strategy, members: int, has_embeddings: bool, has_logprobs: bool) -> None:
    """Refuses a strategy that is not known, or that lacks what it needs, and says which work.

    Args:
        strategy (`str` or `Callable`): What was asked for.
        members (`int`): Reward models that there are; 0 for none.
        has_embeddings (`bool`), has_logprobs (`bool`): What else there is.

    Raises:
        ValueError: As said.
        TypeError: If it is neither a name nor a function.
    """
    if callable(strategy):
        return
    if not isinstance(strategy, str):
        raise TypeError(f"`strategy` should be a name or a function of Candidates, got {strategy!r}.")
    if strategy not in STRATEGIES:
        raise ValueError(f"Unknown strategy {strategy!r}; there are {', '.join(STRATEGIES)}, or a function of yours.")
    have = {
        "nothing": True,
        "a reward": members > 0,
        "an ensemble": members > 1,
        "embeddings": has_embeddings,
        "log-probabilities": has_logprobs,
    }
    needs = STRATEGIES[strategy].needs
    if have[needs]:
        return
    ways = {
        "a reward": "pass `reward`",
        "an ensemble": f"pass a `RewardEnsemble`, or a list of reward functions, as `reward` (there {'is one' if members else 'is none'})",
        "embeddings": "pass `embed`, such as `TextEmbeddings()` or `RewardFeatures(reward_model)` (rlhf-ext: --encoder or --reward_model)",
        "log-probabilities": "pass `logprobs`, such as `LogProbs(model, tokenizer)`",
    }
    works = [name for name, one in STRATEGIES.items() if have[one.needs]]
    raise ValueError(
        f"The strategy {strategy!r} needs {needs}: {ways[needs]}. With what there is, these work: {', '.join(works)}."
    )
