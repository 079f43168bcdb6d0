import pytest

from rlhf_ext.generation import ScriptedGenerator
from rlhf_ext.rewards.refusal import Refusal
from rlhf_ext.types import Generator, RewardFunction, is_messages, text_of


def test_text_of_reads_text_messages_and_blocks():
    assert text_of("plain") == "plain"
    assert text_of([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]) == "a\nb"
    assert text_of([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}]) == "a"
    assert text_of([{"role": "assistant", "content": None, "tool_calls": [{}]}]) == ""


@pytest.mark.parametrize("wrong", [None, 3, {"role": "user"}, [{"role": "user"}], ["text"]])
def test_text_of_refuses_what_is_no_text(wrong):
    with pytest.raises(TypeError, match="Expected"):
        text_of(wrong)


def test_is_messages_tells_the_two_kinds_apart():
    assert is_messages([{"role": "user", "content": "a"}])
    assert not is_messages("a")


def test_the_protocols_are_met_by_what_the_package_ships():
    assert isinstance(ScriptedGenerator(["a"]), Generator)
    assert isinstance(Refusal(), RewardFunction)
