"""The reward models that people train, once with TRL's trainer and once with ours."""

import pytest
import torch
import trl
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rlhf_ext import RewardConfig, RewardTrainer

from .conftest import StopAt
from .pairs import assert_same_run, assert_same_weights, losses, outcome

LORA = {"r": 4, "target_modules": "all-linear", "task_type": "SEQ_CLS", "lora_dropout": 0.1}
TRL, OURS = (trl.RewardTrainer, trl.RewardConfig), (RewardTrainer, RewardConfig)


def make(pair, folder, data, quick, model=None, **given):
    """A trainer of the pair (class, its config class); what is no argument of a trainer goes into the config."""
    trainer_class, config_class = pair
    names = (
        "data_collator",
        "eval_dataset",
        "compute_metrics",
        "preprocess_logits_for_metrics",
        "callbacks",
        "optimizer_cls_and_kwargs",
        "peft_config",
    )
    arguments = {name: given.pop(name) for name in names if name in given}
    if model is None:
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    args = config_class(**{**quick, "max_steps": 2, "learning_rate": 1e-3, **given})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return trainer_class(model, args, train_dataset=data, processing_class=tokenizer, **arguments)


def trained(*args, **kwargs):
    trainer = make(*args, **kwargs)
    trainer.train()
    return trainer


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("kind", ["messages", "plain"])
def test_the_usual_run(kind, lora, request, reward_folder, quick):
    data = request.getfixturevalue(kind)
    theirs, ours = (
        trained(pair, reward_folder, data, quick, peft_config=LoraConfig(**LORA) if lora else None)
        for pair in (TRL, OURS)
    )
    assert_same_run(theirs, ours)


CASES = {
    "centred rewards": {"center_rewards_coefficient": 0.01},
    "short texts only": {"max_length": 280, "pad_to_multiple_of": 16, "gradient_accumulation_steps": 2},
    "checkpointed activations": {"gradient_checkpointing": True, "disable_dropout": False},
    "another optimizer": {"optimizer_cls_and_kwargs": (torch.optim.SGD, {"lr": 1e-2, "momentum": 0.9})},
    "several processes map": {"dataset_num_proc": 2, "max_steps": 1},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_every_option_of_trls_config(options, reward_folder, messages, quick):
    theirs, ours = (trained(pair, reward_folder, messages, quick, **options) for pair in (TRL, OURS))
    assert_same_run(theirs, ours)


def test_a_model_by_name_gets_the_same_new_head(tiny, messages, quick):
    def run(pair):
        torch.manual_seed(0)
        options = {"model": tiny, "model_init_kwargs": {"dtype": "float32"}, "seed": 3}
        return trained(pair, tiny, messages, quick, **options)

    assert_same_run(run(TRL), run(OURS))


def test_the_margin_column_is_read_as_trl_reads_it(reward_folder, messages, quick):
    data = messages.add_column("margin", [0.5 * (i % 4) for i in range(len(messages))])
    theirs, ours = (trained(pair, reward_folder, data, quick) for pair in (TRL, OURS))
    assert_same_run(theirs, ours)
    assert losses(ours) != losses(trained(OURS, reward_folder, messages, quick))


@pytest.mark.parametrize("implicit", [False, True], ids=["prompt", "no prompt"])
def test_pairs_with_and_without_a_prompt_of_their_own(implicit, reward_folder, messages, quick):
    rows = [
        {side: (row["prompt"] if implicit else []) + row[side] for side in ("chosen", "rejected")}
        | ({} if implicit else {"prompt": row["prompt"]})
        for row in messages
    ]
    theirs, ours = (trained(pair, reward_folder, Dataset.from_list(rows), quick) for pair in (TRL, OURS))
    assert_same_run(theirs, ours)


def test_rows_that_are_streamed(reward_folder, messages, quick):
    theirs, ours = (trained(pair, reward_folder, messages.to_iterable_dataset(), quick) for pair in (TRL, OURS))
    assert_same_run(theirs, ours)


def test_evaluation_sets_by_name(reward_folder, messages, quick):
    parts = {"first": messages.select(range(4)), "second": messages.select(range(4, 12))}
    options = {"eval_dataset": parts, "eval_strategy": "steps", "eval_steps": 1}
    theirs, ours = (trained(pair, reward_folder, messages, quick, **options) for pair in (TRL, OURS))
    assert_same_run(theirs, ours)
    assert any("eval_second_loss" in entry for entry in ours.state.log_history)


def test_metrics_of_ones_own(reward_folder, messages, quick):
    def spread(prediction):
        return {"spread": float(prediction.predictions.std())}

    def run(pair):
        options = {"eval_dataset": messages.select(range(4)), "compute_metrics": spread}
        trainer = trained(pair, reward_folder, messages, quick, **options)
        trainer.evaluate()
        return trainer

    theirs, ours = run(TRL), run(OURS)
    assert_same_run(theirs, ours)
    assert "eval_spread" in ours.state.log_history[-1]


def test_rows_cut_into_tokens_beforehand(reward_folder, messages, quick):
    tokenizer = AutoTokenizer.from_pretrained(reward_folder)

    def cut(row):
        return {
            f"{side}_ids": tokenizer.apply_chat_template(row["prompt"] + row[side], return_dict=True)["input_ids"]
            for side in ("chosen", "rejected")
        }

    data = messages.map(cut, remove_columns=messages.column_names)
    theirs, ours = (trained(pair, reward_folder, data, quick) for pair in (TRL, OURS))
    assert_same_run(theirs, ours)


def test_a_run_that_is_resumed(reward_folder, messages, quick):
    """With TRL until it was stopped, from there with ours: an import changed in the middle of a run."""
    options = {**quick, "save_strategy": "steps", "save_steps": 1, "lr_scheduler_type": "constant"}
    undisturbed = trained(TRL, reward_folder, messages, {**options, "save_strategy": "no"})
    trained(TRL, reward_folder, messages, options, callbacks=[StopAt(1)])
    ours = make(OURS, reward_folder, messages, options)
    ours.train(resume_from_checkpoint=True)
    assert losses(ours) == losses(undisturbed)
    assert_same_weights(undisturbed, ours)


def test_trls_config_is_enough(reward_folder, messages, quick):
    theirs, ours = (
        trained((cls, trl.RewardConfig), reward_folder, messages, quick) for cls in (trl.RewardTrainer, RewardTrainer)
    )
    assert_same_run(theirs, ours)


def test_arguments_by_position_are_in_trls_order(reward_folder, messages, quick):
    def run(trainer_class, config_class):
        model = AutoModelForSequenceClassification.from_pretrained(reward_folder, num_labels=1, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(reward_folder)
        args = config_class(**quick, max_steps=2)
        trainer = trainer_class(model, args, None, messages, messages.select(range(4)), tokenizer)
        trainer.train()
        return trainer

    theirs, ours = run(*TRL), run(*OURS)
    assert_same_run(theirs, ours)
    assert len(ours.eval_dataset) == 4


@pytest.mark.parametrize("what", ["no data", "two labels"])
def test_what_trl_refuses_is_refused_in_its_words(what, reward_folder, messages, quick):
    def run(pair):
        model = AutoModelForSequenceClassification.from_pretrained(
            reward_folder, num_labels=2 if what == "two labels" else 1, ignore_mismatched_sizes=True
        )
        return trained(pair, reward_folder, None if what == "no data" else messages, quick, model=model)

    theirs, ours = outcome(lambda: run(TRL)), outcome(lambda: run(OURS))
    assert isinstance(theirs, tuple), "TRL takes it now"
    assert ours == theirs
