"""Logistic regression on one column, for what a rate would be where that column is 0."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Prior of both coefficients, as a sum over rows would count it: a normal one with a deviation of 10 logits. It decides
# nothing where there are data; it keeps the fit finite where all rows say the same.
_RIDGE = 0.01
_STEPS = 100  # about 10 are taken


def rate_at_zero(rates: Floats, x: Floats) -> float:
    """The rate at `x = 0`, by a logistic regression of `rates` on `x`.

    Args:
        rates (array of shape `(n,)`):
            Soft or hard labels, in [0, 1].
        x (array of shape `(n,)`):
            What they are thought to depend on, in [-1, 1] or not far from it.

    Returns:
        `float`: the sigmoid of the intercept, in (0, 1). NaN where `x` hardly varies and is not 0: nothing then tells its
        effect from the intercept.
    """
    if (x != 0).any() and ((x - x.mean()) ** 2).sum() / 4 < 10 * _RIDGE:
        return math.nan
    design = np.stack([np.ones_like(x), x], axis=1)
    weights = np.zeros(2)
    # Newton's method, which from 0 does not overshoot for such columns, not even where `x` tells the labels without error.
    for _ in range(_STEPS):
        fitted = _sigmoid(design @ weights)
        gradient = design.T @ (fitted - rates) + _RIDGE * weights
        curvature = (design * (fitted * (1 - fitted))[:, None]).T @ design + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step
        if gradient @ step < 1e-12 * len(x):
            return float(_sigmoid(weights[:1])[0])
    return math.nan


def _sigmoid(logits: Floats) -> Floats:
    return (1 + np.tanh(logits / 2)) / 2
