"""The application: pages, protection and what ends with the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from ...data.store import WorkQueue
from .admin import admin_routes
from .annotating import Unsaved, annotator_routes
from .live import LiveItems
from .protection import Protection
from .settings import FeedbackSettings
from .site import STATIC, Refused, Site

_STORE_AWAY = (
    "The store is busy or out of reach. Nothing that was saved is lost. Wait a moment, then load the page again."
)


def create_feedback_app(
    queue: WorkQueue, settings: FeedbackSettings | None = None, live: LiveItems | None = None
) -> FastAPI:
    """The feedback page as an ASGI application, for `uvicorn` or to be mounted under a server of your own.

    People open an invitation link, then compare, rate and rank what the queue gives them; the admin sees how that goes,
    invites people and exports. Pages are made on the server and work without scripts; nothing is loaded from elsewhere.

    Args:
        queue ([`~rlhf_ext.data.store.WorkQueue`]): Items and answers. The page stores through it and nowhere else.
        settings ([`FeedbackSettings`], *optional*): Words, secrets and limits.
        live ([`LiveItems`], *optional*): Adds fresh items while the server runs; it is started and stopped with it.

    Returns:
        `fastapi.FastAPI`: the application.

    Example:
    ```python
    >>> import tempfile
    >>> from rlhf_ext.data.store import FeedbackStore, WorkQueue
    >>> from rlhf_ext.deployment.feedback_ui import create_feedback_app

    >>> app = create_feedback_app(WorkQueue(FeedbackStore(tempfile.mkdtemp() + "/feedback.sqlite")))
    >>> app.title
    'Feedback'

    ```
    """
    settings = settings or FeedbackSettings()
    site = Site(queue, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if live is not None:
            live.start(queue)
        yield
        if live is not None:
            live.stop()

    # FastAPI's own documentation pages load from elsewhere, and there is no API to document.
    no_pages: dict[str, Any] = {"openapi_url": None, "docs_url": None, "redoc_url": None, "redirect_slashes": False}
    app = FastAPI(title=settings.title, lifespan=lifespan, **no_pages)
    app.add_middleware(Protection, settings=settings)
    app.mount("/static", _Static(directory=STATIC))
    app.include_router(annotator_routes(site))
    app.include_router(admin_routes(site, live))
    _handle_errors(app, site)
    return app


def _handle_errors(app: FastAPI, site: Site) -> None:
    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> Response:
        response = site.message(request, error.heading, error.lines, error.status, links=error.links)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Unsaved)
    def unsaved(request: Request, error: Unsaved) -> Response:
        values: Mapping[str, Any] = error.values
        return site.message(request, "Not saved yet", [str(error)], 503, **values)

    @app.exception_handler(OSError)
    def away(request: Request, error: OSError) -> Response:
        again = [("Try again", "/admin" if request.url.path.startswith("/admin") else "/")]
        return site.message(request, "One moment", [_STORE_AWAY], 503, links=again)

    @app.exception_handler(HTTPException)
    def unknown(request: Request, error: HTTPException) -> Response:
        heading = "There is no such page" if error.status_code == 404 else "That does not work here"
        return site.message(request, heading, [], error.status_code, links=[("To the questions", "/")])


class _Static(StaticFiles):
    """Files that browsers keep: their addresses change when they do."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
