"""Pages as the tests read them: blocks of code, links, headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    ]
)

_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>.+?) -->\n\n?)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S
)
_INDENTED = re.compile(r"(?:^(?: {4}.*)?\n)+", re.M)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.M)
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    page: Path
    line: int
    language: str
    code: str
    reason: str | None = None
    """Why it is not run, where its page says so: `<!-- not run: REASON -->` on the line before it."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page in these languages."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start("code")) + 1, found["language"], found["code"], found["reason"])
        for found in _FENCE.finditer(text)
        if found["language"] in languages
    ]


def shell_commands(page: Path) -> list[str]:
    """What a page tells its reader to type: indented blocks and fences of a shell, lines that go on put together."""
    text = page.read_text(encoding="utf-8")
    shells = [block.code for block in blocks(page, "sh", "bash")]
    shells += [found[0] for found in _INDENTED.finditer(_FENCE.sub("", text))]
    lines = "\n".join(shells).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip()]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Targets of links and pictures that are no web addresses."""
    targets = (found["target"] for found in _LINK.finditer(prose(page)))
    return [target for target in targets if "://" not in target and not target.startswith("mailto:")]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as the site and code hosts make them."""
    plain = (re.sub(r"[`*]|\[|\]\(.*?\)", "", heading) for heading in _HEADING.findall(prose(page)))
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in plain}
