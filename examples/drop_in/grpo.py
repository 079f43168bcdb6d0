"""TRL's usual GRPO script with a reward model that sees the EOS it was trained with: one argument changed.

    python examples/drop_in/grpo.py --model_name_or_path Qwen/Qwen3-0.6B --reward_model_name_or_path trl-lib/Qwen2-0.5B-Reward

`RewardModel` takes a hub name, a folder, or the adapter that RewardTrainer wrote. On messages whose template ends an answer with
EOS its scores are TRL's; on plain text TRL scores texts without the EOS that RewardTrainer put there.
"""

from dataclasses import dataclass

from datasets import load_dataset
from trl import GRPOConfig, GRPOTrainer, ModelConfig, ScriptArguments, TrlParser, get_peft_config

from rlhf_ext import RewardModel


@dataclass
class GRPOScriptArguments(ScriptArguments):
    reward_model_name_or_path: str = "trl-lib/Qwen2-0.5B-Reward"


if __name__ == "__main__":
    parser = TrlParser((GRPOScriptArguments, GRPOConfig, ModelConfig))
    parser.set_defaults(
        dataset_name="trl-lib/ultrafeedback-prompt",
        model_name_or_path="Qwen/Qwen3-0.6B",
        output_dir="Qwen3-0.6B-GRPO",
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

    trainer = GRPOTrainer(
        model=model_args.model_name_or_path,
        args=training_args,
        reward_funcs=RewardModel(script_args.reward_model_name_or_path),  # was: script_args.reward_model_name_or_path
        train_dataset=dataset[script_args.dataset_train_split],
        eval_dataset=dataset[script_args.dataset_test_split] if training_args.eval_strategy != "no" else None,
        peft_config=get_peft_config(model_args),
    )
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)

    trainer.save_model(training_args.output_dir)
    if training_args.push_to_hub:
        trainer.push_to_hub(dataset_name=script_args.dataset_name)
