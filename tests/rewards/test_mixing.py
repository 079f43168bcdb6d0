"""RewardMixer: what it gives for a row, what it refuses, what it logs, and the state it keeps."""

import json
import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from rlhf_ext import RewardModel
from rlhf_ext.rewards.combining import UncertaintyWeighted
from rlhf_ext.rewards.constraints import Constraint
from rlhf_ext.rewards.mixing import RewardMixer
from rlhf_ext.rewards.normalization import LogSigmoid, reference_scores
from rlhf_ext.rewards.weights import Linear

from .mixing_helpers import Length, Log, Meeting, SlowLength, column, score

A, B = column("a"), column("b")


def test_a_weighted_sum_over_what_applies():
    reward = RewardMixer({"a": A, "b": B}, weights={"a": 3.0, "b": 1.0})
    found = score(reward, a=[1.0, None, 2.0, None], b=[5.0, 5.0, None, None])
    assert found == [3.0 + 5.0, 4 * 5.0, 4 * 2.0, None]
    assert all(isinstance(one, float) for one in found[:3])
    assert reward.__name__ == "reward_mixer"


def test_normalisers_and_transforms_by_component():
    reward = RewardMixer(
        {"a": A, "b": B, "c": column("c")},
        normalize={"a": "batch", "b": (10.0, 2.0)},
        transform={"b": "clip", "c": LogSigmoid(1.0)},
    )
    found = score(reward, a=[1.0, 3.0], b=[12.0, 100.0], c=[1.0, 3.0])
    assert found == pytest.approx([-1.0 + 1.0 - math.log(2), 1.0 + 5.0 - math.log1p(math.exp(-2.0))])


def test_one_normaliser_each():
    reward = RewardMixer({"a": A, "b": B}, normalize="running")
    score(reward, a=[0.0, 2.0], b=[0.0, 200.0])
    found = score(reward, a=[1.0, 1.0], b=[100.0, 300.0])
    spread = np.std([0.0, 200.0, 100.0, 300.0])
    assert found == pytest.approx([(100.0 - 150.0) / spread, (300.0 - 150.0) / spread])


def test_reference_scores_put_the_reference_at_0():
    rows = {"prompts": ["", ""], "completions": ["ab", "abcdef"]}
    components = {"length": Length()}
    reward = RewardMixer(components, normalize=reference_scores(components, **rows))
    assert score(reward, completions=["abcd", "abcdef"]) == [0.0, 1.0]


@pytest.mark.parametrize(
    ("combine", "expected"),
    [
        ("worst_case", 0.25),
        ("product", 0.125),
        ("uncertainty_weighted", 0.375 - 0.1 * 0.125**2),
        (UncertaintyWeighted(2.0), 0.34375),
    ],
)
def test_combinations(combine, expected):
    assert score(RewardMixer({"a": A, "b": B}, combine=combine), a=[0.5], b=[0.25]) == pytest.approx([expected])


def test_a_product_of_reward_models_goes_through_sigmoid():
    reward = RewardMixer({"a": A, "b": B}, combine="product", transform="sigmoid")
    assert score(reward, a=[0.0], b=[0.0]) == pytest.approx([0.25])


def test_groups_are_the_completions_of_one_prompt():
    reward = RewardMixer({"a": A, "b": B}, combine="group")
    prompts = [[{"role": "user", "content": text}] for text in ("x", "y", "x", "y")]
    found = score(reward, prompts=prompts, a=[1.0, 50.0, 3.0, 10.0], b=[5.0, 5.0, 5.0, 5.0])
    assert found == pytest.approx([-1 / math.sqrt(2), 1 / math.sqrt(2), 1 / math.sqrt(2), -1 / math.sqrt(2)], rel=1e-3)


def test_a_function_may_combine():
    found = score(RewardMixer({"a": A, "b": B}, combine=lambda s, w, g: np.nanmax(s, axis=1)), a=[1.0], b=[7.0])
    assert found == [7.0]


def test_a_constraint_is_on_the_raw_score():
    reward = RewardMixer(
        {"a": A, "b": B}, normalize="batch", constraints=[Constraint("b", at_least=0.9, multiplier=2.0)]
    )
    found = score(reward, a=[10.0, 30.0], b=[0.5, 0.9])
    multiplier = math.exp(math.log(2.0) + 0.1 * 2.0 * 0.2)
    assert found == pytest.approx([(-1.0 - multiplier * 0.4) / (1 + multiplier), 1.0 / (1 + multiplier)])


