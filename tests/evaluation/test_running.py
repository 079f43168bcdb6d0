"""A suite put to a model: what is asked, kept, counted and never lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf_ext.evaluation.running import run_suite
from rlhf_ext.evaluation.suite import Column
from rlhf_ext.generation import LocalGenerator, ScriptedGenerator, Unanswered
from rlhf_ext.types import text_of

from .small_suite import SmallSuite

DRIVER = Path(__file__).with_name("kill_driver.py")


def echo(prompt, sampling):
    return f"about {text_of(prompt).split()[-1]} {sampling['seed'] % 97}"


def sampled():
    return SmallSuite(samples=2, temperature=1.0)


def by_name(result):
    return {column.name: column for column in result.columns}


def test_every_sample_of_every_case_is_asked_once_with_a_seed_of_its_own():
    generator, suite = ScriptedGenerator(echo), sampled()
    result = run_suite(generator, suite, seed=3)
    assert [prompt for prompt, _ in generator.calls] == [c.prompt for c in suite.cases for _ in range(2)]
    assert len({sampling["seed"] for _, sampling in generator.calls}) == 48
    assert all(sampling["max_new_tokens"] == 8 for _, sampling in generator.calls)
    cases, answers = suite.measured[0]
    assert answers == result.answers and [case.id for case in cases] == result.clusters(result.columns[0])
    again, other = (run_suite(ScriptedGenerator(echo), sampled(), seed=seed) for seed in (3, 4))
    assert again.answers == result.answers and other.answers != result.answers


def test_figures_are_estimated_by_case():
    result = run_suite(
        ScriptedGenerator(lambda prompt, sampling: "a b" if "cats" in text_of(prompt) else "b"), sampled()
    )
    estimates = result.estimates()
    assert estimates["small.a_word"].value == 3 / 24 and estimates["small.a_word"].n == 48
    assert estimates["small.any_long"].n == 24 and estimates["small.shouting"].n == 16
    assert "small.never" not in estimates and estimates["small.failed"].value == 0


def refuses(word):
    def respond(prompt, sampling):
        if word in text_of(prompt):
            raise Unanswered("content filter")
        return "" if "dogs" in text_of(prompt) else "yes, a lot"

    return respond


def test_answers_that_fail_or_are_empty_are_counted_and_keep_their_place():
    suite = sampled()
    result = run_suite(ScriptedGenerator(refuses("owls")), suite)
    rows = [row for row, case in enumerate(result.clusters(result.columns[0])) if case.endswith("owls")]
    assert sorted(result.failures) == rows and result.failures[rows[0]] == "Unanswered: content filter"
    assert [row for row, answer in enumerate(result.answers) if answer is None] == rows
    assert len(suite.measured[0][1]) == 42
    columns = by_name(result)
    assert [row for row, value in enumerate(columns["a_word"].values) if value is None] == rows
    assert [row for row, value in enumerate(columns["any_long"].values) if value is None] == [2, 10, 18]
    assert sum(columns["failed"].values) == 6 and [columns["empty"].values[row] for row in rows] == [None] * 6
    assert sum(value or 0 for value in columns["empty"].values) == 6
    assert len(columns["long"].values) == 48 and len(columns["any_long"].values) == 24


def test_no_answer_at_all_is_an_error():
    with pytest.raises(ValueError, match="answered none of the 24 prompts of 'small': Unanswered: content filter"):
        run_suite(ScriptedGenerator(refuses("")), SmallSuite())


def test_a_prompt_that_is_too_long_fails_alone(policy, tokenizer):
    suite = SmallSuite()
    suite.cases[5].prompt[0]["content"] = "word " * 4000
    result = run_suite(LocalGenerator(policy, tokenizer), suite)
    assert list(result.failures) == [5] and "PromptTooLong" in result.failures[5]


# ---- what is kept ----


def test_a_run_that_is_done_asks_and_measures_nothing_again(tmp_path):
    first = run_suite(ScriptedGenerator(echo), sampled(), cache=tmp_path)
    generator, suite = ScriptedGenerator(echo), sampled()
    assert run_suite(generator, suite, cache=tmp_path) == first
    assert not generator.calls and not suite.measured


def test_what_changes_answers_is_another_run(tmp_path):
    run_suite(ScriptedGenerator(echo), sampled(), cache=tmp_path)
    for suite, settings in [
        (sampled(), {"seed": 1}),
        (sampled(), {"model": "other"}),
        (SmallSuite(samples=3, temperature=1.0), {}),
        (SmallSuite(samples=2, temperature=0.7), {}),
    ]:
        generator = ScriptedGenerator(echo)
        run_suite(generator, suite, cache=tmp_path, **settings)
        assert len(generator.calls) == len(suite.cases) * suite.samples
    assert len(list(tmp_path.iterdir())) == 5


def test_failures_are_asked_again_and_nothing_else_is(tmp_path):
    run_suite(ScriptedGenerator(refuses("owls")), sampled(), cache=tmp_path)
    generator = ScriptedGenerator(echo)
    result = run_suite(generator, sampled(), cache=tmp_path)
    assert {text_of(prompt).split()[-1].strip(".?") for prompt, _ in generator.calls} == {"owls"}
    assert len(generator.calls) == 6 and not result.failures and result.answers[0] == "yes, a lot"
    silent = ScriptedGenerator(echo)
    assert run_suite(silent, sampled(), cache=tmp_path) == result and not silent.calls


def test_an_error_of_the_measures_keeps_the_answers(tmp_path):
    class Breaks(SmallSuite):
        def measure(self, cases, answers):
            raise RuntimeError("the judge is gone")

    with pytest.raises(RuntimeError, match="the judge is gone"):
        run_suite(ScriptedGenerator(echo), Breaks(), cache=tmp_path)
    generator = ScriptedGenerator(echo)
    run_suite(generator, SmallSuite(), cache=tmp_path)
    assert not generator.calls


def test_other_weights_under_the_same_name_are_another_run(policy, tokenizer, tmp_path):
    first = run_suite(LocalGenerator(policy, tokenizer), SmallSuite(), cache=tmp_path)
    policy.lm_head.weight.data += 0.3 * policy.lm_head.weight.data.flip(0)
    second = run_suite(LocalGenerator(policy, tokenizer), SmallSuite(), cache=tmp_path)
    assert first.model == second.model and first.identity != second.identity and first.answers != second.answers


def test_cut_at_any_line_it_comes_to_the_same_end(policy, tokenizer, tmp_path):
    """A local model samples whole groups: what is left of one is written anew, and the texts are the same."""

    def run():
        return run_suite(LocalGenerator(policy, tokenizer, batch_size=2), sampled(), cache=tmp_path)

    whole = run()
    (path,) = tmp_path.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 48 // 8 + 1
    for kept in (0, 1, 3, 7):
        path.write_bytes(b"".join(lines[:kept]) + lines[kept][:20])
        assert run() == whole
        assert path.read_bytes() == b"".join(lines)


def test_killed_again_and_again_it_ends_the_same(tmp_path):
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(tmp_path)], capture_output=True, text=True, check=True, timeout=100
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["kills"] >= 3 and report["same"]
    assert report["asked"] <= 48 + report["kills"]  # each kill loses the answer in flight at most


def test_two_processes_do_not_share_a_run(tmp_path):
    def nested(prompt, sampling):
        run_suite(ScriptedGenerator(echo), SmallSuite(), model="m", cache=tmp_path)
        return "never"

    with pytest.raises(BlockingIOError, match="Another process is writing the store"):
        run_suite(ScriptedGenerator(nested), SmallSuite(), model="m", cache=tmp_path)


# ---- what `measure` may give ----


class Gives(SmallSuite):
    def __init__(self, columns):
        super().__init__()
        self.given = columns

    def measure(self, cases, answers):
        return self.given


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (None, "must give a list of Column"),
        ([1.0], "must give a list of Column"),
        ([Column("new", "New", [])], "gave 'new', which is not in its `figures`"),
        ([Column("long", "Long", [0.0] * 3)], "gave 3 values of 'long', one for each answer, where there are 24"),
        ([Column("long", "Long", [0.0] * 24)] * 2, "gave 'long' twice"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns, match):
    with pytest.raises(ValueError, match=match):
        run_suite(ScriptedGenerator(echo), Gives(columns))


def test_a_generator_without_each_is_refused():
    class Bare:
        def generate(self, prompts, **sampling):
            return list(prompts)

    with pytest.raises(TypeError, match="needs a method `each`"):
        run_suite(Bare(), SmallSuite())
