"""How sure a preference is: from sliders, or from how many agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Strength = Literal["mean", "votes"]


def preference_of(strengths: Sequence[float], how: Strength) -> float:
    """p(the first is better) from what several people said of it.

    - `"mean"`: the mean of the strengths. Someone who is sure (1.0) and someone who prefers the other a little (0.4) make 0.7. For
      sliders, whose positions mean something.
    - `"votes"`: each prefers one side or neither, which is half a vote for both; v votes of n make (v + 1) / (n + 2), Laplace's rule
      of succession: the expected share in a large crowd after n of it were asked, with all shares as likely before. One vote makes
      2/3, three of three 4/5: strength grows with agreement and with the number of people. For buttons and rankings.

    Neither weighs people by how reliable they are: leave out those who fail gold questions.

    Args:
        strengths (`list[float]`): p(the first is better) in [0, 1] by person, at least one.
        how (`str`): `"mean"` or `"votes"`.

    Returns:
        `float`: in [0, 1]; 0.5 exactly where the sides are even.

    Example:

    ```python
    >>> from rlhf_ext.data.store.preferring import preference_of
    >>> preference_of([1.0, 0.4], "mean"), preference_of([1.0, 1.0, 0.4], "votes")
    (0.7, 0.6)

    ```
    """
    if how == "mean":
        return round(sum(strengths) / len(strengths), 12)  # 0.3 + 0.7 is even, though not in binary
    votes = sum(1.0 if strength > 0.5 else 0.5 if strength == 0.5 else 0.0 for strength in strengths)
    return (votes + 1) / (len(strengths) + 2)


def disagree(strengths: Sequence[float]) -> bool:
    """Whether both sides were preferred by someone."""
    return min(strengths) < 0.5 < max(strengths)
