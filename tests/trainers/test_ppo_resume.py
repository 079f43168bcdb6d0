"""A PPO run that was stopped goes on as if it had not been: between two rollouts, and in the midst of one."""

import pytest
import torch
import trl
from peft import LoraConfig

from ..conftest import vowels
from .ppo_helpers import make


@pytest.mark.parametrize("steps", [4, 3], ids=["between rollouts", "within a rollout"])
@pytest.mark.parametrize(
    ("value_model", "lora"),
    [("shared", False), ("shared", True), (None, False), (None, True), ("one base", True)],
)
def test_a_resumed_run_equals_an_undisturbed_one(tiny, prompts, quick, value_model, lora, steps, tmp_path):
    def run(folder, until, resume=None):
        config = {**quick, "output_dir": str(tmp_path / folder), "save_strategy": "steps", "save_steps": steps}
        trainer = make(
            tiny,
            prompts,
            config,
            peft_config=LoraConfig(r=4, target_modules="all-linear") if lora else None,
            value_model=None if value_model == "one base" else value_model,
            share_base=value_model == "one base",
            steps_per_generation=2,
            max_steps=8,
            lr_scheduler_type="constant",
        )
        if until < 8:
            trainer.add_callback(_StopAt(until))
        trainer.train(resume_from_checkpoint=resume)
        return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}

    undisturbed = run("a", 8)
    run("b", steps)
    resumed = run("b", 8, resume=str(tmp_path / "b" / f"checkpoint-{steps}"))
    for name, parameter in undisturbed.items():
        assert torch.equal(parameter, resumed[name]), name


@pytest.mark.parametrize("steps", [8, 11], ids=["after an epoch", "in the second one"])
def test_a_run_resumed_after_its_first_epoch_sees_the_prompts_that_were_to_come(tiny, prompts, quick, steps, tmp_path):
    def run(folder, until, resume=None):
        config = {**quick, "output_dir": str(tmp_path / folder), "save_strategy": "steps", "save_steps": steps}
        seen = []

        def reward(prompts, completions, **columns):
            seen.append([prompt[0]["content"] for prompt in prompts])
            return vowels(prompts, completions)

        options = {"max_steps": steps + 6, "steps_per_generation": 1, "lr_scheduler_type": "constant"}
        trainer = make(tiny, prompts.select(range(16)), config, reward, **options)  # an epoch is 4 rollouts, 8 steps
        if until:
            trainer.add_callback(_StopAt(until))
        trainer.train(resume_from_checkpoint=resume)
        return seen, {name: p.detach().clone() for name, p in trainer.model.named_parameters()}

    order, undisturbed = run("a", None)
    run("b", steps)
    rest, resumed = run("b", None, resume=str(tmp_path / "b" / f"checkpoint-{steps}"))
    assert rest == order[-len(rest) :]
    for name, parameter in undisturbed.items():
        assert torch.equal(parameter, resumed[name]), name


def test_a_rollout_that_was_cut_otherwise_is_not_taken_up(tiny, prompts, quick, tmp_path):
    config = {**quick, "output_dir": str(tmp_path / "run"), "save_strategy": "steps", "save_steps": 1}
    make(tiny, prompts, config, steps_per_generation=2, max_steps=4).train()
    other = {"steps_per_generation": 4, "max_steps": 8}
    with pytest.raises(ValueError, match=r"stands within a rollout of \[4, 2, 2, 1\]"):
        make(tiny, prompts, config, **other).train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    trainer = make(tiny, prompts, config, **other)
    trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-4"))
    assert trainer.state.global_step == 8, "between two rollouts it may be"


def test_an_undisturbed_run_goes_through_the_prompts_as_trls_does(tiny, prompts, quick):
    trainer = make(tiny, prompts.select(range(16)), quick)
    ours, theirs = trainer._get_train_sampler(), trl.GRPOTrainer._get_train_sampler(trainer)
    assert len(ours) == len(theirs)
    for epoch in range(3):
        trainer.state.epoch = float(epoch)
        assert list(ours) == list(theirs)


class _StopAt(trl.trainer.callbacks.TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= self.step
