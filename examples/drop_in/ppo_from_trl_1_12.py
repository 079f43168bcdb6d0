"""A PPO script as one wrote it for TRL 1.12 (tokenised prompts, a reward model, a value model, 1.12's config fields): its import
line changed, and nothing else.

    python examples/drop_in/ppo_from_trl_1_12.py --dataset_name ./prompts --sft_model_path ./sft --reward_model_path ./reward_model \
        --num_ppo_epochs 4 --num_mini_batches 4 --total_episodes 10000 --response_length 53 --missing_eos_penalty 1.0

One warning says what the old fields come to (docs/migration.md). In new code: `PPOTrainer(model, reward_funcs, args, prompts)`.
"""

import torch
from datasets import load_dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    HfArgumentParser,
)
from trl import ModelConfig, ScriptArguments, get_peft_config

from rlhf_ext import PPOConfig, PPOTrainer  # was: from trl.experimental.ppo import PPOConfig, PPOTrainer

if __name__ == "__main__":
    parser = HfArgumentParser((ScriptArguments, PPOConfig, ModelConfig))
    script_args, training_args, model_args = parser.parse_args_into_dataclasses()
    torch.manual_seed(training_args.seed)

    tokenizer = AutoTokenizer.from_pretrained(training_args.sft_model_path, padding_side="left")
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    reward_model = AutoModelForSequenceClassification.from_pretrained(training_args.reward_model_path, num_labels=1)
    value_model = AutoModelForSequenceClassification.from_pretrained(training_args.reward_model_path, num_labels=1)
    policy = AutoModelForCausalLM.from_pretrained(training_args.sft_model_path)
    peft_config = get_peft_config(model_args)
    ref_policy = AutoModelForCausalLM.from_pretrained(training_args.sft_model_path) if peft_config is None else None

    dataset = load_dataset(script_args.dataset_name, script_args.dataset_config)

    def tokenize(rows):
        return {"input_ids": tokenizer(rows["prompt"], padding=False)["input_ids"]}

    columns = dataset[script_args.dataset_train_split].column_names
    dataset = dataset.map(tokenize, batched=True, remove_columns=columns, num_proc=training_args.dataset_num_proc)

    trainer = PPOTrainer(
        args=training_args,
        processing_class=tokenizer,
        model=policy,
        ref_model=ref_policy,
        reward_model=reward_model,
        value_model=value_model,
        train_dataset=dataset[script_args.dataset_train_split],
        eval_dataset=dataset[script_args.dataset_test_split],
        peft_config=peft_config,
    )
    trainer.train()

    trainer.save_model(training_args.output_dir)
    if training_args.push_to_hub:
        trainer.push_to_hub(dataset_name=script_args.dataset_name)
    trainer.generate_completions()
