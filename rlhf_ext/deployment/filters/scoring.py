"""Filters that score: reward functions with a threshold, passage by passage."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...types import Prompt
from .rules import check_fields
from .verdict import Hit, Side

_log = logging.getLogger(__name__)
_SENTENCE = re.compile(r"[.!?…。！？]{1,5}[\"'”’»)\]]{0,3}\s|[。！？\n]")
_SHORTEST = 40


@dataclass(frozen=True)
class Filter:
    """A reward function that decides what may pass.

    Safety fails closed: a text is not let through for which the function raises, or gives `None` where a score is needed.

    Args:
        name (`str`):
            For logs and metrics.
        reward ([`~rlhf_ext.types.RewardFunction`]):
            Called with `prompts` and `completions`, sync or async. On the input the completion is what was sent, the prompt what was
            sent before it.
        at_least (`float`, *optional*), at_most (`float`, *optional*):
            Scores that pass, both ends included; at least one of them.
        on (`Sequence[Literal["input", "output"]]`, *optional*, defaults to `("output",)`):
            What it looks at.
        action (`Literal["block", "replace", "flag"]`, *optional*, defaults to `"block"`):
            What is done: `"replace"` ends the answer with `replacement`. A score has no place in the text, so that there is nothing to
            redact: that is what [`SpanFilter`] is for. A filter that fails blocks, unless it would only flag.
        window (`int` or `None`, *optional*, defaults to `400`):
            Texts are scored in passages, each with what stands before it, up to `4 * window` characters in all: a passage ends with a
            sentence, or after `window` characters, and a stream holds it back until it is scored. `None` scores the text as a whole, and
            a stream is held back to its end.
        replacement (`str`, *optional*):
            For `"replace"`.

    Raises:
        ValueError: If a field is not as said.

    Example:
    ```python
    >>> from rlhf_ext.deployment.filters import Filter, FilterSet
    >>> from rlhf_ext.rewards.refusal import Refusal

    >>> filters = FilterSet([Filter("refuses", Refusal(), at_most=0.5, action="flag")])
    >>> filters.check("I'm sorry, but I can't help with that.", "output").action
    'flag'

    ```
    """

    name: str
    reward: Any = field(repr=False)
    at_least: float | None = None
    at_most: float | None = None
    on: Sequence[Side] = ("output",)
    action: Literal["block", "replace", "flag"] = "block"
    window: int | None = 400
    replacement: str = "I cannot help with that."

    def __post_init__(self) -> None:
        if self.action == "redact":
            raise ValueError(
                f"The filter {self.name!r} scores, and a score has no place in the text: redact with a SpanFilter."
            )
        check_fields(self.name, self.on, self.action, ("block", "replace", "flag"))
        if not callable(self.reward):
            raise ValueError(f"`reward` of the filter {self.name!r} must be a reward function, got {self.reward!r}.")
        if self.at_least is None and self.at_most is None:
            raise ValueError(f"The filter {self.name!r} has neither `at_least` nor `at_most`: everything would pass.")
        if None not in (self.at_least, self.at_most) and self.at_least > self.at_most:  # type: ignore[operator]
            raise ValueError(
                f"The filter {self.name!r}: `at_least` {self.at_least} is above `at_most` {self.at_most}."
            )
        if self.window is not None and self.window < _SHORTEST:
            raise ValueError(
                f"`window` of the filter {self.name!r} must be at least {_SHORTEST} characters, got {self.window}."
            )

    def passes(self, score: float) -> bool:
        return (self.at_least is None or score >= self.at_least) and (self.at_most is None or score <= self.at_most)

    def next_passage(self, text: str, start: int, ended: bool) -> int | None:
        """Where the passage that begins at `start` ends; `None` while that is not decided. It hangs on the text alone."""
        if self.window is None:
            return len(text) if ended and len(text) > start else None
        sentence = _SENTENCE.search(text, start + _SHORTEST, start + self.window)
        if sentence is not None:
            return sentence.end()
        if len(text) >= start + self.window:
            space = max(
                text.rfind(" ", start + _SHORTEST, start + self.window),
                text.rfind("\n", start + _SHORTEST, start + self.window),
            )
            return space + 1 if space >= 0 else start + self.window
        return len(text) if ended and len(text) > start else None

    def passage(self, text: str, end: int) -> str:
        """What is scored to judge the passage that ends at `end`."""
        return text[:end] if self.window is None else text[max(0, end - 4 * self.window) : end]

    def check(self, prompts: Sequence[Prompt], passages: Sequence[str]) -> list[Hit | None]:
        """A hit for each passage that does not pass, or about which nothing can be said."""
        if not passages:
            return []
        closed = Closed(self.name)
        from ...rewards.calling import call_all  # here, so that rules alone need no torch

        scores: list[float | None] = []
        with closed:
            inputs = {"prompts": list(prompts), "completions": list(passages)}
            scores = call_all({self.name: self.reward}, {self.name: inputs}, kind="filter")[self.name]
        if closed.because:
            return [self.closed(closed.because)] * len(passages)
        return [self._hit(score) for score in scores]

    def closed(self, because: str) -> Hit:
        """The hit of a filter that could not say: never milder than blocking, but for one that only flags."""
        return Hit(self.name, "flag" if self.action == "flag" else "block", because)

    def _hit(self, score: float | None) -> Hit | None:
        if score is None:
            return self.closed("gave no score")
        return None if self.passes(score) else Hit(self.name, self.action, "beyond its threshold", score=score)


class Closed:
    """Whatever a filter raises closes it: the error is logged by its kind alone, since its message may hold the text.

    It is written as a context manager, not as a broad `except`, since nothing is swallowed: `because` must be acted on.
    """

    def __init__(self, name: str):
        self.name, self.because = name, ""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> bool:
        if not isinstance(error, Exception):
            return False  # an interrupt goes its way
        self.because = f"raised {type(error).__name__}"
        while traceback.tb_next is not None:
            traceback = traceback.tb_next
        where = f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
        _log.error("The filter %r %s (%s), and is closed for this text.", self.name, self.because, where)
        return True
