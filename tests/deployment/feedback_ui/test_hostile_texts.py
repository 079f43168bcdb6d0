"""Cross-site scripting: whatever stands in a prompt, a response, a name, a note, it is shown as text and does nothing."""

from collections import Counter
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from .conftest import PASSWORD, follow

ALARM = "window.alarm=(window.alarm||0)+1"
PAYLOADS = [
    f"<script>{ALARM}</script>",
    f"<ScRiPt >{ALARM}</sCrIpT>",
    f"<script src='data:text/javascript,{ALARM}'></script>",
    f"<script type=module>{ALARM}</script>",
    f"</title><script>{ALARM}</script>",
    f"</textarea><script>{ALARM}</script>",
    f"</style><script>{ALARM}</script>",
    f"</noscript><script>{ALARM}</script>",
    f"--><script>{ALARM}</script>",
    f"]]><script>{ALARM}</script>",
    f"<img src=x onerror={ALARM}>",
    f"<img src=x onerror='{ALARM}'>",
    f'<img src="x" onerror="{ALARM}" ',
    f"<img/src/onerror={ALARM}>",
    f"<IMG SRC=javascript:{ALARM}>",
    f"<img src=`x` onerror=`{ALARM}`>",
    f"<svg onload={ALARM}>",
    f"<svg/onload={ALARM}>",
    f"<svg><script>{ALARM}</script></svg>",
    f"<svg><animate onbegin={ALARM} attributeName=x dur=1s>",
    f"<svg><a xlink:href='javascript:{ALARM}'><text>x</text></a></svg>",
    f"<math><maction actiontype=statusline xlink:href='javascript:{ALARM}'>x</maction></math>",
    f"<body onload={ALARM}>",
    f"<iframe src='javascript:{ALARM}'></iframe>",
    f"<iframe srcdoc='<script>parent.{ALARM}</script>'></iframe>",
    f"<object data='javascript:{ALARM}'></object>",
    f"<embed src='javascript:{ALARM}'>",
    f"<form action='javascript:{ALARM}'><button>go</button></form>",
    f"<button form=answer formaction='javascript:{ALARM}'>go</button>",
    f"<input autofocus onfocus={ALARM}>",
    f"<select autofocus onfocus={ALARM}></select>",
    f"<details open ontoggle={ALARM}>",
    f"<video><source onerror={ALARM}></video>",
    f"<audio src=x onerror={ALARM}>",
    f"<marquee onstart={ALARM}>x</marquee>",
    f"<div onmouseover={ALARM} style='position:fixed;inset:0'>x</div>",
    f"<div style='animation:x' onanimationstart={ALARM}>x</div>",
    "<link rel=stylesheet href='//evil.example/x.css'>",
    "<style>*{background:url('//evil.example/x')}</style>",
    "<base href='//evil.example/'>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    f"<a href='javascript:{ALARM}'>click</a>",
    f"<a href='&#106;avascript:{ALARM}'>click</a>",
    f"<a href='data:text/html,<script>{ALARM}</script>'>click</a>",
    f'"><script>{ALARM}</script>',
    f"'><script>{ALARM}</script>",
    f'" autofocus onfocus="{ALARM}',
    f"' onmouseover='{ALARM}",
    f"`-{ALARM}-`",
    f"javascript:{ALARM}",
    f"[click](javascript:{ALARM})",
    f"[click](JaVaScRiPt:{ALARM})",
    f"[click](data:text/html;base64,{ALARM})",
    f"[click](vbscript:{ALARM})",
    f'![x](x" onerror="{ALARM})',
    f"![x](javascript:{ALARM})",
    f"<javascript:{ALARM}>",
    f'[ref]: javascript:{ALARM} "x"\n\n[ref]',
    f'```"><script>{ALARM}</script>\ncode\n```',
    f"| a |\n|---|\n| <script>{ALARM}</script> |",
    f"`<script>{ALARM}</script>`",
    f"# <svg onload={ALARM}>",
    f"{{{{ 7*7 }}}} {{% for x in ().__class__.__base__.__subclasses__() %}}{ALARM}{{% endfor %}}",
    f"${{{ALARM}}} #{{{ALARM}}} <%= {ALARM} %>",
    f"\u003cscript\u003e{ALARM}\u003c/script\u003e",
    f"\uff1cscript\uff1e{ALARM}\uff1c/script\uff1e",
    f"<scr\x00ipt>{ALARM}</scr\x00ipt>",
    f"<\tscript>{ALARM}</script>",
    f"+ADw-script+AD4-{ALARM}+ADw-/script+AD4-",
    f"&lt;script&gt;{ALARM}&lt;/script&gt;",
]
# What a page of ours may hold; anything else came out of a payload.
ALLOWED = """() => {
  const tags = new Set("HTML HEAD META TITLE LINK SCRIPT BODY A HEADER DIV SPAN PROGRESS NAV MAIN FORM INPUT H1 H2 H3 H4 H5 H6 SECTION LABEL BUTTON P UL OL LI DL DT DD DETAILS SUMMARY FIELDSET LEGEND KBD TEXTAREA DIALOG CODE PRE TABLE THEAD TBODY TR TH TD STRONG EM S HR BR BLOCKQUOTE B SMALL BDI ARTICLE svg line rect".split(" "));
  return [...document.querySelectorAll("*")].filter((e) => !tags.has(e.tagName)
    || [...e.attributes].some((a) => a.name.startsWith("on") || a.name === "style" || /javascript:|data:|evil/i.test(a.value) && ["src", "href", "action", "formaction"].includes(a.name))
    || (e.tagName === "SCRIPT" && !(e.getAttribute("src") || "").startsWith("/static/page.js?"))
    || (e.tagName === "META" && e.httpEquiv)).map((e) => e.outerHTML.slice(0, 120));
}"""
TEXTS = "sel => [...document.querySelectorAll(sel)].map(e => e.textContent)"


