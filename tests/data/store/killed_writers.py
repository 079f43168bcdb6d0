"""Writers that are killed with SIGKILL in the middle of their work, again and again. Run as a script: URL FOLDER ROUNDS.

In each round five writers go on where their own log of acknowledged answers ends, and are killed once all of them have got
something done, after a random while: three add records, one or a few at a time, and two answer items of the queue. A log line is written after the store has returned.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from rlhf_ext.data.store import FeedbackRecord, FeedbackStore, WorkQueue

WRITERS = 5


def record(writer: int, n: int) -> FeedbackRecord:
    return FeedbackRecord("text", f"item {n % 7}", f"writer {writer}", {"text": f"{writer} {n}"}, key=f"{writer} {n}")


def add_records(store: FeedbackStore, writer: int, log: int, n: int) -> None:
    size, parent = random.Random(n * 10 + writer), os.getppid()
    while os.getppid() == parent:  # where the tests are broken off, nobody is left to kill it
        many = size.choice((1, 1, 4))
        ids = store.add([record(writer, k) for k in range(n, n + many)])
        os.write(log, "".join(f"{k} {number}\n" for k, number in enumerate(ids, n)).encode())
        n += many


def answer_items(store: FeedbackStore, writer: int, log: int, n: int) -> None:
    queue, name = WorkQueue(store), f"writer {writer}"
    while (asked := queue.next(name)) is not None:
        number = queue.submit(asked.id, name, {"strength": (n % 101) / 100}, seconds=1.0)
        os.write(log, f"{n} {number}\n".encode())
        n += 1
    time.sleep(60)


def write(store: FeedbackStore, folder: Path, writer: int) -> None:
    path = folder / f"{writer}.log"
    done = path.read_text().count("\n")
    log = os.open(path, os.O_WRONLY | os.O_APPEND)
    (add_records if writer < 3 else answer_items)(store, writer, log, done)


def main(url: str, folder: Path, rounds: int) -> None:
    store = FeedbackStore(url)
    pick, logs = random.Random(0), [folder / f"{writer}.log" for writer in range(WRITERS)]
    for log in logs:
        log.touch()
    for _ in range(rounds):
        children, sizes = [], {log: log.stat().st_size for log in logs}
        for writer in range(WRITERS):
            child = os.fork()
            if child == 0:
                write(store, folder, writer)
            children.append(child)
        while not all(log.stat().st_size > size for log, size in sizes.items()):
            time.sleep(0.005)
        time.sleep(0.1 * pick.random())
        for child in pick.sample(children, len(children)):
            os.kill(child, signal.SIGKILL)
        for child in children:
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, "a writer ended by itself"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
