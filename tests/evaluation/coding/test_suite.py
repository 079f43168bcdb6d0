"""The code suite, from answers to figures."""

import doctest
import shutil

import pytest

from rlhf_ext.evaluation import coding
from rlhf_ext.evaluation.coding import Problem, code_suite, load_problems
from rlhf_ext.evaluation.comparison import compare
from rlhf_ext.evaluation.running import run_suite
from rlhf_ext.evaluation.suites import load_suite
from rlhf_ext.generation import ScriptedGenerator
from rlhf_ext.sandbox import SandboxUnavailable, Unsandboxed, check_sandbox
from rlhf_ext.stats import pass_at_k

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
ADD = Problem("add", "Write add(a, b).", ["assert add(1, 2) == 3", "assert add(2, 2) == 4"], "sums", entry_point="add")
ECHO = Problem("echo", "Echo.", [{"input": "a", "output": "a"}], "programs")
RIGHT = "```python\ndef add(a, b):\n    return a + b\n```"
WRONG = {
    "wrong_answer": "```python\ndef add(a, b):\n    return 3\n```",
    "raised_error": "```python\ndef add(a, b):\n    return a / 0\n```",
    "syntax_error": "```python\ndef add(a, b) return\n```",
    "timed_out": "```python\ndef add(a, b):\n    while True: pass\n```",
    "out_of_memory": "```python\ndef add(a, b):\n    return bytearray(1 << 40)\n```",
    "ended_early": "```python\nimport os\ndef add(a, b):\n    os._exit(0)\n```",
    "no_code": "I would rather not.",
}


def values(columns):
    return {column.name: column.values for column in columns}


def test_each_way_to_fail_is_told():
    suite = code_suite([ADD], timeout_s=2)
    answers = [RIGHT, *WRONG.values()]
    found = values(suite.measure([suite.cases[0]] * len(answers), answers))
    assert found["pass_at_1"] == [1.0] + [0.0] * len(WRONG)
    for place, figure in enumerate(WRONG, start=1):
        assert found[figure] == [float(row == place) for row in range(len(answers))], figure
    assert not any(found["untestable"])
    assert set(found) == set(suite.figures)


def test_all_tests_must_pass_and_the_first_that_does_not_tells():
    suite = code_suite([ADD, ECHO])
    half = "```python\ndef add(a, b):\n    if a == 2: raise ValueError\n    return 3\n```"
    found = values(suite.measure(suite.cases, [half, "```python\nprint(input())\n```"]))
    assert (found["pass_at_1"], found["raised_error"]) == ([0.0, 1.0], [1.0, 0.0])


