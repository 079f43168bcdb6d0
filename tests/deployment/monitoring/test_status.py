"""The status page: who sees it, what it says, and that it cannot be made to say anything else."""

import base64
import re

import pytest

from rlhf_ext.data.store.served import ApiKeys
from rlhf_ext.deployment.filters import Hit
from rlhf_ext.deployment.gateway.metrics import Metrics
from rlhf_ext.deployment.monitoring import Monitor, MonitoringSettings
from rlhf_ext.deployment.monitoring.page import status_page

from .traffic import Clock, busy, served

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page():
    return status_page(busy(), "1 h")


def get(gateway, path="/status", **headers):
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    connection.request("GET", path, None, headers)
    answer = connection.getresponse()
    found = answer.status, {name.lower(): one for name, one in answer.getheaders()}, answer.read().decode()
    connection.close()
    return found


def basic(password):
    return {"Authorization": "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()}


def test_everything_that_is_watched_is_there(page):
    for words in (
        *("Requests", "Time of answers", "Time to the first token, of streams", "Errors", "Tokens", "Refusals"),
        *("next (shadow)", "helpful, of sampled answers", "toxicity", "Thumbs up", "upstream_timeout", "personal"),
        *("tone/dpo", "✗ rolled back", "waits for 120 more users", "Input: words", "✓ as before", "2</a>"[:1]),
        *("error_rate above 0.05", "canaries_rolled_back above 0", "What was told"),
    ):
        assert words in page, words
    assert page.count("<svg") > 15 and "{{" not in page and "None" not in page and "nan" not in page.lower().split()


def test_the_page_loads_nothing_and_has_no_scripts(page):
    assert "<script" not in page and " on" not in "".join(re.findall(r"<[^>]* on\w+=", page))
    assert re.findall(r"(?:src|href)=[\"']?(?!data:,|\?|#|/metrics)[^\"'>\s]+", page) == []
    assert "style=" not in page and "@import" not in page and "url(" not in page


def test_numbers_are_those_of_the_window():
    clock = Clock()
    monitor = Monitor(MonitoringSettings(), Metrics(), clock=clock)
    for number in range(30):
        monitor._figure([served(number, variant="a", text="I cannot help with that." if number < 6 else "Yes.")])
    clock.now += 3000
    monitor._figure([served(31, variant="a")])
    hour, quarter = status_page(monitor, "1 h"), status_page(monitor, "15 min")
    assert 'data-label="Requests">31<' in hour and 'data-label="Requests">1<' in quarter
    assert 'data-label="Refusals">19 %<small>9.2 to 36<' in hour and 'data-label="Refusals">0 %' in quarter
    assert "○" not in hour and "No alert fires" in hour


def test_an_empty_monitor_has_a_page():
    page = status_page(Monitor(MonitoringSettings(), Metrics(), clock=Clock()))
    assert "No request in this window" in page and "Nobody has been served" in page and "Not watched" in page


def test_names_from_outside_are_shown_as_they_are_and_do_nothing():
    monitor = Monitor(MonitoringSettings(), Metrics(), clock=Clock(), canaries=dict)
    hits = (Hit(EVIL, "flag", EVIL),)
    monitor._figure(
        [
            served(1, model=EVIL, variant=EVIL, filter_hits=hits, text=EVIL),
            served(2, model="b\ud800\x00", status=500, error=EVIL),
        ]
    )
    page = status_page(monitor)
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page
    page.encode()  # whatever clients send, the page is UTF-8


def test_windows_are_as_far_as_it_goes_back_and_others_are_refused():
    monitor = Monitor(MonitoringSettings(hours=0.1), Metrics(), clock=Clock())
    assert "all" in status_page(monitor)
    with pytest.raises(LookupError, match="no window '1 h'"):
        status_page(monitor, "1 h")


def test_it_updates_itself_only_if_asked(page):
    assert 'http-equiv="refresh"' not in page
    assert 'content="30"' in status_page(Monitor(MonitoringSettings(), Metrics()), refresh=True)


def test_without_keys_it_is_open_to_addresses_alone(start, stub):
    gateway = start(stub)
    status, headers, text = get(gateway)
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8" and "Status of the gateway" in text
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and headers["cache-control"] == "no-store"
    assert get(gateway, "/status?window=15+min&refresh=1")[0] == 200
    assert get(gateway, "/status?window=nonsense")[0] == 400
    assert get(gateway, Host="evil.example:80")[0] == 421
    assert get(gateway, Host="localhost")[0] == 200 and get(gateway, Host="[::1]:80")[0] == 200
    assert gateway.post("/status", {})[0] == 405


def test_with_keys_it_needs_one(start, stub):
    gateway = start(stub)
    keys = ApiKeys(gateway.gateway.store.database)
    secret, gone = keys.add("ann"), keys.add("bob")
    keys.revoke("bob")
    gateway.gateway.keys.load()
    status, headers, text = get(gateway)
    assert status == 401 and headers["www-authenticate"].startswith("Basic ") and "requests" not in text
    assert get(gateway, **basic(secret))[0] == get(gateway, Authorization=f"Bearer {secret}")[0] == 200
    assert get(gateway, **basic(secret), Host="gateway.example")[0] == 200
    for wrong in (
        basic(gone),
        basic("x"),
        basic(""),
        {"Authorization": "Basic ???"},
        {"Authorization": f"Bearer {gone}"},
    ):
        assert get(gateway, **wrong)[0] == 401


def test_with_a_password_it_needs_that_and_guessing_is_slow(start, stub, monkeypatch):
    monkeypatch.setenv("RLHF_EXT_ADMIN_PASSWORD", "correct horse")
    gateway = start(stub)
    secret = ApiKeys(gateway.gateway.store.database).add("ann")
    gateway.gateway.keys.load()
    assert get(gateway)[0] == 401 and get(gateway, Authorization=f"Bearer {secret}")[0] == 401
    assert get(gateway, **basic(secret))[0] == 401
    assert get(gateway, **basic("correct horse"))[0] == 200
    assert [get(gateway, **basic(f"guess {number}"))[0] for number in range(40)].count(401) < 30
    # Beyond the limit the right one is not told from wrong ones.
    assert get(gateway, **basic("correct horse"))[0] == 429