def test_a_constrained_component_may_have_a_weight_as_well():
    one = Constraint("b", at_most=1.0, penalty=10.0)
    reward = RewardMixer({"a": A, "b": B}, weights={"a": 1.0, "b": 0.5}, constraints=[one])
    assert score(reward, a=[1.0, 1.0], b=[1.5, 0.5]) == [1.0 + 0.75 - 5.0, 1.0 + 0.25]


def test_where_the_objective_does_not_apply_the_constraint_still_teaches():
    reward = RewardMixer({"a": A, "b": B}, constraints=[Constraint("b", at_least=1.0, delay=99)])
    assert score(reward, a=[None, None, 3.0], b=[0.0, None, None]) == [-0.5, None, 1.5]


def test_gates_see_columns_and_scores():
    reward = RewardMixer(
        {"a": A, "b": B},
        gates={"a": lambda row, scores: row["kind"] == "math" and row["prompt"] != "p2" and scores["b"] > 0.5},
    )
    found = score(
        reward, a=[1.0] * 4, b=[1.0, 1.0, 1.0, 0.0], kind=["math", "chat", "math", "math"], trainer_state=None
    )
    assert found == [2.0, 2 * 1.0, 2 * 1.0, 0.0]


def test_a_closed_gate_closes_the_constraint_and_the_statistics_too():
    def on_even(row, scores):
        return int(row["prompt"][1:]) % 2 == 0

    reward = RewardMixer(
        {"a": A, "b": B}, gates={"b": on_even}, normalize="running", constraints=[Constraint("b", at_least=1.0)]
    )
    score(reward, a=[0.0] * 4, b=[0.0, 99.0, 2.0, 99.0])
    assert list(reward.constraints["b/at_least"].costs) == [1.0, -1.0]
    assert reward.normalizers["b"].moments.mean == 1.0


def test_mistakes_of_gates_are_named():
    with pytest.raises(TypeError, match="gate of 'a' gave 'yes' for row 0"):
        score(RewardMixer({"a": A}, gates={"a": lambda row, scores: "yes"}), a=[1.0])
    with pytest.raises(KeyError) as caught:
        score(RewardMixer({"a": A}, gates={"a": lambda row, scores: row["category"]}), a=[1.0])
    assert "the gate of 'a'" in caught.value.__notes__[0]


def test_schedules_follow_the_run():
    reward = RewardMixer({"a": A, "b": B}, weights={"a": 1.0, "b": Linear(0.0, 0.5)})
    at = [
        score(reward, a=[1.0], b=[10.0], trainer_state=SimpleNamespace(global_step=step, max_steps=10))
        for step in (0, 4, 10)
    ]
    assert at == [[1.0], [3.0], [6.0]]
    assert score(reward, a=[1.0], b=[10.0]) == [6.0]  # outside a trainer: as it was last
    assert score(RewardMixer({"a": A, "b": B}, weights=reward.weights), a=[1.0], b=[10.0]) == [1.0]


@pytest.mark.parametrize("as_what", ["folder", "model", "RewardModel"])
def test_models_are_components(as_what, reward_folder):
    make = {"folder": str, "model": AutoModelForSequenceClassification.from_pretrained, "RewardModel": RewardModel}
    reward = RewardMixer(
        {"model": make[as_what](reward_folder), "length": Length()}, weights={"model": 2.0, "length": 1.0}
    )
    expected = RewardModel(reward_folder).score(["p0"], ["abc"]).item()
    assert score(reward, completions=["abc"]) == pytest.approx([2 * expected + 3.0], abs=1e-5)
    reward.to("meta")
    assert next(reward.components["model"].model.parameters()).device.type == "meta"


def test_async_components_run_together_and_the_call_is_synchronous():
    meeting = Meeting(3)
    reward = RewardMixer({"a": meeting, "b": meeting, "inner": RewardMixer({"c": meeting})})
    assert score(reward, completions=["ab", "abcd"]) == [6.0, 12.0]


def test_mixers_nest():
    inner = RewardMixer({"a": A, "b": B}, combine="worst_case")
    reward = RewardMixer({"inner": inner, "c": column("c")}, weights={"inner": 2.0, "c": 1.0})
    assert score(reward, a=[1.0, None], b=[3.0, None], c=[10.0, 10.0]) == [12.0, 30.0]


