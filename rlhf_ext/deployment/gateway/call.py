"""One request on its way through the gateway, and what is kept of it."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass, field, replace
from typing import Any

from ...types import Prompt
from .backend import Asked
from .bodies import Kind
from .errors import ApiError
from .observing import Served
from .recording import Unhashed
from .routing import Route
from .transcript import Transcript


def new_id(kind: Kind) -> str:
    """An id that nobody guesses."""
    if not _RANDOM:
        # Many at a time: each call of the system takes as long as all else that is done to read a request.
        many = secrets.token_hex(16 * 256)
        _RANDOM.extend(many[start : start + 32] for start in range(0, len(many), 32))
    return f"{'chatcmpl' if kind == 'chat' else 'cmpl'}-{_RANDOM.pop()}"


_RANDOM: list[str] = []
if hasattr(os, "register_at_fork"):  # a child with the same ones would give them again
    os.register_at_fork(after_in_child=_RANDOM.clear)


@dataclass(slots=True)
class Call:
    """A request that has been read and knows where to go.

    Args:
        id (`str`), kind (`str`), body (`dict`), raw (`bytes`, *optional*): The request, and how it came.
        route ([`Route`]): Where it goes.
        key (`str`, *optional*), user (`str`, *optional*): Who asks.
        transcript ([`Transcript`]): What is answered.
        shadow_of (`str`, *optional*): Of a copy, the request it is a copy of.
    """

    id: str
    kind: Kind
    body: dict[str, Any]
    raw: bytes | None
    route: Route
    key: str | None
    user: str | None
    transcript: Transcript
    shadow_of: str | None = None
    status: int = 500
    error: str | None = None
    hits: list[Any] = field(default_factory=list)
    created: float = field(default_factory=time.time)
    begun: float = field(default_factory=time.monotonic)

    @property
    def stream(self) -> bool:
        """Whether the answer is streamed."""
        return bool(self.body.get("stream"))

    @property
    def wants_usage(self) -> bool:
        """Whether the client asked for the token counts of a stream."""
        return bool((self.body.get("stream_options") or {}).get("include_usage"))

    @property
    def model(self) -> str:
        """What was asked for."""
        return str(self.body["model"])

    @property
    def prompt(self) -> Any:
        """Messages, or a prompt."""
        return self.body["messages" if self.kind == "chat" else "prompt"]

    @property
    def shown_prompt(self) -> Prompt:
        """The same for observers; of several the first. Tokens are not shown."""
        return self.prompt_of(0)

    @property
    def choices(self) -> int:
        """How many are asked for: `n` for each prompt."""
        return (self.body.get("n") or 1) * len(self._prompts)

    def prompt_of(self, choice: int) -> Prompt:
        """What a choice answers, for filters; tokens are not shown."""
        prompts = self._prompts
        prompt = prompts[min(choice // (self.body.get("n") or 1), len(prompts) - 1)]
        return list(prompt) if self.kind == "chat" else prompt if isinstance(prompt, str) else ""

    @property
    def _prompts(self) -> list[Any]:
        several = self.kind == "completion" and isinstance(self.prompt, list) and self.prompt
        return self.prompt if several and not isinstance(self.prompt[0], int) else [self.prompt]

    def asked(self) -> Asked:
        """What the backend is asked."""
        if self.route.model is None or self.route.model == self.model:
            return Asked(self.kind, self.body, self.id, self.raw, self.route.model)
        return Asked(self.kind, {**self.body, "model": self.route.model}, self.id, model=self.route.model)

    def changed(self, prompt: Any) -> None:
        """Asks for something else than the client did, from here on."""
        self.body = {**self.body, "messages" if self.kind == "chat" else "prompt": prompt}
        self.raw = None

    def copy(self, route: Route) -> Call:
        """A copy for somebody else, who answers at once."""
        body = {name: value for name, value in self.body.items() if name not in ("stream", "stream_options")}
        new = replace(self, id=new_id(self.kind), body=body, raw=None, route=route, shadow_of=self.id)
        new.transcript = Transcript(route.backend.name, keep_text=self.transcript.keep_text)
        new.created, new.begun, new.hits = time.time(), time.monotonic(), []
        return new

    def failed(self, error: ApiError) -> None:
        """There was an error instead of an answer, or in its middle."""
        self.status, self.error = error.status, error.code or error.type

    def row(self) -> Unhashed:
        """For the store."""
        usage = self.transcript.usage or {}
        fields = {
            "id": self.id,
            "created": self.created,
            "kind": self.kind,
            "model": _short(self.model, 256),
            "status": self.status,
            "seconds": time.monotonic() - self.begun,
            "experiment": self.route.experiment,
            "variant": self.route.variant,
            "why": self.route.why,
            "shadow_of": self.shadow_of,
            "key": self.key,
            "error": _short(self.error, 64),
            "finish_reason": _short(self.transcript.finish_reasons.get(0), 32),
            "ttft": self._ttft,
            "prompt_tokens": _count(usage.get("prompt_tokens")),
            "completion_tokens": _count(usage.get("completion_tokens")),
            "filter_hits": [_plain(hit) for hit in self.hits] or None,
        }
        return Unhashed(fields, self.prompt, self.user, self.transcript.texts)

    def served(self, user_hash: str | None) -> Served:
        """For whoever observes."""
        fields = self.row().fields
        texts = self.transcript.texts
        shown = {name: fields[name] for name in ("id", "model", "status", "seconds", "experiment", "variant", "ttft")}
        shown |= {
            name: fields[name]
            for name in ("prompt_tokens", "completion_tokens", "finish_reason", "error", "shadow_of", "why")
        }
        return Served(
            **shown,
            time=self.created,
            backend=self.route.backend.name,
            stream=self.stream,
            prompt=self.shown_prompt,
            text=texts[0] if texts else None,
            filter_hits=tuple(self.hits),
            user_hash=user_hash,
        )

    @property
    def _ttft(self) -> float | None:
        return self.transcript.first - self.begun if self.stream and self.transcript.first else None


def _short(text: str | None, length: int) -> str | None:
    """What fits into a column of every database."""
    return None if text is None else text.encode("utf-8", "replace").decode().replace("\0", "")[:length]


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**31 else None


def _plain(hit: Any) -> dict[str, Any]:
    return {"filter": hit.filter, "action": hit.action, "label": hit.label, "score": hit.score}
