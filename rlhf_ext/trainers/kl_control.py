"""The weight of the KL penalty: fixed, or steered towards a target."""

from __future__ import annotations


class KLController:
    """The weight of the KL penalty, which goes up when the policy is further from the reference than wanted.

    The proportional controller of "Fine-Tuning Language Models from Human Preferences"
    ([1909.08593](https://huggingface.co/papers/1909.08593), section 2.2): after `n` completions,
    `coef *= 1 + clip(KL / target - 1, -0.2, 0.2) n / horizon`.

    Args:
        coef (`float`):
            The weight at the start.
        target (`float`, *optional*):
            KL wanted, in nats a completion; None keeps the weight.
        horizon (`int`, *optional*, defaults to `10000`):
            Completions over which the weight may change by a fifth or so.

    Example:

    ```python
    >>> control = KLController(0.1, target=6.0, horizon=100)
    >>> control.update(12.0, 10)
    >>> round(control.coef, 4)
    0.102

    ```
    """

    def __init__(self, coef: float, target: float | None = None, horizon: int = 10_000):
        self.coef, self.target, self.horizon = coef, target, horizon

    def update(self, kl: float, completions: int) -> None:
        """Takes in the mean KL (nats a completion) of a rollout of so many completions."""
        if self.target is None:
            return
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        self.coef *= 1 + error * completions / self.horizon
