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


ROWS = [{"prompt": "2 + 2 =", "reference": "4"}]


@pytest.mark.parametrize(
    ("name", "settings", "tokens", "several"),
    [
        ("safety", {}, 256, 1.0),
        ("instructions", {}, 384, 1.0),
        ("automatic", {"rows": ROWS, "metrics": ["length"]}, 256, 1.0),
        ("code", {"allow_unsandboxed": True}, 512, 0.8),
    ],
)
@pytest.mark.filterwarnings("ignore:.*sandbox")
def test_given_sampling_goes_over_the_defaults_of_the_suite(name, settings, tokens, several):
    def sampling(samples=1, **given):
        return load_suite(name, samples=samples, sampling=given, **settings).sampling

    assert sampling() == {"temperature": 0.0, "max_new_tokens": tokens}
    assert sampling(max_new_tokens=16) == {"temperature": 0.0, "max_new_tokens": 16}, "still greedy"
    assert sampling(temperature=0.5, top_p=0.9) == {"temperature": 0.5, "max_new_tokens": tokens, "top_p": 0.9}
    assert sampling(samples=4, max_new_tokens=16) == {"temperature": several, "max_new_tokens": 16}
    assert sampling(samples=4, temperature=None) == sampling(samples=4), "None is the suite's default"


def test_the_version_is_that_of_the_sampling_that_is_used():
    def version(sampling):
        return load_suite("instructions", sampling=sampling).version

    whole = {"max_new_tokens": 16, "temperature": 0.0}
    assert version(None) == version({}) == version({"max_new_tokens": 384})
    assert version({"max_new_tokens": 16}) == version(whole) != version({**whole, "temperature": 1.0})
