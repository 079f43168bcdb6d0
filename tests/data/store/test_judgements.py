"""The store of judgements, on SQLite and on a real PostgreSQL: claims, budgets, workers that die."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest

from rlhf_ext.data.store import Allowance, Judgement, JudgementStore, Spent

KEYS = [f"key {n}" for n in range(1200)]  # more than a statement takes


def test_what_is_recorded_is_found_by_another(url):
    JudgementStore(url).record("job", {"a": Judgement({"text": "1"}, None, 2, 10, 3, 0.5), "b": Judgement(None, "no")})
    found = JudgementStore(url).finished(["a", "b", "c"])
    assert found == {
        "a": Judgement({"text": "1"}, None, 2, 10, 3, 0.5),
        "b": Judgement(None, "no", 1, 0, 0, 0.0),
    }


def test_no_two_workers_get_the_same_question(url):
    one, two = JudgementStore(url), JudgementStore(url)
    assert one.claim(KEYS[:700], "job") == KEYS[:700]
    assert two.claim(KEYS, "job") == KEYS[700:]
    one.record("job", {KEYS[0]: Judgement({})})
    one.release()
    assert two.claim(KEYS, "job") == KEYS[1:700], "what was recorded stays done, what was given up is free"


def test_a_claim_runs_out_and_recording_renews_it(url, pass_time):
    slow, other = JudgementStore(url, lease=500), JudgementStore(url)
    slow.claim(["a", "b", "c"], "job")
    pass_time(300)
    slow.record("job", {"a": Judgement({})})
    pass_time(300)
    assert other.claim(["a", "b", "c"], "job") == [] and other.claimed(["a", "b", "c"]) == ["b", "c"]
    pass_time(300)
    assert other.claim(["a", "b", "c"], "job") == ["b", "c"]


def test_claims_of_a_killed_process_are_free_at_once(url):
    code = "import sys, time; from rlhf_ext.data.store import JudgementStore; JudgementStore(sys.argv[1]).claim(['a'], 'job'); print(1, flush=True); time.sleep(60)"
    worker = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE)
    worker.stdout.readline()
    store = JudgementStore(url)
    assert store.claim(["a"], "job") == []
    worker.kill()
    worker.wait()
    assert store.claim(["a"], "job") == ["a"]
    far = JudgementStore(url)
    far.owner = f"another-machine/{worker.pid}/1"
    far.claim(["b"], "job")
    assert store.claim(["b"], "job") == [], "of another machine nothing is known: its claim holds until it runs out"


def test_spending_is_counted_by_job_with_what_is_set_aside(url):
    store = JudgementStore(url)
    store.record("one", {"a": Judgement({}, None, 2, 10, 3, 0.5)})
    store.record("two", {"b": Judgement({}, None, 1, 1, 1, 0.1)})
    allowance = Allowance(
        max_requests=8, max_cost=10, requests=dict.fromkeys("cdef", 3), costs=dict.fromkeys("cdef", 1.0)
    )
    assert store.claim(list("cdef"), "one", allowance) == ["c", "d"]
    assert store.spent("one") == Spent(8, 2.5, 10, 3)
    store.record("one", {"c": Judgement({}, None, 1, 5, 5, 0.25)})
    assert store.spent("one") == Spent(6, 1.75, 15, 8)
    store.release()
    assert store.spent("one") == Spent(3, 0.75, 15, 8)
    assert store.claim(["e"], "one", Allowance(max_cost=1.0, costs={"e": 0.3})) == []
    assert store.claim(["e"], "one", Allowance(max_cost=1.0, costs={"e": 0.2})) == ["e"]


def test_failures_can_be_asked_again_and_their_cost_stays(url):
    store = JudgementStore(url)
    store.record("job", {"a": Judgement(None, "broken", 5), "b": Judgement({})})
    assert store.claim(["a", "b"], "job") == []
    assert store.reopen_failures(["a", "b"]) == 1
    assert store.claim(["a", "b"], "job") == ["a"]
    store.record("job", {"a": Judgement({"text": "1"})})
    assert store.finished(["a"])["a"].result == {"text": "1"} and store.spent("job").requests == 7


def work(url, keys):
    """A worker that does all it can claim, a few at a time; gives what it did."""
    store, mine = JudgementStore(url), []
    for start in range(0, len(keys), 7):
        claimed = store.claim(
            keys[start : start + 7], "job", Allowance(max_requests=100, requests=dict.fromkeys(keys, 1))
        )
        store.record("job", {key: Judgement({}) for key in claimed})
        mine += claimed
    store.close()
    return mine


def test_processes_at_once_do_everything_once_and_keep_the_budget(url):
    keys = KEYS[:160]
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        done = [key for part in pool.map(work, [url] * 3, [keys, keys[::-1], keys[50:] + keys[:50]]) for key in part]
    assert len(done) == len(set(done)) == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mysql://x/y",), "mysql|MySQLdb"),
        (("oracle://x/y",), "oracle"),
        (
            ("postgresql+psycopg://u:secret@127.0.0.1:1/x",),
            r"The store postgresql\+psycopg://u:\*\*\*@.* cannot be opened",
        ),
        (("store.sqlite", 0.0), "`lease` should be a positive number of seconds, got 0.0"),
    ],
)
def test_mistakes_are_named(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, ImportError, ConnectionError), match=message):
        JudgementStore(*arguments)


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("These are my notes, which are longer than a header of sixteen bytes.")
    with pytest.raises(ConnectionError, match="notes.txt cannot be opened: file is not a database"):
        JudgementStore(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text().startswith("These are my notes")
