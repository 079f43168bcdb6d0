"""A watched PPO run on several processes, for `test_hacking.py`: each process writes what it saw.

python hacking_driver.py MODEL_FOLDER OUTPUT_FOLDER
"""

import json
import os
import sys
from pathlib import Path

from datasets import Dataset

from rlhf_ext import PPOConfig, PPOTrainer
from rlhf_ext._processes import leave_group_at_exit
from rlhf_ext.trainers.hacking import RewardHackingCallback


def main(folder, output):
    rank = int(os.environ["RANK"])

    def reward(prompts, completions, **_):
        return [float(len(c) % 7) for c in completions]

    def held_back(prompts, completions, **_):
        # On every process another scorer, and on the main one alone a fall, which must end the run for all.
        held_back.calls += 1
        return [float(len(c) % 7) - (50.0 * held_back.calls if rank == 0 else 0.0) for c in completions]

    held_back.calls = 0
    prompts = [f"Question {'again ' * i}:" for i in range(8)]
    watch = RewardHackingCallback(prompts, reward, held_back, every=1, patience=2, stop=True)
    args = PPOConfig(
        f"{output}/run",
        per_device_train_batch_size=4,
        max_steps=8,
        num_iterations=1,
        max_completion_length=8,
        bf16=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        gradient_checkpointing=False,
        save_strategy="no",
        ddp_backend="gloo",
    )
    trainer = PPOTrainer(
        folder,
        reward,
        args,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        value_model="shared",
        callbacks=[watch],
    )
    trainer.train()
    seen = {"step": trainer.state.global_step, "history": watch.history}
    Path(output, f"{rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    leave_group_at_exit()
    main(*sys.argv[1:])
