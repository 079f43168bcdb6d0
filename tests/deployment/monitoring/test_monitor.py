"""The monitor on a gateway: figures are right, nothing waits for it, and its errors are nobody else's."""

import logging
import time

import pytest

from rlhf_ext.deployment.gateway.metrics import Metrics
from rlhf_ext.deployment.monitoring import AlertRule, Key, Monitor, MonitoringSettings, SampleSettings, ScoreSettings

from .traffic import Clock, busy, served

HERE = "tests.deployment.monitoring.test_monitor"


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"rlhf_ext_gateway_{name}", labels) or 0.0


def until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


class Slow:
    """A reward that takes its time."""

    seen: list[str] = []

    def __call__(self, prompts, completions, **columns):
        time.sleep(0.3)
        Slow.seen += completions
        return [1.0] * len(prompts)


def broken(prompts, completions, **columns):
    raise RuntimeError("secret text")


def sample(**scores):
    return SampleSettings(scores={name: ScoreSettings(reward=one) for name, one in scores.items()}, share=1.0)


def test_what_a_gateway_serves_is_in_the_figures(start, stub):
    gateway = start(
        stub, monitoring=MonitoringSettings(sample=sample(short="tests.deployment.monitoring.traffic:brevity"))
    )
    status, _, answer = gateway.post("/v1/chat/completions", gateway.chat())
    assert status == 200
    gateway.client().chat.completions.create(model="stub", messages=gateway.chat()["messages"], stream=True).close()
    assert gateway.post("/v1/chat/completions", gateway.chat("status:500"))[0] >= 500
    assert gateway.post("/v1/feedback", {"response_id": answer["id"], "kind": "thumb", "up": True})[0] == 200
    monitor = gateway.gateway.monitor
    assert until(lambda: monitor.series.total(60).requests == 3)
    assert monitor.settle()
    cell = monitor.series.total(60)
    assert cell.failed == 1 and cell.errors.total() >= 1 and cell.feedback == {"thumb up": 1}
    assert cell.characters.mean == len("Well, it is 4.") and cell.prompt_tokens >= 3
    assert cell.scores["short"].n >= 1
    text = gateway.get("/metrics")[2]
    for line in (
        'rlhf_ext_gateway_seconds_count{model="stub",variant=""}',
        'rlhf_ext_gateway_feedback_total{kind="thumb up",model="stub",variant=""} 1.0',
        'rlhf_ext_gateway_sampled_score_count{model="stub",score="short",variant=""}',
        'rlhf_ext_gateway_errors_total{error="upstream_error",model="stub",variant=""} 1.0',
        'rlhf_ext_gateway_answer_characters_bucket{le="50.0",model="stub",variant=""}',
    ):
        assert line in text, line


def test_slow_scores_delay_no_request_and_what_has_no_room_is_counted(start, stub):
    Slow.seen.clear()
    given = SampleSettings(scores={"slow": ScoreSettings(reward=f"{HERE}:Slow")}, share=1.0, waiting=2, batch=1)
    gateway = start(stub, monitoring=MonitoringSettings(sample=given))
    times = []
    for _ in range(12):
        began = time.monotonic()
        assert gateway.post("/v1/chat/completions", gateway.chat())[0] == 200
        times.append(time.monotonic() - began)
    assert sorted(times)[6] < 0.15  # half of them, on a machine that others use too
    metrics = gateway.gateway.metrics
    assert until(lambda: value(metrics, "unwatched_total", part="scores") >= 6)
    assert gateway.gateway.monitor.dropped(60) == value(metrics, "unwatched_total", part="scores")


class Raises:
    """An observer that is of no use."""

    def __init__(self):
        self.told = 0

    def served(self, served):
        self.told += 1
        raise (ValueError if self.told % 2 else KeyError)("what people wrote")

    def said(self, response, kind, value):
        raise OSError("no")


