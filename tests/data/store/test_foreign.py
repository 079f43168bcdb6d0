"""Exports of Argilla and Label Studio, in the forms that those write."""

import copy
import json

import pytest

from rlhf_ext.data.store import FeedbackItem, FeedbackStore, preferences, read_argilla, read_label_studio

# As `dataset.records.to_json` of Argilla 2 writes a record.
ARGILLA = {
    "id": "4e2e2f5c-6a5e-4a44-9d3e-2f0d4d1f8d11",
    "fields": {"prompt": "2+2?", "response1": "4", "response2": "5"},
    "metadata": {"topic": "sums"},
    "suggestions": {"better": {"value": "response1", "score": 0.9, "agent": "a model"}},
    "responses": {
        "better": [
            {"value": "response1", "user_id": "11111111-aaaa"},
            {"value": "tie", "user_id": "22222222-bbbb"},
        ],
        "why": [{"value": "Five is wrong.", "user_id": "11111111-aaaa"}, {"value": " ", "user_id": "22222222-bbbb"}],
    },
    "vectors": {},
    "_server_id": "b1f5a1de-9c0a-4a0e-8d2c-5c4f4f8f2f11",
}
# As Label Studio's export "JSON" writes a task.
TASK = {
    "id": 12,
    "data": {"prompt": "2+2?", "answer1": "4", "answer2": "5"},
    "annotations": [
        {
            "id": 1001,
            "completed_by": {"id": 3, "email": "ann@example.org", "first_name": "", "last_name": ""},
            "result": [
                {"id": "a", "from_name": "pw", "to_name": "t1,t2", "type": "pairwise", "value": {"selected": "right"}},
                {
                    "id": "b",
                    "from_name": "why",
                    "to_name": "t1",
                    "type": "textarea",
                    "value": {"text": ["Hm.", "Yes."]},
                },
                {"id": "c", "from_name": "safe", "to_name": "t1", "type": "choices", "value": {"choices": ["Safe"]}},
            ],
            "was_cancelled": False,
            "ground_truth": False,
            "created_at": "2024-03-09T22:16:08.728353Z",
            "updated_at": "2024-03-09T22:16:08.728378Z",
            "lead_time": 4.25,
            "task": 12,
        },
        {"id": 1002, "completed_by": 7, "result": [], "was_cancelled": True, "created_at": "2024-03-10T00:00:00Z"},
    ],
    "predictions": [{"model_version": "m", "result": [{"type": "pairwise", "value": {"selected": "left"}}]}],
    "project": 2,
}
STATES = ("submitted", "draft", "discarded")


def change(record, *path, value):
    changed = copy.deepcopy(record)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


def said(imported):
    return [(one.kind, one.annotator, dict(one.value)) for one in imported.records]


def test_argilla_comparisons(url, tmp_path):
    path = tmp_path / "argilla.json"
    path.write_text(json.dumps([ARGILLA]))
    found = read_argilla(path, question="better", texts=["why"])
    assert said(found) == [
        ("comparison", "11111111-aaaa", {"strength": 1.0}),
        ("text", "11111111-aaaa", {"text": "Five is wrong."}),
        ("comparison", "22222222-bbbb", {"strength": 0.5}),
    ]
    [item] = found.items
    assert item.responses == ("4", "5") and item.columns == {"argilla_id": ARGILLA["id"], "topic": "sums"}
    store = FeedbackStore(url)
    assert found.store(store) == 3
    assert read_argilla(path, question="better", texts=["why"]).store(store) == 3
    assert len(list(store.records())) == 3, "imported again, stored once"
    [row] = preferences(store)
    assert (row["chosen"], row["preference_strength"], row["topic"]) == ("4", 0.75, "sums")


def test_argilla_choices_of_any_name():
    labels = change(ARGILLA, "responses", "better", value=[{"value": "B", "user_id": "u"}])
    found = read_argilla([labels], question="better", choices={"A": 1.0, "B": 0.25})
    assert said(found) == [("comparison", "u", {"strength": 0.25})]
    with pytest.raises(ValueError, match="record 0: the choice 'B' is none of .*say `choices`"):
        read_argilla([labels], question="better")
    with pytest.raises(ValueError, match="record 0: the choice 'B' is not in `choices`"):
        read_argilla([labels], question="better", choices={"A": 1.0})


