"""What reward functions learn in a run goes with its checkpoints: TRL's by a callback, PPO's by itself."""

import shutil

import pytest
import torch
import trl

from rlhf_ext.rewards.constraints import Constraint
from rlhf_ext.rewards.mixing import RewardMixer
from rlhf_ext.rewards.weights import Linear
from rlhf_ext.trainers.reward_state import FILE, RewardStateCallback, load_reward_state, save_reward_state

from ..conftest import vowels
from .ppo_helpers import logged, make


def brevity(completions, **_):
    texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
    return [-len(text) / 40 for text in texts]


async def brevity_async(**columns):
    return brevity(**columns)


def mixer(**changes):
    inner = RewardMixer({"vowels": vowels}, normalize="running")
    return RewardMixer(
        {"vowels": inner, "brevity": changes.get("brevity", brevity)},
        weights={"vowels": Linear(0.5, 1.0)},
        normalize=changes.get("normalize", "running"),
        constraints=[Constraint("brevity", at_least=-0.5, learning_rate=0.5)],
    )


class StopAt(trl.trainer.callbacks.TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= self.step


def grpo(tiny, prompts, quick, folder, reward, callbacks, **config):
    settings = {
        "output_dir": str(folder),
        "save_strategy": "steps",
        "save_steps": 2,
        "num_generations": 2,
        "max_completion_length": 8,
        "max_steps": 4,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
    }
    args = trl.GRPOConfig(**{**quick, **settings, **config})
    return trl.GRPOTrainer(tiny, reward, args, train_dataset=prompts, callbacks=callbacks)


def test_a_grpo_run_goes_on_with_what_its_reward_had_learnt(tiny, prompts, quick, tmp_path, caplog):
    def run(folder, until, resume=None):
        reward = mixer()
        callbacks = [RewardStateCallback(reward)] + ([StopAt(until)] if until < 4 else [])
        trainer = grpo(tiny, prompts, quick, tmp_path / folder, reward, callbacks)
        trainer.train(resume_from_checkpoint=resume)
        assert "begins anew" not in caplog.text
        return reward, trainer

    reward, trainer = run("a", 4)
    undisturbed = reward.state_dict()
    assert undisturbed["constraints"]["brevity/at_least"]["log_multiplier"] != 0.0
    assert undisturbed["normalizers"]["brevity"]["count"] == 16
    assert undisturbed["components"]["vowels"]["normalizers"]["vowels"]["count"] == 16
    for name in ("rewards/vowels/mean", "weights/vowels", "constraints/brevity/at_least/multiplier"):
        assert len(logged(trainer, name)) == 4, name
    run("b", 2)
    resumed, other = run("b", 4, resume=str(tmp_path / "b" / "checkpoint-2"))
    assert resumed.state_dict() == undisturbed
    weights = dict(other.model.named_parameters())
    assert all(torch.equal(one, weights[name]) for name, one in trainer.model.named_parameters())


def test_evaluation_teaches_grpos_reward_nothing(tiny, prompts, quick, tmp_path):
    reward, seen = mixer(), []

    class Watch(trl.trainer.callbacks.TrainerCallback):
        def on_step_end(self, *args, **kwargs):
            seen.append(reward.state_dict())

        def on_evaluate(self, *args, **kwargs):
            seen.append(reward.state_dict())

    evaluation = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 2, "max_steps": 1}
    args = trl.GRPOConfig(**{**quick, "num_generations": 2, "max_completion_length": 8, **evaluation})
    callbacks = [RewardStateCallback(reward), Watch()]
    rows = {"train_dataset": prompts, "eval_dataset": prompts.select(range(4))}
    trainer = trl.GRPOTrainer(tiny, reward, args, callbacks=callbacks, **rows)
    trainer.train()
    assert len(seen) == 2 and seen[0] == seen[1]
    assert seen[0]["normalizers"]["brevity"]["count"] == 4
    assert any("eval_rewards/brevity/mean" in entry for entry in trainer.state.log_history)


def test_the_table_of_completions_has_the_components(tiny, prompts, quick, tmp_path):
    import pandas as pd

    reward = mixer()
    trainer = grpo(
        tiny, prompts, quick, tmp_path / "a", reward, [], max_steps=1, save_strategy="no", log_completions=True
    )
    trainer.train()
    [path] = (tmp_path / "a" / "completions").glob("*.parquet")
    table = pd.read_parquet(path)
    assert table["rewards/brevity"].tolist() == brevity(table["completion"].tolist())
    assert {"rewards/vowels", "vowels/rewards/vowels", "reward_mixer"} <= set(table.columns)


def test_combining_by_group_is_trls_normalize_then_sum(tiny, prompts, quick, tmp_path):
    def advantages(reward, **config):
        trainer = grpo(tiny, prompts, quick, tmp_path / "a", reward, [], max_steps=1, save_strategy="no", **config)
        trainer.train()
        return list(trainer._logs["advantages"]), list(trainer._logs["completion"])

    theirs, texts = advantages(
        [vowels, brevity], multi_objective_aggregation="normalize_then_sum", reward_weights=[1.0, 0.5]
    )
    mixed = RewardMixer({"a": vowels, "b": brevity}, weights={"a": 1.0, "b": 0.5}, combine="group")
    ours, same_texts = advantages(mixed, scale_rewards="batch")
    assert texts == same_texts
    assert ours == pytest.approx(theirs, abs=1e-3)
    assert max(ours) > 0.5


