"""The section `monitoring` of the gateway's YAML, read strictly."""

import re
from pathlib import Path

import pytest

from rlhf_ext.deployment.gateway import create_gateway, load_settings
from rlhf_ext.deployment.monitoring import AlertRule, DriftSettings, MonitoringSettings
from rlhf_ext.deployment.monitoring.measures import METRICS

UP = "upstreams: {vllm: {url: 'http://127.0.0.1:1/v1'}}\n"


def read(tmp_path, text):
    path = tmp_path / "gateway.yaml"
    path.write_text(UP + text)
    return load_settings(path).monitoring


def test_all_of_it_is_read(tmp_path):
    found = read(
        tmp_path,
        """
monitoring:
  hours: 12
  sample: {share: 0.1, seed: 3, scores: {toxicity: {reward: "rlhf_ext.rewards.functions:Toxicity"}}}
  drift: {alpha: 0.05, reference: 300, features: [length, words]}
  webhook: {url_env: ALERT_HOOK, timeout: 2.5}
  alerts:
    - {name: errors, metric: error_rate, above: 0.05, window: 300, for: 60, at_least: 20, severity: critical}
    - {name: toxic, metric: score, name_of: toxicity, above: 0.2, window: 3600, variant: dpo}
""",
    )
    assert found.hours == 12 and found.sample.share == 0.1 and found.drift.features == ["length", "words"]
    assert found.alerts[0].hold == 60 and found.alerts[1].condition == "score of toxicity above 0.2"
    assert found.webhook.url_env == "ALERT_HOOK"


def test_without_the_section_the_page_and_figures_are_there_all_the_same(tmp_path):
    assert read(tmp_path, "") == MonitoringSettings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("monitoring: {hour: 3}", r"monitoring.hour: there is no such field"),
        ("monitoring: {drift: {alfa: 0.1}}", r"monitoring.drift.alfa: there is no such field"),
        (
            "monitoring: {alerts: [{name: a, metric: error_rate, abov: 1}]}",
            r"monitoring.alerts.0.abov: there is no such field",
        ),
        (
            "monitoring: {alerts: [{name: a, metric: errors, above: 1}]}",
            r"alerts.0: `metric` of the alert 'a' should be one of",
        ),
        ("monitoring: {alerts: [{name: a, metric: error_rate}]}", r"needs one of `above` and `below`"),
        ("monitoring: {alerts: [{name: a, metric: error_rate, above: 5}]}", r"never fire: error_rate is a share"),
        ("monitoring: {alerts: [{name: a, metric: refusal_rate, below: 0}]}", r"never fire: refusal_rate is a share"),
        ("monitoring: {alerts: [{name: a, metric: error_rate, above: '1'}]}", r"alerts.0.above: .*got '1'"),
        ("monitoring: {alerts: [{name: a, metric: score, above: 1}]}", r"needs `name_of`"),
        ("monitoring: {alerts: [{name: a, metric: score, name_of: x, above: 1}]}", r"there is no score 'x'"),
        ("monitoring: {alerts: [{name: a, metric: drift, above: 0}]}", r"`drift` is not watched"),
        ("monitoring: {alerts: [{name: a, metric: latency_p95, name_of: x, above: 1}]}", r"only one latency_p95"),
        ("monitoring: {alerts: [{name: a, metric: dropped, model: m, above: 1}]}", r"not by model or variant"),
        ("monitoring: {alerts: [{name: a b, metric: dropped, above: 1}]}", r"`name` of an alert should be"),
        ("monitoring: {alerts: [{name: a, metric: dropped, above: 1, window: 1}]}", r"`window` should be between"),
        (
            "monitoring: {alerts: [{name: a, metric: dropped, above: 1}, {name: a, metric: dropped, above: 2}]}",
            r"two have the same name",
        ),
        ("monitoring: {sample: {share: 0, scores: {a: {reward: 'm:f'}}}}", r"`share` should be in \(0, 1\]"),
        ("monitoring: {sample: {scores: {}}}", r"`scores` is empty"),
        ("monitoring: {drift: {features: [length, size]}}", r"`features` should be different ones of"),
        ("monitoring: {drift: {features: [embedding]}}", r"'embedding' and `encoder` need one another"),
        ("monitoring: {hours: 6, hours: 7}", r"given twice"),
        ("monitoring: {webhook: {timeout: 3}}", r"one of `url` and `url_env`"),
    ],
)
def test_what_is_not_as_it_should_be_is_named(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("metric: latency_p95, model: typo, above: 1", "there is no model 'typo'; there are assistant"),
        ("metric: latency_p95, variant: typo, above: 1", "there is no variant 'typo'; there are none"),
        ("metric: filter_rate, name_of: typo, above: 0.1", "there is no filter 'typo'; there are .*codename"),
    ],
)
def test_an_alert_on_what_there_is_not_stops_the_start(tmp_path, rule, words):
    path = tmp_path / "gateway.yaml"
    models = "models: {assistant: {backend: vllm}}\nfilters: [{name: codename, words: [heron]}]\n"
    store = f"store: {{database: {tmp_path / 'g.sqlite'}}}\n"
    path.write_text(f"{UP}{models}{store}monitoring: {{alerts: [{{name: a, {rule}}}]}}\n")
    with pytest.raises(ValueError, match=f"'a' would never fire: {words}"):
        create_gateway(load_settings(path))


def test_bounds_of_fields_in_python():
    for make in (
        lambda: MonitoringSettings(hours=100),
        lambda: MonitoringSettings(hours=48, step=1),
        lambda: MonitoringSettings(step=0),
        lambda: DriftSettings(alpha=1.0),
        lambda: DriftSettings(reference=10),
        lambda: AlertRule(name="a", metric="error_rate", above=1, hold=-1),
    ):
        with pytest.raises(ValueError, match="should be|too short"):
            make()


def test_the_configuration_in_the_documentation_is_one(tmp_path):
    text = (Path(__file__).parents[3] / "docs" / "monitoring.md").read_text(encoding="utf-8")
    [section] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    found = read(tmp_path, section)
    assert [rule.name for rule in found.alerts] == ["errors", "slow", "reward_fell"] and found.drift.alpha == 0.01
    # Every metric is explained.
    for name in METRICS:
        stem, _, percentile = name.rpartition("_p")
        assert f"`{name}`" in text or (stem in ("latency", "ttft") and f"`_p{percentile}`" in text), name
    for name in (
        "seconds",
        "ttft_seconds",
        *(f"{one}_total" for one in ("errors", "feedback", "filter_hits", "unwatched")),
    ):
        assert f"`{name}`" in text
