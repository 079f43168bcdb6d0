"""The feedback page: people compare, rate and rank what models wrote."""

from .app import create_feedback_app
from .live import LiveItems, LiveState
from .settings import FeedbackSettings

__all__ = ["FeedbackSettings", "LiveItems", "LiveState", "create_feedback_app"]
