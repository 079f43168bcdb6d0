"""The fake that ships."""

import math
import pickle

import pytest

from rlhf_ext.generation import ScriptedGenerator
from rlhf_ext.types import Generator


def test_scripted_list_is_given_out_in_turn_and_used_up():
    generator = ScriptedGenerator(["a", "b", "c"])
    assert generator.generate(["p", "q"], temperature=0) + generator.generate(["p"]) == ["a", "b", "c"]
    assert generator.calls == [("p", {"temperature": 0}), ("q", {"temperature": 0}), ("p", {})]
    with pytest.raises(LookupError, match="All 3 scripted responses are used up"):
        generator.generate(["last"])
    assert isinstance(generator, Generator)


def test_scripted_dict():
    generator = ScriptedGenerator({"p": "always", "q": ["first", "second"]})
    chat = [{"role": "user", "content": "q"}]
    assert generator.generate(["p", "q", "p", chat]) == ["always", "first", "always", "second"]
    with pytest.raises(LookupError, match="All 2 .*'q'"):
        generator.generate(["q"])
    with pytest.raises(LookupError, match="No response is scripted for the prompt 'r'"):
        generator.generate(["r"])


def test_scripted_function():
    generator = ScriptedGenerator(lambda prompt, sampling: f"{prompt}{sampling['seed']}")
    assert generator.generate(["p"], seed=4) == ["p4"]
    with pytest.raises(TypeError, match="should be a string, got None to the prompt 'p'"):
        ScriptedGenerator(lambda prompt, sampling: None).generate(["p"])  # type: ignore[arg-type, return-value]
    for wrong in ("text", None, 3):
        with pytest.raises(TypeError, match="a list, a dict or a function"):
            ScriptedGenerator(wrong)  # type: ignore[arg-type]


def test_scripted_choice_logprobs():
    generator = ScriptedGenerator([], choice_probs=lambda prompt, choices: [3, 1] if prompt == "p" else [0, 1])
    rows = generator.choice_logprobs(["p", "q"], ["A", "B"])
    assert rows[0] == pytest.approx([math.log(0.75), math.log(0.25)]) and rows[1] == [-math.inf, 0.0]
    assert generator.calls == [("p", {"choices": ["A", "B"]}), ("q", {"choices": ["A", "B"]})]
    with pytest.raises(NotImplementedError, match="choice_probs"):
        ScriptedGenerator([]).choice_logprobs(["p"], ["A", "B"])
    for wrong in ([1.0], [0, 0], [-1, 2], [math.nan, 1]):
        with pytest.raises(ValueError, match="2 weights >= 0"):
            ScriptedGenerator([], choice_probs=lambda prompt, choices, wrong=wrong: wrong).choice_logprobs(
                ["p"], ["A", "B"]
            )


def test_scripted_pickles():
    generator = ScriptedGenerator(["a", "b"])
    generator.generate(["p"])
    assert pickle.loads(pickle.dumps(generator)).generate(["p"]) == ["b"]
