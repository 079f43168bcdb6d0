"""What stands between the network and the page: names, origins, sizes, times, headers.

Plain ASGI, so that a body that is too large is refused while it comes in, before anything has parsed it.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .settings import FeedbackSettings

_LOOPBACK = ("localhost", "127.0.0.1", "::1")

# Nothing inline, nothing from elsewhere, no frames: should anything slip past the escaping, it does not run.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer", with which browsers send `Origin: null` along with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "X-Robots-Tag": "noindex, nofollow",
}


class Protection:
    """Refuses requests by host, origin, method, size and time, and sets headers that guard the pages.

    Args:
        app (ASGI application):
            What to protect.
        settings ([`FeedbackSettings`]):
            Its hosts and limits.
    """

    def __init__(self, app: ASGIApp, settings: FeedbackSettings) -> None:
        self.app = app
        self.settings = settings
        self.hosts = {*_LOOPBACK, urlsplit(settings.public_url).hostname, *settings.allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._set_headers(MutableHeaders(scope=message), scope["path"])
            await send(message)

        refusal = self._refusal(scope)
        body = b""
        if scope["method"] == "POST" and (refusal is None or refusal[0] != 413):
            # A form that is refused is read too, within the limits: closing a connection with bytes unread would take the
            # answer away from whoever sent them.
            too_much, body = await self._read(receive)
            refusal = refusal or too_much
        if refusal is not None:
            await PlainTextResponse(refusal[1] + "\n", refusal[0], {"Connection": "close"})(scope, receive, guarded)
            return
        await self.app(scope, _replay(body, receive), guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason, where a request is refused before its body."""
        headers = Headers(scope=scope)
        if _parts(f"//{headers.get('host', '')}").hostname not in self.hosts:
            return (
                421,
                "This page does not go by that name. Whoever runs it can give the name as --public_url or --allowed_hosts.",
            )
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "Only GET and POST are known here."
        if scope["method"] != "POST":
            return None
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") or not self._ours(headers):
            return 403, "This form came from another site."
        if headers.get("content-type", "").split(";")[0].strip() != "application/x-www-form-urlencoded":
            return 415, "Forms are application/x-www-form-urlencoded."
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length[:20]) > self.settings.max_body:
            return 413, f"A form may have {self.settings.max_body:,} bytes."
        return None

    def _ours(self, headers: Headers) -> bool:
        """Whether the form came from this page; browsers say so in `Origin`."""
        origin = headers.get("origin")
        return origin is None or _parts(origin).netloc in (
            headers["host"],
            urlsplit(self.settings.public_url).netloc,
        )

    async def _read(self, receive: Receive) -> tuple[tuple[int, str] | None, bytes]:
        """The body, or why it is refused: as soon as it is too large, or too slow."""
        body = bytearray()
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return (400, "The connection was cut."), b""
                    body += message.get("body", b"")
                    if len(body) > self.settings.max_body:
                        return (413, f"A form may have {self.settings.max_body:,} bytes."), b""
                    if not message.get("more_body", False):
                        return None, bytes(body)
        except TimeoutError:
            return (408, "The form took too long to come in."), b""

    def _set_headers(self, headers: MutableHeaders, path: str) -> None:
        for name, value in _HEADERS.items():
            headers[name] = value
        if self.settings.secure:
            headers["Strict-Transport-Security"] = "max-age=31536000"
        if not path.startswith("/static/"):
            headers["Cache-Control"] = "no-store"  # what others wrote stays out of a shared computer's cache


def _parts(address: str) -> SplitResult:
    """Parts of an address; empty ones of what is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _replay(body: bytes, receive: Receive) -> Any:
    """Gives the body that was read once more, then what the server says (that the browser went away)."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
