"""What was said of responses, as rows to train on."""

import json
from collections import Counter

import pytest

from rlhf_ext.data.preferences import prepare_preferences
from rlhf_ext.data.store import FeedbackItem, FeedbackRecord, FeedbackStore, export
from rlhf_ext.data.store.served import Response, ServedFeedback, ServedStore
from rlhf_ext.data.store.served.pairs import outcomes, served_preferences, served_thumbs

PROMPT = [{"role": "user", "content": "2+2?"}]


@pytest.fixture
def store(tmp_path):
    return ServedStore(tmp_path / "gateway.sqlite")


def serve(store, name, text, prompt=PROMPT, variant="sft", **fields):
    texts = None if text is None else [text] if isinstance(text, str) else text
    values = {"experiment": "e", "why": "hash", "user_hash": store.hash(f"user of {name}"), **fields}
    row = Response(
        name, 0.0, "chat", "assistant", 200, 0.5, store.hash(prompt),
        variant=variant, prompt=None if texts is None else prompt, texts=texts, **values,
    )  # fmt: skip
    store.record([row])


def say(store, response, kind, value, user="ann"):
    store.add_feedback(ServedFeedback(response, kind, value, user=user))


def texts(rows):
    return [(row["chosen"][0]["content"], row["rejected"][0]["content"], row["preference_strength"]) for row in rows]


def test_a_preference_a_correction_and_thumbs_each_make_a_row(store):
    serve(store, "a", "4")
    serve(store, "b", "5", variant="dpo")
    serve(store, "c", "22", [{"role": "user", "content": "11+11 = ?"}])
    serve(store, "d", "yes", [{"role": "user", "content": "Is it?"}])
    serve(store, "e", "no", [{"role": "user", "content": "Is it?"}], variant="dpo")
    say(store, "a", "preference", {"over": "b", "strength": 0.9})
    say(store, "c", "correction", {"text": "It is 22."})
    say(store, "d", "thumb", {"up": False})
    say(store, "e", "thumb", {"up": True}, "ben")
    rows = {row["category"]: row for row in served_preferences(store.database)}
    assert texts(rows.values()) and set(rows) == {"preference", "correction", "thumb"}
    assert texts([rows["preference"]]) == [("4", "5", 0.9)]
    assert (rows["preference"]["chosen_model"], rows["preference"]["rejected_model"]) == ("sft", "dpo")
    assert texts([rows["correction"]]) == [("It is 22.", "22", 1.0)] and rows["correction"]["annotators"] == 1
    assert texts([rows["thumb"]]) == [("no", "yes", 1.0)] and rows["thumb"]["annotators"] == 2
    assert rows["thumb"]["prompt"] == [{"role": "user", "content": "Is it?"}]


def test_what_somebody_said_last_counts(store):
    serve(store, "a", "4")
    serve(store, "b", "5")
    for up in (True, False, True):
        say(store, "a", "thumb", {"up": up})
    say(store, "b", "thumb", {"up": True})
    say(store, "b", "thumb", {"up": False})
    say(store, "a", "preference", {"over": "b"})
    say(store, "b", "preference", {"over": "a", "strength": 0.7})
    say(store, "b", "correction", {"text": "Fivee"})
    say(store, "b", "correction", {"text": "Five"})
    rows = list(served_preferences(store.database))
    found = [(row["category"], *texts([row])[0]) for row in rows]
    assert sorted(found) == [
        ("correction", "Five", "5", 1.0),
        ("preference", "5", "4", pytest.approx(0.7)),
        ("thumb", "4", "5", 1.0),
    ]


def test_several_people_are_one_row_with_a_strength(store):
    serve(store, "a", "4")
    serve(store, "b", "5")
    for who in ("ann", "ben", "cy"):
        say(store, "a", "preference", {"over": "b"}, who)
    say(store, "b", "preference", {"over": "a"}, "dan")
    assert texts(served_preferences(store.database)) == [("4", "5", 0.75)]
    assert texts(served_preferences(store.database, strength="votes")) == [("4", "5", pytest.approx(4 / 6))]
    assert list(served_preferences(store.database, min_annotators=5)) == []
    say(store, "b", "preference", {"over": "a"}, "eve")
    say(store, "b", "preference", {"over": "a"}, "flo")
    missed = Counter()
    assert list(served_preferences(store.database, left_out=missed)) == [] and missed == {"tie": 1}


