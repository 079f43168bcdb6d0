"""Filters on the gateway's traffic: nothing forbidden leaves, whole or cut, and what cannot be checked does not pass."""

from __future__ import annotations

import json
import random
import time

import openai
import pytest

from rlhf_ext.deployment.gateway import FilterSettings, LimitSettings

from .stub import WORDS, running

SECRET = "blue heron"
FORBIDDEN = FilterSettings(name="codename", words=[SECRET])


def slow(prompts, completions, **columns):
    time.sleep(3)
    return [0.0 for _ in completions]


def broken(prompts, completions, **columns):
    raise RuntimeError("no model")


def length(prompts, completions, **columns):
    """A score: 1 where somebody shouts."""
    return [float("!" in text) for text in completions]


def ask(gateway, content="2 + 2?", **fields):
    return gateway.client().chat.completions.create(
        model="stub", messages=[{"role": "user", "content": content}], **fields
    )


def streamed(gateway, client=None, **fields):
    """Text and how it ended."""
    client = client or gateway.client()
    question = [{"role": "user", "content": "2 + 2?"}]
    made = client.chat.completions.create(model="stub", messages=question, stream=True, **fields)
    parts = [part for part in made if part.choices]
    text = "".join(part.choices[0].delta.content or "" for part in parts)
    return text, parts[-1].choices[0].finish_reason


@pytest.mark.parametrize("action", ["block", "replace", "redact"])
def test_a_span_in_an_answer(start, stub, action):
    stub.words = ["It is the ", "blue", " he", "ron", ", said", " she."]
    gateway = start(stub, filters=[FilterSettings(name="codename", words=[SECRET], action=action)])
    whole = ask(gateway).choices[0]
    text, reason = streamed(gateway)
    assert SECRET not in text and SECRET not in whole.message.content
    if action == "redact":
        assert text == whole.message.content == "It is the [removed], said she."
        assert reason == whole.finish_reason == "stop"
    else:
        assert reason == whole.finish_reason == "content_filter"
        assert text.endswith("I cannot say that.") == (action == "replace") and "said" not in text
    rows = gateway.rows(2)
    assert [row.filter_hits[0]["filter"] for row in rows] == ["codename"] * 2
    assert SECRET not in json.dumps([row.texts for row in rows])
    assert gateway.watcher.seen[1].text == text, "what was observed is what the client got"
    assert (
        f'filter_hits_total{{action="{action}",filter="codename",model="stub",variant=""}} 2.0'
        in gateway.get("/metrics")[2]
    )


def test_no_planted_span_leaves_however_it_is_cut_and_no_harmless_text_is_lost(start):
    """Half of 500 streams hold the span somewhere, cut at random borders; the others something near it."""
    pick = random.Random(0)
    with running() as stub:
        gateway = start(stub, filters=[FilterSettings(name="codename", words=[SECRET], action="redact")])
        client = gateway.client()
        for n in range(500):
            planted = SECRET if n % 2 else pick.choice(["blue her", "blueheron", "a heron, blue", "blue"])
            text = "".join(
                pick.choice(["Some ", "words, ", "bl", "ue ", "and é "]) for _ in range(pick.randint(0, 12))
            )
            text = f"{text} {planted} {text[::-1]}"
            cuts = sorted(pick.sample(range(1, len(text)), min(len(text) - 1, pick.randint(1, 12))))
            stub.words = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
            got, reason = streamed(gateway, client)
            assert reason == "stop"
            assert got == (text.replace(SECRET, "[removed]") if n % 2 else text), stub.words


def test_when_an_answer_is_blocked_the_model_server_stops(start, stub):
    stub.words = ["a ", SECRET, " b"] + ["word "] * 2000
    stub.gap = 0.005
    gateway = start(stub, filters=[FORBIDDEN])
    begun = time.monotonic()
    assert streamed(gateway) == ("a ", "content_filter")
    assert time.monotonic() - begun < 5
    until = time.monotonic() + 5
    while not stub.broken_off and time.monotonic() < until:
        time.sleep(0.01)
    assert stub.broken_off == 1


def test_choices_are_filtered_one_by_one(start, stub):
    gateway = start(
        stub, filters=[FilterSettings(name="shout", reward=f"{__name__}:length", at_most=0.5, window=None)]
    )
    stub.words = ["Hey", "!"]
    answer = ask(gateway, n=2)
    assert [choice.finish_reason for choice in answer.choices] == ["content_filter"] * 2
    assert [choice.message.content for choice in answer.choices] == ["", ""]
    stub.words = WORDS
    assert [choice.finish_reason for choice in ask(gateway, n=2).choices] == ["stop"] * 2
    parts = list(ask(gateway, n=2, stream=True))
    for index in range(2):
        said = [part.choices[0].delta.content or "" for part in parts if part.choices[0].index == index]
        assert "".join(said) == "".join(WORDS)


