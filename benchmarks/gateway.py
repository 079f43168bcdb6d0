"""What the gateway costs in front of a model server: added latency, throughput, and 1,000 open streams.

    python benchmarks/gateway.py [--quick] [--profile]

A stub takes the place of the model server: it answers after 25 to 75 ms (sooner than most models), or at once, or streams. Stub, gateway (one
worker, with an API key, recording every response in SQLite) and load each are a process of their own, on loopback. Rounds of the
stub alone and through the gateway alternate, so that what else the machine does hits both alike; figures are medians over rounds, with
the range of the rounds.

- latency: requests of 50 clients at once, each sending the next when it has its answer. Targets: at most 3 ms more at the median,
  10 ms more at the 99th percentile.
- streams: 50 at once of 50 tokens 20 ms apart; time to the first token, and to the last.
- throughput: requests a second through the gateway as a share of the stub's own. Target: at least 80 %. With a stub that answers at
  once it is bound by what Python does for a request: `--profile` says what that is.
- CPU: microseconds of the gateway for one request, all of its threads; the figure that other work on the machine moves least.
- open streams: 1,000 at once, a token a second each; the gateway's resident memory while they run. Target: flat.

Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import io
import json
import os
import pstats
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
CLIENTS = 50
DELAY = 0.05
BODY = {"model": "stub", "messages": [{"role": "user", "content": "What would a model say to that? " * 10}]}


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


class Load:
    """Clients of one server that do as little as they can themselves.

    Args:
        port (`int`): The server's.
        key (`str`): An API key.
    """

    def __init__(self, port: int, key: str):
        self.port, self.key = port, key

    def request(self, before: int = 0, between: int = 0, tokens: int = 0) -> bytes:
        """One that asks for milliseconds before and between tokens."""
        body = {**BODY, "seed": before * 10**8 + between * 10**4 + tokens, "stream": bool(tokens)}
        raw = json.dumps(body).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw

    async def answers(self, request: bytes, clients: int, seconds: float) -> tuple[list[float], float]:
        """Seconds of each request, and requests a second."""
        took: list[float] = []
        until = time.perf_counter() + seconds

        async def client() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            while time.perf_counter() < until:
                begun = time.perf_counter()
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                assert b" 200 " in head.split(b"\r\n")[0], head
                await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
                took.append(time.perf_counter() - begun)
            writer.close()

        begun = time.perf_counter()
        await asyncio.gather(*[client() for _ in range(clients)])
        return took, len(took) / (time.perf_counter() - begun)

    async def streams(self, request: bytes, clients: int) -> tuple[list[float], list[float]]:
        """Seconds to the first and to the last token of streams that all begin at once."""
        firsts, lasts = [], []

        async def client() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            begun = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head.split(b"\r\n")[0], head
            await reader.readuntil(b"data: ")
            firsts.append(time.perf_counter() - begun)
            await reader.readuntil(b"[DONE]")
            lasts.append(time.perf_counter() - begun)
            writer.close()

        await asyncio.gather(*[client() for _ in range(clients)])
        return firsts, lasts


class Servers:
    """Stub and gateway, each in a process."""

    def __init__(self, profile: str = ""):
        self.folder = tempfile.TemporaryDirectory()
        database = f"{self.folder.name}/gateway.sqlite"
        from rlhf_ext.data.store.served import ApiKeys, ServedStore

        key = ApiKeys(ServedStore(database).database).add("benchmark")
        ports = [free_port(), free_port()]
        self.stub = self._start("stub", ports[0])
        self.gateway = self._start("gateway", ports[1], ports[0], database, profile)
        for port in ports:
            wait_for(port)
        self.direct, self.through = Load(ports[0], key), Load(ports[1], key)

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


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def over_rounds(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


async def pairs(rounds: int, servers: Servers, work: Callable[[Load], Awaitable[Any]]) -> list[tuple[Any, Any]]:
    """What the stub alone and the gateway gave, in rounds that alternate."""
    found = []
    for number in range(rounds):
        order = [servers.direct, servers.through] if number % 2 else [servers.through, servers.direct]
        got = {load: await work(load) for load in order}
        found.append((got[servers.direct], got[servers.through]))
    return found


async def measure(servers: Servers, rounds: int, seconds: float) -> dict[str, Any]:
    """Latency and throughput of answers, latency of streams."""
    found: dict[str, Any] = {}
    await servers.through.answers(servers.through.request(5), CLIENTS, 1.0)  # connections, caches
    for name, delay, clients in (
        ("answers after 25 to 75 ms", DELAY, CLIENTS),
        ("answers after 25 to 75 ms, 100 clients", DELAY, 2 * CLIENTS),
        ("answers at once", 0.0, CLIENTS),
    ):
        request = servers.direct.request(round(delay * 1000))
        before = servers.cpu()
        got = await pairs(rounds, servers, lambda load, r=request, c=clients: load.answers(r, c, seconds))
        answered = sum(len(b[0]) for _, b in got)
        found[name] = {
            "gateway_cpu_us_a_request": 1e6 * (servers.cpu() - before) / answered,
            "added_median_ms": over_rounds([1000 * (percentile(b[0], 0.5) - percentile(a[0], 0.5)) for a, b in got]),
            "added_p99_ms": over_rounds([1000 * (percentile(b[0], 0.99) - percentile(a[0], 0.99)) for a, b in got]),
            "throughput_ratio": over_rounds([b[1] / a[1] for a, b in got]),
            "stub_rps": over_rounds([a[1] for a, _ in got]),
            "gateway_rps": over_rounds([b[1] for _, b in got]),
        }
    request = servers.direct.request(50, 20, 50)
    streams = await pairs(rounds, servers, lambda load: load.streams(request, CLIENTS))
    for which, name in enumerate(("first token of streams", "last token of streams")):
        differences = [
            [1000 * (percentile(b[which], p) - percentile(a[which], p)) for a, b in streams] for p in (0.5, 0.99)
        ]
        keys = ("added_median_ms", "added_p99_ms")
        found[name] = {key: over_rounds(some) for key, some in zip(keys, differences, strict=True)}
    return found


async def open_streams(servers: Servers, count: int, seconds: int) -> dict[str, float]:
    """The gateway's memory with many streams open, a token a second each."""
    before = servers.memory()
    request = servers.through.request(0, 1000, seconds)
    reading = asyncio.ensure_future(servers.through.streams(request, count))
    await asyncio.sleep(seconds * 0.3)
    early = servers.memory()
    seen = []
    while not reading.done():
        seen.append(servers.memory())
        await asyncio.sleep(0.5)
    _, lasts = await reading
    open_all = seen[: max(1, len(seen) - 4)]
    return {
        "streams": len(lasts),
        "memory_before_mb": before,
        "memory_open_mb": early,
        "kb_a_stream": 1024 * (early - before) / count,
        "growth_while_open_mb": open_all[-1] - early,
        "slowest_s": max(lasts),
        "shortest_possible_s": float(seconds),
    }


