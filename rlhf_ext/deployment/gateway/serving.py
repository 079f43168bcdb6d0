"""The gateway's server: it says that it stops, lets streams finish, and then ends."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from types import FrameType
from typing import Any

import uvicorn

from ..listening import is_loopback
from .app import Gateway

_TURN = 0.001


class _Server(uvicorn.Server):
    """Ends in three steps: `/readyz` says 503; no new connections; what still streams is broken off."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway):
        super().__init__(config)
        self.gateway = gateway
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the end; a second one hurries it."""
        if self.gateway.stopping.begun or self._loop is None:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
            return
        self.gateway.stopping.begun = True
        self._loop.call_soon_threadsafe(self._begin_to_stop)

    def _begin_to_stop(self) -> None:
        limits = self.gateway.settings.limits
        loop = asyncio.get_running_loop()
        loop.call_later(limits.notice_seconds, setattr, self, "should_exit", True)
        loop.call_later(limits.notice_seconds + limits.drain_seconds, self.gateway.stopping.break_off)


def serve(app: Any, at: socket.socket, without_keys: bool = False) -> None:
    """Serves a gateway until the process is told to end (SIGTERM, Ctrl-C).

    Args:
        app (ASGI application): From [`create_gateway`].
        at (`socket.socket`): Where, from [`~rlhf_ext.deployment.listening.listen`].
        without_keys (`bool`, *optional*, defaults to `False`): Whether others than this machine may come in though there are no keys.

    Raises:
        ValueError: If others can reach it, no keys have been made, and `without_keys` is not set.
    """
    gateway: Gateway = app.gateway
    host = at.getsockname()[0]
    if not is_loopback(host) and not gateway.keys.needed and not without_keys:
        raise ValueError(
            f"Whoever reaches {host} could use the models: make a key with `rlhf-ext serve keys add --name NAME`, or listen on "
            "127.0.0.1. If anybody may use them, say so with --without_keys."
        )
    limits = gateway.settings.limits
    # Threads write to the store and ask filters. Where they do so in Python, the event loop should get its turn within a millisecond.
    sys.setswitchinterval(_TURN)
    # What is there now stays: a full collection that goes through all of it would halt every stream.
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        # break_off() comes first: this is for what does not heed it.
        timeout_graceful_shutdown=int(limits.drain_seconds) + 5,
    )
    _Server(config, gateway).run(sockets=[at])
