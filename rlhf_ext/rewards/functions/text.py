"""Rewards that read the text alone: its length, its repetitions, a pattern in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import punctuation
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from ...types import Completion
from .rows import column_of, log_mean, texts_of


class Length:
    """1.0 where a completion's length lies in a band, falling off linearly outside it: length and brevity.

    Below the band it falls to 0.0 at an empty text; above it to 0.0 at `highest + falloff`. For brevity give `highest`
    alone. A reward model likes length for its own sake ([2310.03716](https://huggingface.co/papers/2310.03716)); a band
    beside it holds the policy where answers should be. `trl.rewards.get_soft_overlong_punishment` is the one for answers
    that must fit into `max_completion_length`.

    Args:
        lowest (`int`, *optional*, defaults to `0`):
            Shortest length with full score.
        highest (`int`, *optional*):
            Longest length with full score; by default there is no upper end.
        unit (`str`, *optional*, defaults to `"words"`):
            `"words"` (what white space separates), `"characters"`, or `"tokens"`.
        falloff (`int`, *optional*):
            How far above `highest` the score reaches 0.0. Defaults to `highest`, so that twice too long is worth nothing.
        tokenizer (`PreTrainedTokenizerBase`, *optional*):
            What counts tokens. By default TRL's `completion_ids` are counted, which a trainer passes.

    Raises:
        ValueError: If the band is empty, negative or has no end at all, or the unit is unknown; from a call, if tokens are
            to be counted and there is neither a tokenizer nor `completion_ids`.

    Example:

    ```python
    >>> from rlhf_ext.rewards.functions import Length
    >>> Length(lowest=2, highest=4)(prompts=["..."] * 3, completions=["one", "one two three", "1 2 3 4 5 6"])
    [0.5, 1.0, 0.5]

    ```
    """

    def __init__(
        self,
        lowest: int = 0,
        highest: int | None = None,
        unit: Literal["words", "characters", "tokens"] = "words",
        falloff: int | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ):
        if unit not in ("words", "characters", "tokens"):
            raise ValueError(f"`unit` should be 'words', 'characters' or 'tokens', got {unit!r}.")
        if lowest < 0 or (highest is not None and highest < max(lowest, 1)) or (lowest == 0 and highest is None):
            raise ValueError(f"`lowest` to `highest` should be a band of lengths, got {lowest} to {highest}.")
        if falloff is not None and (falloff < 1 or highest is None):
            raise ValueError(f"`falloff` should be at least 1 and above a `highest`, got {falloff}.")
        self.lowest, self.highest, self.unit, self.tokenizer = lowest, highest, unit, tokenizer
        self.falloff = falloff or highest
        self.__name__ = "length"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        lengths = self._lengths(completions, columns)
        log_mean(columns, f"{self.__name__}/{self.unit}", lengths)
        return [self._score(length) for length in lengths]

    def _score(self, length: int) -> float:
        if length < self.lowest:
            return length / self.lowest
        if self.highest is None or self.falloff is None or length <= self.highest:
            return 1.0
        return max(0.0, 1 - (length - self.highest) / self.falloff)

    def _lengths(self, completions: Sequence[Completion], columns: dict[str, Any]) -> list[int]:
        if self.unit == "tokens" and self.tokenizer is None:
            if columns.get("completion_ids") is None:
                raise ValueError(
                    "Length counts tokens, but got no `completion_ids`, which trainers pass. Outside of a trainer give "
                    "`Length(..., tokenizer=...)`."
                )
            return [len(ids or []) for ids in column_of(columns, "completion_ids", len(completions), "Length")]
        texts = texts_of(completions)
        if self.tokenizer is not None and self.unit == "tokens":
            return [len(ids) for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []
        return [len(text.split()) if self.unit == "words" else len(text) for text in texts]


class DistinctNgrams:
    """The share of a completion's n-grams that are distinct: 1.0 where nothing is repeated, near 0.0 where it loops.

    That is distinct-n of one text (Li et al., [1510.03055](https://huggingface.co/papers/1510.03055)) and 1 - seq-rep-n
    (Welleck et al., [1908.04319](https://huggingface.co/papers/1908.04319)), over words in lower case, without the
    punctuation around them. Long texts repeat by nature: compare like lengths. `trl.rewards.get_repetition_penalty_reward` is its sibling over token ids,
    as a penalty.

    Args:
        n (`int`, *optional*, defaults to `4`):
            Length of an n-gram. Texts with fewer units have nothing to repeat and score 1.0.
        unit (`str`, *optional*, defaults to `"words"`):
            `"words"`, or `"characters"` for languages that are written without spaces.

    Raises:
        ValueError: If `n` is below 1 or the unit unknown.

    Example:

    ```python
    >>> from rlhf_ext.rewards.functions import DistinctNgrams
    >>> DistinctNgrams(n=2)(prompts=["..."] * 2, completions=["to be or not", "no no no no no"])
    [1.0, 0.25]

    ```
    """

    def __init__(self, n: int = 4, unit: Literal["words", "characters"] = "words"):
        if n < 1:
            raise ValueError(f"`n` must be at least 1, got {n}.")
        if unit not in ("words", "characters"):
            raise ValueError(f"`unit` should be 'words' or 'characters', got {unit!r}.")
        self.n, self.unit = n, unit
        self.__name__ = f"distinct_{n}grams"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        return [1 - repeated_ngrams(text, self.n, self.unit) for text in texts_of(completions)]


def repeated_ngrams(text: str, n: int = 4, unit: Literal["words", "characters"] = "words") -> float:
    """The share of a text's n-grams that have occurred in it before (seq-rep-n), in [0, 1).

    Args:
        text (`str`):
            The text; case is ignored, and so is punctuation around words.
        n (`int`, *optional*, defaults to `4`):
            Length of an n-gram.
        unit (`str`, *optional*, defaults to `"words"`):
            `"words"` or `"characters"`.

    Returns:
        `float`: 0.0 for a text of fewer than `n` units.

    Example:

    ```python
    >>> from rlhf_ext.rewards.functions import repeated_ngrams
    >>> repeated_ngrams("no no no no no", n=2)
    0.75

    ```
    """
    text = text.lower()
    # "You can. You can" repeats itself; a word of punctuation alone ("!!!") stays one.
    units = [word.strip(punctuation) or word for word in text.split()] if unit == "words" else list(text)
    ngrams = list(zip(*(units[start:] for start in range(n)), strict=False))
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0


class Regex:
    """1.0 where a completion matches a regular expression, else 0.0.

    A pattern with nested repetitions (`(a+)+b`) can take forever on a text that nearly matches; Python's `re` has no
    time limit.

    Args:
        pattern (`str`):
            The regular expression, in Python's syntax.
        mode (`str`, *optional*, defaults to `"search"`):
            `"search"` (anywhere in the text) or `"full"` (the whole text).
        flags (`int`, *optional*, defaults to `0`):
            For `re.compile`: `re.IGNORECASE`, `re.DOTALL`, ...
        wanted (`bool`, *optional*, defaults to `True`):
            Whether a match is good. With `False`, texts that do not match score 1.0.

    Raises:
        ValueError: If the pattern is no regular expression or the mode unknown.

    Example:

    ```python
    >>> from rlhf_ext.rewards.functions import Regex
    >>> Regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")(prompts=["When?"] * 2, completions=["On 2024-02-29.", "Soon."])
    [1.0, 0.0]

    ```
    """

    def __init__(
        self,
        pattern: str,
        mode: Literal["search", "full"] = "search",
        flags: int = 0,
        wanted: bool = True,
    ):
        if mode not in ("search", "full"):
            raise ValueError(f"`mode` should be 'search' or 'full', got {mode!r}.")
        try:
            self.pattern = re.compile(pattern, flags)
        except re.error as error:
            raise ValueError(f"`pattern` is no regular expression: {pattern!r} ({error}).") from error
        self.mode, self.wanted = mode, wanted
        self.__name__ = "regex"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        match = self.pattern.search if self.mode == "search" else self.pattern.fullmatch
        return [float((match(text) is not None) == self.wanted) for text in texts_of(completions)]
