"""Critique and revision: the supervised half of constitutional AI."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..data.journal import Journal
from ..generation.sampling import check_prompts, check_sampling
from ..types import Completion, Generator, PairwiseJudge, Prompt, RewardFunction, is_messages, text_of
from .asking import TEMPLATES
from .drift import SharedWords
from .principles import Constitution
from .rounds import Reviser, Row
from .steps import Revision, Revisions


def critique_and_revise(
    generator: Generator,
    prompts: Sequence[Prompt],
    constitution: Constitution | None = None,
    rounds: int = 4,
    *,
    responses: Sequence[Completion] | None = None,
    judge: PairwiseJudge | None = None,
    relevance: RewardFunction | None = None,
    min_relevance: float | None = 0.02,
    patience: int | None = None,
    store: str | Path | None = None,
    model: str | None = None,
    batch_size: int = 256,
    seed: int = 0,
    progress: bool = True,
    **sampling: Any,
) -> Revisions:
    """Has a model criticise and revise its own answers by the principles of a constitution.

    The supervised half of constitutional AI (Bai et al., [2212.08073](https://huggingface.co/papers/2212.08073)). In each
    round every prompt draws a principle (by weight, none twice until all were drawn); the model criticises its answer by
    it, ending with a verdict; where it objects, it revises the answer. A verdict that cannot be read is an objection.
    A prompt is finished when

    - no principle objects: `patience` of them were asked about the answer as it stands, and none did;
    - a revision is of no use: empty, talk about revising, the instructions again, or an answer that was there before;
    - a revision drifts from the question: `relevance` under `min_relevance`. One that refuses is not asked about: that is
      the judge's to say, and [`summarise`] reports it;
    - the judge does not find it better (p <= 0.5, or no opinion) than the answer that it revises;
    - `rounds` are over.

    A revision that ends the rounds in one of the middle three ways is kept in the steps, and not taken. Small models
    lose helpfulness this way and can collapse ([2504.04918](https://huggingface.co/papers/2504.04918)), and very small ones
    cannot criticise at all (SmolLM2-135M wrote no verdict that could be read, and gave critiques back as revisions): pass a
    judge, and look at [`summarise`] before you train.

    A round of a batch is at most three calls: critiques, revisions, judgements; after the last one the judge compares
    last and first answers of those that were revised more than once.

    Args:
        generator ([`~rlhf_ext.types.Generator`]):
            The model. It is asked in messages; the first answers are asked for with the prompts as they are.
        prompts (`list[str]` or `list[list[dict]]`):
            All text or all messages. A prompt that stands there n times is answered and revised n times.
        constitution ([`Constitution`], *optional*):
            The principles; [`Constitution.default`] by default.
        rounds (`int`, *optional*, defaults to `4`):
            Principles that a prompt's answer is held to at the most, at least 1.
        responses (`list`, *optional*):
            First answers, text or messages, where there are any already.
        judge ([`~rlhf_ext.types.PairwiseJudge`], *optional*):
            Compares each revision with what it revises.
        relevance ([`~rlhf_ext.types.RewardFunction`], *optional*, defaults to [`SharedWords`]):
            How close a revision stays to the question: a reward function, which also gets the columns `question` (the last
            message of the prompt) and `first_answer`, such as `Similarity(column="question")`.
        min_relevance (`float` or `None`, *optional*, defaults to `0.02`):
            Below it a revision has drifted; in the scorer's unit. The default lets pass what shares a word; None checks
            nothing.
        patience (`int`, *optional*):
            Principles without objection after which a prompt is finished, at least 1. All of them by default: one that
            finds nothing says nothing about the others.
        store (`str` or `Path`, *optional*):
            A JSONL file that keeps every answer as it comes. The same call goes on where it was stopped, at any moment,
            and asks nothing again; prompts may be added.
        model (`str`, *optional*):
            The writer's name, for provenance; with a store, another name is refused.
        batch_size (`int`, *optional*, defaults to `256`):
            Prompts that go through the rounds together.
        seed (`int`, *optional*, defaults to `0`):
            Draws the principles and seeds the sampling.
        progress (`bool`, *optional*, defaults to `True`):
            Whether to show a bar.
        **sampling:
            As in [`~rlhf_ext.generation.check_sampling`], for answers, critiques and revisions alike; `max_new_tokens` is
            512 by default. A critique that is cut off has no verdict.

    Returns:
        [`Revisions`]: every step of every prompt.

    Raises:
        TypeError, ValueError: If an argument is not valid, before anything is asked; from generator, judge or scorer, with
            a note that names the call.
        FileExistsError: If the store is of another run; what differs is named.

    Example:

    ```python
    >>> from rlhf_ext import ScriptedGenerator
    >>> from rlhf_ext.constitution import Constitution, Principle, critique_and_revise
    >>> kind = Constitution([Principle("kind", "Say where it is unkind.", "Make it kind.")])
    >>> model = ScriptedGenerator(["Look it up.", "Curt. Verdict: REVISE", "Gladly: Paris.", "Verdict: KEEP"])
    >>> revisions = critique_and_revise(model, ["Capital of France?"], kind, rounds=2, progress=False)
    >>> revisions[0].last, revisions[0].stopped
    ('Gladly: Paris.', 'no_objection')

    ```
    """
    constitution = Constitution.default() if constitution is None else constitution
    prompts, firsts = _check_rows(prompts, responses)
    sampling = {"max_new_tokens": 512, **sampling}
    checked = check_sampling({**sampling, "seed": seed})
    _check_numbers(rounds, patience, batch_size)
    _check_roles(generator, judge)
    scorer: Any = SharedWords() if relevance is None else relevance
    settings: dict[str, Any] = {"min_relevance": min_relevance, "rounds": rounds, "patience": patience, "seed": seed}
    identity = {
        "constitution": constitution.provenance,
        "model": model,
        **settings,
        "sampling": {name: value for name, value in checked.items() if name != "seed"},
        "first answers": "written" if firsts is None else "given",
        "judge": name_of(judge),
        "relevance": name_of(scorer),
        "instructions": hashlib.sha256(TEMPLATES.encode()).hexdigest()[:16],
    }
    rows = [
        Row(key, prompt, "" if firsts is None else firsts[index])
        for index, (key, prompt) in enumerate(zip(_keys(prompts, firsts), prompts, strict=True))
    ]
    done: list[Revision] = []
    bar = tqdm(total=len(rows), desc="revising", unit="prompt", disable=not progress)
    with Journal(store, identity, "revisions") as journal, bar:
        reviser = Reviser(generator, constitution, journal, judge, scorer, bar, sampling, **settings)
        for start in range(0, len(rows), batch_size):
            done += reviser.revise(rows[start : start + batch_size], write=firsts is None)
    return Revisions(tuple(done), constitution.provenance, model, name_of(judge))


def name_of(thing: Any) -> str | None:
    """A judge's or scorer's name, for provenance."""
    return None if thing is None else getattr(thing, "__name__", type(thing).__name__)


def _check_rows(
    prompts: Sequence[Prompt], responses: Sequence[Completion] | None
) -> tuple[list[Prompt], list[str] | None]:
    prompts = check_prompts(prompts)
    for row, prompt in enumerate(prompts):
        if not text_of(prompt).strip():
            raise ValueError(f"prompts[{row}] is empty.")
        if is_messages(prompt) != is_messages(prompts[0]):
            kinds = ("messages", "text") if is_messages(prompt) else ("text", "messages")
            raise ValueError(f"prompts[{row}] is {kinds[0]} where those before it are {kinds[1]}. Use one kind.")
    if responses is None:
        return prompts, None
    if isinstance(responses, str) or len(responses) != len(prompts):
        raise ValueError(
            f"`responses` should be a list with one answer a prompt ({len(prompts)}), got {len(responses)}."
        )
    return prompts, [text_of(response) for response in responses]


def _check_numbers(rounds: int, patience: int | None, batch_size: int) -> None:
    for name, value in (("rounds", rounds), ("patience", patience), ("batch_size", batch_size)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"`{name}` should be an integer of at least 1, got {value!r}.")


def _check_roles(generator: Any, judge: Any) -> None:
    if not callable(getattr(generator, "generate", None)):
        raise TypeError(f"`generator` should have a method `generate`, got {type(generator).__name__}.")
    if judge is not None and not callable(getattr(judge, "compare", None)):
        raise TypeError(f"`judge` should have a method `compare`, got {type(judge).__name__}.")


def _keys(prompts: Sequence[Prompt], firsts: Sequence[str] | None) -> list[str]:
    """What tells the rows apart, whatever stands beside them: prompt, given answer, and which repetition it is."""
    seen: Counter[str] = Counter()
    keys = []
    for index, prompt in enumerate(prompts):
        text = json.dumps([prompt, None if firsts is None else firsts[index]], sort_keys=True)
        keys.append(hashlib.sha256(f"{text} {seen[text]}".encode()).hexdigest()[:24])
        seen[text] += 1
    return keys
