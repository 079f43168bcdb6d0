"""The critic: what it may be, what it must not be, and what it leaves alone."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    MambaConfig,
    MambaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    TrainerCallback,
)

from rlhf_ext import PPOConfig, PPOTrainer, RewardModel
from rlhf_ext.trainers.critic import NAME, hide_from_vllm, same_tokens

from ..conftest import vowels
from .ppo_helpers import logged, make, rollout


def moved(trainer):
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    return {name for name, p in trainer.model.named_parameters() if not torch.equal(p, before[name])}


@pytest.mark.parametrize("value_model", ["shared", None])
def test_the_policy_rests_while_the_critic_warms_up(tiny, prompts, quick, value_model):
    """Neither the value loss on a shared backbone nor weight decay may move it."""
    trainer = make(
        tiny, prompts, quick, value_model=value_model, value_warmup_steps=2, max_steps=2, weight_decay=0.1, vf_coef=1.0
    )
    assert all(name.startswith(NAME) for name in moved(trainer))
    trainer.args.max_steps = 3
    assert any(name.startswith("model.") for name in moved(trainer)), "and then it learns"


class PolicyGradients(TrainerCallback):
    """What reaches the policy, and takes its share of the limit on gradients, whether or not a step is taken."""

    def __init__(self):
        self.found = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        own = (p.grad for name, p in model.named_parameters() if not name.startswith(NAME) and p.grad is not None)
        self.found.append(any(bool(gradient.any()) for gradient in own))


def test_the_value_loss_stops_at_a_shared_head_while_it_warms_up(tiny, prompts, quick):
    seen = PolicyGradients()
    options = {"value_model": "shared", "vf_coef": 1.0, "value_warmup_steps": 2, "max_steps": 3}
    make(tiny, prompts, quick, callbacks=[seen], **options).train()
    assert seen.found == [False, False, True]


def test_a_model_that_has_another_part_is_refused(tiny, prompts, quick, policy, tokenizer, reward_folder):
    reward = AutoModelForSequenceClassification.from_pretrained(reward_folder, num_labels=1)
    with pytest.raises(ValueError, match="is the policy or a reward model itself"):
        make(tiny, prompts, quick, RewardModel(reward, tokenizer), value_model=reward)
    with pytest.raises(ValueError, match="is the policy or a reward model itself"):
        make(policy, prompts, quick, value_model=policy)


@pytest.fixture
def other_tokenizer(reward_folder, tmp_path):
    """A reward model of as many tokens as the policy's, two of which mean something else."""
    folder = tmp_path / "other"
    shutil.copytree(reward_folder, folder)
    path = folder / "tokenizer.json"
    contents = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = contents["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(contents), encoding="utf-8")
    return str(folder)


def test_a_critic_reads_what_the_policy_writes(tiny, prompts, quick, other_tokenizer, tokenizer):
    assert same_tokens(tokenizer, tokenizer)
    assert not same_tokens(tokenizer, AutoTokenizer.from_pretrained(other_tokenizer))
    with pytest.raises(ValueError, match="has another tokenizer than the policy"):
        make(tiny, prompts, quick, value_model=other_tokenizer)
    trainer = make(tiny, prompts, quick, other_tokenizer, value_model=None)
    head = trainer._critic.critic.model.score.weight
    assert not head.any(), "made from the policy, since that reward model's ids are other words"


def test_a_token_that_was_added_makes_no_other_tokenizer(tokenizer, tiny):
    more = AutoTokenizer.from_pretrained(tiny)
    more.add_special_tokens({"pad_token": "[PAD]"})
    assert same_tokens(tokenizer, more)
    assert same_tokens(more, tokenizer)


def saved(model, tokenizer, folder):
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def small_opt(tokenizer, **options):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "word_embed_proj_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return OPTForCausalLM(OPTConfig(vocab_size=len(tokenizer), ffn_dim=64, **{**sizes, **options}))


@pytest.mark.parametrize("value_model", ["shared", None])
def test_dropout_that_a_model_keeps_as_a_number_is_off(tmp_path, plain, quick, tokenizer, value_model):
    """OPT drops by `nn.functional.dropout`: the first ratio was not 1, and the KL from itself not 0."""
    model = small_opt(tokenizer, dropout=0.3, layerdrop=0.3)
    folder = saved(model, tokenizer, tmp_path / "opt")
    trainer = make(
        folder, plain.select_columns(["prompt"]), quick, value_model=value_model, max_steps=1, steps_per_generation=1
    )
    trainer.train()
    assert logged(trainer, "objective/kl") == [pytest.approx(0.0, abs=1e-5)]
    rows = [{"prompt": "Hi"}, {"prompt": "a longer question about lawns and moss"}]
    output = rollout(trainer, rows * 2)
    again = trainer._score_rollout(output)
    values = trainer._token_values.clone()
    trainer._token_values = None
    assert torch.equal(trainer._score_rollout(output), again)
    assert torch.equal(trainer._token_values, values)


def test_a_shared_head_fits_last_states_that_are_narrow(tmp_path, plain, quick, tokenizer):
    """OPT-350m projects its states down before the vocabulary."""
    folder = saved(small_opt(tokenizer, word_embed_proj_dim=16), tokenizer, tmp_path / "opt")
    trainer = make(folder, plain.select_columns(["prompt"]), quick, max_steps=1)
    trainer.train()
    assert trainer._critic.critic.score.in_features == 16


def test_a_quantized_policy_says_which_critics_it_may_have(tiny, prompts, quick):
    pytest.importorskip("bitsandbytes")
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)

    def qlora(**options):
        args = PPOConfig(**quick, max_steps=2, max_completion_length=8, share_base=options.pop("share_base", False))
        peft_config = LoraConfig(r=4, target_modules="all-linear")
        return PPOTrainer(
            tiny, vowels, args, train_dataset=prompts, peft_config=peft_config, quantization_config=nf4, **options
        )

    with pytest.raises(ValueError, match="weights are quantized.*`share_base=True`"):
        qlora()
    for options in ({"share_base": True}, {"value_model": "shared"}):
        trainer = qlora(**options)
        trainer.train()
        assert logged(trainer, "objective/kl")[0] == pytest.approx(0.0, abs=1e-4)


def test_an_architecture_without_a_classifier_says_what_to_do(tmp_path, plain, quick, tokenizer):
    model = MambaForCausalLM(MambaConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, state_size=4))
    folder = saved(model, tokenizer, tmp_path / "mamba")
    with pytest.raises(ValueError, match="no sequence classifier for MambaForCausalLM.*value_model='shared'"):
        make(folder, plain.select_columns(["prompt"]), quick, value_model=None)


@pytest.mark.parametrize("value_model", ["shared", None])
def test_vllm_is_sent_the_policy_alone(tiny, prompts, quick, value_model):
    """What TRL's engine sends is every parameter of the trainer's model."""

    class Engine:
        def __init__(self, model):
            self.model = model
            self.sent = []

        def sync_weights(self):
            self.sent = [name for name, _ in self.model.named_parameters()]

    trainer = make(tiny, prompts, quick, value_model=value_model)
    engine = Engine(trainer.model)
    hide_from_vllm(engine, trainer.model)
    engine.sync_weights()
    assert engine.sent
    assert not [name for name in engine.sent if NAME in name]
    assert [name for name, _ in trainer.model.named_parameters() if NAME in name], "and then it is there again"
