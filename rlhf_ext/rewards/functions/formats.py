"""Rewards for a form: JSON, and sections between tags."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ...types import Completion
from .blocks import last_block
from .rows import need, texts_of


class JSONFormat:
    """1.0 where a completion is valid JSON, and valid against a schema if one is given; else 0.0.

    Strict: nothing around it but white space, no `NaN` or `Infinity`, which Python's parser would take.

    Args:
        schema (`Mapping`, *optional*):
            A JSON Schema (draft 2020-12 unless it names another by `$schema`) that the value must meet. Needs the package
            jsonschema: `pip install rlhf_ext[eval]`.
        where (`str`, *optional*, defaults to `"text"`):
            `"text"`: the whole completion is JSON. `"block"`: its last fenced block is (```` ```json ````, or one that names no
            language), and what stands around it is not looked at.

    Raises:
        ImportError: If a schema is given and jsonschema is not installed.
        ValueError: If the schema is not valid itself, or `where` is unknown.

    Example:

    ```python
    >>> from rlhf_ext.rewards.functions import JSONFormat
    >>> JSONFormat()(prompts=["..."] * 2, completions=['{"answer": 42}', "The answer is 42."])
    [1.0, 0.0]
    >>> schema = {"type": "object", "required": ["answer"]}
    >>> JSONFormat(schema)(prompts=["..."] * 2, completions=['{"answer": 42}', '{"reply": 42}'])
    [1.0, 0.0]

    ```
    """

    def __init__(self, schema: Mapping[str, Any] | None = None, where: Literal["text", "block"] = "text"):
        if where not in ("text", "block"):
            raise ValueError(f"`where` should be 'text' or 'block', got {where!r}.")
        self.schema, self.where = schema, where
        self.__name__ = "json_format"
        if schema is not None:
            self._validator()

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        validator = None if self.schema is None else self._validator()
        return [float(self._is_valid(text, validator)) for text in texts_of(completions)]

    def _is_valid(self, text: str, validator: Any) -> bool:
        found = text if self.where == "text" else last_block(text, {"json", ""})
        if found is None:
            return False
        try:
            value = json.loads(found, parse_constant=_refuse)
            return validator is None or validator.is_valid(value)
        except (ValueError, RecursionError):  # thousands of "[" are no JSON either that anyone could read
            return False

    def _validator(self) -> Any:
        try:
            from jsonschema.exceptions import SchemaError
            from jsonschema.validators import Draft202012Validator, validator_for
        except ImportError as error:
            raise need("jsonschema", "eval", "JSONFormat with a schema") from error
        kind = validator_for(self.schema, default=Draft202012Validator)
        try:
            kind.check_schema(self.schema)
        except SchemaError as error:
            raise ValueError(f"`schema` is no valid JSON Schema: {error.message}.") from error
        return kind(self.schema)


class Tags:
    """1.0 where a completion consists of sections between tags, each once and in order, else 0.0.

    `<think>...</think><answer>...</answer>` is the format reward of DeepSeek-R1
    ([2501.12948](https://huggingface.co/papers/2501.12948)). White space around the sections is allowed, other text and
    empty sections are not. `trl.rewards.think_format_reward` is the one for thoughts in tags and an answer without.

    Args:
        *tags (`str`):
            Names of the tags, in order.
        prefilled (`bool`, *optional*, defaults to `False`):
            Whether the prompt already ends with the first opening tag, as some chat templates have it, so that the
            completion begins inside.

    Raises:
        ValueError: If there is no tag, one comes twice, or one is no name.

    Example:

    ```python
    >>> from rlhf_ext.rewards.functions import Tags
    >>> form = Tags("think", "answer")
    >>> form(prompts=["6 x 7?"] * 2, completions=["<think>6 x 7 = 42</think>\\n<answer>42</answer>", "42"])
    [1.0, 0.0]

    ```
    """

    def __init__(self, *tags: str, prefilled: bool = False):
        if not tags or len(set(tags)) < len(tags) or not all(re.fullmatch(r"[A-Za-z_][\w.-]*", tag) for tag in tags):
            raise ValueError(f"Tags takes names of tags, each once, such as Tags('think', 'answer'); got {tags!r}.")
        self.tags, self.prefilled = tags, prefilled
        self.__name__ = "tags_" + "_".join(tags)

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        begun = f"<{self.tags[0]}>" if self.prefilled else ""
        return [float(self._has_form(begun + text)) for text in texts_of(completions)]

    def _has_form(self, text: str) -> bool:
        marks = [mark for tag in self.tags for mark in (f"<{tag}>", f"</{tag}>")]
        rest = text.strip()
        for opening, closing in zip(marks[::2], marks[1::2], strict=True):
            if not rest.startswith(opening):
                return False
            section, closed, rest = rest.removeprefix(opening).partition(closing)
            if not closed or not section.strip() or any(mark in section for mark in marks):
                return False
            rest = rest.lstrip()
        return not rest


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
