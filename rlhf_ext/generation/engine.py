"""One model for many at once: requests join the batch that is being written, and leave it when they are done."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.utils import logging

from .batch import Batch
from .reading import PromptReader
from .sampling import check_sampling
from .writing import Writing

logger = logging.get_logger(__name__)
_READ_AT_ONCE = 4096
"""Tokens of new prompts that are read before those who are being written to get their next token."""


@dataclass(frozen=True)
class Written:
    """What has been written to one request.

    Args:
        text (`str`): New text; often empty.
        finish_reason (`str`, *optional*): With the last: `"stop"`, `"length"`, or `"error"`.
        tokens (`int`): Ids written so far.
        error (`str`, *optional*): What went wrong.
    """

    text: str
    finish_reason: str | None
    tokens: int
    error: str | None = None


@dataclass(eq=False)
class Job:
    """One text to be written.

    Args:
        ids (`list[int]`): The prompt.
        options (`dict`): Of [`~rlhf_ext.generation.check_sampling`].
        adapter (`str`, *optional*): LoRA adapter; None is the base.
        tell (`Callable`): Told of what is written, in the engine's thread: it must return at once.
    """

    ids: list[int]
    options: Mapping[str, Any]
    adapter: str | None
    tell: Callable[[Written], None]
    writing: Writing
    ends: set[int]
    generator: torch.Generator
    written: list[int] = field(default_factory=list)
    cancelled: bool = False

    def cancel(self) -> None:
        """Nobody wants it any more: its place is free with the next token."""
        self.cancelled = True


class BatchEngine:
    """Writes with a decoder-only model in a thread of its own.

    Each request has its own sampling, seed, stop strings and LoRA adapter, and does not hang on who else is in the batch: a seed gives
    the same text alone and among others, but for the rounding of other shapes. Models whose cache is not one of keys and values of
    all positions (sliding windows, state spaces) write to one request at a time.

    Args:
        model ([`~transformers.PreTrainedModel`] or [`~peft.PeftModel`]): The language model, in eval mode from here on.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        max_batch (`int`, *optional*, defaults to `16`): Texts that are written at once.
        gather (`float`, *optional*, defaults to `0.005`): Seconds that an idle engine waits for company after a request comes.

    Raises:
        ValueError: If the model is an encoder-decoder, or `max_batch` < 1.

    Example:

    ```python
    >>> from transformers import AutoModelForCausalLM, AutoTokenizer
    >>> from rlhf_ext.generation.engine import BatchEngine
    >>> name = "Qwen/Qwen2.5-0.5B-Instruct"
    >>> engine = BatchEngine(AutoModelForCausalLM.from_pretrained(name), AutoTokenizer.from_pretrained(name))
    >>> job = engine.submit([9707], {"max_new_tokens": 8}, tell=lambda written: None)
    >>> engine.close()
    ```
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        max_batch: int = 16,
        gather: float = 0.005,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ):
        if model.config.is_encoder_decoder:
            raise ValueError(f"{type(model).__name__} is an encoder-decoder; a decoder-only model is needed.")
        if max_batch < 1:
            raise ValueError(f"max_batch should be at least 1, got {max_batch}.")
        self.model, self.tokenizer = model.eval(), tokenizer
        self.reader = PromptReader(model, tokenizer, chat_template_kwargs)
        self.max_batch, self.gather = max_batch, gather
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting: list[Job] = []
        self._jobs: list[Job] = []
        self._batch = Batch(model)
        self._open = True
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        """Texts that are being written."""
        return len(self._jobs)

    def submit(
        self,
        ids: Sequence[int],
        sampling: Mapping[str, Any],
        tell: Callable[[Written], None],
        adapter: str | None = None,
    ) -> Job:
        """Asks for a text.

        Args:
            ids (`list[int]`): The prompt, as [`~rlhf_ext.generation.reading.PromptReader`] reads it; not empty.
            sampling (`dict`): See [`~rlhf_ext.generation.check_sampling`].
            tell (`Callable`): Told of each [`Written`], in the engine's thread.
            adapter (`str`, *optional*): LoRA adapter of the model; None is the base.

        Raises:
            PromptTooLong: If there are not enough positions.
            ValueError, TypeError: If the sampling is not as it should be.
        """
        options = check_sampling(sampling)
        self.reader.check_room(0, len(ids) + options["max_new_tokens"] - 1, strict=True)
        generator = torch.Generator(self.model.device)
        if options["seed"] is None:
            generator.seed()
        else:
            generator.manual_seed(options["seed"])
        writing, ends = Writing(self.tokenizer, options["stop"]), self.reader.ends(options["stop"])
        job = Job(list(ids), options, adapter, tell, writing, ends, generator)
        self._queue.put(job)
        return job

    def close(self) -> None:
        """Ends it; who is being written to gets an error."""
        self._open = False
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while self._open:
            self._receive()
            try:
                with torch.inference_mode():
                    self._step()
            except RuntimeError as error:  # torch's: out of memory, above all
                logger.error(f"The engine dropped {len(self._jobs)} texts: {error}")
                self._drop(f"{type(error).__name__}")
        self._waiting += [job for job in self._drain() if job is not None]
        self._drop("the engine was closed")

    def _receive(self) -> None:
        """Takes what has come; where there is nothing to do, waits for it, and a moment for company."""
        if not self._jobs and not self._waiting:
            first = self._queue.get()
            if first is None:
                return
            self._waiting.append(first)
            until = time.monotonic() + self.gather
            while len(self._waiting) < self.max_batch and (left := until - time.monotonic()) > 0:
                try:
                    job = self._queue.get(timeout=left)
                except queue.Empty:
                    break
                if job is None:
                    return
                self._waiting.append(job)
        self._waiting += [job for job in self._drain() if job is not None]

    def _drain(self) -> list[Job | None]:
        found = []
        while True:
            try:
                found.append(self._queue.get_nowait())
            except queue.Empty:
                return found

    def _step(self) -> None:
        """Lets go of who has left, lets in who waits, and writes a token to each."""
        self._waiting = [job for job in self._waiting if not job.cancelled]
        self._keep([job for job in self._jobs if not job.cancelled])
        if self._jobs:
            logits = self._batch.step([job.written[-1] for job in self._jobs])
            self._write(self._jobs, logits)
        if new := self._admitted():
            self._jobs = [*self._jobs, *new]
            self._write(new, self._batch.read([job.ids for job in new], [job.adapter for job in new]))

    def _admitted(self) -> list[Job]:
        places = self.max_batch if self._batch.joins else 1
        new: list[Job] = []
        while self._waiting and len(self._jobs) + len(new) < places:
            read = sum(len(job.ids) for job in new) + len(self._waiting[0].ids)
            if new and read > _READ_AT_ONCE:
                break
            new.append(self._waiting.pop(0))
        return new

    def _write(self, jobs: Sequence[Job], logits: torch.Tensor) -> None:
        """The next token of each, of logits of shape (jobs, vocabulary)."""
        likeliest = logits.argmax(-1).tolist()
        done: list[Job] = []
        told: list[tuple[Job, Written]] = []
        for row, job in enumerate(jobs):
            greedy = job.options["temperature"] == 0
            token = likeliest[row] if greedy else _draw(logits[row], job.options, job.generator)
            job.written.append(token)
            ended = token in job.ends
            text = "" if ended else job.writing.push(token)
            reason = None
            if ended or job.writing.stopped:
                reason = "stop"
            elif len(job.written) >= job.options["max_new_tokens"]:
                reason = "length"
            if reason is not None:
                text += job.writing.finish()
                reason = "stop" if job.writing.stopped else reason
                done.append(job)
            told.append((job, Written(text, reason, len(job.written))))
        if done:
            self._keep([job for job in self._jobs if job not in done])
        for job, written in told:
            job.tell(written)

    def _keep(self, jobs: list[Job]) -> None:
        if len(jobs) < len(self._jobs):
            self._batch.keep([row for row, job in enumerate(self._jobs) if job in jobs])
            self._jobs = jobs

    def _drop(self, error: str) -> None:
        jobs, self._jobs = [*self._jobs, *(self._waiting if not self._open else [])], []
        self._batch.clear()
        for job in jobs:
            job.tell(Written("", "error", len(job.written), error))


def _draw(logits: torch.Tensor, options: Mapping[str, Any], generator: torch.Generator) -> int:
    """A token, in the order of transformers' own: temperature, top-k, top-p."""
    logits = logits.float() / options["temperature"]
    if options["top_k"]:
        least = logits.topk(min(options["top_k"], len(logits))).values[-1]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if options["top_p"] < 1:
        ordered, index = logits.sort(descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        logits = logits.masked_fill(
            torch.zeros_like(logits, dtype=torch.bool).scatter(0, index, before >= options["top_p"]), -torch.inf
        )
    return int(torch.multinomial(logits.softmax(-1), 1, generator=generator))
