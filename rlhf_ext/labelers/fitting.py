"""Questions that are longer than a judge's window, made to fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..types import Completion, Prompt, text_of

LEAST = 64
"""Characters: with less of a text a judge would judge something else."""


def fitting_limit(texts: Sequence[Prompt | Completion], fits: Callable[[int | None], bool]) -> int | None:
    """The most characters of each text with which a question fits: the longest are cut first, all to one length.

    Args:
        texts (`list`): What may be cut: the request and the answers, text or messages.
        fits (`Callable`): Whether the question fits with at most so many characters of each text, or whole (None).

    Returns:
        `int` or `None`: None where it fits whole, and where not even [`LEAST`] characters of each do.

    Example:

    ```python
    >>> from rlhf_ext.labelers.fitting import fitting_limit
    >>> texts = ["a" * 500, "b" * 100]
    >>> fitting_limit(texts, lambda limit: limit is not None and sum(min(len(text), limit) for text in texts) <= 300)
    200

    ```
    """
    low, high = LEAST, max(map(len, _parts(texts)), default=0)
    if fits(None) or high <= low or not fits(low):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def characters_cut(texts: Sequence[Prompt | Completion], limit: int | None) -> int:
    """How many characters of some texts are not shown."""
    return 0 if limit is None else sum(max(0, len(part) - limit) for part in _parts(texts))


def _parts(texts: Sequence[Prompt | Completion]) -> list[str]:
    return [part for text in texts for part in ([text] if isinstance(text, str) else [text_of([m]) for m in text])]
