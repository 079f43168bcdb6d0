"""Filters on whole texts and on messages."""

import pytest

from rlhf_ext.deployment.filters import Filter, FilterSet, Rule, SpanFilter, personal_data, words


def length(prompts, completions, **columns):
    return [float(len(text)) for text in completions]


def test_scores_between_the_thresholds_pass_ends_included():
    filters = FilterSet([Filter("length", length, at_least=2, at_most=4)])
    assert [filters.check("x" * n, "output").action for n in (1, 2, 4, 5)] == ["block", "allow", "allow", "block"]
    assert filters.check("x" * 9, "input").action == "allow"  # it is on the output alone


def test_the_strictest_action_decides_and_all_hits_are_told():
    filters = FilterSet(
        [
            SpanFilter("mail", personal_data(["email"])),
            SpanFilter("names", words(["heron"]), action="replace", replacement="No."),
            SpanFilter("seen", words(["blue"]), action="flag"),
        ]
    )
    verdict = filters.check("blue heron ada@example.org", "output")
    assert (verdict.action, verdict.text) == ("replace", "No.")
    assert sorted(hit.filter for hit in verdict.hits) == ["mail", "names", "seen"]
    assert filters.check("blue ada@example.org", "output").text == "blue [email]"
    assert filters.check("blue", "output").action == "flag"
    assert "ada" not in repr(verdict.hits)


def test_spans_that_overlap_become_one():
    filters = FilterSet([SpanFilter("a", [Rule("one", "abc")]), SpanFilter("b", [Rule("two", "bcd")])])
    assert filters.check("xabcdx", "output").text == "x[one]x"


@pytest.mark.parametrize(
    ("reward", "label"),
    [
        (lambda prompts, completions, **_: [None], "gave no score"),
        (lambda prompts, completions, **_: [float("nan")], "raised ValueError"),
        (lambda prompts, completions, **_: [], "raised ValueError"),
        (lambda prompts, completions, **_: {}["x"], "raised KeyError"),
    ],
)
def test_what_cannot_be_scored_is_blocked(reward, label):
    verdict = FilterSet([Filter("bad", reward, at_most=1)]).check("hello", "output")
    assert verdict.action == "block" and verdict.text == "" and verdict.hits[0].label == label
    assert FilterSet([Filter("bad", reward, at_most=1, action="replace")]).check("hello", "output").action == "block"
    assert FilterSet([Filter("bad", reward, at_most=1, action="flag")]).check("hello", "output").action == "flag"


def test_a_check_of_a_rule_that_raises_closes_too():
    def check(match):
        raise RuntimeError(match)

    filters = FilterSet([SpanFilter("bad", [Rule("digits", r"\d{3}", check)])])
    assert filters.check("no digits", "output").action == "allow"
    verdict = filters.check("some 123", "output")
    assert verdict.action == "block" and verdict.hits[0].label == "raised RuntimeError"


def test_an_interrupt_is_no_failure_of_a_filter():
    def stopped(prompts, completions, **columns):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FilterSet([Filter("stopped", stopped, at_most=1)]).check("hello", "output")


def test_async_rewards_are_asked_too():
    async def reward(prompts, completions, **columns):
        return [2.0] * len(completions)

    assert FilterSet([Filter("async", reward, at_most=1)]).check("hello", "output").action == "block"


MESSAGES = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": [{"type": "text", "text": "I am ada@example.org"}, {"type": "text", "text": "hi"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "mail", "arguments": '{"to": "bob@example.org"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "1", "content": "sent to bob@example.org"},
]


def test_every_text_of_messages_is_looked_at_and_the_rest_stays():
    verdict = FilterSet([SpanFilter("mail", personal_data(["email"]))]).check(MESSAGES, "input")
    assert verdict.action == "redact"
    assert [hit.part for hit in verdict.hits] == ["1.content.0.text", "2.tool_calls.0.function.arguments", "3.content"]
    assert verdict.text[1]["content"] == [{"type": "text", "text": "I am [email]"}, {"type": "text", "text": "hi"}]
    assert verdict.text[2]["tool_calls"][0]["function"]["arguments"] == '{"to": "[email]"}'
    assert verdict.text[0] == MESSAGES[0] and verdict.text[3] == {**MESSAGES[3], "content": "sent to [email]"}
    assert MESSAGES[3]["content"] == "sent to bob@example.org"  # what was given is as it was


