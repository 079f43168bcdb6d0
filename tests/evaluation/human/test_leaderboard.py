"""A crowd of known tastes ranks three models: strengths, pairs, scales, agreement, and the page they make."""

import json
import math
import re

import numpy as np
import pytest

from rlhf_ext.evaluation.human import Answers, Rating, Vote, agreement_with_judges, answers_from_store, rank_models
from rlhf_ext.evaluation.report import Report, render_html, render_table, write_report
from rlhf_ext.stats import bradley_terry, win_rate

from .crowd import STRENGTHS, filled


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    store, _ = filled(tmp_path_factory.mktemp("crowd") / "f.sqlite", items=150, judge=0.9)
    return answers_from_store(store)


@pytest.fixture(scope="module")
def board(answers):
    return rank_models(answers, resamples=400)


def test_the_crowds_order_and_strengths_come_out(answers, board):
    assert board.models == ["ppo", "dpo", "sft"]
    differences = board.bradley_terry.differences
    # Ties are halves: they draw strengths together, and the truth with them.
    assert (
        differences["ppo", "sft"].low < 0.85 * (STRENGTHS["ppo"] - STRENGTHS["sft"]) < differences["ppo", "sft"].high
    )
    votes = [vote for vote in answers.votes if vote.source == "human"]
    direct = bradley_terry(
        [v.first for v in votes],
        [v.second for v in votes],
        [v.side for v in votes],
        [v.item for v in votes],
        resamples=400,
    )
    assert board.bradley_terry == direct
    assert board.counts == {"votes": 450, "ratings": 0, "items": 150, "annotators": 3}


def test_pairs_have_win_rates_both_ways_with_ties(answers, board):
    votes = [v for v in answers.votes if v.source == "human" and {v.first, v.second} == {"ppo", "sft"}]
    won = [v.side if v.first == "ppo" else 1 - v.side for v in votes]
    rate, other = board.win_rates["ppo", "sft"], board.win_rates["sft", "ppo"]
    wanted = win_rate(won, [v.item for v in votes])
    assert (rate.value, rate.low, rate.high) == (wanted.value, wanted.low, wanted.high)
    assert (other.value, other.low) == (pytest.approx(1 - rate.value), pytest.approx(1 - rate.high))
    assert board.ties["ppo", "sft"].value == pytest.approx(np.mean([v.side == 0.5 for v in votes]))
    assert board.ties["sft", "ppo"] == board.ties["ppo", "sft"]
    # The crowd does not look at length.
    assert board.at_equal_length["ppo", "sft"].value == pytest.approx(rate.value, abs=0.08)


def test_strengths_of_sliders_are_weaker_than_votes(answers, board):
    soft = rank_models(answers, wins="strengths", resamples=50)
    assert 0.5 < soft.win_rates["ppo", "sft"].value < board.win_rates["ppo", "sft"].value
    assert soft.bradley_terry.strengths["ppo"].value < board.bradley_terry.strengths["ppo"].value


def test_a_crowd_that_prefers_long_answers_is_found_out():
    rng = np.random.default_rng(0)
    votes = []
    for i in range(400):
        lengths = (int(rng.integers(40, 120)), int(rng.integers(20, 90)))
        votes.append(Vote(f"i{i}", "ann", "long", "short", float(lengths[0] > lengths[1]), lengths=lengths))
    board = rank_models(Answers(votes), resamples=50)
    assert board.win_rates["long", "short"].low > 0.65
    controlled = board.at_equal_length["long", "short"]
    assert controlled.low < 0.5 < controlled.high


def test_a_crowd_that_prefers_the_left_is_found_out(board):
    assert board.first_shown.low < 0.5 < board.first_shown.high
    rng = np.random.default_rng(0)
    shown = [bool(x) for x in rng.random(200) < 0.5]
    votes = [
        Vote(f"i{i}", "ann", "a", "b", float(s == (rng.random() < 0.8)), first_shown=s) for i, s in enumerate(shown)
    ]
    assert rank_models(Answers(votes), resamples=50).first_shown.value == pytest.approx(0.8, abs=0.07)


def test_intervals_know_items_and_people(answers):
    def width(by):
        one = rank_models(answers, cluster_by=by, resamples=600).bradley_terry.differences["ppo", "sft"]
        return one.high - one.low

    assert width("both") > width("item")
    notes = rank_models(answers, cluster_by="annotator", resamples=50).notes
    assert "The intervals say how the figures would vary with other annotators. 3 are few for that" in notes[-1]


def test_people_agree_and_the_judge_agrees_with_them(answers, board):
    found = {(one.what, one.measure): one.estimate for one in board.agreement}
    assert 0 < found["which answer is better", "Krippendorff's alpha, nominal"].value < 0.6
    assert found["which answer is better", "Fleiss' kappa, items with 3 answers"].n == 150
    share = found["people and judge/v1", "share of pairs on which both decided alike"]
    kappa = found["people and judge/v1", "Cohen's kappa"]
    assert 0.5 < share.value < 0.9 and kappa.value < share.value and share.n < kappa.n == 150


