"""What people expect of PPO beyond the paper's recipe: off by default, right when on."""

import math

import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM

from rlhf_ext import PPOConfig, PPOTrainer
from rlhf_ext.trainers.advantages import token_kl
from rlhf_ext.trainers.kl_control import KLController
from rlhf_ext.trainers.stop_strings import cut_after

from ..conftest import vowels
from .ppo_helpers import logged, make, rollout


def rows_of(prompts, count=4):
    return [prompts[i] for i in range(count)]


def test_the_controller_steers_towards_the_target():
    control = KLController(0.1, target=5.0, horizon=100)
    control.update(6.0, 10)
    assert control.coef == pytest.approx(0.1 * (1 + 0.2 * 0.1))
    control.update(500.0, 10)
    assert control.coef == pytest.approx(0.102 * 1.02), "the error is clipped at a fifth"
    control.update(0.0, 10)
    assert control.coef == pytest.approx(0.102 * 1.02 * 0.98)
    fixed = KLController(0.1)
    fixed.update(50.0, 10)
    assert fixed.coef == 0.1


def test_the_weight_of_the_kl_moves_in_training_and_not_in_evaluation(tiny, prompts, quick):
    trainer = make(tiny, prompts, quick, kl_coef=0.1, kl_target=100.0, kl_horizon=8, max_steps=6, num_iterations=1)
    trainer.train()
    coefs = logged(trainer, "objective/kl_coef")
    assert coefs[0] == 0.1
    assert coefs[1] == pytest.approx(0.1 * (1 - 0.2 * 4 / 8))
    before = trainer._kl_control.coef
    trainer.model.eval()
    trainer._generate_and_score_completions(rows_of(prompts))
    assert trainer._kl_control.coef == before


def test_k3_is_the_penalty_where_asked_for(tiny, prompts, quick):
    reference = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    trainer = make(
        tiny,
        prompts,
        quick,
        lambda completions, **_: [0.0] * len(completions),
        ref_model=reference,
        kl_estimator="k3",
        kl_coef=0.5,
        lam=1.0,
        whiten_advantages=False,
    )
    output = rollout(trainer, rows_of(prompts))
    logps = trainer._score_rollout(output)
    penalty = -0.5 * token_kl(logps, output["ref_per_token_logps"], "k3") * output["completion_mask"]
    expected = penalty.flip(1).cumsum(1).flip(1) * output["completion_mask"]
    assert torch.allclose(output["advantages"], expected, atol=1e-4)
    assert penalty.max() <= 0
    assert trainer._metrics["train"]["objective/kl_k3"][0] > 0


def test_the_critics_targets_may_have_a_decay_of_their_own(tiny, prompts, quick):
    def targets(**config):
        trainer = make(tiny, prompts, quick, whiten_advantages=False, kl_coef=0.0, seed=5, **config)
        torch.manual_seed(3)
        torch.nn.init.normal_(trainer._critic.critic.score.weight)
        torch.manual_seed(4)
        return rollout(trainer, rows_of(prompts))

    same, decoupled = targets(lam=0.5), targets(lam=0.5, value_lam=1.0)
    assert torch.equal(same["completion_ids"], decoupled["completion_ids"])
    assert torch.equal(same["advantages"], decoupled["advantages"])
    score = decoupled["returns"][:, :1]
    mask = decoupled["value_mask"]
    assert torch.allclose(decoupled["returns"], score * mask, atol=1e-5), "Monte Carlo: the score at every token"
    assert not torch.allclose(same["returns"], decoupled["returns"], atol=1e-3)


def test_what_was_cut_off_gets_the_value_of_what_would_follow(tiny, prompts, quick):
    trainer = make(
        tiny,
        prompts,
        quick,
        lambda completions, **_: [0.0] * len(completions),
        bootstrap_truncated=True,
        kl_coef=0.0,
        lam=1.0,
        gamma=0.9,
        max_completion_length=6,
    )
    torch.nn.init.normal_(trainer._critic.critic.score.weight)
    output = rollout(trainer, rows_of(prompts, 16))
    mask = output["completion_mask"]
    ended = trainer._ended(output)
    assert 0 < ended.sum() < 16, "some are to end, and some to be cut off"
    for i in range(16):
        prompt = output["prompt_ids"][i][output["prompt_mask"][i].bool()]
        ids = torch.cat([prompt, output["completion_ids"][i][mask[i].bool()]])[None]
        with torch.no_grad():
            state = trainer.model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0, -1]
            value = float(trainer._critic.critic.score(state))
        n = int(mask[i].sum())
        expected = [0.0 if ended[i] else value * 0.9 ** (n - t) for t in range(n)]
        assert output["returns"][i, :n].tolist() == pytest.approx(expected, abs=1e-3)


