"""Prompts and answers on the page: side by side, folded, and by category where there are many."""

from __future__ import annotations

from collections.abc import Sequence

from ._report_types import Example
from ._report_words import by_group, escaped, minus, score_text, short

_MANY = 8
"""From this many examples of a group on, its categories are folded: opening one is the filter."""


def examples_html(examples: Sequence[Example]) -> str:
    """The first ones are open for the reader in a hurry; the rest are a click away."""
    groups = by_group(examples)
    parts = []
    for number, (group, members) in enumerate(groups.items()):
        parts.append(f"<h3 class='part'>{escaped(group)}</h3>" if group else "")
        categories = dict.fromkeys(example.category for example in members)
        if not group or len(categories) < 2 or len(members) <= _MANY:
            opened = 3 if number == 0 else 0
            parts += [_example_html(example, index < opened) for index, example in enumerate(members)]
            continue
        for category in categories:
            inside = [example for example in members if example.category == category]
            body = "".join(_example_html(example, False) for example in inside)
            parts.append(
                f"<details class='inner'><summary>{escaped(category or 'other')} <span class='count'>{len(inside)}</span>"
                f"</summary>{body}</details>"
            )
    return "".join(parts)


def _example_html(example: Example, opened: bool) -> str:
    start = " ".join(example.prompt.split())
    # Where the summary line already says it all, the prompt is not repeated.
    repeated = start == example.prompt and len(start) <= 90
    prompt = "" if repeated else f"<h3>Prompt</h3><div class='text' dir='auto'>{escaped(example.prompt)}</div>"
    pill = f"<span class='pill'>{escaped(example.category)}</span> " if example.category else ""
    alone = example.before is None
    scores = "".join(
        f"<li>{escaped(name)}: {'' if alone else f'{minus(score_text(a))} → '}<b>{minus(score_text(b))}</b></li>"
        for name, (a, b) in example.scores.items()
    )
    sides = (
        [("Answer", example.after)]
        if example.before is None
        else [("Before", example.before), ("After", example.after)]
    )
    answers = "".join(
        f"<div><h3>{name}</h3><div class='text' dir='auto'>{escaped(text)}</div></div>" for name, text in sides
    )
    return (
        f"<details{' open' if opened else ''}><summary>{pill}{escaped(short(start, 90))}</summary>{prompt}"
        f"<div class='{'' if alone else 'pair'}'>{answers}</div>{scores and f'<ul class=scores>{scores}</ul>'}</details>"
    )
