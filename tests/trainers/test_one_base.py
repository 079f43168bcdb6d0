"""Policy, reference, critic and reward on one base: the same numbers, the memory of one model."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from rlhf_ext import RewardModel
from rlhf_ext.trainers.critic import NAME
from rlhf_ext.trainers.one_base import classifier_on

from .ppo_helpers import logged, make, rollout


def lora(**options):
    return LoraConfig(r=4, target_modules="all-linear", **options)


@pytest.fixture
def adapter(tiny, tmp_path):
    """Folder of a reward adapter that says something."""
    model = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=1, dtype=torch.float32)
    model = get_peft_model(model, lora(task_type="SEQ_CLS"))
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path / "adapter"
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def texts(prompts):
    return [row["prompt"] for row in prompts.select(range(6))], [f"Answer number {'n' * i}." for i in range(6)]


def one_base(tiny, prompts, quick, adapter, **config):
    return make(tiny, prompts, quick, adapter, peft_config=lora(), value_model=None, share_base=True, **config)


def test_it_scores_as_it_does_alone(tiny, prompts, quick, adapter, texts):
    trainer = one_base(tiny, prompts, quick, adapter)
    assert trainer.reward_func_names == ["adapter"]
    reward = trainer.reward_funcs[0]
    assert isinstance(reward, RewardModel)
    assert torch.allclose(reward.score(*texts), RewardModel(adapter).score(*texts), atol=1e-5)


def test_there_is_one_base(tiny, prompts, quick, adapter):
    trainer = one_base(tiny, prompts, quick, adapter, kl_coef=0.1)
    assert trainer.ref_model is None, "the reference is the policy without its adapter"
    tensors = [*trainer.model.parameters(), *trainer.reward_funcs[0].model.parameters()]
    held = sum({t.data_ptr(): t.numel() for t in tensors}.values())
    base = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(tiny).parameters())
    adapters = sum({id(t): t.numel() for t in tensors if t.requires_grad}.values())
    assert held < base + 2 * adapters


def test_the_critic_starts_from_the_reward_adapter(tiny, prompts, quick, adapter, texts):
    trainer = one_base(tiny, prompts, quick, adapter)
    reward = trainer.reward_funcs[0]
    ids = torch.tensor([reward._tokenize(texts[0][0], texts[1][0])])
    with torch.no_grad():
        value = trainer._critic.critic(input_ids=ids)[0, -1]
    assert float(value) == pytest.approx(float(reward.score([texts[0][0]], [texts[1][0]])), abs=1e-4)


def test_without_a_reward_adapter_the_critic_starts_at_zero(tiny, prompts, quick):
    trainer = make(tiny, prompts, quick, peft_config=lora(), value_model=None, share_base=True)
    rollout(trainer, [prompts[i] for i in range(4)])
    assert trainer._metrics["train"]["value/mean"] == [0.0]


def test_policy_and_critic_learn_and_nothing_else(tiny, prompts, quick, adapter):
    trainer = one_base(tiny, prompts, quick, adapter, max_steps=4, kl_coef=0.1)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    scores = trainer.reward_funcs[0].score(["a"], ["b"])
    trainer.train()
    moved = {name for name, p in trainer.model.named_parameters() if not torch.equal(p, before[name])}
    assert any(name.startswith(NAME) and "lora_" in name for name in moved)
    assert any(name.startswith(NAME) and "score" in name for name in moved)
    assert any(not name.startswith(NAME) for name in moved)
    assert all("lora_" in name or "modules_to_save" in name for name in moved)
    assert torch.equal(trainer.reward_funcs[0].score(["a"], ["b"]), scores)
    assert logged(trainer, "objective/kl")[-1] != 0, "the reference is not the policy any more"


def test_gradient_checkpointing_changes_no_gradient(tiny, prompts, quick, adapter):
    gradients = []
    for checkpointing in (False, True):
        config = {**quick, "gradient_checkpointing": checkpointing}
        trainer = one_base(tiny, prompts, config, adapter, max_steps=1, seed=3, learning_rate=0.0)
        trainer.train()
        torch.manual_seed(7)
        trainer.model.train()
        trainer._buffered_inputs, trainer._step = None, 0
        trainer.compute_loss(trainer.model, trainer._prepare_inputs([prompts[i] for i in range(4)])).backward()
        gradients.append({n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert any(name.startswith(NAME) for name in gradients[0])
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-5), name


def test_what_is_saved_is_two_adapters(tiny, prompts, quick, adapter, tmp_path):
    trainer = one_base(tiny, prompts, quick, adapter, max_steps=2)
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    policy = load_file(tmp_path / "saved" / "adapter_model.safetensors")
    critic = load_file(tmp_path / "saved" / NAME / "adapter_model.safetensors")
    assert policy
    assert all("lora_" in key and NAME not in key for key in policy)
    assert any("score" in key for key in critic)
    before = trainer._critic.critic(input_ids=torch.tensor([[5, 6, 7]]))
    with torch.no_grad():
        for parameter in trainer._critic.critic.parameters():
            if parameter.requires_grad:
                parameter.zero_()
    trainer._critic.critic.load(tmp_path / "saved" / NAME)
    assert torch.allclose(trainer._critic.critic(input_ids=torch.tensor([[5, 6, 7]])), before)


def test_a_policy_that_trained_before_gives_a_clean_base(tiny, prompts, quick, policy, texts, adapter):
    """Neither its adapter nor the hooks of an earlier trainer come along."""
    trainer = one_base(tiny, prompts, quick, adapter, max_steps=2)
    trainer.train()
    model = classifier_on(trainer.model, torch.float32)
    assert not any("lora_" in name for name, _ in model.named_parameters())
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.allclose(
            model.base_model(input_ids=ids).last_hidden_state, policy.model(input_ids=ids).last_hidden_state, atol=1e-6
        )


def test_what_cannot_share_a_base_is_refused(tiny, prompts, quick, adapter, tmp_path):
    with pytest.raises(ValueError, match="`share_base` needs a PEFT policy"):
        make(tiny, prompts, quick, value_model=None, share_base=True)
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": "some/other"}))
    with pytest.raises(ValueError, match="was trained on some/other"):
        one_base(tiny, prompts, quick, adapter)
