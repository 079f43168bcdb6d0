"""A model server that fails in every way there is: clients get a proper error, nothing is stuck, each request is kept once."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import openai
import pytest

from rlhf_ext.deployment.gateway import FilterSettings, Target, UpstreamSettings

from .conftest import QUESTION

FAST = {"first_byte_seconds": 0.4, "idle_seconds": 0.4, "connect_seconds": 0.5}


@pytest.mark.parametrize(
    ("fault", "stream", "status", "code"),
    [
        ("drop", False, 502, "upstream_error"),
        ("drop", True, 502, "upstream_error"),
        ("garbage", False, 502, "upstream_error"),
        ("garbage", True, 502, "upstream_error"),
        ("garbagehead", False, 502, "upstream_error"),
        ("list", False, 502, "upstream_error"),
        ("halfbody", False, 502, "upstream_error"),
        ("hang", False, 504, "upstream_timeout"),
        ("hang", True, 504, "upstream_timeout"),
        ("status:500", False, 502, "upstream_error"),
        ("status:503", False, 503, "upstream_unavailable"),
        ("status:504", True, 504, "upstream_timeout"),
        ("status:429", False, 429, "rate_limit_exceeded"),
        ("status:401", False, 502, "upstream_error"),
        ("status:302", False, 502, "upstream_error"),
        ("status:400", False, 400, "x"),
        ("detail", True, 422, "invalid_request_error"),
    ],
)
def test_before_the_answer_has_begun(start, stub, fault, stream, status, code):
    gateway = start(stub, FAST)
    got, headers, answer = gateway.post("/v1/chat/completions", gateway.chat(f"do {fault}", stream=stream))
    error = answer["error"]
    assert (got, error["code"] or error["type"]) == (status, code)
    if status >= 500:
        assert "secret" not in error["message"], "what servers say of themselves stays here"
    if status in (429, 503):
        assert headers["retry-after"] == "7"
    [row] = gateway.rows(1)
    assert (row.status, row.error) == (status, code)
    assert gateway.post("/v1/chat/completions", gateway.chat())[0] == 200, "the next one is answered"


@pytest.mark.parametrize(
    ("fault", "words", "status"),
    [
        ("half", "broke off", 502),
        ("halfclean", "before its answer was whole", 502),
        ("hanghalf", "stopped in the middle", 504),
        ("garbagestream", "no JSON", 502),
        ("errorstream", "broke off with an error", 502),
    ],
)
def test_in_the_middle_of_a_stream(start, stub, fault, words, status):
    gateway = start(stub, FAST)
    question = [{"role": "user", "content": fault}]
    with pytest.raises(openai.APIError, match=words) as caught:
        list(gateway.client().chat.completions.create(model="stub", messages=question, stream=True))
    assert "secret" not in str(caught.value)
    [row] = gateway.rows(1)
    assert row.status == status and row.finish_reason is None
    _, _, text = gateway.post("/v1/chat/completions", gateway.chat(fault, stream=True))
    assert "[DONE]" not in text, "nobody should take half an answer for a whole one"


@pytest.mark.parametrize("filters", [[], [FilterSettings(name="codename", words=["heron"])]])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "choice",
    [
        {"index": [1]},
        {"delta": "x", "message": "x"},
        {"delta": {"tool_calls": "x"}, "message": {"tool_calls": "x"}},
        {"delta": {"tool_calls": [1]}, "message": {"tool_calls": [1]}},
        {"delta": {"tool_calls": [{"index": [1]}]}, "message": {"tool_calls": [{"function": "x"}]}},
    ],
)
def test_an_answer_of_another_shape(start, stub, filters, stream, choice):
    answer = {"id": "up-1", "object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop", **choice}]}
    stub._whole, stub._parts = lambda body, path: answer, lambda body, path: [answer]
    gateway = start(stub, FAST, filters=filters)
    status, _, told = gateway.post("/v1/chat/completions", gateway.chat(stream=stream))
    assert (status, told["error"]["code"]) == (502, "upstream_error")
    [row] = gateway.rows(1)
    assert (row.status, row.error) == (502, "upstream_error")


def test_half_of_two_choices_is_no_whole_answer(start, stub):
    shown = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": "stub"}
    first = [(0, {"content": "a"}, None), (1, {"content": "b"}, None), (0, {}, "stop")]
    stub._parts = lambda body, path: [
        {**shown, "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}
        for index, delta, reason in first
    ]
    gateway = start(stub, FAST)
    _, _, text = gateway.post("/v1/chat/completions", gateway.chat(stream=True, n=2))
    assert "before its answer was whole" in text and "[DONE]" not in text
    first.append((1, {}, "stop"))
    _, _, text = gateway.post("/v1/chat/completions", gateway.chat(stream=True, n=2))
    assert "error" not in text and "[DONE]" in text


def test_no_model_server_at_all(start):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    up = UpstreamSettings(url=f"http://127.0.0.1:{port}/v1")
    gateway = start(upstreams={"up": up}, models={"stub": Target(backend="up")})
    with pytest.raises(openai.InternalServerError) as caught:
        gateway.client().chat.completions.create(model="stub", messages=QUESTION)
    assert caught.value.status_code == 503 and caught.value.code == "upstream_unavailable"
    assert gateway.get("/healthz")[0] == 200
    status, _, state = gateway.get("/readyz")
    assert status == 503 and state["why"] == "no backend answers"


def test_a_model_server_that_is_killed_under_load(start, tmp_path):
    """kill -9 with twenty streams open: each of them ends, with an error; a new server is used as soon as it is there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = Path(__file__).with_name("stub.py")

    def begin() -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, script, str(port)])
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process
            time.sleep(0.02)
        raise AssertionError("the stub does not start")

    process = begin()
    up = UpstreamSettings(url=f"http://127.0.0.1:{port}/v1")
    gateway = start(upstreams={"up": up}, models={"stub": Target(backend="up")})
    outcomes: list[str] = []

    def read() -> None:
        question = [{"role": "user", "content": "endless"}]
        stream = gateway.client().chat.completions.create(model="stub", messages=question, stream=True)
        try:
            for _ in stream:
                pass
            outcomes.append("whole")
        except openai.APIError as error:
            outcomes.append(str(error))

    readers = [threading.Thread(target=read) for _ in range(20)]
    for reader in readers:
        reader.start()
    until = time.monotonic() + 10
    while gateway.gateway.metrics.in_flight._value.get() < 20 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.2)
    process.kill()
    process.wait()
    for reader in readers:
        reader.join(timeout=10)
    assert len(outcomes) == 20 and all("broke off" in one for one in outcomes), outcomes
    assert gateway.post("/v1/chat/completions", gateway.chat())[0] == 503
    process = begin()
    try:
        assert gateway.post("/v1/chat/completions", gateway.chat())[0] == 200
    finally:
        process.kill()
        process.wait()
    rows = gateway.rows(22)
    assert len(rows) == len({row.id for row in rows}) == 22
    assert sorted({row.status for row in rows}) == [200, 502, 503]


