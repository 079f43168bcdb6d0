"""The `openai` client over a real `transformers serve` with a local model, in a process of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

import openai
import pytest

from rlhf_ext.deployment.gateway import StoreSettings, Target, UpstreamSettings

from .conftest import QUESTION


@pytest.fixture(scope="module")
def server(tiny, tmp_path_factory):
    """Its address, and the model's name there."""
    program = Path(sys.executable).with_name("transformers")
    assert program.exists() or shutil.which("transformers"), "transformers has no command line here"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen([*command, tiny], stdout=file, stderr=file, env=environment)
    until = time.monotonic() + 180
    while True:
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                break
        except OSError:
            assert process.poll() is None and time.monotonic() < until, log.read_text()[-2000:]
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}/v1", tiny
    process.terminate()
    process.wait(timeout=30)


@pytest.fixture
def gateway(start, server, tmp_path):
    url, model = server
    return start(
        upstreams={"serve": UpstreamSettings(url=url)},
        models={"assistant": Target(backend="serve", model=model)},
        store=StoreSettings(database=str(tmp_path / "gateway.sqlite"), texts=True),
    )


def test_the_whole_surface(gateway, server):
    client = gateway.client(timeout=120)
    answer = client.chat.completions.create(model="assistant", messages=QUESTION, max_tokens=8)
    assert answer.model == "assistant" and answer.choices[0].message.content is not None
    assert server[1] not in answer.model_dump_json(), "where the model lies concerns nobody"
    options = {"include_usage": True}
    stream = client.chat.completions.create(
        model="assistant", messages=QUESTION, max_tokens=8, stream=True, stream_options=options
    )
    parts = list(stream)
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == answer.choices[0].message.content, "it is greedy by itself"
    assert parts[-1].choices == [] and parts[-1].usage.completion_tokens > 0
    assert {part.model for part in parts} == {"assistant"} and len({part.id for part in parts}) == 1
    _, _, raw = gateway.post(
        "/v1/chat/completions", {"model": "assistant", "messages": QUESTION, "max_tokens": 4, "stream": True}
    )
    assert raw.endswith("data: [DONE]\n\n"), "which it does not send itself"
    said = client.completions.create(model="assistant", prompt="Hello", max_tokens=4)
    assert said.choices[0].finish_reason in ("length", "stop") and said.id.startswith("cmpl-")
    assert [model.id for model in client.models.list()] == ["assistant"]
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-4", messages=QUESTION)
    rows = gateway.rows(4)
    assert [row.status for row in rows] == [200] * 4 and rows[0].texts == [text]
    status, *_ = gateway.post("/v1/feedback", {"response_id": answer.id, "kind": "thumb", "up": True})
    assert status == 200
