"""Grades, and preferences made of grades."""

import doctest
import importlib
import math
import random
from itertools import product

import numpy as np
import pytest

from rlhf_ext import LocalGenerator, ScriptedGenerator
from rlhf_ext.generation import Unanswered
from rlhf_ext.labelers import ASPECTS, Aspect, Budget, Grades, ScoreLabeler
from rlhf_ext.labelers.grades import outcome, weighted_mean
from rlhf_ext.labelers.valued import pick_pairs
from rlhf_ext.rewards.functions import JudgeScore
from rlhf_ext.types import PairwiseJudge


@pytest.mark.parametrize("name", ["grades", "scoring", "aspects"])
def test_examples(name):
    assert doctest.testmod(importlib.import_module(f"rlhf_ext.labelers.{name}")).failed == 0


def grades(**shares):
    """Grades from `g7=0.5, g8=0.5`."""
    found = [0.0] * 10
    for name, share in shares.items():
        found[int(name[1:]) - 1] = share
    return Grades(tuple(found))


def response_in(prompt):
    content = prompt[0]["content"]
    return content.split("Response: ")[1].split("\n")[0].strip('"')


def writer(script, rubrics=None):
    """A judge that writes a grade by answer, or by (answer, rubric); and counts what it is asked."""

    def respond(prompt, sampling):
        rubric = prompt[0]["content"].split("Rubric:\n")[1].split("\n")[0]
        answer = response_in(prompt)
        word = script[answer, rubric] if (answer, rubric) in script else script[answer]
        if isinstance(word, Exception):
            raise word
        return word

    return ScriptedGenerator(respond)


def reader(shares):
    return ScriptedGenerator([], choice_probs=lambda prompt, choices: shares[response_in(prompt)])


TWO = [{"prompt": "?", "responses": ["a", "b"]}]


# --- distributions -------------------------------------------------------------------------------------------------


def test_two_grades_compare_as_by_hand():
    found = outcome([grades(g6=0.5, g8=0.5)], [grades(g6=0.25, g7=0.75)], [1.0])
    # 8 beats both (0.5); 6 ties with 6 (0.5 * 0.25), loses to 7 (0.5 * 0.75).
    assert (found.first, found.tie, found.second) == pytest.approx((0.5, 0.125, 0.375))
    assert found.p == pytest.approx(0.5625)


def test_aspects_are_added_up_by_weight_as_by_hand():
    first = [grades(g4=0.5, g8=0.5), grades(g10=1)]
    second = [grades(g7=1), grades(g7=1)]
    # Weights 3 to 1: (12 + 10) / 4 = 5.5 or (24 + 10) / 4 = 8.5, against 7.
    assert outcome(first, second, [3, 1]).p == pytest.approx(0.5)
    # 1 to 1: 7 (a tie) or 9.
    found = outcome(first, second, [1, 1])
    assert (found.first, found.tie, found.second) == pytest.approx((0.5, 0.5, 0))
    assert weighted_mean(first, [3, 1]) == pytest.approx((3 * 6 + 10) / 4)


@pytest.mark.parametrize("weights", [[1, 1, 1], [3, 2, 1], [0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3], [math.pi, 1, 0.1]])
def test_the_outcome_is_that_of_all_combinations(weights):
    rng = np.random.default_rng(len(weights))
    sides = [
        [grades(**dict(zip(["g2", "g5", "g9"], rng.dirichlet([1, 1, 1]), strict=True))) for _ in weights] for _ in "ab"
    ]

    def combinations(side):
        for picked in product([2, 5, 9], repeat=len(weights)):
            p = math.prod(one.probabilities[grade - 1] for one, grade in zip(side, picked, strict=True))
            yield sum(w * g for w, g in zip(weights, picked, strict=True)) / sum(weights), p

    first = tie = 0.0
    for (x, p), (y, q) in product(combinations(sides[0]), combinations(sides[1])):
        first += p * q * (x > y + 1e-9)
        tie += p * q * (abs(x - y) <= 1e-9)
    found = outcome(*sides, weights)
    assert (found.first, found.tie) == pytest.approx((first, tie))


