"""Text from an endpoint, a real server on loopback."""

import asyncio
import math
import sys
import time
from typing import Any

import openai
import pytest

from rlhf_ext.generation import EndpointGenerator, Unanswered
from rlhf_ext.types import Generator

from .server import echo, first_token, reply


def test_endpoint_sends_messages_and_sampling(serve):
    server = serve(echo)
    generator = EndpointGenerator(server.url, "some-model")
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "two"}]
    assert generator.generate(["one"], max_new_tokens=5, temperature=0, top_p=0.5, stop=["e"], seed=3) == ["r"]
    assert generator.generate([chat]) == ["re: two"]
    assert generator.generate(["one two three"], stop=["three", "two"]) == ["re: one "]  # the server did not cut
    assert server.bodies[:2] == [
        {"path": "/v1/chat/completions", "model": "some-model", "messages": [{"role": "user", "content": "one"}],
         "max_tokens": 5, "temperature": 0.0, "top_p": 0.5, "stop": ["e"], "seed": 3},
        {"path": "/v1/chat/completions", "model": "some-model", "messages": chat, "max_tokens": 256,
         "temperature": 1.0, "top_p": 1.0},
    ]  # fmt: skip
    assert isinstance(generator, Generator) and generator.generate([]) == []


def test_endpoint_keeps_order_and_bounds_concurrency(serve):
    def slow_first(body: dict[str, Any], n: int) -> tuple[int, Any]:
        time.sleep(0.2 / (1 + int(body["messages"][0]["content"])))
        return echo(body, n)

    server = serve(slow_first)
    prompts = [str(n) for n in range(9)]
    assert EndpointGenerator(server.url, "m", max_concurrency=3).generate(prompts) == [f"re: {p}" for p in prompts]
    assert server.most_open == 3
    with pytest.raises(ValueError, match="max_concurrency should be at least 1, got 0"):
        EndpointGenerator(server.url, "m", max_concurrency=0)


def test_endpoint_gives_each_prompt_its_own_seed(serve):
    server = serve(echo)
    EndpointGenerator(server.url, "m").generate(["same"] * 3, seed=7)
    assert sorted(body["seed"] for body in server.bodies) == [7, 8, 9]


def test_endpoint_tries_again(serve):
    server = serve(lambda body, n: ((429, 500)[n], {"error": {"message": "busy"}}) if n < 2 else echo(body, n))
    assert EndpointGenerator(server.url, "m").generate(["a"]) == ["re: a"]
    assert len(server.bodies) == 3


def test_endpoint_gives_up(serve):
    server = serve(lambda body, n: (500, {"error": {"message": "broken"}}))
    with pytest.raises(Unanswered, match=r"prompts\[0\]: .*/v1 gave no answer in 2 attempts .*broken") as error:
        EndpointGenerator(server.url, "m", max_retries=1, max_concurrency=1).generate(["a", "b", "c", "d"])
    assert isinstance(error.value.__cause__, openai.InternalServerError)
    assert len(server.bodies) < 8  # the others are not asked after the first has failed


def test_endpoint_timeout(serve):
    server = serve(lambda body, n: time.sleep(0.3) or echo(body, n))  # type: ignore[func-returns-value]
    with pytest.raises(Unanswered, match="timed out"):
        EndpointGenerator(server.url, "m", timeout=0.05, max_retries=0).generate(["a"])


@pytest.mark.parametrize("message", [{"role": "assistant", "content": None}, {"role": "assistant"}, None])
def test_endpoint_answer_without_content(serve, message):
    server = serve(
        lambda b, n: reply(None, "content_filter", message=message) if "b" in str(b["messages"]) else echo(b, n)
    )
    with pytest.raises(RuntimeError, match=r"prompts\[1\]: .*has no content \(finish_reason: 'content_filter'\)"):
        EndpointGenerator(server.url, "m").generate(["a", "b", "c"])


def test_endpoint_answer_without_choices(serve):
    server = serve(lambda body, n: (200, {"id": "x", "object": "chat.completion", "choices": []}))
    with pytest.raises(RuntimeError, match=r"prompts\[0\]"):
        EndpointGenerator(server.url, "m").generate(["a"])


def test_endpoint_refuses_top_k():
    with pytest.raises(NotImplementedError, match="top_k"):
        EndpointGenerator("http://x", "m").generate(["a"], top_k=5)


def test_endpoint_in_a_running_event_loop(serve):
    server = serve(echo)

    async def notebook_cell() -> list[str]:
        return EndpointGenerator(server.url, "m").generate(["a", "b"])

    assert asyncio.run(notebook_cell()) == ["re: a", "re: b"]


