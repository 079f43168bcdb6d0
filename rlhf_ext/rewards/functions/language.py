"""Reward for the language that a completion is written in."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from ...types import Completion
from .rows import column_of, need, texts_of


class Language:
    """The probability that a completion is written in the wanted language, in [0, 1], by py3langid.

    py3langid (140 languages, 5 MB with its model, BSD licence, numpy alone, no download) is a naive Bayes classifier over
    byte n-grams (Lui and Baldwin, 2012). Sentences it tells well, single words poorly, and text without letters not at
    all: every language is then about as unlikely. Needs `pip install rlhf_ext[eval]`.

    Args:
        language (`str`, *optional*):
            The wanted language of all rows: an ISO 639-1 code such as `"en"`.
        column (`str`, *optional*):
            Column with each row's wanted language instead. Rows without one give None.
        among (`Sequence[str]`, *optional*):
            The languages to choose between, which makes short texts safer; all by default.

    Raises:
        ImportError: If py3langid is not installed.
        ValueError: If not exactly one of `language` and `column` is given, or a language is unknown; from a call, if the
            column is missing or names an unknown language.

    Example:

    ```python
    >>> from rlhf_ext.rewards.functions import Language
    >>> english = Language("en")
    >>> texts = ["This is certainly an English sentence.", "Dies ist sicher ein deutscher Satz."]
    >>> [round(score) for score in english(prompts=["..."] * 2, completions=texts)]
    [1, 0]

    ```
    """

    def __init__(self, language: str | None = None, column: str | None = None, among: Sequence[str] | None = None):
        if (language is None) == (column is None):
            raise ValueError(f"Give one of `language` and `column`, got {language!r} and {column!r}.")
        self.language, self.column, self.among = language, column, None if among is None else tuple(among)
        self.__name__ = f"language_{language or column}"
        known = _identifier(self.among).labels
        if language is not None:
            _check(language, known)

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        identifier = _identifier(self.among)
        wanted = [self.language] * len(completions)
        if self.column is not None:
            wanted = column_of(columns, self.column, len(completions), "Language")
            for row, language in enumerate(wanted):
                if language is not None:
                    _check(language, identifier.labels, f"row {row} of the column {self.column!r}")
        return [
            None if language is None else float(dict(identifier.rank(text))[language])
            for text, language in zip(texts_of(completions), wanted, strict=True)
        ]


def _check(language: str, known: Sequence[str], where: str = "`language`") -> None:
    if language not in known:
        raise ValueError(f"{where} should be one of {', '.join(sorted(known))}, got {language!r}.")


@functools.cache
def _identifier(among: tuple[str, ...] | None) -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise need("py3langid", "eval", "Language") from error
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(among)
    return identifier
