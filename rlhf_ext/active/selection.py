"""What to ask people about: from prompts to a batch of comparisons, end to end and as a stream."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset

from ..labelers import sample_candidates
from ..labelers.judge import as_store
from ..rewards import RewardModel
from ..types import Prompt
from .arrays import check_finite_number, check_positive
from .batches import check_count
from .pool import member_count
from .readers import RewardFeatures
from .shortlist import BatchRule, Entry, Shortlist
from .strategies import Strategy, check_strategy
from .work import Embed, PoolWork

_OWN = ("prompt", "responses", "models", "utility", "strategy")


class NothingToAsk(ValueError):
    """There are prompts, and none of them can be asked about."""


@dataclass(frozen=True)
class Selection:
    """A batch to ask about, and what became of the rest.

    Args:
        rows (`list[dict]`): With `prompt`, `responses` (two, or all), `models` (where known), `utility`, `strategy` and the columns
            that came in; in the order in which they were chosen. The order of the two responses says nothing about which is
            better.
        seen (`int`): Prompts that were looked at.
        left_out (`dict[str, int]`): Prompts that could not be chosen, by reason.
    """

    rows: list[dict[str, Any]]
    seen: int
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def dataset(self) -> Dataset:
        """The rows as a data set."""
        return Dataset.from_list(self.rows)

    def save(self, path: str | Path) -> Path:
        """Writes the rows as JSON lines, whole or not at all; the feedback page reads them as items."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows)
        os.replace(partial, path)
        return path

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        lines = [f"{len(self.rows)} comparisons to ask about, of {self.seen} prompts"]
        return "\n".join([*lines, *(f"  {count:>6}  left out: {reason}" for reason, count in self.left_out.items())])


def select_for_feedback(
    generator: Any,
    prompts: Iterable[Prompt | Mapping[str, Any]],
    *,
    budget: int,
    reward: Any = None,
    strategy: Strategy = "d_optimal",
    n: int = 4,
    embed: Embed | None = None,
    logprobs: Any = None,
    asked: Iterable[Mapping[str, Any]] = (),
    uncertainty_threshold: float | None = None,
    rule: BatchRule | None = None,
    reward_temperature: float = 1.0,
    ask: Literal["pair", "all"] = "pair",
    block_size: int = 256,
    seed: int = 0,
    store: Any = None,
    skip_failed: bool = False,
    progress: bool = False,
    **sampling: Any,
) -> Selection:
    """Chooses which comparisons are worth a person's time: samples responses, scores them, and picks prompts and pairs.

    Prompts are read as a stream, a block at a time: they need not fit in memory, and may be an `IterableDataset` or a
    generator. What is kept is a shortlist, and 16 bytes a prompt to see each once.

    Args:
        generator:
            What writes responses: whatever [`~rlhf_ext.sample_candidates`] takes. None if the rows bring `responses`.
        prompts (`Iterable`):
            Prompts (text or messages), or rows with a `prompt`, whose other columns are kept and go to the reward.
        budget (`int`):
            Comparisons to choose. Where the pool has fewer, all are given, with a warning.
        reward (*optional*):
            A [`~rlhf_ext.RewardModel`], a [`~rlhf_ext.RewardEnsemble`], a reward function, or a list of them as an ensemble.
            A response to which it does not apply (None) is not asked about.
        strategy (`str` or `Callable`, *optional*, defaults to `"d_optimal"`):
            A name in [`STRATEGIES`], or a function of [`Candidates`] that gives an [`Acquisition`]. `d_optimal` needs
            embeddings; no other was better than random throughout (docs/active.md has the comparison).
        n (`int`, *optional*, defaults to `4`):
            Responses sampled for each prompt.
        embed (`Callable`, *optional*):
            `(prompts, completions) -> array (N, d)`, such as [`TextEmbeddings`] or [`RewardFeatures`], the default for
            `d_optimal` with a [`~rlhf_ext.RewardModel`].
        logprobs (`RewardFunction`, *optional*):
            Log-probabilities of responses for `"predictive_entropy"`, such as [`LogProbs`].
        asked (`Iterable`, *optional*):
            Rows with a `prompt` and two `responses` (or `chosen` and `rejected`) that were asked before: their prompts are not
            asked again, and `d_optimal` counts what they told.
        uncertainty_threshold (`float`, *optional*):
            Least utility of what is asked, in the strategy's unit. Of `d_optimal`, what a pair adds to those chosen before it.
        rule ([`BatchRule`], *optional*):
            Spreads the batch, thins it, gives categories their share.
        reward_temperature (`float`, *optional*, defaults to `1.0`):
            p(better) = sigmoid(difference of rewards / it); 1 for reward models trained on preferences.
        ask (`str`, *optional*, defaults to `"pair"`):
            `"pair"`: rows have the two responses to compare; `"all"`: all of them, to rank.
        block_size (`int`, *optional*, defaults to `256`):
            Prompts at a time.
        seed (`int`, *optional*, defaults to `0`):
            Of samples, draws and ties.
        store (*optional*):
            Where sampled responses are kept as they come, as in [`~rlhf_ext.sample_candidates`]: the same call goes on where it
            was stopped.
        skip_failed (`bool`, *optional*, defaults to `False`):
            Whether prompts that get no response are left out rather than an error.
        progress (`bool`, *optional*, defaults to `False`):
            Whether to show a bar.
        **sampling:
            `max_new_tokens`, `temperature`, `top_p`, `top_k`, `stop`.

    Returns:
        [`Selection`].

    Raises:
        ValueError: If an argument is out of range, the strategy is unknown or lacks what it needs (the message says which work), a
            row is bad (it is named), there are no prompts, or none can be asked about.
        TypeError, RuntimeError, Exception: As in [`~rlhf_ext.sample_candidates`] and from the reward.

    Example:

    ```python
    >>> from rlhf_ext.active import select_for_feedback
    >>> rows = [
    ...     {"prompt": "Hi?", "responses": ["Hello.", "Hello!", "Hi."]},
    ...     {"prompt": "Rain?", "responses": ["It pours.", "Not before noon.", "No."]},
    ... ]
    >>> selection = select_for_feedback(None, rows, budget=1, strategy="response_diversity")
    >>> selection.rows[0]["prompt"], selection.rows[0]["responses"]
    ('Rain?', ['It pours.', 'Not before noon.'])

    ```
    """
    rule = rule or BatchRule()
    check_count("budget", budget)
    check_count("block_size", block_size)
    check_positive("reward_temperature", reward_temperature)
    check_finite_number("uncertainty_threshold", uncertainty_threshold)
    if ask not in ("pair", "all"):
        raise ValueError(f"`ask` should be 'pair' or 'all', got {ask!r}.")
    if embed is None and strategy == "d_optimal" and isinstance(reward, RewardModel):
        embed = RewardFeatures(reward)
    check_strategy(strategy, member_count(reward), embed is not None, logprobs is not None)
    if rule.needs_embeddings and embed is None:
        raise ValueError(
            "`diversify` and `max_similarity` compare embeddings: pass `embed`, such as TextEmbeddings()."
        )
    work = PoolWork(reward, strategy, embed, logprobs, uncertainty_threshold, reward_temperature, seed)
    work.take_in(asked)
    shortlist = Shortlist(budget, rule, seed, designed=strategy == "d_optimal")
    sampler = None
    if generator is not None:
        options = {"n": n, "seed": seed, "skip_failed": skip_failed, **sampling}
        sampler, block_size = _sampler(generator, store, options, block_size)
    for block in work.read(prompts, sampler, block_size, progress):
        shortlist.add(work.entries(block))
    chosen = _chosen(shortlist, work)
    name = strategy if isinstance(strategy, str) else getattr(strategy, "__name__", type(strategy).__name__)
    return Selection([_row(entry, name, ask) for entry in chosen], work.seen, dict(work.left_out))


