"""Responses, feedback and keys, in SQLite and PostgreSQL."""

import hashlib
import threading

import pytest
import sqlalchemy as sa

from rlhf_ext.data.store.database import Database
from rlhf_ext.data.store.schema import STEPS, VERSION, VERSIONS
from rlhf_ext.data.store.served import (
    ApiKeys,
    Response,
    ServedFeedback,
    ServedStore,
    SharedBuckets,
    UnknownResponse,
)
from rlhf_ext.data.store.served.keys import key_hash


def response(store, name, prompt="p", **fields):
    return Response(name, fields.pop("created", 100.0), "chat", "m", 200, 0.5, store.hash(prompt), **fields)


def test_a_response_is_stored_once(url):
    store = ServedStore(url)
    row = response(
        store, "a", prompt=[{"role": "user", "content": "é\0 \ud800"}], texts=["\0"], filter_hits=[{"a": 1}]
    )
    assert store.record([row, response(store, "b")]) == 2
    assert store.record([row, response(store, "b"), response(store, "c")]) == 1
    assert [one.id for one in store.responses()] == ["a", "b", "c"]
    assert next(iter(store.responses(["a"]))) == row
    assert [one.id for one in store.responses(since=101.0)] == []
    assert store.record([]) == 0


def test_all_gateways_of_a_store_hash_alike_and_no_other_store_does(url, tmp_path):
    first, second = ServedStore(url), ServedStore(url)
    assert first.hash("ann") == second.hash("ann") != hashlib.sha256(b"ann").hexdigest()
    assert ServedStore(tmp_path / "other.sqlite").hash("ann") != first.hash("ann")
    assert first.hash([{"role": "user", "content": "x"}]) == first.hash([{"content": "x", "role": "user"}])


def test_feedback_is_stored_once_and_only_of_what_there_is(url):
    store = ServedStore(url)
    store.record([response(store, "a", key="key-1"), response(store, "b", "other")])
    store.record([response(store, "copy", shadow_of="a")])
    said = ServedFeedback("a", "thumb", {"up": True}, "key-1", "ann", id="fb-1")
    assert store.add_feedback(said, check_key=True) and not store.add_feedback(said, check_key=True)
    with pytest.raises(ValueError, match="id: 'fb-1' is stored already"):
        store.add_feedback(ServedFeedback("a", "thumb", {"up": False}, "key-1", "ann", id="fb-1"))
    for unknown in ("nothing", "copy"):
        with pytest.raises(UnknownResponse):
            store.add_feedback(ServedFeedback(unknown, "thumb", {"up": True}))
    with pytest.raises(UnknownResponse):
        store.add_feedback(ServedFeedback("a", "thumb", {"up": True}, "key-2"), check_key=True)
    with pytest.raises(ValueError, match="different prompts"):
        store.add_feedback(ServedFeedback("a", "preference", {"over": "b"}))
    [row] = store.feedback()
    assert row["value"] == {"up": True} and row["user_hash"] == store.hash("ann")


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("thumb", {}, "up: should be true or false"),
        ("thumb", {"up": 1}, "up: should be true or false"),
        ("thumb", {"up": True, "stars": 5}, "stars: a thumb has no such field"),
        ("correction", {"text": " "}, "text: should be text"),
        ("preference", {"over": "a"}, "not better than itself"),
        ("preference", {"over": "b", "strength": 0.4}, r"strength: should be a number in \[0.5, 1\]"),
        ("thumb", {"up": True, "choice": -1}, "choice: should be the index"),
        ("praise", {}, "kind: should be one of"),
    ],
)
def test_feedback_that_is_none(kind, value, words):
    with pytest.raises(ValueError, match=words):
        ServedFeedback("a", kind, value)


def test_the_database_refuses_to_change_feedback(url):
    store = ServedStore(url)
    store.record([response(store, "a")])
    store.add_feedback(ServedFeedback("a", "thumb", {"up": True}))
    with pytest.raises(sa.exc.DBAPIError, match="never changed"), store.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE served_feedback SET value = '{}'")


