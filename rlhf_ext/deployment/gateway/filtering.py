"""Filters on requests and answers: in threads, within a time; what they could not say in time does not pass."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ...types import Prompt
from ..filters import Filter, FilterSet, Hit, Rule, SpanFilter, StreamFilter, Verdict, personal_data, words
from .bodies import Kind
from .errors import ApiError
from .settings import FilterSettings

T = TypeVar("T")
_THREADS = 8
MESSAGE_FIELDS = (
    "role",
    "content",
    "refusal",
    "reasoning_content",
    "reasoning",
    "tool_calls",
    "function_call",
    "name",
)
"""What leaves of a message that is filtered: what filters read, and what has no text."""


class Replaced(Exception):
    """A filter on the input has the answer.

    Args:
        text (`str`): It.
    """

    def __init__(self, text: str):
        super().__init__(text)
        self.text = text


class Filtering:
    """Asks filters.

    Args:
        filters ([`~rlhf_ext.deployment.filters.FilterSet`]): Which.
        seconds (`float`): How long they may take for a text; then it is blocked. A thread that hangs goes on hanging: with all of them
            hung, everything is blocked.
    """

    def __init__(self, filters: FilterSet, seconds: float):
        self.filters, self.seconds = filters, seconds
        self.on_input = any("input" in one.on for one in filters.filters)
        self.on_output = any("output" in one.on for one in filters.filters)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="filter")

    async def input(self, prompt: Any, kind: Kind) -> tuple[Any, tuple[Hit, ...]]:
        """What may be asked, and what was found.

        Raises:
            ApiError: 400 with the code `content_filter`, if it may not.
            Replaced: If a filter answers.
        """
        texts = [prompt] if kind == "chat" or isinstance(prompt, str) else prompt
        if not all(isinstance(text, str | list) and (isinstance(text, str) or kind == "chat") for text in texts):
            raise _refused((Hit("filters", "block", "tokens are no text"),), kind)
        found = [await self._checked(text, "input", "") for text in texts]
        hits = tuple(hit for verdict in found for hit in verdict.hits)
        if any(verdict.action == "block" for verdict in found):
            raise _refused(hits, kind)
        for verdict in found:
            if verdict.action == "replace":
                raise Replaced(verdict.text if isinstance(verdict.text, str) else verdict.text[0]["content"])
        checked = [verdict.text for verdict in found]
        return (checked[0] if kind == "chat" or isinstance(prompt, str) else checked), hits

    async def answer(
        self, answer: dict[str, Any], prompt_of: Callable[[int], Prompt]
    ) -> tuple[dict[str, Any], tuple[Hit, ...]]:
        """A whole answer as it may leave, and what was found; `prompt_of` gives what a choice answers."""
        choices: list[dict[str, Any]] = []
        hits: list[Hit] = []
        for choice in answer["choices"]:
            chat = isinstance(choice.get("message"), dict)
            given: Any = [_known(choice["message"])] if chat else str(choice.get("text") or "")
            verdict = await self._checked(given, "output", prompt_of(choice.get("index") or 0))
            hits += verdict.hits
            kept = {name: choice[name] for name in ("index", "finish_reason") if name in choice}
            if verdict.action in ("block", "replace"):
                kept["finish_reason"] = "content_filter"
            said: Any = verdict.text
            if chat:
                kept["message"] = said[0] if said else {"role": "assistant", "content": ""}
            else:
                kept["text"] = said
            # Probabilities spell the text out; of one that has been changed they would tell what it was.
            kept["logprobs"] = choice.get("logprobs") if verdict.action in ("allow", "flag") else None
            choices.append(kept)
        return {**answer, "choices": choices}, tuple(hits)

    async def within(self, work: Callable[[], T]) -> T:
        """Does work in a thread.

        Raises:
            TimeoutError: If it takes too long.
        """
        done = asyncio.get_running_loop().run_in_executor(self._threads, work)
        async with asyncio.timeout(self.seconds):
            return await done

    def close(self) -> None:
        """Waits for no thread."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _checked(self, text: Any, side: Any, prompt: Prompt) -> Verdict:
        try:
            return await self.within(lambda: self.filters.check(text, side, prompt))
        except TimeoutError:
            return self.filters.closed("timed out", text)


