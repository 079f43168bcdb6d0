"""Calling several reward functions: at the same time where they are async, and with names on their mistakes."""

import functools
import math
import time

import numpy as np
import pytest
import torch

from rlhf_ext.rewards.calling import call_all, checked_scores, is_async

from .mixing_helpers import Length, Meeting, SlowLength

ROWS = {"prompts": ["p", "q"], "completions": ["ab", "abcd"]}


async def coroutine(**_):
    return [1.0, 2.0]


def inputs_of(functions):
    return dict.fromkeys(functions, ROWS)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (coroutine, True),
        (functools.partial(coroutine, a=1), True),
        (SlowLength(), True),
        (functools.partial(SlowLength()), True),
        (Length(), False),
        (len, False),
    ],
)
def test_async_in_all_its_forms(function, expected):
    assert is_async(function) is expected


def test_async_functions_run_at_the_same_time_and_beside_the_others():
    meeting = Meeting(3)

    def waits(**_):
        return [float(meeting.complete.wait(10.0))] * 2

    functions = {"a": meeting, "sync": waits, "b": meeting, "c": meeting}
    scores = call_all(functions, inputs_of(functions))
    assert scores == {"a": [2.0, 4.0], "sync": [1.0, 1.0], "b": [2.0, 4.0], "c": [2.0, 4.0]}
    assert list(scores) == list(functions)


def test_an_exception_says_whose_it_is_and_stops_the_others():
    ran = []

    class Late(SlowLength):
        async def __call__(self, **columns):
            scores = await super().__call__(**columns)
            ran.append(1)
            return scores

    def broken(**_):
        raise KeyError("answer")

    with pytest.raises(KeyError) as caught:
        call_all({"broken": broken, "late": Late()}, inputs_of(["broken", "late"]))
    assert caught.value.__notes__ == ["Raised by the component 'broken' on 2 completions; the first prompt is 'p'."]
    time.sleep(0.2)
    assert not ran


def test_an_exception_of_an_async_function_says_whose_it_is():
    async def broken(**_):
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError, match="no answer") as caught:
        call_all({"judge": broken}, inputs_of(["judge"]))
    assert "the component 'judge'" in caught.value.__notes__[0]


def test_an_async_function_that_calls_async_ones_is_told_so_and_does_not_hang():
    async def outer(prompts, completions, **columns):
        return call_all({"inner": coroutine}, inputs_of(["inner"]))["inner"]

    with pytest.raises(
        RuntimeError, match=r"calls others \('inner'\), of which some are async, and would wait for itself"
    ):
        call_all({"outer": outer}, inputs_of(["outer"]))


def test_numbers_of_all_kinds_become_floats():
    rewards = [1, True, np.float32(0.5), torch.tensor(2.0), None]
    assert checked_scores("X", rewards, ["c"] * 5) == [1.0, 1.0, 0.5, 2.0, None]
    assert checked_scores("X", torch.tensor([1.0, 2.0]), ["c"] * 2) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("rewards", "error", "match"),
    [
        ([1.0], ValueError, "X gave 1 rewards for 2 completions"),
        ([1.0, math.nan], ValueError, "X gave nan for completion 1: 'abcd'"),
        ([-math.inf, 1.0], ValueError, "X gave -inf for completion 0: 'ab'"),
        ([1.0, [0.5, 0.5]], TypeError, r"X gave \[0.5, 0.5\] for completion 1"),
        ([1.0, "0.5"], TypeError, "X gave '0.5' for completion 1"),
        (None, TypeError, "X gave None, where a list"),
        ({1: 0.5, 2: 0.5}, TypeError, r"X gave \{1: 0.5, 2: 0.5\}, where a list"),  # whose keys are no rewards
        ({1.0, 2.0}, TypeError, "where a list"),  # in no order
        (np.ones((2, 2)), TypeError, "for completion 0: a reward is one number"),
        (torch.ones(2, 2), TypeError, "for completion 0: a reward is one number"),
    ],
)
def test_what_is_no_list_of_finite_numbers_is_refused(rewards, error, match):
    with pytest.raises(error, match=match):
        checked_scores("X", rewards, ROWS["completions"])
