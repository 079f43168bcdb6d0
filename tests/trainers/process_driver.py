"""Two PPO updates on given completions, for `test_ppo_processes.py`: the same rows whatever the number of processes.

python process_driver.py MODEL_FOLDER OUTPUT_FILE CRITIC ROWS_A_PROCESS [--fsdp] [--optim NAME] [--resume CHECKPOINT]
"""

import argparse
import os

import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf_ext import PPOConfig, PPOTrainer

ROWS = 8


def completions_of(tokenizer, prompts):
    """Completions that depend on the prompt alone; lengths differ, and every other ends with EOS."""
    texts = [f" answer {'very ' * (len(prompt) % 4)}well{len(prompt)}" for prompt in prompts]
    ids = [tokenizer(text)["input_ids"] for text in texts]
    return [row + [tokenizer.eos_token_id] * (len(row) % 2) for row in ids]


FSDP2 = {"fsdp": True, "fsdp_config": {"version": 2, "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]}}


def let_accelerate_shard_on_cpus():
    """Accelerate picks FSDP on accelerators only; torch's own FSDP2 shards over gloo just as well."""
    initialise = AcceleratorState.__init__

    def as_on_gpus(self, *args, **kwargs):
        if PartialState._shared_state and not AcceleratorState._shared_state:
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        initialise(self, *args, **kwargs)

    AcceleratorState.__init__ = as_on_gpus


def main(folder, output, critic, rows_a_process, fsdp, optim, resume):
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
        per_device_train_batch_size=rows_a_process,
        max_steps=2,
        num_iterations=2,
        learning_rate=0.1 if optim == "sgd" else 1e-3,
        optim=optim,
        lr_scheduler_type="constant",
        bf16=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        gradient_checkpointing=False,
        save_strategy="steps" if fsdp else "no",
        save_steps=1,
        logging_steps=1,
        missing_eos_penalty=0.5,
        whiten_rewards=True,
        scale_rewards="batch",
        value_learning_rate=0.2,
        ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None,
        **(FSDP2 if fsdp else {}),
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
    trainer.train(resume_from_checkpoint=resume)
    assert (trainer.accelerator.distributed_type == DistributedType.FSDP) == fsdp
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.accelerator.is_main_process:
        logged = [entry for entry in trainer.state.log_history if "objective/kl" in entry]
        torch.save({"weights": weights, "logged": logged}, output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("folder", "output", "critic"):
        parser.add_argument(name)
    parser.add_argument("rows_a_process", type=int)
    parser.add_argument("--fsdp", action="store_true")
    parser.add_argument("--optim", default="sgd")
    parser.add_argument("--resume")
    options = parser.parse_args()
    if options.fsdp:
        let_accelerate_shard_on_cpus()
    main(**vars(options))
