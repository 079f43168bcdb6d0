"""The page of an evaluation: the gate first, figures by suite, what changed most, and every answer on the side."""

import json
import math
from dataclasses import replace

import pytest

from rlhf_ext.evaluation.answers_shown import examples, write_answers
from rlhf_ext.evaluation.gate import ReleaseGate
from rlhf_ext.evaluation.page import evaluation_report
from rlhf_ext.evaluation.report import Report, render_html, render_table
from rlhf_ext.evaluation.suite import Case, Column

from .results import rate, result
from .test_report import HOSTILE, Elements


class Suite:
    name = "s"
    figures = ["harm", "help"]


def pair(n=40):
    old = result([rate([0] * n, by_category=True), rate([1] * n, "help", "higher")], model="old")
    new = result(
        [rate([1] * 9 + [0] * (n - 9), by_category=True), rate([1] * (n - 2) + [0] * 2, "help", "higher")], model="new"
    )
    return old, new


def test_a_comparison_from_gate_to_settings():
    old, new = pair()
    gate = ReleaseGate({"s.harm": {"max": 0.5, "not_worse": True}, "s.help": {"min": 0.5}}, [Suite()], True)
    report = evaluation_report([new], [old], gate)
    assert [row.verdict for row in report.gate] == ["fails", "passes"] and report.measures == []
    assert [figure.verdict for figure in report.figures] == ["worse", "no clear change"]
    page = Elements(render_html(report))
    for said in [
        "new against old, on 40 cases of s",
        "✗ The gate is not passed: 1 of 2 thresholds failed.",
        "✗ worse: Harm (0",
        "which mostly shows changes of",
        "s: Harm 2 worse",
        "s: what got worse",
        "s: the worst answers now",
        "old#1",
        "version 1, 40 cases of s, temperature 1",
    ]:
        assert said in page.text, said
    assert page.text.index("Release gate") < page.text.index("Results") < page.text.index("The changes, drawn")
    table = render_table(report, width=100)
    assert "Release gate" in table and "worse" in table and max(map(len, table.splitlines())) <= 100


def test_a_gate_that_is_passed_says_so():
    report = evaluation_report([pair()[1]], None, ReleaseGate({"s.help": {"min": 0.5}}, [Suite()]))
    assert "✓ The gate is passed: 1 of 1 threshold held." in Elements(render_html(report)).text


def test_one_model_alone():
    report = evaluation_report([pair()[1]])
    assert report.figures == report.breakdown == report.gate == []
    assert [measure.name for measure in report.measures] == ["s.harm", "s.help"]
    assert [plot.title for plot in report.plots] == ["s: rates", "s: Harm"]
    page = Elements(render_html(report))
    assert "Wanted" not in page.text and "Before" not in page.text and "Answers" in page.text
    assert "not measured" not in render_table(report)


def test_there_and_back_through_json():
    old, new = pair()
    report = evaluation_report([new], [old], ReleaseGate({"s.help": {"min": 0.5}}, [Suite()]))
    again = Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert again.to_dict() == report.to_dict() and again.gate == report.gate and again.breakdown[0].category == "even"


def test_what_was_not_measured_or_answered_is_said():
    new = result(
        [rate([None, None]), rate([1, None], "help", "higher")], answers=["a", None], failures={1: "Unanswered: gone"}
    )
    notes = evaluation_report([new]).notes
    assert "1 of 2 answers to s could not be generated" in notes[0] and "Unanswered: gone" in notes[0]
    assert "not measured on s, for want of any value: Harm" in notes[1]
    old, same = pair()
    assert "they cannot differ" in evaluation_report([old], [old]).notes[0]
    assert not evaluation_report([same], [replace(old, seed=1)]).notes


def test_figures_stand_under_their_suite_and_texts_cannot_break_the_page():
    cases = [Case(f"c{i}", HOSTILE, HOSTILE) for i in range(12)]
    one = result([rate([1] * 12, by_category=True)], cases, answers=[HOSTILE] * 12)
    two = replace(result([rate([0] * 12)], cases, answers=[HOSTILE] * 12), suite=HOSTILE)
    page = Elements(render_html(evaluation_report([one, two], [one, two])))
    assert {"script", "img"} & set(page.tags) == set()


def test_many_answers_are_folded_by_category():
    old, new = pair()
    page = render_html(evaluation_report([new], [old]))
    folded = page[page.index("s: answers by category") :]
    assert folded.count("<details class='inner'>") == 2
    assert "odd <span class='count'>5</span>" in folded


# ---- which answers are shown ----


def shown(group, found):
    return [example.prompt for example in found if example.group == f"s: {group}"]


def test_what_changed_most_comes_first_and_categories_take_turns():
    old, new = pair()
    found = examples(new, old, most=4)
    assert shown("what got worse", found) == ["Prompt 0", "Prompt 1", "Prompt 2", "Prompt 3"]
    assert shown("what got better", found) == []
    assert shown("the worst answers now", found)[0] == "Prompt 0"
    back = examples(old, new, most=4)
    assert shown("what got better", back) == ["Prompt 0", "Prompt 1", "Prompt 2", "Prompt 3"]
    assert found[0].before == "old answers 0" and found[0].scores == {"Harm": (0, 1), "Help": (1, 1)}


def test_means_count_by_their_spread_and_directions_are_kept():
    toxic = Column("toxic", "Toxic", [0.1, 0.2, 0.1, 9.0], "mean", "lower")
    good = Column("good", "Good", [5.0, 5.1, -9.0, 5.0], "mean", "higher")
    length = Column("length", "Length", [1.0, 999.0, 1.0, 1.0], "mean")
    found = examples(result([toxic, good, length]), most=2)
    assert sorted(shown("the worst answers now", found)) == ["Prompt 2", "Prompt 3"]


def test_a_figure_of_all_samples_blames_none_of_them():
    columns = [rate([0, 1, 0, 0], "own"), rate([1, 1], "any", per="case")]
    found = examples(result(columns, samples=2), most=3)
    worst = [example for example in found if example.group == "s: the worst answers now"]
    assert [example.after for example in worst] == ["m answers 1"]
    assert worst[0].scores["Any"][1] == 1


def test_failed_and_empty_answers_are_shown_as_what_they_are():
    one = result([rate([0, None, 0])], answers=["a", None, " "], failures={1: "Unanswered: refused"})
    texts = {example.after for example in examples(one)}
    assert {"[no answer could be generated: Unanswered: refused]", "[an empty answer]"} <= texts


def test_all_answers_on_the_side(tmp_path):
    old, new = pair()
    write_answers(tmp_path / "s.jsonl", new, old)
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert len(lines) == 40 and lines[0]["before"] == "old answers 0" and lines[0]["after_values"]["harm"] == 1.0
    write_answers(tmp_path / "s.jsonl", new)
    assert "before" not in json.loads((tmp_path / "s.jsonl").read_text().splitlines()[0])


@pytest.mark.parametrize("value", [math.nan, None])
def test_a_figure_whose_power_is_unknown_says_nothing_of_it(value):
    old, new = pair()
    report = evaluation_report([new], [old])
    bare = replace(report, figures=[replace(figure, detectable=value) for figure in report.figures])
    assert "mostly shows" not in render_html(bare) and "mostly shows" in render_html(report)
