"""What people said of a gateway's responses, as rows that TRL trains on: the next round starts from here."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from ..database import Database, sa
from ..preferring import Strength, preference_of
from ..served_tables import FEEDBACK, RESPONSES

_PAIRS = 16
"""Pairs of thumbs a prompt at most: one that is asked often should not drown the others."""


@dataclass
class _Answer:
    """One text that was answered to a prompt, however often, and who liked it."""

    text: str
    variant: str | None
    up: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)


@dataclass
class _Prompt:
    """All that was said of the answers to one prompt."""

    hash: str
    prompt: Any
    answers: dict[str, _Answer] = field(default_factory=dict)
    said: dict[tuple[str, str], dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    """By pair of texts and person: p(the first is better)."""
    corrected: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    """By correction and answer: who corrected."""

    def answer(self, text: str, variant: str | None) -> _Answer:
        return self.answers.setdefault(text, _Answer(text, variant))


def served_preferences(
    database: Database,
    *,
    strength: Strength = "mean",
    min_strength: float = 0.5,
    min_annotators: int = 1,
    as_messages: bool = False,
    left_out: Counter[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Streams preference rows from feedback on responses whose texts were kept.

    - A preference between two responses is a row.
    - A correction is a row: it is `chosen`, the answer `rejected`.
    - Thumbs on the same prompt make rows: answers with more thumbs up than down against those with more down than up, up to
      16 a prompt.

    Of each person what was said last counts. Answers that a filter ended are left out: their texts are not the model's.

    Args:
        database ([`~rlhf_ext.data.store.database.Database`]): A gateway's.
        strength (`str`, *optional*, defaults to `"mean"`): `"mean"` or `"votes"`, see
            [`~rlhf_ext.data.store.preferring.preference_of`]. Thumbs and corrections are sure (1.0) of one side.
        min_strength (`float`, *optional*, defaults to `0.5`), min_annotators (`int`, *optional*, defaults to `1`): Rows below are left
            out; so are even ones.
        as_messages (`bool`, *optional*, defaults to `False`): Plain texts as messages too.
        left_out (`Counter`, *optional*): Counts what was left out, by reason.

    Yields:
        `dict`: as [`~rlhf_ext.data.store.preferences`] does; `item` is the prompt's hash, the models are the variants.
    """
    missed: Counter[str] = Counter() if left_out is None else left_out
    for prompt in _prompts(database, missed):
        for kind, chosen, rejected, votes in [*_said(prompt), *_corrected(prompt), *_thumbs(prompt)]:
            p = preference_of(list(votes.values()), strength)
            if p < 0.5:
                chosen, rejected, p = rejected, chosen, 1 - p
            if p == 0.5:
                missed["tie"] += 1
            elif p < min_strength:
                missed["too weak"] += 1
            elif len(votes) < min_annotators:
                missed["too few annotators"] += 1
            else:
                texts = _rows(prompt.prompt, [chosen.text, rejected.text], as_messages)
                yield {
                    **dict(zip(("prompt", "chosen", "rejected"), texts, strict=True)),
                    "preference_strength": p,
                    "chosen_model": chosen.variant,
                    "rejected_model": rejected.variant,
                    **_origin(prompt, kind, votes),
                }


