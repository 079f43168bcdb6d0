"""What PPO logs of a rollout."""

from __future__ import annotations

from collections.abc import Callable

import torch


def rollout_metrics(
    rows: torch.Tensor,
    values: torch.Tensor,
    returns: torch.Tensor,
    mask: torch.Tensor,
    kl_coef: float,
    estimator: str,
    totals: Callable[[torch.Tensor], torch.Tensor],
) -> dict[str, float]:
    """Means over the completions of all processes.

    Args:
        rows (`torch.Tensor` of shape `(N, 5)`):
            Of the completions of all processes: score (NaN where no reward applied), whether it ended by itself, sums of the
            k1 and k3 estimates of the KL in nats (0 without a reference), mean advantage.
        values, returns, mask (`torch.Tensor` of shape `(B, T)`):
            Of this process's completions.
        kl_coef (`float`):
            Weight of the KL penalty.
        estimator (`str`):
            Which of `"k1"` and `"k3"` is the penalty.
        totals (`Callable`):
            Sums a tensor over all processes.

    Returns:
        `dict[str, float]`: by the names they are logged under.
    """
    scores, ended, k1, k3, _ = rows.T
    penalties = kl_coef * (k1 if estimator == "k1" else k3)
    spread = _variance(returns, mask, totals)
    missed = _variance(returns - values, mask, totals)
    return {
        "objective/scores": torch.nanmean(scores).item(),
        "objective/unscored": torch.isnan(scores).float().mean().item(),
        "objective/kl": k1.mean().item(),
        "objective/kl_k3": k3.mean().item(),
        "objective/kl_coef": kl_coef,
        "objective/non_score_reward": -penalties.mean().item(),
        "objective/rlhf_reward": torch.nanmean(scores - penalties).item(),  # of those that have a score
        "completions/eos_rate": ended.mean().item(),
        "value/mean": _mean(values, mask, totals),
        "value/explained_variance": 1 - missed / spread if spread > 0 else float("nan"),
    }


def _variance(x: torch.Tensor, mask: torch.Tensor, totals: Callable[[torch.Tensor], torch.Tensor]) -> float:
    return _mean((x - _mean(x, mask, totals)) ** 2, mask, totals)


def _mean(x: torch.Tensor, mask: torch.Tensor, totals: Callable[[torch.Tensor], torch.Tensor]) -> float:
    total, count = totals(torch.stack([(x * mask).sum(), mask.sum().to(x.dtype)]))
    return (total / count.clamp(min=1)).item()
