"""Filters on a stream: text is held back until it is sure that nothing forbidden is in it, and not a character longer."""

from __future__ import annotations

import codecs
import re
from dataclasses import replace

from ...types import Prompt
from .filter_set import FilterSet
from .scanning import Region, Scanner, merged
from .scoring import Filter
from .verdict import Hit

_HALF = re.compile("[\ud800-\udfff]")
_FORGET = 4096


class StreamFilter:
    """One answer, filtered while it comes.

    What leaves does not hang on where the chunks end: all that has left is what would have left had the text come as one. A span is
    found however it is cut, between the bytes or surrogates of one character or between a letter and its mark. A character leaves as
    soon as no forbidden span can begin at it or before it, and each scoring filter has passed the passage that it is in; of a text in
    which nothing is found every character leaves, as it came (bytes and halves of characters that no text can hold leave as U+FFFD).

    Args:
        filters ([`FilterSet`]):
            Those on the output are asked.
        prompt (`str` or `list[Message]`, *optional*):
            What the answer is to.

    Example:
    ```python
    >>> from rlhf_ext.deployment.filters import FilterSet, SpanFilter, StreamFilter, words

    >>> stream = StreamFilter(FilterSet([SpanFilter("codename", words(["blue heron"], "codename"))]))
    >>> [stream.push(chunk) for chunk in ["It is ", "bl", "ack. It is b", "lue he", "ron."]], stream.finish()
    (['It is', ' ', 'black. It is ', '', ''], '[codename].')

    ```
    """

    def __init__(self, filters: FilterSet, prompt: Prompt = ""):
        self.filters, self.prompt = filters, prompt
        self.blocked: Hit | None = None
        """What ended the answer: a hit that blocks or replaces. Nothing leaves after it."""
        self.hits: list[Hit] = []
        self._scanner = Scanner(filters.spans("output"))
        self._scored = {one.name: 0 for one in filters.scores("output")}  # up to where each has passed the text
        self._guards = [one.name for one in filters.scores("output") if one.action != "flag"]
        self._failed: dict[str, Hit] = {}
        self._regions: list[Region] = []
        self._text, self._base, self._left = "", 0, 0  # the text from `_base` on; up to `_left` it has left
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._half, self._ended = "", False

    @property
    def held(self) -> int:
        """Characters that have come and not left."""
        return self._base + len(self._text) + len(self._half) - self._left

    def push(self, chunk: str | bytes) -> str:
        """Takes a chunk, and gives what may leave now: often nothing, sometimes more than the chunk. Empty once `blocked`.

        Raises:
            ValueError: If the stream has been finished.
        """
        if self._ended:
            raise ValueError("The stream has been finished; a new answer needs a new StreamFilter.")
        return self._take(self._characters(chunk))

    def finish(self) -> str:
        """What may leave at the end of the answer."""
        if self._ended:
            return ""
        self._ended = True
        rest = self._half + self._bytes.decode(b"", final=True)
        self._half = ""
        return self._take(_HALF.sub("\ufffd", rest))

    def shut(self, because: str) -> None:
        """Blocks what has not left, where a filter could not say in time: `because` is such as `"timed out"`."""
        self._end(Hit("filters", "block", because, self._left))

    def _characters(self, chunk: str | bytes) -> str:
        """The chunk as whole characters; a first half waits for its second."""
        text = self._half + (self._bytes.decode(chunk) if isinstance(chunk, bytes) else chunk)
        self._half = ""
        if not _HALF.search(text):
            return text
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _take(self, text: str) -> str:
        if self.blocked is not None:
            return ""
        self._text += text
        regions, safe = self._scanner.add(text, self._ended)
        self._regions += regions
        self.hits += [region.hit for region in regions if region.hit.action == "flag"]
        for one in self.filters.scores("output"):
            if one.name not in self._failed:
                self._score(one)
        return self._release(min([safe, *(self._scored[name] for name in self._guards)]))

    def _score(self, one: Filter) -> None:
        """Asks a scoring filter about the passages that are whole by now."""
        start = self._scored[one.name] - self._base
        ends = []
        while (end := one.next_passage(self._text, start, self._ended)) is not None:
            ends.append(end)
            start = end
        found = one.check([self.prompt] * len(ends), [one.passage(self._text, end) for end in ends])
        for end, hit in zip(ends, found, strict=True):
            begin, place = self._scored[one.name], self._base + end
            hit = hit and replace(hit, start=begin, end=place)
            if hit is not None and hit.action != "flag":
                self._failed[one.name] = hit
                return
            self.hits += [hit] if hit else []
            self._scored[one.name] = place

    def _release(self, limit: int) -> str:
        """The text up to `limit`, redacted, or up to what ends it."""
        ends = [(r.start, r.hit, r.replacement) for r in self._regions if r.hit.action in ("block", "replace")]
        said = {one.name: one.replacement for one in self.filters.filters}
        ends += [(self._scored[name], hit, said[name]) for name, hit in self._failed.items()]
        last = min(ends, key=lambda end: end[0], default=None)
        if last is not None and last[0] <= limit:
            text = self._redacted(last[0])
            self._end(last[1])
            return text + (last[2] if last[1].action == "replace" else "")
        text = self._redacted(limit)
        self._forget()
        return text

    def _redacted(self, limit: int) -> str:
        """Lets go of the text up to `limit`, or of less: a span that goes on beyond it leaves as a whole or not at all."""
        parts, waiting = [], []
        for region in merged([region for region in self._regions if region.hit.action == "redact"]):
            if region.end > limit:
                limit = min(limit, max(region.start, self._left))
                waiting.append(region)
                continue
            parts += [self._between(self._left, region.start), region.replacement]
            self._left = region.end
        gone = [region for region in self._regions if region.hit.action == "redact" and region.end <= limit]
        self.hits += [region.hit for region in gone]
        self._regions = [region for region in self._regions if region not in gone and region.hit.action != "flag"]
        parts.append(self._between(self._left, limit))
        self._left = max(self._left, limit)
        return "".join(parts)

    def _between(self, start: int, end: int) -> str:
        return self._text[start - self._base : end - self._base] if end > start else ""

    def _end(self, hit: Hit) -> None:
        if self.blocked is None:
            self.blocked = hit
            place = self._left if hit.start is None else hit.start
            # What was seen behind the end is no part of the answer.
            self.hits = [one for one in self.hits if one.start is None or one.start < place] + [hit]
            self._text, self._base, self._half, self._regions = "", self._left, "", []

    def _forget(self) -> None:
        """Lets go of text that has left and that no passage is scored with."""
        keep = [self._left]
        for one in self.filters.scores("output"):
            keep.append(0 if one.window is None else self._scored[one.name] - 4 * one.window)
        done = min(keep) - self._base
        if done >= _FORGET:
            self._text, self._base = self._text[done:], self._base + done
