"""Experiments on the gateway's traffic: sticky variants, choice, shadows, canaries."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from rlhf_ext.data.store.served import ApiKeys, ServedStore
from rlhf_ext.deployment.gateway import (
    GatewaySettings,
    LimitSettings,
    StoreSettings,
    Target,
    UpstreamSettings,
    create_gateway,
)
from rlhf_ext.deployment.monitoring import MonitoringSettings, SampleSettings, ScoreSettings

from .stub import running

AB = """
experiments:
  - name: models
    traffic: assistant
    salt: "1"
    variants: {sft: 0.5, dpo: 0.5}
    overrides: {ada: dpo}
    shadow: {next: 1.0}
"""
CANARY = """
experiments:
  - name: models
    traffic: assistant
    salt: "1"
    variants: {sft: 1.0, dpo: 0.0}
    canary:
      variant: dpo
      steps: [{share: 0.5, users: 1000}, {share: 1.0}]
      guards: [{metric: error, at_most: 0.05, per: request}]
"""


@pytest.fixture
def stubs():
    with running(name="sft-1", words=["sft"]) as sft, running(name="dpo-1", words=["dpo"]) as dpo, running() as nxt:
        yield {"sft": sft, "dpo": dpo, "next": nxt}


@pytest.fixture
def experiment(start, stubs, tmp_path):
    """Starts a gateway with an experiment between the stubs."""

    def begin(text=AB, **settings):
        path = tmp_path / "experiments.yaml"
        path.write_text(text)
        variants = {name: Target(backend=name, model=stub.name) for name, stub in stubs.items()}
        return start(
            upstreams={name: UpstreamSettings(url=stub.url) for name, stub in stubs.items()},
            models={"assistant": Target(backend="sft", model="sft-1"), "plain": Target(backend="sft", model="sft-1")},
            variants=variants,
            experiments=str(path),
            **settings,
        )

    return begin


def ask(gateway, user, key=None, model="assistant", **headers):
    """Variant, text, status."""
    body = {**gateway.chat(), "model": model, **({"user": user} if user else {})}
    status, found, answer = gateway.post("/v1/chat/completions", body, key, **headers)
    return found.get("x-variant"), answer["choices"][0]["message"]["content"] if status == 200 else answer, status


def test_users_keep_their_variant_and_all_gateways_agree(experiment):
    first, second = experiment(), experiment()
    got = {user: ask(first, user)[:2] for user in map(str, range(60))}
    assert all(variant == text for variant, text in got.values())
    assert got == {user: ask(second, user)[:2] for user in got}
    assert 15 < Counter(variant for variant, _ in got.values())["dpo"] < 45
    assert ask(first, "ada")[0] == "dpo"
    other = ask(first, None, **{"X-User-Id": "ada"})
    assert other[0] == "dpo", "the header says who it is as well"
    ada = first.gateway.store.hash("ada")
    row = next(row for row in first.rows(120) if row.user_hash == ada and row.shadow_of is None)
    assert (row.experiment, row.variant, row.why) == ("models", "dpo", "override")
    assert ask(first, "ada", model="plain")[:2] == (None, "sft"), "another model's traffic is in no experiment"


def test_who_may_choose_the_variant(experiment, tmp_path):
    keys = ApiKeys(ServedStore(tmp_path / "gateway.sqlite").database)
    may, not_ = keys.add("may", may_choose=True), keys.add("not")
    gateway = experiment()
    assert ask(gateway, "x", may, **{"X-Variant": "dpo"})[:2] == ("dpo", "dpo")
    assert ask(gateway, "x", may, **{"X-Variant": "sft"})[:2] == ("sft", "sft")
    assert ask(gateway, "x", not_, **{"X-Variant": "sft"})[2] == 403
    assert ask(gateway, "x", may, **{"X-Variant": "other"})[2] == 400
    assert ask(gateway, "x", may, model="plain", **{"X-Variant": "dpo"})[2] == 400
    assert [row.why for row in gateway.rows(2) if row.shadow_of is None] == ["header", "header"]


def test_a_shadow_gets_copies_and_delays_nobody(experiment, stubs):
    stubs["next"].gap = 0.5  # 3 s an answer
    gateway = experiment(limits=LimitSettings(shadows_at_once=1, shadows_waiting=2))
    begun = time.monotonic()
    for n in range(8):
        assert ask(gateway, str(n))[2] == 200
    assert time.monotonic() - begun < 6, "eight copies would take 24 s"
    until = time.monotonic() + 10
    while time.monotonic() < until and sum(row.shadow_of is not None for row in gateway.rows()) < 2:
        time.sleep(0.1)
    rows = gateway.rows()
    served = {row.id for row in rows if row.shadow_of is None}
    copies = [row for row in rows if row.shadow_of is not None]
    assert copies and all(row.shadow_of in served and row.why == "shadow" and row.variant == "next" for row in copies)
    assert len(stubs["next"].requests) <= 4, "one on its way and two that wait; the others are dropped"
    assert "shadows_dropped_total 5.0" in gateway.get("/metrics")[2]
    status, _, _ = gateway.post("/v1/feedback", {"response_id": copies[0].id, "kind": "thumb", "up": True})
    assert status == 404, "nobody has seen it"


def test_a_canary_with_a_planted_regression_rolls_back_by_itself(experiment, stubs):
    gateway = experiment(CANARY)
    canary = gateway.gateway.canaries._all[0]
    original = stubs["dpo"]._whole
    stubs["dpo"]._whole = lambda body, path: b"<html>broken</html>"
    assert canary.share() == 0.5
    until, failed, n = time.monotonic() + 30, 0, 0
    while canary.share() > 0 and time.monotonic() < until:
        n += 1
        failed += ask(gateway, f"user {n}")[2] == 502
    assert canary.standing().state == "rolled_back" and "error" in canary.standing().reason and failed > 3
    time.sleep(0.2)
    stubs["dpo"]._whole = original
    assert {ask(gateway, f"later {n}")[0] for n in range(40)} == {"sft"}
    again = experiment(CANARY)
    assert again.gateway.canaries._all[0].share() == 0, "it stays so after a restart, and on other gateways"


def test_thumbs_reach_the_canary(experiment):
    gateway = experiment(
        CANARY.replace("{metric: error, at_most: 0.05, per: request}", "{metric: thumbs_up, at_least: 0.5}")
    )
    canary = gateway.gateway.canaries._all[0]
    until, n = time.monotonic() + 40, 0
    while canary.share() > 0 and time.monotonic() < until:
        n += 1
        body = {**gateway.chat(user=f"user {n}"), "model": "assistant"}
        _, headers, answer = gateway.post("/v1/chat/completions", body)
        up = headers["x-variant"] == "sft"
        gateway.post("/v1/feedback", {"response_id": answer["id"], "kind": "thumb", "up": up, "user": f"user {n}"})
    assert canary.standing().state == "rolled_back" and "thumbs_up" in canary.standing().reason


def short(prompts, completions, **columns):
    """A reward function: 0 for what `dpo` says, 1 for others."""
    return [float("dpo" not in text[0]["content"]) for text in completions]


GUARD = "{metric: error, at_most: 0.05, per: request}"


def test_sampled_scores_reach_the_canary(experiment):
    scores = {"politeness": ScoreSettings(reward=f"{__name__}:short")}
    watched = MonitoringSettings(sample=SampleSettings(scores=scores, share=1.0))
    gateway = experiment(CANARY.replace(GUARD, "{metric: politeness, at_least: 0.5}"), monitoring=watched)
    canary = gateway.gateway.canaries._all[0]
    until, n = time.monotonic() + 30, 0
    while canary.share() > 0 and time.monotonic() < until:
        n += 1
        ask(gateway, f"user {n}")
    assert canary.standing().state == "rolled_back" and "politeness" in canary.standing().reason


def test_a_guard_on_what_nobody_measures_stops_the_start(tmp_path):
    path = tmp_path / "experiments.yaml"
    path.write_text(CANARY.replace(GUARD, "{metric: toxicity, at_most: 0.1}"))
    up = UpstreamSettings(url="http://127.0.0.1:1/v1")
    target = Target(backend="up")
    settings = GatewaySettings(
        upstreams={"up": up},
        models={"assistant": target},
        variants={"sft": target, "dpo": target},
        experiments=str(path),
        store=StoreSettings(database=str(tmp_path / "g.sqlite")),
    )
    with pytest.raises(ValueError, match=r"'dpo' of 'models' would wait for 'toxicity' for ever.*sample\.scores"):
        create_gateway(settings)


def test_an_error_in_a_copy_ends_no_worker(experiment, stubs, monkeypatch):
    gateway = experiment(limits=LimitSettings(shadows_at_once=1))
    backend = gateway.gateway.backends["next"]
    original, calls = backend.complete, []

    async def complete(asked):
        calls.append(asked)
        if len(calls) == 1:
            raise RuntimeError("unforeseen")
        return await original(asked)

    monkeypatch.setattr(backend, "complete", complete)
    for n in range(3):
        ask(gateway, str(n))
    until = time.monotonic() + 10
    while time.monotonic() < until and len(stubs["next"].requests) < 2:
        time.sleep(0.05)
    assert len(stubs["next"].requests) == 2
    assert gateway.gateway.monitor.failures.count(0, "shadows") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CANARY.replace(GUARD, "{metric: seconds, at_most: 0.8}"), "no rate: set `rate` to False"),
        (CANARY.replace(GUARD, "{metric: ttft, at_most: 0.1, against_control: true}"), "no rate: set `rate` to False"),
        (AB.replace("dpo: 0.5}", "dpo: 0.4}"), "sum to 1"),
        (AB.replace("assistant", "nobody"), "none of the gateway's `models`"),
        (AB.replace("dpo", "ppo"), "say where it goes"),
        (AB + AB.replace("experiments:\n", "").replace("models", "other"), "same traffic"),
        (AB + AB.replace("experiments:\n", "").replace("name: models", "name: other\n    layer: two"), "same traffic"),
    ],
)
def test_experiments_that_cannot_be(experiment, text, words):
    with pytest.raises(ValueError, match=words):
        experiment(text)


def test_two_gateways_settings_that_do_not_go_together(tmp_path):
    with pytest.raises(ValueError, match="upstreams"):
        GatewaySettings()
    up = {"up": UpstreamSettings(url="http://127.0.0.1:1/v1")}
    with pytest.raises(ValueError, match="there is no 'down'"):
        create_gateway(GatewaySettings(upstreams=up, models={"m": Target(backend="down")}))
    with pytest.raises(ValueError, match="http"):
        UpstreamSettings(url="127.0.0.1:8000")
