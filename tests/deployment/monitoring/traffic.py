"""An hour of traffic that never was, for monitors: two variants, a shadow, a bad quarter of an hour, feedback, scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rlhf_ext.deployment.filters import Hit
from rlhf_ext.deployment.gateway import Served
from rlhf_ext.deployment.monitoring import (
    AlertRule,
    DriftSettings,
    Monitor,
    MonitoringSettings,
    SampleSettings,
    ScoreSettings,
)

REFUSES = "I'm sorry, but I can't help with that."
WORDS = [
    "the",
    "dough",
    "has",
    "to",
    "rest",
    "for",
    "an",
    "hour",
    "before",
    "it",
    "bakes",
    "until",
    "crust",
    "turns",
    "brown",
]


class Clock:
    """Seconds that go forward when they are told to."""

    def __init__(self, now: float = 1_800_000_000.0):
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Standing:
    """As a canary's."""

    state: str
    share: float
    stage: int
    since: float
    reason: str = ""


def brevity(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float | None]:
    """A reward: short answers are good; those of one word are none."""
    texts = [one if isinstance(one, str) else one[-1]["content"] for one in completions]
    return [None if len(text.split()) < 2 else 1 - len(text) / 200 for text in texts]


def tense(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float | None]:
    """A score in [0, 1] of the same texts."""
    texts = [one if isinstance(one, str) else one[-1]["content"] for one in completions]
    return [len(set(text)) / 60 for text in texts]


def settings(**changed: Any) -> MonitoringSettings:
    """Everything on."""
    here = "tests.deployment.monitoring.traffic"
    sample = SampleSettings(
        scores={"helpful": ScoreSettings(reward=f"{here}:brevity"), "toxicity": ScoreSettings(reward=f"{here}:tense")},
        share=0.5,
    )
    alerts = [
        AlertRule(name="errors", metric="error_rate", above=0.05, window=300, hold=60, severity="critical"),
        AlertRule(name="slow", metric="latency_p95", above=2, window=300, variant="dpo"),
        AlertRule(name="refuses", metric="refusal_rate", above=0.5, window=900, at_least=20),
    ]
    given = {"sample": sample, "drift": DriftSettings(reference=150, per_minute=100_000), "alerts": alerts, **changed}
    return MonitoringSettings(**given)


def served(number: int = 0, **fields: Any) -> Served:
    """A request."""
    given = {
        "id": f"chatcmpl-{number:032x}",
        "time": 0.0,
        "model": "assistant",
        "backend": "up",
        "status": 200,
        "seconds": 0.5,
        "stream": True,
        "prompt": [{"role": "user", "content": "How long does the dough rest?"}],
        "text": " ".join(WORDS[:9]),
        "ttft": 0.1,
        "prompt_tokens": 12,
        "completion_tokens": 9,
        "finish_reason": "stop",
    }
    return Served(**{**given, **fields})


def simulate(monitor: Monitor, clock: Clock, minutes: int = 60, rate: float = 12.0, seed: int = 0) -> None:
    """Has a monitor live through `minutes`; the last quarter of them is bad for one variant. It must not have been started."""
    rng = np.random.default_rng(seed)
    monitor.series.begun = clock.now
    end = clock.now + 60 * minutes
    number, bad = 0, clock.now + 45 * minutes
    while (gap := rng.exponential(60 / (rate * (1 + 0.5 * np.sin(clock.now / 600))))) + clock.now < end:
        if int(clock.now // 15) != int((clock.now + gap) // 15):
            monitor.look()
        clock.now += gap
        number += 1
        one = _request(rng, number, clock.now > bad)
        monitor._figure([one])
        monitor._compared.work()
        monitor._scored.work()
        if one.status == 200 and one.shadow_of is None and rng.random() < 0.15:
            monitor._figure([(one.id, "thumb", {"up": bool(rng.random() < (0.6 if one.variant == "sft" else 0.75))})])
    monitor._figure([("unknown", "correction", {"text": "No."}), ("unknown", "preference", {"over": "x"})])
    clock.now = end
    monitor.look()


def _request(rng: Any, number: int, bad: bool) -> Served:
    variant = "dpo" if rng.random() < 0.4 else "sft"
    slow = 2.2 if bad and variant == "dpo" else 1.0
    words = int(rng.poisson(14 if variant == "sft" else 20)) + 2
    fields: dict[str, Any] = {
        "variant": variant,
        "experiment": "tone",
        "seconds": float(slow * rng.lognormal(-0.5, 0.4)),
        "ttft": float(slow * rng.lognormal(-2.2, 0.3)),
        "text": " ".join(rng.choice(WORDS, words)),
        "completion_tokens": words,
        "prompt": [{"role": "user", "content": " ".join(rng.choice(WORDS, int(rng.poisson(8)) + 1))}],
    }
    draw = rng.random()
    if draw < 0.03 + 0.2 * (bad and variant == "dpo"):
        fields |= {"status": 504, "error": "upstream_timeout", "text": None, "ttft": None, "completion_tokens": None}
    elif draw < 0.25:
        fields |= {"text": REFUSES} if draw < 0.09 else {}
    elif draw < 0.27:
        fields |= {"status": 499, "error": "client_closed_request", "text": None, "ttft": None}
    elif draw < 0.31:
        fields |= {"filter_hits": (Hit("personal", "redact", "email"), Hit("personal", "redact", "phone"))}
    elif draw < 0.32:
        fields |= {"filter_hits": (Hit("toxic", "block", "beyond its threshold", score=0.9),)}
    elif draw < 0.36:
        fields |= {"variant": "next", "shadow_of": "chatcmpl-0", "ttft": None}
    return served(number, **fields)


def busy(clock: Clock | None = None, metrics: Any = None, **changed: Any) -> Monitor:
    """A monitor with an hour behind it."""
    from rlhf_ext.deployment.gateway.metrics import Metrics

    clock = clock or Clock()
    canaries = {
        "tone/dpo": Standing("ramping", 0.4, 2, clock.now + 1200, "waits for 120 more users"),
        "length/short": Standing("rolled_back", 0.0, 1, clock.now + 600, "error: 0.09 [0.06, 0.13], at most 0.05"),
    }
    monitor = Monitor(settings(**changed), metrics or Metrics(), canaries=lambda: canaries, clock=clock)
    simulate(monitor, clock)
    return monitor
