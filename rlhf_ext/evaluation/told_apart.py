"""What tells one scorer from another of its name: the code that it runs, and the weights that it reads."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from functools import partial
from types import CodeType
from typing import Any

import torch

from ..generation.identity import weights_of

_PACKAGE = __name__.partition(".")[0]
_OPAQUE = ("torch", "transformers", "transformers_modules", "tokenizers", "numpy", "builtins")
"""Packages whose objects are not looked into: a model is found before it is asked where it is from."""
_DEPTH = 4
"""How deep models and functions may lie in a scorer's attributes."""


def told_apart(scorer: Any) -> list[str]:
    """Hashes of what a scorer does, for the version of a suite: values of one are not to be taken for those of another.

    A function or class of one's own is known by its source, a model in it by its weights, what `functools.partial` holds by its
    text. What is called from there (helpers, other files) is not looked into. Functions of this package have its version.

    Args:
        scorer (`Callable`):
            A reward function, a metric, a judge.

    Returns:
        `list[str]`: empty for a function of this package without a model.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.told_apart import told_apart
    >>> told_apart(lambda completions, **columns: [1.0]) == told_apart(lambda completions, **columns: [0.0])
    False

    ```
    """
    made = [] if isinstance(scorer, partial) or inspect.isroutine(scorer) else [_source_of(type(scorer))]
    return [_hash(text) for text in [*made, *_parts(scorer, _DEPTH)] if text]


def _source_of(made: Any) -> str:
    if str(getattr(made, "__module__", "")).partition(".")[0] == _PACKAGE:
        return ""
    if getattr(made, "__name__", "") != "<lambda>":  # the source of one is its line, with whatever else stands there
        try:
            return inspect.getsource(made)
        except (OSError, TypeError):  # typed into an interpreter
            pass
    functions = [made] if inspect.isroutine(made) else list(vars(made).values())
    return "".join(_text_of(code) for one in functions if (code := getattr(one, "__code__", None)) is not None)


def _text_of(code: CodeType) -> str:
    """What a piece of code does, without where it stands: its representation would hold addresses."""
    inner = [_text_of(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return f"{code.co_code.hex()} {inner} {code.co_names}"


def _parts(thing: Any, depth: int) -> Iterator[str]:
    """The sources of functions and the weights of models in a scorer, in the order of its attributes."""
    if isinstance(thing, torch.nn.Module):
        yield weights_of(thing)
    elif isinstance(thing, partial):
        yield f"{thing.args!r} {sorted(thing.keywords.items())!r}"
        yield from _parts(thing.func, depth)
    elif inspect.isroutine(thing):
        yield _source_of(thing)
    elif depth and isinstance(thing, list | tuple):
        for part in thing:
            yield from _parts(part, depth - 1)
    elif depth and isinstance(thing, Mapping):
        yield from _parts(list(thing.values()), depth)
    elif depth and type(thing).__module__.partition(".")[0] not in _OPAQUE:
        yield from _parts(list(getattr(thing, "__dict__", {}).values()), depth)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
