"""Calling any reward function: what it gives is checked, and texts fit their prompts."""

import asyncio
import math

import numpy as np
import pytest

from rlhf_ext.rewards.calling import like_prompt, score_rows


def test_none_becomes_nan_and_columns_arrive():
    def reward(prompts, completions, topic, **columns):
        assert (prompts, topic) == (["p", "q"], ["x", "y"])
        return [None, len(completions[1])]

    found = score_rows(reward, ("p", "q"), ("a", "bc"), {"topic": ["x", "y"]})
    assert np.isnan(found[0])
    assert found[1] == 2.0


def test_an_async_function_also_where_a_loop_is_running():
    async def reward(prompts, completions, **columns):
        await asyncio.sleep(0)
        return [1.0] * len(completions)

    async def notebook():
        return score_rows(reward, ["p"], ["a"])

    assert score_rows(reward, ["p"], ["a"]).tolist() == asyncio.run(notebook()).tolist() == [1.0]


@pytest.mark.parametrize(
    ("scores", "match"),
    [
        ([1.0], "'broken' gave 1 rewards for 2 completions"),
        ([1.0, math.nan], "'broken' gave nan for completion 1: 'second'"),
        ([-math.inf, 0.0], "'broken' gave -inf for completion 0: 'first'"),
    ],
)
def test_bad_scores_are_named(scores, match):
    def broken(**columns):
        return scores

    with pytest.raises(ValueError, match=match):
        score_rows(broken, ["p", "q"], ["first", "second"])


def test_an_exception_never_becomes_a_score():
    def broken(**columns):
        raise KeyError("reference")

    with pytest.raises(KeyError, match="reference"):
        score_rows(broken, ["p"], ["a"])


def test_a_text_is_made_like_its_prompt():
    messages = [{"role": "assistant", "content": "a"}]
    assert like_prompt([{"role": "user", "content": "p"}], "a") == messages
    assert like_prompt([{"role": "user", "content": "p"}], messages) == messages
    assert like_prompt("p", "a") == "a"