@pytest.mark.parametrize("steps", [2, 3], ids=["between rollouts", "within a rollout"])
def test_a_ppo_run_does_so_by_itself(tiny, prompts, quick, tmp_path, steps):
    def run(folder, until, resume=None):
        reward = mixer()
        config = {**quick, "output_dir": str(tmp_path / folder), "save_strategy": "steps", "save_steps": steps}
        trainer = make(tiny, prompts, config, reward=[vowels, reward], max_steps=6, lr_scheduler_type="constant")
        if until < 6:
            trainer.add_callback(StopAt(until))
        trainer.train(resume_from_checkpoint=resume)
        return reward.state_dict(), dict(trainer.model.named_parameters())

    state, weights = run("a", 6)
    assert state["normalizers"]["brevity"]["count"] == 12
    run("b", steps)
    resumed, others = run("b", 6, resume=str(tmp_path / "b" / f"checkpoint-{steps}"))
    assert resumed == state
    assert all(torch.equal(one, others[name]) for name, one in weights.items())


def test_evaluation_teaches_ppos_reward_nothing(tiny, prompts, quick):
    reward = mixer()
    trainer = make(tiny, prompts, quick, reward=reward, eval_dataset=prompts.select(range(8)), max_steps=2)
    trainer.train()
    before = reward.state_dict()
    assert before["normalizers"]["brevity"]["count"] == 4
    trainer.evaluate()
    assert reward.state_dict() == before


@pytest.mark.parametrize("name", ["RLOO", "OnlineDPO"])
def test_other_trainers_take_a_mixer_also_with_async_parts(name, tiny, prompts, quick, tmp_path):
    if name == "RLOO":
        from trl import RLOOConfig as Config
        from trl import RLOOTrainer as Trainer
    else:
        from trl.experimental.online_dpo import OnlineDPOConfig as Config
        from trl.experimental.online_dpo import OnlineDPOTrainer as Trainer
    options = {"max_steps": 2, "save_strategy": "steps", "save_steps": 2}
    options |= {"num_generations": 2, "max_completion_length": 8} if name == "RLOO" else {"max_new_tokens": 8}
    from transformers import AutoModelForCausalLM, AutoTokenizer

    reward = mixer(brevity=brevity_async)
    trainer = Trainer(
        AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32),
        reward_funcs=reward,
        args=Config(**{**quick, **options}),
        train_dataset=prompts,
        processing_class=AutoTokenizer.from_pretrained(tiny, padding_side="left"),
        callbacks=[RewardStateCallback(reward)],
    )
    trainer.train()
    other = mixer()
    load_reward_state([other], f"{quick['output_dir']}/checkpoint-2")
    assert other.state_dict() == reward.state_dict()
    assert other.normalizers["brevity"].moments.count > 0


def test_a_checkpoint_of_other_rewards_is_refused(tmp_path):
    save_reward_state([vowels, mixer()], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    with pytest.raises(ValueError, match="other reward functions"):
        load_reward_state([mixer()], tmp_path)
    with pytest.raises(ValueError, match="state is of another mixer: its normalizers"):
        load_reward_state([vowels, mixer(normalize="batch")], tmp_path)


def test_a_checkpoint_without_a_state_is_said(tmp_path, caplog):
    load_reward_state([vowels], tmp_path)
    assert not caplog.records
    load_reward_state([mixer()], tmp_path)
    assert "has no reward_state.pt" in caplog.text


def test_resuming_where_no_state_can_be_found_is_refused(tiny, prompts, quick, tmp_path):
    reward = mixer()
    trainer = grpo(tiny, prompts, quick, tmp_path / "a", reward, [RewardStateCallback(reward)], max_steps=2)
    trainer.train()
    elsewhere = tmp_path / "elsewhere"
    shutil.move(tmp_path / "a" / "checkpoint-2", elsewhere)

    def resume(**settings):
        reward = mixer()
        callbacks = [RewardStateCallback(reward, **settings)]
        trainer = grpo(tiny, prompts, quick, tmp_path / "a", reward, callbacks, max_steps=3, save_strategy="no")
        trainer.train(resume_from_checkpoint=str(elsewhere))
        return reward

    with pytest.raises(FileNotFoundError, match="goes on from step 2.*resume_from=FOLDER"):
        resume()
    assert resume(resume_from=elsewhere).normalizers["brevity"].moments.count == 12


@pytest.mark.parametrize(("normalize", "said"), [("running", True), ("batch", False)])
def test_a_mixer_that_begins_anew_in_the_midst_of_a_run_says_so(
    normalize, said, tiny, prompts, quick, tmp_path, caplog
):
    """The callback was forgotten: TRL resumes, and nothing else would tell."""

    def run(resume, **config):
        reward = RewardMixer({"vowels": vowels, "brevity": brevity}, normalize=normalize)
        trainer = grpo(tiny, prompts, quick, tmp_path / "a", reward, [], save_steps=1, **config)
        trainer.train(resume_from_checkpoint=resume)

    run(None, max_steps=1)
    assert "begins anew" not in caplog.text
    run(True, max_steps=3)
    assert caplog.text.count("goes on from step 1, but its RewardMixer begins anew") == said


def test_a_callback_with_nothing_to_save_is_refused():
    with pytest.raises(ValueError, match="None of the reward functions has a state"):
        RewardStateCallback([vowels])


def test_anything_with_a_state_is_saved(tmp_path):
    class Counter:
        count = 0

        def __call__(self, completions, **_):
            return [0.0] * len(completions)

        def state_dict(self):
            return {"count": torch.tensor(self.count)}

        def load_state_dict(self, state):
            self.count = int(state["count"])

    one, other = Counter(), Counter()
    one.count = 7
    save_reward_state([one], tmp_path)
    load_reward_state([other], tmp_path)
    assert other.count == 7