def test_an_observer_that_raises_is_counted_logged_once_of_each_kind_and_an_alert(start, stub, caplog):
    caplog.set_level(logging.ERROR)
    observer = Raises()
    gateway = start(stub)
    gateway.gateway.observer._observers.append(observer)
    for _ in range(6):
        status, _, answer = gateway.post("/v1/chat/completions", gateway.chat())
        assert status == 200
    assert gateway.client().chat.completions.create(model="stub", messages=gateway.chat()["messages"]).choices
    assert gateway.post("/v1/feedback", {"response_id": answer["id"], "kind": "thumb", "up": True})[0] == 200
    assert len(gateway.watcher.seen) == 7  # the one before it is told all the same
    metrics, monitor = gateway.gateway.metrics, gateway.gateway.monitor
    assert value(metrics, "monitoring_errors_total", part="observer Raises", error="ValueError") == 4
    assert value(metrics, "monitoring_errors_total", part="observer Raises", error="OSError") == 1
    assert caplog.text.count("observer Raises failed") == 3 and "what people wrote" not in caplog.text
    monitor.look()
    assert monitor.alerts.states["monitoring_errors"].state == "firing"
    assert value(metrics, "alert_firing", alert="monitoring_errors") == 1


def monitor_of(**settings):
    clock, metrics = Clock(), Metrics()
    monitor = Monitor(MonitoringSettings(**settings), metrics, clock=clock)
    return monitor, clock, metrics


def test_a_score_that_raises_is_an_error_of_its_own():
    monitor, _, metrics = monitor_of(
        sample=sample(broken=f"{HERE}:broken", fine="tests.deployment.monitoring.traffic:tense")
    )
    monitor.start()
    monitor.served(served(1, variant="a"))
    assert monitor.settle()
    monitor.stop(2)
    assert monitor.series.total(60).scores.keys() == {"fine"}
    assert value(metrics, "monitoring_errors_total", part="score broken", error="RuntimeError") == 1
    assert value(metrics, "sampled_score_bucket", model="assistant", variant="a", score="fine", le="+Inf") == 1


def test_only_whole_answers_that_somebody_saw_are_sampled_and_compared():
    monitor, _, _ = monitor_of(sample=sample(fine="tests.deployment.monitoring.traffic:tense"))
    for number, fields in enumerate(
        [
            {},
            {"status": 502, "error": "upstream_error"},
            {"shadow_of": "x"},
            {"text": None},
            {"status": 499, "error": "gone"},
        ]
    ):
        monitor._figure([served(number, **fields)])
    assert len(monitor._scored.waiting) == 1


def test_the_draw_of_the_sample_is_by_the_seed():
    def drawn(seed):
        scores = {"f": ScoreSettings(reward="tests.deployment.monitoring.traffic:tense")}
        monitor, _, _ = monitor_of(sample=SampleSettings(scores=scores, share=0.3, seed=seed))
        monitor._figure([served(number) for number in range(200)])
        return [one.id for _, one in monitor._scored.waiting]

    assert drawn(0) == drawn(0) != drawn(1) and 35 <= len(drawn(0)) <= 85


def test_figures_of_variants_are_their_own():
    monitor, _, metrics = monitor_of()
    for number in range(10):
        monitor._figure([served(number, variant="a" if number < 7 else "b", text="I cannot help with that.")])
    monitor._figure([(served(8).id, "thumb", {"up": False}), ("gone", "correction", {"text": "x"})])
    cells = monitor.series.by_key(60)
    assert cells[Key("assistant", "a")].refused == 7 and cells[Key("assistant", "b")].refused == 3
    assert cells[Key("assistant", "b")].feedback == {"thumb down": 1} and cells[Key("")].feedback == {"correction": 1}
    assert value(metrics, "refusals_total", model="assistant", variant="a") == 7


def test_feedback_on_what_is_not_remembered_is_looked_up():
    asked = []

    def key_of(response):
        asked.append(response)
        return ("assistant", "b")

    monitor = Monitor(MonitoringSettings(), Metrics(), key_of, clock=Clock())
    monitor._figure([("old", "thumb", {"up": True})])
    assert asked == ["old"] and monitor.series.by_key(60)[Key("assistant", "b")].feedback == {"thumb up": 1}


