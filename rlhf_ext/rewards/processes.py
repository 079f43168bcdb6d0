"""The rows of all processes, where a score depends on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray


def gather_rows(
    scores: NDArray[np.float64], keys: Sequence[str], everywhere: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.int64], slice]:
    """The rows of all processes in the order of their ranks, the same on each of them.

    Args:
        scores (`NDArray` of shape `(n, K)`):
            Of this process's rows, of which processes may have different numbers.
        keys (`Sequence[str]` of length `n`):
            What rows of one group have in common.
        everywhere (`bool`, *optional*, defaults to `True`):
            Whether to ask the other processes at all.

    Returns:
        `tuple`: scores `(N, K)`; groups `(N,)`, whole numbers that are equal where keys are; and where this process's rows
        stand.
    """
    shares = [(scores, list(keys))]
    rank = 0
    if everywhere and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        rank = dist.get_rank()
        shares = [shares[0]] * dist.get_world_size()
        dist.all_gather_object(shares, (scores, list(keys)))
    start = sum(len(share[0]) for share in shares[:rank])
    numbers: dict[str, int] = {}
    groups = [numbers.setdefault(key, len(numbers)) for _, share in shares for key in share]
    return (
        np.concatenate([share[0] for share in shares]),
        np.array(groups, dtype=np.int64),
        slice(start, start + len(scores)),
    )