def test_probabilities_sum_to_one_and_mirror():
    rng = np.random.default_rng(0)
    for _ in range(100):
        k = int(rng.integers(1, 5))
        sides = [[Grades(tuple(rng.dirichlet([0.3] * 10))) for _ in range(k)] for _ in "ab"]
        weights = rng.uniform(0.1, 3, k).round(2).tolist()
        one, other = outcome(sides[0], sides[1], weights), outcome(sides[1], sides[0], weights)
        assert one.first + one.tie + one.second == pytest.approx(1)
        assert min(one.first, one.tie, one.second) >= -1e-12
        assert (one.first, one.tie) == pytest.approx((other.second, other.tie))
        assert one.p + other.p == pytest.approx(1)
        same = outcome(sides[0], sides[0], weights)
        assert same.p == pytest.approx(0.5)


def test_equal_weights_tie_in_whatever_order_grades_come():
    """Floats: thirds and tenths add up differently in another order."""
    rng = random.Random(0)
    for weight in (1, 0.1, 1 / 3):
        for _ in range(50):
            picked = [rng.randint(1, 10) for _ in range(3)]
            first = [Grades.of_votes([float(g)]) for g in picked]
            second = [Grades.of_votes([float(g)]) for g in sorted(picked)]
            assert outcome(first, second, [weight] * 3).tie == 1


def test_grades_are_checked():
    with pytest.raises(ValueError, match="ten probabilities that sum to 1"):
        Grades((0.5, 0.5))
    with pytest.raises(ValueError, match="ten probabilities that sum to 1"):
        Grades((0.5,) * 10)
    assert Grades.of_votes([3, 3, 9]).probabilities == pytest.approx((0, 0, 2 / 3, 0, 0, 0, 0, 0, 1 / 3, 0))


# --- scores --------------------------------------------------------------------------------------------------------


def test_log_probabilities_give_the_distribution():
    judge = reader({"a": [0] * 7 + [1, 0, 1], "b": [1] * 10})
    one, other = ScoreLabeler(judge, "Be right.").score(TWO)
    assert one.grades["quality"].probabilities == pytest.approx([0] * 7 + [0.5, 0, 0.5])
    assert (one.value, other.value) == pytest.approx((9, 5.5))
    assert (one.row, one.response, one.reason) == (0, "a", None)
    assert judge.calls[0][1] == {"choices": list("0123456789")}
    assert "from 0 (fails it entirely) to 9" in judge.calls[0][0][0]["content"]


def test_written_grades_are_asked_for_from_1_to_10_greedily():
    judge = writer({"a": "10", "b": "Score: 3/10"})
    assert [one.value for one in ScoreLabeler(judge, "Be right.").score(TWO)] == [10, 3]
    assert "from 1 (fails it entirely) to 10" in judge.calls[0][0][0]["content"]
    assert judge.calls[0][1].items() >= {"temperature": 0.0, "max_new_tokens": 16}.items()


def test_votes_are_shares_and_differ_in_their_seeds():
    given = iter(["7", "8", "8", "I like it", "2", "2", "3", "3"])
    judge = ScriptedGenerator(lambda prompt, sampling: next(given))
    one, other = ScoreLabeler(judge, "Be right.", votes=4, temperature=0.9).score(TWO)
    assert one.value == pytest.approx(23 / 3)  # what cannot be read is no vote
    assert other.grades["quality"] == Grades.of_votes([2, 2, 3, 3])
    assert len({sampling["seed"] for _, sampling in judge.calls}) == 8
    assert {sampling["temperature"] for _, sampling in judge.calls} == {0.9}


def test_each_aspect_is_asked_for_by_itself_and_weighted():
    aspects = [Aspect("right", "Be right.", 3), Aspect("short", "Be short.")]
    judge = writer(
        {("a", "Be right."): "8", ("a", "Be short."): "4", ("b", "Be right."): "5", ("b", "Be short."): "9"}
    )
    one, other = ScoreLabeler(judge, aspects).score(TWO)
    assert {name: found.mean for name, found in one.grades.items()} == {"right": 8, "short": 4}
    assert (one.value, other.value) == ((24 + 4) / 4, (15 + 9) / 4)
    assert len(judge.calls) == 4


