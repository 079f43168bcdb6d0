"""A judge's word on two models' answers to a suite: win rate, ties, abstentions, and what a gate makes of it."""

import re

import numpy as np
import pytest

from rlhf_ext import ScriptedGenerator
from rlhf_ext.evaluation.comparison import compare, compare_categories
from rlhf_ext.evaluation.gate import ReleaseGate, failures
from rlhf_ext.evaluation.page import evaluation_report
from rlhf_ext.evaluation.preferred import WIN_RATE, prefer
from rlhf_ext.evaluation.report import render_table
from rlhf_ext.labelers import PairwiseLabeler
from rlhf_ext.stats import length_controlled_win_rate, win_rate

from .results import rate, result


class Judge:
    """Prefers the answer that has more of the letter z; says nothing of answers with a question mark."""

    def __init__(self):
        self.seen = []

    def compare(self, prompts, first, second):
        self.seen += list(zip(prompts, first, second, strict=True))
        texts = [
            (a if isinstance(a, str) else a[0]["content"], b if isinstance(b, str) else b[0]["content"])
            for a, b in zip(first, second, strict=True)
        ]
        return [None if "?" in a + b else 0.5 + 0.5 * np.sign(a.count("z") - b.count("z")) for a, b in texts]


def pair(old, new, **fields):
    columns = [rate([0.0] * len(old))]
    return (result(columns, model=name, answers=list(texts), **fields) for name, texts in (("old", old), ("new", new)))


def test_wins_ties_abstentions_and_missing_answers_by_hand():
    old, new = pair(["a", "zz", "same ", "b", "?", None], ["az", "z", "same", "c", "x", "y"])
    judge = Judge()
    found = prefer(old, new, judge)
    assert found.after.columns[-1].values == [1.0, 0.0, 0.5, 0.5, None, None]
    assert found.before.columns[-1].values == [0.0, 1.0, 0.5, 0.5, None, None]
    assert [(first, second) for _, first, second in judge.seen] == [("az", "a"), ("z", "zz"), ("c", "b"), ("x", "?")]
    measures = {one.name: one for one in found.measures}
    ties, silent = measures["s.win_rate_ties"].estimate, measures["s.win_rate_abstained"].estimate
    assert (ties.value, ties.n, silent.value, silent.n) == (0.5, 4, 0.2, 5)
    assert found.notes == ["s: the judge's word is on 4 of 6 pairs of answers."]
    assert len(old.columns) == 3  # what came in stays as it was


def test_chats_are_judged_as_chats():
    from rlhf_ext.evaluation.suite import Case

    cases = [Case("c", [{"role": "user", "content": "Hi"}])]
    old, new = pair(["a"], ["z"], cases=cases)
    judge = Judge()
    assert prefer(old, new, judge).after.columns[-1].values == [1.0]
    assert judge.seen == [
        (cases[0].prompt, [{"role": "assistant", "content": "z"}], [{"role": "assistant", "content": "a"}])
    ]


@pytest.fixture(scope="module")
def judged():
    rng = np.random.default_rng(0)
    old = ["z" * int(n) + "x" * int(m) for n, m in zip(rng.integers(0, 6, 120), rng.integers(5, 60, 120), strict=True)]
    new = [
        "z" * int(n) + "y" * int(m) for n, m in zip(rng.integers(2, 8, 120), rng.integers(20, 90, 120), strict=True)
    ]
    return prefer(*pair(old, new), Judge())


def test_it_is_a_figure_with_a_change_a_test_and_categories(judged):
    figure = next(figure for figure in compare(judged.before, judged.after) if figure.name == "s.win_rate")
    wins = judged.after.columns[-1].values
    wanted = win_rate(wins, [case.id for case in judged.after.cases])
    assert figure.after.value == wanted.value and (figure.after.low, figure.after.high) == (wanted.low, wanted.high)
    assert figure.difference.value == pytest.approx(2 * wanted.value - 1) and figure.before.value == pytest.approx(
        1 - wanted.value
    )
    assert figure.verdict == "better" and figure.p_value < 0.01
    assert {one.category for one in compare_categories(judged.before, judged.after) if one.name == "s.win_rate"} == {
        "odd",
        "even",
    }
    lengths = [[len(answer) for answer in side.answers] for side in (judged.after, judged.before)]
    controlled = length_controlled_win_rate(wins, *lengths, [case.id for case in judged.after.cases])
    assert judged.measures[0].estimate == controlled


def test_a_gate_can_ask_for_it(judged):
    class Suite:
        name, figures = "s", ["harm"]

    limits = {"s.win_rate": {"min": 0.5}, "s.win_rate.change": {"min": 0.9}}
    gate = ReleaseGate(limits, [Suite()], baseline=True, figures=(WIN_RATE,))
    said = failures(gate.check([judged.after], compare(judged.before, judged.after)))
    assert len(said) == 1 and said[0].startswith("s.win_rate.change is +")
    with pytest.raises(ValueError, match="no figure 's.win_rate'"):
        ReleaseGate(limits, [Suite()], baseline=True)


def test_the_report_shows_it_with_the_answers(judged):
    report = evaluation_report([judged.after], [judged.before], preferred=[judged])
    assert [measure.name for measure in report.measures] == [
        "s.win_rate_length_controlled",
        "s.win_rate_ties",
        "s.win_rate_abstained",
    ]
    worse = [example for example in report.examples if example.group == "s: what got worse"]
    assert worse and all(example.scores["Preferred by the judge"] == (1.0, 0.0) for example in worse)
    assert "Preferred by the judge" in render_table(report) and judged.notes[0] in report.notes


def test_a_judge_moved_by_position_gives_ties():
    labeler = PairwiseLabeler(
        ScriptedGenerator([], choice_probs=lambda prompt, choices: [1.0, 0.0]), on_disagreement="average"
    )
    found = prefer(*pair(["a", "b"], ["c", "d"]), labeler)
    assert found.after.columns[-1].values == [0.5, 0.5]


def test_a_judge_that_says_nothing_leaves_no_win_rate():
    found = prefer(*pair(["?", "?"], ["a", "b"]), Judge())
    assert found.measures[0].estimate is None and "abstained from all 2 pairs" in found.notes[0]
    assert "s.win_rate" not in found.after.estimates()
    assert all(figure.name != "s.win_rate" for figure in compare(found.before, found.after))


class Wrong:
    def __init__(self, given):
        self.given = given

    def compare(self, prompts, first, second):
        return self.given


@pytest.mark.parametrize(
    ("judge", "error", "said"),
    [
        (object(), TypeError, "`judge` must have `compare"),
        (Wrong([1.0]), ValueError, "one probability for each of 2 pairs"),
        (Wrong([1.0, 1.5]), ValueError, "gave 1.5 for pair 1"),
        (Wrong([1.0, float("nan")]), ValueError, "gave nan for pair 1"),
    ],
)
def test_what_is_no_judge_is_refused(judge, error, said):
    with pytest.raises(error, match=re.escape(said)):
        prefer(*pair(["a", "b"], ["c", "d"]), judge)


def test_other_cases_are_refused():
    _, new = pair(["a", "b"], ["c", "d"])
    [other, _] = pair(["a"], ["c"])
    with pytest.raises(ValueError, match="different cases or samples"):
        prefer(other, new, Judge())
