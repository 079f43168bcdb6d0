"""A finished run as a page that one can read: a table for the terminal, and one `report.html` that needs nothing else.

The page says first what changed and how sure that is, then shows answers before and after, then how it was trained.
It has no scripts and loads nothing; its plots are SVG inside it. Text from models and data is escaped everywhere and
shown as it is.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ._report_html import render_html
from ._report_plots import Curve, Intervals, Matrix
from ._report_text import render_side_by_side, render_table
from ._report_types import Example, Figure, Measure, Report, Stage

__all__ = [
    "Curve",
    "Example",
    "Figure",
    "Intervals",
    "Matrix",
    "Measure",
    "Report",
    "Stage",
    "render_html",
    "render_side_by_side",
    "render_table",
    "write_report",
]


def write_report(report: Report, folder: str | os.PathLike[str]) -> Path:
    """Writes `report.html` and `report.json` into a folder, each whole or not at all.

    Args:
        report ([`Report`]):
            What to write.
        folder (`str` or `Path`):
            Made if missing. Older reports in it are replaced.

    Returns:
        `Path`: where `report.html` is.

    Raises:
        OSError: If the folder cannot be written.

    Example:
    ```python
    >>> import tempfile
    >>> from rlhf_ext.evaluation.report import Report, write_report

    >>> path = write_report(Report("An empty run"), tempfile.mkdtemp())
    >>> path.name, path.with_suffix(".json").exists()
    ('report.html', True)
    ```
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "report.json", json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n")
    replace_file(folder / "report.html", render_html(report))
    return folder / "report.html"


def replace_file(path: Path, text: str) -> None:
    """Writes beside the file and then swaps, so that a reader never sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
