"""The annotator's pages: invitation, guide, question, answer, skip, undo."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ...data.store import AlreadyAnswered, Assignment, InvitationError, LeaseExpired, NotAssigned
from .answers import BadForm, Form, Given, flags_of, note_of, one, reason_of, value_of
from .markdown import render_markdown
from .questions import question_of
from .site import Refused, Site, client_of, form_again

_NEXT = [("Next question", "/")]
_SAID = {
    "saved": ("good", "Your answer is saved."),
    "skipped": ("good", "Skipped."),
    "undone": ("good", "Your last answer is taken back. Give it again here."),
    "nothing": ("bad", "There is no answer to take back."),
}
_VIEW = "rlhf_ext_view"
_UNSAVED = "Your answer could not be saved: {}. It is still here. Wait a moment, then send it again."


def annotator_routes(site: Site) -> APIRouter:
    """Routes of everything that annotators see."""
    router = APIRouter()
    _add_coming_and_going(router, site)
    _add_answering(router, site)

    @router.get("/guide")
    def guide(request: Request) -> Response:
        annotator = site.annotator(request)
        name = next(person.name for person in site.annotators.list() if person.id == annotator)
        guidelines = render_markdown(site.settings.guidelines) if site.settings.guidelines else None
        started = site.standing(annotator).done > 0
        return site.page(request, "guide.html", guidelines=guidelines, name=name, started=started)

    @router.get("/")
    def question(request: Request, said: str = "") -> Response:
        annotator = site.annotator(request)
        assignment = site.queue.next(annotator)
        if assignment is None:
            return _nothing_left(site, request, annotator)
        given = _taken_back(site, assignment) if assignment.previous else Given()
        given.view = request.cookies.get(_VIEW, "written")
        return _question_page(site, request, assignment, given, _SAID.get(said))

    return router


def _add_coming_and_going(router: APIRouter, site: Site) -> None:
    posted = Depends(site.posted)

    @router.get("/join/{token}")
    def invitation(request: Request, token: str) -> Response:
        # Looking does not use a link up: mail programs and chats open links before people do.
        return site.page(request, "join.html", token=token)

    @router.post("/join")
    def join(request: Request, form: dict = posted) -> Response:
        site.slow_down(site.logins, f"join {client_of(request)}")
        try:
            annotator = site.annotators.redeem(one(form, "token"))
        except InvitationError as error:
            raise Refused(403, "This invitation does not open", [str(error)]) from error
        response = RedirectResponse("/guide", 303)
        site.sessions.begin(response, site.sessions.of(request), annotator=annotator)
        return response

    @router.post("/sign-out")
    def sign_out(request: Request, form: dict = posted) -> Response:
        response = site.message(request, "Signed out", ["To come back you need a new invitation link."])
        site.sessions.end(response)
        return response


def _add_answering(router: APIRouter, site: Site) -> None:
    posted = Depends(site.posted)

    @router.post("/answer")
    def answer(request: Request, form: dict = posted) -> Response:
        sheet = _sheet(site, request, form, "/answer")
        return sheet.send(_store_answer, "saved")

    @router.post("/skip")
    def skip(request: Request, form: dict = posted) -> Response:
        sheet = _sheet(site, request, form, "/skip")
        return sheet.send(_store_skip, "skipped")

    @router.post("/undo")
    def undo(request: Request, form: dict = posted) -> Response:
        annotator = site.annotator(request)
        site.slow_down(site.answers, annotator)
        undone = site.queue.undo(annotator)
        return RedirectResponse(f"/?said={'nothing' if undone is None else 'undone'}", 303)


@dataclass(frozen=True)
class _Sheet:
    """A question's form that came back."""

    site: Site
    request: Request
    form: Form
    assignment: Assignment
    seconds: float

    def send(self, store: Any, said: str) -> Response:
        """Stores what it says; what cannot be stored comes back filled in."""
        try:
            self.site.slow_down(self.site.answers, self.assignment.annotator)
            store(self)
        except BadForm as error:
            return self._again(422, str(error))
        except Refused as error:
            return self._again(error.status, error.lines[0], error.headers)
        except OSError as error:
            reason = "the disk is full" if "full" in str(error) else "the store is busy or out of reach"
            return self._again(503, _UNSAVED.format(reason), {"Retry-After": "5"})
        except LeaseExpired as error:
            lines = [
                "Others have answered it in the meantime, so that your answer was not needed. Nothing else is lost."
            ]
            raise Refused(409, "The time for this question ran out", lines, _NEXT) from error
        except AlreadyAnswered as error:
            lines = ["Your first answer is saved, and this one differs from it. To change it, use Undo."]
            raise Refused(409, "You have answered this question", lines, _NEXT) from error
        except NotAssigned as error:
            lines = ["You skipped it, took it back, or it was never given to you. Nothing was stored."]
            raise Refused(409, "This question is not yours to answer now", lines, _NEXT) from error
        response = RedirectResponse(f"/?said={said}", 303)
        view = "rendered" if one(self.form, "view") == "rendered" else "written"
        secure = self.site.settings.secure
        response.set_cookie(_VIEW, view, 365 * 86_400, httponly=True, samesite="lax", secure=secure)
        return response

    def _again(self, status: int, problem: str, headers: Mapping[str, str] | None = None) -> Response:
        given = Given.from_form(self.form, self.assignment)
        given.skipping = self.request.url.path == "/skip"
        stamp = one(self.form, "shown")
        response = _question_page(self.site, self.request, self.assignment, given, ("bad", problem), status, stamp)
        response.headers.update(headers or {})
        return response