def test_the_same_text_served_twice_is_one_answer(store):
    for name, text in (("a", "4"), ("b", "4"), ("c", "5")):
        serve(store, name, text)
    say(store, "a", "thumb", {"up": True}, "ann")
    say(store, "b", "thumb", {"up": False}, "ben")
    say(store, "c", "thumb", {"up": False}, "ben")
    assert list(served_preferences(store.database)) == [], "as many like it as do not"
    say(store, "b", "thumb", {"up": True}, "cy")
    [row] = served_preferences(store.database)
    assert texts([row]) == [("4", "5", 0.75)], "up, up and down against not up"


def test_a_prompt_that_is_asked_often_does_not_drown_the_others(store):
    for n in range(20):
        serve(store, f"r{n}", f"text {n}")
        say(store, f"r{n}", "thumb", {"up": n % 2 == 0}, f"user {n}")
    rows = list(served_preferences(store.database))
    assert (
        len(rows) == 16 and len({(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows}) == 16
    )
    assert len({row["rejected"][0]["content"] for row in rows}) == 10


def test_what_cannot_be_trained_on_is_counted(store):
    serve(store, "bare", None, [{"role": "user", "content": "a"}])
    serve(store, "blocked", "I cannot say that.", [{"role": "user", "content": "b"}], finish_reason="content_filter")
    serve(store, "empty", " ", [{"role": "user", "content": "c"}])
    serve(store, "tokens", "x", [1, 2, 3])
    serve(store, "same", "x")
    for name in ("bare", "blocked", "empty", "tokens"):
        say(store, name, "correction", {"text": "Better."})
    say(store, "same", "correction", {"text": "x "})
    missed = Counter()
    assert list(served_preferences(store.database, left_out=missed)) == []
    assert missed == {"text not kept": 1, "ended by a filter": 1, "no text": 2, "no difference": 1}


def test_choices_of_one_response(store):
    serve(store, "a", ["one", "two"])
    say(store, "a", "preference", {"choice": 1, "over_choice": 0})
    assert texts(served_preferences(store.database)) == [("two", "one", 1.0)]
    with pytest.raises(ValueError, match="2 choices"):
        say(store, "a", "thumb", {"up": True, "choice": 2})


def test_thumbs_for_kto(store):
    serve(store, "a", "4")
    serve(store, "b", "5")
    say(store, "a", "thumb", {"up": True})
    say(store, "b", "thumb", {"up": False})
    rows = [(row["completion"][0]["content"], row["label"]) for row in served_thumbs(store.database)]
    assert rows == [("4", True), ("5", False)]


def test_it_comes_out_of_the_one_export_beside_what_was_asked(store, tmp_path):
    serve(store, "a", "4")
    say(store, "a", "correction", {"text": "It is 4."})
    feedback = FeedbackStore(tmp_path / "gateway.sqlite")
    item = FeedbackItem("comparison", "3+3?", ("6", "7"))
    feedback.add_items([item])
    feedback.add([FeedbackRecord("comparison", item.id, "ann", {"strength": 0.9})])
    done = export(feedback, tmp_path / "out.parquet", as_messages=True)
    assert done.rows == 2
    import datasets

    prepared = prepare_preferences(datasets.Dataset.from_parquet(str(tmp_path / "out.parquet")))
    assert sorted(row["chosen"][0]["content"] for row in prepared) == ["6", "It is 4."]
    assert export(feedback, tmp_path / "thumbs.jsonl", "thumbs").rows == 0
    assert export(feedback, tmp_path / "ai.jsonl", sources=("ai",)).rows == 0


def test_outcomes_are_what_an_ab_report_reads(store, tmp_path):
    from rlhf_ext.deployment.experiments import read_outcomes

    for n in range(30):
        serve(store, f"r{n}", "x", variant="dpo" if n % 2 else "sft", completion_tokens=n)
        say(store, f"r{n}", "thumb", {"up": n % 2 == 1})
    path = tmp_path / "outcomes.jsonl"
    export(FeedbackStore(tmp_path / "gateway.sqlite"), path, "outcomes", experiment="e")
    found = read_outcomes(path, "e")
    assert found.variants == ["dpo", "sft"] and set(found.metrics) == {
        "error",
        "seconds",
        "completion_tokens",
        "thumbs_up",
    }
    assert found.moments("thumbs_up", "dpo").mean == 1 and found.moments("thumbs_up", "sft").mean == 0
    assert found.users("dpo") == 15
    assert json.loads(path.read_text().splitlines()[0])["user"] == store.hash("user of r0")
    assert list(outcomes(store.database, experiment="other")) == []
