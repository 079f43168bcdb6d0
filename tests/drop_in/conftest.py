"""Shared by the drop-in tests: preferences without the columns that are ours."""

import os

import pytest
from transformers import TrainerCallback

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # Online DPO


@pytest.fixture(scope="session")
def messages(preferences):
    return preferences.select_columns(["prompt", "chosen", "rejected"]).select(range(12))


@pytest.fixture
def quick(quick):
    return {**quick, "per_device_train_batch_size": 2}


class StopAt(TrainerCallback):
    """Ends a run as a kill would, a step earlier than it knows."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= self.step
