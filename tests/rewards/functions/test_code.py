"""Code against its tests, in the sandbox; and the ways around them that policies find."""

import shutil

import pytest

from rlhf_ext.rewards.functions import CodeTests
from rlhf_ext.sandbox import SandboxUnavailable, check_sandbox

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")

ADD = "def add(a, b):\n    return a + b"
TESTS = ["assert add(1, 2) == 3", "assert add(-1, 1) == 0", "assert add(2, 2) == 4"]
DOUBLE = "print(int(input()) * 2)"
IO = [{"input": "1", "output": "2"}, {"input": "21\n", "output": "42\n"}]


def answer(code):
    return f"Here you go:\n```python\n{code}\n```\nIt works."


@pytest.fixture(scope="module")
def reward():
    return CodeTests(timeout_s=20)


def score(reward, code, tests, **columns):
    return reward(prompts=["?"], completions=[answer(code)], tests=[tests], **columns)[0]


def test_the_share_of_tests_that_pass(reward):
    assert score(reward, ADD, TESTS) == 1.0
    assert score(reward, "def add(a, b):\n    return 3", TESTS) == pytest.approx(1 / 3)
    assert score(reward, "def sub(a, b):\n    return a - b", TESTS) == 0.0
    assert score(reward, "def add(a, b)", TESTS) == 0.0
    assert score(reward, ADD, "assert add(1, 2) == 3\nassert add(1, 3) == 4") == 1.0
    assert score(reward, ADD, ["def check(f):\n    assert f(1, 2) == 3\ncheck(add)"]) == 1.0


def test_programs_with_input_and_output(reward):
    assert score(reward, DOUBLE, IO) == 1.0
    assert score(reward, "print(2)", IO) == 0.5
    assert score(reward, "print(int(input()) * 2, 'is it')", IO) == 0.0
    assert score(reward, "print(f'{int(input()) * 2}  \\n\\n')", IO) == 1.0  # blanks at line ends and the end
    assert score(reward, DOUBLE + "\n1 / 0", IO) == 0.0
    assert score(reward, "if __name__ == '__main__':\n    " + DOUBLE, IO[0]) == 1.0


def test_both_kinds_in_one_row(reward):
    code = f"{ADD}\nif __name__ == '__main__':\n    print(add(1, 2))"
    assert score(reward, code, [*TESTS, {"input": "", "output": "3"}]) == 1.0
    assert score(reward, code, [*TESTS, {"input": "", "output": "4"}]) == 0.75


def test_all_or_nothing():
    reward = CodeTests(score="all", timeout_s=20)
    assert score(reward, ADD, TESTS) == 1.0
    assert score(reward, "def add(a, b):\n    return 3", TESTS) == 0.0


def test_rows_are_scored_side_by_side(reward, metrics):
    wrong = "def add(a, b):\n    return 3"
    completions = [answer(ADD), answer(wrong), "I would rather not.", answer(ADD), answer(DOUBLE), ""]
    tests = [TESTS, TESTS, TESTS, None, IO, []]
    scores = reward(prompts=["?"] * 6, completions=completions, tests=tests, log_metric=metrics.log_metric)
    assert scores == [1.0, pytest.approx(1 / 3), 0.0, None, 1.0, None]
    expected = {"no_code": [0.25], "all_passed": [0.5], "timed_out": [0.0], "bad_tests": [0.0]}
    assert metrics == {f"code_tests/{name}": value for name, value in expected.items()}


def test_the_last_block_counts_and_messages_too(reward):
    text = (
        answer("def add(a, b):\n    return 0")
        + "\nNo, that is wrong.\n"
        + answer(ADD)
        + "\n```bash\npython add.py\n```"
    )
    assert reward(prompts=[[]], completions=[[{"role": "assistant", "content": text}]], tests=[TESTS]) == [1.0]


@pytest.mark.parametrize(
    "way",
    [
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "raise SystemExit",
        "print('passed'); print('3 passed, 0 failed'); import os; os._exit(0)",
        "import atexit, os\natexit.register(os._exit, 0)",
        "import os\nif os.fork(): os._exit(0)",
        "import os, sys\nsys.stdout.write(sys.stdin.read()); sys.stdout.flush(); os._exit(0)",
        "import os\nfor fd in range(3, 99):\n    try: os.write(fd, b'0\\n1\\n2\\n')\n    except OSError: pass",
        "import os\nprint(open('/tmp/main.py').read(), os.listdir('/tmp'))",
        "__name__ = 'solution'\ndef main(): pass\nimport sys\nsys.modules['solution'].__dict__.clear()",
        "assert_ = True\nAssertionError = Exception",
    ],
)
def test_ways_around_the_tests_earn_nothing(reward, way):
    assert score(reward, way, TESTS) == 0.0


