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
import gc
import io
import json
import os
import pstats
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from gateway_servers import Servers

CLIENTS = 50
DELAY = 0.05
BODY = {"model": "stub", "messages": [{"role": "user", "content": "What would a model say to that? " * 10}]}


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


class Sides(Servers):
    """The servers, with clients of the stub alone and of the gateway before it."""

    def __init__(self, profile: str = ""):
        super().__init__(profile)
        self.direct, self.through = (Load(port, self.key) for port in self.ports)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def over_rounds(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


async def pairs(rounds: int, sides: Sides, work: Callable[[Load], Awaitable[Any]]) -> list[tuple[Any, Any]]:
    """What the stub alone and the gateway gave, in rounds that alternate."""
    found = []
    for number in range(rounds):
        order = [sides.direct, sides.through] if number % 2 else [sides.through, sides.direct]
        got = {load: await work(load) for load in order}
        found.append((got[sides.direct], got[sides.through]))
    return found


async def measure(sides: Sides, rounds: int, seconds: float) -> dict[str, Any]:
    """Latency and throughput of answers, latency of streams."""
    found: dict[str, Any] = {}
    await sides.through.answers(sides.through.request(5), CLIENTS, 1.0)  # connections, caches
    for name, delay, clients in (
        ("answers after 25 to 75 ms", DELAY, CLIENTS),
        ("answers after 25 to 75 ms, 100 clients", DELAY, 2 * CLIENTS),
        ("answers at once", 0.0, CLIENTS),
    ):
        request = sides.direct.request(round(delay * 1000))
        before = sides.cpu()
        got = await pairs(rounds, sides, lambda load, r=request, c=clients: load.answers(r, c, seconds))
        answered = sum(len(b[0]) for _, b in got)
        found[name] = {
            "gateway_cpu_us_a_request": 1e6 * (sides.cpu() - before) / answered,
            "added_median_ms": over_rounds([1000 * (percentile(b[0], 0.5) - percentile(a[0], 0.5)) for a, b in got]),
            "added_p99_ms": over_rounds([1000 * (percentile(b[0], 0.99) - percentile(a[0], 0.99)) for a, b in got]),
            "throughput_ratio": over_rounds([b[1] / a[1] for a, b in got]),
            "stub_rps": over_rounds([a[1] for a, _ in got]),
            "gateway_rps": over_rounds([b[1] for _, b in got]),
        }
    request = sides.direct.request(50, 20, 50)
    streams = await pairs(rounds, sides, lambda load: load.streams(request, CLIENTS))
    for which, name in enumerate(("first token of streams", "last token of streams")):
        differences = [
            [1000 * (percentile(b[which], p) - percentile(a[which], p)) for a, b in streams] for p in (0.5, 0.99)
        ]
        keys = ("added_median_ms", "added_p99_ms")
        found[name] = {key: over_rounds(some) for key, some in zip(keys, differences, strict=True)}
    return found


async def open_streams(sides: Sides, count: int, seconds: int) -> dict[str, float]:
    """The gateway's memory with many streams open, a token a second each."""
    before = sides.memory()
    request = sides.through.request(0, 1000, seconds)
    reading = asyncio.ensure_future(sides.through.streams(request, count))
    await asyncio.sleep(seconds * 0.3)
    early = sides.memory()
    seen = []
    while not reading.done():
        seen.append(sides.memory())
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
        sides = Sides(file.name)
        asyncio.run(sides.through.answers(sides.through.request(0), CLIENTS, seconds))
        sides.end()
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
    sides = Sides()
    found = uvloop.run(measure(sides, rounds, seconds))
    found["open streams"] = uvloop.run(
        open_streams(sides, 200 if options.quick else 1000, 10 if options.quick else 30)
    )
    sides.end()
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
    main()
