"""Feedback by HTTP: tied to a response, stored before it is acknowledged."""

from __future__ import annotations

import json
import sqlite3

import pytest

from rlhf_ext.data.store import FeedbackStore, export
from rlhf_ext.data.store.served import ApiKeys, ServedStore
from rlhf_ext.deployment.gateway import StoreSettings

from .conftest import QUESTION
from .stub import WORDS

TEXT = "".join(WORDS)


def ask(gateway, content="2 + 2?", key="none", **fields):
    return gateway.client(key).chat.completions.create(
        model="stub", messages=[{"role": "user", "content": content}], **fields
    )


def test_right_after_the_answer(start, stub):
    """No client is so quick that its feedback finds no response."""
    gateway = start(stub)
    for n in range(20):
        number = ask(gateway, user="ann").id if n % 2 else [*ask(gateway, user="ann", stream=True)][-1].id
        status, _, answer = gateway.post(
            "/v1/feedback", {"response_id": number, "kind": "thumb", "up": True, "user": "ann"}
        )
        assert status == 200, answer
        assert answer["object"] == "feedback" and answer["response_id"] == number
    assert len(list(gateway.gateway.store.feedback())) == 20
    assert [heard[1:] for heard in gateway.watcher.heard] == [("thumb", {"up": True})] * 20


def test_of_what_another_gateway_of_the_store_answered(start, stub):
    first, second = start(stub), start(stub)
    for _ in range(5):
        status, *_ = second.post("/v1/feedback", {"response_id": ask(first).id, "kind": "thumb", "up": False})
        assert status == 200


def test_the_whole_way_to_a_file_to_train_on(start, stub, tmp_path):
    gateway = start(stub)
    first = ask(gateway).id
    gateway.post("/v1/feedback", {"response_id": first, "kind": "correction", "text": "Four. Ask ann@example.org"})
    stub.words = ["No idea"]
    second = ask(gateway).id
    gateway.post("/v1/feedback", {"response_id": first, "kind": "preference", "over": second, "strength": 0.8})
    gateway.rows(2)
    path = tmp_path / "out.jsonl"
    assert export(FeedbackStore(tmp_path / "gateway.sqlite"), path).rows == 2
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [
        (row["chosen"][0]["content"], row["rejected"][0]["content"], row["preference_strength"]) for row in rows
    ] == [
        (TEXT, "No idea", 0.8),
        ("Four. Ask [email]", TEXT, 1.0),
    ]
    assert rows[0]["prompt"] == QUESTION and rows[0]["chosen_model"] == "stub"


def test_twice_is_once(start, stub):
    gateway = start(stub)
    body = {"response_id": ask(gateway).id, "kind": "thumb", "up": True, "id": "mine-1"}
    first, second = gateway.post("/v1/feedback", body), gateway.post("/v1/feedback", body)
    assert first[0] == second[0] == 200 and first[2]["id"] == second[2]["id"]
    header = {name: value for name, value in body.items() if name != "id"}
    assert gateway.post("/v1/feedback", header, **{"Idempotency-Key": "mine-1"})[0] == 200
    assert len(list(gateway.gateway.store.feedback())) == len(gateway.watcher.heard) == 1
    status, _, answer = gateway.post("/v1/feedback", {**body, "up": False})
    assert status == 400 and answer["error"]["param"] == "id"


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"response_id": "chatcmpl-" + "0" * 32}, 404, "response_id"),
        ({"response_id": "up-1"}, 404, "response_id"),
        ({"response_id": None}, 400, "response_id"),
        ({"response_id": 5}, 400, "response_id"),
        ({"kind": None}, 400, "kind"),
        ({"kind": "applause"}, 400, "kind"),
        ({"up": "yes"}, 400, "up"),
        ({"stars": 5}, 400, "stars"),
        ({"choice": 3}, 400, "choice"),
        ({"user": 5}, 400, "user"),
    ],
)
def test_bad_feedback_is_named(start, stub, fields, status, param):
    gateway = start(stub)
    body = {"response_id": ask(gateway).id, "kind": "thumb", "up": True, **fields}
    got, _, answer = gateway.post("/v1/feedback", body)
    assert (got, answer["error"]["param"]) == (status, param)
    assert list(gateway.gateway.store.feedback()) == []