def test_argilla_rankings_and_ratings():
    ranks = [{"value": "response2", "rank": 1}, {"value": "response1", "rank": 2}]
    ranked = change(ARGILLA, "responses", "better", value=[{"value": ranks, "user_id": "u"}])
    assert said(read_argilla([ranked], question="better")) == [("comparison", "u", {"strength": 0.0})]
    three = change(ranked, "fields", "response3", value="6")
    ranks.append({"value": "response3", "rank": 1})
    three["responses"]["better"][0]["value"] = ranks
    names = ["response1", "response2", "response3"]
    assert said(read_argilla([three], question="better", responses=names)) == [
        ("ranking", "u", {"order": [[1, 2], 0]})
    ]
    scored = {"truth": [{"value": 4, "user_id": "u"}], "wit": [{"value": 2, "user_id": "u"}]}
    rated = change(ARGILLA, "responses", value=scored)
    scales = {"truth": (1, 5), "wit": (1, 3)}
    found = read_argilla([rated], responses=["response1"], scales=scales)
    assert said(found) == [("rating", "u", {"scales": {"truth": 4, "wit": 2}})]
    with pytest.raises(ValueError, match="record 0: user u gave no answer to .*'wit'"):
        read_argilla([change(rated, "responses", "wit", value=[])], responses=["response1"], scales=scales)


def test_argilla_of_version_1_with_the_state_of_each_response():
    old = change(
        ARGILLA,
        "responses",
        value=[
            {"user_id": "u1", "status": "submitted", "values": {"better": {"value": "response2"}}},
            {"user_id": "u2", "status": "draft", "values": {"better": {"value": "response1"}}},
            {"user_id": "u3", "status": "discarded", "values": {}},
        ],
    )
    assert said(read_argilla([old], question="better")) == [
        ("comparison", "u1", {"strength": 0.0}),
        ("skip", "u3", {"reason": "discarded in Argilla"}),
    ]


def test_argilla_of_version_2_where_answers_say_their_state():
    given = [{"value": "response2", "user_id": f"u{n}", "status": state} for n, state in enumerate(STATES)]
    told = change(ARGILLA, "responses", value={"better": given})
    assert said(read_argilla([told], question="better")) == [
        ("comparison", "u0", {"strength": 0.0}),
        ("skip", "u2", {"reason": "discarded in Argilla"}),
    ]


def test_label_studio_comparisons(url, tmp_path):
    path = tmp_path / "project.json"
    path.write_text(json.dumps([TASK]))
    found = read_label_studio(path)
    assert said(found) == [
        ("comparison", "ann@example.org", {"strength": 0.0}),
        ("text", "ann@example.org", {"text": "Hm.\nYes."}),
        ("skip", "7", {"reason": "cancelled in Label Studio"}),
    ]
    assert found.records[0].seconds == 4.25
    assert found.records[0].created.isoformat() == "2024-03-09T22:16:08.728353+00:00"
    store = FeedbackStore(url)
    assert found.store(store) == 3 and read_label_studio(path).store(store) == 3
    assert len(list(store.records())) == 3
    assert [item.columns for item in store.items()] == [{"label_studio_id": 12}]


def test_label_studio_choices_rankings_and_ratings():
    chosen = {"from_name": "safe", "type": "choices", "value": {"choices": ["About the same"]}}
    choice = change(TASK, "annotations", 0, "result", 2, value=chosen)
    assert ("comparison", "ann@example.org", {"strength": 0.5}) in said(read_label_studio([choice], question="safe"))
    three = [{"id": "m1", "body": "a"}, {"id": "m2", "body": "b"}, {"id": "m3", "title": "c"}]
    ranker = {"from_name": "rank", "type": "ranker", "value": {"ranker": {"_": ["m3"], "bad": ["m1", "m2"]}}}
    ranked = change(TASK, "annotations", 0, "result", value=[ranker])
    ranked["data"] = {"prompt": "?", "items": three}
    found = read_label_studio([ranked], responses=["items"])
    assert found.items[0].responses == ("a", "b", "c")
    assert said(found)[0] == ("ranking", "ann@example.org", {"order": [2, [0, 1]]})
    ranker["value"]["ranker"] = ["m2", "m3", "m1"]
    assert said(read_label_studio([ranked], responses=["items"]))[0][2] == {"order": [1, 2, 0]}
    stars = {"from_name": "truth", "type": "rating", "value": {"rating": 4}}
    rated = change(TASK, "annotations", 0, "result", value=[stars])
    found = read_label_studio([rated], responses=["answer1"], scales={"truth": (1, 5)})
    assert said(found)[0] == ("rating", "ann@example.org", {"scales": {"truth": 4}})


