"""Watching a gateway: figures for Prometheus and a status page, a scored sample of live traffic, drift, and alerts."""

from .alerts import Alerts, AlertState, Notice
from .background import Failures
from .drift import Change, DriftWatch, SideWatch, Standing
from .monitor import Monitor
from .series import Cell, Key, Series
from .settings import AlertRule, DriftSettings, MonitoringSettings, SampleSettings, ScoreSettings, WebhookSettings
from .webhook import Webhook

__all__ = [
    "AlertRule",
    "AlertState",
    "Alerts",
    "Cell",
    "Change",
    "DriftSettings",
    "DriftWatch",
    "Failures",
    "Key",
    "Monitor",
    "MonitoringSettings",
    "Notice",
    "SampleSettings",
    "ScoreSettings",
    "Series",
    "SideWatch",
    "Standing",
    "Webhook",
    "WebhookSettings",
]
