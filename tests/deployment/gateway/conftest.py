"""Gateways on loopback over a stub model server, in threads of their own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from openai import OpenAI

from rlhf_ext.deployment.gateway import (
    Gateway,
    GatewaySettings,
    Served,
    StoreSettings,
    Target,
    UpstreamSettings,
    create_gateway,
    listen,
)

from . import stub as stubs

QUESTION = [{"role": "user", "content": "2 + 2?"}]


@dataclass
class Watcher:
    """An observer that remembers."""

    seen: list[Served] = field(default_factory=list)
    heard: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def served(self, served: Served) -> None:
        self.seen.append(served)

    def said(self, response: str, kind: str, value: dict[str, Any]) -> None:
        self.heard.append((response, kind, value))


@dataclass
class Running:
    """A gateway that listens."""

    gateway: Gateway
    port: int
    watcher: Watcher

    def client(self, key: str = "none", **options: Any) -> OpenAI:
        return OpenAI(
            base_url=f"http://127.0.0.1:{self.port}/v1", api_key=key, **{"max_retries": 0, "timeout": 20, **options}
        )

    def post(
        self, path: str, body: Any, key: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Status, headers and answer."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return self._call("POST", path, raw, {"Content-Type": "application/json", **headers})

    def get(self, path: str, key: str | None = None) -> tuple[int, dict[str, str], Any]:
        return self._call("GET", path, None, {} if key is None else {"Authorization": f"Bearer {key}"})

    def _call(self, method: str, path: str, raw: bytes | None, headers: dict[str, str]) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, raw, headers)
        answer = connection.getresponse()
        body, found = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        connection.close()
        return answer.status, found, json.loads(body) if "json" in found["content-type"] else body.decode()

    def chat(self, content: str = "2 + 2?", **fields: Any) -> dict[str, Any]:
        return {"model": "stub", "messages": [{"role": "user", "content": content}], **fields}

    def rows(self, count: int | None = None) -> list[Any]:
        """Responses in the store; with a count, when there are so many."""
        until = time.monotonic() + 10
        while True:
            self.gateway.recorder.flush(5)
            found = list(self.gateway.store.responses())
            if count is None or len(found) >= count or time.monotonic() > until:
                return found
            time.sleep(0.02)

    def idle(self) -> bool:
        """Whether nothing is on its way, after a moment."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            gates = [backend.gate for backend in self.gateway.backends.values()]
            if not self.gateway.stopping.exchanges and not any(gate.inside or gate.queue for gate in gates):
                return True
            time.sleep(0.01)
        return False


@pytest.fixture
def stub() -> Iterator[stubs.Stub]:
    """A model server."""
    with stubs.running() as running:
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts gateways, and ends them after the test."""
    running: list[tuple[uvicorn.Server, threading.Thread, Running]] = []

    def begin(stub: stubs.Stub | None = None, upstream: dict[str, Any] | None = None, **settings: Any) -> Running:
        if stub is not None:
            ours = UpstreamSettings(url=stub.url, **(upstream or {}))
            settings = {"upstreams": {"up": ours}, "models": {"stub": Target(backend="up")}, **settings}
        settings.setdefault("store", StoreSettings(database=str(tmp_path / "gateway.sqlite"), texts=True))
        watcher = Watcher()
        app: Any = create_gateway(GatewaySettings(**settings), watcher)
        at = listen("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [at]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        found = Running(app.gateway, at.getsockname()[1], watcher)
        running.append((server, thread, found))
        return found

    yield begin
    for server, thread, found in running:
        # Whatever the test did: nothing is stuck.
        idle = found.idle()
        server.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive(), "the server does not end"
        assert idle, "a request is stuck"