def _store_answer(sheet: _Sheet) -> None:
    assignment, form = sheet.assignment, sheet.form
    value = value_of(form, assignment)
    flags = flags_of(form, assignment, sheet.site.settings.flags)
    try:
        sheet.site.queue.submit(
            assignment.id, assignment.annotator, value, notes=note_of(form), flags=flags, seconds=sheet.seconds
        )
    except ValueError as error:
        raise BadForm(str(error)) from error


def _store_skip(sheet: _Sheet) -> None:
    reason = reason_of(sheet.form, sheet.site.settings.skip_reasons)
    sheet.site.queue.skip(sheet.assignment.id, sheet.assignment.annotator, reason)


def _sheet(site: Site, request: Request, form: Form, action: str) -> _Sheet:
    """The form with the question that it was about, which its stamp names."""
    try:
        annotator = site.annotator(request)
        stamp = site.sessions.read_stamp(one(form, "shown"))
        if stamp is None or stamp[0] != one(form, "assignment"):
            raise Refused(400, "This form was not made here", ["Nothing was stored."], _NEXT)
        assignment_id, number, order, seconds = stamp
        item = site.item(number)
    except BadForm as error:
        raise Refused(400, "This form cannot be read", [str(error)], _NEXT) from error
    except OSError as error:
        again = {"resend": form_again(action, form)}
        raise Unsaved(_UNSAVED.format("the store cannot be read"), again) from error
    if item is None:
        raise Refused(410, "This question is gone", ["It is no longer in the store."], _NEXT)
    assignment = Assignment(assignment_id, item, annotator, order, datetime.fromtimestamp(time.time(), UTC))
    return _Sheet(site, request, form, assignment, seconds)


class Unsaved(Exception):
    """An answer that can be neither stored nor shown in its question; the page holds it to be sent again."""

    def __init__(self, problem: str, values: Mapping[str, Any]) -> None:
        super().__init__(problem)
        self.values = values


def _taken_back(site: Site, assignment: Assignment) -> Given:
    """The answer that was taken back, with the note and the flags that came with it."""
    said = list(site.store.records(item=assignment.item.id, annotator=assignment.annotator, current=False))
    answered = max((record.id or 0 for record in said if record.kind == assignment.item.kind), default=0)
    with_it = [record for record in said if (record.id or 0) > answered]
    notes = [record.value["text"] for record in with_it if record.kind == "text"]
    flags = [record.value for record in with_it if record.kind == "flag"]
    return Given.from_value(assignment.previous or {}, assignment, "\n".join(notes), flags)


def _question_page(
    site: Site,
    request: Request,
    assignment: Assignment,
    given: Given,
    notice: tuple[str, str] | None,
    status: int = 200,
    stamp: str | None = None,
) -> Response:
    site.remember(assignment.item)
    try:
        progress = site.standing(assignment.annotator)
    except OSError:
        progress = None  # the page is worth more than its progress bar
    if stamp is None:
        stamp = site.sessions.stamp(assignment.id, assignment.item.id, assignment.shown_order)
    return site.page(
        request,
        "question.html",
        status,
        question=question_of(assignment),
        given=given,
        notice=notice and {"tone": notice[0], "text": notice[1]},
        progress=progress,
        stamp=stamp,
    )


def _nothing_left(site: Site, request: Request, annotator: str) -> Response:
    standing = site.standing(annotator)
    heading = "All done. Thank you!" if standing.done else "There is nothing to answer yet"
    lines = [f"You have answered or skipped {standing.done} question{'s' * (standing.done != 1)}."] * (
        standing.done > 0
    )
    lines += ["New questions appear here when there are some."]
    again = [("Look again", "/")]
    return site.message(request, heading, lines, annotator=annotator, progress=standing, links=again)