def test_labels_stay_few_whatever_is_asked_for():
    monitor, _, metrics = monitor_of()
    for number in range(500):
        one = served(number, model=f"made up {number}", status=404, error=f"code {number}")
        names = (
            "model",
            "variant",
            "status",
            "error",
            "seconds",
            "ttft",
            "prompt_tokens",
            "completion_tokens",
            "shadow_of",
        )
        metrics.count({"kind": "chat", **{name: getattr(one, name) for name in names}}, ())
        monitor._figure([one])
    monitor._figure([served(501, model="assistant")])
    text = metrics.text().decode()
    assert 'model="other"' in text and "made up" not in text
    assert text.count("errors_total{") <= 51
    assert {key.model for key in monitor.series.by_key(60)} == {"other", "assistant"}


@pytest.mark.parametrize(
    ("rule", "fires"),
    [
        ({"metric": "error_rate", "above": 0.2, "variant": "b"}, True),
        ({"metric": "error_rate", "above": 0.2, "variant": "a"}, False),
        ({"metric": "error_rate", "name_of": "upstream_timeout", "above": 0.1}, True),
        ({"metric": "error_rate", "name_of": "client_closed_request", "above": 0.1}, False),
        ({"metric": "latency_p95", "above": 1.5}, True),
        ({"metric": "latency_p50", "above": 1.5}, False),
        ({"metric": "ttft_p50", "below": 0.2}, True),
        ({"metric": "refusal_rate", "above": 0.1}, False),
        ({"metric": "answer_characters", "above": 10}, True),
        ({"metric": "requests_per_second", "below": 1}, True),
        ({"metric": "tokens_per_second", "above": 100}, False),
        ({"metric": "thumbs_down_rate", "above": 0.4}, True),
        ({"metric": "filter_rate", "name_of": "toxic", "above": 0.01}, False),
        ({"metric": "stopped_rate", "above": 0}, False),
        ({"metric": "dropped", "above": 0}, False),
    ],
)
def test_rules_read_what_they_are_about(rule, fires):
    monitor, clock, _ = monitor_of(alerts=[AlertRule(name="one", window=60, **rule)])
    clock.now += 100
    for number in range(20):
        failed = number % 4 == 3
        fields = {"status": 504, "error": "upstream_timeout", "text": None} if failed else {}
        monitor._figure(
            [served(number, variant="b" if number % 2 else "a", seconds=2.0 if number > 16 else 0.5, **fields)]
        )
    monitor._figure([(served(0).id, "thumb", {"up": up}) for up in (True, False)])
    monitor.look()
    assert (monitor.alerts.states["one"].state == "firing") == fires


def test_a_rate_that_falls_says_nothing_before_its_window_is_full():
    monitor, clock, _ = monitor_of(
        alerts=[AlertRule(name="idle", metric="requests_per_second", below=0.01, window=60)]
    )
    monitor.look()
    assert monitor.alerts.states["idle"].state == "quiet"
    clock.now += 61
    monitor.look()
    assert monitor.alerts.states["idle"].state == "firing"


def test_what_is_always_watched():
    monitor = busy(Clock())
    assert monitor.alerts.states["canary_rolled_back"].state == "firing"
    assert monitor.alerts.states["drift"].state == "quiet"
    assert monitor_of()[0].alerts.states.keys() == {"monitoring_errors", "canary_rolled_back"}
    own = AlertRule(name="monitoring_errors", metric="monitoring_errors", above=100)
    assert monitor_of(alerts=[own])[0].alerts.states["monitoring_errors"].rule.above == 100


def test_drift_on_live_traffic_is_an_alert_and_a_gauge():
    clock = Clock()
    monitor = busy(clock)
    for number in range(400):
        monitor._figure(
            [served(number, prompt="Пожалуйста, переведите это письмо на немецкий язык " * (1 + number % 3))]
        )
        monitor._compared.work()
        if monitor.drift.changes:
            break
    monitor.look()
    assert number < 100 and monitor.alerts.states["drift"].state == "firing"
    assert monitor.drift.changes[0].side == "input"
    assert value(monitor.metrics, "drift_evidence", side="input", feature=monitor.drift.changes[0].feature) == 1.0
