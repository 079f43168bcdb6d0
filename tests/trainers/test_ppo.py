"""PPOTrainer: it learns, its numbers are PPO's, and its checkpoints hold what they should."""

import json
import math
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    TrainerCallback,
)

from rlhf_ext import PPOConfig, PPOTrainer, RewardModel
from rlhf_ext.trainers.critic import NAME, ValueHead, ValueModel

from ..conftest import vowels
from .ppo_helpers import logged, make, rollout


@pytest.mark.parametrize("value_model", ["shared", None])
def test_it_learns(tiny, prompts, quick, value_model):
    trainer = make(
        tiny,
        prompts,
        quick,
        value_model=value_model,
        per_device_train_batch_size=16,
        steps_per_generation=2,
        max_steps=48,
        learning_rate=3e-3,
        max_completion_length=16,
        kl_coef=0.01,
    )
    trainer.train()
    rewards = logged(trainer, "objective/scores")
    assert sum(rewards[-8:]) / 8 > sum(rewards[:4]) / 4 + 0.04
    explained = logged(trainer, "value/explained_variance")
    assert explained[-1] > explained[0]


def test_the_first_minibatch_has_ratio_one_and_no_clipping(tiny, prompts, quick):
    trainer = make(tiny, prompts, quick, steps_per_generation=2, max_steps=1)
    trainer.train()
    assert logged(trainer, "clip_ratio/region_mean")[0] == 0
    batch = trainer._buffered_inputs[0]
    assert batch["advantages"].shape == batch["completion_ids"].shape


