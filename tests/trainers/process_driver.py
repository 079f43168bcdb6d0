"""Two PPO updates on given completions, for `test_ppo_processes.py`: the same rows whatever the number of processes.

python process_driver.py MODEL_FOLDER OUTPUT_FILE CRITIC ROWS_A_PROCESS REWARD_FOLDER [--shards KIND] [--optim NAME] [--resume FOLDER]
"""

import argparse
import os
import sys

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


def zero(stage):
    batches = dict.fromkeys(
        ("train_micro_batch_size_per_gpu", "train_batch_size", "gradient_accumulation_steps", "gradient_clipping"),
        "auto",
    )
    parts = {"stage": stage, "stage3_gather_16bit_weights_on_model_save": True}
    return {"deepspeed": {"zero_optimization": parts, "zero_allow_untested_optimizer": True, **batches}}


SHARDS = {
    None: {"use_cpu": True},
    "fsdp2": {
        "use_cpu": True,
        "fsdp": True,
        "fsdp_config": {"version": 2, "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]},
    },
    "zero2": zero(2),
    "zero3": zero(3),
}


def let_accelerate_shard_on_cpus(kind):
    """Accelerate shards on accelerators only, but torch's FSDP2 and DeepSpeed do so over gloo just as well."""
    if kind != "fsdp2":
        os.environ["DS_ACCELERATOR"] = "cpu"
        PartialState._prepare_backend = lambda self, *args, **kwargs: ("gloo", DistributedType.MULTI_GPU)
        PartialState.set_device = lambda self: setattr(self, "device", torch.device("cpu"))
        return
    initialise = AcceleratorState.__init__

    def as_on_gpus(self, *args, **kwargs):
        if PartialState._shared_state and not AcceleratorState._shared_state:
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        initialise(self, *args, **kwargs)

    AcceleratorState.__init__ = as_on_gpus


def main(folder, output, critic, rows_a_process, reward_folder, shards, optim, resume):
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
        report_to="none",
        disable_tqdm=True,
        gradient_checkpointing=False,
        save_strategy="steps" if shards else "no",
        save_steps=1,
        logging_steps=1,
        missing_eos_penalty=0.5,
        whiten_rewards=True,
        scale_rewards="batch",
        value_learning_rate=0.2,
        ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None,
        **SHARDS[shards],
    )
    in_memory = critic == "in_memory"  # a policy that reference and critic are copied from
    trainer = PPOTrainer(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32) if in_memory else folder,
        [reward, reward_folder] if critic == "from_reward" else reward,
        args,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer,
        ref_model=None if in_memory else reference,
        rollout_func=rollout,
        value_model="shared" if critic == "shared" else None,
    )
    trainer.train(resume_from_checkpoint=resume)
    assert str(trainer.accelerator.distributed_type).split(".")[-1] == {
        None: "MULTI_CPU" if "WORLD_SIZE" in os.environ else "NO",
        "fsdp2": "FSDP",
    }.get(shards, "DEEPSPEED")
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.accelerator.is_main_process:
        logged = [entry for entry in trainer.state.log_history if "objective/kl" in entry]
        torch.save({"weights": weights, "logged": logged}, output)
    trainer.accelerator.end_training()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("folder", "output", "critic"):
        parser.add_argument(name)
    parser.add_argument("rows_a_process", type=int)
    parser.add_argument("reward_folder")
    parser.add_argument("--shards", choices=[kind for kind in SHARDS if kind])
    parser.add_argument("--optim", default="sgd")
    parser.add_argument("--resume")
    options = parser.parse_args()
    if options.shards:
        let_accelerate_shard_on_cpus(options.shards)
    main(**vars(options))
    # What was asked for is written. A thread of the libraries that still runs when C++ cleans up aborts the process now and then
    # (one run in twenty with DeepSpeed over gloo), so there is no cleaning up.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
