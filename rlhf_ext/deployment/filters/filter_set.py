"""All filters of a service, on a whole text or on messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from ...types import Message, Prompt, is_messages
from .parts import texts_in, unreadable, with_texts
from .rules import SpanFilter
from .scanning import Region, Scanner, merged
from .scoring import Filter
from .verdict import Hit, Side, Verdict, strictest

AnyFilter = Filter | SpanFilter


class FilterSet:
    """Filters that are asked together; the strictest decides.

    Args:
        filters (`Sequence[Filter | SpanFilter]`):
            With a name each.
        not_text (`Literal["block", "allow"]`, *optional*, defaults to `"block"`):
            What becomes of images, sounds and files in messages, which no filter reads, where there are filters on that side.

    Raises:
        ValueError: If two filters have one name.
        TypeError: If one is no filter.

    Example:
    ```python
    >>> from rlhf_ext.deployment.filters import FilterSet, SpanFilter, personal_data

    >>> verdict = FilterSet([SpanFilter("personal", personal_data(["email"]))]).check("Write to ada@example.org.", "input")
    >>> verdict.action, verdict.text
    ('redact', 'Write to [email].')

    ```
    """

    def __init__(self, filters: Sequence[AnyFilter] = (), not_text: Literal["block", "allow"] = "block"):
        names: set[str] = set()
        for one in filters:
            if not isinstance(one, Filter | SpanFilter):
                raise TypeError(
                    f"{one!r} is no filter: give Filter(...) for a reward function, SpanFilter(...) for rules."
                )
            if one.name in names:
                raise ValueError(f"Two filters have the name {one.name!r}.")
            names.add(one.name)
        if not_text not in ("block", "allow"):
            raise ValueError(f"`not_text` must be 'block' or 'allow', got {not_text!r}.")
        self.filters, self.not_text = tuple(filters), not_text

    def spans(self, side: Side) -> list[SpanFilter]:
        return [one for one in self.filters if isinstance(one, SpanFilter) and side in one.on]

    def scores(self, side: Side) -> list[Filter]:
        return [one for one in self.filters if isinstance(one, Filter) and side in one.on]

    def check(self, text: str | list[Message], side: Side, prompt: Prompt = "") -> Verdict:
        """What becomes of a whole text, or of messages.

        Of messages every text is looked at, whoever is said to have sent it: contents, reasoning, arguments of tool calls. What a
        filter does wrong never raises: it is then closed. It is synchronous; to bound the time, call it in a thread, and take
        [`closed`] where it takes too long.

        Args:
            text (`str` or `list[Message]`):
                What to check.
            side (`Literal["input", "output"]`):
                Which filters look at it.
            prompt (`str` or `list[Message]`, *optional*):
                Of an output: what it answers.

        Returns:
            [`Verdict`]: with a text of the same kind as it was given.

        Raises:
            TypeError: If `text` is neither text nor messages.
            ValueError: If there is no such side.
        """
        if side not in ("input", "output"):
            raise ValueError(f"`side` must be 'input' or 'output', got {side!r}.")
        if not isinstance(text, str | list):
            raise TypeError(f"Expected text or a list of messages, got {type(text).__name__}.")
        parts = {"": text} if isinstance(text, str) else texts_in(text)
        if not (self.spans(side) or self.scores(side)):
            return Verdict("allow", text)
        regions = {part: self._regions(value, side) for part, value in parts.items()}
        hits = [replace(region.hit, part=part) for part, some in regions.items() for region in some]
        hits += self._scored(text, parts, side, prompt)
        if not isinstance(text, str) and self.not_text == "block":
            hits += [
                Hit("not_text", "block", "is no text, and no filter reads it", part=part) for part in unreadable(text)
            ]
        return self._verdict(text, parts, regions, tuple(hits))

    def closed(self, because: str, kind: Any = "") -> Verdict:
        """The verdict where filters could not say: blocked.

        Args:
            because (`str`): Such as `"timed out"`.
            kind (`str` or `list`, *optional*): A text of the kind that was to be checked.
        """
        return Verdict("block", [] if isinstance(kind, list) else "", (Hit("filters", "block", because),))

    def _regions(self, text: str, side: Side) -> list[Region]:
        return Scanner(self.spans(side)).add(text, ended=True)[0]

    def _scored(self, text: Any, parts: Mapping[str, str], side: Side, prompt: Prompt) -> list[Hit]:
        hits: list[Hit] = []
        for one in self.scores(side):
            rows = [(part, start, end) for part, value in parts.items() for start, end in passages(one, value)]
            prompts = [_before(text, part, side, prompt) for part, _, _ in rows]
            found = one.check(prompts, [one.passage(parts[part], end) for part, _, end in rows])
            hits += [
                replace(hit, part=part, start=start, end=end)
                for (part, start, end), hit in zip(rows, found, strict=True)
                if hit is not None
            ]
        return hits

    def _verdict(
        self, text: Any, parts: Mapping[str, str], regions: Mapping[str, list[Region]], hits: tuple[Hit, ...]
    ) -> Verdict:
        action = strictest(hits)
        if action == "block":
            return Verdict(action, [] if is_messages(text) else "", hits)
        if action == "replace":
            name = next(hit.filter for hit in hits if hit.action == "replace")
            said = next(one.replacement for one in self.filters if one.name == name)
            return Verdict(action, [{"role": "assistant", "content": said}] if is_messages(text) else said, hits)
        changed = {part: redacted(parts[part], some) for part, some in regions.items()}
        if not is_messages(text):
            return Verdict(action, changed[""], hits)
        changed = {part: new for part, new in changed.items() if new != parts[part]}
        return Verdict(action, with_texts(text, changed) if changed else text, hits)


def passages(one: Filter, text: str) -> list[tuple[int, int]]:
    """Where the passages of a whole text begin and end."""
    found, start = [], 0
    while (end := one.next_passage(text, start, ended=True)) is not None:
        found.append((start, end))
        start = end
    return found


def redacted(text: str, regions: Sequence[Region]) -> str:
    """The text with labels in place of what is redacted."""
    parts, done = [], 0
    for region in merged([region for region in regions if region.hit.action == "redact"]):
        parts += [text[done : region.start], region.replacement]
        done = region.end
    return "".join([*parts, text[done:]])


def _before(text: Any, part: str, side: Side, prompt: Prompt) -> Prompt:
    if side == "output":
        return prompt
    return text[: int(part.split(".")[0])] if is_messages(text) else ""
