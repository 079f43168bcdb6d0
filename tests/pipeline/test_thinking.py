"""A run with `chat_template_kwargs`: every stage tells the chat template the same, and what was not told stays as it was."""

import json

import pytest
import trl
from transformers import AutoTokenizer

from rlhf_ext import LocalGenerator, PPOConfig, RewardModel, RLHFConfig, RLHFTrainer
from rlhf_ext.pipeline import measuring, stages
from rlhf_ext.pipeline.settings import logger

from .test_trainer import QUICK, config, data, heldout  # noqa: F401

OFF = {"enable_thinking": False}


@pytest.fixture
def thinker(tiny):
    """A tokenizer whose template, as Qwen3's, opens with an empty thought when thinking is switched off."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'assistant' and enable_thinking is defined and not enable_thinking %}"
        "(no){% endif %}{{ m.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '(no)' if enable_thinking is defined and not enable_thinking else '' }}{% endif %}"
    )
    return tokenizer


@pytest.fixture
def seen(monkeypatch):
    """Who has a template filled in, and what it comes to."""
    told = []
    template = type(AutoTokenizer).__call__  # keeps the name of the file's own helper out of tracebacks
    del template

    def spy(tokenizer):
        fill = tokenizer.apply_chat_template

        def filled(*args, **kwargs):
            told.append(kwargs.get("enable_thinking"))
            return fill(*args, **kwargs)

        monkeypatch.setattr(tokenizer, "apply_chat_template", filled)
        return told

    return spy
