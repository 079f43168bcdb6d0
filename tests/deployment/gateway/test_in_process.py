"""A model in the gateway's own process: the `openai` client, batches, adapters, and what it cannot do."""

from __future__ import annotations

import json
import socket
import threading
import time

import openai
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf_ext.deployment.gateway import LocalSettings, Target
from rlhf_ext.generation import LocalGenerator

from ...conftest import THINKING
from .conftest import QUESTION

PROMPTS = ["Hello", "What is a good question to ask?", "Name a colour.", "I", "Tell me of the sea, please.", "No"]


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    """Folder of a LoRA adapter on the tiny model that says other things."""
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    folder = str(tmp_path_factory.mktemp("adapter"))
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def local(start, tiny, adapter):
    def begin(**settings):
        ours = LocalSettings(**{"path": tiny, "adapters": {"dpo": adapter}, "dtype": "float32", **settings})
        models = {"tiny": Target(backend="local")}
        models |= {f"tiny-{name}": Target(backend="local", model=name) for name in ours.adapters}
        return start(local={"local": ours}, models=models)

    return begin


@pytest.fixture(scope="module")
def expected(tiny, adapter):
    """What the base and the adapter write alone."""

    def write(model):
        tokenizer = AutoTokenizer.from_pretrained(tiny)
        chats = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
        return LocalGenerator(model, tokenizer, batch_size=1).generate(chats, max_new_tokens=12, temperature=0)

    base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    other = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    other.load_adapter(adapter)
    return {"tiny": write(base), "tiny-dpo": write(other)}


def ask(gateway, content="Hello", model="tiny", **fields):
    options = {"max_tokens": 12, "temperature": 0, **fields}
    return gateway.client().chat.completions.create(
        model=model, messages=[{"role": "user", "content": content}], **options
    )


def test_many_at_once_on_base_and_adapter_are_each_as_if_alone(local, expected):
    gateway = local(max_batch=8)
    found: dict[tuple[str, int], str] = {}

    def one(model, index, stream):
        answer = ask(gateway, PROMPTS[index], model, stream=stream)
        if stream:
            text = "".join(part.choices[0].delta.content or "" for part in answer)
        else:
            text = answer.choices[0].message.content
        found[model, index] = text

    asked = [(model, index, index % 2 == 0) for index in range(len(PROMPTS)) for model in expected]
    threads = [threading.Thread(target=one, args=each) for each in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == {
        (model, index): texts[index] for model, texts in expected.items() for index in range(len(PROMPTS))
    }
    assert expected["tiny"] != expected["tiny-dpo"]


def test_the_clients_whole_surface(local):
    gateway = local()
    client = gateway.client()
    assert [model.id for model in client.models.list()] == ["tiny", "tiny-dpo"]
    answer = ask(gateway, n=2, temperature=1.0, seed=5)
    assert len({choice.message.content for choice in answer.choices}) == 2 and answer.usage.completion_tokens <= 24
    assert answer.usage.prompt_tokens > 0 and answer.model == "tiny"
    again = ask(gateway, n=2, temperature=1.0, seed=5)
    assert [choice.message.content for choice in again.choices] == [
        choice.message.content for choice in answer.choices
    ]
    parts = list(ask(gateway, stream=True, stream_options={"include_usage": True}))
    assert parts[0].choices[0].delta.role == "assistant" and parts[-1].usage.completion_tokens <= 12
    assert parts[-2].choices[0].finish_reason in ("length", "stop")
    text = client.completions.create(model="tiny", prompt=["Hello", "I"], max_tokens=5, temperature=0)
    assert [choice.index for choice in text.choices] == [0, 1]
    tokens = AutoTokenizer.from_pretrained(gateway.gateway.settings.local["local"].path)("Hello")["input_ids"]
    same = client.completions.create(model="tiny", prompt=tokens, max_tokens=5, temperature=0)
    assert same.choices[0].text == text.choices[0].text
    blocks = [{"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}]
    whole = client.chat.completions.create(model="tiny", messages=blocks, max_tokens=12, temperature=0)
    assert whole.choices[0].message.content == ask(gateway).choices[0].message.content
    said = ask(gateway).choices[0].message.content
    stop = said[2:5]
    short = ask(gateway, stop=stop)
    assert short.choices[0].message.content == said[: said.index(stop)] and short.choices[0].finish_reason == "stop"
    [first, *_] = gateway.rows(8)
    assert first.model == "tiny" and first.completion_tokens > 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"presence_penalty": 1.0}, "presence_penalty"),
        ({"max_tokens": 100_000}, "messages"),
        ({"n": 100}, "n"),
        ({"extra_body": {"top_k": "many"}}, "top_k"),
        ({"extra_body": {"min_p": 0.1}}, "min_p"),
        ({"extra_body": {"repetition_penalty": 1.3}}, "repetition_penalty"),
        ({"extra_body": {"guided_choice": ["a", "b"]}}, "guided_choice"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(local, fields, param):
    gateway = local()
    with pytest.raises(openai.BadRequestError) as caught:
        ask(gateway, **fields)
    assert caught.value.param == param
    assert ask(gateway, **{"presence_penalty": 0, "logprobs": False}).choices, "values that change nothing pass"


def test_images_are_refused(local):
    gateway = local()
    image = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    status, _, answer = gateway.post(
        "/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": image}]}
    )
    assert status == 400 and answer["error"]["param"] == "messages[0].content"


