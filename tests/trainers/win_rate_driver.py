"""A DPO run with a win rate on several processes, for `test_win_rate.py`: each process writes what it saw.

python win_rate_driver.py MODEL_FOLDER OUTPUT_FOLDER
"""

import json
import os
import sys
from pathlib import Path

import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf_ext._processes import leave_group_at_exit
from rlhf_ext.trainers.win_rate import WinRateCallback


class Judge:
    """Prefers what has more letters a; after `break_off`, it fails."""

    calls, failing = 0, False

    def compare(self, prompts, first, second):
        if self.failing:
            raise OSError("the judge is down")
        self.calls += 1
        return [0.9 if a.count("a") > b.count("a") else 0.4 for a, b in zip(first, second, strict=True)]


def main(folder, output):
    rank = int(os.environ["RANK"])
    rows = [{"prompt": f"Question {i}:", "chosen": " a a a", "rejected": " b c d"} for i in range(8)]
    judge = Judge()
    callback = WinRateCallback(judge, [row["prompt"] for row in rows[:5]], max_new_tokens=4, every=1)
    args = trl.DPOConfig(
        f"{output}/run",
        per_device_train_batch_size=2,
        max_steps=2,
        learning_rate=1e-2,
        bf16=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        gradient_checkpointing=False,
        save_strategy="no",
        ddp_backend="gloo",
    )
    trainer = trl.DPOTrainer(
        AutoModelForCausalLM.from_pretrained(folder),
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder),
        callbacks=[callback],
    )
    trainer.train()
    seen = {"history": callback.history, "answers": callback.answers, "calls": judge.calls}
    judge.failing, callback.every = True, None
    try:
        trainer.evaluate(trainer.train_dataset)
    except (OSError, RuntimeError) as error:
        seen["error"] = str(error)
    Path(output, f"{rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    leave_group_at_exit()
    main(*sys.argv[1:])
