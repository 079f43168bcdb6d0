"""The server, and the secret that keeps people signed in when it starts again."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import Any

import uvicorn

SECRET_VARIABLE = "RLHF_EXT_SECRET_KEY"
# Beyond this many requests at once the server says 503 rather than to slow everybody down.
_AT_ONCE = 500


def secret_key(database: str | Path) -> str:
    """The key that signs sessions: of the environment, else of a file beside an SQLite database, made if it is missing.

    Args:
        database (`str` or `Path`): The store's file or URL.

    Returns:
        `str`: the key; with a database elsewhere and no `RLHF_EXT_SECRET_KEY`, a new one, with which sessions end when the
        server does.

    Raises:
        ValueError: If the key found is too short.
    """
    given = os.environ.get(SECRET_VARIABLE, "")
    if given:
        return given
    if "://" in str(database):
        return secrets.token_hex(32)
    path = Path(f"{database}.key").expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Made whole, with its rights, beside its place: who starts at the same time finds all of it or nothing.
        made = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(made, path)
        except FileExistsError:
            pass  # another was first: its key counts
        finally:
            made.unlink()
    key = path.read_text(encoding="ascii").strip()
    if len(key) < 32:
        raise ValueError(
            f"{path} should hold the key that signs sessions, of at least 32 characters. Delete it for a new one."
        )
    return key


def serve(app: Any, at: socket.socket, behind_proxy: bool = False) -> None:
    """Serves an application until the process is told to end; requests that have begun are finished.

    Args:
        app (ASGI application): From [`create_feedback_app`].
        at (`socket.socket`): Where, from [`listen`].
        behind_proxy (`bool`, *optional*, defaults to `False`): Whether a proxy on this machine says who asks
            (`X-Forwarded-For`); without one, anybody could.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # invitation links would be in it
        server_header=False,
        proxy_headers=behind_proxy,
        forwarded_allow_ips="127.0.0.1",
        limit_concurrency=_AT_ONCE,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=10,
    )
    uvicorn.Server(config).run(sockets=[at])