def _sampler(generator: Any, store: Any, options: Mapping[str, Any], block_size: int) -> tuple[Any, int]:
    """What samples responses to a block, and the block's size: a multiple of the models', who take turns across blocks."""
    models = len(generator) if isinstance(generator, Mapping | list | tuple) else 1
    opened = None if store is None else as_store(store)  # once, not once a block
    size = -(-block_size // max(models, 1)) * max(models, 1)
    return (lambda rows: sample_candidates(generator, rows, store=opened, **options)), size


def _chosen(shortlist: Shortlist, work: PoolWork) -> list[Entry]:
    """The batch; says so where there are fewer than the budget."""
    if work.seen == 0:
        raise ValueError("There are no prompts.")
    why = "; ".join(f"{count} {reason}" for reason, count in work.left_out.items())
    if not len(shortlist):
        raise NothingToAsk(f"None of {work.seen} prompts can be asked about: {why}.")
    if unmet := shortlist.unmet():
        warnings.warn(unmet, stacklevel=3)
    chosen = _over_threshold(shortlist.choose(work.design), work)
    why = "; ".join(f"{count} {reason}" for reason, count in work.left_out.items())
    if len(chosen) < shortlist.budget:
        warnings.warn(
            f"The budget is {shortlist.budget} comparisons, and of {work.seen} prompts {len(chosen)} can be asked about"
            f"{f' ({why})' if why else ''}: all of these are chosen.",
            stacklevel=3,
        )
    return chosen


def _over_threshold(chosen: list[Entry], work: PoolWork) -> list[Entry]:
    """What still reaches the threshold in the batch: the more a design has chosen, the less another pair adds."""
    kept = [entry for entry in chosen if work.threshold is None or entry.utility >= work.threshold]
    if len(kept) < len(chosen):
        work.left_out["under the threshold"] += len(chosen) - len(kept)
    return kept


def _row(entry: Entry, strategy: str, ask: str) -> dict[str, Any]:
    row = entry.row
    places = list(entry.pair) if ask == "pair" else list(range(len(row.responses)))
    found: dict[str, Any] = {"prompt": row.prompt, "responses": [row.responses[place] for place in places]}
    if row.models is not None:
        found["models"] = [row.models[place] for place in places]
    others = {name: value for name, value in row.columns.items() if name not in _OWN}
    return {**found, "utility": entry.utility, "strategy": strategy, **others}