def served_thumbs(
    database: Database,
    *,
    min_annotators: int = 1,
    as_messages: bool = False,
    left_out: Counter[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Streams thumbs on responses as TRL's unpaired preferences (KTO): `prompt`, `completion`, `label`. As [`served_preferences`]."""
    missed: Counter[str] = Counter() if left_out is None else left_out
    for prompt in _prompts(database, missed):
        for answer in prompt.answers.values():
            people = answer.up | answer.down
            if not people:
                continue
            if len(answer.up) == len(answer.down):
                missed["tie"] += 1
            elif len(people) < min_annotators:
                missed["too few annotators"] += 1
            else:
                texts = _rows(prompt.prompt, [answer.text], as_messages)
                told = {"label": len(answer.up) > len(answer.down), "model": answer.variant}
                yield {"prompt": texts[0], "completion": texts[1], **told, **_origin(prompt, "thumb", people)}


def outcomes(
    database: Database, *, experiment: str | None = None, left_out: Counter[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Streams what came of each request of an experiment, for `rlhf-ext ab report`.

    Yields:
        `dict`: `experiment`, `variant`, `user` (a hash; the request's id where there is no user), `why`, `metric` and `value`: of
        each request `error`, `seconds` and `completion_tokens`, and `thumbs_up` (None where nobody said).
    """
    query = sa.select(RESPONSES).where(RESPONSES.c.experiment.is_not(None), RESPONSES.c.shadow_of.is_(None))
    if experiment is not None:
        query = query.where(RESPONSES.c.experiment == experiment)
    thumbs = _last_thumbs(database)
    with database.reading() as connection:
        rows = connection.execution_options(yield_per=1000).execute(query.order_by(RESPONSES.c.number))
        for row in rows:
            names = ("experiment", "variant", "why")
            told = {name: getattr(row, name) for name in names} | {"user": row.user_hash or row.id}
            if row.status != 200 and row.status < 500:
                continue  # the client's fault, or the client went away
            answered = row.status == 200
            values: dict[str, Any] = {"error": float(not answered), "seconds": row.seconds if answered else None}
            values |= {"completion_tokens": row.completion_tokens, "thumbs_up": thumbs.get(row.id)}
            for metric, value in values.items():
                yield {**told, "metric": metric, "value": value}


def _last_thumbs(database: Database) -> dict[str, float]:
    """Share of thumbs up of each response: of each person the last."""
    query = sa.select(FEEDBACK).where(FEEDBACK.c.kind == "thumb").order_by(FEEDBACK.c.number)
    said: dict[str, dict[str, bool]] = defaultdict(dict)
    with database.reading() as connection:
        for row in connection.execution_options(yield_per=1000).execute(query):
            said[row.response][_who(row)] = json.loads(row.value)["up"]
    return {response: sum(votes.values()) / len(votes) for response, votes in said.items()}


def _prompts(database: Database, missed: Counter[str]) -> Iterator[_Prompt]:
    names = ("prompt_hash", "prompt", "texts", "variant", "model", "finish_reason")
    columns = [getattr(RESPONSES.c, name) for name in names]
    query = (
        sa.select(FEEDBACK, *columns)
        .join(RESPONSES, RESPONSES.c.id == FEEDBACK.c.response)
        .order_by(RESPONSES.c.prompt_hash, FEEDBACK.c.number)
    )
    with database.reading() as connection:
        rows = connection.execution_options(yield_per=1000).execute(query)
        for prompt_hash, group in groupby(rows, lambda row: row.prompt_hash):
            found: _Prompt | None = None
            for row in group:
                answer = _text(row, missed)
                if answer is None:
                    continue
                found = found or _Prompt(prompt_hash, json.loads(row.prompt))
                _take(database, found, row, answer, missed)
            if found is not None:
                yield found


def _text(row: Any, missed: Counter[str]) -> str | None:
    """The text that was spoken of; None where it cannot be trained on."""
    value = json.loads(row.value)
    if row.prompt is None or row.texts is None:
        missed["text not kept"] += 1
        return None
    if row.finish_reason == "content_filter":
        missed["ended by a filter"] += 1
        return None
    prompt, texts, choice = json.loads(row.prompt), json.loads(row.texts), value.get("choice", 0)
    trainable = isinstance(prompt, str) or (isinstance(prompt, list) and prompt and isinstance(prompt[0], dict))
    if not trainable or choice >= len(texts) or not texts[choice].strip():
        missed["no text"] += 1
        return None
    return str(texts[choice])


def _take(database: Database, prompt: _Prompt, row: Any, text: str, missed: Counter[str]) -> None:
    value, who, variant = json.loads(row.value), _who(row), row.variant or row.model
    answer = prompt.answer(text, variant)
    if row.kind == "thumb":
        (answer.up if value["up"] else answer.down).add(who)
        (answer.down if value["up"] else answer.up).discard(who)
    elif row.kind == "correction":
        if value["text"].strip() == text.strip():
            missed["no difference"] += 1
            return
        for (_, old), people in prompt.corrected.items():
            if old == text:
                people.discard(who)
        prompt.corrected[value["text"], text].add(who)
    else:
        _prefer(database, prompt, row, answer, missed)


def _prefer(database: Database, prompt: _Prompt, row: Any, answer: _Answer, missed: Counter[str]) -> None:
    value = json.loads(row.value)
    query = sa.select(RESPONSES).where(RESPONSES.c.id == (value.get("over") or row.response))
    with database.reading() as connection:
        other = connection.execute(query).first()
    choice = value.get("over_choice", 0)
    texts = json.loads(other.texts) if other is not None and other.texts is not None else []
    if other is None or choice >= len(texts) or not texts[choice].strip() or other.finish_reason == "content_filter":
        missed["no text"] += 1
    elif texts[choice] == answer.text:
        missed["no difference"] += 1
    else:
        second = prompt.answer(texts[choice], other.variant or other.model)
        strength, who = value.get("strength", 1.0), _who(row)
        # Of one pair each person has one say, whichever way round it was put.
        first, last = sorted((answer.text, second.text))
        prompt.said[first, last][who] = strength if answer.text == first else 1 - strength


_Pair = tuple[str, _Answer, _Answer, dict[str, float]]


def _said(prompt: _Prompt) -> Iterator[_Pair]:
    for (first, second), votes in prompt.said.items():
        yield "preference", prompt.answers[first], prompt.answers[second], votes


def _corrected(prompt: _Prompt) -> Iterator[_Pair]:
    for (text, old), people in prompt.corrected.items():
        if people:
            yield "correction", _Answer(text, "correction"), prompt.answers[old], dict.fromkeys(people, 1.0)


def _thumbs(prompt: _Prompt) -> Iterator[_Pair]:
    liked = [one for one in prompt.answers.values() if len(one.up) > len(one.down)]
    disliked = [one for one in prompt.answers.values() if len(one.down) > len(one.up)]
    # Each with each, in an order in which all come about as often should there be more than are taken.
    pairs = [(i, (i + step) % len(disliked)) for step in range(len(disliked)) for i in range(len(liked))]
    for i, j in pairs[:_PAIRS]:
        better, worse = liked[i], disliked[j]
        votes = {f"{who} up": 1.0 for who in better.up} | {f"{who} down": 1.0 for who in worse.down}
        votes |= {f"{who} not up": 0.0 for who in better.down} | {f"{who} not down": 0.0 for who in worse.up}
        yield "thumb", better, worse, votes


def _rows(prompt: Any, texts: Sequence[str], as_messages: bool) -> list[Any]:
    """Prompt and texts of one kind, as TRL wants them."""
    if isinstance(prompt, str) and not as_messages:
        return [prompt, *texts]
    messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    return [messages, *[[{"role": "assistant", "content": text}] for text in texts]]


def _origin(prompt: _Prompt, kind: str, votes: Any) -> dict[str, Any]:
    people = sorted({vote.split(" ")[0] for vote in votes})
    told = {"item": prompt.hash, "category": kind, "prompt_version": None, "source": "human"}
    return {**told, "annotator": ", ".join(one[:16] for one in people), "annotators": len(people)}


def _who(row: Any) -> str:
    return str(row.user_hash or row.key or row.id).replace(" ", "_")
