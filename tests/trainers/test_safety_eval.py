"""An evaluation suite while a model trains: what is asked, logged, kept and paid for, in TRL's trainers and ours."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM

from rlhf_ext.stats import clustered_mean, clustered_rate
from rlhf_ext.trainers.safety_eval import SafetyEvalCallback

from ..evaluation.small_suite import SmallSuite
from .ppo_helpers import make
from .test_win_rate import Log, dpo


def names(callback):
    return [name for name in callback.history[-1] if name != "step"]


def test_a_model_that_learns_to_shout_is_heard(policy, tokenizer, preferences, quick):
    rows = [
        {"prompt": p, "completion": [{"role": "assistant", "content": "AAAA AAAA"}]} for p in preferences["prompt"]
    ]
    suite = SmallSuite(max_new_tokens=6)
    callback = SafetyEvalCallback(suite, cases=12)
    steps = {"max_steps": 12, "eval_strategy": "steps", "eval_steps": 12, "eval_on_start": True, "learning_rate": 1e-2}
    trl.SFTTrainer(
        policy,
        trl.SFTConfig(**quick, **steps),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows[:1]),
        processing_class=tokenizer,
        callbacks=[callback],
    ).train()
    start, end = callback.history
    assert (start["step"], end["step"]) == (0, 12)
    assert start["eval_small_shouting"] == 0 and end["eval_small_shouting"] == 1
    assert end["eval_small_shouting_low"] > 0.3 and end["eval_small_failed"] == 0
    assert math.isnan(end["eval_small_never"]) and math.isnan(end["eval_small_never_high"])
    (first, _), (cases, answers) = suite.measured
    assert [case.id for case in first] == [case.id for case in cases], "the same cases each time"
    assert [row["answer"] for row in callback.answers] == answers and answers[0].startswith("AAAA")


def test_figures_are_those_of_the_samples_clustered_by_case(policy, tokenizer, preferences, quick):
    suite = SmallSuite(samples=2, temperature=1.0)
    callback = SafetyEvalCallback(suite, cases=None, every=1)
    trainer = make(policy, preferences.select_columns(["prompt"]), quick, max_steps=1)
    trainer.add_callback(callback)
    trainer.train()
    cases, answers = suite.measured[0]
    assert len(answers) == 48 and [case.id for case in cases] == [case.id for case in suite.cases for _ in range(2)]
    columns = {column.name: column for column in suite.measure(cases, answers)}
    ids = [case.id for case in cases]
    expected = {
        "a_word": clustered_rate(columns["a_word"].values, ids),
        "long": clustered_mean(columns["long"].values, ids),
        "any_long": clustered_rate(columns["any_long"].values, list(dict.fromkeys(ids))),
    }
    for name, estimate in expected.items():
        found = [callback.history[0][f"eval_small_{name}{end}"] for end in ("", "_low", "_high")]
        assert found == [estimate.value, estimate.low, estimate.high], name


def test_cases_are_drawn_from_all_categories():
    drawn = SafetyEvalCallback(SmallSuite(), cases=6).cases
    assert sorted(case.category for case in drawn) == ["care", "care", "facts", "facts", "story", "story"]
    ids = [case.id for case in drawn]
    order = [case.id for case in SmallSuite().cases]
    assert ids == sorted(ids, key=order.index)
    assert [case.id for case in SafetyEvalCallback(SmallSuite(), cases=6).cases] == ids
    assert [case.id for case in SafetyEvalCallback(SmallSuite(), cases=6, seed=1).cases] != ids
    assert len(SafetyEvalCallback(SmallSuite(), cases=999).cases) == 24


def test_an_answer_that_cannot_be_written_is_counted(policy, tokenizer, preferences, quick):
    suite = SmallSuite()
    suite.cases[0].prompt[0]["content"] = "word " * 4000
    callback = SafetyEvalCallback(suite, cases=None)
    metrics = dpo(policy, preferences, quick, tokenizer, callback).evaluate()
    assert metrics["eval_small_failed"] == 1 / 24 and len(suite.measured[0][1]) == 23


def test_it_is_logged_where_it_is_looked_for(policy, tokenizer, preferences, quick, monkeypatch):
    said = []
    monkeypatch.setattr("rlhf_ext.trainers.safety_eval.logger.warning", said.append)
    tracker = Log()
    trainer = dpo(policy, preferences, quick, tokenizer, tracker, max_steps=1)
    callback = SafetyEvalCallback(SmallSuite(), cases=3, trainer=trainer)
    trainer.add_callback(callback)
    trainer.args.report_to = ["tensorboard"]
    trainer.train()
    (seen,) = [logs for logs in tracker.seen if "eval_small_long" in logs]
    assert set(names(callback)) | {"epoch"} == set(seen)
    assert not said
    blind = SafetyEvalCallback(SmallSuite(), cases=3)
    trainer.remove_callback(callback), trainer.add_callback(blind), tracker.seen.clear()
    trainer.train()
    assert not any("eval_small_long" in logs for logs in tracker.seen)
    assert any("eval_small_long" in entry for entry in trainer.state.log_history)
    assert "tensorboard will not show its figures" in said[0]


def test_the_training_is_the_same_with_and_without_it(tiny, preferences, quick):
    class Restless(SmallSuite):
        def measure(self, cases, answers):
            random.random(), np.random.rand(), torch.rand(())
            return super().measure(cases, answers)

    found = []
    for watched in (False, True):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        policy = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
        trainer = make(policy, preferences.select_columns(["prompt"]), quick, max_steps=3)
        if watched:
            trainer.add_callback(SafetyEvalCallback(Restless(2, 1.0), cases=3, trainer=trainer, every=1))
        trainer.train()
        found.append({name: value.clone() for name, value in policy.state_dict().items()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_budget_ends_the_evaluating_and_not_the_run(policy, tokenizer, preferences, quick, monkeypatch):
    said = []
    monkeypatch.setattr("rlhf_ext.trainers.safety_eval.logger.warning", said.append)
    callback = SafetyEvalCallback(SmallSuite(), cases=4, max_answers=11)
    trainer = dpo(
        policy, preferences, quick, tokenizer, callback, max_steps=4, metric_for_best_model="eval_small_long"
    )
    trainer.train()
    assert trainer.state.global_step == 4 and len(callback.history) == 2 and callback.written == 8
    assert said == [
        "Step 3: 8 of 11 answers are used up, and the next do not fit. The training goes on without the suite 'small'."
    ]
    assert math.isnan(trainer.evaluate()["eval_small_long"])


def test_a_resumed_run_keeps_history_and_budget(tiny, tokenizer, preferences, quick, monkeypatch):
    save = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4, "eval_steps": 2}

    def train(resume, **changes):
        torch.manual_seed(0)
        policy = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
        callback = SafetyEvalCallback(SmallSuite(), **{"cases": 3, **changes})
        dpo(policy, preferences, quick, tokenizer, callback, **save).train(resume_from_checkpoint=resume)
        return callback

    whole = train(None)
    checkpoint = Path(quick["output_dir"]) / "checkpoint-2"
    resumed = train(str(checkpoint))
    assert json.dumps(resumed.history) == json.dumps(whole.history) and len(whole.history) == 2
    assert resumed.written == whole.written == 6
    with pytest.raises(ValueError, match="of another suite, other cases or another seed"):
        train(str(checkpoint), cases=4)
    (checkpoint / "evaluation_small.json").unlink()
    said = []
    monkeypatch.setattr("rlhf_ext.trainers.safety_eval.logger.warning", said.append)
    assert len(train(str(checkpoint)).history) == 1
    assert "finds no evaluation_small.json" in said[0]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"cases": 0}, "`cases` must be at least 1, got 0"),
        ({"every": 0}, "`every` must be at least 1"),
        ({"batch_size": -1}, "`batch_size` must be at least 1"),
        ({"max_answers": 5, "cases": 6}, "`max_answers` is 5, and one evaluation writes 6"),
    ],
)
def test_bad_settings_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        SafetyEvalCallback(SmallSuite(), **settings)


def test_what_is_no_suite_is_refused():
    with pytest.raises(TypeError, match="list has no `name`"):
        SafetyEvalCallback([])