def test_by_default_it_grades_ultrafeedbacks_aspects():
    judge = writer({"a": "8", "b": "4"})
    (one, _) = ScoreLabeler(judge).score(TWO)
    assert list(one.grades) == list(ASPECTS) == ["helpfulness", "honesty", "instruction following", "truthfulness"]
    rubrics = {prompt[0]["content"].split("Rubric:\n")[1].split("\n")[0] for prompt, _ in judge.calls}
    assert rubrics == {aspect.rubric for aspect in ASPECTS.values()}


def test_what_is_no_grade_is_never_a_score():
    judge = writer({"a": "excellent", "b": Unanswered("refused by the server"), "c": "6", "d": "11"})
    found = ScoreLabeler(judge, "Be right.").score([{"prompt": "?", "responses": list("abcd")}])
    assert [one.value for one in found] == [None, None, 6, None]
    assert found[0].reason == "unreadable: the judge wrote 'excellent' (aspect 'quality')"
    assert found[1].reason == "failed: refused by the server (aspect 'quality')"
    assert found[3].reason.startswith("unreadable") and not found[3].grades


# --- labels --------------------------------------------------------------------------------------------------------


def test_the_strength_of_a_label_is_by_hand():
    judge = reader({"a": [0, 0, 0, 0, 0, 0.25, 0.75, 0, 0, 0], "b": [0, 0, 0, 0, 0, 0.5, 0, 0.5, 0, 0]})
    # a: 6 or 7, on average 6.75; b: 6 or 8, on average 7. P(b > a) = 0.5, P(b = a) = 0.5 * 0.25.
    labeler = ScoreLabeler(judge, "Be right.")
    label = labeler.label([{"prompt": "?", "responses": ["a", "b"], "id": 7}])
    assert label.preferences == [
        {
            "prompt": "?",
            "chosen": "b",
            "rejected": "a",
            "preference_strength": 0.5625,
            "margin": 0.25,
            "source": "ai",
            "annotator": labeler.annotator,
            "model": "ScriptedGenerator",
            "id": 7,
        }
    ]
    assert labeler.annotator.startswith("quality@") and labeler.__name__ == f"ScriptedGenerator/{labeler.annotator}"
    assert ScoreLabeler(judge, "Be brief.").annotator != labeler.annotator
    assert not label.left_out and label.dataset.num_rows == 1


ANSWERS = {"a": "5", "b": "9", "c": "2", "d": "9"}


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ("best_worst", ["bc"]),
        ("best_of_rest", ["ba", "bc"]),
        ("all", ["ba", "ac", "da", "bc", "dc"]),
    ],
)
def test_pairs(pairs, expected):
    rows = [{"prompt": "?", "responses": [*ANSWERS, " b "]}]
    result = ScoreLabeler(writer(ANSWERS), "Be right.").label(rows, pairs)
    assert [one["chosen"] + one["rejected"] for one in result.preferences] == expected
    assert [one["margin"] for one in result.preferences] == [int(ANSWERS[x]) - int(ANSWERS[y]) for x, y in expected]
    ties = [sorted(one["responses"]) for one in result.left_out]
    assert ties == ([] if pairs == "best_worst" else [["b", "d"]])
    assert all(one["reason"] == "abstained, a tie: p is 0.5" for one in result.left_out)


def test_the_first_of_equals_is_the_best_and_the_worst():
    assert pick_pairs([3, 9, 9, 1, 1], "best_worst") == [(1, 3)]
    assert pick_pairs([5, 5, 5], "best_worst") == [(0, 1)]
    assert pick_pairs([5, 5, 7], "best_of_rest") == [(2, 0), (2, 1)]
    assert pick_pairs([1, 2, 3], "all") == [(0, 1), (0, 2), (1, 2)]


def test_below_min_confidence_it_abstains():
    judge = reader({"a": [0, 0, 0, 0, 0, 0.25, 0.75, 0, 0, 0], "b": [0, 0, 0, 0, 0, 0.5, 0, 0.5, 0, 0]})
    result = ScoreLabeler(judge, "Be right.", min_confidence=0.6).label(TWO)
    assert not result.preferences
    assert result.left_out[0]["reason"] == "abstained, not sure enough: 0.562 is under 0.6"
    assert result.measures["labelled"].value == 0


