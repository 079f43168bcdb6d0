"""A quick PPO trainer for tests, and what to look at."""

from rlhf_ext import PPOConfig, PPOTrainer

from ..conftest import vowels


def make(
    model,
    prompts,
    quick,
    reward=vowels,
    peft_config=None,
    value_model="shared",
    ref_model=None,
    eval_dataset=None,
    callbacks=None,
    **config,
):
    defaults = {"max_completion_length": 12, "max_steps": 4, "learning_rate": 1e-3, "num_iterations": 2}
    return PPOTrainer(
        model,
        reward,
        PPOConfig(**{**quick, **defaults, **config}),
        train_dataset=prompts,
        eval_dataset=eval_dataset,
        peft_config=peft_config,
        value_model=value_model,
        ref_model=ref_model,
        callbacks=callbacks,
    )


def logged(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def rollout(trainer, rows):
    trainer.model.train()
    return trainer._generate_and_score_completions(rows)
