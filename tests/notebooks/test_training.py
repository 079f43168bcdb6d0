"""The notebooks that train: each runs whole, and its outputs are those that it gives."""

import pytest

from .running import check_notebook


@pytest.mark.parametrize("name", ["01_reward_model_training", "02_ppo_training", "03_dpo_training"])
def test_runs_and_is_up_to_date(name, tmp_path):
    check_notebook(name, tmp_path)
