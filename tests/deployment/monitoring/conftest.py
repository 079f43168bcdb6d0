"""Gateways on loopback, as in the gateway's own tests."""

from ..gateway.conftest import start, stub

__all__ = ["start", "stub"]
