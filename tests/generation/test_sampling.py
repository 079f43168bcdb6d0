"""Arguments that all generators share."""

import doctest
import math
import re

import pytest

from rlhf_ext.generation import EndpointGenerator, LocalGenerator, ScriptedGenerator, check_sampling


@pytest.mark.parametrize("choices", [[], ["a", "a"], ["a", ""], "ab", [1, 2]])
def test_refuses_choices(choices):
    with pytest.raises(ValueError, match="choices should be a list of non-empty strings"):
        ScriptedGenerator([], choice_probs=lambda prompt, choices: [1.0] * len(choices)).choice_logprobs(
            ["p"], choices
        )


def test_sampling_defaults():
    defaults = {"max_new_tokens": 256, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "stop": [], "seed": None}
    assert check_sampling({}) == check_sampling(dict.fromkeys(defaults)) == defaults
    assert check_sampling({"temperature": 0, "top_p": 1}) == {**defaults, "temperature": 0.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", 0), ("max_new_tokens", 2.5), ("temperature", -0.1), ("temperature", math.nan),
        ("temperature", math.inf), ("top_p", 0), ("top_p", 1.1), ("top_k", -1), ("top_k", "5"), ("stop", "END"),
        ("stop", [""]), ("stop", [1]), ("seed", -1), ("seed", 0.5),
    ],
)  # fmt: skip
def test_refuses_sampling_values(name, value):
    with pytest.raises(ValueError, match=f"^{name} should be .*, got {re.escape(repr(value))}"):
        ScriptedGenerator(["a"]).generate(["p"], **{name: value})


def test_refuses_unknown_sampling_names(llama, tokenizer):
    for generator in (LocalGenerator(llama, tokenizer), EndpointGenerator("http://x", "m"), ScriptedGenerator(["a"])):
        with pytest.raises(TypeError, match="Unknown sampling argument 'max_tokens'.*max_new_tokens, temperature"):
            generator.generate(["p"], max_tokens=3)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [("one", "got one string"), ([{"role": "user", "content": "x"}], r"prompts\[0\]"), (["a", []], r"prompts\[1\]"),
     (["a", None], r"prompts\[1\]"), ([["a"]], r"prompts\[0\]")],
)  # fmt: skip
def test_refuses_prompts(prompts, message):
    with pytest.raises(TypeError, match=message):
        ScriptedGenerator(["a", "b"]).generate(prompts)


@pytest.mark.parametrize("thing", [check_sampling, ScriptedGenerator])
def test_examples_in_the_docstrings(thing):
    text = thing.__doc__.replace("```", "")
    example = doctest.DocTestParser().get_doctest(text, {}, thing.__name__, None, 0)
    assert example.examples and doctest.DocTestRunner().run(example).failed == 0
