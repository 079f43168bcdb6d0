"""`/status`: who may see it, and the page."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import os
from urllib.parse import parse_qs, urlsplit

from ..monitoring import Monitor
from ..monitoring.page import HEADERS, status_page
from ..rates import RateLimit
from .admission import KeyRing
from .errors import ApiError, invalid, too_many
from .exchange import Exchange

PASSWORD = "RLHF_EXT_ADMIN_PASSWORD"
"""Environment variable with the password of the page."""


class Status:
    """Shows the status page to whom it may concern.

    With a password in `RLHF_EXT_ADMIN_PASSWORD` it takes that; without one an API key, where there are any; and else nothing, as the
    rest of the gateway. Browsers ask for it (HTTP Basic; the user name does not matter); programs may send a key as they do elsewhere.

    Args:
        monitor ([`~rlhf_ext.deployment.monitoring.Monitor`]): What is shown.
        keys ([`KeyRing`]): Who may see it, where there is no password.
    """

    def __init__(self, monitor: Monitor, keys: KeyRing):
        self._monitor, self._keys = monitor, keys
        self._password = os.environ.get(PASSWORD, "").strip()
        self._tries = RateLimit(30)

    async def handle(self, exchange: Exchange) -> None:
        """Answers.

        Raises:
            ApiError: If somebody may not see it, or there is no such window.
        """
        exchange.extra += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        self._admit(exchange)
        asked = parse_qs(exchange.scope.get("query_string", b"").decode("latin-1"))
        try:
            # In a thread: it reads hours of figures, and answers go on meanwhile.
            page = await asyncio.to_thread(
                status_page, self._monitor, asked.get("window", [""])[0], "refresh" in asked
            )
        except LookupError as error:
            raise invalid(str(error.args[0])[:300], "window") from None
        await exchange.answer(200, page.encode("utf-8", "replace"), content_type=b"text/html; charset=utf-8")

    def _admit(self, exchange: Exchange) -> None:
        if not self._password and not self._keys.needed:
            # Other sites can give their own name this machine's address, and have a browser read the page to them.
            if not _is_address(exchange.header("host")):
                message = f"Under a name the page needs a password: set {PASSWORD}, or go to the machine's address."
                raise ApiError(421, message, code="password_needed")
            return
        given = _basic(exchange.header("authorization"))
        if self._password:
            # Counted before it is looked at: whoever guesses learns nothing beyond the limit.
            wait = self._tries.wait(exchange.address) if given is not None else 0.0
            if wait:
                raise too_many("The page was asked for too often from this address.", wait)
            if given is not None and hmac.compare_digest(given.encode(), self._password.encode()):
                return
        elif given is None:
            try:
                self._keys.check(exchange)
                return
            except ApiError as error:
                if exchange.header("authorization") or exchange.header("api-key"):
                    raise error from None
        elif self._keys.knows(given):
            return
        exchange.extra.append((b"www-authenticate", b'Basic realm="rlhf-ext gateway", charset="UTF-8"'))
        what = "the admin's password" if self._password else "an API key, in the place of the password"
        raise ApiError(401, f"The status page needs {what}.", code="invalid_api_key")


def _basic(header: str) -> str | None:
    """The password of HTTP Basic."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _is_address(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False