def test_rewards_are_clipped_and_scaled(tiny, prompts, quick):
    given = [1.0, -3.0, 8.0, 2.0]
    trainer = make(tiny, prompts, quick, lambda **_: given, reward_clip=2.5, missing_eos_penalty=10.0)
    scores, _ = scored(trainer, prompts, torch.tensor([True, True, True, False]))
    assert scores.tolist() == [1.0, -2.5, 2.5, 2.0 - 10.0], "the penalty comes after the clip"
    trainer = make(tiny, prompts, quick, lambda **_: given, scale_rewards="batch")
    scores, _ = scored(trainer, prompts, torch.ones(4, dtype=torch.bool))
    assert scores.tolist() == pytest.approx([x / torch.tensor(given).std(correction=0).item() for x in given])


def scored(trainer, prompts, ended):
    output = rollout(trainer, rows_of(prompts))
    return trainer._scores(ended, output["completion_mask"].shape)


def test_token_rewards_fall_where_the_tokens_are(tiny, prompts, quick):
    """With no discount, no KL and a critic that knows nothing, an advantage is what is still to come."""

    def places(completion_ids, **_):
        return [[float(t) for t in range(len(ids))] for ids in completion_ids]

    def whole(completions, **_):
        return [100.0] * len(completions)

    trainer = make(
        tiny, prompts, quick, [places, whole], reward_weights=[0.5, 1.0], kl_coef=0.0, lam=1.0, whiten_advantages=False
    )
    output = rollout(trainer, rows_of(prompts))
    for row, mask in zip(output["advantages"], output["completion_mask"], strict=True):
        n = int(mask.sum())
        assert row[:n].tolist() == pytest.approx([100 + 0.5 * sum(range(t, n)) for t in range(n)], rel=1e-5)
    trainer.train()
    assert all(math.isfinite(loss) for loss in logged(trainer, "loss"))


def test_a_critic_may_warm_up_alone(tiny, prompts, quick):
    trainer = make(
        tiny, prompts, quick, value_model=None, value_warmup_steps=2, max_steps=2, steps_per_generation=1, vf_coef=1.0
    )
    critic = {f"value_model.{name}" for name, _ in trainer._critic.critic.named_parameters()}
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    moved = {name for name, p in trainer.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert moved <= critic
    trainer.args.max_steps = 3
    trainer.train()
    assert any(not torch.equal(p, before[n]) for n, p in trainer.model.named_parameters() if n not in critic)


@pytest.mark.parametrize("whole", [False, True])
def test_an_optimizer_without_the_critic_is_said(whole, policy, tokenizer, prompts, quick, caplog):
    trainer = make(policy, prompts, quick, max_steps=1)
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters() if whole else policy.lm_head.parameters(), lr=1e-2)
    before = trainer._critic.critic.score.weight.clone()
    trainer.train()
    assert ("none of the critic's parameters" in caplog.text) is not whole
    assert torch.equal(trainer._critic.critic.score.weight, before) is not whole


def test_the_critics_gradients_are_clipped_on_their_own(tiny, prompts, quick):
    trainer = make(tiny, prompts, quick, value_model=None, value_max_grad_norm=0.01, vf_coef=50.0, max_steps=1)
    seen = {}

    def look(model):
        norm = type(trainer)._clip_grad_norm(trainer, model)
        for name, critic in (("critic", True), ("policy", False)):
            grads = [p.grad for n, p in model.named_parameters() if ("value_model." in n) == critic]
            seen[name] = torch.stack([g.norm() for g in grads if g is not None]).norm().item()
        seen["returned"] = float(norm)
        return norm

    trainer._clip_grad_norm = look
    trainer.train()
    assert seen["critic"] == pytest.approx(0.01, rel=1e-3)
    assert logged(trainer, "value/grad_norm")[0] > 0.01
    assert seen["policy"] == pytest.approx(min(seen["returned"], 1.0), rel=1e-3), "the policy's norm is its own"


