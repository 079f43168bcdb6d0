"""The release gate: what passes, what fails, and what is refused before anything is run."""

import pytest
import yaml

from rlhf_ext.evaluation.comparison import compare
from rlhf_ext.evaluation.gate import ReleaseGate, failures
from rlhf_ext.evaluation.suite import Column
from rlhf_ext.stats import holm, wilson

from .results import rate, result


class Suite:
    name = "s"
    figures = ["harm", "help", "length"]


class Other(Suite):
    name = "other"


def judged(limits, new, old=None):
    """Verdicts by name."""
    gate = ReleaseGate(limits, [Suite()], old is not None)
    return {row.name: row for row in gate.check([new], compare(old, new) if old else [])}


def harm(bad, n=200, **fields):
    return result([rate([1] * bad + [0] * (n - bad)), rate([1] * (n - bad) + [0] * bad, "help", "higher")], **fields)


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        ({"s.harm": {"max": 0.05}}, "fails"),  # 4 of 200 is 2 %, and its interval reaches 5.03 %
        ({"s.harm": {"max": 0.0504}}, "passes"),
        ({"s.harm": {"max": 0.02, "interval": False}}, "passes"),
        ({"s.harm": {"max": 0.019, "interval": False}}, "fails"),
        ({"s.help": {"min": 0.95}}, "fails"),
        ({"s.help": {"min": 0.9496}}, "passes"),
        ({"s.help": {"min": 0.98, "interval": False}}, "passes"),
        ({"s.help": {"min": 0.9, "max": 0.97}}, "fails"),
    ],
)
def test_a_bound_reads_the_unfavourable_end(limits, verdict):
    assert wilson(4, 200).high == pytest.approx(0.0503, abs=1e-4)
    (row,) = judged(limits, harm(4)).values()
    assert row.verdict == verdict and row.unit == "%"


def test_few_cases_do_not_pass_for_a_good_model():
    assert judged({"s.harm": {"max": 0.05}}, harm(0, 20))["s.harm"].verdict == "fails"
    assert (
        "The value would pass; its interval does not." in judged({"s.harm": {"max": 0.05}}, harm(0, 20))["s.harm"].note
    )
    assert judged({"s.harm": {"max": 0.05}}, harm(0, 80))["s.harm"].verdict == "passes"


def test_a_bound_on_the_change():
    old, new = harm(10), harm(14, model="new")
    rows = judged({"s.harm.change": {"max": 0.05}, "s.help.change": {"min": -0.03}}, new, old)
    figure = compare(old, new)[0]
    assert rows["s.harm.change"].estimate == figure.difference and rows["s.harm.change"].label == "Harm, change"
    assert rows["s.harm.change"].unit == "points"
    assert rows["s.harm.change"].wanted == "at most 5 points over its whole interval"
    assert failures(list(rows.values()))[0].startswith("s.help.change is -2.0 points [")
    assert [row.verdict for row in rows.values()] == ["passes", "fails"]  # the change is 2 points, up to 4


def test_not_worse_fails_where_it_is_shown_and_only_for_the_worse():
    old, new = harm(10), harm(30)
    assert judged({"s.harm": {"not_worse": True}}, new, old)["s.harm"].verdict == "fails"
    assert judged({"s.help": {"not_worse": True}}, new, old)["s.help"].verdict == "fails"
    assert judged({"s.harm": {"not_worse": True}}, old, new)["s.harm"].verdict == "passes"
    assert judged({"s.harm": {"not_worse": True}}, harm(12), old)["s.harm"].verdict == "passes"


def test_tests_are_corrected_for_one_another():
    """Six changes one way are p = 1/32: alone that fails; of two tests it does not."""
    old = result([rate([0] * 40), rate([1] * 40, "help", "higher")])
    new = result([rate([1] * 6 + [0] * 34), rate([1] * 40, "help", "higher")])
    alone = judged({"s.harm": {"not_worse": True}}, new, old)["s.harm"]
    assert alone.verdict == "fails" and "p = 0.031" in alone.note
    both = judged({"s.harm": {"not_worse": True}, "s.help": {"not_worse": True}}, new, old)
    assert [row.verdict for row in both.values()] == ["passes", "passes"]
    assert f"p = {holm([1 / 32, 1.0])[0]:.2g}, corrected for 2 tests" in both["s.harm"].note


def test_both_kinds_on_one_figure():
    row = judged({"s.harm": {"max": 0.5, "not_worse": True}}, harm(30), harm(5))["s.harm"]
    assert row.verdict == "fails" and row.wanted == "at most 50% over its whole interval and not clearly worse"


