"""Training an ensemble in one call: members that differ, a folder that goes on, and a run that is told apart."""

import json
import shutil

import pytest
import torch
import trl
from datasets import Dataset
from peft import LoraConfig
from transformers import GPT2Config, TrainerCallback

import rlhf_ext
from rlhf_ext import RewardConfig, RewardModel
from rlhf_ext.embedded import tiny_model
from rlhf_ext.rewards.ensemble import RewardEnsemble
from rlhf_ext.trainers.reward_ensemble import _resample, _responses, last_layers, train_reward_ensemble


def settings(output_dir):
    return {
        "output_dir": str(output_dir),
        "max_steps": 3,
        "learning_rate": 1e-2,
        "save_steps": 2,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "per_device_train_batch_size": 4,
    }


@pytest.fixture
def config(tmp_path):
    return RewardConfig(**settings(tmp_path / "unused"))


class Count(TrainerCallback):
    """How many steps were trained, and a stop after so many."""

    def __init__(self, stop_after=None):
        self.steps, self.stop_after = 0, stop_after

    def on_step_end(self, args, state, control, **kwargs):
        self.steps += 1
        if self.steps == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def finished(tiny, preferences, tmp_path_factory):
    """A finished ensemble of two, trained once."""
    folder = tmp_path_factory.mktemp("finished") / "ensemble"
    train_reward_ensemble(tiny, preferences, folder, members=2, args=RewardConfig(**settings("elsewhere")))
    return folder


@pytest.fixture
def trained(finished, tmp_path):
    """A copy of it, and what it loads as."""
    folder = tmp_path / "ensemble"
    shutil.copytree(finished, folder)
    return folder, RewardEnsemble.from_folder(folder)


def scores(ensemble, preferences):
    return ensemble.score_members(preferences["prompt"][:], preferences["chosen"][:])


def test_members_are_trained_differently_and_load_as_one(trained, tiny, preferences):
    folder, ensemble = trained
    assert ensemble.names == ["member_0", "member_1"]
    assert [path.name for path in sorted(folder.iterdir())] == ["ensemble.json", "member_0", "member_1"]
    first, second = scores(ensemble, preferences)
    assert not torch.allclose(first, second, atol=1e-2)
    again = RewardEnsemble.from_folder(folder, combine="worst_case")
    assert torch.equal(scores(again, preferences), scores(ensemble, preferences))
    assert again.combine == "worst_case"
    assert again.__name__ == "ensemble"
    raw = RewardModel(folder / "member_1").score(preferences["prompt"][:], preferences["chosen"][:])
    assert torch.allclose(second, (raw - ensemble.centre[1]) / ensemble.scale[1], atol=1e-4)


def test_members_have_a_common_scale_on_the_reference_texts(trained, preferences):
    _, ensemble = trained
    prompts, responses = _responses(preferences)
    members = ensemble.score_members(prompts, responses)
    assert torch.allclose(members.mean(dim=1), torch.zeros(2), atol=1e-3)
    assert torch.allclose(members.std(dim=1), torch.ones(2), atol=1e-3)


def test_by_default_the_last_layers_are_adapted_and_the_trunk_is_shared(tmp_path, preferences, config):
    base = tiny_model(tmp_path / "base", pretrain_steps=0, num_hidden_layers=4)
    ensemble = train_reward_ensemble(base, preferences.select(range(16)), tmp_path / "out", members=2, args=config)
    (shared, _), *others = ensemble._parts
    assert not others
    assert len(shared.trunk) == 3
    assert last_layers(base).layers_to_transform == [3]
    assert last_layers(base, share=0.5).layers_to_transform == [2, 3]
    with pytest.raises(ValueError, match=r"`share` must be in \(0, 1\], got 0"):
        last_layers(base, share=0)


def test_heads_alone_share_the_whole_base(tiny, tmp_path, preferences, config):
    config.learning_rate = 0.1
    ensemble = train_reward_ensemble(tiny, preferences, tmp_path / "out", members=3, args=config, peft_config="head")
    ((members, _),) = ensemble._parts
    first_weights = [name for name, p in members.reader.model.named_parameters() if "member_1" in name]
    assert first_weights and all(".score." in name for name in first_weights)
    calls = []
    for layer in members.trunk:
        layer.self_attn.register_forward_hook(lambda *_: calls.append(1))
    scores(ensemble, preferences.select(range(8)))  # the first batch is checked against members that run one by one
    calls.clear()
    first, second, third = scores(ensemble, preferences.select(range(8)))
    assert len(calls) == len(members.trunk) == 2
    assert not torch.allclose(first, second, atol=1e-2) and not torch.allclose(second, third, atol=1e-2)


