"""What the chat template is told reaches the model, and tells its answers from others."""

import pytest

from rlhf_ext.generation import EndpointGenerator, LocalGenerator
from rlhf_ext.generation.identity import identity

from ..conftest import THINKING
from .server import echo

OFF = {"enable_thinking": False}
ASKED = [{"role": "user", "content": "Why?"}]


@pytest.fixture
def thinker(tokenizer):
    tokenizer.chat_template = THINKING
    return tokenizer


def read(generator):
    """The text that the model is given, token for token."""
    seen = []
    handle = generator.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"][0]), with_kwargs=True
    )
    try:
        generator.generate([ASKED], max_new_tokens=1, temperature=0)
        generator.choice_logprobs([ASKED], ["a", "b"])
    finally:
        handle.remove()
    return [generator.tokenizer.decode(ids) for ids in seen]


def test_the_model_reads_another_prompt(policy, thinker):
    plain = read(LocalGenerator(policy, thinker))
    off = read(LocalGenerator(policy, thinker, chat_template_kwargs=OFF))
    assert len(plain) == len(off) >= 2
    assert all(text.endswith("assistant:") for text in plain)
    assert all(text.endswith("<think></think>") for text in off)
    assert read(LocalGenerator(policy, thinker, chat_template_kwargs='{"enable_thinking": false}')) == off


def test_text_is_no_matter_of_the_template(policy, thinker):
    texts = [LocalGenerator(policy, thinker, chat_template_kwargs=told).generate(["Why?"], max_new_tokens=4, temperature=0)
             for told in (None, OFF)]  # fmt: skip
    assert texts[0] == texts[1]


def test_the_identity_has_it(policy, thinker):
    names = [identity(LocalGenerator(policy, thinker, chat_template_kwargs=told), "m") for told in (None, {}, OFF)]
    assert names[0] == names[1] and names[0].startswith("m#")
    assert names[2] != names[0] and "enable_thinking" in names[2]
    urls = [EndpointGenerator("http://localhost:1/v1", "m", chat_template_kwargs=told) for told in (None, OFF)]
    assert identity(urls[0], "m") == "m" and "enable_thinking" in identity(urls[1], "m")


def test_an_endpoint_is_sent_it(serve):
    server = serve(echo)
    generator = EndpointGenerator(server.url, "m", chat_template_kwargs=OFF)
    generator.generate([ASKED], max_new_tokens=2)
    generator.probe()
    assert len(server.bodies) == 6 and all(body["chat_template_kwargs"] == OFF for body in server.bodies)
    EndpointGenerator(server.url, "m").generate([ASKED])
    assert "chat_template_kwargs" not in server.bodies[-1]


@pytest.mark.parametrize(
    ("told", "why"),
    [("{", "is not JSON"), ([1], "must be a dict"), ({1: 2}, "must be a dict"), ({"tokenize": True}, "may not set")],
)
def test_what_is_no_such_thing_is_refused(policy, thinker, told, why):
    with pytest.raises(ValueError, match=why):
        LocalGenerator(policy, thinker, chat_template_kwargs=told)