def about(prompts, completions, **columns):
    """A score: 1 where the answer is to "two"."""
    return [float(prompt == "two") for prompt in prompts]


@pytest.mark.parametrize("stream", [False, True])
def test_of_several_prompts_each_has_its_answer(start, stub, stream):
    """One that is blocked does not take the others along, and each is judged with its own prompt."""

    def parts(body, path):
        shown = {"id": "up-1", "object": "text_completion", "created": 1, "model": "stub"}
        ends = [(index, "", "stop") for index in range(4)]
        texts = [(0, f"a {SECRET} "), (1, "fine "), (2, "b "), (3, f"{SECRET} c ")]
        said = [
            *((index, text, None) for index, text in texts),
            *((index, text, None) for index, text in texts),
            *ends,
        ]
        made = [
            {**shown, "choices": [{"index": index, "text": text, "finish_reason": reason}]}
            for index, text, reason in said
        ]
        return [*made, b"data: [DONE]\n\n"]

    def whole(body, path):
        texts = [f"a {SECRET}", "fine fine ", "b b ", f"{SECRET} c"]
        choices = [{"index": index, "text": text, "finish_reason": "stop"} for index, text in enumerate(texts)]
        return {"id": "up-1", "object": "text_completion", "created": 1, "model": "stub", "choices": choices}

    stub._parts, stub._whole = parts, whole
    judged = FilterSettings(name="two", reward=f"{__name__}:about", at_most=0.5, action="flag")
    gateway = start(stub, filters=[FORBIDDEN, judged])
    made = gateway.client().completions.create(model="stub", prompt=["one", "two"], n=2, stream=stream)
    texts, reasons = ["", "", "", ""], ["", "", "", ""]
    for part in made if stream else [made]:
        for choice in part.choices:
            texts[choice.index] += choice.text
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts[1:3] == ["fine fine ", "b b "] and SECRET not in "".join(texts)
    assert reasons == ["content_filter", "stop", "stop", "content_filter"]
    hits = gateway.watcher.seen[0].filter_hits
    assert {hit.filter for hit in hits} == {"codename", "two"}


@pytest.mark.parametrize(
    "fields",
    [
        {"content": {"text": SECRET}},
        {"reasoning": {"text": SECRET}},
        {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": {"q": SECRET}}}]},
        {"function_call": {"name": "f", "arguments": {"q": SECRET}}},
    ],
)
def test_an_object_where_text_belongs_does_not_leave_unread(start, stub, fields):
    message = {"role": "assistant", "content": "ok", **fields}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    stub._whole = lambda body, path: {"id": "up-1", "object": "chat.completion", "choices": [choice]}
    gateway = start(stub, filters=[FORBIDDEN])
    status, _, answer = gateway.post("/v1/chat/completions", gateway.chat())
    assert status == 200 and SECRET not in json.dumps(answer)
    assert answer["choices"][0]["finish_reason"] == "content_filter"


def test_reasoning_and_tool_calls_are_texts_too(start, stub):
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"q": "blue heron"}'}}]
    choice = {"index": 0, "finish_reason": "stop", "logprobs": {"content": [{"token": SECRET}]}, "extra": SECRET}
    stub._whole = lambda body, path: {
        **{"id": "up-1", "object": "chat.completion", "created": 1, "model": "stub"},
        "choices": [{**choice, "message": {"role": "assistant", "content": "ok", **fields}}],
    }
    redact = [FilterSettings(name="codename", words=[SECRET], action="redact")]
    gateway = start(stub, filters=redact)
    for fields in ({"reasoning_content": f"Say {SECRET}"}, {"tool_calls": calls}, {"unknown": SECRET}):
        _, _, answer = gateway.post("/v1/chat/completions", gateway.chat())
        found = json.dumps(answer)
        kept = answer["choices"][0]["message"]
        assert SECRET not in json.dumps(kept) and "extra" not in found
        assert kept["content"] == "ok"
        if "unknown" not in fields:
            assert "[removed]" in json.dumps(kept) and SECRET not in found, (
                "probabilities of what was taken out go too"
            )


def test_probabilities_would_spell_out_what_is_held_back(start, stub):
    gateway = start(stub, filters=[FORBIDDEN])
    with pytest.raises(openai.BadRequestError) as caught:
        ask(gateway, stream=True, logprobs=True)
    assert caught.value.param == "logprobs"
    assert ask(gateway, logprobs=True).choices[0].message.content == "".join(WORDS)


