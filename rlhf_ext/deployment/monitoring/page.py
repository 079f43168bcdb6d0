"""The status page: one self-contained page that has no scripts and loads nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .monitor import Monitor
from .status import view, windows_of
from .style import STYLE

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-robots-tag": "noindex, nofollow",
}
"""Headers of the page: should anything slip past the escaping, it does not run."""

REFRESH = 30
"""Seconds between two loads, where that is asked for."""


def status_page(monitor: Monitor, window: str = "", refresh: bool = False) -> str:
    """The page.

    Args:
        monitor ([`Monitor`]): What it shows.
        window (`str`, *optional*): One of [`~rlhf_ext.deployment.monitoring.status.windows_of`]; by default an hour, or the shortest.
        refresh (`bool`, *optional*, defaults to `False`): Whether it loads itself again every 30 seconds.

    Returns:
        `str`: HTML.

    Raises:
        LookupError: If there is no such window.
    """
    known = windows_of(monitor)
    window = window or ("1 h" if "1 h" in known else next(iter(known)))
    if window not in known:
        raise LookupError(f"There is no window {window!r}; there are {', '.join(known)}.")
    values: dict[str, Any] = view(monitor, window)
    template = _environment().get_template("status.html")
    return template.render(style=Markup(STYLE), refresh=REFRESH if refresh else None, **values)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    found.filters["urlencode_plus"] = lambda text: text.replace(" ", "+")
    return found
