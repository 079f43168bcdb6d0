"""What commands that ask a language model share: where it runs, where its answers are kept, what they may cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..types import template_kwargs


@dataclass(kw_only=True)
class AccessArguments:
    """How language models are reached."""

    api_key_env: str = field(
        default="OPENAI_API_KEY", metadata={"help": "Environment variable with the endpoint's key."}
    )
    max_concurrency: int = field(default=8, metadata={"help": "Requests at the same time."})
    max_wait: float = field(default=600.0, metadata={"help": "Seconds that an endpoint may ask to wait."})
    batch_size: int = field(default=16, metadata={"help": "Prompts a batch of a model on this machine."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Whether the model may bring its own code."})
    chat_template_kwargs: dict | str | None = field(
        default=None,
        metadata={"help": "What the chat template is told, as JSON: '{\"enable_thinking\": false}' for Qwen3."},
    )


@dataclass(kw_only=True)
class WriterArguments(AccessArguments):
    """A language model: on this machine, or behind an endpoint."""

    model: str = field(metadata={"help": "Folder or hub name of the model; with --base_url, its name there."})
    base_url: str | None = field(
        default=None, metadata={"help": "OpenAI-compatible endpoint, such as http://localhost:8000/v1."}
    )


@dataclass(kw_only=True)
class CostArguments:
    """Where answers are kept, and what they may cost."""

    store: str | None = field(
        default=None,
        metadata={"help": "File or PostgreSQL URL for answers, to share. By default a file in output_dir."},
    )
    max_requests: int | None = field(default=None, metadata={"help": "Hard limit on requests, retries included."})
    max_budget: float | None = field(default=None, metadata={"help": "Hard limit on cost, in the prices' unit."})
    input_price: float = field(default=0.0, metadata={"help": "Price of a million tokens read."})
    output_price: float = field(default=0.0, metadata={"help": "Price of a million tokens written."})
    estimate: bool = field(default=False, metadata={"help": "Say what it will take, from 16 questions, and stop."})
    retry_failed: bool = field(default=False, metadata={"help": "Ask again what failed in an earlier run."})


def settings_of(options: Any) -> dict[str, Any]:
    """Store, budget and the rest of [`CostArguments`] as labelers and sampling take them."""
    from ..labelers import Budget

    budget = Budget(options.max_requests, options.max_budget, options.input_price, options.output_price)
    store = options.store or Path(options.output_dir) / "judgements.sqlite"
    return {"store": store, "budget": budget, "retry_failed": options.retry_failed, "progress": True}


def generator_of(options: AccessArguments, model: str, base_url: str | None) -> Any:
    """The generator for a model behind an endpoint, or on this machine and its accelerator."""
    from ..generation import EndpointGenerator, LocalGenerator

    told = template_kwargs(options.chat_template_kwargs)  # refused, where wrong, before anything is loaded
    if base_url is not None:
        access = {name: getattr(options, name) for name in ("api_key_env", "max_concurrency", "max_wait")}
        return EndpointGenerator(base_url, model, **access, chat_template_kwargs=told)
    trust = {"trust_remote_code": True} if options.trust_remote_code else {}
    return LocalGenerator(model, batch_size=options.batch_size, chat_template_kwargs=told, **trust)


def needed(command: str, name: str, value: Any) -> None:
    """Refuses an argument that is not there.

    Raises:
        ValueError: That names it.
    """
    if not value:
        raise ValueError(f"--{name} is needed. See rlhf-ext {command} --help.")
