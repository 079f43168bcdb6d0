"""What an A/B test has shown: by users, whatever the number of their requests."""

import json

import numpy as np
import pytest

from rlhf_ext.cli import main
from rlhf_ext.deployment.experiments import Outcome, Outcomes, ab_report, read_outcomes
from rlhf_ext.evaluation.report import render_html, render_table
from rlhf_ext.stats import Moments, difference_p_value


def rows(users=2_000, effect=0.15, seed=0, metric="thumbs_up", requests=3):
    """Outcomes whose users differ among themselves: half say yes often, half seldom."""
    rng = np.random.default_rng(seed)
    for user in range(users):
        variant = "dpo" if rng.random() < 0.5 else "sft"
        rate = (0.6 if rng.random() < 0.5 else 0.2) + (effect if variant == "dpo" else 0)
        for _ in range(rng.integers(1, 2 * requests)):
            yield Outcome(variant, f"user {user}", float(rng.random() < rate), metric)


def test_each_user_counts_once_with_the_mean_of_the_values():
    outcomes = Outcomes.of(
        [Outcome("a", "ada", 1.0), Outcome("a", "ada", 0.0), Outcome("a", "ben", 1.0), Outcome("b", "cy", None)]
    )
    assert outcomes.moments("value", "a") == Moments.of([0.5, 1.0])
    assert outcomes.requests("value", "a") == 3 and outcomes.users("b") == 1
    assert outcomes.variants == ["a", "b"] and outcomes.metrics == ["value"]


def test_users_of_two_variants_are_in_neither_and_counted():
    outcomes = Outcomes.of(
        [*rows(200), Outcome("sft", "both", 1.0, "thumbs_up"), Outcome("dpo", "both", 1.0, "thumbs_up")]
    )
    assert outcomes.crossed() == 1
    assert outcomes.users("sft") + outcomes.users("dpo") == 200
    assert outcomes.moments("thumbs_up", "sft").n + outcomes.moments("thumbs_up", "dpo").n == 200
    report = ab_report(outcomes, "sft")
    assert "1 users were served by more than one variant" in "\n".join(report.page().notes)


def test_a_report_says_what_its_parts_say():
    outcomes = Outcomes.of([*rows(), *rows(metric="seconds", effect=0.0)])
    report = ab_report(outcomes, "sft", {"sft": 0.5, "dpo": 0.5}, {"thumbs_up": "higher"})
    effect = report.effects[0]
    groups = outcomes.moments("thumbs_up", "sft"), outcomes.moments("thumbs_up", "dpo")
    assert effect.difference.value == groups[1].mean - groups[0].mean
    assert effect.p_value == difference_p_value(*groups, rates=True)
    assert effect.adjusted == pytest.approx(2 * effect.p_value)  # Holm's: the smaller of two
    assert effect.verdict == "better" and report.effects[1].verdict == "no clear change"
    assert report.sample_ratio.holds and report.sample_ratio.counts["sft"] + report.sample_ratio.counts["dpo"] == 2_000
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["effects"][0]["verdict"] == "better"


def test_quick_answers_are_seconds_and_no_rate():
    quick = [Outcome(name, f"user {n}", 0.1 + 0.001 * n, "seconds") for n in range(40) for name in ("sft",)]
    quick += [Outcome("dpo", f"other {n}", 0.2, "seconds") for n in range(40)]
    outcomes = Outcomes.of(
        [*quick, Outcome("sft", "user 1", 1.0, "thumbs_up"), Outcome("dpo", "other 1", 0.0, "thumbs_up")]
    )
    assert not outcomes.is_rate("seconds") and outcomes.is_rate("thumbs_up")
    assert "%" not in next(
        line for line in render_table(ab_report(outcomes, "sft").page()).splitlines() if "0.12" in line
    )


def test_equals_raise_no_alarm_though_users_have_many_requests_and_one_looks_often():
    """60 experiments, 20 looks each, users with 1 to 59 requests; by requests nearly all would be called different."""
    alarms, by_request = 0, 0
    for seed in range(60):
        outcomes, wrong = Outcomes(), False
        for number, row in enumerate(rows(60, 0.0, seed, requests=30), 1):
            outcomes.add(row)
            if number % 90 == 0 and len(outcomes.variants) == 2:
                report = ab_report(outcomes, "sft", planned=50)
                wrong |= any(effect.difference.excludes_zero for effect in report.effects)
        alarms += wrong
        values = {v: [x.value for x in rows(60, 0.0, seed, requests=30) if x.variant == v] for v in ("sft", "dpo")}
        by_request += difference_p_value(Moments.of(values["sft"]), Moments.of(values["dpo"]), planned=1_000) <= 0.05
    assert alarms <= 7 < by_request


def test_lost_users_are_said_first_and_break_the_comparison():
    lost = [row for row in rows(4_000) if not (row.variant == "dpo" and hash_of(row.user) < 0.2)]
    report = ab_report(Outcomes.of(lost), "sft", {"sft": 0.5, "dpo": 0.5})
    assert not report.sample_ratio.holds
    page = report.page()
    assert page.notes[0].startswith("The sample ratio does not hold")
    assert "fails" in render_table(page, width=100) and "believe no effect" in page.subtitle


def hash_of(user):
    return (int(user.split()[1]) * 7919 % 1000) / 1000


def test_the_page_shows_effects_without_scripts_and_the_table_fits():
    report = ab_report(Outcomes.of(rows()), "sft", {"sft": 0.5, "dpo": 0.5}, {"thumbs_up": "lower"}, "models <1>")
    html, table = render_html(report.page()), render_table(report.page(), width=100)
    assert "models &lt;1&gt;" in html and "<script" not in html and "<svg" in html
    assert "Clear so far: dpo worse in thumbs_up." in table
    assert "dpo against sft: worse" in table and "hold at every look" in html
    assert max(map(len, table.splitlines())) <= 100


