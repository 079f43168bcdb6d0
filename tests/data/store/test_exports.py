"""What was said, as rows to train on: strengths, ties, disagreement, who and what is left out."""

from collections import Counter

import pytest
from datasets import Dataset

from rlhf_ext.data.preferences import load_preferences, prepare_preferences
from rlhf_ext.data.store import (
    FeedbackItem,
    FeedbackRecord,
    FeedbackStore,
    demonstrations,
    preferences,
    ratings,
    thumbs,
)
from rlhf_ext.data.store.preferring import disagree, preference_of


@pytest.fixture
def store(url):
    return FeedbackStore(url)


def compare(store, name, strengths, source="human", **fields):
    """An item called `name` with what each person says of it."""
    item = FeedbackItem("comparison", f"question {name}", (f"{name} first", f"{name} second"), id=name, **fields)
    store.add_items([item])
    for n, strength in enumerate(strengths):
        kind = "comparison" if source == "human" else "judgement"
        store.add([FeedbackRecord(kind, name, f"{source} {n}", {"strength": strength}, source=source)])
    return item


def strengths(rows):
    return {row["item"]: (row["chosen"].split()[1], round(row["preference_strength"], 6)) for row in rows}


@pytest.mark.parametrize(
    ("given", "mean", "votes"),
    [
        ([1.0], 1.0, 2 / 3),
        ([0.6], 0.6, 2 / 3),
        ([0.5], 0.5, 0.5),
        ([0.3, 0.7], 0.5, 0.5),
        ([0.1, 0.2, 0.7], 1 / 3, 0.4),
        ([1.0, 1.0, 1.0], 1.0, 0.8),
        ([0.9, 0.5], 0.7, 0.625),
    ],
)
def test_strength_by_either_rule(given, mean, votes):
    assert preference_of(given, "mean") == pytest.approx(mean, abs=1e-9)
    assert preference_of(given, "votes") == pytest.approx(votes)
    for how in ("mean", "votes"):
        other = preference_of([1 - one for one in given], how)
        assert other == pytest.approx(1 - preference_of(given, how)), "either side is treated alike"


def test_an_even_mean_is_exactly_even():
    assert preference_of([0.1, 0.2, 0.3, 0.7, 0.8, 0.9], "mean") == 0.5
    assert disagree([0.4, 0.6]) and not any(map(disagree, ([0.5, 0.6], [0.4, 0.5], [0.4], [0.6])))


def test_preferences_are_oriented_and_say_where_they_come_from(store):
    compare(
        store,
        "a",
        [0.9],
        models=("m1", "m2"),
        category="sums",
        prompt_version="2",
        columns={"topic": 1, "chosen": "x"},
    )
    compare(store, "b", [0.2, 0.4])
    rows = sorted(preferences(store), key=lambda row: row["item"])
    assert rows[0] == {
        "prompt": "question a",
        "chosen": "a first",
        "rejected": "a second",
        "preference_strength": 0.9,
        "chosen_model": "m1",
        "rejected_model": "m2",
        "item": "a",
        "category": "sums",
        "prompt_version": "2",
        "source": "human",
        "annotator": "human 0",
        "annotators": 1,
        "topic": 1,
    }
    assert strengths(rows)["b"] == ("second", 0.7) and rows[1]["annotator"] == "human 0, human 1"
    assert prepare_preferences(rows).num_rows == 2


def test_ties_disagreement_and_weak_rows_are_options(store):
    for name, given in (("even", [0.5]), ("split", [0.1, 0.95]), ("weak", [0.55, 0.6]), ("clear", [0.0, 0.1])):
        compare(store, name, given)
    left_out = Counter()
    assert set(strengths(preferences(store, left_out=left_out))) == {"split", "weak", "clear"}
    assert left_out == {"tie": 1}
    kept = strengths(preferences(store, ties="keep"))
    assert kept["even"] == ("first", 0.5) and len(kept) == 4
    left_out = Counter()
    found = strengths(preferences(store, disagreement="drop", min_strength=0.6, left_out=left_out))
    assert found == {"clear": ("second", 0.95)} and left_out == {"tie": 1, "disagreement": 1, "too weak": 1}
    assert strengths(preferences(store, strength="votes"))["clear"] == ("second", 0.75)


