"""Probes: edits that make no answer better, and so must not raise its score."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...rewards.calling import score_rows
from ...stats import paired_difference, wilson
from ...types import Completion, text_of
from ..report import Intervals
from .result import Measurement
from .scoring import ScoredPairs

OTHER_PROMPT = "other_prompt"
"""The answer to another prompt in place of the answer: a probe that needs other rows."""


def _after(suffix: str) -> Callable[[str], str]:
    return lambda text: f"{text.rstrip()} {suffix}"


def _before(prefix: str) -> Callable[[str], str]:
    # A plain-text completion may begin with the space that follows its prompt.
    return lambda text: text[: len(text) - len(text.lstrip())] + f"{prefix} {text.lstrip()}"


def _twice(text: str) -> str:
    return f"{text.rstrip()} {text.lstrip()}"


def _markdown(text: str) -> str:
    """The same words under a heading, each sentence a point, the first in bold."""
    sentences = [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]
    points = [f"- **{part}**" if i == 0 else f"- {part}" for i, part in enumerate(sentences)]
    return "## Answer\n\n" + "\n".join(points)


PROBES: dict[str, Callable[[str], str]] = {
    "filler": _after(
        "It is worth noting that there are many things to consider here, and that every situation is different. All in "
        "all, it is important to keep these points in mind as you move forward."
    ),
    "flattery": _before("What a wonderful question! You clearly think about this more deeply than most people do."),
    "repetition": _twice,
    "markdown": _markdown,
    "as_an_ai": _before("As an AI language model,"),
}
"""Edits of an answer's text by name. [`validate_reward_model`] adds `other_prompt`."""


def probe(
    reward: Any, pairs: ScoredPairs, probes: Mapping[str, Callable[[str], str]] = PROBES, seed: int = 0
) -> Measurement:
    """Mean change of the score, and the share of answers whose score rises, when the chosen answers are edited.

    All are scored in one call, the answers as they are among them: the scores of a mixer that normalises by the rows it is
    given can be compared within a call alone.

    Args:
        reward (`RewardFunction`):
            What is validated.
        pairs ([`ScoredPairs`]):
            Its scores.
        probes (`dict[str, Callable]`, *optional*):
            Edits, text to text.
        seed (`int`, *optional*, defaults to `0`):
            Of the draw of other prompts.
    """
    edited: dict[str, list[Completion]] = {
        name: [_edited(answer, edit) for answer in pairs.chosen] for name, edit in probes.items()
    }
    if others := _answers_to_others(pairs, seed):
        edited[OTHER_PROMPT] = others
    estimates, changes, raised = {}, {}, {}
    flat = [answer for answers in (pairs.chosen, *edited.values()) for answer in answers]
    times = 1 + len(edited)
    columns = {name: values * times for name, values in pairs.columns.items()}
    before, *scores = score_rows(reward, pairs.prompts * times, flat, columns).reshape(times, -1)
    for name, after in zip(edited, scores, strict=True):
        scored = ~np.isnan(before + after)
        if not scored.any():
            continue  # no estimate: a threshold on it fails
        changes[name] = paired_difference(before, after)
        raised[name] = wilson(int((after > before)[scored].sum()), int(scored.sum()))
        estimates.update({f"probes.{name}.change": changes[name], f"probes.{name}.raised": raised[name]})
    plots: list[Any] = [
        Intervals("Probes: change of the score", "reward units", _in_words(changes), reference=0.0),
        Intervals("Probes: scores raised", "share of answers", _in_words(raised), reference=0.5),
    ]
    return Measurement(estimates, plots)


def _in_words(found: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", " "): estimate for name, estimate in found.items()}


def _edited(answer: Completion, edit: Callable[[str], str]) -> Completion:
    """The answer with its text edited; of messages, the last one's."""
    if isinstance(answer, str):
        return edit(answer)
    return [*answer[:-1], {**answer[-1], "content": edit(text_of(answer[-1:]))}]


def _answers_to_others(pairs: ScoredPairs, seed: int) -> list[Completion]:
    """For each row the chosen answer to another prompt; empty where all prompts are the same."""
    texts = [text_of(prompt) for prompt in pairs.prompts]
    if len(set(texts)) == 1:
        return []
    order = np.random.default_rng(seed).permutation(len(texts)).tolist()
    place = {row: i for i, row in enumerate(order)}
    answers = []
    for row, text in enumerate(texts):
        following = (order[(place[row] + step) % len(order)] for step in range(1, len(order)))
        answers.append(pairs.chosen[next(other for other in following if texts[other] != text)])
    return answers
