"""Classification by an answer in words: which label it names, accuracy, macro-F1, and what is taken for what."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ..suite import Case, Column
from ..told_apart import told_apart
from .metrics import Answers, corpus_values, described, need_columns

UNPARSEABLE = "(no label)"
"""What stands in the confusion where an answer names no label, or several."""


def label_in(text: str, labels: Sequence[str]) -> str | None:
    """The label that an answer names; None where it names none, or more than one.

    A label counts where it stands as a whole word, in any case; one inside of a longer label ("spam" in "not spam") is
    not counted for it. An answer that begins with "Label:" or the like is read like any other. A letter counts in its own case,
    or where it is all of the answer: "a" is a word of English before it is the choice "A".

    Args:
        text (`str`):
            The answer.
        labels (`Sequence[str]`):
            All labels.

    Returns:
        `str` or `None`: one of `labels`.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.automatic import label_in
    >>> labels = ["spam", "not spam"]
    >>> [label_in(text, labels) for text in ("It is Not Spam.", "Spam!", "Spam or not spam?", "Hm.")]
    ['not spam', 'spam', None, None]

    ```
    """
    # Longest first: what a longer label has taken is no longer there for a shorter one.
    ordered = sorted(labels, key=len, reverse=True)
    pattern = "|".join(re.escape(label.casefold()) for label in ordered)
    by_form = {label.casefold(): label for label in labels}
    found = {by_form[form] for form in re.findall(rf"(?<!\w)(?:{pattern})(?!\w)", text.casefold())}
    found = {label for label in found if len(label) > 1 or _is_meant(label, text)}
    return found.pop() if len(found) == 1 else None


def _is_meant(letter: str, text: str) -> bool:
    """Whether a text that has a letter as a word means the letter."""
    alone = re.sub(r"\W", "", text).casefold() == letter.casefold()
    return alone or re.search(rf"(?<!\w){re.escape(letter)}(?!\w)", text) is not None


class Classification:
    """Answers as labels: accuracy, macro-F1, and the share of answers that name no label.

    An answer without a label (or with several) is wrong: it counts against accuracy and against the recall of the class
    that was right, and is no prediction of any class. Macro-F1 is the mean of the F1 of all classes that occur. The note of
    `accuracy` names what was most often taken for what; [`confusion`] has all of it.

    Args:
        labels (`Sequence[str]`):
            All labels, at least two, different in lower case.
        column (`str`, *optional*, defaults to `"reference"`):
            Column with the right label. Rows without one do not count.
        extract (`Callable`, *optional*):
            Which label an answer names, called with its text; None where none. Defaults to [`label_in`].
        name (`str`, *optional*, defaults to `""`):
            Put before the figures' names, where there are several classifications.

    Raises:
        ValueError: If the labels are too few or alike; from `check`, if a row has a label that is not among them.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.automatic import Classification
    >>> Classification(["positive", "negative"]).figures
    ('accuracy', 'macro_f1', 'unparseable')

    ```
    """

    def __init__(
        self,
        labels: Sequence[str],
        column: str = "reference",
        extract: Callable[[str], str | None] | None = None,
        name: str = "",
    ):
        if len({label.casefold() for label in labels}) < len(labels) or len(labels) < 2 or not all(labels):
            raise ValueError(f"`labels` should be at least two labels that differ in lower case, got {list(labels)}.")
        self.labels, self.column, self.extract = tuple(labels), column, extract
        self._prefix = f"{name}_" if name else ""
        self.figures: Sequence[str] = tuple(
            self._prefix + figure for figure in ("accuracy", "macro_f1", "unparseable")
        )
        read = [] if extract is None else [described(extract), *told_apart(extract)]
        self.settings = ["classification", *labels, column, name, read]

    def check(self, cases: Sequence[Case]) -> None:
        """Refuses rows whose label is not among the labels."""
        need_columns(self.figures[0], [self.column], cases)
        for case in cases:
            self._right(case)

    def measure(self, answers: Answers) -> list[Column]:
        """Accuracy and unparseable answers one by one, macro-F1 of all."""
        pairs = self._pairs(answers)
        right = [None if pair is None else float(pair[0] == pair[1]) for pair in pairs]
        lost = [None if pair is None else float(pair[1] == UNPARSEABLE) for pair in pairs]
        f1 = corpus_values(self.macro_f1, answers.cases, pairs)
        accuracy, macro, unparseable = self.figures
        return [
            Column(accuracy, "Accuracy", right, better="higher", note=_most_confused(pairs), by_category=True),
            Column(macro, "Macro-F1", f1, "rate", "higher", "case", corpus=True),
            Column(unparseable, "Names no label", lost, better="lower"),
        ]

    def confusion(self, cases: list[Case], answers: list[str]) -> dict[str, dict[str, int]]:
        """How often each label was taken for each.

        Args:
            cases (`list[Case]`), answers (`list[str]`):
                `cases[i]` is the case of `answers[i]`.

        Returns:
            `dict[str, dict[str, int]]`: by the right label, counts by what the answers named, [`UNPARSEABLE`] the last.
        """
        counts = Counter(pair for pair in self._pairs(Answers(cases, answers)) if pair is not None)
        return {right: {named: counts[right, named] for named in (*self.labels, UNPARSEABLE)} for right in self.labels}

    def _pairs(self, answers: Answers) -> list[tuple[str, str] | None]:
        found: list[tuple[str, str] | None] = []
        for case, text in zip(answers.cases, answers.texts, strict=True):
            right = self._right(case)
            found.append(None if right is None else (right, self._named(text)))
        return found

    def _named(self, text: str) -> str:
        if self.extract is None:
            return label_in(text, self.labels) or UNPARSEABLE
        named = self.extract(text)
        if named is not None and named not in self.labels:
            raise ValueError(
                f"`extract` gave {named!r} for {text[:80]!r}: one of {', '.join(self.labels)}, or None, is needed."
            )
        return named or UNPARSEABLE

    def _right(self, case: Case) -> str | None:
        value: Any = case.columns.get(self.column)
        if value in (None, ""):
            return None
        known = {label.casefold(): label for label in self.labels}
        label = known.get(value.strip().casefold()) if isinstance(value, str) else None
        if label is None:
            raise ValueError(
                f"The case {case.id!r} has {value!r} in the column {self.column!r}; the labels are {', '.join(self.labels)}."
            )
        return label

    def macro_f1(self, pairs: Sequence[tuple[str, str]]) -> float:
        """The mean F1 of the classes that occur, of pairs of the right label and the named one."""
        counts = Counter(pairs)
        scores = []
        for label in self.labels:
            hits = counts[label, label]
            gold = sum(count for (right, _), count in counts.items() if right == label)
            named = sum(count for (_, name), count in counts.items() if name == label)
            if gold or named:
                scores.append(2 * hits / (gold + named))
        return sum(scores) / len(scores) if scores else 0.0


def _most_confused(pairs: Sequence[tuple[str, str] | None]) -> str:
    wrong = Counter(pair for pair in pairs if pair is not None and pair[0] != pair[1])
    if not wrong:
        return ""
    (right, named), count = min(wrong.items(), key=lambda item: (-item[1], item[0]))
    total = sum(pair is not None and pair[0] == right for pair in pairs)
    said = "answered without one label" if named == UNPARSEABLE else f"taken for {named!r}"
    return f"Most often wrong: {right!r} {said} ({count} of {total})."
