"""A crowd over HTTP against a server in a process of its own, which may be killed meanwhile."""

from __future__ import annotations

import http.client
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from rlhf_ext.data.store import Annotators, FeedbackStore, WorkQueue

from .visitor import Visitor

_PROGRAM = Path(__file__).with_name("server_process.py")


class ServerProcess:
    """`server_process.py` on a port that stays the same when it is started again."""

    def __init__(self, database: Path) -> None:
        self.database = database
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, str(_PROGRAM), str(self.database), str(self.port)])
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                assert self.process.poll() is None, "the server ended by itself"
                time.sleep(0.05)
        raise TimeoutError("the server does not start")

    def kill(self) -> None:
        """As the kernel does it when memory runs out."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


class Crowd:
    """People who answer until there is nothing left; what the server has said "saved" to is remembered."""

    def __init__(self, database: Path, port: int, people: int) -> None:
        self.port = port
        with_names = Annotators(FeedbackStore(database))
        self.tokens = [with_names.invite(f"person {number}") for number in range(people)]
        self.saved: list[str] = []
        self.refused: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.cut = 0
        self.errors: list[BaseException] = []
        self.threads = [threading.Thread(target=self._work, args=(token,)) for token in self.tokens]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def wait(self) -> None:
        for thread in self.threads:
            thread.join()
        assert self.errors == []

    def _work(self, token: str) -> None:
        try:
            visitor = Visitor(self.port)
            rng = random.Random(token)
            assert visitor.join(token).status == 303
            while self._answer(visitor, rng):
                pass
        except (AssertionError, KeyError, ValueError) as error:
            self.errors.append(error)

    def _answer(self, visitor: Visitor, rng: random.Random) -> bool:
        """One question; False when there is none left."""
        try:
            began = time.perf_counter()
            page = visitor.question()
            if page.status == 200 and "assignment" not in page.hidden():
                return False
            if page.status == 200:
                reply = visitor.answer(page, strength=rng.randrange(7))
                self.seconds.append(time.perf_counter() - began)
                if reply.status == 303:
                    self.saved.append(page.hidden()["assignment"])
                else:
                    self.refused[reply.status] += 1
        except (OSError, http.client.HTTPException):  # the server was killed: come again, as a person would
            self.cut += 1
            time.sleep(0.05)
            visitor.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        return True


def prepare(database: Path, items: int, wanted: int) -> None:
    """A store with comparisons that each want some answers."""
    store = FeedbackStore(database)
    WorkQueue(store).add(
        [
            {"kind": "comparison", "prompt": f"Q{n}", "responses": [f"a {n}", f"b {n}"], "wanted": wanted}
            for n in range(items)
        ]
    )
    store.close()


def check(database: Path, items: int, wanted: int) -> tuple[int, int]:
    """(answers, people): every item has exactly the answers that it wants, each of another person."""
    given = [(record.item, record.annotator) for record in FeedbackStore(database).records(kinds=["comparison"])]
    assert len(set(given)) == len(given), "an answer stands there twice"
    assert set(Counter(item for item, _ in given).values()) == {wanted}, "an item was asked of more or fewer people"
    assert len(given) == items * wanted
    return len(given), len({who for _, who in given})