def test_a_preference_is_between_answers_to_one_prompt(start, stub):
    gateway = start(stub)
    first, second = ask(gateway).id, ask(gateway, "3 + 3?").id
    status, _, answer = gateway.post("/v1/feedback", {"response_id": first, "kind": "preference", "over": second})
    assert (status, answer["error"]["param"]) == (400, "over") and "different prompts" in answer["error"]["message"]


def test_only_the_key_that_got_a_response_may_speak_of_it(start, stub, tmp_path):
    keys = ApiKeys(ServedStore(tmp_path / "gateway.sqlite").database)
    mine, other = keys.add("mine"), keys.add("other")
    gateway = start(stub)
    body = {"response_id": ask(gateway, key=mine).id, "kind": "thumb", "up": True, "id": "1"}
    assert gateway.post("/v1/feedback", body, other)[0] == 404
    assert gateway.post("/v1/feedback", body, mine)[0] == 200
    body["response_id"] = ask(gateway, key=other).id
    assert gateway.post("/v1/feedback", body, other)[0] == 200, "its id 1 is another than that of the first"


def test_a_store_that_is_away_says_so_and_holds_what_was_served(start, stub, tmp_path, monkeypatch):
    monkeypatch.setattr("rlhf_ext.deployment.gateway.app._PATIENCE", 0.2)
    gateway = start(stub)
    number = ask(gateway).id
    gateway.rows(1)
    blocker = sqlite3.connect(tmp_path / "gateway.sqlite", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    status, headers, answer = gateway.post("/v1/feedback", {"response_id": number, "kind": "thumb", "up": True})
    assert (status, answer["error"]["code"]) == (503, "store_unavailable") and "retry-after" in headers
    for _ in range(3):
        assert ask(gateway).choices[0].message.content == TEXT, "answers go on"
    gateway.gateway.recorder.flush(3)
    assert gateway.get("/readyz")[0] == 503 and gateway.get("/readyz")[2]["why"] == "the store is away"
    blocker.execute("ROLLBACK")
    blocker.close()
    assert len(gateway.rows(4)) == 4 and gateway.get("/readyz")[0] == 200
    assert gateway.post("/v1/feedback", {"response_id": number, "kind": "thumb", "up": True})[0] == 200


def test_a_recorder_that_has_died_is_told_to_whoever_asks_whether_to_send_requests(start, stub, monkeypatch):
    gateway = start(stub)
    assert ask(gateway) and gateway.get("/readyz")[0] == 200
    gateway.rows(1)
    monkeypatch.setattr("threading.excepthook", lambda *_: None)
    monkeypatch.setattr(gateway.gateway.store, "record", lambda rows: 1 / 0)
    assert ask(gateway).choices[0].message.content == TEXT
    gateway.gateway.recorder._thread.join(5)
    assert gateway.get("/readyz")[0] == 503 and gateway.gateway.recorder.flush(0.1) is False


def test_more_than_can_be_held_is_counted_not_kept(start, stub):
    gateway = start(stub)
    recorder = gateway.gateway.recorder
    recorder.room = 0
    ask(gateway)
    assert "rlhf_ext_gateway_unrecorded_total 1.0" in gateway.get("/metrics")[2]


def test_personal_data_is_taken_out_before_it_is_stored(start, stub, tmp_path):
    gateway = start(stub)
    stub.words = ["Call +44 20 7946 0000", " now"]
    answer = ask(gateway, "I am ann@example.org")
    assert "7946" in answer.choices[0].message.content, "the client gets it as it is"
    [row] = gateway.rows(1)
    assert row.prompt == [{"role": "user", "content": "I am [email]"}] and row.texts == ["Call [phone] now"]
    plain = start(stub, store=StoreSettings(database=str(tmp_path / "plain.sqlite"), texts=True, redact=[]))
    ask(plain, "I am ann@example.org")
    assert plain.rows(1)[0].prompt == [{"role": "user", "content": "I am ann@example.org"}]
