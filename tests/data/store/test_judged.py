"""Labels of models as records: oriented, once, beside what people said of the same pair."""

import pytest

from rlhf_ext.data.store import FeedbackItem, FeedbackRecord, FeedbackStore, preferences, record_judgements

ROW = {
    "prompt": "2+2?",
    "chosen": "4",
    "rejected": "5",
    "preference_strength": 0.9,
    "annotator": "helpful",
    "model": "judge-7b",
    "source": "ai",
}


@pytest.fixture
def store(url):
    return FeedbackStore(url)


def test_rows_of_a_labeler_come_out_as_they_went_in(store):
    ids = record_judgements(store, [ROW, {**ROW, "prompt": "3+3?"}])
    rows = sorted(preferences(store, sources=["ai"]), key=lambda row: row["prompt"])
    assert [(row["prompt"], row["chosen"], row["rejected"], row["preference_strength"]) for row in rows] == [
        ("2+2?", "4", "5", 0.9),
        ("3+3?", "4", "5", 0.9),
    ]
    assert rows[0]["annotator"] == "judge-7b/helpful" and rows[0]["source"] == "ai"
    assert record_judgements(store, [ROW]) == ids[:1], "once"
    assert [item.wanted for item in store.items()] == [0, 0]
    assert record_judgements(store, []) == []


def test_judges_who_differ_judge_the_same_item(store):
    other = {**ROW, "chosen": "5", "rejected": "4", "preference_strength": 0.6, "model": "another"}
    record_judgements(store, [ROW, other])
    assert len(list(store.items())) == 1
    [row] = preferences(store, sources=["ai"])
    assert row["chosen"] == "4" and row["preference_strength"] == pytest.approx((0.9 + 0.4) / 2)
    record_judgements(store, [{**ROW, "preference_strength": 0.7}])  # judged anew: the latest counts
    [row] = preferences(store, sources=["ai"])
    assert row["preference_strength"] == pytest.approx((0.7 + 0.4) / 2) and row["annotators"] == 2


def test_an_item_that_people_are_asked_is_judged_as_it_stands(store):
    store.add_items([FeedbackItem("comparison", "2+2?", ("5", "4"), models=("a", "b"), id="asked")])
    store.add([FeedbackRecord("comparison", "asked", "ann", {"strength": 0.3})])
    record_judgements(store, [{**ROW, "item": "asked"}])
    [row] = preferences(store, sources=["human", "ai"])
    assert row["chosen"] == "4" and row["preference_strength"] == pytest.approx((0.7 + 0.9) / 2)


def test_labels_of_rewards_say_that_they_are(store):
    record_judgements(store, [{**ROW, "source": "reward", "model": None}, {**ROW, "model": "m" * 200}])
    first, second = store.records()
    assert first.annotator == "helpful" and first.value["source"] == "reward" and first.models is None
    assert len(second.annotator) == 128 and second.annotator.endswith("m/helpful") and second.models == ("m" * 200,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": None}, "row 1: `chosen` is missing"),
        ({"chosen": "5"}, "row 1: `responses` are not all different"),
        ({"preference_strength": 0.3}, r"row 1: `preference_strength` should be in \[0.5, 1\], got 0.3"),
        ({"annotator": None, "model": None}, "row 1: `annotator` and `model` are both missing"),
        ({"item": "nowhere"}, "row 1: there is no item 'nowhere' in the store"),
        ({"item": "asked"}, "row 1: item 'asked' is not a comparison of these two answers"),
    ],
)
def test_a_bad_row_stops_all(store, change, message):
    store.add_items([FeedbackItem("comparison", "2+2?", ("four", "five"), id="asked")])
    with pytest.raises(ValueError, match=message):
        record_judgements(store, [ROW, {**ROW, **change}])
    assert list(store.records()) == [] and len(list(store.items())) == 1


def test_columns_of_the_datas_own_are_not_taken_for_the_judge(store):
    own = {"source": "reddit", "label_source": "ai", "model": "writer", "label_model": "judge-7b"}
    record_judgements(store, [{**ROW, **own}])
    (record,) = store.records()
    assert record.annotator == "judge-7b/helpful" and record.models == ("judge-7b",) and "source" not in record.value
