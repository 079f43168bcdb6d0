"""Answers to choose among: several a prompt from one or more models."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..data.store import Judgement, JudgementStore
from ..generation import EndpointGenerator, check_sampling
from ..generation.identity import identity, model_name
from ..rewards.calling import like_prompt
from ..types import Prompt
from .budget import Budget
from .comparisons import RESPONSES
from .job import JudgementJob, Question, key_of, question_of
from .judge import as_store


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
            same call goes on where it was stopped, and several processes share one. In memory by default.
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
        RuntimeError: If the budget does not reach, or a prompt got no answer (it is named). What was answered is kept.

    Example:

    ```python
    >>> from rlhf_ext import ScriptedGenerator
    >>> from rlhf_ext.labelers import sample_candidates
    >>> models = {"a": ScriptedGenerator(["Hi.", "Hello."]), "b": ScriptedGenerator(["Hi. ", "Good day."])}
    >>> sample_candidates(models, ["Say hello."], n=4)[0]
    {'prompt': 'Say hello.', 'responses': ['Hi.', 'Hello.', 'Good day.'], 'models': ['a', 'a', 'b']}

    ```
    """
    named, rows = _named(generators), prompt_rows(prompts)
    options = {key: value for key, value in check_sampling(sampling).items() if key != "seed"}
    each = -(-n // len(named))
    check_samples(n, each, options["temperature"])
    if each > 1:
        _check_they_sample(named.values())
    ids = {name: identity(generator, name) for name, generator in named.items()}
    deals = _deal(ids, rows, n, seed, options)
    job = key_of(candidates=ids, sampling=options, seed=seed, prompts=[row["prompt"] for row in rows])
    found: dict[str, Judgement] = {}
    kept = as_store(store)
    for name, generator in named.items():
        mine = [question for dealt in deals for other, question in dealt if other == name]
        work = JudgementJob(generator, kept, job, budget or Budget(), progress, retry_failed, task=f"sampling {name}")
        found |= work.run(mine, **options)
    return Dataset.from_list(_gathered(rows, deals, found, skip_failed))


def prompt_rows(prompts: Iterable[Prompt | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Prompts, or rows with a prompt, as rows.

    Raises:
        ValueError: If there are none, or one is empty or missing; it is named.
    """
    if isinstance(prompts, str):
        raise ValueError(f"`prompts` should be a list of prompts, got one string; a list of one is [{prompts!r}].")
    rows = [dict(one) if isinstance(one, Mapping) else {"prompt": one} for one in prompts]
    if not rows:
        raise ValueError("There are no prompts.")
    for index, row in enumerate(rows):
        if "role" in row and "content" in row and "prompt" not in row:
            raise ValueError(f"`prompts[{index}]` is one message: a prompt is text or a list of messages.")
        if not row.get("prompt"):
            raise ValueError(f"Row {index} has no `prompt`; it has {', '.join(row)}.")
    return rows


def check_samples(n: int, each: int, temperature: float) -> None:
    """Checks the number of samples, in all and of one model."""
    if n < 1:
        raise ValueError(f"`n` should be at least 1, got {n}.")
    if each > 1 and temperature == 0:
        raise ValueError(f"{each} answers of one model at temperature 0 would all be the same: set it above 0.")


def _named(generators: Any) -> dict[str, Any]:
    if isinstance(generators, Mapping):
        named = dict(generators)
    else:
        listed = list(generators) if isinstance(generators, (list, tuple)) else [generators]
        named = {model_name(generator): generator for generator in listed}
        if len(named) < len(listed):
            raise ValueError(
                f"Of {len(listed)} generators some have one name ({', '.join(named)}): pass a dict with a name for each."
            )
    if not named:
        raise ValueError("There are no generators.")
    for name, generator in named.items():
        if not callable(getattr(generator, "each", None)):
            raise TypeError(
                f"The generator {name!r} needs a method `each` (see rlhf_ext.generation), which {type(generator).__name__} has not."
            )
    return named


def _check_they_sample(generators: Iterable[Any]) -> None:
    for generator in generators:
        if isinstance(generator, EndpointGenerator) and not generator.probe().sampling:
            raise NotImplementedError(
                f"{generator.base_url} gave the same answer twice at a high temperature: it does not sample, so several answers to "
                "a prompt would be one. Ask for one answer of each model."
            )


def _deal(
    ids: Mapping[str, str], rows: Sequence[Mapping[str, Any]], n: int, seed: int, options: Mapping[str, Any]
) -> list[list[tuple[str, Question]]]:
    """For each row its samples: which model writes them, and the question."""
    names, deals = list(ids), []
    for index, row in enumerate(rows):
        dealt = sorted((index * n + place) % len(names) for place in range(n))
        deal = []
        for place, who in enumerate(dealt):
            parts = {
                "kind": "candidate",
                "model": ids[names[who]],
                "sampling": options,
                "sample": place - dealt.index(who),
            }
            deal.append((names[who], question_of(row["prompt"], seed, **parts)))
        deals.append(deal)
    return deals


def _gathered(
    rows: Sequence[Mapping[str, Any]],
    deals: Sequence[Sequence[tuple[str, Question]]],
    found: Mapping[str, Judgement],
    skip_failed: bool,
) -> list[dict[str, Any]]:
    """Rows with their answers."""
    wanted = {question.key for dealt in deals for _, question in dealt}
    if len(found) < len(wanted):
        raise RuntimeError(
            f"The budget is used up: {len(found)} of {len(wanted)} answers are sampled. With a `store`, the same call with a larger "
            "one goes on with the rest."
        )
    gathered, failed = [], []
    for index, (row, dealt) in enumerate(zip(rows, deals, strict=True)):
        texts = [(name, found[question.key].result) for name, question in dealt]
        kept: dict[str, tuple[str, str]] = {}
        for name, result in texts:
            if result is not None:
                kept.setdefault((result["text"] or "").strip(), (name, result["text"] or ""))
        if not kept:
            failed.append(f"row {index}: {found[dealt[0][1].key].failure}")
            continue
        responses = [like_prompt(row["prompt"], text) for _, text in kept.values()]
        gathered.append({**row, RESPONSES: responses, "models": [name for name, _ in kept.values()]})
    if failed:
        message = f"{len(failed)} of {len(rows)} prompts got no answer; {failed[0]}."
        if not (skip_failed and gathered):
            raise RuntimeError(
                f"{message} `skip_failed=True` leaves such prompts out; what was answered is kept in `store`."
            )
        warnings.warn(f"{message} They are left out.", stacklevel=3)
    return gathered