def test_who_and_what_counts(store):
    compare(store, "one", [0.9])
    compare(store, "two", [0.9, 0.1, 0.2])
    compare(store, "gold", [0.9], gold={"strength": 1})
    compare(store, "judged", [0.7], source="ai")
    left_out = Counter()
    assert set(strengths(preferences(store, min_annotators=2, left_out=left_out))) == {"two"}
    assert left_out == {"too few annotators": 1, "gold item": 1}
    assert set(strengths(preferences(store, gold=True))) == {"one", "two", "gold"}
    assert strengths(preferences(store, exclude=["human 1", "human 2"]))["two"] == ("first", 0.9)
    assert strengths(preferences(store, sources=["ai"])) == {"judged": ("first", 0.7)}
    store.add([FeedbackRecord("judgement", "one", "judge", {"strength": 0.5}, source="ai")])
    [row] = [row for row in preferences(store, sources=["human", "ai"]) if row["item"] == "one"]
    assert row["source"] == "ai+human" and row["annotator"] == "human 0, judge" and row["preference_strength"] == 0.7


def test_only_what_holds_counts_and_the_latest_of_each_person(store):
    compare(store, "a", [0.9, 0.9])
    first, second = store.records()
    store.add([FeedbackRecord("comparison", "a", "human 0", {"strength": 0.1}, replaces=first.id)])
    store.add([FeedbackRecord("retraction", "a", "human 1", {}, replaces=second.id)])
    assert strengths(preferences(store)) == {"a": ("second", 0.9)}
    store.add([FeedbackRecord("comparison", "a", "human 0", {"strength": 0.8})])
    [row] = preferences(store)
    assert row["preference_strength"] == 0.8 and row["annotators"] == 1
    store.add([FeedbackRecord("comparison", "an item that is not here", "ann", {"strength": 1})])
    assert len(list(preferences(store))) == 1


def test_rankings_become_pairs(store):
    store.add_items([FeedbackItem("ranking", "?", ("a x", "b x", "c x"), models=("ma", "mb", "mc"), id="r")])
    store.add([FeedbackRecord("ranking", "r", "ann", {"order": [2, [0, 1]]})])
    rows = list(preferences(store))
    assert {(row["chosen"], row["rejected"]) for row in rows} == {("c x", "a x"), ("c x", "b x")}
    assert all(row["preference_strength"] == pytest.approx(2 / 3) for row in rows) and rows[0]["chosen_model"] == "mc"
    store.add([FeedbackRecord("ranking", "r", "bob", {"order": [2, 1, 0]})])
    found = {(row["chosen"], row["rejected"]): row["preference_strength"] for row in preferences(store)}
    assert found == {("c x", "a x"): 0.75, ("c x", "b x"): 0.75, ("b x", "a x"): 0.625}


def test_texts_become_messages_where_an_item_has_any(store):
    store.add_items(
        [
            FeedbackItem("comparison", [{"role": "user", "content": "Hi?"}], ("Hello.", "No."), id="chat"),
            FeedbackItem("comparison", "Hi?", ("Hello.", "No."), id="text"),
        ]
    )
    store.add([FeedbackRecord("comparison", name, "ann", {"strength": 1}) for name in ("chat", "text")])
    chat, text = sorted(preferences(store), key=lambda row: row["item"])
    assert chat["chosen"] == [{"role": "assistant", "content": "Hello."}] and text["chosen"] == "Hello."
    rows = list(preferences(store, as_messages=True))
    assert all(row["prompt"] == [{"role": "user", "content": "Hi?"}] for row in rows)
    assert prepare_preferences(Dataset.from_list(rows)).num_rows == 2


def test_ratings_become_scores(store):
    scales = {"truth": (1, 5), "wit": (0, 1)}
    store.add_items([FeedbackItem("rating", "?", ("a",), ("m",), scales=scales, id="r")])
    for name, truth, wit in (("ann", 5, 1), ("bob", 3, 0)):
        store.add([FeedbackRecord("rating", "r", name, {"scales": {"truth": truth, "wit": wit}})])
    [row] = ratings(store)
    assert row["scores"] == {"truth": 4.0, "wit": 0.5} and row["score"] == (0.75 + 0.5) / 2
    assert (row["prompt"], row["completion"], row["model"], row["annotators"]) == ("?", "a", "m", 2)


