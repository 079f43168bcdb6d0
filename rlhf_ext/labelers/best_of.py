"""The best of n answers by a reward, as a function and as data made on the fly."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset, Features, IterableDataset

from ..generation import check_sampling
from ..rewards.calling import like_prompt, score_rows
from ..types import Generator, Prompt, text_of
from .dealing import check_samples, prompt_rows


def best_of_n(
    generator: Generator,
    prompts: Iterable[Prompt | Mapping[str, Any]],
    reward: Any,
    n: int = 4,
    *,
    seed: int = 0,
    return_scores: bool = False,
    **sampling: Any,
) -> list[str] | tuple[list[str], list[float]]:
    """Samples n answers a prompt and gives the one with the highest reward.

    It is the simplest way to follow a reward, and a hard one to beat; how far it goes from the model that writes is known: KL =
    log n - (n - 1) / n ([2210.10760](https://huggingface.co/papers/2210.10760)).

    Args:
        generator ([`~rlhf_ext.types.Generator`]): Whatever has `generate`.
        prompts (`list` or `Dataset`): Prompts (text or messages), or rows with a `prompt`, whose other columns the reward gets.
        reward (`RewardFunction`): Sync or async. It is called once; the answers to a prompt stand together.
        n (`int`, *optional*, defaults to `4`): Answers a prompt.
        seed (`int`, *optional*, defaults to `0`): Of the samples.
        return_scores (`bool`, *optional*, defaults to `False`): Whether to give the rewards as well.
        **sampling: `max_new_tokens`, `temperature`, `top_p`, `top_k`, `stop`.

    Returns:
        `list[str]`: one text a prompt, in order, the first of those with the highest reward; with `return_scores`
        `tuple[list[str], list[float]]`. An answer to which the reward does not apply (None) is never chosen.

    Raises:
        ValueError: If an argument is out of range, or the reward is None for all answers to a prompt, which is named.

    Example:

    ```python
    >>> from rlhf_ext import ScriptedGenerator
    >>> from rlhf_ext.labelers import best_of_n
    >>> def length(prompts, completions, **columns):
    ...     return [float(len(completion)) for completion in completions]
    >>> best_of_n(ScriptedGenerator(["Hi.", "Hello.", "Yo.", "Hey."]), ["Greet.", "Again."], length, n=2, return_scores=True)
    (['Hello.', 'Hey.'], [6.0, 4.0])

    ```
    """
    rows = prompt_rows(prompts)
    _check(n, sampling)
    texts, scores = _best(generator, rows, reward, n, seed, sampling, 0)
    return (texts, scores) if return_scores else texts


def best_of_n_dataset(
    generator: Generator,
    prompts: Iterable[Prompt | Mapping[str, Any]],
    reward: Any,
    n: int = 4,
    *,
    batch_size: int = 16,
    seed: int = 0,
    **sampling: Any,
) -> IterableDataset:
    """The best of n answers to each prompt as data for TRL's `SFTTrainer`, made when it is asked for.

    Nothing is written ahead: each pass samples anew, from the generator as it then is. With a [`LocalGenerator`] of the model in
    training, that is expert iteration. With an unchanged generator every pass gives the same rows. The first batch is one
    prompt, since trainers look at the first row several times before they start.

    Trainers need `max_steps`, since its length is not known to them, and read it in their own process
    (`dataloader_num_workers=0`).

    Args:
        generator, prompts, reward, n, seed, **sampling: As for [`best_of_n`].
        batch_size (`int`, *optional*, defaults to `16`): Prompts at a time, with n answers each.

    Returns:
        `IterableDataset` with `prompt`, `completion` (messages where the prompt is) and `score`.

    Raises:
        ValueError: If an argument is out of range; in a pass, if the reward is None for all answers to a prompt.

    Example:

    ```python
    >>> from rlhf_ext import ScriptedGenerator
    >>> from rlhf_ext.labelers import best_of_n_dataset
    >>> def length(prompts, completions, **columns):
    ...     return [float(len(completion)) for completion in completions]
    >>> data = best_of_n_dataset(ScriptedGenerator(["Hi.", "Hello."]), ["Greet."], length, n=2)
    >>> next(iter(data))
    {'prompt': 'Greet.', 'completion': 'Hello.', 'score': 6.0}

    ```
    """
    rows = prompt_rows(prompts)
    _check(n, sampling)
    if batch_size < 1:
        raise ValueError(f"`batch_size` should be at least 1, got {batch_size}.")
    source = _Source(generator, rows, reward, n, batch_size, seed, sampling)
    return IterableDataset.from_generator(source, features=_features(rows))


class _Source:
    """Rows of one pass, a batch of prompts at a time."""

    def __init__(
        self,
        generator: Generator,
        rows: Sequence[Mapping[str, Any]],
        reward: Any,
        n: int,
        batch_size: int,
        seed: int,
        sampling: Mapping[str, Any],
    ):
        self.generator, self.rows, self.reward, self.n = generator, rows, reward, n
        self.batch_size, self.seed, self.sampling = batch_size, seed, sampling
        self.name = uuid.uuid4().hex

    def __call__(self) -> Iterator[dict[str, Any]]:
        for start, stop in [(0, 1), *((s, s + self.batch_size) for s in range(1, len(self.rows), self.batch_size))]:
            rows = self.rows[start:stop]
            texts, scores = _best(self.generator, rows, self.reward, self.n, self.seed, self.sampling, start)
            for row, text, score in zip(rows, texts, scores, strict=True):
                yield {"prompt": row["prompt"], "completion": like_prompt(row["prompt"], text), "score": score}

    def __reduce__(self) -> tuple[Any, ...]:
        # `datasets` names what it reads by a hash of its pickle: here that must not be the weights of a model.
        return _elsewhere, (self.name,)


def _elsewhere(name: str) -> Any:
    raise RuntimeError(
        "A data set that is made on the fly cannot leave the process of its generator: set `dataloader_num_workers=0`, or write it "
        "out first with `best_of_n`."
    )


def _features(rows: Sequence[Mapping[str, Any]]) -> Features:
    sample = [{"prompt": r["prompt"], "completion": like_prompt(r["prompt"], ""), "score": 0.0} for r in rows]
    return Dataset.from_list(sample).features


def _check(n: int, sampling: Mapping[str, Any]) -> None:
    check_samples(n, n, check_sampling(sampling)["temperature"])


def _best(
    generator: Generator,
    rows: Sequence[Mapping[str, Any]],
    reward: Any,
    n: int,
    seed: int,
    sampling: Mapping[str, Any],
    first: int,
) -> tuple[list[str], list[float]]:
    """The best answers to `rows`, of which the first is number `first` of all, and their rewards."""
    repeated = [row for row in rows for _ in range(n)]
    prompts = [row["prompt"] for row in repeated]
    texts = generator.generate(prompts, **sampling, seed=seed + first * n)
    completions = [like_prompt(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
    names = dict.fromkeys(key for row in rows for key in row if key != "prompt")
    columns = {key: [row.get(key) for row in repeated] for key in names}
    scores = score_rows(reward, prompts, completions, columns).reshape(len(rows), n)
    for index, row in enumerate(scores):
        if np.isnan(row).all():
            prompt = text_of(rows[index]["prompt"])[:200]
            raise ValueError(f"The reward gave None for all {n} answers to prompt {first + index}, {prompt!r}.")
    best = np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1)
    places = [index * n + int(place) for index, place in enumerate(best)]
    return [texts[place] for place in places], [float(scores.flat[place]) for place in places]
