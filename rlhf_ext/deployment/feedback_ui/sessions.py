"""Who somebody is: signed cookies, the tokens of forms, the admin's password.

Nothing of a session is kept on the server, so that it outlives a restart (with the same secret key). A cookie says who
its holder is; whether that person may still come in is asked of the store at every request.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from itsdangerous import BadSignature, Signer, URLSafeSerializer, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from .settings import FeedbackSettings

ADMIN_SECONDS = 12 * 3600
_SIGNER: dict[str, Any] = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}


@dataclass(frozen=True)
class Session:
    """A browser, and who uses it.

    Args:
        id (`str`): Random; a new one at every sign-in, so that nobody can fix it beforehand.
        annotator (`str`, *optional*): Whom the invitation was for.
        admin (`bool`, *optional*): Whether the password was given.
        since (`int`, *optional*): When that was, in seconds since 1970.
        joined (`float`, *optional*): When the invitation was used: one issued later has replaced it.
    """

    id: str
    annotator: str | None = None
    admin: bool = False
    since: int = 0
    joined: float = 0.0


class Sessions:
    """Reads and writes sessions.

    Args:
        settings ([`FeedbackSettings`]): Its secret key, password and times.
    """

    def __init__(self, settings: FeedbackSettings) -> None:
        self.settings = settings
        self.cookie = "__Host-rlhf_ext" if settings.secure else "rlhf_ext"
        self._seconds = int(settings.session_days * 86_400)
        key, password = settings.secret_key, settings.admin_password or ""
        self._sessions = URLSafeTimedSerializer(key, salt="session", signer_kwargs=_SIGNER)
        self._forms = Signer(key, salt="form", key_derivation="hmac", digest_method=hashlib.sha256)
        self._stamps = URLSafeSerializer(key, salt="stamp", signer_kwargs=_SIGNER)
        # The admin's session is bound to the password: with another one it has ended.
        self._password = hmac.new(key.encode(), password.encode(), hashlib.sha256).hexdigest()[:16]

    def of(self, request: Request) -> Session:
        """The session of a request; a new one of nobody where there is none, or it is forged or over."""
        try:
            kept = self._sessions.loads(request.cookies.get(self.cookie, ""), max_age=self._seconds)
        except BadSignature:
            return Session(secrets.token_urlsafe(16))
        fresh = time.time() - kept["since"] < ADMIN_SECONDS and self.settings.admin_password is not None
        admin = fresh and hmac.compare_digest(kept["admin"], self._password)
        return Session(kept["id"], kept["annotator"], admin, kept["since"], kept["joined"])

    def begin(self, response: Response, session: Session, annotator: str | None = None, admin: bool = False) -> None:
        """Signs somebody in, beside whom the browser already is, under a new id."""
        since = int(time.time()) if admin else session.since
        joined = session.joined if annotator is None else time.time()
        self.keep(
            response,
            Session(secrets.token_urlsafe(16), annotator or session.annotator, admin or session.admin, since, joined),
        )

    def keep(self, response: Response, session: Session) -> None:
        """Writes the cookie."""
        kept: dict[str, Any] = {"id": session.id, "annotator": session.annotator, "since": session.since}
        kept["joined"] = session.joined
        kept["admin"] = self._password if session.admin else ""
        value = self._sessions.dumps(kept)
        # Lax, not Strict: who comes by a link in a mail is to be known; forms have a token of their own.
        response.set_cookie(
            self.cookie, str(value), self._seconds, httponly=True, samesite="lax", secure=self.settings.secure
        )

    def end(self, response: Response) -> None:
        """Signs out."""
        response.delete_cookie(self.cookie, httponly=True, samesite="lax", secure=self.settings.secure)

    def form_token(self, session: Session) -> str:
        """What a form has to bring along to be this session's."""
        return self._forms.get_signature(session.id).decode()

    def is_form_token(self, session: Session, token: str) -> bool:
        """Whether a form is this session's."""
        return hmac.compare_digest(self.form_token(session).encode(), token.encode(errors="replace"))

    def stamp(self, assignment: str, item: str, order: Sequence[int]) -> str:
        """What was shown, and when, for its form to bring back: so that an answer is read the same after a restart."""
        return str(self._stamps.dumps([assignment, item, list(order), round(time.time(), 3)]))

    def read_stamp(self, stamp: str) -> tuple[str, str, tuple[int, ...], float] | None:
        """Assignment, item, order on the screen and seconds since; None where the stamp is not ours."""
        try:
            assignment, item, order, shown = self._stamps.loads(stamp)
        except BadSignature:
            return None
        return assignment, item, tuple(order), max(0.0, time.time() - shown)

    def is_password(self, given: str) -> bool:
        """Whether this is the admin's password; takes as long whether it is or not."""
        password = self.settings.admin_password
        return password is not None and hmac.compare_digest(password.encode(), given.encode(errors="replace"))
