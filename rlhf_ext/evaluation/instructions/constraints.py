"""A constraint on an answer that a program can check, strictly and loosely."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import counts, forms, wording

FAMILIES: dict[str, tuple[Callable[..., bool], ...]] = {
    "counts": (
        counts.word_count,
        counts.sentence_count,
        counts.paragraph_count,
        counts.line_count,
        counts.character_count,
        counts.bullet_count,
        counts.numbered_list,
        counts.heading_count,
        counts.question_count,
    ),
    "format": (
        forms.json_object,
        forms.json_array,
        forms.csv_rows,
        forms.table,
        forms.code_block,
        forms.one_of,
        forms.title,
        forms.quoted,
        forms.bold_parts,
        forms.labelled_parts,
        forms.separated_parts,
        forms.placeholders,
        forms.postscript,
    ),
    "letter_case": (forms.lower_case, forms.upper_case, forms.capital_words),
    "wording": (
        wording.include_words,
        wording.avoid_words,
        wording.word_times,
        wording.word_order,
        wording.avoid_letter,
        wording.avoid_marks,
    ),
    "begin_and_end": (
        wording.starts_with,
        wording.ends_with,
        wording.repeats_request,
        wording.first_and_last_word,
        wording.acrostic,
    ),
    "language": (forms.language,),
}
"""Checks by family. Each is called with a text and its settings, and is known by its name."""

KINDS: dict[str, Callable[..., bool]] = {check.__name__: check for family in FAMILIES.values() for check in family}
"""Checks by name."""

FAMILY_OF = {check.__name__: family for family, checks in FAMILIES.items() for check in checks}
"""The family of each."""


@dataclass(frozen=True)
class Constraint:
    """One thing that an answer must be or have.

    Args:
        kind (`str`):
            One of [`KINDS`].
        settings (`dict`):
            What the check needs to know.

    Raises:
        ValueError: If there is no such kind, or a setting is unknown or missing.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.instructions import Constraint
    >>> short = Constraint("word_count", {"most": 3})
    >>> short.followed("Yes, of course."), short.followed("Here you go:\\nYes, of course.")
    (True, False)
    >>> short.followed("Here you go:\\nYes, of course.", loose=True)
    True

    ```
    """

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"There is no kind of constraint {self.kind!r}; there are {', '.join(KINDS)}.")
        try:
            inspect.signature(KINDS[self.kind]).bind("", **self.settings)
        except TypeError as error:
            raise ValueError(f"A constraint {self.kind!r} cannot have {dict(self.settings)}: {error}.") from error
        ranged = "least" in inspect.signature(KINDS[self.kind]).parameters
        if ranged and not {"least", "most"} & set(self.settings):
            raise ValueError(f"A constraint {self.kind!r} needs `least` or `most`.")

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Constraint:
        """A constraint of a row of the prompt file: `{"kind": "word_count", "most": 3}`."""
        return cls(str(fields.get("kind")), {name: value for name, value in fields.items() if name != "kind"})

    def followed(self, answer: str, loose: bool = False) -> bool:
        """Whether an answer follows it.

        Args:
            answer (`str`):
                The answer. An empty one follows nothing.
            loose (`bool`, *optional*, defaults to `False`):
                Whether it is enough that one of [`loose_readings`] does.
        """
        check = KINDS[self.kind]
        return any(
            bool(text.strip()) and check(text, **self.settings)
            for text in (loose_readings(answer) if loose else [answer])
        )


def loose_readings(answer: str) -> list[str]:
    """An answer, and what it is without asterisks, its first line, its last line, and each two or all of these.

    Chat models like to put "Sure, here it is:" before an answer, a closing word after it and words in bold; who forgives
    that reads loosely (Zhou et al., [2311.07911](https://huggingface.co/papers/2311.07911), section 2).

    Returns:
        `list[str]`: eight readings, the answer itself first.
    """
    lines = answer.strip().split("\n")
    cut = [answer, "\n".join(lines[1:]), "\n".join(lines[:-1]), "\n".join(lines[1:-1])]
    cut = [cut[0], *(text.strip() for text in cut[1:])]
    return [*cut, *(text.replace("*", "") for text in cut)]
