"""Scores of different scales made comparable: normalisers, and transforms that come after them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..types import Completion, Prompt
from .calling import call_all
from .components import reward_function

Array: TypeAlias = NDArray[np.float64]

SMALLEST_STD = 1e-8
"""What is divided by where scores do not vary."""


@dataclass
class Moments:
    """Count, mean and variance of a stream of numbers, in one pass and without cancellation.

    Batches are merged by the pairwise update of Chan, Golub and LeVeque ("Algorithms for computing the sample variance",
    The American Statistician 37, 1983), which generalises Welford's: exact to rounding also where the mean is large beside
    the deviation.

    Args:
        count (`int`, *optional*, defaults to `0`), mean (`float`, *optional*, defaults to `0.0`):
            Numbers seen, and their mean.
        squares (`float`, *optional*, defaults to `0.0`):
            Sum of squared deviations from the mean.

    Example:

    ```python
    >>> import numpy as np
    >>> from rlhf_ext.rewards.normalization import Moments
    >>> moments = Moments()
    >>> moments.update(np.array([1.0, 2.0]))
    >>> moments.update(np.array([6.0]))
    >>> moments.mean, round(moments.std, 4)
    (3.0, 2.1602)

    ```
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def update(self, values: Array) -> None:
        """Takes in finite numbers; NaN is left out."""
        values = values[~np.isnan(values)]
        if not len(values):
            return
        mean = float(values.mean())
        delta, count = mean - self.mean, self.count + len(values)
        self.squares += float(((values - mean) ** 2).sum()) + delta**2 * self.count * len(values) / count
        self.mean += delta * len(values) / count
        self.count = count

    @property
    def std(self) -> float:
        """Population standard deviation; 0.0 before there are numbers."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0


@dataclass
class FixedNormalizer:
    """Z-scores against a mean and deviation that never change: those of reference completions ([`reference_scores`]).

    Args:
        mean (`float`), std (`float`):
            In the component's units; `std` above 0. `FixedNormalizer(mean, 1.0)` centres and does not scale.
    """

    mean: float
    std: float
    kind = "fixed"
    across_rows = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean) or not (math.isfinite(self.std) and self.std > 0):
            raise ValueError(f"A reference needs a finite mean and a std above 0, got ({self.mean}, {self.std}).")

    def __call__(self, scores: Array, training: bool) -> Array:
        return (scores - self.mean) / self.std


class BatchNormalizer:
    """Z-scores within the batch, all processes together."""

    kind = "batch"
    across_rows = True

    def __call__(self, scores: Array, training: bool) -> Array:
        moments = Moments()
        moments.update(scores)
        return (scores - moments.mean) / max(moments.std, SMALLEST_STD)


class RunningNormalizer:
    """Z-scores against everything seen while training, this batch included.

    Outside training the statistics stand still; before there are any, the batch's own stand in.
    """

    kind = "running"
    across_rows = True

    def __init__(self) -> None:
        self.moments = Moments()

    def __call__(self, scores: Array, training: bool) -> Array:
        if training:
            self.moments.update(scores)
        if not self.moments.count:
            return BatchNormalizer()(scores, training)
        return (scores - self.moments.mean) / max(self.moments.std, SMALLEST_STD)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self.moments)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes what [`state_dict`] gave."""
        self.moments = Moments(**state)


_NORMALIZERS: dict[str, Callable[[], Any]] = {"batch": BatchNormalizer, "running": RunningNormalizer}


def make_normalizer(choice: Any) -> Any:
    """A normaliser of its own for a component.

    Args:
        choice (`None`, `str`, `tuple[float, float]` or `Callable`):
            None for scores as they are; `"batch"`; `"running"`; the mean and std of reference scores; or a function
            `(scores, training) -> scores` of an array `(N,)` in which NaN means "does not apply".

    Returns:
        `Callable` or `None`.

    Raises:
        ValueError: If there is no such normaliser, or a reference is not finite.
    """
    if choice is None or callable(choice):
        return choice
    if isinstance(choice, str) and choice in _NORMALIZERS:
        return _NORMALIZERS[choice]()
    if isinstance(choice, Sequence) and not isinstance(choice, str) and len(choice) == 2:
        return FixedNormalizer(float(choice[0]), float(choice[1]))
    raise ValueError(
        f"No normaliser {choice!r}: give None, {', '.join(map(repr, _NORMALIZERS))}, the (mean, std) of reference scores, "
        "or a function."
    )