def profiled(seconds: float) -> str:
    """Where the gateway's time goes with a stub that answers at once."""
    with tempfile.NamedTemporaryFile(suffix=".prof") as file:
        servers = Servers(file.name)
        asyncio.run(servers.through.answers(servers.through.request(0), CLIENTS, seconds))
        servers.end()
        text = io.StringIO()
        stats: Any = pstats.Stats(file.name, stream=text)
        by_part: dict[str, float] = {}
        for (path, _, name), (_, _, own, _, _) in stats.stats.items():
            by_part[part_of(path, name)] = by_part.get(part_of(path, name), 0.0) + own
        total = sum(by_part.values())
        shares = sorted(by_part.items(), key=lambda one: -one[1])
        return "\n".join(f"  {name:<44} {own / total:6.1%}" for name, own in shares if own / total > 0.01)


def part_of(path: str, name: str) -> str:
    """Whose a function is."""
    for package in (
        "aiohttp",
        "uvicorn",
        "uvloop",
        "starlette",
        "asyncio",
        "prometheus_client",
        "sqlalchemy",
        "yarl",
        "json",
    ):
        if f"/{package}/" in path or path.startswith(package):
            return package
    if "rlhf_ext" in path:
        return f"rlhf_ext: {Path(path).name}"
    return f"built in: {name[:32]}" if path == "~" else Path(path).name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="short rounds and 200 streams: that it runs, not a figure"
    )
    parser.add_argument("--profile", action="store_true", help="also say where the gateway's time goes")
    options = parser.parse_args()
    rounds, seconds = (2, 1.0) if options.quick else (5, 4.0)
    import uvloop

    gc.collect()
    gc.freeze()  # a full collection in the middle of a round would be taken for the server's latency
    load = os.getloadavg()[0]
    servers = Servers()
    found = uvloop.run(measure(servers, rounds, seconds))
    found["open streams"] = uvloop.run(
        open_streams(servers, 200 if options.quick else 1000, 10 if options.quick else 30)
    )
    servers.end()
    found["machine"] = {"cores": os.cpu_count(), "load_before": load}
    print(f"{os.cpu_count()} cores, load {load:.1f} before; {rounds} rounds of {seconds:g} s, median (range)\n")
    for name, figures in found.items():
        print(name)
        for figure, value in figures.items():
            if isinstance(value, dict):
                shown = f"{value['median']:10.2f}  ({value['low']:.2f} to {value['high']:.2f})"
            else:
                shown = f"{value:10.2f}"
            print(f"  {figure:<24} {shown}")
    if options.profile:
        print(
            f"\nwhere the gateway's time goes when the stub answers at once\n{profiled(2.0 if options.quick else 6.0)}"
        )
    print(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["stub"]:
        stub(int(sys.argv[2]))
    elif sys.argv[1:2] == ["gateway"]:
        gateway(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])
    else:
        main()