def test_pass_at_k_is_of_each_problem():
    suite = code_suite([ADD, ECHO], ks=(2, 3), samples=4)
    assert suite.figures[:3] == ("pass_at_1", "pass_at_2", "pass_at_3") and suite.sampling["temperature"] == 0.8
    echo = "```python\nprint(input())\n```"
    cases = [suite.cases[0]] * 4 + [suite.cases[1]] * 2  # two answers of the second could not be generated
    columns = suite.measure(cases, [RIGHT, *list(WRONG.values())[:3], echo, echo])
    found = values(columns)
    assert found["pass_at_1"] == [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    assert found["pass_at_2"] == [pass_at_k(4, 1, 2), 1.0] and found["pass_at_3"] == [pass_at_k(4, 1, 3), None]
    assert [column.per for column in columns[:3]] == ["answer", "case", "case"]


def test_a_run_and_a_comparison():
    suite = code_suite([ADD, ECHO], ks=(1, 2), samples=2)
    good = ScriptedGenerator([RIGHT, RIGHT, "```python\nprint(input())\n```", "no"])
    bad = ScriptedGenerator([WRONG["syntax_error"]] * 4)
    before, after = (run_suite(model, suite, name) for model, name in ((bad, "bad"), (good, "good")))
    figures = {figure.name: figure for figure in compare(before, after)}
    assert (figures["code.pass_at_1"].before.value, figures["code.pass_at_1"].after.value) == (0.0, 0.75)
    assert figures["code.pass_at_2"].after.value == 1.0
    assert figures["code.syntax_error"].before.value == 1.0 and figures["code.no_code"].after.value == 0.25


def test_prompts_of_both_styles():
    humaneval = load_problems("humaneval")[:1]
    (chat,) = code_suite(humaneval).cases
    (plain,) = code_suite(humaneval, style="completion").cases
    assert chat.prompt[0]["role"] == "user" and humaneval[0].prefix.strip() in chat.prompt[0]["content"]
    assert plain.prompt == humaneval[0].prefix
    suite = code_suite(humaneval, style="completion")
    body = humaneval[0].solution.removeprefix(humaneval[0].prefix)
    assert values(suite.measure(suite.cases, [body + "\nprint(1)"]))["pass_at_1"] == [1.0]
    assert "\ndef " in suite.sampling["stop"] and "stop" not in code_suite(humaneval).sampling
    shorter = code_suite(humaneval, style="completion", sampling={"max_new_tokens": 99}).sampling
    assert shorter == {**suite.sampling, "max_new_tokens": 99}
    assert code_suite(humaneval, style="completion", sampling={"stop": []}).sampling["stop"] == []
    assert code_suite([ADD], style="completion").cases[0].prompt == '"""\nWrite add(a, b).\n"""\n'


def test_the_version_knows_what_decides():
    version = code_suite([ADD]).version
    assert code_suite([ADD], max_workers=1).version == version
    for other in (
        code_suite([ECHO]),
        code_suite([ADD], timeout_s=3),
        code_suite([ADD], style="completion"),
        code_suite([ADD], isolated=False),
        code_suite([ADD], samples=2),
    ):
        assert other.version != version


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"ks": (1, 10), "samples": 5}, "pass@10 needs at least 10 samples a problem, and `samples` is 5"),
        ({"ks": (0,)}, "`ks` should be whole numbers of at least 1, got 0"),
        ({"style": "poem"}, "`style` should be 'chat' or 'completion', got 'poem'"),
        ({"timeout_s": 0}, "`timeout_s` must be above 0"),
        ({"problems": []}, "has no cases"),
        ({"problems": [ADD, ADD]}, "ids come more than once, 'add'"),
    ],
)
def test_settings_are_checked(settings, match):
    with pytest.raises(ValueError, match=match):
        code_suite(**{"problems": [ADD], **settings})


def test_without_a_sandbox_it_refuses(monkeypatch, tmp_path):
    check_sandbox.cache_clear()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(SandboxUnavailable, match="is not run.*allow_unsandboxed=True"):
            code_suite([ADD])
        with pytest.warns(UserWarning, match="with your rights, uncontained"):
            suite = code_suite([ADD], allow_unsandboxed=True)
        assert values(suite.measure(suite.cases, [RIGHT]))["pass_at_1"] == [1.0]
    check_sandbox.cache_clear()
    assert values(code_suite([ADD], runner=Unsandboxed()).measure(suite.cases, [RIGHT]))["pass_at_1"] == [1.0]


def test_it_has_a_name_on_the_command_line():
    suite = load_suite("code", ks=(1, 2), samples=2)
    assert suite.name == "code" and len(suite.cases) == 36


HUMANEVAL = load_problems("humaneval")


def test_a_slice_of_humaneval_passes_with_its_solutions_and_not_without():
    """All 164 are in `benchmarks/humaneval.py`."""
    with_helpers = ("find_zero", "decode_shift", "decode_cyclic")
    problems = [p for number, p in enumerate(HUMANEVAL) if number % 8 == 0 or p.entry_point in with_helpers]
    suite = code_suite(problems)
    solved = [f"```python\n{p.solution}\n```" for p in problems]
    assert all(values(suite.measure(suite.cases, solved))["pass_at_1"])
    broken = [f"```python\n{p.prefix}    return None\n```" for p in problems]
    assert not any(values(suite.measure(suite.cases, broken))["pass_at_1"])


@pytest.mark.parametrize(
    "thing", [coding.code_suite, coding.extract_code, coding.load_problems, coding.own_problems, pass_at_k]
)
def test_examples_in_the_docstrings(thing):
    text = thing.__doc__.replace("```", "")
    example = doctest.DocTestParser().get_doctest(text, {}, thing.__name__, None, 0)
    assert example.examples and doctest.DocTestRunner().run(example).failed == 0