def test_advantages_are_gae_of_the_penalised_rewards(tiny, prompts, quick):
    """A rollout's targets, computed again from its ids with plain forwards and the definition of GAE."""
    reference = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    trainer = make(
        tiny, prompts, quick, ref_model=reference, whiten_advantages=False, kl_coef=0.3, lam=0.9, gamma=0.95
    )
    with torch.no_grad():  # so that the policy is not the reference, and values are not 0
        for parameter in trainer.model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    rows = [prompts[i] for i in range(4)]
    output = rollout(trainer, rows)
    critic = trainer._critic.critic
    for i in range(4):
        prompt = output["prompt_ids"][i][output["prompt_mask"][i].bool()]
        completion = output["completion_ids"][i][output["completion_mask"][i].bool()]
        ids = torch.cat([prompt, completion])[None]
        n = len(completion)
        with torch.no_grad():
            states = trainer.model(input_ids=ids, output_hidden_states=True)
            logps = states.logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[-n:, 0]
            ref = reference(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[-n:, 0]
            values = critic.score(states.hidden_states[-1])[0, :-1, 0][-n:]
        rewards = -0.3 * (logps - ref)
        text = trainer.processing_class.decode(completion, skip_special_tokens=True)
        rewards[-1] += vowels([None], [text])[0]
        advantage, expected = 0.0, []
        for t in reversed(range(n)):
            following = values[t + 1] if t + 1 < n else 0.0
            advantage = rewards[t] + 0.95 * following - values[t] + 0.95 * 0.9 * advantage
            expected.insert(0, float(advantage))
        assert output["advantages"][i, :n].tolist() == pytest.approx(expected, abs=2e-4)
        assert output["returns"][i, :n].tolist() == pytest.approx((torch.tensor(expected) + values).tolist(), abs=2e-4)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_left_padding_changes_no_logprob_value_or_reference(kind, tiny, tmp_path, prompts, quick):
    """GPT-2 counts positions from the left edge: padded and unpadded rows must still agree."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    if kind == "gpt2":
        torch.manual_seed(0)
        config = GPT2Config(vocab_size=len(tokenizer), n_positions=256, n_embd=32, n_layer=2, n_head=2)
        model = GPT2LMHeadModel(config)
        torch.nn.init.normal_(model.transformer.wpe.weight, std=0.5)
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        model.save_pretrained(tmp_path / "gpt2")
        tokenizer.save_pretrained(tmp_path / "gpt2")
        tiny = str(tmp_path / "gpt2")
    trainer = make(tiny, prompts, quick, value_model=None, kl_coef=0.1)
    torch.nn.init.normal_(trainer._critic.critic.model.score.weight)
    trainer.ref_model = trainer.accelerator.unwrap_model(trainer.ref_model)
    rows = [
        {"prompt": [{"role": "user", "content": text}]} for text in ("Hi", "a longer question about lawns and moss")
    ]
    output = rollout(trainer, rows * 2)
    assert output["prompt_mask"].sum(1).unique().numel() > 1, "the rows must differ in length"
    mask = output["completion_mask"]
    logps = trainer._score_rollout(output)
    values = trainer._token_values[:, -mask.size(1) - 1 : -1]
    for i in range(4):
        ids = torch.cat([output["prompt_ids"][i][output["prompt_mask"][i].bool()], output["completion_ids"][i]])[None]
        n = int(mask[i].sum())
        total = ids.size(1) - (mask.size(1) - n)
        ids = ids[:, :total]
        with torch.no_grad():
            alone = {
                name: model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[-n:, 0]
                for name, model in (("policy", trainer.model), ("reference", trainer.ref_model))
            }
            value = trainer._critic.critic(input_ids=ids)[0, :-1][-n:]
        assert logps[i, :n].tolist() == pytest.approx(alone["policy"].tolist(), abs=1e-3)
        assert output["ref_per_token_logps"][i, :n].tolist() == pytest.approx(alone["reference"].tolist(), abs=1e-3)
        assert values[i, :n].tolist() == pytest.approx(value.tolist(), abs=1e-3)


def test_a_modified_policy_in_memory_is_its_own_reference(policy, tokenizer, prompts, quick):
    with torch.no_grad():
        policy.model.norm.weight.mul_(1.5)  # no longer what its name on disk holds
    args = PPOConfig(**quick, max_completion_length=8, max_steps=1, kl_coef=0.1)
    trainer = PPOTrainer(policy, vowels, args, train_dataset=prompts, processing_class=tokenizer, value_model="shared")
    output = rollout(trainer, [prompts[i] for i in range(4)])
    logps = trainer._score_rollout(output)
    gap = (logps - output["ref_per_token_logps"]) * output["completion_mask"]
    assert gap.abs().max() < 1e-4


def test_a_second_trainer_goes_on_with_the_same_policy(policy, tokenizer, prompts, quick):
    args = PPOConfig(**quick, max_completion_length=8, max_steps=1, kl_coef=0.1)
    for _ in range(2):
        trainer = PPOTrainer(
            policy, vowels, args, train_dataset=prompts, processing_class=tokenizer, value_model="shared"
        )
        output = rollout(trainer, [prompts[i] for i in range(4)])
        gap = (trainer._score_rollout(output) - output["ref_per_token_logps"]) * output["completion_mask"]
        assert gap.abs().max() < 1e-4, "its reference is the policy as it is now"
        trainer.train()
        assert math.isfinite(logged(trainer, "loss")[0])


def test_the_reference_follows_with_sync_ref_model(tiny, prompts, quick):
    trainer = make(
        tiny,
        prompts,
        quick,
        ref_model=AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32),
        sync_ref_model=True,
        ref_model_sync_steps=1,
        ref_model_mixup_alpha=1.0,
        max_steps=2,
    )
    trainer.train()
    for mine, theirs in zip(
        [p for n, p in trainer.model.named_parameters() if NAME not in n], trainer.ref_model.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_minibatches_are_reshuffled_each_epoch(tiny, prompts, quick):
    trainer = make(tiny, prompts, quick, per_device_train_batch_size=4, steps_per_generation=4, num_iterations=2)
    trainer.model.train()
    rows = [prompts[i] for i in range(16)]
    seen = []
    for step in range(8):
        trainer._step = step
        seen.append(trainer._prepare_inputs(rows)["completion_ids"].tolist())
    first, second = sum(seen[:4], []), sum(seen[4:], [])
    assert first != second
    assert sorted(first) == sorted(second)


def test_an_end_that_is_missing_costs_and_a_none_counts_nothing(tiny, prompts, quick):
    def sometimes(prompts, completions, **columns):
        return [1.0, None, 2.0, 3.0]

    trainer = make(tiny, prompts, quick, sometimes, missing_eos_penalty=5.0, max_completion_length=4)
    output = rollout(trainer, [prompts[i] for i in range(4)])
    ended = (output["completion_ids"] * output["completion_mask"] == trainer.processing_class.eos_token_id).any(1)
    assert trainer._ended(output).tolist() == ended.tolist()
    scores, _ = trainer._scores(ended, output["completion_mask"].shape)
    expected = torch.tensor([1.0, math.nan, 2.0, 3.0]) - 5.0 * ~ended
    assert torch.allclose(scores, expected, equal_nan=True)
    assert output["advantages"][1].abs().sum() == 0
    assert output["value_mask"][1].sum() == 0
    assert all(math.isfinite(v) for v in trainer._metrics["train"]["objective/scores"])
    assert trainer._metrics["train"]["objective/unscored"] == [0.25]


def test_an_infinite_reward_is_refused_by_row(tiny, prompts, quick):
    trainer = make(tiny, prompts, quick, lambda completions, **_: [0.0, math.inf, 0.0, 0.0])
    with pytest.raises(ValueError, match="gave inf for completion 1"):
        trainer.train()


def test_a_reward_that_raises_stops_the_run(tiny, prompts, quick):
    def broken(**_):
        raise RuntimeError("the scorer is down")

    with pytest.raises(RuntimeError, match="the scorer is down"):
        make(tiny, prompts, quick, broken).train()


def test_a_reward_model_by_folder_sees_the_end_token(tiny, reward_folder, plain, quick):
    trainer = make(tiny, plain.select_columns(["prompt"]), quick, reward_folder, value_model=None)
    function = trainer.reward_funcs[0]
    assert isinstance(function, RewardModel)
    assert trainer.reward_func_names == ["reward"]
    assert isinstance(trainer._critic.critic, ValueModel)
    score = function.model.score.weight
    assert torch.equal(trainer._critic.critic.model.score.weight, score), "the critic starts from the reward model"
    trainer.train()
    assert logged(trainer, "rewards/reward/mean")


def test_a_generation_batch_of_one_works(tiny, prompts, quick):
    trainer = make(tiny, prompts, quick, per_device_train_batch_size=1, max_steps=2)
    trainer.train()
    assert all(math.isfinite(loss) for loss in logged(trainer, "loss"))


def test_the_sum_of_gradients_does_not_depend_on_accumulation(tiny, prompts, quick):
    """One step on 4 rows equals one step on 2 x 2 and 4 x 1 rows of the same rollout."""
    gradients = []
    for size, accumulation in ((4, 1), (2, 2), (1, 4)):
        trainer = make(
            tiny,
            prompts,
            {**quick, "per_device_train_batch_size": size},
            gradient_accumulation_steps=accumulation,
            steps_per_generation=accumulation,
            num_iterations=1,
            seed=3,
        )
        torch.manual_seed(7)
        torch.nn.init.normal_(trainer._critic.critic.score.weight)
        trainer.current_gradient_accumulation_steps = accumulation
        trainer.model.train()
        rows = [prompts[i] for i in range(4)]
        for step in range(accumulation):
            trainer._step = step
            trainer.compute_loss(trainer.model, trainer._prepare_inputs(rows)).backward()
        gradients.append({n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None})
    for other in gradients[1:]:
        for name, gradient in gradients[0].items():
            assert torch.allclose(gradient, other[name], atol=2e-5), name


def test_the_critic_has_its_own_learning_rate(tiny, prompts, quick):
    trainer = make(tiny, prompts, quick, value_learning_rate=0.5)
    optimizer = trainer.create_optimizer()
    critic = {id(p) for p in trainer._critic.critic.parameters()}
    rates = {group["lr"] for group in optimizer.param_groups if any(id(p) in critic for p in group["params"])}
    assert rates == {0.5}
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(trainer.model.parameters()))


@pytest.mark.parametrize("value_model", ["shared", None])
@pytest.mark.parametrize("lora", [False, True])
def test_the_saved_policy_is_a_plain_model_with_the_critic_beside_it(
    tiny, prompts, quick, value_model, lora, tmp_path
):
    peft_config = LoraConfig(r=4, target_modules="all-linear") if lora else None
    trainer = make(tiny, prompts, quick, peft_config=peft_config, value_model=value_model, max_steps=2)
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    weights = load_file(tmp_path / "saved" / ("adapter_model.safetensors" if lora else "model.safetensors"))
    assert weights
    assert not any(NAME in key for key in weights)
    assert (tmp_path / "saved" / NAME).is_dir()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.float32)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.allclose(loaded(input_ids=ids).logits, trainer.model(input_ids=ids).logits, atol=1e-5)


def test_an_adapter_that_is_given_goes_on_and_is_the_reference(tiny, prompts, quick, tmp_path):
    first = make(tiny, prompts, quick, peft_config=LoraConfig(r=4, target_modules="all-linear"), max_steps=2)
    first.train()
    first.save_model(str(tmp_path / "adapter"))
    base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, tmp_path / "adapter", is_trainable=True)
    args = PPOConfig(**quick, max_completion_length=8, max_steps=1, kl_coef=0.1)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    trainer = PPOTrainer(model, vowels, args, train_dataset=prompts, processing_class=tokenizer, value_model="shared")
    output = rollout(trainer, [prompts[i] for i in range(4)])
    gap = (trainer._score_rollout(output) - output["ref_per_token_logps"]) * output["completion_mask"]
    assert gap.abs().max() < 1e-4


def test_evaluation_works(tiny, prompts, quick):
    trainer = PPOTrainer(
        tiny,
        vowels,
        PPOConfig(**quick, max_completion_length=8, max_steps=1, per_device_eval_batch_size=4),
        train_dataset=prompts,
        eval_dataset=prompts.select(range(8)),
        value_model="shared",
    )
    metrics = trainer.evaluate()
    assert 0 < metrics["eval_objective/scores"] < 1
    assert math.isfinite(metrics["eval_loss"])


def test_completions_are_logged_with_our_advantages(tiny, prompts, quick):
    import pandas as pd

    trainer = make(tiny, prompts, quick, log_completions=True, max_steps=1)
    trainer.train()
    table = pd.read_parquet(next((Path(quick["output_dir"]) / "completions").glob("*.parquet")))
    assert len(table) == 4
    assert table["advantage"].abs().sum() > 0


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"loss_type": "grpo"}, "`loss_type` must be one of"),
        ({"importance_sampling_level": "sequence"}, "importance_sampling_level"),
        ({"beta": 0.2}, "set `kl_coef=0.2` in place of `beta`"),
        ({"gamma": 1.5}, r"`gamma` must be in \[0, 1\]"),
        ({"lam": -0.1}, "`lam` must be in"),
        ({"vf_coef": -1.0}, "`vf_coef` must not be negative"),
        ({"num_generations": 3}, "divisible by num_generations"),
    ],
)
def test_what_is_not_ppo_is_refused(quick, config, match):
    with pytest.raises(ValueError, match=match):
        PPOConfig(**quick, **config)


def test_a_config_survives_a_round_trip(quick, tmp_path):
    config = PPOConfig(**quick, kl_coef=0.2)
    fields = json.loads(config.to_json_string())
    assert fields["beta"] == fields["kl_coef"] == 0.2
    assert fields["num_generations"] == 1


def test_a_critic_of_another_vocabulary_is_refused(tiny, prompts, quick):
    config = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=1).config
    config.vocab_size = 999
    other = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(ValueError, match="reads a vocabulary of 999 tokens"):
        make(tiny, prompts, quick, value_model=other)


def test_without_a_penalty_there_is_no_reference(tiny, prompts, quick):
    trainer = make(tiny, prompts, quick, kl_coef=0.0, max_steps=1)
    assert trainer.ref_model is None
    trainer.train()
    (entry,) = [entry for entry in trainer.state.log_history if "objective/scores" in entry]
    assert not {"objective/kl", "objective/kl_k3"} & set(entry), "what was not measured is not 0"
    assert entry["objective/rlhf_reward"] == entry["objective/scores"] and entry["objective/kl_coef"] == 0


def test_several_rewards_are_weighted(tiny, quick, prompts):
    one, two = (
        (lambda completions, **_: [1.0] * len(completions)),
        (lambda completions, **_: [10.0] * len(completions)),
    )
    trainer = make(tiny, prompts, quick, [one, two], reward_weights=[0.5, 0.1], max_steps=1)
    trainer.train()
    assert logged(trainer, "objective/scores") == [pytest.approx(1.5)]


def test_data_columns_reach_the_reward(tiny, quick, prompts):
    seen = []

    def reward(completions, answer, **_):
        seen.extend(answer)
        return [0.0] * len(completions)

    data = Dataset.from_list([{**row, "answer": str(i)} for i, row in enumerate(prompts.select(range(8)).to_list())])
    make(tiny, data, quick, reward, max_steps=1).train()
    assert len(seen) == 4
    assert set(seen) <= {str(i) for i in range(8)}


def test_the_shared_critic_is_a_head_on_the_policy(tiny, prompts, quick):
    assert isinstance(make(tiny, prompts, quick)._critic.critic, ValueHead)


def test_arguments_by_position_are_in_grpos_order(tiny, prompts, quick, tokenizer):
    watching = TrainerCallback()
    trainer = PPOTrainer(
        tiny, vowels, PPOConfig(**quick), prompts, None, tokenizer, None, [watching], value_model="shared"
    )
    assert watching in trainer.callback_handler.callbacks
    with pytest.raises(TypeError, match="`train_dataset` came twice"):
        PPOTrainer(tiny, vowels, PPOConfig(**quick), prompts, train_dataset=prompts)


def test_a_data_set_without_prompts_says_what_it_has(tiny, quick):
    with pytest.raises(ValueError, match="no column `prompt`; it has question, answer"):
        make(tiny, Dataset.from_list([{"question": "a", "answer": "b"}] * 8), quick)


def test_fewer_prompts_than_a_rollout_takes_are_refused(tiny, prompts, quick):
    few = prompts.select(range(7))
    with pytest.raises(ValueError, match="has 7 prompts, and a rollout takes 8"):
        make(tiny, few, quick, per_device_train_batch_size=4, steps_per_generation=2)
    make(tiny, few, quick, per_device_train_batch_size=7, steps_per_generation=1)
