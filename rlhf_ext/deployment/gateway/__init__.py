"""The gateway: what stands in front of the models that people use.

OpenAI-compatible over any OpenAI-compatible model server, or over a model in this process: with keys and limits, A/B tests, safety
filters, and a store that feedback comes back to.
"""

try:
    import aiohttp  # noqa: F401
    import prometheus_client  # noqa: F401
    import pydantic  # noqa: F401
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise ImportError("The gateway needs aiohttp, starlette and uvicorn: pip install rlhf_ext[serve]") from error

from ..listening import is_loopback, listen
from .app import Gateway, create_gateway
from .observing import Observer, Served
from .reading import load_settings
from .serving import serve
from .settings import (
    FilterSettings,
    GatewaySettings,
    LimitSettings,
    LocalSettings,
    StoreSettings,
    Target,
    UpstreamSettings,
)

__all__ = [
    "FilterSettings",
    "Gateway",
    "GatewaySettings",
    "LimitSettings",
    "LocalSettings",
    "Observer",
    "Served",
    "StoreSettings",
    "Target",
    "UpstreamSettings",
    "create_gateway",
    "is_loopback",
    "listen",
    "load_settings",
    "serve",
]
