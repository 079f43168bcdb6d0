"""Alerts: when they fire and are resolved, once each; and the webhook, which fails in all ways."""

import json
import logging
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rlhf_ext.deployment.monitoring import AlertRule, Alerts, Webhook, WebhookSettings

from .traffic import Clock


def watched(values, seconds=15.0, n=10, **rule):
    """States after each value, and what was told."""
    clock, told = Clock(0.0), []
    rule = {"name": "errors", "metric": "error_rate", "above": 0.1, **rule}
    alerts = Alerts([AlertRule(**rule)], told.append, clock)
    states = []
    for value in values:
        alerts.look(lambda _, value=value: (value, n if value is not None else 0))
        states.append(alerts.states["errors"].state)
        clock.now += seconds
    return states, told


def test_an_alert_fires_once_and_is_resolved_once():
    states, told = watched([0.05, 0.2, 0.3, 0.2, 0.05, 0.05])
    assert states == ["quiet", "firing", "firing", "firing", "quiet", "quiet"]
    assert [(one.state, one.value, one.time) for one in told] == [("firing", 0.2, 15.0), ("resolved", 0.05, 60.0)]
    assert told[0].id == told[1].id and told[1].since == 15.0


def test_the_condition_must_hold_without_a_break_and_so_must_its_end():
    high, low = 0.2, 0.0
    states, told = watched([high, high, low, high, high, high, high, low, high, low, low, low], hold=30)
    assert states[:7] == ["pending", "pending", "quiet", "pending", "pending", "firing", "firing"]
    assert states[7:] == ["firing", "firing", "firing", "firing", "quiet"]
    assert [one.state for one in told] == ["firing", "resolved"]


def test_the_bound_itself_is_not_beyond_it():
    assert watched([0.1])[0] == ["quiet"]
    assert watched([0.1, 0.09], above=None, below=0.1)[0] == ["quiet", "firing"]


def test_too_little_says_nothing_either_way():
    assert watched([0.5], n=9, at_least=10)[0] == ["quiet"]
    states, told = watched([0.5, None, None])
    assert states == ["firing"] * 3 and len(told) == 1


def test_each_time_that_it_fires_is_another_alert():
    _, told = watched([0.5, 0.0, 0.5])
    assert [one.state for one in told] == ["firing", "resolved", "firing"] and told[2].id != told[0].id


def test_what_is_told_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        watched([0.5, 0.0])
    assert "Alert errors fires: error_rate above 0.1, it is 0.5." in caplog.text
    assert "Alert errors is resolved" in caplog.text


def test_long_windows_are_read_now_and_then():
    clock, read = Clock(0.0), []
    rules = [AlertRule(name=str(window), metric="error_rate", above=0.1, window=window) for window in (300, 7200)]
    alerts = Alerts(rules, lambda notice: None, clock)
    for _ in range(24):
        alerts.look(lambda rule: read.append(rule.name) or (0.0, 1))
        clock.now += 5
    assert read.count("300") == 24 and read.count("7200") == 2


