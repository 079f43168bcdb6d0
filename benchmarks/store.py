"""How many answers a second a store takes, from several processes at once, and what one costs.

    python benchmarks/store.py [--quick] [--url URL] [--processes 4]

- writes: records a second that all processes together get acknowledged, and CPU-seconds of all of them for 1,000 records; by how
  many records a transaction holds: 1, and small batches of 10 and 100. Target: 20,000 a second from 4 processes on SQLite.
- queue: answers a second through the work queue (an item given, an answer taken, each a transaction), 4 processes.
- floor: the same single rows written by the bare sqlite3 module into a table with the same indices, one process: what SQLite itself
  takes on this machine.

Rates are of wall time, and move with whatever else runs on the machine; the CPU-seconds hardly do. The record's fields are checked
and turned into JSON within the measured time. Every run ends by counting the rows: none may be missing.

Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")


def records(worker: int, start: int, count: int) -> list[Any]:
    from rlhf_ext.data.store import FeedbackRecord

    return [
        FeedbackRecord(
            "comparison",
            f"item {n % 5000}",
            f"annotator {worker}",
            {"strength": (n % 101) / 100},
            shown_order=(1, 0),
            models=("policy/1", "policy/2"),
            seconds=4.5,
        )
        for n in range(start, start + count)
    ]


def add(url: str, worker: int, size: int, until: float) -> int:
    from rlhf_ext.data.store import FeedbackStore

    store, done = FeedbackStore(url), 0
    while time.time() < until:
        done += len(store.add(records(worker, done, size)))
    return done


def answer(url: str, worker: int, size: int, until: float) -> int:
    from rlhf_ext.data.store import FeedbackStore, WorkQueue

    queue, done, name = WorkQueue(FeedbackStore(url)), 0, f"annotator {worker}"
    while time.time() < until and (asked := queue.next(name)) is not None:
        queue.submit(asked.id, name, {"strength": 0.5}, seconds=4.5)
        done += 1
    return done


def worker(work: Callable[..., int], url: str, number: int, size: int, start: Any, until: Any, found: Any) -> None:
    import rlhf_ext.data.store  # noqa: F401

    start.wait()
    before = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    done = work(url, number, size, until.value)
    found.put((done, sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - before))


def measured(work: Callable[..., int], url: str, processes: int, size: int, seconds: float) -> dict[str, float]:
    """Rates of all processes together, over `seconds` that begin when all of them are ready."""
    context = multiprocessing.get_context("spawn")
    start, until, found = context.Barrier(processes + 1), context.Value("d", 0.0), context.Queue()
    children = [
        context.Process(target=worker, args=(work, url, number, size, start, until, found))
        for number in range(processes)
    ]
    for child in children:
        child.start()
    until.value = time.time() + 3600
    while start.n_waiting < processes:
        time.sleep(0.01)
    begun = time.time()
    until.value = begun + seconds
    start.wait()
    results = [found.get(timeout=seconds + 120) for _ in children]
    took = time.time() - begun
    for child in children:
        child.join()
    count, cpu = sum(done for done, _ in results), sum(used for _, used in results)
    slowest = min(done for done, _ in results)
    return {
        "a second": count / took,
        "CPU-seconds for 1,000": 1000 * cpu / max(count, 1),
        "slowest process's share": slowest * processes / max(count, 1),
        "records": count,
    }


def floor(seconds: float) -> dict[str, float]:
    """Single rows by the bare driver."""
    connection = sqlite3.connect(tempfile.mkdtemp() + "/floor.sqlite", isolation_level=None)
    for setting in ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=8000"):
        connection.execute(f"PRAGMA {setting}")
    connection.execute(
        "CREATE TABLE r (id INTEGER PRIMARY KEY, key TEXT UNIQUE, item TEXT, value TEXT, who TEXT, at REAL)"
    )
    connection.execute("CREATE INDEX i ON r (item)")
    count, begun, before = 0, time.time(), time.process_time()
    while time.time() < begun + seconds:
        row = (f"{time.time_ns():032x}", f"item {count % 5000}", '{"strength":0.5}', "annotator 1", 0.0)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO r (key, item, value, who, at) VALUES (?, ?, ?, ?, ?)", row)
        connection.execute("COMMIT")
        count += 1
    return {
        "a second": count / (time.time() - begun),
        "CPU-seconds for 1,000": 1000 * (time.process_time() - before) / count,
    }


def stored(url: str) -> int:
    from rlhf_ext.data.store import FeedbackStore
    from rlhf_ext.data.store.database import sa
    from rlhf_ext.data.store.schema import RECORDS

    with FeedbackStore(url).database.reading() as connection:
        return connection.scalars(sa.select(sa.func.count()).select_from(RECORDS)).one()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one second each: that it runs, not a figure")
    parser.add_argument("--url", help="a store to write to, such as a PostgreSQL one; by default a new SQLite file")
    parser.add_argument("--processes", type=int, default=4)
    options = parser.parse_args()
    from rlhf_ext.data.store import FeedbackItem, FeedbackStore, WorkQueue

    seconds = 1.0 if options.quick else 8.0
    results: dict[str, dict[str, float]] = {}
    for size in (1, 10, 100):
        url = options.url or tempfile.mkdtemp() + "/store.sqlite"
        before = stored(url)
        name = "1 record a transaction" if size == 1 else f"{size} records a transaction"
        results[name] = measured(add, url, options.processes, size, seconds)
        assert stored(url) - before == results[name]["records"], "an acknowledged record is missing"
    url = options.url or tempfile.mkdtemp() + "/store.sqlite"
    items = [
        FeedbackItem("comparison", f"{n} {time.time()}", ("a", "b"), wanted=options.processes)
        for n in range(200 if options.quick else 4000)
    ]
    WorkQueue(FeedbackStore(url)).add(items)
    before = stored(url)
    results["queue: give and take"] = measured(answer, url, options.processes, 1, seconds)
    assert stored(url) - before == results["queue: give and take"]["records"], "an acknowledged answer is missing"
    if options.url is None:
        results["floor: bare sqlite3, 1 process"] = floor(seconds / 2)
    load = os.getloadavg()[0]
    print(f"{options.processes} processes on {os.cpu_count()} cores, load {load:.1f} from everything on the machine")
    print(f"{'':32} {'a second':>10} {'CPU-s/1,000':>12} {'slowest share':>14}")
    for name, one in results.items():
        share = one.get("slowest process's share")
        print(
            f"{name:32} {one['a second']:>10,.0f} {one['CPU-seconds for 1,000']:>12.3f} "
            f"{'' if share is None else f'{share:.2f}':>14}"
        )
    print(json.dumps({"processes": options.processes, "cores": os.cpu_count(), "load": load, **results}))


if __name__ == "__main__":
    main()