def test_stop_strings_end_a_completion(tiny, prompts, quick):
    trainer = make(
        tiny,
        prompts,
        quick,
        stop_strings=["e", "zzz"],
        max_completion_length=24,
        missing_eos_penalty=100.0,
        max_steps=2,
    )
    output = rollout(trainer, rows_of(prompts, 8))
    texts = [
        trainer.processing_class.decode(ids[mask.bool()])
        for ids, mask in zip(output["completion_ids"], output["completion_mask"], strict=True)
    ]
    stopped = [text for text in texts if "e" in text]
    assert len(stopped) >= 4
    for text in stopped:
        assert "e" not in text[: text.rindex("e")], "cut at the first stop string"
    assert trainer._ended(output).tolist() == ["e" in t or t.endswith("<|im_end|>") for t in texts]
    assert trainer._metrics["train"]["completions/clipped_ratio"][-1] == pytest.approx(
        1 - trainer._ended(output).float().mean().item()
    )
    trainer.train()
    assert "generate" not in vars(trainer.model), "the model is left as it was"


def test_a_stop_string_may_span_tokens():
    def decode(ids):
        return "".join("abcd"[i] for i in ids)

    assert cut_after([0, 1, 2, 3], ["bc"], decode) == 3
    assert cut_after([0, 1, 2, 3], ["d", "a"], decode) == 1
    assert cut_after([0, 1], ["x"], decode) is None


def test_another_token_may_end_a_completion(tiny, prompts, quick, tokenizer):
    token = tokenizer("e", add_special_tokens=False)["input_ids"][0]
    trainer = make(tiny, prompts, quick, stop_token_id=token, max_completion_length=32)
    output = rollout(trainer, rows_of(prompts, 8))
    ids, mask = output["completion_ids"], output["completion_mask"].bool()
    assert (ids[mask] == token).any()
    for row, kept in zip(ids, mask, strict=True):
        assert token not in row[kept].tolist()[:-1]


def test_the_best_checkpoint_comes_back(tiny, prompts, quick):
    config = {
        **quick,
        "save_strategy": "steps",
        "save_steps": 2,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "objective/scores",
        "per_device_eval_batch_size": 8,
    }
    trainer = make(tiny, prompts, config, max_steps=6, eval_dataset=prompts.select(range(8)), learning_rate=3e-2)
    trainer.train()
    evaluated = logged(trainer, "eval_objective/scores")
    assert len(evaluated) == 3
    assert trainer.state.best_metric == max(evaluated)
    saved = AutoModelForCausalLM.from_pretrained(trainer.state.best_model_checkpoint, dtype=torch.float32)
    mine = dict(trainer.model.named_parameters())
    for name, parameter in saved.named_parameters():
        assert torch.equal(parameter, mine[name]), name


def test_a_reference_by_name(tiny, prompts, quick):
    trainer = make(tiny, prompts, quick, ref_model=tiny, kl_coef=0.1)
    output = rollout(trainer, rows_of(prompts))
    gap = (trainer._score_rollout(output) - output["ref_per_token_logps"]) * output["completion_mask"]
    assert gap.abs().max() < 1e-4


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"kl_estimator": "k2"}, "`kl_estimator` must be one of"),
        ({"scale_rewards": "group"}, "`scale_rewards` must be one of"),
        ({"kl_target": 6.0, "kl_coef": 0.0}, "`kl_target` needs"),
        ({"value_lam": 2.0}, r"`value_lam` must be in \[0, 1\]"),
        ({"reward_clip": -1.0}, "`reward_clip` must not be negative"),
        ({"num_iterations": 0}, "`num_iterations` must be at least 1"),
        ({"delta": 0.5}, "`delta` must be above 1"),
        ({"multi_objective_aggregation": "normalize_then_sum"}, "which PPO has not"),
        ({"sync_ref_model": True, "kl_coef": 0.0}, "`sync_ref_model` needs a reference to move"),
        ({"value_max_grad_norm": 1.0, "max_grad_norm": 0.0}, "`value_max_grad_norm` needs `max_grad_norm`"),
        ({"stop_strings": ["a", ""]}, "`stop_strings` has an empty string"),
        ({"stop_strings": ["."], "mask_truncated_completions": True}, "would mask what `stop_strings` ended"),
        ({"gradient_accumulation_steps": 4, "steps_per_generation": 2, "num_iterations": 1}, "would mix two rollouts"),
    ],
)
def test_what_cannot_be_is_refused(quick, fields, match):
    with pytest.raises(ValueError, match=match):
        PPOConfig(**{**quick, **fields})


