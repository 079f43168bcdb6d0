"""What to ask about, by how unsure reward models are of a pair: functions on arrays.

Each takes the scores of n responses to each of P prompts by m ensemble members, and gives a utility for each prompt with
the pair of its responses to ask about. Bradley-Terry fixes differences between responses to one prompt only, and so each
function reads differences within a prompt: a constant that a member adds to all responses to a prompt changes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import Acquisition, Floats, best_pairs, check_positive, check_scores, sigmoid


def margin(scores: Any, present: Any = None) -> Acquisition:
    """The closest pair: the one whose mean scores differ least.

    Margin sampling (Scheffer et al. 2001; Settles 2009, section 3.1) for comparisons. It works with one model. It is drawn to
    pairs that are close by nature and to noise alike: people, too, cannot tell such pairs apart.

    Args:
        scores (array of shape `(P, n, m)` or `(P, n)`):
            Rewards, in any unit, finite.
        present (boolean array of shape `(P, n)`, *optional*):
            Which responses there are; all by default.

    Returns:
        [`Acquisition`]: utilities are minus the absolute difference, in reward units; at most 0.

    Raises:
        ValueError: If a shape is wrong, a score is not finite, or a prompt has fewer than two responses; it is named.

    Example:

    ```python
    >>> from rlhf_ext.active import margin
    >>> utilities, pairs = margin([[0.0, 3.0, 2.5]])
    >>> utilities.tolist(), pairs.tolist()
    ([-0.5], [[1, 2]])

    ```
    """
    values, mask = check_scores(scores, present)
    return best_pairs(values, mask, lambda one, other: -np.abs((one - other).mean(axis=1)))


def label_entropy(scores: Any, present: Any = None, temperature: float = 1.0) -> Acquisition:
    """The pair whose label is least certain: the entropy of p(first is better), averaged over members.

    Uncertainty sampling (Settles 2009). It does not tell what the models do not know from what is noise in the answers;
    [`bald`] does.

    Args:
        scores, present:
            As in [`margin`].
        temperature (`float`, *optional*, defaults to `1.0`):
            p(first is better) = sigmoid(difference / temperature); 1 for scores of a reward model trained on preferences.

    Returns:
        [`Acquisition`]: utilities are entropies in nats, in [0, log 2].

    Raises:
        ValueError: As in [`margin`], or if `temperature` is not positive.
    """
    check_positive("temperature", temperature)
    values, mask = check_scores(scores, present)
    return best_pairs(values, mask, lambda one, other: _entropy(sigmoid((one - other) / temperature).mean(axis=1)))


def disagreement(scores: Any, present: Any = None, temperature: float | None = 1.0) -> Acquisition:
    """The pair about which members of an ensemble disagree most: the spread of their p(first is better).

    Called infomax by Dwaracherla et al. ([2402.00396](https://huggingface.co/papers/2402.00396)).

    Args:
        scores (array of shape `(P, n, m)`):
            Rewards by at least two members.
        present:
            As in [`margin`].
        temperature (`float`, *optional*, defaults to `1.0`):
            As in [`label_entropy`]. With None the spread of the difference itself is taken, in reward units, which also counts
            disagreement on how much better the better one is.

    Returns:
        [`Acquisition`]: utilities are standard deviations over members (divided by m): of probabilities, in [0, 0.5], or in
        reward units.

    Raises:
        ValueError: As in [`margin`]; if there is one member only, or `temperature` is not positive.

    Example:

    ```python
    >>> from rlhf_ext.active import disagreement
    >>> one, other = [2.0, 0.0, 1.0], [0.0, 2.0, 1.0]  # two members' scores of three responses
    >>> import numpy as np
    >>> disagreement(np.stack([one, other], axis=-1)[None]).pairs.tolist()
    [[0, 1]]

    ```
    """
    values, mask = check_scores(scores, present, "disagreement")
    if temperature is None:
        return best_pairs(values, mask, lambda one, other: (one - other).std(axis=1))
    check_positive("temperature", temperature)
    return best_pairs(values, mask, lambda one, other: sigmoid((one - other) / temperature).std(axis=1))


def bald(scores: Any, present: Any = None, temperature: float = 1.0) -> Acquisition:
    """The pair whose label would tell most about which member is right: the information between label and member.

    H(mean over members of p) - mean over members of H(p), with p = sigmoid(difference / temperature): what is unsure, less
    what every member knows to be noise (Houlsby et al., [1112.5745](https://huggingface.co/papers/1112.5745); for
    preferences with reward ensembles [2406.10023](https://huggingface.co/papers/2406.10023)).

    Args:
        scores (array of shape `(P, n, m)`):
            Rewards by at least two members.
        present, temperature:
            As in [`label_entropy`].

    Returns:
        [`Acquisition`]: utilities in nats, in [0, log 2].

    Raises:
        ValueError: As in [`disagreement`].

    Example:

    ```python
    >>> import numpy as np
    >>> from rlhf_ext.active import bald
    >>> sure_but_opposed, unsure_alike = [[9.0, -9.0], [0.0, 0.0]], [[0.1, 0.1], [0.0, 0.0]]
    >>> bald([sure_but_opposed, unsure_alike]).utilities.round(2).tolist()
    [0.69, 0.0]

    ```
    """
    check_positive("temperature", temperature)
    values, mask = check_scores(scores, present, "bald")

    def information(one: Floats, other: Floats) -> Floats:
        p = sigmoid((one - other) / temperature)
        # Rounding can take it below 0.
        return np.maximum(_entropy(p.mean(axis=1)) - _entropy(p).mean(axis=1), 0.0)

    return best_pairs(values, mask, information)


def _entropy(p: Floats) -> Floats:
    """Of yes and no with probability p, in nats."""
    inside = np.clip(p, 1e-300, 1.0)
    other = np.clip(1 - p, 1e-300, 1.0)
    return -(p * np.log(inside) + (1 - p) * np.log(other))
