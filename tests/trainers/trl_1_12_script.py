"""A PPO script as one writes it for TRL 1.12: tokenised prompts, a reward model, a value model, 1.12's config fields.

It runs under TRL 1.12 as it stands. The test changes the line marked below, and nothing else.
"""

import sys

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    HfArgumentParser,
)
from trl import ModelConfig, ScriptArguments, get_peft_config
from trl.experimental.ppo import PPOConfig, PPOTrainer  # the line to change


def main(arguments):
    parser = HfArgumentParser((ScriptArguments, PPOConfig, ModelConfig))
    script_args, training_args, model_args = parser.parse_args_into_dataclasses(arguments)
    torch.manual_seed(training_args.seed)

    tokenizer = AutoTokenizer.from_pretrained(training_args.sft_model_path, padding_side="left")
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    reward_model = AutoModelForSequenceClassification.from_pretrained(training_args.reward_model_path, num_labels=1)
    value_model = AutoModelForSequenceClassification.from_pretrained(training_args.reward_model_path, num_labels=1)
    policy = AutoModelForCausalLM.from_pretrained(training_args.sft_model_path)
    peft_config = get_peft_config(model_args)
    ref_policy = AutoModelForCausalLM.from_pretrained(training_args.sft_model_path) if peft_config is None else None

    texts = Dataset.from_json(script_args.dataset_name)

    def tokenize(rows):
        return {"input_ids": tokenizer(rows["prompt"], padding=False)["input_ids"]}

    rows = texts.map(
        tokenize, batched=True, remove_columns=texts.column_names, num_proc=training_args.dataset_num_proc
    )
    trainer = PPOTrainer(
        args=training_args,
        processing_class=tokenizer,
        model=policy,
        ref_model=ref_policy,
        reward_model=reward_model,
        value_model=value_model,
        train_dataset=rows.select(range(8, len(rows))),
        eval_dataset=rows.select(range(8)),
        peft_config=peft_config,
    )
    trainer.train()
    trainer.save_model(training_args.output_dir)
    trainer.generate_completions()
    return trainer


if __name__ == "__main__":
    main(sys.argv[1:])
