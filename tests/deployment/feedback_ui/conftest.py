"""Real servers on loopback, a real browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Page

from rlhf_ext.data.store import Annotators, FeedbackStore, WorkQueue
from rlhf_ext.deployment.feedback_ui import FeedbackSettings, create_feedback_app, listen

from .visitor import Visitor

PASSWORD = "correct horse battery"
PAIR = {"kind": "comparison", "prompt": "2 + 2?", "responses": ["It is four.", "It is five."], "models": ["m1", "m2"]}


def pairs(count: int, **fields: Any) -> list[dict[str, Any]]:
    """Comparisons that differ, the first of the higher priority."""
    return [
        {
            **PAIR,
            "prompt": f"Question {index}?",
            "responses": [f"yes {index}", f"no {index}"],
            "priority": -index,
            **fields,
        }
        for index in range(count)
    ]


@dataclass
class Site:
    """A running server and the store behind it."""

    port: int
    store: FeedbackStore
    queue: WorkQueue
    annotators: Annotators

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def visitor(self, name: str | None = None) -> Visitor:
        """Somebody new; with a name, somebody who is invited and has come in."""
        visitor = Visitor(self.port)
        if name is not None:
            assert visitor.join(self.annotators.invite(name)).status == 303
        return visitor

    def admin(self) -> Visitor:
        visitor = Visitor(self.port)
        assert visitor.sign_in(PASSWORD).status == 303
        return visitor

    def records(self, *kinds: str, current: bool = True) -> list[Any]:
        return list(self.store.records(kinds=kinds or None, current=current))


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., Site]]:
    """Starts servers, and ends them after the test."""
    running = []

    def begin(
        items=(), *, lease: float = 900.0, gold_rate: float = 0.1, wait: float = 5.0, live: Any = None, **settings: Any
    ) -> Site:
        store = FeedbackStore(tmp_path / "feedback.sqlite", wait)
        queue = WorkQueue(store, lease, gold_rate)
        queue.add(list(items))
        at = listen("127.0.0.1", 0)
        port = at.getsockname()[1]
        settings = {
            "admin_password": PASSWORD,
            "answers_per_minute": 100_000,
            "logins_per_minute": 1_000,
            "public_url": f"http://127.0.0.1:{port}",
            **settings,
        }
        app = create_feedback_app(queue, FeedbackSettings(**settings), live)
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [at]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        running.append((server, thread, store))
        return Site(port, store, queue, Annotators(store))

    yield begin
    for server, thread, store in running:
        server.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive(), "the server does not end"
        store.close()


def follow(page: Page, role: str, name: str) -> None:
    """Presses a button or a link that leads to another page, and waits until that page is whole."""
    with page.expect_navigation(wait_until="load"):
        page.get_by_role(role, name=name).click()
