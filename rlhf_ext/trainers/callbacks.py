"""What every stage of a run wants beside training: a stop at NaN, and a bar that says what is going on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint


class FiniteLoss:
    """A mixin for trainers: a NaN loss stops the run before it reaches the weights or a checkpoint.

    Raises:
        FloatingPointError: Naming the step and the last good checkpoint.
    """

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)  # type: ignore[misc]
        if torch.isnan(loss).any():
            trainer: Any = self
            folder = trainer.args.output_dir
            checkpoint = get_last_checkpoint(folder) if Path(folder).is_dir() else None
            raise FloatingPointError(
                f"The loss of step {trainer.state.global_step + 1} is NaN. Nothing of this step was kept; the last "
                f"good checkpoint is {checkpoint or 'the start of the run'}. Lower the learning rate, clip gradients "
                "harder, or look for NaN in the data."
            )
        return loss


class CriticFirst(TrainerCallback):
    """Leaves the policy as it is for the first `value_warmup_steps`: without a gradient, not even weight decay moves it.

    Args:
        critic (`nn.Module`):
            What learns.
    """

    def __init__(self, critic: torch.nn.Module):
        self.critic = critic

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if state.global_step < args.value_warmup_steps:
            critic = {id(parameter) for parameter in self.critic.parameters()}
            for parameter in model.parameters():
                if id(parameter) not in critic:
                    parameter.grad = None


class StageBar(TrainerCallback):
    """One progress bar a stage, with its name, the time it will take and the figures that matter.

    Args:
        title (`str`):
            What is going on, e.g. `"3/5 PPO"`.
        figures (`tuple[str, ...]`):
            Names of logged metrics to show.
    """

    def __init__(self, title: str, figures: tuple[str, ...] = ("loss",)):
        self.title, self.figures = title, figures
        self._bar: tqdm | None = None

    def on_train_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            self._bar = tqdm(total=state.max_steps, initial=state.global_step, desc=self.title, dynamic_ncols=True)

    def on_step_end(self, args, state, control, **kwargs):
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if self._bar is not None and logs:
            shown = {name.split("/")[-1]: logs[name] for name in self.figures if logs.get(name) is not None}
            if shown:
                self._bar.set_postfix({name: f"{value:.3g}" for name, value in shown.items()})

    def on_train_end(self, args, state, control, **kwargs):
        if self._bar is not None:
            self._bar.close()
