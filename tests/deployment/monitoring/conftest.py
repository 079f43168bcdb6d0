"""Gateways on loopback, as in the gateway's own tests, and a browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from ..gateway.conftest import start, stub

__all__ = ["chromium", "start", "stub"]


@pytest.fixture(scope="module")  # as long as it lives, its event loop counts as running in this thread
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()
