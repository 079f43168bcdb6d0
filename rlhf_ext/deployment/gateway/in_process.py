"""A model in the gateway's own process, with LoRA adapters on it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from ...generation import PromptTooLong
from ...generation.engine import BatchEngine, Job, Written
from ...generation.loading import load_language_model
from .asked_locally import options_of, prompts_of
from .backend import Asked
from .errors import ApiError, broken, invalid, timed_out, unavailable
from .events import DONE
from .gate import Gate
from .settings import LocalSettings


class InProcess:
    """Answers with a [`~rlhf_ext.generation.engine.BatchEngine`].

    What it cannot do (tools, probabilities, response formats, penalties) it refuses by name, rather than to ignore it.

    Args:
        name (`str`): For errors and metrics.
        settings ([`LocalSettings`]): The model, and its limits.
    """

    def __init__(self, name: str, settings: LocalSettings):
        self.name, self.settings = name, settings
        self.gate = Gate(settings.max_batch, settings.max_waiting, settings.wait_seconds)
        self.engine: BatchEngine | None = None

    async def start(self) -> None:
        """Loads the model.

        Raises:
            FileNotFoundError: If there is none.
        """
        self.engine = await asyncio.to_thread(load_engine, self.settings)

    async def close(self) -> None:
        """Lets go of it."""
        if self.engine is not None:
            await asyncio.to_thread(self.engine.close)

    async def ready(self) -> bool:
        """Whether it is loaded."""
        return self.engine is not None

    async def models(self) -> list[dict[str, Any]]:
        """The base and its adapters; a gateway's `models` say what clients see of them."""
        return [
            {"id": name, "object": "model", "created": 0, "owned_by": "rlhf_ext"} for name in self.settings.adapters
        ]

    async def complete(self, asked: Asked) -> bytes:
        """An answer as JSON."""
        answers = _Answers(self, asked)
        try:
            async for _ in answers.parts():
                pass
        finally:
            answers.cancel()
        return json.dumps(answers.whole()).encode()

    async def stream(self, asked: Asked) -> AsyncIterator[list[bytes]]:
        """The data of events."""
        answers = _Answers(self, asked)
        try:
            async for parts in answers.parts():
                if parts:
                    yield [json.dumps(part).encode() for part in parts]
            last = [json.dumps(answers.usage_part()).encode()] if answers.wants_usage else []
            yield [*last, DONE]
        finally:
            answers.cancel()


