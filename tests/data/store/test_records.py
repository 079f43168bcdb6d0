"""What a record may say, by kind."""

import doctest
import importlib
from datetime import UTC, datetime

import pytest

from rlhf_ext.data.store import FeedbackRecord
from rlhf_ext.data.store.records import check_value, places

EXAMPLES = [
    "annotators",
    "argilla",
    "exports",
    "feedback",
    "files",
    "gold",
    "items",
    "judged",
    "judgements",
    "label_studio",
    "preferring",
    "queue",
    "records",
]
GOOD = {
    "comparison": [{"strength": 0}, {"strength": 0.5}, {"strength": 1}],
    "rating": [{"scales": {"helpfulness": 4}}, {"scales": {"a": 1.5, "b": -2}, "response": 1}],
    "ranking": [{"order": [1, 0]}, {"order": [[2, 0], 1]}, {"order": [[0, 1, 2]]}],
    "text": [{"text": "Both are wrong."}, {"text": "x", "response": 0}, {"text": "x", "response": None}],
    "flag": [{"category": "unsafe", "response": 1}, {"category": "unsafe"}],
    "thumb": [{"up": True}, {"up": False, "response": 0}],
    "skip": [{"reason": "not my language"}],
    "judgement": [{"strength": 0.7, "model": "m", "why": "It is right."}],
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_the_documentation_run(name):
    found = doctest.testmod(importlib.import_module(f"rlhf_ext.data.store.{name}"))
    assert found.attempted and not found.failed


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in GOOD.items() for value in values])
def test_what_each_kind_takes(kind, value):
    assert FeedbackRecord(kind, "item", "ann", value).value == value


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("comparison", {}, "comparison: `value` has no `strength`"),
        ("comparison", {"strength": 1.01}, r"`strength` should be a number in \[0, 1\], got 1.01"),
        ("comparison", {"strength": float("nan")}, "got nan"),
        ("comparison", {"strength": True}, "got True"),
        ("comparison", {"strength": "0.5"}, "got '0.5'"),
        ("comparison", {"strength": 0.5, "sure": 1}, r"has \['sure'\], which it should not"),
        ("comparison", [0.5], "`value` should be a dict"),
        ("rating", {"scales": {}}, "`scales` should be a dict of numbers"),
        ("rating", {"scales": {"a": "4"}}, "finite numbers by name, got 'a': '4'"),
        ("rating", {"scales": {"a": float("inf")}}, "got 'a': inf"),
        (
            "rating",
            {"scales": {"a": 1}, "response": -1},
            "`response` should be the index of a response or None, got -1",
        ),
        ("ranking", {"order": [0, 0, 1]}, "each of the responses 0 to 2 once"),
        ("ranking", {"order": [1, 2]}, "each of the responses 0 to 1 once"),
        ("ranking", {"order": [0]}, "each of the responses 0 to 1 once"),
        ("ranking", {"order": [True, False]}, "each of the responses"),
        ("ranking", {"order": "10"}, "`order` should be a list"),
        ("text", {"text": "  "}, "`text` should be text"),
        ("flag", {"category": ""}, "`category` should be text"),
        ("flag", {"category": "unsafe", "response": 0.0}, "got 0.0"),
        ("thumb", {"up": 1}, "`up` should be true or false, got 1"),
        ("skip", {"reason": None}, "`reason` should be text, got None"),
        ("judgement", {"strength": None}, "got None"),
        ("applause", {}, "`kind` should be one of comparison, rating"),
    ],
)
def test_what_it_does_not_take_is_named(kind, value, message):
    with pytest.raises(ValueError, match=message):
        FeedbackRecord(kind, "item", "ann", value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"item": ""}, "thumb: `item` should be text of 1 to 128 characters, got ''"),
        ({"annotator": "a\0b"}, "thumb: `annotator` should be printable text"),
        ({"annotator": "\ud800"}, "thumb: `annotator` should be printable text"),
        ({"key": "k" * 129}, "thumb: `key` should be text of 1 to 128"),
        ({"source": "dog"}, "`source` should be 'human' or 'ai', got 'dog'"),
        ({"seconds": -1.0}, "`seconds` should be a number of at least 0, got -1.0"),
        ({"created": datetime(2026, 1, 1)}, "`created` should have a time zone"),
        ({"kind": "retraction", "value": {}}, "`replaces` should be the id of the record that is taken back"),
    ],
)
def test_other_fields_are_checked_too(fields, message):
    with pytest.raises(ValueError, match=message):
        FeedbackRecord(**{"kind": "thumb", "item": "item", "annotator": "ann", "value": {"up": True}, **fields})


def test_indices_are_checked_against_the_items_responses():
    for kind, value in (("flag", {"category": "x", "response": 2}), ("ranking", {"order": [0, 1, 2]})):
        check_value(kind, value)
        with pytest.raises(ValueError, match=r"the item has 2 responses|each of the responses 0 to 1 once"):
            check_value(kind, value, responses=2)


def test_keys_differ_and_rise():
    keys = [FeedbackRecord("thumb", "item", "ann", {"up": True}).key for _ in range(1000)]
    assert len(set(keys)) == 1000 and keys[0][:16] <= keys[500][:16] <= keys[-1][:16]
    assert FeedbackRecord("thumb", "item", "ann", {"up": True}).created.tzinfo is UTC


def test_a_ranking_as_groups():
    assert places([2, [0, 1]]) == [[2], [0, 1]]