@pytest.mark.parametrize("stream", [True, False])
def test_when_the_client_goes_the_model_server_stops(start, stub, stream):
    gateway = start(stub)
    body = gateway.chat("endless" if stream else "hang", stream=stream)
    raw = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw
        )
        if stream:
            assert b"200" in connection.recv(100)
        assert stub.hung.wait(5)
        assert stub.broken_off == 0
    until = time.monotonic() + 5
    while stub.broken_off == 0 and time.monotonic() < until:
        time.sleep(0.01)
    assert stub.broken_off == 1, "it writes on for nobody"
    [row] = gateway.rows(1)
    assert (row.status, row.error) == (499, "client_closed_request")


def test_a_client_that_goes_while_it_waits_gives_its_turn_back(start, stub):
    gateway = start(stub, {"max_in_flight": 1})
    raw = json.dumps(gateway.chat("hang")).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw
    first = socket.create_connection(("127.0.0.1", gateway.port))
    first.sendall(request)
    assert stub.hung.wait(5)
    others = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(3)]
    for one in others:
        one.sendall(request)
    gate = gateway.gateway.backends["up"].gate
    until = time.monotonic() + 5
    while len(gate.queue) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    for one in others:
        one.close()
    while gate.queue and time.monotonic() < until:
        time.sleep(0.01)
    assert not gate.queue and gate.inside == 1
    first.close()
    assert gateway.post("/v1/chat/completions", gateway.chat())[0] == 200


def test_queues_are_bounded(start, stub):
    gateway = start(stub, {"max_in_flight": 2, "max_waiting": 3, "wait_seconds": 2, "first_byte_seconds": 5})
    found: list[tuple[int, float, dict[str, str]]] = []

    def ask() -> None:
        begun = time.monotonic()
        status, headers, _ = gateway.post("/v1/chat/completions", gateway.chat("hang"))
        found.append((status, time.monotonic() - begun, headers))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    refused = [(seconds, headers) for status, seconds, headers in found if status == 429]
    assert len(refused) == 6 and all(headers["retry-after"] == "1" for _, headers in refused)
    assert sum(seconds < 1.5 for seconds, _ in refused) == 3, "three at once, three after they have waited"
    assert stub.most_at_once == 2 and [status for status, *_ in found].count(504) == 2


def test_a_client_that_reads_nothing_does_not_fill_the_memory(start, stub):
    """What the client does not take is not read from the model server."""
    stub.words = ["x" * 60_000] * 400
    gateway = start(stub)
    raw = json.dumps(gateway.chat(stream=True)).encode()
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw
        )
        time.sleep(1)
        assert stub.at_once == 1, "24 MB were read ahead"
    assert gateway.rows(1)[0].status == 499
