"""Whole sessions in Chromium, at a desk and on a phone, with scripts and without."""

import re
import time

import pytest

from .conftest import PAIR, PASSWORD, follow, pairs

DESK = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
LONG = "\n\n".join(f"Paragraph {n}. " + "The band plays on and on. " * 12 for n in range(14))
CODE = "Run:\n\n```python\n" + "x = 'a very long line of code'  # " + "on and on " * 20 + "\n```\n"
TABLE = "| a | b |\n|---|---|\n" + "| " + "wide cell " * 30 + " | 2 |\n"
RATING = {
    "kind": "rating",
    "prompt": "Sum up.",
    "responses": ["Short."],
    "scales": {"help": [1, 5], "score": [0, 100]},
    "priority": -8,
}
RANKING = {"kind": "ranking", "prompt": "A name?", "responses": ["Ann", "Bob", "Cy"], "priority": -9}
MIXED = [
    {
        **PAIR,
        "responses": [LONG, CODE],
        "prompt": [{"role": "system", "content": "Hm."}, {"role": "user", "content": LONG}],
    },
    {**PAIR, "prompt": "اكتب جملة عن البحر", "responses": ["البحر أزرق وعميق", TABLE + "w" * 400]},
    RATING,
    RANKING,
]


@pytest.fixture
def browse(chromium):
    """Opens pages of one person; fails the test on an error of a script or of the page's own policy."""
    opened, problems = [], []

    def begin(site, name, **options):
        context = chromium.new_context(**{**DESK, **options})
        opened.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(f"{site.url}/join/{site.annotators.invite(name)}")
        follow(page, "button", "Begin")
        follow(page, "link", "Start")
        return page

    yield begin
    for context in opened:
        context.close()
    # A status that is no success is reported as an error of the console; those are asked for by the tests.
    assert [text for text in problems if "Failed to load resource" not in text] == []


def loaded(page, words):
    """Waits for a page that says something, and for its script."""
    page.get_by_text(words).wait_for()
    page.locator("html.scripted").wait_for(state="attached")


def choose(page, words):
    page.locator(".stops label", has_text=words).click()


@pytest.mark.parametrize("device", [DESK, PHONE], ids=["desk", "phone"])
def test_a_whole_session(start, browse, device):
    site = start([*pairs(2), RATING, RANKING])
    page = browse(site, "Ada", **device)
    assert page.get_by_role("heading", level=1).inner_text() == "Which answer is better?"
    left = page.locator(".card").first.locator(".as-written").inner_text()
    choose(page, "A slightly better")
    page.locator("summary", has_text="Note").click()
    page.get_by_label("Anything that the choice does not say").fill("B is <wrong>.")
    page.keyboard.press("Escape")
    page.locator(".card").nth(1).locator("summary", has_text="Flag").click()
    page.locator(".card").nth(1).get_by_label("false").check()
    follow(page, "button", "Submit")
    assert "Your answer is saved." in page.get_by_role("status").inner_text()
    follow(page, "button", "Undo")
    assert "taken back" in page.get_by_role("status").inner_text()
    assert page.locator("input[name=strength]:checked").get_attribute("value") == "2"
    assert page.get_by_label("Anything that the choice does not say").input_value() == "B is <wrong>."
    choose(page, "A much better")
    follow(page, "button", "Submit")
    page.locator("summary", has_text="Skip").click()
    page.get_by_label("it upsets me").check()
    follow(page, "button", "Skip this question")
    page.locator("fieldset", has_text="help").locator(".segments label").nth(3).click()
    page.get_by_role("spinbutton").fill("61.5")
    follow(page, "button", "Submit")
    for letter, place in (("A", 2), ("B", 1), ("C", 2)):
        page.locator(f"[data-letter={letter}] label").nth(place - 1).click()
    assert page.locator(".live").inner_text() == "B, then A and C"
    follow(page, "button", "Submit")
    assert page.get_by_role("heading", level=1).inner_text() == "All done. Thank you!"
    assert page.get_by_role("button", name="Undo my last answer").is_visible()
    values = {record.kind: record.value for record in site.records()}
    assert values["comparison"] == {"strength": 1.0 if left == "yes 0" else 0.0}
    assert values["skip"] == {"reason": "it upsets me"} and values["rating"] == {"scales": {"help": 4, "score": 61.5}}
    assert sorted(map(str, values["ranking"]["order"])) in (["0", "[1, 2]"], ["1", "[0, 2]"], ["2", "[0, 1]"])
    assert values["text"] == {"text": "B is <wrong>."} and values["flag"]["category"] == "false"
    assert len(site.records("retraction", current=False)) == 3


