"""The safety suites as one: every prompt answered once, and all figures over the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...types import RewardFunction
from ..suite import Case, Column, Suite, check_suite, version_of
from .bias import BiasSuite
from .jailbreak_suite import JailbreakSuite
from .jailbreaks import JAILBREAKS, Jailbreak
from .own_prompts import balanced_sample, harmful_prompts, harmless_prompts
from .privacy import PrivacySuite
from .refusing import HarmfulSuite, OverRefusalSuite
from .toxicity import ToxicitySuite


class CombinedSuite:
    """Several suites as one, which share samples and sampling; a case that is in two of them is answered once.

    Args:
        name (`str`):
            The suite's name.
        parts (`Sequence[Suite]`):
            Suites with the same `samples` and `sampling`.

    Raises:
        ValueError: If the parts differ in samples or sampling, two have a figure of the same name, or different cases of the
            same id.
    """

    def __init__(self, name: str, parts: Sequence[Suite]):
        if not parts:
            raise ValueError("A combined suite needs at least one part.")
        self.name, self.parts = name, list(parts)
        self.samples, self.sampling = parts[0].samples, dict(parts[0].sampling)
        for part in parts:
            if (part.samples, part.sampling) != (self.samples, self.sampling):
                raise ValueError(f"The suites {parts[0].name!r} and {part.name!r} differ in samples or sampling.")
        self.figures: Sequence[str] = tuple(figure for part in parts for figure in part.figures)
        if repeated := [figure for figure in self.figures if list(self.figures).count(figure) > 1]:
            raise ValueError(f"Two parts of the suite {name!r} have a figure called {repeated[0]!r}.")
        cases: dict[str, Case] = {}
        for case in (case for part in parts for case in part.cases):
            if cases.setdefault(case.id, case) != case:
                raise ValueError(f"Two parts of the suite {name!r} have different cases with the id {case.id!r}.")
        self.cases = list(cases.values())
        self.version = version_of([], parts=[part.version for part in parts])
        check_suite(self)

    def measure(self, cases: list[Case], answers: list[str]) -> list[Column]:
        """The columns of every part, None at cases that are not its own."""
        return [column for part in self.parts for column in _measured(part, cases, answers)]


def safety_suite(
    judge: RewardFunction | None = None,
    toxicity: RewardFunction | None = None,
    samples: int = 1,
    sampling: Mapping[str, Any] | None = None,
    jailbreaks: Sequence[Jailbreak] = JAILBREAKS,
    jailbreaks_per_category: int | None = 3,
    scorers: Mapping[str, RewardFunction] | None = None,
    system_prompts: bool = True,
) -> CombinedSuite:
    """The project's own safety suite: harmful and harmless prompts, jailbreaks, planted secrets, swapped groups, toxicity.

    Args:
        judge (`RewardFunction`, *optional*):
            How far an answer helps with harm, in [0, 1]: [`StrongReject`]. Without one, compliance is told by patterns
            alone, and nonsense counts as compliance.
        toxicity (`RewardFunction`, *optional*):
            The probability that an answer is toxic: [`Toxicity`]. Without one, toxicity is not measured.
        samples (`int`, *optional*, defaults to `1`), sampling (`dict`, *optional*):
            Answers a case, and how they are sampled, over the defaults: greedy for one, temperature 1 for several, up to
            256 tokens.
        jailbreaks (`Sequence[Jailbreak]`, *optional*):
            Variants of harmful prompts; [`JAILBREAKS`] by default. Leave many-shot out for a model that reads less than about
            1,000 tokens: its prompts would fail, and "any" not be measured.
        jailbreaks_per_category (`int`, *optional*, defaults to `3`):
            Harmful prompts of each category that are put into all of them; `None` for all prompts.
        scorers (`Mapping[str, RewardFunction]`, *optional*):
            Further scores that are compared between swapped groups: `{"sentiment": VaderSentiment()}`. Toxicity is, where
            it is given.
        system_prompts (`bool`, *optional*, defaults to `True`):
            Whether secrets are planted in system prompts, too; switch it off for chat templates that have none.

    Returns:
        [`CombinedSuite`], called "safety".

    Raises:
        ValueError: As the suites.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.safety import safety_suite
    >>> suite = safety_suite()
    >>> len(suite.cases), suite.figures[:3]
    (1150, ('harmful_complied', 'harmful_refused', 'over_refused'))

    ```
    """
    harmful = harmful_prompts()
    shared: dict[str, Any] = {"samples": samples, "sampling": sampling}
    attacked = harmful if jailbreaks_per_category is None else balanced_sample(harmful, jailbreaks_per_category)
    scorers = {**({"toxicity": toxicity} if toxicity is not None else {}), **(scorers or {})}
    parts: list[Suite] = [
        HarmfulSuite(harmful, judge, **shared),
        OverRefusalSuite(**shared),
        JailbreakSuite(attacked, jailbreaks, judge, **shared),
        PrivacySuite(places=("system", "context") if system_prompts else ("context",), **shared),
        BiasSuite(scorers=scorers, **shared),
    ]
    if toxicity is not None:
        parts.append(ToxicitySuite(toxicity, [*harmful, *harmless_prompts()], **shared))
    return CombinedSuite("safety", parts)


def _measured(part: Suite, cases: list[Case], answers: list[str]) -> list[Column]:
    own = {case.id for case in part.cases}
    rows = [row for row, case in enumerate(cases) if case.id in own]
    columns = part.measure([cases[row] for row in rows], [answers[row] for row in rows])
    ids = [case.id for case in cases]
    places = {"answer": rows, "case": [place for place, id in enumerate(dict.fromkeys(ids)) if id in own]}
    lengths = {"answer": len(ids), "case": len(set(ids))}
    return [
        replace(column, values=_spread(column.values, places[column.per], lengths[column.per])) for column in columns
    ]


def _spread(values: list[float | None], places: list[int], length: int) -> list[float | None]:
    found = dict(zip(places, values, strict=True))
    return [found.get(place) for place in range(length)]
