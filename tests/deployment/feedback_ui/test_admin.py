"""The admin's pages: figures, invitations, exports."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from rlhf_ext.deployment.feedback_ui.admin import place_on_scale
from rlhf_ext.deployment.feedback_ui.figures import people_of
from rlhf_ext.evaluation.human.agreement import agreement_of
from rlhf_ext.stats import Estimate, fleiss_kappa, krippendorff_alpha

from .conftest import PAIR, PASSWORD, pairs
from .visitor import Visitor


def crowd(site, people, choice, count=100):
    """Lets named people answer over HTTP; `choice` says a stop of the slider for who, number and left text."""
    for name in people:
        visitor, noted = site.visitor(name), False
        for number in range(count):
            page = visitor.question()
            if "Which answer" not in page.text:
                break
            left = page.text.index('class="prose"', page.text.index('id="answer-0"'))
            stop = choice(name, number, page.text[left : left + 60])
            note = {} if noted or "gold " in page.text else {"note": "a note"}
            noted = noted or bool(note)
            assert visitor.answer(page, strength=stop, **note).status == 303


def test_without_a_password_there_are_no_admins_pages(start):
    site = start([PAIR], admin_password=None)
    assert site.visitor().get("/admin").status == 404
    assert site.visitor().sign_in("").status == 403
    assert site.visitor().get("/admin/export/records.jsonl").status == 401


def test_the_page_shows_agreement_speed_bias_and_gold(start):
    gold = [
        {**PAIR, "prompt": f"gold {n}", "responses": ["right", "wrong"], "gold": {"strength": 1.0}} for n in range(4)
    ]
    site = start([*pairs(12, wanted=2), *gold], gold_rate=0.4)
    # Ada looks for "yes" and "right"; Ben takes the left one whatever it is.
    crowd(site, ["Ada", "Ben"], lambda name, _, left: 1 if name == "Ben" or "yes" in left or "right" in left else 5)
    page = site.admin().get("/admin").text
    for words in (
        "Krippendorff's alpha, interval",
        "Fleiss' kappa, items with 2 answers",
        "items done of 12",
        "Prefers left",
    ):
        assert words.replace("'", "&#39;") in page or words in page
    overview = site.queue.overview()
    people = {one.annotator.name: one for one in people_of(site.annotators.list(), overview, site.store)}
    ada, ben = people["Ada"], people["Ben"]
    assert ada.figures.gold_right == ada.figures.gold_asked > 0 and ada.gold.value == 1.0
    assert ben.figures.first_shown.value == 1.0 and 0 < ada.figures.first_shown.value < 1
    # "yes 3" is longer than "no 3": Ada always prefers the longer one of these, Ben half the time or so.
    assert ada.longer.value > ben.longer.value and ada.longer.value == pytest.approx(0.8333, abs=0.01)
    assert "a note" in page and "Question 0?" in page


def test_agreement_is_that_of_the_statistics_and_says_when_it_is_not_defined():
    rows = [[0.8333, 1.0, None], [0.0, 0.1667, 0.5], [0.5, 0.5, None], [1.0, 0.0, None], [0.6667, 0.8333, None]] * 8
    found = {(one.what, one.measure): one for one in agreement_of({"comparison": rows})}
    alpha = found["strength of preference", "Krippendorff's alpha, interval"]
    assert alpha.estimate.value == pytest.approx(krippendorff_alpha(rows, "interval").value)
    sides = [[1, 1], [-1, -1, 0], [0, 0], [1, -1], [1, 1]] * 8
    kappa = found["which answer is better", "Fleiss' kappa, items with 2 answers"]
    assert kappa.estimate.value == pytest.approx(fleiss_kappa([row for row in sides if len(row) == 2]).value)
    assert kappa.bounded and kappa.estimate.n == 32
    [same, *_] = agreement_of({"rating help": [[3.0, 3.0], [3.0, 3.0]]})
    assert same.estimate is None and "not defined" in same.note and not same.bounded


def test_an_interval_lies_on_its_line():
    drawn = place_on_scale(Estimate(0.5, -0.5, 3.0, 10), -1, 1, width=200)
    assert drawn == {"low": 50.0, "value": 150.0, "high": 200.0, "zero": 100.0}


def test_inviting_revoking_and_inviting_again(start):
    site = start([PAIR])
    admin = site.admin()
    form = admin.get("/admin").hidden()["form"]
    page = admin.post("/admin/invite", {"form": form, "name": "  Ada "})
    assert page.status == 200 and "A link for <bdi>Ada</bdi>" in page.text
    link = page.text.split('<code class="secret">')[1].split("</code>")[0]
    assert link.startswith(site.url)
    token = link.rsplit("/", 1)[1]
    ada = Visitor(site.port)
    assert ada.join(token).status == 303 and ada.question().status == 200
    person = site.annotators.list()[0]
    assert (person.name, person.state) == ("Ada", "active")
    assert admin.post("/admin/revoke", {"form": form, "annotator": person.id}).status == 303
    assert ada.question().status == 401
    page = admin.post("/admin/reissue", {"form": form, "annotator": person.id})
    assert ada.question().status == 401  # the session of the link that was replaced stays closed
    assert site.visitor().join(page.text.split("/join/")[1].split("<")[0]).status == 303
    for path, fields, status in (
        ("/admin/invite", {"name": " "}, 422),
        ("/admin/invite", {"name": "x" * 129}, 422),
        ("/admin/revoke", {"annotator": "nobody"}, 404),
        ("/admin/reissue", {}, 404),
    ):
        assert admin.post(path, {"form": form, **fields}).status == status
    assert len(site.annotators.list()) == 1


def test_exports_are_files_that_trl_reads(start, tmp_path):
    site = start(pairs(6, wanted=2))
    crowd(site, ["Ada", "Ben"], lambda name, number, left: 1 if "yes" in left else 5)
    admin = site.admin()
    reply = admin.get("/admin/export/preferences.jsonl")
    assert reply.status == 200 and 'filename="preferences.jsonl"' in reply.headers["Content-Disposition"]
    rows = [json.loads(line) for line in reply.text.splitlines()]
    assert len(rows) == 6
    assert all(row["chosen"].startswith("yes") and row["rejected"].startswith("no") for row in rows)
    assert np.allclose([row["preference_strength"] for row in rows], 0.8333)
    records = [json.loads(line) for line in admin.get("/admin/export/records.jsonl").text.splitlines()]
    assert sum(row["kind"] == "comparison" for row in records) == 12
    visitor = site.admin()
    visitor.connection.request("GET", "/admin/export/preferences.parquet", headers={"Cookie": _cookies(visitor)})
    (tmp_path / "rows.parquet").write_bytes(visitor.connection.getresponse().read())
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == 6
    assert admin.get("/admin/export/passwords.jsonl").status == 404
    assert admin.get("/admin/export/records.exe").status == 404


def test_an_export_that_does_not_fit_says_what_helps(start):
    chat = [{"role": "user", "content": "Hi?"}]
    answers = [[{"role": "assistant", "content": text}] for text in ("Hello.", "Go.")]
    site = start([*pairs(1), {"kind": "comparison", "prompt": chat, "responses": answers}])
    crowd(site, ["Ada"], lambda *_: 1)
    admin = site.admin()
    reply = admin.get("/admin/export/preferences.parquet")
    assert reply.status == 422 and "?as_messages=true" in reply.text
    assert admin.get("/admin/export/preferences.jsonl?as_messages=true").status == 200


def _cookies(visitor):
    return "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())


def test_signing_out_ends_the_session(start):
    site = start([PAIR])
    admin = site.admin()
    form = admin.get("/admin").hidden()["form"]
    assert admin.post("/admin/sign-out", {"form": form}).status == 303
    assert "Password" in admin.get("/admin").text
    assert admin.sign_in(PASSWORD).status == 303
