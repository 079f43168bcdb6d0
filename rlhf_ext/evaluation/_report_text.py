"""A report in the terminal: the measures as a table, and answers side by side."""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

from ._report_plots import Matrix
from ._report_types import Measure, Report
from ._report_words import (
    by_group,
    cautions_of,
    level_of,
    measure_numbers,
    number_of,
    numbers_of,
    score_text,
    visible,
)


def render_table(report: Report, width: int | None = None) -> str:
    """The measures as aligned columns for the terminal, with a verdict in words.

    Args:
        report ([`Report`]):
            What to show.
        width (`int`, *optional*):
            Columns to keep to, by default the terminal's. Labels wrap to fit; below about 75 the table may run over.

    Returns:
        `str`: title, table and what to be careful about; no trailing newline.
    """
    title = [visible(text) for text in (report.title, report.subtitle) if text]
    gate = ["", "Release gate", "", *_measure_lines(report.gate, _width(width))] if report.gate else []
    if report.measures:
        title += ["", *_measure_lines(report.measures, _width(width))]
    for matrix in report.matrices:
        title += ["", visible(matrix.title), "", *_matrix_lines(matrix)]
    if not report.figures:
        return "\n".join([*title, *gate] if report.measures else [*title, "", "No measures."])
    rows = [["measure", "before", "after", f"change {level_of(report.figures)}", "verdict"]]
    for group, figures in by_group(report.figures).items():
        rows += [["", "", "", "", ""], [visible(group), "", "", "", ""]] if group else []
        for f in figures:
            before, after, change = numbers_of(f)
            rows.append([visible(f.label), before[0], after[0], " ".join(change), f.verdict])
    widths = [max(_cells(row[i]) for row in rows) for i in range(5)]
    widths[0] = min(widths[0], max(10, _width(width) - sum(widths[1:]) - 8))
    lines = []
    for row in [rows[0], ["-" * w for w in widths], *rows[1:]]:
        label, *more = _wrap(row[0], widths[0])
        cells = [_pad(label, widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2]), row[3].ljust(widths[3])]
        lines += ["  ".join([*cells, row[4]]), *(f"  {line}" for line in more)]
    cautions = [line for text in cautions_of(report.figures) for line in ["", *_wrap(text, _width(width))]]
    return "\n".join([*title, "", *(line.rstrip() for line in lines), *cautions, *gate])


def _measure_lines(measures: Sequence[Measure], width: int) -> list[str]:
    rows = [["measure", "value", "interval", "wanted", "verdict"]]
    for group, members in by_group(measures).items():
        rows += [["", "", "", "", ""], [visible(group), "", "", "", ""]] if group else []
        rows += [[visible(m.label), *measure_numbers(m), m.wanted, m.verdict] for m in members]
    widths = [max(_cells(row[i]) for row in rows) for i in range(5)]
    widths[0] = min(widths[0], max(10, width - sum(widths[1:]) - 8))
    lines = []
    for row in [rows[0], ["-" * w for w in widths], *rows[1:]]:
        label, *more = _wrap(row[0], widths[0])
        cells = [_pad(label, widths[0]), row[1].rjust(widths[1]), *(row[i].ljust(widths[i]) for i in (2, 3)), row[4]]
        lines += ["  ".join(cells).rstrip(), *(f"  {line}" for line in more)]
    for text in cautions_of([], measures):
        lines += ["", *_wrap(text, width)]
    return lines


def _matrix_lines(matrix: Matrix) -> list[str]:
    rows = [["", *map(visible, matrix.columns)]]
    for name, cells in zip(matrix.rows, matrix.cells, strict=True):
        rows.append([visible(name), *("–" if c is None else " ".join(number_of(c, matrix.unit)) for c in cells)])
    widths = [max(_cells(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(_pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def render_side_by_side(report: Report, count: int = 3, width: int | None = None) -> str:
    """Prompts with the answers before and after in two wrapped columns, for the terminal.

    Control characters in the texts (terminal escapes among them) are shown as symbols and never sent.

    Args:
        report ([`Report`]):
            What to show.
        count (`int`, *optional*, defaults to `3`):
            How many examples, from the first.
        width (`int`, *optional*):
            Columns to keep to, by default the terminal's; at least 40.

    Returns:
        `str`: the examples; no trailing newline.
    """
    width = max(40, _width(width))
    half = (width - 3) // 2
    lines: list[str] = []
    for number, example in enumerate(report.examples[:count], start=1):
        category = f", {visible(example.category)}" if example.category else ""
        lines += [f"Example {number} of {len(report.examples)}{category}", "=" * width]
        lines += _wrap(visible(example.prompt), width)
        lines += [f"  {visible(name)}: {score_text(a)} -> {score_text(b)}" for name, (a, b) in example.scores.items()]
        lines += ["-" * half + "-+-" + "-" * half, f"{'before':<{half}} | after"]
        columns = (_wrap(visible(text), half) for text in (example.before or "", example.after))
        lines += [f"{_pad(a, half)} | {b}".rstrip() for a, b in zip_longest(*columns, fillvalue="")]
        lines.append("")
    return "\n".join(lines[:-1]) if lines else "No examples."


def _width(width: int | None) -> int:
    return shutil.get_terminal_size((100, 24)).columns if width is None else width


def _cells(text: str) -> int:
    """Terminal columns that the text takes: two for wide (East Asian, emoji) characters, none for combining ones."""
    if text.isascii():
        return len(text)
    unseen = ("Mn", "Me", "Cf")
    wide = (2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text if unicodedata.category(c) not in unseen)
    return sum(wide)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _cells(text))


def _wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` terminal columns; the text's own lines and indentation stay."""
    lines = []
    for paragraph in text.expandtabs(4).split("\n"):
        line = ""
        for piece in re.findall(r"\s+|\S+", paragraph):
            if line and _cells(line + piece) > width:
                lines.append(line.rstrip())
                line, piece = "", piece.lstrip()
            for character in piece:
                if _cells(line + character) > width:
                    lines.append(line)
                    line = ""
                line += character
        lines.append(line.rstrip())
    return lines
