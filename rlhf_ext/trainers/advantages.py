"""The arithmetic of PPO on padded batches: KL penalty, generalised advantage estimation, whitening, value loss.

Everything is `(batch, tokens)`, with a mask that is 1 where the policy chose the token. Nothing here knows a trainer.
"""

from __future__ import annotations

import torch


def token_rewards(
    scores: torch.Tensor,
    kl: torch.Tensor | None,
    mask: torch.Tensor,
    kl_coef: float,
    dense: torch.Tensor | None = None,
) -> torch.Tensor:
    """Rewards of each token: the KL penalty everywhere, the score on top at the completion's last token.

    `r_t = -kl_coef KL_t + [t is last] score`, the reward of InstructGPT
    ([2203.02155](https://huggingface.co/papers/2203.02155)), and `+ dense_t` where a reward function speaks of tokens.

    Args:
        scores (`torch.Tensor` of shape `(B,)`):
            One score a completion; NaN (not scorable) counts nothing here.
        kl (`torch.Tensor` of shape `(B, T)` or `None`):
            KL estimates of the tokens from [`token_kl`]; None leaves the penalty out.
        mask (`torch.Tensor` of shape `(B, T)`):
            1 for tokens the policy chose.
        kl_coef (`float`):
            Weight of the penalty.
        dense (`torch.Tensor` of shape `(B, T)`, *optional*):
            Rewards of single tokens.

    Returns:
        `torch.Tensor` of shape `(B, T)`: 0 outside the mask.

    Example:

    ```python
    >>> import torch
    >>> kl = torch.tensor([[0.5, 0.0, 0.0]])
    >>> token_rewards(torch.tensor([1.0]), kl, torch.tensor([[1, 1, 0]]), kl_coef=0.1)
    tensor([[-0.0500,  1.0000, -0.0000]])

    ```
    """
    rewards = torch.zeros(mask.shape, device=mask.device) if kl is None else -kl_coef * kl * mask
    if dense is not None:
        rewards = rewards + dense * mask
    last = last_token(mask).unsqueeze(1)
    bonus = torch.nan_to_num(scores, nan=0.0).to(rewards.dtype).unsqueeze(1) * (mask.sum(1, keepdim=True) > 0)
    return rewards.scatter_add(1, last, bonus)


def last_token(mask: torch.Tensor) -> torch.Tensor:
    """Index of the last 1 of each row of a `(B, T)` mask, 0 where there is none; shape `(B,)`."""
    positions = torch.arange(mask.size(1), device=mask.device)
    return (mask * positions).argmax(dim=1)


def token_kl(logps: torch.Tensor, ref_logps: torch.Tensor, estimator: str = "k1") -> torch.Tensor:
    """Estimates of KL(policy || reference) from one sample a token (J. Schulman, "Approximating KL Divergence", 2020).

    With `r = ref(a) / pi(a)`: k1 is `-log r`, unbiased and of either sign; k3 is `r - 1 - log r`, unbiased, never negative
    and of lower variance.

    Args:
        logps, ref_logps (`torch.Tensor`):
            Log-probabilities of the sampled tokens, in nats.
        estimator (`str`, *optional*, defaults to `"k1"`):
            `"k1"` or `"k3"`.

    Returns:
        `torch.Tensor`: estimates in nats, of the shape of `logps`.

    Example:

    ```python
    >>> import torch
    >>> token_kl(torch.tensor([0.0]), torch.tensor([-1.0])), token_kl(torch.tensor([0.0]), torch.tensor([-1.0]), "k3")
    (tensor([1.]), tensor([0.3679]))

    ```
    """
    log_ratio = ref_logps - logps
    return -log_ratio if estimator == "k1" else log_ratio.exp() - 1 - log_ratio


