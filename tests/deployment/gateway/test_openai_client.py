"""The `openai` client, unchanged, against the gateway over a stub."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

from rlhf_ext.deployment.gateway import Target, UpstreamSettings

from .conftest import QUESTION
from .stub import WORDS, running

TEXT = "".join(WORDS)


def test_chat(start, stub):
    gateway = start(stub)
    answer = gateway.client().chat.completions.create(model="stub", messages=QUESTION, temperature=0.5, user="ann")
    assert answer.choices[0].message.content == TEXT and answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == len(WORDS) and answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-") and answer.id == answer._request_id
    [(path, headers, body)] = stub.requests
    assert path == "/v1/chat/completions" and body["temperature"] == 0.5 and body["user"] == "ann"
    assert "authorization" not in headers, "the client's key is the gateway's, not the model server's"


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("usage_alone", [True, False])
@pytest.mark.parametrize("asked", [True, False])
def test_a_stream_is_whole_whatever_the_model_server_leaves_out(start, done, usage_alone, asked):
    with running(done=done, usage_alone=usage_alone) as stub:
        gateway = start(stub)
        options = {"stream_options": {"include_usage": True}} if asked else {}
        stream = gateway.client().chat.completions.create(model="stub", messages=QUESTION, stream=True, **options)
        parts = list(stream)
        assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == TEXT
        assert len({part.id for part in parts}) == 1 and parts[0].id.startswith("chatcmpl-")
        alone = [part.usage for part in parts if not part.choices]
        assert [usage.completion_tokens for usage in alone] == ([len(WORDS)] if asked else [])
        _, headers, text = gateway.post("/v1/chat/completions", gateway.chat(stream=True, **options))
        assert text.endswith("data: [DONE]\n\n") and text.count("[DONE]") == 1
        assert headers["content-type"].startswith("text/event-stream")
        first, _ = gateway.rows(2)
        assert first.completion_tokens == len(WORDS), "counted, whether the client asks or not"
        assert first.texts == [TEXT] and 0 < first.ttft <= first.seconds


def test_completions(start, stub):
    gateway = start(stub)
    answer = gateway.client().completions.create(model="stub", prompt="2 + 2 =", n=2)
    assert [choice.text for choice in answer.choices] == [TEXT, TEXT] and answer.id.startswith("cmpl-")
    parts = list(gateway.client().completions.create(model="stub", prompt="2 + 2 =", stream=True))
    assert "".join(part.choices[0].text for part in parts) == TEXT
    assert [row.kind for row in gateway.rows(2)] == ["completion", "completion"]
    assert gateway.rows()[0].texts == [TEXT, TEXT]


def test_n_choices_of_a_stream_stay_apart(start, stub):
    gateway = start(stub)
    parts = list(gateway.client().chat.completions.create(model="stub", messages=QUESTION, stream=True, n=3))
    for index in range(3):
        mine = [part.choices[0] for part in parts if part.choices[0].index == index]
        assert "".join(one.delta.content or "" for one in mine) == TEXT
    assert gateway.rows(1)[0].texts == [TEXT] * 3


def test_models(start, stub):
    gateway = start(stub, models={"assistant": Target(backend="up", model="stub")})
    client = gateway.client()
    assert [model.id for model in client.models.list()] == ["assistant"]
    assert client.models.retrieve("assistant").id == "assistant"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("stub")
    assert caught.value.code == "model_not_found"
    answer = client.chat.completions.create(model="assistant", messages=QUESTION)
    assert answer.model == "assistant" and stub.requests[0][2]["model"] == "stub"
    parts = list(client.chat.completions.create(model="assistant", messages=QUESTION, stream=True))
    assert {part.model for part in parts} == {"assistant"}


def test_without_models_of_its_own_it_has_those_of_its_one_upstream(start, stub):
    gateway = start(upstreams={"up": UpstreamSettings(url=stub.url)})
    client = gateway.client()
    assert [model.id for model in client.models.list()] == ["stub"]
    assert client.chat.completions.create(model="stub", messages=QUESTION).choices[0].message.content == TEXT
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.chat.completions.create(model="another", messages=QUESTION)


def test_the_async_client_many_at_once(start, stub):
    gateway = start(stub)

    async def ask(client: openai.AsyncOpenAI, n: int) -> str:
        if n % 2:
            answer = await client.chat.completions.create(model="stub", messages=QUESTION)
            return answer.choices[0].message.content
        stream = await client.chat.completions.create(model="stub", messages=QUESTION, stream=True)
        return "".join([part.choices[0].delta.content or "" async for part in stream])

    async def all_of_them() -> list[str]:
        url = f"http://127.0.0.1:{gateway.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            return await asyncio.gather(*[ask(client, n) for n in range(60)])

    assert asyncio.run(all_of_them()) == [TEXT] * 60
    rows = gateway.rows(60)
    assert len(rows) == len({row.id for row in rows}) == 60


def test_what_the_gateway_does_not_know_passes(start, stub):
    gateway = start(stub)
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]
    gateway.client().chat.completions.create(
        model="stub", messages=QUESTION, tools=tools, extra_body={"min_p": 0.1, "chat_template_kwargs": {"a": [1]}}
    )
    body = stub.requests[0][2]
    assert body["min_p"] == 0.1 and body["chat_template_kwargs"] == {"a": [1]} and body["tools"] == tools


def test_texts_pass_byte_for_byte_even_those_that_look_like_ids(start):
    words = ['"id": "up-1"', ' {"id": "up-1"}', " \u2028é😀", ' "model": "stub"', "\n\ndata: [DONE]\n\n", "\\u0000"]
    with running(words=words) as stub:
        client = start(stub).client()
        answer = client.chat.completions.create(model="stub", messages=QUESTION)
        assert answer.choices[0].message.content == "".join(words) and answer.id != "up-1"
        parts = list(client.chat.completions.create(model="stub", messages=QUESTION, stream=True))
        assert [part.choices[0].delta.content for part in parts][1:-1] == words


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"messages": QUESTION}, "model", "Missing required parameter: 'model'"),
        ({"model": "stub"}, "messages", "Missing required parameter: 'messages'"),
        ({"model": "stub", "messages": []}, "messages", "at least one message"),
        ({"model": "stub", "messages": "hi"}, "messages", "expected an array of objects, but got a string"),
        ({"model": "stub", "messages": [{"content": "x"}]}, "messages[0].role", "Missing required"),
        ({"model": "stub", "messages": [{"role": "user", "content": 3}]}, "messages[0].content", "but got an integer"),
        ({"model": 3, "messages": QUESTION}, "model", "but got an integer"),
        ({"model": "stub", "messages": QUESTION, "temperature": "hot"}, "temperature", "expected a number"),
        ({"model": "stub", "messages": QUESTION, "temperature": 3}, "temperature", "above the maximum of 2"),
        ({"model": "stub", "messages": QUESTION, "stream": "yes"}, "stream", "expected a boolean"),
        ({"model": "stub", "messages": QUESTION, "max_tokens": 0}, "max_tokens", "below the minimum of 1"),
        ({"model": "stub", "messages": QUESTION, "n": True}, "n", "but got a boolean"),
        ({"model": "stub", "messages": QUESTION, "stop": [1]}, "stop", "array of strings"),
        ({"model": "stub", "messages": QUESTION, "user": 7}, "user", "expected a string"),
        ({"model": "stub", "messages": QUESTION, "stream_options": {}}, "stream_options", "only allowed when"),
    ],
)
def test_wrong_types_are_named_as_openai_names_them(start, stub, body, param, words):
    gateway = start(stub)
    status, _, answer = gateway.post("/v1/chat/completions", body)
    error = answer["error"]
    assert status == 400 and error["param"] == param and words in error["message"]
    assert error["type"] == "invalid_request_error" and set(error) == {"message", "type", "param", "code"}
    assert stub.requests == [] and gateway.rows() == []


@pytest.mark.parametrize("raw", [b"{", b"[1]", b"", b"\xff", b'{"model": NaN}', b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(start, stub, raw):
    status, _, answer = start(stub).post("/v1/chat/completions", raw)
    assert status == 400 and "JSON" in answer["error"]["message"]


def test_unknown_models_paths_and_methods(start, stub):
    gateway = start(stub)
    status, _, answer = gateway.post("/v1/chat/completions", {**gateway.chat(), "model": "gpt-4"})
    assert (status, answer["error"]["code"]) == (404, "model_not_found")
    assert answer["error"]["message"] == "The model `gpt-4` does not exist or you do not have access to it."
    assert gateway.post("/v1/embeddings", {})[0] == 404
    assert gateway.get("/v1/chat/completions")[0] == 405
    assert json.dumps(gateway.get("/nothing")[2]).count("Invalid URL (GET /nothing)") == 1


def test_an_observer_is_told_of_each_request_once(start, stub):
    gateway = start(stub)
    gateway.client().chat.completions.create(model="stub", messages=QUESTION, user="ann")
    list(gateway.client().chat.completions.create(model="stub", messages=QUESTION, stream=True))
    first, second = gateway.watcher.seen
    assert first.text == second.text == TEXT and first.prompt == QUESTION and first.status == 200
    assert first.user_hash == gateway.gateway.store.hash("ann") and second.user_hash is None
    assert second.stream and second.ttft > 0 and second.completion_tokens == len(WORDS)
