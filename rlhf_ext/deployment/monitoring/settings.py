"""What is watched, as a part of the gateway's YAML: `monitoring:`."""

from __future__ import annotations

import os
import re
from dataclasses import field
from typing import Any, Literal

from pydantic import AliasChoices, ConfigDict, Field
from pydantic.dataclasses import dataclass

from .features import FEATURES
from .measures import METRICS, Metric

_STRICT = ConfigDict(extra="forbid", strict=True)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ScoreSettings:
    """A reward function that scores a sample of live traffic.

    Args:
        reward (`str`): `module:name`, called with `arguments` if there are any, e.g. `rlhf_ext.rewards.functions:Toxicity`.
        arguments (`dict`, *optional*): What it is made with.
    """

    reward: str
    arguments: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.]+:\w+", self.reward):
            raise ValueError(f"`reward` should be `module:name`, got {self.reward!r}")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SampleSettings:
    """Which live answers are scored, and by what.

    Args:
        scores (`dict[str, ScoreSettings]`): By the name that metrics show.
        share (`float`, *optional*, defaults to `0.05`): Share of answers that is drawn, in (0, 1].
        seed (`int`, *optional*, defaults to `0`): Of the draw, which hangs on the response's id: all workers draw alike.
        waiting (`int`, *optional*, defaults to `256`): Answers that may wait to be scored; others are dropped, and counted.
        batch (`int`, *optional*, defaults to `16`): Answers a call.
    """

    scores: dict[str, ScoreSettings]
    share: float = 0.05
    seed: int = 0
    waiting: int = 256
    batch: int = 16

    def __post_init__(self) -> None:
        _check_names("scores", self.scores)
        if not 0 < self.share <= 1:
            raise ValueError(f"`share` should be in (0, 1], got {self.share!r}")
        _positive(self, "waiting", "batch")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DriftSettings:
    """Whether prompts and answers go on looking like those of a reference window.

    Args:
        alpha (`float`, *optional*, defaults to `0.01`): Probability at most that a change is reported that is not there, for all
            features and both sides together, however long one looks.
        reference (`int`, *optional*, defaults to `500`): Texts of each side that are the reference: the first ones, or those of `file`.
        file (`str`, *optional*): JSON lines with `prompt` and `completion` as the reference, in place of the first texts.
        features (`list[str]`, *optional*): See [`~rlhf_ext.deployment.monitoring.features.FEATURES`]. `"language"` needs
            `rlhf_ext[eval]`; `"embedding"` needs `encoder`. By default `"length"`, `"characters"` and `"words"`.
        encoder (`str`, *optional*): Folder or hub name of an encoder.
        per_minute (`int`, *optional*, defaults to `120`): Texts of each side that are looked at.
    """

    alpha: float = 0.01
    reference: int = 500
    file: str | None = None
    features: list[str] = field(default_factory=lambda: ["length", "characters", "words"])
    encoder: str | None = None
    per_minute: int = 120

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"`alpha` should be in (0, 1), got {self.alpha!r}")
        if self.reference < 100:
            raise ValueError(f"`reference` should be at least 100 texts, got {self.reference}")
        _positive(self, "per_minute")
        unknown = [one for one in self.features if one not in FEATURES]
        if unknown or not self.features or len(set(self.features)) < len(self.features):
            raise ValueError(f"`features` should be different ones of {', '.join(FEATURES)}, got {self.features}")
        if ("embedding" in self.features) != (self.encoder is not None):
            raise ValueError("the feature 'embedding' and `encoder` need one another")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class AlertRule:
    """When to raise an alert: a metric of a window of time is beyond a bound, for some time.

    Args:
        name (`str`): Of the alert.
        metric (`str`): One of [`~rlhf_ext.deployment.monitoring.measures.METRICS`].
        above (`float`, *optional*), below (`float`, *optional*): The bound; one of them.
        window (`float`, *optional*, defaults to `300.0`): Seconds that the metric is of, back from now.
        hold (`float`, *optional*, defaults to `0.0`; in YAML also `for`): Seconds for which it must be so without a break. Likewise
            an alert is resolved once it has not been so for as long.
        at_least (`int`, *optional*, defaults to `1`): Values in the window below which it says nothing: then the alert stays as it is.
        model (`str`, *optional*), variant (`str`, *optional*): Traffic that it is about; all by default.
        name_of (`str`, *optional*): Which score, filter, kind of error or of feedback, where the metric has several.
        severity (`Literal["info", "warning", "critical"]`, *optional*, defaults to `"warning"`): For whoever is called.
    """

    name: str
    metric: str
    above: float | None = None
    below: float | None = None
    window: float = 300.0
    hold: float = Field(default=0.0, validation_alias=AliasChoices("for", "hold"))
    at_least: int = 1
    model: str | None = None
    variant: str | None = None
    name_of: str | None = None
    severity: Literal["info", "warning", "critical"] = "warning"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"`name` of an alert should be up to 64 letters, digits or any of `_.-`, got {self.name!r}"
            )
        if self.metric not in METRICS:
            raise ValueError(
                f"`metric` of the alert {self.name!r} should be one of {', '.join(METRICS)}, got {self.metric!r}"
            )
        if (self.above is None) == (self.below is None):
            raise ValueError(f"the alert {self.name!r} needs one of `above` and `below`")
        if not self.window > 0 or self.hold < 0 or self.at_least < 1:
            raise ValueError(
                f"the alert {self.name!r}: `window` should be above 0, `for` at least 0 and `at_least` at least 1"
            )
        if self.metric.endswith("_rate") and (
            (self.above is not None and self.above >= 1) or (self.below is not None and self.below <= 0)
        ):
            raise ValueError(f"the alert {self.name!r} would never fire: {self.metric} is a share, from 0 to 1")
        if self.shape.of == "name" and self.name_of is None:
            raise ValueError(f"the alert {self.name!r} needs `name_of`: which one of {self.metric}?")
        if self.shape.of == "none" and self.name_of is not None:
            raise ValueError(f"the alert {self.name!r}: there is only one {self.metric}, so leave out `name_of`")
        if self.shape.whole and (self.model or self.variant):
            raise ValueError(f"the alert {self.name!r}: {self.metric} is not by model or variant")

    @property
    def shape(self) -> Metric:
        """What kind of metric it is."""
        return METRICS[self.metric]

    @property
    def condition(self) -> str:
        """In words."""
        bound = f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"
        return f"{self.metric}{f' of {self.name_of}' if self.name_of else ''} {bound}"

    def broken_by(self, value: float) -> bool:
        """Whether a value is beyond the bound."""
        return value > self.above if self.above is not None else value < self.below  # type: ignore[operator]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class WebhookSettings:
    """Where alerts are sent, as JSON by POST.

    Args:
        url (`str`, *optional*), url_env (`str`, *optional*): The address, or the environment variable with it: addresses of chat
            services are secrets. It is never logged.
        bearer_env (`str`, *optional*): Environment variable with a token for the header `Authorization`.
        timeout (`float`, *optional*, defaults to `5.0`): Seconds for one try.
        keep_trying (`float`, *optional*, defaults to `3600.0`): Seconds for which a notice is tried again, at growing intervals up to a
            minute.
        waiting (`int`, *optional*, defaults to `200`): Notices that may wait; beyond it the oldest is dropped, and counted.
    """

    url: str | None = None
    url_env: str | None = None
    bearer_env: str | None = None
    timeout: float = 5.0
    keep_trying: float = 3600.0
    waiting: int = 200

    def __post_init__(self) -> None:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("the webhook needs one of `url` and `url_env`")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError("`url` of the webhook should start with http:// or https://")
        _positive(self, "timeout", "waiting")

    def address(self) -> str:
        """The address.

        Raises:
            ValueError: If the environment has none.
        """
        found = self.url or os.environ.get(self.url_env or "", "").strip()
        if not found.startswith(("http://", "https://")):
            raise ValueError(f"monitoring.webhook: {self.url_env} should hold an address that starts with https://")
        return found


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class MonitoringSettings:
    """What is watched beside what Prometheus is told.

    Args:
        hours (`float`, *optional*, defaults to `6.0`): How far back the status page goes, at most 48.
        step (`float`, *optional*, defaults to `15.0`): Seconds that figures are gathered in.
        waiting (`int`, *optional*, defaults to `10_000`): Requests that may wait to be looked at; others are dropped, and counted.
        sample ([`SampleSettings`], *optional*): Which answers are scored. By default none.
        drift ([`DriftSettings`], *optional*): By default nothing is compared.
        alerts (`list[AlertRule]`, *optional*): Beside those that there always are: on
            drift, canaries that are rolled back, and errors of the monitoring itself.
        webhook ([`WebhookSettings`], *optional*): Where alerts are sent. They are logged in any case.

    Raises:
        ValueError: If a field is not as it should be; it is named.

    Example:

    ```python
    >>> from rlhf_ext.deployment.monitoring import AlertRule, MonitoringSettings
    >>> rule = AlertRule(name="slow", metric="latency_p95", above=2.5, window=300, hold=60)
    >>> MonitoringSettings(alerts=[rule]).alerts[0].condition
    'latency_p95 above 2.5'

    ```
    """

    hours: float = 6.0
    step: float = 15.0
    waiting: int = 10_000
    sample: SampleSettings | None = None
    drift: DriftSettings | None = None
    alerts: list[AlertRule] = field(default_factory=list)
    webhook: WebhookSettings | None = None

    def __post_init__(self) -> None:
        _positive(self, "step", "hours", "waiting")
        if self.hours > 48:
            raise ValueError(f"`hours` should be at most 48, got {self.hours:g}: longer is for Prometheus")
        if self.hours * 3600 / self.step > 3000:
            raise ValueError(f"`step` of {self.step:g} seconds is too short for {self.hours:g} hours")
        names = [rule.name for rule in self.alerts]
        if len(set(names)) < len(names):
            raise ValueError(f"`alerts`: two have the same name: {', '.join(names)}")
        for rule in self.alerts:
            if rule.window < self.step or rule.window > self.hours * 3600:
                raise ValueError(f"the alert {rule.name!r}: `window` should be between `step` and `hours`")
            if rule.metric == "score" and (self.sample is None or rule.name_of not in self.sample.scores):
                raise ValueError(f"the alert {rule.name!r}: there is no score {rule.name_of!r} in `sample.scores`")
            if rule.metric == "drift" and self.drift is None:
                raise ValueError(f"the alert {rule.name!r}: `drift` is not watched")


def _check_names(what: str, named: dict[str, Any]) -> None:
    if not named:
        raise ValueError(f"`{what}` is empty")
    for name in named:
        if not _NAME.fullmatch(name):
            raise ValueError(f"`{what}`: a name should be up to 64 letters, digits or any of `_.-`, got {name!r}")


def _positive(settings: Any, *names: str) -> None:
    for name in names:
        if not getattr(settings, name) > 0:
            raise ValueError(f"`{name}` should be above 0, got {getattr(settings, name)!r}")
