"""Callbacks ask the policy as its own rollouts are asked."""

import pytest
from transformers import PreTrainedTokenizerBase

from rlhf_ext.trainers.hacking import RewardHackingCallback
from rlhf_ext.trainers.safety_eval import SafetyEvalCallback
from rlhf_ext.trainers.win_rate import WinRateCallback

from ..conftest import THINKING
from ..evaluation.small_suite import SmallSuite
from .ppo_helpers import make


class FirstWins:
    def compare(self, prompts, first, second):
        return [1.0] * len(prompts)


@pytest.mark.parametrize("kwargs", [None, {"enable_thinking": False}])
def test_callbacks_tell_the_template_what_rollouts_tell_it(policy, tokenizer, preferences, quick, monkeypatch, kwargs):
    told = []
    fill = PreTrainedTokenizerBase.apply_chat_template

    def spy(self, conversation, *args, **given):
        told.append(given.get("enable_thinking"))
        return fill(self, conversation, *args, **given)

    monkeypatch.setattr(PreTrainedTokenizerBase, "apply_chat_template", spy)
    prompts = preferences.select_columns(["prompt"])
    few = list(prompts["prompt"])[:4]
    trainer = make(policy, prompts, quick, max_steps=1, max_completion_length=4, chat_template_kwargs=kwargs)
    trainer.processing_class.chat_template = THINKING
    trainer.add_callback(WinRateCallback(FirstWins(), few, every=1))
    trainer.add_callback(SafetyEvalCallback(SmallSuite(max_new_tokens=4), cases=3, every=1))
    trainer.add_callback(RewardHackingCallback(few, every=1))
    trainer.train()
    asked = len(told)
    assert asked > 4 * 2 + 3 + 4 and set(told) == {None if kwargs is None else False}
