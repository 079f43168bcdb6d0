"""Attention checks: when an answer to a gold question is right."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from .items import FeedbackItem
from .records import places

ABOUT_THE_SAME = 0.1
"""How far from 0.5 a strength may lie that still says "about the same"."""


def is_right(item: FeedbackItem, value: Mapping[str, Any]) -> bool:
    """Whether an answer agrees with the item's gold value, by the item's kind.

    - A comparison prefers the same response, however strongly; where gold says about the same, so does the answer, within 0.1 of
      0.5.
    - A rating lies within a quarter of the scale's length of gold, on each scale: one step of 1 to 5.
    - A ranking puts any two responses that gold tells apart in the same order. A gold ranking with equals, such as
      `[[0, 1], 2]`, checks only what is beyond doubt.

    Args:
        item ([`FeedbackItem`]): A gold item.
        value (`dict`): The answer's value, as a record holds it.

    Raises:
        ValueError: If the item is no gold item.

    Example:

    ```python
    >>> from rlhf_ext.data.store import FeedbackItem
    >>> from rlhf_ext.data.store.gold import is_right
    >>> item = FeedbackItem("comparison", "2+2?", ("4", "5"), gold={"strength": 1.0})
    >>> is_right(item, {"strength": 0.7}), is_right(item, {"strength": 0.5})
    (True, False)

    ```
    """
    gold = item.gold
    if gold is None:
        raise ValueError(f"item {item.id} is no gold item.")
    if item.kind == "comparison":
        wanted, given = gold["strength"], value["strength"]
        if wanted == 0.5:
            return abs(given - 0.5) <= ABOUT_THE_SAME
        return given != 0.5 and (given > 0.5) == (wanted > 0.5)
    if item.kind == "rating":
        ends = item.scales
        return all(
            abs(value["scales"][name] - number) <= (ends[name][1] - ends[name][0]) / 4
            for name, number in gold["scales"].items()
        )
    rank = {response: place for place, group in enumerate(places(value["order"])) for response in group}
    return all(rank[a] < rank[b] for better, worse in pairwise(places(gold["order"])) for a in better for b in worse)
