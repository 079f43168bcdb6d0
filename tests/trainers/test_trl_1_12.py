"""What was written for TRL 1.12's PPO runs with its import line changed, and means what it meant."""

import dataclasses
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset, IterableDataset
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, HfArgumentParser

from rlhf_ext import PPOConfig, PPOTrainer
from rlhf_ext.trainers.tokenized_prompts import TokenizedPrompt, with_text_prompts
from rlhf_ext.trainers.trl_1_12 import logger

SCRIPT = Path(__file__).parents[2] / "examples" / "drop_in" / "ppo_from_trl_1_12.py"


@pytest.fixture
def warnings(monkeypatch):
    """What was warned of. transformers' loggers do not reach pytest's."""
    said: list[str] = []
    monkeypatch.setattr(logger, "warning", lambda text: said.append(text))
    return said


@pytest.fixture
def script(monkeypatch):
    """The 1.12 script with its import line changed, as `python SCRIPT ARGUMENTS` runs it; gives its trainer."""

    def run(arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        return runpy.run_path(str(SCRIPT), run_name="__main__")["trainer"]

    return run


@pytest.fixture
def arguments(tiny, reward_folder, plain, tmp_path):
    rows = plain.select_columns(["prompt"])
    rows.select(range(8)).to_json(tmp_path / "prompts" / "test.jsonl")
    rows.select(range(8, len(rows))).to_json(tmp_path / "prompts" / "train.jsonl")
    return [
        f"--dataset_name={tmp_path / 'prompts'}",
        f"--sft_model_path={tiny}",
        f"--reward_model_path={reward_folder}",
        f"--output_dir={tmp_path / 'out'}",
        "--learning_rate=1e-3",
        "--per_device_train_batch_size=4",
        "--gradient_accumulation_steps=2",
        "--num_mini_batches=2",
        "--num_ppo_epochs=2",
        "--total_episodes=24",
        "--response_length=8",
        "--missing_eos_penalty=1.0",
        "--local_rollout_forward_batch_size=4",
        "--stop_token=eos",
        "--report_to=none",
        "--save_strategy=no",
        "--logging_steps=1",
        "--bf16=False",
        "--use_cpu=True",
        "--gradient_checkpointing=False",
        "--disable_tqdm=True",
    ]


@pytest.mark.parametrize("peft", [False, True])
def test_the_script_runs_with_its_import_changed(script, arguments, warnings, tmp_path, peft):
    trainer = script(arguments + (["--use_peft", "--lora_target_modules=all-linear"] if peft else []))
    assert trainer.state.global_step == 3 * 4, "three rollouts of eight rows, two updates and two epochs each"
    logged = [entry for entry in trainer.state.log_history if "objective/scores" in entry]
    assert len(logged) == 3, "logging_steps=1 is every rollout"
    assert {"objective/kl", "objective/rlhf_reward", "value/loss"} <= set(logged[0])
    assert len(warnings) == 1
    for news in ("num_ppo_epochs is now num_iterations", "total_episodes is now max_steps=12", "no meaning any more"):
        assert news in warnings[0]
    saved = tmp_path / "out" / ("adapter_model.safetensors" if peft else "model.safetensors")
    assert saved.is_file()
    table = next((tmp_path / "out" / "completions").glob("*.parquet"))
    assert len(Dataset.from_parquet(str(table))) == 8, "generate_completions shows all evaluation prompts"


def test_prompts_keep_their_ids_and_the_reward_model_reads_the_text_to_its_end(
    script, arguments, reward_folder, warnings, plain
):
    trainer = script(arguments)
    trainer.model.train()
    output = trainer._generate_and_score_completions([trainer.train_dataset[i] for i in range(4)])
    tokenizer = AutoTokenizer.from_pretrained(reward_folder)
    model = AutoModelForSequenceClassification.from_pretrained(reward_folder, num_labels=1)
    for i in range(4):
        prompt = output["prompt_ids"][i][output["prompt_mask"][i].bool()].tolist()
        assert prompt == tokenizer(plain["prompt"][8 + i])["input_ids"]
        completion = output["completion_ids"][i][output["completion_mask"][i].bool()]
        text = plain["prompt"][8 + i] + tokenizer.decode(completion, skip_special_tokens=True) + tokenizer.eos_token
        with torch.no_grad():
            score = model(**tokenizer(text, return_tensors="pt")).logits[0, 0]
        assert float(trainer._rewards_per_func[i, 0]) == pytest.approx(float(score), abs=1e-4)


def test_arguments_by_position_are_in_the_old_order(tiny, reward_folder, plain, tokenizer, quick, warnings):
    load = AutoModelForSequenceClassification.from_pretrained
    rows = plain.select_columns(["prompt"])
    policy = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    reward, value = load(reward_folder, num_labels=1), load(reward_folder, num_labels=1)
    config = PPOConfig(**quick, max_steps=1)
    trainer = PPOTrainer(config, tokenizer, policy, None, reward, rows, value)
    assert trainer._critic.critic.model is value
    assert trainer.reward_funcs[0].model is reward
    assert trainer.args.max_completion_length == 53
    assert trainer.args.temperature == 0.7
    assert len(warnings) == 1


def config(quick, **fields):
    return PPOConfig(**{**quick, "logging_steps": 1, **fields})


@pytest.mark.parametrize(
    ("size", "accumulation", "parts", "expected"),
    [(8, 1, 1, (8, 1, 1)), (8, 1, 4, (2, 1, 4)), (4, 4, 2, (4, 2, 4)), (4, 4, 8, (2, 1, 8)), (4, 3, 2, (2, 3, 6))],
)
def test_a_rollout_and_its_minibatches_are_cut_alike(quick, warnings, size, accumulation, parts, expected):
    args = config(
        quick, per_device_train_batch_size=size, gradient_accumulation_steps=accumulation, num_mini_batches=parts
    )
    found = args.per_device_train_batch_size, args.gradient_accumulation_steps, args.steps_per_generation
    assert found == expected
    assert args.generation_batch_size == size * accumulation, "completions a rollout"
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps == size * accumulation // parts
    assert args.updates_per_rollout == parts * args.num_iterations


def test_steps_count_rollouts(quick, warnings):
    args = config(
        quick, num_mini_batches=2, num_ppo_epochs=3, save_steps=10, eval_steps=0.5, warmup_steps=2, total_episodes=9
    )
    assert (args.logging_steps, args.save_steps, args.eval_steps, args.warmup_steps) == (6, 60, 0.5, 12)
    assert args.max_steps == 3 * 6, "nine episodes are three rollouts of four"


def test_every_field_of_1_12_is_known():
    """Read off TRL 1.12.0. `world_size` was computed by its trainer and is a property of the arguments today."""
    fields = """dataset_num_proc num_mini_batches total_episodes local_rollout_forward_batch_size
    num_sample_generations response_length stop_token stop_token_id temperature missing_eos_penalty sft_model_path
    num_total_batches micro_batch_size local_batch_size batch_size local_mini_batch_size mini_batch_size push_to_hub
    reward_model_path model_adapter_name ref_adapter_name num_ppo_epochs whiten_rewards kl_coef kl_estimator cliprange
    vf_coef cliprange_value gamma lam ds3_gather_for_generation learning_rate"""
    assert set(fields.split()) <= {field.name for field in dataclasses.fields(PPOConfig)}


def test_a_config_that_was_read_is_not_read_again(quick, warnings):
    args = config(quick, num_mini_batches=2, num_ppo_epochs=2)
    fields = json.loads(args.to_json_string())
    assert fields["num_ppo_epochs"] is None
    assert fields["logging_steps"] == 4
    args.read_as_trl_1_12()
    assert args.logging_steps == 4
    assert len(warnings) == 1


def test_a_config_of_today_is_left_alone(quick, warnings):
    args = config(quick, num_iterations=3)
    assert (args.temperature, args.logging_steps, warnings) == (1.0, 1, [])


def test_what_was_set_stays_also_where_it_is_todays_default(quick, warnings):
    args = config(quick, num_ppo_epochs=2, temperature=1.0, max_completion_length=512)
    assert (args.temperature, args.max_completion_length) == (1.0, 512)
    (parsed,) = HfArgumentParser(PPOConfig).parse_args_into_dataclasses(
        ["--num_ppo_epochs=2", "--temperature=1.0", "--output_dir=x", "--bf16=False", "--use_cpu=True"]
    )
    assert (parsed.temperature, parsed.max_completion_length) == (1.0, 53)
    assert type(PPOConfig(**quick).temperature) is float
    assert type(PPOConfig(**quick).max_completion_length) is int


def test_the_names_of_trl_0_12_are_read(tiny, reward_folder, plain, tokenizer, policy, quick, warnings):
    load = AutoModelForSequenceClassification.from_pretrained
    reward, value = load(reward_folder, num_labels=1), load(reward_folder, num_labels=1)
    reference = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    trainer = PPOTrainer(
        config=PPOConfig(**quick),
        tokenizer=tokenizer,
        policy=policy,
        ref_policy=reference,
        reward_model=reward,
        value_model=value,
        train_dataset=plain.select_columns(["prompt"]),
    )
    assert trainer.model is policy
    assert trainer.ref_model is reference
    assert trainer._critic.critic.model is value


def test_a_first_token_is_not_read_twice(tokenizer):
    """Tokenizers of Llama's kind put BOS before a text, and would put it before the text of ids that begin with it."""
    start = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, tokenizer.bos_token_id)]
    )
    ids = [tokenizer(text)["input_ids"] for text in ("one prompt", "another")]
    assert ids[0][0] == tokenizer.bos_token_id
    rows = with_text_prompts(Dataset.from_dict({"input_ids": ids}), tokenizer)
    assert rows["prompt"] == ["one prompt", "another"]
    assert [list(TokenizedPrompt.in_row(row)["prompt"].ids) for row in rows] == ids


