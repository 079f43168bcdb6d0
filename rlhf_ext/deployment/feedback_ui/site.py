"""What the pages share: the store, who is who, and how a page is made."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from ...data.store import Annotators, FeedbackItem, FeedbackStore, WorkQueue
from ..rates import RateLimit
from .answers import BadForm, Form, one, read_form
from .sessions import Session, Sessions
from .settings import FeedbackSettings

STATIC = Path(__file__).parent / "static"
_ITEMS = 500


class Refused(Exception):
    """A request that ends in a page that says why.

    Args:
        status (`int`): HTTP status.
        heading (`str`), lines (`list[str]`): What the page says.
        links (`list[tuple[str, str]]`, *optional*): Where to go from there: words and address.
        headers (`dict`, *optional*): Of the response.
    """

    def __init__(
        self,
        status: int,
        heading: str,
        lines: Sequence[str],
        links: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(heading)
        self.status, self.heading, self.lines, self.links, self.headers = status, heading, lines, links, headers


@dataclass(frozen=True)
class Standing:
    """An annotator's progress, as shown."""

    done: int
    total: int
    can_undo: bool


class Site:
    """The store and everything around it that the pages need; one for an application.

    Args:
        queue ([`~rlhf_ext.data.store.WorkQueue`]): Items and answers.
        settings ([`FeedbackSettings`]): Words, secrets and limits.
    """

    def __init__(self, queue: WorkQueue, settings: FeedbackSettings) -> None:
        self.queue, self.settings = queue, settings
        self.store: FeedbackStore = queue.store
        self.annotators = Annotators(queue.store)
        self.sessions = Sessions(settings)
        self.answers = RateLimit(settings.answers_per_minute)
        self.logins = RateLimit(settings.logins_per_minute)
        self._items: OrderedDict[str, FeedbackItem] = OrderedDict()

    async def posted(self, request: Request) -> dict[str, list[str]]:
        """The form of a request, which has to be this session's own."""
        try:
            form = read_form(await request.body())
            token = one(form, "form")
        except BadForm as error:
            raise Refused(400, "This form cannot be read", [str(error)], [("Go back", "/")]) from error
        if not self.sessions.is_form_token(self.sessions.of(request), token):
            lines = ["It was opened before you signed in or out, or in another browser. Nothing was stored."]
            raise Refused(403, "This form is not from this session", lines, [("Open the page again", "/")])
        return form

    def annotator(self, request: Request) -> str:
        """Who is asking; refuses who is nobody, or has been revoked."""
        session = self.sessions.of(request)
        known = session.annotator
        if known is None or not self.annotators.is_active(known, session.joined):
            lines = [
                "Open the link that you were sent. It works once; after that this browser knows you.",
                "If yours has been used or has run out, ask whoever sent it for a new one.",
            ]
            raise Refused(401, "You need an invitation", lines)
        return known

    def admin(self, request: Request) -> Session:
        """The admin's session; refuses everybody else."""
        session = self.sessions.of(request)
        if not session.admin:
            raise Refused(401, "Sign in first", ["This page is the admin's."], [("Sign in", "/admin")])
        return session

    def slow_down(self, limit: RateLimit, key: str) -> None:
        """Refuses what comes too often."""
        wait = limit.wait(key)
        if wait:
            seconds = math.ceil(wait)
            lines = [f"Please wait {seconds} second{'s' * (seconds > 1)} and try again."]
            raise Refused(429, "That was too often", lines, headers={"Retry-After": str(seconds)})

    def standing(self, annotator: str) -> Standing:
        """How far an annotator is."""
        progress = self.queue.progress(annotator)
        done = progress.answered + progress.skipped
        return Standing(done, done + progress.remaining, progress.answered > 0)

    def remember(self, item: FeedbackItem) -> None:
        """Keeps an item at hand, so that an answer to it can be shown again while the store cannot be read."""
        self._items[item.id] = item
        self._items.move_to_end(item.id)
        while len(self._items) > _ITEMS:
            self._items.popitem(last=False)

    def item(self, number: str) -> FeedbackItem | None:
        """An item, from memory or the store."""
        found = self._items.get(number)
        return found if found is not None else next(self.store.items([number]), None)

    def page(self, request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page; who has no session yet gets one, for the page's forms."""
        session = self.sessions.of(request)
        values.setdefault("form_token", self.sessions.form_token(session))
        text = self._templates.get_template(template).render(settings=self.settings, version=self._version, **values)
        response = HTMLResponse(text, status)
        if self.sessions.cookie not in request.cookies or session.annotator is None:
            self.sessions.keep(response, session)
        return response

    def message(
        self, request: Request, heading: str, lines: Sequence[str], status: int = 200, **values: Any
    ) -> HTMLResponse:
        """A page with a few words."""
        names = {"annotator": None, "progress": None, "links": (), "resend": None, **values}
        return self.page(request, "message.html", status, heading=heading, lines=lines, **names)

    @cached_property
    def _templates(self) -> Environment:
        environment = Environment(
            loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        environment.filters["number"] = lambda value: f"{value:g}"
        environment.filters["two_places"] = lambda value: f"{value:.2f}".replace("-", "−")
        return environment

    @cached_property
    def _version(self) -> str:
        """Of the static files: browsers keep them until they change."""
        contents = b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()))
        return hashlib.sha256(contents).hexdigest()[:12]


def client_of(request: Request) -> str:
    """Address of whoever asks."""
    return request.client.host if request.client else "unknown"


def form_again(action: str, form: Form) -> dict[str, Any]:
    """A form to be sent once more, as hidden fields."""
    return {"action": action, "fields": form}
