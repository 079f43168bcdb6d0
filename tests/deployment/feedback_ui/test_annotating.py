"""An annotator's pages over HTTP, without a browser: what is stored, and what is said when something is wrong."""

import sqlite3
import time

import pytest
import sqlalchemy as sa

from .conftest import PAIR, pairs
from .visitor import Visitor

RATING = {"kind": "rating", "prompt": "Sum up.", "responses": ["Short."], "scales": {"help": [1, 5], "care": [1, 7]}}
RANKING = {"kind": "ranking", "prompt": "A name?", "responses": ["Ann", "Bob", "Cy"]}


def test_an_answer_is_stored_with_all_that_belongs_to_it(start):
    site = start([{**PAIR, "prompt_version": "v2"}])
    ada = site.visitor("Ada")
    page = ada.question()
    time.sleep(0.05)
    reply = ada.answer(page, strength=0, note="Because\nof this.", **{"flag-1": ["false", "illegal"]})
    assert (reply.status, reply.headers["Location"]) == (303, "/?said=saved")
    record, note, *flags = site.records()
    left_is_first = record.shown_order == (0, 1)
    assert record.value == {"strength": 1.0 if left_is_first else 0.0}
    assert record.annotator == site.annotators.list()[0].id and record.models == ("m1", "m2")
    assert record.prompt_version == "v2" and 0.05 <= record.seconds < 10
    assert note.value == {"text": "Because\nof this."}
    assert [flag.value for flag in flags] == [
        {"category": "false", "response": 1},
        {"category": "illegal", "response": 1},
    ]
    assert "Thank you" in ada.question().text


def test_the_side_on_the_screen_is_the_side_that_is_recorded(start):
    site = start(pairs(12))
    ada = site.visitor("Ada")
    orders = set()
    while "Which answer is better?" in (page := ada.question()).text:
        first_left = page.text.index("yes ") < page.text.index("no ")
        assert ada.answer(page, strength=1).status == 303
        record = site.records("comparison")[-1]
        assert record.shown_order == ((0, 1) if first_left else (1, 0))
        assert record.value["strength"] == (0.8333 if first_left else 0.1667)
        orders.add(record.shown_order)
    assert len(orders) == 2, "one side for all"


def test_ratings_and_rankings_are_stored(start):
    site = start([RATING, RANKING])
    ada = site.visitor("Ada")
    assert ada.answer(ada.question(), **{"scale-0": 4, "scale-1": 7}).status == 303
    assert ada.answer(ada.question(), **{"place-0": 2, "place-1": 1, "place-2": 2}).status == 303
    assert [record.value for record in site.records()] == [{"scales": {"help": 4, "care": 7}}, {"order": [1, [0, 2]]}]


def test_a_form_that_lacks_something_comes_back_filled_in_and_says_what(start):
    site = start([RATING])
    ada = site.visitor("Ada")
    reply = ada.answer(ada.question(), note="half", **{"scale-1": 6, "flag-0": "hate"})
    assert reply.status == 422 and "Rate the answer on the scale &#39;help&#39;" in reply.text
    assert 'name="scale-1" value="6" required checked' in reply.text
    assert ">half</textarea>" in reply.text and 'value="hate" checked' in reply.text
    assert site.records() == []
    assert ada.answer(reply, **{"scale-0": 1, "scale-1": 6}).status == 303


def test_tokens_that_are_wrong_used_revoked_or_expired_say_so(start):
    site = start([PAIR])
    token = site.annotators.invite("Ada")
    assert site.visitor().get(f"/join/{token}").status == 200
    assert site.visitor().get(f"/join/{token}").status == 200, "looking does not use it up"
    assert site.visitor().join(token).status == 303
    for bad, words in (
        (token, "has been used"),
        ("x" * 32, "no such invitation"),
        ("", None),
        (site.annotators.invite("Ben", days=1e-9), "has run out"),
        (_revoked(site), "revoked"),
    ):
        reply = site.visitor().join(bad) if bad else site.visitor().get("/join/")
        assert reply.status in (403, 404)
        assert words is None or words in reply.text


