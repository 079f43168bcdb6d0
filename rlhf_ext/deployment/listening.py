"""Where a server listens: this machine only, unless told otherwise."""

from __future__ import annotations

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A socket to serve on.

    Raises:
        OSError: If the port is taken or the host is not this machine's; the message says which.
        ValueError: If there is no such port.
    """
    if not 0 <= port <= 65_535:
        raise ValueError(f"A port is a number from 0 to 65535, got {port}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(f"Cannot listen on {host} port {port}: {error.strerror}. Another --port may be free.") from error