class _Answers:
    """The choices of one request."""

    def __init__(self, backend: InProcess, asked: Asked):
        if backend.engine is None:
            raise unavailable(backend.name)
        self._backend, self._engine, self._asked = backend, backend.engine, asked
        self._chat = asked.kind == "chat"
        self.wants_usage = bool((asked.body.get("stream_options") or {}).get("include_usage"))
        self._created = int(time.time())
        options, n = options_of(asked.body, backend.settings.max_batch)
        self._prompts = [self._ids(prompt) for prompt in prompts_of(asked.kind, asked.body)]
        self._events: asyncio.Queue[tuple[int, Written]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._texts = [""] * (n * len(self._prompts))
        self._reasons: dict[int, str] = {}
        self._tokens = [0] * len(self._texts)
        self._jobs: list[Job] = []
        try:
            for index in range(len(self._texts)):
                self._jobs.append(self._submit(index, self._prompts[index // n], dict(options)))
        except ApiError:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Frees the places of what is still being written."""
        for job in self._jobs:
            job.cancel()

    async def parts(self) -> AsyncIterator[list[dict[str, Any]]]:
        """The parts of a stream, as many at a time as have come, until all choices have ended.

        Raises:
            ApiError: If it takes too long, or the engine fails.
        """
        yield [self._part(index, "", None, first=True) for index in range(len(self._texts)) if self._chat]
        try:
            async with asyncio.timeout(self._backend.settings.total_seconds):
                while len(self._reasons) < len(self._texts):
                    found = [await self._events.get()]
                    while not self._events.empty():
                        found.append(self._events.get_nowait())
                    yield [part for index, written in found for part in self._taken(index, written)]
        except TimeoutError:
            raise timed_out(self._backend.name, "did not finish its answer in time") from None

    def whole(self) -> dict[str, Any]:
        """The answer, when all choices have ended."""
        kind = "chat.completion" if self._chat else "text_completion"
        choices = []
        for index, text in enumerate(self._texts):
            said: dict[str, Any] = (
                {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
            )
            choices.append({"index": index, **said, "finish_reason": self._reasons[index], "logprobs": None})
        return {**self._shown(kind), "choices": choices, "usage": self._usage()}

    def usage_part(self) -> dict[str, Any]:
        """The part of a stream with the token counts."""
        return {**self._shown(self._part_kind), "choices": [], "usage": self._usage()}

    @property
    def _part_kind(self) -> str:
        return "chat.completion.chunk" if self._chat else "text_completion"

    def _ids(self, prompt: Any) -> list[int]:
        if isinstance(prompt, list) and all(isinstance(token, int) for token in prompt):
            size = len(self._engine.tokenizer)
            if not prompt or not all(0 <= token < size for token in prompt):
                raise invalid(f"Invalid 'prompt': tokens should be from 0 to {size - 1}.", "prompt", "invalid_value")
            return prompt
        from jinja2 import TemplateError  # what templates raise that take no system message, or want turns in order

        reader = self._engine.reader
        try:
            return reader.ids(prompt) or [reader.start(0)]
        except (ValueError, TemplateError) as error:
            raise invalid(f"Invalid '{'messages' if self._chat else 'prompt'}': {error}") from None

    def _submit(self, index: int, ids: list[int], options: dict[str, Any]) -> Job:
        window = self._engine.reader.window
        if options["max_new_tokens"] is None:
            rest = self._backend.settings.max_new_tokens if window is None else window - len(ids) + 1
            options["max_new_tokens"] = max(1, min(rest, self._backend.settings.max_new_tokens))
        if options["seed"] is not None:
            options["seed"] += index

        def tell(written: Written) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._events.put_nowait, (index, written))

        try:
            return self._engine.submit(ids, options, tell, self._asked.model)
        except PromptTooLong:
            length = len(ids) + options["max_new_tokens"]
            message = (
                f"This model's maximum context length is {window} tokens. However, you requested {length} tokens ({len(ids)} in "
                f"the prompt, {options['max_new_tokens']} for the completion)."
            )
            raise invalid(message, "messages" if self._chat else "prompt", "context_length_exceeded") from None

    def _taken(self, index: int, written: Written) -> list[dict[str, Any]]:
        if written.finish_reason == "error":
            raise broken(self._backend.name, "failed while it wrote")
        self._texts[index] += written.text
        self._tokens[index] = written.tokens
        if written.finish_reason is not None:
            self._reasons[index] = written.finish_reason
        if not written.text and written.finish_reason is None:
            return []
        return [self._part(index, written.text, written.finish_reason)]

    def _part(self, index: int, text: str, reason: str | None, first: bool = False) -> dict[str, Any]:
        said: dict[str, Any] = {"text": text}
        if self._chat:
            delta: dict[str, Any] = {"role": "assistant"} if first else {}
            said = {"delta": {**delta, "content": text} if text or first else delta}
        choice = {"index": index, **said, "finish_reason": reason, "logprobs": None}
        return {**self._shown(self._part_kind), "choices": [choice]}

    def _shown(self, kind: str) -> dict[str, Any]:
        return {"id": self._asked.id, "object": kind, "created": self._created, "model": self._asked.body["model"]}

    def _usage(self) -> dict[str, int]:
        read, written = sum(map(len, self._prompts)), sum(self._tokens)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def load_engine(settings: LocalSettings) -> BatchEngine:
    """Loads a model and its adapters.

    Raises:
        FileNotFoundError: If there is no such model or adapter.
    """
    trust = {"trust_remote_code": True} if settings.trust_remote_code else {}
    base, tokenizer = load_language_model(settings.path, dtype=settings.dtype, **trust)
    model: Any = base
    for name, folder in settings.adapters.items():
        try:
            model = _with_adapter(model, name, folder)
        except OSError as error:
            raise FileNotFoundError(f"No adapter {name!r} in {folder!r}: {str(error).splitlines()[0]}") from error
    told = settings.chat_template_kwargs
    return BatchEngine(model.to(base.device), tokenizer, settings.max_batch, settings.gather_seconds, told)


def _with_adapter(model: Any, name: str, folder: str) -> Any:
    from peft import PeftModel

    if isinstance(model, PeftModel):
        model.load_adapter(folder, adapter_name=name)
        return model
    return PeftModel.from_pretrained(model, folder, adapter_name=name)
