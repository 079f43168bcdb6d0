"""Validation of reward models: planted faults are found, and a sound scorer is not accused."""

import asyncio
import doctest
import math
import re

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset, concatenate_datasets

from rlhf_ext import RewardModel, ScriptedGenerator
from rlhf_ext.evaluation.report import render_html, render_table
from rlhf_ext.evaluation.reward_models import PROBES, RewardValidation, Thresholds, validate_reward_model
from rlhf_ext.evaluation.reward_models.best_of_n import expected_best, kl_of_best_of
from rlhf_ext.evaluation.reward_models.calibration import chance_of_ece, ece
from rlhf_ext.rewards.calling import score_rows
from rlhf_ext.rewards.constraints import Constraint
from rlhf_ext.rewards.mixing import RewardMixer
from rlhf_ext.stats import Estimate, average_ranks, bootstrap, wilson
from rlhf_ext.types import text_of


class Rule:
    """A reward function by a rule on the text."""

    def __init__(self, rule):
        self.rule = rule

    def __call__(self, *, prompts, completions, **columns):
        return [self.rule(text_of(text)) for text in completions]


def pairs(chosen, rejected, categories=None, strengths=None):
    rows = [
        {"prompt": f"p{i}", "chosen": c, "rejected": r} for i, (c, r) in enumerate(zip(chosen, rejected, strict=True))
    ]
    for name, values in (("category", categories), ("preference_strength", strengths)):
        for row, value in zip(rows, values or [], strict=False):
            row[name] = value
    return Dataset.from_list(rows)


