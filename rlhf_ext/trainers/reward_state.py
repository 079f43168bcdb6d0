"""What reward functions have learnt in a run, saved and restored with its checkpoints."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from ..rewards.components import is_stateful
from ..rewards.mixing import RewardMixer
from .checked_reward import CheckedReward

logger = logging.get_logger(__name__)

FILE = "reward_state.pt"


class RewardStateCallback(TrainerCallback):
    """Saves and restores the state of reward functions with the checkpoints of any of TRL's trainers.

    A state is what `state_dict` gives: running statistics and multipliers of a [`RewardMixer`], or anything of yours that has
    `state_dict` and `load_state_dict`. The main process writes it into the checkpoint's folder (`reward_state.pt`); all
    processes read it when a run is resumed. Mixers learn from training rollouts alone: between steps (evaluation, saving) and
    after the run they stand still.

    PPOTrainer does the same by itself.

    Args:
        reward_funcs (`RewardFunction` or `list`):
            What the trainer was given; functions without a state are passed over.
        resume_from (`str` or `Path`, *optional*):
            The checkpoint that a run goes on from, where that is not in its `output_dir`.

    Raises:
        ValueError: If no function has a state, or a checkpoint's state is of other reward functions.
        FileNotFoundError: When a run is resumed from a checkpoint that cannot be found, or has no state in it.

    Example:

    ```python
    reward = RewardMixer({...}, normalize="running", constraints=[Constraint("safety", at_least=0.9)])
    trainer = GRPOTrainer(model, reward, args, train_dataset=prompts, callbacks=[RewardStateCallback(reward)])
    trainer.train(resume_from_checkpoint=True)
    ```
    """

    def __init__(self, reward_funcs: Any, resume_from: str | Path | None = None):
        self.functions = reward_funcs if isinstance(reward_funcs, list) else [reward_funcs]
        self.resume_from = resume_from
        if not _states_of(self.functions):
            raise ValueError(f"None of the reward functions has a state to save: {self.functions}.")

    def on_train_begin(self, args, state, control, **kwargs):
        set_learning(self.functions, False)
        if state.global_step:
            folder = Path(self.resume_from or Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
            if not (folder / FILE).is_file():
                raise FileNotFoundError(
                    f"The run goes on from step {state.global_step}, but {folder} has no {FILE}: running statistics and "
                    "multipliers would begin anew. Give `RewardStateCallback(..., resume_from=FOLDER)` if the checkpoint is "
                    "somewhere else, or begin a new run."
                )
            load_reward_state(self.functions, folder)

    def on_step_begin(self, args, state, control, **kwargs):
        set_learning(self.functions, True)

    def on_step_end(self, args, state, control, **kwargs):
        set_learning(self.functions, False)

    def on_save(self, args, state, control, **kwargs):
        if args.should_save:
            save_reward_state(self.functions, Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")


def set_learning(functions: Sequence[Any], learning: bool) -> None:
    """Lets the mixers among reward functions learn from what they score, or not."""
    for function in functions:
        mixer = _within(function)
        if isinstance(mixer, RewardMixer):
            mixer.train(learning)


def save_reward_state(functions: Sequence[Any], folder: str | Path) -> None:
    """Writes the states of reward functions into a checkpoint; nothing where none has one.

    Args:
        functions (`Sequence`):
            A trainer's reward functions.
        folder (`str` or `Path`):
            The checkpoint.
    """
    states = {name: one.state_dict() for name, one in _states_of(functions).items()}
    if states:
        path = Path(folder) / FILE
        torch.save(states, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)


def load_reward_state(functions: Sequence[Any], folder: str | Path) -> None:
    """Reads them back.

    A checkpoint without states is taken with a warning, for runs that began before there were any.

    Raises:
        ValueError: If the states are of other reward functions.
    """
    stateful = _states_of(functions)
    if not stateful:
        return
    path = Path(folder) / FILE
    if not path.is_file():
        logger.warning(f"{folder} has no {FILE}: running statistics and multipliers begin anew.")
        return
    states = torch.load(path, map_location="cpu", weights_only=True)
    if list(states) != list(stateful):
        raise ValueError(
            f"{path} is of other reward functions: {list(states)}, those of this run are {list(stateful)}."
        )
    for name, function in stateful.items():
        function.load_state_dict(states[name])


def _within(function: Any) -> Any:
    return function.function if isinstance(function, CheckedReward) else function


def _states_of(functions: Sequence[Any]) -> dict[str, Any]:
    """Those that have a state, by place and name; modules have theirs in their own files."""
    found = [_within(function) for function in functions]
    return {
        f"{i}: {getattr(one, '__name__', type(one).__name__)}": one
        for i, one in enumerate(found)
        if is_stateful(one) and not isinstance(one, torch.nn.Module)
    }
