"""How a gateway ends: asked to, it lets streams finish; killed, it has kept what it acknowledged."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPException
from pathlib import Path

import openai
import pytest

from rlhf_ext.data.store.served import ServedStore

from .conftest import QUESTION, Running
from .stub import WORDS


class Process:
    """A gateway process on a port that stays."""

    def __init__(self, database: Path, upstream: str, drain: float = 5.0):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        script = Path(__file__).with_name("gateway_process.py")
        self.command = [sys.executable, str(script), str(database), str(self.port), upstream, str(drain)]
        self.calls = Running(None, self.port, None)  # type: ignore[arg-type]

    def start(self) -> None:
        root = str(Path(__file__).parents[3])
        environment = {**os.environ, "PYTHONPATH": root}
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True, env=environment)
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if self.calls.get("/healthz")[0] == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(self.process.communicate(timeout=5))

    def end(self) -> str:
        if self.process.poll() is None:
            self.process.kill()
        return self.process.communicate(timeout=10)[1]


@pytest.fixture
def process(stub, tmp_path):
    made = []

    def begin(**settings):
        one = Process(tmp_path / "gateway.sqlite", stub.url, **settings)
        one.start()
        made.append(one)
        return one

    yield begin
    for one in made:
        one.end()


def test_sigterm_lets_streams_finish(process, stub, tmp_path):
    stub.gap = 0.25  # two seconds a stream
    gateway = process()
    texts: list[str] = []

    def read() -> None:
        stream = gateway.calls.client().chat.completions.create(model="stub", messages=QUESTION, stream=True)
        texts.append("".join(part.choices[0].delta.content or "" for part in stream))

    readers = [threading.Thread(target=read) for _ in range(5)]
    for reader in readers:
        reader.start()
    while stub.at_once < 5:
        time.sleep(0.02)
    gateway.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    status, _, state = gateway.calls.get("/readyz")
    assert (status, state["why"]) == (503, "shutting down") and gateway.calls.get("/healthz")[0] == 200
    time.sleep(0.6)
    with pytest.raises(ConnectionRefusedError):
        gateway.calls.get("/readyz")
    for reader in readers:
        reader.join(timeout=10)
    assert texts == ["".join(WORDS)] * 5
    assert gateway.process.wait(timeout=10) == 0
    assert gateway.end() == "", "nothing to complain of"
    rows = list(ServedStore(tmp_path / "gateway.sqlite").responses())
    assert [row.status for row in rows] == [200] * 5, "what was served last is stored"


def test_a_stream_that_does_not_end_is_broken_off_and_told_why(process, stub, tmp_path):
    gateway = process(drain=0.5)
    stream = gateway.calls.client().chat.completions.create(
        model="stub", messages=[{"role": "user", "content": "endless"}], stream=True
    )
    next(iter(stream))
    gateway.process.send_signal(signal.SIGTERM)
    with pytest.raises(openai.APIError, match="shutting down"):
        for _ in stream:
            pass
    assert gateway.process.wait(timeout=5) == 0
    [row] = ServedStore(tmp_path / "gateway.sqlite").responses()
    assert (row.status, row.error) == (503, "shutting_down")


def test_feedback_that_was_acknowledged_survives_kill_9(process, tmp_path):
    """Killed again and again in the middle of a crowd: what was acknowledged is there, once, and the store is whole."""
    gateway = process()
    acknowledged: list[str] = []
    stop = threading.Event()

    def use(worker: int) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            name = f"{worker}-{n}"
            try:
                _, _, answer = gateway.calls.post("/v1/chat/completions", gateway.calls.chat(user=f"u{worker}"))
                body = {"response_id": answer["id"], "kind": "thumb", "up": True, "id": name}
                if gateway.calls.post("/v1/feedback", body)[0] == 200:
                    acknowledged.append(name)
            except (OSError, KeyError, ValueError, HTTPException):
                time.sleep(0.02)

    users = [threading.Thread(target=use, args=(n,)) for n in range(4)]
    for user in users:
        user.start()
    for _ in range(2):
        before, until = len(acknowledged), time.monotonic() + 20
        while len(acknowledged) < before + 15 and time.monotonic() < until:
            time.sleep(0.01)
        gateway.process.send_signal(signal.SIGKILL)
        gateway.process.wait()
        gateway.start()
    stop.set()
    for user in users:
        user.join(timeout=30)
    store = ServedStore(tmp_path / "gateway.sqlite")
    stored = [row["id"] for row in store.feedback()]
    assert len(acknowledged) >= 30 and set(acknowledged) <= set(stored) and len(stored) == len(set(stored))
    responses = [row.id for row in store.responses()]
    assert len(responses) == len(set(responses))
    assert {row["response"] for row in store.feedback()} <= set(responses)
