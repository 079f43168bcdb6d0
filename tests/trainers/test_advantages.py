"""The arithmetic of PPO against hand-computed cases and slow references written from the papers."""

import pytest
import torch

from rlhf_ext.trainers.advantages import gae, spread, token_kl, token_rewards, value_losses, whiten


def slow_gae(rewards, values, gamma, lam):
    """A_t = sum_l (gamma lam)^l delta_{t+l}, equation 16 of 1506.02438, term by term."""
    values = [*values, 0.0]
    deltas = [r + gamma * values[t + 1] - values[t] for t, r in enumerate(rewards)]
    return [sum((gamma * lam) ** step * delta for step, delta in enumerate(deltas[t:])) for t in range(len(rewards))]


@pytest.mark.parametrize("score", [0.1, -0.9, 1e6])
def test_equal_scores_have_no_spread_to_divide_by_though_rounding_gives_one(score):
    scores = torch.full((12,), score)
    assert spread(scores) == spread(torch.cat([scores, torch.tensor([torch.nan])])) == 1
    assert spread(torch.tensor([score, score * 1.01])) == pytest.approx(abs(score) * 0.005, rel=1e-3)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0)])
def test_gae_is_the_sum_of_the_paper(gamma, lam):
    torch.manual_seed(0)
    rewards, values = torch.randn(3, 6), torch.randn(3, 6)
    lengths = [6, 3, 1]
    mask = (torch.arange(6) < torch.tensor(lengths)[:, None]).long()
    advantages, returns = gae(rewards * mask, values, mask, gamma, lam)
    for row, length in enumerate(lengths):
        expected = slow_gae(rewards[row, :length].tolist(), values[row, :length].tolist(), gamma, lam)
        assert advantages[row, :length].tolist() == pytest.approx(expected, abs=1e-5)
        assert advantages[row, length:].abs().sum() == 0
    assert torch.allclose(returns, (advantages + values) * mask)


def test_gae_steps_over_tokens_the_policy_did_not_choose():
    rewards, values = torch.tensor([[0.1, 9.0, 0.2, 1.0]]), torch.tensor([[0.5, 9.0, 0.4, 0.3]])
    mask = torch.tensor([[1, 0, 1, 1]])
    with_gap, _ = gae(rewards * mask, values, mask, 0.9, 0.8)
    kept = [0, 2, 3]
    without, _ = gae(rewards[:, kept], values[:, kept], torch.ones(1, 3), 0.9, 0.8)
    assert torch.allclose(with_gap[:, kept], without)
    assert with_gap[0, 1] == 0


def test_the_score_lands_on_the_last_token_and_the_penalty_on_all():
    logps, ref = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, -1.0, 0.0]]), torch.tensor([[-2.0, -2.0, -2.0], [-1.0] * 3])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    rewards = token_rewards(torch.tensor([1.0, 2.0]), token_kl(logps, ref), mask, kl_coef=0.1)
    assert torch.allclose(rewards, torch.tensor([[-0.1, 0.0, 1.1], [0.0, 2.0, 0.0]]))


def test_a_score_that_does_not_apply_adds_nothing():
    rewards = token_rewards(torch.tensor([torch.nan]), None, torch.ones(1, 2), 0.1)
    assert rewards.tolist() == [[0.0, 0.0]]


def test_an_empty_completion_gets_no_reward():
    assert token_rewards(torch.tensor([5.0]), None, torch.zeros(1, 2), 0.1).sum() == 0


def test_k3_is_unbiased_and_never_negative():
    """Its mean over the policy's own tokens is the KL, as that of k1 is (Schulman 2020)."""
    torch.manual_seed(0)
    policy, reference = torch.randn(2, 50).log_softmax(-1)
    exact = (policy.exp() * (policy - reference)).sum()
    for name in ("k1", "k3"):
        assert (policy.exp() * token_kl(policy, reference, name)).sum() == pytest.approx(float(exact), abs=1e-5)
    assert token_kl(policy, reference, "k3").min() >= 0
    assert token_kl(policy, reference, "k1").min() < 0


def test_a_completion_that_was_cut_off_goes_on_in_the_critic():
    ones = torch.ones(1, 2)
    advantages, returns = gae(torch.tensor([[0.0, 1.0]]), 0 * ones, ones, 0.5, 1.0, following=torch.tensor([4.0]))
    assert returns.tolist() == [[1.5, 3.0]]
    assert advantages.tolist() == [[1.5, 3.0]]


def test_whitening_counts_masked_entries_only():
    torch.manual_seed(0)
    x, mask = 3 + 2 * torch.randn(4, 8), (torch.rand(4, 8) > 0.4).long()
    white = whiten(x, mask)
    kept = white[mask.bool()]
    assert kept.mean().item() == pytest.approx(0, abs=1e-5)
    assert kept.var().item() == pytest.approx(1, abs=1e-4)
    assert white[~mask.bool()].abs().sum() == 0
    assert whiten(x, mask, shift_mean=False)[mask.bool()].mean().item() == pytest.approx(
        x[mask.bool()].mean().item(), abs=1e-4
    )


def test_whitening_a_single_entry_leaves_it():
    assert whiten(torch.tensor([[3.0, 7.0]]), torch.tensor([[1, 0]])).tolist() == [[3.0, 0.0]]


def test_whitening_over_processes_equals_whitening_the_whole():
    torch.manual_seed(0)
    x, mask = torch.randn(4, 5), torch.ones(4, 5)
    halves = [(x[:2], mask[:2]), (x[2:], mask[2:])]
    # Each process sums its own part; what the other one has is added here as the reduction would.
    results = []
    for mine, other in (halves, halves[::-1]):
        sums = iter(
            [
                torch.stack([other[1].sum(), other[0].sum()]),
                (((other[0] - x.mean()) ** 2) * other[1]).sum(),
            ]
        )
        results.append(whiten(*mine, totals=lambda local, sums=sums: local + next(sums)))
    assert torch.allclose(torch.cat(results), whiten(x, mask), atol=1e-6)


def test_the_value_loss_by_hand():
    values, old, returns = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 1.0]])
    losses, clipped = value_losses(values, old, returns, cliprange=0.2)
    assert losses.tolist() == [[pytest.approx(0.5 * 1.8**2), 0.5]]  # clipped to 0.2, 1.8 away from 2
    assert clipped.tolist() == [[1.0, 0.0]]
    losses, clipped = value_losses(values, old, returns, cliprange=None)
    assert losses.tolist() == [[0.5, 0.5]]
    assert clipped.sum() == 0
