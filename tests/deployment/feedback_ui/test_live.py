"""Fresh items: drawn lazily, in the background, until the server ends; an error is shown and stops nobody."""

import threading
import time
from itertools import cycle

import pytest

from rlhf_ext import ScriptedGenerator
from rlhf_ext.data.store import FeedbackStore, WorkQueue
from rlhf_ext.deployment.feedback_ui import LiveItems, fresh_comparisons
from rlhf_ext.deployment.feedback_ui.live import open_items

from .conftest import pairs


@pytest.fixture
def queue(tmp_path):
    store = FeedbackStore(tmp_path / "feedback.sqlite")
    yield WorkQueue(store)
    store.close()


def batches(drawn, count=100):
    for number in range(count):
        drawn.append(number)
        yield [{"kind": "comparison", "prompt": f"fresh {number}", "responses": ["a", "b"]}]


def saying(*texts):
    """A model that says these in turn, over and over."""
    turns = cycle(texts)
    return ScriptedGenerator(lambda prompt, sampling: next(turns))


def wait_for(condition):
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    assert condition()


def test_no_more_is_drawn_than_is_needed(queue):
    drawn: list[int] = []
    live = LiveItems(batches(drawn), enough=3, every=0.02)
    live.start(queue)
    wait_for(lambda: open_items(queue) == 3)
    time.sleep(0.1)
    assert drawn == [0, 1, 2] and live.state().state == "waiting"
    asked = queue.next("ann")
    queue.submit(asked.id, "ann", {"strength": 1.0}, seconds=1.0)
    wait_for(lambda: len(drawn) == 4)
    live.stop()
    before = threading.active_count()
    assert open_items(queue) == 3 and live.state().added == 4
    assert not any(thread.name.startswith("live-items") for thread in threading.enumerate()), before


def test_a_source_at_its_end_is_finished(queue):
    live = LiveItems(batches([], count=2), enough=10, every=0.01)
    assert live.state().state == "waiting"
    live.start(queue)
    live.wait(10)
    assert (live.state().state, live.state().added, live.state().error) == ("finished", 2, None)
    live.stop()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([{"kind": "comparison", "prompt": "p", "responses": ["only one"]}], "ValueError: item 0: `responses`"),
        (ZeroDivisionError("the model is gone <script>"), "ZeroDivisionError: the model is gone"),
    ],
)
def test_an_error_is_shown_to_the_admin_and_people_go_on(start, bad, words):
    def source():
        yield pairs(1)
        if isinstance(bad, Exception):
            raise bad
        yield bad

    live = LiveItems(source(), enough=5, every=0.01)
    site = start([], live=live)
    live.wait(10)
    page = site.admin().get("/admin").text
    assert "Stopped by an error" in page and words in page.replace("&#39;", "'") and "<script> " not in page
    ada = site.visitor("Ada")
    assert ada.answer(ada.question(), strength=1).status == 303


def test_the_server_ends_the_source(start):
    live = LiveItems(batches([], 10_000), enough=2, every=0.05)
    site = start([], live=live)
    wait_for(lambda: open_items(site.queue) == 2)
    assert "Waiting" in site.admin().get("/admin").text
    # The fixture stops the server; it would hang if the thread went on.


def test_fresh_comparisons_are_chosen_by_active_selection(queue):
    model = saying(*(f"answer {n} " + "word " * n for n in range(12)))
    rows = fresh_comparisons(
        model, (f"Prompt {n}?" for n in range(6)), n=3, pool=3, picked=2, wanted=2, temperature=1.0
    )
    first, second = list(rows)
    assert len(first) == len(second) == 2
    assert all(row["strategy"] == "response_diversity" and row["wanted"] == 2 and "utility" in row for row in first)
    assert queue.add([*first, *second]) == 4
    asked = queue.next("ann")
    assert asked.item.priority == max(row["utility"] for row in [*first, *second])
    with pytest.raises(ValueError, match=r"`picked` should be in \[1, 3\], got 4"):
        fresh_comparisons(model, [], pool=3, picked=4)


def test_a_model_that_says_nothing_now_and_then_does_not_end_the_stream(queue):
    model = saying("", "something")
    live = LiveItems(
        fresh_comparisons(model, ["One?", "Two?", "Three?"], n=2, pool=1, picked=1), enough=50, every=0.01
    )
    live.start(queue)
    live.wait(20)
    assert live.state().state == "finished" and live.state().error is None
    live.stop()


def test_a_model_that_repeats_itself_for_a_while_does_not_end_the_stream(queue):
    turns = iter(["the same"] * 4 + ["one", "another"])
    model = ScriptedGenerator(lambda prompt, sampling: next(turns))
    live = LiveItems(
        fresh_comparisons(model, ["One?", "Two?", "Three?"], n=2, pool=1, picked=1), enough=50, every=0.01
    )
    live.start(queue)
    live.wait(20)
    assert (live.state().state, live.state().added, live.state().error) == ("finished", 1, None)
    live.stop()


def test_a_store_that_is_away_for_a_while_does_not_end_the_stream(queue, monkeypatch):
    add, away = queue.add, [ConnectionError("locked"), OSError("full")]

    def busy(rows):
        if away:
            raise away.pop()
        return add(rows)

    monkeypatch.setattr(queue, "add", busy)
    live = LiveItems(batches([], count=2), enough=50, every=0.01)
    live.start(queue)
    live.wait(20)
    assert (live.state().state, live.state().added, live.state().error) == ("finished", 2, None)
    assert sorted(item.prompt for item in queue.store.items()) == ["fresh 0", "fresh 1"]
    live.stop()


def test_prompts_are_read_as_they_are_needed():
    read: list[int] = []

    def prompts():
        for number in range(100):
            read.append(number)
            yield f"Prompt {number}?"

    rows = fresh_comparisons(saying("a", "b b", "c c c"), prompts(), n=2, pool=2, picked=1)
    assert read == []
    next(rows)
    assert read == [0, 1]


def test_a_source_that_asks_for_nothing_is_refused():
    with pytest.raises(ValueError, match="`enough` should be at least 1"):
        LiveItems([], enough=0)