def test_what_was_not_measured_fails():
    new = result([rate([None] * 9), Column("length", "Length", [1.0] * 9, "mean")])
    rows = judged({"s.harm": {"max": 1.0}, "s.help": {"min": 0.0}, "s.failed": {"max": 0.5}}, new)
    assert [row.verdict for row in rows.values()] == ["fails", "fails", "passes"]
    assert failures(list(rows.values()))[1].startswith("s.help was not measured, and at least 0 over")
    old = result([rate([1] * 9)])
    assert judged({"s.harm": {"not_worse": True}}, new, old)["s.harm"].verdict == "fails"


def test_failed_answers_are_a_figure_like_others():
    new = result([rate([1, None, 0, 0])], answers=["a", None, "b", "c"])
    assert judged({"s.failed": {"max": 0.1, "interval": False}}, new)["s.failed"].verdict == "fails"


def test_from_a_file(tmp_path):
    path = tmp_path / "gate.yaml"
    limits = {"s.harm": {"max": 0.05}, "s.help": {"not_worse": True}}
    path.write_text(yaml.safe_dump(limits))
    gate = ReleaseGate.from_file(path, [Suite()], True)
    assert gate.limits["s.harm"].interval and ReleaseGate(gate.to_dict(), [Suite()], True).limits == gate.limits
    path.write_text("s.harm: 0.05")
    with pytest.raises(ValueError, match=r"gate.yaml: The threshold of 's.harm' must be a mapping"):
        ReleaseGate.from_file(path, [Suite()])
    path.write_text("s.harm: {max: 0.05}\ns.help: {min: 0.5}\ns.harm: {max: 1}\n")  # the last would have let all pass
    with pytest.raises(ValueError, match=r"gate.yaml .*'s.harm' is given twice"):
        ReleaseGate.from_file(path, [Suite()])


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        (
            {"s.harmful": {"max": 0.1}},
            r"no figure 's.harmful' .* There are s.empty, s.failed, s.harm, s.help, s.length",
        ),
        ({"harm": {"max": 0.1}}, "no suite 'harm' is run; run are s, other"),
        ({"code.pass": {"min": 0.1}}, "no suite 'code' is run"),
        ({3: {"min": 0.1}}, "no suite '3' is run"),
        ({"s.harm": {"most": 0.1}}, "has no 'most'; there are min, max, interval, not_worse"),
        ({"s.harm": {"max": "5%"}}, "`max` must be a finite number"),
        ({"s.harm": {"max": True}}, "`max` must be a finite number"),
        ({"s.harm": {"interval": True}}, "neither `min` nor `max`"),
        ({"s.harm": {"not_worse": "yes"}}, "`not_worse` must be true or false"),
        ({"s.harm": {"min": 0.2, "max": 0.1}}, "nothing is at least 0.2 and at most 0.1"),
        ({"s.harm.change": {"max": 0.1}}, "'s.harm.change' compares with a baseline, and there is none"),
        ({"s.harm": {"not_worse": True}}, "compares with a baseline"),
        ({}, "must be a mapping"),
        ([], "must be a mapping"),
    ],
)
def test_what_cannot_be_held_to_is_refused_before_the_run(limits, match):
    with pytest.raises(ValueError, match=match):
        ReleaseGate(limits, [Suite(), Other()])


def test_not_worse_is_set_on_the_figure_itself():
    with pytest.raises(ValueError, match="set `not_worse` on 's.harm' itself"):
        ReleaseGate({"s.harm.change": {"not_worse": True}}, [Suite()], True)


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        ({"s.harm": {"max": 5}}, r"'s.harm' is 5, and a rate is in \[0, 1\]: for 5 % write 0.05"),
        ({"s.harm": {"min": -0.1}}, r"\[0, 1\]"),
        ({"s.harm.change": {"max": 3}}, r"\[-1, 1\]"),
    ],
)
def test_a_bound_that_no_rate_can_miss_is_refused(limits, match):
    with pytest.raises(ValueError, match=match):
        judged(limits, harm(4), harm(4))
    judged({"s.harm.change": {"min": -0.5}}, harm(4), harm(4))


def test_a_figure_without_a_better_way_cannot_get_worse():
    pair = [result([Column("length", "Length", [1.0 + i % n for i in range(9)], "mean")]) for n in (2, 3)]
    with pytest.raises(ValueError, match=r"'s.length' cannot be asked not to get worse"):
        judged({"s.length": {"not_worse": True}}, *pair)
