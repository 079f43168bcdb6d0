"""How long an endpoint may keep its callers waiting."""

import logging
import time

import pytest

from rlhf_ext.generation import EndpointGenerator, sending

from .server import echo

BUSY = {"error": {"message": "busy"}}


@pytest.fixture
def warnings(caplog, monkeypatch):
    monkeypatch.setattr(sending, "_LONG", 0.1)
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    return lambda: [record.getMessage() for record in caplog.records if "asks to wait" in record.getMessage()]


@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry-After": "3600"}), (503, {"retry-after-ms": "3600000"})])
def test_a_wait_past_the_limit_ends_the_work(serve, status, headers):
    server = serve(lambda body, n: echo(body, n) if n < 2 else (status, BUSY, headers))
    generator = EndpointGenerator(server.url, "m", max_concurrency=1)
    answers = generator.each(["a", "b", "c", "d"])
    assert [next(answers)[1].text for _ in range(2)] == ["re: a", "re: b"]
    started = time.monotonic()
    with pytest.raises(
        TimeoutError, match=r"/v1 asks to wait for 3,600 s, .*`max_wait`, 600 s .*busy.* Try again later"
    ):
        next(answers)
    assert time.monotonic() - started < 5 and len(server.bodies) == 3
    with pytest.raises(TimeoutError, match="`max_wait`, 0 s"):
        EndpointGenerator(server.url, "m", max_wait=0).generate(["a"])
    with pytest.raises(ValueError, match="max_wait should be at least 0"):
        EndpointGenerator(server.url, "m", max_wait=-1)


def test_a_long_wait_is_announced_once_and_kept(serve, warnings):
    server = serve(lambda body, n: (429, BUSY, {"Retry-After": "0.2"}) if n < 2 else echo(body, n))
    started = time.monotonic()
    assert EndpointGenerator(server.url, "m", max_concurrency=1).generate(["a", "b"]) == ["re: a", "re: b"]
    assert time.monotonic() - started > 0.35
    assert len(warnings()) == 1 and "This is said once" in warnings()[0]


def test_a_short_wait_is_nothing_to_speak_of(serve, warnings):
    server = serve(lambda body, n: (429, BUSY, {"Retry-After": "0.05"}) if n < 2 else echo(body, n))
    assert EndpointGenerator(server.url, "m").generate(["a"]) == ["re: a"]
    assert not warnings()
