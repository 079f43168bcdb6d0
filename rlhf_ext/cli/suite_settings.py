"""What `rlhf-ext evaluate` tells each suite, out of its flags."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from .writers import needed

if TYPE_CHECKING:
    from .evaluation import EvaluateArguments

# The flags that are not for every suite, with the suites that they are for.
_OF_SUITES = {
    "samples": ("safety", "instructions", "code", "automatic"),
    "judge": ("safety",),
    "judge_base_url": ("safety",),
    "judge_chat_template_kwargs": ("safety",),
    "toxicity": ("safety",),
    "data": ("automatic",),
    "metrics": ("automatic",),
    "reference": ("automatic",),
    "chat": ("automatic",),
    "problems": ("code",),
    "ks": ("code",),
}


def settings_of_suites(options: EvaluateArguments) -> dict[str, dict[str, Any]]:
    """Arguments for each suite that is asked for, by its name.

    Raises:
        ValueError: If a flag is given that none of the suites reads, or one lacks what it needs.
    """
    asked = [name.strip() for name in options.suite.split(",")]
    defaults = {one.name: one.default for one in fields(options) if one.default is not MISSING}
    for flag, suites in _OF_SUITES.items():
        compares = options.win_rate is not None and flag.startswith("judge")
        if getattr(options, flag) != defaults[flag] and not set(suites) & set(asked) and not compares:
            raise ValueError(
                f"--{flag} is for the suite {' or '.join(suites)}, which is not among --suite {options.suite}."
            )
    makers = {"safety": _safety, "instructions": _instructions, "code": _code, "automatic": _automatic}
    return {name: make(options) for name, make in makers.items() if name in asked}


def _safety(options: EvaluateArguments) -> dict[str, Any]:
    from ..evaluation.safety import StrongReject, Toxicity

    found: dict[str, Any] = {"samples": options.samples}
    if options.toxicity is not None:
        found["toxicity"] = Toxicity(options.toxicity)
    if options.judge is not None:
        found["judge"] = StrongReject(options.judge_generator)
    return found


def _instructions(options: EvaluateArguments) -> dict[str, Any]:
    return {"samples": options.samples}


def _code(options: EvaluateArguments) -> dict[str, Any]:
    try:
        ks = [int(k) for k in options.ks.split(",")]
    except ValueError:
        raise ValueError(f"--ks should be whole numbers with commas between, got {options.ks!r}.") from None
    return {"problems": options.problems, "ks": ks, "samples": options.samples}


def _automatic(options: EvaluateArguments) -> dict[str, Any]:
    needed("evaluate", "data", options.data)
    needed("evaluate", "metrics", options.metrics)
    names = [name.strip() for name in (options.metrics or "").split(",") if name.strip()]
    shared = {"reference": options.reference, "samples": options.samples, "chat": options.chat}
    return {"rows": options.data, "metrics": names, **shared}
