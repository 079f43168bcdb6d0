"""What `rlhf-ext feedback` says of the addresses at which people find the page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any


def address(host: str, port: int) -> str:
    """Where a browser on this machine finds what listens there."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"


def say_added(name: str | None, new: int, rows: int) -> None:
    """Says how many items came from a file, if there was one."""
    if name is not None:
        known = f", {rows - new} were there already and stay as they are" if new < rows else ""
        sys.stdout.write(f"items   {new} added from {name}{known}\n")


def say_links(annotators: Any, names: Sequence[str], public_url: str, days: float, anew: bool = False) -> None:
    """A link for each; for who is known by that name only if it is to be issued `anew`, and then to the same person."""
    known = {one.name: one.id for one in annotators.list()}
    for name in names:
        if name in known and not anew:
            sys.stdout.write(
                f"invite  {name} is invited already; for a new link: rlhf-ext feedback invite --invite {name}\n"
            )
            continue
        token = annotators.reissue(known[name], days) if name in known else annotators.invite(name, days)
        note = "; the same person: earlier links and sessions have ended" if name in known else ""
        sys.stdout.write(
            f"invite  {public_url.rstrip('/')}/join/{token}  ({name}; works once, for {days:g} days{note})\n"
        )


def say_where(settings: Any, public_url: str, options: Any, loopback: bool) -> None:
    """Says where the page and the admin's are, and what is wrong with that."""
    if settings.admin_password is None:
        sys.stdout.write("admin   closed: set RLHF_EXT_ADMIN_PASSWORD and start again to open it\n")
    else:
        sys.stdout.write(f"admin   {public_url.rstrip('/')}/admin\n")
    if options.host in ("0.0.0.0", "::") and options.public_url is None:
        sys.stderr.write(
            f"rlhf-ext: WARNING: these links work on this machine only. For others give the address that they reach it by: "
            f"--public_url http://ADDRESS:{public_url.rpartition(':')[2]}, or --host ADDRESS.\n"
        )
    if not loopback and not settings.secure:
        sys.stderr.write(
            f"rlhf-ext: WARNING: listening on {options.host} without TLS: whoever is on the way can read answers and take over "
            "sessions. Put a proxy with TLS in front and give its address as --public_url https://...\n"
        )
    sys.stdout.write(f"serving {options.host}:{public_url.rpartition(':')[2]} until Ctrl-C\n")
    sys.stdout.flush()
