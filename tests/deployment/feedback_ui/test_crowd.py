"""Twenty people at once, and a server that is killed meanwhile. `benchmarks/feedback_page.py` does it with 2,000 answers."""

import os
import time

import pytest

from rlhf_ext.data.store import FeedbackStore

from .crowd import Crowd, ServerProcess, check, prepare


@pytest.fixture
def database(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["."] + os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    return tmp_path / "feedback.sqlite"


def test_twenty_at_once_lose_nothing_and_nobody_is_asked_too_many(database):
    prepare(database, items=100, wanted=3)
    server = ServerProcess(database)
    try:
        crowd = Crowd(database, server.port, people=20)
        crowd.start()
        crowd.wait()
    finally:
        server.stop()
    answers, people = check(database, 100, 3)
    assert answers == len(crowd.saved) == 300 and crowd.cut == 0 and crowd.refused == {}
    assert people == 20


def test_a_server_that_is_killed_loses_no_answer_that_it_said_was_saved(database):
    prepare(database, items=60, wanted=3)
    server = ServerProcess(database)
    try:
        crowd = Crowd(database, server.port, people=12)
        crowd.start()
        for kill_at in (40, 100):
            while len(crowd.saved) < kill_at and any(thread.is_alive() for thread in crowd.threads):
                time.sleep(0.005)
            server.kill()
            stored = {record.id for record in FeedbackStore(database).records(kinds=["comparison"])}
            assert len(stored) >= len(crowd.saved)
            server.start()
        crowd.wait()
    finally:
        server.stop()
    answers, _ = check(database, 60, 3)
    # An answer that was stored when the server died may have no "saved" at its other end, never the other way round.
    assert len(set(crowd.saved)) <= answers == 180 and crowd.cut > 0