def _revoked(site):
    token = site.annotators.invite("Cleo")
    site.annotators.revoke(site.annotators.list()[-1].id)
    return token


def test_who_is_revoked_is_out_at_once(start):
    site = start(pairs(3))
    ada = site.visitor("Ada")
    page = ada.question()
    site.annotators.revoke(site.annotators.list()[0].id)
    assert ada.question().status == 401
    assert ada.answer(page, strength=1).status == 401
    assert site.records() == []


def test_undo_brings_the_answer_back_with_its_note_and_flags(start):
    site = start(pairs(2))
    ada = site.visitor("Ada")
    first = ada.question()
    ada.answer(first, strength=5, note="my note", **{"flag-0": "hate"})
    fields = ada.question().hidden()
    reply = ada.post("/undo", {"form": fields["form"]})
    assert reply.headers["Location"] == "/?said=undone"
    page = ada.get(reply.headers["Location"])
    assert "taken back" in page.text and 'value="5" required checked' in page.text
    assert ">my note</textarea>" in page.text and 'name="flag-0" value="hate" checked' in page.text
    assert site.records() == []
    assert ada.answer(first, strength=5).status == 409, "the form of the answer that was taken back"
    assert ada.answer(page, strength=3).status == 303
    assert [record.value for record in site.records()] == [{"strength": 0.5}]
    assert ada.post("/undo", {"form": fields["form"]}).status == 303
    assert ada.post("/undo", {"form": fields["form"]}).headers["Location"] == "/?said=nothing"


def test_skipping_needs_a_reason_and_passes_the_item_on(start):
    site = start([PAIR])
    ada, ben = site.visitor("Ada"), site.visitor("Ben")
    page = ada.question()
    assert "nothing to answer yet" in ben.question().text
    reply = ada.post("/skip", page.hidden())
    assert reply.status == 422 and "Choose a reason" in reply.text
    assert ada.post("/skip", {**page.hidden(), "other_reason": "not my field"}).status == 303
    assert [record.value for record in site.records("skip")] == [{"reason": "not my field"}]
    assert "Which answer" in ben.question().text
    assert ada.answer(page, strength=1).status == 409, "skipped is skipped"


def test_a_lease_that_ran_out_is_given_on_and_its_answer_refused_kindly(start):
    site = start([PAIR], lease=0.4)
    ada, ben = site.visitor("Ada"), site.visitor("Ben")
    page = ada.question()
    time.sleep(0.5)
    assert ben.answer(ben.question(), strength=1).status == 303
    reply = ada.answer(page, strength=5)
    assert reply.status == 409 and "ran out" in reply.text
    assert len(site.records("comparison")) == 1


def test_a_lease_that_ran_out_but_that_nobody_took_is_still_good(start):
    site = start([PAIR], lease=0.2)
    ada = site.visitor("Ada")
    page = ada.question()
    time.sleep(0.3)
    assert ada.answer(page, strength=5).status == 303


def test_the_same_answer_twice_is_one_and_another_is_refused(start):
    site = start(pairs(2))
    ada = site.visitor("Ada")
    page = ada.question()
    assert ada.answer(page, strength=2).status == 303
    assert ada.answer(page, strength=2).status == 303
    assert ada.answer(page, strength=4).status == 409
    assert len(site.records("comparison")) == 1


def test_what_was_not_leased_cannot_be_answered(start):
    site = start(pairs(2))
    ada, ben = site.visitor("Ada"), site.visitor("Ben")
    mine, his = ada.question().hidden(), ben.question().hidden()
    stolen = {**mine, "assignment": his["assignment"], "shown": his["shown"], "strength": 1}
    assert ada.post("/answer", stolen).status == 409
    for forged in ({"assignment": "999-0"}, {"shown": his["shown"]}, {"shown": "made.up"}, {"shown": ""}):
        assert ada.post("/answer", {**mine, "strength": 1, **forged}).status == 400
    assert ada.post("/skip", {**stolen, "reason": "it upsets me"}).status == 409
    assert site.records() == []


