"""Runs the main job in child processes that are killed at given points, then to its end; prints a digest.

Used by test_resume.py: `python kill_driver.py ALGORITHM MODEL FOLDER [POINT ...]`, where a point is a stage, or
`stage:step` for a kill -9 after that optimizer step. Importing once and forking saves ten seconds a child; the parent
never touches torch's threads.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import torch

torch.set_num_threads(1)

from rlhf_ext import RLHFConfig, RLHFTrainer, assistant_preferences
from rlhf_ext.pipeline import stages
from rlhf_ext.trainers.callbacks import StageBar


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> None:
    """Has this process killed at `point`."""
    stage, _, step = point.partition(":")
    if step:
        seen = StageBar.on_step_end
        words = {"sft": "warm start", "reward_model": "reward model", "policy": sys.argv[1].upper()}[stage]

        def on_step_end(self, args, state, control, **kwargs):
            seen(self, args, state, control, **kwargs)
            if words in self.title and state.global_step >= int(step):
                die()

        StageBar.on_step_end = on_step_end
        return
    finish = stages.RunRecord.finish

    def finish_or_die(self, name, result):
        # The work of the stage is done, its record is not yet written.
        if name == stage:
            die()
        finish(self, name, result)

    stages.RunRecord.finish = finish_or_die


def job(algorithm: str, model: str, folder: str) -> None:
    data = assistant_preferences("train").select(range(24))
    heldout = assistant_preferences("heldout").select(range(12))
    quick = {"gradient_checkpointing": False, "max_steps": 6, "logging_steps": 1}
    config = RLHFConfig(
        model_name=model,
        algorithm=algorithm,
        output_dir=folder,
        reward_model_path=f"{folder}/reward_model",
        batch_size=4,
        learning_rate=1e-3,
        ppo_epochs=2,
        bf16=False,
        checkpoint_steps=2,
        skip_reward_validation=True,
        sft=quick,
        reward=quick,
        dpo=quick,
        ppo={**quick, "max_completion_length": 8},
    )
    RLHFTrainer(config=config).train(data, heldout)


def digest(folder: Path) -> dict[str, str]:
    """What a run leaves, without what may differ: times and paths."""
    found = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.safetensors"))
    }
    report = json.loads((folder / "report.json").read_text())
    shown = json.dumps([report["figures"], report["examples"]], sort_keys=True)
    return {**found, "report": hashlib.sha256(shown.encode()).hexdigest()}


def main() -> None:
    algorithm, model, folder, *points = sys.argv[1:]
    for point in [*points, None]:
        child = os.fork()
        if child == 0:
            if point is not None:
                arm(point)
            job(algorithm, model, folder)
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if killed != (point is not None) or (not killed and status != 0):
            sys.exit(f"{point}: status {status}")
    sys.stdout.write(json.dumps(digest(Path(folder))) + "\n")


main()
