"""PPO's checkpoints: the policy as a plain model or adapter, the critic beside it in `value_model/`, and each process's rollout.

So a run may be resumed between any two of the updates that learn from a rollout, and the state of reward functions comes along.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate.utils import send_to_device

from .critic import NAME, hidden
from .ppo_rollout import PPORollout
from .reward_state import load_reward_state, save_reward_state


class PPOCheckpoints(PPORollout):
    """The part of [`PPOTrainer`] that saves and loads."""

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        folder = output_dir if output_dir is not None else self.args.output_dir
        critic = None
        if state_dict is not None:  # FSDP's and DeepSpeed's, gathered from all processes
            critic = {key.split(f"{NAME}.", 1)[1]: state_dict[key] for key in state_dict if f"{NAME}." in key}
            state_dict = {key: value for key, value in state_dict.items() if f"{NAME}." not in key}
        with hidden(self.model):
            super()._save(folder, state_dict)
        if self.args.should_save and critic != {}:
            self._critic.critic.save(Path(folder) / NAME, critic)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *args, **kwargs) -> None:
        with self._beside_the_critic(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, *args, **kwargs)

    def _load_best_model(self) -> None:
        with self._beside_the_critic(str(self.state.best_model_checkpoint)):
            super()._load_best_model()

    @contextmanager
    def _beside_the_critic(self, checkpoint: str) -> Iterator[None]:
        """Loads policy and critic from their folders; FSDP and DeepSpeed keep both in shards of their own."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            yield
            return
        with hidden(self.model):
            yield
        self._critic.critic.load(Path(checkpoint) / NAME)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        spent = self._step % (self.args.steps_per_generation * self.num_iterations) == 0
        rollout = None if spent else self._buffered_inputs
        state = {"step": self._step, "kl_coef": self._kl_control.coef, "rollout": rollout, "cut": self._cut}
        torch.save(state, Path(output_dir) / f"rollout_{self.accelerator.process_index}.pt")
        if self.args.should_save:
            save_reward_state(self.reward_funcs, output_dir)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is None:
            return
        paths = [Path(checkpoint) / f"rollout_{process}.pt" for process in (self.accelerator.process_index, 0)]
        # Where there are more processes than there were, the file of the first one says so.
        path = next((path for path in paths if path.is_file()), None)
        if path is not None:
            state = torch.load(path, map_location="cpu", weights_only=True)
            rollout, cut = state["rollout"], state["cut"]
            if rollout is not None and cut != self._cut:
                names = "`per_device_train_batch_size`, `steps_per_generation`, `num_iterations` and processes"
                raise ValueError(
                    f"{checkpoint} stands within a rollout of {cut} ({names}), and this run has {self._cut}: go on with those, "
                    f"or from a checkpoint between two rollouts (every {cut[1] * cut[2]} passes)."
                )
            self._step = 0 if rollout is None else state["step"]
            self._kl_control.coef = state["kl_coef"]
            self._buffered_inputs = send_to_device(rollout, self.accelerator.device)
        load_reward_state(self.reward_funcs, checkpoint)

    @property
    def _cut(self) -> list[int]:
        args = self.args
        cut = [args.per_device_train_batch_size, args.steps_per_generation, self.num_iterations]
        return [*cut, self.accelerator.num_processes]