@pytest.mark.parametrize(
    ("read", "record", "options", "message"),
    [
        (read_argilla, ARGILLA, {}, "record 0: several responses are compared or ranked: say `question`"),
        (read_argilla, ARGILLA, {"prompt": "query"}, "record 0: there is no field 'query'; it has .*'prompt'"),
        (read_argilla, ARGILLA, {"responses": ["response1"]}, "record 0: one response is to be rated: say `scales`"),
        (
            read_argilla,
            change(ARGILLA, "fields", "response2", value="4"),
            {"question": "better"},
            "record 0: .*not all different",
        ),
        (
            read_argilla,
            change(ARGILLA, "fields", "response2", value=None),
            {"question": "better"},
            r"record 0: `responses\[1\]`",
        ),
        (
            read_argilla,
            change(ARGILLA, "responses", "better", value=[{"value": [{"value": "x", "rank": 1}], "user_id": "u"}]),
            {"question": "better"},
            "record 0: the ranking names 'x', which is none of",
        ),
        (
            read_argilla,
            change(ARGILLA, "responses", "better", 0, "value", value=[{"value": "response2", "rank": 1}]),
            {"question": "better"},
            r"record 0: the ranking leaves out \['response1'\]",
        ),
        (
            read_argilla,
            ARGILLA,
            {"question": "beter"},
            "nobody answered a question 'beter'; answered are 'better', 'why'",
        ),
        (
            read_label_studio,
            TASK,
            {"question": "pww"},
            r"nobody answered a question 'pww'; .* 'pw' \(pairwise\), 'safe'",
        ),
        (
            read_label_studio,
            change(TASK, "annotations", 0, "result", value=TASK["annotations"][0]["result"][1:]),
            {},
            r"no annotation says which response is better: say `question`.* there are 'safe' \(choices\)",
        ),
        (
            read_argilla,
            change(ARGILLA, "responses", "better", value=[{"value": "tie"}]),
            {"question": "better"},
            "no 'user_id'",
        ),
        (read_argilla, "not a dict", {}, "record 0 of the export of Argilla should be a dict, got str"),
        (
            read_label_studio,
            {"id": 1, "prompt": "?"},
            {},
            "record 0: there are no `annotations`: export as JSON, not as JSON-MIN",
        ),
        (
            read_label_studio,
            change(TASK, "annotations", 0, "result", 0, "value", value={}),
            {},
            "record 0: there is no 'selected'",
        ),
        (read_label_studio, TASK, {"question": "safe"}, "record 0: the choice 'Safe' is none of"),
        (
            read_label_studio,
            TASK,
            {"responses": ["answer1"], "scales": {"x": (0, 1)}},
            "record 0: a pairwise of 1 responses",
        ),
    ],
)
def test_mistakes_are_named_by_record(read, record, options, message):
    with pytest.raises(ValueError, match=message):
        read([record], **options)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="No such file: .*none.json. Give a JSON export of Argilla"):
        read_argilla(tmp_path / "none.json", question="better")
    (tmp_path / "broken.json").write_text("[{")
    with pytest.raises(ValueError, match=r"broken.json is no JSON"):
        read_label_studio(tmp_path / "broken.json")
    (tmp_path / "one.json").write_text(json.dumps(ARGILLA))
    with pytest.raises(ValueError, match="A JSON export of Argilla is a list of records, got dict"):
        read_argilla(tmp_path / "one.json", question="better")
    (tmp_path / "lines.jsonl").write_text(json.dumps(ARGILLA) + "\n" + json.dumps(ARGILLA) + "\n")
    assert len(read_argilla(tmp_path / "lines.jsonl", question="better").items) == 2


def test_what_does_not_fit_the_store_is_not_half_stored(url):
    store = FeedbackStore(url)
    first = change(ARGILLA, "fields", "prompt", value="1+1?")
    clash = read_argilla([ARGILLA], question="better").items[0]
    store.add_items([FeedbackItem("comparison", "2+2?", ("4", "5"), id=clash.id, category="sums")])
    with pytest.raises(ValueError, match="item 1: there is another item with the id"):
        read_argilla([first, ARGILLA], question="better").store(store)
    assert list(store.records()) == [] and len(list(store.items())) == 1
