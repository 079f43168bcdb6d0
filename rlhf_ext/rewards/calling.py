"""Calling reward functions: sync and async ones side by side, what they return checked, and mistakes signed with a name."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import Completion, Prompt, is_messages


def is_async(function: Any) -> bool:
    """Whether calling `function` (a function, a partial of one, or an object with `__call__`) gives a coroutine."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


class Signed:
    """Lets exceptions through, with a note of whose they are.

    Args:
        who (`str`):
            Who was called, e.g. `"the reward function 'brevity'"`.
        prompts (`Sequence`):
            What it was called on.
    """

    def __init__(self, who: str, prompts: Sequence[Any]):
        self.who, self.prompts = who, prompts

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is not None:
            first = f"; the first prompt is {str(self.prompts[0])[:200]!r}" if len(self.prompts) else ""
            error.add_note(f"Raised by {self.who} on {len(self.prompts)} completions{first}.")


def checked_scores(who: str, rewards: Any, completions: Sequence[Completion]) -> list[float | None]:
    """What a reward function returned, as finite numbers and None.

    Args:
        who (`str`):
            Who returned it, to begin a sentence with.
        rewards:
            What it returned.
        completions (`Sequence`):
            What it was asked about.

    Returns:
        `list[float | None]`: one a completion.

    Raises:
        TypeError: If it is no list, or a reward is no number (the row is named).
        ValueError: If it has another length, or a reward is NaN or infinite (the row is named).
    """
    if not hasattr(rewards, "__len__") or isinstance(rewards, str | bytes | Mapping | AbstractSet):
        raise TypeError(f"{who} gave {rewards!r}, where a list with one reward a completion was expected.")
    if len(rewards) != len(completions):
        raise ValueError(f"{who} gave {len(rewards)} rewards for {len(completions)} completions.")
    scores: list[float | None] = []
    for row, reward in enumerate(rewards):
        score = None if reward is None else _number(who, reward, row)
        if score is not None and not math.isfinite(score):
            raise ValueError(
                f"{who} gave {score} for completion {row}: {completions[row]!r}. A reward must be finite, or None where "
                "the function does not apply."
            )
        scores.append(score)
    return scores


def _number(who: str, reward: Any, row: int) -> float:
    try:
        if hasattr(reward, "__float__"):
            return float(reward)
    except (TypeError, ValueError):  # an array of several
        pass
    raise TypeError(f"{who} gave {reward!r} for completion {row}: a reward is one number, or None.")


def checked_probabilities(who: str, given: Any, pairs: int) -> list[float | None]:
    """What a judge gave, as probabilities and None.

    Raises:
        ValueError: If it is no list with one a pair, or something is no probability (the row is named).
    """
    if not isinstance(given, list | tuple | np.ndarray) or len(given) != pairs:
        raise ValueError(
            f"{who} gave {given!r}, where a list with one probability for each of {pairs} pairs was expected."
        )
    for row, value in enumerate(given):
        if value is not None and not 0 <= value <= 1:  # NaN is not, either
            raise ValueError(
                f"{who} gave {value!r} for pair {row}: p(first is better) is in [0, 1], or None if it abstains."
            )
    return [None if value is None else float(value) for value in given]


def call_all(
    functions: Mapping[str, Any], inputs: Mapping[str, Mapping[str, Any]], kind: str = "component"
) -> dict[str, list[float | None]]:
    """Calls reward functions on the same rows; async ones run at the same time, and beside the others.

    The call itself is synchronous, so that it can stand wherever a reward function does. Coroutines run in one event loop
    for the whole process, which is what clients with connection pools need.

    Args:
        functions (`Mapping[str, RewardFunction]`):
            By name.
        inputs (`Mapping[str, Mapping]`):
            The keyword arguments of each.
        kind (`str`, *optional*, defaults to `"component"`):
            What messages call a function.

    Returns:
        `dict[str, list[float | None]]`: checked scores, in the order of `functions`.

    Raises:
        TypeError, ValueError: As in [`checked_scores`], naming the function.
        RuntimeError: If an async function is called from within an async one, for which both would wait for ever.
        Exception: Whatever a function raises, with a note that names it; those still running are cancelled.
    """
    if any(is_async(function) for function in functions.values()) and _in_event_loop():
        raise RuntimeError(
            f"An async reward function calls others ({', '.join(map(repr, functions))}), of which some are async, and would wait for "
            "itself: make it a plain function, or put all of them into one RewardMixer."
        )
    pending: dict[str, Future] = {}
    found: dict[str, Any] = {}
    try:
        for name, function in functions.items():
            if is_async(function):
                with Signed(f"the {kind} {name!r}", inputs[name]["prompts"]):
                    coroutine = function(**inputs[name])
                pending[name] = asyncio.run_coroutine_threadsafe(coroutine, _event_loop(os.getpid()))
        for name in sorted(
            functions, key=pending.__contains__
        ):  # those that are not async first: the others run meanwhile
            with Signed(f"the {kind} {name!r}", inputs[name]["prompts"]):
                found[name] = pending[name].result() if name in pending else functions[name](**inputs[name])
    finally:
        for future in pending.values():
            future.cancel()  # without effect on those that are done
    return {
        name: checked_scores(f"The {kind} {name!r}", found[name], inputs[name]["completions"]) for name in functions
    }


def score_rows(
    reward: Any,
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> NDArray[np.float64]:
    """Scores of completions by any reward function, sync or async, as an array: for use outside of a trainer.

    Args:
        reward (`RewardFunction`):
            Called with keywords.
        prompts, completions (`Sequence`):
            One completion a prompt.
        columns (`dict[str, Sequence]`, *optional*):
            Other columns of the rows.

    Returns:
        Array of shape `(n,)`, in the function's unit; NaN where it gives None.

    Raises:
        TypeError, ValueError: As in [`checked_scores`], naming the function and the row.

    Example:

    ```python
    >>> from rlhf_ext.rewards.calling import score_rows
    >>> score_rows(lambda prompts, completions: [float(len(c)) for c in completions], ["a", "b"], ["xy", "z"]).tolist()
    [2.0, 1.0]

    ```
    """
    name = getattr(reward, "__name__", type(reward).__name__)
    inputs = {"prompts": list(prompts), "completions": list(completions), **(columns or {})}
    scores = call_all({name: reward}, {name: inputs}, kind="reward function")[name]
    return np.array([np.nan if score is None else score for score in scores])


def like_prompt(prompt: Prompt, completion: Completion) -> Completion:
    """A text as the assistant's message where the prompt is messages; anything else as it is."""
    if is_messages(prompt) and isinstance(completion, str):
        return [{"role": "assistant", "content": completion}]
    return completion


def _in_event_loop() -> bool:
    try:
        return asyncio.get_running_loop() is _event_loop(os.getpid())
    except RuntimeError:  # there is none in this thread
        return False


@functools.cache
def _event_loop(process: int) -> asyncio.AbstractEventLoop:
    """The loop that async components run in, in a thread of its own; one a process, since threads do not survive a fork."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="rlhf_ext.rewards", daemon=True).start()
    return loop


def logged_under(name: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns for a component, whose own metrics and table columns go under its name."""
    loggers = {key: columns[key] for key in ("log_metric", "log_extra") if columns.get(key) is not None}
    return {**columns, **{key: functools.partial(_log_under, log, name) for key, log in loggers.items()}}


def _log_under(log: Callable[[str, Any], None], name: str, what: str, value: Any) -> None:
    log(f"{name}/{what}", value)