def check(page):
    """Nothing ran, and nothing stands in the page that could have."""
    assert page.evaluate(ALLOWED) == []
    assert page.evaluate("window.alarm || 0") == 0


@pytest.fixture
def page(chromium):
    """A page that remembers every address that it asked for, and every dialog."""
    with chromium.new_context() as context:
        page = context.new_page()
        page.asked, page.dialogs = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("dialog", lambda dialog: (page.dialogs.append(dialog.message), dialog.dismiss()))
        yield page


def test_there_are_enough_payloads():
    assert len(set(PAYLOADS)) >= 50


def test_questions_show_payloads_as_text_in_both_views(start, page):
    # Several in an item: prompt, messages, category, names of scales, answers, in every view.
    shown = [payload.replace("\x00", "\ufffd") for payload in PAYLOADS]
    thirds = [PAYLOADS[start::3] for start in range(3)]
    items = [
        {
            "kind": "ranking",
            "prompt": [{"role": role, "content": text} for role in ("system", "<b>user</b>", "user") for text in part],
            "responses": [*part, [{"role": "assistant", "content": "call", "tool_calls": [{"name": part[0]}]}]],
            "category": "<script>window.alarm=1</script>",
            "models": [f"<i>{number}</i>" for number in range(len(part) + 1)],
        }
        for part in thirds
    ]
    scales = {"<img src=x onerror=window.alarm=1>": [1, 5]}
    items.append(
        {"kind": "rating", "prompt": PAYLOADS[0], "responses": [PAYLOADS[1]], "scales": scales, "priority": -1}
    )
    site = start(
        items, title="</title><script>window.alarm=1</script>", guidelines="\n\n".join(PAYLOADS), flags=(PAYLOADS[10],)
    )
    page.goto(f"{site.url}/join/{site.annotators.invite(PAYLOADS[0])}")
    follow(page, "button", "Begin")
    check(page)
    assert PAYLOADS[0] in page.inner_text("main")
    follow(page, "link", "Start")
    seen: set[str] = set()
    for _ in items:
        seen |= set(page.evaluate(TEXTS, ".card .as-written")) | set(page.evaluate(TEXTS, ".prompt .as-written"))
        check(page)
        page.locator("label[for=view-rendered]").click()
        check(page)
        page.mouse.move(300, 500)
        for element in page.locator(".rendered .link").all()[:5]:
            element.click(force=True)
        check(page)
        page.locator("summary", has_text="Skip").click()
        page.get_by_label("Another reason").fill(PAYLOADS[0])
        follow(page, "button", "Skip this question")
    assert set(shown) <= {text.strip("\n") if text.startswith("\n") else text for text in seen}
    assert page.dialogs == [] and all(url.startswith(site.url) for url in page.asked)


class Inspector(HTMLParser):
    """Elements of a page, and attributes that act."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.acting = Counter(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.acting += [(tag, name) for name, _ in attributes if name.startswith("on") or name in ("style", "srcdoc")]


def test_what_a_form_brings_back_is_shown_as_text(start):
    site = start([{"kind": "rating", "prompt": "p", "responses": ["r"], "scales": {"help": [1, 5]}}])
    ada = site.visitor("Ada")
    blank = ada.question()
    usual = Inspector(ada.answer(blank, note="n", other_reason="n", view="n", **{"scale-0": "n", "flag-0": "n"}).text)
    for payload in PAYLOADS:
        fields = {"scale-0": payload, "flag-0": payload, "reason": payload}
        reply = ada.answer(blank, note=payload, other_reason=payload, view=payload, **fields)
        assert reply.status == 422
        found = Inspector(reply.text)
        assert found.tags == usual.tags and found.acting == [], payload
    for path in (f"/join/{quote(PAYLOADS[0])}", f"/?said={quote(PAYLOADS[0])}", f"/{quote(PAYLOADS[0])}"):
        found = Inspector(ada.get(path).text)
        assert found.tags["script"] == 1 and found.acting == []


def test_the_admins_pages_show_names_notes_flags_and_prompts_as_text(start, page):
    names = [payload for payload in PAYLOADS if payload.isprintable() and len(payload) <= 128]
    items = [
        {"kind": "comparison", "prompt": payload, "responses": [payload + "1", payload + "2"], "category": "x"}
        for payload in PAYLOADS
    ]
    site = start(items, flags=tuple(PAYLOADS))
    ada = site.visitor(names[0])
    for payload in PAYLOADS[:20]:
        shown = ada.question()
        assert ada.answer(shown, strength=1, note=payload, **{"flag-0": payload}).status == 303
    for name in names[1:]:
        site.annotators.invite(name)
    page.goto(f"{site.url}/admin")
    page.fill("#password", PASSWORD)
    follow(page, "button", "Sign in")
    check(page)
    shown = page.evaluate(TEXTS, "#people + * th bdi")
    assert shown == names
    said = page.evaluate(TEXTS, ".said")
    assert PAYLOADS[19] in said and PAYLOADS[15] in said
    page.get_by_label("Name of a new annotator").fill(PAYLOADS[0])
    follow(page, "button", "Invite")
    check(page)
    assert PAYLOADS[0] in page.inner_text("h1")
    assert page.dialogs == [] and all(url.startswith(site.url) for url in page.asked)