def test_when_the_client_goes_its_place_is_free(local):
    gateway = local(max_batch=1, wait_seconds=5.0)
    body = {"model": "tiny", "messages": QUESTION, "max_tokens": 400, "temperature": 1.0, "stream": True}
    raw = json.dumps({**body, "stop": ["\u0001"]}).encode()
    engine = gateway.gateway.backends["local"].engine
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(raw)
        connection.sendall(head + raw)
        assert b"200" in connection.recv(50)
    until = time.monotonic() + 10
    while engine.running and time.monotonic() < until:
        time.sleep(0.01)
    assert engine.running == 0
    assert ask(gateway).choices[0].message.content


def test_a_model_that_is_not_there_says_so(start, tmp_path):
    from rlhf_ext.deployment.gateway.in_process import load_engine

    with pytest.raises(FileNotFoundError, match="No model"):
        load_engine(LocalSettings(path=str(tmp_path / "nothing")))
    with pytest.raises(ValueError, match="no adapter 'x'"):
        start(local={"l": LocalSettings(path="x")}, models={"m": Target(backend="l", model="x")})


def test_what_the_template_refuses_is_the_requests_fault(local, tiny, tmp_path):
    """Gemma's takes no system message, Mistral's wants turns in order."""
    folder = str(tmp_path / "strict")
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    tokenizer.chat_template = refusal + THINKING
    tokenizer.save_pretrained(folder)
    gateway = local(path=folder, adapters={})
    messages = [{"role": "system", "content": "Be kind."}, *QUESTION]
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="System role not supported") as caught:
            list(gateway.client().chat.completions.create(model="tiny", messages=messages, stream=stream))
    assert caught.value.type == "invalid_request_error" and ask(gateway).choices


def test_what_the_template_is_told_is_the_servers_to_say(local, tiny, tmp_path):
    folder = str(tmp_path / "thinker")
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = THINKING
    tokenizer.save_pretrained(folder)
    plain = local(path=folder, adapters={})
    told = local(path=folder, adapters={}, chat_template_kwargs={"enable_thinking": False})
    counts = [ask(gateway).usage.prompt_tokens for gateway in (plain, told)]
    assert counts[1] - counts[0] == len(tokenizer("<think></think>", add_special_tokens=False)["input_ids"])
    with pytest.raises(openai.BadRequestError, match="chat_template_kwargs"):
        ask(told, extra_body={"chat_template_kwargs": {"enable_thinking": True}})
