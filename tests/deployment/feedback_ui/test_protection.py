"""Forged forms, wrong names, large and slow bodies, guessed passwords."""

import http.client
import re
import socket
import threading
import time

import pytest
from itsdangerous import URLSafeTimedSerializer

from rlhf_ext.deployment.feedback_ui import FeedbackSettings, is_loopback, listen, secret_key
from rlhf_ext.deployment.rates import RateLimit

from .conftest import PAIR, PASSWORD, pairs
from .visitor import Visitor

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_every_page_has_the_headers_that_guard_it(start):
    site = start([PAIR])
    for visitor, path in (
        (site.visitor(), "/"),
        (site.visitor("Ada"), "/"),
        (site.admin(), "/admin"),
        (site.visitor(), "/no"),
    ):
        headers = visitor.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "same-origin"
    static = site.visitor().get("/static/style.css")
    assert static.status == 200 and "immutable" in static.headers["Cache-Control"]
    page = site.visitor("Ben").get("/").text
    assert "<script>" not in page and not re.search(r"\son[a-z]+=|style=|https?://", page)


def test_cookies_are_hidden_from_scripts_and_other_sites(start):
    cookie = start([PAIR]).visitor().get("/").headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Secure" not in cookie
    site = start([PAIR], public_url="https://feedback.example.org")
    reply = site.visitor().get("/")
    assert "Secure" in reply.headers["Set-Cookie"] and reply.headers["Set-Cookie"].startswith("__Host-")
    assert "max-age" in reply.headers["Strict-Transport-Security"]


@pytest.mark.parametrize(
    "path", ["/answer", "/skip", "/undo", "/sign-out", "/join", "/admin/sign-in", "/admin/invite"]
)
def test_a_form_without_its_token_is_refused_everywhere(start, path):
    site = start([PAIR])
    visitor = site.visitor("Ada")
    fields = visitor.question().hidden()
    stranger = Visitor(site.port).get("/join/x").hidden()["form"]
    for token in (
        {},
        {"form": ""},
        {"form": "x" * 40},
        {"form": stranger},
        {"form": [fields["form"], fields["form"]]},
    ):
        others = {name: value for name, value in fields.items() if name != "form"}
        reply = visitor.post(path, {**others, "strength": 1, "name": "Eve", "password": PASSWORD, **token})
        assert reply.status in (400, 403), (path, token)
    assert site.records() == [] and len(site.annotators.list()) == 1
    assert visitor.answer(visitor.question(), strength=1).status == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://["},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_form_that_came_from_another_site_is_refused_whatever_it_holds(start, headers):
    site = start([PAIR])
    visitor = site.visitor("Ada")
    fields = {**visitor.question().hidden(), "strength": 1}
    assert visitor.post("/answer", fields, headers).status == 403
    assert visitor.post("/answer", fields, {"Origin": site.url, "Sec-Fetch-Site": "same-origin"}).status == 303


def test_a_name_that_is_not_ours_is_refused(start):
    site = start([PAIR])
    for host in (
        "evil.example",
        "localhost@evil.example",
        "evil.example#localhost",
        "[",
        "",
        "localhost.evil.example",
    ):
        assert site.visitor().get("/", {"Host": host}).status in (400, 421), host
    assert site.visitor().get("/", {"Host": f"localhost:{site.port}"}).status == 401
    named = start([PAIR], allowed_hosts=("labels.internal",))
    assert named.visitor().get("/", {"Host": "labels.internal"}).status == 401


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(start, method):
    assert start().visitor().ask(method, "/", None, None).status == 405


def test_other_kinds_of_bodies_are_refused(start):
    site = start([PAIR])
    for kind in ("multipart/form-data; boundary=x", "application/json", "text/plain"):
        assert site.visitor("Ada").ask("POST", "/answer", b"a=1", {"Content-Type": kind}).status == 415