def test_it_pickles_with_its_state():
    reward = RewardMixer(
        {"a": Length(), "slow": SlowLength()}, normalize="running", constraints=[Constraint("a", at_most=3)]
    )
    score(reward, completions=["ab", "abcd"])
    other = pickle.loads(pickle.dumps(reward))
    assert other.state_dict() == reward.state_dict()
    assert score(other, completions=["a"]) == score(reward, completions=["a"])


def test_everything_is_logged():
    log = Log()
    inner = RewardMixer({"c": column("c")})
    reward = RewardMixer(
        {"a": A, "b": B, "inner": inner},
        weights={"a": 1.0, "inner": 0.5},
        constraints=[Constraint("b", at_least=1.0, learning_rate=0.5)],
    )
    score(reward, a=[1.0, None, 2.0], b=[0.0, 1.0, 1.0], c=[4.0, 4.0, 4.0], **log.columns())
    assert log.table == {
        "inner/rewards/c": [4.0, 4.0, 4.0],
        "rewards/a": [1.0, None, 2.0],
        "rewards/b": [0.0, 1.0, 1.0],
        "rewards/inner": [4.0, 4.0, 4.0],
    }
    assert log.metrics == {
        "inner/rewards/c/mean": 4.0,
        "inner/weights/c": 1.0,
        "rewards/a/mean": 1.5,
        "rewards/b/mean": pytest.approx(2 / 3),
        "rewards/inner/mean": 4.0,
        "weights/a": 1.0,
        "weights/b": 0.0,
        "weights/inner": 0.5,
        "constraints/b/at_least/multiplier": pytest.approx(math.exp(0.5 / 3)),
        "constraints/b/at_least/cost": pytest.approx(1 / 3),
        "constraints/b/at_least/satisfied": pytest.approx(2 / 3),
        "constraints/b/at_least/unmet": 0.0,
    }


def test_what_no_row_applies_to_is_not_logged():
    log = Log()
    score(
        RewardMixer({"a": A, "b": B}, constraints=[Constraint("b", at_least=1.0)]), a=[1.0], b=[None], **log.columns()
    )
    assert "rewards/b/mean" not in log.metrics and "constraints/b/at_least/cost" not in log.metrics


def test_evaluation_teaches_nothing():
    inner = RewardMixer({"a": A}, normalize="running")
    reward = RewardMixer({"inner": inner, "b": B}, normalize="running", constraints=[Constraint("b", at_least=1.0)])
    score(reward, a=[1.0, 2.0], b=[0.0, 3.0])
    before = reward.state_dict()
    score(reward.eval(), a=[7.0, 7.0], b=[7.0, 7.0])
    assert reward.state_dict() == before
    score(reward.train(), a=[7.0, 7.0], b=[7.0, 7.0])
    after = reward.state_dict()
    assert after["components"] != before["components"] and after["constraints"] != before["constraints"]


def make_stateful(**changes):
    inner = RewardMixer({"c": column("c")}, normalize=changes.get("inner", "running"))
    return RewardMixer(
        {changes.get("name", "a"): A, "b": B, "inner": inner},
        normalize=changes.get("normalize", "running"),
        weights={changes.get("name", "a"): 1.0, "inner": 1.0},
        constraints=[Constraint("b", **changes.get("limit", {"at_least": 0.5}))],
    )


ROWS = {"a": [1.0, 5.0], "b": [0.1, 0.2], "c": [3.0, -3.0]}


