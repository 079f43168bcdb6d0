"""Personal data taken out of texts before they are stored, by rule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# Each errs on the side of taking too much: what is stored is for training, not for sending letters.
REDACTIONS: dict[str, str] = {
    "email": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "iban": r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
    "card": r"\b(?:\d[ -]?){12,18}\d\b",
    "phone": r"(?<![\w.])(?:\+\d{1,3}[ .-]?|0)(?:\(?\d{1,5}\)?[ ./-]?){2,5}\d{2,}(?!\w)",
    "ip": r"\b(?:\d{1,3}\.){3}\d{1,3}\b|(?<![\w:])(?:[0-9a-fA-F]{0,4}:){3,7}[0-9a-fA-F]{0,4}(?![\w:])",
    "key": r"\b(?:sk|rk|pk|ghp|gho|xoxb|AKIA)[-_]?[A-Za-z0-9_-]{16,}\b",
}
"""Rules by name: what each finds becomes `[name]`."""


class Redactor:
    """Replaces what rules find by the rule's name in brackets.

    Rules find what looks like an address or a number; names of people they do not find. That takes a model, or not storing texts.

    Args:
        rules (`list[str]` or `dict[str, str]`): Names out of [`REDACTIONS`]; or regular expressions by name.

    Raises:
        ValueError: If a name is unknown or an expression is none.

    Example:

    ```python
    >>> from rlhf_ext.data.store.served import Redactor
    >>> Redactor(["email", "phone"])("Write to ann@example.org or call +44 20 7946 0000.")
    'Write to [email] or call [phone].'

    ```
    """

    def __init__(self, rules: Sequence[str] | Mapping[str, str]):
        if not isinstance(rules, Mapping):
            for name in rules:
                if name not in REDACTIONS:
                    raise ValueError(f"There is no redaction {name!r}; there are {', '.join(REDACTIONS)}.")
            rules = {name: expression for name, expression in REDACTIONS.items() if name in rules}
        self._rules = []
        for name, expression in rules.items():
            try:
                self._rules.append((f"[{name}]", re.compile(expression)))
            except re.error as error:
                raise ValueError(f"The redaction {name!r} is no regular expression: {error}.") from error

    def __call__(self, text: str) -> str:
        for name, expression in self._rules:
            text = expression.sub(lambda _, name=name: name, text)  # type: ignore[misc]
        return text

    def within(self, value: Any) -> Any:
        """The same for all texts in messages or other plain values; the names of fields stay."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, list):
            return [self.within(one) for one in value]
        if isinstance(value, dict):
            return {name: self.within(one) for name, one in value.items()}
        return value
