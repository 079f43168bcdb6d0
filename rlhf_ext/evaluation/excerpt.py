"""A part of a suite, for a first look or a quick check."""

from __future__ import annotations

from typing import Any

from .suite import Case, Column, Suite, version_of


class Excerpt:
    """Some cases of a suite, spread over it, for a first look: its figures are those of the suite with wider intervals.

    A figure that needs several cases together (any of a prompt's jailbreaks) is not measured where one of them is left out.

    Args:
        suite (`Suite`):
            The whole.
        count (`int`):
            Cases that are kept.
    """

    def __init__(self, suite: Suite, count: int):
        self.whole, self.count = suite, count
        self.name, self.samples, self.sampling, self.figures = suite.name, suite.samples, suite.sampling, suite.figures
        self.cases = [suite.cases[index * len(suite.cases) // count] for index in range(count)]
        self.version = version_of(self.cases, of=suite.version)

    def of(self, generator: Any) -> Excerpt:
        """The same for a certain model, see [`~rlhf_ext.evaluation.suite.Suite`]."""
        return Excerpt(self.whole.of(generator), self.count) if hasattr(self.whole, "of") else self

    def measure(self, cases: list[Case], answers: list[str]) -> list[Column]:
        """The columns of the whole suite, of these cases."""
        return self.whole.measure(cases, answers)


def excerpt_of(suite: Suite, most: int | None) -> Suite:
    """A suite with `most` cases at most; as it is where it has no more, or `most` is None.

    Raises:
        ValueError: If `most` is not a positive whole number.
    """
    if most is None:
        return suite
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ValueError(f"`max_cases` must be a positive whole number, got {most!r}.")
    return Excerpt(suite, most) if most < len(suite.cases) else suite