def test_the_last_layers_are_found_in_other_architectures(tmp_path):
    GPT2Config(n_layer=17, n_embd=32, n_head=2).save_pretrained(tmp_path)
    config = last_layers(tmp_path, rank=4)
    assert config.layers_to_transform == [15, 16]
    assert sorted(config.target_modules) == ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
    assert (config.r, config.lora_alpha) == (4, 8)


def test_the_same_call_trains_nothing_again_and_more_members_are_added(trained, tiny, preferences, config):
    folder, ensemble = trained
    count = Count()
    again = train_reward_ensemble(tiny, preferences, folder, members=2, args=config, callbacks=[count])
    assert count.steps == 0
    assert torch.equal(scores(again, preferences), scores(ensemble, preferences))
    more = train_reward_ensemble(tiny, preferences, folder, members=3, args=config, callbacks=[count])
    assert count.steps == 3
    assert torch.equal(scores(more, preferences)[:2], scores(ensemble, preferences))
    assert len(train_reward_ensemble(tiny, preferences, folder, members=2, args=config)) == 2


def test_a_run_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(trained, tiny, preferences, config, tmp_path):
    _, undisturbed = trained
    folder = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):  # in the last step of the second member, after its checkpoint
        train_reward_ensemble(tiny, preferences, folder, members=2, args=config, callbacks=[Count(stop_after=6)])
    assert [m["folder"] for m in json.loads((folder / "ensemble.json").read_text())["members"]] == ["member_0"]
    count = Count()
    ensemble = train_reward_ensemble(tiny, preferences, folder, members=2, args=config, callbacks=[count])
    assert count.steps == 1
    assert torch.allclose(scores(ensemble, preferences), scores(undisturbed, preferences), atol=1e-5)


def test_a_checkpoint_that_was_cut_off_is_not_gone_on_from(tiny, preferences, config, tmp_path):
    folder = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        train_reward_ensemble(tiny, preferences, folder, members=2, args=config, callbacks=[Count(stop_after=3)])
    (folder / "checkpoints" / "member_0" / "checkpoint-2" / "trainer_state.json").unlink()
    count = Count()
    train_reward_ensemble(tiny, preferences, folder, members=2, args=config, callbacks=[count])
    assert count.steps == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 1e-3}, "`args.learning_rate` is 0.01, now it is 0.001"),
        ({"seed": 7}, "`args.seed` is 42, now it is 7"),
    ],
)
def test_a_folder_of_other_settings_is_refused(change, message, trained, tiny, preferences, config):
    folder, _ = trained
    for name, value in change.items():
        setattr(config, name, value)
    with pytest.raises(FileExistsError, match=message):
        train_reward_ensemble(tiny, preferences, folder, members=2, args=config)


def test_a_folder_of_other_data_adapters_or_things_is_refused(trained, tiny, preferences, config, tmp_path):
    folder, _ = trained
    with pytest.raises(FileExistsError, match="`data` is '64 rows, .*now it is '63 rows"):
        train_reward_ensemble(tiny, preferences.select(range(63)), folder, members=2, args=config)
    with pytest.raises(FileExistsError, match="`peft_config.lora_alpha` is 16, now it is 8"):
        train_reward_ensemble(tiny, preferences, folder, members=2, args=config, peft_config=last_layers(tiny, rank=4))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("x")
    with pytest.raises(FileExistsError, match="is not empty and holds no ensemble"):
        train_reward_ensemble(tiny, preferences, tmp_path / "taken", members=2, args=config)
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["thesis.txt"]


def test_what_does_not_change_the_result_may_differ(trained, tiny, preferences, config):
    folder, _ = trained
    config.logging_steps, config.save_steps, config.output_dir = 50, 50, "elsewhere"
    assert len(train_reward_ensemble(tiny, preferences, folder, members=2, args=config)) == 2


