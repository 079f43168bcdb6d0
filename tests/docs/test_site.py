"""The site builds strictly, and has every public name; docstrings in TRL's style come out as Markdown that reads well."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import griffe
import pytest
from mkdocstrings import Inventory

import rlhf_ext
from tests.docs.markdown import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does: any warning, such as a broken link, ends it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_public_name_is_in_the_reference(site: Path):
    with (site / "objects.inv").open("rb") as file:
        known = set(Inventory.parse_sphinx(file, domain_filter=("py",)))
    packages = ["rlhf_ext", *(one.name for one in pkgutil.walk_packages(rlhf_ext.__path__, "rlhf_ext.") if one.ispkg)]
    missing = []
    for package in packages:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", []):
            thing = getattr(module, name)
            home = f"{getattr(thing, '__module__', '')}.{name}"
            if (isinstance(thing, type) or callable(thing)) and home.startswith("rlhf_ext") and home not in known:
                missing.append(home)
    assert missing == [], "give them a place in docs/reference/"


def test_nothing_is_loaded_from_elsewhere(site: Path):
    for page in (site / "index.html", site / "reference" / "trainers.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]+)"|<link[^>]* href="([^"]+)"[^>]*>', text)
        assert [one for one in loaded if "://" in "".join(one) or "".join(one).startswith("//")] == []


def test_cross_references_lead_to_the_names(site: Path):
    text = (site / "reference" / "trainers.html").read_text(encoding="utf-8")
    assert re.search(
        r'<a class="autorefs[^>]* href="rewards.html#rlhf_ext\.rewards\.\S+"><code>RewardModel</code></a>', text
    )
    everything = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").glob("*.html"))
    linked = len(re.findall(r'<a class="autorefs autorefs-internal"[^>]*><code>', everything))
    plain = len(re.findall(r'<span title="rlhf_ext[^"]*"><code>', everything))
    assert linked > 400 and plain < 0.1 * linked  # what is left plain has no place in the reference
    assert "[`" not in re.sub(r"<(code|pre).*?</\1>", "", everything, flags=re.S)


def load(source: str, tmp_path: Path, caplog: pytest.LogCaptureFixture | None = None) -> griffe.Module:
    hook = importlib.util.spec_from_file_location("docstrings", ROOT / "docs/hooks/docstrings.py")
    module = importlib.util.module_from_spec(hook)
    hook.loader.exec_module(module)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text(source, encoding="utf-8")
    extensions = griffe.load_extensions(module.TRLDocstrings)
    return griffe.load("pack", search_paths=[str(tmp_path)], extensions=extensions)


def test_sections_become_definition_lists(tmp_path: Path):
    source = '''
def f(x, y=1, *z):
    """Adds.

    Args:
        > The numbers

        x (`int`):
            The first.

            More of it.
        y, w (`int`, *optional*, defaults to `1`): The second,
            and so on.
        **z:
            Others.

    Returns:
        `int`: the sum.

    Raises:
        ValueError, TypeError: If not.
    """
'''
    text = load(source, tmp_path)["f"].docstring.value
    assert "Parameters\n{ .doc-part }" in text and "The numbers\n{ .doc-group }" in text
    assert "`x` (`int`)\n\n:   \n    The first.\n\n    More of it.\n" in text
    assert "`y`, `w` (`int`, *optional*, defaults to `1`)\n\n:   The second,\n    and so on.\n" in text
    assert "`**z`\n" in text and "\n`int`: the sum.\n" in text and "`ValueError`, `TypeError`\n\n:   If not." in text


def test_references_are_resolved_where_they_stand(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    source = '''
"""See [`A`], [`~pack.A.go`], [`trl.GRPOTrainer`], [`B`] and [`page`](page.md)."""

class A:
    """Its [`go`]."""

    def go(self):
        """Of [`A.go`]."""
'''
    with caplog.at_level("WARNING"):
        pack = load(source, tmp_path)
    text = pack.docstring.value
    assert '<autoref identifier="pack.A" optional><code>A</code></autoref>' in text
    assert '<autoref identifier="pack.A.go" optional><code>go</code></autoref>' in text
    assert "`trl.GRPOTrainer`" in text and "[`page`](page.md)" in text
    assert "[`B`] names nothing that there is" in caplog.text
    for thing in (pack["A"], pack["A.go"]):
        assert 'identifier="pack.A.go"' in thing.docstring.value


def test_links_out_of_the_docs_follow_their_pages_or_become_text():
    hook = importlib.util.spec_from_file_location("pages", ROOT / "docs/hooks/pages.py")
    module = importlib.util.module_from_spec(hook)
    hook.loader.exec_module(module)

    def moved(text: str, page: str) -> str:
        place = SimpleNamespace(file=SimpleNamespace(src_uri=page))
        return module.on_page_markdown(text, page=place, config={"config_file_path": str(ROOT / "mkdocs.yml")})

    assert moved("[a](../CONTRIBUTING.md#the-house)", "ppo.md") == "[a](contributing.md#the-house)"
    assert moved("[a](docs/ppo.md)", "contributing.md") == "[a](ppo.md)"
    assert moved("[a](../ppo.md)", "reference/stats.md") == "[a](../ppo.md)"
    assert moved("[`a`](../setup.py) [b](../gone.py)", "ppo.md") == "`a` [b](../gone.py)"
