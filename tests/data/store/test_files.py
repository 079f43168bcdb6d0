"""Exports as files: whole or not at all, in constant memory."""

import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from rlhf_ext.data.store import FeedbackItem, FeedbackRecord, FeedbackStore, export


def fill(store, count, **fields):
    items = [FeedbackItem("comparison", f"? {n}", ("yes", "no"), id=f"item {n:05}", **fields) for n in range(count)]
    store.add_items(items)
    store.add([FeedbackRecord("comparison", item.id, "ann", {"strength": 0.9}, shown_order=(1, 0)) for item in items])


@pytest.fixture
def store(url):
    return FeedbackStore(url)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_preferences_in_either_format(store, tmp_path, ending):
    fill(store, 4100)  # more than two batches
    path = tmp_path / "new folder" / f"out.{ending}"
    done = export(store, path, min_annotators=1)
    assert (done.path, done.rows, done.left_out) == (path, 4100, {})
    if ending == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        rows = pq.read_table(path).to_pylist()
    assert [row["item"] for row in rows] == [f"item {n:05}" for n in range(4100)]
    assert rows[7]["chosen"] == "yes" and rows[7]["preference_strength"] == 0.9
    assert os.listdir(path.parent) == [path.name], "nothing else is left"


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_all_records_with_what_was_taken_back(store, tmp_path, ending):
    fill(store, 2)
    first, _ = store.records()
    store.add([FeedbackRecord("retraction", first.item, "ann", {}, replaces=first.id)])
    store.add([FeedbackRecord("flag", first.item, "ann", {"category": "unsafe", "response": 1}, models=("a", "b"))])
    path = tmp_path / f"out.{ending}"
    assert export(store, path, "records").rows == 4
    rows = pq.read_table(path).to_pylist() if ending == "parquet" else [json.loads(line) for line in path.open()]
    value = rows[3]["value"]
    assert (json.loads(value) if ending == "parquet" else value) == {"category": "unsafe", "response": 1}
    assert rows[2]["replaces"] == first.id and rows[0]["shown_order"] == [1, 0] and rows[3]["models"] == ["a", "b"]
    assert rows[0]["created"] == first.created.isoformat() and rows[0]["key"] == first.key
    assert export(store, path, "records", current=True).rows == 2


def test_columns_that_only_some_rows_have(store, tmp_path):
    fill(store, 2100, columns={"round": 1})
    rated = [
        FeedbackItem(
            "rating", f"? {n}", ("a",), scales={("truth" if n % 2 else "wit"): (0, 1)}, columns={"utility": n}
        )
        for n in range(3)
    ]
    store.add_items(rated)
    store.add([FeedbackRecord("rating", item.id, "ann", {"scales": dict.fromkeys(item.scales, 1)}) for item in rated])
    late = FeedbackItem("comparison", "late", ("yes", "no"), id="z", columns={"utility": 0.5, "round": 2.5})
    store.add_items([late])
    store.add([FeedbackRecord("comparison", "z", "ann", {"strength": 0.1})])
    export(store, tmp_path / "out.parquet")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert (rows[0]["utility"], rows[0]["round"], rows[-1]["utility"], rows[-1]["round"]) == (None, 1, 0.5, 2.5)
    export(store, tmp_path / "scores.parquet", "ratings")
    found = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    assert sorted(str(row["scores"]) for row in found) == [
        "{'truth': 1.0, 'wit': None}",
        "{'truth': None, 'wit': 1.0}",
        "{'truth': None, 'wit': 1.0}",
    ]


def test_texts_beside_messages_are_refused_in_parquet_and_can_be_made_messages(store, tmp_path):
    chat = FeedbackItem("comparison", [{"role": "user", "content": "?"}], ("yes", "no"), id="chat")
    store.add_items([chat])
    store.add([FeedbackRecord("comparison", "chat", "ann", {"strength": 1})])
    fill(store, 1)
    path = tmp_path / "out.parquet"
    with pytest.raises(ValueError, match=r"rows 0 to 1 have columns of different types.*pass `as_messages=True`"):
        export(store, path)
    assert os.listdir(tmp_path) == [name for name in os.listdir(tmp_path) if name == "folder"]
    assert export(store, path, as_messages=True).rows == 2
    assert export(store, tmp_path / "out.jsonl").rows == 2


def test_an_export_that_fails_leaves_the_older_file(store, tmp_path, monkeypatch):
    fill(store, 3)
    path = tmp_path / "out.jsonl"
    path.write_text("older\n")

    def broken(*arguments, **options):
        yield {"prompt": "?"}
        raise ConnectionError("gone")

    monkeypatch.setitem(export.__globals__["_WHAT"], "preferences", broken)
    for target in (path, tmp_path / "out.parquet"):
        with pytest.raises(ConnectionError, match="gone"):
            export(store, target)
    assert path.read_text() == "older\n" and not [name for name in os.listdir(tmp_path) if "partial" in name]
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_nothing_to_export_is_an_empty_file(store, tmp_path, ending):
    assert export(store, tmp_path / f"out.{ending}").rows == 0
    if ending == "parquet":
        assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("name", "what", "message"),
    [
        ("out.csv", "preferences", "Cannot write .*out.csv: expected a name that ends in .jsonl or .parquet"),
        ("out.jsonl", "rewards", "`what` should be one of 'preferences', 'ratings', .*, got 'rewards'"),
    ],
)
def test_mistakes_are_named(tmp_path, name, what, message):
    with pytest.raises(ValueError, match=message):
        export(FeedbackStore(tmp_path / "store"), tmp_path / name, what)


EXPORT = """
import resource, sys
from rlhf_ext.data.store import FeedbackItem, FeedbackRecord, FeedbackStore, export
import pyarrow.parquet
store = FeedbackStore(sys.argv[1])
def fill(start, count):
    for first in range(start, start + count, 1000):
        items = [FeedbackItem("comparison", "?" * 3000, ("yes" * 300, "no" * 300), id=f"{n:07}") for n in range(first, first + 1000)]
        store.add_items(items)
        store.add([FeedbackRecord("comparison", item.id, "ann", {"strength": 0.9}) for item in items])
def peak():
    for name in sys.argv[2:]:
        export(store, name)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
fill(0, 3000)
before = peak()
fill(3000, 9000)
print(before, peak())
"""


def test_memory_does_not_grow_with_the_rows(tmp_path):
    """9,000 rows more, of 5 kB each, would be 45 MB and more if they were held at once."""
    command = [
        sys.executable,
        "-c",
        EXPORT,
        tmp_path / "store.sqlite",
        tmp_path / "out.jsonl",
        tmp_path / "out.parquet",
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = map(float, found.stdout.split())
    assert after - before < 25, "MB"
