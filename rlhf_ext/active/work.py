"""From blocks of a pool to entries of a shortlist: responses, rewards, embeddings, utilities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from ..types import Prompt
from .arrays import Acquisition, Floats
from .design import Design, ridge_of
from .pool import PoolRow, flat, padded, pool_row, prompt_key, read_rows, score_members
from .shortlist import Entry
from .strategies import STRATEGIES, Candidates, Strategy

Embed = Callable[[Sequence[Any], Sequence[Any]], NDArray[Any]]
"""`(prompts, completions) -> array (N, d)`."""

_INDEX = "_row of the pool"
"""Column that carries a row's number through the sampling of responses."""


class PoolWork:
    """What is done to each block of a pool, and what is counted.

    Args:
        reward, strategy, embed, logprobs, threshold, temperature, seed:
            As in [`select_for_feedback`].

    Attributes:
        design ([`Design`] or `None`): For `d_optimal`: what was asked before, once there was a first block.
        seen (`int`), left_out (`Counter`): Prompts so far, and those that cannot be chosen by reason.
    """

    def __init__(
        self,
        reward: Any,
        strategy: Strategy,
        embed: Embed | None,
        logprobs: Any,
        threshold: float | None,
        temperature: float,
        seed: int,
    ):
        self.reward, self.embed, self.logprobs = reward, embed, logprobs
        self.designs = strategy == "d_optimal"
        self.acquire = STRATEGIES[strategy].acquire if isinstance(strategy, str) else strategy
        self.threshold, self.temperature = threshold, temperature
        self.rng = np.random.default_rng([seed, 1])
        self.design: Design | None = None
        self.asked: list[PoolRow] = []
        self.keys: set[bytes] = set()
        self.seen = 0
        self.left_out: Counter[str] = Counter()

    def take_in(self, asked: Iterable[Mapping[str, Any]]) -> None:
        """Notes what was asked before."""
        for index, row in enumerate(asked):
            responses = row.get("responses") or [row.get("chosen"), row.get("rejected")]
            if not row.get("prompt") or len(responses) != 2 or None in responses:
                raise ValueError(
                    f"Row {index} of `asked` needs a `prompt` and two `responses` (or `chosen` and `rejected`)."
                )
            self.keys.add(prompt_key(row["prompt"]))
            if self.designs:
                self.asked.append(PoolRow(index, row["prompt"], list(responses), None, {}))

    def read(self, prompts: Any, sampler: Any, block_size: int, progress: bool) -> Iterator[list[PoolRow]]:
        """Blocks of rows that have two different responses, each prompt once."""
        total = len(prompts) if hasattr(prompts, "__len__") else None
        source = read_rows(prompts, sampler is not None)
        with tqdm(total=total, desc="selecting", unit="prompt", disable=not progress) as bar:
            while block := list(islice(source, block_size)):
                self.seen += len(block)
                new = [(index, row) for index, row in block if self._is_new(row["prompt"])]
                if new:
                    yield self._with_responses(new, sampler)
                bar.update(len(block))

    def entries(self, rows: list[PoolRow]) -> list[Entry]:
        """What may be chosen of a block, with its utility."""
        if not rows:
            return []
        prompts, completions, columns = flat(rows)
        scores, present = padded(rows, self._scored(prompts, completions, columns))
        present &= np.isfinite(scores).all(axis=2)
        features = None if self.embed is None else padded(rows, self._embedded(prompts, completions))[0]
        logprobs = None
        if self.logprobs is not None:
            logprobs = padded(rows, score_members(self.logprobs, prompts, completions, columns))[0][:, :, 0]
        enough = present.sum(axis=1) >= 2
        self._count("fewer than two responses with a reward", int((~enough).sum()))
        rows = [row for row, keeps in zip(rows, enough, strict=True) if keeps]
        if not rows:
            return []
        block = Candidates(
            [row.responses for row in rows],
            present[enough],
            self.rng,
            None if self.reward is None else scores[enough],
            None if features is None else features[enough],
            None if logprobs is None else logprobs[enough],
            None,
            self.temperature,
        )
        if self.designs:
            block.design = self.design = self.design or self._begun(block)
        means = np.where(block.present, scores[enough].mean(axis=2), np.nan)  # NaN: never to be asked about
        return self._kept(rows, self._acquired(block), means, block.features)

    def _acquired(self, block: Candidates) -> Acquisition:
        found = self.acquire(block)
        utilities, pairs = np.asarray(found[0], dtype=np.float64), np.asarray(found[1], dtype=np.int64)
        if utilities.shape != (len(block.responses),) or pairs.shape != (len(block.responses), 2):
            raise ValueError(
                f"A strategy should give utilities of shape ({len(block.responses)},) and pairs of shape "
                f"({len(block.responses)}, 2), got {utilities.shape} and {pairs.shape}."
            )
        for place in np.flatnonzero(utilities != -np.inf).tolist():
            there, (first, second) = np.flatnonzero(block.present[place]).tolist(), pairs[place].tolist()
            if not np.isfinite(utilities[place]) or first == second or not {first, second} <= set(there):
                raise ValueError(
                    f"The strategy gave prompt {place} of a block the utility {utilities[place]} and the pair {(first, second)}; it "
                    f"should be finite or -inf, and two different ones of the responses {there}."
                )
        return Acquisition(utilities, np.sort(pairs, axis=1))

    def _kept(self, rows: list[PoolRow], found: Acquisition, means: Floats, features: Any) -> list[Entry]:
        entries = []
        for place, (row, utility, pair) in enumerate(zip(rows, found.utilities, found.pairs, strict=True)):
            if utility == -np.inf or (self.threshold is not None and utility < self.threshold):
                self._count("under the threshold", 1)
                continue
            n = len(row.responses)
            # Copies: a view would keep the whole block in memory for as long as one prompt of it is on the shortlist.
            states = None if features is None else features[place, :n].copy()
            entries.append(Entry(row, float(utility), (int(pair[0]), int(pair[1])), states, means[place, :n].copy()))
        return entries

    def _begun(self, block: Candidates) -> Design:
        """The design, on the scale of the first block's features, with what was asked before."""
        assert block.features is not None
        ridge = ridge_of(block.features, block.present)
        design = Design(block.features.shape[2], ridge, self.temperature)
        if self.asked:
            prompts, completions, columns = flat(self.asked)
            states = self._embedded(prompts, completions).astype(np.float64)
            means = self._scored(prompts, completions, columns).mean(axis=1)
            design.add(states[::2] - states[1::2], np.nan_to_num(means[::2] - means[1::2]))
        return design

    def _scored(self, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]) -> Any:
        """Rewards, shape `(N, m)`; all alike where there is no reward."""
        if self.reward is None:
            return np.zeros((len(prompts), 1))
        return score_members(self.reward, prompts, completions, columns)

    def _embedded(self, prompts: Sequence[Any], completions: Sequence[Any]) -> NDArray[Any]:
        assert self.embed is not None
        found = np.asarray(self.embed(prompts, completions))
        if found.ndim != 2 or len(found) != len(prompts):
            raise ValueError(f"`embed` gave an array of shape {found.shape} for {len(prompts)} responses.")
        return found

    def _is_new(self, prompt: Prompt) -> bool:
        key = prompt_key(prompt)
        if key in self.keys:
            self._count("asked before, or twice in the pool", 1)
            return False
        self.keys.add(key)
        return True

    def _with_responses(self, rows: list[tuple[int, dict[str, Any]]], sampler: Any) -> list[PoolRow]:
        if sampler is not None:
            sampled = sampler([{**row, _INDEX: index} for index, row in rows])
            self._count("no response", len(rows) - len(sampled))
            rows = [(row.pop(_INDEX), row) for row in sampled]
        found = [pool_row(index, row) for index, row in rows]
        several = [row for row in found if len(row.responses) > 1]
        self._count("fewer than two different responses", len(found) - len(several))
        return several

    def _count(self, reason: str, count: int) -> None:
        if count:
            self.left_out[reason] += count