class Receiver(BaseHTTPRequestHandler):
    """Answers with the statuses that it is given, the last one for ever; None breaks the connection off."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.got.append((body, dict(self.headers)))
        status = self.server.statuses.pop(0) if len(self.server.statuses) > 1 else self.server.statuses[0]
        if status == "hang":
            self.server.free.wait(10)
        if not isinstance(status, int):
            self.close_connection = True
            return
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@contextmanager
def receiver(*statuses):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.statuses, server.got, server.free = list(statuses), [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_address[1]}/hook/s3cr3t"
    finally:
        server.free.set()
        server.shutdown()
        thread.join()
        server.server_close()


def notices(*states, name="errors"):
    told = []
    clock = Clock(0.0)
    alerts = Alerts([AlertRule(name=name, metric="error_rate", above=0.1, variant="dpo")], told.append, clock)
    for value in states:
        alerts.look(lambda _, value=value: (value, 1))
    return told


def send(told, url, wait=5.0, **settings):
    lost = []
    webhook = Webhook(WebhookSettings(url=url, **settings), lambda: lost.append(1), pause=0.02)
    webhook.start()
    for one in told:
        webhook.put(one)
    until = time.monotonic() + wait
    while webhook._waiting and time.monotonic() < until:
        time.sleep(0.01)
    webhook.stop(2.0)
    assert not webhook._thread.is_alive()
    return len(lost)


def test_notices_come_in_order_as_json(monkeypatch):
    monkeypatch.setenv("HOOK_TOKEN", "t0ken")
    with receiver(200) as (server, url):
        assert send(notices(0.5, 0.0), url, bearer_env="HOOK_TOKEN") == 0
    (first, headers), (second, _) = server.got
    assert (first["state"], second["state"]) == ("firing", "resolved") and first["id"] == second["id"]
    assert first["alert"] == "errors" and first["value"] == 0.5 and first["labels"] == {"variant": "dpo"}
    assert headers["Authorization"] == "Bearer t0ken" and headers["Idempotency-Key"] == f"{first['id']}-firing"


@pytest.mark.parametrize("failing", [[500, 503], [None, None], [429], ["hang"]])
def test_a_receiver_that_fails_gets_it_again_and_then_the_rest(failing, caplog):
    with receiver(*failing, 200) as (server, url):
        assert send(notices(0.5, 0.0), url, timeout=0.3) == 0
        states = [body["state"] for body, _ in server.got]
        assert states == ["firing"] * (len(failing) + 1) + ["resolved"]
    assert caplog.text.count("webhook for alerts fails") == 1


@pytest.mark.parametrize("status", [400, 404, 302])
def test_what_will_never_be_taken_is_dropped_and_counted(status):
    with receiver(status, 200) as (server, url):
        assert send(notices(0.5, 0.0), url) == 1
        assert [body["state"] for body, _ in server.got] == ["firing", "resolved"]


def test_giving_up_takes_as_long_as_it_may(caplog):
    with receiver(500) as (_, url):
        assert send(notices(0.5), url, keep_trying=0.1) == 1
    assert "was not taken by the webhook" in caplog.text


def test_the_log_tells_no_secret(caplog, monkeypatch):
    monkeypatch.setenv("HOOK_TOKEN", "t0ken")
    caplog.set_level(logging.DEBUG)
    with receiver(500, 404) as (_, url):
        send(notices(0.5), url, bearer_env="HOOK_TOKEN")
    send(notices(0.5), "http://127.0.0.1:9/hook/s3cr3t", keep_trying=0.05)
    send(notices(0.5), "http://no.such.host.invalid/hook/s3cr3t", keep_trying=0.05)
    assert caplog.records and "s3cr3t" not in caplog.text and "t0ken" not in caplog.text


def test_too_many_waiting_drop_the_oldest_and_putting_never_waits():
    told = notices(*[0.5, 0.0] * 10)
    lost = []
    with receiver("hang") as (_, url):
        webhook = Webhook(WebhookSettings(url=url, waiting=5), lambda: lost.append(1))
        webhook.start()
        started = time.monotonic()
        for one in told:
            webhook.put(one)
        assert time.monotonic() - started < 0.5
        assert len(lost) == 15 and [one.id for one in webhook._waiting] == [one.id for one in told[-5:]]
    webhook.stop(3.0)


def test_addresses_come_from_the_environment_or_are_refused(monkeypatch):
    monkeypatch.setenv("HOOK", "https://example.org/x")
    assert WebhookSettings(url_env="HOOK").address() == "https://example.org/x"
    monkeypatch.setenv("HOOK", "file:///etc/passwd")
    with pytest.raises(ValueError, match="HOOK should hold an address that starts with https://"):
        Webhook(WebhookSettings(url_env="HOOK"), lambda: None)
    with pytest.raises(ValueError, match="one of `url` and `url_env`"):
        WebhookSettings()
    with pytest.raises(ValueError, match="should start with http"):
        WebhookSettings(url="ftp://example.org")
