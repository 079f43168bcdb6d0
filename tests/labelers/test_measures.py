"""What is measured with each run: agreement with given labels, with oneself, and self-preference."""

import pytest

from rlhf_ext import PairwiseLabeler, ScoreLabeler, ScriptedGenerator, sample_candidates
from rlhf_ext.labelers import from_rewards
from rlhf_ext.labelers.comparisons import Comparison
from rlhf_ext.labelers.measures import Judged, pair_measures, votes_alpha
from rlhf_ext.stats import krippendorff_alpha


def first_of(prompt):
    return prompt[0]["content"].split("Answer 1: ")[1].split("\n")[0]


def soft(p_good):
    return ScriptedGenerator(
        [],
        choice_probs=lambda prompt, choices: (
            [p_good, 1 - p_good] if "good" in first_of(prompt) else [1 - p_good, p_good]
        ),
    )


def given(count, wrong=0):
    """Preferences of people, of which `wrong` say the opposite of the judge."""
    pairs = [(f"good {n}", f"bad {n}") for n in range(count)]
    return [
        {
            "prompt": "Q?",
            **dict(zip(("rejected", "chosen") if n < wrong else ("chosen", "rejected"), pair, strict=True)),
        }
        for n, pair in enumerate(pairs)
    ]


def test_kappa_with_given_labels():
    found = PairwiseLabeler(soft(0.9), "helpful").label(given(40, wrong=10)).measures
    assert (found["agrees_with_given"].value, found["agrees_with_given"].n) == (0.75, 40)
    # Chance is near a half although every row names the chosen answer first.
    kappa = found["kappa_with_given"]
    assert kappa.value == pytest.approx(0.5, abs=0.1) and kappa.low < 0.5 < kappa.high and kappa.n == 40
    assert PairwiseLabeler(soft(0.9), "helpful").label(given(40, wrong=40)).measures[
        "kappa_with_given"
    ].value == pytest.approx(-1, abs=0.2)
    assert (
        "kappa_with_given"
        not in PairwiseLabeler(soft(0.9), "helpful").label([{"prompt": "Q?", "responses": ["good", "bad"]}]).measures
    )


def test_a_given_tie_is_no_label_to_agree_with():
    rows = [{**row, "preference_strength": 0.5 if n else 0.8} for n, row in enumerate(given(3))]
    assert PairwiseLabeler(soft(0.9), "helpful").label(rows).measures["agrees_with_given"].n == 1


def test_votes_that_contradict_one_another():
    sure = [Judged(Comparison(n, "Q?", f"{n}a", f"{n}b", {}), 1.0, True, (1.0, 1.0, 1.0)) for n in range(30)]
    split = [Judged(one.pair, 0.5, False, (1.0, 0.0, None)) for one in sure]
    assert pair_measures(sure)["votes_alpha"].value == pytest.approx(1), (
        "all prefer what rows name first, and still agree"
    )
    assert pair_measures(split)["votes_alpha"].value < 0.1
    assert "votes_alpha" not in pair_measures([Judged(one.pair, 1.0, True) for one in sure])
    assert votes_alpha([[1.0, 1.0], [1.0]]) is None
    assert votes_alpha([[1.0, 0.0, None], [0.5, 0.5, 0.5], [1.0]]).value == pytest.approx(
        krippendorff_alpha([[1.0, 0.0, None], [0.5, 0.5, 0.5]], level="interval").value
    )


def test_votes_of_a_judge_that_writes():
    judge = ScriptedGenerator(
        lambda prompt, sampling: "1" if ("good" in first_of(prompt)) == (sampling["seed"] % 4 > 0) else "2"
    )
    rows = [{"prompt": f"Q{n}?", "responses": [f"good {n}", f"bad {n}"]} for n in range(24)]
    found = PairwiseLabeler(judge, "helpful", votes=4, on_disagreement="average").label(rows)
    assert 0.1 < found.measures["votes_alpha"].value < 0.5 and "votes alpha: " in str(found)
    assert "votes_alpha" not in PairwiseLabeler(judge, "helpful").label(rows).measures