class FilteredStream:
    """The parts of one stream as they may leave.

    Each text of each choice (its content, its reasoning, the arguments of each tool call) is a stream of its own to the filters.

    Args:
        filtering ([`Filtering`]): Who asks.
        prompt_of (`Callable`): Gives what a choice answers.
        choices (`int`): How many are expected.
    """

    def __init__(self, filtering: Filtering, prompt_of: Callable[[int], Prompt], choices: int):
        self._filtering, self._prompt_of, self._choices = filtering, prompt_of, choices
        self._streams: dict[tuple[Any, ...], StreamFilter] = {}
        self._ended: set[int] = set()
        self.hits: list[Hit] = []

    @property
    def over(self) -> bool:
        """Whether all choices have ended, so that nobody needs to write on."""
        return len(self._ended) >= self._choices

    async def part(self, part: dict[str, Any]) -> dict[str, Any] | None:
        """What of a part may leave; None where that is nothing."""
        choices = []
        for choice in part.get("choices") or []:
            index = choice.get("index") or 0
            if index not in self._ended and (kept := await self._choice(index, choice)) is not None:
                choices.append(kept)
        if not choices and (part.get("choices") or not part.get("usage")):
            return None
        return {**part, "choices": choices}

    async def _choice(self, index: int, choice: dict[str, Any]) -> dict[str, Any] | None:
        texts = _texts(index, choice)
        last = choice.get("finish_reason") is not None
        try:
            left, blocked = await self._filtering.within(lambda: self._push(index, texts, last))
        except TimeoutError:
            self.hits.append(Hit("filters", "block", "timed out"))
            left, blocked = {}, True
        kept = _written(index, choice, left)
        if last or blocked:
            self._ended.add(index)
            self.hits += [hit for path, one in self._streams.items() if path[0] == index for hit in one.hits]
            kept["finish_reason"] = "content_filter" if blocked else choice["finish_reason"]
        return kept if kept["finish_reason"] is not None or _says(kept) else None

    def _push(
        self, index: int, texts: dict[tuple[Any, ...], str], last: bool
    ) -> tuple[dict[tuple[Any, ...], str], bool]:
        """In a thread: what may leave of each text, and whether one of them ends the answer."""
        left = {}
        for path, text in texts.items():
            if path not in self._streams:
                self._streams[path] = StreamFilter(self._filtering.filters, self._prompt_of(path[0]))
            left[path] = self._streams[path].push(text)
        mine = {path: stream for path, stream in self._streams.items() if path[0] == index}
        if last:
            for path, stream in mine.items():
                left[path] = left.get(path, "") + stream.finish()
        return left, any(stream.blocked is not None for stream in mine.values())


def build_filters(settings: list[FilterSettings]) -> FilterSet:
    """Filters as they are written down.

    Raises:
        ValueError: If one is not as it should be, or there is no such reward function; it is named.
    """
    found: list[Filter | SpanFilter] = []
    for index, one in enumerate(settings):
        try:
            found.append(_built(one))
        except (ValueError, TypeError) as error:
            raise ValueError(f"filters[{index}] ({one.name}): {error}") from error
    return FilterSet(found)


def _built(one: FilterSettings) -> Filter | SpanFilter:
    if one.reward is not None:
        importlib.import_module("rlhf_ext.rewards.calling")  # now, not within the time of the first text
        bounds: dict[str, Any] = {"at_least": one.at_least, "at_most": one.at_most, "window": one.window}
        action: Any = one.action
        return Filter(one.name, _reward(one), on=one.sides, action=action, replacement=one.replacement, **bounds)
    if one.at_least is not None or one.at_most is not None:
        raise ValueError("`at_least` and `at_most` are for reward functions; rules find or do not find.")
    if one.words is not None:
        rules = words(one.words)
    elif one.personal is not None:
        rules = personal_data(one.personal)
    else:
        rules = [Rule(label, pattern) for label, pattern in (one.patterns or {}).items()]
    return SpanFilter(one.name, rules, one.sides, one.action, one.replacement)


def _reward(one: FilterSettings) -> Any:
    module, _, name = str(one.reward).partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"`reward` should be module:name of a reward function, got {one.reward!r}: {error}"
        ) from error
    return found if one.arguments is None else found(**one.arguments)


def _refused(hits: tuple[Hit, ...], kind: Kind) -> ApiError:
    message = "The request was blocked by a content filter. Change it, and send it again."
    error = ApiError(400, message, param="messages" if kind == "chat" else "prompt", code="content_filter")
    error.hits = hits  # type: ignore[attr-defined]
    return error


def _known(message: dict[str, Any]) -> dict[str, Any]:
    return {name: message[name] for name in MESSAGE_FIELDS if message.get(name) is not None or name == "content"}


def _texts(index: int, choice: dict[str, Any]) -> dict[tuple[Any, ...], str]:
    """The texts of a choice in a part of a stream, by where they are."""
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return {(index, "text"): choice["text"]} if isinstance(choice.get("text"), str) else {}
    names = ("content", "refusal", "reasoning_content", "reasoning")
    found: dict[tuple[Any, ...], str] = {
        (index, name): delta[name] for name in names if isinstance(delta.get(name), str)
    }
    for call in delta.get("tool_calls") or []:
        for name, text in (call.get("function") or {}).items():
            if name in ("name", "arguments") and isinstance(text, str):
                found[index, "tool_calls", call.get("index") or 0, name] = text
    return found


def _written(index: int, choice: dict[str, Any], left: dict[tuple[Any, ...], str]) -> dict[str, Any]:
    """A choice with the texts that may leave, and nothing else that could hold one."""
    delta = choice.get("delta")
    kept: dict[str, Any] = {"index": index, "finish_reason": None, "logprobs": None}
    if not isinstance(delta, dict):
        return {**kept, "text": left.get((index, "text"), "")}
    new: dict[str, Any] = {"role": delta["role"]} if isinstance(delta.get("role"), str) else {}
    new |= {path[1]: text for path, text in left.items() if len(path) == 2 and (text or "role" in new)}
    called: dict[int, dict[str, Any]] = {}
    for call in delta.get("tool_calls") or []:
        called[call.get("index") or 0] = {name: call[name] for name in ("id", "type") if name in call}
    for path, text in left.items():
        if path[1] == "tool_calls" and (text or path[2] in called):
            called.setdefault(path[2], {}).setdefault("function", {})[path[3]] = text
    if called:
        new["tool_calls"] = [{"index": number, **one} for number, one in called.items()]
    return {**kept, "delta": new}


def _says(choice: dict[str, Any]) -> bool:
    return bool(choice.get("text") or choice.get("delta"))