@pytest.mark.parametrize("reward", [lambda completions, **_: [0.1] * len(completions), None], ids=["alike", "one"])
def test_scores_that_are_all_alike_are_not_divided_by_nothing(tiny, prompts, quick, reward):
    size = 4 if reward else 1
    config = {**quick, "per_device_train_batch_size": size}
    trainer = make(tiny, prompts, config, reward or (lambda **_: [0.1]), scale_rewards="batch", max_steps=1)
    trainer.train()
    assert logged(trainer, "objective/scores") == [pytest.approx(0.1)]
    assert logged(trainer, "value/loss")[0] < 1


@pytest.mark.parametrize("given", ["own", None])
def test_the_reference_follows_whoever_made_it(tiny, prompts, quick, given):
    """With a policy by name, TRL makes the reference; its callback knows nothing of a critic."""
    reference = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32) if given else None
    options = {"sync_ref_model": True, "ref_model_sync_steps": 1, "ref_model_mixup_alpha": 1.0}
    trainer = make(tiny, prompts, quick, ref_model=reference, max_steps=2, **options)
    trainer.train()
    mine = [p for name, p in trainer.model.named_parameters() if "value_model" not in name]
    assert all(torch.equal(p, r) for p, r in zip(mine, trainer.ref_model.parameters(), strict=True))


def test_a_reference_cannot_follow_an_adapter(tiny, prompts, quick):
    with pytest.raises(ValueError, match="`sync_ref_model` mixes the weights of two whole models"):
        make(
            tiny,
            prompts,
            quick,
            peft_config=LoraConfig(r=4, target_modules="all-linear"),
            ref_model=AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32),
            sync_ref_model=True,
        )


def test_what_is_logged_of_the_penalty_is_what_was_paid(tiny, prompts, quick):
    """The estimator of the penalty in the sum, and the KL of all completions, also of those without a score."""
    reference = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    trainer = make(
        tiny, prompts, quick, lambda **_: [1.0, None, None, 3.0], ref_model=reference, kl_estimator="k3", kl_coef=0.5
    )
    output = rollout(trainer, rows_of(prompts))
    logps, mask = trainer._score_rollout(output), output["completion_mask"]
    k1, k3 = ((token_kl(logps, output["ref_per_token_logps"], name) * mask).sum(1) for name in ("k1", "k3"))
    found = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    assert found["objective/kl"] == pytest.approx(k1.mean().item(), abs=1e-4)
    assert found["objective/kl_k3"] == pytest.approx(k3.mean().item(), abs=1e-4)
    assert found["objective/non_score_reward"] == pytest.approx(-0.5 * k3.mean().item(), abs=1e-4)
    assert found["objective/rlhf_reward"] == pytest.approx(2.0 - 0.5 * k3[[0, 3]].mean().item(), abs=1e-4)


def test_explained_variance_is_of_the_errors_and_not_of_their_mean(tiny, prompts, quick):
    """1 - Var(returns - values) / Var(returns): a critic that says the same of every state explains nothing, however far off."""
    trainer = make(tiny, prompts, quick, kl_coef=0.0)
    with torch.no_grad():
        trainer._critic.critic.score.bias.fill_(5.0)
    rollout(trainer, rows_of(prompts))
    assert trainer._metrics["train"]["value/explained_variance"] == [pytest.approx(0.0, abs=1e-3)]


def test_one_stop_string_may_be_given_as_such(quick):
    assert PPOConfig(**quick, stop_strings="END").stop_strings == ["END"]


def test_stop_strings_and_a_rollout_of_ones_own_are_refused(tiny, prompts, quick):
    with pytest.raises(ValueError, match="`rollout_func` writes the completions"):
        PPOTrainer(
            tiny, vowels, PPOConfig(**quick, stop_strings=["e"]), train_dataset=prompts, rollout_func=lambda *_: {}
        )


@pytest.mark.parametrize("nothing", [None, []])
def test_no_reward_is_refused(tiny, prompts, quick, nothing):
    with pytest.raises(ValueError, match="PPO needs a reward"):
        make(tiny, prompts, quick, nothing)
