"""A mixer on this process's share of given rows, for `test_mixing_processes.py`: the same rows whatever the number of processes.

python process_driver.py OUTPUT_FILE
"""

import os
import sys

import torch
import torch.distributed as dist

from rlhf_ext.rewards.constraints import Constraint
from rlhf_ext.rewards.mixing import RewardMixer

ROUNDS, ROWS, PROMPTS = 4, 6, 3


def quality(quality, **_):
    return quality


def safety(safety, **_):
    return safety


def make():
    style = RewardMixer({"quality": quality, "safety": safety}, combine="group")
    return RewardMixer(
        {"quality": quality, "safety": safety, "style": style},
        normalize={"quality": "running", "safety": "batch"},
        weights={"quality": 1.0, "safety": 0.5, "style": 0.25},
        constraints=[Constraint("safety", at_least=1.0, window=8)],
    )


def rows_of(a_round):
    generator = torch.Generator().manual_seed(a_round)
    columns = {name: torch.randn(ROWS, generator=generator).tolist() for name in ("quality", "safety")}
    columns["quality"][a_round] = None
    return {
        "prompts": [f"p{row % PROMPTS}" for row in range(ROWS)],
        "completions": [f"c{row}" for row in range(ROWS)],
        **columns,
    }


def main(output):
    rank, count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if count > 1:
        dist.init_process_group("gloo")
    mixer, rewards = make(), []
    # Two processes get 2 and 4 rows: the last batch of an evaluation may be uneven.
    mine = slice(0, ROWS) if count == 1 else (slice(0, 2), slice(2, ROWS))[rank]
    for a_round in range(ROUNDS):
        rewards.append(mixer(**{name: values[mine] for name, values in rows_of(a_round).items()}))
    torch.save({"rewards": rewards, "state": mixer.state_dict()}, f"{output}.{rank}")
    if count > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
