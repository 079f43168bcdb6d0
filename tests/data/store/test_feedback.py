"""The append-only store: idempotent, corrections as new rows, streams."""

import itertools
from datetime import UTC, datetime

import pytest

from rlhf_ext.data.store import FeedbackItem, FeedbackRecord, FeedbackStore


def thumb(item="item", up=True, **fields):
    return FeedbackRecord("thumb", item, fields.pop("annotator", "ann"), {"up": up}, **fields)


def test_a_record_comes_back_as_it_was_stored(url):
    record = FeedbackRecord(
        "comparison",
        "item",
        "Zoë 日本",
        {"strength": 0.8},
        source="ai",
        shown_order=(1, 0),
        models=("policy/1", "policy/2"),
        prompt_version="3",
        seconds=12.25,
        created=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        key="k",
    )
    odd = FeedbackRecord("text", "item", "ann", {"text": "null \0, half a pair \ud800, مرحبا, ' \" % :x ?"})
    store = FeedbackStore(url)
    first, second = store.add([record, odd])
    back = list(store.records())
    assert [one.id for one in back] == [first, second]
    for field in ("kind", "item", "annotator", "value", "source", "shown_order", "models", "created", "key"):
        assert getattr(back[0], field) == getattr(record, field)
    assert back[0].seconds == 12.25 and back[0].prompt_version == "3" and back[1].value == odd.value


def test_the_same_key_is_stored_once(url):
    store, other = FeedbackStore(url), FeedbackStore(url)
    records = [thumb(f"item {n}") for n in range(5)]
    ids = store.add(records[:3])
    assert other.add(records) == ids + other.add(records[3:])
    assert other.add([records[1], records[1]]) == [ids[1], ids[1]]
    new = thumb("twice in one call")
    assert len(set(store.add([new, new, records[0]]))) == 2
    assert len(list(store.records())) == 6
    assert store.add([]) == []


def test_a_key_with_other_contents_is_refused_and_nothing_of_the_call_is_stored(url):
    store = FeedbackStore(url)
    store.add([thumb(key="k")])
    with pytest.raises(ValueError, match="record 1: the key 'k' is stored already, with another value"):
        store.add([thumb("new"), thumb(up=False, key="k")])
    with pytest.raises(ValueError, match="record 0: the key 'k' is stored already, with another annotator"):
        store.add([thumb(annotator="eve", key="k")])
    assert len(list(store.records(current=False))) == 1


def test_a_correction_is_a_new_row_and_the_old_one_stays(url):
    store = FeedbackStore(url)
    [first] = store.add([thumb()])
    correction = thumb(up=False, replaces=first)
    [second] = store.add([correction])
    assert store.add([correction]) == [second], "the same correction again changes nothing"
    [third] = store.add([thumb(up=True, replaces=second)])
    assert [one.id for one in store.records()] == [third]
    assert [one.id for one in store.records(current=False)] == [first, second, third]
    store.add([FeedbackRecord("retraction", "item", "ann", {}, replaces=third)])
    assert list(store.records()) == []
    assert len(list(store.records(current=False))) == 4


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (lambda ids: thumb(replaces=ids[0]), "record 1: record 1 has been replaced already, by 2; replace that one"),
        (lambda ids: thumb(replaces=999), "record 1: there is no record 999 to replace"),
        (lambda ids: thumb("other", replaces=ids[1]), "record 1: a thumb of item 'other' cannot replace record 2"),
        (
            lambda ids: FeedbackRecord("text", "item", "ann", {"text": "x"}, replaces=ids[1]),
            "record 1: a text of item 'item' cannot replace record 2, a thumb of 'item'",
        ),
        (lambda ids: thumb(replaces=ids[3]), "cannot replace record 4, a retraction"),
    ],
)
def test_what_cannot_be_corrected_is_named_and_nothing_is_stored(url, record, message):
    store = FeedbackStore(url)
    [first] = store.add([thumb()])
    [second] = store.add([thumb(replaces=first)])
    [third] = store.add([thumb()])
    [fourth] = store.add([FeedbackRecord("retraction", "item", "ann", {}, replaces=third)])
    with pytest.raises(ValueError, match=message):
        store.add([thumb("new"), record([first, second, third, fourth])])
    assert len(list(store.records(current=False))) == 4


def test_two_in_one_call_cannot_replace_the_same(url):
    store = FeedbackStore(url)
    [first] = store.add([thumb()])
    with pytest.raises(ValueError, match="two of these records replace the same one"):
        store.add([thumb(replaces=first), thumb(replaces=first)])


def test_records_are_found_by_kind_item_and_annotator(url):
    store = FeedbackStore(url)
    skip = FeedbackRecord("skip", "b", "eve", {"reason": "tired"})
    store.add([thumb("a"), thumb("b", annotator="eve"), skip, thumb("b")])
    assert [one.kind for one in store.records(["skip", "text"])] == ["skip"]
    assert len(list(store.records(item="b"))) == 3
    assert [one.kind for one in store.records(item="b", annotator="eve")] == ["thumb", "skip"]
    assert len(list(store.records(["thumb"], annotator="ann"))) == 2


def test_records_stream_and_do_not_hold_up_writers(url):
    store = FeedbackStore(url)
    store.add([thumb(f"item {n}") for n in range(3000)])
    stream = store.records()
    assert [one.item for one in itertools.islice(stream, 2)] == ["item 0", "item 1"]
    store.add([thumb("later")])
    assert sum(1 for _ in stream) == 2998, "a stream is of one moment"
    assert sum(1 for _ in store.records()) == 3001
    halfway = store.records()
    next(halfway)
    halfway.close()
    store.close()
    assert sum(1 for _ in store.records()) == 3001, "a closed store opens again when it is asked"


def test_another_item_with_the_same_id_is_refused(url):
    store = FeedbackStore(url)
    item = FeedbackItem("comparison", "2+2?", ("4", "5"), id="one", columns={"x": 1})
    store.add_items([item])
    assert store.add_items([FeedbackItem("comparison", "2+2?", ("4", "5"), id="one", wanted=9, columns={"x": 2})]) == 0
    new, other = FeedbackItem("comparison", "?", ("a", "b")), FeedbackItem("comparison", "3+3?", ("6", "5"), id="one")
    with pytest.raises(ValueError, match="item 1: there is another item with the id 'one', with other contents"):
        store.add_items([new, other])
    assert list(store.items()) == [item], "all or none"
    twice = FeedbackItem("comparison", "4+4?", ("8", "5"), id="two")
    with pytest.raises(ValueError, match="item 1: there is another item with the id 'two'"):
        store.add_items([twice, FeedbackItem("comparison", "4+4?", ("8", "6"), id="two")])
