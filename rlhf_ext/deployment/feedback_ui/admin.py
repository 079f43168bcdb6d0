"""The admin's pages: how the work stands, invitations, exports."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from ...data.store import export
from ...evaluation.human.agreement import agreement_of
from ...stats import Estimate
from .answers import one
from .figures import people_of, prompts_of, said_of
from .live import LiveItems
from .site import Refused, Site, client_of

EXPORTS = {
    "preferences": "Preference pairs for TRL: prompt, chosen, rejected, preference_strength",
    "ratings": "Ratings by scale",
    "demonstrations": "Best answers, for supervised fine-tuning",
    "records": "Everything that was said, as it was said",
}
FORMATS = {"jsonl": "application/jsonl", "parquet": "application/vnd.apache.parquet"}
_BACK = [("Back", "/admin")]


def admin_routes(site: Site, live: LiveItems | None) -> APIRouter:
    """Routes of everything that the admin sees."""
    router = APIRouter(prefix="/admin")

    @router.get("")
    def overview(request: Request) -> Response:
        if site.settings.admin_password is None:
            lines = ["Start the server with a password in RLHF_EXT_ADMIN_PASSWORD to open them."]
            raise Refused(404, "The admin's pages are closed", lines)
        if not site.sessions.of(request).admin:
            return site.page(request, "login.html", problem=None)
        return site.page(request, "admin.html", **_standing(site, live))

    @router.get("/export/{what}.{suffix}")
    def download(request: Request, what: str, suffix: str, as_messages: bool = False) -> Response:
        site.admin(request)
        return _exported(site, what, suffix, as_messages)

    _add_signing_in(router, site)
    _add_people(router, site)
    return router


def _add_signing_in(router: APIRouter, site: Site) -> None:
    posted = Depends(site.posted)

    @router.post("/sign-in")
    def sign_in(request: Request, form: dict = posted) -> Response:
        site.slow_down(site.logins, f"admin {client_of(request)}")
        if not site.sessions.is_password(one(form, "password")):
            return site.page(request, "login.html", 403, problem="That is not the password.")
        response = RedirectResponse("/admin", 303)
        site.sessions.begin(response, site.sessions.of(request), admin=True)
        return response

    @router.post("/sign-out")
    def sign_out(request: Request, form: dict = posted) -> Response:
        response = RedirectResponse("/admin", 303)
        site.sessions.end(response)
        return response


def _add_people(router: APIRouter, site: Site) -> None:
    posted = Depends(site.posted)

    @router.post("/invite")
    def invite(request: Request, form: dict = posted) -> Response:
        site.admin(request)
        name = one(form, "name").strip()
        try:
            token = site.annotators.invite(name)
        except ValueError as error:
            raise Refused(422, "Nobody was invited", [str(error)], _BACK) from error
        return _link_page(site, request, name, token)

    @router.post("/reissue")
    def reissue(request: Request, form: dict = posted) -> Response:
        site.admin(request)
        person = _person(site, one(form, "annotator"))
        return _link_page(site, request, person.name, site.annotators.reissue(person.id))

    @router.post("/revoke")
    def revoke(request: Request, form: dict = posted) -> Response:
        site.admin(request)
        site.annotators.revoke(_person(site, one(form, "annotator")).id)
        return RedirectResponse("/admin#people", 303)


def _exported(site: Site, what: str, suffix: str, as_messages: bool) -> Response:
    """An export as a file, which is gone once it is sent."""
    if what not in EXPORTS or suffix not in FORMATS:
        raise Refused(404, "There is no such export", [f"There are {', '.join(EXPORTS)}, as jsonl or parquet."], _BACK)
    folder = tempfile.TemporaryDirectory(prefix="rlhf-ext-export-")
    path = Path(folder.name) / f"{what}.{suffix}"
    try:
        export(site.store, path, what, **({"as_messages": True} if as_messages else {}))
    except ValueError as error:
        folder.cleanup()
        again = [("As messages", f"/admin/export/{what}.{suffix}?as_messages=true")] * (what != "records")
        raise Refused(422, "This export does not fit into a file", [str(error)], [*again, *_BACK]) from error
    done = BackgroundTask(folder.cleanup)
    return FileResponse(path, media_type=FORMATS[suffix], filename=path.name, background=done)


def _person(site: Site, number: str) -> Any:
    for person in site.annotators.list():
        if person.id == number:
            return person
    raise Refused(404, "There is no such annotator", [], _BACK)


def _link_page(site: Site, request: Request, name: str, token: str) -> Response:
    link = f"{site.settings.public_url.rstrip('/')}/join/{token}"
    return site.page(request, "invited.html", name=name, link=link)


def _standing(site: Site, live: LiveItems | None) -> dict[str, Any]:
    overview, people = site.queue.overview(), site.annotators.list()
    flags, said = said_of(site.store, people)
    return {
        "overview": overview,
        "agreement": agreement_of(overview.labels),
        "people": people_of(people, overview, site.store),
        "flags": flags,
        "said": said,
        "prompts": prompts_of(site.store, said),
        "live": None if live is None else live.state(),
        "exports": EXPORTS,
        "formats": list(FORMATS),
        "place": place_on_scale,
    }


def place_on_scale(estimate: Estimate, low: float, high: float, width: float = 200.0) -> dict[str, float]:
    """Where an estimate and its interval lie on a line of a width, for a drawing; ends that lie beyond are cut off."""

    def at(value: float) -> float:
        return round((min(max(value, low), high) - low) / (high - low) * width, 1)

    return {
        "low": at(estimate.low),
        "value": at(estimate.value),
        "high": at(estimate.high),
        "zero": at((low + high) / 2),
    }
