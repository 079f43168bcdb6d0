"""One PPO update on given completions, for `test_ppo_processes.py`: the same rows whatever the number of processes.

python process_driver.py MODEL_FOLDER OUTPUT_FILE CRITIC ROWS_A_PROCESS
"""

import os
import sys

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf_ext import PPOConfig, PPOTrainer

ROWS = 8


def completions_of(tokenizer, prompts):
    """Completions that depend on the prompt alone; lengths differ, and every other ends with EOS."""
    texts = [f" answer {'very ' * (len(prompt) % 4)}well{len(prompt)}" for prompt in prompts]
    ids = [tokenizer(text)["input_ids"] for text in texts]
    return [row + [tokenizer.eos_token_id] * (len(row) % 2) for row in ids]


def main(folder, output, critic, rows_a_process):
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompts = [f"Question {'again ' * i}:" for i in range(ROWS)]

    def rollout(batch, trainer):
        ids = completions_of(tokenizer, batch)
        return {
            "prompt_ids": tokenizer(batch)["input_ids"],
            "completion_ids": ids,
            "logprobs": [[0.0] * len(row) for row in ids],
        }

    def reward(prompts, completions, **_):
        return [None if len(p) == 21 else len(p) / 10 + len(c) / 7 for p, c in zip(prompts, completions, strict=True)]

    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.mul_(1.05)
    args = PPOConfig(
        f"{output}.run",
        per_device_train_batch_size=int(rows_a_process),
        max_steps=2,
        num_iterations=2,
        learning_rate=0.1,
        optim="sgd",
        lr_scheduler_type="constant",
        bf16=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        gradient_checkpointing=False,
        save_strategy="no",
        logging_steps=1,
        missing_eos_penalty=0.5,
        whiten_rewards=True,
        scale_rewards="batch",
        value_learning_rate=0.2,
        ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None,
    )
    trainer = PPOTrainer(
        folder,
        reward,
        args,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer,
        ref_model=reference,
        rollout_func=rollout,
        value_model="shared" if critic == "shared" else None,
    )
    trainer.train()
    if trainer.accelerator.is_main_process:
        model = trainer.accelerator.unwrap_model(trainer.model)
        logged = [entry for entry in trainer.state.log_history if "objective/kl" in entry]
        torch.save({"weights": dict(model.state_dict()), "logged": logged}, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