def test_whole_models_and_plain_rows_without_bootstrap(tiny, plain, config, tmp_path):
    rows = plain.select(range(16))
    ensemble = train_reward_ensemble(
        tiny, rows, tmp_path / "out", members=2, args=config, peft_config=None, bootstrap=False
    )
    assert (tmp_path / "out" / "member_0" / "model.safetensors").is_file()
    first, second = scores(ensemble, rows)
    assert not torch.allclose(first, second, atol=1e-2)  # the seed alone


def test_a_resample_is_drawn_with_replacement_and_is_the_members_own(preferences):
    first, second = (_resample(preferences, 0, member)["prompt"] for member in (0, 1))
    assert len(first) == 64
    assert len({str(prompt) for prompt in first}) < 0.85 * 64  # 63 % of the rows are expected
    assert list(first) != list(second)
    assert list(first) == list(_resample(preferences, 0, 0)["prompt"])


def test_prompts_that_are_part_of_the_responses_are_read_once():
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert _responses(Dataset.from_list([{"chosen": talk, "rejected": talk}])) == ([[], []], [talk, talk])
    assert _responses(Dataset.from_list([{"chosen": "x", "rejected": "y"}])) == (["", ""], ["x", "y"])
    rows = Dataset.from_list([{"prompt": "p", "chosen": "x", "rejected": "y"}])
    assert _responses(rows) == (["p", "p"], ["x", "y"])


def test_progress_names_the_member(tiny, preferences, config, tmp_path, capsys):
    config.disable_tqdm = False
    train_reward_ensemble(tiny, preferences.select(range(8)), tmp_path / "out", members=2, args=config)
    shown = capsys.readouterr().err
    assert "Reward model 1/2" in shown and "Reward model 2/2" in shown


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"members": 1}, ValueError, "`members` must be at least 2, got 1"),
        (
            {"peft_config": "lora"},
            ValueError,
            "`peft_config` is a PeftConfig, None, 'last_layers' or 'head', got 'lora'",
        ),
        ({"reference_rows": 0}, ValueError, "`reference_rows` must be at least 1, got 0"),
        ({"train_dataset": Dataset.from_list([{"prompt": "a", "chosen": "b"}])}, ValueError, "no column rejected"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    change, error, message, tiny, preferences, config, tmp_path
):
    options = {"train_dataset": preferences, "args": config, **change}
    with pytest.raises(error, match=message):
        train_reward_ensemble(tiny, output_dir=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_stream_is_refused(tiny, preferences, config, tmp_path):
    with pytest.raises(TypeError, match="IterableDataset: each member resamples"):
        train_reward_ensemble(tiny, preferences.to_iterable_dataset(), tmp_path / "out", args=config)


def test_an_adapter_of_the_users_own_is_not_changed(tiny, preferences, config, tmp_path):
    lora = LoraConfig(task_type="SEQ_CLS", r=2, target_modules="all-linear")
    train_reward_ensemble(
        tiny, preferences.select(range(8)), tmp_path / "out", members=2, args=config, peft_config=lora
    )
    assert lora.target_modules == "all-linear"
    assert lora.modules_to_save is None


@pytest.mark.parametrize("kind", ["PPO", "GRPO"])
def test_trainers_take_it_and_log_its_disagreement(kind, trained, tiny, prompts, tmp_path):
    _, ensemble = trained
    ensemble.combine = "uncertainty_weighted"
    config = {**settings(tmp_path / "out"), "max_steps": 1, "save_strategy": "no", "max_completion_length": 6}
    module = rlhf_ext if kind == "PPO" else trl
    critic = {"value_model": "shared"} if kind == "PPO" else {}
    trainer = getattr(module, f"{kind}Trainer")(
        tiny,
        ensemble,
        args=getattr(module, f"{kind}Config")(**config, **({} if kind == "PPO" else {"num_generations": 2})),
        train_dataset=prompts,
        **critic,
    )
    trainer.train()
    log = next(entry for entry in trainer.state.log_history if "reward" in entry)
    assert log["ensemble/disagreement"] > 0
    assert log["ensemble/lower"] < log["ensemble/mean"] < log["ensemble/upper"]
    assert log["rewards/ensemble/mean"] < log["ensemble/mean"]  # less the variance
