"""Weights: all names known, all numbers finite, not all of them 0; and schedules."""

import math
from types import SimpleNamespace

import pytest

from rlhf_ext.rewards.weights import Linear, complete_weights, progress_of, weights_at


def test_by_default_what_has_a_constraint_counts_through_that_alone():
    assert complete_weights(None, ["a", "b"], {"b"}) == {"a": 1.0, "b": 0.0}
    assert complete_weights({"a": 2}, ["a", "b"], {"b"}) == {"a": 2, "b": 0.0}
    assert complete_weights({"a": 2, "b": -1}, ["a", "b"], set()) == {"a": 2, "b": -1}


@pytest.mark.parametrize(
    ("weights", "constrained", "match"),
    [
        ({"a": 1.0, "c": 1.0}, set(), "`weights` names 'c', but the components are 'a', 'b'"),
        ({"a": 1.0}, set(), "`weights` says nothing about 'b'"),
        ({"a": 0.0, "b": 0.0}, set(), "All weights are 0"),
        (None, {"a", "b"}, "All weights are 0"),
        ({"a": 1.0, "b": math.nan}, set(), "The weight of 'b' is nan"),
        ({"a": math.inf, "b": 1.0}, set(), "The weight of 'a' is inf"),
        ({"a": "0.5", "b": 1.0}, set(), "The weight of 'a' is '0.5'"),
        ({"a": lambda progress: 1 / (1.5 - progress) if progress < 1 else math.nan, "b": 1.0}, set(), "at progress 1"),
    ],
)
def test_mistakes_are_named(weights, constrained, match):
    with pytest.raises(ValueError, match=match):
        complete_weights(weights, ["a", "b"], constrained)


def test_a_linear_schedule_moves_within_its_part_of_the_run():
    schedule = Linear(1.0, 3.0, begin=0.25, until=0.75)
    assert [schedule(p) for p in (0.0, 0.25, 0.5, 0.75, 1.0)] == [1.0, 1.0, 2.0, 3.0, 3.0]
    assert weights_at({"a": schedule, "b": 2}, 0.5).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("part", [(0.5, 0.5), (-0.1, 1.0), (0.0, 1.1)])
def test_the_part_of_the_run_is_checked(part):
    with pytest.raises(ValueError, match="begin < until"):
        Linear(0.0, 1.0, *part)


@pytest.mark.parametrize(("step", "steps", "expected"), [(5, 20, 0.25), (0, 0, 0.0), (21, 20, 1.0)])
def test_progress(step, steps, expected):
    assert progress_of(SimpleNamespace(global_step=step, max_steps=steps)) == expected
