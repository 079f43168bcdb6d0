"""What choosing by the reward model does to the true reward: the best-of-n curve of proxy and gold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from ...data.preferences import COLUMNS
from ...rewards.calling import like_prompt, score_rows
from ...stats import Estimate, bootstrap, bootstrap_mean, paired_difference
from ...types import Completion, Generator, Prompt, is_messages
from ..report import Curve
from .pairs import correlation
from .result import CannotMeasure, Measurement
from .scoring import Floats


@dataclass(frozen=True)
class Samples:
    """Where the samples of each prompt come from: a column of the preferences, or a generator that writes them.

    Args:
        column (`str`):
            Column with a list of completions a row, all of one length N >= 2.
        generator (`Generator`, *optional*):
            Writes `count` samples of each different prompt, in place of the column.
        count (`int`, *optional*, defaults to `16`), seed (`int`, *optional*, defaults to `0`):
            Of the generator.
        sampling (`dict`, *optional*):
            What else it is told: `max_new_tokens`, `temperature`, ...
    """

    column: str = "samples"
    generator: Generator | None = None
    count: int = 16
    seed: int = 0
    sampling: dict[str, Any] | None = None

    def check(self, preferences: Dataset) -> None:
        """Refuses samples that are not there, before anything is scored.

        Raises:
            ValueError: If there is neither generator nor column, or a row's samples are too few or unlike the others'.
        """
        if self.generator is not None:
            if self.count < 2:
                raise ValueError(f"`n` must be at least 2, got {self.count}.")
            return
        if self.column not in preferences.column_names:
            raise ValueError(
                f"A gold reward needs samples to choose from: there is no column {self.column!r} in the preferences (they "
                f"have {preferences.column_names}) and no `generator` to write them."
            )
        size = None
        for row, (prompt, found) in enumerate(zip(preferences["prompt"], preferences[self.column], strict=True)):
            count = len(found) if isinstance(found, list) else 0
            if count < 2 or (size is not None and count != size):
                wanted = "at least 2" if size is None else f"{size}, as in the rows before"
                raise ValueError(
                    f"Row {row}: `{self.column}` must be a list of {wanted} completions, got {found!r:.200}."
                )
            size = count
            for completion in found:
                if not isinstance(completion, str) and not (is_messages(completion) and is_messages(prompt)):
                    raise ValueError(
                        f"Row {row}: `{self.column}` holds {completion!r:.200}, which does not fit its prompt."
                    )

    def take(self, preferences: Dataset) -> tuple[list[Prompt], list[list[Completion]], list[int]]:
        """Prompts, the samples of each, and the row that each comes from."""
        prompts, rows = [], []
        for row, prompt in enumerate(preferences["prompt"]):
            if self.generator is None or prompt not in prompts:
                prompts.append(prompt)
                rows.append(row)
        if self.generator is None:
            found = list(preferences[self.column])
        else:
            repeated = [prompt for prompt in prompts for _ in range(self.count)]
            texts = self.generator.generate(repeated, **{"seed": self.seed, **(self.sampling or {})})
            found = [texts[i : i + self.count] for i in range(0, len(texts), self.count)]
        return (
            prompts,
            [[like_prompt(prompt, s) for s in row] for prompt, row in zip(prompts, found, strict=True)],
            rows,
        )


def best_of_n(reward: Any, gold: Any, preferences: Dataset, samples: Samples) -> Measurement:
    """Proxy and gold of the sample that the proxy likes best of n, for n up to the number of samples.

    Each n is estimated without bias from all N samples of a prompt (every subset of n counts the same: Nakano et al.,
    2112.09332); its KL from the sampling model is at most log n - (n - 1)/n nats. Where gold falls while the proxy rises,
    the proxy is over-optimised (Gao et al., 2210.10760), and PPO would be led the same way.
    """
    prompts, completions, rows = samples.take(preferences)
    names = [name for name in preferences.column_names if name not in (*COLUMNS, samples.column)]
    size = len(completions[0])
    columns = {name: [preferences[name][row] for row in rows for _ in range(size)] for name in names}
    flat = [completion for row in completions for completion in row]
    repeated = [prompt for prompt in prompts for _ in range(size)]
    proxies, golds = (score_rows(f, repeated, flat, columns).reshape(-1, size) for f in (reward, gold))
    whole = ~np.isnan(proxies + golds).any(axis=1)
    if whole.sum() < 2:
        raise CannotMeasure("fewer than 2 prompts have a proxy and a gold score for all their samples")
    proxies, golds = proxies[whole], golds[whole]
    sizes = [2**i for i in range(int(math.log2(size)) + 1)]
    sizes += [size] if sizes[-1] != size else []
    curves = {
        name: np.stack([expected_best(proxies, values, n) for n in sizes], axis=1)
        for name, values in (("proxy", proxies), ("gold", golds))
    }
    return Measurement(_estimates(proxies, golds, curves["gold"]), _plots(sizes, curves))


def expected_best(proxies: Floats, values: Floats, n: int) -> Floats:
    """Expected value of the sample with the highest proxy among n drawn without replacement, for each prompt.

    Args:
        proxies, values (arrays of shape `(P, N)`):
            What is chosen by, and what is looked at. Samples with the same proxy are chosen alike.
        n (`int`):
            In [1, N].

    Returns:
        Array of shape `(P,)`.
    """
    size = proxies.shape[1]
    # The sample of rank i (from 1) is the best of C(i - 1, n - 1) of the C(N, n) subsets.
    weights = np.array([math.comb(i, n - 1) / math.comb(size, n) for i in range(size)])
    best = np.empty(len(proxies))
    for row, (proxy, value) in enumerate(zip(proxies, values, strict=True)):
        order = np.argsort(proxy, kind="stable")
        _, ties = np.unique(proxy[order], return_inverse=True)
        shared = (np.bincount(ties, weights) / np.bincount(ties))[ties]
        best[row] = shared @ value[order]
    return best


def kl_of_best_of(n: int) -> float:
    """log n - (n - 1)/n: the KL of best-of-n from the model that samples, in nats (an upper bound, tight in practice)."""
    return math.log(n) - (n - 1) / n


def _estimates(proxies: Floats, golds: Floats, curve: Floats) -> dict[str, Estimate]:
    peak = int(curve.mean(axis=0).argmax())
    estimates = {
        "best_of_n.gain": paired_difference(curve[:, 0], curve[:, -1]),
        "best_of_n.drop": paired_difference(curve[:, -1], curve[:, peak]),
    }
    if np.isfinite(_within(proxies, golds)):
        estimates["best_of_n.correlation"] = bootstrap(_within, proxies, golds)
    return estimates


def _within(proxies: Floats, golds: Floats) -> float:
    centred = [(x - x.mean(axis=1, keepdims=True)).ravel() for x in (proxies, golds)]
    return correlation(*centred)


def _plots(sizes: Sequence[int], curves: dict[str, Floats]) -> list[Any]:
    """Two plots, since proxy and gold have units of their own."""
    plots = []
    for name, values in curves.items():
        lines: dict[str, list[tuple[float, float]]] = {name: [], "95% low": [], "95% high": []}
        for n, column in zip(sizes, values.T, strict=True):
            found = bootstrap_mean(column)
            for line, y in ((name, found.value), ("95% low", found.low), ("95% high", found.high)):
                lines[line].append((kl_of_best_of(n), y))
        label = f"{name} reward of the best by proxy"
        plots.append(Curve(f"Best of n, up to {sizes[-1]}: {name}", "KL, nats (log n - (n - 1)/n)", label, lines))
    return plots
