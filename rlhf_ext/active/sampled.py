"""What to ask about without a reward model: at random, or by the responses themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import Acquisition, Floats, blocks, check_finite, check_present


def random(present: Any, seed: int | np.random.Generator = 0) -> Acquisition:
    """Prompts and pairs at random, all equally likely: what every other strategy has to beat.

    It often holds its own ([2604.02766](https://huggingface.co/papers/2604.02766)).

    Args:
        present (boolean array of shape `(P, n)`):
            Which responses there are.
        seed (`int` or `numpy.random.Generator`, *optional*, defaults to `0`):
            Other seeds give another choice. With one generator, a pool cut into blocks gives what it gives whole.

    Returns:
        [`Acquisition`]: utilities uniform in [0, 1).

    Raises:
        ValueError: If a prompt has fewer than two responses.
    """
    mask = np.asarray(present, dtype=bool)
    if mask.ndim != 2:
        raise ValueError(f"`present` should have the shape (prompts, responses), got {mask.shape}.")
    mask = check_present(mask, mask.shape)
    drawn = np.random.default_rng(seed).random((len(mask), 2))
    return Acquisition(drawn[:, 0], random_pairs(mask, drawn[:, 1]))


def random_pairs(mask: Any, drawn: Floats) -> Any:
    """A pair of the responses that there are, for each prompt, by a number drawn from [0, 1)."""
    counts = mask.sum(axis=1)
    left = np.floor(drawn * (counts * (counts - 1) // 2)).astype(np.int64)
    pairs = np.zeros((len(mask), 2), dtype=np.int64)
    for first in range(mask.shape[1]):
        for second in range(first + 1, mask.shape[1]):
            there = mask[:, first] & mask[:, second]
            pairs[there & (left == 0)] = first, second
            left[there] -= 1
    return pairs


def predictive_entropy(
    logprobs: Any, present: Any = None, lengths: Any = None, seed: int | np.random.Generator = 0
) -> Acquisition:
    """Prompts to which the model that answers is least sure what to say, with a pair of its samples drawn at random.

    The entropy of the answers' distribution, estimated from n samples as minus the mean of their log-probabilities (Muldrew
    et al., [2402.08114](https://huggingface.co/papers/2402.08114)). It needs no reward model.

    Args:
        logprobs (array of shape `(P, n)`):
            Log-probability of each sample given its prompt, summed over tokens; at most 0. Of samples at temperature 1:
            others estimate something else.
        present (boolean array of shape `(P, n)`, *optional*):
            Which samples there are. Equal ones should stand as often as they were drawn.
        lengths (array of shape `(P, n)`, *optional*):
            Tokens of each sample; then the entropy is a token's, and long answers do not count as unsure ones.
        seed:
            Of the pairs; as in [`random`].

    Returns:
        [`Acquisition`]: utilities in nats, of an answer or of a token; at least 0.

    Raises:
        ValueError: If a shape is wrong, a log-probability is not finite or above 0, a length is below 1, or a prompt has
            fewer than two samples.

    Example:

    ```python
    >>> from rlhf_ext.active import predictive_entropy
    >>> predictive_entropy([[-1.0, -1.0], [-30.0, -40.0]]).utilities.tolist()
    [1.0, 35.0]

    ```
    """
    values = np.asarray(logprobs, dtype=np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"`logprobs` should have the shape (prompts, samples), got {values.shape}.")
    mask = check_present(present, values.shape)
    check_finite(values, mask, "logprobs", ("prompt", "sample"))
    if (wrong := (values > 1e-6) & mask).any():
        place = tuple(np.argwhere(wrong)[0].tolist())
        raise ValueError(
            f"`logprobs` has {values[place]} at prompt {place[0]}, sample {place[1]}; they are at most 0."
        )
    if lengths is not None:
        tokens = np.asarray(lengths, dtype=np.float64)
        if tokens.shape != values.shape or not (tokens[mask] >= 1).all():
            raise ValueError(f"`lengths` should be at least 1, of the shape {values.shape}.")
        values = values / np.where(mask, tokens, 1.0)
    utilities = -np.where(mask, values, 0.0).sum(axis=1) / mask.sum(axis=1) + 0.0  # no -0.0
    return Acquisition(utilities, random_pairs(mask, np.random.default_rng(seed).random(len(mask))))


def response_diversity(distances: Any, present: Any = None, uncertainty_threshold: float = 0.0) -> Acquisition:
    """Prompts whose sampled responses differ most from one another, with the two that are farthest apart.

    Where a model answers the same thing however often it is asked, there is nothing to prefer; where its answers differ, it
    is unsure, or there are several ways to answer. It needs no reward model.

    Args:
        distances (array of shape `(P, n, n)`):
            Distance of each two responses, at least 0: [`text_distances`] or [`embedding_distances`].
        present (boolean array of shape `(P, n)`, *optional*):
            Which responses there are.
        uncertainty_threshold (`float`, *optional*, defaults to `0.0`):
            Prompts whose diversity is below are not asked about (`-inf`).

    Returns:
        [`Acquisition`]: utilities are mean distances over the pairs of a prompt.

    Raises:
        ValueError: If a shape is wrong, a distance is negative or not finite, or a prompt has fewer than two responses.

    Example:

    ```python
    >>> from rlhf_ext.active import response_diversity, text_distances
    >>> rows = [["It rains.", "It rains.", "It pours."], ["Take the train.", "I would fly.", "Why go?"]]
    >>> diversity = response_diversity(text_distances(rows), uncertainty_threshold=0.8)
    >>> diversity.utilities.round(2).tolist(), diversity.pairs.tolist()
    ([-inf, 1.0], [[0, 2], [0, 1]])

    ```
    """
    values = np.asarray(distances, dtype=np.float64)
    if values.ndim != 3 or values.shape[1] != values.shape[2] or 0 in values.shape:
        raise ValueError(f"`distances` should have the shape (prompts, responses, responses), got {values.shape}.")
    mask = check_present(present, values.shape[:2])
    utilities, pairs = np.zeros(len(values)), np.zeros((len(values), 2), dtype=np.int64)
    first, second = np.triu_indices(values.shape[1], 1)
    for rows in blocks(len(values)):
        there = mask[rows][:, first] & mask[rows][:, second]
        found = values[rows][:, first, second]
        wrong = there & ~((found >= 0) & np.isfinite(found))
        if wrong.any():
            row, pair = np.argwhere(wrong)[0]
            raise ValueError(
                f"`distances` has {found[row, pair]} at prompt {rows.start + row} between responses {first[pair]} and "
                f"{second[pair]}; they should be finite and at least 0."
            )
        found = np.where(there, found, 0.0)
        utilities[rows] = found.sum(axis=1) / there.sum(axis=1)
        farthest = np.where(there, found, -1.0).argmax(axis=1)
        pairs[rows] = np.stack([first[farthest], second[farthest]], axis=1)
    utilities[utilities < uncertainty_threshold] = -np.inf
    return Acquisition(utilities, pairs)