def test_each_message_is_scored_with_what_was_sent_before_it():
    asked = []

    def reward(prompts, completions, **columns):
        asked.extend(zip(prompts, completions, strict=True))
        return [float("bob" in text) for text in completions]

    filters = FilterSet([Filter("bob", reward, at_most=0.5, on=["input"])])
    verdict = filters.check(MESSAGES[:2] + MESSAGES[3:], "input")
    assert verdict.action == "block" and verdict.text == [] and verdict.hits[0].part == "2.content"
    assert asked[0] == ([], "Be kind.") and asked[1] == (MESSAGES[:1], "I am ada@example.org")


def test_contents_that_no_filter_reads_are_blocked_unless_allowed():
    messages = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:..."}}]}]
    rules = [SpanFilter("mail", personal_data(["email"]), on=["input"])]
    assert FilterSet(rules).check(messages, "input").hits[0].part == "0.content.0"
    assert FilterSet(rules, not_text="allow").check(messages, "input").action == "allow"
    assert FilterSet([]).check(messages, "input").action == "allow"


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"content": {"text": "x"}}, "0.content"),
        ({"reasoning": [{"summary": "x"}]}, "0.reasoning.0"),
        ({"tool_calls": {"function": {}}}, "0.tool_calls"),
        ({"tool_calls": ["x"]}, "0.tool_calls.0"),
        ({"tool_calls": [{"function": {"name": "f", "arguments": {"q": "x"}}}]}, "0.tool_calls.0.function"),
        ({"tool_calls": [{"custom": {"input": ["x"]}}]}, "0.tool_calls.0.custom"),
        ({"function_call": "x"}, "0.function_call"),
    ],
)
def test_objects_where_texts_belong_are_blocked_too(fields, part):
    rules = FilterSet([SpanFilter("mail", personal_data(["email"]))])
    verdict = rules.check([{"role": "assistant", "content": None, **fields}], "output")
    assert verdict.action == "block" and [hit.part for hit in verdict.hits] == [part]


def test_a_long_text_is_scored_passage_by_passage_so_that_none_is_cut_off():
    seen = []

    def reward(prompts, completions, **columns):
        seen.extend(completions)
        return [0.0] * len(completions)

    text = "A sentence that is longer than forty characters. " * 40 + "no end" * 100
    FilterSet([Filter("seen", reward, at_most=0.5, window=100)]).check(text, "output")
    assert max(map(len, seen)) <= 400 and seen[-1].endswith("no end") and text.startswith(seen[0])
    assert all(text.find(one) >= 0 for one in seen)


def test_filters_that_make_no_sense_are_refused():
    for build, said in (
        (lambda: Filter("a", length), "neither"),
        (lambda: Filter("a", length, at_least=2, at_most=1), "above"),
        (lambda: Filter("a", length, at_most=1, action="redact"), "SpanFilter"),
        (lambda: Filter("a", "length", at_most=1), "reward function"),
        (lambda: Filter("a", length, at_most=1, window=5), "at least 40"),
        (lambda: Filter("a", length, at_most=1, on=["both"]), "must list"),
        (lambda: FilterSet([Filter("a", length, at_most=1), Filter("a", length, at_most=2)]), "Two filters"),
        (lambda: FilterSet([], not_text="drop"), "not_text"),
        (lambda: FilterSet([]).check("a", "both"), "`side`"),
    ):
        with pytest.raises(ValueError, match=said):
            build()
    for build in (
        lambda: FilterSet([length]),
        lambda: FilterSet([]).check(7, "input"),
        lambda: FilterSet(SET).check([7], "input"),
    ):
        with pytest.raises(TypeError):
            build()


SET = [SpanFilter("mail", personal_data(["email"]))]
