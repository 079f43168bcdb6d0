"""Multipliers: the formulas by hand, their way to where costs are 0, and what is said where they cannot get there."""

import math

import numpy as np
import pytest

from rlhf_ext.rewards.constraints import Constraint
from rlhf_ext.rewards.mixing import RewardMixer
from rlhf_ext.rewards.multipliers import ConstraintState, constrained

NAN = math.nan


def state(at_least=0.9, **settings):
    return ConstraintState(Constraint("safety", at_least=at_least, **settings))


def test_the_multiplier_climbs_its_logarithm_by_the_mean_cost():
    one = state(multiplier=2.0, learning_rate=0.3, window=3, cap=50.0)
    one.observe(np.array([1.0, NAN, 3.0]))
    first = math.log(2.0) + 0.3 * 2.0 * 2.0
    assert one.log_multiplier == pytest.approx(first)
    one.observe(np.array([-9.0, -9.0]))  # the window holds 3, -9, -9
    assert one.log_multiplier == pytest.approx(first + 0.3 * math.exp(first) * -5.0)
    assert one.mean_cost == -5.0


def test_the_cap_holds_and_does_not_wind_up():
    one = state(learning_rate=5.0, cap=3.0, window=1)
    for _ in range(20):
        one.observe(np.array([1.0]))
    assert one.multiplier == pytest.approx(3.0)
    one.observe(np.array([-0.1]))
    assert one.multiplier < 1.0


def test_updates_may_be_late_and_rare():
    one, moved = state(update_every=3, delay=2), []
    for _ in range(9):
        before = one.log_multiplier
        one.observe(np.array([1.0]))
        moved.append(one.log_multiplier != before)
    assert moved == [False, False, False, False, True, False, False, True, False]


def test_rows_that_it_does_not_apply_to_teach_nothing():
    one = state()
    one.observe(np.array([NAN, NAN]))
    assert one.multiplier == 1.0
    assert math.isnan(one.mean_cost)


def test_the_mixed_reward_is_safe_rlhfs():
    one, two = state(multiplier=3.0), state(multiplier=0.5)
    rewards, costs = np.array([2.0, 2.0]), np.array([[0.4, 1.0], [-0.1, -2.0]])
    expected = [(2.0 - 3.0 * 0.4 - 0.5 * 1.0) / 4.5, (2.0 + 3.0 * 0.1 + 0.5 * 2.0) / 4.5]
    assert constrained(rewards, costs, [one, two]) == pytest.approx(expected)
    assert constrained(rewards, costs[:, :0], []) is rewards


def test_a_fixed_penalty_leaves_alone_what_meets_the_constraint():
    one = state(penalty=10.0)
    one.observe(np.array([5.0] * 200))
    assert one.multiplier == 10.0
    found = constrained(np.array([2.0, 2.0]), np.array([[0.4], [-0.1]]), [one])
    assert found == pytest.approx([2.0 - 4.0, 2.0])


def test_a_penalty_and_a_multiplier_on_the_same_scale():
    both = [state(penalty=10.0), state(multiplier=3.0)]
    found = constrained(np.array([2.0]), np.array([[0.4, 0.2]]), both)
    assert found == pytest.approx([(2.0 - 4.0 - 0.6) / 4.0])


def test_terms_that_do_not_apply_are_left_out():
    one = state(multiplier=3.0)
    found = constrained(np.array([2.0, NAN, NAN]), np.array([[NAN], [0.4], [NAN]]), [one])
    assert found == pytest.approx([2.0 / 4.0, -1.2 / 4.0, NAN], nan_ok=True)


@pytest.mark.parametrize("settings", [{"learning_rate": 50.0}, {"penalty": 2.0}])
def test_what_nothing_meets_is_said_once(settings, caplog):
    one = state(window=4, **settings)
    one.observe(np.array([0.4, 0.3, 0.5]))
    assert not one.unmet  # no whole window yet
    for _ in range(3):
        one.observe(np.array([0.4, 0.3, 0.5]))
    assert one.unmet
    said = [record.message for record in caplog.records]
    assert len(said) == 1
    assert "None of the last 4 completions has met the constraint 'safety' at least 0.9" in said[0]
    assert "missed it by 0.3" in said[0]
    one.observe(np.array([-0.1]))
    assert not one.unmet


@pytest.mark.parametrize("cost", [-190.0, 40.0])
def test_a_score_on_another_scale_is_said_once_with_a_rate_that_fits(cost, caplog):
    """`Constraint("length", at_most=200)` on a length in tokens: its multiplier is 0 after one rollout, and stays there."""
    one = state(cap=1e4)
    for _ in range(3):
        one.observe(np.full(8, cost))
    [said] = [record.message for record in caplog.records]
    assert f"the mean of the score is {abs(cost):g} off" in said
    rate = float(said.split("`learning_rate` of about ")[1].split()[0])
    calm = state(cap=1e4, learning_rate=rate)
    calm.observe(np.full(8, cost))
    assert 1.05 < math.exp(abs(calm.log_multiplier)) < 1.2 and len(caplog.records) == 1


def test_a_cap_that_does_not_do_is_said_once_though_some_meet_the_constraint(caplog):
    one = state(window=4, learning_rate=1.0, cap=2.0)
    for _ in range(6):
        one.observe(np.array([1.2, -0.2]))
    one.observe(np.array([-1.5, -1.5]))  # held for a moment: counted from anew
    assert one.multiplier < 2.0 and not caplog.records
    for _ in range(40):
        one.observe(np.array([1.2, -0.2]))
    [said] = [record.message for record in caplog.records]
    assert "The last 32 completions missed the constraint 'safety' at least 0.9 on average, now by 0.5" in said
    assert "at its cap of 2" in said and not one.unmet


def test_a_multiplier_under_its_cap_is_still_trying():
    one = state(window=2, learning_rate=0.01)
    for _ in range(3):
        one.observe(np.array([0.4, 0.3]))
    assert not one.unmet


def test_the_state_is_all_of_it():
    one, other = state(update_every=2), state(update_every=2)
    one.observe(np.array([0.4, 0.3]))
    other.load_state_dict(one.state_dict())
    for each in (one, other):
        each.observe(np.array([0.2]))
    assert one.state_dict() == other.state_dict()
    assert one.log_multiplier != 0.0


def test_a_constraint_that_nothing_is_known_of_says_so_once(monkeypatch):
    said = []
    monkeypatch.setattr("rlhf_ext.rewards.multipliers.logger.warning", said.append)
    scores = [[None, 0.2], [None, None], [None, None]]
    reward = RewardMixer(
        {"length": lambda completions, **_: [1.0] * len(completions), "safety": lambda **_: scores.pop(0)},
        constraints=[Constraint("safety", at_least=0.9)],
    )
    reward(prompts=["a", "b"], completions=["c", "d"])
    assert not said, "some have a score"
    for _ in range(2):
        reward(prompts=["a", "b"], completions=["c", "d"])
    assert len(said) == 1 and "'safety' gave None for all 2 completions" in said[0]
