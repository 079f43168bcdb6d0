"""Somebody who visits a server over real HTTP: keeps cookies, reads forms, sends them."""

from __future__ import annotations

import http.client
import re
from html import unescape
from urllib.parse import urlencode

_FIELD = re.compile(r'<input type="hidden" name="(?P<name>[^"]*)" value="(?P<value>[^"]*)">')


class Reply:
    """A response: status, headers, text."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    def hidden(self) -> dict[str, str]:
        """The hidden fields of the page; of several forms the first one's."""
        fields: dict[str, str] = {}
        for match in _FIELD.finditer(self.text):
            fields.setdefault(match["name"], unescape(match["value"]))
        return fields


class Visitor:
    """A browser without scripts, in 40 lines."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.cookies: dict[str, str] = {}

    def get(self, path: str, headers: dict[str, str] | None = None) -> Reply:
        return self.ask("GET", path, None, headers)

    def post(self, path: str, fields: dict | list, headers: dict[str, str] | None = None) -> Reply:
        typed = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return self.ask("POST", path, urlencode(fields, doseq=True), typed)

    def ask(self, method: str, path: str, body: str | bytes | None, headers: dict[str, str] | None = None) -> Reply:
        sent = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items()), **(headers or {})}
        self.connection.request(method, path, body, sent)
        reply = Reply(self.connection.getresponse())
        for cookie in reply.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return reply

    def join(self, token: str) -> Reply:
        """Opens an invitation and begins."""
        fields = self.get(f"/join/{token}").hidden()
        return self.post("/join", fields)

    def sign_in(self, password: str) -> Reply:
        """Opens the admin's page."""
        return self.post("/admin/sign-in", {**self.get("/admin").hidden(), "password": password})

    def question(self) -> Reply:
        return self.get("/")

    def answer(self, page: Reply, **fields: object) -> Reply:
        """Sends a question's form, with the hidden fields of its page."""
        return self.post("/answer", {**page.hidden(), **fields})
