"""Colours, computed: WCAG AA for every pair that the style sheet uses, by day and by night."""

import re

import pytest

from rlhf_ext.deployment.feedback_ui.site import STATIC

from .conftest import PASSWORD, follow, pairs

STYLE = (STATIC / "style.css").read_text(encoding="utf-8")
ROOTS = re.findall(r":root \{([^}]*)\}", STYLE)
DAY = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", ROOTS[0]))
NIGHT = {**DAY, **dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", ROOTS[1]))}
TEXTS = [
    *[(ink, ground) for ink in ("ink", "soft", "accent", "accent-strong") for ground in ("page", "card")],
    *[("ink", ground) for ground in ("accent-soft", "code", "line", "mark", "good-soft", "bad-soft")],
    *[
        ("soft", "code"),
        ("accent", "accent-soft"),
        ("on-accent", "accent"),
        ("on-accent", "accent-strong"),
        ("card", "ink"),
    ],
    *[(tone, ground) for tone in ("good", "bad") for ground in ("page", "card", f"{tone}-soft")],
]
CONTROLS = [("edge", "card"), ("edge", "page"), ("accent", "card"), ("accent", "line")]


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_formula_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("palette", [DAY, NIGHT], ids=["day", "night"])
def test_texts_and_controls_can_be_told_from_what_they_stand_on(palette):
    low = {pair: round(contrast(palette[pair[0]], palette[pair[1]]), 2) for pair in TEXTS}
    assert {pair: ratio for pair, ratio in low.items() if ratio < 4.5} == {}
    low = {pair: round(contrast(palette[pair[0]], palette[pair[1]]), 2) for pair in CONTROLS}
    assert {pair: ratio for pair, ratio in low.items() if ratio < 3.0} == {}


def test_no_colour_stands_outside_the_palette():
    rules = re.sub(r":root \{[^}]*\}", "", STYLE)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[;\s])", rules) == []
    assert set(re.findall(r"var\(--([a-z-]+)\)", rules)) <= set(DAY) | {"mono", "shadow", "lift"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_on_the_pages_reaches_the_ratio(start, chromium, scheme):
    """As the browser computes it: each visible text against the first opaque ground below it."""
    site = start([*pairs(2, category="code"), {"kind": "ranking", "prompt": "n", "responses": ["a", "b", "c"]}])
    with chromium.new_context(color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(f"{site.url}/join/{site.annotators.invite('Ada')}")
        assert page.evaluate(MEASURE) == []
        follow(page, "button", "Begin")
        assert page.evaluate(MEASURE) == []
        follow(page, "link", "Start")
        page.locator(".stops label").first.click()
        page.locator("summary", has_text="Skip").click()
        assert page.evaluate(MEASURE) == []
        page.locator("summary", has_text="Skip").click()
        follow(page, "button", "Submit")
        assert page.evaluate(MEASURE) == []
        page.goto(f"{site.url}/admin")
        page.fill("#password", PASSWORD)
        follow(page, "button", "Sign in")
        assert "How it stands" in page.inner_text("h1") and page.evaluate(MEASURE) == []


MEASURE = """() => {
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
  const lum = ({ r, g, b }) => [r, g, b].map((v) => v / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.a === 1) return c; } return { r: 255, g: 255, b: 255 }; };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !e.checkVisibility({ visibilityProperty: true }) || e.closest(".visually-hidden")) continue;
    const [one, other] = [lum(parse(getComputedStyle(e).color)), lum(ground(e))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${walker.currentNode.data.trim().slice(0, 40)}`);
  }
  return found;
}"""
