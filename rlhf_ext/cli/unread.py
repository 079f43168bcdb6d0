"""Flags that are given, and that nothing would read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, fields
from typing import Any


def refuse_unread(options: Any, flags: Iterable[str], why: str) -> None:
    """Refuses flags that would be ignored, unsaid.

    Args:
        options (dataclass):
            What was parsed.
        flags (`Iterable[str]`):
            Names of flags that are not read this time, each with a default.
        why (`str`):
            What goes on after the flag's name: `"is for --model, which is not given"`.

    Raises:
        ValueError: If one of them is not at its default; it is named.
    """
    for one in fields(options):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if one.name in flags and getattr(options, one.name) != default:
            raise ValueError(f"--{one.name} {why}.")
