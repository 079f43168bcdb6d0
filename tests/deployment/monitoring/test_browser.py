"""The status page in a real browser: by day and by night, wide and on a phone, with scripts and without."""

import re

import pytest

from rlhf_ext.data.store.served import ApiKeys
from rlhf_ext.deployment.monitoring.style import STYLE

from ..feedback_ui.test_contrast import MEASURE, contrast
from .traffic import busy

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def monitor():
    """One with an hour behind it."""
    return busy()


@pytest.fixture
def gateway(start, stub, monitor):
    """A gateway that shows it."""
    running = start(stub)
    running.gateway._routes["GET", "/status"].__self__._monitor = monitor
    return running


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_can_be_read(gateway, chromium, scheme, size, tmp_path):
    width, height = SIZES[size]
    problems, requests = [], []
    with chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": height}) as context:
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"http://127.0.0.1:{gateway.port}/status", wait_until="load")
        assert problems == [] and [one for one in requests if not one.startswith("data:")] == [page.url]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # The style is applied under the page's own policy: cards are not white by night.
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(251, 251, 249)" if scheme == "light" else "rgb(22, 25, 28)")
        assert page.evaluate(MEASURE) == []
        assert page.evaluate(FAINT) == []
        page.screenshot(path=tmp_path / f"status-{size}-{scheme}.png", full_page=True)


def test_it_works_without_scripts_and_by_keyboard(gateway, chromium):
    with chromium.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{gateway.port}/status", wait_until="load")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.url.endswith("#main")
        with page.expect_navigation(wait_until="load"):
            page.get_by_role("link", name="15 min").click()
        assert page.url.endswith("?window=15+min")
        assert page.get_by_role("link", name="15 min").get_attribute("aria-current") == "page"
        with page.expect_navigation(wait_until="load"):
            page.get_by_role("link", name="Update by itself").click()
        assert page.get_by_role("link", name="Updates every 30 s").is_visible()
        page.get_by_text("What was told").click()
        assert page.get_by_text("resolved").first.is_visible()


def test_the_browser_asks_for_the_key(start, stub, chromium):
    gateway = start(stub)
    secret = ApiKeys(gateway.gateway.store.database).add("ann")
    gateway.gateway.keys.load()
    credentials = {"username": "", "password": secret}
    with chromium.new_context(http_credentials=credentials) as context:
        page = context.new_page()
        answer = page.goto(f"http://127.0.0.1:{gateway.port}/status", wait_until="load")
        assert answer.status == 200 and page.inner_text("h1") == "Status of the gateway"
    with chromium.new_context() as context:
        assert context.request.get(f"http://127.0.0.1:{gateway.port}/status").status == 401


def test_lines_can_be_told_from_the_page():
    day, night = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", root)) for root in re.findall(r":root \{([^}]*)\}", STYLE)[:2]
    )
    for palette in (day, night):
        for line in ("c0", "c1", "c2", "c3", "plain", "good", "bad"):
            assert contrast(palette[line], palette["page"]) >= 3
        assert contrast(palette["page"], palette["ink"]) >= 4.5  # the chosen window


FAINT = """() => [...document.querySelectorAll("svg text")].filter((e) => {
  const box = e.getBoundingClientRect(), size = parseFloat(getComputedStyle(e).fontSize) * box.height / (e.getBBox().height || 1);
  return size < 9 || box.right > innerWidth + 1 || box.left < -1;
}).map((e) => e.textContent)"""