def test_agreement_with_a_judge_by_hand():
    people = [
        ("i1", "ann", 1.0),
        ("i1", "ben", 1.0),
        ("i1", "cy", 0.0),
        ("i2", "ann", 0.0),
        ("i3", "ann", 0.5),
        ("i4", "ann", 0.83),
    ]
    votes = [Vote(item, who, "a", "b", p) for item, who, p in people]
    votes += [
        Vote(item, "judge", "a", "b", p, source="ai")
        for item, p in (("i1", 0.9), ("i2", 0.8), ("i3", 0.9), ("i9", 1.0))
    ]
    kappa, share = agreement_with_judges(votes)
    assert (share.estimate.value, share.estimate.n, kappa.estimate.n) == (0.5, 2, 3)
    assert agreement_with_judges([vote for vote in votes if vote.source == "human"]) == []


def test_people_rank_where_there_are_any_and_a_judge_where_it_is_asked(answers, board):
    judged = rank_models(answers, source="ai", resamples=50)
    assert judged.counts["votes"] == 150 and judged.settings["votes of"] == "judges"
    alone = Answers([vote for vote in answers.votes if vote.source == "ai"])
    assert rank_models(alone, resamples=50).win_rates == judged.win_rates
    with pytest.raises(ValueError, match="There is no vote of people"):
        rank_models(alone, source="human")


def test_ratings_have_means_by_model_and_scale():
    rng = np.random.default_rng(0)
    ratings = [
        Rating(f"{model}{i}", who, model, "help (1 to 5)", float(np.clip(round(base + rng.normal()), 1, 5)))
        for model, base in (("ppo", 4), ("sft", 2.5))
        for i in range(30)
        for who in ("ann", "ben")
    ]
    board = rank_models(Answers(ratings=ratings))
    found = board.ratings["help (1 to 5)"]
    assert list(found) == ["ppo", "sft"] and found["ppo"].low > found["sft"].high
    assert (
        found["ppo"].value == pytest.approx(np.mean([r.value for r in ratings if r.model == "ppo"]))
        and found["ppo"].n == 60
    )
    assert board.bradley_terry is None and board.models == ["ppo", "sft"]
    assert {one.measure for one in board.agreement} == {
        "Krippendorff's alpha, ordinal",
        "Fleiss' kappa, items with 2 answers",
    }
    assert "help (1 to 5)" in str(board)


def test_models_that_were_never_compared_have_no_common_ranking():
    votes = [Vote(f"i{i}", "ann", *pair, float(i % 3 > 0)) for i in range(12) for pair in (("a", "b"), ("c", "d"))]
    board = rank_models(Answers(votes))
    assert board.bradley_terry is None and board.models == ["a", "b", "c", "d"]
    assert "never compared with one another, (a, b) and (c, d)" in board.notes[0]
    assert board.win_rates["a", "b"].value == pytest.approx(2 / 3) and ("a", "c") not in board.win_rates
    assert board.to_report().matrices[0].cells[0][2] is None


def test_who_never_loses_is_said_and_shown_without_an_end():
    votes = [Vote(f"i{i}", "ann", "a", "b", 1.0) for i in range(20)]
    votes += [Vote(f"j{i}", "ann", "b", "c", float(i % 2)) for i in range(20)]
    board = rank_models(Answers(votes), anchor="c")
    assert board.bradley_terry.strengths["a"].high == math.inf
    assert board.notes[0].startswith("a never lost, not even half a vote")
    text = str(board)
    assert "no end]" in text and "1,000 [1,000, 1,000]" in re.sub(" +", " ", text)
    assert json.loads(json.dumps(board.to_dict(), allow_nan=False))["elo"]["a"]["high"] is None


def test_the_report_has_it_all_and_comes_back_from_json(board, tmp_path):
    report = board.to_report("Ranking", "feedback.sqlite")
    assert report.subtitle == "feedback.sqlite: 450 votes, 150 items, 3 annotators"
    assert [m.label for m in report.measures if m.group == "Strength (Elo)"] == ["ppo", "dpo", "sft"]
    assert report.measures[0].note == "Rank 1"
    [rates, equal] = report.matrices
    assert rates.rows == ["ppo", "dpo", "sft"] and rates.cells[0][0] is None
    assert (
        rates.cells[0][2] == board.win_rates["ppo", "sft"] and equal.cells[0][2] == board.at_equal_length["ppo", "sft"]
    )
    path = write_report(report, tmp_path)
    assert Report.from_dict(json.loads((tmp_path / "report.json").read_text())) == report
    page = path.read_text()
    assert "<svg" in page and "How often the model of the row is preferred" in page and "<script" not in page
    table = render_table(report, width=120)
    assert "Strength (Elo)" in table and re.search(r"ppo +– +\d\d", table)


def test_hostile_names_are_shown_and_do_nothing():
    votes = [Vote(f"i{i}", "ann", "<script>x</script>", "b\x1b[31m", float(i % 2)) for i in range(30)]
    report = rank_models(Answers(votes), resamples=50).to_report()
    assert "<script>" not in render_html(report) and "\x1b" not in render_table(report)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"wins": "sum"}, "`wins` must be one of 'votes', 'strengths'"),
        ({"cluster_by": "prompt"}, "`cluster_by` must be one of"),
        ({"source": "people"}, "`source` must be one of"),
        ({"anchor": "gpt"}, "`anchor` is 'gpt', which is none of the models: a, b"),
    ],
)
def test_unknown_settings_are_refused(settings, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        rank_models(Answers([Vote("i", "ann", "a", "b", 1.0)]), **settings)
