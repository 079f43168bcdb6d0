"""Settings of a gateway from YAML, and what is wrong with them in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..._strict_yaml import read_yaml
from .settings import GatewaySettings


def check_alerts(settings: GatewaySettings) -> None:
    """Refuses alerts on what the gateway has not: they would never fire.

    Raises:
        ValueError: If one is on a model, a variant or a filter that there is not.
    """
    filters = {"filters", "not_text", *(one.name for one in settings.filters)}
    for rule in settings.monitoring.alerts:
        asked = [("model", rule.model, set(settings.models)), ("variant", rule.variant, set(settings.variants))]
        if rule.metric == "filter_rate":
            asked.append(("filter", rule.name_of, filters))
        for what, name, known in asked:
            if name is not None and name not in known and (settings.models or what != "model"):
                there = ", ".join(sorted(known)) or "none"
                raise ValueError(
                    f"the alert {rule.name!r} would never fire: there is no {what} {name!r}; there are {there}"
                )


def load_settings(path: str | Path) -> GatewaySettings:
    """Settings from a YAML file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no YAML, has a field that there is not, or one of another type; the field is named.
    """
    given = read_yaml(path)
    try:
        return TypeAdapter(GatewaySettings).validate_json(json.dumps({} if given is None else given))
    except ValidationError as error:
        raise ValueError(f"{path}: {words_of(error)}") from None
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from None


def words_of(error: ValidationError) -> str:
    """What is wrong, in a line."""
    return "; ".join(_words(one) for one in error.errors())


def _words(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "the file"
    if error["type"] == "unexpected_keyword_argument":
        return f"{where}: there is no such field"
    if error["type"] == "value_error":
        return f"{where}: {error['ctx']['error']}" if error["loc"] else str(error["ctx"]["error"])
    shown = "" if error["type"] in ("missing", "missing_argument") else f", got {error['input']!r:.80}"
    return f"{where}: {error['msg'][0].lower()}{error['msg'][1:]}{shown}"
