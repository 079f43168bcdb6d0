"""Leaving several processes in good order."""

from __future__ import annotations

import atexit
import functools
import time

_SECONDS_FOR_GLOO = 0.5


@functools.cache
def leave_group_at_exit() -> None:
    """Ends the group of processes, if there is one, before the interpreter does.

    A process that exits with gloo's threads still running is aborted by C++ more often than not (`terminate called without
    an active exception`): a run under torchrun on CPUs would fail after all its work is done. Destroying the group does not
    end them where DDP was used (its reducer keeps the group). A thread drops its last finished work a moment after the
    others go on, and needs the interpreter for the tensors in it: so it is given that moment.
    """
    atexit.register(_leave)


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
        time.sleep(_SECONDS_FOR_GLOO)
