"""What a gateway is told."""

from __future__ import annotations

import os
from dataclasses import field
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from ...types import template_kwargs
from ..monitoring.settings import MonitoringSettings

# Types are not bent to fit: `port: "80"` is an error, and so is a field that there is not.
_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class UpstreamSettings:
    """A model server.

    Args:
        url (`str`): Its OpenAI-compatible API, usually up to and with `/v1`.
        api_key_env (`str`, *optional*): Environment variable with its key.
        max_in_flight (`int`, *optional*, defaults to `1024`), max_waiting (`int`, *optional*, defaults to `1024`),
            wait_seconds (`float`, *optional*, defaults to `10.0`): Requests that are with it at once; those that may wait for that,
            and for how long. Others get 429.
        connect_seconds (`float`, *optional*, defaults to `5.0`): Until there is a connection.
        first_byte_seconds (`float`, *optional*, defaults to `120.0`): Until the answer begins, which without a stream is when it is
            whole.
        idle_seconds (`float`, *optional*, defaults to `60.0`): Between two parts of a stream.
        total_seconds (`float`, *optional*, defaults to `600.0`): For the whole answer.
        ask_usage (`bool`, *optional*, defaults to `True`): Whether to ask for the token counts of streams where the client did not
            (`stream_options`). They are kept from the client then.
        max_answer (`int`, *optional*, defaults to `67_108_864`): Largest answer in bytes.
    """

    url: str
    api_key_env: str | None = None
    max_in_flight: int = 1024
    max_waiting: int = 1024
    wait_seconds: float = 10.0
    connect_seconds: float = 5.0
    first_byte_seconds: float = 120.0
    idle_seconds: float = 60.0
    total_seconds: float = 600.0
    ask_usage: bool = True
    max_answer: int = 64 << 20

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"`url` should start with http:// or https://, got {self.url!r}")
        _positive(self, "max_in_flight", "connect_seconds", "first_byte_seconds", "idle_seconds", "total_seconds")
        _positive(self, "wait_seconds", "max_answer")

    @property
    def api_key(self) -> str | None:
        """The key, from the environment.

        Raises:
            ValueError: If `api_key_env` names a variable that is not set: the model server would refuse every request.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise ValueError(f"`api_key_env` of {self.url}: the environment has no {self.api_key_env}.")
        return key


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LocalSettings:
    """A model in the gateway's own process.

    Args:
        path (`str`): Folder or hub name.
        adapters (`dict[str, str]`, *optional*): Folders of LoRA adapters on it, by the name that targets call them by.
        max_batch (`int`, *optional*, defaults to `16`): Answers that are written at once.
        max_waiting (`int`, *optional*, defaults to `256`), wait_seconds (`float`, *optional*, defaults to `30.0`): Requests that may
            wait for a place, and for how long. Others get 429.
        gather_seconds (`float`, *optional*, defaults to `0.005`): How long an idle model waits for company after a request comes.
        max_new_tokens (`int`, *optional*, defaults to `1024`): Longest answer where the request does not say.
        total_seconds (`float`, *optional*, defaults to `600.0`): For a whole answer.
        dtype (`str`, *optional*, defaults to `"auto"`): Of the weights.
        trust_remote_code (`bool`, *optional*, defaults to `False`): Whether the model may bring its own code.
        chat_template_kwargs (`dict`, *optional*): What the chat template is told beside the messages, such as
            `{enable_thinking: false}`. It is the server's to say: a request that does so is refused.
    """

    path: str
    adapters: dict[str, str] = field(default_factory=dict)
    max_batch: int = 16
    max_waiting: int = 256
    wait_seconds: float = 30.0
    gather_seconds: float = 0.005
    max_new_tokens: int = 1024
    total_seconds: float = 600.0
    dtype: str = "auto"
    trust_remote_code: bool = False
    chat_template_kwargs: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        template_kwargs(self.chat_template_kwargs)
        _positive(self, "max_batch", "wait_seconds", "max_new_tokens", "total_seconds")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Target:
    """Where requests go.

    Args:
        backend (`str`): Name of an upstream or a local model.
        model (`str`, *optional*): What the model is called there; of a local model, one of its `adapters`. By default the name that
            was asked for; of a local model, the base.
    """

    backend: str
    model: str | None = None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FilterSettings:
    """A filter: of rules, or of a reward function. One of `words`, `personal`, `patterns` and `reward` says what it looks for.

    Args:
        name (`str`): In verdicts and metrics.
        words (`list[str]`, *optional*): Words and phrases.
        personal (`list[str]`, *optional*): Kinds of personal data, see [`~rlhf_ext.deployment.filters.personal_data`].
        patterns (`dict[str, str]`, *optional*): Regular expressions by label, see [`~rlhf_ext.deployment.filters.Rule`].
        reward (`str`, *optional*): A reward function, `module:name`; called with `arguments` first where there are any.
        arguments (`dict`, *optional*): What it is made with.
        sides (`list[str]`, *optional*, defaults to `["output"]`): `"input"`, `"output"` or both. (YAML reads a field `on` as "yes".)
        action (`str`, *optional*, defaults to `"block"`): `"flag"`, `"redact"` (of rules), `"replace"` or `"block"`.
        replacement (`str`, *optional*): What is said instead.
        at_least (`float`, *optional*), at_most (`float`, *optional*), window (`int`, *optional*): Of a reward function, see
            [`~rlhf_ext.deployment.filters.Filter`].
    """

    name: str
    words: list[str] | None = None
    personal: list[str] | None = None
    patterns: dict[str, str] | None = None
    reward: str | None = None
    arguments: dict[str, Any] | None = None
    sides: list[Literal["input", "output"]] = field(default_factory=lambda: ["output"])
    action: Literal["flag", "redact", "replace", "block"] = "block"
    replacement: str = "I cannot say that."
    at_least: float | None = None
    at_most: float | None = None
    window: int | None = 400

    def __post_init__(self) -> None:
        kinds = [name for name in ("words", "personal", "patterns", "reward") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(f"give one of words, personal, patterns and reward, got {', '.join(kinds) or 'none'}")
        if self.arguments is not None and self.reward is None:
            raise ValueError(f"`arguments` are a reward function's; {kinds[0]} take none")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class StoreSettings:
    """What is kept.

    Args:
        database (`str`, *optional*, defaults to `"gateway.sqlite"`): File, or URL of a PostgreSQL.
        texts (`bool`, *optional*, defaults to `False`): Whether prompts and answers are kept. Without them feedback cannot be
            exported as preferences.
        redact (`list[str]`, *optional*): Personal data that is taken out of texts before they are stored, see
            [`~rlhf_ext.deployment.filters.personal_data`]; all kinds by default. It knows forms, not names.
        max_text (`int`, *optional*, defaults to `200_000`): Longest prompt or answer in characters; of a longer one only the hash is
            kept.
        retention_days (`float`, *optional*): After which responses and what was said of them are deleted. By default never.
    """

    database: str = "gateway.sqlite"
    texts: bool = False
    redact: list[str] = field(default_factory=lambda: ["email", "phone", "card", "iban", "ip", "key"])
    max_text: int = 200_000
    retention_days: float | None = None

    def __post_init__(self) -> None:
        if self.retention_days is not None and not self.retention_days > 0:
            raise ValueError(f"`retention_days` should be above 0, got {self.retention_days!r}")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LimitSettings:
    """What one client may ask for.

    Args:
        requests_per_minute (`float`, *optional*): A key's, where it has none of its own; without keys an address's. By default none.
        max_body (`int`, *optional*, defaults to `4_194_304`): Largest request in bytes.
        body_seconds (`float`, *optional*, defaults to `20.0`): Longest time that a request may take to come in.
        filter_seconds (`float`, *optional*, defaults to `2.0`): Longest time for filters to look at a text; where they take longer, it
            is blocked.
        drain_seconds (`float`, *optional*, defaults to `30.0`): How long streams may go on after SIGTERM.
        notice_seconds (`float`, *optional*, defaults to `1.0`): How long `/readyz` says 503 before new connections are refused.
        shadows_at_once (`int`, *optional*, defaults to `8`), shadows_waiting (`int`, *optional*, defaults to `64`): Copies of requests on
            their way, and waiting; others are dropped.
    """

    requests_per_minute: float | None = None
    max_body: int = 4 << 20
    body_seconds: float = 20.0
    filter_seconds: float = 2.0
    drain_seconds: float = 30.0
    notice_seconds: float = 1.0
    shadows_at_once: int = 8
    shadows_waiting: int = 64

    def __post_init__(self) -> None:
        # A queue without a bound is what 0 would make of `shadows_waiting`.
        _positive(self, "max_body", "body_seconds", "filter_seconds", "shadows_at_once", "shadows_waiting")
        if self.requests_per_minute is not None:
            _positive(self, "requests_per_minute")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class GatewaySettings:
    """Settings of [`create_gateway`].

    Args:
        upstreams (`dict[str, UpstreamSettings]`, *optional*), local (`dict[str, LocalSettings]`, *optional*): Model servers, and models
            in this process, by name. At least one.
        models (`dict[str, Target]`, *optional*): Models that clients may ask for. Without any, and with one upstream, whatever that
            one knows.
        experiments (`str`, *optional*): File with experiments and canaries, see
            [`~rlhf_ext.deployment.experiments.read_experiments`]. Their `traffic` is the model that clients ask for.
        variants (`dict[str, Target]`, *optional*): Where each variant of the experiments goes.
        filters (`list[FilterSettings]`, *optional*): In order.
        store ([`StoreSettings`], *optional*), limits ([`LimitSettings`], *optional*): As they say.
        monitoring ([`~rlhf_ext.deployment.monitoring.MonitoringSettings`], *optional*): What is watched.
        user_header (`str`, *optional*, defaults to `"x-user-id"`): Header with the user, before the body's `user`.
        anyone_may_choose (`bool`, *optional*, defaults to `False`): Whether `x-variant` of a request chooses the variant, whatever the
            key. Without it only keys that were made so may.

    Raises:
        ValueError: If a field is not as it should be; it is named.

    Example:

    ```python
    >>> from rlhf_ext.deployment.gateway import GatewaySettings, Target, UpstreamSettings
    >>> settings = GatewaySettings(
    ...     upstreams={"vllm": UpstreamSettings(url="http://127.0.0.1:8000/v1")},
    ...     models={"assistant": Target(backend="vllm", model="Qwen/Qwen3-0.6B")},
    ... )
    >>> settings.limits.max_body
    4194304

    ```
    """

    upstreams: dict[str, UpstreamSettings] = field(default_factory=dict)
    local: dict[str, LocalSettings] = field(default_factory=dict)
    models: dict[str, Target] = field(default_factory=dict)
    experiments: str | None = None
    variants: dict[str, Target] = field(default_factory=dict)
    filters: list[FilterSettings] = field(default_factory=list)
    store: StoreSettings = field(default_factory=StoreSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    monitoring: MonitoringSettings = field(default_factory=MonitoringSettings)
    user_header: str = "x-user-id"
    anyone_may_choose: bool = False

    def __post_init__(self) -> None:
        backends = {*self.upstreams, *self.local}
        if not backends:
            raise ValueError("`upstreams` or `local` is needed: where do answers come from?")
        if len(backends) < len(self.upstreams) + len(self.local):
            raise ValueError("an upstream and a local model have the same name")
        if not self.models and (self.local or len(self.upstreams) > 1):
            raise ValueError("`models` is needed: which of the backends answers for which model?")
        if self.variants and self.experiments is None:
            raise ValueError("`variants` are of `experiments`: name the file with them, or nobody gets a variant.")
        targets = {f"models.{name}": target for name, target in self.models.items()}
        targets |= {f"variants.{name}": target for name, target in self.variants.items()}
        for where, target in targets.items():
            if target.backend not in backends:
                raise ValueError(f"{where}.backend: there is no {target.backend!r}; there are {', '.join(backends)}")
            adapters = self.local[target.backend].adapters if target.backend in self.local else None
            if adapters is not None and target.model is not None and target.model not in adapters:
                raise ValueError(f"{where}.model: {target.backend!r} has no adapter {target.model!r}")


def _positive(settings: Any, *names: str) -> None:
    for name in names:
        if not getattr(settings, name) > 0:
            raise ValueError(f"`{name}` should be above 0, got {getattr(settings, name)!r}")
