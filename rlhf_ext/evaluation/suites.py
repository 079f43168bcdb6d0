"""Suites by name, as the command line has them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from .suite import Suite, check_suite

# Name: module and the function in it that makes the suite. Imported when asked for: some load models.
SUITES = {
    "safety": ("rlhf_ext.evaluation.safety", "safety_suite"),
    "instructions": ("rlhf_ext.evaluation.instructions", "instructions_suite"),
    "automatic": ("rlhf_ext.evaluation.automatic", "automatic_suite"),
    "code": ("rlhf_ext.evaluation.coding", "code_suite"),
}


def load_suite(name: str, **settings: Any) -> Suite:
    """A suite by its name, or one of one's own as `module:function`.

    Args:
        name (`str`):
            One of [`SUITES`] (`"safety"`), or for example `"my_package.evals:support_suite"`: a function that gives
            a [`~rlhf_ext.evaluation.suite.Suite`].
        **settings:
            Arguments of the function.

    Returns:
        [`~rlhf_ext.evaluation.suite.Suite`]: checked.

    Raises:
        ValueError: If there is no such suite (those there are, are named), or it is not sound.
        ImportError: If the module, or something that it needs, is not there.
        TypeError: If what the function gives is no suite.
    """
    _check_name(name)
    module, function = SUITES[name] if name in SUITES else name.split(":", 1)
    made = getattr(importlib.import_module(module), function, None)
    if made is None:
        raise ValueError(f"There is no {function!r} in {module!r} to make the suite {name!r} of.")
    suite = made(**settings)
    check_suite(suite)
    return suite


def load_suites(names: str, settings: Mapping[str, Mapping[str, Any]] | None = None) -> list[Suite]:
    """Suites by names with commas between them.

    Args:
        names (`str`):
            As for [`load_suite`]: `"safety,my_package.evals:support_suite"`.
        settings (`dict`, *optional*):
            Arguments for some of them, by name: `{"safety": {"samples": 4}}`.

    Returns:
        `list[Suite]`: in their order.

    Raises:
        ValueError: If there is no name, one comes twice, two suites have the same name, or as [`load_suite`].
    """
    asked = [name.strip() for name in names.split(",") if name.strip()]
    if not asked:
        raise ValueError(f"No suite is named in {names!r}; there are {', '.join(SUITES)}.")
    if repeated := [name for name in asked if asked.count(name) > 1]:
        raise ValueError(f"The suite {repeated[0]!r} is named more than once.")
    # All names before any suite is made: making one may take a while.
    for name in asked:
        _check_name(name)
    suites = [load_suite(name, **(settings or {}).get(name, {})) for name in asked]
    own = [suite.name for suite in suites]
    if repeated := [name for name in own if own.count(name) > 1]:
        raise ValueError(f"Two of the suites are called {repeated[0]!r}: their figures would have the same names.")
    return suites


def _check_name(name: str) -> None:
    if name not in SUITES and ":" not in name:
        raise ValueError(
            f"There is no suite {name!r}; there are {', '.join(SUITES)}, and your own as module:function."
        )
