"""Relative links lead somewhere: the file is there, and so is the heading."""

import re
from pathlib import Path

import pytest

from tests.docs.markdown import PAGES, ROOT, anchors, links, name_of

CARDS = [ROOT / "rlhf_ext/data/assistant/README.md", ROOT / "rlhf_ext/evaluation/prompts/README.md"]


def broken(page: Path) -> list[str]:
    found = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", [*PAGES, *CARDS], ids=name_of)
def test_relative_links_lead_somewhere(page: Path):
    assert broken(page) == []


def test_a_wrong_file_and_a_wrong_heading_are_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# The one\n\n[a](page.md#the-one) [b](page.md#the-other) [c](gone.md) [d](#the-one)\n")
    assert broken(page) == ["page.md#the-other", "gone.md"]


def test_every_page_of_the_docs_is_in_the_sites_menu():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [str(page.relative_to(ROOT / "docs")) for page in PAGES if ROOT / "docs" in page.parents]
    assert [page for page in pages if f"{page}\n" not in menu] == []


def test_every_file_of_the_house_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    house = text[text.index("    floor 7") : text.index("**Two protocols")]
    there = {path.name for path in (ROOT / "rlhf_ext").rglob("*.py")}
    named = set(re.findall(r"\b\w+\.py\b", house))
    assert len(named) > 100 and named <= there, named - there


def test_every_benchmark_is_on_its_page():
    text = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    assert [path.name for path in (ROOT / "benchmarks").glob("*.py") if path.name not in text] == []
