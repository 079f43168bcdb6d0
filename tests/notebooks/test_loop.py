"""The notebooks around training: each runs whole, and its outputs are those that it gives."""

import pytest

from .running import FOLDER, check_notebook

NAMES = [
    "04_rewards_and_constraints",
    "05_ai_feedback_and_constitutions",
    "06_human_feedback_loop",
    "07_safety_evaluation",
]


@pytest.mark.parametrize("name", NAMES)
def test_runs_and_is_up_to_date(name, tmp_path):
    check_notebook(name, tmp_path)


def test_every_notebook_is_tested():
    training = {"01_reward_model_training", "02_ppo_training", "03_dpo_training"}
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == training | set(NAMES)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_is_small_enough_to_be_looked_at_in_a_browser(path):
    assert path.stat().st_size < 400_000