def test_a_body_of_50_mb_is_refused_before_it_is_sent(start):
    connection = http.client.HTTPConnection("127.0.0.1", start([PAIR]).port, timeout=10)
    connection.putrequest("POST", "/answer")
    connection.putheader("Content-Type", FORM["Content-Type"])
    connection.putheader("Content-Length", str(50 * 2**20))
    connection.endheaders()  # and not a byte of it
    reply = connection.getresponse()
    assert reply.status == 413 and reply.headers["Connection"] == "close"


@pytest.mark.parametrize("length", ["-1", "1e3", "²", "9" * 4_000])
def test_lengths_that_are_none_are_refused(start, length):
    with socket.create_connection(("127.0.0.1", start([PAIR]).port)) as raw:
        raw.settimeout(10)
        head = f"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM['Content-Type']}\r\nContent-Length: {length}\r\n\r\n"
        raw.sendall(head.encode())
        assert raw.recv(100).startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))


def test_a_body_of_50_mb_in_pieces_is_refused_while_it_comes(start):
    site = start([PAIR], max_body=100_000)
    with socket.create_connection(("127.0.0.1", site.port)) as raw:
        raw.settimeout(10)
        head = f"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM['Content-Type']}\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw.sendall(head.encode())
        piece = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
        sent, reply = 0, b""
        try:
            while sent < 50 * 2**20:
                raw.sendall(piece)
                sent += 65_536
            reply = raw.recv(1_000)
        except OSError:  # the server has closed its side, which is the point
            pass
        assert sent < 20 * 2**20, "the server took it all in"
        assert reply == b"" or b" 413 " in reply
    assert site.visitor().get("/").status == 401  # and it lives


def test_a_body_that_does_not_come_is_not_waited_for(start):
    site = start([PAIR], body_seconds=0.3)
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    connection.putrequest("POST", "/answer")
    connection.putheader("Content-Type", FORM["Content-Type"])
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"form=")
    began = time.monotonic()
    assert connection.getresponse().status == 408
    assert time.monotonic() - began < 5


def test_signed_cookies_cannot_be_made_or_changed(start):
    site = start([PAIR])
    ada = site.visitor("Ada")
    mine = ada.cookies["rlhf_ext"]
    # Not the last character, some bits of which stand for nothing.
    changed = mine[:-5] + ("A" if mine[-5] != "A" else "B") + mine[-4:]
    forged = URLSafeTimedSerializer("another key" * 4, salt="session").dumps(
        {"id": "x", "annotator": site.annotators.list()[0].id, "since": int(time.time()), "admin": "x"}
    )
    for value in (forged, changed, "x" + mine, "", "é", "."):
        visitor = site.visitor()
        visitor.cookies["rlhf_ext"] = value.encode().decode("latin-1")
        assert visitor.get("/").status == 401
        assert "Sign in" in visitor.get("/admin").text
    assert ada.get("/").status == 200


def test_an_annotator_is_no_admin_and_a_sign_in_changes_the_session(start):
    site = start([PAIR])
    ada = site.visitor("Ada")
    assert "Password" in ada.get("/admin").text
    fields = ada.question().hidden()
    before = ada.cookies["rlhf_ext"]
    for path in ("/admin/invite", "/admin/revoke", "/admin/reissue"):
        assert ada.post(path, {**fields, "name": "Eve", "annotator": "x"}).status == 401
    assert ada.get("/admin/export/records.jsonl").status == 401
    assert ada.sign_in(PASSWORD).status == 303
    assert ada.cookies["rlhf_ext"] != before
    assert "How it stands" in ada.get("/admin").text
    assert ada.get("/").status == 200, "still the annotator as well"
    assert ada.post("/undo", fields).status == 403, "forms of the old session are void"


def test_the_admins_session_ends_with_the_password(start):
    key = "k" * 40
    admin = start(secret_key=key).admin()
    assert "How it stands" in admin.get("/admin").text
    other = start(secret_key=key, admin_password="another password")
    admin.port, admin.connection = other.port, other.visitor().connection
    assert "Password" in admin.get("/admin").text


