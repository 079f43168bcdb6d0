"""The Python on the pages runs: the blocks of a page in turn, in one session, as its reader would paste them."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import io
import re
from contextlib import redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import trl

import rlhf_ext
from tests.docs.given import QUICK, REPLACED, lay_out, names, tiny_detoxify
from tests.docs.markdown import PAGES, Block, blocks, name_of

WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]
BLOCKS = [block for page in WITH_PYTHON for block in blocks(page, "python")]
CONFIGS = [
    trl.SFTConfig,
    trl.GRPOConfig,
    rlhf_ext.RewardConfig,
    rlhf_ext.DPOConfig,
    rlhf_ext.PPOConfig,
    rlhf_ext.RLHFConfig,
]


@pytest.fixture
def session(tiny, reward_folder, policy, tokenizer, preferences, tmp_path, monkeypatch) -> dict[str, Any]:
    """A folder to work in and the names that pages take as given; few rows, trainings of one step, servers that serve nobody."""
    short = preferences.filter(lambda row: len(row["prompt"][0]["content"]) < 200)  # the tiny model reads 512 tokens
    rows = short.shuffle(seed=0).select(range(16))
    lay_out(tmp_path, tiny, reward_folder, rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rlhf_ext, "assistant_preferences", lambda split: rows)
    for config in CONFIGS:
        monkeypatch.setattr(config, "__init__", quickly(config))
    for module in ("gateway", "feedback_ui"):
        monkeypatch.setattr(f"rlhf_ext.deployment.{module}.serve", lambda app, at, *rest: at.close())
    return {"__name__": "page", **names(policy, tokenizer, rows, tmp_path), "detoxify": tiny_detoxify(tmp_path)}


def quickly(config: type) -> Any:
    """A configuration's constructor, with QUICK where it has such a field and the caller does not set it."""
    made, there = config.__init__, {field.name for field in fields(config)}

    def __init__(self: Any, *args: Any, **given: Any) -> None:
        made(self, *args, **{name: value for name, value in QUICK.items() if name in there} | given)

    return __init__


def run(block: Block, session: dict[str, Any]) -> None:
    """A block, a statement at a time; what it says that a value is, has to be that value."""
    code = block.code
    for text, there in REPLACED.items():
        code = code.replace(text, there)
    lines = code.splitlines()
    for statement in ast.parse(code).body:
        where = f"{name_of(block.page)}:{block.line + statement.lineno - 1}"
        said = re.search(r"  # (.+)$", lines[statement.end_lineno - 1])
        printed = io.StringIO()
        with redirect_stdout(printed):
            if isinstance(statement, ast.Expr):
                value = eval(compile(ast.Expression(statement.value), where, "eval"), session)
            else:
                value = exec(compile(ast.Module([statement], []), where, "exec"), session)
        if said and isinstance(statement, ast.Expr) and is_value(said[1]):
            got = printed.getvalue().strip() or repr(value)
            assert doctest.OutputChecker().check_output(said[1], got, doctest.ELLIPSIS), f"{where} is {got}"


def is_value(comment: str) -> bool:
    """Whether a comment says what a value is, rather than something about it: a literal, or an object's repr."""
    return bool(re.fullmatch(r"""(['"\[({]|[A-Z]\w+\().*|[\d.]+|True|False|None|`.*""", comment))


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_the_python_of_a_page_runs(page: Path, session: dict[str, Any]):
    for block in blocks(page, "python"):
        if block.reason is None:
            run(block, session)


def test_what_a_block_says_of_a_value_is_checked(session: dict[str, Any], tmp_path: Path):
    run(Block(Path(__file__), 1, "python", "len('ab')  # 2\nlen('ab')  # the length"), session)
    with pytest.raises(AssertionError, match="is 2"):
        run(Block(Path(__file__), 1, "python", "len('ab')  # 3"), session)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{name_of(block.page)}:{block.line}")
def test_a_block_names_what_there_is(block: Block):
    """Whether it is run or not: it compiles, its imports are there, and ours take the arguments that it gives by name."""
    imported: dict[str, Any] = {}
    tree = ast.parse(block.code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            imported |= {alias.asname or alias.name: getattr(module, alias.name) for alias in node.names}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        callee = imported.get(call.func.id)
        if callee is None or not getattr(callee, "__module__", "").startswith("rlhf_ext"):
            continue
        if isinstance(callee, type) and issubclass(callee, Exception):
            continue
        takes = inspect.signature(callee).parameters
        if not any(one.kind is one.VAR_KEYWORD for one in takes.values()):
            assert {keyword.arg for keyword in call.keywords} - {None} <= set(takes), (
                f"{call.func.id}, line {call.lineno}"
            )


def test_few_blocks_are_not_run_and_each_says_why():
    left = [block for block in BLOCKS if block.reason is not None]
    assert len(left) <= 2 and all(len(str(block.reason).split()) > 3 for block in left)
