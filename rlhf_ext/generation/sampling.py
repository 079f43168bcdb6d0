"""The sampling arguments of all generators, and what they share in checking and cutting."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from ..types import Prompt
from .answer import Request

# name: default, type, what to make of it, valid values, the same in words
_SAMPLING: dict[str, tuple[Any, type, Callable[[Any], Any], Callable[[Any], bool], str]] = {
    "max_new_tokens": (256, Integral, int, lambda value: value >= 1, "an integer of at least 1"),
    "temperature": (1.0, Real, float, lambda value: 0 <= value < math.inf, "a number of at least 0 (0 is greedy)"),
    "top_p": (1.0, Real, float, lambda value: 0 < value <= 1, "a number in (0, 1] (1 is off)"),
    "top_k": (0, Integral, int, lambda value: value >= 0, "an integer of at least 0 (0 is off)"),
    "stop": (
        [],
        list,
        list,
        lambda value: all(isinstance(s, str) and s for s in value),
        "a list of non-empty strings",
    ),
    "seed": (None, Integral, int, lambda value: 0 <= value < 2**63, "an integer in [0, 2**63)"),
}


def check_sampling(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """Checks the sampling arguments of a generator and fills in the defaults, which are the same for every generator.

    Args:
        sampling (`Mapping[str, Any]`):
            Any of `max_new_tokens` (`int` >= 1, default 256), `temperature` (`float` >= 0, default 1.0, 0 is greedy),
            `top_p` (`float` in (0, 1], default 1.0, off), `top_k` (`int` >= 0, default 0, off), `stop` (`list[str]`,
            the text is cut before the first of them) and `seed` (`int` in [0, 2**63)). `None` is the default.

    Returns:
        `dict[str, Any]`: all six of them.

    Raises:
        TypeError: If a name is unknown.
        ValueError: If a value is not valid.

    Example:

    ```python
    >>> from rlhf_ext.generation import check_sampling
    >>> check_sampling({"temperature": 0})["max_new_tokens"]
    256
    ```
    """
    if unknown := [name for name in sampling if name not in _SAMPLING]:
        raise TypeError(f"Unknown sampling argument {unknown[0]!r}; the known ones are {', '.join(_SAMPLING)}.")
    checked = {}
    for name, (default, kind, convert, valid, expected) in _SAMPLING.items():
        value = sampling.get(name)
        if value is not None and not (isinstance(value, kind) and valid(value)):
            raise ValueError(f"{name} should be {expected}, got {value!r}.")
        checked[name] = default if value is None else convert(value)
    return checked


def check_prompts(prompts: Sequence[Prompt]) -> list[Prompt]:
    if isinstance(prompts, str):
        raise TypeError(f"prompts should be a list of prompts, got one string; a list of one is [{prompts!r}].")
    prompts = list(prompts)
    for index, prompt in enumerate(prompts):
        messages = isinstance(prompt, list) and prompt and all(isinstance(message, dict) for message in prompt)
        if not isinstance(prompt, str) and not messages:
            raise TypeError(f"prompts[{index}] should be text or a list of messages, got {prompt!r}.")
    return prompts


def as_request(request: Prompt | Request) -> Request:
    """A prompt as a request; a request as it is."""
    if isinstance(request, Request):
        check_prompts([request.prompt])
        return request
    return Request(check_prompts([request])[0])


def check_choices(choices: Sequence[str]) -> list[str]:
    strings = not isinstance(choices, str) and all(isinstance(choice, str) and choice for choice in choices)
    if not strings or not choices or len(set(choices)) < len(choices):
        raise ValueError(f"choices should be a list of non-empty strings, each different, got {choices!r}.")
    return list(choices)


def log_shares(weights: Sequence[float]) -> list[float]:
    return [math.log(weight / sum(weights)) if weight else -math.inf for weight in weights]


def cut(text: str, stop: Sequence[str]) -> str:
    return text[: min((text.find(s) for s in stop if s in text), default=len(text))]