def test_a_user_is_forgotten_with_all_that_was_said(url):
    store = ServedStore(url)
    ann, ben = store.hash("ann"), store.hash("ben")
    store.record([response(store, "a", user_hash=ann), response(store, "b", user_hash=ben)])
    store.add_feedback(ServedFeedback("a", "thumb", {"up": True}, user="ben"))
    store.add_feedback(ServedFeedback("b", "thumb", {"up": True}, user="ann"))
    store.add_feedback(ServedFeedback("b", "thumb", {"up": True}, user="ben"))
    assert store.forget_user("ann") == (1, 2)
    assert [one.id for one in store.responses()] == ["b"]
    assert [one["user_hash"] for one in store.feedback()] == [ben]
    assert store.forget_user("ann") == (0, 0)


def test_what_is_too_old_goes_in_parts(url):
    store = ServedStore(url)
    store.record([response(store, f"r{n}", created=float(n)) for n in range(1203)])
    store.add_feedback(ServedFeedback("r3", "thumb", {"up": True}))
    store.add_feedback(ServedFeedback("r1202", "thumb", {"up": True}))
    assert store.forget_before(1200.0) == (1200, 1)
    assert [one.id for one in store.responses()] == ["r1200", "r1201", "r1202"]
    assert [one["response"] for one in store.feedback()] == ["r1202"]


def test_keys(url):
    keys = ApiKeys(ServedStore(url).database)
    secret = keys.add("app", requests_per_minute=5, may_choose=True)
    [key] = keys.list()
    assert (key.name, key.requests_per_minute, key.may_choose, key.revoked) == ("app", 5.0, True, None)
    assert keys.by_hash()[key_hash(secret)] == key and secret.startswith("rk-") and len(secret) > 40
    assert keys.add("app") != secret
    with pytest.raises(LookupError, match="2 of that name"):
        keys.revoke("app")
    assert keys.revoke(key.id).revoked is not None
    with pytest.raises(LookupError, match="none"):
        keys.revoke(key.id)
    assert [one.revoked is None for one in keys.list()] == [False, True]
    for wrong in ({"name": ""}, {"name": "x", "requests_per_minute": 0}, {"name": "x", "max_body": -1}):
        with pytest.raises(ValueError, match="should be"):
            keys.add(**wrong)


def test_a_bucket_gives_what_it_holds_to_all_together(url):
    database = ServedStore(url).database
    taken = []

    def take():
        buckets = SharedBuckets(database, clock=lambda: 1000.0)
        for _ in range(20):
            taken.append(buckets.take("app", 60, 2)[0])

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 60
    assert SharedBuckets(database, clock=lambda: 1000.5).take("app", 60, 2) == (0, pytest.approx(0.5))
    assert SharedBuckets(database, clock=lambda: 1010.0).take("app", 60, 50) == (10, 0.0)
    assert SharedBuckets(database, clock=lambda: 900.0).take("app", 60) == (0, pytest.approx(1.0)), "a clock behind"
    SharedBuckets(database).forget(1011.0)
    assert SharedBuckets(database, clock=lambda: 1010.0).take("app", 60, 50) == (50, 0.0)


def test_a_store_of_the_release_before_gets_the_new_tables(url):
    """Version 2 had judgements and feedback of people, and no gateway."""
    from pathlib import Path

    if "://" not in url:
        Path(url).parent.mkdir()
    engine = sa.create_engine(url if "://" in url else f"sqlite:///{url}")
    with engine.begin() as connection:
        for step in STEPS[:2]:
            step(connection)
        connection.execute(sa.insert(VERSIONS).values(version=2))
    assert "served_responses" not in sa.inspect(engine).get_table_names()
    Database(url).close()
    with engine.connect() as connection:
        assert connection.scalar(sa.select(VERSIONS.c.version)) == VERSION
    names = sa.inspect(engine).get_table_names()
    engine.dispose()
    assert {"served_responses", "served_feedback", "served_keys", "canary_transitions"} <= set(names)
