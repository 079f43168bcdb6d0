"""A run with `chat_template_kwargs`: all of it tells the chat template the same."""

import json

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rlhf_ext import PPOConfig, RLHFConfig, RLHFTrainer, assistant_preferences
from rlhf_ext.pipeline.settings import logger

from ..conftest import THINKING
from .test_trainer import config

OFF = {"enable_thinking": False}
QUICK = {"gradient_checkpointing": False, "max_steps": 1}
STAGES = {"sft": QUICK, "reward": QUICK, "dpo": QUICK, "ppo": {**QUICK, "max_completion_length": 4}}


@pytest.fixture
def filled(monkeypatch):
    """What the chat template was told, each time that it was filled in, and whether an answer was to follow."""
    calls = []
    original = PreTrainedTokenizerBase.apply_chat_template

    def spy(self, conversation, *args, **kwargs):
        text = original(self, conversation, *args, **{**kwargs, "tokenize": False, "return_dict": False})
        calls.append((kwargs.get("enable_thinking"), bool(kwargs.get("add_generation_prompt")), text))
        return original(self, conversation, *args, **kwargs)

    monkeypatch.setattr(PreTrainedTokenizerBase, "apply_chat_template", spy)
    return calls


@pytest.fixture
def thinker(tiny):
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = THINKING
    return tokenizer


def run_in(folder, tiny, thinker, **changes):
    run = config(tiny, folder, eval_max_new_tokens=4, **{**STAGES, **changes})
    rows = assistant_preferences("train").select(range(12))
    return RLHFTrainer(config=run, tokenizer=thinker).train(rows, assistant_preferences("heldout").select(range(4)))


@pytest.mark.parametrize("algorithm", ["ppo", "dpo"])
def test_every_stage_tells_the_template(tiny, thinker, tmp_path, filled, algorithm):
    """Training, rollouts, the reward model, the answers before and after, their divergence, and the suites."""
    (tmp_path / "rows.jsonl").write_text('{"prompt": [{"role": "user", "content": "Why?"}], "reference": "So."}\n')
    suite = {"rows": str(tmp_path / "rows.jsonl"), "metrics": ["rougeL", f"kl={tiny}"]}
    evaluation = {"suites": {"automatic": suite}} if algorithm == "dpo" else None
    run_in(tmp_path / "run", tiny, thinker, algorithm=algorithm, chat_template_kwargs=OFF, evaluation=evaluation)
    assert {told for told, *_ in filled} == {False}
    asked = [text for _, follows, text in filled if follows]
    assert asked and all(text.endswith("<think></think>") for text in asked if isinstance(text, str))


def test_a_run_that_says_nothing_tells_it_nothing(tiny, thinker, tmp_path, filled):
    run_in(tmp_path / "run", tiny, thinker)
    assert {told for told, *_ in filled} == {None}
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    # A folder of before there was the setting holds the same run; with the setting it holds another.
    saved["identity"].pop("chat_template_kwargs")
    (tmp_path / "run" / "run.json").write_text(json.dumps(saved))
    run_in(tmp_path / "run", tiny, thinker)
    with pytest.raises(FileExistsError, match="`chat_template_kwargs` is null"):
        run_in(tmp_path / "run", tiny, thinker, chat_template_kwargs=OFF)


def test_the_config_hands_it_to_ppo():
    assert RLHFConfig("m", chat_template_kwargs='{"enable_thinking": false}').stage("ppo").chat_template_kwargs == OFF
    assert RLHFConfig("m").stage("ppo").chat_template_kwargs is None
    own = PPOConfig("out", use_cpu=True, bf16=False)
    assert RLHFConfig("m", chat_template_kwargs=OFF, ppo=own).stage("ppo").chat_template_kwargs == OFF


def test_ppos_own_setting_stands_and_is_said(caplog, monkeypatch):
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level("WARNING"):
        config = RLHFConfig("m", ppo={"chat_template_kwargs": OFF})
    assert "all else in the run None" in caplog.text
    assert config.stage("ppo").chat_template_kwargs == OFF
    caplog.clear()
    RLHFConfig("m", chat_template_kwargs=OFF, ppo={"chat_template_kwargs": OFF})
    RLHFConfig("m", chat_template_kwargs=OFF, ppo={"kl_coef": 0.1})
    assert not caplog.text


@pytest.mark.parametrize("wrong", ['{"enable_thinking": false', [1], {"tokenize": True}])
def test_a_wrong_value_is_named(wrong):
    with pytest.raises(ValueError, match="chat_template_kwargs"):
        RLHFConfig("m", chat_template_kwargs=wrong)