def reference_scores(
    components: Mapping[str, Any], prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
) -> dict[str, tuple[float, float]]:
    """Mean and deviation of each component on reference completions, for `RewardMixer(normalize=...)`.

    Completions of the model before training make 0 "as good as it was", and 1 one deviation of it.

    Args:
        components (`dict`):
            As [`~rlhf_ext.rewards.mixing.RewardMixer`] takes them.
        prompts, completions (`Sequence`):
            Reference rows; other columns by name.

    Returns:
        `dict[str, tuple[float, float]]`: mean and population standard deviation, in the component's units.

    Raises:
        ValueError: If a component scores no row, or all rows alike.

    Example:

    ```python
    >>> from rlhf_ext.rewards.normalization import reference_scores
    >>> def length(completions, **_):
    ...     return [float(len(text)) for text in completions]
    >>> reference_scores({"length": length}, prompts=["", ""], completions=["ab", "abcd"])
    {'length': (3.0, 1.0)}

    ```
    """
    functions = {name: reward_function(name, component) for name, component in components.items()}
    inputs = {name: {"prompts": prompts, "completions": completions, **columns} for name in functions}
    found = {}
    for name, scores in call_all(functions, inputs).items():
        moments = Moments()
        moments.update(np.array(scores, dtype=float))
        if moments.std < SMALLEST_STD:
            what = "scores all reference rows alike" if moments.count else "gives None for every reference row"
            raise ValueError(f"The component {name!r} {what}: that is no scale. Give it (mean, std) yourself.")
        found[name] = (moments.mean, moments.std)
    return found


@dataclass(frozen=True)
class Clip:
    """Cuts scores at `low` and `high`, in units of the (normalised) score."""

    low: float = -5.0
    high: float = 5.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"`low` must be under `high`, got {self.low} and {self.high}.")

    def __call__(self, scores: Array) -> Array:
        return np.clip(scores, self.low, self.high)


@dataclass(frozen=True)
class LogSigmoid:
    """`log sigmoid(score - center)`, in (-inf, 0): gains flatten above the centre, losses do not.

    The transform of "Transforming and Combining Rewards for Aligning Large Language Models"
    ([2402.00742](https://huggingface.co/papers/2402.00742)) for Bradley-Terry scores. A weighted sum of them acts as a
    logical AND: one bad component cannot be made up for by the others. `center` is the score of a reference completion; with
    a normaliser it is measured after it, and `normalize={name: (reference, 1.0)}` centres without scaling.
    """

    center: float = 0.0

    def __call__(self, scores: Array) -> Array:
        return _log_sigmoid(scores - self.center)


@dataclass(frozen=True)
class Sigmoid:
    """`sigmoid(score - center)`, in (0, 1): the probability that a completion beats one with score `center`.

    Under Bradley-Terry, that is; it makes a probability of a reward model's score, for `combine="product"`.
    """

    center: float = 0.0

    def __call__(self, scores: Array) -> Array:
        return np.exp(_log_sigmoid(scores - self.center))


def _log_sigmoid(x: Array) -> Array:
    return np.minimum(x, 0.0) - np.log1p(np.exp(-np.abs(x)))  # never the exponential of a large number


_TRANSFORMS: dict[str, Callable[[], Any]] = {
    "identity": lambda: None,
    "clip": Clip,
    "log-sigmoid": LogSigmoid,
    "sigmoid": Sigmoid,
}


def make_transform(choice: Any) -> Any:
    """What is done to a component's normalised scores.

    Args:
        choice (`None`, `str` or `Callable`):
            None or `"identity"`, `"clip"` (at 5), `"log-sigmoid"`, `"sigmoid"`, or a function of an array `(N,)`, such as
            [`Clip`] or [`LogSigmoid`] with other settings.

    Returns:
        `Callable` or `None`.

    Raises:
        ValueError: If there is no such transform.
    """
    if choice is None or callable(choice):
        return choice
    if isinstance(choice, str) and choice in _TRANSFORMS:
        return _TRANSFORMS[choice]()
    raise ValueError(f"No transform {choice!r}: give {', '.join(map(repr, _TRANSFORMS))}, or a function.")
