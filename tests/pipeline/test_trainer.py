"""RLHFTrainer from end to end on the tiny model, and what it says to bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from rlhf_ext import PPOTrainer, RewardModel, RLHFConfig, RLHFTrainer, assistant_preferences

from ..conftest import vowels

QUICK = {"gradient_checkpointing": False, "max_steps": 4}


def config(tiny, folder, **changes):
    settings = {
        "model_name": tiny,
        "output_dir": str(folder),
        "batch_size": 4,
        "learning_rate": 1e-3,
        "ppo_epochs": 2,
        "bf16": False,
        "skip_reward_validation": True,
        "sft": QUICK,
        "reward": QUICK,
        "dpo": QUICK,
        "ppo": {**QUICK, "max_completion_length": 8},
    }
    return RLHFConfig(**{**settings, **changes})


@pytest.fixture(scope="module")
def data():
    return assistant_preferences("train").select(range(24))


@pytest.fixture(scope="module")
def heldout():
    rows = assistant_preferences("heldout")
    return rows.select([i for name in sorted(set(rows["category"])) for i in indices(rows, name)[:2]])


def indices(rows, category):
    return [i for i, found in enumerate(rows["category"]) if found == category]


def figures(result):
    return {figure.name for figure in result.report.figures}


@pytest.mark.parametrize("lora", [False, True])
def test_ppo_from_preferences_to_report(tiny, tmp_path, data, heldout, lora):
    run = config(tiny, tmp_path / "run", use_lora=lora, lora={"r": 4} if lora else None)
    result = RLHFTrainer(config=run).train(data, heldout)
    assert figures(result) >= {"reward", "harmful_compliance", "over_refusal", "helpfulness", "length", "kl"}
    assert RewardModel(result.reward_model_path).score(["a"], ["b"]).shape == (1,)
    AutoModelForCausalLM.from_pretrained(result.policy_path)
    AutoTokenizer.from_pretrained(result.policy_path)
    html = Path(result.report_path).read_text()
    assert "PPO: reward" in html
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert {curve.title for curve in result.report.curves} >= {"Warm start: loss", "PPO: reward"}
    assert result.report.stages[0].name == "Answers before"


def test_dpo_needs_no_reward_model(tiny, tmp_path, data, heldout):
    result = RLHFTrainer(config=config(tiny, tmp_path / "run", algorithm="dpo")).train(data, heldout)
    assert result.reward_model_path is None
    assert "reward" not in figures(result)
    assert not (tmp_path / "run" / "reward_model").exists()


def test_a_model_in_memory_and_a_list_of_plain_dicts(tiny, policy, tokenizer, tmp_path):
    """The five lines of the README, with a model that differs from what is on disk under its name."""
    with torch.no_grad():
        policy.model.norm.weight.mul_(1.1)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    rows = [
        {
            "prompt": f"What is {i} + 1?",
            "chosen": f" It is {i + 1}.",
            "rejected": " No idea.",
            "preference_strength": 0.9,
        }
        for i in range(16)
    ]
    trainer = RLHFTrainer(model=policy, tokenizer=tokenizer, config=config(tiny, tmp_path / "run"))
    result = trainer.train(preference_dataset=rows, eval_dataset=rows[:6], num_epochs=3)
    assert all(torch.equal(before[name], value) for name, value in policy.state_dict().items())
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "base_model")
    assert torch.equal(base.model.norm.weight, policy.model.norm.weight)
    assert figures(result) == {"reward", "helpfulness", "one_liners", "length", "kl"}


def test_a_finished_run_is_not_done_again(tiny, tmp_path, data, heldout, monkeypatch):
    first = RLHFTrainer(config=config(tiny, tmp_path / "run", algorithm="dpo")).train(data, heldout)
    monkeypatch.setattr("trl.trainer.base_trainer._BaseTrainer.train", None)
    again = RLHFTrainer(config=config(tiny, tmp_path / "run", algorithm="dpo")).train(data, heldout)
    assert again.report.to_dict() == first.report.to_dict()


def test_without_warm_start_and_with_own_rewards(tiny, tmp_path, data, heldout):
    run = config(tiny, tmp_path / "run", supervised_warm_start=False)
    result = RLHFTrainer(config=run, reward_funcs=vowels).train(data, heldout)
    assert not (tmp_path / "run" / "sft").exists()
    assert result.reward_model_path is None


def test_held_out_rows_are_taken_from_the_preferences(tiny, tmp_path, data, caplog):
    result = RLHFTrainer(config=config(tiny, tmp_path / "run", algorithm="dpo")).train(data)
    assert result.report.figures[-1].after.n == 3


def test_a_reward_model_that_fails_its_validation_stops_ppo(tiny, tmp_path, data, heldout, monkeypatch):
    monkeypatch.setattr(PPOTrainer, "train", None)
    run = config(tiny, tmp_path / "run", skip_reward_validation=False, min_reward_accuracy=1.0)
    with pytest.raises(ValueError, match="fails its validation: accuracy .* is under the 1 that is asked for"):
        RLHFTrainer(config=run).train(data, heldout)
    assert (tmp_path / "run" / "reward_model").is_dir()


def test_a_reward_model_that_fails_a_threshold_stops_ppo_unless_told_by_name(
    tiny, reward_folder, tmp_path, data, heldout, caplog
):
    limits = {"probes.filler.raised": {"max": 0.0}, "temperature": {"min": 1e9}}
    changes = {"reward_model_path": reward_folder, "reward_thresholds": limits, "min_reward_accuracy": 0.0}
    run = config(tiny, tmp_path / "run", skip_reward_validation=False, **changes)
    with pytest.raises(
        ValueError, match="fails its validation: .*temperature is .* and at least 1e\\+09 is asked for"
    ):
        RLHFTrainer(config=run).train(data, heldout)
    assert not (tmp_path / "run" / "policy").exists()
    result = RLHFTrainer(config=config(tiny, tmp_path / "other", **changes)).train(data, heldout)
    assert any("failed its validation" in note and "temperature" in note for note in result.report.notes)
    assert Path(result.policy_path).is_dir()


def test_what_no_threshold_asks_for_costs_no_forward(tiny, reward_folder, tmp_path, data, heldout, monkeypatch):
    monkeypatch.setattr(PPOTrainer, "train", None)
    scored = []
    score = RewardModel.score
    monkeypatch.setattr(RewardModel, "score", lambda self, p, r: scored.append(len(r)) or score(self, p, r))
    run = config(tiny, tmp_path / "run", reward_model_path=reward_folder)
    with pytest.raises(TypeError):  # at PPO
        RLHFTrainer(config=run).train(data, heldout)
    assert scored == [2 * len(heldout)]


def test_thresholds_and_own_rewards(tiny, tmp_path):
    run = config(tiny, tmp_path / "run", reward_thresholds={"ece": {"max": 0.1}})
    with pytest.raises(ValueError, match="`reward_thresholds` are asked of a reward model"):
        RLHFTrainer(config=run, reward_funcs=vowels)


def test_a_reward_model_that_is_there_is_used_not_trained(tiny, reward_folder, tmp_path, data, heldout, monkeypatch):
    monkeypatch.setattr("rlhf_ext.trainers.RewardTrainer.train", None)
    run = config(tiny, tmp_path / "run", reward_model_path=reward_folder)
    result = RLHFTrainer(config=run).train(data, heldout)
    assert result.reward_model_path == reward_folder


def test_another_run_in_the_folder_is_left_alone(tiny, tmp_path, data, heldout):
    run = config(tiny, tmp_path / "run", algorithm="dpo")
    RLHFTrainer(config=run).train(data, heldout)
    record = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(FileExistsError, match="holds another run: there `seed` is 42, now it is 43"):
        RLHFTrainer(config=config(tiny, tmp_path / "run", algorithm="dpo", seed=43)).train(data, heldout)
    with pytest.raises(FileExistsError, match="`train` is"):
        RLHFTrainer(config=run).train(data.select(range(20)), heldout)
    assert (tmp_path / "run" / "run.json").read_bytes() == record


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"ppo": {"num_generations": 3, "generation_batch_size": 4}}, "`ppo`: generation_batch_size"),
        ({"reward": {"strength_loss": "nope"}}, "`reward`: `strength_loss` must be one of"),
        ({"sft": {"lr_scheduler_type": "nope"}}, "`sft`: nope is not a valid SchedulerType"),
    ],
)
def test_what_a_later_stage_would_refuse_is_refused_before_the_first(tiny, tmp_path, data, heldout, changes, match):
    with pytest.raises(ValueError, match=match):
        RLHFTrainer(config=config(tiny, tmp_path / "run", **changes)).train(data, heldout)
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_else_is_left_alone(tiny, tmp_path, data, heldout):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("x")
    with pytest.raises(FileExistsError, match="is not empty and holds no run"):
        RLHFTrainer(config=config(tiny, tmp_path / "run")).train(data, heldout)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


class TestBadInput:
    """Refused before a weight is loaded or a file written."""

    @pytest.fixture(autouse=True)
    def _nothing_happens(self, monkeypatch, tmp_path):
        monkeypatch.setattr("rlhf_ext.pipeline.stages.AutoModelForCausalLM", None)
        monkeypatch.setattr("rlhf_ext.pipeline.stages.RewardTrainer", None)
        yield
        assert not (tmp_path / "run").exists()

    def test_no_model(self, tmp_path):
        with pytest.raises(ValueError, match="No model"):
            RLHFTrainer(config=RLHFConfig(output_dir=str(tmp_path / "run")))

    def test_a_model_that_is_none(self, tmp_path):
        with pytest.raises(TypeError, match="`model` must be"):
            RLHFTrainer(model=3, config=RLHFConfig(output_dir=str(tmp_path / "run")))

    def test_a_folder_without_a_model(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(FileNotFoundError, match="holds no model"):
            RLHFTrainer(config=config(str(tmp_path / "empty"), tmp_path / "run"))

    def test_a_model_that_is_nowhere(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="No model 'nobody/nothing'"):
            RLHFTrainer(config=config("nobody/nothing", tmp_path / "run"))

    def test_empty_data(self, tiny, tmp_path):
        with pytest.raises(ValueError, match="`preference_dataset` is empty"):
            RLHFTrainer(config=config(tiny, tmp_path / "run")).train([])

    def test_bad_held_out_data_is_named_as_such(self, tiny, tmp_path, data):
        with pytest.raises(ValueError, match="`eval_dataset` row 0 has no `chosen`"):
            RLHFTrainer(config=config(tiny, tmp_path / "run")).train(data, [{"prompt": "a"}])

    def test_too_little_to_hold_out(self, tiny, tmp_path, data):
        with pytest.raises(ValueError, match="too few to hold some out"):
            RLHFTrainer(config=config(tiny, tmp_path / "run")).train(data.select(range(5)))

    def test_messages_and_text(self, tiny, tmp_path, data):
        rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}]
        with pytest.raises(ValueError, match="has messages, the other text"):
            RLHFTrainer(config=config(tiny, tmp_path / "run")).train(data, rows)

    def test_no_chat_template(self, tiny, tmp_path, tokenizer, data, heldout):
        tokenizer.chat_template = None
        with pytest.raises(ValueError, match="the tokenizer has no chat template"):
            RLHFTrainer(tiny, tokenizer, config(tiny, tmp_path / "run")).train(data, heldout)

    def test_no_pad_token(self, tiny, tmp_path, tokenizer, data, heldout):
        bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, chat_template=tokenizer.chat_template)
        bare.pad_token = None
        with pytest.raises(ValueError, match="neither a pad nor an EOS token"):
            RLHFTrainer(tiny, bare, config(tiny, tmp_path / "run")).train(data, heldout)

    def test_a_reward_folder_that_is_no_model(self, tiny, tmp_path):
        (tmp_path / "rm").mkdir()
        (tmp_path / "rm" / "x.txt").write_text("x")
        with pytest.raises(FileNotFoundError, match="holds no model"):
            RLHFTrainer(config=config(tiny, tmp_path / "run", reward_model_path=str(tmp_path / "rm")))

    def test_a_reward_model_with_two_labels(self, tiny, tmp_path):
        AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=2).save_pretrained(tmp_path / "rm")
        with pytest.raises(ValueError, match="2 labels"):
            RLHFTrainer(config=config(tiny, tmp_path / "run", reward_model_path=str(tmp_path / "rm")))

    def test_a_reward_path_that_is_a_file(self, tiny, tmp_path):
        (tmp_path / "rm").write_text("x")
        with pytest.raises(FileExistsError, match="is a file"):
            RLHFTrainer(config=config(tiny, tmp_path / "run", reward_model_path=str(tmp_path / "rm")))

    def test_own_rewards_for_dpo(self, tiny, tmp_path):
        with pytest.raises(ValueError, match="`reward_funcs` are for PPO"):
            RLHFTrainer(config=config(tiny, tmp_path / "run", algorithm="dpo"), reward_funcs=vowels)

    def test_no_epochs(self, tiny, tmp_path, data, heldout):
        with pytest.raises(ValueError, match="`num_epochs` must be positive"):
            RLHFTrainer(config=config(tiny, tmp_path / "run")).train(data, heldout, num_epochs=0)


def test_a_nan_loss_keeps_the_last_good_checkpoint(tiny, tmp_path, data, heldout, monkeypatch):
    from trl import SFTTrainer

    compute_loss = SFTTrainer.compute_loss

    def broken(self, *args, **kwargs):
        loss = compute_loss(self, *args, **kwargs)
        return loss * float("nan") if self.state.global_step == 3 else loss

    run = config(tiny, tmp_path / "run", checkpoint_steps=2)
    with monkeypatch.context() as patch:
        patch.setattr(SFTTrainer, "compute_loss", broken)
        with pytest.raises(FloatingPointError, match=r"loss of step 4 is NaN.*checkpoint-2"):
            RLHFTrainer(config=run).train(data, heldout)
    assert (tmp_path / "run" / "checkpoints" / "sft" / "checkpoint-2").is_dir()
    RLHFTrainer(config=run).train(data, heldout)  # mended, it goes on from there


LAUNCHERS = {
    "accelerate": ["accelerate.commands.launch", "--cpu", "--num_processes", "1", "--mixed_precision", "no"],
    # What `accelerate launch` itself starts for several devices; on the CPU it would need MPI.
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
}


@pytest.mark.parametrize(
    ("launcher", "processes", "algorithm"), [("accelerate", 1, "dpo"), ("torchrun", 2, "ppo"), ("torchrun", 2, "dpo")]
)
def test_it_runs_under_a_launcher(tiny, tmp_path, launcher, processes, algorithm):
    """Also on two processes, with one record and one report of what they did."""
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from accelerate import PartialState\n"
        "from rlhf_ext import RLHFConfig, RLHFTrainer, assistant_preferences\n"
        "quick = {'gradient_checkpointing': False, 'max_steps': 2}\n"
        "config = RLHFConfig(sys.argv[1], sys.argv[2], output_dir=sys.argv[3], batch_size=2, bf16=False,\n"
        "    ppo_epochs=1, skip_reward_validation=True, sft=quick, reward=quick, dpo=quick,\n"
        "    ppo={**quick, 'max_completion_length': 6})\n"
        "RLHFTrainer(config=config).train(assistant_preferences('train').select(range(16)),\n"
        "    assistant_preferences('heldout').select(range(6)))\n"
        "Path(sys.argv[3], f'process-{PartialState().process_index}').touch()\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", *LAUNCHERS[launcher], str(script), tiny, algorithm, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr[-4000:]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {"before", "sft", "policy", "after"} <= set(record["stages"])
    assert (tmp_path / "run" / "report.html").is_file()
    assert len(list((tmp_path / "run").glob("process-*"))) == processes


def test_qlora_and_bf16_run_on_the_cpu(tiny, tmp_path, data, heldout):
    run = config(tiny, tmp_path / "run", algorithm="dpo", load_in_4bit=True, bf16=True, lora={"r": 4})
    result = RLHFTrainer(config=run).train(data, heldout)
    assert (Path(result.policy_path) / "adapter_model.safetensors").is_file()


def test_gpt2_with_plain_text(tokenizer, tmp_path):
    """The model of every first tutorial: absolute positions, dropout, no pad token, no chat template."""
    tokenizer.chat_template, tokenizer.pad_token = None, None
    sizes = {"n_positions": 128, "n_embd": 32, "n_layer": 2, "n_head": 2}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes, **ids))
    rows = [{"prompt": f"What is {i} + 1?", "chosen": f" It is {i + 1}.", "rejected": " No idea."} for i in range(16)]
    run = config(None, tmp_path / "run", reward_model_path=str(tmp_path / "reward_model"))
    result = RLHFTrainer(model=model, tokenizer=tokenizer, config=run).train(rows, rows[:6], num_epochs=1)
    assert figures(result) == {"reward", "helpfulness", "one_liners", "length", "kl"}
    assert RewardModel(tmp_path / "reward_model").score(["a"], ["b"]).shape == (1,)
