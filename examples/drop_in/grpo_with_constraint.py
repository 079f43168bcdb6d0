"""A GRPO project of TRL's gets a safety constraint: helpfulness is maximised while mean safety is held at a threshold.

    python examples/drop_in/grpo_with_constraint.py --reward_model_name_or_path ./helpful --safety_at_least 0.9

Safety is Detoxify's (`pip install "rlhf_ext[safety]"`; it judges tone, not content) or, better, a reward model of your own for it:
`--safety_model_name_or_path ./harmless`, with a threshold in its units. In the logs: `constraints/safety/at_least/satisfied`, the
share of completions that reach it, `.../multiplier`, what it costs now, and `rewards/NAME/mean`. A run that was stopped goes on
with its multiplier: `--resume_from_checkpoint OUTPUT_DIR/checkpoint-500`.
"""

from dataclasses import dataclass

from datasets import load_dataset
from trl import GRPOConfig, GRPOTrainer, ModelConfig, ScriptArguments, TrlParser, get_peft_config

from rlhf_ext import Constraint, RewardMixer, RewardModel, RewardStateCallback
from rlhf_ext.rewards.functions import DetoxifySafety


@dataclass
class ConstrainedArguments(ScriptArguments):
    reward_model_name_or_path: str = "trl-lib/Qwen2-0.5B-Reward"
    safety_model_name_or_path: str | None = None
    safety_at_least: float = 0.9


if __name__ == "__main__":
    parser = TrlParser((ConstrainedArguments, GRPOConfig, ModelConfig))
    parser.set_defaults(
        dataset_name="trl-lib/ultrafeedback-prompt",
        model_name_or_path="Qwen/Qwen3-0.6B",
        output_dir="Qwen3-0.6B-GRPO-safe",
    )
    script_args, training_args, model_args = parser.parse_args_and_config()

    training_args.model_init_kwargs = {
        "revision": model_args.model_revision,
        "attn_implementation": model_args.attn_implementation,
        "dtype": model_args.dtype,
    }
    dataset = load_dataset(
        script_args.dataset_name, script_args.dataset_config, streaming=script_args.dataset_streaming
    )

    safety = script_args.safety_model_name_or_path
    reward = RewardMixer(
        {
            "helpfulness": RewardModel(script_args.reward_model_name_or_path),
            "safety": RewardModel(safety) if safety else DetoxifySafety(),
        },
        normalize={"helpfulness": "running"},
        constraints=[Constraint("safety", at_least=script_args.safety_at_least)],
    )
    trainer = GRPOTrainer(
        model=model_args.model_name_or_path,
        args=training_args,
        reward_funcs=reward,  # was: script_args.reward_model_name_or_path
        train_dataset=dataset[script_args.dataset_train_split],
        eval_dataset=dataset[script_args.dataset_test_split] if training_args.eval_strategy != "no" else None,
        callbacks=[
            RewardStateCallback(reward)
        ],  # was: no such line; it saves what the reward has learnt with the checkpoints
        peft_config=get_peft_config(model_args),
    )
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)

    trainer.save_model(training_args.output_dir)
    if training_args.push_to_hub:
        trainer.push_to_hub(dataset_name=script_args.dataset_name)
