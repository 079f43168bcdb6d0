"""How likely one of several attempts is right."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray


@overload
def pass_at_k(n: int, c: int, k: int) -> float: ...
@overload
def pass_at_k(
    n: Sequence[int] | NDArray[np.int_] | int, c: Sequence[int] | NDArray[np.int_], k: int
) -> NDArray[np.float64]: ...
def pass_at_k(n, c, k):
    """The probability that at least one of `k` answers to a problem is right, estimated without bias from `n` answers.

    `1 - C(n - c, k) / C(n, k)`: the share of all choices of `k` from the `n` answers in which there is a right one. The naive
    `1 - (1 - c / n) ** k` is too low. Source: Chen et al., "Evaluating Large Language Models Trained on Code"
    (https://huggingface.co/papers/2107.03374), whose product form is used: it neither overflows nor cancels.

    Args:
        n (`int`, or one a problem):
            Answers, at least `k`.
        c (`int`, or one a problem):
            Right ones among them, in [0, `n`].
        k (`int`):
            Attempts, at least 1.

    Returns:
        `float` in [0, 1]; or an array of shape `(problems,)`, whose mean is the pass@k of a set of problems.

    Raises:
        ValueError: If `k` is below 1 or above `n`, or `c` is not in [0, `n`]; with the problem's place.
        TypeError: If a count is not a whole number.

    Example:
    ```python
    >>> from rlhf_ext.stats import pass_at_k

    >>> pass_at_k(10, 3, 1), round(pass_at_k(10, 3, 5), 3)
    (0.3, 0.917)
    >>> pass_at_k(4, [0, 1, 4], 2).tolist()
    [0.0, 0.5, 1.0]

    ```
    """
    alone = np.ndim(n) == 0 and np.ndim(c) == 0
    answers, right = np.broadcast_arrays(np.atleast_1d(n), np.atleast_1d(c))
    k = operator.index(k)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if not (answers.size == 0 or (answers.dtype.kind in "iu" and right.dtype.kind in "iu")):
        raise TypeError(f"n and c must be whole numbers, got {answers.dtype} and {right.dtype}")
    estimates = [
        _of_one(int(total), int(good), k, place)
        for place, (total, good) in enumerate(zip(answers, right, strict=True))
    ]
    return estimates[0] if alone else np.array(estimates, dtype=np.float64)


def _of_one(n: int, c: int, k: int, place: int) -> float:
    if n < k:
        raise ValueError(f"pass@{k} needs at least {k} answers, problem {place} has {n}")
    if not 0 <= c <= n:
        raise ValueError(f"c must be in [0, {n}], problem {place} has {c}")
    if n - c < k:
        return 1.0
    if k == 1:
        return c / n
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))