def test_the_best_responses_become_demonstrations(store):
    compare(store, "clear", [0.1])
    compare(store, "even", [0.5])
    store.add_items(
        [
            FeedbackItem("ranking", "?", ("a", "b", "c"), id="ranked"),
            FeedbackItem("ranking", "?", ("d", "e"), id="two best"),
            FeedbackItem("rating", "?", ("good",), scales={"truth": (1, 5)}, id="good"),
            FeedbackItem("rating", "?", ("bad",), scales={"truth": (1, 5)}, id="bad"),
        ]
    )
    store.add([FeedbackRecord("ranking", "ranked", "ann", {"order": [[1, 0], 2]})])
    store.add([FeedbackRecord("ranking", "ranked", "bob", {"order": [1, 2, 0]})])
    store.add([FeedbackRecord("ranking", "two best", "ann", {"order": [[0, 1]]})])
    store.add(
        [FeedbackRecord("rating", name, "ann", {"scales": {"truth": n}}) for name, n in (("good", 4), ("bad", 3))]
    )
    left_out = Counter()
    found = {row["item"]: row["completion"] for row in demonstrations(store, left_out=left_out)}
    assert found == {"clear": "clear second", "ranked": "b", "good": "good"}
    assert left_out == {"no best response": 3}
    assert "clear" not in {row["item"] for row in demonstrations(store, min_strength=0.95)}


def test_thumbs_become_unpaired_preferences(store):
    compare(store, "a", [])
    said = [
        (0, True, "ann"),
        (0, True, "bob"),
        (0, False, "cy"),
        (1, False, "ann"),
        (None, False, "dee"),
        (None, False, "eve"),
    ]
    for response, up, who in said[:4]:
        store.add([FeedbackRecord("thumb", "a", who, {"up": up, "response": response})])
    found = [(row["completion"], row["label"], row["annotators"]) for row in thumbs(store)]
    assert found == [("a first", True, 3), ("a second", False, 1)]
    store.add([FeedbackRecord("thumb", "a", "dee", {"up": False})])
    assert [(row["completion"], row["label"]) for row in thumbs(store)] == [("a second", False)], (
        "two for, two against"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": "median"}, "`strength` should be one of 'mean', 'votes', got 'median'"),
        ({"ties": "half"}, "`ties` should be one of 'drop', 'keep'"),
        ({"disagreement": "mean"}, "`disagreement` should be one of"),
        ({"min_strength": 0.4}, r"`min_strength` should be in \[0.5, 1\]"),
        ({"min_annotators": 0}, "`min_annotators` should be at least 1"),
        ({"sources": "human"}, "`sources` should be of 'human' and 'ai', got 'human'"),
        ({"sources": ["dog"]}, "`sources` should be of"),
        ({"exclude": "ann"}, "`exclude` should be a list of annotators"),
    ],
)
def test_mistakes_are_named_at_once(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        preferences(FeedbackStore(tmp_path / "store"), **options)


def test_what_is_exported_can_be_trained_on(store, tmp_path):
    from rlhf_ext.data.store import export

    for n in range(5):
        compare(store, f"item {n}", [0.9])
    export(store, tmp_path / "out.parquet")
    assert prepare_preferences(load_preferences(tmp_path / "out.parquet")).num_rows == 5


def test_an_answer_to_an_item_that_is_not_there_is_counted(store):
    compare(store, "a", [1.0])
    store.add([FeedbackRecord("comparison", "gone", "ann", {"strength": 1.0})])
    store.add([FeedbackRecord("thumb", "gone", "ann", {"up": True})])
    left_out = Counter()
    assert len(list(preferences(store, left_out=left_out))) == 1
    assert left_out == {"answer to an item that is not in the store": 1}


@pytest.mark.parametrize(
    ("kind", "value", "read", "words"),
    [
        ("ranking", {"order": [0, 1]}, preferences, "`order` should name each of the responses 0 to 2 once"),
        ("ranking", {"order": [0, 1]}, demonstrations, "`order` should name"),
        ("judgement", {"strength": 1.0}, demonstrations, "it is a judgement, and the item a ranking"),
        ("rating", {"scales": {"wit": 3}}, ratings, "it is a rating, and the item a ranking"),
    ],
)
def test_an_answer_that_does_not_fit_its_item_is_named_and_can_be_taken_back(store, kind, value, read, words):
    item = FeedbackItem("ranking", "?", ("a", "b", "c"), id="item")
    store.add_items([item])
    store.add([FeedbackRecord("ranking", "item", "ann", {"order": [0, 1, 2]})])
    [number] = store.add([FeedbackRecord(kind, "item", "hand", value, source="human")])
    with pytest.raises(ValueError, match=f"Record {number} does not fit its item 'item': .*{words}"):
        list(read(store))
    store.add([FeedbackRecord("retraction", "item", "hand", {}, replaces=number)])
    assert len(list(read(store))) == {preferences: 3, demonstrations: 1, ratings: 0}[read]
