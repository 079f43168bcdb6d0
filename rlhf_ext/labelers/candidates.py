"""Answers to choose among: several a prompt from one or more models."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..data.store import JudgementStore
from ..types import Prompt
from .budget import Budget
from .dealing import Candidates


def sample_candidates(
    generators: Any,
    prompts: Iterable[Prompt | Mapping[str, Any]],
    n: int = 4,
    *,
    seed: int = 0,
    store: str | Path | JudgementStore | None = None,
    budget: Budget | None = None,
    skip_failed: bool = False,
    retry_failed: bool = False,
    progress: bool = False,
    **sampling: Any,
) -> Dataset:
    """Samples n answers a prompt, from one model or shared out among several, for a labeler to choose among.

    Samples are dealt to the models in turn, going on from prompt to prompt, so that each writes its share even where n is
    less than their number. Answers that are equal but for white space around them are kept once. Each sample has a seed of its
    own; equal prompts get equal answers. A larger `n` on the same store adds to what is there.

    Args:
        generators: A [`LocalGenerator`], an [`EndpointGenerator`] or a [`ScriptedGenerator`]; a list of them; or a dict with a
            name for each.
        prompts (`list` or `Dataset`): Prompts (text or messages), or rows with a `prompt`, whose other columns are kept.
        n (`int`, *optional*, defaults to `4`): Answers a prompt, before equal ones are taken out.
        seed (`int`, *optional*, defaults to `0`): Other seeds give other answers.
        store (`str`, `Path` or [`~rlhf_ext.data.store.JudgementStore`], *optional*): Where answers are kept as they come: the
            same call goes on where it was stopped, and several processes share one. By default one that is gone with the process.
        budget ([`Budget`], *optional*): Hard limits and prices, over all models together.
        skip_failed (`bool`, *optional*, defaults to `False`): Whether prompts that got no answer at all are left out, with a
            warning, rather than an error. A prompt that got some answers always stays.
        retry_failed (`bool`, *optional*, defaults to `False`): Whether samples that failed in an earlier run are asked for
            again.
        progress (`bool`, *optional*, defaults to `False`): Whether to show a bar.
        **sampling: `max_new_tokens`, `temperature`, `top_p`, `top_k`, `stop`, as every generator takes them.

    Returns:
        `Dataset` with `prompt`, `responses` (messages where the prompt is), `models` (which wrote each; of equal answers the
        first), and the other columns. A prompt all of whose answers are equal has one response.

    Raises:
        ValueError: If `n` or a sampling argument is out of range, samples of one model would all be the same, two models have
            one name, there are no prompts, or one is missing.
        TypeError: If a generator has no `each`.
        NotImplementedError: If an endpoint does not sample.
        BudgetUsedUp: If the budget does not reach. What was answered is kept.
        RuntimeError: If a prompt got no answer; it is named. What was answered is kept.

    Example:

    ```python
    >>> from rlhf_ext import ScriptedGenerator
    >>> from rlhf_ext.labelers import sample_candidates
    >>> models = {"a": ScriptedGenerator(["Hi.", "Hello."]), "b": ScriptedGenerator(["Hi. ", "Good day."])}
    >>> sample_candidates(models, ["Say hello."], n=4)[0]
    {'prompt': 'Say hello.', 'responses': ['Hi.', 'Hello.', 'Good day.'], 'models': ['a', 'a', 'b']}

    ```
    """
    options: dict[str, Any] = {"budget": budget, "retry_failed": retry_failed, "progress": progress}
    found, left_out = Candidates(generators, prompts, n, seed=seed, store=store, **options, **sampling).sample()
    if left_out:
        message = f"{len(left_out)} of {len(found) + len(left_out)} prompts got no answer; {left_out[0]['reason']}."
        if not (skip_failed and found):
            raise RuntimeError(
                f"{message} `skip_failed=True` leaves such prompts out; what was answered is kept in `store`."
            )
        warnings.warn(f"{message} They are left out.", stacklevel=2)
    return Dataset.from_list(found)
