"""Span filters over a growing text: what is found for good, and what may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .folding import Folded
from .rules import Rule, SpanFilter
from .scoring import Closed
from .verdict import Hit


@dataclass(frozen=True)
class Region:
    """A span of the raw text, and what a filter makes of it."""

    start: int
    end: int
    hit: Hit
    replacement: str = ""
    order: int = 0
    """The place of its rule among all: of two at one place the first counts, whichever was decided first."""


class Scanner:
    """Span filters on one text that comes in pieces; what it finds does not hang on where the pieces end.

    Args:
        filters (`Sequence[SpanFilter]`):
            All look at the same text.
    """

    def __init__(self, filters: Sequence[SpanFilter]):
        self._rules: list[tuple[SpanFilter, Rule]] = [(one, rule) for one in filters for rule in one.rules]
        self._places = [0] * len(self._rules)  # in the folded text, from where each has yet to look
        self._folded = Folded()
        self._length = 0

    def add(self, raw: str, ended: bool = False) -> tuple[list[Region], int]:
        """Takes more text.

        Returns:
            `tuple[list[Region], int]`: what was found, and up to where in the raw text nothing more can be: a span that is not yet
            decided may begin there. Filters that only flag hold nothing back.
        """
        self._length += len(raw)
        if not self._rules:
            return [], self._length
        self._folded.add(raw)
        if ended:
            self._folded.close()
        text, regions, holds = self._folded.text, [], len(self._folded.text)
        for index, (one, rule) in enumerate(self._rules):
            closed = Closed(one.name)
            spans: list[tuple[int, int]] = []
            start = self._places[index]
            with closed:
                spans, self._places[index] = rule.spans(text, start, ended)
            if closed.because and start < len(text):
                regions.append(
                    Region(
                        self._folded.raw_start(start), self._folded.raw_end(len(text)), _closed(one, closed.because)
                    )
                )
                self._places[index] = len(text)
            regions += [self._region(one, rule, span, index) for span in spans]
            if one.action != "flag":
                holds = min(holds, self._places[index])
        safe = self._folded.raw_start(holds)
        self._forget()
        return sorted(regions, key=_in_order), safe

    def _region(self, one: SpanFilter, rule: Rule, span: tuple[int, int], order: int) -> Region:
        start, end = self._folded.raw_start(span[0]), self._folded.raw_end(span[1])
        replacement = f"[{rule.label}]" if one.action == "redact" else one.replacement
        return Region(start, end, Hit(one.name, one.action, rule.label, start, end), replacement, order)

    def _forget(self) -> None:
        """Lets go of what no rule will look at again, but for the one character that lookbehind may see."""
        done = max(0, min(self._places, default=len(self._folded.text)) - 1)
        self._folded.drop(done)
        self._places = [place - done for place in self._places]


def _closed(one: SpanFilter, because: str) -> Hit:
    return Hit(one.name, "flag" if one.action == "flag" else "block", because)


def _in_order(region: Region) -> tuple[int, int]:
    return region.start, region.order


def merged(regions: Sequence[Region]) -> list[Region]:
    """Regions in order; of those that overlap one, with the first's replacement."""
    found: list[Region] = []
    for region in sorted(regions, key=_in_order):
        if found and region.start < found[-1].end:
            last = found[-1]
            found[-1] = Region(last.start, max(last.end, region.end), last.hit, last.replacement, last.order)
        else:
            found.append(region)
    return found