def test_everything_works_without_scripts(start, browse):
    site = start([*pairs(2), RANKING])
    page = browse(site, "Ada", java_script_enabled=False)
    assert page.locator("[data-help]").is_hidden(), "what needs a script is not shown"
    page.get_by_role("button", name="Submit").click()
    assert "Which answer is better?" in page.inner_text("h1"), "the browser asks for a choice itself"
    page.locator("label[for=view-rendered]").click()
    assert page.locator(".card .rendered").first.is_visible() and page.locator(".card .as-written").first.is_hidden()
    choose(page, "B better")
    follow(page, "button", "Submit")
    assert page.locator(".card .rendered").first.is_visible(), "the view stays as it was chosen"
    follow(page, "button", "Undo")
    assert page.locator("input[name=strength]:checked").get_attribute("value") == "5"
    follow(page, "button", "Submit")
    page.locator("summary", has_text="Skip").click()
    page.get_by_label("Another reason").fill("no idea")
    follow(page, "button", "Skip this question")
    for letter, place in (("A", 1), ("B", 2), ("C", 3)):
        page.locator(f"[data-letter={letter}] label").nth(place - 1).click()
    follow(page, "button", "Submit")
    assert "Thank you" in page.inner_text("h1")
    assert [record.kind for record in site.records()] == ["comparison", "skip", "ranking"]
    assert site.records("skip")[0].value == {"reason": "no idea"}


def test_keys_do_what_the_list_of_keys_says(start, browse):
    site = start([*pairs(4), RATING])
    page = browse(site, "Ada")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible() and "B much better" in page.get_by_role("dialog").inner_text()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    page.keyboard.press("6")
    assert page.locator("input[name=strength]:checked").get_attribute("value") == "5"
    page.keyboard.press("ArrowRight")
    assert page.locator("input[name=strength]:checked").get_attribute("value") == "6", "arrows move along the line"
    page.keyboard.press("v")
    assert page.locator(".card .rendered").first.is_visible()
    page.keyboard.press("n")
    page.keyboard.type("no 1, s or u here is a key\nEnter neither")
    page.keyboard.press("Control+Enter")
    loaded(page, "Your answer is saved.")
    page.keyboard.press("u")
    loaded(page, "taken back")
    assert page.locator("#note").input_value() == "no 1, s or u here is a key\nEnter neither"
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    loaded(page, "Your answer is saved.")
    page.keyboard.press("s")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Skip this question").press("Enter")
    loaded(page, "Skipped.")
    assert len(site.records("comparison")) == 1 and len(site.records("skip")) == 1


def test_keys_can_be_switched_off_and_stay_off(start, browse):
    site = start(pairs(2))
    page = browse(site, "Ada")
    page.keyboard.press("?")
    page.get_by_label("Keys are on").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("3")
    assert page.locator("input[name=strength]:checked").count() == 0
    page.reload()
    page.keyboard.press("3")
    assert page.locator("input[name=strength]:checked").count() == 0


def test_the_order_of_focus_is_the_order_on_the_screen(start, browse):
    page = browse(start(pairs(2)), "Ada")
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("(e => e.name || e.innerText.trim().split('\\n')[0])(document.activeElement)"))
    assert seen[:2] == ["Skip to the content", "Guide"]
    assert seen[2:9] == [
        "view",
        "Flag a problem",
        "Flag a problem",
        "strength",
        "Submit",
        "Note",
        "Skip",
    ]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "focus is seen"


def test_a_drawn_pointer_moves_the_slider(start, browse):
    page = browse(start(pairs(1)), "Ada")
    first, last = (page.locator(".stops label").nth(n).bounding_box() for n in (0, 5))
    page.mouse.move(first["x"] + first["width"] / 2, first["y"] + 20)
    page.mouse.down()
    page.mouse.move(last["x"] + last["width"] / 2, last["y"] + 20, steps=8)
    page.mouse.up()
    assert page.locator("input[name=strength]:checked").get_attribute("value") == "5"


def test_a_draft_outlives_a_server_that_is_away(start, browse):
    site = start(pairs(1))
    page = browse(site, "Ada")
    choose(page, "B better")
    page.locator("summary", has_text="Note").click()
    page.locator("#note").fill("hours of thought")
    page.goto("about:blank")
    page.goto(site.url)
    assert page.locator("input[name=strength]:checked").get_attribute("value") == "5"
    assert page.locator("#note").input_value() == "hours of thought"


def test_an_expired_lease_is_explained(start, browse):
    site = start(pairs(1), lease=0.6)
    ada = browse(site, "Ada")
    time.sleep(0.7)
    ben = browse(site, "Ben")
    choose(ben, "A better")
    follow(ben, "button", "Submit")
    choose(ada, "B better")
    follow(ada, "button", "Submit")
    assert "ran out" in ada.inner_text("h1")
    follow(ada, "link", "Next question")
    assert "nothing to answer" in ada.inner_text("h1")
    assert len(site.records("comparison")) == 1


