"""Versions of a store: made by an older release, by this one, by a newer one; and what the database itself refuses."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from rlhf_ext.data.store import FeedbackRecord, FeedbackStore, Judgement, JudgementStore, Spent
from rlhf_ext.data.store.database import Database
from rlhf_ext.data.store.schema import METADATA, RECORDS, VERSION, VERSIONS

KEYS = ["k1", "k2", "k3", "k4", "k5"]


@pytest.fixture
def plain(url):
    """The database without a store."""
    if "://" not in url:
        Path(url).parent.mkdir()
    engine = sa.create_engine(url if "://" in url else f"sqlite:///{url}")
    yield engine
    engine.dispose()


@pytest.fixture
def version_1(plain):
    """A store that an older release made, with judgements of every state."""
    script = (Path(__file__).parent / "version_1.sql").read_text()
    with plain.begin() as connection:
        for statement in script.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)


def rows(engine):
    with engine.connect() as connection:
        return sorted(tuple(row) for row in connection.exec_driver_sql("SELECT * FROM judgements"))


def columns(engine):
    found = sa.inspect(engine)
    return {
        name: ({(one["name"], str(one["type"])) for one in found.get_columns(name)}, len(found.get_indexes(name)))
        for name in METADATA.tables
    }


def test_a_store_of_an_older_release_is_brought_up_to_date_and_loses_nothing(url, plain, version_1):
    before = rows(plain)
    store = JudgementStore(url)
    assert rows(plain) == before and len(before) == 5
    found = store.finished(KEYS)
    assert found["k1"] == Judgement({"text": "1", "other": "naïve 'quoted'"}, None, 2, 120, 8, 0.25)
    assert found["k2"] == Judgement(None, "no answer: timed out", 3, 10, 0, 0.1)
    assert store.claim(KEYS, "labels") == ["k4"], "k3 is still held by another machine"
    assert store.spent("other") == Spent(1)
    store.record("labels", {"k4": Judgement({"text": "2"})})
    assert store.finished(["k4"])["k4"].result == {"text": "2"}
    feedback = FeedbackStore(url)
    feedback.add([FeedbackRecord("thumb", "item", "ann", {"up": True})])
    assert len(list(feedback.records())) == 1


def test_what_is_brought_up_to_date_is_what_a_new_store_is(url, plain, version_1, tmp_path):
    Database(url)
    if "://" in url:
        changed = columns(plain)
        with plain.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        assert columns(Database(url).engine) == changed
    else:
        assert columns(Database(tmp_path / "new.sqlite").engine) == columns(plain)


def test_an_upgrade_that_fails_leaves_the_older_store_as_it_was(url, plain, version_1):
    with plain.begin() as connection:  # in the way of one of the new tables
        connection.exec_driver_sql("CREATE TABLE feedback_items (x INTEGER)")
    with pytest.raises(ConnectionError, match="feedback_items.*already exists"):
        FeedbackStore(url)
    assert set(sa.inspect(plain).get_table_names()) == {"judgements", "feedback_items"}
    assert len(rows(plain)) == 5


def test_a_store_of_a_newer_release_is_refused_and_left_alone(url, plain):
    Database(url).close()
    with plain.begin() as connection:
        connection.execute(sa.update(VERSIONS).values(version=VERSION + 1))
    for kind in (JudgementStore, FeedbackStore):
        with pytest.raises(
            ValueError, match=f"has schema version {VERSION + 1}, this release knows .* up to {VERSION}"
        ):
            kind(url)


@pytest.mark.parametrize("verb", ["UPDATE feedback_records SET annotator = 'eve'", "DELETE FROM feedback_records"])
def test_the_database_refuses_to_change_or_delete_a_record(url, plain, verb):
    store = FeedbackStore(url)
    store.add([FeedbackRecord("thumb", "item", "ann", {"up": True})])
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), plain.begin() as connection:
        connection.exec_driver_sql(verb)
    assert [record.annotator for record in store.records()] == ["ann"]


def test_a_record_is_replaced_once_even_if_two_get_past_the_check(url, plain):
    store = FeedbackStore(url)
    [first] = store.add([FeedbackRecord("thumb", "item", "ann", {"up": True})])
    row = {"kind": "thumb", "item": "item", "annotator": "ann", "source": "human", "value": "{}", "created": 0.0}
    with pytest.raises(sa.exc.IntegrityError), plain.begin() as connection:
        for key in "ab":
            connection.execute(sa.insert(RECORDS).values(key=key, replaces=first, **row))
