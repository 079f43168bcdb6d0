"""Reward mixes by plain values: what they build, and that what is wrong is named before anything is made."""

import sys

import pytest

from rlhf_ext import Constraint, RewardModel, RewardRecipe
from rlhf_ext.rewards.recipe import Where

from ..conftest import vowels

BRIEF = {"function": "Length", "highest": 2}
PROMPTS = ["Hi."] * 2


def recipe(**changes):
    return RewardRecipe.from_config({"components": {"brief": BRIEF}, **changes})


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's with a reward function, one that takes an argument, and one that makes one."""
    (tmp_path / "my_rewards.py").write_text(
        "def polite(prompts, completions, **columns):\n"
        "    return [float('please' in text) for text in completions]\n"
        "def scaled(prompts, completions, factor=1.0, **columns):\n"
        "    return [factor * len(text) for text in completions]\n"
        "def made(word):\n"
        "    return lambda prompts, completions, **columns: [float(word in text) for text in completions]\n"
        "number = 3\n"
    )
    (tmp_path / "broken_rewards.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("my_rewards", None)


def test_weights_constraints_and_defaults():
    mix = recipe(
        components={"brief": {**BRIEF, "weight": 2.0}, "calm": {"function": "Regex", "pattern": "^[^!]*$"}},
        constraints=[{"component": "calm", "at_least": 0.5, "penalty": 3.0}],
    ).build()
    assert mix.weights == {"brief": 2.0, "calm": 0.0}
    assert [one.constraint for one in mix.constraints.values()] == [Constraint("calm", at_least=0.5, penalty=3.0)]
    assert mix(prompts=PROMPTS, completions=["a b", "a b!"]) == [2.0, 0.5]


def test_a_weight_that_moves():
    mix = recipe(
        components={"brief": {**BRIEF, "weight": {"start": 0.0, "end": 1.0, "until": 0.5}}, "calm": BRIEF}
    ).build()
    assert [mix.weights["brief"](progress) for progress in (0.0, 0.25, 1.0)] == [0.0, 0.5, 1.0]


def test_rows_that_a_component_counts_in():
    mix = recipe(components={"brief": {**BRIEF, "where": {"kind": ["a", "b"]}}}).build()
    scores = mix(prompts=["?"] * 3, completions=["x"] * 3, kind=["a", "c", "b"])
    assert scores == [1.0, None, 1.0]
    with pytest.raises(KeyError):
        Where({"kind": ("a",)})({"other": 1}, {})


def test_functions_of_ones_own(own):
    mix = recipe(
        components={
            "polite": "my_rewards.polite",
            "scaled": {"function": "my_rewards:scaled", "factor": 0.5},
            "made": {"function": "my_rewards.made", "word": "tea"},
        }
    ).build()
    assert mix(prompts=["?"], completions=["tea please"]) == [1 + 5.0 + 1]


def test_what_trl_makes_and_what_takes_several_names():
    mix = recipe(
        components={
            "tags": {"function": "Tags", "tags": ["think", "answer"]},
            "long": {
                "function": "trl.rewards.get_soft_overlong_punishment",
                "max_completion_len": 4,
                "soft_punish_cache": 2,
            },
        }
    ).build()
    texts = ["<think>a</think><answer>b</answer>"] * 2
    assert mix(prompts=PROMPTS, completions=texts, completion_ids=[[1], [1] * 9]) == [1.0, 0.0]


def test_objects_among_the_arguments():
    judge = {"function": "rlhf_ext.ScriptedGenerator", "responses": ["10", "1"]}
    mix = recipe(
        components={
            "judge": {"function": "JudgeScore", "rubric": "Kind.", "use_probabilities": False, "generator": judge}
        },
        combine={"function": "rlhf_ext.rewards.combining.UncertaintyWeighted", "coefficient": 0.5},
    ).build()
    assert mix.combine.coefficient == 0.5
    assert mix(prompts=PROMPTS, completions=["a", "b"]) == [1.0, 0.0]


def test_the_runs_own_reward_model(reward_folder):
    made = recipe(components={"quality": {"function": "reward_model", "weight": 2.0}, "brief": BRIEF})
    assert made.reward_model == "quality"
    mix = made.build(reward_model=reward_folder)
    assert isinstance(mix.components["quality"], RewardModel) and list(mix.components) == ["quality", "brief"]
    assert made.build(reward_model=vowels)(prompts=["?"], completions=["aa"]) == [2.0 + 1.0]
    with pytest.raises(ValueError, match="'quality' is the run's own reward model: give it"):
        made.build()
    with pytest.raises(ValueError, match="No component is {function: reward_model}"):
        recipe().build(reward_model=vowels)


def test_from_a_recipe_and_from_a_file_of_its_own(tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        "model_name: x\nrewards: {components: {brief: {function: Length, highest: 3}}}\n"
    )
    (tmp_path / "mix.yaml").write_text("components: {brief: {function: Length, highest: 3}}\n")
    for name in ("recipe", "mix"):
        assert list(RewardRecipe.from_file(tmp_path / f"{name}.yaml").components) == ["brief"]
    (tmp_path / "other.yaml").write_text("model_name: x\n")
    with pytest.raises(ValueError, match="has no `rewards`"):
        RewardRecipe.from_file(tmp_path / "other.yaml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"components": {}}, "`rewards.components` must be a mapping"),
        ({"constraint": []}, "`rewards` has no 'constraint'. Did you mean 'constraints'?"),
        (
            {"components": {"a": {"function": "Lenght"}}},
            "rewards.components.a.function` is 'Lenght'.*Did you mean 'Length'",
        ),
        ({"components": {"a": {"function": "reward_modle"}}}, "Did you mean 'reward_model'"),
        (
            {"components": {"a": {"function": "Length", "higest": 3}}},
            "`rewards.components.a.higest`: Length takes no.*'highest'",
        ),
        ({"components": {"a": {"function": "ClassifierLabel", "model": "x"}}}, "ClassifierLabel needs 'label'"),
        ({"components": {"a": 3}}, "`rewards.components.a` must be a mapping with `function`"),
        ({"components": {"a": {"weight": 3}}}, "`rewards.components.a` must be a mapping with `function`"),
        ({"components": {"a": {"function": "reward_model", "higest": 1}}}, "`rewards.components.a` has no 'higest'"),
        ({"components": {"a": "reward_model", "b": "reward_model"}}, "more than once"),
        ({"components": {"a": {**BRIEF, "weight": "much"}}}, "`rewards.components.a.weight` must be a number"),
        ({"components": {"a": {**BRIEF, "weight": {"start": 1}}}}, "`rewards.components.a.weight`.*end"),
        ({"components": {"a": {**BRIEF, "where": "chat"}}}, "`rewards.components.a.where` must be a mapping"),
        ({"components": {"a": {**BRIEF, "weight": 0.0}}}, "All weights are 0"),
        ({"constraints": [{"component": "safe", "at_least": 1}]}, "names 'safe', but the components are 'brief'"),
        ({"constraints": [{"component": "brief"}]}, r"`rewards.constraints\[0\]`.*needs one of"),
        ({"constraints": [{"at_least": 1}]}, r"`rewards.constraints\[0\]` must name its `component`"),
        ({"constraints": {"component": "brief"}}, "`rewards.constraints` must be a list"),
        ({"normalize": "zscore"}, "No normaliser 'zscore'"),
        ({"combine": "max"}, "No combination 'max'"),
        ({"components": {"a": "builtins.dict"}}, "`rewards.components.a`: builtins.dict does not say what it takes"),
        ({"components": {"a": "math.no_such"}}, "no function 'no_such' in math"),
        ({"components": {"a": "my_rewards.number"}}, "no function 'number' in my_rewards"),
        ({"components": {"a": {"function": "my_rewards.made"}}}, "my_rewards.made needs 'word'"),
    ],
)
def test_what_is_wrong_is_named(changes, words, own):
    with pytest.raises(ValueError, match=words):
        recipe(**changes)


def test_a_module_that_is_not_there_and_one_that_is_broken(own):
    with pytest.raises(ImportError, match="`rewards.components.a.function` is 'gone.polite'.*finds no module 'gone'"):
        recipe(components={"a": "gone.polite"})
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        recipe(components={"a": "broken_rewards.polite"})


def test_what_cannot_score_is_refused():
    signed = {"function": "rlhf_ext.rewards.calling.Signed", "who": "me", "prompts": []}
    with pytest.raises(TypeError, match="The component 'a' is .*Signed.* which is no reward function"):
        recipe(components={"a": signed}).functions()


def test_a_missing_extra_and_a_wrong_value_are_said_when_it_is_made(monkeypatch):
    monkeypatch.setitem(sys.modules, "detoxify", None)
    with pytest.raises(ImportError, match=r"`rewards.components.safe` \(DetoxifySafety\).*rlhf_ext\[safety\]"):
        recipe(components={"safe": "DetoxifySafety"}).build()
    with pytest.raises(ValueError, match=r"`rewards.components.a` \(Length\): `lowest` to `highest` should be a band"):
        recipe(components={"a": {"function": "Length", "highest": -1}}).build()
