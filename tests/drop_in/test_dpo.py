"""The DPO runs that people have, once with TRL's trainer and once with ours."""

import pytest
import torch
import trl
from datasets import Dataset, IterableDataset
from peft import LoraConfig, get_peft_model

from rlhf_ext import DPOConfig, DPOTrainer

from .conftest import StopAt
from .pairs import assert_same_run, assert_same_weights, load, losses, outcome

LORA = {"r": 4, "target_modules": "all-linear", "lora_dropout": 0.1}
TRL, OURS = (trl.DPOTrainer, trl.DPOConfig), (DPOTrainer, DPOConfig)


def make(pair, folder, data, quick, model=None, processing_class=None, **given):
    """A trainer of the pair (class, its config class); what is no argument of a trainer goes into the config."""
    trainer_class, config_class = pair
    names = ("ref_model", "data_collator", "eval_dataset", "compute_metrics", "callbacks", "optimizers", "peft_config")
    arguments = {name: given.pop(name) for name in names if name in given}
    policy, tokenizer = load(folder)
    args = config_class(**{**quick, "max_steps": 2, "learning_rate": 1e-3, **given})
    return trainer_class(
        policy if model is None else model,
        args=args,
        train_dataset=data,
        processing_class=processing_class or tokenizer,
        **arguments,
    )


def trained(*args, **kwargs):
    trainer = make(*args, **kwargs)
    trainer.train()
    return trainer


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("kind", ["messages", "plain"])
def test_the_usual_run(kind, lora, request, tiny, quick):
    data = request.getfixturevalue(kind)
    theirs, ours = (
        trained(pair, tiny, data, quick, peft_config=LoraConfig(**LORA) if lora else None) for pair in (TRL, OURS)
    )
    assert_same_run(theirs, ours)


