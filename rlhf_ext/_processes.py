"""Leaving several processes in good order."""

from __future__ import annotations

import atexit
import functools


@functools.cache
def leave_group_at_exit() -> None:
    """Ends the group of processes, if there is one, before the interpreter does.

    A process that exits with gloo's threads still running is aborted by C++ more often than not (`terminate called without
    an active exception`): a run under torchrun on CPUs would fail after all its work is done.
    """
    atexit.register(_leave)


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