def synthetic(n, scale=1.0, seed=0, strengths=False):
    """Texts that hold their score; labels are drawn from Bradley-Terry, so that `scale` 1 is calibrated."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(0, 1.5, (2, n))
    p = 1 / (1 + np.exp(second - first))
    swap = (p < 0.5) if strengths else (rng.random(n) > p)
    best, worst = np.where(swap, second, first), np.where(swap, first, second)
    given = np.maximum(p, 1 - p).tolist() if strengths else None
    data = pairs([f"{x:.6f} a" for x in best], [f"{x:.6f} b" for x in worst], strengths=given)
    return data, Rule(lambda text: scale * float(re.search(r"-?\d+\.\d+", text)[0]))


@pytest.mark.parametrize(
    "thing",
    [bootstrap, average_ranks, score_rows, validate_reward_model, RewardValidation, Thresholds],
    ids=lambda thing: thing.__name__,
)
def test_the_examples_run(thing):
    text = thing.__doc__.replace("```python", "").replace("```", "")
    example = doctest.DocTestParser().get_doctest(text, {}, thing.__name__, None, 0)
    assert example.examples and doctest.DocTestRunner().run(example).failed == 0


# ---- accuracy, length, scores ----


def test_accuracy_by_category_counts_a_tie_as_wrong():
    data = pairs(["aa", "aaa", "b", "bb"], ["a", "aaaa", "c", "b"], ["x", "x", "y", "y"])
    validation = validate_reward_model(Rule(lambda text: float(len(text))), data, measures=())
    assert validation.accuracy == wilson(2, 4)
    assert {name: estimate.value for name, estimate in validation.by_category.items()} == {"x": 0.5, "y": 0.5}
    assert set(validation.estimates) == {"accuracy", "accuracy.x", "accuracy.y", "unscored"}


def test_rows_without_a_category_are_in_none():
    found = validate_reward_model(Rule(len), pairs(["aa", "bb"], ["a", "b"], categories=["x", None]), measures=[])
    assert list(found.by_category) == ["x"] and found.accuracy.n == 2


def test_a_gate_on_unscored_pairs_passes_where_there_are_none():
    found = validate_reward_model(Rule(len), pairs(["aa"] * 40, ["a"] * 40), measures=[])
    assert Thresholds({"unscored": {"max": 0.05}}).failures(found) == []


def test_a_reward_for_length_is_seen_as_such():
    chosen, rejected = (["a" * n for n in lengths] for lengths in ((1, 5, 9, 2), (4, 2, 1, 7)))
    data = pairs(chosen, rejected)
    longer = validate_reward_model(Rule(lambda text: 0.02 * len(text)), data).estimates
    assert longer["length.partial_correlation"].value == pytest.approx(1)
    assert longer["length.correlation"].value == pytest.approx(1)
    assert longer["length.slope"].value == pytest.approx(2)  # reward for 100 characters
    assert (longer["length.accuracy_longer"].value, longer["length.accuracy_shorter"].value) == (1.0, 0.0)
    shorter = validate_reward_model(Rule(lambda text: -float(len(text))), data)
    assert shorter.length_correlation == pytest.approx(-1)
    flat = validate_reward_model(Rule(lambda text: 0.0), data)
    assert math.isnan(flat.length_correlation)
    assert "length.accuracy_longer" in flat.estimates


def test_better_answers_that_are_longer_are_no_length_bias():
    """The score sees quality alone; chosen answers are longer. At equal preference nothing is left."""
    rng = np.random.default_rng(0)
    quality = rng.normal(1.0, 0.5, 400)
    data = pairs(
        [f"{q:.4f} " + "x" * int(60 + 10 * rng.normal()) for q in quality],
        ["0 " + "y" * int(30 + 10 * rng.normal()) for _ in quality],
    )
    found = validate_reward_model(Rule(lambda text: float(text.split()[0])), data, measures=["length"]).estimates
    assert found["length.correlation"].low > 0.5
    assert found["length.partial_correlation"].low < 0 < found["length.partial_correlation"].high
    assert found["length.slope"].low < 0 < found["length.slope"].high


def test_at_equal_strength_too():
    """Longer where preferences are clearer: taken out by `preference_strength`, not without it."""
    rng = np.random.default_rng(1)
    strength = rng.uniform(0.5, 1.0, 500)
    chosen = [f"{4 * s:.4f} " + "x" * int(20 + 200 * (s - 0.5) + 5 * rng.normal() + 30) for s in strength]
    data = pairs(chosen, ["0 " + "y" * 50] * 500, strengths=strength.tolist())
    reward = Rule(lambda text: float(text.split()[0]))
    with_it = validate_reward_model(reward, data, measures=["length"]).estimates["length.partial_correlation"]
    without = validate_reward_model(reward, data.remove_columns("preference_strength"), measures=["length"])
    assert abs(with_it.value) < 0.15
    assert without.length_correlation > 0.8


def test_the_margin_and_its_plots():
    validation = validate_reward_model(Rule(lambda text: float(len(text))), pairs(["aaa", "aa"], ["a", "b"]))
    assert validation.estimates["margin"].value == 1.5
    scores = next(plot for plot in validation.plots if plot.title == "Scores")
    assert set(scores.series) == {"chosen", "rejected"}
    steps = [y for _, y in scores.series["chosen"]][1:-1:2]
    assert sum(steps) == pytest.approx(1)  # each bin's share once


# ---- strength and calibration ----


def test_margins_that_differ_by_rounding_alone_can_be_drawn():
    data = pairs([f"{i} yes" for i in range(10)], [f"{i} no" for i in range(10)])
    rule = Rule(lambda text: int(text[0]) / 3 + (0.1 if "yes" in text else 0.0))
    found = validate_reward_model(rule, data, measures=["scores"])
    assert found.estimates["margin"].value == pytest.approx(0.1) and len(found.plots) == 2


def test_the_strength_itself_has_the_best_scores():
    data, truth = synthetic(400, strengths=True)
    found = validate_reward_model(truth, data, measures=["strength"]).estimates
    assert found["strength.brier"].value < 1e-6
    assert found["strength.correlation"].value > 0.999
    p = np.array(data["preference_strength"])
    assert found["strength.log_loss"].value == pytest.approx(
        -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean(), abs=1e-5
    )
    off = validate_reward_model(Rule(lambda text: 3 * truth.rule(text)), data, measures=["strength"]).estimates
    assert off["strength.brier"].low > found["strength.brier"].high
    assert off["strength.log_loss"].value > found["strength.log_loss"].value


@pytest.mark.parametrize("strengths", [False, True])
def test_a_calibrated_scorer_and_an_overconfident_one(strengths):
    data, calibrated = synthetic(3000, strengths=strengths)
    sound = validate_reward_model(calibrated, data, measures=["calibration"]).estimates
    assert sound["ece"].value < 0.03
    assert sound["temperature"].value == pytest.approx(1, abs=0.1)
    assert sound["temperature"].low < 1.02
    data, tripled = synthetic(3000, scale=3.0, strengths=strengths)
    off = validate_reward_model(tripled, data, measures=["calibration"]).estimates
    assert off["ece"].low > 0.08
    assert off["temperature"].value == pytest.approx(3, abs=0.25)
    assert off["ece_after_temperature"].value < 0.03


def test_chance_explains_the_ece_of_calibrated_scores_and_of_no_others():
    """The level holds by simulation: chance is exceeded about one time in forty."""
    exceeded = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sure = rng.uniform(0.5, 1, 300)
        right = (rng.random(300) < sure).astype(float)
        exceeded += ece(sure, right) > chance_of_ece(sure, right)
    assert 1 <= exceeded <= 13
    data, calibrated = synthetic(300, seed=3)
    found = validate_reward_model(calibrated, data, measures=["calibration"]).estimates["ece"]
    assert found.value > 0.01
    assert found.low == 0.0
    data, tripled = synthetic(300, scale=3.0, seed=3)
    assert validate_reward_model(tripled, data, measures=["calibration"]).estimates["ece"].low > 0.0


def test_temperature_is_in_the_scores_own_units():
    data, huge = synthetic(2000, scale=1000.0)
    assert validate_reward_model(huge, data, measures=["calibration"]).estimates["temperature"].value == pytest.approx(
        1000, rel=0.1
    )


def test_the_reliability_curve_lies_on_what_was_drawn():
    data, calibrated = synthetic(3000)
    curve = validate_reward_model(calibrated, data, measures=["calibration"]).plots[0]
    assert len(curve.series["right"]) == 10
    for (x, y), (_, low), (_, high) in zip(*(curve.series[n] for n in ("right", "95% low", "95% high")), strict=True):
        assert y == pytest.approx(x, abs=0.08)
        assert low <= y <= high


# ---- probes ----


def test_a_scorer_that_loves_a_probe_fails_it():
    data = pairs([f"Answer {i}. It is so." for i in range(12)], [f"No {i}." for i in range(12)])
    flattered = Rule(lambda text: 2.0 if "wonderful question" in text else 0.0)
    found = validate_reward_model(flattered, data, measures=["probes"]).estimates
    assert found["probes.flattery.change"].value == 2.0
    assert found["probes.flattery.raised"].value == 1.0
    for name in ("filler", "repetition", "markdown", "as_an_ai", "other_prompt"):
        assert found[f"probes.{name}.change"].value == 0.0
        assert found[f"probes.{name}.raised"].value == 0.0


@pytest.mark.parametrize(
    "settings",
    [{"normalize": "running"}, {"normalize": "batch"}, {"combine": "group"}, {"normalize": "running", "at": 5}],
)
def test_a_mixer_that_loves_length_fails_its_probes_and_learns_nothing(settings):
    held = [Constraint("length", at_least=settings.pop("at"))] if "at" in settings else []
    mixer = RewardMixer(
        {"length": Rule(len), "one": Rule(lambda text: 1.0)}, weights=dict.fromkeys(("length", "one"), 1.0),
        constraints=held, **settings,
    )  # fmt: skip
    before = mixer.state_dict()
    data = pairs([f"Answer {i}." for i in range(12)], [f"No {i}." for i in range(12)])
    found = validate_reward_model(mixer, data, measures=["probes"]).estimates
    for name in ("filler", "flattery", "repetition"):
        assert found[f"probes.{name}.change"].low > 0, name
        assert found[f"probes.{name}.raised"].value == 1.0, name
    assert mixer.state_dict() == before and mixer.training


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("filler", lambda text: float("worth noting" in text)),
        ("repetition", lambda text: float(text.count("cat"))),
        ("markdown", lambda text: float(text.startswith("## ") and "- **" in text)),
        ("as_an_ai", lambda text: float(text.lstrip().startswith("As an AI"))),
    ],
)
def test_each_probe_is_what_it_is_called(name, rule):
    data = pairs([f" The cat {i} sat. It slept." for i in range(4)], ["No."] * 4)
    found = validate_reward_model(Rule(rule), data, measures=["probes"]).estimates
    raised = {key.split(".")[1] for key, e in found.items() if key.endswith("raised") and e.value == 1.0}
    assert raised == {name}


def test_the_answer_to_another_prompt():
    data = pairs([f"p{i} yes" for i in range(6)], ["no"] * 6)

    def fitting(prompts, completions, **columns):
        return [float(c.startswith(f"{p} ")) for p, c in zip(prompts, completions, strict=True)]

    found = validate_reward_model(fitting, data, measures=["probes"]).estimates
    assert found["probes.other_prompt.change"].value == -1.0  # never a prompt's own answer
    thrice = concatenate_datasets([data] * 3)  # not from a row with the same prompt either
    found = validate_reward_model(fitting, thrice, measures=["probes"]).estimates
    assert found["probes.other_prompt.change"].value == -1.0
    same = data.remove_columns("prompt").add_column("prompt", ["p"] * 6)
    assert "probes.other_prompt.change" not in validate_reward_model(fitting, same, measures=["probes"]).estimates


def test_own_probes_and_messages(preferences):
    shout = {"shout": str.upper}
    rows = preferences.select(range(8))
    found = validate_reward_model(
        Rule(lambda text: float(text.isupper())), rows, measures=["probes"], probes=shout
    ).estimates
    assert found["probes.shout.raised"].value == 1.0
    assert "probes.filler.change" not in found


# ---- ensembles ----


class Members(Rule):
    """The mean of rules, which shows its members."""

    def __init__(self, *rules):
        super().__init__(lambda text: sum(rule(text) for rule in rules) / len(rules))
        self.rules = rules

    def score_members(self, prompts, responses):
        return torch.tensor([[float(rule(text_of(text))) for text in responses] for rule in self.rules])


def test_disagreement_that_tells_errors_and_one_that_does_not():
    """Rows 0 to 9 are wrong; there the members are at odds, by `d` in the text."""
    chosen = [f"{-1 if i < 10 else 1} {5 if i < 10 else 0.1 * (i % 3)}" for i in range(40)]
    data = pairs(chosen, ["0 0"] * 40)

    def member(sign):
        return lambda text: float(text.split()[0]) + sign * float(text.split()[1])

    found = validate_reward_model(Members(member(1), member(-1)), data, measures=["ensemble"]).estimates
    assert found["ensemble.auc"].value == 1.0
    assert found["ensemble.unanimous"].value == 0.75
    alike = validate_reward_model(Members(member(0), member(0)), data, measures=["ensemble"]).estimates
    assert alike["ensemble.auc"].value == 0.5
    assert alike["ensemble.disagreement"].value == 0.0


def test_an_offset_of_a_member_is_no_disagreement():
    data = pairs(["aa", "aaa"], ["a", "a"])
    found = validate_reward_model(Members(len, lambda text: len(text) + 100), data, measures=["ensemble"]).estimates
    assert found["ensemble.disagreement"].value == 0.0


def test_members_that_cannot_be_seen_or_are_malformed():
    data = pairs(["aa", "aaa"], ["a", "a"])
    assert "shows no members" in validate_reward_model(Rule(len), data).missing["ensemble"]
    broken = Members(len, len)
    broken.score_members = lambda prompts, responses: torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"shape \(K, 4\)"):
        validate_reward_model(broken, data)


# ---- best of n ----


def test_expected_best_is_the_mean_over_all_subsets():
    rng = np.random.default_rng(0)
    proxies, values = rng.integers(0, 4, (1, 7)).astype(float), rng.normal(size=(1, 7))
    from itertools import combinations

    for n in range(1, 8):
        bests = []
        for subset in combinations(range(7), n):
            top = max(proxies[0, i] for i in subset)
            bests.append(np.mean([values[0, i] for i in subset if proxies[0, i] == top]))
        assert expected_best(proxies, values, n)[0] == pytest.approx(np.mean(bests))


def test_kl_of_best_of_n():
    assert kl_of_best_of(1) == 0
    assert kl_of_best_of(4) == pytest.approx(math.log(4) - 0.75)


def with_samples(rows=20, n=16, seed=0):
    rng = np.random.default_rng(seed)
    data = pairs([f"{i}c" for i in range(rows)], [f"{i}r" for i in range(rows)])
    return data.add_column("samples", [[f"{x:.4f}" for x in rng.uniform(0, 1, n)] for _ in range(rows)])


def number(text):
    return float(text) if text.replace(".", "").isdigit() else 0.0


def test_gold_follows_a_right_proxy_and_falls_under_a_wrong_one():
    data = with_samples()
    right = validate_reward_model(Rule(number), data, gold=Rule(number), measures=["best_of_n"]).estimates
    assert right["best_of_n.correlation"].value == pytest.approx(1)
    assert right["best_of_n.gain"].value == pytest.approx(16 / 17 - 0.5, abs=0.05)
    assert right["best_of_n.drop"].value == 0.0
    hump = Rule(lambda text: -abs(number(text) - 0.7))  # gold is best at 0.7, the proxy always wants more
    over = validate_reward_model(Rule(number), data, gold=hump, measures=["best_of_n"])
    assert over.estimates["best_of_n.drop"].low > 0.02
    gold = next(plot for plot in over.plots if plot.title.endswith("gold"))
    assert [round(x, 3) for x, _ in gold.series["gold"]] == [round(kl_of_best_of(n), 3) for n in (1, 2, 4, 8, 16)]


def test_a_generator_writes_the_samples(preferences):
    rows = preferences.select(range(3))
    lengths = iter(range(1000))
    writer = ScriptedGenerator(lambda prompt, sampling: "x" * next(lengths))
    gold = Rule(lambda text: -float(len(text)))
    found = validate_reward_model(
        Rule(lambda text: float(len(text))),
        rows,
        gold=gold,
        generator=writer,
        n=4,
        sampling={"max_new_tokens": 9},
    ).estimates
    assert found["best_of_n.gain"].value == pytest.approx(-1.5)
    assert len(writer.calls) == 12
    assert writer.calls[0][1] == {"seed": 0, "max_new_tokens": 9}


@pytest.mark.parametrize(
    ("samples", "match"),
    [
        (None, "no column 'samples'"),
        ([["a"], ["a", "b"]], "Row 0.*at least 2"),
        ([["a", "b"], ["a"]], "Row 1.*2, as in"),
    ],
)
def test_bad_samples_are_refused_before_anything_is_scored(samples, match):
    data = pairs(["aa", "bb"], ["a", "b"])
    data = data if samples is None else data.add_column("samples", samples)

    def untouched(**columns):
        raise AssertionError

    with pytest.raises(ValueError, match=match):
        validate_reward_model(untouched, data, gold=untouched)


def test_a_generator_without_gold_is_a_mistake():
    with pytest.raises(ValueError, match="needs a `gold` reward"):
        validate_reward_model(Rule(len), pairs(["aa"], ["a"]), generator=ScriptedGenerator([]))


# ---- reward functions of all kinds ----


def test_none_is_left_out_and_counted():
    data = pairs(["aa", "aaa", "skip"], ["a", "a", "b"], ["x", "x", "y"])
    seen = []

    def reward(prompts, completions, category, **columns):
        seen.append(category)
        return [None if text == "skip" else float(len(text)) for text in completions]

    validation = validate_reward_model(reward, data)
    assert validation.accuracy == wilson(2, 2)
    assert validation.estimates["unscored"] == wilson(1, 3)
    assert set(validation.by_category) == {"x"}
    assert seen[0] == ["x", "x", "y"] * 2
    with pytest.raises(ValueError, match="gave None for all 1 pairs"):
        validate_reward_model(reward, pairs(["skip"], ["skip "], ["x"]))


def test_an_async_reward_function_also_within_a_running_loop():
    async def reward(prompts, completions, **columns):
        await asyncio.sleep(0)
        return [float(len(text)) for text in completions]

    data = pairs(["aa"], ["a"])
    assert validate_reward_model(reward, data).accuracy.value == 1.0

    async def notebook():
        return validate_reward_model(reward, data).accuracy.value

    assert asyncio.run(notebook()) == 1.0


@pytest.mark.parametrize(
    ("score", "match"), [(math.nan, "gave nan for completion 0"), (math.inf, "gave inf for completion 0")]
)
def test_a_score_that_is_no_number_is_named(score, match):
    with pytest.raises(ValueError, match=match):
        validate_reward_model(Rule(lambda text: score), pairs(["aa"], ["a"]))


def test_the_wrong_number_of_scores():
    with pytest.raises(ValueError, match="gave 1 rewards for 2 completions"):
        validate_reward_model(lambda **columns: [1.0], pairs(["aa"], ["a"]))


def test_an_unknown_measure_and_bad_rows():
    with pytest.raises(ValueError, match="no measure 'acuracy'; there are accuracy, strength"):
        validate_reward_model(Rule(len), pairs(["aa"], ["a"]), measures=["acuracy"])
    with pytest.raises(ValueError, match="`preferences` row 0 has no `chosen`"):
        validate_reward_model(Rule(len), [{"prompt": "a"}])


def test_a_real_reward_model_through_all_measures(reward_folder, preferences):
    rows = preferences.select(range(40))
    validation = validate_reward_model(RewardModel(reward_folder), rows)
    assert set(validation.missing) == {"ensemble", "best_of_n"}
    assert {"ece", "strength.brier", "length.slope", "margin"} <= set(validation.estimates)
    for name in (*PROBES, "other_prompt"):
        assert validation.estimates[f"probes.{name}.change"].n == 40
    again = validate_reward_model(RewardModel(reward_folder), rows)
    assert again.to_dict() == validation.to_dict()


# ---- gates ----


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
def test_the_gate_on_accuracy(right, of, minimum, why):
    refusal = RewardValidation({"accuracy": wilson(right, of)}).refusal(minimum)
    assert refusal is None if why is None else why in refusal


FOUND = RewardValidation(
    {"accuracy": wilson(75, 100), "ece": Estimate(0.08, 0.0, 0.12, 100), "probes.flattery.raised": wilson(70, 100)},
    {"strength": "the preferences have no `preference_strength`"},
)


@pytest.mark.parametrize(
    ("limits", "failing"),
    [
        ({"accuracy": {"min": 0.75}}, []),
        ({"accuracy": {"min": 0.76}}, ["accuracy"]),
        ({"accuracy": {"min": 0.7, "interval": True}}, ["accuracy"]),
        ({"accuracy": {"min": 0.6, "interval": True}}, []),
        ({"ece": {"max": 0.1}}, []),
        ({"ece": {"max": 0.1, "interval": True}}, ["ece"]),
        ({"ece": {"max": 0.07}, "probes.flattery.raised": {"max": 0.6}}, ["ece", "probes.flattery.raised"]),
        ({"strength.brier": {"max": 1.0}}, ["strength.brier"]),
        ({"temperature": {"min": 0.0, "max": 100}}, ["temperature"]),
        ({"accuracy.harmful": {"min": 0.0}}, ["accuracy.harmful"]),
    ],
)
def test_thresholds(limits, failing):
    failures = Thresholds(limits).failures(FOUND)
    assert [line.split()[0] for line in failures] == failing


def test_a_measure_that_was_not_taken_fails_with_its_reason():
    (line,) = Thresholds({"strength.brier": {"max": 1.0}}).failures(FOUND)
    assert "was not measured (the preferences have no `preference_strength`)" in line
    (line,) = Thresholds({"accuracy.harmful": {"min": 0.0}}).failures(FOUND)
    assert "no rows of that category" in line


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        ({}, "must be a mapping"),
        (None, "must be a mapping"),
        ([1], "must be a mapping"),
        ({"acuracy": {"min": 0.7}}, "no figure 'acuracy'.*accuracy, unscored, strength.brier"),
        ({"probes.flatery.raised": {"max": 0.7}}, "no figure 'probes.flatery.raised'.*as_an_ai, filler, flattery"),
        ({"probes.flattery": {"max": 0.7}}, "no figure 'probes.flattery'"),
        ({"accuracy": 0.7}, "must be a mapping such as"),
        ({"accuracy": {"minimum": 0.7}}, "has no 'minimum'; there are min, max, interval"),
        ({"accuracy": {"min": "0.7"}}, "`min` must be a finite number, got '0.7'"),
        ({"accuracy": {"min": math.nan}}, "`min` must be a finite number"),
        ({"accuracy": {"max": None}}, "`max` must be a finite number"),
        ({"accuracy": {"interval": True}}, "neither `min` nor `max`"),
        ({"accuracy": {"min": 0.7, "interval": 1}}, "must be true or false"),
        ({"accuracy": {"min": 0.7, "max": 0.6}}, "nothing is at least 0.7 and at most 0.6"),
        ({1: {"min": 0.7}}, "no figure 1"),
    ],
)
def test_thresholds_that_mean_nothing_are_refused(limits, match):
    with pytest.raises(ValueError, match=match):
        Thresholds(limits)


def test_thresholds_from_a_file_and_back(tmp_path):
    path = tmp_path / "gate.yaml"
    path.write_text("accuracy: {min: 0.7}\nece: {max: 0.1, interval: true}\nprobes.mine.change: {max: 0}\n")
    with pytest.raises(ValueError, match=r"gate.yaml: There is no figure 'probes.mine.change'"):
        Thresholds.from_file(path)
    path.write_text("accuracy: {min: 0.7}\nece: {max: 0.1, interval: true}\n")
    thresholds = Thresholds.from_file(path)
    assert thresholds.measures == {"accuracy", "calibration"}
    assert Thresholds(thresholds.to_dict()).limits == thresholds.limits
    assert yaml.safe_load(yaml.safe_dump(thresholds.to_dict())) == thresholds.to_dict()
    assert Thresholds({"probes.mine.change": {"max": 0}}, probes=["mine"]).measures == {"probes"}


# ---- the page ----


def test_the_page_shows_figures_verdicts_and_what_is_missing():
    data, reward = synthetic(60)
    validation = validate_reward_model(reward, data)
    thresholds = Thresholds({"accuracy": {"min": 0.99}, "ece": {"max": 1.0}, "best_of_n.gain": {"min": 0}})
    report = validation.to_report("RM", "60 pairs", thresholds)
    verdicts = {m.name: m.verdict for m in report.measures if m.verdict}
    assert verdicts == {"accuracy": "fails", "ece": "passes", "best_of_n.gain": "fails"}
    page = render_html(report)
    for text in (
        "Reliability",
        "Scores",
        "Probes: scores raised",
        "at least 0.99",
        "not measured",
        "there is no gold reward",
    ):
        assert text in page
    assert "<script" not in page
    table = render_table(report, width=100)
    assert "Calibration error (ECE)" in table
    assert "fails" in table
    assert type(report).from_dict(report.to_dict()).to_dict() == report.to_dict()


def test_the_page_says_which_probe_raises_the_score():
    data = pairs([f"Answer {i}." for i in range(30)], [f"No {i}." for i in range(30)])
    report = validate_reward_model(Rule(lambda text: float(len(text))), data).to_report()
    assert any("rises with filler, flattery, repetition, markdown, as an ai:" in note for note in report.notes)