def test_two_annotators_get_different_items_and_nobody_one_too_many(start):
    site = start(pairs(3))
    ada, ben = site.visitor("Ada"), site.visitor("Ben")
    one, other = ada.question(), ben.question()
    assert "Question 0?" in one.text and "Question 1?" in other.text
    assert ada.question().hidden()["assignment"] == one.hidden()["assignment"], "looking again gives the same one"


def test_a_session_outlives_the_server(start):
    site = start(pairs(2), secret_key="k" * 40)
    ada = site.visitor("Ada")
    page = ada.question()
    again = start([], secret_key="k" * 40)
    ada.port, ada.connection = again.port, Visitor(again.port).connection
    assert ada.answer(page, strength=1).status == 303
    assert "Question 1?" in ada.question().text


def test_items_with_missing_responses_are_refused_when_they_are_added(start):
    site = start()
    for bad, words in (
        ({"responses": ["only one"]}, "should be 2, got 1"),
        ({"responses": ["one", ""]}, r"responses\[1\]"),
        ({"responses": ["one", None]}, r"responses\[1\]"),
        ({"prompt": ""}, "prompt"),
    ):
        with pytest.raises(ValueError, match=f"item 1: .*{words}"):
            site.queue.add([PAIR, {**PAIR, **bad}])
    assert "nothing to answer yet" in site.visitor("Ada").question().text


def test_a_locked_database_keeps_the_answer_on_the_page(start, tmp_path):
    site = start([PAIR], wait=0.3)
    ada = site.visitor("Ada")
    page = ada.question()
    writer = sqlite3.connect(tmp_path / "feedback.sqlite", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    reply = ada.answer(page, strength=5, note="a long thought", **{"flag-0": "hate"})
    assert reply.status == 503 and reply.headers["Retry-After"] and "could not be saved" in reply.text
    assert 'value="5" required checked' in reply.text and ">a long thought</textarea>" in reply.text
    assert 'value="hate" checked' in reply.text
    assert ada.get("/").status == 503 and "Nothing that was saved is lost" in ada.get("/").text
    writer.execute("ROLLBACK")
    assert ada.answer(reply, strength=5, note="a long thought").status == 303
    assert [record.kind for record in site.records()] == ["comparison", "text"]
    assert site.records("comparison")[0].seconds > 0.2, "the clock did not start anew"


def test_a_full_disk_keeps_the_answer_on_the_page(start):
    site = start([PAIR])
    ada = site.visitor("Ada")
    page = ada.question()
    with site.store.database.writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    reply = ada.answer(page, strength=5, note="x" * 9_000)
    assert reply.status == 503 and "disk is full" in reply.text and "x" * 9_000 in reply.text
    assert site.records() == []
    with site.store.database.writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert ada.answer(reply, strength=5, note="x" * 9_000).status == 303


def test_a_store_that_cannot_even_be_read_keeps_the_answer_to_be_sent_again(start):
    site = start([PAIR])
    ada = site.visitor("Ada")
    page = ada.question()
    with site.store.database.engine.connect() as connection:
        connection.execute(sa.text("ALTER TABLE feedback_annotators RENAME TO away"))
        connection.commit()
    reply = ada.answer(page, strength=5, note="kept <here>")
    assert reply.status == 503 and "Send again" in reply.text and "kept &lt;here&gt;" in reply.text
    with site.store.database.engine.connect() as connection:
        connection.execute(sa.text("ALTER TABLE away RENAME TO feedback_annotators"))
        connection.commit()
    assert ada.post("/answer", reply.hidden()).status == 303
    assert {record.kind: record.value for record in site.records()}["text"] == {"text": "kept <here>"}