def test_two_at_once_and_one_with_a_wrong_token(start, browse, chromium):
    site = start(pairs(2))
    ada, ben = browse(site, "Ada"), browse(site, "Ben")
    assert ada.locator(".prompt").inner_text() != ben.locator(".prompt").inner_text()
    for page in (ada, ben):
        choose(page, "About the same")
        follow(page, "button", "Submit")
        assert page.get_by_role("heading", name="Thank you").is_visible()
    assert len({record.annotator for record in site.records("comparison")}) == 2
    with chromium.new_context() as context:
        stranger = context.new_page()
        stranger.goto(f"{site.url}/join/made-up-token")
        follow(stranger, "button", "Begin")
        assert "no such invitation" in stranger.inner_text("main")
        stranger.goto(site.url)
        assert "You need an invitation" in stranger.inner_text("h1")


@pytest.mark.parametrize(("device", "scheme"), [(DESK, "light"), (PHONE, "dark")], ids=["desk", "phone"])
def test_long_wide_and_right_to_left_texts_stay_inside_the_page(start, browse, device, scheme, tmp_path):
    site = start(MIXED)
    page = browse(site, "Ada", color_scheme=scheme, **device)
    width = device["viewport"]["width"]
    for number in range(len(MIXED)):
        for view in ("written", "rendered"):
            page.locator(f"label[for=view-{view}]").click()
            assert page.evaluate("document.documentElement.scrollWidth") == width, "the page itself scrolls sideways"
            wide = page.evaluate(
                "[...document.querySelectorAll('main *')].filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1"
                " && !e.closest('.code, .wide, .visually-hidden')).map(e => e.className || e.tagName)"
            )
            assert wide == []
        for box in page.locator(".long > .body").all():
            assert box.bounding_box()["height"] <= 0.6 * device["viewport"]["height"], "long texts are folded"
        if number == 0:
            page.locator("label.unfold-label").last.click()
            assert page.locator(".long > .body").last.bounding_box()["height"] > 0.6 * device["viewport"]["height"]
        if number == 1:
            assert (
                page.locator(".turn.last .prose, .turn.last .rendered p").last.evaluate(
                    "e => getComputedStyle(e).direction"
                )
                == "rtl"
            )
        bar = page.locator(".bar").bounding_box()
        assert bar["height"] < 0.25 * device["viewport"]["height"]
        assert bar["y"] + bar["height"] <= device["viewport"]["height"] + 1, "the answer bar is always in reach"
        page.screenshot(path=tmp_path / f"{number}.png")
        page.locator("summary", has_text="Skip").click()
        page.get_by_label("it upsets me").check()
        follow(page, "button", "Skip this question")
    assert (tmp_path / "3.png").stat().st_size > 5_000


def test_targets_are_large_enough_for_fingers(start, browse):
    page = browse(start(pairs(2)), "Ada", **PHONE)
    for target in page.locator(".stops label, .actions button:visible, .actions summary, .flags > summary").all():
        box = target.bounding_box()
        assert min(box["width"], box["height"]) >= 24, "WCAG 2.2, 2.5.8"


def test_cards_stand_side_by_side_at_a_desk_and_stacked_on_a_phone(start, browse):
    site = start(pairs(2))
    for name, device, side_by_side in (("Ada", DESK, True), ("Ben", PHONE, False)):
        first, second = (card.bounding_box() for card in browse(site, name, **device).locator(".card").all())
        assert (abs(first["y"] - second["y"]) < 1) == side_by_side
        assert abs(first["width"] - second["width"]) < 1, "neither answer has more room"


def test_what_is_on_the_screen_is_the_text_to_the_last_character(start, browse):
    text = "\n  two spaces  and a tab\there\n\n<b>no bold</b> &amp; \u202eturned\n```\n  code <i>\n```\n| a | b |\n| 1 | 2 |\n end \n"
    page = browse(start([{**PAIR, "responses": [text, "other"]}]), "Ada")
    contents = [card.locator(".as-written").evaluate("e => e.textContent") for card in page.locator(".card").all()]
    assert text in contents
    assert (
        page.locator(".as-written .prose").first.evaluate("e => getComputedStyle(e).whiteSpace").startswith("pre-wrap")
    )


def test_motion_is_left_out_for_those_who_do_not_want_it(start, browse):
    page = browse(start(pairs(1)), "Ada", reduced_motion="reduce")
    transition = page.evaluate("getComputedStyle(document.querySelector('.dot'), '::before').transitionDuration")
    assert transition == "0s"


def test_the_page_asks_nobody_else_for_anything(start, chromium):
    site = start(pairs(1))
    asked = []
    with chromium.new_context() as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{site.url}/join/{site.annotators.invite('Ada')}")
        follow(page, "button", "Begin")
        follow(page, "link", "Start")
        page.goto(f"{site.url}/admin")
        page.fill("#password", PASSWORD)
        follow(page, "button", "Sign in")
    assert len(asked) > 6 and all(re.match(re.escape(site.url) + "/", url) for url in asked)
