"""What goes wrong below a store: full and broken disks, locks, servers that are gone, forks."""

import errno
import gc
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from rlhf_ext.data.store import FeedbackRecord, FeedbackStore
from rlhf_ext.data.store.database import Database


def thumbs(count, size=0):
    return [FeedbackRecord("text", f"item {n}", "ann", {"text": "x" * (size + 1)}) for n in range(count)]


def stored(store):
    return len(list(store.records()))


def test_a_full_database_is_an_error_that_says_so_and_nothing_is_half_stored(tmp_path):
    store = FeedbackStore(tmp_path / "store.sqlite")
    store.add(thumbs(3))
    with store.database.writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(
        OSError, match=r"The disk of the store .*store.sqlite is full, and nothing was stored"
    ) as caught:
        store.add(thumbs(50, size=1000))
    assert caught.value.errno == errno.ENOSPC
    assert stored(store) == 3
    with store.database.writing() as connection:  # somebody made room
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    store.add(thumbs(50, size=1000))
    assert stored(store) == 53


WRITER = """
import resource, signal, sys
from rlhf_ext.data.store import FeedbackRecord, FeedbackStore
store = FeedbackStore(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
for n in range(100):
    try:
        store.add([FeedbackRecord("text", "item", "ann", {"text": "x" * 10_000}, key=str(n))])
    except OSError as error:
        print(n, type(error).__name__, error.errno)
        break
"""


def test_a_disk_that_takes_no_more_bytes_loses_nothing_that_was_acknowledged(tmp_path):
    path = tmp_path / "store.sqlite"
    done = subprocess.run([sys.executable, "-c", WRITER, path], capture_output=True, text=True, check=True)
    count, name, number = done.stdout.split()
    assert int(count) > 5 and name == "OSError" and int(number) in (errno.EIO, errno.ENOSPC)
    assert [record.key for record in FeedbackStore(path).records()] == [str(n) for n in range(int(count))]


def test_a_database_that_another_holds_is_waited_for_and_then_said_to_be_locked(tmp_path):
    path = tmp_path / "store.sqlite"
    store, other = FeedbackStore(path, wait=0.3), sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConnectionError, match=r"store.sqlite was locked by another writer for 0.3 seconds"):
        store.add(thumbs(1))
    assert stored(store) == 0, "readers do not wait"
    patient = FeedbackStore(path, wait=20)
    timer = threading.Timer(0.3, other.execute, ["COMMIT"])
    timer.start()
    patient.add(thumbs(1))
    timer.join()
    assert stored(store) == 1


def test_a_turn_that_another_has_is_waited_for_and_then_said_to_be_locked(url):
    holder, store = FeedbackStore(url), FeedbackStore(url, wait=0.3)
    with (
        holder.database.writing("feedback"),
        pytest.raises(ConnectionError, match=r"was locked by another writer for 0.3 seconds"),
        store.database.writing("feedback"),
    ):
        pass
    with store.database.writing("feedback"):
        pass


def test_a_thread_that_waits_for_its_turn_too_long_is_told(tmp_path):
    store = FeedbackStore(tmp_path / "store.sqlite", wait=0.2)
    with store.database.writing(), pytest.raises(ConnectionError, match=r"had no turn for 0.2 seconds"):
        store.add(thumbs(1))
    store.add(thumbs(1))


def test_a_file_that_may_not_be_written_is_a_permission_error(tmp_path):
    path = tmp_path / "store.sqlite"
    store = FeedbackStore(path)
    with store.database.writing() as connection:
        connection.exec_driver_sql("PRAGMA query_only = 1")
    with pytest.raises(PermissionError, match=r"store.sqlite cannot be written"):
        store.add(thumbs(1))


def test_a_server_that_ends_the_connection_is_out_of_reach_once(postgres):
    store = FeedbackStore(postgres)
    with pytest.raises(ConnectionError, match=r"cannot be reached"), store.database.writing() as connection:
        mine = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with psycopg.connect(postgres.replace("+psycopg", "")) as other:
            other.execute(f"SELECT pg_terminate_backend({mine})")
        connection.exec_driver_sql("SELECT 1")
    [number] = store.add(thumbs(1))
    assert number, "the next call connects anew"


def test_after_a_failure_the_next_transaction_works(url):
    store = FeedbackStore(url)
    with pytest.raises(RuntimeError), store.database.writing("feedback") as connection:
        connection.exec_driver_sql("CREATE TABLE half (x INTEGER)")
        raise RuntimeError
    assert "half" not in sa.inspect(store.database.engine).get_table_names()
    store.add(thumbs(1))
    assert stored(store) == 1


def test_a_reader_sees_one_state_throughout(url):
    store = FeedbackStore(url)
    store.add(thumbs(2))
    with store.database.reading() as connection:
        count = sa.text("SELECT count(*) FROM feedback_records")
        before = connection.scalar(count)
        store.add(thumbs(5))
        assert connection.scalar(count) == before == 2
    assert stored(store) == 7


def test_parent_and_child_of_a_fork_both_go_on(url):
    store = FeedbackStore(url)
    store.add(thumbs(1))
    reading = store.records()
    next(reading)
    store.database._turn.acquire()  # by a thread that the child does not have
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            signal.alarm(20)
            failed = 0 if len(store.add(thumbs(2))) == 2 and stored(store) == 3 else 2
        finally:
            os._exit(failed)
    store.database._turn.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.add(thumbs(3))
    assert stored(store) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mysql://x/y",), "not mysql"),
        (("store.sqlite", 0.0), "`wait` should be a positive number of seconds, got 0.0"),
    ],
)
def test_mistakes_are_named(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        Database(*arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_store_for_a_while_is_one_for_all_threads_and_gone_with_its_object(url):
    store, other = FeedbackStore(url), FeedbackStore(url)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store.add, map(thumbs, range(8))))
    assert stored(store) == 28 and stored(other) == 0
    path = Path(store.database.engine.url.database)
    assert path.exists()
    del store
    gc.collect()
    assert not path.parent.exists()


def test_a_password_is_not_shown():
    with pytest.raises(
        ConnectionError, match=r"The store postgresql\+psycopg://u:\*\*\*@127.0.0.1:1/x cannot be opened"
    ):
        Database("postgresql+psycopg://u:secret@127.0.0.1:1/x")


def open_at(path, moment):
    """Opens a store at a moment, for others do at the same one."""
    time.sleep(max(0.0, moment - time.time()))
    Database(path).close()


def test_a_new_file_may_be_opened_by_several_processes_at_once(tmp_path):
    with multiprocessing.get_context("spawn").Pool(6) as pool:
        pool.starmap(open_at, [(tmp_path / f"warm {n}", 0.0) for n in range(6)], chunksize=1)
        for n in range(40):
            moment = time.time() + 0.02
            pool.starmap(open_at, [(tmp_path / f"{n}.sqlite", moment)] * 6, chunksize=1)
