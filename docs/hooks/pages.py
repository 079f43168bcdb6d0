"""An mkdocs hook: pages that stand elsewhere in the project, with the links in them and to them.

On a page of docs/, `../CONTRIBUTING.md` is right where the files are read as they stand; on the site that page is
`contributing.md`. Links to other files of the project have nowhere to lead there, and become text; links to what there is not end a strict
build.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File

OUTSIDE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "examples/drop_in/README.md": "examples/drop_in.md",
    "examples/recipes/README.md": "examples/recipes.md",
    "examples/accelerate/README.md": "examples/accelerate.md",
    "rlhf_ext/data/assistant/README.md": "cards/assistant.md",
    "rlhf_ext/evaluation/prompts/README.md": "cards/prompts.md",
}
"""Pages by their place in the project: their place on the site."""

_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<path>[\w./-]+)(?P<anchor>#[\w-]+)?\)")


def on_files(files: Any, config: Any) -> Any:
    root = Path(config["config_file_path"]).parent
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(root / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **kwargs: Any) -> str:
    """Links by place in the project become links by place on the site."""
    here = page.file.src_uri
    sources = {page: source for source, page in OUTSIDE.items()}
    folder = PurePosixPath(sources.get(here, f"docs/{here}")).parent
    root = Path(config["config_file_path"]).parent

    def moved(found: re.Match[str]) -> str:
        target = os.path.normpath(folder / found["path"])
        on_site = OUTSIDE.get(target, target.removeprefix("docs/") if target.startswith("docs/") else None)
        if on_site is None:
            return found["text"] if (root / target).exists() else found[0]
        path = os.path.relpath(on_site, PurePosixPath(here).parent)
        return f"[{found['text']}]({path}{found['anchor'] or ''})"

    return _LINK.sub(moved, markdown)