def gae(
    rewards: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    gamma: float,
    lam: float,
    following: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimation ([1506.02438](https://huggingface.co/papers/1506.02438)).

    `A_t = sum_l (gamma lam)^l d_{t+l}` with `d_t = r_t + gamma V_{t+1} - V_t`, where t counts the tokens the policy
    chose: tokens between them (a tool's answer) are stepped over, and after the last one the value is 0, or `following`.

    Args:
        rewards, values, mask (`torch.Tensor` of shape `(B, T)`):
            Per-token rewards, the critic's value of the state before each token, and the mask.
        gamma (`float`), lam (`float`):
            Discount and trace decay, both in [0, 1]. lam = 1 gives Monte Carlo returns, lam = 0 one-step TD.
        following (`torch.Tensor` of shape `(B,)`, *optional*):
            Value of the state after the last token, for rows that were cut off there and would have gone on
            ([1712.00378](https://huggingface.co/papers/1712.00378)); 0 for those that ended.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: advantages and returns (`advantages + values`), both `(B, T)`, 0 outside
        the mask.

    Example:

    ```python
    >>> import torch
    >>> ones = torch.ones(1, 2)
    >>> gae(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.5]]), ones, gamma=1.0, lam=1.0)
    (tensor([[0.5000, 0.5000]]), tensor([[1., 1.]]))

    ```
    """
    values = values * mask
    advantages = torch.zeros_like(values)
    running = torch.zeros_like(values[:, 0])
    next_value = torch.zeros_like(values[:, 0]) if following is None else following.to(values.dtype)
    for t in reversed(range(values.size(1))):
        here = mask[:, t].bool()
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        running = torch.where(here, delta + gamma * lam * running, running)
        next_value = torch.where(here, values[:, t], next_value)
        advantages[:, t] = torch.where(here, running, torch.zeros_like(running))
    return advantages, (advantages + values) * mask


def whiten(x: torch.Tensor, mask: torch.Tensor, totals=lambda sums: sums, shift_mean: bool = True) -> torch.Tensor:
    """Scales the masked entries of `x` to variance 1, and to mean 0 with `shift_mean`.

    Args:
        x, mask (`torch.Tensor` of shape `(B, T)`):
            Values and the mask of those that count.
        totals (`Callable`, *optional*):
            Sums a tensor over all processes; the identity on one.
        shift_mean (`bool`, *optional*, defaults to `True`):
            Whether the mean is taken off too.

    Returns:
        `torch.Tensor` of shape `(B, T)`: 0 outside the mask. Less than two entries in all are returned as they are.
    """
    mask = mask.to(x.dtype)
    count, total = totals(torch.stack([mask.sum(), (x * mask).sum()]))
    if count < 2:
        return x * mask
    mean = total / count
    variance = totals(((x - mean) ** 2 * mask).sum()) / (count - 1)
    scaled = (x - mean) * torch.rsqrt(variance + 1e-8)
    return (scaled if shift_mean else scaled + mean) * mask


def spread(scores: torch.Tensor) -> torch.Tensor:
    """The deviation of scores, to divide them by; 1 where they are all alike, which says nothing of their scale.

    Args:
        scores (`torch.Tensor` of shape `(N,)`):
            Scores; NaN (not scorable) does not count.

    Returns:
        `torch.Tensor`: a positive scalar.

    Example:

    ```python
    >>> import torch
    >>> spread(torch.tensor([1.0, 3.0])), spread(torch.tensor([0.1, 0.1, 0.1]))
    (tensor(1.), tensor(1.))

    ```
    """
    found = scores[~torch.isnan(scores)]
    if len(found) < 2:
        return scores.new_ones(())
    deviation = found.std(correction=0)
    return torch.where(deviation > 1e-6 * found.abs().max(), deviation, torch.ones_like(deviation))


def value_losses(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, cliprange: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The critic's clipped squared error for each token, and where the clip decided.

    `0.5 max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2)`, as in the reference implementation of
    PPO ([1707.06347](https://huggingface.co/papers/1707.06347)).

    Args:
        values, old_values, returns (`torch.Tensor` of shape `(B, T)`):
            Today's values, those at generation time, and the targets.
        cliprange (`float` or `None`):
            How far a value may move from the old one; None turns the clip off.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: losses and a 0/1 tensor of clipped entries, both `(B, T)`.
    """
    losses = (values - returns) ** 2
    if cliprange is None:
        return 0.5 * losses, torch.zeros_like(losses)
    clipped = (torch.clamp(values, old_values - cliprange, old_values + cliprange) - returns) ** 2
    return 0.5 * torch.max(losses, clipped), (clipped > losses).to(losses.dtype)
