"""The feedback page: people compare, rate and rank what models wrote, in a browser.

Server-rendered (FastAPI and Jinja): works without a network, and without scripts. Everything goes through
[`~rlhf_ext.data.store.WorkQueue`]: what the page has said "saved" to is in the store.
"""

try:
    import fastapi  # noqa: F401
    import itsdangerous  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise ImportError("The feedback page needs FastAPI, uvicorn and itsdangerous: pip install rlhf_ext[ui]") from error

from ..listening import is_loopback, listen
from .app import create_feedback_app
from .candidates import fresh_comparisons
from .live import LiveItems, LiveState
from .serving import secret_key, serve
from .settings import FeedbackSettings

__all__ = [
    "FeedbackSettings",
    "LiveItems",
    "LiveState",
    "create_feedback_app",
    "fresh_comparisons",
    "is_loopback",
    "listen",
    "secret_key",
    "serve",
]