CASES = {
    "several losses, weighted": {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
    "smoothed": {"loss_type": ["robust", "exo_pair"], "label_smoothing": 0.1},
    "normed by length": {"loss_type": ["sigmoid_norm", "ipo"], "pad_to_multiple_of": 16},
    "f-divergence": {"f_divergence_type": "js_divergence", "loss_type": ["hinge"], "max_length": 96},
    "ld-dpo": {"ld_alpha": 0.5, "padding_free": True},
    "wpo": {"use_weighting": True, "gradient_accumulation_steps": 2, "max_grad_norm": 0.1},
    "precomputed reference": {"precompute_ref_log_probs": True, "precompute_ref_batch_size": 4},
    "reference that follows": {"sync_ref_model": True, "ref_model_sync_steps": 1, "disable_dropout": False},
    "cut at the start": {"max_length": 96, "truncation_mode": "keep_end", "gradient_checkpointing": True},
    "several processes map": {"dataset_num_proc": 2, "max_steps": 1},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_every_option_of_trls_config(options, tiny, messages, quick):
    theirs, ours = (trained(pair, tiny, messages, quick, **options) for pair in (TRL, OURS))
    assert_same_run(theirs, ours)


REFUSED = {
    "unknown loss": {"loss_type": ["dpo"]},
    "too many weights": {"loss_type": ["sigmoid"], "loss_weights": [1.0, 2.0]},
    "f-divergence of a loss without": {"loss_type": ["apo_zero"], "f_divergence_type": "js_divergence"},
    "following a precomputed reference": {"sync_ref_model": True, "precompute_ref_log_probs": True},
}


@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED)
def test_what_trl_refuses_is_refused_in_its_words(options, tiny, messages, quick):
    theirs, ours = (outcome(lambda pair=pair: trained(pair, tiny, messages, quick, **options)) for pair in (TRL, OURS))
    assert isinstance(theirs, tuple), "TRL takes it now"
    assert ours == theirs


def test_a_reference_of_its_own(tiny, messages, quick):
    def run(pair):
        reference, _ = load(tiny)
        with torch.no_grad():
            reference.lm_head.weight.mul_(1.1)
        return trained(pair, tiny, messages, quick, ref_model=reference)

    theirs, ours = run(TRL), run(OURS)
    assert_same_run(theirs, ours)
    assert losses(ours)[0] != pytest.approx(0.6931, abs=1e-3), "another reference than the policy"


def test_an_adapter_that_is_trained_on_is_its_own_reference(tiny, messages, quick):
    def run(pair):
        torch.manual_seed(0)
        policy = get_peft_model(load(tiny)[0], LoraConfig(**{**LORA, "init_lora_weights": False}))
        return trained(pair, tiny, messages, quick, model=policy)

    theirs, ours = run(TRL), run(OURS)
    assert_same_run(theirs, ours)
    assert any(".ref." in name for name, _ in ours.model.named_parameters())


def test_an_adapter_with_a_precomputed_reference(tiny, messages, quick):
    options = {"precompute_ref_log_probs": True}
    theirs, ours = (
        trained(pair, tiny, messages, quick, peft_config=LoraConfig(**LORA), **options) for pair in (TRL, OURS)
    )
    assert_same_run(theirs, ours)


def test_a_model_by_name(tiny, messages, quick):
    options = {"model": tiny, "model_init_kwargs": {"dtype": "float32", "attn_implementation": "eager"}}
    theirs, ours = (trained(pair, tiny, messages, quick, **options) for pair in (TRL, OURS))
    assert_same_run(theirs, ours)


def test_rows_that_are_streamed(tiny, messages, quick):
    theirs, ours = (trained(pair, tiny, messages.to_iterable_dataset(), quick) for pair in (TRL, OURS))
    assert_same_run(theirs, ours)


def test_rows_that_are_generated(tiny, messages, quick):
    def stream():
        return IterableDataset.from_generator(lambda: iter(messages.to_list())).shuffle(seed=3, buffer_size=16)

    theirs, ours = (trained(pair, tiny, stream(), quick) for pair in (TRL, OURS))
    assert_same_run(theirs, ours)


def test_tools_reach_the_template(tiny, messages, quick):
    data = messages.map(lambda _: {"tools": '[{"name": "clock", "description": "What time it is."}]'})

    def run(pair):
        tokenizer = load(tiny)[1]
        tokenizer.chat_template = "{% if tools %}{{ tools[0].description }}\n{% endif %}" + tokenizer.chat_template
        return trained(pair, tiny, data, quick, processing_class=tokenizer)

    theirs, ours = run(TRL), run(OURS)
    assert_same_run(theirs, ours)
    without = trained(OURS, tiny, messages, quick)
    assert losses(without) != losses(ours)


def test_evaluation_sets_by_name(tiny, messages, quick):
    parts = {"first": messages.select(range(4)), "second": messages.select(range(4, 12))}
    options = {"eval_dataset": parts, "eval_strategy": "steps", "eval_steps": 1}
    theirs, ours = (trained(pair, tiny, messages, quick, **options) for pair in (TRL, OURS))
    assert_same_run(theirs, ours)
    assert any("eval_second_loss" in entry for entry in ours.state.log_history)


def test_metrics_of_ones_own(tiny, messages, quick):
    def count(prediction):
        return {"count": float(len(prediction.predictions))}

    def run(pair):
        trainer = trained(pair, tiny, messages, quick, eval_dataset=messages.select(range(4)), compute_metrics=count)
        trainer.evaluate()
        return trainer

    theirs, ours = run(TRL), run(OURS)
    assert_same_run(theirs, ours)
    assert "eval_count" in ours.state.log_history[-1]


def test_optimizer_and_collator_of_ones_own(tiny, messages, quick):
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    seen = []

    class Collator(DataCollatorForPreference):
        def __call__(self, rows):
            batch = super().__call__(rows)
            seen.append(tuple(batch))
            return batch

    def run(pair):
        policy, tokenizer = load(tiny)
        sgd = torch.optim.SGD(policy.parameters(), lr=1e-2, momentum=0.9)
        collator = Collator(pad_token_id=tokenizer.pad_token_id)
        return trained(pair, tiny, messages, quick, model=policy, optimizers=(sgd, None), data_collator=collator)

    theirs, ours = run(TRL), run(OURS)
    assert_same_run(theirs, ours)
    assert len(seen) % 2 == 0 and len(set(seen)) == 1, "the same calls, the same batches"


def test_a_run_that_is_resumed(tiny, messages, quick, tmp_path):
    def run(pair, name):
        options = {
            **quick,
            "output_dir": str(tmp_path / name),
            "save_strategy": "steps",
            "save_steps": 1,
            "lr_scheduler_type": "constant",
        }
        trained(pair, tiny, messages, options, callbacks=[StopAt(1)])
        trainer = make(pair, tiny, messages, options)
        trainer.train(resume_from_checkpoint=True)
        return trainer

    theirs, ours = run(TRL, "theirs"), run(OURS, "ours")
    assert_same_run(theirs, ours)
    undisturbed = trained(OURS, tiny, messages, {**quick, "lr_scheduler_type": "constant"})
    assert_same_weights(undisturbed, ours)


def test_a_checkpoint_of_trls_trainer_goes_on_with_ours(tiny, messages, quick):
    """Somebody changes the import in the middle of a run."""
    options = {**quick, "save_strategy": "steps", "save_steps": 1, "lr_scheduler_type": "constant"}
    undisturbed = trained(TRL, tiny, messages, {**options, "save_strategy": "no"})
    trained(TRL, tiny, messages, options, callbacks=[StopAt(1)])
    ours = make(OURS, tiny, messages, options)
    ours.train(resume_from_checkpoint=True)
    assert losses(ours) == losses(undisturbed)
    assert_same_weights(undisturbed, ours)


def test_trls_config_is_enough(tiny, messages, quick):
    theirs, ours = (trained((cls, trl.DPOConfig), tiny, messages, quick) for cls in (trl.DPOTrainer, DPOTrainer))
    assert_same_run(theirs, ours)


def test_arguments_by_position_are_in_trls_order(tiny, messages, quick):
    def run(trainer_class, config_class):
        policy, tokenizer = load(tiny)
        args = config_class(**quick, max_steps=2)
        trainer = trainer_class(policy, None, args, None, messages, messages.select(range(4)), tokenizer)
        trainer.train()
        return trainer

    theirs, ours = run(*TRL), run(*OURS)
    assert_same_run(theirs, ours)
    assert len(ours.eval_dataset) == 4


def test_columns_that_nobody_reads_change_nothing(tiny, messages, quick):
    rows = [{**row, "score_chosen": 7.5, "score_rejected": 3.0, "source": "web"} for row in messages]
    theirs, ours = (trained(pair, tiny, Dataset.from_list(rows), quick) for pair in (TRL, OURS))
    assert_same_run(theirs, ours)
