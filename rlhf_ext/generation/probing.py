"""What an endpoint truly does: some accept a field and ignore it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .answer import Unanswered
from .sending import Sender


@dataclass(frozen=True)
class Abilities:
    """What an endpoint was seen to do.

    Args:
        sampling (`bool`): Whether answers to one prompt differ at a high temperature.
        logprobs (`bool`): Whether the first token comes with log-probabilities of several tokens: soft labels need them.
        n (`bool`): Whether one request can bring several answers.
        json (`bool`): Whether `response_format` makes the answer JSON.
    """

    sampling: bool
    logprobs: bool
    n: bool
    json: bool


def probe(sender: Sender, model: str, beside: Mapping[str, Any] | None = None) -> Abilities:
    """Asks for each of them once, and looks whether it came.

    Args:
        sender ([`Sender`]): An open connection.
        model (`str`): The model's name there.
        beside (`dict`, *optional*): Further fields of every request.

    Returns:
        [`Abilities`].

    Raises:
        ConnectionError: If the endpoint answers none of the requests.
    """
    vary = {"content": "Write ten words of your choice, in any order.", "max_tokens": 24, "temperature": 1.5}
    requests: list[dict[str, Any]] = [
        {**vary, "seed": 1},
        {**vary, "seed": 2},
        {"content": "Answer yes or no.", "max_tokens": 1, "logprobs": True, "top_logprobs": 5},
        {**vary, "n": 2},
        {"content": "Say something.", "max_tokens": 32, "response_format": {"type": "json_object"}},
    ]
    for index, request in enumerate(requests):
        messages = [{"role": "user", "content": request.pop("content")}]
        sender.submit(index, {"model": model, "messages": messages, **request, **(beside or {})})
    outcomes = {index: outcome for index, outcome, _ in (sender.next_result() for _ in requests)}
    failed = [outcome for outcome in outcomes.values() if isinstance(outcome, Unanswered)]
    if len(failed) == len(requests):
        raise ConnectionError(f"The endpoint cannot be used: {failed[0]}") from failed[0]
    texts = [_texts(outcomes[index]) for index in range(len(requests))]
    return Abilities(
        sampling=bool(texts[0] and texts[1]) and texts[0] != texts[1],
        logprobs=_tops(outcomes[2]) > 1,
        n=len(texts[3]) == 2,
        json=bool(texts[4]) and _is_json(texts[4][0]),
    )


def _texts(outcome: Any) -> list[str]:
    if isinstance(outcome, Unanswered):
        return []
    return [choice.message.content or "" for choice in outcome.choices or [] if choice.message]


def _tops(outcome: Any) -> int:
    """Tokens whose log-probability came with the first one."""
    if isinstance(outcome, Unanswered) or not outcome.choices:
        return 0
    logprobs = outcome.choices[0].logprobs
    return len(logprobs.content[0].top_logprobs or []) if logprobs and logprobs.content else 0


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
