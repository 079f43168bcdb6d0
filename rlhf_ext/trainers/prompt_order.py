"""The order of prompts, as a function of the epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import Sampler


class InEpoch(Sampler):
    """TRL's sampler, which draws each epoch's order from where the last one left its generator, made to know the epoch.

    A run that is resumed in its third epoch starts with a new generator, and would go through the prompts in the order of the
    first. An undisturbed run sees the same order as without this.

    Args:
        sampler (`RepeatSampler`):
            TRL's.
        epoch (`Callable`):
            Tells how many epochs are behind.
    """

    def __init__(self, sampler: Any, epoch: Callable[[], int]):
        self.sampler, self.epoch = sampler, epoch

    def __iter__(self) -> Iterator[int]:
        if self.sampler.shuffle:
            self.sampler.generator.manual_seed(self.sampler.seed)
            for _ in range(self.epoch()):
                torch.randperm(self.sampler.num_samples, generator=self.sampler.generator)
        return iter(self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)