def test_where_odds_and_means_disagree_it_abstains():
    # a is a certain 6; b is 5, but 10 in two of five cases: likelier lower, higher in the mean.
    judge = reader({"a": [0] * 5 + [1] + [0] * 4, "b": [0] * 4 + [0.6] + [0] * 4 + [0.4]})
    result = ScoreLabeler(judge, "Be right.").label(TWO)
    assert not result.preferences
    assert result.left_out[0]["reason"] == "abstained, odds and means disagree: p is 0.600, the means differ by -1.000"
    assert ScoreLabeler(judge, "Be right.").compare(["?"], ["a"], ["b"]) == [None]


def test_failed_answers_are_left_out_and_the_others_labelled():
    judge = writer({"a": "good", "b": "9", "c": "4", "x": "1", "y": "?"})
    rows = [
        {"prompt": "p", "responses": ["a", "b", "c"], "id": 0},
        {"prompt": "q", "responses": ["x", "y"], "id": 1},
        {"prompt": "r", "responses": ["x", " x"], "id": 2},
    ]
    result = ScoreLabeler(judge, "Be right.").label(rows)
    assert [(one["chosen"], one["rejected"], one["id"]) for one in result.preferences] == [("b", "c", 0)]
    assert [(one["responses"], one["reason"].split(":")[0], one["id"]) for one in result.left_out] == [
        (["x", " x"], "all answers are equal", 2),
        (["a"], "unreadable", 0),
        (["y"], "unreadable", 1),
        (["x"], "nothing to compare with", 1),
    ]
    assert result.measures["graded"].value == 3 / 5
    assert result.measures["grade_quality"].value == pytest.approx(14 / 3)
    assert "length_bias" not in result.measures  # all are of one length
    assert "graded" in str(result)


def test_old_labels_do_not_come_back():
    old = {"margin": -3.0, "preference_strength": 0.9, "annotator": "old", "model": "old"}
    rows = [{"prompt": "?", "chosen": "a", "rejected": "b", **old}]
    (label,) = ScoreLabeler(writer({"a": "2", "b": "5"}), "Be right.", model="new").label(rows).preferences
    assert (label["chosen"], label["margin"], label["model"], label["preference_strength"]) == ("b", 3.0, "new", 1.0)


def test_length_is_measured():
    rows = [{"prompt": "?", "responses": ["aa", "b"]}, {"prompt": "!", "responses": ["b", "aa"]}]
    measures = ScoreLabeler(writer({"aa": "2", "b": "5"}), "Be right.").label(rows).measures
    assert measures["length_bias"].value == -0.5


# --- cost, resume --------------------------------------------------------------------------------------------------


def test_a_budget_ends_between_rows_and_a_larger_one_goes_on(tmp_path):
    rows = [{"prompt": f"p{i}", "responses": ["a", "b", "c"]} for i in range(4)]
    script = {"a": "3", "b": "8", "c": "5"}
    whole = ScoreLabeler(writer(script), "Be right.").label(rows, "all")
    store = tmp_path / "store.sqlite"
    judge = writer(script)
    part = ScoreLabeler(judge, "Be right.", store=store, budget=Budget(max_requests=7)).label(rows, "all")
    assert len(judge.calls) == 7 and part.spent["requests"] == 7
    # Two rows are graded; of the third one answer is, which makes no label yet.
    assert part.preferences == whole.preferences[:6] and part.unfinished == 6 and not part.left_out
    judge = writer(script)
    rest = ScoreLabeler(judge, "Be right.", store=store, budget=Budget(max_requests=12)).label(rows, "all")
    assert len(judge.calls) == 5 and rest.preferences == whole.preferences and not rest.unfinished
    with pytest.raises(RuntimeError, match="budget is used up"):
        ScoreLabeler(writer(script), "Be right.", budget=Budget(max_requests=1)).compare(["?"], ["a"], ["b"])


def test_other_words_are_another_question(tmp_path):
    for rubric, calls in [("Be right.", 2), ("Be right.", 0), ("Be brief.", 2)]:
        judge = writer({"a": "3", "b": "8"})
        ScoreLabeler(judge, rubric, store=tmp_path / "store.sqlite").score(TWO)
        assert len(judge.calls) == calls


