import sys

import pytest

from rlhf_ext.rewards.functions import JSONFormat, Tags


def score(reward, *texts):
    return reward(prompts=["?"] * len(texts), completions=list(texts))


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, null]}', " [1]\n", '"text"', "3", "true"])
def test_json_is_json(text):
    assert score(JSONFormat(), text) == [1.0]
    assert JSONFormat()(prompts=[[]], completions=[[{"role": "assistant", "content": text}]]) == [1.0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{'a': 1}",
        '{"a": 1,}',
        "NaN",
        "[Infinity]",
        "-Infinity",
        '{"a": 1} ok',
        '```json\n{"a": 1}\n```',
        "[" * 100_000,
        "9" * 10_000,
    ],
)
def test_everything_else_is_not(text):
    assert score(JSONFormat(), text) == [0.0]


def test_json_in_a_block():
    reward = JSONFormat(where="block")
    assert score(reward, 'Here:\n```json\n{"a": 1}\n```\nDone.', "```\n[1]\n```", "```json\n{a}\n```", '{"a": 1}') == [
        1.0,
        1.0,
        0.0,
        0.0,
    ]


def test_a_schema_must_be_met():
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "integer"}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    texts = ['{"answer": 4}', '{"answer": "4"}', '{"reply": 4}', '{"answer": 4, "x": 1}', "4", "{"]
    assert score(JSONFormat(schema), *texts) == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_a_wrong_schema_is_refused():
    with pytest.raises(ValueError, match="`schema` is no valid JSON Schema: .*nothing"):
        JSONFormat({"type": "nothing"})


def test_the_place_is_checked():
    with pytest.raises(ValueError, match="`where` should be 'text' or 'block', got 'anywhere'"):
        JSONFormat(where="anywhere")


def test_a_schema_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema.exceptions", None)
    assert score(JSONFormat(), "1") == [1.0]
    with pytest.raises(
        ImportError, match=r"JSONFormat with a schema needs the package jsonschema: pip install rlhf_ext\[eval\]"
    ):
        JSONFormat({})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>a</think><answer>b</answer>", 1.0),
        ("\n<think>\na < b\n</think>\n\n<answer>b</answer>\n", 1.0),
        ("<think>a <b>bold</b></think><answer>b</answer>", 1.0),
        ("<think>a</think>", 0.0),
        ("<answer>b</answer><think>a</think>", 0.0),
        ("<think>a</think> so <answer>b</answer>", 0.0),
        ("Well: <think>a</think><answer>b</answer>", 0.0),
        ("<think>a</think><answer>b</answer> bye", 0.0),
        ("<think></think><answer>b</answer>", 0.0),
        ("<think> \n</think><answer>b</answer>", 0.0),
        ("<think>a</think><answer>b", 0.0),
        ("<think>a<think>b</think><answer>c</answer>", 0.0),
        ("<think>a<answer>b</answer></think><answer>c</answer>", 0.0),
        ("<think>a</think><answer>b</answer><answer>c</answer>", 0.0),
        ("<THINK>a</THINK><answer>b</answer>", 0.0),
        ("", 0.0),
    ],
)
def test_tags(text, expected):
    assert score(Tags("think", "answer"), text) == [expected]


def test_the_first_tag_may_stand_in_the_prompt():
    reward = Tags("think", "answer", prefilled=True)
    assert score(
        reward, "a</think><answer>b</answer>", "<think>a</think><answer>b</answer>", "</think><answer>b</answer>"
    ) == [1.0, 0.0, 0.0]


def test_a_long_text_takes_no_time():
    assert score(Tags("think", "answer"), "<think>" + " " * 200_000, "<think>a</think>" * 20_000) == [0.0, 0.0]


@pytest.mark.parametrize("wrong", [(), ("a", "a"), ("<think>",), ("a b",), ("",), ("1a",)])
def test_tags_are_checked(wrong):
    with pytest.raises(ValueError, match="Tags takes names of tags, each once"):
        Tags(*wrong)
