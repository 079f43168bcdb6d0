"""What callbacks share that let the policy write during its own training."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, broadcast_object_list, gather_object
from datasets import Dataset
from transformers import Trainer
from transformers.integrations import is_deepspeed_zero3_enabled

from ..generation import LocalGenerator
from ..types import Prompt

T = TypeVar("T")

_SAMPLING = {"max_new_tokens": "max_completion_length", "temperature": "temperature"}


def run_sampling(args: Any) -> dict[str, Any]:
    """How the run's own completions are written, as far as the trainer's configuration says: None where it does not."""
    return {name: getattr(args, field, None) for name, field in _SAMPLING.items()}


def writer(model: Any, tokenizer: Any, batch_size: int, args: Any) -> LocalGenerator:
    """The policy as a generator that tells the chat template what the run's own rollouts tell it."""
    return LocalGenerator(
        model, tokenizer, batch_size, chat_template_kwargs=getattr(args, "chat_template_kwargs", None)
    )


def prompts_of(prompts: Dataset | Sequence[Prompt] | None) -> tuple[list[Prompt], dict[str, list[Any]]]:
    """Prompts, and the other columns where they come as a data set.

    Raises:
        ValueError: If a data set has no column `prompt`.
    """
    if isinstance(prompts, Dataset):
        if "prompt" not in prompts.column_names:
            raise ValueError(f"`prompts` has no column 'prompt'; it has {prompts.column_names}.")
        return list(prompts["prompt"]), {n: list(prompts[n]) for n in prompts.column_names if n != "prompt"}
    return list(prompts or []), {}


def refuse_parted_model(who: str, way_out: str) -> None:
    """Raises where no process holds the whole model.

    Raises:
        ValueError: Under FSDP or ZeRO-3.
    """
    if is_deepspeed_zero3_enabled() or AcceleratorState().distributed_type == DistributedType.FSDP:
        raise ValueError(
            f"{who} cannot write texts under FSDP or ZeRO-3, where no process holds the whole model: {way_out}."
        )


def on_main(args: Any, work: Callable[[], T]) -> T:
    """What the main process makes (never None), on all processes; where it fails, all fail rather than wait for it.

    Raises:
        RuntimeError: On the other processes, if the main one raised something.
    """
    box: list[Any] = [None]
    try:
        if args.process_index == 0:
            box[0] = work()
    finally:
        if args.world_size > 1:
            broadcast_object_list(box)
    if box[0] is None:
        raise RuntimeError("A callback failed on the main process: see its error there.")
    return box[0]


def shared_out(args: Any, rows: int, work: Callable[[list[int]], Sequence[T]]) -> list[T]:
    """What `work` makes of all rows, each process of every so many-th; all of them have the whole."""
    rank, processes = args.process_index, args.world_size
    share = list(work(list(range(rank, rows, processes))))
    shares = gather_object([share]) if processes > 1 else [share]
    return [shares[row % processes][row // processes] for row in range(rows)]


def log_beside(trainer: Trainer | None, logs: dict[str, float], state: Any, control: Any) -> None:
    """Logs in between, as the trainer does, or into its history where it is not known."""
    if trainer is None:
        state.log_history.append({**logs, "step": state.global_step})
        return
    due = control.should_log
    # Not the trainer's own `log`: TRL's empty what they have gathered for the next line of the log into it.
    Trainer.log(trainer, logs)
    control.should_log = due


@contextmanager
def random_state_kept() -> Iterator[None]:
    """What is drawn inside, by texts or by scorers, changes nothing outside."""
    python, array = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(range(torch.accelerator.device_count())):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