def test_passwords_cannot_be_guessed_fast(start):
    site = start(logins_per_minute=3)
    visitor = site.visitor()
    assert [visitor.sign_in(f"wrong {n}").status for n in range(5)] == [403, 403, 403, 429, 429]
    reply = visitor.sign_in(PASSWORD)
    assert reply.status == 429 and int(reply.headers["Retry-After"]) > 0
    token = site.annotators.invite("Ada")
    assert site.visitor().join(token).status == 303, "invitations are counted apart"


def test_answers_that_come_too_often_come_back_filled_in(start):
    site = start(pairs(10), answers_per_minute=3)
    ada = site.visitor("Ada")
    for _ in range(3):
        assert ada.answer(ada.question(), strength=1).status == 303
    reply = ada.answer(ada.question(), strength=5, note="kept & <safe>")
    assert reply.status == 429 and reply.headers["Retry-After"]
    assert 'value="5" required checked' in reply.text and "kept &amp; &lt;safe&gt;" in reply.text
    ben = site.visitor("Ben")
    assert ben.answer(ben.question(), strength=1).status == 303, "others are not held up"
    assert len(site.records("comparison")) == 4


def test_rate_limits_fill_up_again_and_forget_the_oldest():
    now = [0.0]
    limit = RateLimit(6, max_keys=2, clock=lambda: now[0])
    assert [limit.wait("a") for _ in range(7)] == [0.0] * 6 + [10.0]
    now[0] = 9.0
    assert limit.wait("a") == pytest.approx(1.0)
    now[0] = 10.0
    assert limit.wait("a") == 0.0 and limit.wait("a") > 0
    limit.wait("b"), limit.wait("c")
    assert limit.wait("a") == 0.0, "a was forgotten, and starts afresh"


def test_the_secret_key_is_made_once_and_only_its_owner_reads_it(tmp_path, monkeypatch):
    monkeypatch.delenv("RLHF_EXT_SECRET_KEY", raising=False)
    database = tmp_path / "deep" / "feedback.sqlite"
    keys: list[str] = []
    threads = [threading.Thread(target=lambda: keys.append(secret_key(database))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 1 and len(keys) == 8 and len(keys[0]) == 64
    assert (tmp_path / "deep" / "feedback.sqlite.key").stat().st_mode & 0o777 == 0o600
    assert secret_key("postgresql://x/y") != secret_key("postgresql://x/y")
    monkeypatch.setenv("RLHF_EXT_SECRET_KEY", "e" * 40)
    assert secret_key(database) == "e" * 40
    monkeypatch.delenv("RLHF_EXT_SECRET_KEY")
    (tmp_path / "deep" / "feedback.sqlite.key").write_text("short")
    with pytest.raises(ValueError, match=r"feedback\.sqlite\.key should hold"):
        secret_key(database)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("admin_password", "short", "at least 8"),
        ("secret_key", "short", "at least 32"),
        ("public_url", "feedback.example.org", "should start with http"),
        ("max_body", 0, "above 0"),
        ("session_days", float("nan"), "above 0"),
    ],
)
def test_settings_that_would_not_do_are_refused(field, value, problem):
    with pytest.raises(ValueError, match=problem):
        FeedbackSettings(**{field: value})


def test_secrets_are_not_in_the_repr():
    assert "swordfish" not in repr(FeedbackSettings(admin_password="swordfish!", secret_key="swordfish" * 4))


def test_loopback_is_told_from_the_rest_and_a_taken_port_is_named():
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "example.org", "localhost.evil.example")))
    with listen("127.0.0.1", 0) as taken, pytest.raises(OSError, match=r"Cannot listen on 127\.0\.0\.1 port"):
        listen("127.0.0.1", taken.getsockname()[1])
