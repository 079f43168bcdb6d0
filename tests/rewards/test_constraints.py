"""Constraints: what they ask, and what is refused."""

import math

import numpy as np
import pytest

from rlhf_ext.rewards.constraints import Constraint
from rlhf_ext.rewards.mixing import RewardMixer


def test_cost_is_what_a_score_lacks():
    scores = np.array([0.5, 1.0, math.nan])
    assert Constraint("safety", at_least=0.9).cost(scores) == pytest.approx([0.4, -0.1, math.nan], nan_ok=True)
    assert Constraint("length", at_most=0.9).cost(scores) == pytest.approx([-0.4, 0.1, math.nan], nan_ok=True)
    assert (Constraint("a", at_least=0).name, Constraint("a", at_most=0).name) == ("a/at_least", "a/at_most")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({}, "needs one of `at_least` and `at_most`"),
        ({"at_least": 0.1, "at_most": 0.9}, "needs one of"),
        ({"at_least": math.nan}, "at_least=nan: it must be a finite number"),
        ({"at_least": "0.9"}, "at_least='0.9': it must be a finite number"),
        ({"at_least": 0.9, "window": 12.5}, "window=12.5: it must be a whole number"),
        ({"at_least": 0.9, "update_every": 1.5}, "update_every=1.5: it must be a whole number"),
        ({"at_least": 0.9, "delay": True}, "delay=True: it must be a whole number"),
        ({"at_least": 0.9, "penalty": 0.0}, "penalty=0.0: it must be above 0"),
        ({"at_least": 0.9, "multiplier": -1.0}, "multiplier=-1.0: it must be above 0"),
        ({"at_least": 0.9, "learning_rate": math.inf}, "learning_rate=inf: it must be a finite number"),
        ({"at_least": 0.9, "multiplier": 6.0}, "above its `cap`"),
        ({"at_least": 0.9, "window": 0}, "window=0"),
        ({"at_least": 0.9, "update_every": 0}, "update_every=0"),
        ({"at_least": 0.9, "delay": -1}, "delay=-1: it must be at least 0"),
        ({"at_least": 0.9, "penalty": 1.0, "cap": 2.0, "delay": 1}, "has no use for cap, delay"),
    ],
)
def test_settings_are_checked(settings, match):
    with pytest.raises(ValueError, match=match):
        Constraint("safety", **settings)


def test_constraints_are_a_list():
    with pytest.raises(TypeError, match=r"`constraints` must be a list: \[Constraint\("):
        RewardMixer({"safety": lambda **_: [1.0]}, constraints=Constraint("safety", at_least=0.9))


@pytest.mark.parametrize(
    ("constraints", "error", "match"),
    [
        (
            [Constraint("safety", at_least=0.9), Constraint("safety", at_least=0.8)],
            ValueError,
            "the same but for their",
        ),
        (
            [Constraint("safety", at_most=0.1), Constraint("safety", at_least=0.9)],
            ValueError,
            "at least 0.9 and at most 0.1",
        ),
        (["safety"], TypeError, "list of Constraint, and one of them is 'safety'"),
    ],
)
def test_constraints_that_cannot_stand_together_are_refused(constraints, error, match):
    with pytest.raises(error, match=match):
        RewardMixer({"length": len, "safety": len}, constraints=constraints)


def test_a_band_is_two_constraints():
    band = [Constraint("safety", at_least=0.5), Constraint("safety", at_most=0.5)]
    assert len(RewardMixer({"length": len, "safety": len}, constraints=band).constraints) == 2


def test_a_folder_that_is_not_there_is_named_with_its_component():
    with pytest.raises(FileNotFoundError, match="component 'safety' is './nope'"):
        RewardMixer({"safety": "./nope"})
