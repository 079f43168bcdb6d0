"""Validation of reward models: the numbers, and who may pass."""

import math

import pytest
import torch
from datasets import Dataset

from rlhf_ext.evaluation.reward_models import RewardValidation, validate_reward_model
from rlhf_ext.stats import wilson


class Fixed:
    """Scores a text by a rule: stands in for a reward model."""

    def __init__(self, rule):
        self.rule = rule

    def score(self, prompts, responses):
        return torch.tensor([float(self.rule(text)) for text in responses])


def pairs(chosen, rejected, categories):
    rows = zip(chosen, rejected, categories, strict=True)
    return Dataset.from_list([{"prompt": "p", "chosen": c, "rejected": r, "category": k} for c, r, k in rows])


def test_accuracy_by_category_counts_a_tie_as_wrong():
    data = pairs(["aa", "aaa", "b", "bb"], ["a", "aaaa", "b", "b"], ["x", "x", "y", "y"])
    validation = validate_reward_model(Fixed(len), data)
    assert validation.accuracy.value == 0.5
    assert {name: estimate.value for name, estimate in validation.by_category.items()} == {"x": 0.5, "y": 0.5}
    assert validation.accuracy == wilson(2, 4)


def test_a_reward_for_length_is_seen_as_such():
    data = pairs(["a" * n for n in (1, 5, 9, 2)], ["a" * n for n in (4, 2, 1, 7)], "wxyz")
    assert validate_reward_model(Fixed(len), data).length_correlation == pytest.approx(1)
    assert validate_reward_model(Fixed(lambda text: -len(text)), data).length_correlation == pytest.approx(-1)
    assert math.isnan(validate_reward_model(Fixed(lambda text: 0), data).length_correlation)


@pytest.mark.parametrize(
    ("right", "of", "minimum", "why"),
    [
        (80, 100, 0.6, None),
        (55, 100, 0.6, "is under the 0.6"),
        (7, 10, 0.6, "cannot be told from a coin"),
        (55, 100, 0.5, "cannot be told from a coin"),
        (80, 100, 0.9, "is under the 0.9"),
    ],
)
def test_the_gate(right, of, minimum, why):
    refusal = RewardValidation(wilson(right, of), {}, 0.0).refusal(minimum)
    assert refusal is None if why is None else why in refusal