def test_votes_on_grades():
    judge = ScriptedGenerator(
        lambda prompt, sampling: str(
            (9 if "good" in prompt[0]["content"].split("Response: ")[1] else 2) + sampling["seed"] % 2
        )
    )
    labeler = ScoreLabeler(judge, ["honesty"], votes=3)
    result = labeler.label(given(8, wrong=2))
    assert result.measures["votes_alpha_honesty"].value > 0.9
    assert result.measures["agrees_with_given"].value == 0.75
    (first, *_) = labeler.score(given(1))
    assert len(first.votes["honesty"]) == 3 and set(first.votes["honesty"]) <= {9.0, 10.0}
    assert "votes_alpha_honesty" not in ScoreLabeler(judge, ["honesty"]).label(given(8)).measures


def test_self_preference_is_beyond_what_people_find():
    # The judge wrote the good answers and is surer of them than the people whose labels are given.
    rows = [
        {**row, "preference_strength": 0.7, "chosen_model": "judge", "rejected_model": "other"} for row in given(12)
    ]
    found = PairwiseLabeler(soft(0.9), "helpful", model="judge").label(rows)
    assert found.measures["own_preferred"].value == pytest.approx(0.4)
    assert found.measures["self_preference"].value == pytest.approx(0.2) and found.measures["self_preference"].n == 12
    assert "self preference: " in str(found)
    other = PairwiseLabeler(soft(0.9), "helpful", model="other").label(rows).measures
    assert other["own_preferred"].value == pytest.approx(-0.4) and other["self_preference"].value == pytest.approx(
        -0.2
    )
    neutral = PairwiseLabeler(soft(0.9), "helpful", model="third").label(rows).measures
    assert not {"own_preferred", "self_preference"} & neutral.keys()


def test_two_answers_of_the_judges_own_say_nothing_of_self_preference():
    rows = [{"prompt": "Q?", "responses": ["good", "bad"], "models": ["judge", "judge"]}]
    assert "own_preferred" not in PairwiseLabeler(soft(0.9), "helpful", model="judge").label(rows).measures


def test_who_wrote_an_answer_goes_with_it():
    writers = {"judge": ScriptedGenerator(["bad 1", "bad 2"]), "other": ScriptedGenerator(["good 1", "good 2"])}
    rows = sample_candidates(writers, ["Q1?", "Q2?"], n=2)
    result = PairwiseLabeler(soft(0.9), "helpful", model="judge").label(rows)
    assert [(row["chosen_model"], row["rejected_model"]) for row in result.preferences] == [("other", "judge")] * 2
    assert result.measures["own_preferred"].value == pytest.approx(-0.4) and "self_preference" not in result.measures
    assert "models" not in result.preferences[0]
    abstained = PairwiseLabeler(soft(0.5), "helpful", model="judge").label(rows).left_out[0]
    assert (abstained["responses"], abstained["models"]) == (["bad 1", "good 1"], ["judge", "other"])
    again = PairwiseLabeler(soft(0.9), "helpful", model="other").label(result.dataset)
    assert again.measures["own_preferred"].value == pytest.approx(0.4), "labels can be judged anew"
    rewarded = from_rewards(lambda prompts, completions, **_: [float(len(c)) for c in completions], rows)
    assert rewarded.preferences[0]["chosen_model"] == "other"


def test_of_equal_answers_the_first_ones_author_counts():
    row = {"prompt": "Q?", "responses": ["good", " good", "bad"], "models": ["a", "b", "c"]}
    (found,) = PairwiseLabeler(soft(0.9), "helpful").label([row]).preferences
    assert (found["chosen_model"], found["rejected_model"]) == ("a", "c")


@pytest.mark.parametrize("models", [["a"], "ab"])
def test_models_that_are_not_one_an_answer_are_refused(models):
    with pytest.raises(ValueError, match="Row 0 has 2 answers; `models` should name as many"):
        PairwiseLabeler(soft(0.9), "helpful").label([{"prompt": "Q?", "responses": ["good", "bad"], "models": models}])
