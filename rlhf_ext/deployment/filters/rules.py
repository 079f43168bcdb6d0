"""Rules that find spans: words, patterns, and checks of what a pattern alone cannot tell."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .folding import fold
from .patterns import BoundedPattern, any_of
from .verdict import Side

_NO_LETTER_BEFORE, _NO_LETTER_AFTER = (
    r"(?<![^\W_])",
    r"(?![^\W_])",
)  # an underscore is no letter: secret_key holds "secret"
_WITHOUT_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


@dataclass(frozen=True)
class Rule:
    """One kind of span.

    Args:
        label (`str`):
            What it is; stands in the text in its place when it is redacted, `[email]`.
        pattern (`str`):
            See [`~patterns.BoundedPattern`]; matched against folded text.
        valid (`Callable[[str], int | None]`, *optional*):
            Given a match (folded), says how many characters of it, from its first, are such a span; `None` where it is none. For
            check digits. It must not raise; if it does, the filter is closed.

    Raises:
        ValueError: As [`~patterns.BoundedPattern`].
    """

    label: str
    pattern: str
    valid: Callable[[str], int | None] | None = None
    bounded: BoundedPattern = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.label:
            raise ValueError("`label` of a rule is empty: it is what stands in a redacted text.")
        object.__setattr__(self, "bounded", BoundedPattern(self.pattern))

    def spans(self, text: str, start: int, ended: bool) -> tuple[list[tuple[int, int]], int]:
        """The spans from `start` that nothing that comes after `text` can change, and where a further one may begin.

        Args:
            text (`str`): Folded.
            start (`int`): Where to look from; characters before it are context.
            ended (`bool`): Whether nothing comes after it.
        """
        found = []
        open_from = self._open_from(text, start, ended)
        while (match := self.bounded.search(text, start, open_from)) is not None:
            length: int | None = match[1] - match[0]
            if self.valid is not None:
                length = self.valid(text[match[0] : match[1]])
            if length:
                found.append((match[0], match[0] + length))
                start = match[0] + length
                open_from = self._open_from(text, start, ended)
            else:
                start = match[0] + 1
        return found, max(start, open_from)

    def _open_from(self, text: str, start: int, ended: bool) -> int:
        return len(text) if ended else self.bounded.may_begin(text, start)


@dataclass(frozen=True)
class SpanFilter:
    """Finds spans by rules.

    Args:
        name (`str`):
            For logs and metrics.
        rules (`Sequence[Rule]`):
            What is looked for.
        on (`Sequence[Literal["input", "output"]]`, *optional*, defaults to both):
            Where.
        action (`Literal["flag", "redact", "replace", "block"]`, *optional*, defaults to `"redact"`):
            What is done: `"redact"` puts `[label]` in its place, `"replace"` ends the answer with `replacement`, `"block"` ends it.
        replacement (`str`, *optional*):
            For `"replace"`.

    Raises:
        ValueError: If a field is not as said, or there is no rule.

    Example:
    ```python
    >>> from rlhf_ext.deployment.filters import FilterSet, SpanFilter, personal_data, words

    >>> filters = FilterSet([SpanFilter("personal", personal_data()), SpanFilter("names", words(["Project X"], "name"))])
    >>> filters.check("Ask ada@example.org about PROJECT\\u200b x.", "output").text
    'Ask [email] about [name].'

    ```
    """

    name: str
    rules: Sequence[Rule]
    on: Sequence[Side] = ("input", "output")
    action: Literal["flag", "redact", "replace", "block"] = "redact"
    replacement: str = "I cannot say that."

    def __post_init__(self) -> None:
        check_fields(self.name, self.on, self.action, ("flag", "redact", "replace", "block"))
        if not self.rules:
            raise ValueError(f"The filter {self.name!r} has no rules: it would find nothing.")


def words(forbidden: Iterable[str], label: str = "removed", whole: bool = True) -> list[Rule]:
    """Rules that find words and phrases, however they are written.

    Case, width, accents of two characters, invisible characters and decorating marks do not matter; letters of other alphabets
    that look alike do.

    Args:
        forbidden (`Iterable[str]`):
            Words or phrases; white space in them matches any.
        label (`str`, *optional*, defaults to `"removed"`):
            Stands in their place.
        whole (`bool`, *optional*, defaults to `True`):
            Whether they must stand alone: `ass` is then not found in `class`. Scripts that write no spaces (Chinese, Japanese, Thai,
            ...) have no such borders, and are found anywhere.

    Raises:
        ValueError: If there is no word, or one has no letters.
    """
    found: dict[tuple[bool, bool], list[str]] = {}
    for word in forbidden:
        folded = fold(word).strip()
        if not folded:
            raise ValueError(f"{word!r} is no word: nothing is left of it that could be seen.")
        borders = (whole and _has_border(folded[0]), whole and _has_border(folded[-1]))
        found.setdefault(borders, []).append(folded)
    if not found:
        raise ValueError("There are no words to look for.")
    return [
        Rule(label, (_NO_LETTER_BEFORE if before else "") + any_of(some) + (_NO_LETTER_AFTER if after else ""))
        for (before, after), some in found.items()
    ]


def check_fields(name: str, on: Sequence[str], action: str, actions: Sequence[str]) -> None:
    """Refuses a filter whose fields say nothing."""
    if not name or not isinstance(name, str):
        raise ValueError(f"`name` of a filter must be a text that is not empty, got {name!r}.")
    if isinstance(on, str) or not on or set(on) - {"input", "output"}:
        raise ValueError(f"`on` of the filter {name!r} must list 'input', 'output' or both, got {on!r}.")
    if action not in actions:
        raise ValueError(f"`action` of the filter {name!r} must be one of {', '.join(actions)}, got {action!r}.")


def _has_border(character: str) -> bool:
    return character.isalnum() and not unicodedata.name(character, "").startswith(_WITHOUT_SPACES)
