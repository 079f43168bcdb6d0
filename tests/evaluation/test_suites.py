"""Suites by name."""

import sys
from pathlib import Path

import pytest

from rlhf_ext.evaluation.suites import SUITES, load_suite, load_suites


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield
    sys.modules.pop("small_suite", None)


def test_a_suite_of_ones_own():
    suite = load_suite("small_suite:make")
    assert (suite.name, suite.samples) == ("small", 2)
    assert load_suite("small_suite:SmallSuite", samples=3, temperature=0.5).samples == 3
    assert [suite.name for suite in load_suites(" small_suite:greedy, ")] == ["small"]
    name = "small_suite:SmallSuite"
    assert load_suites(name, {name: {"samples": 2, "temperature": 1.0}, "other": {"x": 1}})[0].samples == 2


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (
            "safty",
            "no suite 'safty'; there are safety, instructions, automatic, code, and your own as module:function",
        ),
        ("small_suite:make,safty", "no suite 'safty'"),
        ("", "No suite is named"),
        ("small_suite:make,small_suite:make", "named more than once"),
        ("small_suite:make,small_suite:greedy", "Two of the suites are called 'small'"),
        ("small_suite:nothing", "no 'nothing' in 'small_suite'"),
    ],
)
def test_what_is_no_suite_is_refused(names, match):
    with pytest.raises(ValueError, match=match):
        load_suites(names)


def test_other_mistakes():
    with pytest.raises(ImportError, match="gone_module"):
        load_suite("gone_module:make")
    with pytest.raises(TypeError, match="list is no suite"):
        load_suite("builtins:list")
    assert set(SUITES) == {"safety", "instructions", "automatic", "code"}
