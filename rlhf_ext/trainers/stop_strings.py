"""Strings that end a completion, as an end token does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any


def cut_after(ids: Sequence[int], strings: Sequence[str], decode: Callable[[Sequence[int]], str]) -> int | None:
    """How many tokens are needed for the first stop string to be there, or None if none is.

    Args:
        ids (`Sequence[int]`):
            A completion.
        strings (`Sequence[str]`):
            Stop strings.
        decode (`Callable`):
            Ids to text.

    Returns:
        `int` or `None`.

    Example:

    ```python
    >>> cut_after([0, 1, 2, 3], ["b"], lambda ids: "".join("abcd"[i] for i in ids))
    2

    ```
    """

    def there(count: int) -> bool:
        text = decode(ids[:count])
        return any(string in text for string in strings)

    low, high = 0, len(ids)
    if not there(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if there(middle) else (middle, high)
    return high


@contextmanager
def stopping(model: Any, tokenizer: Any, strings: Sequence[str] | None) -> Iterator[None]:
    """Lets `model.generate` end at stop strings, for which transformers wants a tokenizer that TRL does not hand it."""
    if not strings:
        yield
        return
    model.generate = partial(model.generate, tokenizer=tokenizer, stop_strings=list(strings))
    try:
        yield
    finally:
        del model.generate