def test_failures_are_asked_again_only_if_wanted(tmp_path):
    store = tmp_path / "store.sqlite"
    ScoreLabeler(writer({"a": "3", "b": Unanswered("busy")}), "Be right.", store=store).label(TWO)
    again = writer({"b": "8"})
    assert not ScoreLabeler(again, "Be right.", store=store).label(TWO).preferences and not again.calls
    result = ScoreLabeler(again, "Be right.", store=store, retry_failed=True).label(TWO)
    assert len(result.preferences) == 1 and len(again.calls) == 1


def test_the_cost_is_estimated_from_a_sample():
    rows = [{"prompt": f"p{i}", "responses": ["a", "b"]} for i in range(10)]
    judge = writer({"a": "3", "b": "8"})
    estimate = ScoreLabeler(judge, ["honesty", "helpfulness"]).estimate(rows, sample=5)
    assert (estimate.questions, estimate.asked, len(judge.calls)) == (40, 5, 5)


# --- as a judge ----------------------------------------------------------------------------------------------------


def test_it_compares():
    judge = ScoreLabeler(writer({"a": "3", "b": "8", "c": "good"}), "Be right.")
    assert isinstance(judge, PairwiseJudge)
    assert judge.compare(["?"] * 5, list("abaca"), ["b", "a", " a", "a", "c"]) == [0, 1, 0.5, None, None]


def test_a_local_model_grades_as_the_reward_does(policy, tokenizer):
    generator = LocalGenerator(policy, tokenizer)
    prompt = [{"role": "user", "content": "Hi?"}]
    answers = [[{"role": "assistant", "content": text}] for text in ("Hello.", "No")]
    rows = [{"prompt": prompt, "responses": answers}]
    labeler = ScoreLabeler(generator, "Be right.")
    one, other = labeler.score(rows)
    rewards = JudgeScore(generator, "Be right.")(prompts=[prompt] * 2, completions=answers)
    assert [one.value, other.value] == pytest.approx([1 + 9 * reward for reward in rewards], abs=1e-5)
    result = labeler.label(rows)
    assert len(result.preferences) + len(result.left_out) == 1 and not result.unfinished
    found = outcome([one.grades["quality"]], [other.grades["quality"]], [1.0])
    assert labeler.compare([prompt], answers[:1], answers[1:])[0] in (None, pytest.approx(found.p, abs=1e-5))


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"aspects": []}, "`aspects` is empty"),
        ({"aspects": " "}, "needs a name and a rubric"),
        ({"aspects": ["honesty", "charm"]}, "no aspect 'charm'; there are helpfulness"),
        ({"aspects": ["honesty", Aspect("honesty", "Tell.")]}, "Two aspects are named 'honesty'"),
        ({"min_confidence": 0.4}, r"in \[0.5, 1\], got 0.4"),
        ({"votes": 3, "temperature": 0}, "would all be the same"),
        ({"votes": 0}, "`votes` should be at least 1"),
    ],
)
def test_settings_are_checked_before_anything_is_asked(arguments, message):
    judge = writer({})
    with pytest.raises(ValueError, match=message):
        ScoreLabeler(judge, **arguments)
    assert not judge.calls


@pytest.mark.parametrize("weight", [0, -1, math.inf, math.nan])
def test_weights_are_checked(weight):
    with pytest.raises(ValueError, match="weight of the aspect 'x' should be above 0"):
        Aspect("x", "Be right.", weight)


def test_rows_and_pairs_are_checked():
    judge = writer({"a": "3", "b": "8"})
    labeler = ScoreLabeler(judge, "Be right.")
    with pytest.raises(ValueError, match="`pairs` should be .* got 'best'"):
        labeler.label(TWO, "best")
    with pytest.raises(ValueError, match="Row 1 has no `prompt`"):
        labeler.label([*TWO, {"responses": ["a"]}])
    with pytest.raises(ValueError, match="No row has two different answers"):
        labeler.label([{"prompt": "?", "responses": ["a", "a "]}])
    assert not judge.calls
