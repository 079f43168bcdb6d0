"""The hooks on TRL's fused forward change what it costs, not what it says."""

import pytest
import torch
import trl
from packaging.version import Version
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from trl.trainer.utils import add_fused_lm_head

from rlhf_ext.trainers.scoring import ScoredOutput, Scorer, ScoringHooks

FIELDS = ("log_probs", "entropy", "is_top1", "label_mask", "loss")


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 300, (3, 24), generator=generator)
    labels = ids.clone()
    labels[:, :16] = -100  # a prompt
    labels[1, 20:] = -100  # padding
    labels[2] = -100  # a row without any label
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def scored(model, batch):
    model.zero_grad()
    with FlopCounterMode(display=False) as flops:
        output = model(**batch, fused_lm_head=True)
    output.loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return output, gradients, flops.get_total_flops()


# 1.15 never projects what has no label; since 1.16 that is so on a GPU only.
TRL_SKIPS_THEM = Version(trl.__version__) < Version("1.16")


@pytest.mark.parametrize("lora", [False, True])
def test_only_labels_reach_the_head_and_all_numbers_stay(policy, batch, lora):
    add_fused_lm_head(policy, outputs=("entropy", "is_top1"))
    model = get_peft_model(policy, LoraConfig(init_lora_weights=False)) if lora else policy
    before, gradients, flops = scored(model, batch)
    ScoringHooks(model)
    after, new_gradients, fewer = scored(model, batch)
    for name in FIELDS:
        assert after[name].shape == before[name].shape
        assert torch.allclose(after[name].float(), before[name].float(), atol=1e-5), name
    assert gradients.keys() == new_gradients.keys()
    assert all(torch.allclose(gradients[name], new_gradients[name], atol=1e-5) for name in gradients)
    head = 2 * policy.config.hidden_size * policy.config.vocab_size
    labelled = int(before.label_mask.sum())
    assert labelled == 12
    unlabelled = before.label_mask.numel() - labelled
    assert flops - fewer == (0 if TRL_SKIPS_THEM else head * unlabelled)


def test_a_batch_without_labels_is_a_zero_with_a_gradient(policy, batch):
    add_fused_lm_head(policy)
    ScoringHooks(policy)
    output, gradients, _ = scored(policy, {**batch, "labels": torch.full_like(batch["labels"], -100)})
    assert output.loss == 0
    assert output.log_probs.shape == (3, 23)
    assert all(not gradient.any() for gradient in gradients.values())


def test_virtual_tokens_are_left_to_trl(policy, batch):
    add_fused_lm_head(policy)
    model = get_peft_model(policy, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    before = scored(model, batch)[0]
    ScoringHooks(model)
    assert torch.equal(scored(model, batch)[0].log_probs, before.log_probs)


def test_a_second_trainer_on_the_same_model_takes_over(policy, batch):
    add_fused_lm_head(policy)
    ScoringHooks(policy)
    before = scored(policy, batch)[0]
    ScoringHooks(policy)
    after = scored(policy, batch)[0]
    assert torch.equal(after.log_probs, before.log_probs)


def test_a_plain_forward_is_untouched(policy, batch):
    before = policy(**batch).loss
    ScoringHooks(policy)
    assert torch.equal(policy(**batch).loss, before)


def test_padding_that_all_rows_share_is_not_looked_at():
    """A scorer hands on fewer columns and gives back as many as it was asked for, with the same numbers."""
    mask = torch.tensor([[0, 0, 1, 1, 1, 0], [0, 1, 1, 1, 0, 0]])
    ids = torch.arange(12).view(2, 6)
    seen = {}

    def model(**inputs):
        seen.update(inputs)
        numbers = inputs["input_ids"].float() * inputs["attention_mask"]
        return ScoredOutput(log_probs=numbers[:, 1:], entropy=2 * numbers[:, 1:], token_values=3 * numbers)

    scorer = Scorer(model, with_values=True)
    output = scorer(input_ids=ids, attention_mask=mask, labels=ids, fused_lm_head=True)
    assert seen["input_ids"].tolist() == [[1, 2, 3, 4], [7, 8, 9, 10]]
    assert seen["labels"].tolist() == seen["input_ids"].tolist()
    assert seen["position_ids"].tolist() == [[0, 0, 1, 2], [0, 1, 2, 2]]
    expected = (ids * mask).float()
    logps = expected[:, 1:].clone()
    logps[:, 0] = 0  # of the first token seen, which no state comes before
    assert torch.equal(output.log_probs, logps)
    assert torch.equal(output.entropy, 2 * logps)
    assert torch.equal(scorer.values[0], 3 * expected)


def test_images_are_not_cut():
    def model(**inputs):
        assert inputs["input_ids"].shape == (1, 4)
        return ScoredOutput(log_probs=torch.zeros(1, 3))

    ids, mask = torch.ones(1, 4).long(), torch.tensor([[0, 1, 1, 0]])
    Scorer(model, with_values=False)(input_ids=ids, attention_mask=mask, pixel_values=torch.zeros(1))
