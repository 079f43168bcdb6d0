"""Per-pair columns of DPO against their closed forms. That there is no difference without them: tests/drop_in."""

import copy

import pytest
import torch
from peft import LoraConfig
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf_ext import DPOConfig, DPOTrainer


def make(trainer_class, config_class, folder, data, quick, lora=False, ref_model=None, **config):
    args = config_class(**{**quick, "max_steps": 5, "learning_rate": 1e-3, **config})
    return trainer_class(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        ref_model,
        args,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(folder),
        peft_config=LoraConfig(r=4, target_modules="all-linear") if lora else None,
    )


def losses(trainer):
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def loss_of(tiny, preferences, quick, columns, lora=False, **config):
    """The trainer's loss on a batch after a few steps, and its z, strength, margin and weight from first principles."""
    data = preferences.select(range(4)).remove_columns("preference_strength")
    for name, values in columns.items():
        data = data.add_column(name, values)
    reference = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    trainer = make(DPOTrainer, DPOConfig, tiny, data, quick, lora, **config)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            if parameter.requires_grad and ".ref." not in name:
                parameter.add_(0.05 * torch.randn_like(parameter))
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    given = {name: batch[name].clone() for name in columns}

    def logps(model):
        ids, mask = batch["input_ids"], batch["completion_mask"][:, 1:]
        logits = model(input_ids=ids, attention_mask=batch["attention_mask"]).logits[:, :-1]
        return (logits.log_softmax(-1).gather(2, ids[:, 1:, None]).squeeze(2) * mask).sum(1)

    with torch.no_grad():
        chosen, rejected = (logps(trainer.model) - logps(reference)).chunk(2)
        z = trainer.beta * (chosen - rejected)
        loss = trainer.compute_loss(trainer.model, batch)
    return loss.item(), z, given


COLUMNS = {
    "preference_strength": [0.6, 0.9, 0.75, 1.0],
    "margin": [0.0, 1.0, 0.5, 2.0],
    "weight": [1.0, 0.5, 2.0, 0.0],
}


@pytest.mark.parametrize("lora", [False, True])
def test_a_soft_label_is_cross_entropy(tiny, preferences, quick, lora):
    columns = {"preference_strength": COLUMNS["preference_strength"]}
    loss, z, given = loss_of(tiny, preferences, quick, columns, lora, strength_loss="soft_label")
    p = given["preference_strength"]
    assert loss == pytest.approx(-(p * logsigmoid(z) + (1 - p) * logsigmoid(-z)).mean().item(), rel=1e-4)


def test_a_margin_is_an_offset_of_z(tiny, preferences, quick):
    loss, z, given = loss_of(tiny, preferences, quick, {"margin": COLUMNS["margin"]})
    assert loss == pytest.approx(-logsigmoid(z - given["margin"]).mean().item(), rel=1e-4)


def test_a_weight_scales_the_pairs_loss(tiny, preferences, quick):
    loss, z, given = loss_of(tiny, preferences, quick, {"weight": COLUMNS["weight"]})
    assert loss == pytest.approx(-(given["weight"] * logsigmoid(z)).mean().item(), rel=1e-4)


@pytest.mark.parametrize("mode", ["soft_label", "margin", "weight"])
@pytest.mark.parametrize("precompute", [False, True])
def test_all_columns_together(tiny, preferences, quick, mode, precompute):
    loss, z, given = loss_of(
        tiny, preferences, quick, COLUMNS, strength_loss=mode, strength_scale=2.0, precompute_ref_log_probs=precompute
    )
    p, m, w = given["preference_strength"], given["margin"], given["weight"]
    scale = 2 * (2 * p - 1)
    if mode == "margin":
        m, p = m + scale, torch.ones_like(p)
    elif mode == "weight":
        w, p = w * scale, torch.ones_like(p)
    z = z - m
    assert loss == pytest.approx(-(w * (p * logsigmoid(z) + (1 - p) * logsigmoid(-z))).mean().item(), rel=1e-4)


def test_a_weight_of_zero_leaves_the_pair_out_of_the_gradient(tiny, preferences, quick):
    data = preferences.select(range(4)).remove_columns("preference_strength").add_column("weight", [0.0] * 4)
    trainer = make(DPOTrainer, DPOConfig, tiny, data, quick)
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.train()
    assert all(torch.equal(before[name], value) for name, value in trainer.model.state_dict().items())


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"loss_type": ["ipo"]}, "loss_type"),
        ({"label_smoothing": 0.1}, "label_smoothing"),
        ({"ld_alpha": 0.5}, "ld_alpha"),
        ({"f_divergence_type": "js_divergence"}, "f_divergence_type"),
    ],
)
def test_a_loss_without_the_columns_meaning_is_refused_by_name(tiny, preferences, quick, config, name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        make(DPOTrainer, DPOConfig, tiny, preferences, quick, strength_loss="soft_label", **config)


def test_a_strength_without_a_mode_is_not_used(tiny, preferences, quick):
    with_column = make(DPOTrainer, DPOConfig, tiny, preferences, quick)
    without = make(DPOTrainer, DPOConfig, tiny, preferences.remove_columns("preference_strength"), quick)
    assert losses(with_column) == losses(without)


def test_a_model_that_was_never_saved_is_its_own_reference(policy, tokenizer, plain, quick):
    policy.config._name_or_path = ""
    args = DPOConfig(**quick, max_steps=2)
    trainer = DPOTrainer(policy, args=args, train_dataset=plain, processing_class=tokenizer)
    assert trainer.ref_model is not None
    batch = next(iter(trainer.get_train_dataloader()))
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(0.6931, abs=1e-4)


def test_a_bad_strength_stops_the_run(tiny, preferences, quick):
    data = preferences.remove_columns("preference_strength").add_column("preference_strength", [0.2] * 64)
    trainer = make(DPOTrainer, DPOConfig, tiny, data, quick, strength_loss="soft_label")
    with pytest.raises(ValueError, match=r"must be in \[0.5, 1\], got 0.2"):
        trainer.train()


def test_arguments_in_the_place_of_the_reference_are_told(tiny, quick):
    with pytest.raises(
        TypeError, match=r"second argument is `ref_model`, as in TRL, .* DPOConfig: pass it as `args=`"
    ):
        DPOTrainer(tiny, DPOConfig(**quick))
