"""Reward functions as PPO calls them: mistakes are named, and tokens may have rewards of their own."""

import asyncio
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from trl.trainer.utils import is_async_callable  # what TRL looks at

from rlhf_ext import PPOConfig, RewardModel
from rlhf_ext.trainers.checked_reward import CheckedReward, checked_rewards, dense_rewards

COLUMNS = {"prompts": ["p", "q"], "completions": ["a b", "c"], "completion_ids": [[1, 2], [3]]}


def gives(*rewards):
    def reward(**_):
        return list(rewards)

    return CheckedReward(reward)


def test_numbers_and_none_pass():
    reward = gives(1, None)
    assert reward(**COLUMNS) == [1.0, None]
    assert reward.dense == [None, None]
    assert reward.__name__ == "reward"


def test_token_rewards_are_summed_and_kept():
    reward = gives(torch.tensor([0.5, 0.25]), 2.0)
    assert reward(**COLUMNS) == [0.75, 2.0]
    assert reward.dense == [[0.5, 0.25], None]


def test_token_rewards_may_be_arrays():
    reward = gives(np.array([0.5, 0.25], dtype=np.float32), np.float64(2.0))
    assert reward(**COLUMNS) == [0.75, 2.0]
    assert reward.dense == [[0.5, 0.25], None]


@pytest.mark.parametrize(
    ("rewards", "match"),
    [
        ((1.0, math.nan), "'reward' gave nan for completion 1: 'c'"),
        ((math.inf, 0.0), "gave inf for completion 0"),
        (([0.0, math.nan], 0.0), "gave nan for completion 0"),
        ((1.0,), "gave 1 rewards for 2 completions"),
        (([1.0], 0.0), "gave 1 token rewards for completion 0, which has 2 tokens"),
    ],
)
def test_mistakes_are_named(rewards, match):
    with pytest.raises(ValueError, match=match):
        gives(*rewards)(**COLUMNS)


def test_an_exception_says_whose_it_is():
    def broken(**_):
        raise KeyError("answer")

    with pytest.raises(KeyError) as caught:
        CheckedReward(broken)(**COLUMNS)
    assert (
        "Raised by the reward function 'broken' on 2 completions; the first prompt is 'p'" in caught.value.__notes__[0]
    )


def test_async_functions_stay_async():
    async def slow(**_):
        return [1.0, [3.0]]

    reward = CheckedReward(slow)
    assert is_async_callable(reward)
    assert not is_async_callable(gives(1.0, 2.0))
    assert asyncio.run(reward(**COLUMNS)) == [1.0, 3.0]
    assert reward.dense == [None, [3.0]]


@pytest.mark.parametrize(
    ("rewards", "tokenizers", "error", "match"),
    [
        ([print, 3], None, TypeError, "`reward_funcs` has 3: not a function"),
        ([print, print], [None], ValueError, "1 `reward_processing_classes` for 2 `reward_funcs`"),
    ],
)
def test_what_is_no_reward_is_refused_at_once(quick, rewards, tokenizers, error, match):
    with pytest.raises(error, match=match):
        checked_rewards(rewards, tokenizers, PPOConfig(**quick))


def test_rewards_may_be_a_tuple_and_a_model_a_path(quick, reward_folder):
    one, two = checked_rewards((print, Path(reward_folder)), None, PPOConfig(**quick))
    assert isinstance(one, CheckedReward)
    assert isinstance(two, RewardModel)


def test_an_object_without_a_name_gets_its_class():
    class Judge:
        def __call__(self, **_):
            return [0.0, 0.0]

    assert CheckedReward(Judge()).__name__ == "Judge"


def test_dense_rewards_are_weighted_and_padded():
    one, two, other = gives([1.0, 2.0], None), gives(5.0, [4.0]), gives(1.0, 1.0)
    for reward in (one, two, other):
        reward(**COLUMNS)
    dense, sums = dense_rewards([one, two, other, print], torch.tensor([1.0, 0.5, 1.0, 1.0]), (2, 3))
    assert dense.tolist() == [[1.0, 2.0, 0.0], [2.0, 0.0, 0.0]]
    assert sums.tolist() == [3.0, 2.0]
    assert dense_rewards([other], torch.ones(1), (2, 3))[0] is None