def test_a_stream_of_ids_is_read_too(tokenizer):
    """It does not know its columns before it is read."""
    stream = IterableDataset.from_generator(lambda: iter([{"input_ids": tokenizer("one prompt")["input_ids"]}]))
    assert stream.column_names is None
    assert next(iter(with_text_prompts(stream, tokenizer)))["prompt"] == "one prompt"


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"num_mini_batches": 3}, "`num_mini_batches=3` must divide the rollout of 4 rows"),
        ({"num_mini_batches": 2, "steps_per_generation": 2}, "give one of them"),
        ({"stop_token": "period"}, "`stop_token` must be 'eos' or None, got 'period'"),
    ],
)
def test_what_1_12_refused_is_refused(quick, fields, match):
    with pytest.raises(ValueError, match=match):
        config(quick, **fields)


def test_a_reference_that_is_the_policy_is_refused(policy, tokenizer, reward_folder, plain, quick, warnings):
    reward = AutoModelForSequenceClassification.from_pretrained(reward_folder, num_labels=1)
    with pytest.raises(ValueError, match="are the same object"):
        PPOTrainer(
            args=PPOConfig(**quick),
            processing_class=tokenizer,
            model=policy,
            ref_model=policy,
            reward_model=reward,
            value_model=None,
            train_dataset=plain,
        )


def test_padding_is_taken_off_and_ids_survive(tokenizer):
    tokenizer.padding_side = "left"
    texts = ["one prompt", "a prompt that is longer"]
    padded = tokenizer(texts, padding=True)
    ids = [tokenizer(text)["input_ids"] for text in texts]
    for columns in (padded, {"input_ids": padded["input_ids"]}):
        rows = with_text_prompts(Dataset.from_dict(dict(columns)), tokenizer)
        assert rows["prompt"] == texts
        assert [list(TokenizedPrompt.in_row(row)["prompt"].ids) for row in rows] == ids
    with pytest.raises(ValueError, match="give the `processing_class`"):
        with_text_prompts(Dataset.from_dict({"input_ids": ids}), None)


def test_the_import_is_all_that_changed():
    changed = [line for line in SCRIPT.read_text(encoding="utf-8").splitlines() if "# was: " in line]
    theirs = "from trl.experimental.ppo import PPOConfig, PPOTrainer"
    assert changed == [f"from rlhf_ext import PPOConfig, PPOTrainer  # was: {theirs}"]
