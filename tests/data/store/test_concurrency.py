"""Many at once: threads and processes of annotators, and writers that are killed. Nothing is lost, doubled or over-asked."""

import multiprocessing
import random
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from rlhf_ext.data.store import (
    AlreadyAnswered,
    Annotators,
    FeedbackItem,
    FeedbackRecord,
    FeedbackStore,
    LeaseExpired,
    UsedToken,
    WorkQueue,
)


def fill(store, count, wanted, lease=30.0):
    queue = WorkQueue(store, lease=lease)
    queue.add(
        [
            FeedbackItem("comparison", f"? {n}", ("a", "b"), id=f"item {n}", wanted=wanted, priority=n % 3)
            for n in range(count)
        ]
    )
    return queue


def annotate(queue, name):
    """Answers what there is, as people do: sends twice, skips, takes back, is too slow. Gives the acknowledged answers."""
    moods, given = random.Random(name), {}
    while (asked := queue.next(name)) is not None:
        mood, value = moods.random(), {"strength": moods.randrange(101) / 100}
        if mood < 0.05:
            queue.skip(asked.id, name, "hard")
            continue
        if mood < 0.06:
            time.sleep(queue.lease)
        try:
            number = queue.submit(asked.id, name, value, seconds=1.0)
            given[asked.item.id] = (number, value["strength"])
            if mood > 0.9:
                assert queue.submit(asked.id, name, value, seconds=1.0) == number
        except LeaseExpired:
            continue
        if 0.8 < mood < 0.85:
            back = queue.undo(name)
            given.pop(back.item.id, None)
    return given


def check(store, wanted, given):
    """`given`: acknowledged answers by annotator and item. All of them are there, once, and no item has more than wanted."""
    kept = list(store.records(["comparison"]))
    per_item = Counter(record.item for record in kept)
    assert max(per_item.values()) <= wanted
    assert max(Counter((record.item, record.annotator) for record in kept).values()) == 1
    stored = {(record.annotator, record.item): (record.id, record.value["strength"]) for record in kept}
    acknowledged = {(name, item): answer for name, mine in given.items() for item, answer in mine.items()}
    assert stored == acknowledged
    return per_item


def test_twenty_annotators_in_threads(url):
    store = FeedbackStore(url)
    queue = fill(store, count=40, wanted=5, lease=0.6)
    names = [f"ann {n}" for n in range(20)]
    with ThreadPoolExecutor(20) as pool:
        given = dict(zip(names, pool.map(lambda name: annotate(queue, name), names), strict=True))
    # Whoever came too early for what others let go of asks once more.
    for name in names:
        given[name] |= annotate(WorkQueue(store, lease=30.0), name)
    per_item = check(store, 5, given)
    assert set(per_item.values()) == {5} and len(per_item) == 40, "everything was answered as often as wanted"


def annotate_in_a_process(url, names):
    store = FeedbackStore(url)
    queue = WorkQueue(store, lease=0.6)
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(lambda name: annotate(queue, name), names), strict=True))


def test_twenty_annotators_in_four_processes(url):
    store = FeedbackStore(url)
    fill(store, count=40, wanted=4)
    groups = [[f"ann {process}.{n}" for n in range(5)] for process in range(4)]
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        given = {
            name: mine for part in pool.map(annotate_in_a_process, [url] * 4, groups) for name, mine in part.items()
        }
    check(store, 4, given)


def test_the_same_answer_from_many_threads_at_once_is_one_record(url):
    store = FeedbackStore(url)
    queue = fill(store, count=1, wanted=1)
    asked = queue.next("ann")

    def send(strength):
        try:
            return queue.submit(asked.id, "ann", {"strength": strength}, seconds=1.0)
        except AlreadyAnswered:
            return None

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(send, [0.2, 0.8] * 8))
    [record] = store.records()
    assert {number for number in numbers if number is not None} == {record.id} and numbers.count(record.id) == 8


def test_the_same_records_from_many_threads_at_once_are_stored_once(url):
    store = FeedbackStore(url)
    records = [FeedbackRecord("thumb", f"item {n}", "ann", {"up": True}) for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        ids = set(map(tuple, pool.map(store.add, [records] * 16)))
    assert len(ids) == 1 and len(list(store.records())) == 40


def test_one_correction_wins(url):
    store = FeedbackStore(url)
    [first] = store.add([FeedbackRecord("thumb", "item", "ann", {"up": True})])

    def correct(n):
        try:
            store.add([FeedbackRecord("thumb", "item", "ann", {"up": n % 2 == 0}, replaces=first)])
            return True
        except ValueError as error:
            return "has been replaced already" not in str(error)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(correct, range(16))) == 1
    assert len(list(store.records())) == 1


def test_an_invitation_lets_one_in(url):
    annotators = Annotators(FeedbackStore(url))
    token = annotators.invite("Ann")

    def redeem(_):
        try:
            return annotators.redeem(token)
        except UsedToken:
            return None

    with ThreadPoolExecutor(8) as pool:
        assert len([one for one in pool.map(redeem, range(16)) if one]) == 1


def test_fifty_kills_under_load_lose_and_double_nothing(url, tmp_path):
    store = FeedbackStore(url)
    fill(store, count=2000, wanted=1)
    script = Path(__file__).parent / "killed_writers.py"
    subprocess.run([sys.executable, script, url, tmp_path, "10"], check=True, timeout=60)
    stored = {record.id: record for record in store.records()}
    assert len({record.key for record in stored.values()}) == len(stored)
    for writer in range(5):
        mine = [record for record in stored.values() if record.annotator == f"writer {writer}"]
        log = [tuple(map(int, line.split())) for line in (tmp_path / f"{writer}.log").read_text().splitlines()]
        assert len(log) >= 10, "it was under load"
        for n, number in log:
            if writer < 3:
                assert stored[number].value == {"text": f"{writer} {n}"}
            else:
                assert stored[number].value == {"strength": (n % 101) / 100}
        # At most one call a round came through without anybody being told; records of those are not doubled by the retry.
        assert len(log) <= len(mine) <= len(log) + 10 * (1 if writer >= 3 else 4)
        if writer < 3:
            assert sorted(int(record.key.split()[1]) for record in mine) == list(range(len(mine))), "none left out"
    answers = Counter(record.item for record in store.records(["comparison"]))
    assert max(answers.values()) == 1, "no item was answered by more than wanted"
