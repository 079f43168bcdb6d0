"""The vocabulary of rlhf_ext on one page: prompts, completions, preferences, scoring and generating.

Two protocols carry everything. *Scoring* is TRL's reward-function protocol, [`RewardFunction`]. *Generating* is
[`Generator`]. A piece that speaks one of them plugs into trainers, labelers, filters and evaluation unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypedDict, runtime_checkable

Message: TypeAlias = dict[str, Any]
"""One chat message: `{"role": "user", "content": "..."}`."""

Prompt: TypeAlias = str | list[Message]
"""Plain text, or a list of messages that ends with the user's."""

Completion: TypeAlias = str | list[Message]
"""Plain text, or a list of messages (usually one, from the assistant)."""


class _RequiredPreference(TypedDict):
    prompt: Prompt
    chosen: Completion
    rejected: Completion


class Preference(_RequiredPreference, total=False):
    """One comparison, with the columns that TRL reads and what we add to them."""

    preference_strength: float
    """p(chosen is better), in [0.5, 1]."""
    margin: float
    """By how much the chosen answer is better, in reward units."""
    weight: float
    """How much the pair counts in the loss; 1 is usual, 0 leaves it out."""
    source: str
    annotator: str
    model: str


@runtime_checkable
class RewardFunction(Protocol):
    """Scores completions: TRL's reward-function protocol, used for every score in rlhf_ext.

    Called with keywords: `prompts`, `completions`, every other column of the data set, and what TRL passes beside
    them (`completion_ids`, `trainer_state`, `log_extra`, `log_metric`). Gives one value a row, in order. `None` means
    "does not apply to this row": it is left out of every mean and never counts as 0. An exception stops the run; it is
    never turned into a score.
    """

    def __call__(
        self, *, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]: ...


@runtime_checkable
class Generator(Protocol):
    """Writes text: one completion a prompt, in order. For n samples of a prompt, repeat the prompt n times.

    `sampling` takes `max_new_tokens`, `temperature` (0 is greedy), `top_p`, `top_k`, `stop` (list of strings) and
    `seed`. Something an implementation cannot do is refused by name, never ignored.
    """

    def generate(self, prompts: Sequence[Prompt], **sampling: Any) -> list[str]: ...


@runtime_checkable
class PairwiseJudge(Protocol):
    """Says which of two answers is better: a labeler from [`~rlhf_ext.labelers`], people, or a rule.

    `compare` gives p(first is better) in [0, 1] for each row, in order, and `None` where the judge abstains. It is not
    moved by which answer stands first: who asks need not ask both ways. An exception stops the run; it is never turned into
    a preference.
    """

    def compare(
        self, prompts: Sequence[Prompt], first: Sequence[Completion], second: Sequence[Completion]
    ) -> list[float | None]: ...


def text_of(text: Prompt | Completion) -> str:
    """The plain text of a prompt or completion; messages are joined by newlines.

    Args:
        text (`str` or `list[dict]`):
            Text or messages. A message whose content is a list of blocks gives its text blocks.

    Returns:
        `str`: the text.

    Raises:
        TypeError: If it is neither text nor messages.

    Example:

    ```python
    >>> from rlhf_ext.types import text_of
    >>> text_of([{"role": "assistant", "content": "Hello."}])
    'Hello.'
    ```
    """
    if isinstance(text, str):
        return text
    if not isinstance(text, list):
        raise TypeError(f"Expected text or a list of messages, got {type(text).__name__}: {text!r}.")
    return "\n".join(_content_of(message) for message in text)


def _content_of(message: Message) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    if content is None and isinstance(message, dict) and message.get("tool_calls"):
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(block.get("text", "") for block in content if isinstance(block, dict))
    raise TypeError(f"Expected a message with text as its `content`, got {message!r}.")


def is_messages(text: Prompt | Completion) -> bool:
    """Whether `text` is a list of messages rather than plain text."""
    return isinstance(text, list)


_OURS = (
    "conversation",
    "tokenize",
    "add_generation_prompt",
    "continue_final_message",
    "return_dict",
    "return_tensors",
)


def template_kwargs(given: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """What a chat template is told beside the messages, such as `{"enable_thinking": False}`, checked.

    Args:
        given (`Mapping` or `str`, *optional*):
            Keywords for `apply_chat_template`, also as JSON.

    Returns:
        `dict`: empty for None.

    Raises:
        ValueError: If it is no mapping from names, or names what is for us to say (`tokenize`, `add_generation_prompt`, ...).
    """
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError as error:
            words = f"`chat_template_kwargs` is not JSON: {error}. Give e.g. '{{\"enable_thinking\": false}}'."
            raise ValueError(words) from error
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"`chat_template_kwargs` must be a dict such as {{'enable_thinking': False}}, got {given!r}.")
    if taken := sorted(set(given) & set(_OURS)):
        raise ValueError(f"`chat_template_kwargs` may not set {taken[0]!r}: that is not for the template.")
    return dict(given)