def test_a_restored_mixer_goes_on_as_the_first():
    one, other = make_stateful(), make_stateful()
    score(one, **ROWS, trainer_state=SimpleNamespace(global_step=3, max_steps=10))
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))  # plain values
    assert other.progress == 0.3
    assert score(one, a=[2.0], b=[0.3], c=[1.0]) == score(other, a=[2.0], b=[0.3], c=[1.0])
    assert one.state_dict() == other.state_dict()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "x"}, "state is of another mixer: its components are"),
        ({"normalize": "batch"}, "its normalizers are"),
        ({"limit": {"at_most": 0.5}}, "its constraints are"),
        ({"limit": {"at_least": 0.5, "penalty": 1.0}}, "its constraints are"),
        ({"inner": None}, "its normalizers are {'c': 'NoneType'}"),
    ],
)
def test_a_state_of_another_mixer_is_refused_whole(changes, match):
    mine, state = make_stateful(), make_stateful(**changes)
    score(state, **{**ROWS, "x": ROWS["a"]})
    before = mine.state_dict()
    with pytest.raises(ValueError, match=match):
        mine.load_state_dict(state.state_dict())
    assert mine.state_dict() == before
    with pytest.raises(ValueError, match="no state of a RewardMixer"):
        mine.load_state_dict({"mean": 1.0})


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"components": {}}, ValueError, "`components` must be a dict"),
        ({"components": [A, B]}, ValueError, "`components` must be a dict"),
        ({"components": {"a": 3}}, TypeError, "component 'a' is 3, which is no reward function"),
        ({"components": {"a": Length}}, TypeError, "which is no reward function"),
        ({"weights": {"a": 1.0, "c": 1.0}}, ValueError, "`weights` names 'c'"),
        ({"weights": {"a": 0.0, "b": 0.0}}, ValueError, "All weights are 0"),
        ({"weights": {"a": math.nan, "b": 1.0}}, ValueError, "weight of 'a' is nan"),
        ({"normalize": {"c": "running"}}, ValueError, "`normalize` names 'c'"),
        ({"normalize": "minmax"}, ValueError, "No normaliser 'minmax'"),
        ({"transform": {"c": "clip"}}, ValueError, "`transform` names 'c'"),
        ({"gates": {"c": print}}, ValueError, "`gates` names 'c'"),
        ({"constraints": [Constraint("c", at_least=0.9)]}, ValueError, "`constraints` names 'c', but the components"),
        ({"constraints": [Constraint("a", at_least=0), Constraint("a", at_least=1)]}, ValueError, "Two constraints"),
        ({"combine": "median"}, ValueError, "No combination 'median'"),
        ({"combine": "worst_case", "weights": {"a": 1.0, "b": 2.0}}, ValueError, "worst case has no weights"),
        ({"combine": "product", "weights": {"a": 1.0, "b": Linear(1.0, -1.0)}}, ValueError, "no negative weights"),
    ],
)
def test_mistakes_are_refused_before_anything_is_scored(arguments, error, match):
    with pytest.raises(error, match=match):
        RewardMixer(**{"components": {"a": A, "b": B}, **arguments})


@pytest.mark.parametrize(
    ("scores", "match"),
    [
        ([1.0], "The component 'b' gave 1 rewards for 2 completions"),
        ([1.0, math.nan], "The component 'b' gave nan for completion 1: 'c1'"),
        ([math.inf, 1.0], "The component 'b' gave inf for completion 0"),
    ],
)
def test_mistakes_of_components_are_named(scores, match):
    reward = RewardMixer({"a": A, "b": lambda **_: scores}, normalize="running")
    with pytest.raises(ValueError, match=match):
        score(reward, a=[1.0, 2.0])
    assert reward.normalizers["a"].moments.count == 0


def test_a_component_that_raises_stops_the_run_by_name():
    def broken(**_):
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError, match="no answer") as caught:
        score(RewardMixer({"a": A, "judge": RewardMixer({"inner": broken})}), a=[1.0])
    assert [note.split(" on ")[0] for note in caught.value.__notes__] == [
        "Raised by the component 'inner'",
        "Raised by the component 'judge'",
    ]


def test_a_transform_that_makes_nan_of_a_score_is_named():
    reward = RewardMixer({"a": A}, transform=np.log)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="made nan of 'a''s -1 in row 1"):
        score(reward, a=[1.0, -1.0])


def test_components_see_the_columns_and_what_trl_passes():
    seen = {}

    def spy(**columns):
        seen.update(columns)
        return [0.0]

    state = SimpleNamespace(global_step=0, max_steps=1)
    score(RewardMixer({"spy": spy}), answer=["42"], completion_ids=[[1, 2]], trainer_state=state)
    assert seen["answer"] == ["42"] and seen["completion_ids"] == [[1, 2]] and seen["trainer_state"] is state
    assert "log_metric" not in seen


def test_tensors_are_scores():
    assert score(RewardMixer({"a": lambda **_: torch.tensor([1.0, 2.0])}), completions=["x", "y"]) == [1.0, 2.0]


@pytest.mark.parametrize("combine", ["sum", "mean", "worst_case", "product", "uncertainty_weighted", "group"])
def test_no_rows_have_no_rewards(combine):
    log = Log()
    reward = RewardMixer(
        {"a": A, "b": B}, combine=combine, normalize="running", constraints=[Constraint("b", at_least=1.0)]
    )
    assert reward(prompts=[], completions=[], a=[], b=[], **log.columns()) == []