def test_what_may_not_be_asked(start, stub):
    both = FilterSettings(name="codename", words=[SECRET], sides=["input"])
    personal = FilterSettings(name="personal", personal=["email"], sides=["input"], action="redact")
    gateway = start(stub, filters=[both, personal])
    with pytest.raises(openai.BadRequestError) as caught:
        ask(gateway, f"Where is the {SECRET}?")
    assert caught.value.code == "content_filter" and caught.value.param == "messages" and stub.requests == []
    status, _, answer = gateway.post("/v1/completions", {"model": "stub", "prompt": ["hello", SECRET]})
    assert (status, answer["error"]["param"]) == (400, "prompt")
    assert gateway.post("/v1/completions", {"model": "stub", "prompt": [1, 2]})[0] == 400, "tokens cannot be read"
    ask(gateway, "I am ann@example.org")
    assert stub.requests[-1][2]["messages"] == [{"role": "user", "content": "I am [email]"}]
    rows = gateway.rows(4)
    assert [row.error for row in rows] == ["content_filter"] * 3 + [None]
    assert rows[0].filter_hits[0]["filter"] == "codename"


@pytest.mark.parametrize("stream", [True, False])
def test_a_filter_can_answer_itself(start, stub, stream):
    said = FilterSettings(
        name="codename", words=[SECRET], sides=["input"], action="replace", replacement="Ask the zoo."
    )
    gateway = start(stub, filters=[said])
    content = f"Where is the {SECRET}?"
    if stream:
        parts = list(ask(gateway, content, stream=True))
        assert parts[0].choices[0].delta.content == "Ask the zoo."
        assert parts[0].choices[0].finish_reason == "content_filter"
    else:
        choice = ask(gateway, content).choices[0]
        assert (choice.message.content, choice.finish_reason) == ("Ask the zoo.", "content_filter")
    assert stub.requests == [] and gateway.rows(1)[0].status == 200


@pytest.mark.parametrize("name", ["broken", "slow"])
def test_a_filter_that_fails_lets_nothing_through(start, stub, name):
    failing = FilterSettings(name=name, reward=f"{__name__}:{name}", at_most=0.5, sides=["input", "output"])
    out = FilterSettings(name=name, reward=f"{__name__}:{name}", at_most=0.5)
    limits = LimitSettings(filter_seconds=0.3)
    asking = start(stub, filters=[failing], limits=limits)
    assert asking.post("/v1/chat/completions", asking.chat())[2]["error"]["code"] == "content_filter"
    assert stub.requests == []
    gateway = start(stub, filters=[out], limits=limits)
    choice = ask(gateway).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("", "content_filter")
    assert streamed(gateway) == ("", "content_filter")
    assert all(row.filter_hits[0]["action"] == "block" for row in gateway.rows(3))


def test_what_is_only_flagged_passes_and_is_kept(start, stub):
    gateway = start(stub, filters=[FilterSettings(name="four", words=["4"], action="flag")])
    assert ask(gateway).choices[0].message.content == "".join(WORDS)
    assert streamed(gateway) == ("".join(WORDS), "stop")
    assert [row.filter_hits[0]["action"] for row in gateway.rows(2)] == ["flag", "flag"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "a", "reward": "nothing"}, "module:name"),
        ({"name": "a", "reward": "rlhf_ext.nothing:x"}, "module:name"),
        ({"name": "a", "reward": f"{__name__}:length"}, "at_least"),
        ({"name": "a", "words": ["x"], "at_most": 1.0}, "for reward functions"),
        ({"name": "a", "patterns": {"x": "a+"}}, "without bound"),
        ({"name": "a", "personal": ["shoe size"]}, "Unknown kind"),
    ],
)
def test_a_filter_that_is_none_stops_the_start(start, stub, fields, words):
    with pytest.raises(ValueError, match=words):
        start(stub, filters=[FilterSettings(**fields)])


def test_the_whole_client_works_with_filters_on(start, stub):
    gateway = start(stub, filters=[FORBIDDEN])
    parts = list(ask(gateway, stream=True, stream_options={"include_usage": True}))
    assert parts[0].choices[0].delta.role == "assistant" and parts[-1].usage.completion_tokens == len(WORDS)
    assert {part.id for part in parts} == {gateway.rows(1)[0].id}
    answer = gateway.client().completions.create(model="stub", prompt="2 + 2 =")
    assert answer.choices[0].text == "".join(WORDS)
    said = gateway.client().completions.create(model="stub", prompt="2 + 2 =", stream=True)
    assert "".join(part.choices[0].text for part in said) == "".join(WORDS)
