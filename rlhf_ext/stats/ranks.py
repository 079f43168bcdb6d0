"""Ranks, for what goes by order alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def average_ranks(values: Sequence[float] | NDArray[Any]) -> NDArray[np.float64]:
    """Ranks from 1, ties sharing their mean: for Spearman's correlation and the area under a ROC curve.

    Example:
    ```python
    >>> from rlhf_ext.stats import average_ranks

    >>> average_ranks([3.0, 1.0, 3.0]).tolist()
    [2.5, 1.0, 2.5]
    ```
    """
    _, places, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
