"""Fresh comparisons from a model: candidates sampled pool by pool, of which active selection picks what to ask."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from ...types import Prompt

_LOG = logging.getLogger(__name__)


def fresh_comparisons(
    generator: Any,
    prompts: Iterable[Prompt | Mapping[str, Any]],
    *,
    reward: Any = None,
    strategy: Any = None,
    n: int = 4,
    pool: int = 8,
    picked: int = 4,
    wanted: int = 1,
    seed: int = 0,
    **options: Any,
) -> Iterator[list[dict[str, Any]]]:
    """Comparisons for [`LiveItems`]: of each pool of prompts those most worth asking people about.

    Args:
        generator, prompts: What [`~rlhf_ext.active.select_for_feedback`] takes. Prompts are read as they are needed.
        reward (*optional*): A reward model, an ensemble or reward functions, for strategies that need them.
        strategy (`str` or `Callable`, *optional*): By default `"d_optimal"` with a reward model, else `"response_diversity"`,
            which needs nothing.
        n (`int`, *optional*, defaults to `4`): Answers sampled for each prompt.
        pool (`int`, *optional*, defaults to `8`): Prompts to choose among at a time: the larger, the better the choice, and the
            longer people wait for it.
        picked (`int`, *optional*, defaults to `4`): Comparisons chosen of each pool.
        wanted (`int`, *optional*, defaults to `1`): People to ask each.
        seed (`int`, *optional*, defaults to `0`): Of samples and draws.
        **options: Other arguments of `select_for_feedback`, such as `max_new_tokens`.

    Yields:
        `list[dict]`: rows of items; none of a pool whose answers are empty, or the same for each prompt.

    Raises:
        ValueError: If `picked` is not in [1, `pool`].

    Example:
    ```python
    >>> from rlhf_ext import ScriptedGenerator
    >>> from rlhf_ext.deployment.feedback_ui import fresh_comparisons

    >>> model = ScriptedGenerator(["It pours.", "Not before noon."])
    >>> [[row]] = fresh_comparisons(model, ["Rain?"], n=2, pool=1, picked=1)
    >>> row["kind"], row["responses"], row["strategy"]
    ('comparison', ['It pours.', 'Not before noon.'], 'response_diversity')

    ```
    """
    if not 1 <= picked <= pool:
        raise ValueError(f"`picked` should be in [1, {pool}], got {picked}.")
    if strategy is None:
        from ...rewards import RewardModel

        strategy = "d_optimal" if isinstance(reward, RewardModel) else "response_diversity"
    return _pools(
        generator, iter(prompts), pool, picked, wanted, reward=reward, strategy=strategy, n=n, seed=seed, **options
    )


def _pools(
    generator: Any, prompts: Iterator[Any], pool: int, picked: int, wanted: int, **options: Any
) -> Iterator[list[dict[str, Any]]]:
    from ...active import select_for_feedback  # loads torch, which a page without a model does without
    from ...active.selection import NothingToAsk

    while block := list(islice(prompts, pool)):
        budget = min(picked, len(block))
        try:
            rows = select_for_feedback(generator, block, budget=budget, block_size=pool, **options).rows
        except NothingToAsk as error:  # a model that repeats itself for a while should not end the stream
            _LOG.warning("A pool of prompts gave nothing to ask: %s", error)
            rows = []
        yield [{"wanted": wanted, **row, "kind": "comparison"} for row in rows]
