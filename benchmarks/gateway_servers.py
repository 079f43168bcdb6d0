"""What benchmarks/gateway.py measures: a stub of a model server, and the gateway, each in a process of its own."""

from __future__ import annotations

import asyncio
import cProfile
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


class Servers:
    """Stub and gateway, each in a process: their `ports`, in this order, and the gateway's `key`."""

    def __init__(self, profile: str = ""):
        self.folder = tempfile.TemporaryDirectory()
        database = f"{self.folder.name}/gateway.sqlite"
        from rlhf_ext.data.store.served import ApiKeys, ServedStore

        self.key = ApiKeys(ServedStore(database).database).add("benchmark")
        self.ports = ports = [free_port(), free_port()]
        self.stub = self._start("stub", ports[0])
        self.gateway = self._start("gateway", ports[1], ports[0], database, profile)
        for port in ports:
            wait_for(port)

    def _start(self, *arguments: Any) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, str(Path(__file__)), *map(str, arguments)], env=environment)

    def memory(self) -> float:
        """The gateway's resident memory in MB."""
        status = Path(f"/proc/{self.gateway.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def cpu(self) -> float:
        """CPU-seconds that the gateway has taken."""
        fields = Path(f"/proc/{self.gateway.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        for process in (self.gateway, self.stub):
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
        self.folder.cleanup()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def wait_for(port: int) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"Nothing listens on port {port}.")


def stub(port: int) -> None:
    """A model server: what it does is in the request's `seed` (milliseconds before, between, and how many tokens)."""
    import uvicorn

    shown = {"id": "up-1", "created": 1, "model": "stub"}
    usage = {"prompt_tokens": 80, "completion_tokens": 60, "total_tokens": 140}
    choice = {"index": 0, "message": {"role": "assistant", "content": "A word. " * 40}, "finish_reason": "stop"}
    whole = json.dumps({**shown, "object": "chat.completion", "choices": [choice], "usage": usage}).encode()

    def part(delta: Any, reason: str | None) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
        return (
            b"data: " + json.dumps({**shown, "object": "chat.completion.chunk", "choices": choices}).encode() + b"\n\n"
        )

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": message["type"] + ".complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        raw = b""
        while True:
            message = await receive()
            raw += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["method"] == "GET":
            await answer(send, b'{"object": "list", "data": []}')
            return
        body = json.loads(raw)
        before, between, tokens = body["seed"] // 10**8, body["seed"] // 10**4 % 10**4, body["seed"] % 10**4
        if before:
            await asyncio.sleep(before / 1000 * random.uniform(0.5, 1.5))  # answers differ in length
        if not body.get("stream"):
            await answer(send, whole)
            return
        head = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        for _ in range(tokens):
            await send({"type": "http.response.body", "body": part({"content": " word"}, None), "more_body": True})
            await asyncio.sleep(between / 1000)
        last = part({}, "stop") + b"data: [DONE]\n\n"
        await send({"type": "http.response.body", "body": last, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def answer(send: Any, data: bytes) -> None:
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": data})

    uvicorn.run(app, port=port, log_level="error", access_log=False, backlog=2048)


def gateway(port: int, upstream: int, database: str, profile: str) -> None:
    """One worker; with `profile`, writes where its time went when it ends."""
    from rlhf_ext.deployment.gateway import (
        GatewaySettings,
        LimitSettings,
        StoreSettings,
        Target,
        UpstreamSettings,
        create_gateway,
        listen,
        serve,
    )

    up = UpstreamSettings(url=f"http://127.0.0.1:{upstream}/v1", max_in_flight=2000, idle_seconds=120.0)
    settings = GatewaySettings(
        upstreams={"stub": up},
        models={"stub": Target(backend="stub")},
        store=StoreSettings(database=database),
        limits=LimitSettings(notice_seconds=0.0, drain_seconds=1.0),
    )
    with listen("127.0.0.1", port) as at:
        app = create_gateway(settings)
        if not profile:
            serve(app, at)
            return
        profiler = cProfile.Profile()
        profiler.runcall(serve, app, at)
        profiler.dump_stats(profile)


if __name__ == "__main__":
    if sys.argv[1] == "stub":
        stub(int(sys.argv[2]))
    else:
        gateway(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])