def test_variants_without_values_are_shown_as_such():
    report = ab_report(Outcomes.of([*rows(100), Outcome("new", "zoe", None)]), "sft")
    assert next(f for f in report.figures if f.variant == "new").mean is None
    assert [effect.variant for effect in report.effects] == ["dpo"]
    assert "not measured" in render_table(report.page())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"control": "gpt"}, "'gpt' served nobody; there are dpo, sft"),
        ({"better": {"taste": "higher"}}, "metrics are thumbs_up"),
        ({"better": {"thumbs_up": "up"}}, "ways higher and lower"),
        ({"shares": {"sft": 1.0}}, "'dpo' served users, and has no share"),
        ({"shares": {"sft": 0.5, "dpo": 0.4}}, "sum to 1"),
        ({"confidence": 1.0}, "confidence"),
    ],
)
def test_reports_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        ab_report(Outcomes.of(rows(50)), **{"control": "sft", **settings})


def write(path, some):
    path.write_text("\n".join(json.dumps(row) for row in some) + "\n\n", encoding="utf-8")
    return str(path)


def as_row(outcome, **more):
    return {"variant": outcome.variant, "user": outcome.user, "value": outcome.value, "metric": outcome.metric, **more}


def test_outcomes_are_read_and_those_not_dealt_by_lot_left_out(tmp_path):
    some = [as_row(row, experiment="one", why="hash", other=1) for row in rows(30)]
    some += [{"variant": "dpo", "user": "boss", "value": True, "why": "override", "experiment": "one"}]
    some += [{"variant": "x", "user": "eve", "value": None, "experiment": "two"}]
    path = write(tmp_path / "rows.jsonl", some)
    found = read_outcomes(path, "one")
    assert len(found.served) == 30 and found.moments("thumbs_up", "sft") == Outcomes.of(rows(30)).moments(
        "thumbs_up", "sft"
    )
    with pytest.raises(ValueError, match="several experiments .one, two."):
        read_outcomes(path)
    with pytest.raises(ValueError, match="no outcome of the experiment 'three'"):
        read_outcomes(path, "three")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2"),
        ("[1]", "expected an object"),
        ('{"variant": "a", "user": "u"}', "no 'value'"),
        ('{"variant": "a", "user": 1, "value": 1}', "'user' must be a text"),
        ('{"variant": "a", "user": "u", "value": "1"}', "'value' must be a number"),
        ('{"variant": "a", "user": "u", "value": Infinity}', "finite"),
        ('{"variant": "a", "user": "", "value": 1}', "needs a variant and a user"),
        ('{"variant": "a", "user": "u", "value": 1, "metric": 3}', "'metric'"),
    ],
)
def test_lines_that_are_no_outcomes_are_named(tmp_path, line, said):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"variant": "a", "user": "u", "value": 1}\n' + line)
    with pytest.raises(ValueError, match=said) as error:
        read_outcomes(path)
    assert "line 2" in str(error.value)


EXPERIMENTS = """
experiments:
  - {name: one, variants: {sft: 0.5, dpo: 0.5}, salt: s}
  - {name: two, variants: {sft: 1.0}, salt: s, traffic: other, layer: b}
"""


def test_the_command_reports_and_its_exit_code_says_whether_something_is_wrong(tmp_path, capsys):
    outcomes = write(tmp_path / "rows.jsonl", [as_row(row, experiment="one") for row in rows()])
    (tmp_path / "e.yaml").write_text(EXPERIMENTS)
    command = [
        "ab",
        "report",
        "--outcomes",
        outcomes,
        "--experiments",
        str(tmp_path / "e.yaml"),
        "--experiment",
        "one",
    ]
    assert main([*command, "--better", "thumbs_up=higher", "--output", str(tmp_path / "out")]) == 0
    assert "dpo against sft: better" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "ab.json").read_text())["sample_ratio"]["holds"] is True
    assert (tmp_path / "out" / "report.html").exists()
    assert main([*command, "--better", "thumbs_up=lower"]) == 1
    assert "fails   thumbs_up of dpo is clearly worse" in capsys.readouterr().out
    shares = ["ab", "report", "--outcomes", outcomes, "--shares", "sft=0.6", "dpo=0.4"]
    assert main(shares) == 1
    assert "the sample ratio does not hold" in capsys.readouterr().out


def test_mistakes_at_the_command_end_in_one_line(tmp_path, capsys):
    outcomes = write(tmp_path / "rows.jsonl", [as_row(row) for row in rows(20)])
    (tmp_path / "e.yaml").write_text(EXPERIMENTS)
    base = ["ab", "report", "--outcomes", outcomes]
    for arguments, said in (
        (["ab", "look"], "unknown action 'look'"),
        (["ab", "report"], "--outcomes is needed"),
        (base, "Who is the control?"),
        ([*base, "--shares", "sft"], "NAME=VALUE"),
        ([*base, "--shares", "sft=half", "dpo=0.5"], "must be a number"),
        ([*base, "--experiments", str(tmp_path / "e.yaml")], "say which: --experiment one | two"),
        ([*base, "--experiments", str(tmp_path / "e.yaml"), "--experiment", "three"], "no experiment 'three'"),
        ([*base, "--experiments", str(tmp_path / "e.yaml"), "--shares", "a=1"], "give one of them"),
        (["ab", "report", "--outcomes", str(tmp_path / "no"), "--control", "a"], "No such file"),
    ):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1
    assert main(["ab"]) == 0 and "usage" in capsys.readouterr().out