def test_endpoint_key_comes_from_the_environment_and_shows_nowhere(serve, monkeypatch):
    server = serve(lambda body, n: (401, {"error": {"message": "no secret-123"}}) if n == 2 else echo(body, n))
    generator = EndpointGenerator(server.url, "m", api_key_env="MY_KEY")
    generator.generate(["a"])
    monkeypatch.setenv("MY_KEY", "secret-123\n")  # a newline from a file is no part of the key
    generator.generate(["a"])
    assert server.keys == ["Bearer not-needed", "Bearer secret-123"]
    generator = EndpointGenerator(server.url, "m", api_key_env="MY_KEY")
    with pytest.raises(PermissionError, match="refuses the key in MY_KEY") as error:
        generator.generate(["a"])
    assert "secret-123" not in repr(generator) + repr(vars(generator)) + repr(error.value) + str(error.value)


def test_endpoint_progress(serve, capsys):
    EndpointGenerator(serve(echo).url, "m", progress=True).generate(["a", "b"])
    assert "generating: 100%" in (shown := capsys.readouterr().err) and "2/2" in shown


def test_endpoint_without_openai(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=r"pip install rlhf_ext\[label\]"):
        EndpointGenerator("http://x", "m")


def test_endpoint_choice_logprobs(serve):
    answers = {"p": first_token(A=0.5, _A=0.1, B=0.2, x=0.1), "q": first_token(B=0.9, a=0.1)}
    server = serve(lambda body, n: reply("A", "length", logprobs=answers[body["messages"][0]["content"]]))
    rows = EndpointGenerator(server.url, "m").choice_logprobs(["p", "q"], [" A", "B"])
    assert rows[0] == pytest.approx([math.log(0.75), math.log(0.25)])
    assert rows[1] == [-math.inf, 0.0]
    options = {name: value for name, value in server.bodies[0].items() if name not in ("path", "model", "messages")}
    assert options == {"max_tokens": 1, "temperature": 1.0, "logprobs": True, "top_logprobs": 20}


def test_endpoint_choice_logprobs_that_cannot_be_had(serve):
    none = serve(lambda body, n: reply("A"))
    with pytest.raises(NotImplementedError, match="returned no logprobs for 'm'"):
        EndpointGenerator(none.url, "m").choice_logprobs(["p"], ["A", "B"])
    server = serve(lambda body, n: reply("A", logprobs=first_token(Yes=0.6, No=0.3)))
    with pytest.raises(NotImplementedError, match="'No way' should be one token.*'No'"):
        EndpointGenerator(server.url, "m").choice_logprobs(["p"], ["Yes", "No way"])
    with pytest.raises(RuntimeError, match=r"prompts\[0\]: none of \['A', 'B'\]"):
        EndpointGenerator(server.url, "m").choice_logprobs(["p"], ["A", "B"])


def test_endpoint_choices_that_the_model_does_not_mean_are_no_answer(serve):
    """A refusal, or a thought that begins: the odds of digits that would never be written say nothing."""
    shares = {"I": 0.98, "_Sorry": 0.01, "A": 9e-6, "B": 1e-6}
    server = serve(lambda body, n: reply("I", logprobs=first_token(**shares)))
    with pytest.raises(
        Unanswered, match=r"none of \['A', 'B'\] is a likely first token of the answer; these are: 'I' 0.98"
    ):
        EndpointGenerator(server.url, "m").choice_logprobs(["p"], ["A", "B"])


def test_endpoint_answer_that_a_filter_cut_off(serve):
    server = serve(lambda body, n: reply("First, you", "content_filter"))
    with pytest.raises(Unanswered, match="filter cut the answer off"):
        EndpointGenerator(server.url, "m").generate(["a"])


def test_endpoint_says_that_there_is_no_key(serve, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    server = serve(lambda body, n: (401, {"error": {"message": "who are you?"}}))
    with pytest.raises(PermissionError, match="asks for a key, and MY_KEY is not set: .*who are you"):
        EndpointGenerator(server.url, "m", api_key_env="MY_KEY").generate(["a"])


def test_endpoint_addresses_hold_no_password_and_are_addresses():
    with pytest.raises(ValueError, match="holds a user or password for host.*`api_key_env`") as error:
        EndpointGenerator("http://me:hunter2@host/v1", "m")
    assert "hunter2" not in str(error.value)
    with pytest.raises(ValueError, match="should begin with http:// or https://, got 'localhost:8000/v1'"):
        EndpointGenerator("localhost:8000/v1", "m")


@pytest.mark.parametrize("answer", [reply(None, "content_filter"), (200, {"id": "x", "choices": []})])
def test_endpoint_one_answer_without_logprobs_is_no_word_on_the_server(serve, answer):
    """A filter that speaks once must not end a job of thousands, each time that it is begun anew."""
    fine = reply("A", logprobs=first_token(A=0.9, B=0.1))
    server = serve(lambda body, n: answer if body["messages"][0]["content"] == "bad" else fine)
    found = dict(EndpointGenerator(server.url, "m").each(["good", "bad", "good"], ["A", "B"]))
    assert isinstance(found[1], Unanswered)
    assert [found[n].logprobs for n in (0, 2)] == [pytest.approx([math.log(0.9), math.log(0.1)])] * 2