def test_leaving_inside_a_test_fails_that_test_alone(reward):
    code = "import sys\ndef add(a, b):\n    if a == -1: sys.exit(0)\n    return a + b"
    assert score(reward, code, TESTS) == pytest.approx(2 / 3)


def test_a_test_that_never_ends_fails_with_those_after_it(metrics):
    code = "def add(a, b):\n    while a == -1: pass\n    return a + b"
    assert score(CodeTests(timeout_s=2), code, TESTS, log_metric=metrics.log_metric) == pytest.approx(1 / 3)
    assert metrics["code_tests/timed_out"] == [1.0]


def test_what_the_code_prints_does_not_hide_the_results(reward):
    assert (
        score(
            reward, "print('x' * 3_000_000)\n" + ADD + "\nimport sys; print('y' * 3_000_000, file=sys.stderr)", TESTS
        )
        == 1.0
    )


@pytest.mark.parametrize("isolated", [True, False])
def test_the_code_is_a_real_module(isolated):
    """String annotations, dataclasses and pickles look their module up."""
    code = "from __future__ import annotations\nimport dataclasses, pickle\n@dataclasses.dataclass\nclass Point:\n    x: int = 0"
    code += "\ndef copied(point):\n    return pickle.loads(pickle.dumps(point))"
    reward = CodeTests(timeout_s=20, isolated=isolated)
    assert score(reward, code, ["assert copied(Point(3)).x == 3", "from solution import Point"]) == 1.0


def test_tests_that_need_the_objects_themselves(metrics):
    code = "import pickle\nclass Point:\n    def __init__(self, x=0): self.x = x"
    tests = ["assert pickle.loads(pickle.dumps(Point(3))).x == 3"]
    assert score(CodeTests(timeout_s=20, isolated=False), code, tests) == 1.0
    assert score(CodeTests(timeout_s=20), code, tests, log_metric=metrics.log_metric) == 0.0
    assert metrics["code_tests/bad_tests"] == [1.0]


def test_tests_see_what_earlier_ones_did(reward):
    assert score(reward, "items = []", ["items.append(1)", "assert items == [1]"]) == 1.0


def test_memory_is_limited():
    code = "big = bytearray(300 << 20)\n" + ADD
    assert score(CodeTests(timeout_s=20), code, TESTS) == 0.0
    assert score(CodeTests(timeout_s=20, memory_mb=512), code, TESTS) == 1.0


@pytest.mark.parametrize("wrong", [3, [3], {"input": "1"}, [{"input": 1, "output": "2"}], [None]])
def test_a_test_that_is_none_is_refused_by_row(reward, wrong):
    with pytest.raises(
        TypeError, match=r'A test should be text or \{"input": ..., "output": ...\}, and row 1 of the column'
    ):
        reward(prompts=["?"] * 2, completions=[answer(ADD)] * 2, tests=[TESTS, wrong])


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="`score` should be 'share' or 'all', got 'some'"):
        CodeTests(score="some")
    for name in ("timeout_s", "memory_mb", "max_workers"):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            CodeTests(**{name: 0})
    with pytest.raises(ValueError, match="CodeTests reads the column 'cases'.*the columns are tests"):
        CodeTests(column="cases")(prompts=["?"], completions=["a"], tests=[TESTS])


def test_without_a_sandbox_it_is_not_even_made(monkeypatch, tmp_path):
    check_sandbox.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxUnavailable, match="is not run.*allow_unsandboxed=True"):
        CodeTests()
    with pytest.warns(UserWarning, match="with your rights, uncontained.*is not installed"):
        reward = CodeTests(allow_unsandboxed=True, timeout_s=20)
    assert score(reward, ADD, TESTS) == 1.0


def test_a_sandbox_that_fails_in_the_run_is_no_score(monkeypatch, tmp_path, reward):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxUnavailable):
        score(reward, ADD, TESTS)
